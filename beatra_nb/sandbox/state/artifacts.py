"""Files that have an id and an address: uploads and the clips of tasks."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from dataclasses import dataclass, field
from typing import Any

from beatra_nb.sandbox.state.sql import now, pack


@dataclass(frozen=True, slots=True)
class Artifact:
    """A row of the table. ``path`` is relative to the files' folder, ``name`` the last part of its address."""

    id: str
    path: str
    name: str
    filename: str
    media_type: str
    purpose: str
    bytes: int
    sha256: str
    metadata: dict[str, Any] = field(default_factory=dict)
    task_id: str | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    created: int = field(default_factory=now)
    expired: int | None = None

    @property
    def address(self) -> str:
        """Its address below the server's own."""
        return f"/cdn/{self.token}/{self.name}"


def add(db: sqlite3.Connection, artifact: Artifact) -> None:
    """Write an artifact; inside a transaction."""
    db.execute(
        "INSERT INTO artifacts (id, token, task_id, path, name, filename, media_type, purpose, bytes, sha256, "
        "metadata, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            artifact.id,
            artifact.token,
            artifact.task_id,
            artifact.path,
            artifact.name,
            artifact.filename,
            artifact.media_type,
            artifact.purpose,
            artifact.bytes,
            artifact.sha256,
            pack(artifact.metadata),
            artifact.created,
        ),
    )


def revive(db: sqlite3.Connection, artifact_id: str) -> None:
    """Note that an artifact's file is there again; inside a transaction."""
    db.execute("UPDATE artifacts SET expired = NULL WHERE id = ?", (artifact_id,))


def by_id(db: sqlite3.Connection, artifact_id: str) -> Artifact | None:
    """Return an artifact by its id, or None."""
    return _artifact(db.execute("SELECT * FROM artifacts WHERE id = ?", (artifact_id,)).fetchone())


def by_token(db: sqlite3.Connection, token: str) -> Artifact | None:
    """Return an artifact by the secret part of its address, or None."""
    return _artifact(db.execute("SELECT * FROM artifacts WHERE token = ?", (token,)).fetchone())


def safe_name(text: str, suffix: str = "", fallback: str = "file") -> str:
    """Return a file name that no address, header or disk can misread: plain letters, digits, ``-_.``."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:80]
    stem = re.sub(r"-*\.[-.]*", ".", stem).strip("-._")
    return (stem or fallback) + suffix


def _artifact(row: sqlite3.Row | None) -> Artifact | None:
    if row is None:
        return None
    fields: dict[str, Any] = dict(zip(row.keys(), row, strict=True))
    return Artifact(**{**fields, "metadata": json.loads(fields["metadata"])})
