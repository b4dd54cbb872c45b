"""Sound as bytes: told by the bytes, checked against them, decoded, outlined."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import tempfile
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.core.audio import AudioFacts, decode, examine, is_audio, peaks, sniff, suffix_of
from beatra_nb.core.errors import InvalidInput
from tests.core.sounds import adts, encode, encoded, id3, m4a, wav_header, weba, without_note

PNG = b"\x89PNG\r\n\x1a\n" + bytes(60)
UTF16 = "how a letter of some length begins, in the notepad of Windows".encode("utf-16")

# Each kind of file with what it is and how its sound is sampled.
FILES = {
    "mp3": (lambda: encoded("MP3"), "audio/mpeg", 2.0, 44_100, 2),
    "mp3, MPEG 2": (lambda: encoded("MP3", rate=22_050), "audio/mpeg", 2.0, 22_050, 2),
    "mp3, MPEG 2.5, mono": (lambda: encoded("MP3", rate=8_000, channels=1), "audio/mpeg", 2.0, 8_000, 1),
    "mp3, constant": (lambda: encoded("MP3", bitrate_mode="CONSTANT"), "audio/mpeg", 2.0, 44_100, 2),
    "mp3 with a tag": (lambda: id3(300) + encoded("MP3"), "audio/mpeg", 2.0, 44_100, 2),
    "mp3 with a large tag": (lambda: id3(70_000) + encoded("MP3"), "audio/mpeg", 2.0, 44_100, 2),
    "mp3 with two tags and one behind": (
        lambda: id3(20, 0x10) + bytes(10) + id3(9) + encoded("MP3") + b"TAG" + bytes(125),
        "audio/mpeg",
        2.0,
        44_100,
        2,
    ),
    "wav": (lambda: encoded("WAV"), "audio/wav", 2.0, 44_100, 2),
    "wav, 24 bits, big-endian": (
        lambda: encoded("WAV", subtype="PCM_24", endian="BIG"),
        "audio/wav",
        2.0,
        44_100,
        2,
    ),
    "wav, float": (lambda: encoded("WAV", subtype="FLOAT", channels=1), "audio/wav", 2.0, 44_100, 1),
    "wav, µ-law": (lambda: encoded("WAV", subtype="ULAW", rate=8_000), "audio/wav", 2.0, 8_000, 2),
    "wav, extensible": (lambda: encoded("WAVEX"), "audio/wav", 2.0, 44_100, 2),
    "wav, RF64": (lambda: encoded("RF64"), "audio/wav", 2.0, 44_100, 2),
    "flac": (lambda: encoded("FLAC"), "audio/flac", 2.0, 44_100, 2),
    "flac, 24 bits, 96 kHz": (
        lambda: encoded("FLAC", subtype="PCM_24", rate=96_000),
        "audio/flac",
        2.0,
        96_000,
        2,
    ),
    "flac, 8 kHz, mono": (lambda: encoded("FLAC", rate=8_000, channels=1), "audio/flac", 2.0, 8_000, 1),
    "flac with a tag": (lambda: id3(99) + encoded("FLAC"), "audio/flac", 2.0, 44_100, 2),
    "ogg": (lambda: encoded("OGG"), "audio/ogg", 2.0, 44_100, 2),
    "ogg, Opus": (lambda: encoded("OGG", subtype="OPUS", rate=48_000), "audio/ogg", 2.0, 48_000, 2),
    "aiff": (lambda: encoded("AIFF"), "audio/aiff", 2.0, 44_100, 2),
    "aiff, float": (lambda: encoded("AIFF", subtype="FLOAT"), "audio/aiff", 2.0, 44_100, 2),
    "m4a": (m4a, "audio/mp4", 3.0, 44_100, 2),
    "m4a as phones write it": (lambda: m4a(brand=b"mp42", index_first=False), "audio/mp4", 3.0, 44_100, 2),
    "weba": (weba, "audio/webm", 2.96, 48_000, 1),
    "aac": (adts, "audio/aac", 100 * 1024 / 44_100, 44_100, 2),
}
DECODABLE = [name for name in FILES if name not in ("m4a", "m4a as phones write it", "weba", "aac")]


def made(name: str) -> bytes:
    return FILES[name][0]()


# ── what it is ──


@pytest.mark.parametrize("name", FILES)
def test_the_first_bytes_tell_the_type(name: str) -> None:
    data, expected = made(name), FILES[name][1]
    assert sniff(data[:4096]) == expected or name == "m4a as phones write it"
    if not name.endswith("a tag"):  # a tag hides what follows it
        short = sniff(data[:64])
        assert short == expected or (name, short) in {
            ("m4a as phones write it", "video/mp4"),
            ("weba", "video/webm"),
        }


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0" + bytes(60), "image/jpeg"),
        (b"GIF89a" + bytes(60), "image/gif"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(50), "image/webp"),
        (m4a(handler=b"vide", brand=b"isom"), "video/mp4"),
        (weba(kind=1), "video/webm"),
        (b"OggS" + bytes(24) + b"\x80theora" + bytes(40), "video/ogg"),
    ],
)
def test_pictures_and_films_are_known(head: bytes, media_type: str) -> None:
    assert sniff(head[:4096]) == media_type


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"Some text that somebody called song.mp3, and which goes on for a while.",
        b"<!doctype html><html><body>404</body></html>",
        b'{"error": {"code": "not_found"}}',
        UTF16,
        UTF16 * 40,
        b"\xff\xfe" * 300,
        b"\xff\xff\xff\xff" * 300,
        b"\xff\xe0" + bytes(300),
        b"\xff\xfb\x00\x00" + bytes(300),  # free format
        b"RIFF\x24\x00\x00\x00AVI LIST" + bytes(50),
        b"FORM\x00\x00\x00\x04ILBM" + bytes(50),
        b"PK\x03\x04" + bytes(60),
        bytes(4096),
    ],
)
def test_anything_else_has_no_type(head: bytes) -> None:
    assert sniff(head) is None


def test_a_lone_sync_word_is_no_mp3() -> None:
    frame = without_note(encoded("MP3"))[:4]
    assert sniff(frame + bytes(4000)) is None
    assert sniff(b"noise" * 20 + without_note(encoded("MP3"))) == "audio/mpeg", "two frames in a row are"


@pytest.mark.parametrize(
    ("media_type", "suffix", "audio"),
    [
        ("audio/mpeg", ".mp3", True),
        ("audio/MP3; foo=bar", ".mp3", True),
        ("audio/x-wav", ".wav", True),
        ("application/ogg", ".ogg", True),
        ("image/png", ".png", False),
        ("text/html", ".bin", False),
        ("", ".bin", False),
    ],
)
def test_suffix_and_family(media_type: str, suffix: str, audio: bool) -> None:
    assert (suffix_of(media_type), is_audio(media_type)) == (suffix, audio)


@given(st.binary(max_size=300))
def test_sniff_says_something_about_any_bytes(head: bytes) -> None:
    assert sniff(head) is None or "/" in str(sniff(head))


# ── facts ──


@pytest.mark.parametrize("name", FILES)
def test_facts_of_a_whole_file(name: str) -> None:
    _, media_type, duration, rate, channels = FILES[name]
    facts = examine(made(name))
    assert facts == AudioFacts(media_type, pytest.approx(duration, abs=0.005), rate, channels)


def test_facts_of_a_path(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(encoded("MP3"))
    assert examine(tmp_path / "a.mp3") == examine(str(tmp_path / "a.mp3")) == examine(encoded("MP3"))


def test_an_mp3_that_notes_nothing_is_counted() -> None:
    facts = examine(without_note(encoded("MP3")))
    assert facts.duration == pytest.approx(2.0, abs=0.1)


def test_songs_one_behind_the_other_are_added_up() -> None:
    twice = encoded("MP3") + id3(5000) + encoded("MP3")
    assert examine(twice).duration == pytest.approx(4.1, abs=0.01), "with what the encoder added between"
    assert examine(encoded("OGG") * 2).duration == pytest.approx(4.0)


def test_a_note_of_the_other_kind_is_read() -> None:
    """VBRI, as another encoder writes it."""
    data = without_note(encoded("MP3", bitrate_mode="CONSTANT"))
    length = data.index(data[:2], 2)
    note = b"VBRI" + struct.pack(">HHHII", 1, 0, 0, len(data) + length, len(data) // length)
    whole = (data[:4].ljust(36, b"\0") + note).ljust(length, b"\0") + data
    assert examine(whole).duration == pytest.approx(2.0, abs=0.1)
    with pytest.raises(InvalidInput, match="cut short: its header promises"):
        examine(whole[: len(whole) // 3])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.213, 0.507, 0.752, 0.993])
def test_a_file_that_is_cut_short_is_refused(name: str, kept: float) -> None:
    data = made(name)
    with pytest.raises(InvalidInput, match=r"cut short|damaged") as caught:
        examine(data[: int(len(data) * kept)], name="take.bin")
    assert caught.value.message.startswith("take.bin is ")
    assert caught.value.hint


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "ogg, Opus", "aiff"])
def test_a_single_missing_byte_is_noticed(name: str) -> None:
    with pytest.raises(InvalidInput, match="cut short"):
        examine(made(name)[:-1])


def test_the_last_bytes_of_an_mp3_may_be_lost_but_not_a_good_part_of_a_frame() -> None:
    data = without_note(encoded("MP3"))
    assert examine(data[:-8]).duration == pytest.approx(2.0, abs=0.1)
    with pytest.raises(InvalidInput, match="cut short"):
        examine(data[:-150])


def test_an_ogg_that_ends_between_two_pages_is_cut_short() -> None:
    data = encoded("OGG")
    with pytest.raises(InvalidInput, match="cut short"):
        examine(data[: data.rindex(b"OggS")])


def test_a_flac_whose_header_lies_is_damaged() -> None:
    data = bytearray(encoded("FLAC"))
    packed = int.from_bytes(data[18:26], "big")
    data[18:26] = (packed - 1000).to_bytes(8, "big")
    with pytest.raises(InvalidInput, match="cut short"):
        examine(bytes(data))
    data[18:26] = (packed >> 36 << 36).to_bytes(8, "big")  # not said: an encoder that writes to a pipe
    assert examine(bytes(data)).duration == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "song.mp3 is empty"),
        (b"Dear diary, today I made a song. " * 30, "song.mp3 is not audio"),
        (PNG, r"song.mp3 is not audio: its bytes are image/png"),
        (m4a(handler=b"vide", brand=b"isom"), r"song.mp3 is not audio: its bytes are video/mp4"),
        (weba(kind=1), r"song.mp3 is not audio: its bytes are video/webm"),
        (wav_header(0), "song.mp3 holds no sound"),
        (wav_header(0xFFFF_FFFF) + bytes(999), "song.mp3 was never finished"),
        (wav_header(0) + bytes(999_999), "song.mp3 was never finished"),
        (wav_header(400, rate=0) + bytes(400), "song.mp3 is damaged"),
        (wav_header(400, channels=0) + bytes(400), "song.mp3 is damaged"),
        (encoded("MP3")[:3000] + bytes(300_000), r"song.mp3 is (damaged|cut short)"),
    ],
)
def test_what_is_no_sound_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        examine(data, name="song.mp3")
    assert caught.value.hint


def test_a_header_that_claims_ten_hours_is_refused_without_memory() -> None:
    bomb = wav_header(10 * 3600 * 44_100 * 2, channels=1) + bytes(1000)
    tracemalloc.start()
    try:
        with pytest.raises(
            InvalidInput, match=r"cut short: its header promises 10:00:00 of sound, and 0.0 s"
        ):
            examine(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_long_silence_in_a_small_flac_is_too_long() -> None:
    silence = encode(np.zeros(8_000 * 2400, dtype="int16"), 8_000, "FLAC")
    assert len(silence) < 1_000_000
    with pytest.raises(InvalidInput, match=r"40:00 long, more than 30 minutes") as caught:
        examine(silence)
    assert "Cut out the part" in str(caught.value.hint)
    with pytest.raises(InvalidInput, match="more than 30 minutes"):
        decode(silence)
    with pytest.raises(InvalidInput, match="more than 30 minutes"):
        peaks(silence)


def test_a_long_mp3_is_too_long_also_if_it_does_not_say_so() -> None:
    minute = without_note(encoded("MP3", seconds=60.0, rate=8_000, channels=1))
    with pytest.raises(InvalidInput, match="more than 30 minutes"):
        examine(minute * 31)
    assert examine(minute * 29).duration == pytest.approx(29 * 60, rel=0.01)


def test_a_file_of_a_hundred_megabytes_needs_no_memory(tmp_path: Path) -> None:
    large = tmp_path / "large.wav"
    data = 100 * 1024 * 1024 - 44
    with large.open("wb") as file:
        file.write(wav_header(data))
        file.truncate(data + 44)
    tracemalloc.start()
    try:
        assert examine(large).duration == pytest.approx(data / 44_100 / 4)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    large.unlink()


def test_a_long_walk_through_a_file_needs_no_memory(tmp_path: Path) -> None:
    """Every frame and every page is looked at, none is kept."""
    for name, data in (("a.mp3", without_note(encoded("MP3")) * 300), ("a.ogg", encoded("OGG") * 300)):
        (tmp_path / name).write_bytes(data)
        assert len(data) > 10_000_000
        del data
        tracemalloc.start()
        try:
            assert examine(tmp_path / name).duration > 590
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF\x00\x00\x00\x00WAVE" + b"junk\0\0\0\0" * 30_000,
        m4a() + b"\0\0\0\x08free" * 90_000,
        (b"OggS\0\2" + bytes(21)) * 210_000,
        weba(1) + b"\xec\x80" * 210_000,
        id3(0) * 1000 + encoded("MP3"),
    ],
    ids=["wav", "mp4", "ogg", "webm", "tags"],
)
def test_a_file_of_endlessly_many_pieces_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="far too many pieces"):
        examine(data)


@given(st.binary(max_size=2000), st.sampled_from(["", *FILES]))
def test_any_bytes_are_refused_or_told(tail: bytes, name: str) -> None:
    head = made(name)[:64] if name else b""
    try:
        assert examine(head + tail).duration > 0
    except InvalidInput as error:
        assert error.message.startswith("The audio ")  # noqa: PT017  # one or the other


@given(
    st.sampled_from(list(FILES)),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=6),
    st.floats(0, 1),
    st.booleans(),
)
def test_damage_anywhere_is_refused_or_told(
    name: str, wounds: list[tuple[float, bytes]], cut: float, front: bool
) -> None:
    data = bytearray(made(name))
    for where, what in wounds:
        place = int(where * (400 if front else len(data)))  # headers are where it hurts
        data[place : place + len(what)] = what
    data = data[: int(len(data) * cut)] if cut < 0.5 else data
    try:
        facts = examine(bytes(data))
    except InvalidInput as error:
        assert error.message.startswith("The audio ")  # noqa: PT017  # one or the other
    else:
        assert 0 < facts.duration <= 1800
        assert facts.rate >= 1
        assert facts.channels >= 1


# ── samples ──


@pytest.mark.parametrize("name", DECODABLE)
def test_decoded_samples(name: str) -> None:
    _, _, duration, rate, channels = FILES[name]
    samples, heard = decode(made(name))
    assert (heard, samples.dtype, samples.shape[1]) == (rate, np.float32, channels)
    assert len(samples) == pytest.approx(duration * rate, abs=rate * 0.1)
    assert 0.3 < np.abs(samples).max() <= 1.0


def test_decoded_samples_stay_within_full_scale() -> None:
    wild = np.array([0.5, 3.0, -7.0, np.nan, np.inf, -np.inf], dtype="float32")
    samples, _ = decode(encode(wild, 8_000, "WAV", subtype="FLOAT"))
    assert samples.ravel().tolist() == [0.5, 1.0, -1.0, 0.0, 1.0, -1.0]


@pytest.mark.parametrize("take", [decode, peaks])
@pytest.mark.parametrize(
    "data", [b"", b"text", PNG, m4a(), encoded("MP3")[:300], encoded("FLAC")[:30], b"OggS" + bytes(90)]
)
def test_what_cannot_be_decoded_is_our_error(take, data: bytes) -> None:
    with pytest.raises(InvalidInput, match="cannot be decoded") as caught:
        take(data)
    assert caught.value.hint


def test_without_the_extra_the_error_says_what_to_install() -> None:
    """A process in which soundfile cannot be imported; facts are told all the same."""
    code = """
