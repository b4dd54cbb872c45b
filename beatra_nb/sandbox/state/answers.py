"""Idempotency keys of requests that created something: remembered for a day, across restarts.

Looked up and written in the transaction that creates, so that of twenty requests with one key exactly one does.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from beatra_nb.sandbox.contract import Refusal
from beatra_nb.sandbox.ledger import KEEP_SECONDS
from beatra_nb.sandbox.state.sql import now, pack


def recall(db: sqlite3.Connection, key: str | None, fingerprint: str) -> dict[str, Any] | None:
    """Return the answer that a key has, or None; inside a transaction.

    Raises
    ------
    Refusal
        ``idempotency_conflict`` when the key belongs to another request.
    """
    if key is None:
        return None
    row = db.execute(
        "SELECT fingerprint, body FROM answers WHERE key = ? AND made >= ?", (key, _oldest())
    ).fetchone()
    if row is None:
        return None
    if row["fingerprint"] != fingerprint:
        raise Refusal("idempotency_conflict")
    body: dict[str, Any] = json.loads(row["body"])
    return body


def remember(db: sqlite3.Connection, key: str | None, fingerprint: str, body: dict[str, Any]) -> None:
    """Keep an answer under its key; inside a transaction."""
    if key is not None:
        db.execute(
            "INSERT OR REPLACE INTO answers (key, fingerprint, body, made) VALUES (?, ?, ?, ?)",
            (key, fingerprint, pack(body), now()),
        )


def forget_old(db: sqlite3.Connection) -> None:
    """Drop what is older than a day."""
    db.execute("DELETE FROM answers WHERE made < ?", (_oldest(),))


def _oldest() -> int:
    return now() - KEEP_SECONDS * 1_000_000
