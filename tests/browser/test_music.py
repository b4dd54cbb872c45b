"""A person makes music in a real notebook: a card fills up, two takes play, also later and elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Page, expect

from beatra_nb import demo
from tests.browser.lab import Lab, Notebook
from tests.browser.test_live import contrast

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

Open = Callable[..., Notebook]

SETUP = "import beatra_nb as bn\nbn.connect(mode='sandbox');"
PROMPT = "'dream pop, warm analog drums, bright chorus', lyrics='[Verse]\\nCity lights are waking'"
SHORT = f"task = bn.music({PROMPT}, model_options={{'sandbox': {{'seconds': 6, 'seed': 7}}}})\ntask"
LONG = f"task = bn.music({PROMPT}, model_options={{'sandbox': {{'seconds': 240, 'seed': 7}}}})"
WIDGET = "application/vnd.jupyter.widget-view+json"
# What the card says, moment by moment; asked for before the cell is run.
WATCH = """() => {
    window.card = [];
    const look = () => {
        const now = ['bnt-percent', 'bnt-now'].map(name => document.querySelector('.' + name)?.textContent ?? '');
        if (now[1] && now.join() !== window.card.at(-1)?.join()) window.card.push(now);
        window.watching = requestAnimationFrame(look);
    };
    look();
}"""
# Plays every player for a moment; muted, as browsers want it of pages that nobody has clicked in.
PLAY = """async () => {
    const played = [];
    for (const node of document.querySelectorAll('audio')) {
        node.muted = true;
        await node.play();
        const until = Date.now() + 10000;
        while (node.currentTime < 0.2 && Date.now() < until) await new Promise(done => setTimeout(done, 20));
        node.pause();
        const {readyState, currentTime, duration} = node;
        played.push({readyState, currentTime, duration, error: node.error?.message ?? null});
    }
    return played;
}"""


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where pictures go: to be looked at when TEST_SHOTS_DIR names a folder."""
    return Path(os.environ.get("TEST_SHOTS_DIR") or tmp_path)


def check_players(page: Page) -> None:
    """Assert that there are two players, and that they play."""
    expect(page.locator("audio")).to_have_count(2)
    page.wait_for_function(
        "() => [...document.querySelectorAll('audio')].every(node => node.readyState >= 3)"
    )
    played: list[dict[str, Any]] = page.evaluate(PLAY)
    for one in played:
        assert one["error"] is None
        assert one["readyState"] >= 3
        assert one["currentTime"] >= 0.2
        assert 5 <= one["duration"] <= 8


def test_two_takes_are_made_and_play_now_later_and_elsewhere(
    notebook: Open, lab: Lab, page: Page, shots: Path, tmp_path: Path
) -> None:
    book = notebook([SETUP, SHORT])
    book.run(0)
    page.evaluate(WATCH)
    book.run(1)
    page.evaluate("() => cancelAnimationFrame(window.watching)")
    seen: list[list[str]] = page.evaluate("() => window.card")
    percents = [int(percent.removesuffix(" %")) for percent, _ in seen if percent]
    assert percents, seen
    assert percents == sorted(percents), "it only ever goes on"
    assert len(set(percents)) >= 2, seen
    expect(page.locator(".bnt")).to_have_count(0)
    expect(page.locator("#bnl-announcer")).to_have_text("The music is ready: 2 takes.")
    assert len(book.outputs(1)) == 1, "what was painted is not shown again"
    check_players(page)
    for dark in (False, True):
        book.theme(dark=dark)
        book.shot(shots / f"music_{'dark' if dark else 'light'}.png", 1)

    book.save()
    saved = book.saved()
    [output] = saved.cells[1].outputs
    assert set(output.data) == {"text/html", "text/markdown", "text/plain"}
    assert output.data["text/html"].count("<audio controls") == 2
    assert "base64" not in output.data["text/plain"] + output.data["text/markdown"]
    book.shut_down()

    # As somebody else's notebook: changed behind the signature's back, it is no longer trusted.
    saved.metadata["written_by"] = "somebody else"
    stranger = lab.work / "stranger.ipynb"
    nbformat.write(saved, stranger)
    other = Notebook(page, lab, stranger).open()
    check_players(page)
    assert page.locator(".jp-OutputArea-output script").count() == 0, "untrusted: scripts are stripped"
    pictures = page.locator(".jp-OutputArea-output img")
    expect(pictures).to_have_count(2)
    assert pictures.evaluate_all("all => all.every(one => one.naturalWidth > 0)")
    other.shot(shots / "music_untrusted.png", 1)

    exported = tmp_path / "exported.html"
    exported.write_text(demo.page_of(saved, "exported"), "utf-8")
    tab = page.context.new_page()
    tab.goto(exported.as_uri())
    check_players(tab)
    tab.screenshot(path=str(shots / "music_exported.png"), full_page=True)


