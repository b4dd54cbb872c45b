"""What a user passes as a file: checked before anything is sent, read as often as need be, never anything else."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.sources import MAX_BYTES, safe_name, source_of
from tests.core.sounds import encoded, m4a, wav_header

PNG = b"\x89PNG\r\n\x1a\n" + bytes(60)
SONG = encoded("MP3")


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "my song.mp3"
    path.write_bytes(SONG)
    return path


def read(source: Any) -> bytes:
    with source.open() as reader:
        return reader.read()


class Pipe(io.RawIOBase):
    """A file object that can be read once."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.data.readinto(memoryview(buffer)[: 1 << 14])  # a little at a time


# ── what can be sent ──


def ways(song: Path) -> dict[str, Any]:
    opened = io.BytesIO(b"skip me" + SONG)
    opened.seek(7)
    return {
        "path": song,
        "text": str(song),
        "bytes": SONG,
        "bytearray": bytearray(SONG),
        "memoryview": memoryview(SONG),
        "file object": opened,
        "pipe": Pipe(SONG),
    }


@pytest.mark.parametrize("way", ["path", "text", "bytes", "bytearray", "memoryview", "file object", "pipe"])
def test_every_way_to_pass_a_file(song: Path, way: str) -> None:
    source = source_of(ways(song)[way], purpose="reference_audio")
    assert (source.size, source.media_type) == (len(SONG), "audio/mpeg")
    assert source.duration == pytest.approx(2.0)
    assert source.name == ("my song.mp3" if way in ("path", "text") else "upload.mp3")
    assert source.sha256() == hashlib.sha256(SONG).hexdigest()
    assert read(source) == SONG, "a second time too"
    with source.open() as first, source.open() as second:
        assert first.read(1000) + second.read(10) + first.read() == SONG[:1000] + SONG[:10] + SONG[1000:]


def test_a_file_object_goes_back_to_where_it_stood(song: Path) -> None:
    with song.open("rb") as file:
        file.seek(0)
        source = source_of(file)
        assert file.tell() == 0
        assert source.name == "my song.mp3"
        assert read(source) == SONG
        assert file.tell() == 0
        with source.open() as reader:
            reader.read(500)
            file.seek(3)  # the user goes on with it
            assert reader.read(70_000) == SONG[500:70_500]


def test_what_can_still_change_is_kept_as_it_was() -> None:
    data = bytearray(SONG)
    source = source_of(data)
    data[:] = bytes(len(data))
    assert read(source) == SONG


def test_the_home_folder_may_be_short(song: Path) -> None:
    home = Path(os.environ["HOME"])
    (home / "song.mp3").write_bytes(SONG)
    assert read(source_of("~/song.mp3")) == SONG


def test_a_link_is_followed(song: Path, tmp_path: Path) -> None:
    (tmp_path / "link.mp3").symlink_to(song)
    assert source_of(tmp_path / "link.mp3").name == "link.mp3"


def test_a_reader_can_be_wound_back(song: Path) -> None:
    with source_of(song).open() as reader:
        assert reader.seek(0, os.SEEK_END) == len(SONG)
        assert reader.read() == b""
        assert reader.seek(-4, os.SEEK_END) == len(SONG) - 4
        assert reader.read() == SONG[-4:]
        reader.seek(0)
        assert reader.read(4) == SONG[:4]


@pytest.mark.parametrize(
    ("data", "media_type", "name"),
    [(PNG, "image/png", "upload.png"), (m4a(handler=b"vide", brand=b"isom"), "video/mp4", "upload.mp4")],
)
def test_pictures_and_films_are_media_too(data: bytes, media_type: str, name: str) -> None:
    source = source_of(data)
    assert (source.media_type, source.name, source.duration) == (media_type, name, None)
    with pytest.raises(InvalidInput, match=f"The data is not audio: its bytes are {media_type}"):
        source_of(data, purpose="reference_audio")


def test_the_name_is_no_judge_of_the_type(tmp_path: Path) -> None:
    (tmp_path / "really.mp3").write_bytes(encoded("OGG"))
    assert source_of(tmp_path / "really.mp3").media_type == "audio/ogg"


@pytest.mark.parametrize(
    "said", ["audio/mpeg", "audio/MP3; x=y", "audio/x-wav", "application/octet-stream", None]
)
def test_the_type_is_told_by_the_bytes(said: str | None) -> None:
    assert source_of(SONG, media_type=said).media_type == "audio/mpeg"


def test_a_temporary_copy_goes_with_the_source() -> None:
    source = source_of(Pipe(SONG))
    file = source.open.file  # type: ignore[attr-defined]
    reader = source.open()
    del source
    assert reader.read() == SONG, "still held by its reader"
    reader.close()
    del reader
    assert file.closed


