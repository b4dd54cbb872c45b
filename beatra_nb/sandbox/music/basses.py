"""Basses, of strings and of circuits."""

from __future__ import annotations

from typing import cast

import numpy as np

from beatra_nb.sandbox.music import tones
from beatra_nb.sandbox.music.plucked import string
from beatra_nb.sandbox.music.tones import Samples


def finger_bass(midi: float, velocity: float, n: int) -> Samples:
    """Return an electric bass."""
    sound = string(midi, velocity, n, bright=5.5, sustain=3.2, damping=0.9, pick=0.2, count=16)
    return tones.drive(sound, 1.3)


def pick_bass(midi: float, velocity: float, n: int) -> Samples:
    """Return an electric bass with a pick and some grit."""
    sound = string(midi, velocity, n, bright=14.0, sustain=2.8, damping=0.45, pick=0.1, count=28)
    return tones.drive(sound, 2.4)


def slap_bass(midi: float, velocity: float, n: int) -> Samples:
    """Return a slapped bass."""
    body = tones.bands((90, 0.8, 1.0), (2600, 1.0, 1.5), floor=0.35)
    sound = string(midi, velocity, n, bright=22.0, sustain=1.9, damping=0.3, pick=0.08, count=36, body=body)
    return tones.drive(sound, 1.9)


def upright_bass(midi: float, velocity: float, n: int) -> Samples:
    """Return a double bass, plucked."""
    body = tones.bands((70, 0.7, 0.8), (140, 0.7, 1.0), (700, 1.0, 0.6), floor=0.4)
    sound = string(midi, velocity, n, bright=4.5, sustain=1.5, damping=1.4, pick=0.27, count=14, body=body)
    tick = min(n, 1600)
    sound[:tick] += (
        tones.shaped_noise(tick, tones.bands((900, 1.0, 1.0)), "finger") * tones.fall(tick, 0.03) * 0.08
    )
    return sound


def synth_bass(midi: float, velocity: float, n: int) -> Samples:
    """Return an analogue bass with a quick filter."""
    shapes = [
        tones.lowpass(190, 2),
        tones.lowpass(700, 2, 0.8),
        tones.lowpass(2600 + 1800 * velocity, 2, 0.8),
    ]
    f = tones.hertz(midi)
    layers = [
        tones.loop(f, n, tones.saw, s) + 0.6 * tones.loop(f * 1.004, n, tones.pulse(0.5), s) for s in shapes
    ]
    sound = tones.crossfade(layers, tones.fall(n, 0.5, 0.12)) + 0.6 * tones.loop(
        f, n, tones.drawbars((1.0,), (1,))
    )
    return tones.drive(sound * np.float32(0.6), 1.6) * tones.attack(n, 0.003)


def sub_bass(midi: float, velocity: float, n: int) -> Samples:
    """Return a deep sine with just enough edge to be heard on small loudspeakers."""
    t = tones.seconds(n)
    w = 2 * np.pi * tones.hertz(midi)
    bend = np.float32(w * 0.012 * 0.6) * (1 - np.exp(-t / np.float32(0.012)))
    sound = tones.drive(np.sin(np.float32(w) * t + bend), 1.8 + 1.2 * velocity)
    return cast(Samples, sound * tones.attack(n, 0.006) * tones.fall(n, 4.5, 0.15))


def acid_bass(midi: float, velocity: float, n: int) -> Samples:
    """Return a squelching, resonant bass."""
    f = tones.hertz(midi)
    shapes = [tones.lowpass(c, 2.5, 2.4) for c in (260, 620, 1400, 1800 + 1700 * velocity)]
    layers = [tones.loop(f, n, tones.saw, s) for s in shapes]
    sound = tones.crossfade(layers, tones.fall(n, 0.38, 0.08))
    return tones.drive(sound * np.float32(0.5), 2.2) * tones.attack(n, 0.003)


def reese_bass(midi: float, velocity: float, n: int) -> Samples:
    """Return two saws that beat slowly: dark and moving."""
    shape = tones.lowpass(800 + 900 * velocity, 1.6)
    f = tones.hertz(midi)
    sound = tones.loop(f * 0.993, n, tones.saw, shape) + tones.loop(f * 1.007, n, tones.saw, shape, 0.4)
    return tones.drive(sound * np.float32(0.6), 1.8) * tones.attack(n, 0.006)
