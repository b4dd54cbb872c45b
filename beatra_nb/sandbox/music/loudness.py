"""How loud something is: ITU-R BS.1770, with both gates, and true peaks by fourfold oversampling."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt

from beatra_nb.sandbox.music.convolve import SIZE, Spectrum, each_batch
from beatra_nb.sandbox.music.tones import RATE, Curve, Samples

STEP = RATE // 10  # loudness is gathered in tenths of a second: a block of 400 ms is four of them
_TAPS = 2048  # the weighting's slow pole, at 38 Hz, has died away by then
_ABSOLUTE, _RELATIVE, _OFFSET = -70.0, -10.0, -0.691


def weighting(frequencies: Curve, rate: int = RATE) -> npt.NDArray[np.complex128]:
    """Return the K-weighting's response: a shelf for the head, then a high-pass.

    The standard tabulates its biquads for 48 kHz; these are the analogue prototypes behind them, at any rate.
    """
    z = np.exp(-2j * np.pi * frequencies / rate)
    k = math.tan(math.pi * 1681.974450955533 / rate)
    high, q = 10 ** (3.999843853973347 / 20), 0.7071752369554196
    band = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    b = ((high + band * k / q + k * k) / a0, 2 * (k * k - high) / a0, (high - band * k / q + k * k) / a0)
    a = (2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0)
    shelf = (b[0] + b[1] * z + b[2] * z**2) / (1 + a[0] * z + a[1] * z**2)
    k, q = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    a0 = 1 + k / q + k * k
    a = (2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0)
    return cast(npt.NDArray[np.complex128], shelf * (1 - 2 * z + z**2) / (1 + a[0] * z + a[1] * z**2))


def weighting_taps() -> Samples:
    """Return the weighting's impulse response."""
    size = 8 * SIZE
    return cast(
        Samples, np.fft.irfft(weighting(np.fft.rfftfreq(size, 1 / RATE)), size)[:_TAPS].astype(np.float32)
    )


def energies(sound: Samples) -> Curve:
    """Return the weighted energy of each tenth of a second, both channels together."""
    kernel = np.fft.rfft(weighting_taps(), SIZE)
    total = np.zeros(sound.shape[1] // STEP + 2)
    hop = SIZE - _TAPS
    for channel in sound:

        def add(start: int, end: int, spectra: Spectrum) -> None:
            weighted = (
                np.fft.irfft(spectra * kernel, SIZE)[:, -hop:].reshape(-1)[: end - start].astype(np.float32)
            )
            gather(total, weighted, start)

        each_batch(channel, _TAPS, add)
    return total[: sound.shape[1] // STEP] / STEP


def gather(total: Curve, weighted: Samples, start: int) -> None:
    """Add a stretch's squares to the tenths of a second it falls in."""
    squares = np.square(weighted, dtype=np.float32)
    first = start // STEP
    edges = np.arange(first + 1, (start + len(squares) - 1) // STEP + 1) * STEP - start
    starts = np.concatenate([[0], edges]).astype(int)
    sums = np.add.reduceat(squares, starts).astype(np.float64)
    total[first : first + len(sums)] += sums


def gated(tenths: Curve) -> float:
    """Return the integrated loudness in LUFS of tenths of a second's energies; −inf for silence."""
    if len(tenths) < 4:
        tenths = np.pad(tenths, (0, max(0, 4 - len(tenths))))
    blocks = np.convolve(tenths, np.full(4, 0.25), "valid")
    loud = blocks[blocks > 10 ** ((_ABSOLUTE - _OFFSET) / 10)]
    if not len(loud):
        return -math.inf
    threshold = np.mean(loud) * 10 ** (_RELATIVE / 10)
    return float(_OFFSET + 10 * np.log10(np.mean(loud[loud > threshold])))


def integrated(sound: Samples) -> float:
    """Return the integrated loudness of ``(channels, samples)`` at 44.1 kHz in LUFS.

    >>> t = np.arange(RATE * 3) / RATE
    >>> abs(integrated(np.stack([np.sin(2 * np.pi * 997 * t)] * 2).astype(np.float32))) < 0.1
    True
    """
    return gated(energies(sound))


def true_peak(sound: Samples) -> float:
    """Return the true peak in dBTP of ``(channels, samples)``, oversampled fourfold."""
    taps = 24
    n = np.arange(-taps, taps)
    highest = float(np.max(np.abs(sound), initial=0.0))
    for channel in sound:
        padded = np.pad(channel, taps + 1)
        for phase in (0.25, 0.5, 0.75):
            kernel = np.sinc(n + phase) * np.cos(np.pi * (n + phase) / (2 * taps + 1)) ** 2
            highest = max(highest, float(np.max(np.abs(np.convolve(padded, kernel.astype(np.float32))))))
    return 20 * math.log10(max(highest, 1e-9))
