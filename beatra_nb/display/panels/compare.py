"""The still of a comparison: the prompt, and the answers side by side."""

from __future__ import annotations

from typing import Any

from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import Scope, get, plain, prose, words
from beatra_nb.display.view import Badge, Card, Columns, Message, Note, Row, Stack, Text, View


def compare(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a Compare: what its page may know, and nothing that it hides."""
    tree = get(obj, "picture") or {}
    lanes = [lane for lane in tree.get("lanes", ()) if isinstance(lane, dict)]
    body: list[View] = []
    body += _prompt(tree, lanes, scope)
    body.append(Columns(tuple(_lane(lane, scope) for lane in lanes)))
    if tree.get("hidden") is True and tree.get("round"):
        body.append(Text("Who is who is hidden: compare.reveal() shows it.", quiet=True))
    if score := tree.get("score"):
        total = "   ".join(f"{one_line(each.get('label'), 80)}: {each.get('votes')}" for each in score)
        body.append(Text(f"Votes: {total}"))
    marks: list[View] = [Badge("sandbox", tone="info")] if tree.get("sandbox") is True else []
    if count := tree.get("round"):
        marks.append(Badge("", f"round {count:,}"))
    marks.append(Badge("", f"{len(lanes)} {'lane' if len(lanes) == 1 else 'lanes'}"))
    if tree.get("blind") is True:
        marks.append(Badge("blind"))
    return Card(
        Stack(tuple(body)), label="Compare", title=Text("Compare", strong=True), footer=Row(tuple(marks))
    )


def _prompt(tree: dict[str, Any], lanes: list[dict[str, Any]], scope: Scope) -> list[View]:
    """Return what the answers below were asked, which may not be what stands in the field by now."""
    draft, asked = words(tree.get("prompt")), tree.get("asked")
    if not isinstance(asked, dict) or not any(lane.get("state") for lane in lanes):
        return [Message("You", plain(draft, scope, "compare.prompt"), mine=True)] if draft else []
    prompt, system = words(asked.get("prompt")), words(asked.get("system"))
    body: list[View] = []
    if system:
        body.append(Message("System", plain(system, scope, "compare.history[-1].system")))
    body.append(Message("You", plain(prompt, scope, "compare.history[-1].prompt"), mine=True))
    if (draft, words(tree.get("system"))) != (prompt, system):
        body.append(
            Text("The prompt has been changed since; what follows answers the one above.", quiet=True)
        )
    return body


def _lane(given: dict[str, Any], scope: Scope) -> View:
    asked = given.get("asked")
    lane = (
        {**given, **asked} if isinstance(asked, dict) else given
    )  # an answer stands under what it was asked with
    letter, label = words(lane.get("letter")), one_line(lane.get("label") or "", 120)
    name = f"{letter}: {label}" if letter and label else letter or label
    title: list[View] = [Text(name, strong=True)]
    if votes := lane.get("votes"):
        title.append(Badge("", f"{votes:,} {'vote' if votes == 1 else 'votes'}", tone="info"))
    body: list[View] = []
    if told := _settings(lane):
        body.append(Text(told, quiet=True))
    if text := words(lane.get("text")):
        body.append(prose(text, scope, "compare.replies"))
    if error := lane.get("error"):
        body.append(_trouble(error))
    elif note := words(lane.get("note")):
        body.append(Note(note, "warn"))
    elif not text:
        waiting = lane.get("state") in ("waiting", "writing")
        body.append(Text("Under way." if waiting else "Not asked yet.", quiet=True))
    facts: list[View] = [Badge("", words(lane["answered"]))] if lane.get("answered") else []
    facts += [Badge("", words(each)) for each in lane.get("facts") or ()]
    if ident := words(lane.get("request_id")):
        facts.append(Badge("request id", ident, copy=True))
    foot = (Row(tuple(facts)),) if facts else ()
    return Stack((Row(tuple(title)), *body, *foot))


def _settings(lane: dict[str, Any]) -> str:
    """Return the settings that the lane's name does not tell."""
    label, model, heat = words(lane.get("label")), words(lane.get("model")), lane.get("temperature")
    parts = [model if model and model not in label else ""]
    parts.append(
        f"temperature {heat:g}" if isinstance(heat, int | float) and "temperature" not in label else ""
    )
    return ", ".join(part for part in (*parts, words(lane.get("extra"))) if part)


def _trouble(error: dict[str, Any]) -> View:
    title, message = one_line(error.get("title") or "", 120), words(error.get("message"))
    code = f" ({one_line(error['code'], 60)})" if error.get("code") else ""
    ident = words(error.get("request_id"))
    said = Note(f"{title}{code}: {message}", "bad")
    return Stack((said, Badge("request id", ident, copy=True))) if ident else said
