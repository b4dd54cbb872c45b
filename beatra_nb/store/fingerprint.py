"""What a run is known by: what was asked and how, part by part; and how two runs differ, in plain words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHOWN = 60  # characters of a part that an error quotes


def taken(fingerprint: Mapping[str, object]) -> dict[str, str]:
    """Return a fingerprint with each part written down: the same value always as the same text."""
    return {name: _plain(value) for name, value in sorted(fingerprint.items())}


def written(parts: Mapping[str, str]) -> str:
    """Write one down, for a file."""
    return json.dumps(parts, ensure_ascii=False, sort_keys=True)


def difference(asked: Mapping[str, str], known: Sequence[str]) -> str:
    """Say what is asked otherwise than in the run that comes nearest.

    Parameters
    ----------
    asked : mapping
        What is asked now.
    known : sequence of str
        What was asked in other runs, as it was written down; of those that come equally near, the first one counts.
    """
    nearest = min((_changed(_read(each), asked) for each in known), key=len)
    return " and ".join([", ".join(nearest[:-1]), nearest[-1]] if len(nearest) > 1 else nearest)


def _changed(known: Mapping[str, str], asked: Mapping[str, str]) -> list[str]:
    """Name the parts that differ, with their values where those are short."""
    parts = []
    for name in {**known, **asked}:
        before, after = known.get(name), asked.get(name)
        if before != after:
            brief = all(value is None or len(value) <= SHOWN for value in (before, after))
            parts.append(f"{name} ({_said(before)} → {_said(after)})" if brief else name)
    return parts


def _read(words: str) -> dict[str, str]:
    try:
        parts = json.loads(words)
    except ValueError:
        parts = None
    return parts if isinstance(parts, dict) else {}


def _said(value: str | None) -> str:
    return "nothing" if value is None or value == "null" else value


def _plain(value: object) -> str:
    try:
        return storable(json.dumps(value, ensure_ascii=False, sort_keys=True))
    except (TypeError, ValueError, RecursionError):
        return storable(str(value))


def storable(text: str) -> str:
    """Return a text that a database takes: half a character is none."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
