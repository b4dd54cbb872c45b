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

    The files are ordinary modules, tested as such. Here each but the last becomes a function that returns its
    exports, so that what is private to one cannot collide with another; imports go, and so do comments and
    indentation, because every live view carries this text to the page once.
    """
    *shared, last = ((ASSETS / name).read_text("utf-8") for name in names)
    return _lean("\n".join([*map(_enclosed, shared), last]))


def _enclosed(module: str) -> str:
    names = ", ".join(re.findall(r"^export (?:async )?(?:class|function|const) (\w+)", module, flags=re.M))
    inside = re.sub(r"^export ", "", module, flags=re.M)
    return f"const {{ {names} }} = (() => {{\n{inside}\nreturn {{ {names} }};\n}})();"


def _lean(module: str) -> str:
    module = re.sub(r"^import .*$", "", module, flags=re.M)
    module = re.sub(r"^export (?!default)", "", module, flags=re.M)
    module = re.sub(r"^\s*/\*\*(?:(?!\*/).)*\*/\s*$", "", module, flags=re.M | re.S)
    lines = (line.strip() for line in module.splitlines())
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
