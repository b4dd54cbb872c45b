"""Chords from Roman numerals, and how four voices walk from one to the next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

MODES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
DARK = {"minor", "dorian", "phrygian"}
NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")

_STEPS = {"i": 0, "ii": 2, "iii": 4, "iv": 5, "v": 7, "vi": 9, "vii": 11}
_NUMERAL = re.compile(r"([b#]?)(VII|VI|IV|V|III|II|I|vii|vi|iv|v|iii|ii|i)([^/]*)(?:/(.+))?$")
# Suffix → intervals over the root; major or minor third is the numeral's case where the suffix leaves it open.
_QUALITIES: dict[str, tuple[int, ...]] = {
    "": (0, -1, 7),
    "5": (0, 7),
    "6": (0, -1, 7, 9),
    "7": (0, -1, 7, 10),
    "9": (0, -1, 7, 10, 14),
    "13": (0, -1, 10, 14, 21),
    "7b9": (0, -1, 7, 10, 13),
    "maj7": (0, 4, 7, 11),
    "maj9": (0, 4, 7, 11, 14),
    "m6": (0, 3, 7, 9),
    "m7": (0, 3, 7, 10),
    "m9": (0, 3, 7, 10, 14),
    "m7b5": (0, 3, 6, 10),
    "add9": (0, -1, 7, 14),
    "sus4": (0, 5, 7),
    "dim": (0, 3, 6),
}


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord in a key.

    Attributes
    ----------
    symbol : str
        As written: ``bVImaj7``.
    root : int
        Pitch class, 0 is C.
    tones : tuple of int
        Pitch classes, the root first, then third, fifth and colours.
    """

    symbol: str
    root: int
    tones: tuple[int, ...]

    def nearest(self, pitch: float) -> int:
        """Return the chord tone closest to a pitch; of two equally close the lower."""
        return min(
            range(round(pitch) - 6, round(pitch) + 7),
            key=lambda p: (p % 12 not in self.tones, abs(p - pitch), p),
        )


@lru_cache(maxsize=4096)
def chord(symbol: str, tonic: int) -> Chord:
    """Return the chord that a numeral means over a tonic.

    >>> chord("V7", 0).tones
    (7, 11, 2, 5)
    """
    match = _NUMERAL.match(symbol)
    if match is None:
        raise ValueError(f"no chord is written {symbol!r}")
    accidental, numeral, quality, over = match.groups()
    root = tonic + _STEPS[numeral.lower()] + {"": 0, "b": -1, "#": 1}[accidental]
    if over:
        root += _STEPS[over.lower()]
    third = 4 if numeral[0].isupper() else 3
    tones = tuple(
        dict.fromkeys((root + (third if step == -1 else step)) % 12 for step in _QUALITIES[quality])
    )
    return Chord(symbol, root % 12, tones)


def bars(progression: str, tonic: int, count: int, offset: int = 0) -> list[list[Chord]]:
    """Return ``count`` bars of a progression, begun at bar ``offset`` and repeated as needed."""
    written = [[chord(symbol, tonic) for symbol in bar.split(",")] for bar in progression.split()]
    return [written[(offset + number) % len(written)] for number in range(count)]


def key_name(tonic: int, mode: str) -> str:
    """Return a key as people write it: ``A minor``; modes count as the family they sound like."""
    return f"{NAMES[tonic % 12]} {'minor' if mode in DARK else 'major'}"


def scale(tonic: int, mode: str, kind: str) -> tuple[int, ...]:
    """Return the pitch classes that tunes are made of."""
    steps = MODES[mode]
    if kind == "pentatonic":
        steps = (0, 3, 5, 7, 10) if mode in DARK else (0, 2, 4, 7, 9)
    elif kind == "blues":
        steps = (0, 3, 5, 6, 7, 10)
    return tuple(sorted((tonic + step) % 12 for step in steps))


# --- voice-leading -----------------------------------------------------------------------------------------------


def needed(of: Chord, voices: int) -> tuple[int, ...]:
    """Return the tones that ``voices`` voices should sing: the fifth is the first to be missed by nobody."""
    tones = list(of.tones)
    while len(tones) > voices:
        fifth = next((t for t in tones if (t - of.root) % 12 == 7 and len(tones) > 3), None)
        tones.remove(fifth if fifth is not None else tones[0])  # the bass has the root anyway
    return tuple(tones)


@lru_cache(maxsize=8192)
def positions(tones: tuple[int, ...], voices: int, low: int, high: int) -> tuple[tuple[int, ...], ...]:
    """Return the ways to lay a chord out between two pitches: close, and with its second voice dropped."""
    found = set()
    for start in range(low, high + 1):
        if start % 12 not in tones:
            continue
        close = [p for p in range(start, start + 25) if p % 12 in tones][:voices]
        if len(close) < voices:
            continue
        spread = sorted([*close[:-2], close[-2] - 12, close[-1]]) if voices >= 4 else close
        for layout in (tuple(close), tuple(spread)):
            if layout[0] >= low and layout[-1] <= high and _clear(layout):
                found.add(layout)
    return tuple(sorted(found))


def _clear(layout: tuple[int, ...]) -> bool:
    """Return whether no two voices rub: a semitone at the top or low down is mud, not colour."""
    gaps = [b - a for a, b in pairwise(layout)]
    if gaps and (gaps[-1] == 1 or min(gaps) == 0):
        return False
    return all(gap >= 3 for gap, pitch in zip(gaps, layout, strict=False) if pitch < 52)


def lead(
    chords: Sequence[Chord],
    *,
    voices: int,
    centre: int,
    reach: int = 10,
    start: tuple[int, ...] | None = None,
) -> list[tuple[int, ...]]:
    """Lay out chords one after another so that every voice moves as little as it can.

    What counts: the sum of the steps, no voice leaping, held common tones, no parallel fifths or octaves between the
    outer voices, and staying near ``centre``.
    """
    result: list[tuple[int, ...]] = []
    before = start
    last: Chord | None = None
    for each in chords:
        if each == last and result:
            result.append(result[-1])
            continue
        tones = needed(each, voices)
        choices = positions(tones, voices, centre - reach, centre + reach)
        if not choices:  # fewer voices than wanted fit: let the chord be wider
            choices = positions(tones, voices, centre - 18, centre + 18) or (
                tuple(sorted(each.nearest(centre + 5 * i) for i in range(voices))),
            )
        best = min(choices, key=lambda layout: (_cost(before, layout, centre), layout))
        result.append(best)
        before, last = best, each
    return result


def _cost(before: tuple[int, ...] | None, layout: tuple[int, ...], centre: int) -> float:
    middle = sum(layout) / len(layout)
    cost = 0.35 * abs(middle - centre) + 0.05 * (middle - centre) ** 2
    if before is None:
        return cost + 0.2 * (layout[-1] - layout[0])
    for a, b in zip(before, layout, strict=True):
        step = abs(b - a)
        cost += step + (0.9 * (step - 4) ** 2 if step > 4 else 0) - (0.6 if step == 0 else 0)
    outer = ((before[-1] - before[0]) % 12, (layout[-1] - layout[0]) % 12)
    if outer[0] == outer[1] and outer[0] in {0, 7} and before[0] != layout[0]:
        cost += 3.0
    return cost
