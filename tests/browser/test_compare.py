"""Compare in a real JupyterLab: by keyboard, by mouse and from Python; blind; faults; saved and opened again."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.axe import assert_accessible
from tests.browser.lab import Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

Open = Callable[..., Notebook]

SETUP = """\
import beatra_nb as bn
box = bn.sandbox.start(engine="scripted", faults=True)
client = bn.connect(box.api_key, base_url=box.base_url, max_attempts=1)
"""
PLAIN = """\
compare = bn.Compare("Say hi in five words.", models=["auto", "sandbox-scripted"])
compare"""
BLIND = """\
secret = bn.Compare("Say hi in five words.", variants={"cold": {"model": "sandbox-scripted"}, "warm": {}}, blind=True)
secret"""
SLOW = "Write a text of 2000 words."


WAITS = """\
import time
end = time.monotonic() + 25
while compare.history[-1].outcomes[2].state == 'writing' and time.monotonic() < end:
    time.sleep(0.05)
print(compare.history[-1].outcomes[2].state)"""
BUSY = "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"


def over(root: Locator) -> None:
    expect(root.locator(".bnp-compare-box[aria-busy=true]")).to_have_count(0)


def told(book: Notebook, index: int) -> str:
    book.run(index)
    return str(book.outputs(index)[0]["text"]).strip()


def test_keyboard_mouse_and_python_agree(notebook: Open, page: Page) -> None:
    book = notebook(
        [
            SETUP + PLAIN,
            "compare.add(model_options={'pace': 0.02}, label='slow');",
            WAITS,
            "[each.state for each in compare.history[-1].outcomes]",
            "box.inject('model_unavailable;on=chat')",
            "compare.run('Say hi in three words.');",
            "import json; print(json.dumps([compare.lanes[1].temperature, list(compare.results['text'])]))",
        ]
    )
    book.run(0)
    root = page.locator(".bnp-compare")
    expect(root).to_be_visible()

    # By keyboard alone: write, run, read.
    prompt = root.get_by_label("Prompt")
    prompt.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("Repeat after me: <b>one</b> **two**")
    page.keyboard.press("Control+Enter")
    for at in range(2):
        expect(root.locator(".bnp-prose").nth(at)).to_have_text("<b>one</b> two")
    over(root)
    expect(root.locator(".bnp-compare-who").first).to_contain_text("auto → sandbox-scripted")
    expect(root.locator(".bnp-compare-facts").first).to_contain_text("first words")
    expect(page.locator("#bnl-announcer")).to_have_text("The answers have ended.")
    assert_accessible(page, ".bnp-compare")

    # By mouse: a setting, and one that is refused.
    heat = root.get_by_label("Temperature").nth(1)
    heat.fill("7")
    heat.press("Tab")
    expect(root.locator(".bnp-trouble")).to_contain_text("temperature must be from 0 to 2")
    heat.fill("0.5")
    heat.press("Tab")
    expect(root.locator(".bnp-trouble")).to_have_count(0)

    # A lane from Python appears; Stop answers while a cell runs.
    book.run(1)
    expect(root.locator(".bnp-compare-lane")).to_have_count(3)
    prompt.fill(SLOW)
    root.get_by_role("button", name="Run").click()
    expect(root.locator(".bnp-prose").nth(2)).to_contain_text("The")
    expect(root.locator(".bnp-prose").nth(0)).to_contain_text("The")
    book.run(2, wait=False)
    page.wait_for_function(BUSY)
    root.get_by_role("button", name="Stop slow").click()
    expect(root.locator(".bnp-compare-lane").nth(2).locator(".bnp-note")).to_contain_text("Stopped")
    book.wait_idle()
    assert book.outputs(2)[0]["text"].strip() == "stopped", "while the cell was running"
    assert told(book, 3) == "['done', 'done', 'stopped']"
    root.get_by_role("button", name="Remove slow").click()
    expect(root.locator(".bnp-compare-lane")).to_have_count(2)

    # A fault in one lane: its card, and that lane alone once more.
    book.run(4)
    prompt.fill("Say hi in five words.")
    root.get_by_role("button", name="Run").click()
    over(root)
    expect(root.locator(".bnp-trouble")).to_contain_text("model_unavailable")
    assert_accessible(page, ".bnp-compare")
    root.locator(".bnp-trouble").get_by_role("button", name="Try again").click()
    expect(root.locator(".bnp-trouble")).to_have_count(0)
    over(root)

    # What Python runs is seen; what is seen is what Python holds.
    book.run(5)
    expect(prompt).to_have_value("Say hi in three words.")
    held = json.loads(told(book, 6))
    assert held[0] == 0.5
    expect(root.locator(".bnp-prose")).to_have_text(held[1])


def test_a_blind_round_and_what_is_left_of_it(notebook: Open, page: Page) -> None:
    book = notebook([SETUP, BLIND, "print(secret.votes)"])
    book.run(0)
    book.run(1)
    root = book.cell(1).locator(".bnp-compare")
    names = ["sandbox-scripted", "cold", "warm", "req_"]

    def leaks() -> list[str]:
        # Everything the page has: its nodes and their values, and the still under them.
        state = book.cell(1).evaluate(
            """cell => {
                return cell.querySelector('.jp-OutputArea').outerHTML + JSON.stringify(
                    [...cell.querySelectorAll('.bnp-compare *')].map(node => [node.value, {...node.dataset}]));
            }"""
        )
        return [name for name in names if name in state]

    root.get_by_role("button", name="Run").click()
    expect(root.get_by_role("button", name="Vote B")).to_be_visible()
    assert leaks() == []
    root.locator(".bnp-compare-box").first.focus()
    for key in ("2", "2", "1"):
        page.keyboard.press(key)
    root.get_by_role("button", name="Vote A").click()
    expect(root.locator(".bnp-badge", has_text="votes")).to_have_text(["2 votes", "2 votes"])
    assert told(book, 2) == "{'A': 2, 'B': 2}"
    assert_accessible(page, ".bnp-compare >> nth=-1")
    book.save()
    assert not [name for name in names if name in str(book.saved().cells[1].outputs)]

    root.get_by_role("button", name="Reveal").click()
    expect(root.locator(".bnp-compare-name", has_text="cold")).to_be_visible()
    expect(root.locator(".bnp-compare-score")).to_contain_text("warm: 2")
    # It follows after a moment of quiet, a longer one where drawing takes long.
    expect(book.cell(1).locator(".bnp-still")).to_contain_text("2 votes", timeout=30_000)
    expect(book.cell(1).locator(".bnp-still")).to_contain_text("cold")
    book.save()
    book.shut_down()
    book.reload()
    expect(book.cell(1)).to_contain_text("cold")
    expect(book.cell(1)).to_contain_text("2 votes")
    assert "model not found" not in book.cell(1).inner_text()
