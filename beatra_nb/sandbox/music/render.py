"""A score becomes sound: every note made once, placed where it belongs, with people's small inaccuracies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import numpy as np

from beatra_nb.sandbox.music import chance, drumkit
from beatra_nb.sandbox.music.genre import Genre
from beatra_nb.sandbox.music.instruments import INSTRUMENTS
from beatra_nb.sandbox.music.score import Part, Score
from beatra_nb.sandbox.music.tones import RATE, Samples

_LAYERS = 4  # strengths that a note is made in; what lies between is a matter of gain
_BLOCK = 1024
_LEVEL = 0.07  # a part's loudness at 0 dB while it plays
_DRUMS = 0.34
_HEAVIER = {"bass": 1.35, "riff": 1.15, "pad": 0.9, "arp": 0.9}

Progress = Callable[[float, str], None]


class Mixer:
    """The mix in the making: a stereo sum, and what is sent into the room."""

    def __init__(self, frames: int) -> None:
        self.mix = np.zeros((2, frames), np.float32)
        self.send = np.zeros(frames, np.float32)

    def add(self, sound: Samples, start: int, gain: float, pan: float, send: float) -> None:
        """Place a sound; what reaches beyond the end is cut, since the end fades anyway."""
        frames = self.mix.shape[1]
        if start < 0 or start >= frames:
            return
        sound = sound[..., : frames - start]
        end = start + sound.shape[-1]
        angle = (pan + 1) * np.pi / 4
        left, right = np.float32(gain * np.cos(angle) * 1.414), np.float32(gain * np.sin(angle) * 1.414)
        if sound.ndim == 1:
            self.mix[0, start:end] += sound * left
            self.mix[1, start:end] += sound * right
            middle = sound
        else:
            self.mix[0, start:end] += sound[0] * left
            self.mix[1, start:end] += sound[1] * right
            middle = sound[0] + sound[1]
            send *= 0.5
        if send > 0:
            self.send[start:end] += middle * np.float32(gain * send)


class Clock:
    """Beats to frames: swing, and the silence before the first of them."""

    def __init__(self, score: Score) -> None:
        self.beat = 60.0 / score.form.tempo
        self.lead_in = score.form.lead_in
        self.swing, self.unit = score.genre.swing, score.genre.swing_unit

    def seconds(self, beat: float) -> float:
        """Return when a beat is, swung: the second half of each unit comes later."""
        whole = beat // self.unit
        part = beat / self.unit - whole
        swung = part * 2 * self.swing if part < 0.5 else self.swing + (part - 0.5) * 2 * (1 - self.swing)
        return self.lead_in + (whole + swung) * self.unit * self.beat


def render(score: Score, seed: int, progress: Progress) -> Mixer:
    """Return the mix of a score, before room and mastering."""
    frames = round(score.form.seconds * RATE)
    mixer = Mixer(frames)
    clock = Clock(score)
    weights = [len({(n.pitch, _layer(n.velocity)) for n in part.notes}) + 4 for part in score.parts]
    total, done = sum(weights) + 20, 0
    for number, (part, weight) in enumerate(zip(score.parts, weights, strict=True)):
        before = done

        def report(share: float, before: int = before, weight: int = weight, part: Part = part) -> None:
            progress((before + share * weight) / total, f"{part.role} ({part.instrument})")

        _play(mixer, part, score.genre, clock, chance.stream(seed, "human", part.role, number).gauss, report)
        done += weight
    if score.hits:
        progress(done / total, "drums")
    if score.genre.pump:
        _pump(mixer, score, clock)
    _drum(mixer, score, clock, seed)
    return mixer


def _layer(velocity: float) -> int:
    return min(_LAYERS - 1, max(0, int(velocity * _LAYERS)))


def _play(
    mixer: Mixer,
    part: Part,
    genre: Genre,
    clock: Clock,
    gauss: Callable[[float, float], float],
    report: Callable[[float], None],
) -> None:
    """Place all notes of a part."""
    who = INSTRUMENTS[part.instrument]
    late = genre.laid_back * {"bass": 0.7, "lead": 1.3}.get(part.role, 1.0)
    placed = []
    for note in part.notes:
        start = clock.seconds(note.start) + note.late + late + gauss(0.0, genre.human)
        end = clock.seconds(note.start + note.length) + note.late + late
        velocity = min(1.0, max(0.05, note.velocity * (1 + gauss(0.0, 0.045))))
        held = min(who.ring, max(0.05, end - start))
        placed.append((max(0.004, start), held, note.pitch, velocity))
    longest: dict[tuple[int, int], float] = {}
    for _, held, pitch, velocity in placed:
        key = (pitch, _layer(velocity))
        longest[key] = max(longest.get(key, 0.0), held)
    tail = int(who.release * RATE)
    fade = (0.5 + 0.5 * np.cos(np.pi * np.arange(tail, dtype=np.float32) / max(1, tail))).astype(
        np.float32
    ) ** 2
    made: dict[tuple[int, int], tuple[Samples, Samples]] = {}
    for number, (key, held) in enumerate(longest.items()):
        sound = who.render(key[0], (key[1] + 0.6) / _LAYERS, int(held * RATE) + tail + 1)
        made[key] = (sound, _energies(sound))
        report(0.7 * number / len(longest))
    level = _level(placed, made, tail) * 10 ** (part.layer.level / 20) * _HEAVIER.get(part.role, 1.0)
    echoes = _echoes(part.layer.echo * clock.beat)
    for number, (start, held, pitch, velocity) in enumerate(placed):
        layer = _layer(velocity)
        sound = made[pitch, layer][0]
        n = int(held * RATE)
        piece = sound[..., : n + tail]
        if tail:
            piece = piece.copy()
            piece[..., n : n + tail] *= fade
        gain = level * (velocity / 0.8) ** 1.4
        place = int(start * RATE)
        mixer.add(piece, place, gain, part.layer.pan, part.layer.send)
        for delay, share, side in echoes:
            mixer.add(piece, place + int(delay * RATE), gain * share, side, part.layer.send)
        if number % 64 == 0:
            report(0.7 + 0.3 * number / len(placed))


def _echoes(time: float) -> Iterable[tuple[float, float, float]]:
    """Return delays, gains and sides of a tune's echoes."""
    if not time:
        return ()
    return ((time, 0.3, -0.6), (2 * time, 0.15, 0.6), (3 * time, 0.07, -0.4))


