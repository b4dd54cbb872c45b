"""The views of prompts: one with its texts and settings, and a directory of them as a table."""

from __future__ import annotations

from typing import Any

from beatra_nb.core.template import Template
from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import Scope, as_json, figure, get, plain, short_path, words
from beatra_nb.display.view import (
    Badge,
    Card,
    Details,
    Marked,
    Message,
    Note,
    Row,
    Stack,
    Table,
    Text,
    View,
)

_LOOK = "the prompt"
_FIRST = 80  # characters of a prompt that a table shows


def prompt(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a Prompt: its fields stand out in its texts."""
    body: list[View] = []
    if notes := words(get(obj, "notes")):
        body.append(plain(notes, scope, "prompt.notes"))
    if system := words(get(obj, "system")):
        body.append(Message("system", marked(system, scope)))
    if examples := get(obj, "examples") or ():
        pairs = tuple(
            (Text(one_line(get(each, "user"), 300)), Text(one_line(get(each, "assistant"), 300)))
            for each in examples[: scope.rows]
        )
        some = f"{len(examples)} example{'s' * (len(examples) != 1)}"
        body.append(Details(some, Table(("User", "Answer wanted"), pairs, label="Examples")))
    user = words(get(obj, "user"))
    text = marked(user, scope) if user else Text("No prompt yet.", quiet=True)
    body.append(Message("user", text, mine=True))
    if schema := get(obj, "schema"):
        body.append(Details("Schema of the answer", as_json(schema, scope)))
    if options := get(obj, "options"):
        body.append(Details("Options", as_json(options, scope)))
    footer: list[View] = [Badge("model", one_line(get(obj, "model") or "auto", 80))]
    for name in ("temperature", "max_tokens"):
        if (value := get(obj, name)) is not None:
            footer.append(Badge(name, figure(value)))
    if names := get(obj, "variables"):
        footer.append(Badge("needs", one_line(", ".join(names), 200)))
    if version := get(obj, "version"):
        footer.append(Badge("version", one_line(version, 40), copy=True))
    title = Text(one_line(get(obj, "name") or "Prompt", 120), strong=True)
    return Card(Stack(tuple(body)), label="Prompt", title=title, footer=Row(tuple(footer)))


def marked(text: str, scope: Scope) -> View:
    """Return a template's text in which its fields stand out."""
    if len(text) > scope.room:
        return plain(text, scope, _LOOK)
    pieces: list[tuple[str, bool]] = []
    done = 0
    for field in Template(text).fields:
        pieces += [(text[done : field.start], False)] if field.start > done else []
        pieces.append((text[field.start : field.end], True))
        done = field.end
    return Marked((*pieces, (text[done:], False)) if done < len(text) else tuple(pieces))


def library(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a PromptLibrary: a row for each prompt, and what could not be read."""
    found, broken = list(obj.items()), dict(obj.broken)
    rows = tuple(_row(name, each) for name, each in found[: scope.rows])
    head = ("Name", "First words", "Needs", "Model", "Version")
    body: list[View] = []
    if rows:
        body.append(Table(head, rows, label="Prompts"))
    elif not broken:
        body.append(Text("No prompts yet: prompt.save(…) puts one here.", quiet=True))
    if len(found) > len(rows):
        body.append(Text(f"… {len(found) - len(rows):,} more; iterate to see them.", quiet=True))
    for name, error in list(broken.items())[: scope.listed]:
        said = f"{get(error, 'message') or ''} {get(error, 'hint') or ''}"
        body.append(Note(f"{one_line(name, 120)}: {one_line(said, 600)}", "warn"))
    if len(broken) > scope.listed:
        body.append(Text(f"… {len(broken) - scope.listed:,} more cannot be read: see .broken.", quiet=True))
    footer = [Badge("", f"{len(found):,} prompt{'s' * (len(found) != 1)}")]
    footer += [Badge(f"{len(broken):,} cannot be read", tone="warn")] if broken else []
    footer.append(Badge("", one_line(short_path(get(obj, "path")), 300)))
    title = Text("Prompts", strong=True)
    return Card(Stack(tuple(body)), label="Prompts", title=title, footer=Row(tuple(footer)))


def _row(name: str, prompt: object) -> tuple[View, ...]:
    return (
        Text(one_line(name, 120), strong=True),
        Text(one_line(get(prompt, "user") or "", _FIRST)),
        Text(one_line(", ".join(get(prompt, "variables") or ()), 120)),
        Text(one_line(get(prompt, "model") or "", 80)),
        Badge("", one_line(get(prompt, "version") or "", 40), copy=True),
    )
