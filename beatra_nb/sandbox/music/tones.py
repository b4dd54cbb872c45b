"""The raw material of sound: band-limited oscillators, vibrating bodies, shaped noise, envelopes. All float32.

Everything here avoids a loop over samples. An oscillator that keeps its pitch is a short loop of whole periods,
made from its spectrum and repeated: exact, free of aliasing, and as quick as copying memory. A filter that moves is
a cross-fade between loops of the same phases and different brightness. A string or a bell is a sum of decaying
partials; since exp(a + b) = exp(a)·exp(b), a block of it is a product of two small matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from beatra_nb.sandbox.music import chance

RATE = 44_100
Samples = npt.NDArray[np.float32]
Curve = npt.NDArray[np.floating[Any]]
Shape = Callable[[Curve], Curve]  # frequencies in Hz → gain

_LOOP = 4096  # about so many samples repeat: pitch is then exact to a twentieth of a cent
_OFF_PITCH = 1e-4  # a sixth of a cent
_BLOCK = 256
_TABLE = 2048
_TOP = 17_000.0  # nothing is synthesised above: it would cost bits and nobody would miss it


def hertz(midi: float) -> float:
    """Return the frequency of a MIDI note number.

    >>> hertz(69)
    440.0
    """
    return float(440.0 * 2.0 ** ((midi - 69.0) / 12.0))


def lowpass(cutoff: float, slope: float = 2.0, peak: float = 0.0) -> Shape:
    """Return the gain of a low-pass: ``slope`` × 6 dB an octave, with a resonance of ``peak`` at the corner."""

    def gain(f: Curve) -> Curve:
        ratio = f / cutoff
        bump = peak * np.exp(-((np.log2(np.maximum(ratio, 1e-6)) / 0.25) ** 2))
        return cast(Curve, (1.0 + ratio ** (2 * slope)) ** -0.5 * (1.0 + bump))

    return gain


def bands(*peaks: tuple[float, float, float], floor: float = 0.0) -> Shape:
    """Return a gain made of humps ``(frequency, width in octaves, gain)``: formants, bodies, filtered noise."""

    def gain(f: Curve) -> Curve:
        octaves = np.log2(np.maximum(f, 1.0))
        total = np.full_like(f, floor)
        for centre, width, height in peaks:
            total += height * np.exp(-0.5 * ((octaves - np.log2(centre)) / width) ** 2)
        return total

    return gain


def saw(k: Curve) -> Curve:
    """Return a saw's partials."""
    return 1.0 / k


def pulse(width: float) -> Shape:
    """Return a pulse's partials; 0.5 is a square."""
    return lambda k: cast(Curve, np.abs(np.sin(np.pi * k * width)) / k)


def drawbars(levels: Sequence[float], numbers: Sequence[int]) -> Shape:
    """Return partials given one by one."""
    table = dict(zip(numbers, levels, strict=True))
    return lambda k: np.array([table.get(int(each), 0.0) for each in k])


def _partials(frequency: float, wave: Shape, shape: Shape | None) -> tuple[Curve, Curve]:
    count = max(1, int(_TOP / frequency))
    k = np.arange(1, min(count, 400) + 1, dtype=np.float64)
    gains = wave(k)
    return k, gains * shape(k * frequency) if shape else gains