def _energies(sound: Samples) -> Samples:
    """Return the energy up to each block of a sound, mean of the sides."""
    mono = sound if sound.ndim == 1 else sound[0]
    blocks = len(mono) // _BLOCK
    squares = np.square(mono[: blocks * _BLOCK].reshape(blocks, _BLOCK)).sum(1)
    return cast(Samples, np.concatenate([[0.0], np.cumsum(squares)]))


def _level(
    placed: list[tuple[float, float, int, float]],
    made: dict[tuple[int, int], tuple[Samples, Samples]],
    tail: int,
) -> float:
    """Return the gain that makes a part as loud as every part is at 0 dB, in the time it plays."""
    energy = 0.0
    covered, until = 0.0, 0.0
    for start, held, pitch, velocity in sorted(placed):
        sums = made[pitch, _layer(velocity)][1]
        energy += (velocity / 0.8) ** 2.8 * float(sums[min(len(sums) - 1, int(held * RATE) // _BLOCK + 1)])
        end = start + max(held, 0.2)
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    rms = (energy / RATE / max(0.1, covered)) ** 0.5
    return float(_LEVEL / max(rms, 1e-4))


def _pump(mixer: Mixer, score: Score, clock: Clock) -> None:
    """Duck what has been mixed so far under every kick: the breathing of dance music."""
    length = int(min(0.3, 0.85 * clock.beat) * RATE)
    t = np.arange(length, dtype=np.float32) / length
    dip = 1 - np.float32(score.genre.pump) * (1 - t) ** 1.6 * np.minimum(1, t * 40)
    for hit in score.hits:
        start = int(clock.seconds(hit.start) * RATE)
        if hit.piece != "kick" or hit.velocity < 0.5 or start >= mixer.mix.shape[1]:
            continue
        end = min(mixer.mix.shape[1], start + length)
        mixer.mix[:, start:end] *= dip[: end - start]
        mixer.send[start:end] *= dip[: end - start]


def _drum(mixer: Mixer, score: Score, clock: Clock, seed: int) -> None:
    """Place every stroke of the drums."""
    kit = drumkit.KITS[score.genre.kit]
    made: dict[tuple[str, int], Samples] = {}
    human = chance.stream(seed, "human", "drums")
    gain = _DRUMS * 10 ** (score.genre.drums_level / 20)
    for hit in score.hits:
        piece = drumkit.PIECES[hit.piece]
        layer = _layer(hit.velocity)
        sound = made.get((hit.piece, layer))
        if sound is None:
            sound = made[hit.piece, layer] = drumkit.hit(hit.piece, kit, (layer + 0.6) / _LAYERS)
        start = clock.seconds(hit.start) + human.gauss(0.0, 0.6 * score.genre.human)
        if hit.piece in {"snare", "rim", "clap"}:
            start += 0.5 * score.genre.laid_back
        velocity = min(1.0, hit.velocity * (1 + human.gauss(0.0, 0.05)))
        mixer.add(
            sound, int(max(0.004, start) * RATE), gain * piece.gain * velocity**1.5, piece.pan, piece.send
        )


def edges(mix: Samples) -> None:
    """Let the piece begin from silence and end in it."""
    n = mix.shape[1]
    rise = min(n, 128)
    mix[:, :rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    fall = min(n // 3, int(0.9 * RATE))
    mix[:, n - fall :] *= (0.5 + 0.5 * np.cos(np.pi * np.arange(1, fall + 1, dtype=np.float32) / fall)) ** 1.5
    mix[:, max(0, n - 32) :] = 0
