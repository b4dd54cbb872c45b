"""What every table's module needs: a transaction, the time, JSON in a column."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Do everything inside or nothing; the write lock is taken at once, so that what is read stays true."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def now() -> int:
    """Return the time in microseconds since the epoch."""
    return time.time_ns() // 1000


def iso(time_: int | None) -> str | None:
    """Return microseconds since the epoch as ISO 8601 in UTC."""
    if time_ is None:
        return None
    moment = datetime.fromtimestamp(time_ // 1_000_000, UTC).replace(microsecond=time_ % 1_000_000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def pack(value: object) -> str:
    """Return a value as JSON for a column; lone surrogates, which SQLite cannot hold, stay escapes."""
    return json.dumps(value, separators=(",", ":"))
