"""A job shown while it runs, and an upload while it is sent: one small painter for each way of looking.

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
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from beatra_nb.display import tasks
from beatra_nb.display.clean import one_line
from beatra_nb.display.painting import Harmless, Pacer, Place, bundle, show, write
from beatra_nb.display.pieces import get, seconds, size, words
from beatra_nb.display.watching import look_around, surface

if TYPE_CHECKING:
    from beatra_nb.core.media import Artifact
    from beatra_nb.core.task import BaseTask

INTERVAL = 0.25  # seconds between two messages to a page
SHORT = 0.5  # seconds; an upload that takes no longer is not worth a card
TICK = 0.2  # seconds; no wait is longer, so that an interrupt comes through on every system

T = TypeVar("T")


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


class UploadPainter(Protocol):
    """What an upload is shown by."""

    def progress(self, sent: int) -> None:
        """Take how many bytes have been sent; cheap."""

    def finish(self, artifact: Artifact) -> None:
        """Take the card away: the artifact shows itself."""

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


def upload_painter(name: str, size: int) -> UploadPainter:
    """Return the painter of an upload that fits who is looking.

    Parameters
    ----------
    name : str
        What is sent.
    size : int
        Its bytes.
    """
    where = surface(look_around())
    if where == "page":
        return _CarefulUpload(lambda: _UploadPage(name, size), _UploadNowhere())
    if where == "terminal":
        return _CarefulUpload(lambda: _UploadTerminal(name, size), _UploadNowhere())
    return _UploadNowhere()


# ── a job ──


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
        self._state: dict[str, Any] = {"title": "Music", "sandbox": sandbox, "stage": "sending the request"}
        self._widget = LiveTask(
            self._state,
            asked=asked,
            by_hand="to cancel, interrupt the kernel (■), then call task.cancel()",
        )
        self._place = Place(self._widget)
        self._pacer = Pacer(lambda: self._widget.show(self._state), INTERVAL)

    def update(self, task: BaseTask) -> None:
        state = tasks.live_state(task)
        passed = time.monotonic() - self._began
        self._state = {**self._state, **state, "elapsed": round(max(state["elapsed"], passed), 1), "note": ""}
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


# ── an upload ──


class _Upload(UploadPainter, Protocol):
    @property
    def shows(self) -> bool: ...


class _CarefulUpload(Harmless[_Upload]):
    """Any painter of uploads, made harmless."""

    shown_instead = "uploads are shown once they are done"

    def progress(self, sent: int) -> None:
        try:
            self._inner.progress(sent)
        except Exception as error:
            self._give_up(error)


class _Speed:
    """How fast something has lately been sent, and how long the rest will take."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def words(self, sent: int) -> str:
        """Return a line such as ``3.2 of 100.0 MB · 8.1 MB/s · 12 s left``."""
        now = time.monotonic()
        self._seen.append((now, sent))
        while len(self._seen) > 2 and now - self._seen[1][0] > 3:  # the last few seconds tell
            self._seen.pop(0)
        since, before = self._seen[0]
        speed = (sent - before) / max(now - since, 1e-6)
        parts = [f"{size(sent)} of {size(self._size)}"]
        if speed > 0:
            parts.append(f"{size(speed)}/s")
            if left := round((self._size - sent) / speed):
                parts.append(f"{left} s left" if left < 100 else f"{seconds(left)} left")
        return " · ".join(parts)


class _UploadPage:
    """A card, if it takes long enough to be read."""

    shows = False  # the artifact is shown as what the call returns

    def __init__(self, name: str, size: int) -> None:
        self._name, self._size, self._sent = one_line(name, 120), size, 0
        self._began = time.monotonic()
        self._speed = _Speed(size)
        self._live: tuple[Any, Place, Pacer] | None = None

    def progress(self, sent: int) -> None:
        self._sent = sent
        if self._live is not None:
            self._live[2].wake()
        elif time.monotonic() - self._began >= SHORT:
            self._live = self._make()

    def finish(self, artifact: Artifact) -> None:
        if self._live is not None:
            self._live[0].end("The upload is done.")
        self.drop()

    def drop(self) -> None:
        if self._live is not None:
            _, place, pacer = self._live
            pacer.stop()
            place.clear()

    def _make(self) -> tuple[Any, Place, Pacer]:
        from beatra_nb.display.task_widget import LiveTask

        widget = LiveTask(self._state(), by_hand="to stop, interrupt the kernel (■)")
        return widget, Place(widget), Pacer(lambda: widget.show(self._state()), INTERVAL)

    def _state(self) -> dict[str, Any]:
        sent = self._sent
        return {
            "title": f"Uploading {self._name}",
            "says": "An upload is on its way.",
            "stage": "sending" if sent < self._size else "waiting for the service",
            "message": self._speed.words(sent),
            "percent": round(100 * sent / self._size, 1) if self._size else None,
            "elapsed": round(time.monotonic() - self._began, 1),
        }


class _UploadTerminal:
    """One line if it takes long, and one when it is done."""

    shows = False

    def __init__(self, name: str, size: int) -> None:
        self._name, self._size = one_line(name, 120), size
        self._began = time.monotonic()
        self._told = False

    def progress(self, sent: int) -> None:
        if not self._told and time.monotonic() - self._began >= SHORT:
            self._told = True
            write(f"Uploading {self._name} ({size(self._size)}) …\n")

    def finish(self, artifact: Artifact) -> None:
        if self._told:
            parts = [
                "uploaded",
                seconds(time.monotonic() - self._began),
                f"artifact {one_line(artifact.id, 120)}",
            ]
            write(f"── {' · '.join(part for part in parts if part)}\n")

    def drop(self) -> None:
        pass


class _UploadNowhere:
    """Nobody looks."""

    shows = False

    def progress(self, sent: int) -> None:
        pass

    def finish(self, artifact: Artifact) -> None:
        pass

    def drop(self) -> None:
        pass
