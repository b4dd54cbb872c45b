"""A job shown while it runs: one small painter for each way of looking.

==========  ==============================================================================================
page        a card with stage, percent, time, price and a *Cancel* button; the static view takes its place
once        nothing until the job is over, then one display
terminal    a line for each stage, then one about how it ended
nowhere     nothing; the value that comes back is all there is
==========  ==============================================================================================

A painter never breaks the call it shows (``painting``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from beatra_nb.display import tasks
from beatra_nb.display.clean import one_line
from beatra_nb.display.live_upload import UploadPainter, upload_painter
from beatra_nb.display.painting import Harmless, Pacer, Place, bundle, show, write
from beatra_nb.display.pieces import get, words
from beatra_nb.display.watching import look_around, surface

if TYPE_CHECKING:
    from beatra_nb.core.task import BaseTask

__all__ = ["TaskPainter", "UploadPainter", "task_painter", "upload_painter"]

INTERVAL = 0.25  # seconds between two messages to a page
TICK = 0.2  # seconds; no wait is longer, so that an interrupt comes through on every system


class TaskPainter(Protocol):
    """What a job is shown by. One painter shows one job, and is finished or dropped exactly once."""

    def update(self, task: BaseTask) -> None:
        """Show how far it is; cheap. What was noted before has passed."""

    def note(self, text: str) -> None:
        """Say one line about what is going on, until the next update or note."""

    def cancel_asked(self) -> bool:
        """Whether somebody has pressed *Cancel*."""

    def wait_cancel(self, seconds: float) -> bool:
        """Wait so long, or until somebody has pressed *Cancel*; return whether they have."""

    def finish(self, task: BaseTask) -> None:
        """Show the job as it is, for good."""

    def drop(self) -> None:
        """Take everything away."""


def task_painter(*, sandbox: bool = False) -> TaskPainter:
    """Return the painter of a job that fits who is looking.

    Parameters
    ----------
    sandbox : bool
        The sandbox does it, and the live card has to say so.

    Examples
    --------
    >>> view = task_painter(sandbox=True)
    >>> view.wait_cancel(0.01)
    False
    >>> view.drop()
    """
    where, asked = surface(look_around()), threading.Event()
    if where == "page":
        return _CarefulTask(lambda: _TaskPage(asked, sandbox=sandbox), _TaskOnce(), asked)
    if where == "terminal":
        return _CarefulTask(_TaskTerminal, _TaskNowhere(), asked)
    return _CarefulTask(_TaskOnce if where == "once" else _TaskNowhere, _TaskNowhere(), asked)


class _Task(Protocol):
    """A painter of jobs without the waiting, which is the same for all."""

    @property
    def shows(self) -> bool: ...
    def update(self, task: BaseTask) -> None: ...
    def note(self, text: str) -> None: ...
    def finish(self, task: BaseTask) -> None: ...
    def drop(self) -> None: ...


class _CarefulTask(Harmless[_Task]):
    """Any painter of jobs, made harmless, with the event that *Cancel* sets."""

    shown_instead = "jobs are shown once they are over"

    def __init__(self, make: Callable[[], _Task], plan_b: _Task, asked: threading.Event) -> None:
        super().__init__(make, plan_b)
        self._asked = asked

    def update(self, task: BaseTask) -> None:
        try:
            self._inner.update(task)
        except Exception as error:
            self._give_up(error)

    def note(self, text: str) -> None:
        try:
            self._inner.note(text)
        except Exception as error:
            self._give_up(error)

    def cancel_asked(self) -> bool:
        return self._asked.is_set()

    def wait_cancel(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._asked.wait(min(left, TICK)):
                break
        return self._asked.is_set()


class _TaskPage:
    """A live card, made when the job's first state is known, replaced by the static view at the end."""

    shows = True

    def __init__(self, asked: threading.Event, *, sandbox: bool) -> None:
        from beatra_nb.display.task_widget import LiveTask

        self._began = time.monotonic()
        self._sandbox = sandbox
        self._state: dict[str, Any] = {
            "title": "Music",
            "says": "The music is on its way.",
            "stage": "sending the request",
            "sandbox": sandbox,
        }
        self._widget = LiveTask(
            self._state,
            asked=asked,
            by_hand="to cancel, interrupt the kernel (■), then call task.cancel()",
        )
        self._place = Place(self._widget)
        self._pacer = Pacer(lambda: self._widget.show(self._state), INTERVAL)

    def update(self, task: BaseTask) -> None:
        state = tasks.live_state(task)
        passed = max(state["elapsed"], time.monotonic() - self._began)
        known = {"elapsed": round(passed, 1), "sandbox": state["sandbox"] or self._sandbox, "note": ""}
        self._state = {**self._state, **state, **known}
        self._pacer.wake()

    def note(self, text: str) -> None:
        self._state = {**self._state, "note": one_line(text, 200)}
        self._pacer.wake()

    def finish(self, task: BaseTask) -> None:
        self._pacer.stop()
        self._widget.end(tasks.ending(task))
        self._place.give_to(bundle(task))

    def drop(self) -> None:
        self._pacer.stop()
        self._place.clear()


class _TaskOnce:
    """One display, when the job is over."""

    shows = True

    def update(self, task: BaseTask) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def finish(self, task: BaseTask) -> None:
        show(task)

    def drop(self) -> None:
        pass


class _TaskTerminal:
    """A line for each stage, in which nothing can steer the terminal."""

    shows = False  # a line is not the view of the job: an IPython prompt still shows that

    def __init__(self) -> None:
        self._said = ""

    def update(self, task: BaseTask) -> None:
        if not self._said:
            self._said = words(task.status) or "begun"
            write(f"{tasks.footer(task)}\n")
        stage = words(get(task.progress, "stage"))
        if stage and stage != self._said:
            self._said = stage
            write(f"{one_line(stage, 100)} …\n")

    def note(self, text: str) -> None:
        pass  # what passes is not worth a line that stays

    def finish(self, task: BaseTask) -> None:
        write(f"── {tasks.footer(task)}\n")

    def drop(self) -> None:
        pass


class _TaskNowhere:
    """Nobody looks."""

    shows = False

    def update(self, task: BaseTask) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def finish(self, task: BaseTask) -> None:
        pass

    def drop(self) -> None:
        pass
