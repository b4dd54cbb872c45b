"""Views of lists of tasks: the account's, and this machine's unfinished ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from beatra_nb.display import tasks
from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import Scope, figure, get, id_badge, recorded_badge, sandbox_badge, words
from beatra_nb.display.view import Badge, Card, Note, Row, Stack, Table, Text, View

_UNITS = ((86_400 * 365, "y"), (86_400, "d"), (3600, "h"), (60, "min"))


def task_list(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a TaskList: the pages that have been fetched."""
    items: Sequence[object] = tuple(get(obj, "items", ()) or ())
    more = get(obj, "has_more") is True
    body: list[View] = [_table(items[: scope.rows])] if items else []
    if not items:
        body.append(Text("Nothing is loaded yet." if more else "No tasks.", quiet=True))
    if len(items) > scope.rows:
        body.append(
            Text(f"… {len(items) - scope.rows:,} more rows; iterate the list to see them.", quiet=True)
        )
    if more:
        body.append(
            Text(
                "… more pages: iterating fetches them, .more() the next one, .to_frame() up to 1,000.",
                quiet=True,
            )
        )
    count = Badge("", f"{len(items):,} {'task' if len(items) == 1 else 'tasks'}{' so far' if more else ''}")
    return Card(
        Stack(tuple(body)),
        label="Tasks",
        title=Text("Tasks", strong=True),
        footer=Row((*sandbox_badge(obj), count, *_filters(obj), *id_badge(obj))),
    )


def pending_list(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a PendingList: jobs found again, and those that cannot be."""
    items: Sequence[object] = tuple(get(obj, "items", ()) or ())
    lost: Sequence[object] = tuple(get(obj, "lost", ()) or ())
    unheard: Sequence[object] = tuple(get(obj, "unheard", ()) or ())
    body: list[View] = []
    if items:
        body.append(_table(items[: scope.rows]))
        again = type(obj).__name__.startswith("Async")
        wait = "await (await bn.apending()).wait()" if again else "bn.pending().wait()"
        body.append(Text(f"{wait} finishes them; each is a Task like any other.", quiet=True))
    elif not (lost or unheard):
        body.append(Text("No job that was begun here with this account is unfinished.", quiet=True))
    body += [lost_job(item, scope) for item in (*lost[: scope.rows], *unheard[: scope.rows])]
    if isinstance(more := get(obj, "elsewhere", 0), int) and more > 0:
        said = "1 more was" if more == 1 else f"{more:,} more were"
        body.append(
            Text(f"{said} begun here with another key or at another address: connect there.", quiet=True)
        )
    if (left := sum(max(0, len(each) - scope.rows) for each in (items, lost, unheard))) > 0:
        body.append(Text(f"… {left:,} more; .items, .lost and .unheard hold them all.", quiet=True))
    counts = [Badge("", f"{len(items):,} found again")] if items else []
    counts += [Badge("", f"{len(lost):,} lost")] if lost else []
    counts += [Badge("", f"{len(unheard):,} without an answer")] if unheard else []
    sandbox = [Badge("sandbox", tone="info")] if any(get(item, "sandbox") is True for item in items) else []
    footer = (*sandbox, *recorded_badge(*items), *counts)
    return Card(
        Stack(tuple(body)),
        label="Pending tasks",
        title=Text("Pending", strong=True),
        footer=Row(footer) if footer else None,
    )


def lost_job(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a LostJob: what was begun, why it cannot be found, and its key."""
    what = one_line(get(obj, "title") or "", 120)
    verb = one_line(get(obj, "verb") or "job", 60)
    began = get(obj, "started")
    when = f", begun {began.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if isinstance(began, datetime) else ""
    head = f"{verb}{f' “{what}”' if what else ''}{when}"
    reason = one_line(get(obj, "reason") or "", 600)
    key = one_line(get(obj, "idempotency_key") or "", 120)
    said = Note(f"{head}: {reason}" if reason else f"{head} cannot be found again.", "warn")
    return Stack((said, Badge("idempotency key", key, copy=True))) if key else said


def age(moment: object, now: datetime) -> str:
    """Return how long ago something was, in one unit: ``12 s``, ``3 min``, ``2 h``, ``5 d``.

    Examples
    --------
    >>> age(datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 15, tzinfo=UTC))
    '3 h'
    """
    if not isinstance(moment, datetime):
        return ""
    try:
        passed = (now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))).total_seconds()
    except (OverflowError, ValueError):
        return ""
    passed = max(0.0, passed)  # two clocks may disagree
    for length, unit in _UNITS:
        if passed >= length:
            return f"{int(passed // length):,} {unit}"
    return f"{int(passed)} s"


def _table(items: Sequence[object]) -> Table:
    now = datetime.now(UTC)
    columns: list[tuple[str, list[View]]] = [
        ("Status", [next(iter(tasks.status_badge(words(get(item, "status")))), Text("")) for item in items]),
        ("Title", [Text(tasks.title_of(item)) for item in items]),
        ("Model", [Text(tasks.models_of(item)) for item in items]),
        # Of what is on a cassette, its age is the one that it had.
        ("Age", [Text(age(get(item, "created_at"), get(item, "recorded") or now)) for item in items]),
    ]
    credits = [_credits(get(item, "billing")) for item in items]
    if any(credits):  # summaries do not tell of them
        columns.append(("Credits", [Text(text) for text in credits]))
    columns.append(("Task", [Badge("", one_line(get(item, "id") or "", 120), copy=True) for item in items]))
    heads = tuple(head for head, _ in columns)
    figures = frozenset(at for at, head in enumerate(heads) if head in ("Age", "Credits"))
    return Table(heads, tuple(zip(*(cells for _, cells in columns), strict=True)), figures, "Tasks")


def _credits(billing: object) -> str:
    paid, back = get(billing, "charged"), get(billing, "refunded")
    if paid is None:
        return ""
    return f"{figure(paid)} − {figure(back)}" if back else figure(paid)


def _filters(obj: object) -> list[View]:
    filters = get(obj, "filters")
    told = filters.items() if isinstance(filters, dict) else ()
    return [
        Badge(one_line(name, 40), one_line(value, 80))
        for name, value in told
        if name in ("status", "capability", "created_after", "created_before")
    ]
