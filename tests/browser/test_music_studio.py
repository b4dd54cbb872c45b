"""A person makes music in a studio: by keyboard, by mouse and by dropping a file; later it still plays."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.axe import assert_accessible
from tests.browser.lab import Notebook
from tests.core.sounds import encoded

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

Open = Callable[..., Notebook]

SETUP = "import time\nimport beatra_nb as bn\nbn.connect(mode='sandbox');"
HOSTILE = "<img src=x onerror='window.hit = 1'>"
# Runs until the newest task is over: what ends it is a press of Cancel.
BUSY = """until = time.monotonic() + 60
while time.monotonic() < until and not studio.tasks[-1].done:
    time.sleep(0.05)
(studio.tasks[-1].status, str(studio.tasks[-1].billing.refunded))"""
FACTS = "(len(studio.tasks), studio.tasks[0].prompt, studio.tasks[0].title, studio.tasks[0].lyrics)"
LAST = "(len(studio.tasks), studio.tasks[-1].capability, studio.tasks[-1].title)"
DROP = """([node, bytes, name]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], name, {type: 'audio/wav'}));
    for (const kind of ['dragenter', 'dragover', 'drop'])
        node.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
}"""
STATES = """() => [...document.querySelectorAll('.bnp-studio-take audio')].map(node => ({
    ready: node.readyState, at: node.currentTime, paused: node.paused, error: node.error?.message ?? null}))"""


def look(book: Notebook, name: str) -> None:
    """Take a picture, where TEST_SHOTS_DIR names a folder for somebody to look at."""
    if folder := os.environ.get("TEST_SHOTS_DIR"):
        book.shot(Path(folder) / name, 1)


def states(page: Page) -> list[dict[str, Any]]:
    """How each player of the takes is."""
    found: list[dict[str, Any]] = page.evaluate(STATES)
    return found


def wait_until_playing(page: Page, index: int) -> None:
    """Wait until a take plays, alone."""
    page.wait_for_function(
        """i => { const all = [...document.querySelectorAll('.bnp-studio-take audio')];
            return all[i].currentTime > 0.15 && all.every((node, at) => node.paused === (at !== i)); }""",
        arg=index,
    )


def tab_to(page: Page, target: Locator, most: int = 12) -> None:
    """Press Tab until the focus is there, as a person without a mouse does."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if target.evaluate("node => node === document.activeElement"):
            return
    raise AssertionError(f"the Tab key does not lead to {target}")


def make_by_keyboard(page: Page, studio: Locator) -> None:
    """Describe a piece, make it and play it, without a mouse."""
    prompt = studio.get_by_label("Prompt")
    prompt.focus()
    page.keyboard.type("warm analog drums")
    tab_to(page, studio.get_by_role("button", name="pop", exact=True))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    chip = studio.get_by_role("button", name="dream pop")
    expect(chip).to_have_attribute("aria-pressed", "true")
    expect(prompt).to_have_value("warm analog drums, dream pop")
    tab_to(page, studio.get_by_label("Lyrics"))
    tab_to(page, studio.get_by_role("button", name="Insert [Verse]"))
    page.keyboard.press("Enter")
    page.keyboard.type("City lights")
    expect(studio.get_by_label("Lyrics")).to_have_value("[Verse]\nCity lights")
    tab_to(page, studio.get_by_label("Title"))
    page.keyboard.type(HOSTILE)
    tab_to(page, studio.get_by_label("Length in seconds"))
    page.keyboard.type("3")
    tab_to(page, studio.get_by_role("button", name="Create"))
    page.keyboard.press("Enter")
    expect(studio.locator(".bnp-studio-take")).to_have_count(2, timeout=60_000)
    expect(studio.get_by_role("button", name="Create")).to_be_focused()
    tab_to(page, studio.get_by_role("button", name=re.compile(rf"^Play.*: {re.escape(HOSTILE)}")).first)
    page.keyboard.press("Enter")
    wait_until_playing(page, 0)
    assert states(page)[0]["ready"] >= 2
    expect(studio.locator(".bnp-studio-take audio").first).to_be_focused()


def compare_by_ear(page: Page, studio: Locator) -> None:
    """Mark two takes, and switch between them at the same place by one key."""
    studio.get_by_role("button", name=re.compile("^Mark .* as A$")).nth(0).click()
    studio.get_by_role("button", name=re.compile("^Mark .* as B$")).nth(1).click()
    compare = studio.get_by_label("Comparison", exact=True)
    expect(compare).to_contain_text("tempo")
    expect(compare.get_by_role("button", name="Switch to")).to_be_enabled()
    studio.locator(".bnp-studio-take audio").first.evaluate(
        "node => { node.currentTime = 1; return node.play() }"
    )
    wait_until_playing(page, 0)
    compare.get_by_role("button", name="Switch to").focus()
    page.keyboard.press("x")
    wait_until_playing(page, 1)
    assert states(page)[1]["at"] >= 1  # the same place, not the beginning
    compare.get_by_role("button", name="End the comparison").click()
    expect(compare).to_be_hidden()


