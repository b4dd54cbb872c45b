"""Organs and synthesizers."""

from __future__ import annotations

import numpy as np

from beatra_nb.sandbox.music import tones
from beatra_nb.sandbox.music.blown import ensemble
from beatra_nb.sandbox.music.tones import Samples, spread, stereo


def organ(midi: float, velocity: float, n: int) -> Samples:
    """Return a drawbar organ through a turning loudspeaker."""
    wave = tones.drawbars((0.9, 1.0, 0.75, 0.5, 0.12, 0.2, 0.1, 0.14), (1, 2, 3, 4, 5, 6, 8, 10))
    one = tones.loop(tones.hertz(midi - 12), n, wave)
    t = tones.seconds(n)
    turn = np.sin(2 * np.pi * 6.1 * t)
    swirl = tones.loop(tones.hertz(midi - 12 + 0.05), n, wave, None, 0.25) * np.float32(0.35)
    click = tones.attack(n, 0.004)
    sound = tones.drive((one + swirl) * np.float32(0.5 + 0.3 * velocity), 1.2)
    return stereo(sound * (1 + 0.18 * turn), sound * (1 - 0.18 * turn)) * click


def warm_pad(midi: float, velocity: float, n: int) -> Samples:
    """Return detuned saws behind a filter that opens slowly."""
    shapes = [tones.lowpass(420, 1.6), tones.lowpass(1500 + 1500 * velocity, 1.4)]
    swell = tones.attack(n, 1.6)
    return ensemble(midi, n, tones.saw, shapes, swell * np.float32(0.8), 3, 0.3) * tones.attack(n, 0.35)


def glass_pad(midi: float, velocity: float, n: int) -> Samples:
    """Return a breathing pad of high partials, with air in it."""
    wave = tones.drawbars((1.0, 0.5, 0.12, 0.3, 0.05, 0.16, 0.1), (1, 2, 3, 4, 5, 6, 8))
    shapes = [tones.lowpass(700, 1.2), tones.lowpass(5200, 1.0)]
    t = tones.seconds(n)
    breathing = np.float32(0.5) - np.float32(0.4) * np.cos(2 * np.pi * 0.17 * t)
    sound = ensemble(midi, n, wave, shapes, breathing, 3, 0.16)
    return sound * tones.attack(n, 0.9)


def supersaw(midi: float, velocity: float, n: int) -> Samples:
    """Return a wide stack of saws: the sound of big rooms."""
    shapes = [tones.lowpass(1400, 1.5), tones.lowpass(7500 + 4000 * velocity, 1.0)]
    position = tones.fall(n, 1.6, 0.45 + 0.3 * velocity)
    return ensemble(midi, n, tones.saw, shapes, position, 4, 0.42) * tones.attack(n, 0.008)


def pluck(midi: float, velocity: float, n: int) -> Samples:
    """Return a short synthesizer note whose filter snaps shut."""
    shapes = [
        tones.lowpass(350, 2),
        tones.lowpass(1800, 2, 0.6),
        tones.lowpass(6000 + 4000 * velocity, 1.5, 0.5),
    ]
    sound = ensemble(midi, n, tones.saw, shapes, tones.fall(n, 0.42), 2, 0.14)
    return sound * tones.fall(n, 1.1) * tones.attack(n, 0.002)


def square_lead(midi: float, velocity: float, n: int) -> Samples:
    """Return a singing analogue lead."""
    pitch = tones.vibrato(n, midi, 0.16, 5.4, 0.25, 0.15)
    sound = tones.glide(pitch, tones.pulse(0.38), tones.lowpass(2600 + 3600 * velocity, 1.3))
    second = tones.glide(pitch * 1.0035, tones.saw, tones.lowpass(2200 + 3000 * velocity, 1.3))
    envelope = tones.attack(n, 0.012) * tones.fall(n, 3.0, 0.5)
    return spread((sound + 0.6 * second) * envelope, 0.2 * second * envelope)


def saw_lead(midi: float, velocity: float, n: int) -> Samples:
    """Return a bright, detuned lead."""
    shapes = [tones.lowpass(1500, 1.5), tones.lowpass(8000, 1.0)]
    position = tones.fall(n, 0.9, 0.4 + 0.4 * velocity)
    return ensemble(midi, n, tones.saw, shapes, position, 2, 0.18) * tones.attack(n, 0.01)


def sine_lead(midi: float, velocity: float, n: int) -> Samples:
    """Return a round, whistling synthesizer for dreamy tunes."""
    wave = tones.drawbars((1.0, 0.22, 0.1, 0.04), (1, 2, 3, 4))
    sound = tones.glide(tones.vibrato(n, midi, 0.2, 4.8, 0.3, 0.3), wave)
    return sound * tones.attack(n, 0.03) * tones.fall(n, 4.0, 0.4)


def stab(midi: float, velocity: float, n: int) -> Samples:
    """Return a house stab: short, hollow, a little dirty."""
    shapes = [tones.lowpass(500, 2), tones.lowpass(5200 + 3000 * velocity, 1.5, 0.8)]
    sound = ensemble(midi, n, tones.pulse(0.24), shapes, tones.fall(n, 0.5), 2, 0.12)
    return tones.drive(sound * tones.fall(n, 0.8), 1.4) * tones.attack(n, 0.003)
