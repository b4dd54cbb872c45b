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

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from beatra_nb.display.clean import Cleaner, one_line
from beatra_nb.display.painting import Harmless, Pacer, Place, already_shown, bundle, show, write
from beatra_nb.display.pieces import marks, sandbox_badge
from beatra_nb.display.watching import look_around, surface

if TYPE_CHECKING:
    from beatra_nb.core.reply import Reply

__all__ = ["INTERVAL", "Painter", "already_shown", "footer", "painter"]

# Seconds between two messages to a page, which lets the text out evenly in between. A message costs ~640 bytes
# whatever it holds, so this bounds what a live answer costs: at 120 tokens a second about eight times its text.
INTERVAL = 0.125


class Painter(Protocol):
    """What a stream is shown by. One painter shows one answer, and is finished or dropped exactly once."""

    @property
    def shows(self) -> bool:
        """Whether the finished reply can be seen, so that it need not be shown as its cell's value as well."""

    def begin(self, reply: Reply) -> None:
        """Take who answers, once that is known: before the first delta, if at all."""

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
    if where == "page":
        return _Careful(lambda: _Page(sandbox=sandbox), _Once())
    if where == "terminal":
        return _Careful(_Terminal, _Nowhere())  # a terminal whose pipe is broken has no second way
    return _Careful(_Once, _Once()) if where == "once" else _Nowhere()


class _Careful(Harmless[Painter]):
    """Any painter, made harmless."""

    shows = True

    def begin(self, reply: Reply) -> None:
        try:
            self._inner.begin(reply)
        except Exception as error:
            self._give_up(error)

    def add(self, text: str) -> None:
        try:
            self._inner.add(text)
        except Exception as error:
            self._give_up(error)


class _Page:
    """A live widget, replaced by the static view at the end."""

    shows = True

    def __init__(self, *, sandbox: bool) -> None:
        from beatra_nb.display.live_widget import LiveAnswer
        from beatra_nb.display.widgets import kernel_id

        self._marks = ["sandbox"] if sandbox else []
        self._widget = LiveAnswer(kernel_id=kernel_id(), sandbox=sandbox)
        self._place = Place(self._widget)
        self._sender = _Sender(self._widget.grow)

    def begin(self, reply: Reply) -> None:
        if (told := marks(sandbox_badge(reply))) != self._marks:
            self._widget.mark(told)

    def add(self, text: str) -> None:
        self._sender.add(text)

    def finish(self, reply: Reply) -> None:
        self._sender.stop()
        self._widget.end(complete=reply.complete)
        self._place.give_to(bundle(reply))

    def drop(self) -> None:
        self._sender.stop()
        self._place.clear()


class _Once:
    """One display, when the answer is there."""

    shows = True

    def begin(self, reply: Reply) -> None:
        pass

    def add(self, text: str) -> None:
        pass

    def finish(self, reply: Reply) -> None:
        show(reply)

    def drop(self) -> None:
        pass


class _Terminal:
    """Text as it comes, in which nothing can steer the terminal."""

    shows = True

    def __init__(self) -> None:
        self._fresh = True  # at the start of a line
        self._any = False
        self._cleaner = Cleaner()

    def begin(self, reply: Reply) -> None:
        pass  # its last line says so

    def add(self, text: str) -> None:
        self._write(self._cleaner.clean(text))

    def finish(self, reply: Reply) -> None:
        if reply.repairs:  # what stands above is not the answer that counts
            self._write(("" if self._fresh else "\n") + "── It did not fit, and was asked for again:\n")
        if reply.repairs or not self._any:
            self.add(reply.text)
        self._write(("" if self._fresh else "\n") + f"── {footer(reply)}\n")

    def drop(self) -> None:
        if not self._fresh:
            self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            write(text)
            self._any, self._fresh = True, text.endswith("\n")


class _Nowhere:
    """Nobody looks."""

    shows = False

    def begin(self, reply: Reply) -> None:
        pass

    def add(self, text: str) -> None:
        pass

    def finish(self, reply: Reply) -> None:
        pass

    def drop(self) -> None:
        pass


class _Sender:
    """Gathers deltas and passes them on, a few messages a second."""

    def __init__(self, send: Callable[[str, int], None]) -> None:
        self._send = send
        self._waiting: deque[str] = deque()
        self._cleaner = Cleaner()
        self._count = 0
        self._pacer = Pacer(self._pass_on, INTERVAL)

    def add(self, text: str) -> None:
        self._waiting.append(text)
        self._pacer.wake()

    def stop(self) -> None:
        """Stop passing on; what is still waiting is dropped, because the whole follows."""
        self._pacer.stop()

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
    parts = [reply.model, *marks(sandbox_badge(reply))]
    if reply.usage is not None and reply.usage.completion_tokens:
        parts.append(f"{reply.usage.completion_tokens} tokens")
    if reply.repairs:
        parts.append(f"asked for again {reply.repairs}×, each answer charged")
    if reply.request_id:
        parts.append(f"request id {reply.request_id}")
    if not reply.complete:
        parts.append(f"cut short: {reply.cut_by}" if reply.cut_by else "cut short")
    line = " · ".join(part for part in parts if part) or "done"
    return one_line(line, 400)