# ── names ──


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("song.mp3", "song.mp3"),
        ("/home/ada/secret project/song.mp3", "song.mp3"),
        ("C:\\Users\\ada\\song.mp3", "song.mp3"),
        ("a\"b'c\r\nX-Evil: 1.mp3", "abcX-Evil: 1.mp3"),
        ("\u202egnp.mp3\x00", "gnp.mp3"),
        ("half \ud83d.mp3", "half .mp3"),
        ("Für Elise 🎹.mp3", "Für Elise 🎹.mp3"),
        ("x" * 300 + ".flac", "x" * 115 + ".flac"),
        ("..", ""),
        ("/", ""),
        ("   ", ""),
        (None, ""),
    ],
)
def test_names_are_safe(given_name: str | None, expected: str) -> None:
    assert safe_name(given_name) == expected
    assert source_of(SONG, name=given_name).name == (expected or "upload.mp3")


@given(st.text(st.characters(exclude_categories=())))
def test_any_name_is_made_safe(text: str) -> None:
    name = safe_name(text)
    assert len(name) <= 120
    assert name.isprintable() or not name.isascii()
    assert not set(name) & set("/\\\"'\r\n\0")
    assert name not in (".", "..")
    name.encode()
    assert safe_name(name) == name


# ── what cannot ──


