"""A journal that cannot be written warns once and never breaks, or noticeably delays, a call."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from beatra_nb import sandbox
from beatra_nb.core.client import Client
from beatra_nb.core.errors import BeatraError
from beatra_nb.store import journal as module
from beatra_nb.store.journal import Journal, JournalWarning
from beatra_nb.store.migrations import MIGRATIONS, Migration, migrate, version

from .test_journal import entry


@pytest.fixture
def file(isolated: Path) -> Path:
    isolated.mkdir()
    return isolated / "journal.sqlite3"


def warns_once(match: str) -> Journal:
    """Three calls, one warning, no delay to speak of."""
    journal = Journal.open()
    start = time.perf_counter()
    with pytest.warns(JournalWarning, match=match) as told:
        assert [journal.record(entry()) for _ in range(3)] == [None] * 3
    assert len(told) == 1
    assert "Calls go on as usual" in str(told[0].message)
    assert time.perf_counter() - start < 1.5
    return journal


def test_a_locked_journal_loses_nothing(file: Path, monkeypatch: pytest.MonkeyPatch):
    Journal.open().record(entry(request_id="first"))
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        journal = warns_once("locked")
        assert len(journal) == 1  # reading goes on beside a writer
        other.execute("ROLLBACK")
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(journal, "_paused_until", 0.0)
    assert journal.record(entry(request_id="last")) == 5
    assert [call.request_id for call in journal] == ["last", "req_01J5A", "req_01J5A", "req_01J5A", "first"]


def test_rows_that_wait_are_written_when_the_process_ends(file: Path):
    Journal.open().record(entry())
    code = """
