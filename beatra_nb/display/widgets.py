"""What the live widgets share on the kernel's side: their module and style for the page, and how they end.

Loaded only when somebody is watching: it brings ipywidgets along.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import anywidget

ASSETS = Path(__file__).parent / "assets"


@cache
def module_of(*names: str) -> str:
    """Return files of the page's half as the one ES module that a widget can carry.

    The files are ordinary modules, tested as such; here their imports of each other and their exports go, and so
    do comments and indentation, because every live view carries this text to the page once.
    """
    joined = "\n".join((ASSETS / name).read_text("utf-8") for name in names)
    joined = re.sub(r"^import .*$", "", re.sub(r"^export (?!default)", "", joined, flags=re.M), flags=re.M)
    joined = re.sub(r"^\s*/\*\*.*?\*/\s*$", "", joined, flags=re.M | re.S)
    lines = (line.strip() for line in joined.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


@cache
def style_of(name: str) -> str:
    """Return a style sheet, without comments and indentation."""
    css = re.sub(r"/\*.*?\*/", "", (ASSETS / name).read_text("utf-8"), flags=re.S)
    return "\n".join(line for line in map(str.strip, css.splitlines()) if line)


class LiveWidget(anywidget.AnyWidget):
    """A widget that shows something while it comes about, and leaves nothing behind."""

    waiting = ""  # what stands for it in plain text

    def close(self) -> None:
        """Remove the widget from the page and from the kernel, with the layout that came with it."""
        layout = self.layout if self.comm is not None else None
        super().close()
        if layout is not None:
            layout.close()

    def __repr__(self) -> str:
        # No memory address: outputs are compared from run to run.
        return self.waiting


def kernel_id() -> str:
    """Return the id under which a notebook server knows this kernel, or an empty text.

    The server names the connection file after it.
    """
    try:
        from ipykernel.connect import get_connection_file

        return Path(get_connection_file()).stem.removeprefix("kernel-")
    except (ImportError, RuntimeError, OSError, AttributeError):
        return ""
