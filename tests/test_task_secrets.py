"""Music, uploads and tasks with a planted key and planted words: neither is anywhere it need not be.

The key is searched for everywhere. What was asked for (prompt, lyrics, title) may be in what its asker holds, and
must be gone from the journal's files, down to their free pages, as soon as the service has the job.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pickle
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbconvert
import nbformat
import pytest
from httpcore._backends.sync import SyncStream

import beatra_nb as bn
from beatra_nb.core import policy
from beatra_nb.sandbox import Sandbox
from beatra_nb.store.journal import Journal
from tests.core.sounds import wav_header
from tests.gate import Gate, _read_request
from tests.test_secrets import (
    PLANTED,
    TIMEOUTS,
    Stop,
    clean,
    clean_home,
    clean_overheard,
    overheard,
    search,
    search_error,
)

Overheard = tuple[list[str], list[warnings.WarningMessage]]
__all__ = ["overheard"]  # a fixture

SHORT: dict[str, Any] = {"model": "minimax-music-2.6", "model_options": {"sandbox": {"seconds": 2}}}
WORDS = {
    "prompt": "Zebrafinch-ballad for Quentin",
    "lyrics": "[Verse]\nXylophone-rain on Wuthering-street",
    "title": "Nightjar-letters",
    "metadata": {"project": "Kestrel-campaign"},
}
PIECES = [b"Zebrafinch", b"Xylophone-rain", b"Wuthering", b"Nightjar", b"Kestrel"]
# Loggers of the client library, which write down addresses and headers; a file's name holds its title.
FOREIGN = ("INFO:httpx:", "DEBUG:httpcore.")
FAULTS = [
    "401",
    "402",
    "429:retryable=false",
    "html:200",
    "bad_json",
    "short_body",
    "reset:headers",
    "slow:0.6",
]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox whose key is the planted one."""
    state = tmp_path_factory.mktemp("state")
    with bn.sandbox.start(engine="scripted", faults=True, api_key=PLANTED, state=state) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses."""
    monkeypatch.setattr(policy, "BACKOFF_BASE", 0.005)


@pytest.fixture
def client(box: Sandbox) -> Iterator[bn.Client]:
    """A client with the planted key."""
    with bn.Client(PLANTED, base_url=box.base_url, timeout=TIMEOUTS, max_attempts=2) as client:
        yield client


def a_file() -> bytes:
    return wav_header(8000) + os.urandom(8000)


# ── the key ──


@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_no_key_in_what_comes_of_a_call(
    client: bn.Client, box: Sandbox, overheard: Overheard, isolated: Path, tmp_path: Path, fault: str
) -> None:
    song = client.music("slow blues", **SHORT)
    late = client.task(song.id, audio=False)
    box.inject("task:stall")
    stalled = client.music("for ever", wait=False, **SHORT)
    listing = client.tasks(limit=1)
    things: list[Any] = [song, song.clips[0], late, listing, client]
    verbs: dict[str, tuple[str, Callable[[], Any]]] = {
        "music": ("music", lambda: client.music("slow blues", wait=False, **SHORT)),
        "upload": ("uploads", lambda: client.upload(a_file())),
        "task": ("tasks", lambda: client.task(song.id)),
        "refresh": ("tasks", song.refresh),
        "tasks": ("tasks", client.tasks),
        "more": ("tasks", listing.more),
        "pending": ("tasks", client.pending),
        "wait": ("tasks", lambda: stalled.wait(0.3)),
        "audio": ("cdn", late.clips[0].audio),
        "cancel": ("cancel", stalled.cancel),
    }
    for file in (isolated / "audio").iterdir():
        file.unlink()  # so that it is fetched
    for name, (on, verb) in verbs.items():
        for _ in range(2 if fault else 0):
            box.inject(f"{fault};on={on}")
        try:
            things.append(verb())
        except bn.BeatraError as error:
            search_error(error, f"{name} under {fault}")
            clean(pickle.dumps(error), f"a pickled error of {name}")
        box.clear()
    for thing in things:
        search(thing, type(thing).__name__)
    search(bn.journal(), "the journal")
    search(bn.journal().support_bundle(song.request_id or ""), "a support bundle")
    clean_overheard(overheard)
    Journal.open().close()
    clean_home(isolated)
    for path in box.state.rglob("*"):
        if path.is_file():
            clean(path.read_bytes(), f"the sandbox's {path.name}")
    for pending in client.pending():
        pending.cancel()


@pytest.mark.parametrize("fault", ["", "401", "html:200", "reset:headers", "slow:0.6"])
async def test_no_key_in_what_comes_of_an_awaited_call(
    box: Sandbox, overheard: Overheard, isolated: Path, fault: str
) -> None:
    async with bn.AsyncClient(PLANTED, base_url=box.base_url, timeout=TIMEOUTS, max_attempts=2) as client:
        song = await client.music("slow blues", embed=False, **SHORT)
        verbs: dict[str, tuple[str, Callable[[], Any]]] = {
            "music": ("music", lambda: client.music("slow blues", wait=False, **SHORT)),
            "upload": ("uploads", lambda: client.upload(a_file())),
            "task": ("tasks", lambda: client.task(song.id, audio=False)),
            "audio": ("cdn", lambda: song.clips[0].audio()),
        }
        for name, (on, verb) in verbs.items():
            for _ in range(2 if fault else 0):
                box.inject(f"{fault};on={on}")
            try:
                search(await verb(), name)
            except bn.BeatraError as error:
                search_error(error, f"awaited {name} under {fault}")
            box.clear()
        search(client, "AsyncClient")
        clean_overheard(overheard)
        Journal.open().close()
        clean_home(isolated)
        for pending in await client.pending():
            await pending.cancel()


class Recorder:
    """A server that keeps every byte it is sent, and answers one of three things."""

    def __init__(self, *answers: bytes) -> None:
        self.heard: list[bytes] = []
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for answer in self._answers:
            with contextlib.suppress(OSError):
                connection, _ = self._listener.accept()
                with connection:
                    self.heard.append(_read_request(connection))
                    connection.sendall(answer)
        self._listener.close()


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("where", ["at once", "by a redirect"])
async def test_the_host_of_a_clip_is_never_told_the_key(box: Sandbox, where: str, kind: str) -> None:
    data = b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\xff\xfb\x90d" + bytes(5000)
    audio = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(data), data)
    stranger = Recorder(audio)
    if where == "by a redirect":
        moved = (
            b"HTTP/1.1 302 Found\r\nLocation: %s/song.mp3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        first = Recorder(moved % stranger.origin.encode())
    else:
        first = stranger
    wire = {
        "task_id": "task_1",
        "status": "succeeded",
        "output": {"clips": [{"artifact_id": "", "audio_url": f"{first.origin}/song.mp3"}]},
    }
    if kind == "async":
        async with bn.AsyncClient(PLANTED, base_url=box.base_url) as client:
            assert await bn.AsyncTask(client, wire).clips[0].audio() == data
    else:
        with bn.Client(PLANTED, base_url=box.base_url) as client:
            assert await asyncio.to_thread(bn.Task(client, wire).clips[0].audio) == data
    for server in {first, stranger}:
        [heard] = server.heard
        assert heard.startswith(b"GET /song.mp3")
        assert b"authorization" not in heard.lower()
        assert b"idempotency" not in heard.lower()
        clean(heard, "a request to the host of a clip")


def test_no_key_in_a_multipart_body(box: Sandbox, tmp_path: Path) -> None:
    created = b'{"artifact_id": "art_1"}'
    head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(created)
    server = Recorder(head + b"Connection: close\r\n\r\n" + created)
    (tmp_path / "riff.wav").write_bytes(a_file())
    with bn.Client(PLANTED, base_url=f"{server.origin}/v1") as client:
        assert client.upload(tmp_path / "riff.wav", metadata={"a": "b"}).id == "art_1"
    heard = b"".join(server.heard)
    head, _, body = heard.partition(b"\r\n\r\n")
    assert b"Authorization: Bearer sk-" in head
    assert b'filename="riff.wav"' in body
    assert str(tmp_path).encode() not in heard, "no folder either"
    clean(body, "a multipart body")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError, MemoryError])
@pytest.mark.parametrize("verb", ["music", "upload", "task", "cancel"])
def test_a_failure_in_the_middle_of_the_header(
    client: bn.Client, monkeypatch: pytest.MonkeyPatch, verb: str, kind: type[BaseException]
) -> None:
    stop = Stop(kind)
    data, task = a_file(), bn.Task(client, {"task_id": "task_1", "status": "running"})
    monkeypatch.setattr(SyncStream, "write", stop.now)
    verbs: dict[str, Callable[[], Any]] = {
        "music": lambda: client.music("slow blues", **SHORT),
        "upload": lambda: client.upload(data),
        "task": lambda: client.task("task_1"),
        "cancel": task.cancel,
    }
    with pytest.raises((bn.Interrupted, bn.ConnectionFailed)) as caught:
        verbs[verb]()
    assert PLANTED.encode() in stop.held
    stop.held = b""
    search_error(caught.value, f"{kind.__name__} in the middle of the header of {verb}")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/music"), ("GET", "/v1/tasks/"), ("GET", "/cdn/")])
def test_no_key_in_an_interrupt(box: Sandbox, overheard: Overheard, method: str, path: str) -> None:
    over = threading.Event()

    def strike() -> None:
        threading.Event().wait(0.1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        over.wait(10)

    with (
        Gate(port_of(box), method, path, 1, "amid", strike) as gate,
        bn.Client(PLANTED, base_url=f"http://127.0.0.1:{gate.port}/v1") as client,
    ):
        with pytest.raises(bn.Interrupted) as caught:
            client.music("slow blues", **SHORT)
        over.set()
        search_error(caught.value, f"an interrupt at {path}")
        search(client, "the client")
    clean_overheard(overheard)


CELLS = [
    "%xmode Verbose",
    "import logging; logging.basicConfig(level=logging.DEBUG, force=True)",
    "import beatra_nb as bn; bn.connect(max_attempts=2)",
    f"task = bn.music('slow blues', **{SHORT!r}); task",
    "bn.upload('riff.wav')",
    "bn.task(task.id); bn.tasks(); bn.pending(); task.clips[0]",
    "bn.task('unheard-of')",
    "bn.upload('nowhere.mp3')",
    "bn.music('x', model='unheard-of')",
    "from beatra_nb.core import jobs; jobs._take = lambda *args: 1 / 0",
    "bn.music('x')",
    "await bn.amusic('x')",
    "%tb",
    "bn.journal()",
    "bn.connect(base_url='http://127.0.0.1:9/v1', max_attempts=1); bn.music('nobody there')",
    "vars(task), vars(task.client), task.client._transport",
]


def test_a_saved_notebook_and_its_page(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEATRA_API_KEY", PLANTED)
    monkeypatch.setenv("BEATRA_BASE_URL", box.base_url)
    (tmp_path / "riff.wav").write_bytes(a_file())
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tools that run and write it
        nbclient.NotebookClient(
            notebook,
            timeout=60,
            allow_errors=True,
            kernel_name="python3",
            resources={"metadata": {"path": str(tmp_path)}},
        ).execute()
        saved = io.StringIO()
        nbformat.write(notebook, saved)
        page, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    assert "ZeroDivisionError" in saved.getvalue()
    assert "audio/mpeg" in saved.getvalue(), "a player was shown"
    clean(saved.getvalue(), "the saved notebook")
    clean(page, "the notebook's page")


# ── the words ──


def port_of(box: Sandbox) -> int:
    return int(box.base_url.split(":")[2].split("/")[0])


def bytes_of_journal(home: Path) -> dict[str, bytes]:
    """The journal's files as they lie there, and once more when everything is in the one file."""
    found = {path.name: path.read_bytes() for path in home.glob("journal*")}
    Journal.open().close()
    with contextlib.closing(sqlite3.connect(home / "journal.sqlite3")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert connection.execute("SELECT count(*) FROM jobs").fetchone()[0] >= 1
    found |= {f"{path.name}, settled": path.read_bytes() for path in home.glob("journal*")}
    return found


def wordless(home: Path, *, settled_only: bool = False) -> None:
    for name, data in bytes_of_journal(home).items():
        if settled_only and "settled" not in name:
            continue
        left = [piece.decode() for piece in PIECES if piece in data]
        assert not left, f"{left} in {name}"


@pytest.mark.parametrize("end", ["succeeded", "begun", "refused", "failed"])
def test_the_journal_keeps_no_words_of_a_job_that_the_service_has(
    client: bn.Client, box: Sandbox, isolated: Path, end: str
) -> None:
    asked: dict[str, Any] = {**WORDS, **SHORT}
    match end:
        case "succeeded":
            song = client.music(**asked)
            client.task(song.id), client.tasks(), client.pending(), song.refresh()
            song.clips[0].audio()
        case "begun":
            box.inject("task:stall")
            client.music(**asked, wait=False)
        case "refused":
            box.inject("insufficient_balance;on=music")
            with pytest.raises(bn.InsufficientBalance):
                client.music(**asked)
        case _:
            box.inject("task:model_unavailable")
            with pytest.raises(bn.TaskFailed):
                client.music(**asked)
    wordless(isolated, settled_only=True)
    bundles = [
        bn.journal().support_bundle(row.request_id or "")
        for row in bn.journal()
        if row.request_id is not None
    ]
    for bundle in bundles:
        shown = f"{bundle!r} {bundle} {bundle._repr_html_()} {bundle._repr_markdown_()}"
        assert not [piece for piece in PIECES if piece.decode() in shown]
    assert bundles or end == "refused"
    for task in client.pending():
        task.cancel()


def test_the_journal_keeps_the_words_only_as_long_as_nobody_knows(
    client: bn.Client, box: Sandbox, isolated: Path
) -> None:
    box.inject("html:503;on=music", 2)
    with pytest.raises(bn.ServerError):
        client.music(**WORDS, **SHORT, wait=False)
    kept = b"".join(bytes_of_journal(isolated).values())
    assert all(piece in kept for piece in PIECES), "else it could not be sent again"
    [task] = client.pending()
    assert task.prompt == WORDS["prompt"]
    wordless(isolated, settled_only=True)
    task.cancel()


def test_a_lost_job_s_words_go(client: bn.Client, box: Sandbox, isolated: Path) -> None:
    box.inject("html:503;on=music", 2)
    with pytest.raises(bn.ServerError):
        client.music(**WORDS, **SHORT, wait=False)
    with contextlib.closing(sqlite3.connect(isolated / "journal.sqlite3")) as connection, connection:
        connection.execute("UPDATE jobs SET started = '2020-01-01T00:00:00+00:00'")
    [lost] = client.pending().lost
    assert lost.title == WORDS["title"]
    wordless(isolated, settled_only=True)


def test_the_words_are_not_in_errors_of_the_service_s_making(
    client: bn.Client, box: Sandbox, overheard: Overheard
) -> None:
    for fault in ("401", "html:200", "reset:headers", "429:retryable=false"):
        box.inject(f"{fault};on=music", 2)
        with pytest.raises(bn.BeatraError) as caught:
            client.music(**WORDS, **SHORT, wait=False)
        box.clear()
        shown = f"{caught.value} {caught.value!r} {vars(caught.value)} {pickle.dumps(caught.value)!r}"
        assert not [piece for piece in PIECES if piece.decode() in shown]
    lines, _ = overheard
    assert not [line for line in lines for piece in PIECES if piece.decode() in line], "nor in any log"
    for task in client.pending():
        task.cancel()


def test_the_server_s_log_tells_neither(tmp_path: Path) -> None:
    script = f"""
import logging, sys
import beatra_nb as bn
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
with bn.sandbox.start(engine="scripted", api_key={PLANTED!r}, log=True, state={str(tmp_path / "s")!r}) as box:
    with bn.Client(box.api_key, base_url=box.base_url) as client:
        client.music(**{WORDS!r}, **{SHORT!r})
        client.upload({a_file()!r})
"""
    done = subprocess.run(
        [sys.executable, "-"], input=script, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "/v1/music/text-to-music" in done.stdout
    clean(done.stdout + done.stderr, "the logs")
    lines = done.stdout.splitlines()
    for piece in PIECES:
        told = [line for line in lines if piece.decode() in line and not line.startswith(FOREIGN)]
        assert not told, "nor what was asked for"
    own = [line for line in lines if line.startswith("INFO:beatra_nb.sandbox:")]
    assert any("/cdn/" in line for line in own)
