"""Instruments kept alive by a breath, a bow or a voice, alone and in sections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from beatra_nb.sandbox.music import tones
from beatra_nb.sandbox.music.tones import Samples, Shape, stereo


def _blown(
    midi: float,
    velocity: float,
    n: int,
    wave: Shape,
    body: Shape,
    *,
    rise: float = 0.05,
    depth: float = 0.16,
    breath: float = 0.0,
    scoop: float = 0.0,
    dark: float = 900.0,
    bright: float = 4500.0,
) -> Samples:
    """Return a tone that a breath or a bow keeps alive: it brightens as it swells."""
    pitch = tones.vibrato(n, midi, depth, 5.2, 0.28, scoop)
    low, high = tones.lowpass(dark, 1.5), tones.lowpass(bright * (0.5 + 0.6 * velocity), 1.5)
    # Both layers share one glide: the table is linear in its spectrum.
    soft = tones.glide(pitch, wave, lambda f: low(f) * body(f))
    hard = tones.glide(pitch, wave, lambda f: high(f) * body(f))
    swell = tones.attack(n, rise)
    push = swell * np.float32(0.35 + 0.65 * velocity) * tones.fall(n, 6.0, 0.7)
    sound = (soft * (1 - push) + hard * push) * swell
    if breath:
        air = tones.shaped_noise(
            n, tones.bands((tones.hertz(midi) * 2, 0.6, 1.0), (5200, 1.0, 0.6)), "breath"
        )
        sound += air * swell * np.float32(breath)
    return sound


def flute(midi: float, velocity: float, n: int) -> Samples:
    """Return a flute."""
    wave = tones.drawbars((1.0, 0.42, 0.2, 0.07, 0.03), (1, 2, 3, 4, 5))
    return _blown(midi, velocity, n, wave, tones.bands(floor=1.0), rise=0.06, breath=0.035, dark=1500)


def clarinet(midi: float, velocity: float, n: int) -> Samples:
    """Return a clarinet: odd partials."""
    return _blown(
        midi, velocity, n, tones.pulse(0.5), tones.bands((1500, 0.8, 0.8), floor=0.6), rise=0.045, depth=0.06
    )


def saxophone(midi: float, velocity: float, n: int) -> Samples:
    """Return a tenor saxophone."""
    body = tones.bands((480, 0.6, 1.0), (1100, 0.5, 1.1), (2600, 0.6, 0.9), floor=0.25)
    return _blown(midi, velocity, n, tones.saw, body, rise=0.035, depth=0.2, breath=0.02, scoop=0.6)


def trumpet(midi: float, velocity: float, n: int) -> Samples:
    """Return a trumpet, or a section of them."""
    body = tones.bands((1200, 0.8, 1.2), (2400, 0.7, 0.9), floor=0.35)
    return _blown(midi, velocity, n, tones.saw, body, rise=0.03, depth=0.1, dark=700, bright=6500)


def brass(midi: float, velocity: float, n: int) -> Samples:
    """Return horns and trombones together."""
    body = tones.bands((380, 0.9, 1.1), (900, 0.8, 0.8), floor=0.3)
    left = _blown(midi - 0.04, velocity, n, tones.saw, body, rise=0.07, depth=0.05, dark=500, bright=3200)
    right = _blown(midi + 0.04, velocity, n, tones.saw, body, rise=0.09, depth=0.04, dark=500, bright=2900)
    return stereo(left + 0.3 * right, right + 0.3 * left)


def harmonica(midi: float, velocity: float, n: int) -> Samples:
    """Return a harmonica with a bend into the note."""
    body = tones.bands((900, 0.7, 0.8), (2300, 0.7, 1.3), floor=0.3)
    return _blown(midi, velocity, n, tones.pulse(0.28), body, rise=0.025, depth=0.14, scoop=0.8, dark=1500)


def melodica(midi: float, velocity: float, n: int) -> Samples:
    """Return a melodica."""
    body = tones.bands((700, 0.9, 1.0), (1900, 0.7, 0.7), floor=0.4)
    return _blown(midi, velocity, n, tones.pulse(0.36), body, rise=0.03, depth=0.1, dark=1300)


def accordion(midi: float, velocity: float, n: int) -> Samples:
    """Return an accordion's two reeds."""
    shape = tones.lowpass(2600 + 2400 * velocity, 1.2)
    one = tones.loop(tones.hertz(midi - 0.05), n, tones.pulse(0.3), shape)
    two = tones.loop(tones.hertz(midi + 0.06), n, tones.pulse(0.3), shape, 0.3)
    return stereo(one + 0.5 * two, two + 0.5 * one) * tones.attack(n, 0.04)


