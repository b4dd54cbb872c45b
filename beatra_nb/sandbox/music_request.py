"""A music request's body, checked field by field, and made into what the composer is told."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from beatra_nb.core.settings import is_loopback
from beatra_nb.sandbox.checks import Checker, well_formed
from beatra_nb.sandbox.contract import Refusal, pointer
from beatra_nb.sandbox.music_models import FAMILIES, MUSIC_MODELS, MusicModel, find

MAX_PROMPT = 10_000
MAX_LYRICS = 20_000
MAX_TITLE = 200
MAX_URL = 2048
SHORTEST, LONGEST = 2.0, 240.0
FORMATS = ("mp3", "ogg")
SANDBOX_OPTIONS = ("seconds", "format", "seed")
OWN_ADDRESS = re.compile(r"/cdn/([A-Za-z0-9_-]{16,64})/[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class MusicRequest:
    """A checked request. A reference is an artifact's id, or the token of an address of the sandbox's own."""

    asked: str
    model: MusicModel
    title: str | None
    metadata: dict[str, Any]
    wire: dict[str, Any]
    spec: dict[str, Any]
    artifact_id: str | None
    token: str | None

    @property
    def characters(self) -> int:
        """How much text it holds."""
        return len(self.spec["prompt"]) + len(self.spec["lyrics"] or "")

    @property
    def warnings(self) -> list[dict[str, Any]]:
        """What is said about it from the first answer on."""
        message = f"Composed by the sandbox's synthesizer, in place of {self.model.id}."
        return [{"code": "sandbox_model", "message": message, "field": "model"}]


def music_request(body: dict[str, Any], *, reference: bool) -> MusicRequest:
    """Check a body for one of the two music endpoints; fields that are not known are ignored.

    Raises
    ------
    Refusal
        ``unsupported_model``, ``invalid_request`` or ``unsupported_option``.
    """
    check = Checker(body)
    asked = check.text("model") or "auto"
    model = find(asked)
    prompt = check.text("prompt", longest=MAX_PROMPT)
    lyrics = check.text("lyrics", longest=MAX_LYRICS)
    if not (prompt or "").strip() and not (lyrics or "").strip() and not check.errors:
        check.bad("/prompt", "or /lyrics must hold some text")
    instrumental = check.boolean("instrumental")
    title = well_formed((check.text("title", longest=MAX_TITLE) or "").strip()) or None
    metadata = check.metadata()
    options = check.mapping("model_options")
    suno, sandbox = _options(check, options, model)
    artifact_id, token = _reference(check, wanted=reference)
    seed = check.whole("seed", 0, 2**63 - 1, sandbox, "model_options", "sandbox")
    spec: dict[str, Any] = {
        "prompt": well_formed(prompt or ""),
        "lyrics": well_formed(lyrics or ""),
        "instrumental": instrumental,
        "title": title,
        "seed": secrets.randbits(31) if seed is None else seed,
        "clips": model.clips if model else 1,
        "format": check.choice("format", *FORMATS, of=sandbox, path=("model_options", "sandbox")) or "mp3",
        "seconds": check.number("seconds", SHORTEST, LONGEST, sandbox, "model_options", "sandbox"),
        "style_weight": check.number("style_weight", 0, 1, suno, "model_options", "suno"),
        "weirdness": check.number("weirdness_constraint", 0, 1, suno, "model_options", "suno"),
    }
    if model is None and not check.errors:
        known = ", ".join(["auto", *MUSIC_MODELS])
        raise Refusal(
            "unsupported_model",
            f"There is no music model {asked[:80]!r} here; there is: {known}.",
            param="/model",
        )
    check.finish("The sandbox does" if model is None else f"{model.id} in the sandbox does")
    assert model is not None  # noqa: S101 - refused above
    return MusicRequest(asked, model, title, metadata, body, spec, artifact_id, token)


def _options(
    check: Checker, options: dict[str, Any], model: MusicModel | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check ``model_options``: the model's own family, and the sandbox's."""
    own = {name: check.mapping(name, options, "model_options") for name in (*sorted(FAMILIES), "sandbox")}
    check.boolean("custom_mode", own["suno"], "model_options", "suno")
    for name, given in options.items():
        foreign = name not in own or (name != "sandbox" and model is not None and name != model.family)
        if foreign and given is not None:
            check.unsupported.append(pointer("model_options", name)[1:])
    check.unsupported += [
        pointer("model_options", "sandbox", name)[1:]
        for name in own["sandbox"]
        if name not in SANDBOX_OPTIONS
    ]
    return own["suno"], own["sandbox"]


def _reference(check: Checker, *, wanted: bool) -> tuple[str | None, str | None]:
    """Check ``reference_audio``: exactly one of an artifact's id and an address."""
    holder = check.mapping("reference_audio")
    if not wanted:
        if check.body.get("reference_audio") is not None:
            check.unsupported.append("reference_audio")
        return None, None
    if check.body.get("reference_audio") is None:
        check.bad("/reference_audio", 'is required: {"artifact_id": …} or {"url": …}')
        return None, None
    artifact_id = check.text("artifact_id", holder, "reference_audio")
    url = check.text("url", holder, "reference_audio", longest=MAX_URL)
    if (holder.get("artifact_id") is None) == (holder.get("url") is None):
        if isinstance(check.body["reference_audio"], dict):
            check.bad("/reference_audio", "must hold exactly one of artifact_id and url")
        return None, None
    return artifact_id, None if url is None else _token(check, url)


def _token(check: Checker, url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        check.bad("/reference_audio/url", "is no address")
        return None
    if is_loopback(host) and (own := OWN_ADDRESS.fullmatch(parts.path)):
        return own[1]  # whatever the port: a sandbox that was started again knows its files
    if parts.scheme != "https" or not host:
        check.bad("/reference_audio/url", "must be an https address")
        return None
    if not check.errors:
        raise Refusal(
            "unsupported_option",
            "The sandbox has no network and cannot fetch /reference_audio/url. Upload the file (POST /v1/uploads) "
            "and send its artifact_id.",
            param="/reference_audio/url",
            details={"unsupported_fields": ["reference_audio/url"]},
        )
    return None
