"""A conversation of 500 turns in the page: opening it, an answer that grows at its end, scrolling through it.

The very module and style that the widget carries, in a bare page of Chromium with a model that says what a kernel
would say. A frame that the machine was late with counts as much as one that the page was late with; therefore the
page's own work is counted as well, by the processor's clock, which stands still while other programs run.

``python -m tests.benchmarks.bench_panel_pages``
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

import beatra_nb as bn
from beatra_nb.core.conversation import Turn
from beatra_nb.interact.page import page_class
from tests.benchmarks.table import show, verdict
from tests.browser.conftest import CHROMIUM, OPTIONS

TURNS = 500
OPENINGS = 15
TOKENS = 2000
BATCH = 12  # tokens of one message: ten messages a second, at 120 tokens a second
SIZE: ViewportSize = {"width": 1100, "height": 900}
OPENS_IN, GROWS_IN, FRAME = 500.0, 4.0, 50.0  # milliseconds

ANSWER = """Here is what I *found* about question {number}:

- the first point, with `code` and **weight**
- the second one, which is a little longer than the first

```python
def answer(number: int) -> int:
    return {number} * 42
```

| city | people |
|------|-------:|
| Oslo | 717,710 |

And a closing sentence, so that it is a paragraph of some length, as answers have them."""

# The model of a page without a kernel: it hears what `hear` is given, and nobody hears what it says.
PREPARE = """
async ({module, style, state}) => {
  const sheet = document.createElement("style");
  sheet.textContent = style;
  document.head.append(sheet);
  const text = JSON.stringify(state);
  const address = URL.createObjectURL(new Blob([module], {type: "text/javascript"}));
  const makePanel = (await import(address)).default;
  window.openPanel = () => {
    const traits = {state: JSON.parse(text), kernel_id: "", token: ""};
    const listeners = {};
    const model = {get: (name) => traits[name], on: (event, heard) => { listeners[event] = heard; }, send() {}};
    const el = document.createElement("div");
    document.body.replaceChildren(el);
    void document.body.offsetHeight;
    const began = performance.now();
    const made = makePanel();
    made.initialize({model});
    made.render({model, el});
    void document.body.offsetHeight;
    const took = performance.now() - began;
    let n = traits.state.n;
    window.hear = (...patch) => {
      const began = performance.now();
      listeners["msg:custom"]({n: ++n, patch}, []);
      void document.body.offsetHeight;
      return performance.now() - began;
    };
    return took;
  };
}
"""

GROW = """
async (batches) => {
  hear(["set", ["live"], {id: 100_000, you: "And then?", text: "", state: "asking"}]);
  const times = [];
  for (const text of batches) {
    times.push(hear(["grow", ["live", "text"], text]));
    await new Promise((done) => setTimeout(done));
  }
  return times;
}
"""

UNFOLD = """
() => {
  const earlier = document.querySelector(".bnp-chat-earlier");
  const times = [];
  while (!earlier.hidden) {
    const began = performance.now();
    earlier.click();
    void document.body.offsetHeight;
    times.push(performance.now() - began);
  }
  return times;
}
"""

FRAMES = """
async (count) => {
  for (let i = 0; i < count; i++) await new Promise((done) => requestAnimationFrame(() => done()));
}
"""

# What any page costs this machine: the same words in plain boxes, in a frame of the same size.
PLAIN = """
(text) => {
  const log = document.querySelector(".bnp-chat-log");
  const plain = document.createElement("div");
  plain.className = "bench-plain";
  plain.style.cssText = `height: ${log.clientHeight}px; overflow: auto; white-space: pre-wrap; font: 14px sans-serif`;
  for (const turn of document.querySelectorAll(".bnp-chat-turn")) {
    const box = document.createElement("div");
    box.style.height = `${turn.offsetHeight}px`;
    box.textContent = text;
    plain.append(box);
  }
  document.body.replaceChildren(plain);
}
"""

# A wheel's notch a frame, from the end to the first turn and back again; then as many frames at rest.
SCROLL = """
async (name) => {
  const log = document.querySelector(name);
  const frame = async () => {
    const began = performance.now();
    await new Promise((done) => requestAnimationFrame(() => done()));
    return performance.now() - began;
  };
  const seen = {up: [], down: [], rest: []};
  log.scrollTop = log.scrollHeight;
  for (let i = 0; i < 4; i++) await frame();
  while (log.scrollTop > 0) {
    log.scrollTop -= 300;
    seen.up.push(await frame());
  }
  while (log.scrollTop + log.clientHeight < log.scrollHeight - 1) {
    log.scrollTop += 300;
    seen.down.push(await frame());
  }
  while (seen.rest.length < seen.up.length + seen.down.length) seen.rest.push(await frame());
  return {...seen, boxes: document.querySelectorAll(".bnp-chat-turn, .bench-plain > div").length};
}
"""


def conversation() -> bn.Chat:
    """Return a conversation of 500 turns, without having called anybody."""
    chat = bn.Chat()
    chat._turns = tuple(
        Turn(
            f"Question {number}?",
            bn.Reply(ANSWER.format(number=number), model="bench", request_id=f"req_{number}", sandbox=True),
        )
        for number in range(TURNS)
    )
    return chat


def batches() -> list[str]:
    """Return an answer as the messages bring it."""
    words = ["the ", "quick", "ly ", "found ", "answer"]
    ends = {24: ". ", 149: ".\n\n"}
    pieces = [words[n % 5] + ends.get(n % 150, "") for n in range(TOKENS)]
    return ["".join(pieces[at : at + BATCH]) for at in range(0, TOKENS, BATCH)]


def busiest(trace: bytes) -> list[float]:
    """Return the tasks of the page's main thread by their processor time in milliseconds, the longest first."""
    events: list[dict[str, Any]] = json.loads(trace)["traceEvents"]
    names = [event for event in events if event.get("name") == "thread_name"]
    main = {(each["pid"], each["tid"]) for each in names if each["args"].get("name") == "CrRendererMain"}
    tasks = [event for event in events if (event["pid"], event["tid"]) in main and "RunTask" in event["name"]]
    return sorted((event.get("tdur", 0) / 1000 for event in tasks), reverse=True)


