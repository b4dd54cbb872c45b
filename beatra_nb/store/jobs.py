"""What must survive the death of a kernel: jobs that were begun, and files that were uploaded.

A job is written here before its request leaves, under its idempotency key and with its body. If the kernel dies
before the answer is read, the same request can be sent again under the same key, and the service gives back the
same task. As soon as the task's id is known the body is wiped: the service has it, and the journal keeps no
prompts. A job stays open until its result has been delivered.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from beatra_nb.core.errors import BeatraError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from beatra_nb.store.journal import Journal

# How a job stands. "sending": nobody knows yet whether the service has it. "open": the service has it.
# "delivered": over, and its result is here. "refused": the service did not take it.
OPEN = ("sending", "open")

_FIELDS = "key, place, started, verb, path, body, fingerprint, model, title, task_id, status"
_TAKEN = "place = ? AND fingerprint = ? AND status IN ('sending', 'open', 'delivered')"
DAY = 24 * 3600.0  # seconds that the service remembers a key
PATIENCE = 5.0  # seconds that a job is held up by another program that holds the journal
_SAMPLE = 15  # jobs that the expected duration is the median of


@dataclass(frozen=True, slots=True)
class Job:
    """A job, as it was begun here."""

    key: str
    place: str
    started: datetime
    verb: str
    path: str
    body: bytes | None
    fingerprint: str
    model: str = ""
    title: str = ""
    task_id: str | None = None
    status: str = "sending"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was uploaded from here."""

    sha256: str
    purpose: str
    metadata: dict[str, Any]
    artifact_id: str
    url: str
    media_type: str
    sandbox: bool


