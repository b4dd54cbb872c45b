"""An SQLite file that many kernels share: how it is opened, and what is wrong with it in plain words."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from beatra_nb.store.migrations import NewerJournalError, migrate

BUSY = 0.25  # seconds a call may be held up by another kernel that is writing


def connect(path: Path) -> sqlite3.Connection:
    """Open the file ready for use: WAL, up to date."""
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        deadline = time.monotonic() + BUSY
        while True:
            try:
                # SQLite answers "locked" at once, without waiting, when two kernels switch a new file to WAL.
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                # What was wiped is gone from the file too: some builds of SQLite leave it in free pages.
                connection.execute("PRAGMA secure_delete = ON")
                migrate(connection)
                return connection
            except sqlite3.OperationalError as problem:
                if _name_of(problem) not in ("SQLITE_BUSY", "SQLITE_LOCKED") or time.monotonic() >= deadline:
                    raise
                time.sleep(0.005)
    except BaseException:
        connection.close()
        raise


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open the file for a query; on a disk that cannot be written, as it lies there."""
    try:
        return connect(path)
    except (sqlite3.OperationalError, OSError) as problem:
        if _name_of(problem) not in ("SQLITE_READONLY", "SQLITE_CANTOPEN"):
            raise
        side = path.with_name(path.name + "-wal")
        if side.exists() and side.stat().st_size:
            raise  # the newest rows are in the side file, which cannot be read from here
        connection = sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True, isolation_level=None)
        try:
            migrate(connection)  # does nothing, or says that it cannot
        except BaseException:
            connection.close()
            raise
        return connection


def _name_of(problem: BaseException) -> str:
    """Return SQLite's own name of an error, its extension left out: SQLITE_BUSY_SNAPSHOT is a SQLITE_BUSY."""
    return "_".join((getattr(problem, "sqlite_errorname", None) or "").split("_")[:2])


def diagnose(problem: BaseException) -> tuple[str, str, str]:
    """Say what is wrong with a journal: its kind, how it reads after the file's name, and how to mend it."""
    if isinstance(problem, NewerJournalError):
        return (
            "newer",
            "was written by a later version of beatra_nb",
            "Upgrade beatra_nb, or set BEATRA_HOME to another folder.",
        )
    name = _name_of(problem)
    if name in ("SQLITE_BUSY", "SQLITE_LOCKED"):
        return "locked", "is locked by another program", "Close the program that holds it, or wait for it."
    if name in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
        return (
            "damaged",
            "is damaged or is not a journal",
            "Move the file, with its -wal and -shm files, elsewhere; a new one is made at the next call.",
        )
    if name in ("SQLITE_FULL", "SQLITE_IOERR"):
        return (
            "full",
            "is on a disk that is full or does not take more",
            "Free some space, or set BEATRA_HOME to a folder on another disk.",
        )
    if isinstance(problem, OSError) or name in ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"):
        return (
            "closed",
            "is in a place that this user cannot write to",
            "Make the folder writable, or set BEATRA_HOME to one that is.",
        )
    return "other", f"gave an error ({problem})", "Set BEATRA_HOME to another folder, or move the file away."


def short(path: Path) -> str:
    """Write a path with ``~`` for the home folder: a saved notebook need not tell the user's name."""
    with suppress(RuntimeError, ValueError):
        return str(Path("~") / path.relative_to(Path.home()))
    return str(path)
