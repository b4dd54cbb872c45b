"""A checkpoint: the finished rows of a batch in one SQLite file, so that a run that was killed goes on.

Several rows are written in one transaction, and reported when that is on the disk. One process has a file at a
time: the lock is SQLite's own and ends with the process, also when it is killed. A file holds one run, or several
that were kept apart: each has a fingerprint, which says what was asked and how. The rows hold answers and digests
of requests; prompts are in the fingerprint alone, and keys nowhere. A row is known by its place and its request: an
answer to another request at the same place is never written over, since it was paid for.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from beatra_nb.core.errors import CheckpointError, InvalidInput
from beatra_nb.store.database import diagnose, short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import TypeVar

    T = TypeVar("T")

APPLICATION = 0x626E6370  # "bncp", by which a file is known as one of these
VERSION = 2
PAGE = 2000  # rows read at a time
TOGETHER = 48  # rows of one statement: 48 × 15 values are below every SQLite's bound
SHOWN = 60  # characters of a part of the fingerprint that an error quotes

_TABLES = (
    """
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        fingerprint TEXT NOT NULL,
        description TEXT NOT NULL,
        created TEXT NOT NULL
    )
    """,
    # Credits are decimal text: money never passes through a float. The origin is the place that a row was asked at,
    # where its answer has been moved to another one since.
    """
    CREATE TABLE rows (
        run INTEGER NOT NULL,
        position INTEGER NOT NULL,
        body BLOB NOT NULL,
        generation INTEGER NOT NULL,
        finished INTEGER NOT NULL,
        origin INTEGER,
        text TEXT,
        request_id TEXT,
        model TEXT,
        credits TEXT,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        elapsed REAL NOT NULL,
        error TEXT,
        flags INTEGER NOT NULL,
        PRIMARY KEY (run, position, body)
    )
    """,
)

DEDUPED, SANDBOX = 1, 2  # what the flags of a row mean


class Kept(NamedTuple):
    """A row as it is kept.

    Attributes
    ----------
    position : int
        Its place in the data.
    body : bytes
        The digest of what was sent: another one is another question.
    generation : int
        How often it was asked anew.
    finished : bool
        Whether it need not be asked again.
    text, request_id, model, credits, prompt_tokens, completion_tokens, attempts, elapsed
        What came of it.
    error : str or None
        Why there is no answer, as JSON.
    flags : int
        ``DEDUPED``, ``SANDBOX``.
    """

    position: int
    body: bytes
    generation: int
    finished: bool
    text: str | None
    request_id: str | None
    model: str | None
    credits: str | None
    prompt_tokens: int
    completion_tokens: int
    attempts: int
    elapsed: float
    error: str | None
    flags: int


class Place(NamedTuple):
    """Where a finished row is kept.

    Attributes
    ----------
    position : int
        Its place in the data.
    origin : int
        The place that it was asked at.
    generation : int
        How often it had been asked anew.
    """

    position: int
    origin: int
    generation: int


class Move(NamedTuple):
    """A row that is at another place of the data now.

    Attributes
    ----------
    body : bytes
        The digest of what was sent.
    before, after : int
        The places.
    """

    body: bytes
    before: int
    after: int


_COLUMNS = ", ".join(Kept._fields)
_VALUES = f"({', '.join('?' * (len(Kept._fields) + 1))})"


class Checkpoint:
    """One run in a checkpoint file; a context manager that closes it. Every method may be called from any thread.

    Attributes
    ----------
    path : Path
        The file.
    run_id : str
        The run's name, which its idempotency keys follow from.
    resumed : bool
        Whether the run was begun before.

    Examples
    --------
    >>> with Checkpoint.open("cities.beatra", {"prompt": "Where is {city}?"}) as kept:  # doctest: +SKIP
    ...     kept.finished
    0
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, run: tuple[int, str], *, resumed: bool
    ) -> None:
        self.path = path
        self._run, self.run_id = run
        self.resumed = resumed
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = connection

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        fingerprint: Mapping[str, object],
        *,
        if_changed: Literal["refuse", "apart"] = "refuse",
        description: str = "",
    ) -> Checkpoint:
        """Open a file, made if need be, and find the run with this fingerprint or begin it.

        Parameters
        ----------
        path : path
            The file.
        fingerprint : mapping
            What was asked and how, part by part (``{"prompt": …, "schema": …, "model": …}``); plain values.
        if_changed : {"refuse", "apart"}
            What to do where the file holds a run with another fingerprint, and none with this one.
        description : str
            A line for people.

        Raises
        ------
        CheckpointError
            If the file is no checkpoint, is in use, cannot be written, or holds another run.
        """
        if if_changed not in ("refuse", "apart"):
            raise InvalidInput(f"if_changed must be 'refuse' or 'apart', not {if_changed!r:.60}.")
        place = _path(path)
        print_of = {name: _plain(value) for name, value in sorted(fingerprint.items())}
        connection = _guarded(place, lambda: _connect(place))
        try:
            return _guarded(place, lambda: cls._find(place, connection, print_of, if_changed, description))
        except BaseException:
            connection.close()
            raise

    @classmethod
    def _find(
        cls,
        path: Path,
        connection: sqlite3.Connection,
        fingerprint: dict[str, str],
        if_changed: str,
        description: str,
    ) -> Checkpoint:
        words = json.dumps(fingerprint, ensure_ascii=False, sort_keys=True)
        runs = connection.execute("SELECT id, name, fingerprint FROM runs ORDER BY id DESC").fetchall()
        for number, name, known in runs:
            if known == words:
                return cls(path, connection, (number, name), resumed=True)
        if runs and if_changed == "refuse":
            raise _changed(path, _parts(runs[0][2]), fingerprint)
        name = os.urandom(16).hex()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        cursor = connection.execute(
            "INSERT INTO runs (name, fingerprint, description, created) VALUES (?, ?, ?, ?)",
            (name, words, _storable(description), now),
        )
        return cls(path, connection, (int(cursor.lastrowid or 0), name), resumed=False)

    @property
    def finished(self) -> int:
        """How many rows need not be asked again."""
        statement = "SELECT count(*) FROM rows WHERE run = ? AND finished"
        return int(self._ask(lambda open_: open_.execute(statement, (self._run,)).fetchone()[0]))

    def __len__(self) -> int:
        return int(
            self._ask(
                lambda open_: open_.execute(
                    "SELECT count(*) FROM rows WHERE run = ?", (self._run,)
                ).fetchone()[0]
            )
        )

    def __bool__(self) -> bool:
        return True  # an empty checkpoint is still one

    def page(self, first: int) -> list[Kept]:
        """Return the next rows from a position on, in order: at most ``PAGE``, and all of the last position."""
        select = f"SELECT {_COLUMNS} FROM rows WHERE run = ? AND position"  # noqa: S608

        def read(open_: sqlite3.Connection) -> list[tuple[Any, ...]]:
            rows = open_.execute(
                f"{select} >= ? ORDER BY position, body LIMIT {PAGE}", (self._run, first)
            ).fetchall()
            if len(rows) == PAGE:
                last = (self._run, rows[-1][0], rows[-1][1])
                rows += open_.execute(f"{select} = ? AND body > ? ORDER BY body", last).fetchall()
            return rows

        return self._kept(self._ask(read))

    def find(self, position: int, body: bytes) -> Kept | None:
        """Return one row; None where there is none."""
        statement = f"SELECT {_COLUMNS} FROM rows WHERE run = ? AND position = ? AND body = ?"  # noqa: S608
        rows = self._ask(lambda open_: open_.execute(statement, (self._run, position, body)).fetchall())
        return next(iter(self._kept(rows)), None)

    def places(self) -> dict[bytes, list[Place]]:
        """Return where finished rows are, by the digest of what was sent; the first place of each is at the end."""
        statement = (
            "SELECT body, position, coalesce(origin, position), generation FROM rows "
            "WHERE run = ? AND finished ORDER BY position DESC"
        )
        found: dict[bytes, list[Place]] = {}
        for body, *place in self._ask(lambda open_: open_.execute(statement, (self._run,)).fetchall()):
            found.setdefault(body, []).append(Place._make(place))
        return found

    def _kept(self, rows: list[tuple[Any, ...]]) -> list[Kept]:
        try:
            return [Kept._make(row) for row in rows]
        except TypeError as problem:
            raise _damaged(self.path) from problem

    def __iter__(self) -> Iterator[Kept]:
        """Every row in order, read in pages."""
        first = 0
        while rows := self.page(first):
            yield from rows
            first = rows[-1].position + 1

    def write(self, rows: Sequence[Kept], moves: Sequence[Move] = ()) -> None:
        """Put rows on the disk, all of them or none; when this returns they outlive the process.

        Parameters
        ----------
        rows : sequence of Kept
            They take the place of earlier rows with the same position and body, and of no others.
        moves : sequence of Move
            Rows that go to another place first.

        Raises
        ------
        CheckpointError
            If they cannot be written.
        """
        run = self._run
        whole = [(run, *row[:4], *map(_storable_or_none, row[4:8]), *row[8:]) for row in rows]

        def put(open_: sqlite3.Connection) -> None:
            open_.execute("BEGIN IMMEDIATE")
            try:
                open_.executemany(
                    "UPDATE OR IGNORE rows SET position = ?, origin = coalesce(origin, position) "
                    "WHERE run = ? AND position = ? AND body = ?",
                    [(move.after, run, move.before, move.body) for move in moves],
                )
                # Few long statements: each one lets go of the interpreter's lock, and waits to have it back.
                for start in range(0, len(whole), TOGETHER):
                    part = whole[start : start + TOGETHER]
                    open_.execute(
                        f"INSERT OR REPLACE INTO rows (run, {_COLUMNS}) VALUES "  # noqa: S608
                        + ", ".join([_VALUES] * len(part)),
                        [value for row in part for value in row],
                    )
                open_.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    open_.execute("ROLLBACK")
                raise

        self._ask(put)

    def close(self) -> None:
        """Let go of the file: it is then one file, without others beside it."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None:
            self.close()

    def __repr__(self) -> str:
        state = "" if self._connection is not None else ", closed"
        return f"Checkpoint({short(self.path)!r}, run={self.run_id[:8]}{state})"

    def _ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            connection = self._connection
            if connection is None:
                raise CheckpointError(f"The checkpoint {short(self.path)} is closed.", hint="Open it again.")
            return _guarded(self.path, lambda: work(connection))


def _path(path: str | os.PathLike[str]) -> Path:
    try:
        chosen = Path(path).expanduser()
        if str(path) and "\0" not in str(path):
            return Path(os.path.abspath(chosen))
    except (TypeError, ValueError, RuntimeError):
        pass
    raise InvalidInput(
        f"checkpoint must be a file's path, not {path!r:.60}.", hint="checkpoint='cities.beatra' makes one."
    )


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # SQLite would make the file readable for all, and it holds what the models said about somebody's data. Only a
    # new file is opened here: closing one again would end the locks that this process has on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        # Held until the connection is closed or its process is gone; another process then hears "locked".
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        connection.execute("COMMIT")
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if not empty and application != APPLICATION:
            raise CheckpointError(
                f"{short(path)} is a database of something else, not a checkpoint.", hint=_ELSEWHERE
            )
        if not empty and version != VERSION:
            later = version > VERSION
            raise CheckpointError(
                f"The checkpoint {short(path)} was written by {'a later' if later else 'an earlier'} version "
                "of beatra_nb.",
                hint="Upgrade beatra_nb, or name another file." if later else _ELSEWHERE,
            )
        connection.execute("PRAGMA journal_mode = WAL")
        # A commit is on the disk when it returns, not only with the system: a power cut loses no paid answer.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN EXCLUSIVE")
        if empty:
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            for statement in _TABLES:
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


_ELSEWHERE = "Name another file; one that does not exist yet is made."


def _guarded(path: Path, work: Callable[[], T]) -> T:
    """Do something with the file; what SQLite or the system say becomes our own error."""
    try:
        return work()
    except (sqlite3.Error, OSError) as error:
        problem = error
    kind, what, _ = diagnose(problem)
    if kind == "locked":
        raise CheckpointError(
            f"The checkpoint {short(path)} is in use by another run.",
            hint="Wait for it or stop it (another notebook, perhaps): one file belongs to one run at a time.",
        ) from problem
    if kind == "damaged":
        raise _damaged(path) from problem
    where = {
        "full": "Free some space; the rows that were reported are safe.",
        "closed": "Make the folder writable, or name a file in another one.",
    }
    raise CheckpointError(
        f"The checkpoint {short(path)} {what}.", hint=where.get(kind, _ELSEWHERE)
    ) from problem


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(f"{short(path)} is damaged, or is not a checkpoint.", hint=_ELSEWHERE)


def _changed(path: Path, known: dict[str, Any], asked: dict[str, str]) -> CheckpointError:
    names = [name for name in {**known, **asked} if known.get(name) != asked.get(name)]
    parts = []
    for name in names:
        before, after = known.get(name), asked.get(name)
        brief = all(value is None or len(value) <= SHOWN for value in (before, after))
        parts.append(f"{name} ({_said(before)} → {_said(after)})" if brief else name)
    what = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    return CheckpointError(
        f"The checkpoint {short(path)} belongs to a run that asked something else: {what} changed.",
        hint="Name another file, or keep both runs in this one with if_changed='apart'; "
        "to go on with the run that is there, ask as it did.",
    )


def _parts(words: str) -> dict[str, Any]:
    try:
        parts = json.loads(words)
    except ValueError:
        parts = None
    return parts if isinstance(parts, dict) else {}


def _said(value: str | None) -> str:
    return "nothing" if value is None or value == "null" else value


def _plain(value: object) -> str:
    """Write a part of a fingerprint down: the same value always as the same text."""
    try:
        return _storable(json.dumps(value, ensure_ascii=False, sort_keys=True))
    except (TypeError, ValueError, RecursionError):
        return _storable(str(value))


def _storable(text: str) -> str:
    """Return a text that a database takes: half a character is none."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _storable_or_none(text: str | None) -> str | None:
    return None if text is None else _storable(text)
