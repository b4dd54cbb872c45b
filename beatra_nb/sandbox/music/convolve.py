"""Filters over long signals: overlap-save in small transforms, many at a time, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt

from beatra_nb.sandbox.music.tones import RATE, Curve, Samples

SIZE = 8192
_AT_ONCE = 32  # blocks a batch: they stay in the cache

Spectrum = npt.NDArray[np.complex64]


def minimum_phase(gain: Callable[[Curve], Curve], taps: int = 1024, rate: int = RATE) -> Samples:
    """Return the filter with a given gain that answers soonest: nothing rings before its cause."""
    size = 8 * SIZE
    magnitude = np.maximum(gain(np.fft.rfftfreq(size, 1 / rate)), 1e-5)
    cepstrum = np.fft.irfft(np.log(magnitude), size)
    cepstrum[1 : size // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    answer = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), size)[:taps]
    fade = taps // 4
    answer[-fade:] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(fade) / fade)
    return cast(Samples, answer.astype(np.float32))


def each_batch(
    channel: Samples,
    taps: int,
    work: Callable[[int, int, Spectrum], None],
    done: Callable[[float], None] | None = None,
) -> int:
    """Call ``work(start, end, spectra)`` for batch after batch of a signal; return the hop.

    The last ``hop`` samples of each frame's inverse transform are free of the filter's wrap-around.
    """
    hop = SIZE - taps
    total = len(channel)
    step = hop * _AT_ONCE
    # What a filter's memory needs of the batch before is kept aside, since work may overwrite it.
    history = np.zeros(SIZE - hop, np.float32)
    for start in range(0, total, step):
        end = min(total, start + step)
        count = -(-(end - start) // hop)
        piece = np.zeros(SIZE - hop + count * hop, np.float32)
        piece[: SIZE - hop] = history
        piece[SIZE - hop : SIZE - hop + end - start] = channel[start:end]
        history = piece[end - start : end - start + SIZE - hop].copy()
        view = np.lib.stride_tricks.sliding_window_view(piece, SIZE)[::hop]
        work(start, end, np.fft.rfft(view).astype(np.complex64, copy=False))
        if done:
            done(end / total)
    return hop
