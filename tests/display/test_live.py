"""Live answers, seen from the kernel: what is sent to whom, and that nothing is shown twice."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbclient import NotebookClient

from beatra_nb.core.reply import Reply, Usage
from beatra_nb.display import live, live_widget
from beatra_nb.display.clean import Cleaner
from beatra_nb.display.watching import Surroundings, look_around, surface
from tests.display.kernel import Kernel, Message

SCRIPTED = {"BEATRA_MODE": "sandbox", "BEATRA_SANDBOX_ENGINE": "scripted"}
CALL = "bn.chat('Write a text of 60 words.', stream=True, model_options={'pace': 0.005})"
STATIC = {"text/html", "text/markdown", "text/plain"}
WIDGET = "application/vnd.jupyter.widget-view+json"


def shown(said: list[Message]) -> list[Message]:
    return [one for one in said if one.kind in ("display_data", "execute_result")]


def kinds(said: list[Message]) -> set[str]:
    return {one.kind for one in said}


class TestWhoIsLooking:
    @pytest.mark.parametrize(
        ("around", "expected"),
        [
            (Surroundings(kernel=True, ipython=True, session="a.ipynb"), "page"),
            (Surroundings(kernel=True, ipython=True, marks=frozenset({"vscode"})), "page"),
            (Surroundings(kernel=True, ipython=True, marks=frozenset({"colab"})), "page"),
            (Surroundings(kernel=True, ipython=True), "once"),
            (Surroundings(kernel=True, ipython=True, choice="live"), "page"),
            (Surroundings(kernel=True, ipython=True, session="a.ipynb", choice="static"), "once"),
            (Surroundings(ipython=True, tty=True), "terminal"),
            (Surroundings(ipython=True, tty=True, choice="static"), "once"),
            (Surroundings(ipython=True), "nowhere"),
            (Surroundings(tty=True), "terminal"),
            (Surroundings(tty=True, choice="static"), "nowhere"),
            (Surroundings(), "nowhere"),
            (Surroundings(choice="live"), "terminal"),
            # A terminal inside VS Code is still a terminal.
            (Surroundings(tty=True, marks=frozenset({"vscode"})), "terminal"),
        ],
    )
    def test_where_an_answer_is_shown(self, around: Surroundings, expected: str) -> None:
        assert surface(around) == expected

    def test_the_environment_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
        monkeypatch.setenv("BEATRA_DISPLAY", "live")
        around = look_around()
        assert (around.session, around.choice, around.kernel) == ("a.ipynb", "live", False)

    def test_a_closed_stdout_is_no_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with open(os.devnull, "w") as closed:
            pass
        monkeypatch.setattr(sys, "stdout", closed)
        assert look_around().tty is False


@pytest.fixture(scope="module")
def watched() -> Iterator[Kernel]:
    kernel = Kernel(watched=True, env=SCRIPTED)
    kernel.run(
        "import asyncio, beatra_nb as bn\nfrom IPython.display import display\nfrom beatra_nb.display import live"
    )
    yield kernel
    kernel.stop()


@pytest.fixture(scope="module")
def unwatched() -> Iterator[Kernel]:
    kernel = Kernel(watched=False, env=SCRIPTED)
    kernel.run(
        "import asyncio, beatra_nb as bn\nfrom IPython.display import display\nfrom beatra_nb.display import live"
    )
    yield kernel
    kernel.stop()


class TestWatched:
    def test_deltas_travel_and_the_static_view_takes_the_widgets_place(self, watched: Kernel) -> None:
        said = watched.run(f"reply = {CALL.replace('0.005', '0.02')}")
        [first] = shown(said)
        assert WIDGET in first.data
        assert first.data["text/plain"] == live_widget.WAITING, "no memory address"
        [last] = [one for one in said if one.kind == "update_display_data"]
        assert set(last.data) == STATIC
        assert last.content["transient"] == first.content["transient"]
        messages = [one.data["content"] for one in said if one.kind == "comm_msg"]
        pieces = [one["text"] for one in messages if "text" in one]
        assert messages[-1] == {"end": "complete"}
        assert 3 <= len(pieces) <= 60, f"gathered by time: {len(pieces)}"
        [text] = watched.run("print(reply.text, end='')")
        assert text.content["text"].startswith("".join(pieces)), "each delta is sent once"
        order = [one.kind for one in said]
        assert order.index("update_display_data") < order.index("comm_close")

    @pytest.mark.parametrize("begin", ["bn.record('a.cassette')", "bn.replay('a.cassette', speed=0)"])
    def test_an_answer_of_a_cassette_says_so_while_it_grows(
        self, watched: Kernel, begin: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.getbasetemp() / "taped"  # both find it
        folder.mkdir(exist_ok=True)
        begin = begin.replace("a.cassette", str(folder / "a.cassette"))
        said = watched.run(
            f"with {begin}:\n    reply = {CALL}\nprint(f'recorded {{reply.recorded:%Y-%m-%d}}')"
        )
        [told] = [one.content["text"].strip() for one in said if one.kind == "stream"]
        messages = [one.data["content"] for one in said if one.kind == "comm_msg"]
        assert messages[0] == {"marks": ["sandbox", told]}
        assert sum("marks" in message for message in messages) == 1
        assert sum("text" in message for message in messages) >= 1

    def test_nothing_of_a_finished_answer_stays_behind(self, watched: Kernel) -> None:
        watched.run(CALL + ";")
        [said] = watched.run(
            "import threading, ipywidgets\n"
            "from ipywidgets.widgets.widget import _instances\n"
            "print(len(_instances), [t.name for t in threading.enumerate() if t.name == 'beatra-live'])"
        )
        assert said.content["text"] == "0 []\n"

    def test_the_first_delta_comes_at_once_and_the_last_before_a_pause_soon(self, watched: Kernel) -> None:
        said = watched.run(
            "import time\nview = live.painter(sandbox=False)\n"
            "view.add('one '); time.sleep(0.05); print('first', flush=True)\n"
            "view.add('two '); view.add('three'); time.sleep(0.4); print('last', flush=True)\nview.drop()"
        )
        told = [
            one.data["content"]["text"]
            for one in said
            if one.kind == "comm_msg" and "text" in one.data["content"]
        ]
        assert told == ["one ", "two three"]
        order = [
            one.content.get("text", one.kind).strip() for one in said if one.kind in ("stream", "comm_msg")
        ]
        assert order == ["comm_msg", "first", "comm_msg", "last"]

    def test_dropping_takes_the_display_away(self, watched: Kernel) -> None:
        said = watched.run("view = live.painter(sandbox=True)\nview.drop()")
        [last] = [one for one in said if one.kind == "update_display_data"]
        assert last.data == {"text/plain": ""}
        assert [one.kind for one in said].count("comm_close") == 2  # the widget, and its layout

    def test_bytes_grow_with_the_text(self, watched: Kernel) -> None:
        size: dict[int, int] = {}
        for words in (200, 800):
            said = watched.run(
                f"bn.chat('Write a text of {words} words.', stream=True, model_options={{'pace': 0.002}});"
            )
            size[words] = sum(one.size for one in said if one.kind == "comm_msg")
        assert size[800] < 5.5 * size[200], "linear, not quadratic"

    def test_a_failing_call_leaves_an_error_and_no_widget(self, watched: Kernel) -> None:
        said = watched.run("bn.chat('x', stream=True, model='no-such-model')", fails=True)
        assert "error" in kinds(said)
        updates = [one for one in said if one.kind == "update_display_data"]
        assert [one.data for one in updates] == [{"text/plain": ""}]

    def test_an_interrupt_keeps_the_part_that_came(self, watched: Kernel) -> None:
        began: list[float] = []

        def interrupt() -> None:
            began.append(time.monotonic())
            watched.interrupt()

        timer = threading.Timer(1.5, interrupt)
        timer.start()
        said = watched.run(
            "bn.chat('Write a text of 900 words.', stream=True, model_options={'pace': 0.02})", fails=True
        )
        assert time.monotonic() - began[0] < 1
        timer.join()
        [last] = [one for one in said if one.kind == "update_display_data"]
        assert "incomplete" in last.data["text/html"]
        [ended] = [one for one in said if one.kind == "comm_msg" and "end" in one.data["content"]]
        assert ended.data["content"] == {"end": "cut"}
        [error] = [one for one in said if one.kind == "error"]
        assert error.content["ename"] == "Interrupted"

    def test_a_broken_display_is_told_once_and_the_answer_shown(self, watched: Kernel) -> None:
        said = watched.run(
            "from beatra_nb.display.live_widget import LiveAnswer\n"
            "def broken(self, *args): raise OSError('no such page')\n"
            "kept, LiveAnswer.grow = LiveAnswer.grow, broken\n"
            f"for again in (1, 2): {CALL}\n"
            "LiveAnswer.grow = kept"
        )
        told = [one for one in shown(said) if "OSError" in one.data["text/plain"]]
        assert len(told) == 1
        assert "BEATRA_DISPLAY=static" in told[0].data["text/plain"]
        whole = [one for one in shown(said) if "request id" in one.data["text/plain"]]
        assert len(whole) == 2


class TestNotShownTwice:
    def test_as_the_last_expression(self, watched: Kernel) -> None:
        assert len(shown(watched.run(CALL))) == 1
        assert len(shown(watched.run(f"reply = {CALL}\nreply"))) == 1

    def test_the_value_is_there_all_the_same(self, watched: Kernel) -> None:
        watched.run(CALL)
        [said] = watched.run("print(type(_).__name__)")
        assert said.content["text"] == "Reply\n"

    def test_an_explicit_display_shows_it(self, watched: Kernel) -> None:
        outputs = shown(watched.run(f"reply = {CALL}\ndisplay(reply)\nreply"))
        assert len(outputs) == 2
        assert set(outputs[1].data) == STATIC

    def test_a_later_cell_shows_it(self, watched: Kernel) -> None:
        watched.run(f"reply = {CALL}")
        [again] = shown(watched.run("reply"))
        assert again.kind == "execute_result"
        assert set(again.data) == STATIC

    def test_another_reply_is_shown(self, watched: Kernel) -> None:
        outputs = shown(watched.run(f"plain = bn.chat('hi')\n{CALL}\nplain"))
        assert [one.kind for one in outputs] == ["display_data", "execute_result"]

    def test_an_equal_copy_is_another_object(self, watched: Kernel) -> None:
        assert len(shown(watched.run(f"import copy\ncopy.copy({CALL})"))) == 2

    def test_awaited(self, watched: Kernel) -> None:
        assert len(shown(watched.run("await " + CALL.replace("bn.chat", "bn.achat")))) == 1

    def test_a_task_of_an_earlier_cell_is_shown_where_it_is_awaited(self, watched: Kernel) -> None:
        watched.run(f"task = asyncio.create_task({CALL.replace('bn.chat', 'bn.achat')})")
        outputs = shown(watched.run("await task"))
        assert [one.kind for one in outputs if set(one.data) == STATIC] == ["execute_result"]

    def test_two_at_a_time_are_each_shown_once(self, watched: Kernel) -> None:
        call = CALL.replace("bn.chat", "bn.achat")
        said = watched.run(f"await asyncio.gather({call}, {call});")
        assert len(shown(said)) == 2
        assert len([one for one in said if one.kind == "update_display_data"]) == 2


class TestUnwatched:
    def test_one_display_and_nothing_else(self, unwatched: Kernel) -> None:
        for code in (CALL, f"reply = {CALL}", "await " + CALL.replace("bn.chat", "bn.achat")):
            said = unwatched.run(code)
            assert [one.kind for one in said if one.kind != "stream"] == ["display_data"], code
            assert set(said[-1].data) == STATIC

    def test_explicit_and_later_displays(self, unwatched: Kernel) -> None:
        assert len(shown(unwatched.run(f"reply = {CALL}\ndisplay(reply)"))) == 2
        assert [one.kind for one in shown(unwatched.run("reply"))] == ["execute_result"]

    def test_widgets_are_not_even_loaded(self, unwatched: Kernel) -> None:
        [said] = unwatched.run(f"{CALL};\nimport sys; print('anywidget' in sys.modules)")[-1:]
        assert said.content["text"] == "False\n"

    async def test_a_run_without_a_page_saves_one_output(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in SCRIPTED.items():
            monkeypatch.setenv(name, value)
        cells = [
            nbformat.v4.new_code_cell("import beatra_nb as bn\nbn.connect(mode='sandbox');"),
            nbformat.v4.new_code_cell(CALL),
        ]
        notebook = nbformat.v4.new_notebook(cells=cells)
        await NotebookClient(notebook, kernel_name="python3", timeout=60).async_execute()
        [output] = notebook.cells[1].outputs
        assert output.output_type == "display_data"
        assert set(output.data) == STATIC


STREAM = """
import sys
from beatra_nb.core.reply import Reply
from beatra_nb.display import live
view = live.painter(sandbox=True)
for piece in {pieces!r}:
    view.add(piece)
