"""Interrupting for real: SIGINT to a kernel and to a script, in the middle of a call.

The clock is the machine's monotonic one, which a test and the process it interrupts share: the signal's time is
taken here, the end of the call there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from typing import Any

import jupyter_client.manager
import pytest

import beatra_nb as bn
from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox import Seen as Call

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

WORDS, PACE = 200, 0.04
CALL = f"'Write {WORDS} words', model_options={{'pace': {PACE}}}"
WHOLE = WORDS * PACE  # how long the server works if nobody stops it
INTO = 0.4  # how far into the call the signal comes
PROMPT = f"Write {WORDS} words"
OPTIONS: dict[str, Any] = {"model_options": {"pace": PACE}}


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    """A sandbox that remembers what it has seen."""
    with bn.sandbox.start(engine="scripted", faults=True) as sandbox:
        yield sandbox


def wait_for(true: Callable[[], bool], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


def call_under_way(box: Sandbox, since: int) -> None:
    wait_for(lambda: len(box.seen) > since, "the call to reach the server")
    time.sleep(INTO)


def assert_server_stopped(box: Sandbox, since: int) -> Call:
    """The server has put the work down long before its end: nobody listened any more."""
    ledger = box._server._service.ledger
    wait_for(lambda: not ledger._at_work, "the server to stop", seconds=WHOLE / 2)
    (call,) = box.seen[since:]
    assert call.effect is False
    return call


class Kernel:
    """A real kernel, as a notebook uses it."""

    def __init__(self, box: Sandbox) -> None:
        environment = {**os.environ, "BEATRA_API_KEY": box.api_key, "BEATRA_BASE_URL": box.base_url}
        self.manager, self.client = jupyter_client.manager.start_new_kernel(env=environment)

    def begin(self, code: str) -> str:
        return str(self.client.execute(textwrap.dedent(code)))

    def end(self, cell: str) -> tuple[str, dict[str, Any]]:
        """Return what a cell printed and displayed, and its reply."""
        shown: list[str] = []
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != cell:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    shown.append(content["text"])
                case "display_data" | "execute_result" | "update_display_data":
                    shown.append(content["data"].get("text/plain", ""))
                case "error":
                    shown += content["traceback"]
                case "status" if content["execution_state"] == "idle":
                    break
        while True:
            reply = self.client.get_shell_msg(timeout=60)
            if reply["parent_header"].get("msg_id") == cell:
                return "\n".join(shown), reply["content"]

    def run(self, code: str) -> str:
        shown, reply = self.end(self.begin(code))
        assert reply["status"] == "ok", shown
        return shown

    def interrupt(self) -> float:
        at = time.monotonic()
        self.manager.interrupt_kernel()
        return at

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture(scope="module")
def kernel(box: Sandbox) -> Iterator[Kernel]:
    """One kernel for all tests."""
    kernel = Kernel(box)
    kernel.run("import json, time\nimport beatra_nb as bn\nbn.chat('Hi')")
    yield kernel
    kernel.stop()


TRY = """
    try:
        {}
    except BaseException as stop:
        ended = time.monotonic()
        last = bn.last()
        print(json.dumps({{
            "ended": ended,
            "kind": [each.__name__ for each in type(stop).__mro__],
            "hint": getattr(stop, "hint", None),
            "text": last.text,
            "complete": last.complete,
            "cut_by": last.cut_by,
            "held": getattr(stop, "reply", None) is last,
            "key": getattr(stop, "idempotency_key", None),
            "row": [bn.journal()[0].status, bn.journal()[0].idempotency_key],
        }}))
