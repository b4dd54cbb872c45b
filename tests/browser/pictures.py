"""Takes the README's pictures in a real JupyterLab: ``python -m tests.browser.pictures``."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from playwright.sync_api import Page, sync_playwright

from beatra_nb.core.settings import weights_home
from tests.browser.conftest import CHROMIUM, OPTIONS
from tests.browser.lab import Lab, Notebook, make_notebook

FOLDER = Path(__file__).parents[2] / "notebooks" / "images"
QUICKSTART = [
    nbformat.v4.new_markdown_cell(
        "# beatra in five minutes\n\nOne line, a real answer. No key needed: a small model on this machine answers."
    ),
    "import beatra_nb as bn\nbn.connect(mode='sandbox');",
    'bn.chat("What is a Jupyter notebook? Answer in one short sentence.", seed=1)',
    'bn.chat("Explain in two sentences why the sky is blue.", stream=True, max_tokens=90, seed=2)',
    'bn.chat("Hello", model="gpt-of-tomorrow")',
]
MUSIC = [
    "import beatra_nb as bn\nbn.connect(mode='sandbox');",
    'bn.music("dream pop, warm analog drums, bright chorus, 20 seconds",\n'
    '         lyrics="[Verse]\\nCity lights are waking\\n[Chorus]\\nWe are wide awake")',
]
# What surrounds the notebook is not the picture's subject.
BARE = """() => {
    jupyterapp.shell.collapseLeft?.();
    jupyterapp.shell.mode = 'single-document';
    for (const area of ['top', 'bottom', 'left', 'right', 'menu'])
        document.querySelector(`#jp-${area}-panel`)?.style.setProperty('display', 'none');
}"""


def take(page: Page, lab: Lab, name: str, cells: Sequence[str | NotebookNode]) -> None:
    """Run a notebook, and take its picture, light and dark."""
    path = lab.work / f"{name}.ipynb"
    nbformat.write(make_notebook(list(cells)), path)
    book = Notebook(page, lab, path).open()
    page.add_style_tag(content=".jp-cell-toolbar { display: none !important }")
    page.evaluate(BARE)
    book.run_all()
    page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 0 }")
    for dark in (False, True):
        book.theme(dark=dark)
        target = FOLDER / (f"{name}-dark.png" if dark else f"{name}.png")
        page.locator(".jp-Notebook .jp-WindowedPanel-viewport, .jp-Notebook").first.screenshot(
            path=str(target)
        )
        print(target)


def main() -> None:
    """Take the pictures, light and dark."""
    os.environ["BEATRA_WEIGHTS"] = str(weights_home())
    FOLDER.mkdir(exist_ok=True)
    browser_path = next(path for name in CHROMIUM if (path := shutil.which(name)))
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        lab = Lab(Path(home) / "home", engine="smollm2")
        browser = playwright.chromium.launch(executable_path=browser_path, args=OPTIONS)
        try:
            for name, cells in (("quickstart", QUICKSTART), ("music", MUSIC)):
                page = browser.new_page(viewport={"width": 900, "height": 900}, device_scale_factor=1.5)
                take(page, lab, name, cells)
                page.close()
        finally:
            browser.close()
            lab.stop()


if __name__ == "__main__":
    main()
