"""A batch in a real notebook: a card that says how far it is, an interrupt that loses nothing, and what is kept."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import assert_accessible
from tests.browser.lab import Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SETUP = """
import tempfile
import pandas as pd
import beatra_nb as bn
box = bn.sandbox.start(engine="scripted", faults=True, state=tempfile.mkdtemp())
bn.connect(box.api_key, base_url=box.base_url)
box.inject("invalid_request;on=chat", times=2)
rows = pd.DataFrame({"count": range(20, 260)})
file = tempfile.mkdtemp() + "/rows.beatra"
"""
MAP = """
done = bn.map(rows, "Write {count} words", checkpoint=file, max_active=8, model_options={"pace": 0.004})
done[["text", "error"]].tail(2)"""
REST = """
with bn.budget(credits=10_000) as budget:
    result = bn.map(rows["count"].tolist(), "Write {count} words", checkpoint=file, max_active=64,
                    model_options={"pace": 0.004})
result"""
CARD = "[aria-label='Batch under way'], [title='Batch under way'], .jp-OutputArea-output:has-text('Batch')"


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where pictures go: to be looked at when TEST_SHOTS_DIR names a folder."""
    return Path(os.environ.get("TEST_SHOTS_DIR") or tmp_path)


def test_a_batch_is_seen_interrupted_and_goes_on(
    notebook: Callable[..., Notebook], page: Page, shots: Path
) -> None:
    book = notebook([SETUP, MAP, REST])
    book.run(0)
    book.run(1, wait=False)
    card = book.cell(1).locator(CARD).first
    expect(card).to_contain_text(re.compile(r"[1-9]\d* of 240 rows"))
    expect(card).to_contain_text("rows a second")
    expect(card).to_contain_text("left")
    for dark in (False, True):
        book.theme(dark=dark)
        book.shot(shots / f"batch_{'dark' if dark else 'light'}.png", 1)
    page.evaluate("() => jupyterapp.commands.execute('notebook:interrupt-kernel')")
    book.wait_idle()
    shown, error = book.outputs(1)[:2]
    assert "stopped" in shown["text"]
    assert "invalid_request: 2" in shown["text"]
    assert "rows.beatra" in error["text"]
    book.shot(shots / "batch_interrupted.png", 1)

    book.run(2)
    budget, summary = book.outputs(2)[:2]
    assert "credits" in budget["text"]
    assert "In an earlier run" in summary["text"]
    assert len(book.outputs(2)) == 2, "the result was shown where it grew, and not again"
    for dark in (True, False):
        book.theme(dark=dark)
        book.shot(shots / f"batch_done_{'dark' if dark else 'light'}.png", 2)
        assert_accessible(page, ".jp-RenderedHTML")
    book.save()
    saved = book.saved()
    assert "text/html" in saved.cells[2].outputs[1].data
    assert "of 240" in saved.cells[2].outputs[1].data["text/plain"]
