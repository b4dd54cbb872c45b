"""The widget that shows an answer while it grows: the kernel's half. The page's half is ``assets/live*.js``.

Deltas travel as custom messages, so that the bytes grow with the text and not with its square. Loaded only when
somebody is watching: it brings ipywidgets along.
"""

from __future__ import annotations

import traitlets

from beatra_nb.display.widgets import LiveWidget, module_of, style_of

WAITING = "The answer is on its way."


def module_text() -> str:
    """Return the page's half as one module."""
    return module_of("server.js", "live_markdown.js", "live.js")


def style_text() -> str:
    """Return the style sheet."""
    return style_of("live.css")


class LiveAnswer(LiveWidget):
    """An answer that is being written."""

    _esm = module_text()
    _css = style_text()
    waiting = WAITING

    kernel_id = traitlets.Unicode().tag(sync=True)
    sandbox = traitlets.Bool().tag(sync=True)

    def mark(self, marks: list[str]) -> None:
        """Send the marks that the answer wears."""
        self.send({"marks": marks})

    def grow(self, text: str, deltas: int) -> None:
        """Send what has come since the last time, and how many deltas have come in all."""
        self.send({"text": text, "deltas": deltas})

    def end(self, *, complete: bool) -> None:
        """Tell the page that the finished view follows."""
        self.send({"end": "complete" if complete else "cut"})
