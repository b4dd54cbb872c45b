"""Takes the README's pictures in a real JupyterLab: ``python -m tests.browser.pictures [name …]``."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from playwright.sync_api import Page, expect, sync_playwright

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
START = "import beatra_nb as bn\nbn.connect(mode='sandbox');"
BUILDER = [
    START,
    "builder = bn.PromptBuilder(\n"
    '    "Which city and which country does this sentence name? {text}",\n'
    '    system="You extract data. Answer with JSON alone.", temperature=0, name="Cities",\n'
    '    rows=["Lisbon, in Portugal, is sunny.", "Nairobi is the capital of Kenya.", "We love Kyoto, in Japan."],\n'
    '    schema={"type": "object", "required": ["city", "country"], "additionalProperties": False,\n'
    '            "properties": {"city": {"type": "string"}, "country": {"type": "string"}}})\n'
    "builder",
]
CHAT_BOX = [
    START,
    'box = bn.ChatBox(system="You are a friendly teacher. Answer in one short sentence.", title="Sun and moon",\n'
    "                 max_tokens=60, temperature=0.3, seed=5)\n"
    "box",
]
COMPARE = [
    START,
    'compare = bn.Compare("Explain in one sentence what a notebook is.", max_tokens=60, seed=1,\n'
    '                     variants={"careful": {"temperature": 0}, "lively": {"temperature": 1.3}})\n'
    "compare",
]
STUDIO = [
    START,
    'studio = bn.MusicStudio("dream pop, warm analog drums, bright chorus", title="City Lights",\n'
    '                        lyrics="[Verse]\\nCity lights are waking\\n[Chorus]\\nWe are wide awake")\n'
    "studio",
]
BOARD = [
    START,
    'bn.music("slow blues, 6 seconds", title="Night bus", embed=False)\n'
    'bn.music("synthwave, neon, 200 seconds", title="Neon", wait=False)\n'
    'bn.music("lo-fi beat, rain, 30 seconds", title="Rain", model="minimax-music-2.6", wait=False);',
    "bn.TaskBoard(limit=5)",
]


def build(page: Page) -> None:
    """Ask for every row."""
    panel = page.locator(".bnp")
    panel.get_by_role("button", name="Run all…").click()
    panel.get_by_role("button", name="Run all 3").click()
    expect(panel.get_by_text("3 of 3 answered").first).to_be_visible(timeout=120_000)


def talk(page: Page) -> None:
    """Say two things, by keyboard."""
    box = page.locator(".bnp textarea").last
    for number, words in enumerate(("What is the sun?", "And the moon?"), 1):
        box.fill(words)
        box.press("Enter")
        expect(page.locator(".bnp").get_by_title("request id")).to_have_count(number, timeout=60_000)
    page.wait_for_timeout(500)


def compare(page: Page) -> None:
    """Run both lanes."""
    page.locator(".bnp").get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".bnp").get_by_text("request id")).to_have_count(2, timeout=60_000)


def compose(page: Page) -> None:
    """Make two takes."""
    panel = page.locator(".bnp")
    panel.get_by_label("Length in seconds").fill("12")
    panel.get_by_role("button", name="Create").click()
    expect(panel.get_by_text("ready")).to_be_visible(timeout=120_000)
    page.wait_for_timeout(500)


def look(page: Page) -> None:
    """Wait until the board knows its tasks."""
    expect(page.locator(".bnp").get_by_text("Neon")).to_be_visible(timeout=60_000)
    page.wait_for_timeout(1500)


PICTURES: dict[str, tuple[Sequence[str | NotebookNode], Callable[[Page], None] | None]] = {
    "quickstart": (QUICKSTART, None),
    "music": (MUSIC, None),
    "prompt_builder": (BUILDER, build),
    "chat_box": (CHAT_BOX, talk),
    "compare": (COMPARE, compare),
    "music_studio": (STUDIO, compose),
    "task_board": (BOARD, look),
}

# What surrounds the notebook is not the picture's subject.
BARE = """() => {
    jupyterapp.shell.collapseLeft?.();
    jupyterapp.shell.mode = 'single-document';
    for (const area of ['top', 'bottom', 'left', 'right', 'menu'])
        document.querySelector(`#jp-${area}-panel`)?.style.setProperty('display', 'none');
}"""


def take(
    page: Page,
    lab: Lab,
    name: str,
    cells: Sequence[str | NotebookNode],
    act: Callable[[Page], None] | None = None,
) -> None:
    """Run a notebook, do something in its panel, and take its picture, light and dark."""
    path = lab.work / f"{name}.ipynb"
    nbformat.write(make_notebook(list(cells)), path)
    book = Notebook(page, lab, path).open()
    page.add_style_tag(content=".jp-cell-toolbar { display: none !important }")
    page.evaluate(BARE)
    book.run_all()
    if act is not None:
        act(page)
        # A panel's picture is the panel: it may be taller than the page.
        page.set_viewport_size({"width": 1060, "height": 1500})
    page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 0 }")
    for dark in (False, True):
        book.theme(dark=dark)
        target = FOLDER / (f"{name}-dark.png" if dark else f"{name}.png")
        whole = page.locator(".jp-Notebook .jp-WindowedPanel-viewport, .jp-Notebook").first
        (whole if act is None else page.locator(".bnp")).screenshot(path=str(target))
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
            for name, (cells, act) in PICTURES.items():
                if sys.argv[1:] and name not in sys.argv[1:]:
                    continue
                width = 900 if act is None else 1060
                page = browser.new_page(viewport={"width": width, "height": 900}, device_scale_factor=1.5)
                take(page, lab, name, cells, act)
                page.close()
        finally:
            browser.close()
            lab.stop()


if __name__ == "__main__":
    main()
