"""Bad files: each gets its clear error before anything is sent, spent or left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.state import desk
from tests.core.sounds import encoded, id3, m4a, wav_header

MB = 2**20
FOLDER = "private-folder-of-alice"  # must not be told to anybody
SONG = encoded("MP3")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(60)


@dataclass(frozen=True)
class Bad:
    """A file that cannot be sent.

    Attributes
    ----------
    make : makes it in a folder and returns what the user passes
    says : a part of the error's message
    hint : a part of its hint
    reference_only : it can be uploaded for another purpose
    """

    make: Callable[[Path], Any]
    says: str
    hint: str
    reference_only: bool = False


def written(name: str, data: bytes, size: int | None = None) -> Callable[[Path], Path]:
    """Return what writes a file; ``size`` makes it sparse, with nothing behind its beginning."""

    def make(folder: Path) -> Path:
        path = folder / name
        with path.open("wb") as file:
            file.write(data)
            if size is not None:
                file.truncate(size)
        return path

    return make


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.mp3")
    return folder / "pipe.mp3"


def directory(folder: Path) -> Path:
    (folder / "album").mkdir()
    return folder / "album"


def closed(folder: Path) -> Any:
    with written("closed.mp3", SONG)(folder).open("rb") as file:
        return file


def as_text(folder: Path) -> Any:
    path = written("open.mp3", b"text")(folder)
    return io.TextIOWrapper(path.open("rb"), encoding="utf-8")


def for_writing(folder: Path) -> Any:
    return (folder / "new.mp3").open("wb")


def read_out(folder: Path) -> Any:
    file = io.BytesIO(SONG)
    file.read()
    return file


class Endless(io.RawIOBase):
    """A file object that cannot be wound back and never ends."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return len(buffer)


class Broken(io.RawIOBase):
    """A file object whose disk fails after a while."""

    def __init__(self) -> None:
        self._file = io.BytesIO(SONG)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._file.tell():
            raise OSError(5, "Input/output error", f"/home/{FOLDER}/song.mp3")
        return self._file.readinto(buffer)


