"""Finished clips, measured as they come out of their files: thirteen genres, two seeds, MP3 and OGG."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from beatra_nb.sandbox.music import listen, loudness
from beatra_nb.sandbox.music.genres import BY_NAME
from beatra_nb.sandbox.music.tones import RATE, Samples
from tests.sandbox.music.conftest import decoded, order

GENRES = (
    "dream pop", "rock", "house", "techno", "hip-hop", "jazz", "blues", "classical", "ambient", "folk", "reggae",
    "metal", "lo-fi",
)  # fmt: skip
SEEDS = (1, 2)
BANDS = ((20, 120), (120, 500), (500, 2000), (2000, 8000), (8000, 20_000))
SECONDS = 12.0


@dataclass(frozen=True)
class Made:
    """A clip and its decoded samples."""

    genre: str
    facts: dict
    size: int
    sound: Samples

    @property
    def bands(self) -> np.ndarray:
        """Return each band's share of the energy in dB."""
        power = np.abs(np.fft.rfft(self.sound.mean(0))) ** 2
        f = np.fft.rfftfreq(self.sound.shape[1], 1 / RATE)
        shares = np.array([power[(f > low) & (f <= high)].sum() for low, high in BANDS])
        return 10 * np.log10(shares / power.sum())


Clips = Callable[[str, int], Made]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Compose a piece, once."""
    folder = tmp_path_factory.mktemp("clips")

    @cache
    def made(genre: str, seed: int) -> Made:
        here = folder / f"{genre} {seed}"
        done = order(here, genre, seconds=SECONDS, seed=seed, format="mp3" if seed == 1 else "ogg")
        clip = done["clips"][0]
        path = Path(here) / clip["file"]
        return Made(genre, clip, path.stat().st_size, decoded(path))

    return made


@pytest.fixture(params=list(itertools.product(GENRES, SEEDS)), ids=lambda each: f"{each[0]}-{each[1]}")
def clip(request: pytest.FixtureRequest, clips: Clips) -> Made:
    return clips(*request.param)


def test_length_and_size(clip: Made) -> None:
    assert clip.sound.shape == (2, round(SECONDS * RATE))
    assert clip.size < 240_000
    assert clip.facts["duration_seconds"] == SECONDS
    assert clip.facts["genre"] == clip.genre


def test_loudness(clip: Made) -> None:
    assert loudness.integrated(clip.sound) == pytest.approx(-14, abs=1)


def test_true_peak(clip: Made) -> None:
    assert loudness.true_peak(clip.sound) <= -1


def test_it_begins_and_ends_in_silence_and_has_no_hole(clip: Made) -> None:
    sound = clip.sound
    assert np.abs(sound[:, :44]).max() < 0.01
    assert np.abs(sound[:, -441:]).max() < 0.003
    assert abs(sound.mean()) < 0.002
    power = np.square(sound).mean(0)[: RATE * 11]
    tenths = 10 * np.log10(power[: len(power) // 4410 * 4410].reshape(-1, 4410).mean(1) + 1e-12)
    quiet = "".join("." if level < -50 else "x" for level in tenths)
    # More than a second of nothing; half of one where a beat is expected all along.
    assert "." * (6 if clip.genre in {"hip-hop", "lo-fi"} else 13) not in quiet
    assert quiet.startswith(("x", ".x", "..x", "...x"))


def test_nothing_clicks(clip: Made) -> None:
    """A click is a step out of quiet; a drum's is preceded by its own rise, and never so high."""
    steps = np.abs(np.diff(clip.sound, axis=1)).max(0)
    assert steps.max() < 0.95
    frame = 441
    count = len(steps) // frame
    peak = np.abs(clip.sound[:, : count * frame]).max(0).reshape(count, frame).max(1)
    step = steps[: count * frame].reshape(count, frame).max(1)
    surrounded = (np.r_[0, peak[:-1]] < 0.01) & (np.r_[peak[1:], 0] < 0.01)
    assert not np.any(surrounded & (step > 0.05))


def test_both_sides_are_there(clip: Made) -> None:
    left, right = (float(np.sqrt(np.mean(side**2))) for side in clip.sound)
    assert abs(20 * math.log10(left / right)) < (1.0 if clip.genre == "classical" else 2.5)
    side = np.sqrt(np.mean((clip.sound[0] - clip.sound[1]) ** 2))
    assert side > 0.02 * left  # stereo
    assert np.corrcoef(clip.sound)[0, 1] > 0.1  # and still there in mono


def test_balance(clip: Made) -> None:
    low, low_middle, middle, high, air = clip.bands
    assert -10 < low < -0.9
    assert -11 < low_middle < -1.5
    assert -16 < middle < -3
    assert -22 < high < -9
    assert air < high
    if clip.genre in {"rock", "metal", "house"}:
        assert high > -12.3  # real energy at 2–8 kHz


def test_tempo(clip: Made) -> None:
    heard = listen.tempo_of(clip.sound.mean(0), RATE)
    assert heard is not None
    assert min(abs(heard / clip.facts["tempo_bpm"] / octave - 1) for octave in (0.5, 1, 2)) <= 0.04
    low, high = BY_NAME[clip.genre].tempo
    assert low * 0.95 <= clip.facts["tempo_bpm"] <= high * 1.05


def test_genres_are_told_apart(clips: Clips) -> None:
    """By balance, liveliness, peaks and width alone, each genre stands apart from every other."""

    def features(made: Made) -> np.ndarray:
        power = np.square(made.sound).mean(0)
        frames = np.log10(power[: len(power) // 882 * 882].reshape(-1, 882).mean(1) + 1e-7)
        side = np.mean((made.sound[0] - made.sound[1]) ** 2) / np.mean(made.sound**2)
        onsets = np.maximum(0, np.diff(frames))
        return np.r_[
            made.bands, 20 * np.abs(np.diff(frames)).mean(), 8 * frames.std(), 10 * np.sqrt(side),
            made.facts["tempo_bpm"] / 15, 30 * np.mean(onsets > 0.15),
        ]  # fmt: skip

    table = {genre: np.mean([features(clips(genre, seed)) for seed in SEEDS], 0) for genre in GENRES}
    spread = np.std(list(table.values()), 0)
    gaps = {
        (a, b): float(np.linalg.norm((table[a] - table[b]) / spread))
        for a, b in itertools.combinations(GENRES, 2)
    }
    assert min(gaps.values()) > 0.8, min(gaps, key=lambda pair: gaps[pair])
    assert np.median(list(gaps.values())) > 3


def test_two_seeds_are_two_pieces(clips: Clips) -> None:
    for genre in GENRES:
        first, second = (clips(genre, seed).facts for seed in SEEDS)
        assert (first["tempo_bpm"], first["key"]) != (second["tempo_bpm"], second["key"])
