"""Hostile text through every field of every panel, by hand and by the service: it stays text, now and reopened."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from beatra_nb.interact.panel import STILL_CSS
from tests.browser.lab import Notebook
from tests.browser.panels import Hands
from tests.browser.test_hostile_page import ASKS, TEXT, nothing_ran
from tests.core.sounds import encoded
from tests.display.audit import audit

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
# The long word at its end is for layouts.
TYPED = TEXT.encode("utf-8", "replace").decode()[:6000]
LINE = "<img src=x onerror=window.PWNED=1>\"'><svg/onload=window.PWNED=1>"
SETUP = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import beatra_nb as bn
from tests.browser.hostile_service import KEY, HostileService
from tests.core.sounds import encoded
TEXT = {TEXT!r}
service = HostileService(TEXT, encoded("MP3", seconds=1.0))
client = bn.Client(KEY, base_url=service.base_url, max_attempts=1)
"""
PANELS = [
    "box = bn.ChatBox(client=client, title=TEXT)\nbox",
    "builder = bn.PromptBuilder(client=client)\nbuilder",
    "compare = bn.Compare(models=['auto', 'sandbox-scripted'], client=client)\ncompare",
    "studio = bn.MusicStudio(client=client)\nstudio",
    "board = bn.TaskBoard(client=client)\nboard",
]
# Elements that panels are made of, and those that model text may become; nothing else may be there.
TAGS = """A ARTICLE AUDIO B BLOCKQUOTE BR BUTTON CODE DEL DETAILS DIV EM H3 H4 H5 H6 HR INPUT INS LABEL LI OL OPTION P
    PRE SECTION SELECT SPAN STRONG SUMMARY TABLE TBODY TD TEXTAREA TH THEAD TR UL"""
STRANGE = """(root, tags) => [...root.querySelectorAll('*')].filter(node =>
    !tags.split(/\\s+/).includes(node.tagName)
    || [...node.attributes].some(({name, value}) => name.startsWith('on')
        || name === 'href' && /javascript:/i.test(value)
        || name === 'src' && !value.startsWith('blob:')
        || name === 'style' && /https?:|fixed/.test(value))
).map(node => node.outerHTML.slice(0, 200))"""
# What a screen does not show, or what re-orders what it shows (marks that Arabic and Hebrew need are honest).
UNSEEN = """root => {
    const unseen = /[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]|\\u{e0049}/u;
    const found = [];
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const {data, parentElement} = walk.currentNode;
        if (unseen.test(data) && parentElement.tagName !== 'TEXTAREA')
            found.push(`${parentElement.className || parentElement.parentElement.className}: ${data.slice(0, 60)}`);
    }
    return found;
}"""
FILL = """(nodes, [line, text]) => nodes.filter(node => node.checkVisibility() && !node.disabled).map(node => {
    node.focus();
    node.value = node.tagName === 'INPUT' ? line : text;
    for (const kind of ['input', 'change']) node.dispatchEvent(new Event(kind, {bubbles: true}));
    node.blur();
}).length"""
PASTE = """([node, text]) => {
    const data = new DataTransfer();
    data.setData('text/plain', text);
    node.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}));
}"""


def fill_all(root: Locator, text: str = TYPED) -> None:
    """Write the text into every field that can be seen."""
    assert root.locator("textarea, input[type=text]").evaluate_all(FILL, [LINE, text]) > 0


def clean(page: Page, root: Locator) -> None:
    """Assert that a panel holds nothing but itself and text."""
    assert (strange := root.evaluate(STRANGE, TAGS)) == [], strange
    assert (unseen := root.evaluate(UNSEEN)) == [], unseen
    assert page.evaluate("() => window.PWNED") is None


