"""The mix: a room, a tone, a glue, a ceiling. In place and in pieces, so that memory stays flat."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import numpy as np

from beatra_nb.sandbox.music import chance, loudness
from beatra_nb.sandbox.music.convolve import SIZE, Spectrum, each_batch, minimum_phase
from beatra_nb.sandbox.music.tones import RATE, Curve, Samples

TARGET = -14.0  # LUFS
CEILING = -3.8  # dBTP before encoding: MP3 and Vorbis put peaks back, 2 dB of them at worst
_CONTROL = 64  # samples a step of the dynamics' gain
_FIR = 1024
_HALF = 8192  # the room's block, at half the sampling rate

Done = Callable[[float], None]


# --- the room ----------------------------------------------------------------------------------------------------


def room(seconds: float, damping: float) -> Samples:
    """Return a room's answer at half the sampling rate, left and right: early echoes, then a tail that darkens."""
    rate = RATE // 2
    n = int(seconds * rate)
    t = np.arange(n) / rate
    sides = []
    for side in (0, 1):
        source = chance.noise(0, "room", side)
        bands = np.zeros(n)
        spectrum = np.fft.rfft(source.standard_normal(n))
        f = np.fft.rfftfreq(n, 1 / rate)
        # Highs die first: four bands, each with a tail of its own.
        for low, high, share in ((120, 500, 1.0), (500, 1800, 0.85), (1800, 5000, 0.6), (5000, 9500, 0.38)):
            weight = 1 / (1 + (low / np.maximum(f, 1)) ** 6) / (1 + (f / high) ** 6)
            tail = seconds * (1 - damping * (1 - share))
            bands += np.fft.irfft(spectrum * weight, n) * np.exp(-6.9 * t / tail)
        onset = np.clip((t - 0.012) / 0.03, 0, 1)
        early = np.zeros(n)
        for _ in range(7):
            place = int(source.uniform(0.009, 0.062) * rate)
            if place < n:
                early[place] += source.choice((-1, 1)) * math.exp(-place / rate / 0.04) * 4
        sides.append(bands * onset + early)
    answer = np.stack(sides)
    return cast(Samples, (answer / np.sqrt(np.sum(answer**2) / 2)).astype(np.float32))


