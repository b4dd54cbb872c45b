"""What a request that was never recorded has in common with one that was, and where they differ."""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING

from beatra_nb.store.cassettes.exchange import comparable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from beatra_nb.store.cassettes.exchange import Asked

SHOWN = 300  # characters of a difference
COMPARED = 4000  # characters of a text that are looked at
LOOKED_AT = 500  # recorded requests that are compared
_MISSING = object()


def difference(asked: Asked, recorded: Iterable[Asked]) -> str:
    """Say how a request differs from the nearest of those that were recorded.

    Examples
    --------
    >>> from beatra_nb.store.cassettes.exchange import Asked
    >>> difference(Asked("GET", "/tasks/task_2"), [Asked("GET", "/tasks/task_1")])
    'The nearest that was recorded is GET /tasks/task_1.'
    """
    every = list(recorded)
    if not every:
        return "Nothing was recorded yet."
    alike = [each for each in every if (each.method, each.path) == (asked.method, asked.path)]
    if not alike:
        lines = sorted(
            {each.line for each in every if each.method == asked.method} or {each.line for each in every}
        )
        near = difflib.get_close_matches(asked.line, lines[:LOOKED_AT], 1, 0.0) or lines
        return f"The nearest that was recorded is {near[0][:SHOWN]}."
    differences = [_differences(asked, each) for each in alike[-LOOKED_AT:]]
    best = min(differences, key=_weight)
    if not best:
        return "It was recorded, but with fewer answers than are asked for."
    where, ours, theirs = best[0]
    more = f" (and {len(best) - 1} more)" if len(best) > 1 else ""
    return f"The nearest that was recorded differs in {where}{more}: {_words(theirs, ours)}"


def _differences(asked: Asked, recorded: Asked) -> list[tuple[str, object, object]]:
    """Return where two requests differ: the field, what is asked, what was recorded."""
    ours, theirs = dict(_leaves(comparable(asked.body))), dict(_leaves(comparable(recorded.body)))
    if asked.query != recorded.query:
        ours["the query"], theirs["the query"] = asked.query, recorded.query
    names = [*ours, *(name for name in theirs if name not in ours)]
    pairs = ((name, ours.get(name, _MISSING), theirs.get(name, _MISSING)) for name in names)
    return [(name or "the body", a, b) for name, a, b in pairs if a is _MISSING or b is _MISSING or a != b]


def _weight(differences: list[tuple[str, object, object]]) -> float:
    """Return how far apart two requests are: a word in a prompt counts less than a field that is missing."""
    total = 0.0
    for _, ours, theirs in differences:
        if isinstance(ours, str) and isinstance(theirs, str):
            total += 1 - difflib.SequenceMatcher(None, theirs[:COMPARED], ours[:COMPARED]).quick_ratio() / 2
        else:
            total += 1
    return total


def _leaves(value: object, path: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Yield each plain value with the path that leads to it."""
    if isinstance(value, dict) and value and depth < 50:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name), depth + 1)
    elif isinstance(value, list) and value and depth < 50:
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]", depth + 1)
    else:
        yield path, value


def _words(before: object, after: object) -> str:
    """Show what was recorded and what is asked; of texts, word by word.

    Examples
    --------
    >>> _words("Say hi in five words.", "Say hi in six words.")
    '“Say hi in [-five-] {+six+} words.”.'
    """
    if not (isinstance(before, str) and isinstance(after, str)):
        return _short(f"recorded was {_value(before)}, asked is {_value(after)}.")
    old, new = (re.findall(r"\S+|\n", text[:COMPARED]) for text in (before, after))
    parts: list[str] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            same = old[a:b]
            parts += same if len(same) <= 8 else [*same[:4], "…", *same[-4:]]
            continue
        parts += [f"[-{' '.join(old[a:b])}-]"] if b > a else []
        parts += [f"{{+{' '.join(new[c:d])}+}}"] if d > c else []
    if old == new:
        return "in its spaces alone." if len(before) < COMPARED else "towards its end."
    return f"“{_short(' '.join(parts))}”."


def _value(value: object) -> str:
    return "nothing" if value is _MISSING else json.dumps(value, ensure_ascii=False, default=str)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
