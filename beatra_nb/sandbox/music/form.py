"""The form of a piece: which sections, how long, how lively; from two seconds to four minutes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from beatra_nb.sandbox.music import chance
from beatra_nb.sandbox.music.brief import DEFAULT_SECONDS, Brief
from beatra_nb.sandbox.music.lyrics import MOST_SECTIONS, Passage

MOST_FROM_LYRICS = 120.0  # seconds; a longer piece has to be asked for

_ENERGY = {
    "Intro": 0.34,
    "Verse": 0.56,
    "Pre-Chorus": 0.7,
    "Chorus": 0.9,
    "Bridge": 0.5,
    "Solo": 0.8,
    "Outro": 0.4,
}


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the form: ``bars`` bars from bar ``start``, as lively as ``energy`` (0–1) says."""

    name: str
    kind: str
    start: int
    bars: int
    energy: float
    last: bool = False

    @property
    def end(self) -> int:
        """The bar after its last."""
        return self.start + self.bars


@dataclass(frozen=True, slots=True)
class Form:
    """Sections, tempo and length; the last chord falls on the bar after the last section and rings out."""

    sections: tuple[Section, ...]
    tempo: float
    seconds: float
    lead_in: float
    dropped: int = 0  # sections of the lyrics that did not fit

    @property
    def bars(self) -> int:
        """Bars before the last chord."""
        return self.sections[-1].end


def plan(
    brief: Brief, passages: Sequence[Passage], tempo: float, seed: int, contour: Sequence[float] | None = None
) -> Form:
    """Lay out a piece.

    The tempo gives way by up to 4 % so that whole bars and the last chord's ringing fill the length exactly, unless
    the prompt or a reference fixed it.
    """
    pick, slack = chance.stream(seed, "form"), chance.stream(seed, "ring")
    seconds = brief.seconds if brief.seconds is not None else natural_length(passages, tempo)
    lead_in = 0.03
    bar = 240.0 / tempo
    # How long the end rings differs from seed to seed: the fit must not pull two takes to one tempo.
    ring = min(0.3 * seconds, max(1.1, min(3.6, 0.55 * bar + 0.9))) * slack.uniform(0.75, 1.25)
    room = seconds - ring - lead_in
    count = max(1, round(room / bar))
    if brief.tempo is None:
        wish = 240.0 * count / room
        tempo = min(tempo * 1.04, max(tempo * 0.96, wish))
    while count > 1 and count * 240.0 / tempo + lead_in > seconds - 0.7:
        count -= 1
    if count == 1 and 240.0 / tempo + lead_in > seconds - 0.5:  # two seconds of a slow genre: a bar must fit
        tempo = 240.0 / max(0.9, seconds - 0.6 - slack.uniform(0.0, 0.15))
    lengths, dropped = _lengths(brief, passages, count, pick.random())
    sections, start = [], 0
    counts: dict[str, int] = {}
    repeated = [kind for kind, _ in lengths]
    for number, (kind, bars) in enumerate(lengths):
        counts[kind] = counts.get(kind, 0) + 1
        name = f"{kind} {counts[kind]}" if repeated.count(kind) > 1 else kind
        final = number == len(lengths) - 1
        energy = _ENERGY[kind] + 0.04 * (counts[kind] - 1) + brief.energy + brief.genre.power
        if contour:
            energy = 0.35 * energy + 0.65 * _along(contour, start / count, (start + bars) / count)
        sections.append(Section(name, kind, start, bars, min(1.0, max(0.12, energy)), final))
        start += bars
    if len(sections) == 1:
        sections[0] = replace(sections[0], energy=max(0.75, sections[0].energy))
    return Form(tuple(sections), tempo, seconds, lead_in, dropped)


def natural_length(passages: Sequence[Passage], tempo: float) -> float:
    """Return how long a piece wants to be that was ordered without a length: lyrics take the time of singing them."""
    if not passages:
        return DEFAULT_SECONDS
    bars = sum(_bars(passage) for passage in passages) + 6
    return min(MOST_FROM_LYRICS, max(DEFAULT_SECONDS, bars * 240.0 / tempo))


def _bars(passage: Passage) -> int:
    """Return a section's natural bars: two for each line, in groups of four."""
    return min(16, 4 * max(1, math.ceil(passage.lines / 2)))