class Jobs:
    """The jobs and uploads of this user, in the journal's file.

    Writing never raises, like the journal's; a journal that cannot be written says so once.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def begin(self, place: str, key: str, *, started: float, body: bytes, **said: str) -> bool:
        """Write a job down before it is sent; return whether it is on disk.

        A job that was begun under this key before is begun again: one key is one job. One that had no answer yet is
        still as old as it was, since the service remembers its key from then on.

        Parameters
        ----------
        place, key : str
            Where it is sent, and under which idempotency key.
        started : float
            Now, in seconds since the epoch.
        body : bytes
            What is sent.
        **said : str
            ``verb``, ``path``, ``fingerprint``, ``model``, ``title``.
        """
        row = _row(place, key, started, body, said)
        statement = (
            f"INSERT INTO jobs ({_FIELDS}) VALUES ({', '.join('?' * len(row))}) "  # noqa: S608
            "ON CONFLICT (place, key) DO UPDATE SET body = excluded.body, "
            "started = CASE WHEN status = 'sending' THEN started ELSE excluded.started END, "
            "title = excluded.title, task_id = NULL, seconds = NULL, status = 'sending'"
        )
        self._forget_bodies(started)
        if self._journal.change(statement, row, patience=PATIENCE) is not None:
            return True
        self._journal.write(statement, row)  # says what is wrong, and is written when that has passed
        return False

    def claim(self, place: str, key: str, *, started: float, body: bytes, **said: str) -> bool | None:
        """Write a job down unless the same request has a job already, in one step for all kernels.

        Takes what ``begin`` takes.

        Returns
        -------
        bool or None
            Whether this is the job; None if the journal cannot be written.
        """
        row = _row(place, key, started, body, said)
        changed = self._journal.change(
            f"INSERT INTO jobs ({_FIELDS}) SELECT {', '.join('?' * len(row))} "  # noqa: S608
            f"WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE {_TAKEN})",
            (*row, place, said["fingerprint"]),
            patience=PATIENCE,
        )
        return None if changed is None else changed > 0

    def _forget_bodies(self, now: float) -> None:
        """Wipe what can never be sent again: the service has forgotten the key."""
        self._journal.change(
            "UPDATE jobs SET body = NULL, title = NULL WHERE body IS NOT NULL AND started < ?",
            (_time(now - DAY),),
        )

    def attach(self, place: str, key: str, task_id: str) -> bool:
        """Write down which task a job became; its body is not needed any more.

        Returns
        -------
        bool
            Whether that is news: however many kernels send a job again, one is the first to know.
        """
        statement = (
            "UPDATE jobs SET task_id = ?, body = NULL, title = NULL, status = 'open' "
            "WHERE place = ? AND key = ? AND task_id IS NULL"
        )
        values = (_text(task_id, 4000), place, key)
        changed = self._journal.change(statement, values)
        if changed is None:
            self._journal.write(statement, values)
        self._journal.tidy()
        return changed != 0

    def close(self, place: str, key: str, status: str) -> None:
        """Write down that there is nothing more to do for a job that became no task.

        One that was "refused" here, and became a task in another kernel meanwhile, stays as it is.
        """
        self._journal.write(
            "UPDATE jobs SET status = ?1, body = NULL, title = NULL WHERE place = ?2 AND key = ?3 "
            "AND (?1 != 'refused' OR task_id IS NULL)",
            (status, place, key),
        )

    def deliver(self, place: str, task_id: str, seconds: float | None) -> None:
        """Write down that a task is over and its result is here."""
        self._journal.write(
            "UPDATE jobs SET status = 'delivered', seconds = ?, body = NULL WHERE place = ? AND task_id = ?",
            (seconds, place, task_id),
        )

    def settle(self, place: str, task_id: str, refunded: Decimal) -> Decimal:
        """Note what was refunded of a job that was begun here; return how much of it is new.

        However many kernels see a refund, it is news to one.
        """
        found = self._glance("SELECT refunded FROM jobs WHERE place = ? AND task_id = ?", (place, task_id))
        before = found[0][0] if found else None
        known = Decimal(before or 0)
        if not found or refunded <= known:
            return Decimal(0)
        changed = self._journal.change(
            "UPDATE jobs SET refunded = ? WHERE place = ? AND task_id = ? AND refunded IS ?",
            (str(refunded), place, task_id, before),
        )
        return refunded - known if changed else Decimal(0)

    def find(self, place: str, key: str) -> Job | None:
        """Return the job of a key."""
        return self._one("place = ? AND key = ?", (place, key))

    def latest(self, place: str, fingerprint: str) -> Job | None:
        """Return the newest job with the same request that the service took or may have taken."""
        return self._one(_TAKEN, (place, fingerprint))

    def unfinished(self, place: str) -> list[Job]:
        """Return the jobs whose result is not here yet, oldest first."""
        rows = self._journal.read(
            f"SELECT {_FIELDS} FROM jobs WHERE place = ? AND status IN (?, ?) ORDER BY id",  # noqa: S608
            (place, *OPEN),
        )
        return [_job(row) for row in rows]

    def elsewhere(self, place: str) -> int:
        """Return how many unfinished jobs were begun with another key, or at another address."""
        rows = self._glance("SELECT count(*) FROM jobs WHERE place != ? AND status IN (?, ?)", (place, *OPEN))
        return int(rows[0][0]) if rows else 0

    def expected(self, place: str, model: str) -> float | None:
        """Return how long such jobs took lately: the median, in seconds."""
        rows = self._glance(
            "SELECT seconds FROM jobs WHERE place = ? AND model = ? AND seconds > 0 ORDER BY id DESC LIMIT ?",
            (place, model, _SAMPLE),
        )
        times = sorted(float(row[0]) for row in rows)
        return times[len(times) // 2] if times else None

    def uploaded(self, place: str, size: int) -> list[Upload]:
        """Return the files of this size that were uploaded to a place, newest first."""
        rows = self._glance(
            "SELECT sha256, purpose, metadata, artifact_id, url, media_type, sandbox FROM uploads "
            "WHERE place = ? AND size = ? ORDER BY id DESC LIMIT 100",
            (place, size),
        )
        found = []
        for sha256, purpose, metadata, artifact_id, url, media_type, sandbox in rows:
            with suppress(ValueError):  # a damaged row
                said = json.loads(metadata)
                found.append(
                    Upload(sha256, purpose, said, artifact_id, url or "", media_type or "", bool(sandbox))
                )
        return found

    def keep_upload(
        self, place: str, *, size: int, metadata: dict[str, Any], time: float, sandbox: bool, **said: str
    ) -> None:
        """Write down that a file was uploaded.

        Parameters
        ----------
        place : str
            Where to.
        size : int
            Bytes.
        metadata : dict
            What was said about it.
        time : float
            Now, in seconds since the epoch.
        sandbox : bool
            Whether a sandbox has it.
        **said : str
            ``sha256``, ``purpose``, ``artifact_id``, ``url``, ``media_type``.
        """
        self._journal.write(
            "INSERT INTO uploads (place, size, sha256, purpose, metadata, artifact_id, url, media_type, sandbox, "
            "time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                place,
                size,
                said["sha256"],
                said["purpose"],
                json.dumps(metadata, sort_keys=True),
                _text(said["artifact_id"]),
                _text(said["url"], 4000),
                _text(said["media_type"]),
                int(sandbox),
                _time(time),
            ),
        )

    def forget_upload(self, place: str, artifact_id: str) -> None:
        """Forget a file that the service does not know any more."""
        self._journal.write("DELETE FROM uploads WHERE place = ? AND artifact_id = ?", (place, artifact_id))

    def _glance(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        """Read what would be good to know; a journal that cannot be read costs nobody a call."""
        try:
            return self._journal.read(statement, values)
        except BeatraError:
            return []

    def _one(self, where: str, values: tuple[object, ...]) -> Job | None:
        rows = self._journal.read(
            f"SELECT {_FIELDS} FROM jobs WHERE {where} ORDER BY id DESC LIMIT 1",  # noqa: S608
            values,
        )
        return _job(rows[0]) if rows else None


def _row(place: str, key: str, started: float, body: bytes, said: Mapping[str, str]) -> tuple[object, ...]:
    return (
        key,
        place,
        _time(started),
        said["verb"],
        said["path"],
        body,
        said["fingerprint"],
        _text(said["model"]),
        _text(said["title"]),
        None,
        "sending",
    )


def _job(row: Sequence[Any]) -> Job:
    key, place, started, verb, path, body, fingerprint, model, title, task_id, status = row
    return Job(
        key,
        place,
        datetime.fromisoformat(started).astimezone(UTC),
        verb,
        path,
        bytes(body) if body is not None else None,
        fingerprint,
        model or "",
        title or "",
        task_id,
        status,
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _text(value: str | None, room: int = 300) -> str | None:
    """Return a text as it can be stored: a lone surrogate is written as an escape, an endless id is cut."""
    return None if value is None else value[:room].encode("utf-8", "backslashreplace").decode("utf-8")