def row(what: str, times: Sequence[float], bound: float | None = None) -> list[object]:
    """Return a row of a table: the median, the slowest of all but a twentieth, and the slowest."""
    ordered = sorted(times)
    most = ordered[int(0.95 * (len(ordered) - 1))]
    middle = statistics.median(ordered)
    figures = [f"{each:.1f} ms" for each in (middle, most, ordered[-1])]
    return [what, len(times), *figures, verdict(middle, bound) if bound else ""]


def scrolled(page: Page, name: str) -> tuple[dict[str, Any], list[float]]:
    """Scroll through something; return how long the frames took, and the tasks of the page's thread."""
    browser = page.context.browser
    assert browser is not None
    browser.start_tracing(
        page=page, categories=["disabled-by-default-devtools.timeline", "devtools.timeline"]
    )
    seen = page.evaluate(SCROLL, name)
    tasks = busiest(browser.stop_tracing())
    assert seen["boxes"] == TURNS, "not all turns could be reached"
    return seen, tasks


def measure(browser: Browser) -> None:
    """Measure one conversation, and print what came of it."""
    with bn.ChatBox(conversation(), client=bn.Client(mode="sandbox")) as box:
        made = page_class("ChatBox", box.modules, box.styles)
        given = {"module": made._esm, "style": made._css, "state": box._doc.snapshot()}
    page = browser.new_page(viewport=SIZE)
    page.evaluate(PREPARE, given)
    first, *openings = (page.evaluate("openPanel()") for _ in range(1 + OPENINGS))
    grown = page.evaluate(GROW, batches())
    page.close()
    page = browser.new_page(viewport=SIZE)  # without what the openings have left to be collected
    page.evaluate(PREPARE, given)
    page.evaluate("openPanel()")
    unfolded = page.evaluate(UNFOLD)
    page.evaluate(FRAMES, 20)
    ours, our_tasks = scrolled(page, ".bnp-chat-log")
    page.evaluate(PLAIN, ANSWER)
    page.evaluate(FRAMES, 20)
    plain, plain_tasks = scrolled(page, ".bench-plain")
    rows = [
        row("opening, the first of the page", [first], OPENS_IN),
        row("opening", openings, OPENS_IN),
        row("one message of a growing answer", grown, GROWS_IN),
        row("its last quarter", grown[-len(grown) // 4 :], GROWS_IN),
        row("one press on Show earlier turns", unfolded),
    ]
    size = len(json.dumps(given["state"])) / 1000
    head = ["in the page", "times", "median", "95 %", "slowest", "bound (median)"]
    show(f"ChatBox with {TURNS} turns, {size:.0f} kB of document", head, rows)
    frames = [
        [*row(name, times)[:-1], sum(each > FRAME for each in times)]
        for name, times in (
            ("up", ours["up"]),
            ("down", ours["down"]),
            ("plain boxes of the same height, up", plain["up"]),
            ("plain boxes of the same height, down", plain["down"]),
            ("at rest", ours["rest"]),
        )
    ]
    head = ["frames", "count", "median", "95 %", "longest", f"over {FRAME:g} ms"]
    show(f"Scrolling through {TURNS} turns, 300 pixels a frame", head, frames)
    works = []
    for name, tasks in (("the conversation", our_tasks), ("plain boxes", plain_tasks)):
        over = sum(each > FRAME for each in tasks)
        works.append([name, f"{sum(tasks) / 1000:.1f} s", f"{tasks[0]:.1f} ms", over, verdict(over, 0)])
    works[1][-1] = ""
    head = ["the page's thread", "worked", "longest task", f"over {FRAME:g} ms", "bound"]
    show("Meanwhile, by the processor's clock", head, works)


def main() -> None:
    """Measure in a Chromium of this machine."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        print("There is no Chromium on this machine.")
        return
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        os.environ["BEATRA_HOME"] = home
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        try:
            measure(browser)
        finally:
            browser.close()


if __name__ == "__main__":
    main()
