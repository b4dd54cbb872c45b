"""The prompt builder in a real JupyterLab: by keyboard, by mouse, from Python, and what stays when all is closed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

START = """
import json
import beatra_nb as bn
box = bn.sandbox.start(engine="scripted", faults=True)
client = bn.connect(box.api_key, base_url=box.base_url)
def sent():
    return [each.fingerprint for each in box.seen if each.path.endswith("/chat/completions")]
builder = bn.PromptBuilder()
"""
HOSTILE = "<img src=x onerror=window.pwned=1>"


def shown(notebook: Notebook, index: int) -> Any:
    """Run a cell that ends in ``json.dumps(…)``, and return what it says."""
    notebook.run(index)
    text = notebook.outputs(index)[-1]["text"].strip()
    return json.loads(text[1:-1].replace("\\\\", "\\").replace("\\'", "'"))


def texts(builder: Locator) -> list[str]:
    return builder.locator(".bnp-builder-content").all_inner_texts()


def test_a_prompt_is_built_by_keyboard_and_goes_on_from_python(
    notebook: Callable[..., Notebook], page: Page
) -> None:
    cells = [
        START,
        "builder",
        "json.dumps([builder.prompt.user, builder.rows, [str(each) for each in builder.answers], sent()])",
        "if builder.versions: builder.prompt = builder.prompt.replace(system='Be brief.'); builder.run()",
        "old = builder.versions\nold and json.dumps([builder.results.text.tolist(), len(old), old[0].score])",
        "json.dumps(sent())",
    ]
    lab = notebook(cells)
    lab.run_all()
    builder = lab.cell(1).locator(".bnp-builder")
    prompt = builder.get_by_role("textbox", name="Prompt", exact=True)

    # By keyboard alone: the prompt, a value, run.
    prompt.focus()
    page.keyboard.type("Say hi to {name}.")
    expect(builder.get_by_role("button", name="{name} missing")).to_be_visible()
    expect(builder.get_by_text("There is no value for {name}.")).to_be_visible()
    expect(builder.get_by_role("button", name="Run", exact=True)).to_be_disabled()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the chip leads to the cell
    expect(builder.get_by_label("name, row 1")).to_be_focused()
    page.keyboard.type("Ada")
    page.keyboard.press("Control+Enter")
    answer = builder.get_by_role("group", name="Answer")
    expect(answer.get_by_text("request id")).to_be_visible()
    assert texts(builder) == ["Say hi to Ada."]
    expect(builder.get_by_label("name, row 1")).to_be_focused()
    page.keyboard.press("Enter")  # a new row
    expect(builder.get_by_label("name, row 2")).to_be_focused()
    page.keyboard.type(HOSTILE)
    page.keyboard.press("Control+Enter")
    expect(builder.locator(".bnp-builder-row").nth(1).locator("[data-state=done]")).to_be_visible()
    assert texts(builder) == [f"Say hi to {HOSTILE}."]
    user, rows, answers, before = shown(lab, 2)
    assert (user, rows) == ("Say hi to {name}.", [{"name": "Ada"}, {"name": HOSTILE}])
    assert answers == builder.locator(".bnp-builder-said").all_inner_texts()
    assert len(before) == 2

    # A score, by mouse; then Python goes on, and the page shows it.
    builder.get_by_role("button", name="4 of 5").click()
    expect(builder.get_by_role("button", name="4 of 5")).to_have_attribute("aria-pressed", "true")
    lab.run(3)
    expect(builder.get_by_label("System", exact=True)).to_have_value("Be brief.")
    expect(builder.get_by_role("tab", name="History (2)")).to_be_visible()
    found, versions, score = shown(lab, 4)
    expect(builder.locator(".bnp-builder-said").first).to_have_text(found[0])
    assert (versions, score) == (2, 4)

    # The history: what has changed, and back.
    builder.get_by_role("tab", name="History (2)").click()
    builder.get_by_role("button", name="Changes since version 1").click()
    expect(builder.locator(".bnp-builder-add")).to_have_text('+  "system": "Be brief.",')
    builder.get_by_role("button", name="Restore version 1").click()
    expect(builder.locator(".bnp-builder-version").nth(1).get_by_text("current")).to_be_visible()

    # The code, in a cell below; run, it sends what was sent here.
    builder.get_by_role("tab", name="Code").click()
    expect(builder.locator(".bnp-builder-code")).to_contain_text("Say hi to {name}.")
    builder.get_by_role("button", name="Insert cell below").click()
    expect(builder.get_by_text("It is in the cell below.")).to_be_visible()
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.content.model.cells.get(2).sharedModel.source.includes('Say hi')"
    )
    lab.run(2)
    assert shown(lab, 6)[-2:] == before
    assert page.evaluate("() => window.pwned") is None


def test_a_table_is_pasted_and_run_and_the_still_stays(notebook: Callable[..., Notebook], page: Page) -> None:
    table = "city\tn\n" + "\n".join(f"city {n}\t{n}" for n in range(1000))
    cells = [
        START,
        "builder.prompt = 'Name a dish from {city}, {n:d} words.'; builder",
        "json.dumps([len(builder.rows), builder.rows[-1], len(sent())])",
        "builder.rows = builder.rows[:12] if len(builder.rows) > 12 else builder.rows",
    ]
    lab = notebook(cells)
    lab.run_all()
    builder = lab.cell(1).locator(".bnp-builder")
    page.evaluate(
        """text => {
            const data = new DataTransfer();
            data.setData("text/plain", text);
            const cell = document.querySelector(".bnp-builder-cell textarea");
            cell.focus();
            cell.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
        }""",
        table,
    )
    expect(builder.get_by_text("1,000 rows with city, n")).to_be_visible()
    builder.get_by_role("button", name="Replace the rows").click()
    expect(builder.get_by_text("1,000 rows", exact=True)).to_be_visible()
    assert texts(builder) == ["Name a dish from city 0, 0 words."]
    assert builder.locator(".bnp-builder-row").count() < 40  # what is seen, and no more

    # Typing stays quick, and only what is typed is sent.
    cost = page.evaluate(
        """async () => {
            const area = [...document.querySelectorAll(".bnp-builder textarea")][1];
            const frame = () => new Promise(requestAnimationFrame);
            area.focus();
            const times = [];
            for (let i = 0; i < 30; i++) {
                await frame();
                const start = performance.now();
                document.execCommand("insertText", false, "x");
                times.push(performance.now() - start);
            }
            return times.sort((a, b) => a - b)[15];
        }"""
    )
    assert cost > 0  # the benchmark says how much
    expect(builder.locator(".bnp-builder-content")).to_have_text(
        [f"Name a dish from city 0, 0 words.{'x' * 30}"]
    )

    # The last row: scrolled to, written in, and the focus stays while the table is scrolled away.
    grid = builder.locator(".bnp-builder-grid")
    grid.evaluate("node => { node.scrollTop = node.scrollHeight }")
    last = builder.get_by_label("city, row 1000")
    last.fill("Oslo")
    grid.evaluate("node => { node.scrollTop = 0 }")
    expect(builder.get_by_label("city, row 1", exact=True)).to_be_visible()
    expect(last).to_be_focused()
    expect(builder.locator(".bnp-builder-content")).to_have_text(
        [f"Name a dish from Oslo, 999 words.{'x' * 30}"]
    )
    count, row, asked = shown(lab, 2)
    assert (count, row, asked) == (1000, {"city": "Oslo", "n": 999}, 0)

    # What is wrong is said at its field, and nothing is sent.
    builder.get_by_text("Settings: auto").click()
    builder.get_by_label("Temperature, 0 to 2").fill("9")
    expect(builder.get_by_text("This must be a number from 0 to 2, such as 0.7.", exact=True)).to_be_visible()
    builder.get_by_label("Temperature, 0 to 2").fill("0.5")
    expect(builder.get_by_label("Temperature, 0 to 2")).not_to_have_attribute("aria-invalid", "true")

    # Run all says first what it takes.
    lab.run(3)
    builder.get_by_role("button", name="Run all…").click()
    strip = builder.get_by_role("group", name="Run all rows")
    expect(strip).to_contain_text("12 calls, about")
    expect(strip.get_by_role("button", name="Run all 12")).to_be_focused()
    page.keyboard.press("Enter")
    expect(builder.get_by_text("12 of 12 answered.")).to_be_visible()
    said = builder.locator(".bnp-builder-said").first.inner_text()

    # Saved, closed and opened again without its kernel: the last state is there, as text.
    page.wait_for_function(
        """said => [...document.querySelectorAll(".bnp-still td")].some(each => each.textContent === said)""",
        arg=said,
    )
    lab.save()
    lab.shut_down()
    lab.reload()
    still = lab.cell(1).locator(".jp-OutputArea-child", has_text="Name a dish from {city}").first
    expect(still).to_be_visible()
    expect(still).to_contain_text(said)
    expect(still).to_contain_text("1 version")
    assert "not found" not in lab.cell(1).inner_text()
