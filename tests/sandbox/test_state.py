"""What lasts: a sandbox that is stopped, killed or started twice loses no task, no file and no credit."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from beatra_nb import sandbox
from beatra_nb.core.errors import InvalidInput, SandboxUnavailable
from beatra_nb.core.settings import sandbox_home
from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.state import instances, retention, tasks
from beatra_nb.sandbox.state.desk import FILES, Desk
from tests.sandbox.conftest import chat, client_of
from tests.sandbox.jobs import adds_up, order, over, post, task, until, wait_for
from tests.sandbox.test_lifecycle import python
from tests.sandbox.test_tasks import alive

LONG = {"model_options": {"sandbox": {"seconds": 200, "seed": 3}}}


@contextmanager
def served(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A ``beatra-nb sandbox`` in a process of its own, and a client of it."""
    command = [
        sys.executable,
        "-m",
        "beatra_nb.cli",
        "sandbox",
        "--engine",
        "scripted",
        "--state",
        str(folder),
    ]
    with subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = ""
            while "Ctrl-C" not in told:
                line = process.stdout.readline()
                assert line
                told += line
            url = told.partition("BEATRA_BASE_URL=")[2].split()[0]
            key = told.partition("BEATRA_API_KEY=")[2].split()[0]
            with httpx.Client(
                base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=20
            ) as http:
                yield process, http
        finally:
            process.kill()


def workers_of(pid: int) -> list[int]:
    """The child processes of a process."""
    found = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True)
    return [int(each) for each in found.stdout.split()]


# --- where it is


def test_the_usual_folder_and_another_one(isolated: Path, tmp_path: Path) -> None:
    with sandbox.start(engine="scripted") as box, client_of(box) as http:
        assert box.state == sandbox_home() == isolated / "sandbox"
        assert not box.state.exists()  # chat needs none
        chat(http)
        http.get("/models")
        assert not box.state.exists()
        assert http.get("/tasks").json()["data"] == []
        assert box.state.exists()
    with sandbox.start(engine="scripted", state=str(tmp_path / "other")) as box:
        assert box.state == tmp_path / "other"


@pytest.mark.skipif(sys.platform == "win32", reason="modes differ")
def test_the_folder_is_its_owners_alone(studio: Sandbox, wire: httpx.Client) -> None:
    wire.get("/tasks")
    for folder in (studio.state, studio.state / FILES):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("wrong", [5, "", b"x\0", [], "x\0y", "\ud800", "~nobody-of-that-name/x"])
def test_folders_that_cannot_be(wrong: object) -> None:
    with pytest.raises((InvalidInput, TypeError)):
        sandbox.start(engine="scripted", state=wrong)  # type: ignore[arg-type]


def test_without_a_place_to_write_chat_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with sandbox.start(engine="scripted", state=tmp_path / "file" / "state") as box, client_of(box) as http:
        for answer in (
            post(http),
            http.get("/tasks"),
            http.post("/uploads", files={"file": b"x"}),
            http.post("/tasks/x/cancel"),
        ):
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], error["retryable"]) == (500, "internal_error", False)
            assert "cannot be written" in error["message"]
            assert "state=" in error["message"]
        assert http.get(box.base_url.removesuffix("/v1") + "/cdn/x/y").status_code == 404
        assert chat(http).status_code == 200
        with pytest.raises(SandboxUnavailable, match="cannot be written"):
            _ = box.balance


