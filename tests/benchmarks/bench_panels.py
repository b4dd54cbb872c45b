"""Panels in a real JupyterLab and in a real kernel: how soon they can be used, what typing costs, who waits for whom.

``python -m tests.benchmarks.bench_panels``
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
import zmq
from playwright.sync_api import Browser, Locator, Page, WebSocket, sync_playwright

from tests.benchmarks.table import show, verdict
from tests.browser.conftest import CHROMIUM, OPTIONS
from tests.browser.lab import Lab, Notebook, make_notebook
from tests.display.kernel import Kernel

KINDS = ("ChatBox", "PromptBuilder", "Compare", "MusicStudio", "TaskBoard")
ROUNDS, AGAIN = 3, 4  # notebooks opened for each kind of panel, and further panels made in each
ROWS, KEYS = 1000, 60
LANES, WORDS, PACE, ASIDE = 4, 2000, 120, 25
READY_IN, KEY_IN, ANSWERED_IN = 300.0, 16.0, 200.0  # milliseconds
KEY_BYTES, TIMES_THE_TEXT = 2000.0, 20.0

SETUP = "import beatra_nb as bn; bn.connect(mode='sandbox'); len(bn.models())"
TABLE = f"""
builder = bn.PromptBuilder(
    "Say in one sentence what {{city}} is known for, to someone who likes {{interest}}.",
    system="You answer in one short sentence.",
    rows=[{{"city": f"City {{n}}", "interest": ["food", "music", "maps"][n % 3]}} for n in range({ROWS})],
)
builder"""

# From the moment the page hears that the cell is done, and from the one it sent it, to the first thing to press or
# write in. A negative time means that it was there before.
WATCH = """
() => {
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const usable = ":is(button, input, textarea, select):not(:disabled)";
  for (const old of document.querySelectorAll(".bnp")) old.classList.add("bench-old");
  const seen = window.bench = {sent: 0, done: 0, ready: 0};
  const look = () => {
    for (const node of document.querySelectorAll(`.bnp:not(.bench-old) ${usable}`)) {
      if (!node.checkVisibility()) continue;
      seen.ready = performance.now();
      observer.disconnect();
      return;
    }
  };
  const observer = new MutationObserver(look);
  const attributes = {attributes: true, attributeFilter: ["disabled", "hidden"]};
  observer.observe(document.body, {subtree: true, childList: true, ...attributes});
  const heard = (_, {msg, direction}) => {
    if (msg.header.msg_type === "execute_request" && direction === "send") seen.sent = performance.now();
    if (msg.header.msg_type !== "execute_reply" || direction !== "recv") return;
    seen.done = performance.now();
    kernel.anyMessage.disconnect(heard);
  };
  kernel.anyMessage.connect(heard);
}
"""

# From the first that hears of a key to after the last that hears of what it wrote, with the layout that follows.
LISTEN = """
() => {
  window.keys = [];
  let began = 0;
  window.addEventListener("keydown", () => { began = performance.now(); }, true);
  window.addEventListener("input", () => {
    void document.body.offsetHeight;
    window.keys.push(performance.now() - began);
  });
}
"""

COMPARE = f"""
import time
import beatra_nb as bn
bn.chat("Say hi.")
lanes = {{name: {{"model_options": {{"pace": 1 / {PACE}}}}} for name in "abcdefgh"[:{LANES}]}}
compare = bn.Compare("Write a text of {WORDS} words.", variants=lanes)
compare
"""
# As a press of the button: what a page asks begins the work beside the kernel.
PRESS = """
asked = {"ask": "run", "id": 1, "by": "page", "args": {"prompt": compare.prompt, "system": ""}}
message = {"method": "custom", "content": asked}
compare.widget.comm.handle_msg({"content": {"data": message}, "buffers": []})
"""
AT_THE_END = """
while compare.running:
    time.sleep(0.05)
