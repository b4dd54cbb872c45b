"""A lane of a comparison as a page is told of it: plain values, and nothing that a blind round hides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import credits_of, figure, seconds
from beatra_nb.interact.trouble import trouble

if TYPE_CHECKING:
    from beatra_nb.core.reply import Reply
    from beatra_nb.interact.lanes import Lane
    from beatra_nb.interact.rounds import Outcome

_SECRET = {"title": "No whole answer came", "message": "Why is told when the round is revealed."}


def column_of(lane: Lane, label: str, outcome: Outcome | None, *, hidden: bool) -> dict[str, Any]:
    """Return a lane and what came of it, without its text; ``hidden``, without what would tell which lane it is."""
    reply = None if outcome is None else outcome.reply
    column: dict[str, Any] = {
        "label": "" if hidden else label,
        "name": "" if hidden else lane.name,
        "model": "" if hidden else one_line(lane.model, 200),
        "temperature": None if hidden else lane.temperature,
        "extra": "" if hidden else lane.extra,
        "asked": None if hidden or outcome is None else _asked(lane, label, outcome),
        "state": "" if outcome is None else outcome.state,
        "votes": 0 if outcome is None else outcome.votes,
        "note": "" if outcome is None else _note(outcome, hidden),
        "facts": [] if hidden or outcome is None else _facts(outcome),
        "answered": "" if hidden or reply is None else _answered(reply),
        "request_id": "" if hidden or reply is None else one_line(reply.request_id or "", 200),
        "error": None,
    }
    if outcome is not None and outcome.error is not None:
        column["error"] = _SECRET if hidden else trouble(outcome.error)
    return column


def _asked(lane: Lane, label: str, outcome: Outcome) -> dict[str, Any] | None:
    """Return what the answer was asked for with, where the lane has been changed since."""
    was = outcome.lane
    if was is None or (was, outcome.label) == (lane, label):
        return None
    return {
        "label": outcome.label,
        "model": one_line(was.model, 200),
        "temperature": was.temperature,
        "extra": was.extra,
    }


def _answered(reply: Reply) -> str:
    """Return who answered: ``auto → the model``."""
    names = (one_line(reply.asked_model, 100), one_line(reply.model, 100))
    return " → ".join(dict.fromkeys(name for name in names if name))


def _facts(outcome: Outcome) -> list[str]:
    """Return times, tokens and credits in words."""
    reply = outcome.reply
    out = [f"first words {words}"] if (words := seconds(outcome.first)) else []
    if reply is None:
        return out
    if time_ := seconds(reply.elapsed):
        out.append(time_)
    if reply.usage is not None:
        tokens = reply.usage.completion_tokens
        out += [f"{figure(tokens)} {'token' if tokens == 1 else 'tokens'}"] if tokens else []
        out += [words] if (words := credits_of(reply.usage.credits)) else []
    return out


def _note(outcome: Outcome, hidden: bool) -> str:
    """Return what must be known of an answer that is not whole."""
    reply = outcome.reply
    if outcome.state == "stopped":
        return "Stopped: this is not the whole answer." if reply else "Stopped before any words came."
    if reply is not None and not reply.complete and outcome.over:
        why = one_line(reply.cut_by or "", 300).rstrip(".")
        return f"Cut short{f': {why}' if why and not hidden else ''}. This is not the whole answer."
    if reply is not None and reply.finish_reason == "length":
        return "It stops here because it reached its limit of tokens."
    if reply is not None and outcome.state == "done" and not reply.text.strip():
        return "The answer is empty."
    return ""
