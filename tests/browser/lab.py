"""A real JupyterLab (or Notebook 7) for the tests, and notebooks to drive in it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import nbformat
from nbformat import NotebookNode
from playwright.sync_api import Locator, Page

from tests.browser.server import KERNEL, READY, Server

SETTINGS = {
    "apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "docmanager-extension/plugin": {"autosave": False},
    "notebook-extension/tracker": {"maxNumberOutputs": 1000},  # a cell shows all of its outputs
}


class Lab(Server):
    """A running JupyterLab, or Notebook 7.

    Parameters
    ----------
    home : Path
        An empty folder for everything it writes.
    app : {"lab", "notebook"}
        JupyterLab or Notebook 7.
    engine : str
        Which engine of the sandbox answers in its kernels.
    """

    def __init__(
        self, home: Path, app: Literal["lab", "notebook"] = "lab", *, engine: str = "scripted"
    ) -> None:
        super().__init__(home, engine=engine)
        self.app = self.name = app
        for name, values in SETTINGS.items():
            file = self.config / "lab" / "user-settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        module, exposed = ("jupyterlab", "LabApp") if app == "lab" else ("notebook", "JupyterNotebookApp")
        command = [module, "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={self.port}"]
        command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password="]
        command += [f"--{exposed}.expose_app_in_browser=True"]
        self.start(command, "/api/status")

    def page_url(self, name: str) -> str:
        """The address of a notebook's page."""
        return f"{self.url}/lab/tree/{name}?reset" if self.app == "lab" else f"{self.url}/notebooks/{name}"


class Notebook:
    """A notebook open in a page of the browser. Cells are counted from 0."""

    def __init__(self, page: Page, lab: Lab, path: Path) -> None:
        self.page = page
        self.lab = lab
        self.path = path

    def open(self) -> Notebook:
        """Load the page and wait for notebook and kernel."""
        self.page.goto(self.lab.page_url(self.path.name))
        self._wait_until_open()
        return self

    def reload(self) -> Notebook:
        """Load the page anew, from the saved file, and wait for notebook and kernel."""
        return self.open()

    def run_all(self, *, wait: bool = True) -> None:
        """Run every cell."""
        self._start("notebook:run-all-cells")
        if wait:
            self.wait_idle()

    def run(self, index: int, *, wait: bool = True) -> None:
        """Run one cell."""
        self.page.evaluate("i => { jupyterapp.shell.currentWidget.content.activeCellIndex = i }", index)
        self._start("notebook:run-cell")
        if wait:
            self.wait_idle()

    def wait_idle(self, timeout: float = READY) -> None:
        """Wait until what was started has run and the kernel rests."""
        self.page.wait_for_function(
            "() => window.testRunning === 0"
            " && jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'",
            timeout=timeout * 1000,
        )

    def cell(self, index: int) -> Locator:
        """The page's element of a cell."""
        return self.page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{index}']")

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """What a cell shows: for each output its ``mime`` type, ``text`` and ``html`` as the page has them."""
        return self.cell(index).evaluate(
            """cell => [...cell.querySelectorAll('.jp-OutputArea-child')].map(child => {
                const output = child.querySelector('.jp-OutputArea-output');
                return {mime: output?.dataset.mimeType ?? '', text: output?.innerText ?? '',
                        html: output?.innerHTML ?? '',
                        prompt: child.querySelector('.jp-OutputPrompt')?.innerText ?? ''};
            })"""
        )

    def save(self) -> None:
        """Save the file, as a user does."""
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")

    def saved(self) -> NotebookNode:
        """The file as it is on disk."""
        return nbformat.read(self.path, as_version=4)

    def theme(self, *, dark: bool) -> None:
        """Change the theme of the page."""
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
        light = "false" if dark else "true"
        self.page.wait_for_function(f"() => document.body.dataset.jpThemeLight === '{light}'")
        self._wait_for_splash()

    def shot(self, path: str | Path, index: int | None = None) -> None:
        """Take a picture of the page, or of one cell."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        target: Page | Locator = self.page if index is None else self.cell(index)
        target.screenshot(path=str(path))

    def shut_down(self) -> None:
        """End the notebook's kernel."""
        self.page.evaluate("() => jupyterapp.shell.currentWidget?.sessionContext?.shutdown()")

    def _start(self, command: str) -> None:
        self.page.evaluate(
            """command => {
                window.testRunning += 1;
                jupyterapp.commands.execute(command).finally(() => { window.testRunning -= 1; });
            }""",
            command,
        )

    def _wait_until_open(self) -> None:
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.context?.isReady", timeout=READY * 1000
        )
        self.page.evaluate(
            """async () => {
                window.testRunning = 0;
                const widget = jupyterapp.shell.currentWidget;
                await widget.context.ready;
                await widget.sessionContext.ready;
            }"""
        )
        self._wait_for_splash()
        self.wait_idle()

    def _wait_for_splash(self) -> None:
        # It fades away over a page that is ready underneath.
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")


def make_notebook(cells: Sequence[str | NotebookNode]) -> NotebookNode:
    """Make a notebook of code cells (text) and ready-made cells; its kernel is this Python."""
    made = [nbformat.v4.new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    # Without a kernelspec the page opens a dialog and waits for a person.
    spec = {"name": KERNEL, "display_name": "Python (beatra tests)", "language": "python"}
    return nbformat.v4.new_notebook(
        cells=made, metadata={"kernelspec": spec, "language_info": {"name": "python"}}
    )


def file_name(test: str, number: int) -> str:
    """Return a notebook's file name for a test."""
    return f"{re.sub(r'[^A-Za-z0-9]+', '_', test)[:60]}_{number}.ipynb"