def _along(contour: Sequence[float], start: float, end: float) -> float:
    first = min(len(contour) - 1, int(start * len(contour)))
    last = max(first + 1, min(len(contour), math.ceil(end * len(contour))))
    return sum(contour[first:last]) / (last - first)


def _lengths(
    brief: Brief, passages: Sequence[Passage], count: int, chosen: float
) -> tuple[list[tuple[str, int]], int]:
    """Return kinds and bars that add up to ``count``."""
    if passages:
        wishes = [(passage.kind, float(_bars(passage))) for passage in passages[:MOST_SECTIONS]]
        # A piece much longer than its words sings them again, as songs do.
        again = [wish for wish in wishes if wish[0] not in {"Intro", "Outro"}]
        while again and sum(bars for _, bars in wishes) + sum(bars for _, bars in again) <= 0.8 * count:
            place = len(wishes) - 1 if wishes[-1][0] == "Outro" else len(wishes)
            wishes[place:place] = again
        if wishes[0][0] != "Intro" and count >= 6:
            wishes.insert(0, ("Intro", 4.0 if count >= 16 else 2.0))
        if wishes[-1][0] != "Outro" and count >= 10:
            wishes.append(("Outro", 4.0 if count >= 24 else 2.0))
        total = len(passages)
        room = max(1, count if count < 8 else count // 2)
        while len(wishes) > room:  # too little time for all: what stands in the middle gives way
            wishes.pop(len(wishes) // 2)
        kept = sum(
            1 for kind, _ in wishes if kind not in {"Intro", "Outro"} or any(p.kind == kind for p in passages)
        )
        return _share(wishes, count), max(0, total - kept)
    return _share(_usual(count, chosen), count), 0


def _usual(count: int, chosen: float) -> list[tuple[str, float]]:
    """Return the sections of a piece without lyrics."""
    if count <= 2:
        return [("Chorus", float(count))]
    if count <= 4:
        return [("Intro", 1), ("Chorus", count - 1)]
    if count <= 8:
        return [("Intro", 1), ("Verse", (count - 1) // 2), ("Chorus", count - 1 - (count - 1) // 2)]
    if count <= 14:
        return [("Intro", 2), ("Verse", 4), ("Chorus", 4), ("Outro", 2)]
    if count <= 22:
        middle: list[tuple[str, float]] = (
            [("Verse", 4), ("Pre-Chorus", 2)] if chosen < 0.5 else [("Verse", 6)]
        )
        return [("Intro", 2 if chosen < 0.7 else 4), *middle, ("Chorus", 8), ("Outro", 2)]
    song: list[tuple[str, float]] = [("Intro", 4), ("Verse", 8), ("Chorus", 8)]
    if count > 34:
        song += [("Verse", 8), ("Chorus", 8)]
    if count > 26:
        song += [("Bridge" if chosen < 0.6 else "Solo", 4 if count < 48 else 8), ("Chorus", 8)]
    rounds = max(0, (count - 56) // 20)
    for number in range(rounds):
        song[-1:-1] = [("Verse" if number % 2 == 0 else "Solo", 8), ("Chorus", 8)]
    return [*song, ("Outro", 4)]


def _share(wishes: Sequence[tuple[str, float]], count: int) -> list[tuple[str, int]]:
    """Share bars out in proportion, in whole twos or fours where there is room, and exactly."""
    total = sum(weight for _, weight in wishes)
    unit = 4 if count >= 8 * len(wishes) else 2 if count >= 3 * len(wishes) else 1
    shares = [max(unit, unit * round(weight * count / total / unit)) for _, weight in wishes]
    # What is left over goes to the choruses and verses first: nobody waits for a long introduction.
    liked = ("Chorus", "Verse", "Solo", "Bridge", "Pre-Chorus", "Outro", "Intro")
    order = sorted(range(len(wishes)), key=lambda i: (liked.index(wishes[i][0]), -shares[i], i))
    if count < sum(shares):
        order.reverse()
    difference = count - sum(shares)
    for step in (unit, 1):
        turn = 0
        while abs(difference) >= step and turn < 4 * len(order) * max(1, count):
            place = order[turn % len(order)]
            move = step if difference > 0 else -step
            if shares[place] + move >= 1 and (move > 0 or shares[place] > step):
                shares[place] += move
                difference -= move
            turn += 1
    return [(kind, bars) for (kind, _), bars in zip(wishes, shares, strict=True)]
