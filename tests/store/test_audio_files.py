"""Fetched audio on disk: whole files only, bounded, and never in the way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.store import audio as module
from beatra_nb.store.audio import AudioFiles

HERE = "https://api.example.com/v1"


@pytest.fixture
def files(isolated: Path) -> AudioFiles:
    return AudioFiles.of_user()


def put(files: AudioFiles, ident: str, data: bytes, *, used: int | None = None, place: str = HERE) -> None:
    part = files.part(place, ident)
    part.write(data)
    assert part.finish() == data
    path = files._path(place, ident)
    if used is not None and path is not None and path.exists():
        os.utime(path, (used, used))


def names(files: AudioFiles) -> list[str]:
    assert files.folder is not None
    return sorted(entry.name for entry in files.folder.iterdir()) if files.folder.exists() else []


def test_it_has_its_name_only_when_it_is_whole(files: AudioFiles, isolated: Path) -> None:
    part = files.part(HERE, "art_1")
    part.write(b"abc")
    part.write(b"def")
    (name,) = names(files)
    assert name.startswith("fetching-")
    assert name.endswith(".part")
    assert files.get(HERE, "art_1") is None
    assert (part.size, part.head) == (6, b"abcdef")
    assert part.finish() == b"abcdef"
    (name,) = names(files)
    assert len(name) == 40
    assert files.get(HERE, "art_1") == b"abcdef"
    part.drop()
    assert files.get(HERE, "art_1") == b"abcdef", "what is whole stays"
    assert stat.S_IMODE((isolated / "audio" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((isolated / "audio").stat().st_mode) == 0o700


def test_what_is_dropped_leaves_nothing(files: AudioFiles) -> None:
    part = files.part(HERE, "art_1")
    part.write(b"abc")
    part.drop()
    part.drop()
    assert (names(files), files.get(HERE, "art_1"), part.size) == ([], None, 0)


def test_a_new_attempt_begins_at_the_beginning(files: AudioFiles) -> None:
    part = files.part(HERE, "art_1")
    part.write(b"a long broken beginning")
    part.restart()
    part.write(b"whole")
    assert part.finish() == b"whole"
    assert files.get(HERE, "art_1") == b"whole"


def test_places_and_ids_do_not_mix(files: AudioFiles) -> None:
    put(files, "a", b"1")
    put(files, "a", b"2", place="sandbox")
    put(files, "b", b"3")
    assert [files.get(HERE, "a"), files.get("sandbox", "a"), files.get(HERE, "b")] == [b"1", b"2", b"3"]
    assert files.get("sandbox", "b") is None


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_id_is_a_file_in_the_folder(place: str, ident: str) -> None:
    path = AudioFiles(Path("/folder"))._path(place, ident)
    assert path is not None
    assert path.parent == Path("/folder")
    assert path.name.isalnum()


def test_nothing_is_kept_where_nothing_shall_be(isolated: Path) -> None:
    files = AudioFiles(None)
    put(files, "a", b"1")
    assert files.get(HERE, "a") is None
    files.make_room(10**12)
    assert not isolated.exists()


# ── room ──


def test_what_was_not_used_for_longest_gives_way(isolated: Path) -> None:
    files = AudioFiles(isolated / "audio", room=100)
    for number in range(5):
        put(files, f"a{number}", bytes(19) + b"x", used=1000 + number)
    assert files.get(HERE, "a0") is not None, "and it is in use from now on"
    put(files, "b", bytes(29) + b"x")
    assert [files.get(HERE, f"a{n}") is not None for n in range(5)] == [True, False, False, True, True]
    assert files.get(HERE, "b") is not None


@given(st.lists(st.integers(1, 60), max_size=20))
def test_the_folder_is_bounded(sizes: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        files = AudioFiles(Path(name) / "audio", room=100)
        for number, size in enumerate(sizes):
            put(files, str(number), bytes(size), used=1000 + number)
            total = sum(entry.stat().st_size for entry in os.scandir(Path(name) / "audio"))
            assert total <= 100
        if sizes:
            assert files.get(HERE, str(len(sizes) - 1)) is not None, "the newest is kept"


def test_a_file_larger_than_the_room_is_not_kept_and_costs_the_others_nothing(isolated: Path) -> None:
    files = AudioFiles(isolated / "audio", room=100)
    put(files, "small", bytes(50))
    put(files, "large", bytes(101))
    assert files.get(HERE, "large") is None
    assert files.get(HERE, "small") is not None
    assert len(names(files)) == 1


def test_what_a_dead_process_left_gives_way_too(isolated: Path) -> None:
    files = AudioFiles(isolated / "audio", room=100)
    put(files, "a", bytes(10))
    orphan = isolated / "audio" / "fetching-dead.part"
    orphan.write_bytes(bytes(80))
    os.utime(orphan, (1000, 1000))
    put(files, "b", bytes(50))
    assert not orphan.exists()
    assert files.get(HERE, "a") is not None


# ── trouble ──


def test_a_full_disk_costs_nobody_a_clip(files: AudioFiles) -> None:
    part = files.part(HERE, "art_1")
    part.write(b"abc")
    part._file.close()  # type: ignore[union-attr]  # every write fails from here

    class Full:
        def write(self, piece: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            raise OSError(28, "No space left on device")

    part._file = Full()  # type: ignore[assignment]
    part.write(b"def")
    part.write(b"ghi")
    assert part.finish() == b"abcdefghi"
    assert (names(files), files.get(HERE, "art_1")) == ([], None)


def test_a_file_in_the_folder_s_place_costs_nobody_a_clip(isolated: Path) -> None:
    isolated.mkdir()
    (isolated / "audio").write_text("in the way")
    files = AudioFiles.of_user()
    put(files, "a", b"1")
    assert files.get(HERE, "a") is None
    files.make_room(1)
    assert (isolated / "audio").read_text() == "in the way"


def test_a_folder_in_the_file_s_place_costs_nobody_a_clip(files: AudioFiles) -> None:
    put(files, "a", b"1")
    path = files._path(HERE, "a")
    assert path is not None
    path.unlink()
    path.mkdir()
    (path / "x").write_text("x")
    put(files, "a", b"2")
    assert files.get(HERE, "a") is None
    assert names(files) == [path.name]


def test_an_empty_file_is_none(files: AudioFiles) -> None:
    put(files, "a", b"1")
    path = files._path(HERE, "a")
    assert path is not None
    path.write_bytes(b"")
    assert files.get(HERE, "a") is None


def test_two_who_fetch_the_same_do_not_mix(files: AudioFiles) -> None:
    one, two = files.part(HERE, "a"), files.part(HERE, "a")
    one.write(b"whole of one")
    two.write(b"half of")
    assert one.finish() == b"whole of one"
    two.drop()
    assert files.get(HERE, "a") == b"whole of one"
    assert module.ROOM > 10**8