def test_a_damaged_state_is_told(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite3").write_bytes(b"no database at all, but long enough to look like one" * 50)
    with sandbox.start(engine="scripted", state=tmp_path) as box, client_of(box) as http:
        assert "damaged" in http.get("/tasks").json()["error"]["message"]
        assert chat(http).status_code == 200


def test_a_state_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with sandbox.start(engine="scripted", state=tmp_path) as box, client_of(box) as http:
        assert "later version" in http.get("/tasks").json()["error"]["message"]


def test_a_disk_that_fills_up_is_told_and_chat_goes_on(studio: Sandbox, wire: httpx.Client) -> None:
    wire.get("/tasks")
    # What a full disk says, from SQLite itself: the file may not grow any more.
    studio._ask(lambda db: db.execute("PRAGMA max_page_count = 1"))
    answers = [post(wire, prompt="x" * 9000) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {500}
    assert "full" in answers[0].json()["error"]["message"]
    assert studio.balance == 10_000
    assert chat(wire).status_code == 200


@pytest.mark.skipif(sys.platform == "win32", reason="no such limits")
def test_a_file_that_finds_no_room_leaves_nothing(tmp_path: Path) -> None:
    done = python(
        f"""
        import resource, httpx
        from beatra_nb import sandbox
        with sandbox.start(engine="scripted", state={str(tmp_path)!r}) as box:
            with httpx.Client(base_url=box.base_url, headers={{"Authorization": "Bearer " + box.api_key}},
                              trust_env=False, verify=False) as http:
                http.get("/tasks")
                resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
                answer = http.post("/uploads", files={{"file": b"x" * 5_000_000}})
                print(answer.status_code, "full" in answer.text, len(list((box.state / {FILES!r}).iterdir())))
                print(http.post("/uploads", files={{"file": b"x" * 5_000}}).status_code)
        """
    )
    assert (done.stdout, done.stderr) == ("500 True 0\n201\n", "")


def test_without_the_composers_packages_chat_goes_on(tmp_path: Path) -> None:
    done = python(
        f"""
        import sys
        from importlib.abc import MetaPathFinder
        class No(MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("numpy", "soundfile", "python_multipart", "multipart"):
                    raise ModuleNotFoundError(name=name)
        sys.meta_path.insert(0, No())
        import httpx
        from beatra_nb import sandbox
        with sandbox.start(engine="scripted", state={str(tmp_path)!r}) as box:
            with httpx.Client(base_url=box.base_url, headers={{"Authorization": "Bearer " + box.api_key}},
                              trust_env=False, verify=False) as http:
                music = http.post("/music/text-to-music", json={{"prompt": "x"}})
                upload = http.post("/uploads", files={{"file": b"x"}})
                said = [answer.json()["error"]["code"] for answer in (music, upload)]
                print(*said, "pip install" in music.text, "numpy and soundfile" in music.text)
                body = {{"model": "auto", "messages": [{{"role": "user", "content": "hi"}}]}}
                print(http.post("/chat/completions", json=body).status_code, http.get("/tasks").status_code)
        """
    )
    assert done.stderr == ""
    assert done.stdout == "unsupported_capability unsupported_capability True True\n200 200\n"


def test_composing_never_loads_numpy_into_the_kernel(tmp_path: Path) -> None:
    done = python(
        f"""
        import sys, httpx, time
        from beatra_nb import sandbox
        with sandbox.start(engine="scripted", state={str(tmp_path)!r}) as box:
            with httpx.Client(base_url=box.base_url, headers={{"Authorization": "Bearer " + box.api_key}},
                              trust_env=False, verify=False) as http:
                body = {{"prompt": "x", "model_options": {{"sandbox": {{"seconds": 2}}}}}}
                at = "/tasks/" + http.post("/music/text-to-music", json=body).json()["task_id"]
                while http.get(at).json()["status"] in ("queued", "running"):
                    time.sleep(0.05)
                print(http.get(at).json()["status"], "numpy" in sys.modules, "soundfile" in sys.modules)
        """
    )
    assert (done.stdout, done.stderr) == ("succeeded False False\n", "")


def test_a_worker_with_nothing_to_do_is_let_go(tmp_path: Path) -> None:
    from beatra_nb.sandbox.work.crew import Crew

    with (
        sandbox.start(engine="scripted", state=tmp_path, faults=True, music_workers=1) as box,
        client_of(box) as http,
    ):
        box.inject("task:stall")
        stalled, waiting = order(http), order(http)
        until(http, stalled, "running")
        desk = Desk(tmp_path, 0)
        crew = Crew(desk, 1, idle=0.0)  # a second one on the same folder, more impatient than usual
        crew.start()
        wait_for(lambda: bool(crew.pids))
        (pid,) = crew.pids
        assert over(http, waiting)["status"] == "succeeded"
        wait_for(lambda: not alive(pid))
        assert crew.pids == []
        crew.stop()
        desk.close()
        assert task(http, stalled)["status"] == "running"  # the first one's


def test_the_command_line_sets_folder_and_wallet(tmp_path: Path) -> None:
    with served(tmp_path, "--credits", "30", "--refill", "100.5") as (process, http):
        assert post(http).status_code == 202
        assert post(http).status_code == 202
        assert post(http).status_code == 402
        process.terminate()
        assert process.wait(10) == 0
    with sandbox.start(engine="scripted", state=tmp_path) as box:
        assert adds_up(box) == Decimal("30.5")
        assert [row.kind for row in box.wallet()] == ["opening", "refill", "charge", "charge"]


@pytest.mark.parametrize(
    "wrong", [["--credits", "x"], ["--refill", "-1"], ["--music-workers", "0"], ["--refill", "nan"]]
)
def test_the_command_line_refuses(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from beatra_nb.cli import main

    with pytest.raises(SystemExit) as caught:
        main(["sandbox", *wrong])
    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err


# --- stopped, killed, started again


def test_a_sandbox_that_is_started_again_knows_everything(tmp_path: Path) -> None:
    with sandbox.start(engine="scripted", state=tmp_path, music_workers=1) as box, client_of(box) as http:
        done = over(http, order(http))
        running, queued = order(http, **LONG), order(http)
        gone = order(http)
        http.post(f"/tasks/{gone}/cancel")
        wait_for(lambda: task(http, running)["progress"]["percent"] > 0)
        reached = task(http, running)["progress"]["percent"]
    with sandbox.start(engine="scripted", state=tmp_path, music_workers=1) as box, client_of(box) as http:
        again = task(http, done["task_id"])
        before, now = (
            done["output"]["clips"][0].pop("audio_url"),
            again["output"]["clips"][0].pop("audio_url"),
        )
        assert again == done
        assert before != now  # another port
        assert before.split("/cdn/")[1] == now.split("/cdn/")[1]
        assert httpx.get(now, trust_env=False).status_code == 200
        assert task(http, gone)["status"] == "canceled"
        assert task(http, running)["progress"]["percent"] >= reached
        http.post(f"/tasks/{running}/cancel")
        assert over(http, queued)["status"] == "succeeded"
        assert adds_up(box) == 10_000 - 2 * 50


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_a_sandbox_that_is_killed_in_mid_work_goes_on(tmp_path: Path) -> None:
    with served(tmp_path, "--music-workers", "1") as (process, http):
        running, queued = order(http, "k", **LONG), order(http)
        wait_for(lambda: task(http, running)["progress"]["percent"] > 0)
        (worker,) = workers_of(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: not alive(worker))  # it has seen the end of its input
    with sandbox.start(engine="scripted", state=tmp_path, music_workers=1) as box, client_of(box) as http:
        assert post(http, "k", **LONG).json()["task_id"] == running
        until(http, running, "running")
        http.post(f"/tasks/{running}/cancel")
        assert over(http, queued)["status"] == "succeeded"
        assert adds_up(box) == 10_000 - 50
        assert [row.kind for row in box.wallet()].count("charge") == 2
        wait_for(
            lambda: len(list((tmp_path / FILES).iterdir())) == 1
        )  # the clip, and nothing of what was killed


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_another_sandbox_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    with served(tmp_path, "--music-workers", "1") as (process, http):
        first = order(http, **LONG)
        until(http, first, "running")
        with (
            sandbox.start(engine="scripted", state=tmp_path, music_workers=1) as box,
            client_of(box) as other,
        ):
            assert task(other, first)["status"] == "running"
            process.send_signal(signal.SIGKILL)
            process.wait()
            wait_for(lambda: bool(box._server.studio.crew.pids))
            assert task(other, first)["status"] == "running"
            # Cancelled through the one that works; and one more through the one that does not.
            assert other.post(f"/tasks/{first}/cancel").json()["status"] == "canceled"
            assert adds_up(box) == 10_000


def test_a_cancel_through_another_sandbox_stops_the_work(tmp_path: Path) -> None:
    with sandbox.start(engine="scripted", state=tmp_path, music_workers=1) as one, client_of(one) as http:
        task_id = order(http, **LONG)
        wait_for(lambda: task(http, task_id)["progress"]["percent"] > 0)
        (worker,) = one._server.studio.crew.pids
        with (
            sandbox.start(engine="scripted", state=tmp_path, music_workers=1) as two,
            client_of(two) as other,
        ):
            assert other.post(f"/tasks/{task_id}/cancel").json()["status"] == "canceled"
            wait_for(lambda: not alive(worker))
            assert adds_up(two) == 10_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_leaves_the_parents_state_alone(tmp_path: Path) -> None:
    done = python(
        f"""
        import os, sys, time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork with threads: that is the test
        import httpx
        from beatra_nb import sandbox
        from beatra_nb.core.errors import SandboxUnavailable
        box = sandbox.start(engine="scripted", state={str(tmp_path)!r}, music_workers=1)
        http = httpx.Client(base_url=box.base_url, headers={{"Authorization": "Bearer " + box.api_key}},
                            trust_env=False, verify=False, timeout=30)
        body = {{"prompt": "x", "model_options": {{"sandbox": {{"seconds": 60}}}}}}
        at = "/tasks/" + http.post("/music/text-to-music", json=body).json()["task_id"]
        while not http.get(at).json()["progress"]["percent"]:
            time.sleep(0.02)
        pid = os.fork()
        if pid == 0:
            try:
                box.balance
            except SandboxUnavailable:
                with sandbox.start(engine="scripted", state={str(tmp_path)!r}) as mine:
                    assert mine.tasks["running"] == 1  # the parent's, which lives
                box.stop()  # not the child's to stop
                sys.stdout.flush()
                os._exit(0)
            os._exit(1)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert http.get(at).json()["status"] == "running"
        assert http.post(at + "/cancel").json()["status"] == "canceled"
        print(box.balance)
        http.close()
        box.stop()
        """
    )
    assert (done.stdout, done.stderr, done.returncode) == ("10000\n", "", 0)


# --- who is gone


def test_a_beat_that_stands_still_is_a_sandbox_that_is_gone(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 1000_000)
    clock = [0.0]
    watch = instances.Watch("me", clock=lambda: clock[0])

    def elsewhere(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO instances VALUES ('other', 1, 'another machine', 0)")
        db.execute(
            "INSERT INTO tasks (id, status, capability, model, resolved_model, metadata, input, spec, warnings, "
            "characters, charged, created, owner) VALUES ('t', 'running', 'c', 'm', 'm', '{}', '{}', '{}', '[]', "
            "0, 0, 1, 'other')"
        )

    desk.now(elsewhere)
    for _ in range(5):  # it moves
        assert desk.now(watch.look) == 0
        clock[0] += instances.LEASE
        desk.now(instances.beat, "other")
    assert desk.now(watch.look) == 0
    clock[0] += instances.LEASE - 1
    assert desk.now(watch.look) == 0
    clock[0] += 2
    assert desk.now(watch.look) == 1
    assert desk.now(tasks.get, "t").status == "queued"
    # Who comes back finds that it lost its task, and may not end it.
    assert not desk.now(tasks.advance, "t", "other", 50, "x", "x")
    assert not desk.now(tasks.fail, "t", "other", {})
    job = desk.now(instances.claim, "me")
    assert job is not None
    assert job.id == "t"
    assert desk.now(instances.claim, "me") is None
    desk.now(instances.leave, "me")
    desk.close()


def test_a_task_that_takes_its_sandbox_down_again_and_again_fails(tmp_path: Path) -> None:
    with (
        sandbox.start(engine="scripted", state=tmp_path, faults=True, music_workers=1) as box,
        client_of(box) as http,
    ):
        box.inject("task:stall")
        task_id = order(http)
    desk = Desk(tmp_path, 0)
    for number in range(tasks.MAX_ATTEMPTS):
        assert desk.now(instances.claim, f"box {number}") is not None
        desk.now(instances.leave, f"box {number}")  # as a watcher does for one that is gone
    desk.close()
    with sandbox.start(engine="scripted", state=tmp_path) as box, client_of(box) as http:
        failed = task(http, task_id)
        assert (failed["status"], failed["error"]["retryable"]) == ("failed", True)
        assert adds_up(box) == 10_000


# --- what is not kept for ever


def test_old_files_expire_and_say_so(tmp_path: Path) -> None:
    with sandbox.start(engine="scripted", state=tmp_path, music_workers=1) as box, client_of(box) as http:
        done = over(http, order(http))
        old = http.post("/uploads", files={"file": ("a.mp3", b"x" * 1000)}).json()
        new = http.post("/uploads", files={"file": ("b.mp3", b"y" * 1000)}).json()
        wanted = http.post("/uploads", files={"file": ("c.mp3", b"z" * 1000)}).json()
    desk = Desk(tmp_path, 0)
    desk.now(
        lambda db: db.execute(
            "UPDATE artifacts SET created = created - ? WHERE id != ?",
            (31 * 24 * 3600 * 1_000_000, new["artifact_id"]),
        )
    )
    # A task that waits keeps what it refers to.
    desk.now(
        lambda db: db.execute("UPDATE tasks SET status = 'queued', reference = ?", (wanted["artifact_id"],))
    )
    left = tmp_path / FILES / "upload.0123456789abcdef.part"
    left.write_bytes(b"of a sandbox that was killed")
    os.utime(left, (time.time() - 7200,) * 2)
    fresh = tmp_path / FILES / "upload.456789abcdef0123.part"
    fresh.write_bytes(b"of one that lives")
    desk.now(retention.tidy, desk.files)
    desk.now(lambda db: db.execute("UPDATE tasks SET status = 'succeeded'"))
    desk.close()
    assert (desk.files / f"{wanted['artifact_id']}.upload").exists()
    assert not left.exists()
    assert fresh.exists()
    with sandbox.start(engine="scripted", state=tmp_path) as box, client_of(box) as http:
        origin = box.base_url.removesuffix("/v1") + "/cdn/"

        def get(url: str) -> httpx.Response:
            return httpx.get(origin + url.split("/cdn/")[1], trust_env=False)

        assert get(new["url"]).content == b"y" * 1000
        for url in (old["url"], done["output"]["clips"][0]["audio_url"]):
            answer = get(url)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], error["retryable"]) == (410, "expired", False)
            assert "expired" in error["message"]
        body = {"prompt": "x", "reference_audio": {"artifact_id": old["artifact_id"]}}
        answer = http.post("/music/reference-audio-to-music", json=body)
        assert "expired" in answer.json()["error"]["message"]
        assert task(http, done["task_id"])["output"]["clips"]  # the task itself stays
    # The start tidied up too: nothing waits for the last one any more.
    left_over = sorted(path.name for path in desk.files.iterdir())
    assert left_over == sorted([f"{new['artifact_id']}.upload", fresh.name])


def test_the_newest_files_stay_within_the_room_there_is(tmp_path: Path) -> None:
    with sandbox.start(engine="scripted", state=tmp_path) as box, client_of(box) as http:
        ids = [
            http.post("/uploads", files={"file": ("a", bytes([number]) * 1000)}).json()["artifact_id"]
            for number in range(5)
        ]
    desk = Desk(tmp_path, 0)
    desk.now(retention.tidy, desk.files, keep_bytes=3500)
    desk.close()
    assert sorted(path.stem for path in (tmp_path / FILES).iterdir()) == ids[2:]


def test_a_file_that_somebody_removed_has_expired_too(studio: Sandbox, wire: httpx.Client) -> None:
    body = wire.post("/uploads", files={"file": ("a", b"x")}).json()
    (studio.state / FILES / f"{body['artifact_id']}.upload").unlink()
    assert httpx.get(body["url"], trust_env=False).status_code == 410