def loop(frequency: float, n: int, wave: Shape, shape: Shape | None = None, turn: float = 0.0) -> Samples:
    """Return ``n`` samples of a steady tone; ``turn`` shifts its phase by so many periods."""
    periods, size = _fit(frequency)
    k, gains = _partials(frequency, wave, shape)
    spectrum = np.zeros(size // 2 + 1, np.complex64)
    places = (k * periods).astype(int)
    inside = places < size // 2
    # Partial k of a sine-phased wave, turned: k times the fundamental's turn.
    spectrum[places[inside]] = (-0.5j * size) * gains[inside] * np.exp(2j * np.pi * k[inside] * turn)
    period = np.fft.irfft(spectrum, size).astype(np.float32)
    return np.resize(period, n)


@lru_cache(4096)
def _fit(frequency: float) -> tuple[int, int]:
    """Return how many periods make a loop, and its samples: about ``_LOOP``, a size that transforms quickly."""
    usual = max(1, round(_LOOP * frequency / RATE))
    fits = [(n, max(2, round(n * RATE / frequency))) for n in range(usual, usual + max(3, usual // 3))]
    exact = [fit for fit in fits if abs(fit[1] * frequency / (fit[0] * RATE) - 1) < _OFF_PITCH]
    return min(exact or fits[:1], key=lambda fit: _heaviest(fit[1]))


def _heaviest(size: int) -> int:
    """Return the largest prime factor: a transform of a prime size takes ten times as long as its neighbours."""
    rest, factor, heaviest = size, 2, 1
    while factor * factor <= rest:
        while rest % factor == 0:
            rest, heaviest = rest // factor, factor
        factor += 1
    return max(heaviest, rest)


def glide(frequencies: Curve, wave: Shape, shape: Shape | None = None) -> Samples:
    """Return a tone whose frequency moves (vibrato, slides): a table read at a changing speed."""
    k, gains = _partials(float(frequencies.max()), wave, shape)
    spectrum = np.zeros(_TABLE // 2 + 1, np.complex128)
    inside = k < _TABLE // 2
    spectrum[k[inside].astype(int)] = -0.5j * _TABLE * gains[inside]
    table = np.fft.irfft(spectrum, _TABLE).astype(np.float32)
    slope = np.roll(table, -1) - table
    phase = np.cumsum(frequencies, dtype=np.float64) * (_TABLE / RATE)
    place = phase.astype(np.int64)
    within = (phase - place).astype(np.float32)
    place &= _TABLE - 1
    return cast(Samples, table[place] + slope[place] * within)


def modal(frequencies: Curve, gains: Curve, decays: Curve, n: int, turns: Curve | None = None) -> Samples:
    """Return a sum of decaying sines: ``decays`` are seconds to fall by 60 dB, ``turns`` phases in periods."""
    audible = frequencies < _TOP
    frequencies, gains, decays = frequencies[audible], gains[audible], decays[audible]
    if not len(frequencies):
        return np.zeros(n, np.float32)
    rates = (2j * np.pi * frequencies - 6.9078 / decays) / RATE
    start = gains * -1j * np.exp(2j * np.pi * (turns[audible] if turns is not None else 0.0))
    blocks = -(-n // _BLOCK)
    outer = np.exp(np.outer(np.arange(blocks) * _BLOCK, rates)) * start
    inner = np.exp(np.outer(rates, np.arange(_BLOCK)))
    left = np.concatenate([outer.real, -outer.imag], 1).astype(np.float32)
    right = np.concatenate([inner.real, inner.imag], 0).astype(np.float32)
    return cast(Samples, (left @ right).reshape(-1)[:n])


def shaped_noise(n: int, shape: Shape, *labels: object) -> Samples:
    """Return noise of a given spectrum and about unit level; the labels are its seed."""
    size = fast_size(n)
    # Noise is white in frequency too: drawn there, it needs one transform instead of two.
    draw = chance.noise(0, "noise", *labels).standard_normal((2, size // 2 + 1), dtype=np.float32)
    spectrum = (draw[0] + 1j * draw[1]).astype(np.complex64)
    spectrum *= shape(np.fft.rfftfreq(size, 1 / RATE)).astype(np.float32)
    spectrum[0] = 0
    sound = np.fft.irfft(spectrum, size)[:n].astype(np.float32)
    return cast(Samples, sound / np.float32(np.sqrt(np.mean(sound * sound)) + 1e-9))


def filtered(sound: Samples, shape: Shape) -> Samples:
    """Return a sound through a linear-phase filter."""
    n = sound.shape[-1]
    size = fast_size(n + 512)
    spectrum = np.fft.rfft(sound, size)
    spectrum *= shape(np.fft.rfftfreq(size, 1 / RATE)).astype(np.float32)
    return cast(Samples, np.fft.irfft(spectrum, size)[..., :n].astype(np.float32))


def fast_size(n: int) -> int:
    """Return the next length that transforms quickly."""
    best = 1 << max(1, (n - 1).bit_length())
    for odd in (3, 5, 9, 15):
        power = odd
        while power < n:
            power *= 2
        best = min(best, power) if power % 2 == 0 else best
    return best


def seconds(n: int) -> Samples:
    """Return the times of ``n`` samples."""
    return np.arange(n, dtype=np.float32) / np.float32(RATE)


def attack(n: int, time: float) -> Samples:
    """Return a rise over ``time`` seconds, then one: half a cosine, so that nothing clicks."""
    rise = min(n, max(8, int(time * RATE)))
    curve = np.ones(n, np.float32)
    curve[:rise] = 0.5 - 0.5 * np.cos(np.pi * np.arange(rise, dtype=np.float32) / rise)
    return curve


def fall(n: int, time: float, floor: float = 0.0) -> Samples:
    """Return a decay by 60 dB over ``time`` seconds, towards ``floor``."""
    return cast(
        Samples, np.float32(floor) + np.float32(1 - floor) * np.exp(seconds(n) * np.float32(-6.9078 / time))
    )


def crossfade(layers: Sequence[Samples], position: Samples) -> Samples:
    """Return a mixture of layers: position 0 is the first, 1 the last."""
    place = position * np.float32(len(layers) - 1)
    total = np.zeros_like(layers[0])
    for number, layer in enumerate(layers):
        total += layer * np.maximum(np.float32(0), 1 - np.abs(place - np.float32(number)))
    return total


def drive(sound: Samples, amount: float) -> Samples:
    """Return the sound softly saturated; its level stays about the same."""
    return cast(Samples, np.tanh(sound * np.float32(amount)) / np.float32(np.tanh(amount)))


def vibrato(
    n: int, midi: float, depth: float, rate: float = 5.3, delay: float = 0.25, scoop: float = 0.0
) -> Curve:
    """Return the frequencies of a sung note: vibrato of ``depth`` semitones that comes in late, and a scoop."""
    t = seconds(n)
    swell = np.clip((t - np.float32(delay)) / np.float32(0.35), 0.0, 1.0)
    bend = np.float32(depth) * swell * np.sin(t * np.float32(2 * np.pi * rate))
    if scoop:
        bend -= np.float32(scoop) * np.exp(t / np.float32(-0.035))
    # A factor in single precision is exact to a ten-thousandth of a cent, and much quicker than a power.
    return cast(Curve, np.float32(hertz(midi)) * np.exp(bend * np.float32(np.log(2) / 12)))


def stereo(left: Samples, right: Samples) -> Samples:
    """Return two sides as one sound."""
    return cast(Samples, np.stack([left, right]))


def spread(middle: Samples, side: Samples) -> Samples:
    """Return middle and side as left and right."""
    return stereo(middle + side, middle - side)
