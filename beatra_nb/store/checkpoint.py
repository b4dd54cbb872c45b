"""A checkpoint: the finished rows of a batch in one SQLite file, so that a run that was killed goes on.

Several rows are written in one transaction, and reported when that is on the disk. A file holds one run, or several
that were kept apart: each has a fingerprint, which says what was asked and how. The rows hold answers and digests
of requests; prompts are in the fingerprint alone, and keys nowhere. A row is known by its place and its request: an
answer to another request at the same place is never written over, since it was paid for.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from beatra_nb.core.errors import CheckpointError, InvalidInput
from beatra_nb.store import fingerprint as fingerprints
from beatra_nb.store.checkpoint_file import connect, guarded, located
from beatra_nb.store.database import short
from beatra_nb.store.fingerprint import storable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import TypeVar

    T = TypeVar("T")

PAGE = 2000  # rows read at a time
TOGETHER = 48  # rows of one statement: 48 × 16 values are below every SQLite's bound
SCATTERED = 500  # places of one statement

UNASKED = -1  # the number of a row that was not sent

DEDUPED, SANDBOX, CUT = 1, 2, 4  # what the flags of a row mean


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
        ``DEDUPED``, ``SANDBOX``, ``CUT``.
    number : int
        Which one it is of the rows that ask the same: its key follows from that. ``UNASKED`` for a row that was not
        sent, but has the answer of another one.
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
    number: int = 0


class Place(NamedTuple):
    """Where a row is kept.

    Attributes
    ----------
    body : bytes
        The digest of what was sent.
    position : int
        Its place in the data.
    finished : bool
        Whether it need not be asked again.
    """

    body: bytes
    position: int
    finished: bool


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
# A place that is taken is left alone.
_MOVE = """
    WITH moves (body, before, after) AS (VALUES {})
    UPDATE OR IGNORE rows SET
        position = (SELECT after FROM moves WHERE before = rows.position AND moves.body = rows.body)
    WHERE run = ? AND (position, body) IN (SELECT before, body FROM moves)
"""


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
    at_once : int
        How many rows are read at a time.

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
        self.at_once = PAGE
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
        InvalidInput
            If the path is none of a file.
        CheckpointError
            If the file is no checkpoint, is in use, cannot be written, or holds another run.
        """
        if if_changed not in ("refuse", "apart"):
            raise InvalidInput(f"if_changed must be 'refuse' or 'apart', not {if_changed!r:.60}.")
        place = located(path)
        parts = fingerprints.taken(fingerprint)
        connection = guarded(place, lambda: connect(place))
        try:
            return guarded(place, lambda: cls._find(place, connection, parts, if_changed, description))
        except BaseException:
            connection.close()
            raise

    @classmethod
    def _find(
        cls,
        path: Path,
        connection: sqlite3.Connection,
        parts: dict[str, str],
        if_changed: str,
        description: str,
    ) -> Checkpoint:
        words = fingerprints.written(parts)
        runs = connection.execute("SELECT id, name, fingerprint FROM runs ORDER BY id DESC").fetchall()
        for number, name, known in runs:
            if known == words:
                return cls(path, connection, (number, name), resumed=True)
        if runs and if_changed == "refuse":
            what = fingerprints.difference(parts, [known for _, _, known in runs])
            raise CheckpointError(
                f"The checkpoint {short(path)} belongs to a run that asked something else: {what} changed.",
                hint="Name another file, or keep both runs in this one with if_changed='apart'; "
                "to go on with the run that is there, ask as it did.",
            )
        name = os.urandom(16).hex()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        cursor = connection.execute(
            "INSERT INTO runs (name, fingerprint, description, created) VALUES (?, ?, ?, ?)",
            (name, words, storable(description), now),
        )
        return cls(path, connection, (int(cursor.lastrowid or 0), name), resumed=False)

    @property
    def finished(self) -> int:
        """How many rows need not be asked again."""
        statement = "SELECT count(*) FROM rows WHERE run = ? AND finished"
        return int(self._ask(lambda open_: open_.execute(statement, (self._run,)).fetchone()[0]))

    def __len__(self) -> int:
        statement = "SELECT count(*) FROM rows WHERE run = ?"
        return int(self._ask(lambda open_: open_.execute(statement, (self._run,)).fetchone()[0]))

    def __bool__(self) -> bool:
        return True  # an empty checkpoint is still one

    def page(self, first: int) -> list[Kept]:
        """Return the next rows from a position on, in order: at most ``at_once``, and all of the last position."""
        select = f"SELECT {_COLUMNS} FROM rows WHERE run = ? AND position"  # noqa: S608

        def read(open_: sqlite3.Connection) -> list[tuple[Any, ...]]:
            rows = open_.execute(
                f"{select} >= ? ORDER BY position, body LIMIT ?", (self._run, first, self.at_once)
            ).fetchall()
            if len(rows) == self.at_once:
                last = (self._run, rows[-1][0], rows[-1][1])
                rows += open_.execute(f"{select} = ? AND body > ? ORDER BY body", last).fetchall()
            return rows

        return _kept(self._ask(read))

    def find(self, names: Sequence[tuple[int, bytes]]) -> dict[tuple[int, bytes], Kept]:
        """Return rows by position and body; those that are not there are left out."""
        found: dict[tuple[int, bytes], Kept] = {}
        for start in range(0, len(names), SCATTERED):
            positions = [position for position, _ in names[start : start + SCATTERED]]
            marks = ", ".join("?" * len(positions))
            statement = f"SELECT {_COLUMNS} FROM rows WHERE run = ? AND position IN ({marks})"  # noqa: S608
            found.update((row[:2], row) for row in self._read(statement, self._run, *positions))
        return {name: found[name] for name in names if name in found}

    def places(self, first: int = 0) -> list[Place]:
        """Return where the rows are that something was asked for, from a position on; the last one comes first."""
        statement = (
            "SELECT body, position, finished FROM rows WHERE run = ? AND position >= ? AND body != x'' "
            "ORDER BY position DESC"
        )
        rows = self._ask(lambda open_: open_.execute(statement, (self._run, first)).fetchall())
        return [*map(Place._make, rows)]

    def numbers(self, first: int = 0) -> list[tuple[bytes, int]]:
        """Return what was asked by the rows that were sent, and their numbers, from a number on."""
        statement = "SELECT body, number FROM rows WHERE run = ? AND number >= ?"
        return self._ask(lambda open_: open_.execute(statement, (self._run, first)).fetchall())

    def _read(self, statement: str, *values: object) -> list[Kept]:
        return _kept(self._ask(lambda open_: open_.execute(statement, values).fetchall()))

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
                # Few long statements: each one lets go of the interpreter's lock, and waits to have it back.
                for some in _parts(moves):
                    moved = ", ".join(["(?, ?, ?)"] * len(some))
                    open_.execute(_MOVE.format(moved), [value for move in some for value in move] + [run])
                for part in _parts(whole):
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
            return guarded(self.path, lambda: work(connection))


def _kept(rows: list[tuple[Any, ...]]) -> list[Kept]:
    return [*map(_as_kept, rows)]


# What Kept._make does, without its detour over Python for each row.
_as_kept = functools.partial(tuple.__new__, Kept)


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), TOGETHER):
        yield rows[start : start + TOGETHER]


def _storable_or_none(text: str | None) -> str | None:
    return None if text is None else storable(text)
