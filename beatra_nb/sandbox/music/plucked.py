"""Instruments that are plucked or struck: sums of decaying partials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from beatra_nb.sandbox.music import chance, tones
from beatra_nb.sandbox.music.tones import Samples, Shape, spread, stereo


def string(
    midi: float,
    velocity: float,
    n: int,
    *,
    bright: float,
    sustain: float,
    damping: float,
    pick: float = 0.13,
    stiff: float = 0.0,
    count: int = 28,
    body: Shape | None = None,
) -> Samples:
    """Return a plucked or struck string.

    ``bright`` is the corner of the pluck in multiples of the fundamental, ``pick`` where it is plucked (that and its
    multiples miss), ``damping`` how much faster high partials die, ``stiff`` the stretch of the partials.
    """
    f0 = tones.hertz(midi)
    k = np.arange(1, count + 1, dtype=np.float64)
    frequencies = k * f0 * np.sqrt(1.0 + stiff * k * k)
    corner = bright * (0.45 + 0.85 * velocity)
    gains = (0.06 + np.abs(np.sin(np.pi * k * pick))) / k**0.75 / (1.0 + (k / corner) ** 2.2)
    if body:
        gains = gains * body(frequencies)
    decays = sustain * (220.0 / f0) ** 0.45 / (1.0 + damping * (frequencies / 1000.0) ** 1.1)
    turns = chance.noise(0, "string").random(count) * 0.15
    sound = tones.modal(frequencies, gains, np.maximum(decays, 0.04), n, turns)
    return cast(Samples, sound * tones.attack(n, 0.0012))


def piano(midi: float, velocity: float, n: int) -> Samples:
    """Return a grand: three strings a note beat against each other, the hammer thuds, bass sits left."""
    common = {"bright": 7.0, "stiff": 0.00028, "pick": 0.12, "damping": 0.75, "count": 22}
    first = string(midi, velocity, n, sustain=6.5, **common)  # type: ignore[arg-type]
    second = string(midi + 0.012, velocity, n, sustain=5.4, **common)  # type: ignore[arg-type]
    knock = min(n, 2600)
    thud = np.zeros(n, np.float32)
    thud[:knock] = tones.shaped_noise(knock, tones.bands((170, 0.8, 1.0), (1400, 1.0, 0.3)), "hammer")
    thud[:knock] *= tones.fall(knock, 0.05) * np.float32(0.05 + 0.1 * velocity)
    lean = np.float32(np.clip((midi - 50) / 240, -0.1, 0.1))
    return stereo(
        (first + 0.65 * second) * (1 - lean) + thud, (first * 0.8 + 0.92 * second) * (1 + lean) + thud
    )


def felt(midi: float, velocity: float, n: int) -> Samples:
    """Return a piano with felt on its strings, close and dark, a little worn."""
    sound = string(
        midi, velocity * 0.7, n, bright=3.2, sustain=4.5, damping=1.3, stiff=0.0002, count=14, pick=0.2
    )
    knock = min(n, 3000)
    sound[:knock] += (
        tones.shaped_noise(knock, tones.bands((350, 1.2, 1.0)), "felt") * tones.fall(knock, 0.06) * 0.1
    )
    wow = string(midi + 0.05, velocity * 0.6, n, bright=3.0, sustain=3.0, damping=1.3, count=12, pick=0.2)
    return spread(sound, 0.45 * wow)


def nylon(midi: float, velocity: float, n: int) -> Samples:
    """Return a classical guitar."""
    body = tones.bands((105, 0.5, 0.9), (210, 0.5, 1.0), (420, 0.9, 0.7), (2400, 1.2, 0.8), floor=0.45)
    return string(midi, velocity, n, bright=6.0, sustain=2.6, damping=1.1, pick=0.21, body=body)


def steel(midi: float, velocity: float, n: int) -> Samples:
    """Return a steel-string guitar with a pick."""
    body = tones.bands((110, 0.5, 0.8), (230, 0.5, 0.8), (3200, 1.3, 1.5), floor=0.5)
    sound = string(midi, velocity, n, bright=13.0, sustain=3.4, damping=0.55, pick=0.12, body=body)
    tick = min(n, 900)
    sound[:tick] += (
        tones.shaped_noise(tick, tones.bands((4200, 0.8, 1.0)), "pick")
        * tones.fall(tick, 0.012)
        * np.float32(0.08 + 0.12 * velocity)
    )
    return cast(Samples, sound * tones.attack(n, 0.001))


def clean_guitar(midi: float, velocity: float, n: int) -> Samples:
    """Return a clean electric guitar through a chorus."""
    body = tones.bands((700, 1.4, 0.8), (2600, 1.0, 1.1), floor=0.35)
    common = {"bright": 8.0, "sustain": 4.2, "damping": 0.7, "pick": 0.23, "count": 22, "body": body}
    middle = string(midi, velocity, n, **common)  # type: ignore[arg-type]
    side = string(midi + 0.06, velocity, n, **common)  # type: ignore[arg-type]
    return spread(tones.drive(middle, 1.3), 0.4 * side)


def muted_guitar(midi: float, velocity: float, n: int) -> Samples:
    """Return a funk guitar's short, bright, half-muted string."""
    body = tones.bands((1200, 1.0, 0.9), (3300, 0.9, 1.4), floor=0.25)
    sound = string(midi, velocity, n, bright=12.0, sustain=0.75, damping=0.35, pick=0.09, body=body)
    return tones.drive(sound, 1.5)


