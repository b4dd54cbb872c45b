"""Jobs and uploads while they are under way, seen from the kernel: what is sent to whom, and how Cancel comes in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from beatra_nb.core.media import Artifact
from beatra_nb.core.task import Progress
from beatra_nb.display import live_task, task_widget
from tests.display.gallery import TASK_ID, hostile_task, task
from tests.display.kernel import Kernel, Message
from tests.display.test_live import STATIC, WIDGET, in_terminal, shown

SETUP = """
import asyncio, threading, time
from IPython.display import display
from beatra_nb.core.media import Artifact
from beatra_nb.display import live_task
from tests.display.gallery import task, task_wire
def at(percent, stage="composing", **more):
    return task("running", progress={"percent": percent, "stage": stage, "message": "Take 1"}, **more)
"""
DONE = "done = task(); view.finish(done)"


def kernel(*, watched: bool) -> Iterator[Kernel]:
    made = Kernel(watched=watched, env={"PYTHONPATH": os.getcwd()})
    made.run(SETUP)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def watched() -> Iterator[Kernel]:
    yield from kernel(watched=True)


@pytest.fixture(scope="module")
def unwatched() -> Iterator[Kernel]:
    yield from kernel(watched=False)


def sent(said: list[Message]) -> list[dict[str, Any]]:
    """What the widget was sent, in order."""
    return [one.data["content"] for one in said if one.kind == "comm_msg" and "content" in one.data]


def opened(said: list[Message]) -> dict[str, Any]:
    """What the widget began with."""
    states = [one.data["state"] for one in said if one.kind == "comm_open"]
    return next(state for state in states if "by_hand" in state)


class TestWatched:
    def test_a_card_follows_the_job_and_the_static_view_takes_its_place(self, watched: Kernel) -> None:
        said = watched.run(
            "view = live_task.task_painter(sandbox=True)\n"
            "for percent in (0, 40, 80): view.update(at(percent)); view.wait_cancel(0.3)\n"
            "view.note('downloading take 1 of 2'); view.wait_cancel(0.3)\n" + DONE
        )
        [first] = shown(said)
        assert WIDGET in first.data
        assert first.data["text/plain"] == task_widget.WAITING, "no memory address"
        assert opened(said)["state"]["sandbox"] is True
        assert all(message.get("state", {}).get("sandbox", True) for message in sent(said)), "it stays said"
        states: dict[str, Any] = {}
        seen = []
        for message in sent(said):
            states |= message.get("state", {})
            seen.append((states.get("percent"), states.get("note")))
        assert [percent for percent, _ in seen] == sorted(percent or 0 for percent, _ in seen)
        assert seen[-1] == (80, "downloading take 1 of 2")
        assert (states["title"], states["stage"], states["message"]) == ("City Lights", "composing", "Take 1")
        assert states["facts"] == ["auto → suno-5.5", "80 credits"]
        assert [label for label, _ in states["ids"]] == ["task", "request id"]
        assert sent(said)[-1] == {"end": "The music is ready: 2 takes."}
        [last] = [one for one in said if one.kind == "update_display_data"]
        assert set(last.data) == STATIC
        assert last.data["text/html"].count("<audio controls") == 2
        assert last.content["transient"] == first.content["transient"]
        order = [one.kind for one in said]
        assert order.index("update_display_data") < order.index("comm_close")

    def test_a_task_of_a_cassette_says_so_while_it_runs(self, watched: Kernel) -> None:
        said = watched.run(
            "from datetime import UTC, datetime\n"
            "view, song = live_task.task_painter(sandbox=False), at(40)\n"
            "song.recorded = datetime(2026, 11, 23, tzinfo=UTC)\n"
            "view.update(song); view.wait_cancel(0.3); view.drop()"
        )
        assert sent(said)[0]["state"]["recorded"] == "recorded 2026-11-23"

    def test_a_note_passes_with_the_next_update(self, watched: Kernel) -> None:
        said = watched.run(
            "view = live_task.task_painter(sandbox=False)\n"
            "view.update(at(1)); view.wait_cancel(0.4); view.note('connection lost'); view.wait_cancel(0.4)\n"
            "view.update(at(2)); view.wait_cancel(0.4); view.drop()"
        )
        notes = [message["state"]["note"] for message in sent(said) if "note" in message["state"]]
        assert notes[-2:] == ["connection lost", ""]

    def test_a_flood_of_updates_is_a_few_messages_of_what_changed(self, watched: Kernel) -> None:
        said = watched.run(
            "view = live_task.task_painter(sandbox=False)\nbegan = time.monotonic()\n"
            "while (passed := time.monotonic() - began) < 2: view.update(at(passed * 50))\nview.drop()"
        )
        messages = sent(said)
        assert 3 <= len(messages) <= 9, "at most four a second"
        assert all(set(message["state"]) <= {"percent", "elapsed"} for message in messages[1:])

    def test_dropping_takes_the_card_away(self, watched: Kernel) -> None:
        said = watched.run("view = live_task.task_painter(sandbox=True)\nview.drop()")
        [last] = [one for one in said if one.kind == "update_display_data"]
        assert last.data == {"text/plain": ""}

    def test_nothing_stays_behind(self, watched: Kernel) -> None:
        watched.run("view = live_task.task_painter(sandbox=True); view.update(at(3))\n" + DONE)
        [said] = watched.run(
            "from ipywidgets.widgets.widget import _instances\nfrom beatra_nb.display import cancelling\n"
            "names = [one.name for one in threading.enumerate() if one.name == 'beatra-live']\n"
            "print(len(_instances), names, cancelling._hearers)"
        )
        assert said.content["text"] == "0 [] {}\n"

    def test_what_was_painted_is_not_shown_again_as_the_cells_value(self, watched: Kernel) -> None:
        make = "view = live_task.task_painter(sandbox=True)\n" + DONE
        assert len(shown(watched.run(f"{make}\ndone"))) == 1
        [again] = shown(watched.run("done"))
        assert set(again.data) == STATIC
        assert len(shown(watched.run(f"{make}\ndisplay(done)\ndone"))) == 2

    def test_a_broken_card_costs_neither_the_job_nor_its_view(self, watched: Kernel) -> None:
        said = watched.run(
            "from beatra_nb.display.task_widget import LiveTask\n"
            "def broken(self, *args): raise OSError('no such page')\n"
            "kept, LiveTask.show = LiveTask.show, broken\n"
            "view = live_task.task_painter(sandbox=True)\n"
            "for percent in (1, 2, 3): view.update(at(percent)); view.note('x'); view.wait_cancel(0.1)\n"
            f"{DONE}\nLiveTask.show = kept"
        )
        assert (
            len([one for one in shown(said) if set(one.data) == STATIC and "<audio" in one.data["text/html"]])
            == 1
        )
        assert len([one for one in shown(said) if "OSError" in one.data["text/plain"]]) == 1


class TestCancel:
    """A press of Cancel reaches a cell that waits without giving the kernel a chance to read its messages."""

    WAIT = (
        "view = live_task.task_painter(sandbox=True); view.update(at(10))\n"
        "began = time.monotonic()\n"
        "print(view.wait_cancel(20), view.cancel_asked(), time.monotonic() - began < 15)\nview.drop()"
    )

    def test_by_the_control_channel_while_a_cell_waits(self, watched: Kernel) -> None:
        tokens: list[str] = []

        def press(message: Message) -> None:
            if message.kind == "comm_open" and "token" in message.data["state"]:
                tokens.append(message.data["state"]["token"])
            if message.kind == "comm_msg" and tokens:
                watched.tell("beatra_cancel_request", {"token": tokens[0]})

        said = watched.run(self.WAIT, heard=press)
        assert "".join(one.content["text"] for one in said if one.kind == "stream") == "True True True\n"
        assert len(tokens[0]) >= 32, "nobody guesses it"

    @pytest.mark.parametrize(
        "content", [{}, {"token": ""}, {"token": "other"}, {"token": ["x"]}, {"token": None}]
    )
    def test_a_message_without_the_token_does_nothing(self, watched: Kernel, content: object) -> None:
        def press(message: Message) -> None:
            if message.kind == "comm_open":
                watched.tell("beatra_cancel_request", content)

        said = watched.run(
            "view = live_task.task_painter(sandbox=True); print(view.wait_cancel(0.5)); view.drop()",
            heard=press,
        )
        assert [one.content["text"] for one in said if one.kind == "stream"] == ["False\n"]

    def test_by_the_widgets_own_way_while_the_kernel_listens(self, watched: Kernel) -> None:
        said = watched.run(
            "view = live_task.task_painter(sandbox=True)\n"
            "for content in (None, {}, {'cancel': 'yes'}):\n"
            "    view._inner._widget._handle_custom_msg(content, []); assert not view.cancel_asked()\n"
            "view._inner._widget._handle_custom_msg({'cancel': True}, [])\n"
            "print(view.cancel_asked(), view.wait_cancel(10)); view.drop()"
        )
        assert [one.content["text"] for one in said if one.kind == "stream"] == ["True True\n"]

    def test_a_kernel_without_a_control_channel_gets_no_button(self, watched: Kernel) -> None:
        said = watched.run(
            "kernel = get_ipython().kernel\nkept = kernel.control_handlers\n"
            "kernel.control_handlers = None\n"
            "try: live_task.task_painter(sandbox=True).drop()\nfinally: kernel.control_handlers = kept"
        )
        assert opened(said)["token"] == ""
        assert "interrupt the kernel" in opened(said)["by_hand"]

    def test_an_interrupt_ends_the_waiting(self, watched: Kernel) -> None:
        import threading

        timer = threading.Timer(0.7, watched.interrupt)
        timer.start()
        began = time.monotonic()
        said = watched.run(
            "view = live_task.task_painter(sandbox=True)\ntry: view.wait_cancel(30)\nfinally: view.drop()",
            fails=True,
        )
        timer.join()
        assert [one.content["ename"] for one in said if one.kind == "error"] == ["KeyboardInterrupt"]
        assert time.monotonic() - began < 15


class TestUploads:
    def test_a_short_one_is_not_shown(self, watched: Kernel) -> None:
        said = watched.run(
            "view = live_task.upload_painter('a.mp3', 10)\nview.progress(5); view.progress(10)\n"
            "view.finish(Artifact('art_1'))"
        )
        assert said == []

    def test_a_long_one_tells_percent_speed_and_time_left(self, watched: Kernel) -> None:
        said = watched.run(
            "view = live_task.upload_painter('a.mp3', 20_000_000)\nsent = 0\n"
            "for _ in range(75): sent += 100_000; view.progress(sent); time.sleep(0.02)\n"
            "view.finish(Artifact('art_1'))"
        )
        begin = opened(said)
        assert begin["state"]["title"] == "Uploading a.mp3"
        assert begin["token"] == "", "nothing to cancel on the service: interrupting stops it"
        states = [begin["state"], *(message["state"] for message in sent(said) if "state" in message)]
        assert 3 <= len(states) <= 8
        percents = [state["percent"] for state in states]
        assert percents == sorted(percents)
        for state in states:
            import re

            assert re.fullmatch(
                r"[\d.]+ [kM]B of 20\.0 MB · [\d.]+ [kM]B/s · \d+ s left", state["message"]
            ), state
        assert sent(said)[-1] == {"end": "The upload is done."}
        [last] = [one for one in said if one.kind == "update_display_data"]
        assert last.data == {"text/plain": ""}, "the artifact shows itself"

    def test_unwatched_nothing_is_shown(self, unwatched: Kernel) -> None:
        said = unwatched.run(
            "view = live_task.upload_painter('a.mp3', 10)\ntime.sleep(0.6); view.progress(5); view.drop()"
        )
        assert said == []


class TestUnwatched:
    def test_one_display_when_it_is_over(self, unwatched: Kernel) -> None:
        said = unwatched.run(
            "view = live_task.task_painter(sandbox=True)\nview.update(at(10)); view.note('x')\n"
            f"print(view.wait_cancel(0.1), view.cancel_asked())\n{DONE}\ndone"
        )
        assert [one.kind for one in said] == ["stream", "display_data"]
        assert said[0].content["text"] == "False False\n"
        assert set(said[1].data) == STATIC

    def test_widgets_are_not_even_loaded(self, unwatched: Kernel) -> None:
        [said] = unwatched.run("import sys; print('anywidget' in sys.modules)")
        assert said.content["text"] == "False\n"


TERMINAL = """
import time
from tests.display.gallery import hostile_task, task
from beatra_nb.core.media import Artifact
from beatra_nb.display import live_task
view = live_task.task_painter(sandbox=True)
for stage in ("", "planning", "composing", "composing"):
    view.update(task("running" if stage else "queued", progress={"percent": 1, "stage": stage}))
