"""Interrupting music, uploads and tasks for real: SIGINT to a kernel and to a script.

The call is held at a chosen moment by a gate; the signal comes; then what counts is the clock, what the interrupt
says, and that the job lives on, is found, and is paid once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.state.desk import FILES
from tests.core.sounds import wav_header
from tests.gate import Gate
from tests.test_interrupts import Kernel, wait_for
from tests.test_task_faults import Count

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

PRICE = Decimal(50)
SHORT = {"model": "minimax-music-2.6", "model_options": {"sandbox": {"seconds": 2}}}
MUSIC = f"bn.music('slow blues', **{SHORT!r})"
INTO = 0.15  # how long the call has been held when the signal comes

TRY = """
    import json, time
    import beatra_nb as bn
    bn.connect(base_url={url!r})
    {before}
    print("ready", flush=True)
    try:
        {call}
    except BaseException as stop:
        ended = time.monotonic()
        task = getattr(stop, "task", None)
        print(json.dumps({{
            "ended": ended,
            "kind": [each.__name__ for each in type(stop).__mro__],
            "message": str(stop),
            "hint": getattr(stop, "hint", None),
            "task": task and [type(task).__name__, task.id, task.status],
            "key": getattr(stop, "idempotency_key", None),
            "rows": [[each.verb, each.status, each.idempotency_key] for each in bn.journal()],
        }}))
"""


@dataclass
class Hold:
    """Holds one request at its moment until the test is over."""

    reached: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        self.reached.set()
        self.over.wait(30)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox of the test's own."""
    with bn.sandbox.start(engine="scripted", faults=True, state=tmp_path / "state") as sandbox:
        (sandbox.state / FILES).mkdir(parents=True, exist_ok=True)
        yield sandbox


@contextlib.contextmanager
def held(box: Sandbox, method: str, path: str, moment: str, nth: int = 1) -> Iterator[tuple[str, Hold]]:
    """A gate before a sandbox that holds one request; gives the base URL, and what tells when it is held."""
    hold = Hold()
    with Gate(int(box.base_url.split(":")[2].split("/")[0]), method, path, nth, moment, hold) as gate:
        try:
            yield f"http://127.0.0.1:{gate.port}/v1", hold
        finally:
            hold.over.set()


Interrupt = Callable[[str, threading.Event], dict[str, Any]]


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """One kernel for all tests, as a notebook uses it."""
    with bn.sandbox.start(engine="scripted") as any_box:  # each cell connects by itself
        kernel = Kernel(any_box)
    kernel.run("import beatra_nb as bn")
    yield kernel
    kernel.stop()


@pytest.fixture(params=["kernel", "script"])
def interrupt(request: pytest.FixtureRequest, box: Sandbox, isolated: Path) -> Interrupt:
    """Runs code in a kernel or a script, interrupts it when it is held, and returns what it told."""
    environment = {"BEATRA_API_KEY": box.api_key, "BEATRA_HOME": str(isolated)}

    def in_script(code: str, reached: threading.Event) -> dict[str, Any]:
        with subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                at = signalled(reached, lambda: process.send_signal(signal.SIGINT))
                out, err = process.communicate(timeout=30)
            finally:
                process.kill()
        assert out.count("\n") == 2, err
        return {**json.loads(out.splitlines()[-1]), "at": at}

    def in_kernel(code: str, reached: threading.Event) -> dict[str, Any]:
        kernel: Kernel = request.getfixturevalue("kernel")
        kernel.run(f"import os; os.environ.update({environment!r})")
        cell = kernel.begin(code)
        at = signalled(reached, kernel.manager.interrupt_kernel)
        shown, reply = kernel.end(cell)
        assert reply["status"] == "ok", shown
        line = next(line for line in shown.splitlines() if line.startswith('{"ended"'))
        return {**json.loads(line), "at": at}

    return in_kernel if request.param == "kernel" else in_script


def signalled(reached: threading.Event, send: Callable[[], object]) -> float:
    assert reached.wait(30), "waited in vain for the call to be held"
    time.sleep(INTO)
    at = time.monotonic()
    send()
    return at


def check(told: dict[str, Any], verb: str) -> None:
    """It was back in time, it is an interrupt of ours, and the journal tells of it."""
    assert told["ended"] - told["at"] < 1
    assert "Interrupted" in told["kind"]
    assert "KeyboardInterrupt" in told["kind"]
    assert told["message"] != "Interrupted.", "it says what goes on"
    assert told["hint"]
    assert next(row[0] for row in told["rows"] if row[1] == "interrupted") == verb


