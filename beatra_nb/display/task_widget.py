"""The widget that shows a job while it runs: the kernel's half. The page's half is ``assets/task.js``.

Loaded only when somebody is watching: it brings ipywidgets along.
"""

from __future__ import annotations

import threading
from typing import Any

import traitlets

from beatra_nb.display import cancelling
from beatra_nb.display.widgets import LiveWidget, kernel_id, module_of, style_of

WAITING = "The work is under way."


def module_text() -> str:
    """Return the page's half as one module."""
    return module_of("server.js", "task.js")


def style_text() -> str:
    """Return the style sheet."""
    return style_of("task.css")


class LiveTask(LiveWidget):
    """Work under way, and a button that asks to cancel it.

    Parameters
    ----------
    asked : threading.Event, optional
        Set when the page asks to cancel; without one there is no button.
    """

    _esm = module_text()
    _css = style_text()
    waiting = WAITING

    kernel_id = traitlets.Unicode().tag(sync=True)
    token = traitlets.Unicode().tag(
        sync=True
    )  # names this widget on the control channel; without one, no button
    state = traitlets.Dict().tag(sync=True)  # what it begins with; what changes comes as messages
    by_hand = traitlets.Unicode().tag(sync=True)  # how to stop it where there is no button

    def __init__(self, state: dict[str, Any], *, by_hand: str, asked: threading.Event | None = None) -> None:
        self._asked = asked
        self._sent = dict(state)
        token = cancelling.listen(lambda said: asked.set()) if asked is not None else ""
        super().__init__(kernel_id=kernel_id(), token=token, state=state, by_hand=by_hand)
        self.on_msg(self._hear)

    def show(self, state: dict[str, Any]) -> None:
        """Send what has changed since the last time."""
        news = {name: value for name, value in state.items() if self._sent.get(name) != value}
        if news:
            self._sent.update(news)
            self.send({"state": news})

    def end(self, words: str) -> None:
        """Tell the page that it is over; the words are for screen readers."""
        self.send({"end": words})

    def close(self) -> None:
        """Remove the widget, and listen no longer."""
        cancelling.forget(self.token)
        super().close()

    def _hear(self, widget: object, content: object, buffers: object) -> None:
        # The other way a press of the button comes; it is heard when no cell is running.
        if self._asked is not None and isinstance(content, dict) and content.get("cancel") is True:
            self._asked.set()
