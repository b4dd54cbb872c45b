"""Jobs and uploads on disk: what must survive the death of a kernel."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.core.errors import BeatraError
from beatra_nb.store import jobs as jobs_module
from beatra_nb.store import journal as module
from beatra_nb.store.database import BUSY
from beatra_nb.store.jobs import DAY, Job, Jobs, Upload
from beatra_nb.store.journal import Journal, JournalWarning
from beatra_nb.store.migrations import MIGRATIONS, migrate, version

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
HERE = "https://api.example.com/v1"


@pytest.fixture
def jobs() -> Jobs:
    return Journal.open().jobs


def begin(jobs: Jobs, key: str = "k", place: str = HERE, *, started: float = NOON, **more: Any) -> bool:
    said = {
        "verb": "music",
        "path": "/music/text-to-music",
        "fingerprint": "f",
        "model": "auto",
        "title": "T",
    }
    return jobs.begin(place, key, started=started, body=more.pop("body", b'{"prompt":"x"}'), **said | more)


def on_disk(name: str = "jobs") -> list[dict[str, Any]]:
    with closing(sqlite3.connect(Journal.open().path)) as file:
        file.row_factory = sqlite3.Row
        return [dict(row) for row in file.execute(f"SELECT * FROM {name} ORDER BY id")]


# ── a job's life ──


def test_a_job_is_written_whole(jobs: Jobs) -> None:
    assert begin(jobs)
    assert jobs.unfinished(HERE) == [
        Job(
            "k",
            HERE,
            datetime.fromtimestamp(NOON, UTC),
            "music",
            "/music/text-to-music",
            b'{"prompt":"x"}',
            "f",
            "auto",
            "T",
            None,
            "sending",
        )
    ]
    assert jobs.find(HERE, "k") == jobs.unfinished(HERE)[0] == jobs.latest(HERE, "f")


def test_what_is_private_goes_when_the_task_is_known(jobs: Jobs) -> None:
    begin(jobs)
    jobs.attach(HERE, "k", "task_1")
    (job,) = jobs.unfinished(HERE)
    assert (job.task_id, job.status, job.body, job.title) == ("task_1", "open", None, "")


def test_nothing_private_lingers_in_any_file(jobs: Jobs, isolated: Path) -> None:
    begin(jobs, body=b"secret plans", title="Secret title")
    begin(jobs, "other", body=b"kept plans")
    assert any(b"secret plans" in path.read_bytes() for path in isolated.iterdir())
    jobs.attach(HERE, "k", "task_1")
    for path in isolated.iterdir():
        assert b"secret plans" not in path.read_bytes(), path.name
        assert b"Secret title" not in path.read_bytes(), path.name
    assert any(b"kept plans" in path.read_bytes() for path in isolated.iterdir()), "it may be needed again"


def test_what_can_never_be_sent_again_is_wiped_when_the_next_begins(jobs: Jobs) -> None:
    begin(jobs, "old")
    begin(jobs, "young", started=NOON + 3600)
    begin(jobs, "new", started=NOON + DAY + 1)
    assert [(row["key"], row["status"], row["body"] is None) for row in on_disk()] == [
        ("old", "sending", True),
        ("young", "sending", False),
        ("new", "sending", False),
    ]


def test_a_refusal_here_does_not_lose_what_became_a_task_elsewhere(jobs: Jobs) -> None:
    begin(jobs)
    jobs.attach(HERE, "k", "task_1")
    jobs.close(HERE, "k", "refused")
    assert [(job.task_id, job.status) for job in jobs.unfinished(HERE)] == [("task_1", "open")]


@pytest.mark.parametrize("status", ["refused", "lost"])
def test_a_job_that_is_closed_is_private_too(jobs: Jobs, status: str) -> None:
    begin(jobs)
    jobs.close(HERE, "k", status)
    assert (jobs.unfinished(HERE), jobs.latest(HERE, "f")) == ([], None)
    (row,) = on_disk()
    assert (row["status"], row["body"], row["title"]) == (status, None, None)


def test_a_job_that_is_delivered_is_finished(jobs: Jobs) -> None:
    begin(jobs)
    jobs.attach(HERE, "k", "task_1")
    jobs.deliver(HERE, "task_1", 31.5)
    assert jobs.unfinished(HERE) == []
    jobs.attach(HERE, "k", "task_1")  # another kernel, a moment later
    assert jobs.unfinished(HERE) == []
    found = jobs.find(HERE, "k")
    assert found is not None
    assert (found.status, found.task_id) == ("delivered", "task_1")
    assert jobs.latest(HERE, "f") == found, "it can be attached to"


def test_begun_again_without_an_answer_it_is_as_old_as_it_was(jobs: Jobs) -> None:
    begin(jobs)
    begin(jobs, started=NOON + 3600, body=b"new")
    (job,) = jobs.unfinished(HERE)
    assert (job.started.timestamp(), job.body, job.status) == (NOON, b"new", "sending")


@pytest.mark.parametrize("end", ["refused", "lost", "open", "delivered"])
def test_begun_again_after_an_end_it_is_a_new_job(jobs: Jobs, end: str) -> None:
    begin(jobs)
    jobs.attach(HERE, "k", "task_1")
    if end == "delivered":
        jobs.deliver(HERE, "task_1", 5.0)
    elif end != "open":
        jobs.close(HERE, "k", end)
    begin(jobs, started=NOON + 90_000)
    (job,) = jobs.unfinished(HERE)
    assert (job.started.timestamp(), job.task_id, job.status, job.title) == (
        NOON + 90_000,
        None,
        "sending",
        "T",
    )
    jobs.attach(HERE, "k", "task_2")
    (job,) = jobs.unfinished(HERE)
    assert (job.task_id, job.status, len(on_disk())) == ("task_2", "open", 1)


def test_each_place_has_its_own(jobs: Jobs) -> None:
    begin(jobs)
    begin(jobs, place="sandbox")
    jobs.attach(HERE, "k", "task_1")
    jobs.attach("sandbox", "k", "task_1")
    jobs.deliver(HERE, "task_1", 9.0)
    assert (jobs.unfinished(HERE), len(jobs.unfinished("sandbox"))) == ([], 1)
    assert jobs.expected("sandbox", "auto") is None
    assert jobs.find("elsewhere", "k") is None
    assert jobs.latest("elsewhere", "f") is None
    assert (jobs.elsewhere(HERE), jobs.elsewhere("sandbox"), jobs.elsewhere("elsewhere")) == (1, 0, 1)


def test_the_newest_of_the_same_requests_is_found(jobs: Jobs) -> None:
    for key in ("a", "b", "c", "d"):
        begin(jobs, key)
    begin(jobs, "e", fingerprint="g")
    jobs.close(HERE, "d", "refused")
    found = jobs.latest(HERE, "f")
    assert found is not None
    assert found.key == "c"
    assert [job.key for job in jobs.unfinished(HERE)] == ["a", "b", "c", "e"]


def test_the_expected_time_is_the_median_of_the_last(jobs: Jobs) -> None:
    assert jobs.expected(HERE, "auto") is None
    for number in range(40):
        begin(jobs, str(number))
        jobs.attach(HERE, str(number), f"t{number}")
        jobs.deliver(HERE, f"t{number}", {39: None, 38: -5.0}.get(number, float(number)))
    assert jobs.expected(HERE, "auto") == 30.0, "of 23 to 37: what took no time is no measure"
    assert jobs.expected(HERE, "other") is None


@given(st.text(max_size=40), st.text(max_size=40), st.binary(max_size=40))
def test_any_text_can_be_kept(title: str, task_id: str, body: bytes) -> None:
    jobs = Journal.open().jobs
    key = f"k{len(on_disk()) if Journal.open().path.exists() else 0}"
    assert begin(jobs, key, title=title, body=body)
    found = jobs.find(HERE, key)
    assert found is not None
    assert found.body == body
    jobs.attach(HERE, key, task_id)


def test_what_is_hostile_is_kept_as_text(jobs: Jobs) -> None:
    begin(jobs, title="half \ud83d", model="m'); DROP TABLE jobs; --")
    jobs.attach(HERE, "k", "t" * 10_000)
    (row,) = on_disk()
    assert (len(row["task_id"]), row["model"]) == (4000, "m'); DROP TABLE jobs; --")


# ── claims ──


def claim(jobs: Jobs, key: str, place: str = HERE, fingerprint: str = "f") -> bool | None:
    said = {"verb": "music", "path": "/p", "fingerprint": fingerprint, "model": "auto", "title": "T"}
    return jobs.claim(place, key, started=NOON, body=b"x", **said)


def test_a_request_is_claimed_once(jobs: Jobs) -> None:
    assert [claim(jobs, "a"), claim(jobs, "b"), claim(jobs, "c")] == [True, False, False]
    assert claim(jobs, "d", fingerprint="g") is True, "another request is another job"
    assert claim(jobs, "e", place="sandbox") is True, "another place has its own"
    found = jobs.latest(HERE, "f")
    assert found is not None
    assert (found.key, found.status, found.body) == ("a", "sending", b"x")
    assert [row["key"] for row in on_disk()] == ["a", "d", "e"]


@pytest.mark.parametrize(
    ("status", "again"),
    [("open", False), ("delivered", False), ("refused", False), ("lost", True), ("over", True)],
)
def test_a_request_can_be_claimed_when_there_is_nothing_to_come_back_to(
    jobs: Jobs, status: str, again: bool
) -> None:
    claim(jobs, "a")
    jobs.attach(HERE, "a", "task_1")
    if status == "delivered":
        jobs.deliver(HERE, "task_1", 1.0)
    elif status != "open":
        jobs.close(HERE, "a", status)
    assert claim(jobs, "b") is again


CLAIM = """
import sys
from beatra_nb.store.journal import Journal
jobs = Journal.open(sys.argv[1]).jobs
sys.stdin.readline()
said = dict(verb="music", path="/p", model="auto", title="T")
for number in range(40):
    print(jobs.claim("here", f"{sys.argv[2]}-{number}", started=1e9, body=b"x", fingerprint=f"f{number}", **said))
