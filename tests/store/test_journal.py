"""The journal through its public surface: what is written is found again, by anyone, in any number."""

from __future__ import annotations

import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beatra_nb.core.errors import ConfigurationError, InvalidInput
from beatra_nb.store.entry import FIELDS, Entry
from beatra_nb.store.journal import Journal, JournalWarning

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def entry(**changes) -> Entry:
    fields = {
        "time": NOON,
        "verb": "chat",
        "asked_model": "auto",
        "model": "suno-chat",
        "request_id": "req_01J5A",
        "idempotency_key": "11111111-2222-3333-4444-555555555555",
        "attempts": 2,
        "http_status": 200,
        "prompt_tokens": 31,
        "completion_tokens": 8,
        "total_tokens": 39,
        "credits": Decimal("0.3900"),
        "duration": 0.25,
        "base_url": "https://api.beatra.ai/v1",
    }
    return Entry(**{**fields, **changes})


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


WRITER = """
import sys
from datetime import datetime, UTC
from beatra_nb.store.journal import Journal
from beatra_nb.store.entry import Entry
journal = Journal.open()
for number in range(int(sys.argv[2])):
    journal.record(Entry(time=datetime.now(UTC), verb="chat", request_id=f"req_{sys.argv[1]}_{number}"))
"""


def test_what_is_written_is_read_again_whole():
    written = entry(error_code="rate_limited", error_type="RateLimited", task_id="task_1", sandbox=True)
    number = Journal.open().record(written)
    [read] = Journal.open().view()
    assert read.id == number == 1
    assert {**read.as_dict(), "id": None} == written.as_dict()
    assert read.process == os.getpid()
    assert str(read.credits) == "0.3900"  # to the last nought


def test_the_file_is_made_at_the_first_row_and_is_private(isolated: Path):
    journal = Journal.open()
    assert len(journal.view()) == 0
    assert len(journal) == 0
    assert not isolated.exists()
    journal.record(entry())
    assert stat.S_IMODE(isolated.stat().st_mode) == 0o700
    for file in isolated.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert journal.path == isolated / "journal.sqlite3"


def test_one_instance_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert Journal.open() is Journal.open()
    other = Journal.open(tmp_path / "other.sqlite3")
    assert other is not Journal.open()
    monkeypatch.chdir(tmp_path)
    assert Journal.open("other.sqlite3") is other
    assert bool(other)  # empty, and a journal all the same


def test_times_are_utc_whatever_they_came_in():
    Journal.open().record(entry(time=NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))))
    read = Journal.open().view()[0].time
    assert read == NOON
    assert read.utcoffset() == timedelta(0)


def test_newest_first_and_limits():
    journal = Journal.open()
    for number in range(7):
        journal.record(entry(request_id=f"req_{number}"))
    view = journal.view(limit=3)
    assert [call.request_id for call in view] == ["req_6", "req_5", "req_4"]
    assert view.total == 7
    assert len(journal.view(limit=None)) == 7
    assert [call.request_id for call in journal] == [f"req_{number}" for number in (6, 5, 4, 3, 2, 1, 0)]
    assert view[0] is view[:2][0]
    assert repr(view) == "JournalView(3 of 7 calls, newest first)"
    assert view.rows[0]["request_id"] == "req_6"
    assert set(view.columns) <= set(view.rows[0]) == set(FIELDS)
    for bad in (0, -1, True, "5", 2.0):
        with pytest.raises(InvalidInput, match="limit"):
            journal.view(limit=bad)


def test_a_long_journal_is_walked_in_pages():
    journal = Journal.open()
    for number in range(1203):
        journal.record(entry(request_id=f"req_{number}"))
    walked = [call.id for call in journal]
    assert walked == list(range(1203, 0, -1))


