"""A real marimo for the tests: a notebook as an app, each visit with a session of its own."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page

from tests.browser.server import READY, Server


class Marimo(Server):
    """A marimo that runs one notebook as an app.

    marimo orders cells by the names they define and use, and shows the last expression of each.

    Parameters
    ----------
    home : Path
        An empty folder for everything it writes.
    cells : sequence of str
        The cells' code. A name may be defined in one cell only.
    engine : str
        Which engine of the sandbox answers.

    Examples
    --------
    ::

        with Marimo(tmp_path / "marimo", ["import beatra_nb as bn", "bn.ChatBox()"]) as marimo:
            marimo.open(page)
    """

    name = "marimo"

    def __init__(self, home: Path, cells: Sequence[str], *, engine: str = "scripted") -> None:
        super().__init__(home, engine=engine)
        self.env |= self.kernel_env
        self.env |= {
            f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "DATA", "CACHE", "STATE")
        }
        file = self.work / "app.py"
        file.write_text(_program(cells), "utf-8")
        command = ["marimo", "-q", "-y", "run", str(file), "--headless", "--no-token", "--no-check"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--no-sandbox"]
        self.start(command, "/health")

    def open(self, page: Page) -> None:
        """Open the app, and wait until its first cells are there. What they show comes when they have run."""
        page.goto(self.url)
        # Cells without an output are there too, but not to be seen.
        page.locator("[data-cell-id]").first.wait_for(state="attached", timeout=READY * 1000)


def _program(cells: Sequence[str]) -> str:
    """Return cells as a notebook's file: each a function whose names marimo finds by itself."""
    head = "import marimo\n\napp = marimo.App()\n"
    written = [f"app._unparsable_cell({textwrap.dedent(cell)!r}, name='_')\n" for cell in cells]
    return "\n".join([head, *written, 'if __name__ == "__main__":\n    app.run()\n'])
