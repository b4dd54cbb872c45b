"""Views of tasks, in every state, and what the live card and the terminal say of one."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from beatra_nb.display import clips, failures
from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import (
    Scope,
    as_json,
    clock,
    credits_of,
    get,
    id_badge,
    marks,
    plain,
    recorded_badge,
    sandbox_badge,
    seconds,
    words,
)
from beatra_nb.display.view import (
    Badge,
    Card,
    Columns,
    Details,
    Fields,
    Meter,
    Note,
    Row,
    Stack,
    Text,
    Tone,
    View,
)

TONES: dict[str, Tone] = {
    "succeeded": "good",
    "failed": "bad",
    "canceled": "warn",
    "running": "info",
    "queued": "info",
}
_ATTACHED = {
    "rerun": "This is the job that the cell had already started: nothing new was created or charged.",
    "key": "This is the job that was already started with this idempotency key: nothing new was created or charged.",
    "pending": "This is the job that was already started before: nothing new was created or charged.",
    "resent": "Sent again under the key it was begun with: one job, charged once, whether or not the service had it.",
}


def task(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a Task."""
    status = words(get(obj, "status"))
    body: list[View] = []
    if note := _ATTACHED.get(words(get(obj, "attached"))):
        body.append(Note(note))
    body += _BODIES.get(status, _unknown)(obj, scope)
    if get(obj, "unwritten", False) is True:
        body.append(
            Note(
                "This job could not be written down on this machine: keep its id, bn.pending() will not know it.",
                "warn",
            )
        )
    # What was never made needs no remarks about it.
    if status != "canceled" and (warnings := tuple(get(obj, "warnings", ()) or ())):
        body.append(Note("\n".join(_warning(item) for item in warnings[: scope.rows]), "plain"))
    body += _folded(obj, scope)
    footer = (*sandbox_badge(obj), *_footer(obj))
    return Card(
        Stack(tuple(body)),
        label=f"Task, {one_line(status, 40) or 'status unknown'}",
        title=Row((Text(title_of(obj), strong=True), *status_badge(status))),
        footer=Row(footer) if footer else None,
        tone=TONES.get(status, "plain") if status in ("failed", "canceled") else "plain",
    )


