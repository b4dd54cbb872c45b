"""The task board in a real JupyterLab: it follows a task, cancels, attaches and saves; the still stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import assert_accessible
from tests.browser.lab import Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

Open = Callable[..., Notebook]

SETUP = """\
import tempfile, beatra_nb as bn
box = bn.sandbox.start(engine="scripted", faults=True, state=tempfile.mkdtemp())  # no other test's tasks
client = bn.connect(box.api_key, base_url=box.base_url, max_attempts=1)
short = {"sandbox": {"seconds": 2, "format": "mp3"}}
board = bn.TaskBoard()
board"""


def test_a_board_follows_its_tasks(notebook: Open, page: Page) -> None:
    book = notebook(
        [
            SETUP,
            "box.inject('task:stall')\na = bn.music('one that stands still', wait=False, model_options=short)",
            "b = bn.music('slow blues', wait=False, title='<b>Blue</b>', model_options=short)",
            "print([task.status for task in board.tasks], a.refresh().billing.refunded)",
            "box.inject('html:502;on=tasks', times=3)",
            "print(board.attach(b.id).wait().clips[0].size > 1000, board.filter)",
        ]
    )
    book.run(0)
    root = page.locator(".bnp-board")
    expect(root.locator(".bnp-empty")).to_have_text("No tasks yet.")

    # What a cell begins appears by itself.
    book.run(1)
    row = root.locator("tbody tr", has_text="one that stands still")
    expect(row.locator(".bnp-badge")).to_have_text("running")
    expect(row).to_contain_text("80 credits")
    assert_accessible(page, ".bnp-board")

    # By mouse: wait for another one here; it stands in the queue behind the first.
    book.run(2)
    song = root.locator("tbody tr", has_text="<b>Blue</b>")
    song.get_by_role("button", name="Attach").click()
    expect(song).to_contain_text("waiting for it here")

    # By keyboard: cancel takes two presses.
    row.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(row.get_by_role("button", name="Really cancel?")).to_be_focused()
    expect(row.locator(".bnp-badge")).to_have_text("running")
    page.keyboard.press("Enter")
    expect(row.locator(".bnp-badge")).to_have_text("canceled")
    expect(row).to_contain_text("80 refunded")

    expect(song.locator(".bnp-badge")).to_have_text("succeeded", timeout=60_000)
    expect(page.locator("#bnl-announcer")).to_have_text("<b>Blue</b>: succeeded.")
    expect(song.get_by_role("button", name="Attach")).to_be_hidden()
    song.get_by_role("button", name="Download").click()
    expect(song).to_contain_text("saved as")
    assert len(list(Path(book.path).parent.glob("*-1.mp3"))) == 1

    # Python sees what the page did.
    book.run(3)
    assert book.outputs(3)[0]["text"].strip() == "['succeeded', 'canceled'] 80"
    book.run(5)
    assert book.outputs(5)[-1]["text"].strip() == "True all"

    # A filter, and a look that fails: said quietly, and mended by the next.
    root.get_by_role("button", name="Failed", exact=True).click()
    expect(root.locator("tbody tr")).to_have_count(1)
    expect(root.locator("tbody tr")).to_contain_text("one that stands still")
    book.run(4)
    root.get_by_role("button", name="Refresh").click()
    expect(root.locator(".bnp-board-note")).to_contain_text("No word from the service")
    assert_accessible(page, ".bnp-board")
    for _ in range(3):
        root.get_by_role("button", name="Refresh").click()
    expect(root.locator(".bnp-board-note")).to_be_hidden()

    still = book.cell(0).locator(".bnp-still")  # it follows after a moment of quiet
    expect(still).to_contain_text("canceled")
    expect(still).not_to_contain_text("No word from the service")
    book.save()
    book.shut_down()
    book.reload()
    expect(book.cell(0)).to_contain_text("one that stands still")
    expect(book.cell(0)).to_contain_text("canceled")
    assert "model not found" not in book.cell(0).inner_text()
