"""One thread that owns the connection to the state: everything read or written goes over this desk.

So the server's event loop never waits for a disk or for another process's lock, and no two threads share a
connection. Several sandboxes, in several processes, may work over the same folder: SQLite's WAL lets all of them
read while one writes. ``synchronous = NORMAL``: a crash of the process loses nothing; a power cut may lose the
last moments, never the file's consistency.

A connection must not cross a fork: it is closed just before one and opened again when it is next needed.
"""

from __future__ import annotations

import errno
import os
import queue
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from beatra_nb.sandbox.state import wallet
from beatra_nb.sandbox.state.migrations import NewerStateError, migrate

BUSY = 10.0  # seconds to wait for another process that is writing
CLOSE_TIMEOUT = 2.0
FILES = "beatra-sandbox-files"  # a name that nobody else's folder has: what lies in it is tidied
LOCKED = ("SQLITE_BUSY", "SQLITE_LOCKED")
NO_ROOM = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))

P = ParamSpec("P")
T = TypeVar("T")


class StateTrouble(Exception):
    """The state cannot be read or written; says why, and what to do.

    Attributes
    ----------
    message, hint : str
        What happened, and how to mend it.
    passing : bool
        Whether the same may succeed a little later.
    """

    def __init__(self, message: str, hint: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.message, self.hint, self.passing = message, hint, passing


class Desk:
    """The state's one reader and writer in this process."""

    def __init__(self, folder: Path, opening: int) -> None:
        self.folder = folder
        self._path = folder / "state.sqlite3"
        self.files = folder / FILES
        self._opening = opening
        self._db: sqlite3.Connection | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._guard = threading.Lock()  # held while the connection is in use
        self._begin = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        with _forking:
            _desks.add(self)

    @property
    def exists(self) -> bool:
        """Whether the folder holds a state already."""
        return os.path.exists(self._path)  # which never raises, whatever the folder is

    def ask(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **more: P.kwargs
    ) -> Future[T]:
        """Let ``work(connection, …)`` run in the desk's thread; the future may raise ``StateTrouble``."""
        promise: Future[T] = Future()

        def job() -> None:
            if not promise.set_running_or_notify_cancel():
                return
            try:
                with self._guard:
                    answer = work(self._connection(), *args, **more)
            except (sqlite3.Error, OSError, NewerStateError) as problem:
                promise.set_exception(self.trouble(problem))
            except BaseException as problem:
                promise.set_exception(problem)
            else:
                promise.set_result(answer)

        with self._begin:
            if self._closed:
                raise StateTrouble("The sandbox is stopping.", "Start another one.", passing=True)
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="beatra-sandbox-state", daemon=True)
                try:
                    thread.start()
                except RuntimeError as problem:  # the machine has no more threads to give
                    raise StateTrouble(
                        f"The sandbox cannot work now: {problem}.", "Try again in a moment.", passing=True
                    ) from None
                self._thread = thread
            self._jobs.put(job)
        return promise

    def now(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **more: P.kwargs
    ) -> T:
        """Like ``ask``, and wait for the answer; for threads that may wait."""
        return self.ask(work, *args, **more).result()

    def close(self) -> None:
        """Finish what was asked, close the file and end the thread."""
        with self._begin:
            self._closed = True
            thread = self._thread
            if thread is not None:
                self._jobs.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_TIMEOUT)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        with self._guard:
            self._drop()

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            # A folder that is there already keeps its mode: others may share it. What is made here is its owner's.
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.files.mkdir(exist_ok=True, mode=0o700)
            with suppress(FileExistsError):
                os.close(
                    os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600)
                )  # SQLite's side files follow its mode
            self._db = _open(self._path, self._opening)
        return self._db

    def trouble(self, problem: Exception) -> StateTrouble:
        """Say what is wrong with the state, or with a file of it, in plain words."""
        where = f"The sandbox's state in {self.folder}"
        if isinstance(problem, NewerStateError):
            upgrade = "Upgrade beatra_nb, or start the sandbox with state= another folder."
            return StateTrouble(f"{where} was written by a later version of beatra_nb.", upgrade)
        name = _name_of(problem)
        elsewhere = "or start the sandbox with state= another folder"
        if name in LOCKED:
            return StateTrouble(
                f"{where} is locked by another program.", "Try again in a moment.", passing=True
            )
        if name in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
            return StateTrouble(f"{where} is damaged.", f"Move that folder away, {elsewhere}.")
        if name in ("SQLITE_FULL", "SQLITE_IOERR") or getattr(problem, "errno", None) in NO_ROOM:
            full = f"{where} is on a disk that is full or takes no more."
            return StateTrouble(full, f"Free some space, {elsewhere}.")
        if isinstance(problem, OSError) or name in ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"):
            closed = f"{where} cannot be written."
            return StateTrouble(closed, f"Make the folder writable, {elsewhere}.")
        return StateTrouble(f"{where} gave an error ({problem}).", f"Move that folder away, {elsewhere}.")


def _name_of(problem: BaseException) -> str:
    """Return SQLite's own name of an error, its extension left out: SQLITE_BUSY_SNAPSHOT is a SQLITE_BUSY."""
    return "_".join((getattr(problem, "sqlite_errorname", None) or "").split("_")[:2])


def _open(path: Path, opening: int) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        deadline = time.monotonic() + BUSY
        while True:
            try:
                # SQLite answers "locked" at once, without waiting, when two processes switch a new file to WAL.
                db.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as problem:
                if _name_of(problem) not in LOCKED or time.monotonic() >= deadline:
                    raise
                time.sleep(0.005)
        db.execute("PRAGMA synchronous = NORMAL")
        migrate(db)
        wallet.open_account(db, opening)
    except BaseException:
        db.close()
        raise
    return db


_desks: weakref.WeakSet[Desk] = weakref.WeakSet()
_forking = threading.Lock()  # first of all locks: two threads may fork at once, or one while a desk is made
_held: list[Desk] = []  # between the two sides of a fork


def _before_fork() -> None:
    _forking.acquire()
    _held[:] = _desks
    for desk in _held:
        desk._guard.acquire()
        desk._drop()


def _after_fork() -> None:
    for desk in _held:
        desk._guard.release()
    _held.clear()
    _forking.release()


def _after_fork_in_child() -> None:
    global _forking
    for desk in _held:
        desk._closed = True  # its thread stayed with the parent, and so does its work
        desk._thread = None
        desk._begin = threading.Lock()
        desk._guard = threading.Lock()
    _held.clear()
    _desks.clear()
    _forking = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
