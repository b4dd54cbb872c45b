"""All panels in one notebook, in use: axe-core finds nothing wrong; a screen reader hears starts and ends alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import assert_accessible
from tests.browser.lab import Notebook
from tests.browser.panels import LONG, SETUP, Hands

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ANSWER = """# A harbour

It lies in the *north*, see [the map](https://example.com/map) and `chart.py`; ~~not~~ **much** is known.

1. a river
   - [x] with boats

> Whoever comes by sea comes late.

| Ship | Tons |
|:-----|-----:|
| Alma | 1200 |

```python
@cached
def tons(name: str = "Alma", *, n=12) -> float:  # of all ships
    return sum(ship.tons for ship in SHIPS) + 0.5
```

مرحبا 日本語 🎵"""
CHAT = """
box = bn.ChatBox(client=client, title="Harbour", system="You are brief.", model_options={"pace": 0.02})
box"""
BUILDER = """
builder = bn.PromptBuilder("Repeat: fish of {city}, {kind}", system="You are brief.", client=client, temperature=0.5,
    rows=[{"city": "Oslo", "kind": "fried"}, {"city": "Rome", "kind": "raw"}, {"city": "Bari"}],
    examples=[("Repeat: me", "me"), ("Repeat: you", "you")])
builder.run([0, 1])
builder.score(0, 4)
builder.prompt = builder.prompt.replace(user="Repeat: soup of {city}, {kind}", schema=None)
builder.run(0)
builder"""
COMPARE = """
plain = bn.Compare("Say hi in five words.", models=["auto", "sandbox-scripted"], client=client,
                   model_options={"pace": 0.02})
plain"""
BLIND = """
secret = bn.Compare("Say hi in five words.", variants={"cold": {}, "warm": {"temperature": 1}}, blind=True,
                    client=client)
secret.run()
secret"""
# Pieces of music: one that is ready, and one that stands still until the end of the test.
STUDIO = """
studio = bn.MusicStudio("slow blues", lyrics="[Verse]\\nCity lights", title="City Lights", model="suno-5.5",
                        client=client, model_options=short)
studio.create()
sandbox.inject("task:stall")
studio.create(title="Standing still", wait=False)
studio"""
BOARD = "board = bn.TaskBoard(client=client)\nboard"
FAILS = f"""
box.send({"Repeat: " + ANSWER!r})
sandbox.inject("midstream:model_unavailable;after=4;on=chat")
try:
    box.send("Write a text of 40 words.")
except bn.BeatraError as error:
    print(type(error).__name__)
"""
# Every word that a screen reader is told, and how often it is told anything.
LISTEN = """() => {
    window.heard = [];
    new MutationObserver(records => {
        for (const {target, addedNodes} of records)
            if (target.id === 'bnl-announcer' || target.parentElement?.id === 'bnl-announcer')
                window.heard.push(...[...addedNodes].map(node => node.textContent));
            else for (const node of addedNodes) if (node.id === 'bnl-announcer') window.heard.push(node.textContent);
    }).observe(document.body, {childList: true, characterData: true, subtree: true});
}"""
# What grows must not stand in a region that is read aloud as it changes.
LOUD = """nodes => nodes.filter(node => {
    const live = node.closest('[aria-live], [role=status], [role=alert], [role=log]');
    return live && live.getAttribute('aria-live') !== 'off';
}).map(node => node.className)"""
WIDE = """nodes => nodes.filter(node => node.scrollWidth > node.clientWidth + 1)
    .map(node => `${node.className}: ${node.scrollWidth} in ${node.clientWidth}`)"""
TWICE = """() => {
    const ids = [...document.querySelectorAll('.bnp [id]')].map(node => node.id);
    return ids.filter((id, at) => ids.indexOf(id) !== at);
}"""


def test_every_panel_is_accessible(notebook: Callable[..., Notebook], page: Page) -> None:
    book = notebook([SETUP, CHAT, BUILDER, COMPARE, BLIND, STUDIO, BOARD, FAILS])
    for at in range(7):
        book.run(at)
        assert "Traceback" not in book.cell(at).inner_text()
    hands = Hands(page)
    chat, builder, studio = (hands.root(kind) for kind in ("chat", "builder", "studio"))
    plain, secret = hands.root("compare").first, hands.root("compare").last
    expect(hands.root("board").locator("tbody tr")).to_have_count(2)
    assert page.evaluate(TWICE) == [], "each id is there once, so that labels belong to their fields"

    # While answers are written.
    page.evaluate(LISTEN)
    chat.locator("summary").click()
    hands.say(LONG)
    hands.writing()
    assert chat.locator(".bnp-writing").evaluate_all(LOUD) == []
    assert_accessible(page, ".bnp-chat")
    chat.get_by_role("button", name="Stop").click()
    expect(chat.locator(".bnp-writing")).to_have_count(0)
    plain.get_by_label("Prompt", exact=True).fill("Write a text of 300 words.")
    plain.get_by_role("button", name="Run").click()
    expect(plain.locator(".bnp-prose p").first).to_be_visible()
    assert plain.locator(".bnp-prose").evaluate_all(LOUD) == []
    assert_accessible(page, ".bnp-compare >> nth=0")
    expect(plain.locator(".bnp-compare-box[aria-busy=true]")).to_have_count(0, timeout=20_000)
    assert page.evaluate("() => window.heard") == [
        "An answer is being written.",
        "The answer was stopped.",
        "The answers are being written.",
        "The answers have ended.",
    ]

    # A finished and a failed turn, the system text open; takes marked, a player; every side of the builder.
    chat.get_by_role("button", name="Dismiss").click()
    book.run(7)
    expect(chat.locator(".bnp-trouble")).to_contain_text("The answer was cut short")
    expect(chat.locator(".bnp-chat-turn")).to_have_count(2)
    studio.get_by_role("button", name="Mark").first.click()
    expect(studio.locator(".bnp-studio-take")).to_have_count(2)
    studio.locator(".bnp-studio-take").get_by_role("button", name="Play").first.click()
    expect(studio.locator(".bnp-studio-take audio").first).to_be_visible()
    secret.get_by_role("button", name="Vote A").wait_for()
    builder.locator("summary").click()
    builder.get_by_role("tab", name="History").click()
    builder.get_by_role("button", name="Changes since version 1").click()
    expect(builder.locator(".bnp-builder-diff").last).to_contain_text("soup of")
    for dark in (False, True):
        book.theme(dark=dark)
        for side in ("History", "Code"):
            builder.get_by_role("tab", name=side).click()
            assert_accessible(page, ".bnp-builder")
        builder.get_by_role("tab", name="Build").click()
        assert_accessible(page, ".bnp")
    expect(builder.locator(".bnp-builder-code")).to_contain_text("bn.")

    # As narrow as a phone, nothing sticks out.
    page.set_viewport_size({"width": 420, "height": 900})
    page.evaluate("() => jupyterapp.shell.collapseLeft()")
    page.wait_for_function("() => document.querySelector('.bnp').clientWidth < 400")
    assert page.locator(".bnp").evaluate_all(WIDE) == []
    assert_accessible(page, ".bnp")
    assert hands.wrong == []
