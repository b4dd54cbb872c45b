"""View → markdown, for front ends without html, and for files that people read and keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beatra_nb.display import prose_markdown, tex
from beatra_nb.display.escapes import md_cell, md_code, md_fence, md_lines, md_text
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


def render(view: View) -> str:
    """Return a view as markdown in which every text from outside is inert."""
    return "\n\n".join(_blocks(view)) + "\n"


def _blocks(view: View) -> list[str]:
    return [block for block in _WRITERS[type(view)](view) if block]


def _inline(view: View) -> str:
    """Write a view on one line, for rows and cells."""
    if isinstance(view, Text):
        text = md_text(view.text)
        return f"**{text}**" if view.strong and text.strip() == text != "" else text
    if isinstance(view, Marked):
        return _marked(view)[0].replace("\\\n", " ")
    if isinstance(view, Badge):
        value = md_code(view.value) if view.copy else md_text(view.value)
        if view.tone != "plain" and not view.value:
            return f"**{md_text(view.label)}**"
        return " ".join(part for part in (md_text(view.label), value if view.value else "") if part)
    if isinstance(view, Row):
        return " · ".join(_inline(item) for item in view.items)
    if isinstance(view, Stack):
        return " — ".join(_inline(item) for item in view.items)
    if isinstance(view, Code):
        return md_code(view.text)
    return " ".join(_blocks(view)).replace("\n", " ")


def _text(view: Text) -> list[str]:
    if view.strong:
        return [_inline(view).replace("\n", " ")]
    return [md_lines(view.text)]


def _marked(view: Marked) -> list[str]:
    text = "".join(piece for piece, _ in view.pieces)
    if tex.is_active(text):
        return [md_lines(text)]  # a formula may reach over several pieces
    parts = [
        md_code(piece) if out else _between(piece) if at else md_text(piece)
        for at, (piece, out) in enumerate(view.pieces)
    ]
    return ["\\\n".join(line or "&nbsp;" for line in "".join(parts).strip("\n").split("\n"))]


def _between(text: str) -> str:
    """Write a text that follows a piece on the same line: blanks at its beginning are no indent."""
    inner = text.lstrip(" ")
    return text[: len(text) - len(inner)] + (md_text(inner) if inner else "")


def _code(view: Code) -> list[str]:
    return [md_text(view.label), md_fence(view.text, view.language)]


def _line(view: View) -> list[str]:
    return [_inline(view)]


def _stack(view: Stack | Columns) -> list[str]:
    return [block for item in view.items for block in _blocks(item)]


def _note(view: Note) -> list[str]:
    return [_quote(md_lines(view.text))]


def _fields(view: Fields) -> list[str]:
    return ["\n".join(_field(name, value) for name, value in view.rows)]


def _field(name: str, value: View) -> str:
    if isinstance(value, Fields | Table):  # a list in the list, or a table in it
        gap = "\n" if isinstance(value, Fields) else "\n\n"
        inner = "\n".join(f"  {line}".rstrip() for line in _blocks(value)[0].split("\n"))
        return f"- {md_text(name)}:{gap}{inner}"
    return f"- {md_text(name)}: {_inline(value)}".replace("\\\n", " ")


def _table(view: Table) -> list[str]:
    lines = [
        " | ".join(md_cell(md_text(name)) for name in view.head),
        " | ".join("--:" if at in view.figures else "---" for at in range(len(view.head))),
        *(" | ".join(md_cell(_inline(value)) for value in row) for row in view.rows),
    ]
    return ["\n".join(f"| {line} |" for line in lines)]


def _details(view: Details) -> list[str]:
    return [md_text(view.summary), *(_quote(block) for block in _blocks(view.body))]


def _message(view: Message) -> list[str]:
    footer = [_inline(view.footer)] if view.footer else []
    return [f"**{md_text(view.role)}**", *_blocks(view.body), *footer]


def _card(view: Card) -> list[str]:
    title = _blocks(view.title) if view.title else []
    footer = ["---", _inline(view.footer)] if view.footer else []
    return [*title, *_blocks(view.body), *footer]


def _meter(view: Meter) -> list[str]:
    return [
        md_text(f"{min(100.0, max(0.0, view.percent)):.0f} %" + (f" · {view.label}" if view.label else ""))
    ]


def _player(view: Player) -> list[str]:
    name = " · ".join(part for part in (view.mark, view.title) if part)
    head = _inline(Text(name, strong=True)) + (f" ({md_text(view.time)})" if view.time else "")
    facts = [_inline(Row(view.facts))] if view.facts else []
    return [head, *facts, *(block for part in view.body for block in _blocks(part))]


def _quote(block: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in block.split("\n"))


_WRITERS: dict[type, Callable[[Any], list[str]]] = {
    Text: _text,
    Marked: _marked,
    Prose: lambda view: [prose_markdown.to_markdown(view.text)],
    Code: _code,
    Badge: _line,
    Row: _line,
    Stack: _stack,
    Note: _note,
    Fields: _fields,
    Table: _table,
    Details: _details,
    Message: _message,
    Card: _card,
    Audio: lambda view: [md_text(view.label)],  # the bytes themselves are for html alone
    Image: lambda view: [md_text(view.alt)],
    Meter: _meter,
    Player: _player,
    Columns: _stack,
}
