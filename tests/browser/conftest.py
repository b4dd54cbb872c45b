"""Fixtures for tests in a real browser: ``lab``, ``page``, ``notebook(cells)`` (see ``lab.py``).

JupyterLab starts once per session, Chromium once per test file: Playwright's synchronous interface keeps an event
loop running in this thread while it is open, which asynchronous tests of other files could not share.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from nbformat import NotebookNode

pytest.importorskip(
    "playwright.sync_api", reason="pip install playwright (the 'test' extra) for the browser tests"
)

import nbformat
from playwright.sync_api import Browser, Page, Request, sync_playwright

from tests.browser.lab import Lab, Notebook, file_name, make_notebook

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever a page asks for elsewhere is refused as well as counted.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium on this machine."""
    for name in CHROMIUM:
        if path := shutil.which(name):
            return path
    reason = "no Chromium on this machine: install one, such as by `apt-get install chromium`"
    if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def lab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running JupyterLab."""
    server = Lab(tmp_path_factory.mktemp("lab") / "home")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A running Chromium."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield running
        running.close()


@pytest.fixture
def outside() -> list[str]:
    """Every address that the test's page asked for and that is not this machine's."""
    return []


@pytest.fixture
def page(browser: Browser, outside: list[str]) -> Iterator[Page]:
    """An empty page; the test fails if anything was loaded from outside."""
    context = browser.new_context(viewport={"width": 1180, "height": 900})
    context.set_default_timeout(30_000)

    def note(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname != "127.0.0.1":
            outside.append(request.url)

    context.on("request", note)
    yield context.new_page()
    context.close()
    assert outside == [], "the page loaded something from outside"


@pytest.fixture
def notebook(
    page: Page, lab: Lab, request: pytest.FixtureRequest
) -> Iterator[Callable[[Sequence[str | NotebookNode] | NotebookNode], Notebook]]:
    """Make and open a notebook: ``notebook(["1 + 1"])``; cells are code, or cells or a whole made with nbformat."""
    opened: list[Notebook] = []

    def make(cells: Sequence[str | NotebookNode] | NotebookNode) -> Notebook:
        node = cells if isinstance(cells, NotebookNode) else make_notebook(cells)
        path = Path(lab.work) / file_name(request.node.name, len(opened))
        nbformat.write(node, path)
        opened.append(Notebook(page, lab, path).open())
        return opened[-1]

    yield make
    for one in opened[-1:]:
        one.shut_down()