import sys
sys.modules["soundfile"] = None
from beatra_nb.core.audio import decode, examine, peaks
from beatra_nb.core.errors import ConfigurationError
data = open(sys.argv[1], "rb").read()
print(examine(data).duration)
for take in (decode, peaks):
    try:
        take(data)
    except ConfigurationError as error:
        print(error)
print("numpy" in sys.modules and sys.modules["numpy"].__name__)
"""
    with tempfile.NamedTemporaryFile(suffix=".mp3") as file:
        file.write(encoded("MP3"))
        file.flush()
        said = subprocess.run(
            [sys.executable, "-c", code, file.name], check=True, capture_output=True, text=True, timeout=60
        )
    lines = said.stdout.splitlines()
    assert lines[0] == "2.0"
    assert [("pip install 'beatra-nb[audio]'" in line) for line in lines[1:3]] == [True, True]


# ── outlines ──


def expected_peaks(samples: np.ndarray, count: int) -> np.ndarray:
    frames = len(samples)
    loudest = np.abs(samples).max(axis=1)
    edges = [i * frames // count for i in range(count + 1)]
    return np.array([loudest[a : max(b, a + 1)].max() for a, b in pairwise(edges)])


@pytest.mark.parametrize("frames", [1, 2, 7, 399, 400, 401, 1000, 65_536, 65_537, 200_000])
@pytest.mark.parametrize("count", [1, 3, 400])
def test_peaks_are_the_loudest_of_each_span(frames: int, count: int) -> None:
    samples = np.random.default_rng(frames).uniform(-1, 1, (frames, 2)).astype("float32")
    samples *= np.linspace(0, 1, frames)[:, None]
    found = peaks(encode(samples, 44_100, "WAV", subtype="FLOAT"), count)
    assert (found.dtype, found.shape) == (np.float32, (count,))
    np.testing.assert_allclose(found, expected_peaks(samples.astype("float32"), count), atol=1e-6)


@pytest.mark.parametrize("name", DECODABLE)
def test_peaks_of_every_format_are_those_of_its_samples(name: str) -> None:
    samples, _ = decode(made(name))
    np.testing.assert_allclose(peaks(made(name)), expected_peaks(samples, 400), atol=1e-6)


def test_peaks_of_a_file_whose_note_is_wrong() -> None:
    """The note speaks of more than there is: the spans are those of what is there."""
    data = encoded("MP3", seconds=8.0)
    half = data[: len(data) // 2]
    samples, _ = decode(half)
    samples = samples[: np.flatnonzero(np.abs(samples).max(axis=1))[-1] + 1]
    found = peaks(half, 50)
    assert found[-3:].min() > 0.2, "not half of the picture empty"


def test_peaks_of_loud_and_broken_samples_stay_in_bounds() -> None:
    wild = np.array([0.5, 3.0, -7.0, np.nan, np.inf, -np.inf, 0.25, -0.125], dtype="float32")
    found = peaks(encode(wild, 8_000, "WAV", subtype="FLOAT"), 8)
    assert found.tolist() == [0.5, 1.0, 1.0, 0.0, 1.0, 1.0, 0.25, 0.125]


def test_peaks_of_no_span_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one span"):
        peaks(encoded("MP3"), 0)


def test_peaks_need_no_more_memory_for_a_longer_song() -> None:
    song = encoded("MP3", seconds=20.0)
    tracemalloc.start()
    try:
        peaks(song)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000  # decoded whole it would be 7 MB
    finally:
        tracemalloc.stop()


def test_a_file_object_is_examined_too() -> None:
    assert examine(io.BytesIO(encoded("OGG"))).media_type == "audio/ogg"