time.sleep(2)  # the still follows
print([len(reply.text.encode()) for reply in compare.replies], flush=True)
"""


def middle(times: Sequence[float]) -> str:
    """Return the median in milliseconds."""
    return f"{statistics.median(times):.0f} ms"


# ── until it can be used ──


def open_notebook(browser: Browser, lab: Lab, name: str, cells: Sequence[str]) -> Notebook:
    """Open a notebook of its own, in a page of its own."""
    path = lab.work / f"{name}.ipynb"
    nbformat.write(make_notebook(cells), path)
    page = browser.new_page(viewport={"width": 1180, "height": 900})
    page.set_default_timeout(60_000)
    return Notebook(page, lab, path).open()


def close_notebook(book: Notebook) -> None:
    """End its kernel and close its page."""
    book.shut_down()
    book.page.close()


def opened(book: Notebook, index: int) -> tuple[float, float]:
    """Run a cell that shows a panel; return when it could be used, after the cell was done and after it was sent."""
    book.page.evaluate(WATCH)
    book.run(index)
    book.page.wait_for_function("() => bench.ready && bench.done")
    seen = book.page.evaluate("() => bench")
    return seen["ready"] - seen["done"], seen["ready"] - seen["sent"]


def opening(browser: Browser, lab: Lab) -> list[list[object]]:
    """Measure every kind of panel: the first of a kernel and a page, and further ones."""
    rows: list[list[object]] = []
    for kind in KINDS:
        firsts, others = [], []
        for number in range(ROUNDS):
            book = open_notebook(browser, lab, f"{kind}_{number}", [SETUP, f"bn.{kind}()"])
            book.run(0)
            first, *further = (opened(book, 1) for _ in range(1 + AGAIN))
            firsts.append(first)
            others += further
            close_notebook(book)
        for what, times in ((f"{kind}, the first", firsts), (f"{kind}, another", others)):
            after, whole = zip(*times, strict=True)
            mark = verdict(round(statistics.median(after)), READY_IN)
            rows.append([what, len(times), middle(after), f"{max(after):.0f} ms", middle(whole), mark])
    return rows


# ── typing ──


def typing(browser: Browser, lab: Lab) -> list[list[object]]:
    """Type into a builder's prompt, a row of a thousand behind it."""
    path = lab.work / "typing.ipynb"
    nbformat.write(make_notebook([SETUP, TABLE]), path)
    page = browser.new_page(viewport={"width": 1180, "height": 900})
    page.set_default_timeout(60_000)
    sent: list[int] = []

    def follow(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: sent.append(len(frame)))

    page.on("websocket", follow)
    book = Notebook(page, lab, path).open()
    book.run_all()
    area = page.locator(".bnp").get_by_label("Prompt", exact=True)
    area.click()
    page.keyboard.press("End")
    page.evaluate(LISTEN)
    rows = [typed(page, area, sent, name, pause) for name, pause in (("fast", 40), ("slow", 400))]
    close_notebook(book)
    return rows


def typed(page: Page, area: Locator, sent: list[int], name: str, pause: int) -> list[object]:
    """Type some words; return a row of the table."""
    area.page.wait_for_timeout(1000)  # what went before has been answered
    sent.clear()
    page.evaluate("() => { keys.length = 0 }")
    words = ("and name {interest} twice, in words that a child knows; " * 4)[:KEYS]
    page.keyboard.type(words, delay=pause)
    page.wait_for_timeout(1000)
    keys = page.evaluate("() => keys")
    assert len(keys) == KEYS, "not every key was heard"
    cost, each = statistics.median(keys), sum(sent) / KEYS
    marks = [verdict(cost, KEY_IN), verdict(each, KEY_BYTES)]
    return [
        f"{name}, {pause} ms apart",
        KEYS,
        f"{cost:.1f} ms",
        f"{max(keys):.1f} ms",
        f"{each:.0f} B",
        *marks,
    ]


# ── four at once ──


