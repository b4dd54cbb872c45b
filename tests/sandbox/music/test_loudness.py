"""The meter against the standard's own figures, and against its filter written out sample by sample."""

from __future__ import annotations

import math

import numpy as np
import pytest

from beatra_nb.sandbox.music import loudness
from beatra_nb.sandbox.music.tones import RATE


def sine(frequency: float, seconds: float, decibels: float = 0.0, phase: float = 0.0) -> np.ndarray:
    t = np.arange(int(RATE * seconds)) / RATE
    return (10 ** (decibels / 20) * np.sin(2 * np.pi * frequency * t + phase)).astype(np.float32)


@pytest.mark.parametrize("level", [0.0, -20.0, -33.0])
def test_a_kilohertz_in_one_channel_reads_three_below(level: float) -> None:
    tone = sine(997, 5, level)
    assert loudness.integrated(np.stack([tone, 0 * tone])) == pytest.approx(level - 3.01, abs=0.05)
    assert loudness.integrated(np.stack([tone, tone])) == pytest.approx(level, abs=0.05)


def test_silence_is_not_counted() -> None:
    tone = np.stack([sine(997, 6, -20)] * 2)
    gap = np.zeros((2, 30 * RATE), np.float32)
    assert loudness.integrated(gap) == -math.inf
    assert loudness.integrated(np.concatenate([tone, gap], 1)) == pytest.approx(-20, abs=0.3)


def test_what_is_far_quieter_is_not_counted() -> None:
    """EBU Tech 3341, case 3: −36, −23, −36 dBFS reads −23."""
    quiet, loud = np.stack([sine(1000, 10, -36)] * 2), np.stack([sine(1000, 60, -23)] * 2)
    assert loudness.integrated(np.concatenate([quiet, loud, quiet], 1)) == pytest.approx(-23, abs=0.1)


def test_the_filter_is_the_biquads() -> None:
    """The standard's coefficients at 48 kHz, run sample by sample, give the same response."""
    first = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (-1.69065929318241, 0.73248077421585))
    second = ((1.0, -2.0, 1.0), (-1.99004745483398, 0.99007225036621))
    signal = np.zeros(9600)
    signal[0] = 1.0
    for (b0, b1, b2), (a1, a2) in (first, second):
        out = np.zeros_like(signal)
        for n in range(len(signal)):
            out[n] = (
                b0 * signal[n] + b1 * signal[n - 1] + b2 * signal[n - 2]
                if n > 1
                else b0 * signal[n] + (b1 * signal[0] if n else 0)
            )
            out[n] -= (a1 * out[n - 1] if n > 0 else 0) + (a2 * out[n - 2] if n > 1 else 0)
        signal = out
    f = np.fft.rfftfreq(len(signal), 1 / 48_000)
    ours, theirs = np.abs(loudness.weighting(f, 48_000)), np.abs(np.fft.rfft(signal))
    audible = (f > 20) & (f < 20_000)
    assert np.max(np.abs(20 * np.log10(ours[audible] / theirs[audible]))) < 0.02


def test_peaks_between_samples_are_found() -> None:
    """A quarter of the sampling rate, caught at 45°, reads 3 dB too low by its samples alone."""
    tone = sine(RATE / 4, 0.5, -6, math.pi / 4)
    assert 20 * math.log10(np.abs(tone).max()) == pytest.approx(-9.01, abs=0.02)
    middle = np.stack([tone * np.hanning(len(tone)).astype(np.float32)] * 2)
    assert loudness.true_peak(middle) == pytest.approx(-6, abs=0.2)
