"""A real Voila for the tests: notebooks as pages, each visit with a kernel of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from playwright.sync_api import Page

from tests.browser.lab import make_notebook
from tests.browser.server import READY, Server


class Voila(Server):
    """A running Voila.

    Examples
    --------
    ::

        with Voila(tmp_path / "voila") as voila:
            voila.open(page, ["import beatra_nb as bn", "bn.ChatBox()"])
    """

    name = "voila"

    def __init__(self, home: Path, *, engine: str = "scripted") -> None:
        super().__init__(home, engine=engine)
        command = ["voila", str(self.work), "--no-browser", f"--port={self.port}", "--Voila.ip=127.0.0.1"]
        command += ["--VoilaConfiguration.show_tracebacks=True"]
        self.start(command, "/")

    def open(self, page: Page, cells: Sequence[str | NotebookNode], name: str = "page") -> None:
        """Open a notebook of these cells as a page; Voila runs them all before it shows the page."""
        nbformat.write(make_notebook(cells), self.work / f"{name}.ipynb")
        page.goto(f"{self.url}/voila/render/{name}.ipynb", timeout=READY * 1000)
