"""What the server asks of the composer, and how the composer refuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Progress as it is made: percent of the whole job, the stage's name, a line for people.
Report = Callable[[float, str, str], None]

LEAST_SECONDS, MOST_SECONDS = 2.0, 240.0
MOST_PROMPT, MOST_LYRICS = 20_000, 200_000


class Rejected(Exception):
    """An order that cannot be carried out.

    Parameters
    ----------
    message : str
        What is wrong and how to mend it, for the person who asked.
    code : str
        The API's word for it.
    retryable : bool
        Whether the same order might succeed another time.
    """

    def __init__(self, message: str, *, code: str = "invalid_request", retryable: bool = False) -> None:
        super().__init__(message)
        self.message, self.code, self.retryable = message, code, retryable


@dataclass(frozen=True, slots=True)
class Order:
    """One job for the composer; two clips are two takes of it.

    >>> Order.of({"prompt": "a lullaby", "folder": "/tmp", "clips": 2}).clips
    2
    """

    prompt: str
    folder: str
    lyrics: str = ""
    instrumental: bool = False
    title: str = ""
    seed: int = 0
    clips: int = 1
    format: str = "mp3"
    seconds: float | None = None
    style_weight: float | None = None
    weirdness: float | None = None
    reference: str | None = None

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Order:
        """Read an order, leniently where it does not matter and strictly where it does."""
        folder = raw.get("folder")
        if not isinstance(folder, str) or not folder:
            raise Rejected("The order names no folder to write to.", code="internal_error")
        form = raw.get("format") or "mp3"
        if form not in {"mp3", "ogg"}:
            raise Rejected(f"The composer writes mp3 and ogg, not {str(form)[:20]!r}.")
        reference = raw.get("reference")
        return cls(
            prompt=_text(raw.get("prompt"), MOST_PROMPT),
            folder=folder,
            lyrics=_text(raw.get("lyrics"), MOST_LYRICS),
            instrumental=bool(raw.get("instrumental")),
            title=_text(raw.get("title"), 400),
            seed=_whole(raw.get("seed")),
            clips=2 if _whole(raw.get("clips")) >= 2 else 1,
            format=form,
            seconds=_number(raw.get("seconds")),
            style_weight=_share(raw.get("style_weight")),
            weirdness=_share(raw.get("weirdness")),
            reference=reference if isinstance(reference, str) and reference else None,
        )


def _text(value: object, most: int) -> str:
    """Return text without what cannot be written as UTF-8: half a surrogate pair, for instance."""
    text = value if isinstance(value, str) else ""
    return text[:most].encode("utf-8", "replace").decode("utf-8")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return None if math.isnan(number) else number


def _share(value: object) -> float | None:
    number = _number(value)
    return None if number is None else min(1.0, max(0.0, number))


def _whole(value: object) -> int:
    if isinstance(value, int):
        return int(value)
    number = _number(value)
    return 0 if number is None or abs(number) == float("inf") else int(number)