"""


def test_of_many_processes_one_has_the_claim(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", CLAIM, path, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "abc"
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = [worker.communicate(timeout=30)[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 3
    assert [sorted(each) for each in zip(*said, strict=True)] == [["False", "False", "True"]] * 40


# ── refunds ──


def test_a_refund_is_news_once(jobs: Jobs) -> None:
    begin(jobs)
    jobs.attach(HERE, "k", "task_1")
    other = Journal(Journal.open().path)  # another kernel
    news = [
        each.settle(HERE, "task_1", Decimal(refunded))
        for refunded in ("10.5", "10.50", "80", "30")
        for each in (jobs, other.jobs)
    ]
    other.close()
    assert news == [Decimal("10.5"), 0, 0, 0, Decimal("69.5"), 0, 0, 0]
    assert jobs.settle("sandbox", "task_1", Decimal(80)) == 0, "another place's task is another"
    assert jobs.settle(HERE, "task_2", Decimal(80)) == 0, "it was not begun here"


SETTLE = """
import sys
from decimal import Decimal
from beatra_nb.store.journal import Journal
jobs = Journal.open(sys.argv[1]).jobs
sys.stdin.readline()
print(sum(jobs.settle("here", f"t{number}", Decimal(refunded)) for number in range(30) for refunded in (1, 3, 80)))
"""


def test_processes_that_see_a_refund_together_count_it_once(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.sqlite3")
    for number in range(30):
        begin(journal.jobs, f"k{number}", "here")
        journal.jobs.attach("here", f"k{number}", f"t{number}")
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SETTLE, journal.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = [Decimal(worker.communicate(timeout=30)[0]) for worker in workers]
    assert sum(said) == 30 * 80


# ── uploads ──


def keep(jobs: Jobs, ident: str = "art_1", place: str = HERE, **more: Any) -> None:
    said = {"sha256": "ab", "purpose": "media_input", "url": "u", "media_type": "audio/mpeg"} | more
    metadata = {"b": [1], "a": "é"}
    jobs.keep_upload(place, size=100, metadata=metadata, time=NOON, sandbox=False, artifact_id=ident, **said)


def test_uploads_are_found_by_place_and_size(jobs: Jobs) -> None:
    keep(jobs)
    keep(jobs, "art_2")
    keep(jobs, "art_3", "sandbox")
    one = Upload("ab", "media_input", {"a": "é", "b": [1]}, "art_1", "u", "audio/mpeg", sandbox=False)
    assert [upload.artifact_id for upload in jobs.uploaded(HERE, 100)] == ["art_2", "art_1"], "newest first"
    assert jobs.uploaded(HERE, 100)[1] == one
    assert jobs.uploaded(HERE, 101) == []
    jobs.forget_upload(HERE, "art_2")
    jobs.forget_upload("sandbox", "art_1")
    assert jobs.uploaded(HERE, 100) == [one]


def test_a_damaged_row_of_an_upload_costs_nothing(jobs: Jobs) -> None:
    keep(jobs)
    keep(jobs, "art_2")
    with closing(sqlite3.connect(Journal.open().path)) as file:
        file.execute("UPDATE uploads SET metadata = '{\"a' WHERE artifact_id = 'art_2'")
        file.commit()
    assert [upload.artifact_id for upload in jobs.uploaded(HERE, 100)] == ["art_1"]


# ── an older file ──


def old_file(path: Path, steps: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        migrate(file, MIGRATIONS[:steps])
        file.execute(
            "INSERT INTO calls (time, verb, status, request_id, credits) VALUES "
            "('2026-11-23T12:00:00+00:00', 'chat', 'ok', 'req_old', '0.25')"
        )
        assert version(file) == steps


def test_a_file_of_the_first_version_keeps_its_rows(isolated: Path) -> None:
    old_file(isolated / "journal.sqlite3")
    journal = Journal.open()
    assert [entry.request_id for entry in journal] == ["req_old"], "also before anything is written"
    assert journal.jobs.unfinished(HERE) == []
    assert begin(journal.jobs)
    assert len(journal.jobs.unfinished(HERE)) == 1
    (entry,) = journal
    assert (entry.verb, entry.request_id, str(entry.credits)) == ("chat", "req_old", "0.25")
    with closing(sqlite3.connect(journal.path)) as file:
        assert version(file) == len(MIGRATIONS)


def test_a_released_step_is_never_edited() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as file:
        migrate(file, MIGRATIONS[:1])
        columns = [row[1] for row in file.execute("PRAGMA table_info(calls)")]
        assert columns[:4] == ["id", "time", "verb", "status"]
        assert columns[-3:] == ["sandbox", "task_id", "process"]
        migrate(file)
        names = {row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"calls", "jobs", "uploads"} <= names


# ── many at once ──

WORK = """
import sys
from beatra_nb.store.journal import Journal
jobs = Journal.open(sys.argv[1]).jobs
said = dict(verb="music", path="/p", fingerprint="f", model="auto", title="T")
sys.stdin.readline()
for number in range(60):
    key = f"{sys.argv[2]}-{number}"
    jobs.begin("here", key, started=1e9, body=b"x", **said)
    jobs.begin("here", f"both-{number}", started=1e9, body=b"x", **said)
    jobs.attach("here", key, f"task-{key}")
    jobs.attach("here", f"both-{number}", f"task-both-{number}")
    jobs.deliver("here", f"task-{key}", 1.0)
