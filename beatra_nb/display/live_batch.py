"""A batch shown while it runs: one small painter for each way of looking.

==========  ==============================================================================================
page        one card that says how far it is, a few times a second; the summary takes its place
once        nothing until the batch is over, then one display
terminal    one line that is written anew, then the summary's
nowhere     nothing; the value that comes back is all there is
==========  ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from beatra_nb.display import batches
from beatra_nb.display.painting import Harmless, Pacer, bundle, show, write
from beatra_nb.display.watching import look_around, surface

INTERVAL = 0.4  # seconds between two pictures of a page


class BatchPainter(Protocol):
    """What a batch is shown by."""

    def update(self, progress: object) -> None:
        """Show how far it is; cheap."""

    def finish(self, obj: object) -> None:
        """Show what came of it, for good."""

    def drop(self) -> None:
        """Take everything away."""


def batch_painter() -> BatchPainter:
    """Return the painter of a batch that fits who is looking."""
    where = surface(look_around())
    if where == "page":
        return _Careful(_Page, _Once())
    if where == "terminal":
        return _Careful(_Terminal, _Nowhere())
    return _Careful(_Once if where == "once" else _Nowhere, _Nowhere())


class _Painter(Protocol):
    @property
    def shows(self) -> bool: ...
    def update(self, progress: object) -> None: ...
    def finish(self, obj: Any, /) -> None: ...  # noqa: ANN401
    def drop(self) -> None: ...


class _Careful(Harmless[_Painter]):
    shown_instead = "batches are shown once they are over"

    def __init__(self, make: Callable[[], _Painter], plan_b: _Painter) -> None:
        super().__init__(make, plan_b)

    def update(self, progress: object) -> None:
        try:
            self._inner.update(progress)
        except Exception as error:
            self._give_up(error)


class _Page:
    """Plain html that is drawn anew: a card of two kilobytes needs no script."""

    shows = True

    def __init__(self) -> None:
        self._handle: Any = None
        self._progress: object = None
        self._pacer = Pacer(self._draw, INTERVAL)

    def update(self, progress: object) -> None:
        self._progress = progress
        self._pacer.wake()

    def _draw(self) -> None:
        self._put(bundle(self._progress))

    def _put(self, picture: dict[str, Any]) -> None:
        if self._handle is None:
            from IPython.display import display

            self._handle = display(picture, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(picture, raw=True)

    def finish(self, obj: object) -> None:
        self._pacer.stop()
        self._put(bundle(obj))

    def drop(self) -> None:
        self._pacer.stop()
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)


class _Terminal:
    shows = False

    def __init__(self) -> None:
        self._wide = 0
        self._progress: object = None
        self._pacer = Pacer(self._draw, INTERVAL)

    def update(self, progress: object) -> None:
        self._progress = progress
        self._pacer.wake()

    def _draw(self) -> None:
        text = batches.line(self._progress)[:150]
        write("\r" + text.ljust(self._wide))
        self._wide = len(text)

    def finish(self, obj: object) -> None:
        self._pacer.stop()
        if self._progress is not None:
            self._progress = obj
            self._draw()
            write(f"\n{why}\n" if (why := batches.stopped(obj)) else "\n")

    def drop(self) -> None:
        self._pacer.stop()
        if self._wide:
            write("\n")


class _Once:
    shows = True

    def update(self, progress: object) -> None: ...

    def finish(self, obj: object) -> None:
        show(obj)

    def drop(self) -> None: ...


class _Nowhere:
    shows = False

    def update(self, progress: object) -> None: ...

    def finish(self, obj: object) -> None: ...

    def drop(self) -> None: ...
