"""The five panels in Notebook 7, Voila and marimo: each made, and driven through its main job.

In JupyterLab, each panel has a test file of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from playwright.sync_api import Page

from tests.browser.lab import Lab, Notebook, make_notebook, nbformat
from tests.browser.marimo import Marimo
from tests.browser.panels import CELLS, Hands
from tests.browser.voila import Voila

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def drive(page: Page) -> Hands:
    """Drive each panel through its main job."""
    hands = Hands(page)
    hands.all_there()
    hands.make_music()
    hands.chat()
    hands.build()
    hands.compare()
    hands.see_task()
    return hands


def test_notebook_7(classic: Lab, page: Page) -> None:
    path = classic.work / "panels.ipynb"
    nbformat.write(make_notebook(CELLS), path)
    book = Notebook(page, classic, path).open()
    book.run_all()
    assert drive(page).wrong == []
    book.shut_down()


def test_voila(voila: Voila, page: Page) -> None:
    voila.open(page, CELLS)
    assert drive(page).wrong == []


def test_marimo(marimo: Callable[[Sequence[str]], Marimo], page: Page) -> None:
    marimo(CELLS)
    assert drive(page).wrong == []