"""
WAYS = {
    "watched": f"bn.chat({CALL}, stream=True)",
    "iterated": f"''.join(bn.stream({CALL}))",
    "plain": f"bn.chat({CALL})",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_kernel_is_back_within_a_second(kernel: Kernel, box: Sandbox, way: str) -> None:
    whole_before = kernel.run("print(bn.chat('Repeat: before'))").strip()
    since = len(box.seen)
    cell = kernel.begin(TRY.format(WAYS[way]))
    call_under_way(box, since)
    at = kernel.interrupt()
    shown, reply = kernel.end(cell)
    assert reply["status"] == "ok", shown
    told = json.loads(shown.strip().splitlines()[-1])
    assert told["ended"] - at < 1
    assert "Interrupted" in told["kind"]
    assert "KeyboardInterrupt" in told["kind"]
    call = assert_server_stopped(box, since)
    assert told["row"] == ["interrupted", call.idempotency_key]
    assert told["key"] == call.idempotency_key
    if way == "plain":
        assert told["text"] == whole_before, "nothing had come: what was there stays"
        assert repr(call.idempotency_key) in told["hint"], "says how not to pay twice"
    else:
        assert told["held"]
        assert told["text"]
        assert (told["complete"], told["cut_by"]) == (False, "you stopped it")
        assert "bn.last()" in told["hint"]


def test_the_card_and_the_partial_answer_are_shown(kernel: Kernel, box: Sandbox) -> None:
    since = len(box.seen)
    cell = kernel.begin(WAYS["watched"])
    call_under_way(box, since)
    kernel.interrupt()
    shown, reply = kernel.end(cell)
    assert reply["status"] == "error"
    assert reply["ename"] in ("Interrupted", "KeyboardInterrupt")
    partial = kernel.run("print(bn.last().text)").strip()
    assert partial
    assert partial.split()[0] in shown
    assert "httpcore" not in shown, "no frames of the client library"


def test_the_cell_is_run_again_and_the_conversation_is_as_if_nothing_had_been(
    kernel: Kernel, box: Sandbox
) -> None:
    kernel.run("talk = bn.Chat(); talk.send('Hi')")
    since = len(box.seen)
    cell = kernel.begin(f"talk.send({CALL}, stream=True)")
    call_under_way(box, since)
    kernel.interrupt()
    kernel.end(cell)
    assert kernel.run("print(len(talk))").strip() == "1"
    cell = kernel.begin(f"talk.send({CALL}, stream=True)")  # the cell is run again
    call_under_way(box, since + 1)
    kernel.interrupt()
    kernel.end(cell)
    first, second = box.seen[since:]
    assert first.idempotency_key == second.idempotency_key
    assert not first.effect
    assert not second.replayed, "the work was put down, so it was begun anew"


def test_an_awaited_call_in_a_kernel(kernel: Kernel, box: Sandbox) -> None:
    kernel.run("await bn.achat('Hi')")
    since = len(box.seen)
    cell = kernel.begin(
        f"""
        try:
            await bn.achat({CALL}, stream=True)
        finally:
            ended = time.monotonic()
        """
    )
    call_under_way(box, since)
    at = kernel.interrupt()
    shown, reply = kernel.end(cell)
    assert reply["status"] == "error"
    assert "You stopped the answer after" in shown
    assert "Traceback" not in shown, "our words, and not the frames of a coroutine that was cancelled"
    told = json.loads(kernel.run("print(json.dumps([ended, bn.last().text, bn.last().complete]))"))
    assert told[0] - at < 1
    assert told[1]
    assert told[2] is False
    assert_server_stopped(box, since)


def test_an_awaited_batch_in_a_kernel(kernel: Kernel, box: Sandbox) -> None:
    since = len(box.seen)
    cell = kernel.begin(
        f"await bn.amap(['Repeat: one', {PROMPT!r}], '{{x}}', model_options={{'pace': {PACE}}})"
    )
    wait_for(lambda: len(box.seen) > since + 1, "both rows to reach the server")
    time.sleep(INTO)
    kernel.interrupt()
    shown, reply = kernel.end(cell)
    assert reply["status"] == "error"
    assert "1 row is answered, all of them kept" in shown
    assert "bn.last_batch()" in shown
    assert "Traceback" not in shown
    assert kernel.run("print(bn.last_batch().texts[0])").strip() == "one"


@pytest.mark.parametrize("way", WAYS)
def test_a_script_is_back_within_a_second(box: Sandbox, way: str) -> None:
    script = "import json, time\nimport beatra_nb as bn\nbn.chat('Repeat: before')\n"
    script += textwrap.dedent(TRY.format(WAYS[way]))
    since = len(box.seen)
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "BEATRA_API_KEY": box.api_key, "BEATRA_BASE_URL": box.base_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(lambda: len(box.seen) > since + 1, "the call to reach the server")
        time.sleep(INTO)
        at = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    told = json.loads(out.strip().splitlines()[-1])
    assert told["ended"] - at < 1, err
    assert "Interrupted" in told["kind"]
    call = assert_server_stopped(box, since + 1)
    assert told["row"] == ["interrupted", call.idempotency_key]
    assert (told["text"] == "before") is (way == "plain")
    assert told["complete"] is (way == "plain")


def test_a_script_that_does_not_catch_it_ends_as_an_interrupted_one(box: Sandbox) -> None:
    since = len(box.seen)
    with subprocess.Popen(
        [sys.executable, "-c", f"import beatra_nb as bn\nbn.chat({CALL})"],
        env={**os.environ, "BEATRA_API_KEY": box.api_key, "BEATRA_BASE_URL": box.base_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        call_under_way(box, since)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130, 1)
    assert "Interrupted: You stopped the call" in err
    assert "httpcore" not in err, "no frames of the client library"


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address where connecting waits: a listener whose queue is full, and who takes nobody in."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


@pytest.mark.parametrize("when", ["during a pause between two attempts", "while connecting"])
def test_other_moments(box: Sandbox, deaf: str, when: str) -> None:
    since = len(box.seen)
    pausing = when.startswith("during")
    if pausing:
        box.inject("429:retry_after=20")
    script = f"""
        import time
        import beatra_nb as bn
        client = bn.connect(base_url={None if pausing else deaf!r})
        print("ready", flush=True)
        try:
            client.chat("Hi")
        except bn.Interrupted:
            print(time.monotonic())
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "BEATRA_API_KEY": box.api_key, "BEATRA_BASE_URL": box.base_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if pausing:
            wait_for(lambda: len(box.seen) > since, "the call to reach the server")
        time.sleep(INTO)
        at = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert out, err
    assert float(out) - at < 1
    assert len(box.seen) - since == int(pausing), "and nothing is sent after it"


