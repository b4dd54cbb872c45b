"""What all panels share: a document that a page mirrors, questions of the page, work beside the kernel, a still.

A panel is an ordinary object. Shown in a page, it leaves two outputs: a *still*, which is plain html, and a widget,
which is alive. While the widget lives, the still is hidden; when the notebook is reopened or exported, or the kernel
is gone, the widget's place is empty and the still is what everybody sees. The still follows the panel at quiet
moments, so that the saved file holds the last state. Where nobody looks, the still alone is shown.

What a page asks arrives by the widget, as ``{"ask": name, "id": number, "args": {…}}``, and is answered by the method
``ask_<name>``. An ordinary method answers at once; an ``async`` one is awaited beside the kernel (``work``) and
answered when it ends. Questions come on the kernel's own thread, in JupyterLab on that of a subshell while a cell
runs, and what is named in ``urgent`` on the control channel's as well: so each ordinary one holds the panel's lock.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import inspect
import threading
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from beatra_nb.core import seams
from beatra_nb.core.errors import ConfigurationError, InvalidInput
from beatra_nb.display.watching import ipython_shell, look_around, surface
from beatra_nb.interact import work
from beatra_nb.interact.document import Document, Message
from beatra_nb.interact.trouble import trouble

if TYPE_CHECKING:
    from beatra_nb.core.async_client import AsyncClient
    from beatra_nb.core.client import Client
    from beatra_nb.interact.page import Page

T = TypeVar("T")

REST = 0.6  # seconds of quiet before the still follows
SHARE = (
    20  # how many times as long as drawing it took the still rests at least: a long one is drawn less often
)
# Front ends whose outputs cannot hide one another: of one output they show the widget, and later the still.
ONE_OUTPUT = {"vscode", "colab"}
KEPT = 400  # questions that are remembered, so that one that comes by two ways is answered once

# The still makes way for the widget, and the widget's place closes when there is none. All of it is an enhancement:
# where styles are not kept, such as in an untrusted notebook, there is no live widget either.
STILL_CSS = (
    ".jp-OutputArea-child:has(.bnp-still):has(+ .jp-OutputArea-child .bnp){display:none}"
    ".jp-OutputArea-child:has(.bnp-still) + .jp-OutputArea-child"
    ":has(> .lm-Panel, > .jupyter-widgets):not(:has(.bnp)){display:none}"
)


class Panel(seams.Showable):
    """A panel: the base of everything that is touched.

    Parameters
    ----------
    tree : dict
        What its document begins with.
    client : Client, optional
        Who sends; else the default client of this moment.
    """

    def __init_subclass__(cls, **options: Any) -> None:  # noqa: ANN401
        super().__init_subclass__(**options)
        for name in dir(cls):
            method = getattr(cls, name)
            if name.startswith("ask_") and not inspect.iscoroutinefunction(method):
                setattr(cls, name, _one_at_a_time(method))

    modules: ClassVar[tuple[str, ...]] = ()  # assets of the page's half, beside the shared ones
    styles: ClassVar[tuple[str, ...]] = ()
    urgent: ClassVar[frozenset[str]] = frozenset({"stop"})  # what may be asked while a cell runs
    _closed = False
    _warm = False  # whether whoever answers has been started

    def __init__(self, tree: dict[str, Any], *, client: Client | None = None) -> None:
        if client is not None and not hasattr(client, "twin"):
            raise InvalidInput(
                f"client must be a bn.Client, not {type(client).__name__}.",
                hint="A panel makes its own async twin of it. Leave it out for the default client.",
            )
        # Whom it begins with it keeps: after another bn.connect() its badge must not lie about who is paid.
        self._base: Client = client or seams.default_client()
        self._doc = Document(tree)
        self._page: Page | None = None
        self._display_id = ""
        self._alone = (
            False  # whether still and widget share one output, so that a new still would end the widget
        )
        self._jobs: dict[str, concurrent.futures.Future[Any]] = {}
        self._asked: dict[tuple[str, int], None] = {}
        self._lock = threading.RLock()
        self._still_due: asyncio.TimerHandle | None = None
        self._still_cost = 0.0
        self._still_at = 0.0
        if self._base._settings.mode == "sandbox":
            self._base._tell_sandbox()  # here, in the cell that makes it, and not from another thread later

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            # It would change nothing, and the next call would be paid for all the same.
            can = [each for each in dir(type(self)) if _settable(type(self), each)]
            raise AttributeError(f"{type(self).__name__} has no {name!r} to set; it has: {', '.join(can)}.")
        super().__setattr__(name, value)

    # ── who answers ──

    @property
    def _twin(self) -> AsyncClient:
        """The async client that the work of this panel is done with, on the loop of ``work``."""
        return work.twin(self._base)

    # ── being shown ──

    @property
    def widget(self) -> Page:
        """The widget itself, made now if need be: to be put into ipywidgets' boxes, or into marimo."""
        if self._closed:
            raise ConfigurationError(
                f"This {type(self).__name__} is closed.",
                hint="Make a new one: it may share what this one held.",
            )
        if self._page is None:
            from beatra_nb.interact.page import page_class

            self._page = page_class(type(self).__name__, self.modules, self.styles)(self._doc, self._heard)
            self._shown()
        return self._page

    def _ipython_display_(self) -> None:
        if self._closed or surface(look_around()) != "page":
            raise NotImplementedError  # IPython's word for: ask the other methods
        self._show()

    def _display_(self) -> Any:  # noqa: ANN401 - what marimo asks of an object
        return self.widget

    def _show(self) -> None:
        from IPython.display import display

        self._display_id = self._display_id or uuid.uuid4().hex
        page = self.widget
        view = {"model_id": page.model_id, "version_major": 2, "version_minor": 0}
        live = {"application/vnd.jupyter.widget-view+json": view}
        if look_around().marks & ONE_OUTPUT:
            self._alone = True
            display(self._still() | live, raw=True, display_id=self._display_id)  # type: ignore[no-untyped-call]
            return
        display(self._still(), raw=True, display_id=self._display_id)  # type: ignore[no-untyped-call]
        # No plain text: in an untrusted notebook this output is empty, and the still above it says everything.
        display(live | {"text/html": "", "text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]

    def _still(self) -> dict[str, str]:
        from beatra_nb import display

        bundle = display.bundle(self)
        style = f"<style>{STILL_CSS}</style>"
        bundle["text/html"] = f'<div class="bnp-still">{bundle["text/html"]}{style}</div>'
        return bundle

    def _settle(self) -> None:
        """Have the still follow, after a moment of quiet."""
        if self._display_id and not self._alone:
            work.loop().call_soon_threadsafe(self._settle_later)

    def _settle_later(self) -> None:
        if self._still_due is not None:
            self._still_due.cancel()
        rest = max(REST, self._still_at + SHARE * self._still_cost - time.monotonic())
        self._still_due = asyncio.get_running_loop().call_later(rest, self._follow)

    def _follow(self) -> None:
        """Draw the still anew, wherever it was shown."""
        self._still_due = None
        publisher = getattr(ipython_shell(), "display_pub", None)
        if not self._display_id or publisher is None:
            return
        began = time.monotonic()
        with contextlib.suppress(Exception):  # a picture that cannot be drawn must not end the work behind it
            publisher.publish(self._still(), {}, transient={"display_id": self._display_id}, update=True)
        self._still_at = time.monotonic()
        self._still_cost = self._still_at - began

    def _shown(self) -> None:
        """Hear that a page shows the panel for the first time; a panel may fetch now what it needs to be used."""

    # ── being asked ──

    def _heard(self, message: Message, buffers: list[Any]) -> None:
        """Take one message of the page; nothing that it says may break the kernel."""
        name, number, by = message.get("ask"), message.get("id"), message.get("by")
        args = message.get("args")
        if not isinstance(name, str) or not isinstance(number, int) or not isinstance(by, str):
            return
        with self._lock:
            if (by, number) in self._asked or self._closed:
                return
            if "token" in message and name not in self.urgent:
                return  # the control channel's thread is for what stops something
            self._asked[by, number] = None
            if len(self._asked) > KEPT:
                del self._asked[next(iter(self._asked))]
        method = getattr(self, f"ask_{name}", None)
        try:
            if method is None or not isinstance(args, dict):
                raise InvalidInput(f"The page asked for {name!r}, which this panel does not know.")
            given = {**args, "buffers": buffers} if buffers else args
            inspect.signature(method).bind(**given)
            value = method(**given)
        except Exception as error:
            self._reply(by, number, error=trouble(error))
            return
        if not inspect.iscoroutine(value):
            self._reply(by, number, value=value)
            return
        self._reply(by, number, heard=True)
        future = self._begin(value)
        future.add_done_callback(lambda done: self._reply_of(by, number, done))

    def ask_whole(self) -> Message:
        """Tell a page the whole document."""
        return self._doc.snapshot()

    def _reply_of(self, by: str, number: int, done: concurrent.futures.Future[Any]) -> None:
        if done.cancelled():
            self._reply(by, number, value=None)
        elif (error := done.exception()) is not None:
            self._reply(by, number, error=trouble(error))
        else:
            self._reply(by, number, value=done.result())

    def _reply(self, by: str, number: int, **said: Any) -> None:  # noqa: ANN401
        if self._page is not None:
            self._doc.flush()  # what was done is seen before it is said to be done
            with contextlib.suppress(Exception):
                self._page.answer({"re": number, "to": by, **said})

    # ── work ──

    def _begin(self, job: Coroutine[Any, Any, T], name: str = "") -> concurrent.futures.Future[T]:
        """Begin some work beside the kernel; under a name, it takes the place of work of the same name."""
        name = name or uuid.uuid4().hex
        with self._lock:
            try:
                self._check_open()
            except ConfigurationError:
                job.close()
                raise
            self._stop(name)
            future = self._jobs[name] = work.begin(self._prepared(job))
        future.add_done_callback(lambda done: self._forget(name, done))
        return future

    async def _prepared(self, job: Coroutine[Any, Any, T]) -> T:
        try:
            if self._base.mode == "sandbox" and not self._warm:
                # Starting it takes a moment, in which the other panels' work shall go on. What goes wrong is told
                # by the job itself, which meets it again.
                with contextlib.suppress(Exception):
                    await asyncio.to_thread(lambda: self._base.base_url)
                self._warm = True
        except BaseException:
            job.close()
            raise
        return await job

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigurationError(
                f"This {type(self).__name__} is closed.",
                hint="Make a new one: it may share what this one held.",
            )

    def _stop(self, name: str | None = None) -> bool:
        """Cancel the work of a name, or all of it; return whether there was any."""
        with self._lock:
            jobs = [job for key, job in self._jobs.items() if name is None or key == name]
        return [job.cancel() for job in jobs].count(True) > 0  # every one of them, not the first alone

    def _busy(self, name: str) -> bool:
        with self._lock:
            return name in self._jobs

    def _forget(self, name: str, done: object) -> None:
        with self._lock:
            if self._jobs.get(name) is done:
                del self._jobs[name]

    # ── ending ──

    def close(self) -> None:
        """Stop the work, remove the widget, and leave the last state as a picture. It may be called again."""
        with self._lock:
            if self._closed:
                return
            self._stop()
            self._closing()
            self._closed = True
            page, self._page = self._page, None
        if page is not None:
            self._follow()
            page.close()

    def _closing(self) -> None:
        """Let go of what the panel listens to."""

    def __enter__(self) -> Any:  # noqa: ANN401 - Self, of whatever panel it is
        return self

    def __exit__(self, *caught: object) -> None:
        self.close()


def _one_at_a_time(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that holds its panel's lock, once."""
    if getattr(method, "_holds_the_lock", False):
        return method

    @functools.wraps(method)
    def locked(self: Panel, *args: Any, **named: Any) -> Any:  # noqa: ANN401
        with self._lock:
            return method(self, *args, **named)

    locked._holds_the_lock = True  # type: ignore[attr-defined]
    return locked


def _settable(kind: type, name: str) -> bool:
    found = getattr(kind, name)
    return isinstance(found, property) and found.fset is not None and not name.startswith("_")
