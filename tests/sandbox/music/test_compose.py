"""Whole orders: takes, titles, warnings, formats, and what nobody should order."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beatra_nb.sandbox.music import arrange, brief, chance, encode, form, lyrics, tones
from beatra_nb.sandbox.music.compose import _takes
from beatra_nb.sandbox.music.drumkit import KITS, PIECES, hit
from beatra_nb.sandbox.music.genres import GENRES
from beatra_nb.sandbox.music.instruments import INSTRUMENTS
from beatra_nb.sandbox.music.order import Order, Rejected
from tests.sandbox.music.conftest import decoded, order


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("form", ["mp3", "ogg"])
def test_two_takes_of_one_order(tmp_path: Path, form: str) -> None:
    done = order(tmp_path / "a", "synthwave about neon rain", seconds=4, seed=9, clips=2, format=form)
    first, second = done["clips"]
    assert [each["file"] for each in done["clips"]] == [f"1.{form}", f"2.{form}"]
    assert first["title"] == second["title"] == "Neon Rain"
    assert first["tempo_bpm"] != second["tempo_bpm"]
    assert first["key"] != second["key"]
    assert first["seed"] == 9 != second["seed"]
    assert digest(tmp_path / "a" / f"1.{form}") != digest(tmp_path / "a" / f"2.{form}")
    # The second take's seed makes it again, as a first take: the very same bytes.
    order(tmp_path / "b", "synthwave about neon rain", seconds=4, seed=second["seed"], format=form)
    assert digest(tmp_path / "b" / f"1.{form}") == digest(tmp_path / "a" / f"2.{form}")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [f"1.{form}", f"2.{form}"]


@pytest.mark.parametrize("genre", GENRES, ids=lambda genre: genre.name)
def test_takes_differ_in_tempo_key_and_arrangement(genre) -> None:
    for seed, seconds in enumerate((2, 6, 9, 12, 30, 60)):
        wanted = brief.read(genre.name, seconds=seconds)
        first, second = _takes(Order("", "/tmp", seed=seed, clips=2), wanted, [], None)
        one, other = (form.plan(wanted, [], each.tempo, each.seed).tempo for each in (first, second))
        assert abs(one / other - 1) >= 0.03, seconds
        assert first.tonic != second.tonic
        assert first.arrangement != second.arrangement


def test_lyrics_come_back_and_shape_the_sections(tmp_path: Path) -> None:
    words = "[Verse]\nCity lights are waking\n[Chorus]\nWe are neon\nWe are rain"
    done = order(tmp_path, "dream pop", lyrics=words, seconds=10, format="ogg")
    clip = done["clips"][0]
    assert clip["lyrics"] == words
    assert clip["title"] == "We Are Neon"
    assert {"Verse", "Chorus"} <= {section["name"] for section in clip["sections"]}
    starts = [section["start_seconds"] for section in clip["sections"]]
    assert starts == sorted(starts)
    assert 0 <= starts[0] < starts[-1] < clip["duration_seconds"]
    said = {warning["code"]: warning for warning in done["warnings"]}
    assert "not sung" in said["lyrics_not_sung"]["message"]
    assert said["lyrics_not_sung"]["field"] == "lyrics"


def test_lyrics_alone_choose_a_genre_and_say_so(tmp_path: Path) -> None:
    chosen = set()
    for number in range(6):
        words = f"[Verse]\nline number {number}"
        done = order(tmp_path, "", lyrics=words, seconds=2, format="ogg")
        said = {warning["code"]: warning["message"] for warning in done["warnings"]}
        assert said["genre_chosen"].endswith(f"it chose {done['clips'][0]['genre']}.")
        chosen.add(done["clips"][0]["genre"])
    assert len(chosen) > 1


def test_an_instrumental_needs_no_excuse(tmp_path: Path) -> None:
    done = order(tmp_path, "jazz", instrumental=True, seconds=2, format="ogg", title="  My Own  ")
    assert done["warnings"] == []
    assert done["clips"][0]["title"] == "My Own"


@pytest.mark.parametrize(
    ("prompt", "words", "seconds"),
    [
        ("", "", 2),
        ("🎸🔥" * 500, "", 0),
        ("x" * 100_000, "[Verse]\n" + "la\n" * 30_000, 3),
        ("\x00\ud800 [Chorus] {} %s ${x}", "\x00\udfff", float("nan")),
        ("موسيقى هادئة", "[", -1e308),
        ("0 bpm, 1e999 seconds, in H# minor", "[Verse][Verse][Verse]", 2.5),
    ],
)
def test_whatever_is_ordered_sounds(tmp_path: Path, prompt: str, words: str, seconds: float) -> None:
    done = order(
        tmp_path,
        prompt,
        lyrics=words,
        seconds=seconds if seconds == seconds else 2,
        format="ogg",
        seed=10**40,
    )
    sound = decoded(tmp_path / "1.ogg")
    assert 2 <= done["clips"][0]["duration_seconds"] <= 3
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() > 0.05


@given(st.dictionaries(
    st.sampled_from(["prompt", "lyrics", "instrumental", "title", "seed", "clips", "format", "seconds",
                     "style_weight", "weirdness", "reference", "folder"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers())),
))  # fmt: skip
def test_any_order_is_read_or_refused(raw: dict) -> None:
    try:
        read = Order.of(raw)
    except Rejected:
        return
    assert read.clips in {1, 2}
    assert read.format in {"mp3", "ogg"}
    assert read.weirdness is None or 0 <= read.weirdness <= 1


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(GENRES), st.integers(), st.floats(2, 240), st.floats(0, 1), st.floats(0, 1),
       st.sampled_from(["", "no drums", "with piano, violin, choir", "sad", "happy", "in C minor"]))  # fmt: skip
def test_any_design_is_written(
    genre, seed: int, seconds: float, weird: float, loose: float, words: str
) -> None:
    wanted = brief.read(f"{genre.name} {words}", seconds=seconds)
    piece = arrange.write(
        arrange.design(wanted, seed, weird=weird, loose=loose), lyrics.passages("[Chorus]\na")
    )
    assert piece.parts
    assert all(part.notes for part in piece.parts)


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_instruments_speak_cleanly(name: str) -> None:
    who = INSTRUMENTS[name]
    for pitch in (who.low, (who.low + who.high) // 2, who.high):
        for velocity in (0.15, 0.9):
            sound = who.render(pitch, velocity, 9000)
            assert sound.dtype == np.float32
            assert sound.shape in {(9000,), (2, 9000)}
            assert np.isfinite(sound).all()
            top = np.abs(sound).max()
            assert 0.02 < top < 12
            assert np.abs(sound[..., 0]).max() < 0.03 * top + 1e-3  # out of silence
            power = np.abs(np.fft.rfft(sound if sound.ndim == 1 else sound[0])) ** 2
            assert power[int(19_000 * 9000 / tones.RATE) :].sum() < 1e-3 * power.sum()  # nothing folds back


@pytest.mark.parametrize("name", ["piano", "acoustic guitar", "saxophone", "supersaw", "slap bass"])
def test_louder_is_brighter(name: str) -> None:
    def centre(velocity: float) -> float:
        sound = INSTRUMENTS[name].render(55, velocity, 22_050)
        power = np.abs(np.fft.rfft(sound if sound.ndim == 1 else sound[0])) ** 2
        return float((power * np.arange(len(power))).sum() / power.sum())

    assert centre(0.95) > 1.03 * centre(0.3)


@pytest.mark.parametrize(
    "name", ["piano", "organ", "violin", "synth bass", "strings", "marimba", "electric bass"]
)
def test_instruments_are_in_tune(name: str) -> None:
    who = INSTRUMENTS[name]
    pitch = (who.low + who.high) // 2
    sound = who.render(pitch, 0.7, 44_100)
    power = np.abs(np.fft.rfft((sound if sound.ndim == 1 else sound[0]) * np.hanning(44_100), 1 << 18))
    near = tones.hertz(pitch) * (1 << 18) / tones.RATE
    low, high = int(near * 0.97), int(near * 1.03)
    found = low + int(np.argmax(power[low:high]))
    assert abs(1200 * np.log2(found / near)) < 12


@pytest.mark.parametrize("piece", PIECES)
def test_drums_start_and_stop_cleanly(piece: str) -> None:
    for kit in KITS.values():
        sound = hit(piece, kit, 0.9)
        assert np.isfinite(sound).all()
        assert 0.05 < np.abs(sound).max() < 4
        assert np.abs(sound[..., 0]).max() < 0.05
        assert np.abs(sound[..., -1]).max() < 0.03


def test_ogg_pages_still_check() -> None:
    """A page written by the reference encoder keeps its checksum when its serial number is the one it has."""
    from beatra_nb.sandbox.music.encode import _checksum

    # The first page of an empty Vorbis stream's header, by hand: checksum field zero.
    assert _checksum(b"") == 0
    table = []
    for value in range(256):
        register = value << 24
        for _ in range(8):
            register = ((register << 1) ^ 0x04C11DB7 if register & 0x80000000 else register << 1) & 0xFFFFFFFF
        table.append(register)
    data, register = bytes(range(256)) * 3, 0
    for byte in data:
        register = ((register << 8) & 0xFFFFFFFF) ^ table[(register >> 24) ^ byte]
    assert _checksum(data) == register


def test_encoding_is_whole_or_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode.write(np.zeros((2, 44_100), np.float32), folder / "1.mp3", "mp3", stop)
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device to write to")
@pytest.mark.parametrize("kind", ["mp3", "ogg"])
def test_a_full_disk_is_called_that(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / f"1.{kind}.part").symlink_to("/dev/full")
    noise = np.random.default_rng(0).standard_normal((2, 200_000)).astype(np.float32) * 0.1
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what matters
        encode.write(noise, folder / f"1.{kind}", kind, lambda share: None)
    assert caught.value.errno == errno.ENOSPC
    assert list(folder.iterdir()) == []


def test_loops_are_in_tune_whatever_their_length() -> None:
    for midi in np.arange(24, 100, 0.37):
        frequency = tones.hertz(float(midi))
        periods, size = tones._fit(frequency)
        assert abs(1200 * np.log2(periods * tones.RATE / size / frequency)) < 1.2  # one at the very lowest
        assert size < 20_000


def test_streams_of_chance_are_fixed() -> None:
    assert chance.number(1, "drums") == 18_144_703_546_066_302_752  # a seed means the same for ever
    assert chance.number(1, "a", "b") != chance.number(1, "ab")
    assert chance.noise(1, "x").integers(0, 10**9) == chance.noise(1, "x").integers(0, 10**9)