def progress(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a Progress."""
    return _meter(obj) or Text("Nothing is known yet.", quiet=True)


def billing(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a Billing."""
    return Text(charged(obj) or "Nothing is known of a charge.", quiet=not charged(obj))


def warning(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a TaskWarning."""
    return Note(_warning(obj), "plain")


# ── what stands in several places ──


def title_of(obj: object) -> str:
    """Return a task's title, else the beginning of its prompt, else what it is."""
    title = one_line(get(obj, "title") or "", 160) or one_line(get(obj, "prompt") or "", 90)
    return title or kind_of(obj)


def kind_of(obj: object) -> str:
    """Return what kind of job a task is, in a word."""
    capability = one_line(get(obj, "capability") or "", 80)
    return "Music" if "music" in capability.lower() else capability or "Task"


def status_badge(status: str) -> list[View]:
    """Return a status as a badge; one that is not known stays plain."""
    name = one_line(status, 40)
    return [Badge(name, tone=TONES.get(name, "plain")) if name in TONES else Badge("", name)] if name else []


def models_of(obj: object) -> str:
    """Return the model asked for and the one that works: ``auto → suno-5.5``."""
    names = (one_line(get(obj, "model") or "", 80), one_line(get(obj, "resolved_model") or "", 80))
    return " → ".join(dict.fromkeys(name for name in names if name))


def charged(obj: object) -> str:
    """Return what was charged and refunded in words, or nothing where nothing is known."""
    paid, back = get(obj, "charged"), get(obj, "refunded")
    if not isinstance(paid, Decimal | int | float):
        return f"{credits_of(back)} refunded" if back else ""
    return f"{credits_of(paid)} charged, {credits_of(back)} refunded" if back else credits_of(paid)


def cost_of(obj: object) -> str:
    """Return what a task cost, or, before that is known, its price."""
    return charged(get(obj, "billing")) or one_line(get(obj, "price") or "", 80)


# ── the parts of the card ──


def _running(obj: object, scope: Scope) -> list[View]:
    out: list[View] = []
    if (meter := _meter(get(obj, "progress"))) is not None:
        out.append(meter)
    asked = "Cancelling has been asked for. " if get(obj, "cancel_requested_at") else ""
    passed, expected = clock(get(obj, "elapsed")), clock(get(obj, "expected"))
    time = f"{passed} so far" if passed else ""
    usual = f"such jobs lately took about {expected}" if expected else ""
    if said := "; ".join(part for part in (time, usual) if part):
        out.append(Text(f"{asked}{said[0].upper()}{said[1:]}.", quiet=True))
    elif asked:
        out.append(Text(asked.strip(), quiet=True))
    wait = "await " if type(obj).__name__.startswith("Async") else ""
    again = (
        f' bn.task("{ident}") finds it again, also tomorrow.'
        if (ident := one_line(get(obj, "id"), 80))
        else ""
    )
    out.append(
        Text(
            f"This is how it stood when it was shown. {wait}task.wait() waits for its end.{again}", quiet=True
        )
    )
    return out


def _succeeded(obj: object, scope: Scope) -> list[View]:
    items: Sequence[object] = tuple(get(obj, "clips", ()) or ())
    if not items:
        output = (get(obj, "raw") or {}).get("output") if isinstance(get(obj, "raw"), dict) else None
        if output:
            return [Details("Output", as_json(output, scope))]
        return [Text("Its output is not loaded: task.refresh() gets it.", quiet=True)]
    shown, room = items[: scope.rows], clips.Room()
    several = len(items) > 1
    players = [
        clips.player(
            item,
            scope,
            room,
            mark=clips.mark_of(at) if several else "",
            name=f"task.clips[{at}]",
            picture=len(items) <= clips.MOST_WAVES,
        )
        for at, item in enumerate(shown)
    ]
    out: list[View] = [Columns(tuple(players))]
    if several and (told := clips.differences(items)):
        marks = " / ".join(clips.mark_of(at) for at in range(len(items)))
        out.append(Text(f"{marks} differ: {told}", quiet=True))
    if len(items) > len(shown):
        out.append(Text(f"… {len(items) - len(shown):,} more clips; task.clips holds them all.", quiet=True))
    return out


def _failed(obj: object, scope: Scope) -> list[View]:
    error = get(obj, "error")
    if error is None:
        return [Text("The service does not say why it failed."), *_refund(obj)]
    told = failures.facts(error)
    fields: list[tuple[str, View]] = [("Code", Text(told.code))] if told.code else []
    fields.append(("Try again?", Text(told.again)))
    if told.todo:
        fields.append(("What to do", plain(told.todo, scope, "task.error.hint")))
    refund = [] if "refunded" in told.todo else _refund(obj)  # told once is enough
    return [plain(told.message, scope, "task.error.message"), Fields(tuple(fields)), *refund]


def _canceled(obj: object, scope: Scope) -> list[View]:
    return [Text("It was cancelled before it was done."), *_refund(obj)]


def _unknown(obj: object, scope: Scope) -> list[View]:
    told = one_line(get(obj, "status"), 80)
    odd = f"The service calls its status “{told}”, which this version does not know."
    said = odd if told else "The service does not tell its status."
    meter = _meter(get(obj, "progress"))
    return [
        *([meter] if meter is not None else []),
        Text(f"{said} task.refresh() asks again.", quiet=True),
    ]


_BODIES = {
    "queued": _running,
    "running": _running,
    "succeeded": _succeeded,
    "failed": _failed,
    "canceled": _canceled,
}


def _meter(obj: object) -> View | None:
    parts = (one_line(get(obj, "stage") or "", 80), one_line(get(obj, "message") or "", 200))
    label = " · ".join(dict.fromkeys(part for part in parts if part))
    percent = _percent(obj)
    if percent is not None:
        return Meter(percent, label)
    return Text(label) if label else None


def _percent(obj: object) -> float | None:
    percent = get(obj, "percent")
    known = isinstance(percent, int | float) and not isinstance(percent, bool) and 0 <= percent <= 100
    return float(percent) if known else None


def _refund(obj: object) -> list[View]:
    paid, back = get(get(obj, "billing"), "charged"), get(get(obj, "billing"), "refunded")
    if back:
        return [Note(f"{credits_of(back)} {'was' if back == 1 else 'were'} refunded.", "good")]
    if paid:
        return [Note(f"{credits_of(paid)} charged; nothing has been refunded so far.", "warn")]
    return []


def _warning(obj: object) -> str:
    message, code = one_line(get(obj, "message") or "", 600), one_line(get(obj, "code") or "", 80)
    field = one_line(get(obj, "field") or "", 80)
    about = f" (field {field})" if field else ""
    return message or (f"{code}{about}" if code else f"A warning without words{about}.")


def _folded(obj: object, scope: Scope) -> list[View]:
    items = tuple(get(obj, "clips", ()) or ())[: scope.rows]
    out: list[View] = []
    if prompt := words(get(obj, "prompt")):
        out.append(Details("Prompt", plain(prompt, scope, "task.prompt")))
    sung = [words(get(item, "lyrics")) for item in items]
    known = dict.fromkeys(text for text in sung if text)
    if len(known) == 1 or (not known and words(get(obj, "lyrics"))):
        out.append(
            Details("Lyrics", plain(next(iter(known), words(get(obj, "lyrics"))), scope, "task.lyrics"))
        )
    elif known:
        out += [
            Details(f"Lyrics of take {clips.mark_of(at)}", plain(text, scope, f"task.clips[{at}].lyrics"))
            for at, text in enumerate(sung)
            if text
        ]
    return out


def _footer(obj: object) -> list[View]:
    out: list[View] = [Badge("", text) for text in (models_of(obj),) if text]
    if paid := charged(get(obj, "billing")):
        out.append(Badge("", paid))
    elif price := one_line(get(obj, "price") or "", 80):
        out.append(Badge("price", price))
    if get(obj, "done") is True and (time := seconds(get(obj, "elapsed"))):
        out.append(Badge("", time))
    if ident := words(get(obj, "id")):
        out.append(Badge("task", one_line(ident, 120), copy=True))
    return out + id_badge(obj)


# ── the live card, and a terminal ──


def live_state(obj: object) -> dict[str, Any]:
    """Return what the live card shows of a task, as plain data."""
    far = get(obj, "progress")
    percent, expected, elapsed = _percent(far), get(obj, "expected"), get(obj, "elapsed")
    status, cost = words(get(obj, "status")), cost_of(obj)
    facts = [text for text in (models_of(obj), cost) if text]
    ids = [
        [label, one_line(value, 120)]
        for label, value in (("task", get(obj, "id")), ("request id", get(obj, "request_id")))
        if value
    ]
    return {
        "title": title_of(obj),
        "sandbox": get(obj, "sandbox") is True,
        "recorded": " ".join(marks(recorded_badge(obj))),
        "stage": one_line(get(far, "stage") or status or "sending the request", 80),
        "message": one_line(get(far, "message") or "", 200),
        "percent": None if percent is None else round(percent, 1),
        "elapsed": float(elapsed) if isinstance(elapsed, int | float) else 0.0,
        "expected": float(expected) if isinstance(expected, int | float) else None,
        "attached": bool(get(obj, "attached")),
        "facts": facts,
        "ids": ids,
    }


def ending(obj: object) -> str:
    """Return how a task ended, in one sentence for those who listen."""
    status, count = words(get(obj, "status")), len(tuple(get(obj, "clips", ()) or ()))
    if status == "succeeded":
        return (
            f"The music is ready: {count} {'take' if count == 1 else 'takes'}."
            if count
            else "The task is done."
        )
    return {"failed": "The task failed.", "canceled": "The task was cancelled."}.get(
        status, "The task goes on."
    )


def footer(obj: object) -> str:
    """Return one plain line about a task: how it stands, who does it, what it costs, and its id."""
    count = len(tuple(get(obj, "clips", ()) or ()))
    takes = f"{count} {'take' if count == 1 else 'takes'}" if count else ""
    ident = words(get(obj, "id"))
    parts = (
        words(get(obj, "status")),
        takes,
        models_of(obj),
        *marks(sandbox_badge(obj)),
        cost_of(obj),
        f"task {ident}" if ident else "",
    )
    return one_line(" · ".join(part for part in parts if part) or "task", 400)