class Counter:
    """Counts what a kernel publishes about its panels, whichever cell it belongs to."""

    KINDS = ("comm_open", "comm_msg", "comm_close", "display_data", "update_display_data")

    def __init__(self, kernel: Kernel) -> None:
        where = kernel._manager.get_connection_info()
        self._socket = zmq.Context.instance().socket(zmq.SUB)
        self._socket.subscribe(b"")
        self._socket.connect(f"{where['transport']}://{where['ip']}:{where['iopub_port']}")
        self.messages = dict.fromkeys(self.KINDS, 0)
        self.bytes = dict.fromkeys(self.KINDS, 0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._count)
        self._thread.start()

    def _count(self) -> None:
        while not self._over.is_set():
            if not self._socket.poll(100):
                continue
            frames = self._socket.recv_multipart()
            kind = json.loads(frames[frames.index(b"<IDS|MSG>") + 2])["msg_type"]
            if kind in self.bytes:
                self.messages[kind] += 1
                self.bytes[kind] += sum(map(len, frames))

    def stop(self) -> None:
        """Count no more."""
        self._over.set()
        self._thread.join()
        self._socket.close(linger=0)


def answered(kernel: Kernel, times: int, pause: float) -> list[float]:
    """Return how long another cell takes, in milliseconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        kernel.run("1+1")
        took.append((time.perf_counter() - began) * 1000)
        time.sleep(pause)
    return took


def comparing() -> tuple[list[list[object]], list[list[object]]]:
    """Run a comparison of four lanes; return the tables of the other cells and of the bytes."""
    with tempfile.TemporaryDirectory() as home:
        marks = {"HOME": home, "BEATRA_HOME": os.path.join(home, "beatra")}
        marks |= {"BEATRA_MODE": "sandbox", "BEATRA_SANDBOX_ENGINE": "scripted"}
        with Kernel(watched=True, env=marks) as kernel:
            kernel.run(COMPARE)
            before = answered(kernel, ASIDE, 0.1)
            counter = Counter(kernel)
            try:
                kernel.run(PRESS)
                during = answered(kernel, ASIDE, 0.4)
                [said] = kernel.run("print(compare.running, flush=True)")
                assert said.content["text"] == "True\n", "it ended too early to be measured"
                [said] = kernel.run(AT_THE_END)
            finally:
                counter.stop()
    lengths: list[int] = ast.literal_eval(said.content["text"])
    text = sum(lengths)
    waits = [
        [name, len(times), middle(times), f"{max(times):.0f} ms", mark]
        for name, times, mark in (
            ("at rest", before, ""),
            ("while four answer", during, verdict(round(max(during)), ANSWERED_IN)),
        )
    ]
    sizes: list[list[object]] = [
        [kind, count, f"{counter.bytes[kind] / 1000:.0f} kB", f"{counter.bytes[kind] / text:.1f}", ""]
        for kind, count in counter.messages.items()
        if count
    ]
    whole, times = sum(counter.bytes.values()), sum(counter.bytes.values()) / text
    number = sum(counter.messages.values())
    sizes.append(
        ["all", number, f"{whole / 1000:.0f} kB", f"{times:.1f}", verdict(round(times, 1), TIMES_THE_TEXT)]
    )
    return waits, sizes


# ── all of it ──


def in_the_page(chromium: str) -> None:
    """Measure what takes a page, and print it."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder) / "home")
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        try:
            head = ["panel", "times", "median", "slowest", "since it was sent", "bound (median)"]
            show("In JupyterLab: from the end of the cell until it can be used", head, opening(browser, lab))
            head = ["typing", "keys", "median", "slowest", "sent a key", "bound (median)", "bound (bytes)"]
            show(f"PromptBuilder with {ROWS} rows: a key in the prompt", head, typing(browser, lab))
        finally:
            browser.close()
            lab.stop()


def main() -> None:
    """Measure and print the tables."""
    print(f"Load of this machine: {', '.join(f'{each:.1f}' for each in os.getloadavg())}")
    waits, sizes = comparing()
    show(
        f"Compare, {LANES} × {WORDS} tokens at {PACE} a second: another cell",
        ["1+1", "times", "median", "slowest", "bound (slowest)"],
        waits,
    )
    show(
        "The same: bytes at the kernel's output channel",
        ["messages", "count", "size", "times the text", "bound"],
        sizes,
    )
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        print("There is no Chromium on this machine.")
    else:
        in_the_page(chromium)


if __name__ == "__main__":
    main()