import sqlite3, sys, warnings
from datetime import datetime, UTC
from beatra_nb.store.journal import Journal
from beatra_nb.store.entry import Entry
warnings.simplefilter("ignore")
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
assert Journal.open().record(Entry(time=datetime.now(UTC), verb="late")) is None
other.execute("ROLLBACK")
"""
    subprocess.run([sys.executable, "-c", code, file], check=True, timeout=30)
    assert Journal.open().view()[0].verb == "late"


def test_an_exclusive_lock_is_named_when_reading(file: Path):
    Journal.open().record(entry())
    Journal.open().close()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("DELETE FROM calls WHERE id = -1")
        warns_once("locked")
        with pytest.raises(BeatraError, match="locked by another program"):
            Journal.open().view()


@pytest.mark.parametrize("content", [b"this is not a database " * 100, b"SQLite format 3\0" + b"\xff" * 9000])
def test_a_damaged_file_is_left_as_it_is(file: Path, content: bytes):
    file.write_bytes(content)
    journal = warns_once("damaged")
    assert file.read_bytes() == content
    with pytest.raises(BeatraError, match="damaged") as caught:
        journal.view()
    assert str(file.name) in caught.value.message
    assert "Move the file" in caught.value.hint


def test_a_damaged_file_moved_away_is_mended(file: Path, monkeypatch: pytest.MonkeyPatch):
    file.write_bytes(b"this is not a database " * 100)
    journal = warns_once("damaged")
    file.rename(file.with_suffix(".old"))
    monkeypatch.setattr(journal, "_paused_until", 0.0)
    assert journal.record(entry()) == 4  # with the three that waited
    assert len(journal) == 4


def test_a_later_version_is_not_touched(file: Path):
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE tomorrow (x)")
        other.execute("PRAGMA user_version = 999")
    before = file.read_bytes()
    journal = warns_once("later version")
    with pytest.raises(BeatraError, match="Upgrade beatra_nb"):
        journal.search("x")
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("tomorrow",)]
    assert len(before) == file.stat().st_size


def test_a_file_where_the_folder_should_be(isolated: Path):
    isolated.write_text("in the way")
    warns_once("cannot write")
    assert isolated.read_text() == "in the way"


def test_a_folder_where_the_file_should_be(file: Path):
    file.mkdir()
    journal = warns_once("cannot write")
    with pytest.raises(BeatraError, match="cannot be read"):
        journal.view()


FULL = """
import resource, sys, warnings
from datetime import datetime, UTC
from beatra_nb.store.journal import Journal
from beatra_nb.store.entry import Entry
journal = Journal.open()
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    assert journal.record(Entry(time=datetime.now(UTC), verb="first"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    written = 0
    while journal.record(Entry(time=datetime.now(UTC), verb="more")) and written < 5000:
        written += 1
    for _ in range(3):
        assert journal.record(Entry(time=datetime.now(UTC), verb="more")) is None
assert written < 5000
assert len(told) == 1, [str(one.message) for one in told]
print(told[0].message)
"""


def test_a_full_disk(isolated: Path):
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "full" in done.stdout
    assert len(Journal.open()) >= 1  # what was written before is sound


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder outside pytest's private one: another user must be able to reach it."""
    folder = Path(tempfile.mkdtemp(prefix="beatra-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


READ_ONLY = """
import os, warnings
from datetime import datetime, UTC
from beatra_nb.store.journal import Journal
from beatra_nb.store.entry import Entry
journal = Journal.open()
if os.geteuid() == 0:  # file modes do not bind root; become nobody
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    assert [journal.record(Entry(time=datetime.now(UTC), verb="x")) for _ in range(3)] == [None] * 3
print(len(told), told[0].message)
print(len(journal))
"""


@pytest.mark.parametrize("rows", [0, 3])
def test_a_read_only_folder(rows: int, outside: Path):
    journal = Journal.open(outside / "journal.sqlite3")
    for _ in range(rows):
        journal.record(entry())
    journal.close()
    if rows:
        journal.path.chmod(0o444)
    outside.chmod(0o555)
    environment = {**os.environ, "BEATRA_HOME": str(outside), "HOME": str(outside)}
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    told, count = done.stdout.splitlines()
    assert told.startswith("1 The journal cannot be written: ~/journal.sqlite3")
    assert "cannot write" in told
    assert count == str(rows)  # what is there can still be read


def test_a_warning_turned_into_an_error_breaks_no_call(file: Path, caplog: pytest.LogCaptureFixture):
    file.write_bytes(b"not a database, not at all " * 50)
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, "beatra_nb"):
        warnings.simplefilter("error")
        assert Journal.open().record(entry()) is None
    assert "damaged" in caplog.text


def test_rows_that_wait_are_bounded(file: Path):
    file.write_bytes(b"not a database, not at all " * 50)
    journal = warns_once("damaged")
    for number in range(1500):
        journal.record(entry(request_id=f"req_{number}"))
    file.unlink()
    journal.close()  # tries once more
    assert len(journal) == 1000
    assert journal.view()[0].request_id == "req_1499"


def test_a_check_leaves_nothing_behind(isolated: Path, tmp_path: Path):
    assert Journal.open().trouble() is None
    assert Journal.open(tmp_path / "a" / "b" / "j.sqlite3").trouble() is None
    assert not isolated.exists()
    assert not (tmp_path / "a").exists()
    Journal.open().record(entry())
    assert Journal.open().trouble() is None
    assert len(Journal.open()) == 1


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("path", ["/proc/x/j.sqlite3", "/proc/j.sqlite3", "/proc/version/j.sqlite3"])
def test_a_check_finds_a_place_where_nothing_can_be_made(path: str):
    trouble = Journal.open(path).trouble()  # file modes say to root that all is well there
    assert trouble is not None
    assert "cannot write" in trouble[0]
    assert "BEATRA_HOME" in trouble[1]


@pytest.mark.skipif(sys.platform == "win32", reason="names have other limits there")
def test_a_check_takes_away_the_folders_it_could_make(tmp_path: Path):
    assert Journal.open(tmp_path / "a" / "b" / ("c" * 255) / ("d" * 256) / "j.sqlite3").trouble() is not None
    assert not (tmp_path / "a").exists()


def test_the_warning_points_at_the_users_line(file: Path):
    file.write_bytes(b"not a database, not at all " * 50)
    with sandbox.start(engine="scripted") as box, pytest.warns(JournalWarning) as told:
        Client(base_url=box.base_url, api_key=box.api_key).chat("Hi")
    assert [each.filename for each in told] == [__file__]


@pytest.mark.parametrize("steps", range(len(MIGRATIONS) + 1))
def test_every_earlier_state_is_brought_up_to_date(file: Path, steps: int):
    with closing(sqlite3.connect(file, isolation_level=None)) as old:
        migrate(old, MIGRATIONS[:steps])
        if steps:
            old.execute(
                "INSERT INTO calls (time, verb, status) VALUES ('2026-01-01T00:00:00+00:00', 'chat', 'ok')"
            )
    Journal.open().record(entry())
    assert len(Journal.open()) == 1 + bool(steps)
    with closing(sqlite3.connect(file)) as now:
        assert version(now) == len(MIGRATIONS)


def test_a_step_that_fails_leaves_nothing_behind(file: Path):
    bad = Migration("bad", ("CREATE TABLE half (x)", "CREATE TABLE half (x)"))
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="half"):
            migrate(connection, (*MIGRATIONS, bad))
        assert version(connection) == 0
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_names_of_steps_are_unique():
    names = [step.name for step in MIGRATIONS]
    assert len(set(names)) == len(names)
