"""Where a clip is saved, and how."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.core import files
from beatra_nb.core.task import AsyncTask, Task
from tests.core.driving import state
from tests.core.sounds import encoded

MP3, OGG = encoded("MP3", seconds=0.2), encoded("OGG", seconds=0.2)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to save to, which is the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def clip(title: str = "Night Drive", data: bytes = MP3, kind: type[Any] = Task) -> Any:
    wire = {"clips": [{"artifact_id": "art_1", "title": title, "media_type": "audio/flac"}]}
    task = kind(None, state("succeeded", output=wire))
    task.clips[0].keep(data)
    return task.clips[0]


async def save(
    kind: type[Any], *args: Any, data: bytes = MP3, title: str = "Night Drive", **more: Any
) -> Path:
    made = clip(title, data, kind)
    saved = made.save(*args, **more)
    saved = saved if kind is Task else await saved
    assert made.saved == saved
    return saved  # type: ignore[no-any-return]


KINDS = pytest.mark.parametrize("kind", [Task, AsyncTask], ids=["sync", "async"])


@KINDS
async def test_it_is_saved_here_by_its_title(here: Path, kind: type[Any]) -> None:
    saved = await save(kind)
    assert saved == Path("Night Drive-1.mp3")
    assert [entry.name for entry in here.iterdir()] == ["Night Drive-1.mp3"]
    assert saved.read_bytes() == MP3
    Path("like any other").touch()
    assert stat.S_IMODE(saved.stat().st_mode) == stat.S_IMODE(Path("like any other").stat().st_mode)


def test_what_it_is_is_told_by_its_bytes() -> None:
    assert clip(data=OGG).media_type == "audio/ogg"
    assert clip(data=b"not audio at all").media_type == "audio/flac", (
        "then the service's word is all there is"
    )
    silent = Task(None, state("succeeded", output={"clips": [{"media_type": "audio/x"}]})).clips[0]
    assert silent.media_type == "audio/x"


@KINDS
@pytest.mark.parametrize(
    ("name", "data", "there"),
    [
        ("song", MP3, "song.mp3"),
        ("song.mp3", MP3, "song.mp3"),
        ("song.MP3", MP3, "song.MP3"),
        ("song", OGG, "song.ogg"),
        ("song.oga", OGG, "song.oga"),
        ("song.opus", OGG, "song.opus"),
        ("No. 5", MP3, "No. 5.mp3"),
        ("v1.25", MP3, "v1.25.mp3"),
        ("song.", MP3, "song..mp3"),
        ("weird.flac", b"what is this", "weird.flac"),
    ],
)
async def test_a_suffix_is_added_where_it_is_missing(
    here: Path, kind: type[Any], name: str, data: bytes, there: str
) -> None:
    await save(kind, name, data=data)
    assert [entry.name for entry in here.iterdir()] == [there]


@KINDS
@pytest.mark.parametrize(("name", "data"), [("song.wav", MP3), ("song.mp3", OGG), ("song.txt", MP3)])
async def test_a_file_is_not_misnamed(here: Path, kind: type[Any], name: str, data: bytes) -> None:
    with pytest.raises(bn.InvalidInput, match="would be misnamed") as caught:
        await save(kind, name, data=data)
    assert "Save it as 'song." in caught.value.hint
    assert not list(here.iterdir())


@KINDS
async def test_what_is_there_stays_unless_it_may_go(here: Path, kind: type[Any]) -> None:
    (here / "song.mp3").write_bytes(b"mine")
    for name in ("song.mp3", here / "song.mp3", "song"):
        with pytest.raises(bn.InvalidInput, match="already there"):
            await save(kind, name)
    assert (here / "song.mp3").read_bytes() == b"mine"
    await save(kind, "song.mp3", overwrite=True)
    assert (here / "song.mp3").read_bytes() == MP3
    assert [entry.name for entry in here.iterdir()] == ["song.mp3"]


def test_that_it_is_there_is_said_before_anything_is_fetched(here: Path) -> None:
    (here / "song.mp3").write_bytes(b"mine")
    unfetched = Task(
        None, state("succeeded", output={"clips": [{"url": "https://cdn.example.com/a"}]})
    ).clips[0]
    with pytest.raises(bn.InvalidInput, match="already there"):
        unfetched.save("song.mp3")


def test_a_folder_takes_it_under_its_title(here: Path) -> None:
    (here / "music").mkdir()
    assert clip().save("music") == Path("music/Night Drive-1.mp3")
    assert clip().save(here / "music", overwrite=True) == here / "music" / "Night Drive-1.mp3"
    (here / "song.mp3").mkdir()
    assert clip().save("song.mp3") == Path("song.mp3/Night Drive-1.mp3")
    with pytest.raises(bn.InvalidInput, match="does not exist"):
        clip().save("nowhere/song.mp3")
    (here / "file").write_text("x")
    with pytest.raises(bn.InvalidInput):
        clip().save("file/song.mp3")


def test_the_home_folder_has_a_short_name(isolated: Path) -> None:
    assert clip().save("~/song") == isolated.parent / "song.mp3"


def test_a_folder_of_the_suffixed_name_is_left_alone(here: Path) -> None:
    (here / "song.mp3").mkdir()
    with pytest.raises(bn.InvalidInput, match="already there"):
        clip().save("song", overwrite=True)
    assert not list((here / "song.mp3").iterdir())


@pytest.mark.parametrize(
    "odd",
    ["\0", "a\0b.mp3", "x" * 5000, "x/" * 3000 + "y", "\ud800.mp3", 7, b"song.mp3", "~nobody-of-this-name/x"],
)
def test_an_odd_path_is_an_error_of_ours(here: Path, odd: Any) -> None:
    with pytest.raises(bn.InvalidInput):
        clip().save(odd)
    assert not list(here.iterdir()), "no half file"


def test_a_failure_on_the_disk_leaves_no_half_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = clip()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", full)
        with pytest.raises(bn.InvalidInput, match="No space left on device"):
            made.save("song.mp3")
    assert not list(here.iterdir())
    assert made.saved is None
    assert made.data == MP3, "the audio is still here"


def test_an_interrupt_leaves_no_half_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        clip().save("song.mp3")
    assert not list(here.iterdir())


HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    "   ",
    "C:\\windows\\system32",
    "a\nb\tc",
    "\x1b[31mred",
    "\u202egpj.exe",
    "con",
    "CON.txt",
    "nul",
    "LPT1",
    "~",
    "-rf",
    "x" * 1000,
    "日本語" * 200,
    "\ud800half",
    'q"<>|*?:',
    ".hidden",
    "Dr.Jazz",
]


@pytest.mark.parametrize("title", HOSTILE)
def test_a_hostile_title_stays_in_the_folder(here: Path, title: str) -> None:
    saved = clip(title).save()
    assert saved.parent == Path()
    assert [entry.name for entry in here.iterdir()] == [saved.name]
    assert saved.suffix == ".mp3"
    assert saved.read_bytes() == MP3


@given(st.text())
@example("CON.txt")
@example("aux .x")
@example(". nul")
def test_a_title_is_a_name_on_every_system(title: str) -> None:
    name = files.safe_name(title)
    assert name
    assert len(name.encode()) <= files.LONGEST_NAME
    assert not set(name) & set('<>:"/\\|?*')
    assert name.isprintable()
    assert name == name.strip(" .")
    assert os.path.basename(name) == name
    assert name.partition(".")[0].strip().lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}


@KINDS
async def test_audio_that_is_not_here_says_so(kind: type[Any]) -> None:
    unfetched = kind(None, state("succeeded", output={"clips": [{"title": "x"}]})).clips[0]
    assert unfetched.size is None
    assert unfetched.peaks is None
    if kind is AsyncTask:
        with pytest.raises(bn.InvalidInput, match="has not been fetched yet"):
            _ = unfetched.waveform
