"""An answer shown while it grows: one small painter for each way of looking.

==========  ==============================================================================================
page        a widget fed with deltas, a few messages a second; at the end the static view takes its place,
            so that the saved notebook holds the answer and no dead widget
once        nothing until the answer is there, then one display: what runs without a watcher (nbval,
            nbclient, papermill) sees the same single output every time
terminal    the text as it comes, then one line about it
nowhere     nothing; the value that comes back is all there is
==========  ==============================================================================================

A painter never breaks the call it shows: one that fails says so once and leaves the rest to *once*.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from beatra_nb.display.clean import one_line, visible
from beatra_nb.display.watching import Surface, ipython_shell, look_around, surface

if TYPE_CHECKING:
    from beatra_nb.core.reply import Reply

# Seconds between two messages to a page, which lets the text out evenly in between. A message costs ~640 bytes
# whatever it holds, so this bounds what a live answer costs: at 120 tokens a second about eight times its text.
INTERVAL = 0.125


class Painter(Protocol):
    """What a stream is shown by. One painter shows one answer, and is finished or dropped exactly once."""

    def add(self, text: str) -> None:
        """Take one delta; cheap, and never waiting for a screen."""

    def finish(self, reply: Reply) -> None:
        """Show the reply, whole or cut short, for good."""

    def drop(self) -> None:
        """Take everything away: there is no answer to show."""


def painter(*, sandbox: bool = False) -> Painter:
    """Return the painter that fits who is looking.

    Parameters
    ----------
    sandbox : bool
        The sandbox answers, and the live view has to say so.

    Examples
    --------
    >>> view = painter()
    >>> view.add("Hello")
    >>> view.drop()
    """
    where = surface(look_around())
    if where == "nowhere":
        return _Nowhere()
    return _Careful(where, sandbox=sandbox)


def already_shown(obj: object) -> bool:
    """Whether IPython is about to show, as the value of a cell, the very reply that the cell has just painted.

    Only then is it left out: an explicit ``display(reply)`` and a later cell show it like anything else.
    """
    if _painted is None or _painted[0] is not obj:
        return False
    return _painted[1] == _cell() and _is_value_of_cell(obj)


class _Careful:
    """Any painter, made harmless: what fails inside is told once, and the answer shown when it is there."""

    def __init__(self, where: Surface, *, sandbox: bool) -> None:
        self._cell = _cell()
        # A terminal whose pipe is broken has no second way; a page has.
        self._plan_b: Painter = _Nowhere() if where == "terminal" else _Once()
        self._inner: Painter = self._plan_b
        try:
            if where == "page":
                self._inner = _Page(sandbox=sandbox)
            elif where == "terminal":
                self._inner = _Terminal()
        except Exception as error:
            self._give_up(error)

    def add(self, text: str) -> None:
        try:
            self._inner.add(text)
        except Exception as error:
            self._give_up(error)

    def finish(self, reply: Reply) -> None:
        try:
            self._inner.finish(reply)
        except Exception as error:
            self._give_up(error)
            try:
                self._inner.finish(reply)
            except Exception:
                return  # not remembered as shown: as the value of its cell it may still be
        if not isinstance(self._inner, _Nowhere):
            _remember(reply, self._cell)

    def drop(self) -> None:
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
            f"The live display stopped working ({type(error).__name__}), so answers are shown once they are "
            "there. BEATRA_DISPLAY=static leaves it out.",
        )


class _Page:
    """A live widget, replaced by the static view at the end."""

    def __init__(self, *, sandbox: bool) -> None:
        from IPython.display import display

        from beatra_nb.display.live_widget import LiveAnswer, kernel_id

        self._widget = LiveAnswer(kernel_id=kernel_id(), sandbox=sandbox)
        self._handle: Any = display(self._widget, display_id=True)  # type: ignore[no-untyped-call]
        self._sender = _Sender(self._widget.grow)

    def add(self, text: str) -> None:
        self._sender.add(text)

    def finish(self, reply: Reply) -> None:
        self._sender.stop()
        self._widget.end(complete=reply.complete)
        self._replace(_bundle(reply))

    def drop(self) -> None:
        self._sender.stop()
        self._replace({"text/plain": ""})

    def _replace(self, bundle: dict[str, Any]) -> None:
        # First the new picture, then the widget's end: the other way round the page shows a gap or an error.
        self._handle.update(bundle, raw=True)
        self._widget.close()


class _Once:
    """One display, when the answer is there."""

    def add(self, text: str) -> None:
        pass

    def finish(self, reply: Reply) -> None:
        from IPython.display import display

        display(_bundle(reply), raw=True)  # type: ignore[no-untyped-call]

    def drop(self) -> None:
        pass


class _Terminal:
    """Text as it comes, in which nothing can steer the terminal."""

    def __init__(self) -> None:
        self._fresh = True  # at the start of a line
        self._any = False
        self._cleaner = _Cleaner()

    def add(self, text: str) -> None:
        self._write(self._cleaner.clean(text))

    def finish(self, reply: Reply) -> None:
        if not self._any:
            self.add(reply.text)
        self._write(("" if self._fresh else "\n") + f"── {footer(reply)}\n")

    def drop(self) -> None:
        if not self._fresh:
            self._write("\n")

    def _write(self, text: str) -> None:
        if not text:
            return
        out = sys.stdout
        try:
            out.write(text)
        except UnicodeEncodeError:
            encoding = out.encoding or "ascii"
            out.write(text.encode(encoding, "replace").decode(encoding, "replace"))
        out.flush()
        self._any, self._fresh = True, text.endswith("\n")


class _Nowhere:
    """Nobody looks."""

    def add(self, text: str) -> None:
        pass

    def finish(self, reply: Reply) -> None:
        pass

    def drop(self) -> None:
        pass


class _Sender:
    """Gathers deltas and passes them on, at once when it is quiet and at most every ``INTERVAL`` in a flood.

    A thread of its own does the passing, for two reasons: taking a delta costs next to nothing however fast they
    come, and when a stream falters, the last words before the pause are shown all the same.
    """

    def __init__(self, send: Callable[[str, int], None]) -> None:
        self._send = send
        self._waiting: deque[str] = deque()
        self._wake = threading.Event()
        self._over = threading.Event()
        self._cleaner = _Cleaner()
        self._count = 0
        self._error: Exception | None = None
        # In a copy of this context: a kernel finds there which cell its messages belong to.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._work,), name="beatra-live", daemon=True)
        self._thread.start()

    def add(self, text: str) -> None:
        if self._error is not None:
            raise self._error
        self._waiting.append(text)
        if not self._wake.is_set():
            self._wake.set()

    def stop(self) -> None:
        """Stop passing on; what is still waiting is dropped, because the whole follows."""
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
                self._pass_on()
            except Exception as error:  # told to the caller at its next delta
                self._error = error
                return
            if self._over.wait(INTERVAL):
                return

    def _pass_on(self) -> None:
        parts = [self._waiting.popleft() for _ in range(len(self._waiting))]
        self._count += len(parts)
        if text := self._cleaner.clean("".join(parts)):
            self._send(text, self._count)


def footer(reply: Reply) -> str:
    """Return one plain line about a reply: who answered, how much, and what cut it short.

    Examples
    --------
    >>> from beatra_nb.core.reply import Reply
    >>> footer(Reply("Hi", model="tiny", request_id="req_1", complete=False, cut_by="you stopped it"))
    'tiny · request id req_1 · cut short: you stopped it'
    """
    parts = [reply.model]
    if reply.sandbox:
        parts.append("sandbox")
    if reply.usage is not None and reply.usage.completion_tokens:
        parts.append(f"{reply.usage.completion_tokens} tokens")
    if reply.request_id:
        parts.append(f"request id {reply.request_id}")
    if not reply.complete:
        parts.append(f"cut short: {reply.cut_by}" if reply.cut_by else "cut short")
    line = " · ".join(part for part in parts if part) or "done"
    return one_line(line, 400)


class _Cleaner:
    """Makes deltas harmless as they come; a character is judged by the one before it, so that one is kept."""

    def __init__(self) -> None:
        self._last = ""

    def clean(self, text: str) -> str:
        shown = visible(self._last + text)[len(visible(self._last)) :]
        if text:
            self._last = text[-1]
        return shown


# The reply painted last, and the cell that painted it: at most one reply is kept alive by this.
_painted: tuple[object, object] | None = None


def _remember(reply: Reply, cell: object) -> None:
    global _painted
    _painted = (reply, cell)


def _cell() -> object:
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


def _bundle(reply: Reply) -> dict[str, Any]:
    from beatra_nb import display

    return display.bundle(reply)
