"""Tasks and their way from ``queued`` to an end.

Every step is one conditional UPDATE: it says which status and which owner it starts from, and whoever comes second
changes nothing. What a step brings with it (a refund, the clips' artifacts) is written in the same transaction,
so a task ends once and is refunded at most once, whoever is killed in the middle.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from beatra_nb.sandbox.contract import Refusal
from beatra_nb.sandbox.state import artifacts, wallet
from beatra_nb.sandbox.state.artifacts import Artifact
from beatra_nb.sandbox.state.sql import now, pack, transaction

STATUSES = ("queued", "running", "succeeded", "failed", "canceled")
ACTIVE = ("queued", "running")
MAX_ATTEMPTS = 10  # how often a task may lose its process, by kills of the whole sandbox
MAX_CRASHES = 2  # how often it may lose its worker alone

_SUMMARY = (
    "seq, id, status, capability, model, resolved_model, title, metadata, percent, stage, message, warnings, "
    "error, characters, audio_seconds, charged, refunded, created, started, completed, cancel_requested"
)
LOOKED_AHEAD = 1000  # places in the queue that are counted one by one


@dataclass(frozen=True, slots=True)
class Task:
    """A row of the table, its JSON read."""

    seq: int
    id: str
    status: str
    capability: str
    model: str
    resolved_model: str
    title: str | None
    metadata: dict[str, Any]
    percent: float
    stage: str
    message: str
    warnings: list[dict[str, Any]]
    error: dict[str, Any] | None
    characters: int
    audio_seconds: float | None
    charged: int
    refunded: int
    created: int
    started: int | None
    completed: int | None
    cancel_requested: int | None
    input: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    place: int | None = None  # in the queue, from 1; None when it is not queued or far back

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status not in ACTIVE


@dataclass(frozen=True, slots=True)
class NewTask:
    """What a task is created with; ``spec`` is the worker's order, ``input`` what the user sent."""

    id: str
    capability: str
    model: str
    resolved_model: str
    title: str | None
    metadata: dict[str, Any]
    input: dict[str, Any]
    spec: dict[str, Any]
    cost: int
    characters: int
    warnings: list[dict[str, Any]] = field(default_factory=list)
    reference: str | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A task that was claimed for work."""

    id: str
    spec: dict[str, Any]
    reference: str | None  # the path of the reference audio below the files' folder
    fault: str | None
    title: str | None


def create(db: sqlite3.Connection, new: NewTask) -> Task:
    """Write a task and take its price; inside a transaction."""
    db.execute(
        "INSERT INTO tasks (id, status, capability, model, resolved_model, title, metadata, input, spec, "
        "reference, fault, warnings, characters, charged, created) "
        "VALUES (?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.id,
            new.capability,
            new.model,
            new.resolved_model,
            new.title,
            pack(new.metadata),
            pack(new.input),
            pack(new.spec),
            new.reference,
            new.fault,
            pack(new.warnings),
            new.characters,
            new.cost,
            now(),
        ),
    )
    wallet.charge(db, new.id, new.cost)
    return get(db, new.id)


def get(db: sqlite3.Connection, task_id: str) -> Task:
    """Return one task whole.

    Raises
    ------
    Refusal
        ``not_found``.
    """
    row = db.execute(f"SELECT {_SUMMARY}, input, output FROM tasks WHERE id = ?", (task_id,)).fetchone()  # noqa: S608
    if row is None:
        raise Refusal("not_found", f"There is no task {task_id[:80]!r}.")
    return _task(row, _places(db) if row["status"] == "queued" else {})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tasks a list shall hold. ``after`` is the last (created, seq) of the page before."""

    status: str | None = None
    capability: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    newest_first: bool = True
    after: tuple[int, int] | None = None
    limit: int = 20
    whole: bool = False


