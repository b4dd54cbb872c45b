"""What all live painters share: their place on a page, their pace, their harmlessness, and what they have shown.

A painter never breaks the call it shows: one that fails says so once, and a simpler one shows what there is at the
end. What was painted is remembered, so that IPython does not show it again as the value of the same cell.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from beatra_nb.display.watching import ipython_shell


class Finishing(Protocol):
    """What every painter can do, whatever it paints."""

    @property
    def shows(self) -> bool:
        """Whether what it finishes with can be seen, so that it need not be shown as its cell's value as well."""

    def finish(self, obj: Any, /) -> None:  # noqa: ANN401
        """Show what came of it, for good."""

    def drop(self) -> None:
        """Take everything away: there is nothing to show."""


P = TypeVar("P", bound=Finishing)


class Harmless(Generic[P]):
    """Any painter, made harmless: what fails inside is told once, and the end is left to a simpler painter.

    Parameters
    ----------
    make : callable
        Makes the painter; it may fail as well.
    plan_b : P
        Who takes over.
    """

    shown_instead = "answers are shown once they are there"

    def __init__(self, make: Callable[[], P], plan_b: P) -> None:
        self._cell = current_cell()
        self._plan_b = plan_b
        self._inner = plan_b
        try:
            self._inner = make()
        except Exception as error:
            self._give_up(error)

    def finish(self, obj: Any) -> None:  # noqa: ANN401
        """Show what came of it, for good, and remember that it was seen."""
        try:
            self._inner.finish(obj)
        except Exception as error:
            self._give_up(error)
            try:
                self._inner.finish(obj)
            except Exception:
                return  # not remembered as shown: as the value of its cell it may still be
        if self._inner.shows:
            remember(obj, self._cell)

    def drop(self) -> None:
        """Take everything away."""
        try:
            self._inner.drop()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        from beatra_nb import display

        failed, self._inner = self._inner, self._plan_b
        with contextlib.suppress(Exception):
            failed.drop()
        display.say_once(
            "live-display",
            f"The live display stopped working ({type(error).__name__}), so {self.shown_instead}. "
            "BEATRA_DISPLAY=static leaves it out.",
        )


class Place:
    """A widget's place on the page, which something finished takes in the end."""

    def __init__(self, widget: Any) -> None:  # noqa: ANN401 - any widget; ipywidgets is not loaded for its type
        from IPython.display import display

        self._widget = widget
        self._handle: Any = display(widget, display_id=True)  # type: ignore[no-untyped-call]

    def give_to(self, bundle: dict[str, Any]) -> None:
        """Show something else in this place; the widget is gone."""
        # First the new picture, then the widget's end: the other way round the page shows a gap or an error.
        self._handle.update(bundle, raw=True)
        self._widget.close()

    def clear(self) -> None:
        """Leave nothing in this place."""
        self.give_to({"text/plain": ""})


class Pacer:
    """Does some work whenever it is woken: at once when it is quiet, at most every ``interval`` in a flood.

    A thread of its own does the work, for two reasons: waking costs next to nothing however often it happens, and
    when no further call comes, the last one is done all the same.
    """

    def __init__(self, work: Callable[[], None], interval: float) -> None:
        self._do = work
        self._interval = interval
        self._wake = threading.Event()
        self._over = threading.Event()
        self._error: Exception | None = None
        # In a copy of this context: a kernel finds there which cell its messages belong to.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._work,), name="beatra-live", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the work done soon; raises what went wrong in it before."""
        if self._error is not None:
            raise self._error
        if not self._wake.is_set():
            self._wake.set()

    def stop(self) -> None:
        """Do no more; what was still to be done is left, because the whole follows."""
        self._over.set()
        self._wake.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=1)

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._over.is_set():
                return
            try:
                self._do()
            except Exception as error:  # told to the caller when it wakes this again
                self._error = error
                return
            if self._over.wait(self._interval):
                return


def show(obj: object) -> None:
    """Display an object, once and for good."""
    from IPython.display import display

    display(bundle(obj), raw=True)  # type: ignore[no-untyped-call]


def bundle(obj: object) -> dict[str, Any]:
    """Return an object as a mimebundle."""
    from beatra_nb import display

    return display.bundle(obj)


def write(text: str) -> None:
    """Write to the terminal at once; letters that its encoding lacks become question marks."""
    out = sys.stdout
    try:
        out.write(text)
    except UnicodeEncodeError:
        encoding = out.encoding or "ascii"
        out.write(text.encode(encoding, "replace").decode(encoding, "replace"))
    out.flush()


# ── what was painted last ──

# What the last cell that painted has painted, and the cell: only so much is kept alive by this.
_MOST = 4
_painted: tuple[tuple[object, ...], object] = ((), None)


def remember(obj: object, cell: object) -> None:
    """Remember an object as just shown by a cell."""
    global _painted
    objects, painter = _painted
    _painted = ((*objects[1 - _MOST :], obj) if painter == cell else (obj,), cell)


def already_shown(obj: object) -> bool:
    """Whether IPython is about to show, as the value of a cell, the very object that the cell has just painted.

    Only then is it left out: an explicit ``display(obj)`` and a later cell show it like anything else.
    """
    objects, painter = _painted
    if not any(each is obj for each in objects):
        return False
    return painter == current_cell() and _is_value_of_cell(obj)


def current_cell() -> object:
    """Return what tells one run of a cell from every other: the request in a kernel, the count elsewhere."""
    shell = ipython_shell()
    if shell is None:
        return None
    try:
        return shell.get_parent()["header"]["msg_id"]
    except (AttributeError, KeyError, TypeError):
        return shell.execution_count


def _is_value_of_cell(obj: object) -> bool:
    """Whether IPython's display hook was called with this object, somewhere up the stack."""
    from IPython.core.displayhook import DisplayHook

    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is DisplayHook.__call__.__code__ and frame.f_locals.get("result") is obj:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
