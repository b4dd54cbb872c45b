"""Chords, arpeggios, riffs and basses: the patterns of ``patterns`` over the harmony."""

from __future__ import annotations

import random
from collections.abc import Sequence

from beatra_nb.sandbox.music.genre import Layer
from beatra_nb.sandbox.music.harmony import Chord
from beatra_nb.sandbox.music.patterns import BASSES, CHORDS, RIFFS
from beatra_nb.sandbox.music.score import Note

_LOUD = {"X": 0.92, "x": 0.74, "o": 0.5, "R": 0.92, "r": 0.72}
Laid = Sequence[tuple[int, ...]]  # the pitches of each of a bar's chords


def chords(
    style: str, bar: int, at: float, harmony: Sequence[Chord], laid: Laid, loud: float, low: int
) -> list[Note]:
    """Return one bar of chords or of a broken chord."""
    how = CHORDS[style]
    rhythm = how.bars[bar % len(how.bars)]
    each = 16 // len(harmony)
    if style == "held":  # every change of harmony is struck, whatever the rhythm says
        rhythm = "".join("x" if step % each == 0 else "." for step in range(16))
    strokes = [(step, char) for step, char in enumerate(rhythm) if char != "."]
    notes: list[Note] = []
    for number, (step, char) in enumerate(strokes):
        here = min(len(harmony) - 1, step // each)
        pitches = laid[here]
        change = (here + 1) * each  # a chord does not ring into the next one
        # A struck chord lasts until the next stroke; a picked string rings on under the others.
        until = strokes[number + 1][0] if char in "Xxo" and number + 1 < len(strokes) else change
        length = max(0.1, min(how.hold, (min(until, change) - step) / 4))
        if char == "b":
            pitch = harmony[here].root + 12 * ((low - harmony[here].root + 11) // 12)
            notes.append(Note(at + step / 4, length, pitch, 0.85 * loud))
        elif char.isdigit():
            pitch = pitches[int(char) % len(pitches)] + 12 * (int(char) // len(pitches))
            accent = 0.82 if step % 4 == 0 else 0.66
            notes.append(Note(at + step / 4, length, pitch, accent * loud))
        else:
            down = step % 4 == 0  # up-strokes start from the top string
            order = pitches if down else pitches[::-1]
            notes += [
                Note(at + step / 4, length, pitch, _LOUD[char] * loud, i * how.strum)
                for i, pitch in enumerate(order)
            ]
    return notes


def riff(style: str, bar: int, at: float, harmony: Sequence[Chord], loud: float, layer: Layer) -> list[Note]:
    """Return one bar of power chords: their roots, since the amplifier adds the fifths."""
    how = RIFFS[style]
    rhythm = how.bars[bar % len(how.bars)]
    each = 16 // len(harmony)
    strokes = [(step, char) for step, char in enumerate(rhythm) if char != "."]
    notes = []
    for number, (step, char) in enumerate(strokes):
        here = min(len(harmony) - 1, step // each)
        until = min(strokes[number + 1][0] if number + 1 < len(strokes) else 16, (here + 1) * each)
        length = min(how.hold, (until - step) / 4)
        notes.append(Note(at + step / 4, length, low_root(harmony[here], layer.centre), _LOUD[char] * loud))
    return notes


def low_root(chord: Chord, centre: int) -> int:
    """Return the chord's root near a pitch."""
    return min(
        (p for p in range(centre - 6, centre + 6) if p % 12 == chord.root), key=lambda p: abs(p - centre)
    )


def bass(
    style: str,
    bar: int,
    at: float,
    harmony: Sequence[Chord],
    following: Chord,
    loud: float,
    layer: Layer,
    low: int,
) -> list[Note]:
    """Return one bar of bass. The root comes first, always; the rest leads to the next one."""
    how = BASSES[style]
    rhythm = how.bars[bar % len(how.bars)]
    each = 16 // len(harmony)
    for here in range(1, len(harmony)):  # the bass changes with the harmony
        place = here * each
        if rhythm[place] in ".3575a78":
            rhythm = rhythm[:place] + "R" + rhythm[place + 1 :]
    if style == "held" and len(harmony) == 1:
        rhythm = "R..............."
    strokes = [(step, char) for step, char in enumerate(rhythm) if char != "."]
    notes = []
    for number, (step, char) in enumerate(strokes):
        here = min(len(harmony) - 1, step // each)
        chord = harmony[here]
        coming = harmony[here + 1] if here + 1 < len(harmony) else following
        until = strokes[number + 1][0] if number + 1 < len(strokes) else 16
        root = low_root(chord, layer.centre)
        pitch = root + _degree(char, chord)
        if char == "a":
            goal = low_root(coming, layer.centre)
            pitch = goal - 1 if goal > root or goal == root else goal + 1
        if char == "5" and root - 5 >= low:
            pitch = root - 5 if (7 + root - layer.centre) > 5 else pitch
        length = min(how.hold, (until - step) / 4)
        notes.append(Note(at + step / 4, length * 0.97, pitch, _LOUD.get(char, 0.78) * loud))
    return notes


def _degree(char: str, chord: Chord) -> int:
    def above(wanted: tuple[int, ...], otherwise: int) -> int:
        return next((step for step in wanted if (chord.root + step) % 12 in chord.tones), otherwise)

    if char == "3":
        return above((4, 3, 5), 0)
    if char == "5":
        return above((7, 6), 7)
    if char == "7":
        return above((10, 11, 9), 9)
    return 12 if char == "8" else 0


def walk(
    at: float,
    harmony: Sequence[Chord],
    following: Chord,
    loud: float,
    layer: Layer,
    before: int,
    pick: random.Random,
) -> list[Note]:
    """Return one bar of walking bass: root, two tones on the way, and a step that leads to the next root."""
    line: list[int] = []
    for here, chord in enumerate(harmony):
        beats = 4 // len(harmony)
        coming = harmony[here + 1] if here + 1 < len(harmony) else following
        root = _close(chord.root, before if not line else line[-1], layer)
        goal = _close(coming.root, root, layer)
        line.append(root)
        if beats == 4:
            up = goal > root or (goal == root and pick.random() < 0.5)
            tones = [p for p in range(root - 9, root + 10) if p % 12 in chord.tones and p != root]
            near = sorted(tones, key=lambda p: (abs(p - root), p))
            second = next((p for p in near if (p > root) == up), near[0])
            third = next(
                (p for p in near if (p > second) == up and p != second and abs(p - second) <= 5), root
            )
            line += [second, third]
        if beats >= 2:
            side = pick.choice((-1, 1)) if goal == line[-1] else (-1 if goal > line[-1] else 1)
            line.append(goal + side * pick.choice((1, 1, 2)))
    return [
        Note(at + beat, 0.92, pitch, loud * (0.86 if beat % 2 == 0 else 0.78))
        for beat, pitch in enumerate(line[:4])
    ]


def _close(pitch_class: int, before: int, layer: Layer) -> int:
    """Return the pitch of a class nearest to where the hand is, within its octave and a half."""
    choices = [p for p in range(layer.centre - 10, layer.centre + 10) if p % 12 == pitch_class]
    return min(choices, key=lambda p: (abs(p - before) + 0.35 * abs(p - layer.centre), p))