def add_room(mix: Samples, send: Samples, answer: Samples, level: float, done: Done) -> None:
    """Add the room's answer to what was sent into it: partitioned convolution at half rate, added back in full."""
    size = 2 * _HALF
    parts = -(-answer.shape[1] // _HALF)
    kernel = np.zeros((2, parts * _HALF), np.float32)
    kernel[:, : answer.shape[1]] = answer * np.float32(level)
    kernels = np.fft.rfft(kernel.reshape(2, parts, _HALF), size).astype(np.complex64)
    past = np.zeros((parts, _HALF + 1), np.complex64)
    frame = np.zeros(size, np.float32)
    total = mix.shape[1]
    last = np.zeros(2, np.float32)
    tap = np.float32(0)
    for number, start in enumerate(range(0, total, 2 * _HALF)):
        piece = send[start : start + 2 * _HALF]
        if len(piece) < 2 * _HALF:
            piece = np.pad(piece, (0, 2 * _HALF - len(piece)))
        # Half the rate after a gentle low-pass (1 2 1): what it folds down drowns in the tail.
        shifted = np.empty_like(piece[1::2])
        shifted[0], shifted[1:] = tap, piece[1:-1:2]
        frame[:_HALF] = frame[_HALF:]
        frame[_HALF:] = 0.5 * piece[::2] + 0.25 * (piece[1::2] + shifted)
        tap = piece[-1]
        past[number % parts] = np.fft.rfft(frame)
        order = (number - np.arange(parts)) % parts
        for side in (0, 1):
            sound = np.zeros(_HALF + 1, np.complex64)
            for part, place in enumerate(order[: number + 1]):
                sound += past[place] * kernels[side, part]
            wet = np.fft.irfft(sound, size)[_HALF:]
            full = np.empty(2 * _HALF, np.float32)
            full[1::2] = wet
            full[2::2] = 0.5 * (wet[:-1] + wet[1:])
            full[0] = 0.5 * (last[side] + wet[0])
            last[side] = wet[-1]
            end = min(total, start + 2 * _HALF)
            mix[side, start:end] += full[: end - start]
        done(min(1.0, (start + 2 * _HALF) / total))


# --- tone --------------------------------------------------------------------------------------------------------

_BANDS = (45.0, 90.0, 180.0, 360.0, 720.0, 1440.0, 2880.0, 5760.0, 11520.0)
_LIKED = (-1.5, 0.0, -1.5, -3.0, -5.5, -8.0, -10.5, -13.5, -18.0)  # dB an octave band of well-liked records
_MOST = 6.0


def spectrum(mix: Samples) -> Curve:
    """Return the level of each octave band in dB, over pieces spread through the mix."""
    n = mix.shape[1]
    count = max(1, min(40, n // SIZE))
    window = np.hanning(SIZE).astype(np.float32)
    power = np.zeros(SIZE // 2 + 1)
    for start in np.linspace(0, max(0, n - SIZE), count).astype(int):
        piece = mix[0, start : start + SIZE] + mix[1, start : start + SIZE]
        power += np.abs(np.fft.rfft(piece * window[: len(piece)], SIZE)) ** 2
    f = np.fft.rfftfreq(SIZE, 1 / RATE)
    return np.array(
        [10 * np.log10(power[(f > band / 2**0.5) & (f <= band * 2**0.5)].sum() + 1e-12) for band in _BANDS]
    )


def tone(measured: Curve, taste: tuple[float, float, float], brightness: float) -> Callable[[Curve], Curve]:
    """Return the equaliser that brings a mix half-way and more to how such music is liked."""
    low, middle, high = taste
    centres = np.array(_BANDS)
    wish = np.array(_LIKED)
    wish = wish + low / (1 + (centres / 140) ** 3) + middle * np.exp(-(np.log2(centres / 500) ** 2) / 2)
    wish = wish + (high + brightness) / (1 + (2600 / centres) ** 2)
    gap = wish - measured
    gap -= np.average(gap[1:8])
    gain = np.clip(0.75 * gap, -_MOST, _MOST)
    octaves = np.log2(centres)

    def curve(f: Curve) -> Curve:
        place = np.log2(np.maximum(f, 1.0))
        decibels = np.interp(place, octaves, gain)
        rumble = 1 / (1 + (30 / np.maximum(f, 1e-3)) ** 6) ** 0.5
        return cast(Curve, 10 ** (decibels / 20) * rumble)

    return curve


def equalise(mix: Samples, curve: Callable[[Curve], Curve], done: Done) -> Curve:
    """Filter the mix in place; return its weighted energy by tenths of a second, which costs little more here."""
    filter_taps = minimum_phase(curve, _FIR)
    both = np.convolve(filter_taps.astype(np.float64), loudness.weighting_taps().astype(np.float64))
    taps = _FIR + 2048
    kernel = np.fft.rfft(filter_taps, SIZE)
    weighted_kernel = np.fft.rfft(both.astype(np.float32), SIZE)
    hop = SIZE - taps
    tenths = np.zeros(mix.shape[1] // loudness.STEP + 2)
    for side in (0, 1):

        def work(start: int, end: int, spectra: Spectrum, side: int = side) -> None:
            mix[side, start:end] = np.fft.irfft(spectra * kernel, SIZE)[:, -hop:].reshape(-1)[: end - start]
            weighted = np.fft.irfft(spectra * weighted_kernel, SIZE)[:, -hop:].reshape(-1)[: end - start]
            loudness.gather(tenths, weighted.astype(np.float32, copy=False), start)

        each_batch(mix[side], taps, work, lambda share, side=side: done((side + share) / 2))  # type: ignore[misc]
    return tenths / loudness.STEP


# --- dynamics ----------------------------------------------------------------------------------------------------


def levels(mix: Samples) -> tuple[Samples, Samples]:
    """Return each control step's peak (between samples too) and mean square, of the louder side."""
    steps = -(-mix.shape[1] // _CONTROL)
    peaks, squares = np.zeros(steps, np.float32), np.zeros(steps, np.float32)
    chunk = 4096 * _CONTROL
    for channel in mix:
        for start in range(0, len(channel), chunk):
            end = min(len(channel), start + chunk)
            piece = channel[start : min(len(channel), end + 3)]
            here = np.abs(piece[: end - start])
            # Half-way between samples, by four points: most of what a converter would make of them.
            between = np.zeros_like(here)
            if len(piece) > 3:
                middle = np.abs((piece[1:-2] + piece[2:-1]) * 0.5625 - (piece[:-3] + piece[3:]) * 0.0625)
                count = min(len(middle), len(between) - 1)
                between[1 : 1 + count] = middle[:count]
            top = np.maximum(here, between)
            blocks = -(-len(top) // _CONTROL)
            top = np.pad(top, (0, blocks * _CONTROL - len(top))).reshape(blocks, _CONTROL)
            place = start // _CONTROL
            peaks[place : place + blocks] = np.maximum(peaks[place : place + blocks], top.max(1))
            power = np.pad(here, (0, blocks * _CONTROL - len(here))).reshape(blocks, _CONTROL)
            squares[place : place + blocks] = np.maximum(
                squares[place : place + blocks], np.einsum("ij,ij->i", power, power) / _CONTROL
            )
    return peaks, squares


def glue(squares: Samples, amount: float) -> Samples:
    """Return a gentle compressor's gain in dB: 2:1 above its own average level, slow to let go."""
    step = _CONTROL / RATE
    level = 10 * np.log10(_smooth(squares, int(0.012 / step)) + 1e-9)
    loud = level[level > level.max() - 30]
    over = np.maximum(0, level - (float(np.mean(loud)) + 1.0))
    wish = -0.5 * amount * over
    return _smooth(_release(wish, 28.0 * step), int(0.006 / step))


def ceiling(peaks: Samples, gain: Samples) -> Samples:
    """Return the gain in dB, lowered where peaks would pass the ceiling: looks ahead, lets go at 45 dB a second."""
    need = np.minimum(0, CEILING - (20 * np.log10(peaks + 1e-9) + gain))
    held = _release(need, 45.0 * _CONTROL / RATE)
    width = 4
    lowest = held.copy()
    for shift in range(
        1, width + 2
    ):  # the smoothing below and the straight lines between steps stay under it
        lowest[shift:] = np.minimum(lowest[shift:], held[:-shift])
        lowest[:-shift] = np.minimum(lowest[:-shift], held[shift:])
    return cast(Samples, gain + _smooth(lowest, 2 * width + 1))


def _release(gain: Samples, rise: float) -> Samples:
    """Return a gain that falls at once and rises by no more than ``rise`` dB a step."""
    slope = np.arange(len(gain)) * rise
    return cast(Samples, np.minimum(0.0, np.minimum.accumulate(gain - slope) + slope).astype(np.float32))


def _smooth(curve: Samples, width: int) -> Samples:
    """Return a moving average, edges held."""
    width = max(1, width | 1)
    if width == 1 or len(curve) < 2:
        return curve
    padded = np.pad(curve.astype(np.float64), (width // 2 + 1, width // 2), mode="edge")
    sums = np.cumsum(padded)
    return cast(Samples, ((sums[width:] - sums[:-width]) / width).astype(np.float32))


def master(mix: Samples, tenths: Curve, amount: float, done: Done) -> float:
    """Bring a mix to its loudness under its ceiling, in place; return its loudness in LUFS.

    Compressor and limiter are one curve of gain. What it does to the loudness follows from the tenths of a second's
    energies and the curve, so that it can be set right before a single sample is touched.
    """
    peaks, squares = levels(mix)
    held = glue(squares, amount)
    gain = held
    lift = 0.0
    reached = -math.inf
    for _ in range(6):
        gain = ceiling(peaks, held + np.float32(lift))
        reached = loudness.gated(tenths * _by_tenths(gain, squares, len(tenths)))
        if not math.isfinite(reached) or abs(TARGET - reached) < 0.02:
            break
        lift = min(60.0, lift + TARGET - reached)
    steps = len(gain)
    centres = np.arange(steps) * _CONTROL + _CONTROL / 2
    factor = 10 ** (gain / 20)
    chunk = 1 << 18
    for start in range(0, mix.shape[1], chunk):
        end = min(mix.shape[1], start + chunk)
        curve = np.interp(np.arange(start, end), centres, factor).astype(np.float32)
        mix[:, start:end] *= curve
        done(end / mix.shape[1])
    return reached


def _by_tenths(gain: Samples, squares: Samples, count: int) -> Curve:
    """Return the mean square gain of each tenth of a second; loud moments, where it acts, count for what they are."""
    weight = squares.astype(np.float64) + 1e-12
    edges = np.minimum(len(gain), np.arange(count + 1) * loudness.STEP / _CONTROL)

    def sums(values: Curve) -> Curve:
        running = np.concatenate([[0.0], np.cumsum(values)])
        return np.diff(np.interp(edges, np.arange(len(running)), running))

    return cast(Curve, sums(weight * 10 ** (gain.astype(np.float64) / 10)) / np.maximum(1e-15, sums(weight)))
