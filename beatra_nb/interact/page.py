"""The widget that a panel is touched by: the kernel's half. The page's half is ``assets/panel.js``.

Loaded only when a page shows a panel: it brings ipywidgets along.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import traitlets

from beatra_nb.display import cancelling
from beatra_nb.display.widgets import LiveWidget, kernel_id, module_of, style_of
from beatra_nb.interact.document import Document, Message

# Every panel stands on these; its own files follow them.
MODULES = ("server.js", "live_markdown.js", "panel.js")
STYLES = ("panel.css",)


class Page(LiveWidget):
    """A document in a page, and what the page asks.

    Parameters
    ----------
    document : Document
        What the page mirrors.
    hear : callable
        Called with each message of the page and its buffers.
    """

    waiting = "A panel."

    kernel_id = traitlets.Unicode().tag(sync=True)
    token = traitlets.Unicode().tag(sync=True)  # names this panel on the control channel
    state = traitlets.Dict().tag(sync=True)  # the whole document, made when somebody asks for it

    def __init__(self, document: Document, hear: Callable[[Message, list[Any]], object]) -> None:
        self._document = document
        self._hearer = hear
        document.attach(self._tell)
        super().__init__(kernel_id=kernel_id(), token=cancelling.listen(lambda said: hear(said, [])))
        self.on_msg(self._hear)

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:  # noqa: ANN401
        """Return the state, the document as it is at this moment; a page that comes later begins with it."""
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        if "state" in state:
            state["state"] = self._document.snapshot()
        return state

    def close(self) -> None:
        """Remove the widget, and listen no longer."""
        cancelling.forget(self.token)
        self._document.detach()
        super().close()

    def answer(self, message: Message, buffers: list[bytes] | None = None) -> None:
        """Send what is not part of the document: the answer to one question, or a file."""
        if self.comm is not None:
            self.send(message, buffers)

    def _tell(self, message: Message) -> None:
        if self.comm is not None:
            self.send(message)

    def _hear(self, widget: object, content: object, buffers: Any) -> None:  # noqa: ANN401
        if isinstance(content, dict):
            self._hearer(content, list(buffers or []))


@cache
def page_class(name: str, modules: tuple[str, ...], styles: tuple[str, ...]) -> type[Page]:
    """Return the widget class of one kind of panel; the last module holds the panel itself."""
    return type(
        f"{name}Page",
        (Page,),
        {
            "_esm": module_of(*MODULES, *modules),
            "_css": "\n".join(style_of(each) for each in (*STYLES, *styles)),
            "waiting": name,
            "__module__": __name__,
        },
    )