def audio(home: Path) -> list[bytes]:
    folder = home / "audio"
    return [path.read_bytes() for path in folder.iterdir()] if folder.exists() else []


def finish(box: Sandbox, url: str, home: Path, key: str | None, ident: str | None = None) -> None:
    """Come back, as in another kernel: the one job is found and finished, and was paid once."""
    with bn.Client(box.api_key, base_url=url) as client:
        [task] = client.pending()
        assert key in (None, task.idempotency_key)
        assert ident in (None, task.id)
        [task] = client.pending().wait(60)
        assert task.status == "succeeded"
        assert audio(home) == [task.clips[0].data], "what is kept is whole, and nothing lies beside it"
        assert not client.pending()
    assert Count.of(box).balance == 10_000 - PRICE
    assert (Count.of(box).tasks, Count.of(box).charges) == (1, 1)


@pytest.mark.parametrize("moment", ["before", "after", "amid"])
def test_while_creating(box: Sandbox, isolated: Path, interrupt: Interrupt, moment: str) -> None:
    with held(box, "POST", "/v1/music", moment) as (url, hold):
        told = interrupt(code(MUSIC, url), hold.reached)
        check(told, "music")
        assert told["task"] is None, "nobody knows it yet"
        assert "bn.pending()" in told["hint"]
        assert told["key"]
        assert told["rows"][0][2] == told["key"]
        assert Count.of(box).tasks == (0 if moment == "before" else 1)
        finish(box, url, isolated, told["key"])


@pytest.mark.parametrize("moment", ["before", "amid"])
def test_while_polling(box: Sandbox, isolated: Path, interrupt: Interrupt, moment: str) -> None:
    with held(box, "GET", "/v1/tasks/", moment) as (url, hold):
        told = interrupt(code(MUSIC, url), hold.reached)
        check(told, "wait")
        name, ident, status = told["task"]
        assert (name, status in ("queued", "running")) == ("Task", True)
        assert "the task goes on" in told["message"]
        assert f"bn.task({ident!r}).wait()" in told["hint"]
        assert ".cancel()" in told["hint"]
        finish(box, url, isolated, told["key"], ident)


def test_while_pausing_between_two_polls(box: Sandbox, isolated: Path, interrupt: Interrupt) -> None:
    box.inject("task:stall")
    reached = threading.Event()

    def watch() -> None:
        wait_for(lambda: sum(each.method == "GET" for each in box.seen) > 1, "two polls")
        reached.set()

    threading.Thread(target=watch).start()
    told = interrupt(code(MUSIC, box.base_url), reached)
    check(told, "wait")
    _, ident, status = told["task"]
    assert status == "running"
    asked = len(box.seen)
    with bn.Client(box.api_key, base_url=box.base_url) as client:
        [task] = client.pending()
        assert (task.id, task.status, task.idempotency_key) == (ident, "running", told["key"])
        assert len(box.seen) == asked + 1
        task.cancel()
    assert Count.of(box) == Count(1, 1, 1, 0, Decimal(10_000))


@pytest.mark.parametrize(
    ("call", "moment"),
    [("music", "before"), ("music", "amid"), ("task", "amid"), ("audio", "amid"), ("save", "amid")],
)
def test_while_fetching(
    box: Sandbox, isolated: Path, interrupt: Interrupt, tmp_path: Path, call: str, moment: str
) -> None:
    with held(box, "GET", "/cdn/", moment) as (url, hold):
        begun = f"task = {MUSIC[:-1]}, embed=False)"
        told = interrupt(
            code(
                {
                    "music": MUSIC,
                    "task": "bn.task(task.id)",
                    "audio": "task.clips[0].audio()",
                    "save": f"task.clips[0].save({str(tmp_path / 'song.mp3')!r})",
                }[call],
                url,
                "" if call == "music" else begun.replace("embed=False", "wait=False") + "; wait_for(task)",
            ),
            hold.reached,
        )
        check(told, "download")
        _, ident, status = told["task"]
        assert status == "succeeded"
        assert f"bn.task({ident!r})" in told["hint"]
        assert audio(isolated) == [], "nothing half stays"
        assert not (tmp_path / "song.mp3").exists()
        # Whoever comes by the id alone does not know the key.
        finish(box, url, isolated, None if call == "task" else told["key"], ident)