def refused(value: Any, **more: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        source_of(value, **more)
    assert caught.value.hint, "and how to mend it"
    return caught.value


def test_a_path_that_does_not_exist(song: Path) -> None:
    error = refused(song.with_name("my sng.mp3"))
    assert error.message.startswith("There is no file ")
    assert error.hint == "Did you mean 'my song.mp3'?"
    assert "getcwd" in str(refused(song.with_name("other.wav")).hint)
    assert "Its folder does not exist" in str(refused(song.with_name("no") / "song.mp3").hint)
    assert refused(song / "song.mp3").message.startswith("There is no file ")


def test_what_is_no_path(tmp_path: Path) -> None:
    assert refused("").message == "The path is empty."
    assert "null character" in refused("a\0b").message
    assert len(refused("very long " * 1000).message) < 300
    loop = tmp_path / "loop.mp3"
    loop.symlink_to(loop)
    assert refused(loop).message.startswith("loop.mp3 cannot be read")


@pytest.mark.parametrize(
    "url", ["https://example.com/a.mp3?token=SECRET", "http://x/SECRET", "HTTPS://SECRET"]
)
def test_an_address_is_no_file(url: str) -> None:
    error = refused(url)
    assert error.message == "This is an address, and uploads take files."
    assert "reference=" in str(error.hint)
    assert "SECRET" not in str(error)


@pytest.mark.parametrize("url", ["s3://bucket/a.mp3", "data:audio/mpeg;base64,AAAA", "file:///tmp/a.mp3"])
def test_other_addresses_neither(url: str) -> None:
    assert "reference=" not in str(refused(url).hint)


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    assert refused(tmp_path / "songs").message == "songs is a folder."


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp3")
    assert refused(tmp_path / "pipe.mp3").message == "pipe.mp3 is a pipe, not a file."


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_that_takes_the_place_of_a_file_is_refused_at_once(song: Path) -> None:
    source = source_of(song)
    song.unlink()
    os.mkfifo(song)
    with pytest.raises(InvalidInput, match=r"my song.mp3 is a pipe, not a file"):
        source.open()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no devices here")
def test_devices_and_sockets(tmp_path: Path) -> None:
    assert refused("/dev/zero").message == "zero is a device, not a file."
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory() as short:
        listener.bind(f"{short}/s")
        assert refused(f"{short}/s").message == "s is a socket, not a file."


def test_a_file_that_may_not_be_read(song: Path) -> None:
    """As another user where the tests run as root, who may read everything."""
    code = """
import os, sys
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.sources import source_of
source_of(open(sys.argv[2], "rb").read())  # everything is loaded while the folders of root may be read
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    source_of(sys.argv[1])
except InvalidInput as error:
    print(error)
"""
    with tempfile.TemporaryDirectory() as folder:  # of which everybody may see the inside
        os.chmod(folder, 0o755)
        there = Path(folder, "song.mp3")
        there.write_bytes(SONG)
        there.chmod(0)
        said = subprocess.run(
            [sys.executable, "-c", code, there, song],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert said.stdout.startswith("song.mp3 may not be read: permission denied."), said
    assert "chmod" in said.stdout


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.mp3").touch()
    assert refused(tmp_path / "empty.mp3").message.startswith("empty.mp3 is empty")
    for nothing in (b"", bytearray(), io.BytesIO(), Pipe(b"")):
        assert "is empty" in refused(nothing).message


def test_too_large(tmp_path: Path) -> None:
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.write(wav_header(MAX_BYTES + 1))
        file.truncate(MAX_BYTES + 1)
    error = refused(large)
    assert error.message == "large.wav is too large: 100.1 MB, and an upload takes 100 MB."
    assert "MP3" in str(error.hint)
    with large.open("rb") as file:
        assert "100.1 MB" in refused(file).message
        assert "more than 100 MB" in refused(io.BufferedReader(OnceOnly(file))).message
    large.unlink()


class OnceOnly(io.RawIOBase):
    """Reads from a file, and cannot be wound back."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.file.readinto(buffer)


@pytest.mark.parametrize("purpose", ["media_input", "reference_audio"])
def test_text_named_like_a_song(tmp_path: Path, purpose: str) -> None:
    (tmp_path / "song.mp3").write_text("<html>404 not found</html>" * 9)
    error = refused(tmp_path / "song.mp3", purpose=purpose)
    assert error.message.startswith("song.mp3 is ")
    assert (
        "neither audio nor an image nor a video" if purpose == "media_input" else "not audio"
    ) in error.message


def test_errors_of_damaged_sound_speak_of_the_file_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "ten hours.wav"
    path.write_bytes(wav_header(36_000 * 44_100 * 2, channels=1) + bytes(500))
    error = refused(path)
    assert error.message.startswith("ten hours.wav is cut short: its header promises 10:00:00 of sound")
    assert str(tmp_path) not in str(error)
    assert refused(SONG[:5000], name="take 1.mp3").message.startswith("take 1.mp3 is cut short")
    assert refused(m4a(brand=b"mp42", index_first=False)[:3000]).message.startswith("The data is cut short")


@pytest.mark.parametrize("said", ["image/png", "video/mp4", "text/plain"])
def test_a_type_that_contradicts_the_bytes(said: str) -> None:
    error = refused(SONG, media_type=said)
    assert error.message == f"The data is audio/mpeg by its bytes, and media_type says {said}."


@pytest.mark.parametrize("said", ["mp3", "audio/", "audio/mpeg\r\nX-Evil: 1", "", 7, "a b/c"])
def test_a_type_that_is_none(said: Any) -> None:
    with pytest.raises(InvalidInput, match=r"media_type must be like 'audio/mpeg', not"):
        source_of(SONG, media_type=said)


class NoBytes:
    """Reads, but not bytes."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def read(self, size: int = -1) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_file_objects_that_cannot_be_read(song: Path, tmp_path: Path) -> None:
    closed = io.BytesIO(SONG)
    closed.close()
    assert refused(closed).message == "The file object is closed."
    assert refused(io.StringIO("text")).message.startswith("The file object is open as text")
    with song.open(encoding="latin-1") as text:
        assert refused(text).message.startswith("my song.mp3 is open as text")
    with (tmp_path / "new.mp3").open("wb") as writing:
        assert refused(writing).message == "new.mp3 is open for writing."
    done = io.BytesIO(SONG)
    done.read()
    error = refused(done)
    assert (error.message, error.hint) == (
        "The file object stands at its end: there is nothing left to read.",
        "Call its .seek(0) first.",
    )
    for answer in ("text", None, 7, OSError("broken"), ValueError("no"), TypeError("no")):
        assert refused(NoBytes(answer)).message == "The file object cannot be read as bytes."


@pytest.mark.parametrize("value", [7, None, 3.5, object(), {"path": "a.mp3"}, Path])
def test_other_things_are_no_files(value: Any) -> None:
    error = refused(value)
    assert error.message.endswith(" is no file.")
    assert "open(path" in str(error.hint)


@pytest.mark.parametrize("value", [np.zeros(100), [0.1, 0.2]])
def test_samples_are_no_file(value: Any) -> None:
    assert "soundfile.write" in str(refused(value).hint)


# ── what changes on the way ──


@pytest.mark.parametrize("change", ["grows", "shrinks", "is written anew", "goes"])
def test_a_file_that_changes_between_check_and_send(song: Path, change: str) -> None:
    source = source_of(song)
    if change == "goes":
        song.unlink()
    elif change == "is written anew":
        song.write_bytes(SONG[::-1])
        os.utime(song, ns=(0, 1))
    else:
        os.truncate(song, len(SONG) + (9 if change == "grows" else -9))
    with pytest.raises(
        InvalidInput, match=r"my song.mp3 (changed while it was being uploaded|cannot be read)"
    ):
        source.open()


@pytest.mark.parametrize("change", [9, -9, -30_000])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: int) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(encoded("WAV"))
    source = source_of(path)
    with source.open() as reader:
        got = [reader.read(100_000)]
        os.truncate(path, source.size + change)
        with pytest.raises(InvalidInput, match=r"long.wav changed while it was being uploaded"):
            got.extend(iter(lambda: reader.read(50_000), b""))
        assert 100_000 < sum(map(len, got)) < source.size, "the last bytes are never handed on"


@pytest.mark.parametrize("change", [9, -9])
def test_a_file_object_that_changes_while_it_is_read(change: int) -> None:
    file = io.BytesIO(SONG)
    source = source_of(file)
    if change > 0:
        file.seek(0, os.SEEK_END)
        file.write(bytes(change))
    else:
        file.truncate(len(SONG) + change)
    with source.open() as reader, pytest.raises(InvalidInput, match="changed while it was being uploaded"):
        reader.read()
    file.close()
    with pytest.raises(InvalidInput, match="was closed"):
        source.open()


def test_a_file_object_that_is_closed_while_it_is_read() -> None:
    file = io.BytesIO(SONG * 9)
    source = source_of(file)
    with source.open() as reader:
        reader.read(10)
        file.close()
        with pytest.raises(InvalidInput, match="changed while"):
            reader.read()
