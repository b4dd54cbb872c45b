"""Views of answers and of conversations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from beatra_nb.display.clean import one_line
from beatra_nb.display.data import parsed
from beatra_nb.display.pieces import (
    NORMAL,
    Scope,
    as_json,
    figure,
    get,
    id_badge,
    plain,
    prose,
    recorded_badge,
    sandbox_badge,
    seconds,
    usage_badges,
    words,
)
from beatra_nb.display.view import Badge, Card, Details, Message, Note, Row, Stack, Table, Text, View

_STOPPED = {
    "length": "The answer stops here because it reached its limit of tokens: ask again with a larger max_tokens.",
    "content_filter": "The service's content filter ended this answer.",
}
_TURN_ROOM = 8_000  # characters of one turn's text inside a transcript
_TRANSCRIPT_ROOM = 60_000  # characters of all turns that are shown whole
_LOOK = 'chat.turns[0] shows one, chat.export("chat.html") writes them all'


def reply(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a Reply."""
    return Card(
        Stack(tuple(_body(obj, scope, "reply.text"))),
        label="Answer" if get(obj, "complete", True) else "Answer, cut short",
        footer=_row(*_marks(obj), *_footer(obj)),
        tone="plain" if get(obj, "complete", True) else "warn",
    )


def usage(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a Usage."""
    return Row(tuple(usage_badges(obj)) or (Text("No usage is known.", quiet=True),))


def turn(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of one Turn."""
    answer = get(obj, "reply")
    return Card(
        Stack(_voices(obj, scope, "turn")),
        label="Turn",
        footer=_row(*_marks(answer), *_footer(answer)),
        tone="plain" if get(answer, "complete", True) else "warn",
    )


def chat(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the transcript of a conversation: the latest turns whole, older ones folded, the oldest counted."""
    turns: Sequence[Any] = get(obj, "turns", ()) or ()
    count = len(turns)
    shown = _fitting(turns, scope)
    first = count - shown  # of the turns that are shown whole
    listed = min(first, scope.listed)
    body: list[View] = []
    system = words(get(obj, "system"))
    if system:
        body.append(Details("System prompt", plain(system, scope, "chat.system")))
    if first > listed:
        span = f"Turns 1–{first - listed:,} are" if first - listed > 1 else "Turn 1 is"
        body.append(Text(f"{span} not shown here: {_LOOK}.", quiet=True))
    if listed:
        span = f"{first - listed + 1:,}–{first:,}" if listed > 1 else f"{first:,}"
        body.append(
            Details(
                f"Earlier turns {span} of {count:,}, in excerpts", _excerpts(turns, first - listed, first)
            )
        )
    for at in range(first, count):
        body += _voices(turns[at], scope, f"chat.turns[{at}]", small=True)
    if not count:
        body.append(Text('No turns yet: chat.send("…") makes the first.', quiet=True))
    answers = [get(item, "reply") for item in turns]
    total = [
        Badge("", f"{count:,} {'turn' if count == 1 else 'turns'}"),
        Badge("model", words(get(obj, "model"))),
    ]
    sandbox = [Badge("sandbox", tone="info")] if any(get(item, "sandbox") is True for item in answers) else []
    return Card(
        Stack(tuple(body)),
        label="Conversation",
        title=Text(one_line(get(obj, "title") or "Conversation", 200), strong=True),
        footer=Row((*sandbox, *recorded_badge(*answers), *total, *usage_badges(get(obj, "usage")))),
    )


def _fitting(turns: Sequence[Any], scope: Scope) -> int:
    """Count how many of the latest turns may be shown whole; one always is."""
    room = scope.room if scope.room > NORMAL.room else min(scope.recent * scope.room, _TRANSCRIPT_ROOM)
    shown = 0
    for item in reversed(turns):
        answer = get(item, "reply")
        limit = _turn_scope(scope).room
        room -= min(len(words(get(item, "prompt"))), limit) + min(len(words(get(answer, "text"))), limit)
        if shown >= scope.recent or (room < 0 and shown):
            break
        shown += 1
    return shown


def _turn_scope(scope: Scope) -> Scope:
    if scope.room > NORMAL.room:
        return scope
    return Scope(min(scope.room, _TURN_ROOM), scope.recent, scope.listed, scope.rows)


def _excerpts(turns: Sequence[Any], start: int, stop: int) -> Table:
    rows = tuple(
        (
            Text(f"{at + 1:,}", quiet=True),
            Text(_excerpt(get(turns[at], "prompt"), 70)),
            Text(_excerpt(get(get(turns[at], "reply"), "text"), 110)),
        )
        for at in range(start, stop)
    )
    return Table(("#", "You", "Answer"), rows, frozenset({0}), "Earlier turns")


def _excerpt(text: object, room: int) -> str:
    """Return the first words, without the commonest marks of markdown: they would only be noise here."""
    return one_line(text or "", room).replace("**", "").replace("`", "")


def _voices(obj: Any, scope: Scope, where: str, *, small: bool = False) -> tuple[View, View]:  # noqa: ANN401
    answer = get(obj, "reply")
    room = _turn_scope(scope) if small else scope
    footer = _row(*_cut(answer), *_footer(answer, small=True)) if small else None
    return (
        Message("You", plain(get(obj, "prompt"), room, f"{where}.prompt"), mine=True),
        Message(_who(answer), Stack(tuple(_body(answer, room, f"{where}.reply.text"))), footer=footer),
    )


def _who(answer: object) -> str:
    return one_line(get(answer, "model") or "Answer", 80)


def _body(obj: Any, scope: Scope, where: str) -> list[View]:  # noqa: ANN401
    text = words(get(obj, "text"))
    out: list[View] = []
    data = get(obj, "data")
    if data is not None:
        out.append(parsed(data, scope))
        out.append(Details("The answer as it came", as_json(text, scope)))
    elif len(choices := tuple(get(obj, "choices", ()) or ())) > 1:
        out += [
            Message(f"Answer {at} of {len(choices)}", prose(each, scope, "reply.choices"))
            for at, each in enumerate(choices[: scope.rows], 1)
        ]
    elif text.strip():
        out.append(prose(text, scope, where))
    for call in tuple(get(obj, "tool_calls", ()) or ())[: scope.rows]:
        name, ident = one_line(get(call, "name"), 100), one_line(get(call, "id"), 100)
        label = f"Tool call: {name}" + (f" ({ident})" if ident else "")
        out.append(as_json(words(get(call, "arguments")), scope, label))
    complete = get(obj, "complete", True)
    if not text.strip() and (refusal := _refusal(obj)):
        out.append(Note(f"The model declined: {refusal}", "warn"))
    if not out:
        out.append(Text("The answer is empty." if complete else "Nothing had arrived.", quiet=True))
    if not complete:
        why = one_line(get(obj, "cut_by"), 400).rstrip(".")
        out.append(Note(f"Cut short{': ' + why if why else ''}. This is not the whole answer.", "warn"))
    elif (reason := get(obj, "finish_reason")) in _STOPPED:
        out.append(Note(_STOPPED[reason], "warn"))
    if repairs := _repairs(obj):
        out.append(
            Note(
                f"An answer did not fit the schema, so it was asked for again: {repairs + 1:,} answers in all, "
                "each of them charged. The usage is their sum.",
                "plain",
            )
        )
    return out


def _repairs(obj: object) -> int:
    """Return how often the answer was asked for again."""
    repairs = get(obj, "repairs", 0)
    return repairs if type(repairs) is int and repairs > 0 else 0


def _refusal(obj: object) -> str:
    """Return the words in which a model declined, which the API sends beside the text; of any odd raw, nothing."""
    try:
        refusal = get(obj, "raw")["choices"][0]["message"]["refusal"]
    except Exception:
        return ""
    return one_line(refusal, 2_000) if isinstance(refusal, str) else ""


def _row(*items: View) -> Row | None:
    return Row(items) if items else None


def _cut(obj: object) -> list[View]:
    return [] if get(obj, "complete", True) else [Badge("incomplete", tone="warn")]


def _marks(obj: object) -> list[View]:
    return [*sandbox_badge(obj), *_cut(obj)]


def _footer(obj: object, *, small: bool = False) -> list[View]:
    model, asked = words(get(obj, "model")), words(get(obj, "asked_model"))
    out: list[View] = []
    if model and not small:
        out.append(Badge("", one_line(model, 100)))
    if get(obj, "fallback", False):
        out.append(Badge(f"fallback: {one_line(asked, 80)} was not available", tone="warn"))
    elif asked not in ("", "auto", model):
        out.append(Badge("asked for", one_line(asked, 100)))
    if repairs := _repairs(obj):
        out.append(Badge(f"{repairs:,} {'repair' if repairs == 1 else 'repairs'}", tone="warn"))
    out += usage_badges(get(obj, "usage"), small=small)
    if time := seconds(get(obj, "elapsed")):
        out.append(Badge("", time))
    attempts = get(obj, "attempts", 1)
    if isinstance(attempts, int) and attempts > 1:
        out.append(Badge("", f"{figure(attempts)} attempts"))
    return out + id_badge(obj, "" if small else "request id")
