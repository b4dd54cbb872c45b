"""From a brief to a score: who plays, in which key and how fast, and every note of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from beatra_nb.sandbox.music import accompany, chance, drums, form, harmony, melody, patterns
from beatra_nb.sandbox.music.brief import Brief
from beatra_nb.sandbox.music.form import Form, Section
from beatra_nb.sandbox.music.genre import Layer
from beatra_nb.sandbox.music.genres import BY_NAME
from beatra_nb.sandbox.music.harmony import Chord
from beatra_nb.sandbox.music.instruments import INSTRUMENTS
from beatra_nb.sandbox.music.lyrics import Passage
from beatra_nb.sandbox.music.score import Hit, Note, Part, Score

# Where a borrowed chord may take a chord's place, when the piece may be weird.
_STRANGE = {
    "IV": "iv",
    "I": "Imaj7",
    "V": "bVII",
    "vi": "bVI",
    "i": "im9",
    "bVII": "v",
    "bVI": "bVImaj7",
    "iv": "IV",
}


@dataclass(frozen=True, slots=True)
class Design:
    """What a take is, before its notes: enough to tell two takes apart."""

    brief: Brief
    seed: int
    tempo: float
    tonic: int
    mode: str
    verse: str
    chorus: str
    players: tuple[tuple[Layer, str, str], ...]  # layer, instrument, style
    weird: float = 0.0

    @property
    def arrangement(self) -> tuple[object, ...]:
        """What makes the arrangement: harmony, instruments and ways to play."""
        return (self.verse, self.chorus, tuple((instrument, style) for _, instrument, style in self.players))


def design(
    brief: Brief,
    seed: int,
    *,
    weird: float = 0.0,
    loose: float = 0.0,
    heard: tuple[float, int | None, bool] | None = None,
) -> Design:
    """Decide what a take is.

    Parameters
    ----------
    brief : Brief
        What is wanted.
    seed : int
        Decides what the brief leaves open.
    weird, loose : float
        From 0 to 1: strange chords and instruments; players of other genres.
    heard : tuple, optional
        Tempo, tonic (None if unclear) and whether minor, of a reference to follow; the brief's own words beat it.
    """
    genre = brief.genre
    pick = chance.stream(seed, "design", genre.name)
    low, high = genre.tempo
    middle, half = (low + high) / 2, (high - low) / 2
    lean = max(-1.0, min(1.0, 0.75 * brief.pace + pick.uniform(-1, 1) * (0.45 if brief.pace else 0.95)))
    tempo = middle + half * lean * (1 + 0.25 * weird)
    tonic = pick.randrange(12)
    dark = brief.dark
    if heard is not None:
        tempo = _octave(heard[0], low, high)
        if heard[1] is not None:
            tonic = heard[1]
            dark = heard[2] if dark is None else dark
    tempo = brief.tempo if brief.tempo is not None else tempo
    tonic = brief.tonic if brief.tonic is not None else tonic
    fitting = [m for m in genre.modes if dark is None or (m in harmony.DARK) == dark]
    mode = pick.choice(fitting or list(genre.modes))
    verses, choruses = genre.verses[mode], genre.choruses[mode]
    if dark is not None and not fitting:  # the genre has no such mode of its own: borrow a plain progression
        mode = "minor" if dark else "major"
        verses = ("i bVI bIII bVII", "i iv bVI V7") if dark else ("I V vi IV", "I vi IV V")
        choruses = ("bVI bVII i i", "iv bVII bIII bVI") if dark else ("IV V I vi", "I V vi IV")
    verse, chorus = pick.choice(verses), pick.choice(choruses)
    if weird > 0:
        chorus = _strange(chorus, weird, pick)
    return Design(brief, seed, tempo, tonic, mode, verse, chorus, _players(brief, pick, weird, loose), weird)


def _octave(tempo: float, low: float, high: float) -> float:
    """Return a heard tempo as this genre would count it: half or double, when that comes nearer."""
    middle = (low + high) / 2
    return min((tempo / 2, tempo, tempo * 2), key=lambda t: (not 50 <= t <= 190, abs(t / middle - 1)))


def _strange(progression: str, weird: float, pick: random.Random) -> str:
    bars = progression.split()
    return " ".join(_STRANGE.get(bar, bar) if pick.random() < 0.7 * weird else bar for bar in bars)


def _players(
    brief: Brief, pick: random.Random, weird: float, loose: float
) -> tuple[tuple[Layer, str, str], ...]:
    """Choose who plays: the genre's own, those asked for in place of them or beside them, without those declined."""
    chosen: list[tuple[Layer, str, str]] = []
    wishes = {role: list(names) for role, names in brief.wanted.items()}
    for layer in brief.genre.layers:
        names, style = layer.instruments, pick.choice(layer.styles)
        instrument = pick.choice(names)
        if layer.role == "lead" and pick.random() < 0.6 * weird + 0.3 * loose:
            other = BY_NAME[pick.choice(("jazz", "folk", "synthwave", "bossa nova", "reggae", "lo-fi"))]
            instrument = pick.choice(next(each for each in other.layers if each.role == "lead").instruments)
        if layer.role in brief.refused:
            continue
        if wishes.get(layer.role):
            instrument = wishes[layer.role].pop(0)
            chosen.append((replace(layer, enter=min(layer.enter, 0.4)), instrument, style))
        else:
            chosen.append((layer, instrument, style))
    for role, left in wishes.items():  # asked for, and nobody's place in this genre
        for name in left[:2]:
            if role in brief.refused or any(name == instrument for _, instrument, _ in chosen):
                continue
            styles = {"chords": "push", "pad": "held", "arp": "arp8", "riff": "powerhit", "bass": "held"}
            fresh = Layer(role, (name,), (styles.get(role, "sparse"),), -9, 0.4, send=0.3, pan=0.2)
            chosen.append((_seated(fresh, name), name, fresh.styles[0]))
    return tuple(chosen)


