"""How the journal's tables came to be: a list that only ever grows at its end.

A journal remembers in ``PRAGMA user_version`` how many of these steps it has been through. Opening it runs
the rest, all in one transaction, so that several kernels may open the same old file at the same moment and
each step is still taken once. A step that was released is never edited: change a table by adding a step.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence


class Migration(NamedTuple):
    """One step: a name for people, and the statements."""

    name: str
    statements: tuple[str, ...]


class NewerJournalError(Exception):
    """The file was written by a later version of this package."""


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "calls",
        (
            # Credits are decimal text: money never passes through a float. Times are ISO 8601 in UTC.
            """
            CREATE TABLE calls (
                id INTEGER PRIMARY KEY,
                time TEXT NOT NULL,
                verb TEXT NOT NULL,
                status TEXT NOT NULL,
                asked_model TEXT,
                model TEXT,
                request_id TEXT,
                idempotency_key TEXT,
                attempts INTEGER,
                http_status INTEGER,
                prompt_tokens INTEGER,
                completion_tokens INTEGER,
                total_tokens INTEGER,
                credits TEXT,
                duration REAL,
                error_code TEXT,
                error_type TEXT,
                base_url TEXT,
                sandbox INTEGER NOT NULL DEFAULT 0,
                task_id TEXT,
                process INTEGER
            )
            """,
        ),
    ),
    Migration(
        "jobs and uploads",
        (
            # A job's row is there before its request leaves, with the body, so that it can be sent again under
            # the same key; the body goes as soon as the job has been found (the service has it then).
            """
            CREATE TABLE jobs (
                id INTEGER PRIMARY KEY,
                key TEXT NOT NULL,
                place TEXT NOT NULL,
                started TEXT NOT NULL,
                verb TEXT NOT NULL,
                path TEXT NOT NULL,
                body BLOB,
                fingerprint TEXT NOT NULL,
                model TEXT,
                title TEXT,
                task_id TEXT,
                status TEXT NOT NULL,
                seconds REAL,
                refunded TEXT,
                UNIQUE (place, key)
            )
            """,
            "CREATE INDEX jobs_open ON jobs (place, status)",
            "CREATE INDEX jobs_same ON jobs (place, fingerprint)",
            """
            CREATE TABLE uploads (
                id INTEGER PRIMARY KEY,
                place TEXT NOT NULL,
                size INTEGER NOT NULL,
                sha256 TEXT NOT NULL,
                purpose TEXT NOT NULL,
                metadata TEXT NOT NULL,
                artifact_id TEXT NOT NULL,
                url TEXT,
                media_type TEXT,
                sandbox INTEGER NOT NULL DEFAULT 0,
                time TEXT NOT NULL
            )
            """,
            "CREATE INDEX uploads_same ON uploads (place, size, sha256)",
        ),
    ),
    # Which prompt a call was made from, such as "translate@3f2a91c0": a name and a hash, never the text.
    Migration("prompts of calls", ("ALTER TABLE calls ADD COLUMN prompt TEXT",)),
)


def version(connection: sqlite3.Connection) -> int:
    """Return how many steps the file has been through."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, steps: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring a file up to date; does nothing, and takes no lock, when it already is.

    Raises
    ------
    NewerJournalError
        If the file has been through more steps than this version knows.
    """
    have = version(connection)
    if have == len(steps):
        return
    if have > len(steps):
        raise NewerJournalError
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another kernel may have been through while this one waited for the lock.
        have = version(connection)
        if have > len(steps):
            raise NewerJournalError
        for step in steps[have:]:
            for statement in step.statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(Exception):
            connection.execute("ROLLBACK")
        raise