HOURS_10 = 10 * 3600 * 4000 * 2  # bytes of ten hours, at 4 kHz
FILES = {
    "zero bytes": Bad(written("nothing.mp3", b""), "nothing.mp3 is empty", "Download or export it again"),
    "text named .mp3": Bad(
        written("words.mp3", b"Dear diary,\n" * 999), "words.mp3 is n", "name does not make"
    ),
    "cut MP3": Bad(written("half.mp3", SONG[: len(SONG) // 2]), "half.mp3 is cut short", "again"),
    "MP3 of tags alone": Bad(written("tags.mp3", id3(5000)), "tags.mp3 is damaged", "again"),
    "cut WAV": Bad(written("half.wav", wav_header(400_000) + bytes(1000)), "half.wav is cut short", "again"),
    "10 hours, header alone": Bad(
        written("bomb.wav", wav_header(HOURS_10, rate=4000, channels=1)),
        "bomb.wav is cut short: its header promises 10:00:00",
        "again",
    ),
    "10 hours of silence": Bad(
        written("long.wav", wav_header(HOURS_10 // 8, rate=1000, channels=1, bits=8), HOURS_10 // 8 + 44),
        "long.wav is 10:00:00 long, more than 30 minutes",
        "Cut out the part",
    ),
    "header of 4 GB": Bad(
        written("huge.wav", wav_header(0xFFFFFFF0) + bytes(1000)),
        "huge.wav is cut short: its header promises 6:45:47",
        "again",
    ),
    "101 MB": Bad(
        written("big.wav", wav_header(101 * MB), 101 * MB), "big.wav is too large: 101.0 MB", "MP3 or OGG"
    ),
    "a film": Bad(
        written("film.mp3", m4a(handler=b"vide", brand=b"isom")), "film.mp3 is not audio", "MP3", True
    ),
    "a picture": Bad(
        written("cover.mp3", PNG), "cover.mp3 is not audio: its bytes are image/png", "MP3", True
    ),
    "a pipe": Bad(pipe, "pipe.mp3 is a pipe", "to a file"),
    "a device": Bad(lambda folder: "/dev/zero", "zero is a device", "to a file"),
    "a folder": Bad(directory, "album is a folder", "one file"),
    "missing": Bad(lambda folder: folder / "gone.mp3", "There is no file", "Check the path"),
    "missing, misspelt": Bad(
        lambda folder: written("song.mp3", SONG)(folder).with_name("sogn.mp3"),
        "There is no file",
        "'song.mp3'",
    ),
    "in a missing folder": Bad(lambda folder: str(folder / "no" / "x.mp3"), "There is no file", "folder"),
    "below a file": Bad(
        lambda folder: written("song.mp3", SONG)(folder) / "x.mp3", "There is no file", "folder"
    ),
    "endless link": Bad(
        lambda folder: ((folder / "loop.mp3").symlink_to("loop.mp3"), folder / "loop.mp3")[1],
        "loop.mp3 cannot be read",
        "Check the path",
    ),
    "closed": Bad(closed, "closed.mp3 is closed", "Open it again"),
    "StringIO": Bad(lambda folder: io.StringIO("text"), "open as text", 'open(path, "rb")'),
    "open as text": Bad(as_text, "open.mp3 is open as text", 'open(path, "rb")'),
    "open for writing": Bad(for_writing, "new.mp3 is open for writing", 'open(path, "rb")'),
    "read to its end": Bad(read_out, "stands at its end", ".seek(0)"),
    "endless": Bad(lambda folder: Endless(), "too large: more than 100 MB", "MP3 or OGG"),
    "failing": Bad(lambda folder: Broken(), "cannot be read", ""),
    "empty bytes": Bad(lambda folder: b"", "The data is empty", ""),
    "101 MB in memory": Bad(lambda folder: bytes(101 * MB), "too large: 101.0 MB", "MP3 or OGG"),
    "noise in memory": Bad(lambda folder: bytes(range(256)) * 9, "The data is n", ""),
    "a null in the path": Bad(lambda folder: f"{folder}/a\0b.mp3", "null character", ""),
    "samples": Bad(lambda folder: [0.0, 0.1], "list is no file", "soundfile.write"),
    "a number": Bad(lambda folder: 7, "int is no file", "Pass a path"),
}
POSIX = {"a pipe", "a device", "endless link"}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox that remembers what it has seen."""
    state = tmp_path_factory.mktemp("sandbox")
    with bn.sandbox.start(engine="scripted", faults=True, state=state) as sandbox:
        yield sandbox


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the bad file is."""
    (tmp_path / FOLDER).mkdir()
    return tmp_path / FOLDER


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def call(box: Sandbox, kind: str, verb: str, given: Any, **more: Any) -> None:
    """Upload a file, or name it as a reference."""
    if kind == "async":

        async def work() -> None:
            async with bn.AsyncClient(box.api_key, base_url=box.base_url) as client:
                if verb == "upload":
                    await client.upload(given, **more)
                else:
                    await client.music("slow blues", reference=given, **more)

        asyncio.run(work())
        return
    with bn.Client(box.api_key, base_url=box.base_url) as client:
        if verb == "upload":
            client.upload(given, **more)
        else:
            client.music("slow blues", reference=given, **more)


def told(error: bn.InvalidInput, folder: Path) -> str:
    """All that a user sees of an error; it must not tell where this user's files are."""
    text = "\n".join([str(error), repr(error), *error._render_traceback_()])
    for word in (FOLDER, str(folder.parent), os.environ["HOME"]):
        assert word not in text, "a folder's name is in the error"
    return text


@pytest.mark.parametrize("verb", ["upload", "music"])
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("what", FILES)
def test_a_bad_file(
    box: Sandbox, folder: Path, temporary: Path, isolated: Path, what: str, kind: str, verb: str
) -> None:
    bad = FILES[what]
    if what in POSIX and os.name != "posix":
        pytest.skip("a thing of POSIX")
    given = bad.make(folder)
    files, seen, balance = sorted(folder.rglob("*")), len(box.seen), box.balance
    more = {"purpose": "reference_audio"} if verb == "upload" and bad.reference_only else {}
    with contextlib.closing(given) if hasattr(given, "close") else contextlib.nullcontext():
        with pytest.raises(bn.InvalidInput) as caught:
            call(box, kind, verb, given, **more)
        error = caught.value
        assert bad.says in error.message
        if "name does not make" in bad.hint and verb == "music":
            assert "MP3" in (error.hint or "")
        else:
            assert bad.hint in (error.hint or "")
        assert error.hint, "and what to do"
        assert (error.attempts, error.retryable) == (0, False)
        told(error, folder)
        assert len(box.seen) == seen, "nothing was sent"
        assert box.balance == balance, "nothing was spent"
        del caught, error
    del given
    gc.collect()
    assert sorted(folder.rglob("*")) == files, "nothing was left beside the file"
    assert not list(temporary.iterdir()), "nothing was left among the temporary files"
    assert not (isolated / "audio").exists()
    with bn.Client(box.api_key, base_url=box.base_url) as client:
        pending = client.pending()
        assert (len(pending), len(pending.lost)) == (0, 0), "no job was begun"
    assert len(box.seen) == seen


def test_the_home_folder_is_not_told(box: Sandbox, folder: Path) -> None:
    for given in ("~/gone.mp3", "~/no such folder/gone.mp3"):
        with pytest.raises(bn.InvalidInput, match="There is no file") as caught:
            call(box, "sync", "upload", given)
        told(caught.value, folder)


@pytest.mark.parametrize("verb", ["upload", "music"])
@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_no_permission(box: Sandbox, folder: Path, verb: str) -> None:
    path = written("secret.mp3", SONG)(folder)
    path.chmod(0)
    seen, balance = len(box.seen), box.balance
    # Root may read everything: so the script becomes somebody else, once all that it needs is loaded.
    script = """
        import os, sys
        import beatra_nb as bn
        client = bn.Client()
        verb, path = sys.argv[1:]
        def call():
            try:
                client.upload(path) if verb == "upload" else client.music("slow blues", reference=path)
            except bn.InvalidInput as error:
                return str(error)
        sys.argv[2:] = [path + "-warm-up"]
        verb, path = sys.argv[1:]
        call()
        path = path.removesuffix("-warm-up")
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        print(call())
    """
    for parent in (folder, *folder.parents):  # the folder may be entered, and the file not read
        if parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), verb, str(path)],
        env={**os.environ, "BEATRA_API_KEY": box.api_key, "BEATRA_BASE_URL": box.base_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "secret.mp3 may not be read: permission denied." in done.stdout, done.stderr
    assert "chmod" in done.stdout
    assert FOLDER not in done.stdout
    assert (len(box.seen), box.balance) == (seen, balance)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("change", ["longer", "shorter", "gone", "another"])
def test_a_file_that_changes_between_the_check_and_the_sending(
    box: Sandbox, folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, kind: str, change: str
) -> None:
    from beatra_nb.core import sources

    path = written("mix.mp3", SONG)(folder)
    kept = sources.source_of

    def changing(*args: Any, **more: Any) -> Any:
        """What writes the file is not done yet."""
        source = kept(*args, **more)
        if change == "gone":
            path.unlink()
        elif change == "another":
            path.unlink()
            path.write_bytes(SONG[::-1])
            os.utime(path, ns=(1, 1))
        else:
            path.write_bytes(SONG + SONG if change == "longer" else SONG[:900])
        return source

    monkeypatch.setattr(sources, "source_of", changing)
    artifacts, balance = files_of(box), box.balance
    with pytest.raises(bn.InvalidInput, match=r"mix\.mp3 (changed|cannot be read)") as caught:
        call(box, kind, "upload", path)
    told(caught.value, folder)
    assert files_of(box) == artifacts, "no artifact of half a file"
    assert box.balance == balance
    assert not list(temporary.iterdir())


def files_of(box: Sandbox) -> list[str]:
    """The files that a sandbox keeps."""
    return (
        sorted(path.name for path in (box.state / desk.FILES).rglob("*"))
        if (box.state / desk.FILES).exists()
        else []
    )
