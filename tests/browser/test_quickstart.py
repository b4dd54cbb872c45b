"""The quickstart, as its first reader sees it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import KERNEL, Lab, Notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "01_quickstart.ipynb"


def test_it_runs_from_top_to_bottom_and_says_whose_answers_these_are(
    notebook: Callable[..., Notebook], page: Page
) -> None:
    node = nbformat.read(QUICKSTART, as_version=4)
    node.metadata.kernelspec = {"name": KERNEL, "display_name": "x", "language": "python"}
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    book = notebook(node)
    book.run_all()
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.content.widgets"
        ".every(cell => cell.model.type !== 'code' || cell.model.executionCount)"
    )
    book.wait_idle()
    book.save()
    saved = book.saved()
    for cell in saved.cells:
        if cell.cell_type != "code" or cell.source.startswith("import"):
            continue
        assert cell.outputs, cell.source
        failed = [output for output in cell.outputs if output.output_type == "error"]
        assert bool(failed) == ("raises-exception" in cell.metadata.get("tags", [])), failed
        shown = [output for output in cell.outputs if "text/html" in output.get("data", {})]
        # Nothing but what survives: no widget is left, and there is text for every reader.
        for output in shown:
            assert "application/vnd.jupyter.widget-view+json" not in output.data
            assert output.data["text/plain"].strip()
            assert output.data["text/markdown"].strip()
    answers = [out for cell in saved.cells if "bn.chat(" in cell.source for out in cell.get("outputs", [])]
    answers = [out for out in answers if "request id" in out.get("data", {}).get("text/plain", "")]
    assert len(answers) >= 3
    assert all("sandbox" in out.data["text/html"] for out in answers)
    notes = [out for cell in saved.cells for out in cell.get("outputs", []) if "No API key" in str(out)]
    assert len(notes) == 1, "it is said once"


def test_the_committed_notebook_looks_right_untrusted(lab: Lab, page: Page) -> None:
    path = lab.work / "committed.ipynb"
    shutil.copy(QUICKSTART, path)
    node = nbformat.read(path, as_version=4)
    node.metadata.kernelspec["name"] = KERNEL
    nbformat.write(node, path)
    book = Notebook(page, lab, path).open()
    expect(page.locator(".jp-OutputArea-output", has_text="request id").first).to_be_visible()
    assert page.locator(".jp-OutputArea-output script").count() == 0, "untrusted: scripts are stripped"
    assert page.get_by_text("model not found").count() == 0
    book.shut_down()
