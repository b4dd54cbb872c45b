"""Hostile text in every field of every object, in real pages: nothing runs, nothing loads from outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from playwright.sync_api import Page

from beatra_nb import demo, display
from tests.browser.lab import Notebook, make_notebook
from tests.display.gallery import filled
from tests.display.test_hostile import ATTACKS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
RUN = "window.PWNED=1"
# Everything at once, each attack aimed at the same mark: a page on which any of it ran can be told.
TEXT = "\n\n".join(attack.replace("alert(1)", RUN) for attack in ATTACKS) + "\n\n" + "W" * 5000
# What asks for something of its own accord; a link that waits for a click is none.
# Sound and pictures that are in the page already ask for nothing.
ASKS = (
    "img:not([src^='data:image/']), audio:not([src^='data:audio/']), iframe, object, embed, link, video, source, "
    "svg image, form, base, meta[http-equiv]"
)

Open = Callable[..., Notebook]


def nothing_ran(page: Page, inside: str) -> None:
    """Give late handlers their chance, then look."""
    shown = page.locator(inside)
    assert shown.count() > 0
    page.evaluate(
        """async inside => {
            for (const node of document.querySelectorAll(inside + ' *')) {
                for (const kind of ['mouseover', 'load', 'error', 'focus', 'toggle'])
                    node.dispatchEvent(new Event(kind));
                if (node.tagName === 'DETAILS') node.open = true;
            }
            await new Promise(resolve => setTimeout(resolve, 300));
        }""",
        inside,
    )
    assert page.evaluate("() => window.PWNED") is None
    bad = page.evaluate(
        """inside => [...document.querySelectorAll(inside + ' a')].map(a => a.href)
            .filter(href => href && !/^(https?:|mailto:)/.test(href))""",
        inside,
    )
    assert bad == []


def stored(bundles: list[dict[str, str]]) -> NotebookNode:
    """A notebook that somebody else has written: outputs of code that never ran here."""
    outputs = [nbformat.v4.new_output("display_data", data=bundle) for bundle in bundles]
    return make_notebook([nbformat.v4.new_code_cell("x", outputs=outputs, execution_count=1)])


def test_in_a_trusted_notebook(notebook: Open, page: Page) -> None:
    book = notebook(
        [
            f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
            "from IPython.display import display\n"
            "from tests.display.gallery import filled\n"
            f"TEXT = {TEXT!r}\n"
            "things = filled(TEXT)\n"
            "del things['unknown']  # not ours: IPython shows it by itself\n"
            "for thing in things.values():\n"
            "    display(thing)",
            "raise filled(TEXT)['APIError']",
        ]
    )
    book.run_all()
    assert len(book.outputs(0)) == len(filled("x")) - 1, book.outputs(0)[-1]["text"][:3000]
    nothing_ran(page, ".jp-OutputArea-output")
    scripts = page.locator(".jp-OutputArea-output script").all_text_contents()
    assert len(set(scripts)) == 1, "one script, and it is the package's own"
    assert page.locator(".jp-OutputArea-output").locator(ASKS).count() == 0


@pytest.mark.parametrize("formats", [["text/html"], ["text/markdown"]], ids=["html", "markdown"])
def test_in_an_untrusted_notebook(notebook: Open, page: Page, formats: list[str]) -> None:
    bundles = [display.bundle(thing) for thing in filled(TEXT).values()]
    book = notebook(stored([{kind: bundle[kind] for kind in [*formats, "text/plain"]} for bundle in bundles]))
    assert len(book.outputs(0)) == len(bundles)
    assert book.outputs(0)[0]["mime"] == formats[0]
    nothing_ran(page, ".jp-OutputArea-output")
    assert page.locator(".jp-OutputArea-output").locator(f"script, {ASKS}").count() == 0


def test_in_an_exported_conversation(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(display.to_page(filled(TEXT)["chat"], TEXT), "utf-8", "replace")
    page.goto(file.as_uri())
    nothing_ran(page, "body")


def test_in_an_exported_notebook(page: Page, tmp_path: Path) -> None:
    node = stored([display.bundle(thing) for thing in filled(TEXT).values()])
    file = tmp_path / "page.html"
    file.write_text(demo.page_of(node, "hostile"), "utf-8", "replace")
    page.goto(file.as_uri())
    nothing_ran(page, ".jp-OutputArea-output")
