"""A score: who plays what, when, how loudly. Times are in beats from the first bar, before any swing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from beatra_nb.sandbox.music.form import Form
from beatra_nb.sandbox.music.genre import Genre, Layer
from beatra_nb.sandbox.music.harmony import Chord


@dataclass(frozen=True, slots=True)
class Note:
    """One note: beats, a MIDI number, how hard (0–1), and seconds that it comes later than written."""

    start: float
    length: float
    pitch: int
    velocity: float
    late: float = 0.0


@dataclass(frozen=True, slots=True)
class Hit:
    """One stroke of a drum."""

    start: float
    piece: str
    velocity: float


@dataclass(frozen=True, slots=True)
class Part:
    """One player's notes, and how the player stands in the room."""

    layer: Layer
    instrument: str
    style: str
    notes: tuple[Note, ...]

    @property
    def role(self) -> str:
        """What the part is for: ``bass``, ``lead`` and so on."""
        return self.layer.role


@dataclass(frozen=True, slots=True)
class Score:
    """Everything that will sound."""

    genre: Genre
    form: Form
    tonic: int
    mode: str
    chords: Sequence[Sequence[Chord]]  # bar by bar; the last one is the final chord
    parts: tuple[Part, ...]
    hits: tuple[Hit, ...]
    brightness: float = 0.0
    facts: dict[str, str] = field(default_factory=dict)