view.finish(Reply("", model="tiny", request_id="req_1", sandbox=True, complete=False, cut_by="you stopped it"))
print("[after]")
"""


def in_terminal(argv: list[str], **env: str) -> str:
    """Run a program in a pseudo-terminal; returns all it wrote."""
    master, slave = pty.openpty()
    process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, **env})
    os.close(slave)
    written = b""
    while True:
        try:
            block = os.read(master, 65536)
        except OSError:  # Linux's word for: the other side is gone
            break
        if not block:
            break
        written += block
    os.close(master)
    assert process.wait() == 0, written
    return written.decode().replace("\r\n", "\n")


class TestTerminal:
    def test_text_as_it_comes_then_a_line_about_it(self) -> None:
        written = in_terminal([sys.executable, "-c", STREAM.format(pieces=["Hello ", "there"])])
        footer = "── tiny · sandbox · request id req_1 · cut short: you stopped it"
        assert written == f"Hello there\n{footer}\n[after]\n"

    def test_nothing_steers_the_terminal(self) -> None:
        pieces = [
            "a\x1b[31mred\x1b]0;title\x07",
            "\r",
            "\nb\x08\x9bc",
            "\u202ed",
            "\ud83d",
            "x",
            "👩",
            "\u200d",
            "🔬",
        ]
        written = in_terminal([sys.executable, "-c", STREAM.format(pieces=pieces)], PYTHONIOENCODING="utf-8")
        text, _, _ = written.partition("\n──")
        assert not set(text) & {"\x1b", "\x07", "\x08", "\x9b", "\u202e", "\r"}
        assert text == "a␛[31mred␛]0;title␇\nb␈⟨U+009B⟩c⟨U+202E⟩d�x👩\u200d🔬"

    def test_an_encoding_without_the_letters_is_no_error(self) -> None:
        written = in_terminal([sys.executable, "-c", STREAM.format(pieces=["é→x"])], PYTHONIOENCODING="ascii")
        assert written.startswith("??x\n")

    def test_ipython_shows_it_once(self) -> None:
        code = (
            "import beatra_nb as bn; bn.connect(mode='sandbox');\nbn.chat('Repeat: only-once', stream=True)\n"
        )
        argv = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "-c"]
        interactive = f"done = get_ipython().run_cell({code!r}, store_history=True)"
        written = in_terminal([*argv, interactive], **SCRIPTED)
        assert written.count("only-once") == 1
        assert "request id req_" in written

    def test_a_pipe_gets_nothing(self) -> None:
        argv = [sys.executable, "-c", STREAM.format(pieces=["Hello"])]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "[after]\n"
        forced = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "BEATRA_DISPLAY": "live", "PYTHONIOENCODING": "utf-8"},
        )
        assert forced.stdout.startswith("Hello\n")

    def test_a_broken_stdout_does_not_break_the_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BEATRA_DISPLAY", "live")
        with open(os.devnull, "w") as closed:
            pass
        monkeypatch.setattr(sys, "stdout", closed)
        view = live.painter(sandbox=False)
        view.add("Hello")
        view.add("there")
        view.finish(Reply("Hello there"))

    def test_footer(self) -> None:
        assert live.footer(Reply("x")) == "done"
        reply = Reply("x", model="m\x1b[2J\n", usage=Usage(1, 20, 21), sandbox=True)
        assert live.footer(reply) == "m␛[2J · sandbox · 20 tokens"


@given(st.lists(st.text(alphabet=st.characters(), max_size=6), max_size=8))
def test_deltas_are_made_harmless_whatever_they_are_cut_into(pieces: list[str]) -> None:
    cleaner = Cleaner()
    text = "".join(cleaner.clean(piece) for piece in pieces)
    assert not any(ord(letter) < 0x20 and letter not in "\n\t" for letter in text)
    assert not set(text) & {"\x7f", "\x9b", "\u202e", "\u2066", "\u200f"}
    text.encode()  # no lone surrogates: it can be sent


def test_the_module_is_light() -> None:
    code = (
        "import sys\nfrom beatra_nb.display import live\nlive.already_shown(object())\n"
        "print([name for name in ('IPython', 'ipywidgets', 'anywidget', 'pydantic', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_a_live_answer_brings_along_is_small() -> None:
    assert len(live_widget.module_text().encode()) <= 25_000
    assert len(live_widget.style_text().encode()) <= 5_000
    assert "://" not in live_widget.style_text()
