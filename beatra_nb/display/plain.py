"""View → plain text, for terminals, logs and screen readers. No escape codes, and none from outside pass."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from beatra_nb.display.clean import visible
from beatra_nb.display.view import (
    Badge,
    Card,
    Code,
    Details,
    Fields,
    Message,
    Note,
    Prose,
    Row,
    Stack,
    Table,
    Text,
    View,
)

_UNUSUAL = re.compile("[^\x00-\u02ff\u2010-\u2027]")  # all that may not be one column wide


def render(view: View) -> str:
    """Return a view as plain text."""
    return "\n".join(_lines(view)).strip("\n")


def width(text: str) -> int:
    """Return how many columns a terminal gives a line: wide letters two, combining marks none."""
    if text.isascii():
        return len(text)
    return len(text) + sum(map(_extra, _UNUSUAL.findall(text)))


def _extra(char: str) -> int:
    if unicodedata.combining(char) or char in "\u200c\u200d\ufe0e\ufe0f":
        return -1
    return 1 if unicodedata.east_asian_width(char) in "WF" else 0


def _lines(view: View) -> list[str]:
    return _WRITERS[type(view)](view)


def _split(text: str) -> list[str]:
    return visible(text).expandtabs(4).split("\n")


def _code(view: Code) -> list[str]:
    return [*([visible(view.label)] if view.label else []), *(f"    {line}" for line in _split(view.text))]


def _badge(view: Badge) -> list[str]:
    label = f"[{view.label}]" if view.tone != "plain" and not view.value else view.label
    return [" ".join(visible(f"{label} {view.value}").split())]


def _row(view: Row) -> list[str]:
    return [" · ".join(" ".join(_lines(item)) for item in view.items)]


def _stack(view: Stack) -> list[str]:
    out: list[str] = []
    for item in view.items:
        lines = _lines(item)
        if out and (len(lines) > 1 or not isinstance(item, Text)):
            out.append("")
        out += lines
    return out


def _fields(view: Fields) -> list[str]:
    names = [visible(name) for name, _ in view.rows]
    wide = max(map(width, names), default=0)
    out: list[str] = []
    for name, (_, value) in zip(names, view.rows, strict=True):
        first, *rest = _lines(value) or [""]
        out.append(f"{name}{' ' * (wide - width(name))}  {first}".rstrip())
        out += [f"{' ' * wide}  {line}".rstrip() for line in rest]
    return out


def _table(view: Table) -> list[str]:
    rows = [[visible(name) for name in view.head]]
    rows += [[" ".join(" ".join(_lines(value)).split()) for value in row] for row in view.rows]
    wide = [max((width(row[at]) for row in rows if at < len(row)), default=0) for at in range(len(view.head))]
    out = []
    for row in rows:
        cells = []
        for at, text in enumerate(row):
            gap = " " * (wide[at] - width(text))
            cells.append(gap + text if at in view.figures else text + gap)
        out.append("  ".join(cells).rstrip())
    out.insert(1, "  ".join("─" * columns for columns in wide))
    return out


def _details(view: Details) -> list[str]:
    return [f"{visible(view.summary)}:", *(f"  {line}".rstrip() for line in _lines(view.body))]


def _message(view: Message) -> list[str]:
    footer = [f"  {line}" for line in _lines(view.footer)] if view.footer else []
    return [f"{visible(view.role)}:", *(f"  {line}".rstrip() for line in _lines(view.body)), *footer]


def _card(view: Card) -> list[str]:
    title = [*_lines(view.title), ""] if view.title else []
    footer = ["", f"— {' '.join(_lines(view.footer))}"] if view.footer else []
    return [*title, *_lines(view.body), *footer]


_WRITERS: dict[type, Callable[[Any], list[str]]] = {
    Text: lambda view: _split(view.text),
    Prose: lambda view: _split(view.text.strip("\n")),
    Code: _code,
    Badge: _badge,
    Row: _row,
    Stack: _stack,
    Note: lambda view: [f"! {line}" for line in _split(view.text)],
    Fields: _fields,
    Table: _table,
    Details: _details,
    Message: _message,
    Card: _card,
}
