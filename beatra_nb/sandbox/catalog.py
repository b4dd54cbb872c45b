"""What the sandbox offers: its models, its prices, and the honest state of every capability."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from beatra_nb.sandbox.music_models import MUSIC_MODELS, catalog_entry

# Nominal prices, so that tutorials about cost have figures to show. Nothing is charged.
CREDITS_PER_1000_PROMPT_TOKENS = Decimal("0.5")
CREDITS_PER_1000_COMPLETION_TOKENS = Decimal("1.5")
CREDITS_PER_DOLLAR = Decimal(1000)

OWNER = "beatra-sandbox"

ABOUT_MODELS = {
    "sandbox-smollm2": "SmolLM2-135M-Instruct on this machine: a real, very small model.",
    "sandbox-scripted": "Scripted answers: the same request always gets the same answer. No model thinks here.",
}

# id, status in the public contract, does the sandbox serve it, description
_CAPABILITIES = (
    ("chat", "Available", True, "Text chat"),
    ("chat.streaming", "Available", True, "Streamed text chat (server-sent events)"),
    ("health", "Available", True, "Health check"),
    ("models", "Preview", True, "The models of this account"),
    ("catalog", "Preview", True, "The catalog: models with their modalities, and capabilities"),
    ("music", "Preview", True, "Music from text or from reference audio"),
    ("uploads", "Preview", True, "Single-shot uploads"),
    ("tasks", "Preview", True, "Task look-up, list and cancel"),
    ("image", "Planned", False, "Images"),
    ("video", "Planned", False, "Video"),
    ("speech", "Planned", False, "Speech"),
    ("voices", "Planned", False, "Voices"),
    ("uploads.resumable", "Planned", False, "Resumable uploads"),
    ("callbacks", "Planned", False, "Callbacks to your own server"),
)


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """Return the ``usage`` object of an answer, with nominal credits."""
    credits = (
        prompt_tokens * CREDITS_PER_1000_PROMPT_TOKENS
        + completion_tokens * CREDITS_PER_1000_COMPLETION_TOKENS
    ) / 1000
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "credits": _plain(credits),
        "credits_usd_reference": _plain(credits / CREDITS_PER_DOLLAR),
    }


def models(ids: Iterable[str], created: int) -> dict[str, Any]:
    """``GET /v1/models``: who chats first, then who composes."""
    names = [*ids, *MUSIC_MODELS]
    entries = [{"id": name, "object": "model", "created": created, "owned_by": OWNER} for name in names]
    return {"object": "list", "data": entries}


def catalog_models(ids: Iterable[str], created: int) -> dict[str, Any]:
    """``GET /v1/catalog/models``."""
    listing = models(ids, created)
    for entry in listing["data"]:
        music = MUSIC_MODELS.get(entry["id"])
        entry.update(_chat_entry(entry["id"]) if music is None else catalog_entry(music))
    return listing


def _chat_entry(name: str) -> dict[str, Any]:
    return {
        "status": "available",
        "description": ABOUT_MODELS[name],
        "capabilities": ["chat", "chat.streaming"],
        "modalities": {"input": ["text"], "output": ["text"]},
        "sandbox": True,
    }


def capabilities() -> dict[str, Any]:
    """``GET /v1/catalog/capabilities``."""
    entries = []
    for name, status, served, about in _CAPABILITIES:
        entries.append(
            {
                "id": name,
                "object": "capability",
                "status": status,
                "description": f"{about}.",
                "sandbox": served,
            }
        )
    return {"object": "list", "data": entries}


def _plain(number: Decimal) -> str:
    """A decimal string without exponent and without trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
