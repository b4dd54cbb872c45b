"""Listening to a reference: tempo, about its key, how its energy runs. Decoded in pieces, with flat memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from beatra_nb.sandbox.music.harmony import NAMES
from beatra_nb.sandbox.music.order import Rejected
from beatra_nb.sandbox.music.tones import Curve, Samples

MOST_SECONDS = 180.0  # more than anybody needs to tap along
LEAST_SECONDS = 1.5
_FRAMES = 100  # a second
_MOST_VALUES = 1 << 18  # samples times channels read at once
_SEGMENTS = 12
_LEAST_FIT = 0.5  # correlation with a key's profile
_LEAST_SPREAD = 0.1  # of the pitch classes around their mean: noise is flatter
_FLOOR = 1e-4  # quieter than −80 dBFS is silence

# How much each degree belongs to a key (Krumhansl and Kessler's listeners).
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard in a reference; None for what could not be made out."""

    tempo: float | None
    tonic: int | None
    minor: bool
    contour: tuple[float, ...]
    energy: str
    message: str

    def facts(self) -> dict[str, Any]:
        """Return it as the server is told."""
        key = None if self.tonic is None else f"{NAMES[self.tonic]} {'minor' if self.minor else 'major'}"
        tempo = None if self.tempo is None else round(self.tempo, 1)
        return {"tempo_bpm": tempo, "key": key, "energy": self.energy, "message": self.message}


