"""How the tables of the sandbox's state came to be: a list that only ever grows at its end.

The file remembers in ``PRAGMA user_version`` how many of these steps it has been through; opening it runs the
rest in one transaction, so that several kernels may open it at the same moment. A step that was released is
never edited.

Times are whole microseconds since the epoch. Money is whole thousandths of a credit: it never passes through a
float. The ledger takes new rows alone; its last row holds the balance.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress

MIGRATIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "tasks, artifacts, money, keys",
        (
            """
            CREATE TABLE tasks (
                seq INTEGER PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'canceled')),
                capability TEXT NOT NULL,
                model TEXT NOT NULL,
                resolved_model TEXT NOT NULL,
                title TEXT,
                metadata TEXT NOT NULL,
                input TEXT NOT NULL,
                spec TEXT NOT NULL,
                reference TEXT,
                fault TEXT,
                percent REAL NOT NULL DEFAULT 0,
                stage TEXT NOT NULL DEFAULT '',
                message TEXT NOT NULL DEFAULT '',
                output TEXT,
                warnings TEXT NOT NULL,
                error TEXT,
                characters INTEGER NOT NULL,
                audio_seconds REAL,
                charged INTEGER NOT NULL,
                refunded INTEGER NOT NULL DEFAULT 0,
                created INTEGER NOT NULL,
                started INTEGER,
                completed INTEGER,
                cancel_requested INTEGER,
                cancel_reason TEXT,
                owner TEXT,
                attempts INTEGER NOT NULL DEFAULT 0,
                crashes INTEGER NOT NULL DEFAULT 0
            )
            """,
            # Pages are found by (created, seq), alone or within one status or capability.
            "CREATE INDEX tasks_by_time ON tasks (created, seq)",
            "CREATE INDEX tasks_by_status ON tasks (status, created, seq)",
            "CREATE INDEX tasks_by_capability ON tasks (capability, created, seq)",
            "CREATE INDEX tasks_by_owner ON tasks (owner) WHERE owner IS NOT NULL",
            # Who works: a sandbox process. A beat that stands still is a process that is gone.
            """
            CREATE TABLE instances (
                id TEXT PRIMARY KEY,
                pid INTEGER NOT NULL,
                host TEXT NOT NULL,
                beat INTEGER NOT NULL
            )
            """,
            """
            CREATE TABLE artifacts (
                id TEXT PRIMARY KEY,
                token TEXT NOT NULL UNIQUE,
                task_id TEXT,
                path TEXT NOT NULL,
                name TEXT NOT NULL,
                filename TEXT NOT NULL,
                media_type TEXT NOT NULL,
                purpose TEXT NOT NULL,
                bytes INTEGER NOT NULL,
                sha256 TEXT NOT NULL,
                metadata TEXT NOT NULL,
                created INTEGER NOT NULL,
                expired INTEGER
            )
            """,
            "CREATE INDEX artifacts_by_time ON artifacts (created) WHERE expired IS NULL",
            """
            CREATE TABLE ledger (
                id INTEGER PRIMARY KEY,
                time INTEGER NOT NULL,
                kind TEXT NOT NULL CHECK (kind IN ('opening', 'charge', 'refund', 'refill')),
                amount INTEGER NOT NULL,
                balance INTEGER NOT NULL CHECK (balance >= 0),
                task_id TEXT
            )
            """,
            # A task is charged once and refunded at most once, whatever the program above believes.
            "CREATE UNIQUE INDEX ledger_once ON ledger (task_id, kind) WHERE task_id IS NOT NULL",
            """
            CREATE TRIGGER ledger_keeps BEFORE UPDATE ON ledger
            BEGIN SELECT RAISE(ABORT, 'the ledger takes new rows alone'); END
            """,
            """
            CREATE TRIGGER ledger_stays BEFORE DELETE ON ledger
            BEGIN SELECT RAISE(ABORT, 'the ledger takes new rows alone'); END
            """,
            """
            CREATE TABLE answers (
                key TEXT PRIMARY KEY,
                fingerprint TEXT NOT NULL,
                body TEXT NOT NULL,
                made INTEGER NOT NULL
            )
            """,
        ),
    ),
)


class NewerStateError(Exception):
    """The file was written by a later version of this package."""


def migrate(db: sqlite3.Connection, steps: Sequence[tuple[str, tuple[str, ...]]] = MIGRATIONS) -> None:
    """Bring a file up to date; takes no lock when it already is."""

    def version() -> int:
        have = int(db.execute("PRAGMA user_version").fetchone()[0])
        if have > len(steps):
            raise NewerStateError
        return have

    if version() == len(steps):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for _, statements in steps[version() :]:  # asked again: another process may have been quicker
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(steps)}")
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
