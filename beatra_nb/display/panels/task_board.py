"""The still of a task board: the tasks as a table, as ``bn.tasks()`` shows them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from beatra_nb.display import task_lists
from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import Scope, get
from beatra_nb.display.view import Note, Stack, Text, View


def task_board(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a TaskBoard."""
    shown = SimpleNamespace(items=get(obj, "tasks", ()), has_more=False, sandbox=get(obj, "sandbox"))
    body: list[View] = [task_lists.task_list(shown, scope)]
    if note := one_line(get(obj, "note") or "", 400):
        body.append(Note(note, "warn"))
    body += [task_lists.lost_job(job, scope) for job in tuple(get(obj, "unheard", ()) or ())[: scope.rows]]
    if get(obj, "has_more") is True:
        body.append(Text("The service has older tasks: board.more() fetches them.", quiet=True))
    return Stack(tuple(body)) if len(body) > 1 else body[0]
