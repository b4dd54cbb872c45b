"""The card in place of a traceback, the traceback itself, and small notes."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from beatra_nb import display
from beatra_nb.core import errors
from beatra_nb.display import notices
from beatra_nb.display.cards import Traceback
from tests.display.gallery import REQUEST_ID, error_classes, make_error, task


def card(error: BaseException) -> str:
    return re.sub(r"\x1b\[\d+m", "", "\n".join(display.error_card(error)))


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_every_class_has_a_card(kind: type[BaseException]) -> None:
    error = make_error(kind, "It went wrong this way.")
    text = card(error)
    assert kind.__name__ in text.split("\n")[0]
    for words in ("It went wrong this way.", "Try again?", "bn.traceback() shows the full traceback"):
        assert words in text
    if kind is not errors.Interrupted:
        assert "What to do" in text
        assert f"Request id   {REQUEST_ID}\n" in text
    assert display.error_card(error) == display.error_card(error), "IPython asks twice"
    assert error._render_traceback_() == display.error_card(error)


def test_a_card_stays_short() -> None:
    lines = display.error_card(
        errors.APIError("word " * 5000, code="x" * 5000, hint="y" * 5000, param="z" * 5000)
    )
    assert len(lines) < 45
    assert max(map(len, lines)) < 400


def test_a_card_never_fails() -> None:
    broken = errors.RateLimited.__new__(errors.RateLimited)
    assert card(broken)
    assert card(ValueError("not ours"))


def test_ipython_shows_the_card_and_the_traceback_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    shell.run_cell(
        "from beatra_nb.core.errors import RateLimited\ndef deep():\n"
        "    raise RateLimited('Slow down.', retryable=True)\ndeep()"
    )
    shown = capsys.readouterr().out
    assert "Too many requests for the moment" in shown
    assert "Traceback (most recent call last)" not in shown
    full = display.full_traceback()
    assert "Traceback (most recent call last)" in full.text
    assert "in deep" in full.text
    assert "Slow down." in full.text


def test_a_traceback_has_no_locals_and_no_keys() -> None:
    def deep() -> None:
        hidden = "the value " + "of a local"
        raise errors.ServerError(f"sk-{'a' * 32} leaked, and \x1b[31m\u202e", hint=str(len(hidden)))

    with pytest.raises(errors.ServerError) as caught:
        deep()
    text = display.full_traceback(caught.value).text
    assert "the value of a local" not in text
    assert "aaaa" not in text
    assert "sk-•••" in text
    assert "\x1b" not in text
    assert "test_cards.py" in text


def test_a_chain_of_causes_is_whole() -> None:
    try:
        try:
            raise ValueError("first")
        except ValueError as first:
            raise errors.BeatraError("second") from first
    except errors.BeatraError as error:
        text = display.full_traceback(error).text
    assert text.index("first") < text.index("second")


def test_without_an_error_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("last_exc", "last_value"):
        monkeypatch.delattr(sys, name, raising=False)
    assert "No error" in str(display.full_traceback())


def test_a_long_traceback_keeps_its_end() -> None:
    shown = display.to_plain(Traceback("frame\n" * 100_000 + "ValueError: the end"))
    assert "ValueError: the end" in shown
    assert "characters left out" in shown


def test_a_note_is_said_once_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "_said", set())
    for _ in range(3):
        display.say_once("a", "Mind\x1b[31m this.")
    display.say_once("b", "And that.")
    captured = capsys.readouterr()
    assert captured.err == "Mind␛[31m this.\nAnd that.\n"
    assert captured.out == ""


def test_a_note_never_fails_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "_said", set())
    monkeypatch.setattr(sys, "stderr", None)
    display.say_once("a", "x")


def test_a_note_is_a_view_in_a_kernel() -> None:
    code = """
        import IPython
        from IPython.core.interactiveshell import InteractiveShell
        from IPython.utils.capture import capture_output
        from beatra_nb import display
        shell = InteractiveShell.instance()
        shell.kernel = object()
        with capture_output() as seen:
            display.say_once("k", "Mind this.")
            display.say_once("k", "Mind this.")
        assert len(seen.outputs) == 1, seen.outputs
        data = seen.outputs[0].data
        assert 'role="note"' in data["text/html"] and data["text/plain"] == "! Mind this.", data
        assert seen.stderr == ""
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


@pytest.mark.parametrize("where", ["itself", "its task", "its batch"])
def test_an_error_of_a_cassette_says_when_it_was_recorded(where: str) -> None:
    day = datetime(2026, 11, 23, 12, tzinfo=UTC)
    error: Any = errors.TaskFailed("It failed.", code="x")
    if where == "itself":
        error.taped = (day, 0.1)
    elif where == "its task":
        error.task = task("failed")
        error.task.recorded = day
    else:
        error.result = SimpleNamespace(totals=SimpleNamespace(recorded=day))
    assert " · recorded 2026-11-23" in card(error).split("\n")[0]
    assert "recorded 2026-11-23" in display.to_plain(error)
    assert "recorded" not in card(errors.TaskFailed("It failed.", code="x"))
