"""A conversation's turns as a page is told of them: plain values, text made harmless, figures in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beatra_nb.display.clean import one_line, visible
from beatra_nb.display.pieces import credits_of, figure, seconds

if TYPE_CHECKING:
    from beatra_nb.core.conversation import Chat, Turn
    from beatra_nb.core.reply import Reply

_ENDED = {
    "length": "The answer stops here because it reached its limit of tokens.",
    "content_filter": "The service's content filter ended this answer.",
}


def told(turn: Turn, number: int) -> dict[str, Any]:
    """Return one turn as plain values; what is empty is left out, because a page may hold hundreds of them."""
    reply = turn.reply
    values = {
        "id": number,
        "you": visible(turn.prompt),
        "text": visible(reply.text),
        "who": one_line(reply.model or "Answer", 80),
        "facts": _facts(reply),
        "notes": _notes(reply),
        "request_id": one_line(reply.request_id or "", 120),
        "sandbox": reply.sandbox,
    }
    return {name: value for name, value in values.items() if value not in ("", [], False)}


def branch_name(at: int, chat: Chat) -> str:
    """Return what a branch is called, by its place among the branches."""
    count = len(chat)
    size = f"{count} {'turn' if count == 1 else 'turns'}"
    return f"Main · {size}" if at == 0 else f"Fork {at} · {size}"


def _facts(reply: Reply) -> list[str]:
    """What an answer took, in words."""
    usage = reply.usage
    tokens = usage.total_tokens or usage.prompt_tokens + usage.completion_tokens if usage else 0
    facts = [
        f"asked for {one_line(reply.asked_model, 80)}"
        if reply.asked_model not in ("", "auto", reply.model)
        else "",
        f"{figure(tokens)} {'token' if tokens == 1 else 'tokens'}" if tokens else "",
        credits_of(usage.credits) if usage else "",
        seconds(reply.elapsed),
        f"{figure(reply.attempts)} attempts" if reply.attempts > 1 else "",
    ]
    return [fact for fact in facts if fact]


def _notes(reply: Reply) -> list[str]:
    """What a reader must know of an answer beside its text."""
    notes = [
        f"Tool call: {one_line(call.name, 100)}({one_line(call.arguments, 400)})"
        for call in reply.tool_calls[:20]
    ]
    if len(reply.choices) > 1:
        notes.append(f"The first of {len(reply.choices)} answers; reply.choices holds them all.")
    if reply.finish_reason in _ENDED:
        notes.append(_ENDED[reply.finish_reason])
    if not reply.text.strip() and not notes:
        notes.append("The answer is empty.")
    return notes
