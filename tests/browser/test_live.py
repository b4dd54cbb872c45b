"""A person watches an answer grow in a real notebook, and stops it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.lab import Lab, Notebook, make_notebook, nbformat

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

Open = Callable[..., Notebook]

SETUP = "import beatra_nb as bn\nbn.connect(mode='sandbox');"
LONG = "bn.chat('Write a text of 3000 words.', stream=True, model_options={'pace': 0.02})"
SHORT = "bn.chat('Write a text of 40 words.', stream=True, model_options={'pace': 0.02})"
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where pictures go: to be looked at when TEST_SHOTS_DIR names a folder."""
    return Path(os.environ.get("TEST_SHOTS_DIR") or tmp_path)


def lengths_seen(notebook: Notebook, index: int, wanted: int) -> list[int]:
    """Watch a cell's live text until so many different lengths were seen."""
    return notebook.page.evaluate(
        """([index, wanted]) => new Promise((resolve, reject) => {
            const seen = [];
            const began = Date.now();
            const look = () => {
                const cell = document.querySelector(`.jp-Cell[data-windowed-list-index="${index}"]`);
                const length = cell?.querySelector('.bnl-body')?.textContent.length ?? 0;
                if (length && length !== seen.at(-1)) seen.push(length);
                if (seen.length >= wanted) resolve(seen);
                else if (Date.now() - began > 30000) reject(new Error(`only ${seen} were seen`));
                else requestAnimationFrame(look);
            };
            look();
        })""",
        [index, wanted],
    )


def contrast(page: Page, selector: str) -> float:
    """The contrast of an element's text against what lies behind it."""
    return page.evaluate(
        """selector => {
            const part = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 };
            const parse = text => (text.match(/[0-9.]+/g) ?? []).map(Number);
            const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
            const node = document.querySelector(selector);
            let opacity = 1;
            let back = [255, 255, 255];
            const layers = [];
            for (let up = node; up; up = up.parentElement) {
                const style = getComputedStyle(up);
                opacity *= Number(style.opacity);
                const [r, g, b, a = 1] = parse(style.backgroundColor);
                if (a > 0) layers.unshift([r, g, b, a]);
                if (a === 1) break;
            }
            for (const [r, g, b, a] of layers) back = [r, g, b].map((v, i) => v * a + back[i] * (1 - a));
            const [r, g, b] = parse(getComputedStyle(node).color);
            const ink = [r, g, b].map((v, i) => v * opacity + back[i] * (1 - opacity));
            const [high, low] = [light(ink), light(back)].sort((a, b) => b - a);
            return (high + 0.05) / (low + 0.05);
        }""",
        selector,
    )


def test_an_answer_grows_and_what_was_stopped_stays_marked(notebook: Open, page: Page, shots: Path) -> None:
    book = notebook([SETUP, LONG])
    book.run(0)
    book.run(1, wait=False)
    seen = lengths_seen(book, 1, 5)
    assert seen == sorted(seen), "the text only ever grows"

    for dark in (False, True):
        book.theme(dark=dark)
        book.shot(shots / f"live_{'dark' if dark else 'light'}.png")
        for selector in (".bnl-body p", ".bnl-words", ".bnl-stop", ".bnl-badge"):
            assert contrast(page, selector) >= 4.5, selector
    expect(page.locator(".bnl-badge")).to_have_text("sandbox")
    expect(page.locator("#bnl-announcer")).to_have_text("An answer is being written.")

    page.get_by_role("button", name="Stop", exact=True).click()
    book.wait_idle()
    expect(page.locator(".bnl")).to_have_count(0)
    expect(page.locator("#bnl-announcer")).to_have_text("The answer was cut short.")
    shown, error = book.outputs(1)
    assert shown["mime"] == "text/html"
    assert "incomplete" in shown["text"]
    assert "stderr" in error["mime"]
    book.shot(shots / "stopped_dark.png")

    book.save()
    kept, _ = book.saved().cells[1].outputs
    assert kept.output_type == "display_data"
    assert WIDGET not in kept.data
    assert len(kept.data["text/plain"].split()) < 3000, "it was stopped half-way"
    book.reload()
    again, _ = book.outputs(1)
    assert again["text"] == shown["text"]
    assert "model not found" not in page.locator(".jp-Notebook").inner_text().lower()
    book.theme(dark=False)
    book.shot(shots / "reloaded_light.png")


def test_escape_stops_too_and_a_stop_that_fails_says_what_to_do(
    notebook: Open, page: Page, shots: Path
) -> None:
    book = notebook([SETUP, LONG])
    book.run(0)
    book.run(1, wait=False)
    lengths_seen(book, 1, 3)

    def refuse(route: Route) -> None:
        route.fulfill(status=403)

    page.route("**/interrupt", refuse)
    page.locator(".bnl-stop").click()
    expect(page.locator(".bnl-words")).to_contain_text("interrupt the kernel")
    book.shot(shots / "stop_failed.png")
    page.unroute("**/interrupt", refuse)

    lengths_seen(book, 1, 3)  # it goes on
    page.locator(".bnl-body").click()
    page.keyboard.press("Escape")
    book.wait_idle()
    assert "incomplete" in book.outputs(1)[0]["text"]


