"""A key is planted, everything is done with it that a user does, and then it is searched for everywhere.

Searched for: the whole key, and every six characters in a row of its random part.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import io
import logging
import os
import pickle
import secrets
import signal
import string
import subprocess
import sys
import textwrap
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbconvert
import nbformat
import pytest
from httpcore._backends.anyio import AnyIOStream
from httpcore._backends.sync import SyncStream

import beatra_nb as bn
from beatra_nb.core import policy, resources, transport
from beatra_nb.core.settings import Secret, Settings
from beatra_nb.sandbox import Sandbox
from beatra_nb.store.journal import Journal

RANDOM = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))
# Never a local variable of a test: the tests' own frames stand in the tracebacks that are searched.
PLANTED = "sk-" + RANDOM
FRAGMENTS = [RANDOM[i : i + 6] for i in range(len(RANDOM) - 5)]
TIMEOUTS = bn.Timeouts(connect=2, read=0.3, total=3)

FAULTS = [
    "401",
    "402",
    "403",
    "404",
    "409",
    "422",
    "429:retryable=false",
    "500:retryable=false",
    "unknown_code",
    "html:403",
    "html:200",
    "empty:200",
    "bad_json",
    "short_body",
    "reset:before",
    "reset:headers",
    "reset:after",
    "cut:3",
    "stall:3",
    "slow:0.6",
    "midstream:billing_failed",
]


def clean(text: str | bytes, where: str) -> None:
    """Fail if the key, or a fragment of it, is in a text."""
    found = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
    hits = [fragment for fragment in FRAGMENTS if fragment in found]
    # The message names the place alone: a failing test must not print the key either.
    assert not hits, f"the key is in {where}: …{found[max(0, found.index(hits[0]) - 200) :][:200]}…"


def test_the_search_finds_what_is_there() -> None:
    for planted in (PLANTED, f"x{RANDOM[10:16]}y", PLANTED.encode()):
        with pytest.raises(AssertionError, match="the key is in here"):
            clean(planted, "here")


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    """A sandbox whose key is the planted one."""
    with bn.sandbox.start(engine="scripted", faults=True, api_key=PLANTED) as sandbox:
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


@pytest.fixture
async def async_client(box: Sandbox) -> Any:
    """An async client with the planted key."""
    async with bn.AsyncClient(PLANTED, base_url=box.base_url, timeout=TIMEOUTS, max_attempts=2) as client:
        yield client


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that hangs on it, also where a traceback would not print it."""
    waiting, met = [error], set()
    while waiting:
        each = waiting.pop()
        if id(each) in met:
            continue
        met.add(id(each))
        yield each
        held = (each.__cause__, each.__context__, *vars(each).values(), *each.args)
        waiting += [other for other in held if isinstance(other, BaseException)]


def search(thing: object, where: str) -> None:
    """Look at a thing in every way there is."""
    for name, look in {
        "repr": repr,
        "str": str,
        "format": format,
        "percent": lambda it: "%s %r" % (it, it),  # noqa: UP031
        "vars": lambda it: repr(vars(it)) if hasattr(it, "__dict__") else "",
        "dir": lambda it: repr({n: getattr(it, n, None) for n in dir(it) if not n.startswith("_")}),
        "html": lambda it: it._repr_html_() if hasattr(it, "_repr_html_") else "",
        "markdown": lambda it: it._repr_markdown_() if hasattr(it, "_repr_markdown_") else "",
        "mimebundle": lambda it: repr(it._repr_mimebundle_()) if hasattr(it, "_repr_mimebundle_") else "",
    }.items():
        clean(look(thing), f"the {name} of {where}")
    for name, attempt in {"pickle": pickle.dumps, "copy": copy.copy, "deepcopy": copy.deepcopy}.items():
        try:
            made = attempt(thing)
        except Exception as refused:
            clean(f"{refused} {refused!r}", f"the refusal to {name} {where}")
        else:
            clean(made if isinstance(made, bytes) else repr(made), f"the {name} of {where}")


def search_error(error: BaseException, where: str) -> None:
    """Look at an error, all that hangs on it, and the local variables of every frame it came through."""
    for each in chain(error):
        search(each, f"{where}, {type(each).__name__}")
        told = traceback.TracebackException.from_exception(each, capture_locals=True)
        clean("".join(told.format()), f"the traceback with locals of {where}, {type(each).__name__}")
    if hasattr(error, "_render_traceback_"):
        clean("\n".join(error._render_traceback_()), f"the card of {where}")


