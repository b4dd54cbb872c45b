"""A checkpoint's file: how it is found, made, opened and locked, and what is wrong with it in plain words.

One process has a file at a time: the lock is SQLite's own and ends with the process, also when it is killed.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from beatra_nb.core.errors import CheckpointError, InvalidInput
from beatra_nb.store.database import diagnose, short

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

APPLICATION = 0x626E6370  # "bncp", by which a file is known as one of these
VERSION = 3

ELSEWHERE = "Name another file; one that does not exist yet is made."

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
    # Credits are decimal text: money never passes through a float.
    """
    CREATE TABLE rows (
        run INTEGER NOT NULL,
        position INTEGER NOT NULL,
        body BLOB NOT NULL,
        generation INTEGER NOT NULL,
        finished INTEGER NOT NULL,
        number INTEGER NOT NULL,
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


def located(path: str | os.PathLike[str]) -> Path:
    """Return what was passed as ``checkpoint=`` as the path of a file, which need not be there yet.

    Raises
    ------
    InvalidInput
        If it is none.
    """
    try:
        chosen = Path(path).expanduser()
        if not str(path) or "\0" in str(path):
            raise ValueError(path)
        place = Path(os.path.abspath(chosen))
    except (TypeError, ValueError, RuntimeError):
        raise InvalidInput(
            f"checkpoint must be a file's path, not {path!r:.60}.",
            hint="checkpoint='cities.beatra' makes one.",
        ) from None
    if os.path.isdir(place):
        raise InvalidInput(
            f"checkpoint must be a file, and {short(place)} is a folder.",
            hint=f"Name a file in it: checkpoint={str(chosen / 'batch.beatra')!r} makes one.",
        )
    return place


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, made if need be, and hold it until the connection is closed or the process is gone.

    Raises
    ------
    CheckpointError
        If it is a database of something else, or of another version of this package.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # SQLite would make the file readable for all, and it holds what the models said about somebody's data. Only a
    # new file is opened here: closing one again would end the locks that this process has on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        # Another process then hears "locked".
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        connection.execute("COMMIT")
        if not empty:
            _check(path, connection)
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


def _check(path: Path, connection: sqlite3.Connection) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION:
        raise CheckpointError(
            f"{short(path)} is a database of something else, not a checkpoint.", hint=ELSEWHERE
        )
    if version != VERSION:
        later = version > VERSION
        raise CheckpointError(
            f"The checkpoint {short(path)} was written by {'a later' if later else 'an earlier'} version "
            "of beatra_nb.",
            hint="Upgrade beatra_nb, or name another file." if later else ELSEWHERE,
        )


def guarded(path: Path, work: Callable[[], T]) -> T:
    """Do something with the file; what SQLite or the system say becomes our own error.

    Raises
    ------
    CheckpointError
        If it fails; the hint says how to mend it.
    """
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
        raise damaged(path) from problem
    where = {
        "full": "Free some space; the rows that were reported are safe.",
        "closed": "Make the folder writable, or name a file in another one.",
    }
    raise CheckpointError(
        f"The checkpoint {short(path)} {what}.", hint=where.get(kind, ELSEWHERE)
    ) from problem


def damaged(path: Path) -> CheckpointError:
    """Return the error of a file that cannot be read."""
    return CheckpointError(f"{short(path)} is damaged, or is not a checkpoint.", hint=ELSEWHERE)
