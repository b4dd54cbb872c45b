"""Forms of every length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.sandbox.music import brief, form, lyrics

KINDS = st.sampled_from(["Intro", "Verse", "Pre-Chorus", "Chorus", "Bridge", "Solo", "Outro"])
PASSAGES = st.lists(st.builds(lyrics.Passage, KINDS, st.integers(0, 40)), max_size=60)


@given(st.floats(2, 240), st.floats(50, 190), PASSAGES, st.integers(0, 99))
def test_sections_fill_the_piece_and_the_end_rings(
    seconds: float, tempo: float, passages: list[lyrics.Passage], seed: int
) -> None:
    shape = form.plan(brief.read("pop", seconds=seconds), passages, tempo, seed)
    place = 0
    for section in shape.sections:
        assert section.start == place
        assert section.bars >= 1
        assert 0 <= section.energy <= 1
        place = section.end
    assert shape.sections[-1].last
    ring = seconds - shape.lead_in - shape.bars * 240 / shape.tempo
    assert 0.4 <= ring <= max(6.0, 0.75 * seconds)
    if shape.bars > 1:
        assert abs(shape.tempo / tempo - 1) <= 0.041
    assert shape == form.plan(brief.read("pop", seconds=seconds), passages, tempo, seed)


@given(st.floats(4, 240), st.integers(60, 180))
def test_a_tempo_that_was_asked_for_is_kept(seconds: float, tempo: int) -> None:
    if seconds * tempo / 240 < 2:
        return  # too short for a bar of it
    wanted = brief.read(f"pop, {tempo} bpm", seconds=seconds)
    assert form.plan(wanted, [], float(tempo), 1).tempo == tempo


def test_there_is_an_intro_a_build_and_an_ending() -> None:
    shape = form.plan(brief.read("pop", seconds=30), [], 110, 1)
    names = [section.name for section in shape.sections]
    assert names == ["Intro", "Verse", "Chorus", "Outro"]
    energies = [section.energy for section in shape.sections]
    assert energies[0] < energies[1] < energies[2] > energies[3]


def test_lyrics_shape_the_form() -> None:
    words = "[Verse]\n" + "la\n" * 8 + "[Chorus]\n" + "oh\n" * 4 + "[Bridge]\nhm\n[Chorus]\n" + "oh\n" * 4
    shape = form.plan(brief.read("pop"), lyrics.passages(words), 120, 1)
    assert [section.name for section in shape.sections] == [
        "Intro", "Verse", "Chorus 1", "Bridge", "Chorus 2", "Outro",
    ]  # fmt: skip
    bars = {section.name: section.bars for section in shape.sections}
    assert bars["Verse"] > bars["Bridge"]
    assert 60 < shape.seconds <= form.MOST_FROM_LYRICS


def test_a_long_text_in_a_short_piece_says_what_it_left_out() -> None:
    words = "[Verse]\na\n[Chorus]\nb\n" * 30
    shape = form.plan(brief.read("pop", seconds=12), lyrics.passages(words), 120, 1)
    assert shape.dropped > 50


@pytest.mark.parametrize("seconds", [2, 3, 5])
def test_the_shortest_pieces_have_a_chorus(seconds: float) -> None:
    assert form.plan(brief.read("pop", seconds=seconds), [], 110, 1).sections[-1].energy > 0.7


def test_energy_follows_a_contour() -> None:
    shape = form.plan(brief.read("pop", seconds=30), [], 110, 1, [0.1, 0.3, 0.6, 0.9])
    energies = [section.energy for section in shape.sections]
    assert energies[-1] > energies[0] + 0.25
