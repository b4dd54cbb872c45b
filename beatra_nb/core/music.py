"""What a user passes to ``bn.music`` → a checked request. Everything wrong is found here, before it is paid for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias
from urllib.parse import urlsplit

from beatra_nb.core.errors import APIError, InvalidInput
from beatra_nb.core.media import Artifact, BaseClip
from beatra_nb.core.policy import check_key, new_key
from beatra_nb.core.request import encode

if TYPE_CHECKING:
    from beatra_nb.core.sources import Source

Reference: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO | Artifact | BaseClip"
Rerun = Literal["new", "reuse"]

TEXT_TO_MUSIC = "/music/text-to-music"
REFERENCE_TO_MUSIC = "/music/reference-audio-to-music"

# The prices a task that the public reference names: a model's id → credits and clips.
PRICES: dict[str, tuple[int, int]] = {"suno-5.5": (80, 2), "minimax-music-2.6": (50, 1)}
FAMILIES = {"suno": "suno-", "minimax": "minimax-"}  # options' name → how its models' ids begin
ZERO_TO_ONE = {("suno", "style_weight"), ("suno", "weirdness_constraint")}


@dataclass(frozen=True, slots=True)
class MusicRequest:
    """A music call, checked.

    Attributes
    ----------
    body : dict
        The body, without the reference where that has still to be uploaded.
    source : Source or None
        A file that is to be uploaded first.
    uploaded : Artifact or None
        What it became.
    key : str
        The idempotency key of this logical call.
    chosen : bool
        Whether the user chose the key.
    rerun : {"new", "reuse"}
        What the same request made again means.
    """

    body: dict[str, Any]
    source: Source | None
    key: str
    chosen: bool
    rerun: Rerun
    uploaded: Artifact | None = None

    @classmethod
    def of(
        cls,
        prompt: str = "",
        *,
        lyrics: str | None = None,
        instrumental: bool | None = None,
        title: str | None = None,
        model: str = "auto",
        reference: Reference | None = None,
        model_options: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        rerun: str = "new",
        own_options: bool = True,
    ) -> MusicRequest:
        """Check what the user passed; ``own_options`` is False where nobody knows the sandbox's options.

        Raises
        ------
        InvalidInput
            If it could not succeed; the message says how to mend it.
        """
        prompt, words = _text("prompt", prompt), _text("lyrics", lyrics)
        if not prompt.strip() and not words.strip():
            raise InvalidInput(
                "Both prompt and lyrics are empty: there is nothing to make music from.",
                hint='Say how it shall sound: bn.music("dream pop, warm analog drums").',
            )
        if not isinstance(model, str) or not model.strip():
            raise InvalidInput(
                f"model must be 'auto' or a model's id, not {model!r:.80}.",
                hint=f"Music models are {', '.join(PRICES)}; bn.models() lists this account's.",
            )
        if instrumental is not None and not isinstance(instrumental, bool):
            raise InvalidInput(f"instrumental must be True, False or None, not {instrumental!r:.80}.")
        if instrumental and words.strip():
            raise InvalidInput(
                "There are lyrics, and instrumental=True says that nobody sings.",
                hint="Leave one of the two out.",
            )
        if rerun not in ("new", "reuse"):
            raise InvalidInput(
                f"rerun must be 'new' or 'reuse', not {rerun!r:.80}.",
                hint="'reuse' lets a cell that is run again attach to the job it already started.",
            )
        body: dict[str, Any] = {"model": model.strip()}
        if prompt.strip():
            body["prompt"] = prompt
        if words.strip():
            body["lyrics"] = words
        if instrumental is not None:
            body["instrumental"] = instrumental
        if _text("title", title).strip():
            body["title"] = _text("title", title)
        if metadata is not None:
            body["metadata"] = checked_metadata(metadata)
        if options := _options(model_options, body["model"], own_options):
            body["model_options"] = options
        source = None
        if reference is not None:
            wire, source = _reference(reference)
            if wire is not None:
                body["reference_audio"] = wire
        # What cannot be sent is refused now, not after a key was used; and a name that is no text is a text from now
        # on, as it is on the wire.
        body = json.loads(encode(body))
        chosen = idempotency_key is not None
        key = check_key(idempotency_key) if idempotency_key is not None else new_key()
        return cls(body, source, key, chosen, rerun)  # type: ignore[arg-type]

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.body["model"])

    @property
    def path(self) -> str:
        """Where it is sent."""
        return REFERENCE_TO_MUSIC if self.source or "reference_audio" in self.body else TEXT_TO_MUSIC

    @property
    def json(self) -> bytes:
        """The body as it is sent."""
        return encode(self.body)

    @property
    def fingerprint(self) -> str:
        """What tells this request from others, however its fields are ordered."""
        return hashlib.sha256(
            json.dumps([self.path, self.body], sort_keys=True, separators=(",", ":")).encode()
        ).hexdigest()

    def with_artifact(self, artifact: Artifact) -> MusicRequest:
        """Return the request with its reference uploaded."""
        # The field is not in the public reference: this is the one place that names it.
        body = {**self.body, "reference_audio": {"artifact_id": artifact.id}}
        return replace(self, body=body, uploaded=artifact)

    @property
    def artifact_id(self) -> str | None:
        """The artifact that it refers to."""
        return (self.body.get("reference_audio") or {}).get("artifact_id")

    def blames_reference(self, error: APIError) -> bool:
        """Whether the service refused for the reference's sake: it may not keep it any more."""
        told = [error.param, *(entry.get("param") for entry in _entries(error.details.get("errors")))]
        blamed = error.status == 404 or any("reference_audio" in str(each) for each in told if each)
        return not error.retryable and blamed

    def with_key(self, key: str) -> MusicRequest:
        """Return the request under another key."""
        return replace(self, key=key)


