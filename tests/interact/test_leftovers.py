"""Panels that come and go leave nothing behind: no comm, widget, task, thread or object, and no memory."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beatra_nb import sandbox
from tests.display.kernel import Kernel

pytestmark = pytest.mark.timeout(180)

ROUNDS = 100
WARM = 20  # rounds after which whatever is made once has been made
GROWTH = 5e6  # bytes

# A round makes two of each panel and closes them. Most hear one question of a page meanwhile; in every tenth round
# all are displayed, half of them do some work, and the other half are closed in the middle of it.
ROUND = """
import itertools
import beatra_nb as bn
from IPython.display import display

KINDS = (bn.ChatBox, bn.PromptBuilder, bn.Compare, bn.MusicStudio, bn.TaskBoard)
LONG = "Write a text of 2000 words."
numbers = itertools.count()

def hear(panel, ask, **args):
    asked = {"ask": ask, "id": next(numbers), "by": "page", "args": args}
    message = {"method": "custom", "content": asked}
    panel.widget.comm.handle_msg({"content": {"data": message}, "buffers": []})

def finish(chat, builder, compare, studio, board):
    chat.send("Say hi.")
    builder.run()
    compare.run("Say hi.")
    board.refresh()

def begin(chat, builder, compare, studio, board):
    hear(chat, "send", text=LONG)
    hear(builder, "run", rows=None)
    hear(compare, "run", prompt=LONG, system="")
    hear(studio, "create", press="once")
    hear(board, "refresh")

def round_(number):
    first, second = ([kind() for kind in KINDS] for _ in range(2))
    for each in (first, second):
        each[1].prompt = LONG if each is second else "Say hi."
        each[3].prompt = "rain on a tin roof"
    if number % 10 == 0:
        display(*first, *second)
        finish(*first)
        begin(*second)
    else:
        for panel in (*first, *second):
            hear(panel, "whole")
    for panel in (*first, *second):
        panel.close()
"""

# What is left, after what has been stopped has had a moment to end.
LEFT = """
import asyncio, contextlib, ctypes, gc, sys, threading, time
import comm, ipywidgets, psutil
from beatra_nb.interact import work
from beatra_nb.interact.document import Document
from beatra_nb.interact.panel import Panel

async def tasks():
    every = asyncio.all_tasks() - {asyncio.current_task()}
    return sorted(task.get_coro().__qualname__ for task in every)

def objects():
    gc.collect()
    kinds = (Panel, Document, ipywidgets.Widget)
    return sorted(type(each).__name__ for each in gc.get_objects() if issubclass(type(each), kinds))

def left():
    end = time.monotonic() + 15
    while time.monotonic() < end and (work.wait(tasks()) or objects()):
        time.sleep(0.05)
    # The loop's own pool is bounded, and grows while there is work for it.
    threads = [each.name for each in threading.enumerate() if not each.name.startswith("asyncio_")]
    found = {
        "comms": len(comm.get_comm_manager().comms),
        "widgets": len(ipywidgets.widgets.widget._instances),
        "tasks": work.wait(tasks()),
        "objects": objects(),
        "threads": sorted(threads),
    }
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # not every C library has it
            ctypes.CDLL(None).malloc_trim(0)  # what is free belongs to nobody
    return found | {"memory": psutil.Process().memory_info().rss}
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel that a page watches; the service is not in it, so that its memory is the panels' alone."""
    with sandbox.start(engine="scripted", faults=True, state=tmp_path / "state") as box:
        box.inject("task:stall", ROUNDS)  # songs are ordered, and none is composed
        env = {"BEATRA_BASE_URL": box.base_url, "BEATRA_API_KEY": box.api_key}
        with Kernel(watched=True, env={**os.environ, **env}) as made:
            yield made


def run_rounds(kernel: Kernel, numbers: range) -> dict[str, Any]:
    """Run rounds, ten in a cell; return what is left after the last."""
    for start in range(numbers.start, numbers.stop, 10):
        kernel.run(f"for number in range({start}, {start + 10}): round_(number)")
    [said] = kernel.run("print(left(), flush=True)")
    found: dict[str, Any] = ast.literal_eval(said.content["text"])
    return found


def test_a_thousand_panels_leave_nothing_behind(kernel: Kernel) -> None:
    kernel.run(ROUND + LEFT)
    before = run_rounds(kernel, range(WARM))
    after = run_rounds(kernel, range(WARM, ROUNDS))
    grown = after.pop("memory") - before.pop("memory")
    nothing: dict[str, Any] = {"comms": 0, "widgets": 0, "tasks": [], "objects": []}
    assert before == {**nothing, "threads": before["threads"]}
    assert after == before
    assert grown <= GROWTH, f"{grown / 1e6:.1f} MB more"
