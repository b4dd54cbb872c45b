"""What ``GET /v1/tasks`` may be asked: filters, order, pages."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

from starlette.datastructures import QueryParams

from beatra_nb.sandbox.contract import Refusal
from beatra_nb.sandbox.music_models import CAPABILITIES
from beatra_nb.sandbox.state.tasks import STATUSES, Task, Wanted
from beatra_nb.sandbox.task_wire import EXPANSIONS

MUSIC = "music"  # the catalog's word for both capabilities that have tasks: it leaves nothing out
KNOWN = ("status", "capability", "created_after", "created_before", "limit", "cursor", "order", "expand")


def wanted(query: QueryParams) -> tuple[Wanted, frozenset[str]]:
    """Read a list's query: what it shall hold, and what is expanded.

    Raises
    ------
    Refusal
        ``invalid_request`` with the parameter's name as a JSON Pointer.
    """
    for name in KNOWN:
        if len(query.getlist(name)) > 1:
            raise _bad(name, "may be given once")
    capability = _word(query, "capability", (MUSIC, *CAPABILITIES))
    newest_first = _word(query, "order", ("asc", "desc")) != "asc"
    expand = frozenset(part.strip() for part in query.get("expand", "").split(",") if part.strip())
    if unknown := sorted(expand - set(EXPANSIONS)):
        raise _bad(
            "expand", f"does not know {unknown[0][:40]!r}; it is a comma list of {', '.join(EXPANSIONS)}"
        )
    return Wanted(
        status=_word(query, "status", STATUSES),
        capability=None if capability == MUSIC else capability,
        created_after=_time(query, "created_after"),
        created_before=_time(query, "created_before"),
        newest_first=newest_first,
        after=_cursor(query, newest_first=newest_first),
        limit=_limit(query),
        whole=bool(expand & {"output", "input", "all"}),
    ), expand


def cursor(last: Task, *, newest_first: bool) -> str:
    """Return what continues a list after a task: opaque, and good for as long as the task is."""
    text = json.dumps([last.created, last.seq, "d" if newest_first else "a"], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _cursor(query: QueryParams, *, newest_first: bool) -> tuple[int, int] | None:
    given = query.get("cursor")
    if not given:
        return None
    try:
        created, seq, order = json.loads(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
        if type(created) is not int or type(seq) is not int or max(abs(created), abs(seq)) >= 2**63:
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise _bad(
            "cursor", "is not one that this list gave; leave it out to begin at the first page"
        ) from None
    if order != ("d" if newest_first else "a"):
        raise _bad("cursor", "belongs to a list in the other order")
    return created, seq


def _word(query: QueryParams, name: str, allowed: tuple[str, ...]) -> str | None:
    value = query.get(name)
    if not value:
        return None
    if value not in allowed:
        raise _bad(name, f"must be one of {', '.join(allowed)}, not {value[:40]!r}")
    return value


def _limit(query: QueryParams) -> int:
    value = query.get("limit", "20")
    if not (value.isascii() and value.isdecimal() and len(value) <= 4 and 1 <= int(value) <= 100):
        raise _bad("limit", "must be a whole number from 1 to 100")
    return int(value)


def _time(query: QueryParams, name: str) -> int | None:
    """Read a time: ISO 8601 (UTC where it does not say), or seconds since the epoch (not of eight digits: a day)."""
    value = query.get(name)
    if not value:
        return None
    try:
        try:
            if len(value) == 8 and value.isdecimal():
                raise ValueError  # 20260131 is a day, no count of seconds
            seconds = float(value)
        except ValueError:
            # A "+" of a zone that was not escaped arrives as a space.
            moment = datetime.fromisoformat(value.strip().replace(" ", "+") if "T" in value else value)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        microseconds = round(seconds * 1_000_000)
        if abs(microseconds) >= 2**62:
            raise ValueError
    except (ValueError, OverflowError):
        raise _bad(name, "must be a time such as 2026-01-31T12:00:00Z") from None
    return microseconds


def _bad(name: str, message: str) -> Refusal:
    field = f"/{name}"
    errors = [{"field": field, "message": message}]
    return Refusal("invalid_request", f"{name} {message}.", param=field, details={"errors": errors})
