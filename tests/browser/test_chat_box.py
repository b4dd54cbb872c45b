"""The chat box in a real JupyterLab: hands, code and a second browser in one conversation."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.axe import assert_accessible
from tests.browser.lab import Notebook
from tests.browser.test_hostile_page import ASKS, TEXT, nothing_ran

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

Open = Callable[..., Notebook]

SETUP = """
import beatra_nb as bn, json, time
sandbox = bn.sandbox.start(engine="scripted", faults=True)
client = bn.Client(sandbox.api_key, base_url=sandbox.base_url, max_attempts=1)
box = bn.ChatBox(client=client, title="Ada's talk", model_options={"pace": 0.01})
"""
TOLD = """
calls = [each for each in sandbox.seen if each.path.endswith("/chat/completions")]
print(json.dumps({"turns": [turn.prompt for turn in box.chat.turns], "messages": box.chat.messages,
                  "keys": [each.idempotency_key for each in calls], "bodies": [each.fingerprint for each in calls]}))
"""
SEND, SLEEP, FAIL, LOOK = 2, 3, 4, 5
CELLS = [
    SETUP,
    "box",
    "box.chat.send('Say hi in five words.');",
    "try: time.sleep(60)\nexcept KeyboardInterrupt: pass",
    "sandbox.inject('reset:after;after=6')",
    TOLD,
]
PATIENCE = 20_000  # milliseconds for an answer on a busy machine
LONG = "Write a text of 900 words."


class Hands:
    """What a person sees of a box and does to it, by keyboard."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.locator(".bnp-chat")
        self.composer = self.root.get_by_label("Message", exact=True)
        self.turns = self.root.locator(".bnp-chat-turn")

    def says(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def answered(self, count: int) -> Locator:
        """Wait until so many turns are whole."""
        expect(self.turns).to_have_count(count, timeout=PATIENCE)
        expect(self.turns.last.locator(".bnp-id")).to_contain_text("req_", timeout=PATIENCE)
        return self.turns.last

    def writing(self) -> None:
        expect(self.root.locator(".bnp-writing p").first).to_be_visible(timeout=PATIENCE)

    def kept_focus(self) -> None:
        expect(self.composer).to_be_focused()


def look(book: Notebook) -> dict[str, Any]:
    book.run(LOOK)
    return json.loads(book.outputs(LOOK)[-1]["text"])


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where pictures go: to be looked at when TEST_SHOTS_DIR names a folder."""
    return Path(os.environ.get("TEST_SHOTS_DIR") or tmp_path)


def test_a_conversation_by_keyboard_code_and_two_browsers(notebook: Open, page: Page, shots: Path) -> None:
    book = notebook(CELLS)
    book.run(0)
    book.run(1)
    me = Hands(page)
    expect(me.root.locator(".bnp-empty")).to_contain_text("Enter sends")
    me.composer.focus()

    # Enter sends; the answer grows; the focus stays.
    me.says("Write a text of 120 words.")
    me.writing()
    me.kept_focus()
    lengths = page.evaluate(
        """() => new Promise(resolve => {
            const seen = new Set();
            const look = () => {
                const node = document.querySelector('.bnp-writing');
                if (node) { seen.add(node.textContent.length); requestAnimationFrame(look); } else resolve([...seen]);
            };
            look();
        })"""
    )
    assert len(lengths) > 3
    assert lengths == sorted(lengths)
    me.answered(1)
    me.kept_focus()
    expect(me.root.locator(".bnp-chat-resolved")).to_have_text("→ sandbox-scripted")
    expect(page.locator("#bnl-announcer")).to_have_text("The answer is complete.")

    # Shift+Enter breaks the line, and runs no cell.
    page.keyboard.type("My name is Ada.")
    page.keyboard.press("Shift+Enter")
    me.says("Say hi in five words.")
    me.answered(2)
    me.kept_focus()

    # Esc stops; what had come stays, marked; the arrow takes the words back.
    me.says(LONG)
    me.writing()
    page.keyboard.press("Escape")
    expect(me.turns.last.locator(".bnp-warn")).to_have_text("stopped")
    expect(page.locator("#bnl-announcer")).to_have_text("The answer was stopped.")
    me.kept_focus()
    book.shot(shots / "chat_box_stopped.png", 1)
    assert look(book)["turns"] == ["Write a text of 120 words.", "My name is Ada.\nSay hi in five words."]
    me.composer.focus()
    page.keyboard.press("ArrowUp")
    expect(me.composer).to_have_value(LONG)
    expect(me.turns).to_have_count(2)
    page.keyboard.press("Control+a")
    me.says("What is my name?")
    me.answered(3)

    # The arrow edits the last message; its turn is replaced.
    page.keyboard.press("ArrowUp")
    expect(me.root.get_by_label("Edit the message", exact=True)).to_be_focused()
    page.keyboard.press("Control+a")
    me.says("What is my name, again?")
    expect(me.turns.last.locator(".bnp-chat-bubble")).to_contain_text("again")
    me.answered(3)
    me.kept_focus()
    assert look(book)["turns"][-1] == "What is my name, again?"

    # A system text, and another answer, by Tab and Enter.
    summary = me.root.locator("summary")
    summary.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("You are brief.")
    again = me.turns.last.get_by_role("button", name="Regenerate")
    before = me.turns.last.locator(".bnp-id").inner_text()
    again.focus()
    page.keyboard.press("Enter")
    me.kept_focus()
    expect(me.turns.last.locator(".bnp-id")).not_to_have_text(before)
    me.answered(3)
    summary.click()
    told = look(book)
    assert told["messages"][0] == {"role": "system", "content": "You are brief."}
    assert len(told["turns"]) == 3

    # A cell talks in the same conversation.
    book.run(SEND)
    me.answered(4)
    expect(me.turns.last.locator(".bnp-chat-bubble")).to_contain_text("Say hi in five words.")

    # Stop is heard while a cell runs.
    me.composer.focus()
    me.says(LONG)
    me.writing()
    book.run(SLEEP, wait=False)
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
    )
    me.composer.focus()
    page.keyboard.press("Escape")
    expect(me.turns.last.locator(".bnp-warn")).to_have_text("stopped", timeout=3000)
    assert page.evaluate("() => window.testRunning") == 1, "the cell still runs"
    me.turns.last.get_by_role("button", name="Dismiss").click()
    page.evaluate("() => jupyterapp.commands.execute('notebook:interrupt-kernel')")
    book.wait_idle()
    expect(me.turns).to_have_count(4)

    # The network fails: the card says so, and trying again sends the very same call.
    book.run(FAIL)
    me.composer.focus()
    me.says("Write a text of 30 words.")
    card = me.turns.last.locator(".bnp-trouble")
    expect(card).to_contain_text("nothing is paid twice")
    me.kept_focus()
    book.shot(shots / "chat_box_failed.png", 1)
    for dark in (True, False):
        book.theme(dark=dark)
        assert_accessible(page, ".bnp-chat")
        book.shot(shots / f"chat_box_{'dark' if dark else 'light'}.png", 1)
    me.turns.last.get_by_role("button", name="Try again").focus()
    page.keyboard.press("Enter")
    me.answered(5)
    me.kept_focus()
    told = look(book)
    assert told["keys"][-1] == told["keys"][-2]
    assert told["bodies"][-1] == told["bodies"][-2]

    # A fork goes on by itself.
    me.turns.first.get_by_role("button", name="Fork from here").focus()
    page.keyboard.press("Enter")
    expect(me.turns).to_have_count(1)
    branches = me.root.get_by_label("Branch of the conversation")
    expect(branches.locator("option")).to_have_text(["Main · 5 turns", "Fork 1 · 1 turn"])
    branches.select_option("0")
    expect(me.turns).to_have_count(5)

    # Another browser shows the same conversation, and talks in it; its draft stays its own.
    book.save()
    other_page = page.context.new_page()
    other = Notebook(other_page, book.lab, book.path).open()
    you = Hands(other_page)
    try:
        expect(you.turns).to_have_count(5, timeout=15_000)
    except AssertionError:  # JupyterLab gives a busy kernel four seconds to tell what widgets it has
        other.reload()
    expect(you.turns).to_have_count(5)
    me.composer.fill("A draft")
    you.composer.focus()
    you.says("Say hi in five words.")
    me.answered(6)
    you.answered(6)
    expect(you.composer).to_have_value("")
    expect(me.composer).to_have_value("A draft")
    other.page.close()

    # The kernel goes: the box says so. The file holds the transcript, and no dead widget.
    page.wait_for_function(
        "() => document.querySelector('.bnp-still')?.textContent.includes('6 turns')", timeout=5000
    )
    page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    expect(me.root.locator(".bnp-note")).to_contain_text("Run this cell again to go on")
    expect(me.turns.first).to_be_visible()
    book.wait_idle()
    book.save()
    book.reload()
    expect(page.locator(".bnp-chat")).to_have_count(0)
    shown = book.cell(1).inner_text()
    assert "Ada's talk" in shown
    assert "What is my name, again?" in shown
    assert "run this cell to go on" in shown
    assert "model not found" not in page.locator(".jp-Notebook").inner_text().lower()


HOSTILE = f"""
TEXT = {TEXT!r}
SENT = TEXT.encode("utf-8", "replace").decode()  # half a character is refused before it is sent
chat = bn.Chat(SENT, client=client, title=TEXT, model=SENT[:100])
chat.send("repeat: " + SENT, model="auto")
from dataclasses import replace
from beatra_nb.core.conversation import Turn
turn, reply = chat.turns[0], chat.turns[0].reply
shy = replace(reply, model=TEXT, request_id=TEXT, asked_model=TEXT, finish_reason=TEXT,
              tool_calls=(bn.ToolCall(TEXT, TEXT, TEXT),), choices=(TEXT, TEXT))
chat._turns = (Turn(TEXT, shy), turn)
box = bn.ChatBox(chat)
box.fork(0)
box.chat = chat
sandbox.inject("midstream:model_unavailable;after=20")
try:
    box.send("repeat: " + SENT)
except bn.BeatraError:
    pass
box
"""
MANY = """
chat = bn.Chat(client=client, model_options={"pace": 0.01})
chat.send("Write a text of 60 words.")
chat._turns = chat.turns * 500
long = bn.ChatBox(chat, title="Long")
long
"""


def test_hostile_and_long_conversations(notebook: Open, page: Page) -> None:
    book = notebook([SETUP, HOSTILE, MANY])
    book.run(0)
    book.run(1)
    root = book.cell(1).locator(".bnp-chat")
    expect(root.locator(".bnp-chat-turn")).to_have_count(3)
    expect(root.locator(".bnp-trouble")).to_be_visible()
    root.locator(".bnp-chat-mine button").first.focus()
    page.keyboard.press("Enter")
    nothing_ran(page, ".bnp-chat")
    assert root.locator(f"script, {ASKS}").count() == 0
    expect(root.locator(".bnp-prose").first).to_contain_text(re.compile(r"<script", re.IGNORECASE))

    # 500 turns: the latest are there; the reader who goes up is left alone, and finds the way back.
    book.run(2)
    long = book.cell(2).locator(".bnp-chat")
    log = long.locator(".bnp-chat-log")
    expect(long.locator(".bnp-chat-turn")).to_have_count(40)
    page.wait_for_function(
        "log => log.scrollHeight - log.scrollTop - log.clientHeight < 2", arg=log.element_handle()
    )
    log.focus()
    page.keyboard.press("Home")
    latest = long.get_by_role("button", name="Go to the latest message")
    expect(latest).to_be_visible()
    earlier = long.locator(".bnp-chat-earlier")
    expect(earlier).to_have_text("Show 40 earlier turns")
    first = long.locator(".bnp-chat-turn").first.element_handle()
    assert first is not None
    top = first.bounding_box()
    earlier.focus()
    page.keyboard.press("Enter")
    expect(long.locator(".bnp-chat-turn")).to_have_count(80)
    now = first.bounding_box()
    assert top is not None
    assert now is not None
    assert abs(top["y"] - now["y"]) < 2, "what the reader looks at stays where it is"

    # While an answer comes, the end is followed, but not against the reader.
    long.get_by_label("Message", exact=True).focus()
    page.keyboard.type("Write a text of 200 words.")
    page.keyboard.press("Enter")
    expect(long.locator(".bnp-chat-turn")).to_have_count(81)
    # A busy machine may show it for the first time when it is whole.
    expect(long.locator(".bnp-chat-turn").last.locator(".bnp-prose p").first).to_be_in_viewport(
        timeout=PATIENCE
    )
    log.focus()
    page.keyboard.press("Home")
    expect(latest).to_be_visible()
    page.wait_for_function("log => log.scrollTop === 0", arg=log.element_handle())  # Chromium glides there
    expect(long.locator(".bnp-chat-turn")).to_have_count(81)
    expect(long.locator(".bnp-chat-turn").last.locator(".bnp-id")).to_contain_text("req_", timeout=PATIENCE)
    assert log.evaluate("log => log.scrollTop") == 0
    latest.click()
    expect(long.locator(".bnp-chat-turn").last.locator(".bnp-id")).to_be_in_viewport()
    expect(latest).to_be_hidden()
    expect(long.get_by_label("Message", exact=True)).to_be_focused()