def fiddle(midi: float, velocity: float, n: int) -> Samples:
    """Return a solo violin."""
    body = tones.bands((290, 0.3, 0.8), (480, 0.4, 0.9), (1100, 0.5, 0.8), (2600, 0.6, 1.2), floor=0.25)
    return _blown(
        midi, velocity, n, tones.saw, body, rise=0.06, depth=0.22, scoop=0.25, dark=1600, bright=7000
    )


def whistle(midi: float, velocity: float, n: int) -> Samples:
    """Return someone who whistles."""
    wave = tones.drawbars((1.0, 0.04, 0.03), (1, 2, 3))
    return _blown(
        midi, velocity, n, wave, tones.bands(floor=1.0), rise=0.04, depth=0.2, breath=0.03, scoop=0.3
    )


def ensemble(
    midi: float, n: int, wave: Shape, shapes: Sequence[Shape], position: Samples, voices: int, spread: float
) -> Samples:
    """Return several players a little out of tune with each other, left to right."""
    sides = []
    for side in (0, 1):
        layers = []
        for shape in shapes:
            total = np.zeros(n, np.float32)
            for voice in range(voices):
                place = (voice + 0.5 * side) / max(1, voices - 0.5) - 0.5
                f = tones.hertz(midi + place * spread)
                total += tones.loop(f, n, wave, shape, turn=(voice * 0.377 + side * 0.21) % 1.0)
            layers.append(total * np.float32(voices**-0.5))
        sides.append(tones.crossfade(layers, position) if len(layers) > 1 else layers[0])
    return stereo(sides[0], sides[1])


def strings(midi: float, velocity: float, n: int) -> Samples:
    """Return a string section."""
    body = tones.bands((300, 0.5, 0.8), (600, 0.6, 0.8), (1300, 0.8, 0.7), (3000, 0.8, 0.8), floor=0.25)
    dark, bright = tones.lowpass(900, 1.2), tones.lowpass(3200 + 3000 * velocity, 1.2)
    swell = tones.attack(n, 0.28 - 0.16 * velocity)
    shapes = [lambda f: dark(f) * body(f), lambda f: bright(f) * body(f)]
    return ensemble(midi, n, tones.saw, shapes, swell * np.float32(0.5 + 0.5 * velocity), 3, 0.22) * swell


def staccato_strings(midi: float, velocity: float, n: int) -> Samples:
    """Return a string section's short, driving bows."""
    body = tones.bands((300, 0.5, 0.9), (700, 0.7, 0.8), (2800, 0.9, 1.0), floor=0.25)
    bright = tones.lowpass(2600 + 4500 * velocity, 1.2)
    sound = ensemble(midi, n, tones.saw, [lambda f: bright(f) * body(f)], np.ones(1, np.float32), 3, 0.2)
    return sound * tones.attack(n, 0.018) * tones.fall(n, 0.9)


def choir(midi: float, velocity: float, n: int) -> Samples:
    """Return voices on "ah"."""
    vowel = tones.bands((750, 0.28, 1.0), (1150, 0.22, 0.6), (2750, 0.3, 0.22), (3500, 0.4, 0.14), floor=0.02)
    sound = ensemble(midi, n, tones.saw, [vowel], np.ones(1, np.float32), 4, 0.28)
    sway = 1 + 0.07 * np.sin(2 * np.pi * 4.9 * tones.seconds(n))
    return cast(Samples, sound * sway * tones.attack(n, 0.22 - 0.1 * velocity) * np.float32(1.6))