def _distorted(midi: float, velocity: float, n: int, gain: float, sustain: float, damping: float) -> Samples:
    """Return a power chord through an amplifier: the strings distort together, then a cabinet rounds it off."""
    total = np.zeros(n, np.float32)
    for step, level in ((0, 1.0), (7.02, 0.85), (12, 0.6)):
        total += np.float32(level) * string(
            midi + step, velocity, n, bright=9.0, sustain=sustain, damping=damping, pick=0.16, count=18
        )
    total = np.tanh(total * np.float32(gain))
    cabinet = tones.bands((120, 0.7, 0.8), (480, 1.1, 0.55), (1700, 0.9, 0.8), (3300, 0.75, 1.25), floor=0.02)
    corner = tones.lowpass(6200, 4)
    return tones.filtered(total, lambda f: cabinet(f) * corner(f)) * tones.attack(n, 0.0015)


def power_guitar(midi: float, velocity: float, n: int) -> Samples:
    """Return an overdriven power chord, doubled left and right by two slightly different takes."""
    left = _distorted(midi, velocity, n, 4.5, 4.0, 0.35)
    right = _distorted(midi - 0.05, velocity, n, 3.6, 3.6, 0.4)
    return stereo(left + 0.15 * right, right + 0.15 * left)


def metal_guitar(midi: float, velocity: float, n: int) -> Samples:
    """Return a high-gain power chord."""
    left = _distorted(midi, velocity, n, 14.0, 5.0, 0.3)
    right = _distorted(midi + 0.06, velocity, n, 11.0, 5.0, 0.3)
    return stereo(left, right)


def chug_guitar(midi: float, velocity: float, n: int) -> Samples:
    """Return a palm-muted high-gain stroke."""
    left = _distorted(midi, velocity, n, 12.0, 0.55, 0.5)
    right = _distorted(midi + 0.05, velocity, n, 9.0, 0.5, 0.5)
    return stereo(left, right)


def lead_guitar(midi: float, velocity: float, n: int) -> Samples:
    """Return a singing overdriven lead with finger vibrato."""
    bright = 2600 + 2200 * velocity
    tone = tones.glide(
        tones.vibrato(n, midi, 0.22, 5.6, 0.22, 0.35), tones.pulse(0.21), tones.lowpass(bright, 1.2)
    )
    tone *= tones.fall(n, 5.0, 0.25)
    cabinet = tones.bands((500, 1.0, 0.6), (1400, 0.9, 1.0), (2900, 0.8, 1.1), floor=0.03)
    return tones.filtered(np.tanh(tone * np.float32(3.0)), cabinet) * tones.attack(n, 0.004)


