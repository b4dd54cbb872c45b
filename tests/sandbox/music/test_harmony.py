"""Chords, voice-leading, basses and tunes: what a musician would look at."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.sandbox.music import arrange, brief, harmony
from beatra_nb.sandbox.music.accompany import low_root
from beatra_nb.sandbox.music.genres import BY_NAME, GENRES
from beatra_nb.sandbox.music.instruments import INSTRUMENTS
from beatra_nb.sandbox.music.melody import WIDEST
from beatra_nb.sandbox.music.score import Note, Score

NAMES = sorted(BY_NAME)


def score(genre: str, seed: int = 1, seconds: float = 60, words: str = "") -> Score:
    return arrange.write(arrange.design(brief.read(f"{genre} {words}", seconds=seconds), seed), [])


@pytest.mark.parametrize(
    ("symbol", "tones"),
    [
        ("I", (0, 4, 7)), ("i", (0, 3, 7)), ("V7", (7, 11, 2, 5)), ("bVImaj7", (8, 0, 3, 7)),
        ("iim7b5", (2, 5, 8, 0)), ("V/vi", (4, 8, 11)), ("i5", (0, 7)), ("Vsus4", (7, 0, 2)),
        ("iim9", (2, 5, 9, 0, 4)),
    ],
)  # fmt: skip
def test_numerals(symbol: str, tones: tuple[int, ...]) -> None:
    assert harmony.chord(symbol, 0).tones == tones


def test_what_is_no_numeral_is_refused() -> None:
    with pytest.raises(ValueError, match="no chord"):
        harmony.chord("H7", 0)


@pytest.mark.parametrize("genre", GENRES, ids=lambda genre: genre.name)
@pytest.mark.parametrize("voices", [3, 4, 5])
def test_voices_step_and_hold_common_tones(genre, voices: int) -> None:
    for mode in genre.modes:
        line = [
            c
            for p in (*genre.verses[mode], *genre.choruses[mode])
            for bar in harmony.bars(p, 9, 8)
            for c in bar
        ]
        if any(len(chord.tones) < 3 for chord in line):
            continue  # power chords move in parallel: that is what they are
        laid = harmony.lead(line, voices=voices, centre=62)
        steps = []
        for (before, after), (one, two) in zip(pairwise(laid), pairwise(line), strict=True):
            moves = [abs(a - b) for a, b in zip(before, after, strict=True)]
            steps += moves
            assert max(moves) <= 8
            if one != two and len(set(one.tones) & set(two.tones)) >= 2 and voices == 4:
                assert set(before) & set(after) or max(moves) <= 4  # a tone is held, or all step
        assert statistics.mean(steps) < 2.2
        for layout, chord in zip(laid, line, strict=True):
            assert all(pitch % 12 in chord.tones for pitch in layout)
            assert list(layout) == sorted(set(layout))
            assert 50 <= statistics.mean(layout) <= 74


@given(
    st.lists(
        st.sampled_from(["I", "ii7", "iii", "IV", "V7", "vi", "bVII", "iv", "Imaj7"]), min_size=2, max_size=12
    ),
    st.integers(0, 11),
)
def test_any_progression_is_led_smoothly(symbols: list[str], tonic: int) -> None:
    laid = harmony.lead([harmony.chord(symbol, tonic) for symbol in symbols], voices=4, centre=60)
    for before, after in pairwise(laid):
        assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= 8


@pytest.mark.parametrize("name", NAMES)
def test_basses_play_the_root_with_the_chord(name: str) -> None:
    for seed in (1, 2, 3):
        piece = score(name, seed)
        for part in piece.parts:
            if part.role != "bass":
                continue
            starts = {round(note.start, 3): note.pitch for note in part.notes}
            downbeats = [bar for bar in range(piece.form.bars) if 4.0 * bar in starts]
            assert downbeats or part.style in {"offbeat", "techroll", "reggae2", "held"}
            roots = [starts[4.0 * bar] % 12 == piece.chords[bar][0].root for bar in downbeats]
            assert all(roots)
            assert starts[4.0 * piece.form.bars] % 12 == piece.chords[-1][0].root  # and the last note is home


def test_a_walking_bass_walks_to_the_next_root() -> None:
    piece = score("jazz", 3)
    line = sorted(
        next(part for part in piece.parts if part.style == "walk").notes, key=lambda note: note.start
    )
    steps = [abs(a.pitch - b.pitch) for a, b in pairwise(line)]
    arrivals = [abs(a.pitch - b.pitch) for a, b in pairwise(line) if b.start % 4 == 0]
    assert max(steps) <= 12
    assert statistics.mean(arrivals) <= 2.5


def tune(piece: Score) -> list[Note]:
    """Return the highest note of each moment of the lead."""
    lead = next(part for part in piece.parts if part.role in {"lead", "answer"})
    top: dict[float, Note] = {}
    for note in lead.notes:
        if note.start not in top or top[note.start].pitch < note.pitch:
            top[note.start] = note
    return [top[start] for start in sorted(top)]


@pytest.mark.parametrize("name", NAMES)
def test_tunes_step_more_than_they_leap_and_land_on_chords(name: str) -> None:
    for seed in (1, 2):
        piece = score(name, seed)
        line = tune(piece)
        inside = {section.start for section in piece.form.sections}
        leaps = [
            abs(a.pitch - b.pitch)
            for a, b in pairwise(line)
            if b.start % 4 or int(b.start // 4) not in inside
        ]
        assert max(leaps) <= WIDEST + 3
        # Over bare fifths a tune has but two tones to land on.
        bare = any(len(chord.tones) < 3 for bar in piece.chords for chord in bar)
        assert statistics.mean(step <= 5 for step in leaps) > (0.75 if bare else 0.85)
        assert max(note.pitch for note in line) - min(note.pitch for note in line) <= 26
        strong = [note for note in line if note.start % 4 == 0 and note.start < 4 * piece.form.bars]
        assert all(note.pitch % 12 in piece.chords[int(note.start // 4)][0].tones for note in strong)
        if line[-1].start == 4 * piece.form.bars:  # whoever plays to the end ends at home
            assert line[-1].pitch % 12 in piece.chords[-1][0].tones


def test_the_chorus_returns_with_the_same_tune() -> None:
    piece = score("pop", 4, 150)
    choruses = [section for section in piece.form.sections if section.kind == "Chorus"]
    assert len(choruses) >= 2
    rhythms = [
        [
            round(note.start - 4 * section.start, 2)
            for note in tune(piece)
            if 0 <= note.start - 4 * section.start < 8
        ]
        for section in choruses[:2]
    ]
    assert rhythms[0] == rhythms[1] != []


@pytest.mark.parametrize("name", NAMES)
def test_everybody_stays_in_range_and_the_cadence_leads_home(name: str) -> None:
    for seed in range(4):
        for seconds in (2, 12, 45):
            piece = score(name, seed, seconds)
            for part in piece.parts:
                who = INSTRUMENTS[part.instrument]
                for note in part.notes:
                    assert who.low <= note.pitch <= who.high
                    assert note.length > 0
                    assert 0 < note.velocity <= 1
                    assert 0 <= note.start <= 4 * piece.form.bars
            assert piece.chords[-1][0].root == piece.tonic
            assert len(piece.chords) == piece.form.bars + 1
            assert all(0 <= hit.start <= 4 * piece.form.bars + 4 for hit in piece.hits)


def test_players_follow_the_brief() -> None:
    piece = score("pop", words="with saxophone and strings, no drums, no bass")
    assert not piece.hits
    assert {"saxophone", "strings"} <= {part.instrument for part in piece.parts}
    assert "bass" not in {part.role for part in piece.parts}


def test_declining_everybody_still_makes_music() -> None:
    piece = score(
        "rock", words="no drums, no bass, no guitars, no lead, no chords, no pads, no arps, no riffs"
    )
    assert [part for part in piece.parts if part.notes]


def test_low_roots_are_the_nearest() -> None:
    assert low_root(harmony.chord("I", 4), 36) == 40
    assert low_root(harmony.chord("I", 11), 36) == 35