view.note("connection lost")
view.finish(task())
upload = live_task.upload_painter("a.mp3", 10_000_000)
upload.progress(1); time.sleep(0.55); upload.progress(2); upload.progress(3)
upload.finish(Artifact("art_1"))
print("[after]")
"""


class TestTerminal:
    def test_a_line_for_each_stage_and_one_for_the_end(self) -> None:
        written = in_terminal(
            [sys.executable, "-c", TERMINAL], PYTHONIOENCODING="utf-8", PYTHONPATH=os.getcwd()
        )
        lines = written.splitlines()
        assert lines[0] == f"queued · auto → suno-5.5 · 80 credits · task {TASK_ID}"
        assert lines[1:3] == ["planning …", "composing …"]
        assert lines[3].startswith("── succeeded · 2 takes · auto → suno-5.5 · 80 credits · task task_")
        assert lines[4] == "Uploading a.mp3 (10.0 MB) …"
        assert lines[5].startswith("── uploaded · ")
        assert lines[5].endswith(" · artifact art_1")
        assert lines[6:] == ["[after]"]

    def test_nothing_steers_the_terminal(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("BEATRA_DISPLAY", "live")
        evil = "\x1b[2J\x1b]0;t\x07\u202e\r\nx\ud800"
        view = live_task.task_painter(sandbox=True)
        for status in ("queued", "running", evil):
            view.update(hostile_task(evil, status))
        view.finish(hostile_task(evil))
        upload = live_task.upload_painter(evil, 10)
        upload.progress(3)
        upload.finish(Artifact(evil))
        written = capsys.readouterr().out
        assert written.count("\n") >= 3
        assert not set(written) & {"\x1b", "\x07", "\u202e", "\r"}

    def test_a_pipe_gets_nothing(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", TERMINAL],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        assert done.stdout == "[after]\n"

    def test_a_broken_stdout_does_not_break_the_job(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BEATRA_DISPLAY", "live")
        with open(os.devnull, "w") as closed:
            pass
        monkeypatch.setattr(sys, "stdout", closed)
        view = live_task.task_painter(sandbox=False)
        view.update(task("running"))
        view.note("x")
        assert view.wait_cancel(0.01) is False
        view.finish(task())


class TestState:
    def test_a_state_is_plain_data_whatever_the_task_holds(self) -> None:
        import json

        from beatra_nb.display import tasks

        for status in ("queued", "running", "succeeded", "failed", "canceled", "odd"):
            state = tasks.live_state(hostile_task("\ud800\x1b\u202e<b>", status))
            text = json.dumps(state, allow_nan=False)
            text.encode()
            assert not set("".join(json.loads(text)["facts"])) & {"\x1b", "\u202e", "\ud800"}

    @pytest.mark.parametrize("percent", [None, float("nan"), float("inf"), -1, 101, True, "x"])
    def test_a_percent_that_is_none_is_not_known(self, percent: Any) -> None:
        from beatra_nb.display import tasks

        made = task("running")
        made.progress = Progress(percent, "composing")
        assert tasks.live_state(made)["percent"] is None


def test_what_a_live_card_brings_along_is_small() -> None:
    assert len(task_widget.module_text().encode()) <= 25_000
    assert len(task_widget.style_text().encode()) <= 5_000
    assert "://" not in task_widget.style_text()


def test_the_module_is_light() -> None:
    code = (
        "import sys\nfrom beatra_nb.display import live_task\n"
        "print([name for name in ('IPython', 'ipywidgets', 'anywidget', 'httpx', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
