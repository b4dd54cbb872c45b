"""Listening: tempo, key, energy; good files and bad ones."""

from __future__ import annotations

import resource
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from beatra_nb.sandbox.music import arrange, brief, harmony, listen, render, tones
from beatra_nb.sandbox.music.order import Rejected
from tests.sandbox.music.conftest import order


def clicks(tempo: float, seconds: float = 20, rate: int = 44_100) -> np.ndarray:
    sound = np.zeros(int(rate * seconds), np.float32)
    burst = np.exp(-np.arange(int(0.03 * rate)) / (0.006 * rate)) * np.sin(np.arange(int(0.03 * rate)) * 0.3)
    for beat in np.arange(0.1, seconds - 0.1, 60 / tempo):
        start = int(beat * rate)
        sound[start : start + len(burst)] += burst.astype(np.float32)
    return sound


def same_tempo(heard: float | None, true: float) -> bool:
    return heard is not None and any(abs(heard / true / octave - 1) <= 0.04 for octave in (0.5, 1, 2))


@pytest.mark.parametrize("tempo", [62, 84, 97.5, 110, 128, 143, 174])
@pytest.mark.parametrize("rate", [44_100, 16_000])
def test_clicks_are_counted(tempo: float, rate: int) -> None:
    assert same_tempo(listen.tempo_of(clicks(tempo, rate=rate), rate), tempo)


def test_tempo_and_key_of_our_own_music() -> None:
    right_tempo = right_key = count = 0
    for name in ("pop", "house", "folk", "reggae", "country"):
        plan = arrange.design(brief.read(name, seconds=10), 5)
        piece = arrange.write(plan, [])
        ear = listen.Ear(tones.RATE)
        ear.hear(render.render(piece, 5, lambda share, what: None).mix.mean(0))
        heard = ear.verdict()
        count += 1
        right_tempo += same_tempo(heard.tempo, piece.form.tempo)
        right_key += (heard.tonic, heard.minor) == (plan.tonic, plan.mode in harmony.DARK)
    assert right_tempo == count
    assert right_key >= count * 0.6  # approximate, and called so


@pytest.mark.parametrize(
    ("shape", "word"),
    [(np.linspace(0.05, 1, 60), "rising"), (np.linspace(1, 0.05, 60), "falling"), (np.ones(60), "steady"),
     (np.r_[np.linspace(0.1, 1, 30), np.linspace(1, 0.1, 30)], "rising and falling")],
)  # fmt: skip
def test_energy(tmp_path: Path, shape: np.ndarray, word: str) -> None:
    envelope = np.interp(np.linspace(0, 59, 12 * 22_050), np.arange(60), shape)
    noise = np.random.default_rng(0).standard_normal(len(envelope)) * 0.1
    soundfile.write(tmp_path / "x.wav", envelope * noise, 22_050)
    heard = listen.listen(str(tmp_path / "x.wav"))
    assert heard.energy == word
    assert word in heard.message
    assert all(0 <= each <= 1 for each in heard.contour)


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "flac", "wav"])
def test_a_reference_is_followed(tmp_path: Path, suffix: str) -> None:
    t = np.arange(12 * 44_100) / 44_100
    chord = sum(np.sin(2 * np.pi * tones.hertz(pitch) * t) for pitch in (57, 60, 64, 69)) * 0.05
    sound = (clicks(104, 12) * 0.6 + chord) * np.linspace(0.1, 1, len(t))
    path = tmp_path / f"reference.{suffix}"
    with soundfile.SoundFile(path, "w", 44_100, 1) as file:
        for start in range(0, len(sound), 16_384):
            file.write(sound[start : start + 16_384])
    done = order(tmp_path / "out", "pop", reference=str(path), seconds=8, seed=3, format="ogg")
    heard, clip = done["heard"], done["clips"][0]
    assert heard["tempo_bpm"] == pytest.approx(104, rel=0.04)
    assert heard["key"] == clip["key"] == "A minor"
    assert heard["energy"] == "rising"
    assert heard["message"] == f"Heard {heard['tempo_bpm']:.0f} bpm, probably A minor, energy rising."
    assert clip["tempo_bpm"] == pytest.approx(104, rel=0.05)


def test_the_prompt_beats_the_reference(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "r.wav", clicks(104, 8), 44_100)
    clip = order(
        tmp_path / "out",
        "pop, 120 bpm, in D major",
        reference=str(tmp_path / "r.wav"),
        seconds=6,
        format="ogg",
    )["clips"][0]
    assert (clip["tempo_bpm"], clip["key"]) == (120.0, "D major")


