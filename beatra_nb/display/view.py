"""The neutral view: what is to be seen, without a word of markup.

``views`` makes one such tree per object; ``html``, ``markdown`` and ``plain`` each turn it into a string and are
the only places where text is escaped. Nodes hold plain, unescaped, possibly hostile text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, Union

Tone = Literal["plain", "info", "good", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Text:
    """Text as it stands, line breaks kept."""

    text: str
    strong: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Prose:
    """Markdown that a model wrote."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """A block of code or data; ``language`` is a hint for colours."""

    text: str
    language: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Badge:
    """A small fact: a label, a value, or both. ``copy`` marks ids that a reader wants to take along."""

    label: str
    value: str = ""
    tone: Tone = "plain"
    copy: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Small things side by side; they wrap where room is short."""

    items: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Stack:
    """Things one below the other."""

    items: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence to the reader that must not be overlooked."""

    text: str
    tone: Tone = "info"


@dataclass(frozen=True, slots=True)
class Fields:
    """Names and values, one pair a line."""

    rows: tuple[tuple[str, View], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head; ``figures`` names the columns that are set flush right."""

    head: tuple[str, ...]
    rows: tuple[tuple[View, ...], ...]
    figures: frozenset[int] = frozenset()
    label: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """What is folded away under a line that says what it is."""

    summary: str
    body: View


@dataclass(frozen=True, slots=True)
class Message:
    """One voice of a conversation."""

    role: str
    body: View
    mine: bool = False
    footer: View | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A framed whole: title, body, quiet footer. ``label`` is its name for a screen reader."""

    body: View
    label: str
    title: View | None = None
    footer: View | None = None
    tone: Tone = "plain"


View: TypeAlias = Union[  # noqa: UP007 - the classes above name it before it exists
    Text, Prose, Code, Badge, Row, Stack, Note, Fields, Table, Details, Message, Card
]
