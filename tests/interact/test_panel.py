"""What all panels share: questions and answers, work beside the kernel, the still, and an end without leftovers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb.core.errors import BeatraError, ConfigurationError, InvalidInput
from beatra_nb.display.widgets import ASSETS
from beatra_nb.interact import work
from beatra_nb.interact.panel import Panel
from beatra_nb.interact.trouble import trouble
from tests.display.kernel import Kernel
from tests.interact.probe import Probe


@pytest.fixture
def probe() -> Iterator[tuple[Probe, list[dict[str, Any]]]]:
    """A panel, and what its page is answered."""
    panel = Probe(client=bn.Client(mode="sandbox"))
    said: list[dict[str, Any]] = []

    class Answers:
        def answer(self, message: dict[str, Any], buffers: object = None) -> None:
            said.append(message)

        def close(self) -> None:
            pass

    panel._page = Answers()  # type: ignore[assignment] - the wire's end; the widget itself needs a kernel
    yield panel, said
    panel.close()


def ask(panel: Panel, name: str, number: int = 1, **more: Any) -> None:
    panel._heard({"ask": name, "id": number, "by": "page", "args": {}, **more}, [])


def test_a_question_is_answered_and_what_it_did_is_seen(probe: tuple[Probe, list[dict[str, Any]]]) -> None:
    panel, said = probe
    ask(panel, "add", args={"text": "hello"})
    assert said == [{"re": 1, "to": "page", "value": 5}]
    assert panel._doc["text"] == "hello"


def test_a_question_that_comes_by_two_ways_is_answered_once(
    probe: tuple[Probe, list[dict[str, Any]]],
) -> None:
    panel, said = probe
    for _ in range(2):
        ask(panel, "add", args={"text": "x"})
    assert panel._doc["text"] == "x"
    assert len(said) == 1


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("refuse", {}, "No."),
        ("break", {}, "ZeroDivisionError: a defect"),
        ("nothing_of_the_kind", {}, "does not know"),
        ("add", {}, "text"),
        ("add", {"text": "x", "more": 1}, "more"),
        ("add", [], "does not know"),
    ],
)
def test_what_goes_wrong_is_an_answer_and_no_crash(
    probe: tuple[Probe, list[dict[str, Any]]], name: str, args: Any, words: str
) -> None:
    panel, said = probe
    ask(panel, name, args=args)
    assert words in said[0]["error"]["message"]


@pytest.mark.parametrize("message", [{}, {"ask": 3}, {"ask": "add"}, {"ask": "add", "id": "1", "by": "p"}])
def test_a_message_of_another_shape_is_no_question(
    probe: tuple[Probe, list[dict[str, Any]]], message: dict[str, Any]
) -> None:
    panel, said = probe
    panel._heard(message, [])
    assert said == []


def test_an_awaited_question_is_heard_at_once_and_answered_at_its_end(
    probe: tuple[Probe, list[dict[str, Any]]],
) -> None:
    panel, said = probe
    ask(panel, "later")
    work.wait(_until(lambda: len(said) == 2))
    assert said == [{"re": 1, "to": "page", "heard": True}, {"re": 1, "to": "page", "value": "done"}]


def test_stop_ends_the_work_and_nothing_else_is_urgent(probe: tuple[Probe, list[dict[str, Any]]]) -> None:
    panel, said = probe
    ask(panel, "forever")
    work.wait(_until(lambda: panel._busy("forever")))
    ask(panel, "add", 2, args={"text": "x"}, token="by the control channel")
    assert len([each for each in said if each["re"] == 2]) == 0
    ask(panel, "stop", 3, token="by the control channel")
    work.wait(_until(lambda: panel._doc["text"] == "stopped"))
    assert said[-1] == {"re": 3, "to": "page", "value": True}


def test_a_closed_panel_says_so_and_is_quiet(probe: tuple[Probe, list[dict[str, Any]]]) -> None:
    panel, said = probe
    ask(panel, "forever")
    panel.close()
    panel.close()
    ask(panel, "add", 2, args={"text": "x"})
    assert [each for each in said if each["re"] == 2] == []
    with pytest.raises(ConfigurationError, match="closed"):
        _ = panel.widget


def test_whom_a_panel_begins_with_it_keeps() -> None:
    first = bn.connect(mode="sandbox")
    with Probe() as panel:
        bn.connect(api_key="sk-" + "0" * 32, base_url="http://127.0.0.1:9/v1")
        assert panel._base is first
        assert panel._twin.mode == "sandbox"


def test_a_panel_refuses_what_would_change_nothing() -> None:
    with Probe() as panel, pytest.raises(AttributeError, match="has no 'temperature' to set"):
        panel.temperature = 1


def test_two_threads_ask_one_after_the_other() -> None:
    inside: list[int] = []

    class Slow(Probe):
        def ask_wait(self) -> None:
            inside.append(1)
            assert inside == [1]
            over.wait(0.05)
            inside.pop()

    over = threading.Event()
    with Slow() as panel:
        threads = [threading.Thread(target=panel.ask_wait) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert inside == []


def test_work_that_ends_at_the_last_moment_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    class JustNow(concurrent.futures.Future[int]):
        def result(self, timeout: float | None = None) -> int:
            if timeout is not None:
                self.set_result(7)
                raise concurrent.futures.TimeoutError
            return super().result()

    monkeypatch.setattr(work, "begin", lambda job: (job.close(), JustNow())[1])
    assert work.wait(asyncio.sleep(0)) == 7


def test_a_client_that_is_collected_while_the_loop_is_asked_for_closes_its_twin() -> None:
    client = bn.Client(mode="sandbox")
    twin = work.twin(client)
    with work._lock:  # as while another panel begins
        del client
        gc.collect()
    work.wait(_until(lambda: twin._closed))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_a_loop_of_its_own() -> None:
    program = (
        "import asyncio, os, warnings; warnings.simplefilter('ignore')\n"
        "from beatra_nb.interact import work\n"
        "work.wait(asyncio.sleep(0))\n"
        "child = os.fork()\n"
        "if not child: work.wait(asyncio.sleep(0)); print('done', flush=True); os._exit(0)\n"
        "os.waitpid(child, 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "done\n", done.stderr


def test_the_client_must_be_one_that_can_be_doubled() -> None:
    with pytest.raises(InvalidInput, match="client must be"):
        Probe(client="sk-nothing")


def test_waiting_on_the_loop_itself_is_refused() -> None:
    async def waits() -> None:
        work.wait(asyncio.sleep(0))

    with pytest.raises(InvalidInput, match="wait for itself"):
        work.wait(waits())


def test_an_error_of_the_work_reaches_the_caller_without_the_other_thread() -> None:
    async def fails() -> None:
        raise InvalidInput("No.", hint="Do.")

    with pytest.raises(InvalidInput) as caught:
        work.wait(fails())
    assert len(caught.traceback) <= 3


def test_trouble_holds_words_alone() -> None:
    told = trouble(BeatraError("a\u202eb\ud800", hint="c"))
    assert "\u202e" not in told["message"]
    assert "\ud800" not in told["message"]
    assert all(isinstance(value, str | bool) for value in told.values())
    assert trouble(ValueError("<b>x</b>"))["message"] == "ValueError: <b>x</b>"


SHOW = "import beatra_nb as bn; bn.connect(mode='sandbox'); from tests.interact.probe import Probe; p = Probe(); p"


def test_a_page_gets_a_still_and_a_live_view_and_in_the_end_the_still_alone() -> None:
    with Kernel(watched=True) as kernel:
        said = kernel.run(SHOW)
        still, live = (
            one for one in said if one.kind == "display_data" and "sandbox" not in str(one.data)[:0]
        )
        assert 'class="bnp-still"' in still.data["text/html"]
        assert "application/vnd.jupyter.widget-view+json" in live.data
        assert live.data["text/plain"] == ""
        opened = next(one for one in said if one.kind == "comm_open" and "_esm" in str(one.content))
        assert opened.data["state"]["state"] == {"n": 0, "tree": {"text": "", "count": 0}}
        said = kernel.run("p.ask_add('hello'); p.close()")
        assert any(
            "hello" in str(one.data.get("text/html")) for one in said if one.kind == "update_display_data"
        )
        assert [one.kind for one in said if one.kind.startswith("comm_close")]


def test_where_nobody_looks_there_is_one_picture_and_no_widget() -> None:
    with Kernel(watched=False) as kernel:
        said = kernel.run(SHOW)
        assert [one.kind for one in said if one.kind.startswith("comm")] == []
        shown = [one for one in said if one.kind == "execute_result"]
        assert len(shown) == 1
        assert "Probe" in shown[0].data["text/plain"]


def test_a_component_weighs_less_than_the_rules_of_any_panel() -> None:
    # Every panel of a page brings the shared sheet along: it must not overrule what another panel has said.
    css = re.sub(r"/\*.*?\*/", "", (ASSETS / "panel.css").read_text("utf-8"), flags=re.S)
    selectors = [each.strip() for rule in re.findall(r"[^{};]+(?=\{)", css) for each in rule.split(",\n")]
    components = [each for each in selectors if re.search(r"\.bnp-(?!gone)", each)]
    assert len(components) > 50
    weights = {each: len(re.findall(r"\.bnp", re.sub(r":where\([^)]*\)", "", each))) for each in components}
    assert {each for each, weight in weights.items() if weight > 1 and "bnp-gone" not in each} == set()


def test_panels_leave_nothing_behind() -> None:
    threads = threading.active_count()
    client = bn.Client(mode="sandbox")
    panels = [Probe(client=client) for _ in range(20)]
    for panel in panels:
        panel.close()
    del panels, panel
    gc.collect()
    assert not [each for each in gc.get_objects() if issubclass(type(each), Probe)]
    assert threading.active_count() <= threads + 1


async def _until(holds: Any) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)