@pytest.mark.parametrize("sound", [np.zeros(44_100 * 4), clicks(100, 0.6)])
def test_what_says_nothing_steers_nothing_and_says_so(tmp_path: Path, sound: np.ndarray) -> None:
    soundfile.write(tmp_path / "r.wav", sound, 44_100)
    done = order(tmp_path / "out", "pop", reference=str(tmp_path / "r.wav"), seconds=3, format="ogg")
    assert done["heard"]["tempo_bpm"] is None
    assert "reference_unclear" in {warning["code"] for warning in done["warnings"]}


@pytest.mark.parametrize("kind", ["noise", "rumble", "bursts", "clicks", "impulses"])
def test_what_has_no_key_is_given_none(kind: str) -> None:
    noise = np.random.default_rng(5).standard_normal(44_100 * 8)
    impulses = np.zeros(44_100 * 8)
    impulses[::22_050] = 1
    sound = {
        "noise": noise * 0.1,
        "rumble": np.cumsum(noise) * 1e-3,
        "bursts": noise * np.exp(-(np.arange(len(noise)) % 22_050) / 2000),
        "clicks": clicks(110, 8),
        "impulses": impulses,
    }[kind]
    ear = listen.Ear(44_100)
    ear.hear(sound.astype(np.float32))
    heard = ear.verdict()
    assert heard.tonic is None
    assert heard.facts()["key"] is None
    assert "no clear key" in heard.message


def test_a_beat_without_a_key_still_sets_the_tempo(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "r.wav", clicks(104, 8), 44_100)
    done = order(tmp_path / "out", "pop", reference=str(tmp_path / "r.wav"), seconds=6, format="ogg")
    assert done["heard"]["key"] is None
    assert done["clips"][0]["tempo_bpm"] == pytest.approx(104, rel=0.05)


def bad(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "bad.mp3"
    good = tmp_path / "good.mp3"
    soundfile.write(good, clicks(100, 3), 44_100)
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("this is no music\n" * 100)
        case "noise":
            path.write_bytes(np.random.default_rng(1).bytes(50_000))
        case "stub":
            path.write_bytes(good.read_bytes()[:60])
        case "missing":
            path = tmp_path / "nowhere.wav"
        case "folder":
            path = tmp_path
        case "no frames":
            soundfile.write(path := tmp_path / "none.wav", np.zeros(0), 44_100)
    return path


@pytest.mark.parametrize("kind", ["empty", "text", "noise", "stub", "missing", "folder", "no frames"])
def test_what_is_no_audio_is_refused_clearly(tmp_path: Path, kind: str) -> None:
    with pytest.raises(Rejected) as caught:
        listen.listen(str(bad(tmp_path, kind)))
    assert caught.value.code == "invalid_request"
    assert not caught.value.retryable
    assert caught.value.message.startswith("The reference ")


def test_a_truncated_file_is_followed_as_far_as_it_goes(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "good.mp3", clicks(100, 12), 44_100)
    data = (tmp_path / "good.mp3").read_bytes()
    (tmp_path / "cut.mp3").write_bytes(data[: len(data) // 2])
    assert same_tempo(listen.listen(str(tmp_path / "cut.mp3")).tempo, 100)


def test_a_header_that_promises_hours_costs_nothing(tmp_path: Path) -> None:
    body = (clicks(120, 4) * 20_000).astype("<i2").tobytes()
    size = 0x7FFFFF00
    head = (
        b"RIFF"
        + struct.pack("<I", size + 36)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 44_100, 88_200, 2, 16)
    )
    (tmp_path / "bomb.wav").write_bytes(head + b"data" + struct.pack("<I", size) + body)
    assert same_tempo(listen.listen(str(tmp_path / "bomb.wav")).tempo, 120)


@pytest.mark.skipif(sys.platform == "win32", reason="no peak memory to ask for")
def test_long_references_are_heard_in_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 44_100, 2, "PCM_16") as file:
        second = np.stack([clicks(120, 1)] * 2, 1)
        for _ in range(560):  # about 100 MB
            file.write(second)
    listen.listen(str(path))
    scale = 1024 if sys.platform == "linux" else 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    assert listen.listen(str(path)).message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale - before < 16e6
