"""Fixtures for tests in a real browser: ``lab``, ``page``, ``second_page``, ``notebook(cells)`` (see ``lab.py``).

Other front ends: ``classic`` (Notebook 7), ``voila``, and ``marimo(cells)``. A server starts once per session,
Chromium once per test file, with one profile for all: Playwright's synchronous interface keeps an event loop running
in this thread while it is open, which asynchronous tests of other files could not share.
"""

from __future__ import annotations

import contextlib
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
from playwright.sync_api import BrowserContext, Page, Playwright, Request, expect, sync_playwright

from tests.browser.lab import Lab, Notebook, file_name, make_notebook
from tests.browser.marimo import Marimo
from tests.browser.voila import Voila

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-smooth-scrolling",  # what grows meanwhile may stop a glide half-way
    # Whatever a page asks for elsewhere is refused as well as counted.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

expect.set_options(timeout=30_000)  # milliseconds: other tests and their kernels run beside this one

# What Voila's own template links to, whatever it shows.
FOREIGN = ("https://cdn.jsdelivr.net/npm/@fortawesome/",)


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


@pytest.fixture(scope="session")
def classic(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running Notebook 7."""
    with Lab(tmp_path_factory.mktemp("classic") / "home", "notebook") as server:
        yield server


@pytest.fixture(scope="session")
def voila(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Voila]:
    """A running Voila: ``voila.open(page, cells)``."""
    pytest.importorskip("voila", reason="pip install voila (the 'test' extra)")
    with Voila(tmp_path_factory.mktemp("voila") / "home") as server:
        yield server


@pytest.fixture
def marimo(chromium: str, page: Page, tmp_path: Path) -> Iterator[Callable[[Sequence[str]], Marimo]]:
    """Start a marimo and open its app in the page: ``marimo(["import beatra_nb as bn", "bn.ChatBox()"])``."""
    pytest.importorskip("marimo", reason="pip install marimo (the 'test' extra)")
    with contextlib.ExitStack() as running:

        def start(cells: Sequence[str]) -> Marimo:
            server = running.enter_context(Marimo(tmp_path / "marimo", cells))
            server.open(page)
            return server

        yield start


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Chromium keeps what it has loaded and compiled: the next page of JupyterLab comes from there."""
    return tmp_path_factory.mktemp("profile")


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """What drives Chromium."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def visitor(playwright: Playwright, chromium: str, profile: Path) -> Iterator[BrowserContext]:
    """A Chromium for a file's tests; each of them has pages of its own in it, and no cookies of another."""
    yield from _start(playwright, chromium, profile)


@pytest.fixture
def outside() -> list[str]:
    """Every address that the test's page asked for and that is not this machine's."""
    return []


@pytest.fixture
def page(visitor: BrowserContext, outside: list[str]) -> Iterator[Page]:
    """An empty page; the test fails if anything was loaded from outside."""
    yield from _visit(visitor, outside)


@pytest.fixture
def second_page(playwright: Playwright, chromium: str, tmp_path: Path, outside: list[str]) -> Iterator[Page]:
    """An empty page of another visitor, who shares no cookie and no storage with the first one.

    To look at the same notebook: save it, then ``Notebook(second_page, book.lab, book.path).open()``.
    """
    for visitor in _start(playwright, chromium, tmp_path / "profile"):
        yield from _visit(visitor, outside)


def _start(playwright: Playwright, chromium: str, profile: Path) -> Iterator[BrowserContext]:
    context = playwright.chromium.launch_persistent_context(
        profile, executable_path=chromium, args=OPTIONS, viewport={"width": 1180, "height": 900}
    )
    context.set_default_timeout(30_000)
    yield context
    context.close()


def _visit(context: BrowserContext, outside: list[str]) -> Iterator[Page]:
    def note(request: Request) -> None:
        address = urlsplit(request.url)
        elsewhere = address.scheme in ("http", "https", "ws", "wss") and address.hostname != "127.0.0.1"
        if elsewhere and not request.url.startswith(FOREIGN):
            outside.append(request.url)

    context.on("request", note)
    first, *_ = context.pages  # stays: a Chromium without pages ends
    yield context.new_page()
    for page in context.pages:
        if page is not first:
            page.close()
    context.remove_listener("request", note)
    context.clear_cookies()
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