def test_a_person_makes_music(notebook: Open, page: Page) -> None:
    book = notebook([SETUP, "studio = bn.MusicStudio()\nstudio", FACTS, BUSY, LAST])
    book.run(0)
    book.run(1)
    studio = page.locator(".bnp-studio")
    make_by_keyboard(page, studio)
    book.run(2)
    assert book.outputs(2)[0]["text"] == (
        f"(1,\n 'warm analog drums, dream pop',\n {HOSTILE!r},\n '[Verse]\\nCity lights')"
    )
    compare_by_ear(page, studio)

    # A file by the picker, taken away again; then one that is dropped, and heard before it goes anywhere.
    sound = encoded("WAV", seconds=1.0)
    chosen = {"name": HOSTILE.replace("/", "") + ".wav", "mimeType": "audio/wav", "buffer": sound}
    studio.locator("input[type=file]").set_input_files([chosen])
    expect(studio.locator(".bnp-studio-file")).to_contain_text("0:01 · 176 kB · audio/wav")
    studio.get_by_role("button", name="Remove the reference").click()
    expect(studio.get_by_role("button", name="Choose audio")).to_be_focused()
    studio.get_by_label("Reference audio", exact=True).evaluate(
        f"(node, args) => ({DROP})([node, ...args])", [list(sound), "riff.wav"]
    )
    file = studio.locator(".bnp-studio-file")
    expect(file).to_contain_text("0:01 · 176 kB · audio/wav")
    file.get_by_role("button", name="Play: riff.wav").click()
    page.wait_for_function("() => document.querySelector('.bnp-studio-file audio').currentTime > 0.1")

    # Two clicks are one press, and one task; the price is on the button.
    studio.get_by_label("Model").select_option("minimax-music-2.6")
    studio.get_by_label("Title").fill("Riff")
    create = studio.get_by_role("button", name="Create · 50 credits")
    create.dblclick()
    expect(studio.locator(".bnp-studio-take")).to_have_count(3, timeout=60_000)
    book.run(4)
    assert book.outputs(4)[0]["text"] == "(2, 'music.reference-audio-to-music', 'Riff')"

    # What is wrong is said at its field, and nothing is sent.
    studio.get_by_label("Model").select_option("suno-5.5")
    weight = studio.get_by_label("Style weight")
    weight.fill("7")
    expect(weight).to_have_attribute("aria-invalid", "true")
    studio.get_by_role("button", name="Create · 80 credits").click()
    expect(weight).to_be_focused()
    # What else there is to see, test_axe_panels looks at, in both themes.
    assert_accessible(page, ".bnp-studio")
    knob = studio.get_by_role("switch", name="Instrumental").bounding_box()
    assert knob is not None
    assert knob["width"] > 1.5 * knob["height"], "a switch looks like one, and not like a box to tick"
    look(book, "studio.png")
    weight.fill("0.7")
    expect(weight).not_to_have_attribute("aria-invalid", "true")

    # Cancel is heard while a cell runs, and a take plays meanwhile.
    studio.get_by_label("Length in seconds").fill("240")
    expect(studio.locator(".bnp-studio-held")).to_have_count(0)
    studio.get_by_role("button", name="Create · 80 credits").click()
    card = studio.locator(".bnp-studio-job").first
    expect(card.locator(".bnp-badge").first).to_have_text("running")
    book.run(3, wait=False)
    expect(book.cell(3).locator(".jp-InputPrompt")).to_have_text("[*]:")
    studio.get_by_role("button", name=re.compile("^Play.*: Riff$")).click()
    wait_until_playing(page, 0)
    look(book, "studio-running.png")
    card.get_by_role("button", name="Cancel").click()
    book.wait_idle()
    assert book.outputs(3)[0]["text"] == "('canceled', '80')"
    expect(card).to_contain_text("Cancelled. 80 credits refunded.")
    with page.expect_download() as coming:
        studio.get_by_role("button", name="Download Riff").click()
    assert coming.value.suggested_filename == "Riff-1.mp3"
    assert Path(coming.value.path()).stat().st_size > 10_000

    assert page.evaluate("() => window.hit") is None

    # Saved, the kernel gone, and reopened: the takes still play.
    expect(page.locator(".bnp-still audio")).to_have_count(3, timeout=15_000)
    book.save()
    book.shut_down()
    book.reload()
    still = page.locator(".jp-OutputArea audio")
    expect(still).to_have_count(3)
    expect(still.first).to_be_visible()
    page.wait_for_function(
        "() => [...document.querySelectorAll('audio')].every(node => node.readyState >= 2)"
    )
    assert (
        still.first.evaluate("async node => { node.muted = true; await node.play(); return node.error }")
        is None
    )
    assert page.evaluate("() => window.hit") is None
    look(book, "studio-reopened.png")
