"""View → plain text, for terminals, logs and screen readers. No escape codes, and none from outside pass."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from beatra_nb.display.clean import visible
from beatra_nb.display.view import (
    Audio,
    Badge,
    Card,
    Code,
    Columns,
    Details,
    Fields,
    Image,
    Marked,
    Message,
    Meter,
    Note,
    Player,
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


def _stack(view: Stack | Columns) -> list[str]:
    out: list[str] = []
    for item in view.items:
        lines = _lines(item)
        if out and (len(lines) > 1 or not isinstance(item, Text)):
            out.append("")
        out += lines
    return out


def _meter(view: Meter) -> list[str]:
    percent = min(100.0, max(0.0, view.percent))
    done = round(percent / 5)
    label = f"  {' '.join(visible(view.label).split())}" if view.label else ""
    return [f"{'█' * done}{'░' * (20 - done)}  {percent:.0f} %{label}"]


def _player(view: Player) -> list[str]:
    name = " · ".join(part for part in (view.mark, view.title, view.time) if part)
    facts = _row(Row(view.facts)) if view.facts else []
    return [
        " ".join(visible(name).split()),
        *(f"  {line}".rstrip() for line in (*facts, *(line for part in view.body for line in _lines(part)))),
    ]


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
    Marked: lambda view: _split("".join(piece for piece, _ in view.pieces)),
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
    Audio: lambda view: _split(view.label),
    Image: lambda view: _split(view.alt),
    Meter: _meter,
    Player: _player,
    Columns: _stack,
}
