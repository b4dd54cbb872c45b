"""What the widgets build upon, in each front end: messages both ways, from any thread, to all who look."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import Lab, Notebook, make_notebook, nbformat
from tests.browser.marimo import Marimo
from tests.browser.voila import Voila

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

# A button that tells Python; Python counts, and tells the page from a thread.
COUNTER = '''
import threading
import anywidget

class Counter(anywidget.AnyWidget):
    _esm = """
    export default () => {
      const said = [];
      const views = new Set();
      const draw = () => views.forEach((view) => { view.textContent = said.join(" "); });
      return {
        initialize({ model }) {
          model.on("msg:custom", (message, buffers) => {
            said.push(message.count + new TextDecoder().decode(buffers[0]));
            draw();
          });
          model.on("comm_live_update", () => { said.push("gone"); draw(); });
          model.send("open");
        },
        render({ model, el }) {
          const button = document.createElement("button");
          button.textContent = "count";
          button.onclick = () => model.send("click");
          const words = document.createElement("output");
          el.append(button, words);
          views.add(words);
          draw();
        },
      };
    };
    """
    count = 0

    def __init__(self):
        super().__init__()
        self.on_msg(lambda widget, content, buffers: threading.Thread(target=self.tell, args=(content,)).start())

    def tell(self, content):
        self.count += content == "click"
        self.send({"count": self.count}, [content.encode()])
'''
OWNER = """
class Owner:
    counter = Counter()

    def _display_(self):
        return self.counter

    def _repr_mimebundle_(self, include=None, exclude=None):
        return self.counter._repr_mimebundle_()
owner = Owner()
owner
"""


def check_counter(page: Page) -> None:
    """Assert that a click reaches Python, and that what a thread of Python's says comes back."""
    words = page.locator("output")
    expect(words).to_have_text("0open", timeout=30_000)
    page.get_by_role("button", name="count").click()
    expect(words).to_have_text("0open 1click")


def test_two_visitors_of_one_notebook(
    notebook: Callable[..., Notebook], page: Page, second_page: Page
) -> None:
    book = notebook([COUNTER, OWNER])
    book.run_all()
    check_counter(page)
    book.save()
    Notebook(second_page, book.lab, book.path).open()
    expect(second_page.locator("output")).to_have_text("1open")
    second_page.get_by_role("button", name="count").click()
    expect(second_page.locator("output")).to_have_text("1open 2click")
    expect(page.locator("output")).to_have_text("0open 1click 1open 2click")
    page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    expect(page.locator("output")).to_contain_text("gone")


def test_notebook_7(classic: Lab, page: Page) -> None:
    path = classic.work / "counter.ipynb"
    nbformat.write(make_notebook([COUNTER, OWNER]), path)
    book = Notebook(page, classic, path).open()
    book.run_all()
    check_counter(page)
    book.shut_down()


def test_voila(voila: Voila, page: Page) -> None:
    voila.open(page, [COUNTER, OWNER])
    check_counter(page)


def test_marimo(marimo: Callable[[Sequence[str]], Marimo], page: Page) -> None:
    marimo([COUNTER, OWNER])
    check_counter(page)