# ── the same, awaited: cancellation ──


@pytest.mark.parametrize("how", ["plain", "watched", "iterated", "timeout"])
async def test_cancelling(box: Sandbox, how: str) -> None:
    client = bn.AsyncClient(box.api_key, base_url=box.base_url)
    since = len(box.seen)

    async def work() -> None:
        if how == "iterated":
            async for _ in client.stream(PROMPT, **OPTIONS):
                pass
        else:
            await client.chat(PROMPT, stream=how != "plain", **OPTIONS)

    if how == "timeout":
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(INTO):
                await work()
        assert not isinstance(caught.value, bn.BeatraError), (
            "the caller's own time-out stays the caller's own"
        )
    else:
        task = asyncio.create_task(work())
        while len(box.seen) == since:
            await asyncio.sleep(0.01)
        await asyncio.sleep(INTO)
        at = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - at < 1
        assert task.cancelled()
    if how == "plain":
        assert client.last is None
    else:
        assert client.last is not None
        assert (client.last.complete, client.last.cut_by) == (False, "it was cancelled")
        assert client.last.text
    await asyncio.to_thread(assert_server_stopped, box, since)
    assert bn.journal()[0].status == "interrupted"
    assert (await client.chat("Hi")).complete, "the client goes on working"
    await client.close()