def harp(midi: float, velocity: float, n: int) -> Samples:
    """Return a harp."""
    return string(midi, velocity, n, bright=4.5, sustain=3.6, damping=0.9, pick=0.33, count=16)


def koto(midi: float, velocity: float, n: int) -> Samples:
    """Return a banjo-like bright pluck."""
    body = tones.bands((600, 0.9, 1.0), (1800, 1.0, 1.3), floor=0.3)
    return string(midi, velocity, n, bright=14.0, sustain=1.1, damping=0.3, pick=0.06, body=body)


def pizzicato(midi: float, velocity: float, n: int) -> Samples:
    """Return plucked orchestral strings."""
    body = tones.bands((280, 0.6, 1.0), (900, 0.9, 0.7), floor=0.4)
    return string(midi, velocity, n, bright=5.0, sustain=0.8, damping=0.8, pick=0.25, count=14, body=body)


def _bars(
    midi: float, velocity: float, n: int, ratios: Sequence[float], sustain: float, hard: float
) -> Samples:
    f0 = tones.hertz(midi)
    ratio = np.array(ratios, dtype=np.float64)
    gains = (0.15 + hard * velocity) ** np.arange(len(ratio)) * np.array([1.0, *[0.8] * (len(ratio) - 1)])
    decays = sustain * (440.0 / f0) ** 0.35 / ratio**0.9
    return cast(Samples, tones.modal(f0 * ratio, gains, decays, n) * tones.attack(n, 0.002))


def vibraphone(midi: float, velocity: float, n: int) -> Samples:
    """Return a vibraphone with its motor on."""
    sound = _bars(midi, velocity, n, (1, 3.98, 10.1), 4.5, 0.35)
    motor = np.sin(2 * np.pi * 5.1 * tones.seconds(n))
    return stereo(sound * (1 + 0.22 * motor), sound * (1 - 0.12 * motor))


def marimba(midi: float, velocity: float, n: int) -> Samples:
    """Return a marimba."""
    return _bars(midi, velocity, n, (1, 3.93, 9.2), 1.1, 0.4)


def celesta(midi: float, velocity: float, n: int) -> Samples:
    """Return a music box or celesta."""
    return _bars(midi, velocity, n, (1, 2.0, 4.1, 6.3), 2.2, 0.3)


def bell(midi: float, velocity: float, n: int) -> Samples:
    """Return a glassy synthetic bell."""
    t = tones.seconds(n)
    w = np.float32(2 * np.pi * tones.hertz(midi))
    tame = min(1.0, 620 / tones.hertz(midi))  # high up, far partials would fold back
    index = np.float32((1.2 + 2.0 * velocity) * tame) * tones.fall(n, 1.6)
    left = np.sin(w * t + index * np.sin(w * np.float32(3.5) * t))
    right = np.sin(w * np.float32(1.002) * t + index * np.sin(w * np.float32(3.507) * t))
    return stereo(left, right) * tones.fall(n, 3.4) * tones.attack(n, 0.002)


def electric_piano(midi: float, velocity: float, n: int) -> Samples:
    """Return an electric piano: a tine's bark when it is hit hard, and a slow tremolo from side to side."""
    t = tones.seconds(n)
    w = np.float32(2 * np.pi * tones.hertz(midi))
    bark = np.float32(0.35 + 1.5 * velocity**1.5) * tones.fall(n, 1.4)
    tine = (
        np.float32(0.12 + 0.25 * velocity)
        * tones.fall(n, 0.35)
        * np.sin(w * np.float32(14.0 if midi < 62 else 7.0) * t)
    )
    body = np.sin(w * t + bark * np.sin(w * t) + tine)
    body += 0.35 * np.sin(w * np.float32(1.0018) * t + 0.5 * bark * np.sin(w * t))
    body *= tones.fall(n, 4.2) * tones.attack(n, 0.002)
    sway = np.float32(0.22) * np.sin(2 * np.pi * 4.3 * t)
    return stereo(body * (1 + sway), body * (1 - sway))