def test_search_finds_parts_in_any_case_and_takes_wildcards_as_letters():
    journal = Journal.open()
    journal.record(entry(request_id="req_100%sure", error_code="rate_limited"))
    journal.record(entry(request_id="req_100xsure", error_code="rateXlimited", model="Other\\Model"))
    journal.record(entry(verb="models", request_id=None, idempotency_key="abc", task_id="task_77"))

    def found(text: str) -> list[int]:
        return [call.id for call in journal.search(text)]

    assert found("100%") == [1]
    assert found("rate_limited") == [1]
    assert found("RATE") == [2, 1]
    assert found("r\\m") == [2]
    assert found("task_77") == found("models") == [3]
    assert found("abc") == [3]
    assert found("nothing like it") == []
    assert found("'; DROP TABLE calls; --") == []
    assert found("") == [3, 2, 1]
    assert found("\udcff") == found("x" * 100_000) == []
    assert journal.search("RATE", limit=1).total == 2
    assert [call.id for call in journal.view(limit=1).search("100%")] == [1]
    with pytest.raises(InvalidInput, match="text"):
        journal.search(7)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    text=st.text(st.characters(codec=None), max_size=400),
    number=st.integers(-(2**70), 2**70),
    money=st.decimals(),
    seconds=st.floats(),
)
def test_nothing_a_server_sends_breaks_a_row(text: str, number: int, money: Decimal, seconds: float):
    journal = Journal.open()
    assert journal.record(
        entry(
            model=text, request_id=text, error_code=text, total_tokens=number, credits=money, duration=seconds
        )
    )
    read = journal.view(limit=1)[0]
    plain = text.encode("utf-8", "backslashreplace").decode()
    assert read.model == plain or len(text) > 300 or len(plain) > 300
    assert read.credits == (money if money.is_finite() and len(str(money)) <= 60 else None)
    assert read.total_tokens == (number if -(2**63) <= number < 2**63 else None)
    if text:
        assert journal.search(text[:50]).total >= 1


def test_an_unusable_entry_is_told_and_not_raised():
    journal = Journal.open()
    with pytest.warns(JournalWarning, match="not usable"):
        assert journal.record(entry(time="yesterday")) is None
    assert journal.record(entry()) == 1


def test_many_processes_write_at_once():
    """Each starts with no file at all, so they also race to make it."""
    writers = [python(WRITER, str(number), "150") for number in range(6)]
    for writer in writers:
        _, complaint = writer.communicate(timeout=60)
        assert (writer.returncode, complaint) == (0, "")
    journal = Journal.open()
    assert len(journal) == 900
    assert len({call.request_id for call in journal}) == 900
    assert len({call.process for call in journal}) == 6


def test_many_threads_write_at_once():
    journal = Journal.open()
    numbers: list[int | None] = []

    def write() -> None:
        numbers.extend([journal.record(entry()) for _ in range(200)])

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads):
        seen.append(len(journal))
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 1601))
    assert seen == sorted(seen)
    assert len(journal) == 1600


def test_a_forked_child_writes_too_and_harms_nobody():
    """Forked while another thread is writing: a lock held at that moment would be held in the child for ever."""
    code = """
import os, threading, warnings
from datetime import datetime, UTC
from beatra_nb.store.journal import Journal
from beatra_nb.store.entry import Entry
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of any fork beside a thread
journal = Journal.open()
def write(name): assert journal.record(Entry(time=datetime.now(UTC), verb=name))
write("before")
over = threading.Event()
def keep_writing():
    while not over.is_set(): write("parent")
thread = threading.Thread(target=keep_writing)
thread.start()
children = []
for number in range(20):
    child = os.fork()
    if child == 0:
        for _ in range(10): write("child")
        os._exit(0)
    children.append(child)
for child in children: assert os.waitpid(child, 0)[1] == 0
over.set()
thread.join()
write("after")
"""
    process = python(code)
    try:
        assert process.communicate(timeout=60)[1] == ""
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # children too, should they hang
    assert process.returncode == 0
    verbs = [call.verb for call in Journal.open()]
    assert (verbs.count("child"), verbs[0], verbs[-1]) == (200, "after", "before")
    assert verbs.count("parent") == len(verbs) - 202


def test_rows_that_wait_stay_the_parents(isolated: Path):
    code = """
import os, sqlite3, sys, warnings
from datetime import datetime, UTC
from beatra_nb.store import journal as module
from beatra_nb.store.entry import Entry
warnings.simplefilter("ignore")
module.PAUSE = 0.0
journal = module.Journal.open()
def write(name): return journal.record(Entry(time=datetime.now(UTC), verb=name))
assert write("first")
other = sqlite3.connect(journal.path, isolation_level=None)
other.execute("BEGIN IMMEDIATE")
assert write("waiting") is None
other.execute("ROLLBACK")
other.close()
child = os.fork()
if child == 0:
    assert write("child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert write("parent")
"""
    process = python(code)
    assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)
    assert [call.verb for call in Journal.open()] == ["parent", "waiting", "child", "first"]