def test_cancel_reaches_a_cell_that_waits(notebook: Open, page: Page, shots: Path) -> None:
    book = notebook([SETUP, LONG + "\nprint(task.status, task.billing.refunded)"])
    book.run(0)
    book.run(1, wait=False)
    expect(page.locator(".bnt-percent")).not_to_be_empty(timeout=20_000)
    expect(page.locator(".bnt-foot")).to_contain_text("80 credits")
    expect(page.locator(".bnt-foot")).to_contain_text("task_")
    for dark in (False, True):
        book.theme(dark=dark)
        book.shot(shots / f"live_task_{'dark' if dark else 'light'}.png", 1)
        for selector in (".bnt-title", ".bnt-now", ".bnt-time", ".bnt-cancel", ".bnt-badge", ".bnt-fact"):
            assert contrast(page, selector) >= 4.5, selector

    page.locator(".bnt-card").click()
    page.keyboard.press("Escape")
    assert page.locator(".bnt-cancel").is_enabled(), "Esc cancels nothing"
    page.get_by_role("button", name="Cancel", exact=True).click()
    book.wait_idle()
    shown, printed = book.outputs(1)
    assert "canceled" in shown["text"]
    assert "80 credits were refunded." in shown["text"]
    assert printed["text"].split() == ["canceled", "80"], "the cell went on to its end"
    expect(page.locator("#bnl-announcer")).to_have_text("The task was cancelled.")
    book.shot(shots / "canceled.png", 1)
    book.save()
    assert WIDGET not in book.saved().cells[1].outputs[0].data


def test_an_interrupt_stops_the_waiting_and_not_the_task(notebook: Open, page: Page, shots: Path) -> None:
    book = notebook(
        [SETUP, LONG, "again = bn.pending()[0]\nprint(again.status, again.cancel().billing.refunded)"]
    )
    book.run(0)
    book.run(1, wait=False)
    expect(page.locator(".bnt-percent")).to_have_text(re.compile("^[1-9]"), timeout=40_000)
    page.evaluate("() => jupyterapp.commands.execute('notebook:interrupt-kernel')")
    book.wait_idle()
    shown, error = book.outputs(1)
    assert "running" in shown["text"]
    assert "task.wait()" in shown["text"]
    assert "stderr" in error["mime"]
    assert "the task goes on" in error["text"]
    book.shot(shots / "interrupted.png", 1)
    book.run(2)
    assert book.outputs(2)[0]["text"].split() == ["running", "80"]


def test_a_page_without_a_notebook_server_tells_how_to_cancel(notebook: Open, page: Page) -> None:
    book = notebook([SETUP, LONG, "bn.pending()[0].cancel();"])
    book.run(0)
    page.evaluate("() => { document.getElementById('jupyter-config-data').id = 'elsewhere' }")
    book.run(1, wait=False)
    expect(page.locator(".bnt-foot")).to_contain_text("interrupt the kernel (■), then call task.cancel()")
    expect(page.locator(".bnt-cancel")).to_have_count(0)
    page.evaluate("() => jupyterapp.commands.execute('notebook:interrupt-kernel')")
    book.wait_idle()
    book.run(2)


def test_an_awaited_job_can_be_cancelled_too(notebook: Open, page: Page) -> None:
    book = notebook([SETUP, LONG.replace("bn.music", "await bn.amusic") + "\nprint(task.status)"])
    book.run(0)
    book.run(1, wait=False)
    expect(page.locator(".bnt-percent")).not_to_be_empty(timeout=20_000)
    page.get_by_role("button", name="Cancel", exact=True).click()
    book.wait_idle()
    assert book.outputs(1)[-1]["text"].strip() == "canceled"


def test_reduced_motion_is_respected(notebook: Open, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    paint = (
        "from beatra_nb.display import live_task\n"
        "view = live_task.task_painter(sandbox=True)\nview.wait_cancel(30)\nview.drop()"
    )
    book = notebook([paint])
    book.run(0, wait=False)
    expect(page.locator(".bnt-unknown")).to_be_visible(timeout=20_000)
    light = "getComputedStyle(document.querySelector('.bnt-unknown'), '::after')"
    assert page.evaluate(f"() => {light}.animationName") == "none"
    page.get_by_role("button", name="Cancel", exact=True).click()
    book.wait_idle()
    expect(page.locator(".bnt")).to_have_count(0)
