"""The widget that shows an answer while it grows: the kernel's half. The page's half is ``assets/live*.js``.

Deltas travel as custom messages, so that the bytes grow with the text and not with its square. Loaded only when
somebody is watching: it brings ipywidgets along.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import anywidget
import traitlets

ASSETS = Path(__file__).parent / "assets"
WAITING = "The answer is on its way."


@cache
def module_text() -> str:
    """Return the page's half as the one ES module that a widget can carry.

    The files are ordinary modules, tested as such; here their imports of each other and their exports go, and so
    do comments and indentation, because every live answer carries this text to the page once.
    """
    markdown = (ASSETS / "live_markdown.js").read_text("utf-8")
    widget = (ASSETS / "live.js").read_text("utf-8")
    joined = re.sub(r"^export (?!default)", "", markdown, flags=re.M) + re.sub(
        r"^import .*$", "", widget, flags=re.M
    )
    joined = re.sub(r"^\s*/\*\*.*?\*/\s*$", "", joined, flags=re.M | re.S)
    lines = (line.strip() for line in joined.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


@cache
def style_text() -> str:
    """Return the style sheet, without comments and indentation."""
    css = re.sub(r"/\*.*?\*/", "", (ASSETS / "live.css").read_text("utf-8"), flags=re.S)
    return "\n".join(line for line in map(str.strip, css.splitlines()) if line)


class LiveAnswer(anywidget.AnyWidget):
    """An answer that is being written."""

    _esm = module_text()
    _css = style_text()

    kernel_id = traitlets.Unicode().tag(sync=True)
    sandbox = traitlets.Bool().tag(sync=True)

    def grow(self, text: str, deltas: int) -> None:
        """Send what has come since the last time, and how many deltas have come in all."""
        self.send({"text": text, "deltas": deltas})

    def end(self, *, complete: bool) -> None:
        """Tell the page that the finished view follows."""
        self.send({"end": "complete" if complete else "cut"})

    def close(self) -> None:
        """Remove the widget from the page and from the kernel, with the layout that came with it."""
        layout = self.layout if self.comm is not None else None
        super().close()
        if layout is not None:
            layout.close()

    def __repr__(self) -> str:
        # No memory address: outputs are compared from run to run.
        return WAITING


def kernel_id() -> str:
    """Return the id under which a notebook server knows this kernel, or an empty text.

    The server names the connection file after it.
    """
    try:
        from ipykernel.connect import get_connection_file

        return Path(get_connection_file()).stem.removeprefix("kernel-")
    except (ImportError, RuntimeError, OSError, AttributeError):
        return ""