def listen(path: str, done: Callable[[float], None] = lambda share: None) -> Heard:
    """Listen to a file's first three minutes.

    Raises
    ------
    Rejected
        If it is no audio that can be read.
    """
    import soundfile

    if not os.path.isfile(path):
        raise Rejected("The reference is not there any more. Upload it again and order the piece anew.")
    try:
        with soundfile.SoundFile(path) as file:
            rate, channels = int(file.samplerate), int(file.channels)
            if not 4000 <= rate <= 400_000:
                raise Rejected(
                    f"The reference has {rate:,} samples a second; 8,000 to 192,000 can be followed."
                )
            ear = Ear(rate)
            block = max(1024, min(1 << 16, _MOST_VALUES // channels))
            most = int(MOST_SECONDS * rate)
            expected = max(1, min(most, int(file.frames)))
            while ear.frames < most:
                try:
                    piece = file.read(min(block, most - ear.frames), dtype="float32", always_2d=True)
                except (soundfile.SoundFileError, RuntimeError):
                    if ear.frames < rate:  # a file cut short is followed as far as it goes
                        raise
                    break
                if not len(piece):
                    break
                ear.hear(np.nan_to_num(piece, posinf=0.0, neginf=0.0).mean(1))
                done(min(1.0, ear.frames / expected))
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError):
        raise Rejected(
            "The reference cannot be read as audio. Use an MP3, OGG, FLAC or WAV file that plays elsewhere."
        ) from None
    if ear.frames == 0:
        raise Rejected(
            "The reference holds no sound at all. Use an MP3, OGG, FLAC or WAV file that plays elsewhere."
        )
    return ear.verdict()


def tempo_of(sound: Samples, rate: int) -> float | None:
    """Return the tempo of mono samples in beats a minute."""
    ear = Ear(rate)
    ear.hear(sound)
    return ear.verdict().tempo


class Ear:
    """Hears samples bit by bit and keeps what matters: onsets, pitch classes, loudness."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.frames = 0
        self._hop = rate / _FRAMES
        self._size = 1 << max(8, round(math.log2(rate * 0.046)))
        self._long = 1 << max(10, round(math.log2(rate * 0.19)))
        self._window = np.hanning(self._size).astype(np.float32)
        self._long_window = np.hanning(self._long).astype(np.float32)
        f = np.fft.rfftfreq(self._size, 1 / rate)
        edges = np.concatenate([[0], np.geomspace(60, min(16_000, 0.49 * rate), 25)])
        self._edges = np.unique(np.searchsorted(f, edges).clip(0, len(f) - 1))
        self._chroma_of = _pitch_classes(np.fft.rfftfreq(self._long, 1 / rate))
        self._rest = np.zeros(0, np.float32)
        self._next = 0.0  # where the next short frame begins, in samples of ``_rest``
        self._long_next = 0
        self._bands: list[Samples] = []
        self._chroma = np.zeros(12)
        self._power: list[float] = []
        self._peak = 0.0

    def hear(self, mono: Samples) -> None:
        """Hear some more."""
        self.frames += len(mono)
        self._peak = max(self._peak, float(np.max(np.abs(mono), initial=0.0)))
        self._rest = np.concatenate([self._rest, mono.astype(np.float32)])
        while len(self._rest) - self._next > self._size + 64 * self._hop:
            self._short(64)
        while len(self._rest) - self._long_next >= self._long:
            piece = self._rest[self._long_next : self._long_next + self._long] * self._long_window
            spectrum = np.abs(np.fft.rfft(piece))
            # Loud moments must not drown the others: a root, and each moment counts for its own share.
            classes = self._chroma_of @ np.sqrt(spectrum)
            self._chroma += (
                classes / (np.linalg.norm(classes) + 1e-6) * min(1.0, float(np.sqrt(spectrum.max())))
            )
            self._long_next += self._long
        spent = min(int(self._next), self._long_next)
        self._rest = self._rest[spent:]
        self._next -= spent
        self._long_next -= spent

    def _short(self, count: int) -> None:
        starts = (self._next + self._hop * np.arange(count)).astype(int)
        pieces = self._rest[starts[:, None] + np.arange(self._size)] * self._window
        power = np.square(np.abs(np.fft.rfft(pieces)), dtype=np.float32)
        self._bands.append(np.add.reduceat(power, self._edges, axis=1))
        self._power += [float(each) for each in power.mean(1)]
        self._next += self._hop * count

    def verdict(self) -> Heard:
        """Return what was heard so far."""
        while len(self._rest) - self._next > self._size + self._hop:
            self._short(1)
        seconds = self.frames / self.rate
        if self._peak < _FLOOR:
            return Heard(
                None, None, False, (), "silent", "The reference is silent; it does not steer the piece."
            )
        if seconds < LEAST_SECONDS or len(self._bands) == 0:
            return Heard(
                None,
                None,
                False,
                (),
                "unclear",
                "The reference is too short to follow; two seconds or more will do.",
            )
        tempo = _tempo(_onsets(np.concatenate(self._bands)))
        tonic, minor = _key(self._chroma) or (None, False)
        contour, word = _contour(np.array(self._power))
        name = "no clear key" if tonic is None else f"probably {NAMES[tonic]} {'minor' if minor else 'major'}"
        beat = f"{tempo:.0f} bpm" if tempo else "no clear beat"
        message = f"Heard {beat}, {name}, energy {word}."
        if tempo is None:
            return Heard(None, tonic, minor, contour, word, message)
        return Heard(tempo, tonic, minor, contour, word, message)


def _onsets(bands: Samples) -> Curve:
    """Return how much begins at each moment: rises of loudness, band by band."""
    loud = np.log1p(1e4 * bands / (bands.max() + 1e-12))
    smooth = (loud[2:] + loud[1:-1] + loud[:-2]) / 3 if len(loud) > 4 else loud
    rises = np.maximum(0, np.diff(smooth, axis=0)).sum(1)
    width = 41
    local = np.convolve(np.pad(rises, width // 2, mode="edge"), np.full(width, 1 / width), "valid")[
        : len(rises)
    ]
    return cast(Curve, np.maximum(0, rises - local))


def _tempo(onsets: Curve) -> float | None:
    """Return the tempo by which onsets repeat best over one to eight beats, near what people tap."""
    if len(onsets) < 120 or onsets.std() < 1e-6:
        return None
    centred = onsets - onsets.mean()
    size = 1 << (2 * len(centred) - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    same = np.fft.irfft(np.abs(spectrum) ** 2, size)[: len(centred)]
    same = same / (same[0] + 1e-12) * len(centred) / np.maximum(len(centred) - np.arange(len(centred)), 100)
    tempos = np.geomspace(50, 210, 700)
    lags = 60 * _FRAMES / tempos
    places = np.arange(len(same))
    total, weight = np.zeros_like(tempos), np.zeros_like(tempos)
    for beats, share in ((0.5, 0.5), (1, 1.0), (2, 1.0), (3, 0.2), (4, 1.6), (6, 0.2), (8, 1.2)):
        lag = lags * beats
        inside = lag < 0.75 * len(same)
        total += np.where(inside, share * np.interp(lag, places, same), 0)
        weight += np.where(inside, share, 0)
    score = total / np.maximum(weight, 1e-9)
    liked = np.exp(-0.5 * (np.log2(tempos / 112) / 1.0) ** 2)
    best = int(np.argmax(np.maximum(score, 0) ** 2 * liked))
    return float(tempos[best]) if score[best] > 0.06 else None


def _pitch_classes(frequencies: Curve) -> Curve:
    """Return the matrix from a spectrum to twelve pitch classes, 55 Hz to 1.8 kHz."""
    classes = np.zeros((12, len(frequencies)))
    inside = (frequencies > 55) & (frequencies < 1800)
    midi = 69 + 12 * np.log2(np.maximum(frequencies, 1) / 440)
    distance = np.abs(midi - np.round(midi))
    weight = np.exp(-((distance / 0.22) ** 2)) * np.exp(-(((midi - 60) / 22) ** 2)) * inside
    classes[np.round(midi).astype(int) % 12, np.arange(len(frequencies))] = weight
    return classes


def _key(chroma: Curve) -> tuple[int, bool] | None:
    """Return the tonic and whether the key is minor, by the best correlation with listeners' profiles.

    None where no pitch stands out, or where those that do belong to no key.
    """
    if float(chroma.std()) <= _LEAST_SPREAD * float(chroma.mean()):
        return None
    best, result = -2.0, (0, False)
    for minor, profile in ((False, _MAJOR), (True, _MINOR)):
        for tonic in range(12):
            fit = np.corrcoef(np.roll(profile, tonic), chroma)[0, 1]
            if fit > best:
                best, result = float(fit), (tonic, minor)
    return result if best >= _LEAST_FIT else None


def _contour(power: Curve) -> tuple[tuple[float, ...], str]:
    """Return the run of energy in twelve steps of 0 to 1, and a word for it."""
    parts: Sequence[Curve] = np.array_split(power, min(_SEGMENTS, max(1, len(power) // 20)))
    level = np.array([10 * math.log10(float(part.mean()) + 1e-12) for part in parts])
    # 18 dB between a whisper and the loudest part: less variety stays less.
    run = np.clip(1 + (level - level.max()) / 18, 0, 1) * 0.85 + 0.12
    third = max(1, len(run) // 3)
    start, middle, end = (
        run[:third].mean(),
        run[third : max(third + 1, len(run) - third)].mean(),
        run[-third:].mean(),
    )
    if run.max() - run.min() < 0.14:
        word = "steady"
    elif end - start > 0.1:
        word = "rising"
    elif start - end > 0.1:
        word = "falling"
    elif middle - (start + end) / 2 > 0.08:
        word = "rising and falling"
    elif (start + end) / 2 - middle > 0.08:
        word = "falling and rising"
    else:
        word = "varied"
    return tuple(float(each) for each in run), word