@pytest.mark.parametrize("call", ["cancel", "refresh", "pending"])
def test_while_asking(box: Sandbox, interrupt: Interrupt, call: str) -> None:
    """What came of it is not known; asked again, it is as if nothing had been."""
    method, path = {
        "cancel": ("POST", "/cancel"),
        "refresh": ("GET", "/v1/tasks/"),
        "pending": ("GET", "/v1/tasks/"),
    }[call]
    box.inject("task:stall")
    with held(box, method, path, "after") as (url, hold):
        begun = f"task = {MUSIC[:-1]}, wait=False)"
        what = "bn.pending()" if call == "pending" else f"task.{call}()"
        told = interrupt(code(what, url, begun), hold.reached)
        check(told, "cancel" if call == "cancel" else "task")
        assert f"{call}()" in told["hint"]
        assert (told["task"] is None) is (call == "pending")
        with bn.Client(box.api_key, base_url=url) as client:
            for task in client.pending():
                task.cancel()
            assert not client.pending()
    assert Count.of(box) == Count(1, 1, 1, 0, Decimal(10_000)), "refunded once"


# ── uploading ──


@pytest.fixture
def long_song(tmp_path: Path) -> Path:
    """A file that no connection takes at once: 40 MB of silence."""
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(wav_header(40_000_000))
        file.truncate(40_000_044)
    return path


@contextlib.contextmanager
def deaf() -> Iterator[tuple[str, threading.Event]]:
    """A server that takes in the beginning of a request, and then no more."""
    reached, over = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    reached.set()
                    over.wait(30)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", reached
        over.set()


@pytest.mark.parametrize("call", ["upload", "music"])
def test_while_sending_a_file(box: Sandbox, interrupt: Interrupt, long_song: Path, call: str) -> None:
    what = f"bn.upload({str(long_song)!r})"
    if call == "music":
        what = f"bn.music('so', reference={str(long_song)!r})"
    with deaf() as (url, reached):
        told = interrupt(code(what, url), reached)
        check(told, "upload")
        assert told["task"] is None
        assert told["key"]
        with bn.Client(box.api_key, base_url=url) as client:
            pending = client.pending()
            assert (len(pending), len(pending.lost)) == (0, 0), "no job was begun"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_while_waiting_for_the_artifact(
    box: Sandbox, isolated: Path, interrupt: Interrupt, tmp_path: Path, moment: str
) -> None:
    path = tmp_path / "riff.wav"
    path.write_bytes(wav_header(100_000) + bytes(100_000))
    with held(box, "POST", "/v1/uploads", moment) as (url, hold):
        told = interrupt(code(f"bn.upload({str(path)!r})", url), hold.reached)
        check(told, "upload")
        assert Count.of(box).files == (0 if moment == "before" else 1)
        with bn.Client(box.api_key, base_url=url) as client:
            artifact = client.upload(path, idempotency_key=told["key"])
            assert not artifact.reused
            assert client.upload(path).id == artifact.id
        assert Count.of(box).files == 1, "the same key, the same artifact"


# ── the same, awaited: cancellation ──


@pytest.mark.parametrize(
    ("method", "path", "moment"),
    [
        ("POST", "/v1/music", "after"),
        ("GET", "/v1/tasks/", "before"),
        ("GET", "/cdn/", "amid"),
    ],
)
async def test_a_coroutine_that_is_cancelled(
    box: Sandbox, isolated: Path, method: str, path: str, moment: str
) -> None:
    with held(box, method, path, moment) as (url, hold):
        async with bn.AsyncClient(box.api_key, base_url=url) as client:
            work = asyncio.create_task(client.music("slow blues", **SHORT))
            await asyncio.to_thread(hold.reached.wait, 30)
            await asyncio.sleep(INTO)
            at = time.monotonic()
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            assert time.monotonic() - at < 1
            assert bn.journal()[0].status == "interrupted"
            assert audio(isolated) == []
        key = next(each.idempotency_key for each in bn.journal() if each.verb == "music")
        await asyncio.to_thread(finish, box, url, isolated, key)


def code(call: str, url: str, before: str = "") -> str:
    """A cell that makes a call and tells how it was stopped."""
    if "wait_for(task)" in before:
        loop = "while not task.refresh().done: time.sleep(0.05)"
        before = before.replace("; wait_for(task)", "\n    " + loop)
    return textwrap.dedent(TRY.format(call=call, url=url, before=before))