def _seated(layer: Layer, instrument: str) -> Layer:
    """Return a layer moved to where its instrument can play."""
    who = INSTRUMENTS[instrument]
    default = {"bass": 36, "riff": 44, "lead": 73, "answer": 72, "arp": 72}.get(layer.role, layer.centre)
    return replace(layer, centre=max(who.low + 7, min(who.high - 9, default)))


def write(plan: Design, passages: Sequence[Passage], contour: Sequence[float] | None = None) -> Score:
    """Write every note of a take."""
    brief, genre = plan.brief, plan.brief.genre
    shape = form.plan(brief, passages, plan.tempo, plan.seed, contour)
    chords = _harmony(plan, shape)
    tones = harmony.scale(plan.tonic, plan.mode, genre.scale)
    motifs = _motifs(plan)
    parts = []
    seen: dict[str, int] = {}
    for layer, instrument, style in plan.players:
        number = seen[layer.role] = seen.get(layer.role, -1) + 1
        player = _Player(plan, shape, chords, layer, instrument, style, number, tones, motifs)
        notes = player.play()
        if notes:
            parts.append(Part(layer, instrument, style, tuple(notes)))
    hits: list[Hit] = []
    if "drums" not in brief.refused:
        hits = [*drums.play(genre, shape, plan.seed), *drums.finish(genre, shape)]
    if not parts:  # everything was declined but the drums, or everything at all
        layer = genre.layers[0]
        lone = _Player(plan, shape, chords, layer, layer.instruments[0], layer.styles[0], 0, tones, motifs)
        parts.append(Part(layer, layer.instruments[0], layer.styles[0], tuple(lone.play())))
    return Score(genre, shape, plan.tonic, plan.mode, chords, tuple(parts), tuple(hits), brief.brightness)


def _harmony(plan: Design, shape: Form) -> list[list[Chord]]:
    """Return the chords of every bar, and of the final one."""
    genre = plan.brief.genre
    turn, home = genre.cadence.get(plan.mode) or (
        ("bVI,bVII", "i") if plan.mode in harmony.DARK else ("IV,V", "I")
    )
    result: list[list[Chord]] = []
    for section in shape.sections:
        progression = plan.chorus if section.kind in {"Chorus", "Pre-Chorus", "Solo"} else plan.verse
        offset = 0
        if section.kind == "Pre-Chorus":  # the chorus's second half, before it
            offset = max(0, len(progression.split()) - section.bars)
        elif section.kind == "Bridge":
            offset = 2
        result += harmony.bars(progression, plan.tonic, section.bars, offset)
    if len(result) > 1:
        result[-1] = harmony.bars(turn, plan.tonic, 1)[0]
    return [*result, harmony.bars(home, plan.tonic, 1)[0]]