def price_of(model: str) -> str:
    """Return what a task costs, in words; empty where that is not known.

    Examples
    --------
    >>> price_of("suno-5.5")
    '80 credits'
    >>> price_of("auto")
    '50 or 80 credits'
    """
    if model in PRICES:
        return f"{PRICES[model][0]} credits"
    if model == "auto":
        return (
            " or ".join(str(credits) for credits in sorted({price for price, _ in PRICES.values()}))
            + " credits"
        )
    return ""


def checked_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Check what is said about a job or a file: a JSON object."""
    if not isinstance(metadata, Mapping) or not all(isinstance(name, str) for name in metadata):
        raise InvalidInput(
            f"metadata must be a dict with text as its keys, not {type(metadata).__name__}.",
            hint='metadata={"project": "demo"}',
        )
    return dict(metadata)


def _entries(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be text, not {type(value).__name__}.")
    return value


def _options(given: Mapping[str, Any] | None, model: str, own_options: bool) -> dict[str, Any]:
    if given is None:
        return {}
    example = 'model_options={"suno": {"style_weight": 0.7}}'
    if not isinstance(given, Mapping):
        raise InvalidInput(f"model_options must be a dict, not {type(given).__name__}.", hint=example)
    options = {}
    for family, values in given.items():
        if not isinstance(values, Mapping):
            raise InvalidInput(
                f"model_options hold one dict for each family of models; {family!r:.60} holds a "
                f"{type(values).__name__}.",
                hint=example,
            )
        if family in FAMILIES and model != "auto" and not model.startswith(FAMILIES[family]):
            raise InvalidInput(
                f"The options of {family!r} do not fit the model {model!r}.",
                hint=f"Leave them out, or ask a model whose id begins with {FAMILIES[family]!r}.",
            )
        for name, value in values.items():
            if (family, name) in ZERO_TO_ONE and (
                isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1
            ):
                raise InvalidInput(f"{name} must be a number from 0 to 1, not {value!r:.60}.")
        if family != "sandbox" or own_options:
            options[family] = dict(values)
    return options


def _reference(reference: object) -> tuple[dict[str, str] | None, Source | None]:
    """Return the reference as it is sent, or the file that has to be uploaded first."""
    from beatra_nb.core.sources import source_of

    if isinstance(reference, BaseClip):
        if not reference.artifact_id:
            raise InvalidInput(
                "This clip has no artifact id.", hint="Pass its bytes: reference=clip.audio()."
            )
        return {"artifact_id": reference.artifact_id}, None
    if isinstance(reference, Artifact):
        if reference.media_type and not reference.media_type.startswith("audio/"):
            raise InvalidInput(f"A reference must be audio, and this artifact is {reference.media_type}.")
        return {"artifact_id": reference.id}, None
    if isinstance(reference, str) and "://" in reference:
        return {"url": _https(reference)}, None
    if isinstance(reference, str) and _looks_like_id(reference):
        return {"artifact_id": reference.strip()}, None
    return None, source_of(reference, purpose="reference_audio")  # type: ignore[arg-type]


def _https(url: str) -> str:
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        raise InvalidInput("This reference is no usable address.") from None
    if parts.scheme != "https" or not parts.hostname:
        raise InvalidInput(
            f"A reference's address must begin with https://, not with {parts.scheme[:20]}://.",
            hint="The service fetches it from the open web; a file on this machine is passed as a path.",
        )
    if parts.username or parts.password:
        raise InvalidInput("A reference's address must not hold a user or a password.")
    return url.strip()


def _looks_like_id(text: str) -> bool:
    """Whether a text is an artifact's id: no folder, no suffix, and no such file."""
    text = text.strip()
    return bool(text) and not any(sign in text for sign in "/\\.~ ") and not os.path.exists(text)
