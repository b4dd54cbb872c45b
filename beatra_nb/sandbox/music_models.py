"""The sandbox's music models: what each is called, costs and takes. One synthesizer composes for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

COMPOSER = "sandbox-composer"
CAPABILITIES = ("music.text-to-music", "music.reference-audio-to-music")


@dataclass(frozen=True, slots=True)
class MusicModel:
    """A music model of the public contract, as the sandbox plays it."""

    id: str
    family: str  # the part of ``model_options`` that is its own
    credits: int
    clips: int
    about: str


MUSIC_MODELS = {
    each.id: each
    for each in (
        MusicModel("suno-5.5", "suno", 80, 2, "Music in two takes"),
        MusicModel("minimax-music-2.6", "minimax", 50, 1, "Music in one take"),
    )
}
AUTO = MUSIC_MODELS["suno-5.5"]  # what "auto" plays
FAMILIES = {each.family for each in MUSIC_MODELS.values()}


def find(name: str) -> MusicModel | None:
    """Return the model that a request means."""
    return AUTO if name == "auto" else MUSIC_MODELS.get(name)


def catalog_entry(model: MusicModel) -> dict[str, Any]:
    """Return a music model's row for the catalog."""
    return {
        "status": "preview",
        "description": f"{model.about}; here composed by the sandbox's own synthesizer, instrumental only.",
        "capabilities": ["music", *CAPABILITIES],
        "modalities": {"input": ["text", "audio"], "output": ["audio"]},
        "clips": model.clips,
        "price": {
            "credits": str(model.credits),
            "credits_usd_reference": str(Decimal(model.credits) / 1000),
            "unit": "task",
        },
        "sandbox": True,
    }
