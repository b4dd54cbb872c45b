"""What must never happen: somebody's files gone, a kernel that hangs, a task that stands still for ever."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from beatra_nb import sandbox
from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox import studio as studio_module
from beatra_nb.sandbox.contract import new_id
from beatra_nb.sandbox.state import retention, tasks
from beatra_nb.sandbox.state.desk import FILES, Desk, StateTrouble
from beatra_nb.sandbox.state.sql import transaction
from beatra_nb.sandbox.state.tasks import NewTask
from beatra_nb.sandbox.work.crew import Crew
from tests.sandbox.conftest import chat, client_of
from tests.sandbox.jobs import wait_for
from tests.sandbox.test_lifecycle import python

FAULT = {"code": "model_unavailable", "message": "As asked.", "retryable": True}


def aged(path: Path) -> Path:
    """Let a file look as if nobody had touched it for two hours."""
    os.utime(path, (time.time() - 7200,) * 2)
    return path


def written(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"dear to somebody")
    return path


# --- other people's files


def test_a_project_that_has_files_of_its_own_keeps_them(tmp_path: Path) -> None:
    thesis = written(tmp_path / "files" / "thesis" / "chapter.txt")
    notes = written(tmp_path / "files" / "notes.md")
    for path in (thesis, notes, thesis.parent):
        aged(path)
    for _ in range(2):
        with sandbox.start(engine="scripted", state=tmp_path) as box, client_of(box) as http:
            assert http.get("/tasks").status_code == 200
    assert thesis.exists()
    assert notes.exists()


def test_only_what_the_sandbox_made_is_swept(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 0)
    desk.now(tasks.counts)
    attempt = f"{new_id('task_')}.01234567"
    ours = [f"{new_id('art_')}.upload", "upload.0123456789abcdef.part", f"{attempt}/1.mp3.part"]
    theirs = [
        "notes.md",
        "upload.part",
        "upload.0123456789abcdef.part.bak",
        "art_x.upload",
        f"{new_id('art_')}.upload/inside.txt",
        "task_list.2024/1.mp3",
        f"{new_id('task_')}.01234567/mine.txt",
        ".hidden",
    ]
    for name in [*ours, *theirs]:
        aged(written(desk.files / name))
    outside = aged(written(tmp_path / "outside" / "1.mp3"))
    if sys.platform != "win32":
        (desk.files / f"{new_id('task_')}.89abcdef").symlink_to(outside.parent)
    for path in desk.files.iterdir():
        if path.is_dir() and not path.is_symlink():
            aged(path)
    desk.now(retention.tidy, desk.files)
    desk.close()
    assert [name for name in theirs if not (desk.files / name).exists()] == []
    assert [name for name in [*ours, attempt] if (desk.files / name).exists()] == []
    assert outside.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="modes differ")
def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "class"
    shared.mkdir()
    shared.chmod(0o755)
    with sandbox.start(engine="scripted", state=shared) as box, client_of(box) as http:
        body = http.post("/uploads", files={"file": ("a.mp3", b"x")}).json()
        assert stat.S_IMODE(shared.stat().st_mode) == 0o755
        files = [path for path in shared.iterdir() if path.is_file()]
        assert {path.name for path in files} >= {"state.sqlite3", "state.sqlite3-wal"}
        files.append(shared / FILES / f"{body['artifact_id']}.upload")
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_files_are_tidied_while_a_sandbox_runs(
    studio: Sandbox, wire: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire.get("/tasks")
    left = aged(written(studio.state / FILES / "upload.0123456789abcdef.part"))
    wire.get("/tasks")
    studio.balance  # noqa: B018 - the state answers in turn: whatever the request began is done now
    assert left.exists()
    monkeypatch.setattr(studio_module, "TIDY_EVERY", 0.0)
    wire.get("/tasks")
    wait_for(lambda: not left.exists())


# --- chat, whatever the folder is


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000])
def test_a_folder_with_an_impossible_name_leaves_chat_alone(tmp_path: Path, name: str) -> None:
    with sandbox.start(engine="scripted", state=tmp_path / name) as box, client_of(box) as http:
        assert http.get("/tasks").json()["error"]["code"] == "internal_error"
        assert chat(http).status_code == 200


@pytest.mark.skipif(sys.platform == "win32", reason="modes differ")
def test_a_folder_that_cannot_be_entered_leaves_chat_alone(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0)
    done = python(
        f"""
        import os, httpx
        from beatra_nb import sandbox
        def asked(folder):
            with sandbox.start(engine="scripted", state=folder) as box:
                headers = {{"Authorization": "Bearer " + box.api_key}}
                body = {{"model": "auto", "messages": [{{"role": "user", "content": "hi"}}]}}
                with httpx.Client(base_url=box.base_url, headers=headers, trust_env=False, verify=False) as http:
                    print(http.post("/chat/completions", json=body).status_code, http.get("/tasks").status_code)
        asked({str(tmp_path / "before")!r})  # everything that is needed is loaded
        if os.geteuid() == 0:  # root may enter everything
            os.setegid(65534)
            os.seteuid(65534)
        asked({str(locked / "state")!r})
        """
    )
    locked.chmod(0o700)
    assert (done.stdout, done.stderr, done.returncode) == ("200 200\n200 500\n", "", 0)


def test_a_start_that_fails_leaves_no_thread_and_no_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object) -> None:
        raise OSError("no luck")

    monkeypatch.setattr(studio_module.Studio, "resume", broken)
    before = threading.active_count()
    with pytest.raises(OSError, match="no luck"):
        sandbox.start(engine="scripted", state=tmp_path)
    wait_for(lambda: threading.active_count() == before)


# --- forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_threads_that_fork_at_once_do_not_hang(tmp_path: Path) -> None:
    done = python(
        f"""
        import os, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads: that is the test
        from beatra_nb import sandbox
        from pathlib import Path
        from beatra_nb.sandbox.state.desk import Desk
        def forks(number):
            for turn in range(60):
                desk = Desk(Path({str(tmp_path / "more")!r}), 0)
                pid = os.fork()
                if pid == 0:
                    os._exit(0)
                os.waitpid(pid, 0)
                if turn % 20 == 0:
                    box.balance
                desk.close()
        with sandbox.start(engine="scripted", state={str(tmp_path / "one")!r}) as box:
            threads = [threading.Thread(target=forks, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(box.balance)
        """,
        timeout=60,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("10000\n", "", 0)


# --- the crew


def queued(desk: Desk) -> str:
    """Put a task into the queue that fails by itself, and needs no composer for it."""
    new = NewTask(
        id=new_id("task_"),
        capability="text_to_music",
        model="auto",
        resolved_model="sandbox-composer",
        title=None,
        metadata={},
        input={},
        spec={},
        cost=0,
        characters=0,
        fault=json.dumps(FAULT),
    )

    def create(db: sqlite3.Connection) -> None:
        with transaction(db):
            tasks.create(db, new)

    desk.now(create)
    return new.id


def status(desk: Desk, task_id: str) -> str:
    return desk.now(tasks.get, task_id).status


@contextmanager
def crewed(desk: Desk) -> Iterator[Crew]:
    crew = Crew(desk, 1)
    try:
        yield crew
    finally:
        crew.stop()
        desk.close()


class Forgetful(Desk):
    """A state that cannot keep the first task's end, just when the foreman has asked what is being worked on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 1000)
        self.asked, self.crew = threading.Event(), Crew.__new__(Crew)
        self.lost = 0

    def ask(self, work: Callable[..., Any], *args: Any, **more: Any) -> Future[Any]:
        """Ask as ever, but for the one moment."""
        if work is tasks.fail and not self.lost:
            assert self.asked.wait(20)
            self.lost += 1
            raise StateTrouble("The disk is full.", "Free some space.")
        answer = super().ask(work, *args, **more)
        if work is tasks.working and not self.lost and self.crew._active:
            answer.result()
            self.asked.set()
            wait_for(lambda: not self.crew._active)
        return answer


def test_an_end_that_is_lost_at_the_worst_moment_is_found_again(tmp_path: Path) -> None:
    desk = Forgetful(tmp_path)
    with crewed(desk) as crew:
        desk.crew = crew
        task_id = queued(desk)
        crew.start()
        wait_for(lambda: status(desk, task_id) == "failed", 20)
        assert desk.lost == 1


@pytest.mark.parametrize("stopped", [False, True])
def test_a_machine_without_threads_to_give_blocks_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    start, refused = threading.Thread.start, threading.Event()
    scarce = True

    def starting(thread: threading.Thread) -> None:
        if thread.name == "beatra-sandbox-job" and scarce:
            refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", starting)
    desk = Desk(tmp_path, 1000)
    with crewed(desk) as crew:
        task_id = queued(desk)
        crew.start()
        assert refused.wait(20)
        if stopped:
            crew.stop()
            assert status(desk, task_id) == "queued"
            return
        scarce = False
        wait_for(lambda: status(desk, task_id) == "failed", 20)


def test_a_state_without_a_thread_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, scarce = threading.Thread.start, True

    def starting(thread: threading.Thread) -> None:
        if thread.name == "beatra-sandbox-state" and scarce:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", starting)
    with sandbox.start(engine="scripted", state=tmp_path) as box, client_of(box) as http:
        error = http.get("/tasks").json()["error"]
        assert (error["code"], error["retryable"]) == ("internal_error", True)
        scarce = False
        assert http.get("/tasks").status_code == 200


def test_a_composer_is_told_nothing_of_the_users_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    from beatra_nb.sandbox.work.worker import Worker

    monkeypatch.setenv("BEATRA_API_KEY", "sk-secret-of-the-user")
    worker = Worker()
    try:
        environment = Path(f"/proc/{worker.pid}/environ")
        if not environment.exists():
            pytest.skip("no /proc here")
        wait_for(lambda: b"PATH=" in environment.read_bytes())
        assert b"BEATRA_" not in environment.read_bytes()
    finally:
        worker.close()


def test_injected_faults_can_be_cleared(studio: Sandbox, wire: httpx.Client) -> None:
    studio.inject("503", times=3)
    assert wire.get("/models").status_code == 503
    studio.clear()
    assert wire.get("/models").status_code == 200
