"""The still of a chat box: the transcript of its conversation, and a word on how to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from beatra_nb.display import replies
from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import Scope, get, plain, words
from beatra_nb.display.view import Badge, Card, Message, Row, Stack, Text, View

_GO_ON = "A chat box: run this cell to go on."


def chat_box(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a ChatBox."""
    transcript = replies.chat(get(obj, "chat"), scope)
    if not isinstance(transcript, Card):
        return transcript
    title = Text(one_line(get(obj, "title") or "Chat", 200), strong=True)
    forks = get(obj, "forks") or ()
    body = [transcript.body, *_attempt(get(obj, "attempt"), scope)]
    if len(forks) > 1:
        at = next((at for at, each in enumerate(forks) if each is get(obj, "chat")), 0)
        body.append(Text(f"Branch {at + 1} of {len(forks)}: box.forks holds them all.", quiet=True))
    body.append(Text(_GO_ON, quiet=True))
    return replace(transcript, body=Stack(tuple(body)), title=title, label="Chat box")


def _attempt(attempt: Mapping[str, Any] | None, scope: Scope) -> list[View]:
    """Return what was said and is not part of the conversation."""
    if attempt is None:
        return []
    out: list[View] = [Message("user", plain(words(attempt["you"]), scope, "box.attempt"), mine=True)]
    if text := words(attempt["text"]):
        out.append(Message("answer, not whole", plain(text, scope, "box.attempt")))
    if attempt["state"] == "asking":
        return [*out, Text("This was still being answered.", quiet=True)]
    told = attempt.get("trouble") or {}
    mark = Badge("", "failed", tone="bad") if told else Badge("", "stopped", tone="warn")
    said = one_line(words(told.get("message")), 400)
    return [*out, Row((mark, Text(f"{said} It is not part of the conversation.".strip())))]