def test_hostile_text_in_every_field(notebook: Callable[..., Notebook], page: Page) -> None:
    book = notebook([SETUP, *PANELS])
    book.run_all()
    hands = Hands(page)
    hands.all_there()
    chat, builder, compare, studio, board = (
        hands.root(kind) for kind in ("chat", "builder", "compare", "studio", "board")
    )

    # The chat box: system text, a turn with a hostile answer, a refusal, an edited message.
    chat.locator("summary").click()
    fill_all(chat)
    chat.get_by_role("button", name="Send", exact=True).click()
    expect(chat.locator(".bnp-chat-facts")).to_contain_text("onerror")
    chat.get_by_label("Message", exact=True).fill("refuse")
    page.keyboard.press("Enter")
    expect(chat.locator(".bnp-trouble")).to_be_visible()
    chat.get_by_role("button", name="Edit this message").first.click()
    chat.get_by_label("Model", exact=True).select_option(index=1)
    clean(page, chat)

    # The builder: every field, an example, a pasted table with hostile columns, a run, its history and its code.
    builder.get_by_role("button", name="Add example").click()
    builder.locator("summary").click()
    fill_all(builder)
    clean(page, builder)
    fill_all(builder, TYPED.replace("{", "["))  # without variables, so that it can be sent
    for name in ("Temperature", "Max tokens", "Schema of the answer"):
        builder.get_by_label(name).fill("")
    builder.get_by_label("Prompt", exact=True).fill(TYPED.replace("{", "[") + " {a} {<b>}")
    table = f"a\t{LINE}\n{LINE}\t{LINE}"
    builder.get_by_label("a, row 1").evaluate(f"(node, text) => ({PASTE})([node, text])", table)
    expect(builder.get_by_label("Rows from a spreadsheet, or as CSV")).to_have_value(table)
    clean(page, builder)
    builder.get_by_role("button", name="Replace the rows").click()
    expect(builder.get_by_role("columnheader", name=LINE)).to_be_visible()
    builder.get_by_role("button", name="Run", exact=True).click()
    expect(builder.get_by_label("Answer", exact=True)).to_contain_text("onerror")
    clean(page, builder)
    for side in ("History", "Code"):
        builder.get_by_role("tab", name=side).click()
        clean(page, builder)

    # Compare: prompt, system text, labels; an answer in each lane, then a refusal.
    compare.locator("summary").click()
    fill_all(compare)
    expect(compare.get_by_label("Label").last).to_have_value(re.compile("onerror"))
    for name in ("System text", "Prompt"):
        compare.get_by_label(name, exact=True).fill(TYPED)
    compare.get_by_role("button", name="Run").click()
    expect(compare.locator(".bnp-compare-who").last).to_contain_text("onerror")
    clean(page, compare)
    compare.get_by_label("Prompt", exact=True).fill("refuse")
    compare.get_by_role("button", name="Run").click()
    expect(compare.locator(".bnp-trouble")).to_have_count(2)

    # The studio: every text, a file with a hostile name, a hostile task and its clips; then a refusal.
    fill_all(studio)
    for name in ("Length in seconds", "Seed"):
        expect(studio.get_by_label(name)).to_have_attribute("aria-invalid", "true")
        studio.get_by_label(name).fill("")
    sound = {
        "name": LINE.replace("/", "") + ".wav",
        "mimeType": "audio/wav",
        "buffer": encoded("WAV", seconds=1.0),
    }
    studio.locator("input[type=file]").set_input_files([sound])
    expect(studio.locator(".bnp-studio-file")).to_contain_text("0:01")
    clean(page, studio)
    studio.get_by_role("button", name="Remove the reference").click()
    studio.get_by_role("button", name="Create").click()
    expect(studio.locator(".bnp-studio-take")).to_have_count(2, timeout=20_000)
    studio.get_by_label("Prompt", exact=True).fill("refuse")
    page.wait_for_timeout(1000)
    studio.get_by_role("button", name="Create").click()
    expect(studio.locator(".bnp-trouble").first).to_be_visible()

    # The board shows what the service lists.
    board.get_by_role("button", name="Refresh").click()
    expect(board.locator("tbody tr")).not_to_have_count(0)

    for root in (chat, builder, compare, studio, board):
        clean(page, root)
    nothing_ran(page, ".bnp")
    assert (
        page.locator(".bnp")
        .locator("script, " + ASKS.replace("audio:not([src^='data:audio/']), ", ""))
        .count()
        == 0
    )

    # Saved, and opened again: as one's own, and as a stranger's.
    page.wait_for_timeout(1500)  # the stills follow after a moment of quiet
    book.save()
    for cell in book.saved().cells[1:]:
        html = cell.outputs[0].data["text/html"]
        inner = html.removeprefix('<div class="bnp-still">').removesuffix(f"<style>{STILL_CSS}</style></div>")
        assert len(inner) < len(html)
        assert "PWNED" in "".join(audit(inner).text)
    book.shut_down()
    book.reload()
    nothing_ran(page, ".jp-OutputArea-output")
    assert len(set(page.locator(".jp-OutputArea-output script").all_text_contents())) == 1, (
        "the package's own"
    )
    assert page.locator(".jp-OutputArea-output").locator(ASKS).count() == 0
    stranger = book.saved()
    stranger.cells.append(nbformat.v4.new_code_cell("1 + 1"))
    path = book.path.with_name("stranger.ipynb")
    nbformat.write(stranger, path)
    Notebook(page, book.lab, path).open()
    expect(page.locator(".jp-OutputArea-output .bnp-still")).to_have_count(5)
    nothing_ran(page, ".jp-OutputArea-output")
    assert page.locator(".jp-OutputArea-output").locator(f"script, style, {ASKS}").count() == 0


def test_what_is_strange_is_found(page: Page) -> None:
    page.set_content(
        "<main><img src=x><a href='javascript:1'>a</a><p onclick=1>b</p><p style='position:fixed'>\u202e</p></main>"
    )
    main = page.locator("main")
    assert len(main.evaluate(STRANGE, TAGS)) == 4
    assert len(main.evaluate(UNSEEN)) == 1
