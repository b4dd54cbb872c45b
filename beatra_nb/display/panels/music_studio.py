"""The still of a music studio: what is asked for, and what has been made, as cards with players."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from beatra_nb.display import clips, failures, tasks
from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import Scope, get, plain, sandbox_badge, words
from beatra_nb.display.view import Badge, Card, Columns, Details, Fields, Note, Row, Stack, Text, View

MOST = 24  # jobs; the newest


def music_studio(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a MusicStudio."""
    body: list[View] = []
    if asked := _asked(obj, scope):
        body.append(Fields(tuple(asked)))
    body += [_unsent(error, scope) for error in (get(obj, "unsent") or ())[-3:]]
    jobs = get(obj, "jobs")
    made = tuple(jobs.items()) if isinstance(jobs, dict) else ()
    marks = get(obj, "marks")
    marked = {take: side for side, take in marks.items()} if isinstance(marks, dict) else {}
    # Newest first; sound is embedded as long as there is room for it in the whole of the output.
    room = clips.Room()
    body += [_job(number, task, scope, room, marked) for number, task in reversed(made[-MOST:])]
    if len(made) > MOST:
        body.append(Text(f"… {len(made) - MOST:,} older tasks; studio.tasks holds them all.", quiet=True))
    if not body:
        body.append(Text("Nothing has been asked for yet.", quiet=True))
    count = f"{len(made):,} {'task' if len(made) == 1 else 'tasks'}"
    return Card(
        Stack(tuple(body)),
        label="Music studio",
        title=Text("Music studio", strong=True),
        footer=Row((Badge("", count),)) if made else None,
    )


def _asked(obj: object, scope: Scope) -> list[tuple[str, View]]:
    told: list[tuple[str, View]] = []
    for name in ("prompt", "lyrics"):
        if (text := words(get(obj, name))).strip():
            told.append((name.capitalize(), plain(text, scope, f"studio.{name}")))
    if get(obj, "instrumental") is True:
        told.append(("Instrumental", Text("yes")))
    if title := one_line(get(obj, "title") or "", 160):
        told.append(("Title", Text(title)))
    if told or (get(obj, "model") or "auto") != "auto":
        told.append(("Model", Text(one_line(get(obj, "model") or "", 120))))
    options = get(obj, "model_options")
    for family, values in options.items() if isinstance(options, dict) else ():
        said = ", ".join(f"{name} {value}" for name, value in values.items())
        told.append((one_line(family, 40).capitalize(), Text(one_line(said, 300))))
    if (reference := get(obj, "reference")) is not None:
        told.append(("Reference", Text(one_line(get(reference, "name") or "", 160))))
    return told


def _unsent(error: object, scope: Scope) -> View:
    told = failures.facts(error)
    return Note(f"{one_line(told.title, 120)}: {one_line(told.message, 600)}", "warn")


def _job(number: int, task: object, scope: Scope, room: clips.Room, marked: dict[str, str]) -> View:
    """Return a task's card; a finished one with players that share the room for sound with the others."""
    items = tuple(get(task, "clips", ()) or ())[: scope.rows]
    if words(get(task, "status")) != "succeeded" or not items:
        return tasks.task(task, scope)
    players = []
    for item in items:
        name = f"{number}.{get(item, 'index')}"  # as the page calls it
        player = clips.player(
            item,
            scope,
            room,
            mark=name,
            name=f'studio.take("{name}")',
            picture=len(items) <= clips.MOST_WAVES,
        )
        side = marked.get(name)
        players.append(replace(player, facts=(Badge("marked", side), *player.facts)) if side else player)
    body: list[View] = [Columns(tuple(players))]
    for name in ("prompt", "lyrics"):
        if text := words(get(task, name)):
            body.append(Details(name.capitalize(), plain(text, scope, f"task.{name}")))
    foot = [*sandbox_badge(task), *(Badge("", text) for text in (tasks.models_of(task), _paid(task)) if text)]
    if ident := one_line(get(task, "id") or "", 120):
        foot.append(Badge("task", ident, copy=True))
    return Card(
        Stack(tuple(body)),
        label=f"Task, {words(get(task, 'status'))}",
        title=Text(tasks.title_of(task), strong=True),
        footer=Row(tuple(foot)),
    )


def _paid(task: object) -> str:
    return tasks.charged(get(task, "billing"))
