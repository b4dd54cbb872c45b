"""Tunes: a motif, its answer, its return.

A motif is a rhythm and a way to walk: steps of the scale, with the strong beats drawn to the chord. Sung again over
other chords the same motif gives another line that is recognisably the same tune; every chorus sings the chorus's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from beatra_nb.sandbox.music import patterns
from beatra_nb.sandbox.music.harmony import Chord
from beatra_nb.sandbox.music.score import Note

WIDEST = 9  # semitones: no interval of a tune is wider, except into a new section


@dataclass(frozen=True, slots=True)
class Cell:
    """One bar of a motif: where notes begin in sixteenths, and the steps of the scale that lead to them."""

    starts: tuple[int, ...]
    moves: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Motif:
    """Four bars: a cell, its answer, the cell again, a close. ``lift`` raises the register in semitones."""

    cells: tuple[Cell, Cell, Cell, Cell]
    lift: int = 0


def motif(pick: random.Random, density: str, lift: int = 0, daring: float = 0.0) -> Motif:
    """Invent a motif."""
    rhythms, ends = patterns.TUNES[density], patterns.ENDINGS[density]
    first, second = pick.sample(rhythms, 2)
    cells = [_cell(pick, rhythm, daring) for rhythm in (first, second)]
    closing = _cell(pick, pick.choice(ends), daring)
    # The third bar is the first again or nearly: what returns is what is remembered.
    third = (
        cells[0] if pick.random() < 0.7 else Cell(cells[0].starts, tuple(-move for move in cells[0].moves))
    )
    return Motif((cells[0], cells[1], third, closing), lift)


def _cell(pick: random.Random, rhythm: str, daring: float) -> Cell:
    starts = tuple(i for i, c in enumerate(rhythm) if c == "x")
    direction = pick.choice((1, -1))
    moves = [0]
    for _ in starts[1:]:
        chance = pick.random()
        if chance < 0.14:
            move = 0
        elif chance < 0.8 - 0.2 * daring:
            move = direction
        else:
            move = direction * (2 if chance < 0.97 else 3)
            direction = -direction  # a leap is followed by a step back
        if pick.random() < 0.3:
            direction = -direction
        moves.append(move)
    return Cell(starts, tuple(moves))


class Singer:
    """Turns motifs into notes, bar after bar, and remembers where the voice is."""

    def __init__(self, scale: Sequence[int], centre: int, low: int, high: int) -> None:
        self.ladder = [p for p in range(24, 110) if p % 12 in scale]
        self.centre, self.low, self.high = centre, max(low, centre - 11), min(high, centre + 13)
        self.pitch = float(centre)

    def bar(
        self, cell: Cell, chords: Sequence[Chord], beat: float, velocity: float, lift: int, *, close: bool
    ) -> list[Note]:
        """Sing one bar that begins at ``beat``."""
        notes: list[Note] = []
        centre = self.centre + lift
        for number, (start, move) in enumerate(zip(cell.starts, cell.moves, strict=True)):
            chord = chords[min(len(chords) - 1, start * len(chords) // 16)]
            following = cell.starts[number + 1] if number + 1 < len(cell.starts) else 16
            length = (following - start) / 4
            last = number == len(cell.starts) - 1
            if number == 0:
                # Drawn half-way home from wherever the voice has wandered.
                target = self.pitch + max(-3.0, min(3.0, 0.4 * (centre - self.pitch)))
                pitch = chord.nearest(target)
            else:
                pitch = self._step(move, centre)
                if start % 4 == 0 or length >= 1:
                    pitch = chord.nearest(pitch)
            if close and last:
                pitch = self._nearest(pitch, (chord.root, chord.tones[1 % len(chord.tones)]))
            pitch = self._inside(pitch)
            accent = 0.08 if start % 8 == 0 else 0.0 if start % 4 == 0 else -0.06
            held = min(length, 3.0) * (0.96 if length >= 0.5 else 0.88)
            notes.append(Note(beat + start / 4, held, pitch, min(1.0, velocity + accent)))
            self.pitch = pitch
        return notes

    def _step(self, move: int, centre: int) -> int:
        if abs(self.pitch - centre) > 7 and move * (self.pitch - centre) > 0:
            move = -move  # far from home: turn round
        if move == 0:
            return round(self.pitch)
        place = min(range(len(self.ladder)), key=lambda i: abs(self.ladder[i] - self.pitch))
        return self.ladder[max(0, min(len(self.ladder) - 1, place + move))]

    @staticmethod
    def _nearest(pitch: int, classes: Sequence[int]) -> int:
        return min(range(pitch - 6, pitch + 7), key=lambda p: (p % 12 not in classes, abs(p - pitch), p))

    def _inside(self, pitch: int) -> int:
        while pitch > self.high:
            pitch -= 12
        while pitch < self.low:
            pitch += 12
        # An octave's correction, or a chord far away, may make a leap: come as near as the scale of steps allows.
        gap = pitch - self.pitch
        if abs(gap) > WIDEST and self.low <= pitch - 12 * (1 if gap > 0 else -1) <= self.high:
            pitch -= 12 if gap > 0 else -12
        return pitch


def below(pitch: int, scale: Sequence[int], chord: Chord) -> int:
    """Return a second voice under a tune: a third or so below, on the chord if it can be."""
    choices = [p for p in range(pitch - 6, pitch - 2) if p % 12 in chord.tones]
    choices = choices or [p for p in range(pitch - 5, pitch - 2) if p % 12 in scale]
    return max(choices, default=pitch - 12)
