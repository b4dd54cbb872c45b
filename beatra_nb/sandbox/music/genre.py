"""How a genre is written down: tempo, harmony, players, patterns, room and tone.

Chords are Roman numerals of the major scale (``bVII`` in minor too), bars apart by spaces, chords within a bar by
commas. Rhythms are one bar of sixteenths: ``X`` loud, ``x`` normal, ``o`` soft, ``.`` nothing.
How chords and basses are played stands in ``patterns``, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Beat = Mapping[str, str]  # piece of the kit → rhythm


@dataclass(frozen=True, slots=True)
class Layer:
    """One player.

    Attributes
    ----------
    role : str
        ``bass``, ``chords``, ``pad``, ``arp``, ``riff``, ``lead`` or ``answer``.
    instruments : tuple of str
        What may play it; each take chooses.
    styles : tuple of str
        How it may be played (``patterns``); for a lead, how dense its tune may be.
    level : float
        Loudness in dB against the drums.
    enter : float
        The section's energy from which it plays.
    leave : float
        The energy from which it no longer plays.
    centre : int
        Where it likes to be, as a MIDI number.
    voices : int
        Notes of a chord.
    send, pan : float
        Its share of the room, and its place from −1 to 1.
    echo : float
        Beats between echoes; 0 for none.
    """

    role: str
    instruments: tuple[str, ...]
    styles: tuple[str, ...]
    level: float = -6.0
    enter: float = 0.0
    leave: float = 9.0
    centre: int = 62
    voices: int = 4
    send: float = 0.2
    pan: float = 0.0
    echo: float = 0.0


@dataclass(frozen=True, slots=True)
class Genre:
    """A way to make music."""

    name: str
    words: tuple[str, ...]
    tempo: tuple[float, float]
    modes: tuple[str, ...]
    verses: Mapping[str, tuple[str, ...]]
    choruses: Mapping[str, tuple[str, ...]]
    cadence: Mapping[str, tuple[str, str]]  # the bar before the end, and the end
    layers: tuple[Layer, ...]
    kit: str = "studio"
    beats: tuple[tuple[Beat, ...], ...] = ()  # for light, main and full energy: variants
    fill: str = "toms"
    swing: float = 0.5
    swing_unit: float = 1.0
    human: float = 0.006
    laid_back: float = 0.0
    drums_level: float = 0.0
    drums_enter: float = 0.4
    room: tuple[float, float, float] = (1.4, 0.5, 0.8)  # seconds, damping 0–1, level
    pump: float = 0.0
    scale: str = "diatonic"
    tone: tuple[float, float, float] = (
        0.0,
        0.0,
        0.0,
    )  # dB against pink: below 120 Hz, around 500 Hz, above 3 kHz
    glue: float = 0.5
    power: float = 0.0  # how energetic it is as a whole, −0.3 to 0.3
    images: tuple[str, ...] = field(default=("Morning", "Evening", "Distance"))