def test_the_finished_answer_is_static_and_shown_once(notebook: Open, page: Page) -> None:
    explicit = "from IPython.display import display\nsecond = " + SHORT + "\ndisplay(second)\nsecond"
    both = (
        "import asyncio\nawait asyncio.gather(" + ", ".join([SHORT.replace("bn.chat", "bn.achat")] * 2) + ");"
    )
    book = notebook([SETUP, "first = " + SHORT + "\nfirst", "first", explicit, both])
    book.run_all()
    expect(page.locator(".bnl")).to_have_count(0)
    book.save()
    outputs = [cell.outputs for cell in book.saved().cells]
    assert [len(each) for each in outputs[1:]] == [1, 1, 2, 2]
    for output in (output for each in outputs[1:] for output in each):
        assert set(output.data) == {"text/html", "text/markdown", "text/plain"}
    live, later = outputs[1][0], outputs[2][0]
    assert live.output_type == "display_data"
    assert later.output_type == "execute_result"
    assert live.data == later.data
    expect(page.locator("#bnl-announcer")).to_have_text("The answer is complete.")


def test_a_second_view_shows_everything_said_so_far(notebook: Open, page: Page) -> None:
    book = notebook([SETUP, LONG])
    book.run(0)
    book.run(1, wait=False)
    lengths_seen(book, 1, 4)
    page.evaluate(
        """() => jupyterapp.commands.execute('notebook:create-output-view')
            .catch(error => { throw new Error(`no second view: ${error}`) })"""
    )
    expect(page.locator(".bnl-body")).to_have_count(2)
    page.wait_for_function(
        """() => {
            const [a, b] = [...document.querySelectorAll('.bnl-body')].map(node => node.textContent);
            return a.length > 100 && b.startsWith(a.slice(0, 60));
        }"""
    )
    page.locator(".bnl-stop").first.click()
    page.wait_for_function("() => window.testRunning === 0")


PAINT = """
import time
from beatra_nb.core.reply import Reply
from beatra_nb.display import live
view = live.painter(sandbox=True)
"""
HOLD = """
try:
    time.sleep(60)  # until the test has seen enough
except KeyboardInterrupt:
    view.drop()
"""


def let_go(book: Notebook) -> None:
    """End a cell that ends with ``HOLD``."""
    book.page.evaluate("() => jupyterapp.commands.execute('notebook:interrupt-kernel')")
    book.wait_idle()


def test_the_last_words_before_a_pause_are_shown(notebook: Open, page: Page) -> None:
    book = notebook([PAINT + "for word in 'one two three four'.split(): view.add(word + ' ')" + HOLD])
    book.run(0, wait=False)
    expect(page.locator(".bnl-body")).to_have_text("one two three four ", timeout=10_000)
    let_go(book)
    expect(page.locator(".bnl")).to_have_count(0)
    assert book.cell(0).locator(".jp-OutputArea-output").inner_text().strip() == ""


HOSTILE = [
    "<script>window.hacked=1</script>",
    "<img src=https://evil.example/x.png onerror='window.hacked=1'>",
    "![x](https://evil.example/y.png)",
    "[click](javascript:window.hacked=1)",
    "<svg onload='window.hacked=1'></svg>",
    '<https://x.example/"onmouseover=window.hacked=1>',
    "| <b onclick='window.hacked=1'>a</b> |\n|---|\n| <iframe src=https://evil.example> |",
]


def test_hostile_text_stays_text_while_it_grows(notebook: Open, page: Page) -> None:
    book = notebook([PAINT + f"for text in {HOSTILE!r}: view.add(text + '\\n\\n')" + HOLD])
    book.run(0, wait=False)
    expect(page.locator(".bnl-body")).to_contain_text("iframe", timeout=10_000)
    page.wait_for_timeout(
        300
    )  # time for something to run or to be loaded; `page` fails on anything from outside
    assert page.locator(".bnl-body").locator("script, img, svg, iframe, b").count() == 0
    assert page.evaluate(
        "() => [...document.querySelectorAll('.bnl-body a')].every(a => /^https?:/.test(a.href))"
    )
    assert page.evaluate("() => window.hacked") is None
    expect(page.locator(".bnl-body")).to_contain_text("<script>window.hacked=1</script>")
    let_go(book)


def test_a_page_without_a_notebook_server_tells_how_to_stop(notebook: Open, page: Page) -> None:
    book = notebook([PAINT + "view.add('word ')" + HOLD])
    page.evaluate("() => document.getElementById('jupyter-config-data').remove()")
    book.run(0, wait=False)
    expect(page.locator(".bnl-words")).to_contain_text("to stop, interrupt the kernel", timeout=10_000)
    expect(page.locator(".bnl-stop")).to_have_count(0)
    let_go(book)


def test_notebook_7_shows_and_stops(classic: Lab, page: Page, shots: Path) -> None:
    path = classic.work / "smoke.ipynb"
    nbformat.write(make_notebook([SETUP, LONG, SHORT]), path)
    book = Notebook(page, classic, path).open()
    book.run(0)
    book.run(1, wait=False)
    seen = lengths_seen(book, 1, 3)
    assert seen == sorted(seen)
    book.shot(shots / "notebook_7.png")
    page.locator(".bnl-stop").click()
    book.wait_idle()
    assert "incomplete" in book.outputs(1)[0]["text"]
    book.run(2)
    expect(page.locator(".bnl")).to_have_count(0)
    assert [output["mime"] for output in book.outputs(2)] == ["text/html"]


def test_reduced_motion_is_respected(notebook: Open, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    book = notebook([PAINT + "view.add('word ')" + HOLD])
    book.run(0, wait=False)
    expect(page.locator(".bnl-body p")).to_be_visible(timeout=10_000)
    pen = "getComputedStyle(document.querySelector('.bnl-body p'), '::after')"
    assert page.evaluate(f"() => {pen}.content") == '""'
    assert page.evaluate(f"() => {pen}.animationName") == "none"
    let_go(book)