def test_a_journal_moved_away_is_begun_anew(isolated: Path, tmp_path: Path):
    journal = Journal.open()
    journal.record(entry(request_id="old"))
    kept = tmp_path / "kept"
    kept.mkdir()
    for file in isolated.iterdir():
        file.rename(kept / file.name)
    assert journal.record(entry(request_id="new")) == 1
    assert [call.request_id for call in journal] == ["new"]
    assert [call.request_id for call in Journal.open(kept / "journal.sqlite3")] == ["old"]


def test_the_frame_has_types_that_know_what_is_missing():
    import pandas as pd

    journal = Journal.open()
    journal.record(entry())
    journal.record(entry(total_tokens=None, credits=None, model=None, http_status=None))
    frame = journal.view(limit=1).to_frame()  # every call, though the view shows one
    assert list(frame.columns) == list(FIELDS)
    assert list(frame["id"]) == [2, 1]
    assert str(frame["time"].dtype) == "datetime64[us, UTC]"
    assert frame["time"][1].to_pydatetime() == NOON
    assert str(frame["total_tokens"].dtype) == "Int64"
    assert str(frame["credits"].dtype) == "Float64"
    assert str(frame["sandbox"].dtype) == "boolean"
    assert frame["model"].dtype == pd.StringDtype()
    assert frame["model"].isna().tolist() == [True, False]
    assert frame["total_tokens"].sum() == 39
    assert frame["credits"].sum() == pytest.approx(0.39)
    assert list(journal.search("suno-chat").to_frame()["id"]) == [1]
    assert list(journal.to_frame()["id"]) == [2, 1]


def test_an_empty_frame_has_the_same_types():
    empty = Journal.open().to_frame()
    assert len(empty) == 0
    Journal.open().record(entry())
    assert (empty.dtypes == Journal.open().to_frame().dtypes).all()


def test_a_frame_without_pandas_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigurationError, match=r"beatra-nb\[frames\]"):
        Journal.open().to_frame()


def test_a_view_can_be_pickled():
    Journal.open().record(entry())
    view = pickle.loads(pickle.dumps(Journal.open().search("suno")))
    assert view[0].request_id == "req_01J5A"
    assert view.search("suno").total == 1


def test_a_row_costs_little():
    """The benchmark has the exact figure; this catches a slip of an order of magnitude on a busy machine."""
    journal = Journal.open()
    journal.record(entry())
    times = []
    for _ in range(500):
        start = time.perf_counter()
        journal.record(entry())
        times.append(time.perf_counter() - start)
    assert sorted(times)[250] < 0.0005


@pytest.mark.parametrize("count", [0, 1, 39, 40, 41, 95])
def test_many_rows_are_written_as_one_by_one(isolated: Path, count: int) -> None:
    rows = [entry(request_id=f"req_{number}") for number in range(count)]
    journal = Journal.open()
    journal.record_many(rows)
    assert [each.request_id for each in journal] == [each.request_id for each in reversed(rows)]
    journal.record(entry(request_id="after"))
    assert len(journal) == count + 1


def test_of_many_rows_the_unusable_ones_alone_are_left_out(isolated: Path) -> None:
    rows = [entry(), entry(time="noon"), entry()]
    with pytest.warns(JournalWarning, match="not usable"):
        Journal.open().record_many(rows)
    assert len(Journal.open()) == 2


def test_many_rows_wait_where_the_journal_cannot_be_written(isolated: Path) -> None:
    isolated.mkdir()
    (isolated / "journal.sqlite3").write_text("this is no database, and quite long enough to say so " * 20)
    journal = Journal.open()
    with pytest.warns(JournalWarning, match="wait in memory"):
        journal.record_many([entry() for _ in range(100)])
    (isolated / "journal.sqlite3").unlink()
    journal.close()  # writes what waits
    assert len(Journal.open()) == 100
