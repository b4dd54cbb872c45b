"""The sandbox: the public API's contract, answered on this machine.

A real HTTP server on the loopback interface with a random key, so that this package's client, curl and the
official OpenAI SDKs all work against it with nothing changed but base URL and key. Importing this module is
cheap; the server and its packages are loaded by ``start``.

>>> from beatra_nb import sandbox
>>> with sandbox.start(engine="scripted") as box:
...     box.base_url.startswith("http://127.0.0.1:")
True
"""

from __future__ import annotations

import atexit
import os
import secrets
import string
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from beatra_nb.core.errors import InvalidInput, SandboxUnavailable
from beatra_nb.core.seams import Showable
from beatra_nb.core.settings import Secret, clean_key, hide_key, sandbox_engine, sandbox_home

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from decimal import Decimal
    from types import TracebackType
    from typing import Concatenate, ParamSpec, TypeVar

    from beatra_nb.sandbox.server import Server
    from beatra_nb.sandbox.state.wallet import LedgerRow

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = ["Sandbox", "Seen", "serve", "shared", "start"]

INSTALL = "pip install 'beatra-nb[sandbox]'"
MOST_WORKERS = 64


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that a sandbox with ``faults=True`` has seen.

    Attributes
    ----------
    method, path : str
        What was asked.
    idempotency_key : str or None
        The key it came with.
    request_id : str
        The id it was answered under.
    fingerprint : str
        SHA-256 of the canonical body; empty where no body was read.
    effect : bool
        Whether this very request made an engine do the whole work (and would have been billed).
    replayed : bool
        Whether it was answered from another request with the same key.
    status : int or None
        The status that was sent; None if none was.
    fault : str or None
        The fault that it met.
    """

    method: str
    path: str
    idempotency_key: str | None
    request_id: str
    fingerprint: str
    effect: bool
    replayed: bool
    status: int | None
    fault: str | None


class Sandbox(Showable):
    """A running sandbox; a context manager that stops it.

    Attributes
    ----------
    base_url : str
        What a client takes as its base URL.
    api_key : str
        The key it answers to.
    engine : str
        Who answers ``model="auto"``: ``"smollm2"`` or ``"scripted"``.
    faults : bool
        Whether faults may be asked for.
    running : bool
        Whether it answers.
    state : Path
        The folder of its tasks, files and wallet.
    balance : Decimal
        What its wallet holds, in credits of play money.
    tasks : dict
        How many of its tasks have each status.
    """

    def __init__(self, server: Server, key: Secret) -> None:
        self._server = server
        self._key = key
        self._pid = os.getpid()
        self.base_url = f"http://127.0.0.1:{server.port}/v1"

    @property
    def api_key(self) -> str:
        """The key it answers to."""
        return self._key.reveal()

    @property
    def engine(self) -> str:
        """Who answers ``model="auto"``."""
        return self._server.engines.default.name

    @property
    def faults(self) -> bool:
        """Whether faults may be asked for."""
        return self._server.faults is not None

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._pid == os.getpid() and self._server.running

    @property
    def seen(self) -> list[Seen]:
        """The last requests, oldest first; only with ``faults=True``."""
        names = Seen.__dataclass_fields__
        seen = list(self._server.seen)  # at once: more of them come while they are looked at
        return [Seen(**{name: getattr(each, name) for name in names}) for each in seen]

    def inject(self, fault: str, times: int = 1) -> None:
        """Let the next requests meet a fault, in the order injected (see ``beatra_nb.sandbox.faults``).

        Raises
        ------
        InvalidInput
            For an unknown fault, or a sandbox that was not started with ``faults=True``.
        """
        if self._server.faults is None:
            raise InvalidInput(
                "This sandbox was not started with faults=True.",
                hint="Start one with sandbox.start(faults=True).",
            )
        self._server.faults.inject(fault, times)

    def clear(self) -> None:
        """Forget the injected faults that no request has met yet."""
        if self._server.faults is not None:
            self._server.faults.clear()

    @property
    def state(self) -> Path:
        """The folder of its tasks, files and wallet."""
        return self._server.studio.desk.folder

    @property
    def balance(self) -> Decimal:
        """What its wallet holds, in credits."""
        from beatra_nb.sandbox.state import wallet

        return wallet.in_credits(self._ask(wallet.balance))

    def wallet(self) -> list[LedgerRow]:
        """Return every movement of its wallet, oldest first."""
        from beatra_nb.sandbox.state import wallet

        return self._ask(wallet.rows)

    def refill(self, credits: float | Decimal) -> Decimal:
        """Add play money to its wallet and return the new balance.

        Raises
        ------
        InvalidInput
            For what is no amount.
        """
        from beatra_nb.sandbox.state import wallet

        return wallet.in_credits(self._ask(wallet.refill, wallet.amount(credits)))

    @property
    def tasks(self) -> dict[str, int]:
        """How many of its tasks have each status."""
        from beatra_nb.sandbox.state import tasks

        return self._ask(tasks.counts)

    def _ask(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **more: P.kwargs
    ) -> T:
        from beatra_nb.sandbox.state.desk import StateTrouble

        if self._pid != os.getpid():
            raise SandboxUnavailable(
                "This sandbox runs in another process.", hint="Start one in this process."
            )
        try:
            return self._server.studio.desk.now(work, *args, **more)
        except StateTrouble as trouble:
            raise SandboxUnavailable(trouble.message, hint=trouble.hint) from None

    def stop(self) -> None:
        """Stop the server; calling it again does nothing."""
        if self._pid == os.getpid():
            self._server.stop()
            self._server.engines.close()
            atexit.unregister(self.stop)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "" if self.running else ", stopped"
        return f"<Sandbox {self.base_url} engine={self.engine!r}{state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A sandbox runs in one process and is never pickled; start one where it is needed.")


def start(
    *,
    port: int = 0,
    engine: str | None = None,
    faults: bool = False,
    api_key: str | Secret | None = None,
    log: bool = False,
    state: str | os.PathLike[str] | None = None,
    credits: float | Decimal | None = None,
    music_workers: int | None = None,
) -> Sandbox:
    """Start a sandbox of one's own on the loopback interface.

    Parameters
    ----------
    port : int
        Where to listen; 0 takes a free port.
    engine : {"auto", "smollm2", "scripted"}, optional
        Who answers; by default ``BEATRA_SANDBOX_ENGINE``, else ``"auto"``: the real model where it is
        installed, else scripted answers.
    faults : bool
        Let requests ask for failures (header ``X-Sandbox-Fault``, or ``inject``). For tests and teaching.
    api_key : str, optional
        The key to answer to; by default a random one.
    log : bool
        Log one line per request to the logger ``beatra_nb.sandbox`` (never a key or a text).
    state : path, optional
        The folder of its tasks, files and wallet; by default one in ``BEATRA_HOME``. Several sandboxes may share
        one. It is made when it is first needed.
    credits : int or Decimal, optional
        What the wallet of a new state folder holds; by default 10,000.
    music_workers : int, optional
        How many tasks are composed at a time; by default one less than there are cores, and at most 4.

    Raises
    ------
    InvalidInput
        For a port or an engine that cannot be.
    SandboxUnavailable
        When something it needs is not installed, or the port is taken.

    Examples
    --------
    >>> with start(engine="scripted") as box:
    ...     box.engine
    'scripted'
    """
    api_key = hide_key(api_key)  # at once, so that no frame of a traceback has it to show
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise InvalidInput(
            f"port must be a whole number from 0 to 65535, not {port!r:.60}.",
            hint="Leave port= out to get a free one.",
        )
    folder = _folder(state)
    if music_workers is not None and (
        type(music_workers) is not int or not 1 <= music_workers <= MOST_WORKERS
    ):
        raise InvalidInput(
            f"music_workers must be a whole number from 1 to {MOST_WORKERS}, not {music_workers!r:.60}.",
            hint="Leave music_workers= out to let the machine's cores decide.",
        )
    key = clean_key(api_key) or Secret("sk-" + _random_word(32))
    try:
        from beatra_nb.sandbox.engines import Engines
        from beatra_nb.sandbox.faults import Faults
        from beatra_nb.sandbox.server import Server
        from beatra_nb.sandbox.state import wallet
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in ("starlette", "uvicorn", "h11", "anyio"):
            raise
        raise SandboxUnavailable(
            f"The sandbox needs the package {missing.name}, which is not installed.", hint=f"Run: {INSTALL}"
        ) from None
    opening = wallet.amount(wallet.OPENING_CREDITS if credits is None else credits)
    engines = Engines(engine or sandbox_engine())
    try:
        server = Server(
            port=port,
            key=key,
            engines=engines,
            faults=Faults() if faults else None,
            told=log,
            state=folder,
            opening=opening,
            workers=music_workers,
        )
    except BaseException:
        engines.close()
        raise
    engines.warm()
    box = Sandbox(server, key)
    atexit.register(box.stop)
    return box


def serve(
    *,
    port: int = 0,
    engine: str | None = None,
    faults: bool = False,
    host: str = "127.0.0.1",
    api_key: str | Secret | None = None,
    state: str | os.PathLike[str] | None = None,
    credits: float | Decimal | None = None,
    music_workers: int | None = None,
    refill: float | Decimal | None = None,
) -> None:
    """Run a sandbox in the foreground until Ctrl-C: what ``beatra-nb sandbox`` does.

    Raises
    ------
    InvalidInput
        For a host other than this machine's loopback: the sandbox is no service for others.
    """
    import signal

    from beatra_nb.sandbox.welcome import welcome

    api_key = hide_key(api_key)
    if host not in ("127.0.0.1", "localhost"):
        raise InvalidInput("The sandbox listens on 127.0.0.1 only.", hint="Leave the host out.")
    over = threading.Event()
    with start(
        port=port,
        engine=engine,
        faults=faults,
        api_key=api_key,
        state=state,
        credits=credits,
        music_workers=music_workers,
    ) as box:
        if refill is not None:
            box.refill(refill)
        print(welcome(box), flush=True)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda number, frame: over.set())
        try:
            # With a time-out, because on Windows a wait without one does not hear Ctrl-C.
            while box.running and not over.wait(0.5):
                pass
        except KeyboardInterrupt:
            pass
    print("Stopped.", flush=True)


_shared: Sandbox | None = None
_lock = threading.Lock()


def shared() -> Sandbox:
    """Return this process's own sandbox, started at the first call and stopped when Python ends."""
    global _shared
    with _lock:
        if _shared is None or not _shared.running:
            _shared = start()
        return _shared


def _after_fork() -> None:
    """A forked child has the parent's memory and none of its threads: it starts a sandbox of its own."""
    global _shared, _lock
    _shared, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _folder(state: str | os.PathLike[str] | None) -> Path:
    if state is None:
        return sandbox_home().absolute()
    try:
        path = os.fspath(state)
        if path and isinstance(path, str) and b"\0" not in os.fsencode(path):
            return Path(path).expanduser().absolute()
    except (TypeError, ValueError, RuntimeError):  # no path; no text that a disk takes; ~ of nobody
        pass
    raise InvalidInput(
        f"state must be a folder's path, not {state!r:.60}.", hint="Leave state= out for the usual one."
    )


def _random_word(length: int) -> str:
    letters = string.ascii_letters + string.digits
    return "".join(secrets.choice(letters) for _ in range(length))
