"""The magics in a real kernel: shown once, kept as the value, explained, completed."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from beatra_nb.interact.magic_options import CHAT
from tests.display.kernel import PATIENCE, Kernel, Message
from tests.display.test_live import in_terminal

SCRIPTED = {"BEATRA_MODE": "sandbox", "BEATRA_SANDBOX_ENGINE": "scripted"}
STATIC = {"text/html", "text/markdown", "text/plain"}
WIDGET = "application/vnd.jupyter.widget-view+json"


class AskingKernel(Kernel):
    """A kernel that is also asked for completions and for help, as a front end asks."""

    def complete(self, code: str) -> list[str]:
        """Return what the code may become, as at the tab key."""
        found: list[str] = self._answer(lambda: self._client.complete(code, len(code)))["matches"]
        return found

    def pager(self, code: str) -> str:
        """Run a cell and return what it shows in the pager."""
        [page] = self._answer(lambda: self._client.execute(code))["payload"]
        return re.sub(r"\x1b\[\d*m", "", page["data"]["text/plain"])

    def _answer(self, ask: Callable[[], str]) -> dict[str, Any]:
        async def answer() -> dict[str, Any]:
            asked = ask()
            while True:
                message: dict[str, Any] = await self._client.get_shell_msg(timeout=PATIENCE)
                if message["parent_header"].get("msg_id") == asked:
                    content: dict[str, Any] = message["content"]
                    return content

        return self._do(asyncio.wait_for(answer(), PATIENCE))


def shown(said: list[Message]) -> list[Message]:
    return [one for one in said if one.kind in ("display_data", "execute_result")]


def kernel(*, watched: bool) -> Iterator[AskingKernel]:
    kernel = AskingKernel(watched=watched, env=SCRIPTED)
    try:
        kernel.run("%load_ext beatra_nb\nimport beatra_nb as bn\nname = 'Ada'")
        yield kernel
    finally:
        kernel.stop()


@pytest.fixture(scope="module")
def watched() -> Iterator[AskingKernel]:
    yield from kernel(watched=True)


@pytest.fixture(scope="module")
def unwatched() -> Iterator[AskingKernel]:
    yield from kernel(watched=False)


def test_an_answer_grows_once_and_is_the_value(watched: AskingKernel) -> None:
    said = watched.run("%%chat --into answer\nRepeat: {name} asks; again;")
    [first] = shown(said)
    assert WIDGET in first.data
    [last] = [one for one in said if one.kind == "update_display_data"]
    assert set(last.data) == STATIC
    assert "Ada" in last.data["text/plain"]
    assert "sandbox" in last.data["text/html"]
    [told] = watched.run("print(_ is answer is Out[max(Out)], type(_).__name__, In[-2].count('{name}'))")
    assert told.content["text"] == "True Reply 1\n"
    [again] = shown(watched.run("answer"))
    assert again.kind == "execute_result"


def test_what_goes_wrong_is_a_card_and_nothing_else(watched: AskingKernel) -> None:
    watched.run("answer = 'old'; 42")
    said = watched.run("%%chat --into answer --model no-such-model\nHi", fails=True)
    [error] = [one for one in said if one.kind == "error"]
    card = re.sub(r"\x1b\[\d+m", "", "\n".join(error.content["traceback"]))
    assert "no-such-model" in card
    assert "Request id" in card
    assert "Traceback" not in card
    assert "magics.py" not in card
    [said_again] = watched.run("print(answer, _)")
    assert said_again.content["text"] == "old 42\n"


def test_an_interrupt_is_the_verbs_own(watched: AskingKernel) -> None:
    began = threading.Event()

    def heard(message: Message) -> None:
        if message.kind == "comm_msg" and "text" in message.data.get("content", {}) and not began.is_set():
            began.set()  # words have come: they are interrupted in the middle
            threading.Thread(target=watched.interrupt).start()

    # It falls silent after some words, so that an interrupt cannot come too late.
    watched.run(
        "box = bn.sandbox.start(engine='scripted', faults=True); box.inject('stall:20')\n"
        "bn.connect(box.api_key, base_url=box.base_url, mode='live')"
    )
    said = watched.run("%%chat --into cut\nWrite a text of 90 words.", fails=True, heard=heard)
    [error] = [one for one in said if one.kind == "error"]
    assert error.content["ename"] == "Interrupted"
    [told, *_] = watched.run("print('cut' in globals(), bn.last().complete); bn.connect(mode='sandbox')")
    assert told.content["text"] == "False False\n"


def test_without_a_watcher_it_is_one_output(unwatched: AskingKernel) -> None:
    for code in ("%%chat\nHi {name}", "%chat Is it {name}?", "%%chat --no-stream\nHi", "%beatra"):
        said = [one for one in unwatched.run(code) if one.kind != "stream"]
        assert [set(one.data) for one in said] == [STATIC], code
    said = unwatched.run("reply = %chat Hi {name}\nreply")
    assert len(shown(said)) == 1


def test_a_song_is_one_output(unwatched: AskingKernel) -> None:
    said = unwatched.run('%%music --seconds 2 -m minimax-music-2.6 --title "{name}\'s tune"\nsolo piano')
    [one] = shown(said)
    assert "Ada's tune" in one.data["text/plain"]
    assert "<audio" in one.data["text/html"]
    [told] = unwatched.run("print(type(_).__name__, _.status)")
    assert told.content["text"] == "Task succeeded\n"


def test_help_and_completion(unwatched: AskingKernel) -> None:
    unwatched.run("class City(dict): pass\nshape = {}\ntalk = bn.Chat()\nbn.models();")
    told = unwatched.pager("%%chat?")
    assert told.startswith("Docstring:\nAsk a model")
    assert all(f"{option.long} {option.example}".strip() in told for option in CHAT.options)
    assert "%beatra journal" in unwatched.pager("%beatra?")
    assert unwatched.complete("%%chat --ma") == ["--max-tokens"]
    assert unwatched.complete("%%chat --model sandbox-sc") == ["sandbox-scripted"]
    assert unwatched.complete("x = 1\n%chat --chat ") == ["talk"]
    assert unwatched.complete("%%music --model s") == ["suno-5.5"]
    assert unwatched.complete("%%chat --schema s") == ["shape"]
    assert unwatched.complete("%%cha") == ["%%chat"]


def test_in_a_terminal_it_is_written_once() -> None:
    code = "%load_ext beatra_nb\n%chat Repeat: only-once?\n"
    cells = f"for cell in {code.splitlines()!r}: get_ipython().run_cell(cell, store_history=True)"
    argv = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "-c", cells]
    written = in_terminal(argv, **SCRIPTED)
    assert written.count("only-once") == 1
    assert "request id req_" in written