class Everything(logging.Handler):
    """Keeps every record, with all it holds."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {self.format(record)} {record.args!r} {vars(record)!r}")


@pytest.fixture
def overheard() -> Iterator[tuple[list[str], list[warnings.WarningMessage]]]:
    """Every log line at DEBUG, of every logger, and every warning."""
    everything = Everything()
    root = logging.getLogger()
    names = ["", "httpx", "httpcore", "asyncio", "beatra_nb", "uvicorn", "anyio", "h11"]
    before = {name: logging.getLogger(name).level for name in names}
    root.addHandler(everything)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield everything.lines, warned
    root.removeHandler(everything)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


Overheard = tuple[list[str], list[warnings.WarningMessage]]


def clean_overheard(overheard: Overheard) -> None:
    lines, warned = overheard
    assert any(line.startswith("httpcore") for line in lines), "the loggers were heard"
    for line in lines:
        clean(line, "the log")
    for warning in warned:
        clean(f"{warning.message} {warning.source!r}", "a warning")


def clean_home(home: Path) -> None:
    files = [path for path in home.parent.rglob("*") if path.is_file()]
    assert any(path.name.startswith("journal") for path in files)
    for path in files:
        clean(path.read_bytes(), path.name)


@pytest.mark.parametrize("fault", ["", *FAULTS])
def test_calls(client: bn.Client, box: Sandbox, overheard: Overheard, isolated: Path, fault: str) -> None:
    things: list[Any] = []

    def iterated() -> bn.Reply:
        stream = client.stream("Write 20 words")
        things.append(stream)
        for _ in stream:
            pass
        return stream.reply

    verbs: dict[str, Callable[[], Any]] = {
        "chat": lambda: client.chat("Hi"),
        "watched": lambda: client.chat("Write 20 words", stream=True),
        "stream": iterated,
        "models": client.models,
        "capabilities": client.capabilities,
        "health": client.health,
    }
    for name, verb in verbs.items():
        before = len(box.seen)
        if fault:
            box.inject(fault, 2)
        try:
            things.append(verb())
        except bn.BeatraError as error:
            search_error(error, f"{name} under {fault}")
        for _ in range(2 - (len(box.seen) - before) if fault else 0):
            with contextlib.suppress(bn.BeatraError):  # use up what the call did not meet
                client.health()
    for thing in (*things, client, client.last, client._settings, client._transport):
        search(thing, type(thing).__name__)
    search(bn.journal(), "the journal")
    clean_overheard(overheard)
    Journal.open().close()
    clean_home(isolated)


@pytest.mark.parametrize(
    "fault", ["", "401", "html:200", "reset:headers", "reset:after", "cut:3", "stall:3", "slow:0.6"]
)
async def test_awaited_calls(
    async_client: bn.AsyncClient, box: Sandbox, overheard: Overheard, isolated: Path, fault: str
) -> None:
    for name, verb in {
        "chat": lambda: async_client.chat("Hi"),
        "watched": lambda: async_client.chat("Write 20 words", stream=True),
    }.items():
        before = len(box.seen)
        if fault:
            box.inject(fault, 2)
        try:
            search(await verb(), name)
        except bn.BeatraError as error:
            search_error(error, f"awaited {name} under {fault}")
        for _ in range(2 - (len(box.seen) - before) if fault else 0):
            with contextlib.suppress(bn.BeatraError):
                await async_client.health()
    search(async_client, "AsyncClient")
    clean_overheard(overheard)
    Journal.open().close()
    clean_home(isolated)


def interrupt_soon(box: Sandbox, since: int) -> threading.Thread:
    """Interrupt the main thread once the server has seen a call and the client waits for it."""

    def work() -> None:
        while len(box.seen) == since:
            threading.Event().wait(0.005)
        threading.Event().wait(0.15)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


SLOWLY = {"model_options": {"pace": 0.02}}


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("how", ["plain", "watched", "stream"])
def test_interrupts(box: Sandbox, overheard: Overheard, how: str) -> None:
    with bn.Client(PLANTED, base_url=box.base_url) as client:
        thread = interrupt_soon(box, len(box.seen))
        calls: dict[str, Callable[[], Any]] = {
            "plain": lambda: client.chat("Write 200 words", **SLOWLY),
            "watched": lambda: client.chat("Write 200 words", stream=True, **SLOWLY),
            "stream": lambda: list(client.stream("Write 200 words", **SLOWLY)),
        }
        with pytest.raises(bn.Interrupted) as caught:
            calls[how]()
        thread.join(10)
        search_error(caught.value, f"an interrupted {how}")
        search(client, "the client")
    clean_overheard(overheard)


@pytest.mark.parametrize("how", ["plain", "watched"])
async def test_cancelled_calls(
    async_client: bn.AsyncClient, box: Sandbox, overheard: Overheard, how: str
) -> None:
    since = len(box.seen)
    task = asyncio.create_task(async_client.chat("Write 200 words", stream=how == "watched", **SLOWLY))
    while len(box.seen) == since:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.1)
    clean(repr(task) + repr(task.get_stack()), "a task at work")
    task.cancel()
    try:
        await task
    except asyncio.CancelledError as cancelled:
        search_error(cancelled, f"a cancelled {how}")
    else:
        pytest.fail("it was not cancelled")
    clean(repr(task), "a cancelled task")
    clean_overheard(overheard)


class Stop:
    """Strikes while the header with the key is on its way out: the frames around hold its bytes."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind
        self.held = b""

    def now(self, buffer: bytes, timeout: float | None = None) -> None:
        self.held = buffer
        raise self.kind

    async def awaited(self, buffer: bytes, timeout: float | None = None) -> None:
        self.now(buffer)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError, MemoryError])
