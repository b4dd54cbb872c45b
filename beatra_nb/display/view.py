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
class Marked:
    """Text in which some pieces stand out, line breaks kept: pairs of a piece and whether it does."""

    pieces: tuple[tuple[str, bool], ...]


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


@dataclass(frozen=True, slots=True)
class Audio:
    """Sound that plays where it is shown: the compressed file itself.

    ``label`` says what it is, in formats that have no sound, and to a screen reader.
    """

    data: bytes
    media_type: str
    label: str


@dataclass(frozen=True, slots=True)
class Image:
    """A small picture; ``alt`` says the same in words. Its size is in pixels, and shrinks where room is short."""

    data: bytes
    media_type: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Meter:
    """How far something is, from 0 to 100."""

    percent: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Player:
    """One piece of sound with what belongs to it: ``mark`` tells it from others, ``time`` is its length.

    ``sound`` is None when the bytes are not here; ``body`` then says why.
    """

    title: str
    mark: str = ""
    time: str = ""
    wave: Image | None = None
    sound: Audio | None = None
    facts: tuple[View, ...] = ()
    body: tuple[View, ...] = ()


@dataclass(frozen=True, slots=True)
class Columns:
    """Things of equal rank side by side; one below the other where room is short."""

    items: tuple[View, ...]


View: TypeAlias = Union[  # noqa: UP007 - the classes above name it before it exists
    Text,
    Marked,
    Prose,
    Code,
    Badge,
    Row,
    Stack,
    Note,
    Fields,
    Table,
    Details,
    Message,
    Card,
    Audio,
    Image,
    Meter,
    Player,
    Columns,
]
