"""Drums and percussion: each hit made once, in a few strengths, and placed many times.

A kit says how its kick, snare and hats are tuned; the rest of a drummer's shelf is shared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np

from beatra_nb.sandbox.music import tones
from beatra_nb.sandbox.music.tones import Samples

RATE = tones.RATE


@dataclass(frozen=True, slots=True)
class Kit:
    """How a drum kit is tuned.

    Attributes
    ----------
    kick : tuple of float
        Start and resting frequency in Hz, seconds of sweep, seconds of decay, click, drive.
    snare : tuple of float
        Body's frequency in Hz, seconds of body, seconds of rattle, rattle's centre in Hz, rattle's level.
    hat : tuple of float
        Centre in Hz, seconds closed, seconds open.
    """

    kick: tuple[float, float, float, float, float, float] = (150, 52, 0.03, 0.42, 0.4, 1.6)
    snare: tuple[float, float, float, float, float] = (190, 0.16, 0.24, 4200, 0.8)
    hat: tuple[float, float, float] = (9000, 0.06, 0.45)
    crash: float = 2.2
    dusty: bool = False


KITS: dict[str, Kit] = {
    "studio": Kit(),
    "warm": Kit((120, 50, 0.035, 0.38, 0.2, 1.4), (175, 0.2, 0.26, 2600, 0.7), (7200, 0.07, 0.5)),
    "rock": Kit((165, 56, 0.028, 0.4, 0.7, 2.2), (195, 0.2, 0.34, 4600, 1.0), (8600, 0.07, 0.6), 2.6),
    "metal": Kit((190, 60, 0.02, 0.26, 1.6, 2.6), (215, 0.16, 0.3, 5200, 1.0), (9500, 0.05, 0.5), 2.6),
    "house": Kit((210, 48, 0.04, 0.36, 0.5, 2.4), (220, 0.1, 0.2, 5200, 0.8), (9800, 0.05, 0.3)),
    "techno": Kit((190, 44, 0.05, 0.5, 0.3, 3.4), (240, 0.08, 0.16, 6000, 0.8), (10500, 0.04, 0.26)),
    "808": Kit((130, 46, 0.06, 0.9, 0.3, 1.8), (200, 0.12, 0.2, 5200, 0.9), (10000, 0.045, 0.35)),
    "dusty": Kit((110, 54, 0.03, 0.3, 0.15, 2.2), (180, 0.13, 0.2, 2600, 0.9), (6200, 0.05, 0.25), 1.4, True),
    "jazz": Kit((95, 60, 0.03, 0.3, 0.12, 1.1), (205, 0.22, 0.2, 3600, 0.6), (7600, 0.08, 0.6), 2.6),
    "gated": Kit((170, 52, 0.03, 0.4, 0.5, 2.0), (185, 0.26, 0.42, 3800, 1.1), (8800, 0.055, 0.4), 2.4),
}


def _n(time: float) -> int:
    return int(time * RATE)


def _sweep(top: float, rest: float, sweep: float, time: float, n: int) -> Samples:
    """Return a drum skin: its pitch falls as it comes to rest."""
    t = tones.seconds(n)
    phase = 2 * np.pi * (rest * t + (top - rest) * sweep * (1 - np.exp(-t / np.float32(sweep))))
    return cast(Samples, np.sin(phase) * tones.fall(n, time))


def kick(kit: Kit, hard: float) -> Samples:
    """Return a bass drum."""
    top, rest, sweep, time, click, push = kit.kick
    n = _n(time * 0.9)
    body = tones.drive(_sweep(top * (0.8 + 0.2 * hard), rest, sweep, time, n), push)
    tick = _n(0.02)
    body[:tick] += (
        tones.shaped_noise(tick, tones.bands((3200, 0.9, 1.0), (1100, 0.8, 0.5)), "click")
        * tones.fall(tick, 0.012)
        * np.float32(click * 0.35 * hard)
    )
    return body * tones.attack(n, 0.0008) * np.float32(1.15)


def snare(kit: Kit, hard: float) -> Samples:
    """Return a snare drum: two modes of its skin, and wires."""
    pitch, time, rattle, centre, level = kit.snare
    n = _n(max(time, rattle) * 1.05)
    body = _sweep(pitch * 1.5, pitch, 0.012, time, n) + 0.5 * _sweep(
        pitch * 2.2, pitch * 1.72, 0.01, time * 0.7, n
    )
    wires = tones.shaped_noise(
        n, tones.bands((centre, 0.9, 1.0), (centre * 2, 0.7, 0.7), (900, 0.7, 0.35)), "snare"
    )
    sound = 0.55 * body + wires * tones.fall(n, rattle) * np.float32(level * (0.2 + 0.25 * hard))
    return tones.drive(sound * tones.attack(n, 0.0007), 1.5)


def rim(kit: Kit, hard: float) -> Samples:
    """Return a stick across the rim."""
    n = _n(0.09)
    sound = tones.modal(
        np.array([430.0, 1720.0, 2600.0]), np.array([0.4, 0.8, 0.4]), np.array([0.07, 0.06, 0.03]), n
    )
    return sound * tones.attack(n, 0.0006)


def clap(kit: Kit, hard: float) -> Samples:
    """Return a clap: a few hands, not quite together."""
    n = _n(0.3)
    noise = tones.shaped_noise(n, tones.bands((1300, 0.6, 1.0), (2600, 0.9, 0.7), (7000, 0.9, 0.35)), "clap")
    envelope = tones.fall(n, 0.28) * np.float32(0.6)
    for number, delay in enumerate((0.0, 0.011, 0.021)):
        start, end = _n(delay), _n(delay + 0.011)
        envelope[start:end] = np.exp(-np.arange(end - start, dtype=np.float32) / 160) * (0.8 + 0.1 * number)
    return cast(Samples, noise * envelope * np.float32(0.42) * tones.attack(n, 0.0006))


def _metal(centre: float, n: int, name: str) -> Samples:
    """Return the clang of a cymbal: shaped noise, and partials that belong to no scale."""
    sizzle = tones.shaped_noise(
        n, tones.bands((centre, 0.42, 1.0), (centre * 1.6, 0.4, 0.8), (3600, 0.7, 0.12)), name
    )
    clang = tones.modal(
        centre * np.array([0.37, 0.51, 0.62, 0.79, 0.93, 1.17, 1.41]), np.full(7, 0.3), np.full(7, 1.5), n
    )
    return sizzle * np.float32(0.75) + clang * np.float32(0.5)


def hat(kit: Kit, hard: float) -> Samples:
    """Return a closed hi-hat."""
    n = _n(kit.hat[1] * 2.2)
    return (
        _metal(kit.hat[0], n, "hat")
        * tones.fall(n, kit.hat[1] * (1.0 + 0.8 * hard))
        * tones.attack(n, 0.0006)
        * 0.5
    )


def open_hat(kit: Kit, hard: float) -> Samples:
    """Return an open hi-hat."""
    n = _n(kit.hat[2])
    return (
        _metal(kit.hat[0] * 0.96, n, "open") * tones.fall(n, kit.hat[2] * 0.9) * tones.attack(n, 0.0008) * 0.5
    )


def ride(kit: Kit, hard: float) -> Samples:
    """Return a ride cymbal."""
    n = _n(0.9)
    ping = tones.modal(
        np.array([3310.0, 4470.0, 5230.0, 6710.0, 8120.0]),
        np.full(5, 0.2),
        np.array([0.9, 0.8, 0.6, 0.5, 0.4]),
        n,
    )
    wash = tones.shaped_noise(n, tones.bands((6500, 0.6, 1.0), (10500, 0.4, 0.5)), "ride")
    sound = ping * 0.5 + wash * (
        tones.fall(n, 0.09) * 0.3 + tones.fall(n, 0.9) * np.float32(0.07 + 0.07 * hard)
    )
    return cast(Samples, sound * tones.attack(n, 0.0007))


def crash(kit: Kit, hard: float) -> Samples:
    """Return a crash cymbal, left and right not alike."""
    n = _n(kit.crash)
    sides = [
        tones.shaped_noise(n, tones.bands((6000, 0.9, 1.0), (2400, 0.7, 0.3)), "crash", s) for s in (0, 1)
    ]
    envelope = (tones.fall(n, kit.crash * 0.95) * 0.55 + tones.fall(n, 0.3) * 0.45) * tones.attack(n, 0.002)
    return cast(Samples, np.stack(sides) * envelope * np.float32(0.4))


def swell(kit: Kit, hard: float) -> Samples:
    """Return a cymbal rolled from nothing."""
    n = _n(1.8)
    envelope = (np.arange(n, dtype=np.float32) / n) ** 2.5
    tail = _n(0.06)
    envelope[-tail:] *= np.linspace(1, 0, tail, dtype=np.float32) ** 2
    sides = [
        tones.shaped_noise(n, tones.bands((5200, 0.9, 1.0), (2400, 0.7, 0.3)), "swell", s) for s in (0, 1)
    ]
    return cast(Samples, np.stack(sides) * envelope * np.float32(0.35))


def riser(kit: Kit, hard: float) -> Samples:
    """Return the noise that announces a drop: it climbs and grows."""
    n = _n(1.9)
    layers = [
        tones.shaped_noise(n, tones.bands((centre, 0.5, 1.0)), "riser", centre)
        for centre in (700, 1900, 4600, 9500)
    ]
    climb: Samples = np.arange(n, dtype=np.float32) / np.float32(n)
    sound = tones.crossfade(layers, climb) * climb**2
    tail = _n(0.03)
    sound[-tail:] *= np.linspace(1, 0, tail, dtype=np.float32)
    return cast(Samples, sound * np.float32(0.3))


def _tom(pitch: float) -> Callable[[Kit, float], Samples]:
    def hit(kit: Kit, hard: float) -> Samples:
        n = _n(0.5)
        sound = _sweep(pitch * 1.6, pitch, 0.03, 0.5, n) + 0.25 * _sweep(
            pitch * 2.4, pitch * 1.9, 0.02, 0.2, n
        )
        tick = _n(0.02)
        sound[:tick] += (
            tones.shaped_noise(tick, tones.bands((2500, 1.0, 1.0)), "tom") * tones.fall(tick, 0.015) * 0.2
        )
        return tones.drive(sound * tones.attack(n, 0.0008), 1.4)

    return hit


def _hand(pitch: float, time: float, slap: float) -> Callable[[Kit, float], Samples]:
    def hit(kit: Kit, hard: float) -> Samples:
        n = _n(time * 1.1)
        sound = _sweep(pitch * 1.12, pitch, 0.015, time, n) + 0.3 * _sweep(
            pitch * 2.3, pitch * 2.2, 0.01, time / 2, n
        )
        tick = _n(0.03)
        noise = tones.shaped_noise(tick, tones.bands((2800, 1.0, 1.0)), "hand") * tones.fall(tick, 0.02)
        sound[:tick] += noise * np.float32(slap * hard)
        return cast(Samples, sound * tones.attack(n, 0.0008) * np.float32(0.8))

    return hit


def _grains(
    centre: float, time: float, rise: float, level: float, name: str
) -> Callable[[Kit, float], Samples]:
    def hit(kit: Kit, hard: float) -> Samples:
        n = _n(time * 1.2)
        noise = tones.shaped_noise(n, tones.bands((centre, 0.5, 1.0), (centre * 1.7, 0.4, 0.5)), name)
        return cast(Samples, noise * tones.fall(n, time) * tones.attack(n, rise) * np.float32(level))

    return hit


def brush(kit: Kit, hard: float) -> Samples:
    """Return a brush swept over a snare drum."""
    n = _n(0.34)
    noise = tones.shaped_noise(n, tones.bands((3600, 1.0, 1.0), (1500, 0.8, 0.5)), "brush")
    envelope = np.sin(np.pi * np.minimum(1, np.arange(n, dtype=np.float32) / n * 1.05)) ** 2
    return cast(Samples, noise * envelope * np.float32(0.16))


def tambourine(kit: Kit, hard: float) -> Samples:
    """Return a tambourine."""
    n = _n(0.22)
    jingles = tones.modal(
        np.array([6100.0, 7400.0, 8900.0, 10300.0]), np.full(4, 0.3), np.array([0.2, 0.18, 0.16, 0.12]), n
    )
    noise = tones.shaped_noise(n, tones.bands((8500, 0.5, 1.0)), "tambourine") * tones.fall(n, 0.18)
    return cast(Samples, (jingles * 0.4 + noise * 0.35) * tones.attack(n, 0.003))


def cowbell(kit: Kit, hard: float) -> Samples:
    """Return a cowbell."""
    n = _n(0.25)
    return tones.modal(
        np.array([562.0, 845.0, 1690.0, 2535.0]), np.array([0.5, 0.6, 0.3, 0.2]), np.full(4, 0.24), n
    )


def clave(kit: Kit, hard: float) -> Samples:
    """Return claves."""
    n = _n(0.12)
    return tones.modal(
        np.array([2450.0, 4100.0]), np.array([0.7, 0.12]), np.array([0.1, 0.05]), n
    ) * tones.attack(n, 0.0008)


def triangle(kit: Kit, hard: float) -> Samples:
    """Return a triangle."""
    n = _n(1.2)
    return tones.modal(
        np.array([4120.0, 6730.0, 9800.0]), np.array([0.3, 0.3, 0.2]), np.array([1.2, 1.0, 0.7]), n
    )


def timpani(kit: Kit, hard: float) -> Samples:
    """Return a great drum of the orchestra."""
    n = _n(1.6)
    sound = tones.modal(
        65.4 * np.array([1.0, 1.5, 1.98, 2.44]),
        np.array([1.0, 0.7, 0.35, 0.2]),
        np.array([1.6, 1.2, 0.8, 0.5]),
        n,
    )
    thud = tones.shaped_noise(n, tones.bands((180, 0.8, 1.0), (1200, 0.8, 0.25)), "timpani") * tones.fall(
        n, 0.12
    )
    return cast(Samples, (sound * 0.7 + thud * np.float32(0.25 * hard)) * tones.attack(n, 0.002))


def taiko(kit: Kit, hard: float) -> Samples:
    """Return a struck drum as large as a room."""
    n = _n(1.1)
    body = tones.drive(_sweep(110, 58, 0.05, 1.0, n), 2.0)
    slap = tones.shaped_noise(n, tones.bands((420, 0.9, 1.0), (2800, 0.9, 0.4)), "taiko") * tones.fall(
        n, 0.14
    )
    return cast(Samples, (body + slap * np.float32(0.25 + 0.25 * hard)) * tones.attack(n, 0.0015))


def crackle(kit: Kit, hard: float) -> Samples:
    """Return a second of an old record's surface."""
    from beatra_nb.sandbox.music import chance

    n = _n(2.0)
    source = chance.noise(0, "crackle")
    sound = tones.shaped_noise(n, tones.bands((2500, 1.5, 1.0)), "surface") * np.float32(0.05)
    for place in source.integers(0, n - 400, 26):
        length = int(source.integers(20, 90))
        sound[place : place + length] += source.standard_normal(length).astype(np.float32) * np.float32(0.35)
    fade = _n(0.05)
    sound[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
    sound[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return tones.filtered(sound, tones.lowpass(6500, 2))


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of the shelf: how it sounds, how loud it stands, where, and how much of the room it gets."""

    render: Callable[[Kit, float], Samples]
    gain: float
    pan: float = 0.0
    send: float = 0.1


PIECES: dict[str, Piece] = {
    "kick": Piece(kick, 1.0, 0.0, 0.02),
    "snare": Piece(snare, 0.8, 0.04, 0.16),
    "rim": Piece(rim, 0.5, 0.12, 0.15),
    "clap": Piece(clap, 0.75, -0.05, 0.2),
    "hat": Piece(hat, 0.3, 0.28, 0.05),
    "open": Piece(open_hat, 0.28, 0.28, 0.08),
    "ride": Piece(ride, 0.55, -0.3, 0.12),
    "crash": Piece(crash, 0.5, 0.0, 0.2),
    "swell": Piece(swell, 0.45, 0.0, 0.25),
    "riser": Piece(riser, 0.5, 0.0, 0.25),
    "tom1": Piece(_tom(165), 0.7, 0.3, 0.15),
    "tom2": Piece(_tom(118), 0.75, -0.05, 0.15),
    "tom3": Piece(_tom(84), 0.8, -0.35, 0.15),
    "conga": Piece(_hand(245, 0.22, 0.1), 0.5, -0.35, 0.14),
    "conga2": Piece(_hand(180, 0.32, 0.06), 0.55, -0.25, 0.14),
    "bongo": Piece(_hand(420, 0.13, 0.16), 0.4, 0.4, 0.14),
    "cajon": Piece(_hand(88, 0.2, 0.25), 0.9, 0.0, 0.1),
    "shaker": Piece(_grains(7600, 0.09, 0.02, 0.3, "shaker"), 0.36, 0.4, 0.06),
    "brush": Piece(brush, 0.7, -0.1, 0.12),
    "tambourine": Piece(tambourine, 0.4, -0.4, 0.12),
    "cowbell": Piece(cowbell, 0.3, 0.3, 0.12),
    "clave": Piece(clave, 0.3, 0.42, 0.2),
    "triangle": Piece(triangle, 0.2, 0.45, 0.25),
    "timpani": Piece(timpani, 0.9, -0.15, 0.4),
    "taiko": Piece(taiko, 0.9, 0.1, 0.35),
    "crackle": Piece(crackle, 0.12, 0.0, 0.0),
}


def hit(name: str, kit: Kit, velocity: float) -> Samples:
    """Return one hit of a piece, about full scale when hit hard."""
    sound = PIECES[name].render(kit, velocity)
    if kit.dusty and name != "kick":
        sound = tones.filtered(sound, tones.lowpass(7000, 1.5)) * tones.attack(sound.shape[-1], 0.001)
    return sound
