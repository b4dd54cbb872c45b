"""What the page of a prompt builder is told about prompts, answers and versions: plain values, texts made safe."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from beatra_nb.core.prompt import Prompt
from beatra_nb.display.clean import one_line, visible
from beatra_nb.display.pieces import figure, seconds
from beatra_nb.interact.prompt_rows import as_text, shown
from beatra_nb.interact.prompt_runs import Answer, Version, words_of
from beatra_nb.interact.trouble import trouble

ROOM = 60_000  # characters of one answer, or of all messages, that a page is told
EXCERPT = 240  # characters of an answer beside its row


def row_texts(values: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what the cells of a row show."""
    return {name: shown(value) for name, value in values.items()}


def brief(answer: Answer, *, old: bool) -> dict[str, Any]:
    """Return what stands beside a row; ``old`` when the row has changed since."""
    out: dict[str, Any] = {"state": "done" if answer.ok else "error", "version": answer.version}
    if answer.ok and answer.reply is not None:
        parts = answer.fields
        text = " · ".join(f"{name}: {as_text(value)}" for name, value in parts.items()) or answer.reply.text
        out["text"] = one_line(text, EXCERPT)
    elif answer.error is not None:
        out["text"] = one_line(words_of(answer.error), EXCERPT)
    if answer.score is not None:
        out["score"] = answer.score
    if answer.cut:
        out["cut"] = True
    if old:
        out["old"] = True
    return out


def detail(answer: Answer, *, old: bool) -> dict[str, Any]:
    """Return everything about the answer of the row that is looked at; ``old`` when its row has changed since."""
    out: dict[str, Any] = {
        "version": answer.version,
        "score": answer.score,
        "old": old,
        "time": seconds(answer.seconds),
    }
    if answer.error is not None:
        out["trouble"] = trouble(answer.error)
    reply = answer.reply
    if reply is not None:
        text = visible(reply.text[:ROOM])
        more = len(reply.text) - ROOM
        out["text"] = (
            text if more <= 0 else f"{text}\n\n… {more:,} more characters: builder.answers holds them."
        )
        out["parts"] = [
            [one_line(name, 100), visible(as_text(value))[:ROOM]] for name, value in answer.fields.items()
        ]
        out["model"] = one_line(reply.model, 120)
        out["sandbox"] = reply.sandbox
        out["cut"] = answer.cut
    out["tokens"] = "" if answer.tokens is None else figure(answer.tokens)
    out["credits"] = "" if answer.credits is None else figure(answer.credits)
    out["request_id"] = one_line(answer.request_id or "", 120)
    return out


def messages_of(messages: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return messages to be shown, cut to what a page can show."""
    out, room = [], ROOM
    for each in messages:
        text = str(each["content"])
        cut = visible(text[: max(0, room)])
        room -= len(text)
        more = len(text) - len(text[: max(0, room + len(text))])
        out.append(
            {"role": str(each["role"]), "content": cut + (f"… {more:,} more characters" if more > 0 else "")}
        )
    return out


def summary(version: Version) -> dict[str, Any]:
    """Return a line of the history."""
    score = version.score
    return {
        "n": version.number,
        "time": datetime.fromtimestamp(version.time).strftime("%H:%M"),
        "answers": len(version.answers) - version.failed,
        "failed": version.failed,
        "score": "" if score is None else f"{score:.1f}",
        "scored": version.scored,
        "credits": "" if version.credits is None else figure(version.credits),
        "words": one_line(version.prompt.user or version.prompt.system or "", 120),
        "notes": version.notes,
    }


def more_of(prompt: Prompt) -> str:
    """Return what a prompt sends beside what has a field here."""
    return ", ".join(f"{name} = {one_line(as_text(value), 60)}" for name, value in prompt.options.items())