def _motifs(plan: Design) -> dict[str, tuple[random.Random, int]]:
    """Return what each kind of section sings from: its own stream, so that every chorus sings the same."""
    return {
        kind: (chance.stream(plan.seed, "motif", name), lift)
        for kind, name, lift in (
            ("Intro", "chorus", 0),
            ("Verse", "verse", -2),
            ("Pre-Chorus", "pre", 1),
            ("Chorus", "chorus", 4),
            ("Bridge", "bridge", 0),
            ("Solo", "solo", 3),
            ("Outro", "chorus", -1),
        )
    }


class _Player:
    """One musician, reading the form from start to end."""

    def __init__(
        self,
        plan: Design,
        shape: Form,
        chords: Sequence[Sequence[Chord]],
        layer: Layer,
        instrument: str,
        style: str,
        number: int,
        tones: Sequence[int],
        motifs: dict[str, tuple[random.Random, int]],
    ) -> None:
        self.plan, self.shape, self.chords, self.layer = plan, shape, chords, layer
        self.who, self.style, self.number, self.tones = INSTRUMENTS[instrument], style, number, tones
        self.pick = chance.stream(plan.seed, layer.role, number)
        if not self.who.low <= layer.centre <= self.who.high - 5:
            self.layer = _seated(layer, instrument)
        self.motif_of: dict[str, melody.Motif] = {}
        for kind, (_, lift) in motifs.items():
            family = {"Intro": "Chorus", "Outro": "Chorus"}.get(kind, kind)
            pick = chance.stream(plan.seed, "motif", family, layer.role)
            density = style if style in patterns.TUNES else "sparse"
            self.motif_of[kind] = melody.motif(pick, density, lift, plan.weird)

    def play(self) -> list[Note]:
        """Return all notes of the part, the final chord's included."""
        playing = [section for section in self.shape.sections if self._plays(section)]
        if not playing:
            return []
        notes: list[Note] = []
        role = self.layer.role
        if role in {"lead", "answer"}:
            notes = self._sing(playing)
        elif role == "bass":
            notes = self._bass(playing)
        elif role == "riff":
            for section in playing:
                for bar in range(section.start, section.end):
                    notes += accompany.riff(
                        self.style, bar, 4.0 * bar, self.chords[bar], self._loud(section), self.layer
                    )
        else:
            notes = self._chords(playing)
        if playing[-1].last or role == "bass":  # an end without a bass hangs in the air
            notes += self._final(notes, self._loud(playing[-1]))
        return [self._fit(note) for note in notes]

    def _plays(self, section: Section) -> bool:
        layer, alone = self.layer, len(self.shape.sections) == 1
        # Somebody who plays only in the loudest moments has them in a short piece too.
        return (
            layer.enter <= section.energy or (alone and layer.enter <= 0.8)
        ) and section.energy < layer.leave

    @staticmethod
    def _loud(section: Section) -> float:
        return 0.58 + 0.42 * section.energy

    def _chords(self, playing: Sequence[Section]) -> list[Note]:
        every = [
            (bar, chord)
            for section in playing
            for bar in range(section.start, section.end)
            for chord in self.chords[bar]
        ]
        final = list(self.chords[-1]) if playing[-1].last else []
        voices = self.layer.voices
        laid = harmony.lead([chord for _, chord in every] + final, voices=voices, centre=self.layer.centre)
        self.last_layout = laid[-1]
        by_bar: dict[int, list[tuple[int, ...]]] = {}
        for (bar, _), layout in zip(every, laid, strict=False):
            by_bar.setdefault(bar, []).append(layout)
        notes = []
        style = self.style
        for section in playing:
            for bar in range(section.start, section.end):
                notes += accompany.chords(
                    style, bar, 4.0 * bar, self.chords[bar], by_bar[bar], self._loud(section), self.who.low
                )
        return notes if style != "held" else _tied(notes)

    def _bass(self, playing: Sequence[Section]) -> list[Note]:
        notes: list[Note] = []
        before = self.layer.centre
        for section in playing:
            for bar in range(section.start, section.end):
                following = self.chords[bar + 1][0]
                if self.style == "walk":
                    fresh = accompany.walk(
                        4.0 * bar,
                        self.chords[bar],
                        following,
                        self._loud(section),
                        self.layer,
                        before,
                        self.pick,
                    )
                    before = fresh[-1].pitch
                else:
                    fresh = accompany.bass(
                        self.style,
                        bar,
                        4.0 * bar,
                        self.chords[bar],
                        following,
                        self._loud(section),
                        self.layer,
                        self.who.low,
                    )
                notes += fresh
        return notes

    def _sing(self, playing: Sequence[Section]) -> list[Note]:
        singer = melody.Singer(self.tones, self.layer.centre, self.who.low, self.who.high)
        notes: list[Note] = []
        for section in playing:
            own = self.motif_of[section.kind]
            loud = 0.54 + 0.4 * section.energy
            singer.pitch = min(max(singer.pitch, singer.centre + own.lift - 7), singer.centre + own.lift + 7)
            rests = section.kind == "Intro" and section.bars > 1
            for bar in range(section.bars):
                place = bar % 4 if section.bars > 2 else (0, 3)[bar] if section.bars == 2 else 0
                if bar == section.bars - 1 and section.bars > 1:
                    place = 3
                if rests and bar < section.bars // 2:
                    continue  # an intro lets the band be heard first
                if self.layer.role == "answer" and place in {0, 2} and section.bars > 2:
                    continue  # an answer waits for the question
                cell = own.cells[place]
                at = section.start + bar
                close = place == 3
                notes += singer.bar(cell, self.chords[at], 4.0 * at, loud, own.lift, close=close)
            if (
                section.kind == "Chorus"
                and section.energy > 0.9
                and self.layer.role == "lead"
                and section.bars >= 4
            ):
                notes += self._second_voice(notes, section)
        return notes

    def _second_voice(self, notes: Sequence[Note], section: Section) -> list[Note]:
        return [
            replace(
                note,
                pitch=melody.below(note.pitch, self.tones, self.chords[int(note.start // 4)][0]),
                velocity=note.velocity * 0.62,
            )
            for note in notes
            if note.start >= 4.0 * (section.start + section.bars / 2) and note.length >= 0.4
        ]

    def _final(self, notes: Sequence[Note], loud: float) -> list[Note]:
        """Return the part's last note or chord, left to ring."""
        at, home = 4.0 * self.shape.bars, self.chords[-1][0]
        ring = 8.0
        role = self.layer.role
        if role in {"bass", "riff"}:
            return [Note(at, ring, accompany.low_root(home, self.layer.centre), loud * 0.9)]
        if role in {"lead", "answer"}:
            before = notes[-1].pitch if notes else self.layer.centre
            targets = (home.root, home.tones[1 % len(home.tones)])
            pitch = min(
                range(before - 7, before + 8), key=lambda p: (p % 12 not in targets, abs(p - before), p)
            )
            return [Note(at, ring, pitch, loud * 0.8)]
        spread = 0.035 if role == "arp" else 0.012
        return [Note(at, ring, pitch, loud * 0.85, i * spread) for i, pitch in enumerate(self.last_layout)]

    def _fit(self, note: Note) -> Note:
        pitch = note.pitch
        while pitch < self.who.low:
            pitch += 12
        while pitch > self.who.high:
            pitch -= 12
        return note if pitch == note.pitch else replace(note, pitch=pitch)


def _tied(notes: Sequence[Note]) -> list[Note]:
    """Join a held chord's common tones: a pad that strikes a tone anew although it stays is no pad."""
    result: list[Note] = []
    sounding: dict[int, int] = {}
    for note in notes:
        place = sounding.get(note.pitch)
        if place is not None:
            held = result[place]
            if abs(held.start + held.length - note.start) < 1e-6 and held.length + note.length <= 8.0:
                result[place] = replace(held, length=held.length + note.length)
                continue
        sounding[note.pitch] = len(result)
        result.append(note)
    return result
