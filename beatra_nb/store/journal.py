"""The journal: a row for every call, in one SQLite file that many kernels share.

Writing must never cost a user an answer. One persistent connection per process does one insert a call, in
WAL mode, so that readers and the writers of other kernels are not in the way. If the file cannot be written
(locked, full, read-only, damaged, from a later version) the user is told once, the row waits in memory, and
the next try is half a minute later. Nothing is ever deleted or moved: mending a file is the user's decision.

SQLite connections must not cross a fork, so they are closed just before one and opened again when needed.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import sys
import threading
import time
import warnings
from collections import deque
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatra_nb.core import settings
from beatra_nb.core.errors import BeatraError, InvalidInput
from beatra_nb.store.database import connect, connect_to_read, diagnose, short
from beatra_nb.store.entry import COLUMNS, FIELDS, SEARCHED, Entry, from_row, to_row
from beatra_nb.store.migrations import NewerJournalError, version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas

    from beatra_nb.store.bundle import SupportBundle
    from beatra_nb.store.jobs import Jobs
    from beatra_nb.store.view import JournalView

FILE = "journal.sqlite3"
PAUSE = 30.0  # seconds until a journal that could not be written is tried again
WAITING = 1000  # rows kept in memory meanwhile; the oldest give way
SHOWN = 50
LONGEST_SEARCH = 1000  # longer than anything a row holds
PAGE = 500
TOGETHER = 40  # rows that one statement writes: their values are below every SQLite's bound

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_INSERT = f"INSERT INTO calls ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_SELECT = f"SELECT {', '.join(FIELDS)} FROM calls"  # noqa: S608


class JournalWarning(UserWarning):
    """The journal cannot be written; calls go on without it."""


class Journal:
    """The calls of this user, on disk.

    Get it by ``Journal.open()``. Every method may be called from any thread.

    Examples
    --------
    >>> journal = Journal.open()
    >>> journal.search("req_01J5").to_frame()  # doctest: +SKIP
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name = str(path)
        # Re-entrant: the garbage collector may finish an abandoned stream, and so record it, in mid-record.
        self._lock = threading.RLock()
        self._reading = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._waiting: deque[tuple[str, tuple[object, ...]]] = deque(maxlen=WAITING)
        self._writing = False
        self._paused_until = 0.0
        self._told: set[str] = set()

    @classmethod
    def open(cls, path: str | os.PathLike[str] | None = None) -> Journal:
        """Return the process's journal of this path (the user's own by default). Makes no file yet."""
        chosen = os.path.abspath(settings.home() / FILE if path is None else Path(path).expanduser())
        journal = _open.get(chosen)
        if journal is None:
            with _opening:
                journal = _open.setdefault(chosen, cls(Path(chosen)))
        return journal

    # Writing

    def record(self, entry: Entry) -> int | None:
        """Write a row. Never raises, whatever state the disk is in.

        Returns
        -------
        int or None
            The row's number; None if it could not be written now.
        """
        try:
            row = to_row(entry)
        except Exception as problem:
            self._tell("entry", f"A call left no row in the journal: its entry is not usable ({problem}).")
            return None
        return self.write(_INSERT, row)

    def record_many(self, entries: Sequence[Entry]) -> None:
        """Write many rows, a few dozen with each statement. Never raises, like ``record``."""
        rows = []
        for entry in entries:
            try:
                rows.append(to_row(entry))
            except Exception as problem:
                self._tell(
                    "entry", f"A call left no row in the journal: its entry is not usable ({problem})."
                )
        for start in range(0, len(rows), TOGETHER):
            part = rows[start : start + TOGETHER]
            values = ", ".join([f"({', '.join('?' * len(COLUMNS))})"] * len(part))
            statement = f"INSERT INTO calls ({', '.join(COLUMNS)}) VALUES {values}"  # noqa: S608
            self.write(statement, tuple(value for row in part for value in row))

    def change(self, statement: str, values: tuple[object, ...], *, patience: float = 0.0) -> int | None:
        """Run one statement now, and return how many rows it changed; None if that cannot be.

        Parameters
        ----------
        statement, values
            What is run.
        patience : float
            Seconds to go on trying while another program holds the file.
        """
        deadline = time.monotonic() + patience
        with self._lock:
            while True:
                try:
                    connection = self._connected()
                    if self._waiting:
                        self._catch_up(connection)
                    return connection.execute(statement, values).rowcount
                except Exception as problem:
                    self._drop_connection()
                    kind, _, _ = diagnose(problem)
                    if kind != "locked" or time.monotonic() >= deadline:
                        return None
                    time.sleep(0.02)

    def tidy(self) -> None:
        """Let nothing that was wiped linger in the side file; best effort."""
        with self._lock, suppress(Exception):
            if self._connection is not None:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def trouble(self) -> tuple[str, str] | None:
        """Try to write, without leaving a row; return what is wrong and how to mend it, or None."""
        with self._lock:
            try:
                if self.path.exists():
                    connection = self._connected()
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute(f"PRAGMA user_version = {version(connection)}")
                    connection.execute("COMMIT")
                else:
                    self._try_folder()
            except Exception as problem:
                self._drop_connection()
                _, what, mend = diagnose(problem)
                return f"{short(self.path)} {what}", mend
        return None

    def _try_folder(self) -> None:
        """Make the folder and a file in it, and take both away again: no mode or mount tells as surely."""
        import tempfile

        new = [folder for folder in self.path.parents if not folder.exists()]
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.path.parent).close()
        finally:
            for folder in new:
                with suppress(OSError):  # it was not made, or somebody else uses it by now
                    folder.rmdir()

    def write(self, statement: str, values: tuple[object, ...]) -> int | None:
        """Run one statement, or let it wait. Warns outside the lock: a warning may run anybody's code."""
        with self._lock:
            if self._writing or time.monotonic() < self._paused_until:
                self._waiting.append((statement, values))
                return None
            self._writing = True
            try:
                connection = self._connected()
                if not self._waiting:
                    return connection.execute(statement, values).lastrowid
                self._waiting.append((statement, values))
                return self._catch_up(connection)
            except Exception as problem:
                if not self._waiting or self._waiting[-1][1] is not values:
                    self._waiting.append((statement, values))
                self._paused_until = time.monotonic() + PAUSE
                self._drop_connection()
                kind, what, mend = diagnose(problem)
            finally:
                self._writing = False
        self._tell(
            kind,
            f"The journal cannot be written: {short(self.path)} {what}. "
            f"Calls go on as usual, and their rows wait in memory. {mend}",
        )
        return None

    def _catch_up(self, connection: sqlite3.Connection) -> int | None:
        """Write all that waits, in one transaction."""
        last, rows = None, list(self._waiting)
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement, values in rows:
                last = connection.execute(statement, values).lastrowid
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        for _ in rows:
            self._waiting.popleft()
        return last

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None:
            try:
                if self._inode == _inode(self._name):
                    return self._connection
            except OSError:
                pass
            # The file was moved or deleted under us. Closing now would tidy up, by name, what belongs to the
            # new file; so the old connection is left alone.
            _abandoned.append(self._connection)
            self._connection = None
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would make the file readable for all; its side files take the mode of this one.
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        self._connection = connect(self.path)
        self._inode = _inode(self._name)
        return self._connection

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _tell(self, kind: str, text: str) -> None:
        with self._lock:
            if kind in self._told:
                return
            self._told.add(kind)
        try:
            warnings.warn(text, JournalWarning, stacklevel=_users_level())
        except JournalWarning:
            # Warnings were turned into errors; a paid answer is not given up for one.
            import logging

            logging.getLogger("beatra_nb").warning(text)

    def close(self) -> None:
        """Write what waits and close the file. The journal stays usable: the next row opens it again."""
        with self._lock:
            if self._waiting:
                with suppress(Exception):
                    self._catch_up(self._connected())
            self._drop_connection()

    @property
    def jobs(self) -> Jobs:
        """The jobs and uploads in the same file."""
        from beatra_nb.store.jobs import Jobs

        return Jobs(self)

    # Reading

    def view(self, limit: int | None = SHOWN) -> JournalView:
        """Return the newest calls, newest first; ``limit=None`` for all of them.

        Raises
        ------
        BeatraError
            If the file cannot be read; says which file and what to do.
        """
        return self._view(None, limit)

    def search(self, text: str, limit: int | None = SHOWN) -> JournalView:
        """Return the newest calls in whose ids, verb, models, status or error ``text`` occurs (any case).

        Examples
        --------
        >>> Journal.open().search("rate_limited")  # doctest: +SKIP
        """
        if not isinstance(text, str):
            raise InvalidInput(
                f"search() looks for text, not for {type(text).__name__}.",
                hint="Pass a request id, a model, an error code, or a part of one.",
            )
        return self._view(text, limit)

    def to_frame(self) -> pandas.DataFrame:
        """Return every call as a pandas DataFrame, newest first."""
        return self.view(limit=1).to_frame()

    def support_bundle(self, request_id: str) -> SupportBundle:
        """Return what support needs to look into a call, and nothing private."""
        from beatra_nb.store.bundle import SupportBundle

        return SupportBundle.of(self, request_id)

    def __iter__(self) -> Iterator[Entry]:
        """Every call, newest first; read in pages, so that a long journal needs little memory."""
        before = 2**63 - 1
        while rows := self.read(f"{_SELECT} WHERE id < ? ORDER BY id DESC LIMIT ?", (before, PAGE)):
            for row in rows:
                entry = from_row(row)
                yield entry
            before = rows[-1][FIELDS.index("id")]

    def __len__(self) -> int:
        return self._count("", ())

    def __bool__(self) -> bool:
        return True  # an empty journal is still a journal: `if journal:` must not read the disk

    def __repr__(self) -> str:
        return f"Journal({short(self.path)!r})"

    def matching(self, text: str | None) -> list[Entry]:
        """Return every call that a search for ``text`` finds (None: every call), newest first."""
        where, values = _where(text)
        return [from_row(row) for row in self.read(f"{_SELECT}{where} ORDER BY id DESC", values)]

    def of_request(self, name: str) -> list[Entry]:
        """Return the calls of a request id or idempotency key, with all that share their idempotency key."""
        same = "request_id = ?1 OR idempotency_key = ?1 OR task_id = ?1"
        where = f"{same} OR idempotency_key IN (SELECT idempotency_key FROM calls WHERE {same})"  # noqa: S608
        return [from_row(row) for row in self.read(f"{_SELECT} WHERE {where} ORDER BY id", (name,))]

    def _view(self, text: str | None, limit: int | None) -> JournalView:
        from beatra_nb.store.view import JournalView

        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise InvalidInput(
                f"limit must be a whole number above 0, or None for all, not {limit!r}.",
                hint="bn.journal(limit=50) shows the newest fifty calls.",
            )
        where, values = _where(text)
        rows = self.read(
            f"{_SELECT}{where} ORDER BY id DESC LIMIT {-1 if limit is None else min(limit, 2**31)}", values
        )
        return JournalView([from_row(row) for row in rows], self._count(where, values), self.path, text)

    def _count(self, where: str, values: tuple[object, ...]) -> int:
        rows = self.read(f"SELECT count(*) FROM calls{where}", values)  # noqa: S608
        return int(rows[0][0]) if rows else 0

    def read(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        """Run a query on a connection of its own, so that a long read keeps no call waiting."""
        with self._lock:
            if self._waiting and time.monotonic() >= self._paused_until:
                with suppress(Exception):
                    self._catch_up(self._connected())
        with self._reading:
            try:
                if not self.path.exists() or self.path.stat().st_size == 0:
                    return []
                with closing(connect_to_read(self.path)) as connection:
                    return connection.execute(statement, values).fetchall()
            except (sqlite3.Error, OSError, NewerJournalError) as problem:
                _, what, mend = diagnose(problem)
                raise BeatraError(
                    f"The journal cannot be read: {short(self.path)} {what}.", hint=mend
                ) from problem


def _where(text: str | None) -> tuple[str, tuple[object, ...]]:
    if not text:
        return "", ()
    # Lone surrogates are written as escapes, so they are looked for as such.
    text = text[:LONGEST_SEARCH].encode("utf-8", "backslashreplace").decode("utf-8")
    # The wildcards of LIKE are ordinary letters in ids and codes.
    for letter in "\\%_":
        text = text.replace(letter, "\\" + letter)
    pattern = f"%{text}%"
    return " WHERE " + " OR ".join(f"{name} LIKE ?1 ESCAPE '\\'" for name in SEARCHED), (pattern,)


def _users_level() -> int:
    """Return the stack level, for who calls this, of the first frame that is not this package's own.

    ``skip_file_prefixes`` would say the same, from Python 3.12 on.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_code.co_filename.startswith(_PACKAGE) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    return level


def _inode(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


_open: dict[str, Journal] = {}
_opening = threading.Lock()
_abandoned: list[sqlite3.Connection] = []


def _before_fork() -> None:
    _opening.acquire()
    for journal in _open.values():
        journal._reading.acquire()
        journal._lock.acquire()
        journal._drop_connection()


def _after_fork() -> None:
    for journal in _open.values():
        journal._lock.release()
        journal._reading.release()
    _opening.release()


def _after_fork_in_child() -> None:
    for journal in _open.values():
        journal._waiting.clear()  # these are the parent's to write
    _after_fork()


def _at_exit() -> None:
    for journal in list(_open.values()):
        journal.close()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
