"""One row of the journal: what a call leaves behind. Never a prompt's text, an answer or a key."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from beatra_nb.core.seams import Showable

if TYPE_CHECKING:
    from collections.abc import Sequence

Status = Literal["ok", "error", "incomplete", "interrupted", "started"]

# Ids and model names come from a server and may be anything; a row stays small whatever they are.
MAX_TEXT = 300
MAX_MONEY = 60
SMALLEST, LARGEST = -(2**63), 2**63 - 1  # what SQLite can hold


@dataclass(frozen=True, slots=True)
class Entry(Showable):
    """A call, as the journal keeps it.

    Attributes
    ----------
    time : datetime
        When the call began, in UTC.
    verb : str
        What was called: ``"chat"``, ``"models"``, ``"health"``, …
    status : {"ok", "error", "incomplete", "interrupted", "started"}
        How it ended; ``incomplete`` is a stream that was cut short.
    asked_model, model : str or None
        The model that was asked for, and the one that answered.
    request_id : str or None
        The service's id of the exchange.
    idempotency_key : str or None
        The key of the logical call, the same on each of its attempts.
    attempts : int
        How often the request was sent.
    http_status : int or None
        The last answer's status; None where none arrived.
    prompt_tokens, completion_tokens, total_tokens : int or None
        Counts, where the service said.
    credits : Decimal or None
        What was charged, where the service said.
    duration : float
        Seconds from the call to its end, retries included.
    error_code, error_type : str or None
        The envelope's code and this package's error class.
    base_url : str or None
        Who was asked.
    sandbox : bool
        True when the sandbox answered, not the live service.
    task_id : str or None
        The task that the call made or looked at.
    prompt : str or None
        The prompt that it was made from, with the version: ``"translate@3f2a91c0"``.
    process : int
        The id of the process that called: which kernel it was.
    id : int or None
        The row's number; None until it has been written.
    """

    time: datetime
    verb: str
    status: Status = "ok"
    asked_model: str | None = None
    model: str | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    attempts: int = 1
    http_status: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    credits: Decimal | None = None
    duration: float = 0.0
    error_code: str | None = None
    error_type: str | None = None
    base_url: str | None = None
    sandbox: bool = False
    task_id: str | None = None
    prompt: str | None = None
    process: int = field(default_factory=os.getpid)
    id: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in FIELDS}


FIELDS: tuple[str, ...] = tuple(item.name for item in fields(Entry))
COLUMNS: tuple[str, ...] = tuple(name for name in FIELDS if name != "id")

# What a search looks through.
SEARCHED: tuple[str, ...] = (
    "request_id",
    "idempotency_key",
    "task_id",
    "prompt",
    "verb",
    "status",
    "asked_model",
    "model",
    "error_code",
    "error_type",
    "base_url",
)


def to_row(entry: Entry) -> tuple[object, ...]:
    """Turn an entry into what SQLite takes, in the order of ``COLUMNS``; trims odd values, refuses none."""
    time = entry.time if entry.time.tzinfo is UTC else entry.time.astimezone(UTC)
    return (
        time.isoformat(timespec="microseconds"),
        _text(entry.verb) or "",
        _text(entry.status) or "",
        _text(entry.asked_model),
        _text(entry.model),
        _text(entry.request_id),
        _text(entry.idempotency_key),
        _whole(entry.attempts),
        _whole(entry.http_status),
        _whole(entry.prompt_tokens),
        _whole(entry.completion_tokens),
        _whole(entry.total_tokens),
        None if entry.credits is None else _money(entry.credits),
        float(entry.duration),
        _text(entry.error_code),
        _text(entry.error_type),
        _text(entry.base_url),
        1 if entry.sandbox else 0,
        _text(entry.task_id),
        _text(entry.prompt),
        _whole(entry.process),
    )


def from_row(row: Sequence[Any]) -> Entry:
    """Turn a row of ``FIELDS`` back into an entry."""
    values = dict(zip(FIELDS, row, strict=True))
    values["time"] = datetime.fromisoformat(values["time"]).astimezone(UTC)
    if values["credits"] is not None:
        values["credits"] = Decimal(values["credits"])
    values["duration"] = values["duration"] or 0.0  # SQLite keeps a NaN as nothing
    values["sandbox"] = bool(values["sandbox"])
    return Entry(**values)


def _text(value: str | None) -> str | None:
    if value is None:
        return None
    if type(value) is str and len(value) <= MAX_TEXT and value.isascii():
        return value
    text = str(value)
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 1] + "…"
    # A lone surrogate is legal in a Python string and cannot be stored.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _money(value: Decimal) -> str | None:
    text = str(value)
    return text if value.is_finite() and len(text) <= MAX_MONEY else None


def _whole(value: int | None) -> int | None:
    if value is None:
        return None
    number = int(value)
    return number if SMALLEST <= number <= LARGEST else None
