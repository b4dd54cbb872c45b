"""Two browsers on one notebook: what one does the other sees; and the kernel that both stand on goes."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import Notebook
from tests.browser.panels import CELLS, LONG, SHORT, Hands

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

GROWS = """async node => {
    const before = node.textContent.length;
    while (node.isConnected && node.textContent.length <= before)
        await new Promise(resolve => requestAnimationFrame(resolve));
    return node.textContent.length > before;
}"""


def test_two_browsers_and_a_restart(notebook: Callable[..., Notebook], page: Page, second_page: Page) -> None:
    book = notebook(CELLS)
    book.run_all()
    me, you = Hands(page), Hands(second_page)
    me.all_there()
    book.save()
    other = Notebook(second_page, book.lab, book.path).open()
    if not you.appear():  # JupyterLab gives a busy kernel four seconds to tell what widgets it has
        other.reload()
        you.wrong.clear()  # what the first attempt complained of
    you.all_there()

    # A turn that is sent in one grows in the other, which stops it for both.
    me.say(LONG)
    you.writing()
    expect(you.root("chat").locator(".bnp-chat-bubble")).to_contain_text(LONG)
    assert you.root("chat").locator(".bnp-writing").evaluate(GROWS)
    you.root("chat").get_by_role("button", name="Stop").click()
    for each in (me, you):
        expect(each.root("chat").locator(".bnp-chat-more .bnp-warn")).to_have_text("stopped")
    said = [each.root("chat").locator(".bnp-prose").inner_text() for each in (me, you)]
    assert said[0] == said[1] != ""
    you.say(SHORT)
    me.answered(1)
    you.answered(1)

    # A field that is written in here is not overwritten from there; the others follow. Once it is left, both agree.
    mine, yours = (each.root("builder").get_by_label("Prompt", exact=True) for each in (me, you))
    mine.focus()
    page.keyboard.type("Mine of {a}")
    expect(yours).to_have_value("Mine of {a}")
    yours.fill("Yours of {b}")
    you.root("builder").get_by_label("System", exact=True).fill("You are brief.")
    expect(me.root("builder").get_by_label("System", exact=True)).to_have_value("You are brief.")
    expect(me.root("builder").get_by_role("button", name="{b} missing")).to_be_visible()
    expect(mine).to_have_value("Mine of {a}")
    page.keyboard.press("Tab")
    expect(mine).to_have_value("Yours of {b}")

    # One restarts the kernel: every panel says so, in both. Run again, they are alive.
    second_page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    for each in (me, you):
        notes = each.page.locator(".bnp > .bnp-note:visible")
        expect(notes).to_have_text([re.compile("Run this cell again to go on")] * 5)
    other.wait_idle()
    book.wait_idle()
    book.run_all()
    me.all_there()
    expect(page.locator(".bnp > .bnp-note:visible")).to_have_count(0)
    me.say(SHORT)
    me.answered(1)
    assert me.wrong == you.wrong == []
