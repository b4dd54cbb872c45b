"""Errors in words: what happened, whether it is safe to try again, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import Scope, as_json, get, id_badge, plain, recorded_badge, words
from beatra_nb.display.replies import reply as reply_view
from beatra_nb.display.view import Badge, Card, Code, Details, Fields, Row, Stack, Text, Tone, View

_TITLES = {
    "ConfigurationError": "The settings need a change",
    "SandboxUnavailable": "The sandbox cannot start here",
    "InvalidInput": "An argument cannot be used",
    "CheckpointError": "The checkpoint cannot be used",
    "UnknownPrompt": "There is no such prompt",
    "BudgetExceeded": "The budget has no room for this",
    "NotRecorded": "This was not recorded",
    "ConnectionFailed": "The connection failed",
    "Timeout": "No answer in time",
    "TaskTimeout": "The task is not over yet",
    "IncompleteStream": "The answer was cut short",
    "InvalidData": "The answer does not fit the schema",
    "AuthenticationError": "The key was not accepted",
    "PermissionDenied": "This is not permitted",
    "InsufficientBalance": "Not enough credits",
    "InvalidRequest": "The request needs a change",
    "NotFound": "There is no such thing",
    "Conflict": "This collides with an earlier call",
    "RateLimited": "Too many requests for the moment",
    "ServerError": "The service failed",
    "UnexpectedResponse": "That was not the API's answer",
    "TaskFailed": "The task failed",
    "APIError": "The service refused the call",
    "Interrupted": "Interrupted",
    "BeatraError": "Something went wrong",
}
_UNSENT = "Not as it stands. Nothing was sent, so nothing was charged."
_UNROOMED = "Yes, once the budget allows more. Nothing was sent, so nothing was charged."
_RESUME = "Not by running the cell again, which would begin another job: bn.pending() comes back to this one."
_NEW_CALL = (
    "Yes, as a new call, which may be charged as well. What had arrived is kept in the error's .reply."
)
_AGAIN = {
    "ConfigurationError": _UNSENT,
    "InvalidInput": _UNSENT,
    "BudgetExceeded": _UNROOMED,
    "NotRecorded": _UNSENT,
    "IncompleteStream": _NEW_CALL,
    "InvalidData": "Yes, as a new call, charged like any other. This answer is kept in the error's .reply.",
    "TaskTimeout": "No need: the task goes on by itself. error.task.wait() comes back to it.",
}
_UNKNOWN = "Not blindly: the service may have received the call and done the work."


@dataclass(frozen=True, slots=True)
class Facts:
    """What both the card in a notebook and the card in a terminal say."""

    title: str
    kind: str
    code: str
    message: str
    again: str
    todo: str
    param: str
    request_id: str


def facts(error: object) -> Facts:
    """Return an error in words."""
    names = [each.__name__ for each in type(error).__mro__]
    status, name = get(error, "status"), get(error, "code")
    code = " ".join(words(part) for part in (status, name) if part is not None)
    return Facts(
        title=next((_TITLES[name] for name in names if name in _TITLES), "Something went wrong"),
        kind=names[0],
        code=one_line(code if name is not None else f"HTTP {code}" if code else "", 120),
        message=words(get(error, "message")) or words(error),
        again=_again(error, names),
        todo=words(get(error, "hint")),
        param=one_line(get(error, "param") or "", 300),
        request_id=words(get(error, "request_id")),
    )


def _again(error: object, names: list[str]) -> str:
    if "Interrupted" in names:
        return _again_after_a_stop(error)
    for name in names:
        if name in _AGAIN:
            return _AGAIN[name]
    if get(error, "resumable", False) is True:
        return _RESUME
    if get(error, "retryable", False) is True:
        if {"ConnectionFailed", "Timeout"} & set(names) and get(error, "idempotency_key"):
            return "Yes, with the idempotency key named below: then nothing is paid twice."
        return "Yes, the same call may simply be made again."
    if {"ConnectionFailed", "Timeout"} & set(names):
        return _UNKNOWN
    return "No, the same call would fail again: change it first."


def _again_after_a_stop(error: object) -> str:
    reply, key = get(error, "reply"), get(error, "idempotency_key")
    if get(error, "task") is not None:
        return "No need: the task goes on by itself, and its .wait() comes back to it."
    if reply is not None and (words(get(reply, "text")) or get(reply, "complete", False) is True):
        return "Yes, as a new call, which may be charged as well."
    # A look-up has no key and costs nothing.
    return "Yes, with the key named below: then nothing is paid twice." if key else "Yes."


def error(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of any error of the tree, and of an interruption."""
    told = facts(obj)
    tone: Tone = "warn" if told.kind in ("Interrupted", "IncompleteStream") else "bad"
    fields: list[tuple[str, View]] = [("Field", Text(told.param))] if told.param else []
    fields.append(("Try again?", Text(told.again)))
    if told.todo:
        fields.append(("What to do", plain(told.todo, scope, "error.hint")))
    if ident := words(get(get(obj, "task"), "id")):
        fields.append(("Task", Badge("", one_line(ident, 120), copy=True)))
    body: list[View] = [plain(told.message, scope, "error.message"), Fields(tuple(fields))]
    if cause := get(obj, "cause"):
        body.append(Details("What cut it short", plain(words(cause), scope, "error.cause")))
    if errors := get(obj, "errors"):
        body.append(Details("What does not fit", as_json(errors, scope)))
    if details := get(obj, "details"):
        body.append(Details("Details from the service", as_json(details, scope)))
    if (reply := get(obj, "reply")) is not None:
        name = "The answer" if get(reply, "complete", True) else "What had arrived"
        body.append(Details(name, reply_view(reply, scope)))
    if start := words(get(obj, "body")):
        body.append(Details("The start of the body", _source(start, scope)))
    attempts = get(obj, "attempts", 0)
    tried = [Badge("", f"{attempts:,} attempts")] if isinstance(attempts, int) and attempts > 1 else []
    return Card(
        Stack(tuple(body)),
        label=f"Error: {told.title}",
        title=Row((Text(told.title, strong=True), *([Badge(told.code, tone=tone)] if told.code else []))),
        footer=Row((*recorded_in(obj), Badge("", told.kind), *tried, *id_badge(obj))),
        tone=tone,
    )


def recorded_in(error: object) -> list[View]:
    """Return the mark of an error that is on a cassette, itself or in what it is about."""
    return recorded_badge(error, get(error, "reply"), get(error, "task"), get(get(error, "result"), "totals"))


def _source(text: str, scope: Scope) -> Code:
    room = min(scope.room, 4_000)
    return Code(text if len(text) <= room else f"{text[:room]}\n… {len(text) - room:,} more characters")