def page(db: sqlite3.Connection, wanted: Wanted) -> tuple[list[Task], bool]:
    """Return one page and whether there is more.

    Pages are found by the key of the last task, so that the hundredth costs what the first does and tasks that
    come meanwhile shift nothing.
    """
    where, values = ["1"], list[object]()
    for condition, value in (
        ("status = ?", wanted.status),
        ("capability = ?", wanted.capability),
        ("created > ?", wanted.created_after),
        ("created < ?", wanted.created_before),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    if wanted.after is not None:
        where.append(f"(created, seq) {'<' if wanted.newest_first else '>'} (?, ?)")
        values += wanted.after
    order = "DESC" if wanted.newest_first else "ASC"
    columns = f"{_SUMMARY}, input, output" if wanted.whole else _SUMMARY
    found = db.execute(
        f"SELECT {columns} FROM tasks WHERE {' AND '.join(where)} "  # noqa: S608 - nothing but our own words
        f"ORDER BY created {order}, seq {order} LIMIT ?",
        (*values, wanted.limit + 1),
    ).fetchall()
    rows = found[: wanted.limit]
    places = _places(db) if any(row["status"] == "queued" for row in rows) else {}
    return [_task(row, places) for row in rows], len(found) > wanted.limit


def counts(db: sqlite3.Connection) -> dict[str, int]:
    """Return how many tasks have each status."""
    found = {row[0]: row[1] for row in db.execute("SELECT status, count(*) FROM tasks GROUP BY status")}
    return {status: found.get(status, 0) for status in STATUSES}


# --- work


def waiting(db: sqlite3.Connection) -> bool:
    """Whether anything is queued."""
    return db.execute("SELECT 1 FROM tasks WHERE status = 'queued' LIMIT 1").fetchone() is not None


def claim(db: sqlite3.Connection, owner: str) -> Job | None:
    """Take the task that has waited longest, or None; inside a transaction."""
    row = db.execute(
        "SELECT tasks.id, spec, fault, title, attempts, artifacts.path FROM tasks "
        "LEFT JOIN artifacts ON artifacts.id = reference "
        "WHERE status = 'queued' ORDER BY tasks.created, seq LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    db.execute(
        "UPDATE tasks SET status = 'running', owner = ?, attempts = attempts + 1, stage = 'starting', message = '', "
        "started = coalesce(started, ?) WHERE id = ?",
        (owner, now(), row["id"]),
    )
    return Job(
        id=row["id"],
        spec=json.loads(row["spec"]),
        reference=row["path"],
        fault=row["fault"],
        title=row["title"],
    )


def advance(
    db: sqlite3.Connection, task_id: str, owner: str, percent: float, stage: str, message: str
) -> bool:
    """Note progress, which never goes backwards; False when the task is no longer this owner's."""
    done = db.execute(
        "UPDATE tasks SET percent = max(percent, ?), stage = ?, message = ? "
        "WHERE id = ? AND owner = ? AND status = 'running'",
        (percent, stage, message, task_id, owner),
    )
    return done.rowcount == 1


def succeed(
    db: sqlite3.Connection,
    task_id: str,
    owner: str,
    *,
    output: dict[str, Any],
    warnings: Sequence[dict[str, Any]],
    audio_seconds: float,
    made: Sequence[Artifact],
) -> bool:
    """End a task well, with its files; False when it had already ended or belongs to another."""
    with transaction(db):
        row = db.execute("SELECT warnings FROM tasks WHERE id = ?", (task_id,)).fetchone()
        known: list[dict[str, Any]] = json.loads(row[0]) if row is not None else []
        done = db.execute(
            "UPDATE tasks SET status = 'succeeded', percent = 100, stage = 'done', message = '', owner = NULL, "
            "output = ?, warnings = ?, audio_seconds = ?, completed = ? "
            "WHERE id = ? AND owner = ? AND status = 'running'",
            (pack(output), pack([*known, *warnings]), audio_seconds, now(), task_id, owner),
        )
        if done.rowcount != 1:
            return False
        for artifact in made:
            artifacts.add(db, artifact)
    return True


def fail(db: sqlite3.Connection, task_id: str, owner: str, error: dict[str, Any]) -> bool:
    """End a task in failure and give its price back; False when it is no longer this owner's."""
    with transaction(db):
        return _fail(db, task_id, owner, error)


def crash(db: sqlite3.Connection, task_id: str, owner: str, error: dict[str, Any]) -> bool:
    """Queue a task once more whose worker died, or end it when that has happened too often."""
    with transaction(db):
        again = db.execute(
            "UPDATE tasks SET status = 'queued', owner = NULL, crashes = crashes + 1, "
            "message = 'The composer ended unexpectedly and starts again' "
            "WHERE id = ? AND owner = ? AND status = 'running' AND crashes + 1 < ?",
            (task_id, owner, MAX_CRASHES),
        )
        return again.rowcount == 1 or _fail(db, task_id, owner, error)


def release(db: sqlite3.Connection, task_id: str, owner: str) -> None:
    """Put a task back into the queue because its sandbox stops: that is no failed attempt."""
    db.execute(
        "UPDATE tasks SET status = 'queued', owner = NULL, attempts = attempts - 1, message = '' "
        "WHERE id = ? AND owner = ? AND status = 'running'",
        (task_id, owner),
    )


def requeue(db: sqlite3.Connection, owner: str) -> int:
    """Put every task of an owner that is gone back into the queue; inside a transaction."""
    error = {
        "code": "model_unavailable",
        "message": f"The sandbox ended {MAX_ATTEMPTS} times while it worked on this.",
        "retryable": True,
    }
    gone = db.execute(
        "SELECT id, attempts FROM tasks WHERE owner = ? AND status = 'running'", (owner,)
    ).fetchall()
    for row in gone:
        if row["attempts"] >= MAX_ATTEMPTS:
            _fail(db, row["id"], owner, error)
        else:
            db.execute(
                "UPDATE tasks SET status = 'queued', owner = NULL, message = '' "
                "WHERE id = ? AND owner = ? AND status = 'running'",
                (row["id"], owner),
            )
    return len(gone)


def working(db: sqlite3.Connection, owner: str) -> set[str]:
    """Return the ids of the tasks that an owner has."""
    return {row[0] for row in db.execute("SELECT id FROM tasks WHERE owner = ?", (owner,))}


def cancel(db: sqlite3.Connection, task_id: str, reason: str | None) -> tuple[Task, bool]:
    """Cancel a task and give its price back; one that is over is returned unchanged, with False."""
    with transaction(db):
        moment = now()
        done = db.execute(
            "UPDATE tasks SET status = 'canceled', owner = NULL, message = '', refunded = charged, "
            "cancel_requested = ?, cancel_reason = ?, completed = ? "
            "WHERE id = ? AND status IN ('queued', 'running')",
            (moment, reason, moment, task_id),
        )
        if done.rowcount == 1:
            _pay_back(db, task_id)
    return get(db, task_id), done.rowcount == 1


def _fail(db: sqlite3.Connection, task_id: str, owner: str, error: dict[str, Any]) -> bool:
    done = db.execute(
        "UPDATE tasks SET status = 'failed', owner = NULL, message = '', error = ?, refunded = charged, "
        "completed = ? WHERE id = ? AND owner = ? AND status = 'running'",
        (pack(error), now(), task_id, owner),
    )
    if done.rowcount == 1:
        _pay_back(db, task_id)
    return done.rowcount == 1


def _pay_back(db: sqlite3.Connection, task_id: str) -> None:
    charged = db.execute("SELECT charged FROM tasks WHERE id = ?", (task_id,)).fetchone()[0]
    wallet.refund(db, task_id, charged)


# --- rows


def _places(db: sqlite3.Connection) -> dict[int, int]:
    rows = db.execute(
        "SELECT seq FROM tasks WHERE status = 'queued' ORDER BY created, seq LIMIT ?", (LOOKED_AHEAD,)
    )
    return {row[0]: place for place, row in enumerate(rows, 1)}


def _task(row: sqlite3.Row, places: dict[int, int]) -> Task:
    fields: dict[str, Any] = dict(zip(row.keys(), row, strict=True))
    for name in ("metadata", "warnings", "error", "input", "output"):
        if fields.get(name) is not None:
            fields[name] = json.loads(fields[name])
    return Task(**fields, place=places.get(fields["seq"]))