def test_a_failure_in_the_middle_of_the_header(
    client: bn.Client, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    stop = Stop(kind)
    monkeypatch.setattr(SyncStream, "write", stop.now)
    with pytest.raises((bn.Interrupted, bn.ConnectionFailed)) as caught:
        client.chat("Hi")
    assert PLANTED.encode() in stop.held
    stop.held = b""
    search_error(caught.value, f"{kind.__name__} in the middle of the header")


@pytest.mark.parametrize("kind", [asyncio.CancelledError, OSError, MemoryError])
async def test_a_failure_in_the_middle_of_the_header_awaited(
    async_client: bn.AsyncClient, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    stop = Stop(kind)
    monkeypatch.setattr(AnyIOStream, "write", stop.awaited)
    with pytest.raises((asyncio.CancelledError, bn.ConnectionFailed)) as caught:
        await async_client.chat("Hi")
    assert PLANTED.encode() in stop.held
    stop.held = b""
    search_error(caught.value, f"{kind.__name__} in the middle of the header, awaited")


BROKEN: dict[str, Callable[[], Any]] = {
    "an inner space": lambda: bn.Client(RANDOM[:16] + " " + RANDOM[16:]),
    "an inner line break": lambda: bn.AsyncClient(PLANTED + "\n" + RANDOM),
    "connect, an inner tab": lambda: bn.connect(f"{PLANTED}\t{RANDOM}"),
    "bytes": lambda: bn.Client(PLANTED.encode()),  # type: ignore[arg-type]
    "a list": lambda: bn.Client([PLANTED]),  # type: ignore[arg-type]
    "settings alone": lambda: Settings.resolve(PLANTED, max_attempts=99),
    "a good key and a bad mode": lambda: bn.Client(PLANTED, mode="nowhere"),
    "a good key and a bad address": lambda: bn.connect(PLANTED, base_url="nowhere"),
    "a good key and bad attempts": lambda: bn.connect(PLANTED, max_attempts=99),
    "a good key and a bad time": lambda: bn.AsyncClient(PLANTED, timeout=-1),
    "the key as the address": lambda: bn.Client("x" * 8, base_url=PLANTED).close(),
    "the key in the address": lambda: bn.Client("x" * 8, base_url=f"https://user:{PLANTED}@host"),
    "the key as the mode": lambda: bn.Client(mode=PLANTED),
    "the key in the query": lambda: bn.Client("x" * 8, base_url=f"https://host/v1?key={PLANTED}"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_settings_that_cannot_work(what: str) -> None:
    with pytest.raises(bn.ConfigurationError) as caught:
        BROKEN[what]()
    error = caught.value
    clean(f"{error} {error!r} {vars(error)}", what)
    if not what.startswith(
        "the key"
    ):  # passed as something else, it stands in the frames as what it was passed as
        search_error(error, what)


def test_a_broken_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEATRA_API_KEY", RANDOM[:16] + " " + RANDOM[16:])
    for kind in (bn.Client, bn.AsyncClient, bn.connect):
        with pytest.raises(bn.ConfigurationError) as caught:
            kind()
        search_error(caught.value, f"{kind.__name__} with a broken key in the environment")


@pytest.mark.parametrize("where", ["read_json", "_reply", "httpx", "request", "journal"])
def test_a_bug_of_our_own_shows_no_key(box: Sandbox, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    class Bug(BaseException):
        """Nothing catches it on its way."""

    def broken(*args: object, **more: object) -> None:
        raise Bug

    with bn.Client(PLANTED, base_url=box.base_url) as client:
        match where:
            case "read_json" | "_reply":
                monkeypatch.setattr(resources, where, broken)
            case "httpx":
                monkeypatch.setattr(transport.httpx.Client, "send", broken)
            case "request":
                monkeypatch.setattr(transport.wire, "request", broken)
            case "journal":
                monkeypatch.setattr(Journal, "record", broken)
        with pytest.raises(Bug) as caught:
            client.chat("Hi")
    search_error(caught.value, f"a bug in {where}")


def test_a_secret_in_every_disguise() -> None:
    search(Secret(PLANTED), "a secret")
    search(Secret(PLANTED).reveal, "a secret's function")


def test_what_is_saved_and_exported(client: bn.Client, tmp_path: Path, isolated: Path) -> None:
    chat = bn.Chat("Be brief.", client=client, title="T")
    chat.send("Hi")
    chat.send("And now?", stream=True)
    search(chat, "a conversation")
    search(chat.turns[0], "a turn")
    chat.save(tmp_path / "c.json")
    for suffix in (".md", ".html", ".ipynb"):
        chat.export(tmp_path / f"c{suffix}")
    bundle = bn.journal().support_bundle(chat.turns[0].reply.request_id or "")
    search(bundle, "a support bundle")
    bundle.save(tmp_path / "bundle.json")
    search(bn.journal().to_frame(), "a frame")
    Journal.open().close()
    for path in tmp_path.rglob("*"):
        if path.is_file():
            clean(path.read_bytes(), path.name)


# What a user does in a shell or a notebook, in the most talkative mode. The key comes from the environment.
CELLS = [
    "%xmode Verbose",
    "import logging, warnings; logging.basicConfig(level=logging.DEBUG, force=True); warnings.simplefilter('always')",
    "import beatra_nb as bn, httpx, traceback, sys",
    "bn.connect(timeout=bn.Timeouts(connect=2, read=0.5, total=3), max_attempts=2)",
    "bn.chat('Hi')",
    "bn.chat('Write 20 words', stream=True)",
    "stream = bn.stream('Write 20 words'); list(stream); stream",
    "bn.chat('Hi', model='unheard-of')",
    "%tb",
    "bn.traceback()",
    "bn.chat('')",
    "bn.connect(mode='nowhere')",
    "bn.connect(max_attempts=99)",
    "from beatra_nb.core import resources, transport; kept = resources.read_json",
    "resources.read_json = lambda answer: 1 / 0",
    "bn.chat('A bug in the package')",
    "%tb",
    "resources.read_json = kept",
    "transport.wire.request = lambda *args: {}[1]",
    "bn.chat('A bug on the way out')",
    "await bn.achat('A bug on the way out')",
    "from beatra_nb import verbs; verbs.default_client(), vars(verbs.default_client())",
    "verbs.default_client()._transport, vars(verbs.default_client()._transport), verbs.default_client()._settings",
    "verbs.default_client().__reduce__()",
    "bn.journal()",
    "bn.connect(base_url='http://127.0.0.1:9/v1', max_attempts=1); bn.chat('nobody there')",
    "%tb",
    "import os; half = slice(20), slice(20, None)",
    "os.environ['BEATRA_API_KEY'] = ' '.join(os.environ['BEATRA_API_KEY'][each] for each in half)",
    "bn.connect()",
    "%tb",
]
REACHED = "ZeroDivisionError"  # a mark that the talkative tracebacks were really printed


def test_an_ipython_shell_in_verbose_mode(box: Sandbox, tmp_path: Path) -> None:
    environment = {**os.environ, "BEATRA_API_KEY": PLANTED, "BEATRA_BASE_URL": box.base_url}
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "--simple-prompt"],
        input="\n\n".join(CELLS) + "\nexit\n",
        env={**environment, "IPYTHONDIR": str(tmp_path / "ipython")},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    said = done.stdout + done.stderr
    assert REACHED in said
    assert "resources.py" in said, "frames of the package were shown"
    assert "unsupported_model" in said
    clean(said, "the shell")
    for path in (tmp_path / "ipython").rglob("*"):
        if path.is_file():
            clean(path.read_bytes(), path.name)


def test_a_saved_notebook_and_its_page(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEATRA_API_KEY", PLANTED)
    monkeypatch.setenv("BEATRA_BASE_URL", box.base_url)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tools that run and write it
        nbclient.NotebookClient(notebook, timeout=60, allow_errors=True, kernel_name="python3").execute()
        saved = io.StringIO()
        nbformat.write(notebook, saved)
        page, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    assert REACHED in saved.getvalue()
    clean(saved.getvalue(), "the saved notebook")
    clean(page, "the notebook's page")


def test_a_crashing_script_says_nothing(box: Sandbox) -> None:
    """The worst traceback of plain Python: not caught, with a key that came with a line break in it."""
    script = textwrap.dedent(
        """
        import os, beatra_nb as bn
        bn.Client(os.environ["PLANTED"][:20] + "\\n" + os.environ["PLANTED"][20:])
        """
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script],
        env={**os.environ, "PLANTED": PLANTED},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "ConfigurationError" in done.stderr
    clean(done.stdout + done.stderr, "a crashed script")