Journal.open(sys.argv[1]).close()
"""


@pytest.mark.parametrize("old", [False, True], ids=["a new file", "an old file"])
def test_two_processes_do_not_get_in_each_other_s_way(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "journal.sqlite3"
    if old:
        old_file(path)
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WORK, path, name], stdin=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(30) == 0
    jobs = Journal.open(path).jobs
    unfinished = jobs.unfinished("here")
    assert [job.key for job in unfinished] == [f"both-{number}" for number in range(60)]
    assert all(job.status == "open" and job.body is None for job in unfinished)
    with closing(sqlite3.connect(path)) as file:
        counts = dict(file.execute("SELECT status, count(*) FROM jobs GROUP BY status").fetchall())
        assert counts == {"open": 60, "delivered": 120}
        assert file.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert file.execute("SELECT count(*) FROM calls").fetchone()[0] == old


# ── trouble ──


def test_a_job_waits_for_a_program_that_holds_the_journal(jobs: Jobs) -> None:
    begin(jobs, "first")
    journal = Journal.open()
    with closing(sqlite3.connect(journal.path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        end = threading.Timer(2 * BUSY, lambda: other.execute("ROLLBACK"))
        end.start()
        assert begin(jobs, "second"), "it was only busy"
        end.join()
        other.execute("BEGIN IMMEDIATE")
        end = threading.Timer(2 * BUSY, lambda: other.execute("ROLLBACK"))
        end.start()
        assert claim(jobs, "third", fingerprint="g") is True
        end.join()
    assert [row["key"] for row in on_disk()] == ["first", "second", "third"]


def test_what_could_not_be_written_is_written_later_in_order(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "PATIENCE", 0.0)
    begin(jobs, "first")
    journal = Journal.open()
    with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.warns(JournalWarning, match="locked"):
            assert not begin(jobs, "second"), "it says that it is not on disk"
        assert claim(jobs, "third", fingerprint="g") is None, "what cannot be written is claimed by nobody"
        jobs.attach(HERE, "second", "task_2")
        keep(jobs)
        assert [job.key for job in jobs.unfinished(HERE)] == ["first"], "readers go on beside a writer"
        other.execute("ROLLBACK")
    monkeypatch.setattr(module, "PAUSE", 0.0)
    monkeypatch.setattr(journal, "_paused_until", 0.0)
    assert [(job.key, job.status, job.task_id) for job in jobs.unfinished(HERE)] == [
        ("first", "sending", None),
        ("second", "open", "task_2"),
    ]
    assert len(jobs.uploaded(HERE, 100)) == 1


@pytest.mark.parametrize("content", [b"this is not a database " * 100, b"SQLite format 3\0" + b"\xff" * 9000])
def test_a_damaged_file_costs_no_call(isolated: Path, content: bytes) -> None:
    isolated.mkdir()
    (isolated / "journal.sqlite3").write_bytes(content)
    jobs = Journal.open().jobs
    with pytest.warns(JournalWarning, match="damaged"):
        assert not begin(jobs)
    assert claim(jobs, "c") is None
    assert jobs.settle(HERE, "t", Decimal(80)) == 0
    assert jobs.elsewhere(HERE) == 0
    jobs.attach(HERE, "k", "t")
    jobs.close(HERE, "k", "lost")
    jobs.deliver(HERE, "t", 1.0)
    keep(jobs)
    assert jobs.expected(HERE, "auto") is None
    assert jobs.uploaded(HERE, 100) == []
    for read in (lambda: jobs.find(HERE, "k"), lambda: jobs.latest(HERE, "f"), lambda: jobs.unfinished(HERE)):
        with pytest.raises(BeatraError, match="damaged"):
            read()  # what could be paid twice is never guessed
    assert (isolated / "journal.sqlite3").read_bytes() == content
    Journal.open()._waiting.clear()


READ_ONLY = """
import os, sys, warnings
import beatra_nb.store.jobs
from beatra_nb.store.journal import Journal
journal = Journal.open(sys.argv[1])
assert journal.jobs.unfinished("here")  # all that is imported late has been imported
journal.close()
os.setgid(65534)
os.setuid(65534)
said = dict(verb="music", path="/p", fingerprint="f", model="auto", title="T")
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    assert not journal.jobs.begin("here", "k2", started=1e9, body=b"x", **said)
    journal.jobs.attach("here", "k2", "t")
assert len(told) == 1 and "cannot write" in str(told[0].message), told
assert [job.key for job in journal.jobs.unfinished("here")] == ["k1"]
assert journal.jobs.expected("here", "auto") is None
journal._waiting.clear()
"""


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become somebody else"
)
def test_a_journal_that_may_only_be_read_costs_no_call() -> None:
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="beatra-nb-ro-"))
    try:
        path = folder / "journal.sqlite3"
        journal = Journal.open(path)
        begin(journal.jobs, "k1", "here")
        journal.close()
        os.chmod(path, 0o444)
        os.chmod(folder, 0o755)
        subprocess.run([sys.executable, "-c", READ_ONLY, path], check=True, timeout=30)
    finally:
        shutil.rmtree(folder)
