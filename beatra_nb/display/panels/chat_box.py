"""The still of a chat box: the transcript of its conversation, and a word on how to go on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from beatra_nb.display import replies
from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import Scope, get
from beatra_nb.display.view import Card, Stack, Text, View

_GO_ON = "A chat box: run this cell to go on."


def chat_box(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a ChatBox."""
    transcript = replies.chat(get(obj, "chat"), scope)
    if not isinstance(transcript, Card):
        return transcript
    title = Text(one_line(get(obj, "title") or "Chat", 200), strong=True)
    body = Stack((transcript.body, Text(_GO_ON, quiet=True)))
    return replace(transcript, body=body, title=title, label="Chat box")
