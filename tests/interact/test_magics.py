"""The magics, in a real IPython shell: what is sent, what comes back, what is bound, and what is left alone."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets.config import Config

import beatra_nb as bn
from beatra_nb import display, verbs
from beatra_nb.interact import known_models, magics
from beatra_nb.interact.magic_options import CHAT, MUSIC, Magic, parse, words_of
from beatra_nb.interact.status import Status, look
from tests.core.wire import KEY, Wire, completion, delta, event, http, sse

TASK = {"task_id": "task_1", "status": "queued", "capability": "music.text-to-music", "model": "auto"}


@pytest.fixture(scope="module")
def ipython() -> Iterator[InteractiveShell]:
    yield InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(ipython: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setattr(known_models, "_question", None)
    # Examples in docstrings leave a `_` behind there, and IPython then keeps its own out of the way.
    monkeypatch.delattr(builtins, "_", raising=False)
    magics.load(ipython)
    yield ipython
    magics.unload(ipython)
    ipython.reset()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A server that says what it is told, and the default client that asks it."""
    server = Wire()
    server.say(http(body=completion("Hello")))
    client = bn.Client(KEY, base_url=server.base_url, timeout=bn.Timeouts(connect=2, read=5, total=10))
    monkeypatch.setattr(verbs, "_client", client)
    yield server
    client.close()
    server.stop()


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bn.sandbox.Sandbox]:
    """A sandbox of its own, and the default client that asks it."""
    with bn.sandbox.start(engine="scripted", faults=True, state=tmp_path / "state") as box:
        monkeypatch.setattr(verbs, "_client", bn.Client(box.api_key, base_url=box.base_url))
        yield box
        verbs._client.close()  # type: ignore[union-attr]


def run(shell: InteractiveShell, code: str) -> ExecutionResult:
    return shell.run_cell(code, store_history=True)


def good(shell: InteractiveShell, code: str) -> Any:
    done = run(shell, code)
    done.raise_error()
    return done.result


def bad(shell: InteractiveShell, code: str, kind: type[BaseException] = bn.InvalidInput) -> Any:
    error = run(shell, code).error_in_exec
    assert isinstance(error, kind), repr(error)
    return error


def completed(shell: InteractiveShell, code: str) -> set[str]:
    with provisionalcompleter():
        return {each.text for each in shell.Completer.completions(code, len(code))}


# ── the line of options ──


class TestOptions:
    @pytest.mark.parametrize(
        ("line", "options", "text"),
        [
            ("", {}, ""),
            ("What's up?", {}, "What's up?"),
            ("  -m tiny   What's  up ", {"model": "tiny"}, "What's  up"),
            ("--model=tiny --raw", {"model": "tiny", "raw": True}, ""),
            ("-s 'It\\'s \"I\"' hi", {"system": 'It\'s "I"'}, "hi"),
            ('--system="a \\"b\\" C:\\new"', {"system": 'a "b" C:\\new'}, ""),
            ("--system You're --raw", {"system": "You're", "raw": True}, ""),
            ("-t -1", {"temperature": "-1"}, ""),
            ("--raw -- -5 degrees", {"raw": True}, "-5 degrees"),
            ("--system '' x", {"system": ""}, "x"),
            ("--max-tokens 5 a --raw", {"max_tokens": "5"}, "a --raw"),
        ],
    )
    def test_a_line_is_options_then_text(self, line: str, options: dict[str, Any], text: str) -> None:
        found = parse(CHAT, line)
        assert (found.options, found.text) == (options, text)

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("--modle x", "Did you mean --model?"),
            ("--max_tokens 5", "Did you mean --max-tokens?"),
            ("--Schema X", "Did you mean --schema?"),
            ("-x", "There are: --model"),
            ("-- raw --= x", None),
            ("--=", "There are"),
            ("--model", "--model needs a value"),
            ("--model --raw", "--model needs a value"),
            ("--system -m x", "--system needs a value"),
            ("--raw=1", "takes no value"),
            ("--raw --raw", "stands twice"),
            ("-m a --model b", "stands twice"),
            ('--system "open', 'no closing "'),
            ("--system 'a'b", "A space is missing"),
        ],
    )
    def test_what_is_wrong_is_said_with_the_way_to_mend_it(self, line: str, says: str | None) -> None:
        if says is None:
            assert parse(CHAT, line).text == "raw --= x"
            return
        with pytest.raises(bn.InvalidInput) as caught:
            parse(CHAT, line)
        assert says in str(caught.value)

    @given(st.sampled_from([CHAT, MUSIC]), st.text())
    @example(CHAT, "--system \\")
    @example(CHAT, "-\ud800")
    @example(MUSIC, "--title '" + "\\" * 5001)
    def test_any_line_is_read_or_refused_in_our_own_words(self, magic: Magic, line: str) -> None:
        with suppress(bn.InvalidInput):
            assert line.rstrip().endswith(parse(magic, line).text)
        assert "".join("".join(words_of(line)).split()) == "".join(line.split())

    @given(
        st.permutations([option for option in CHAT.options if option.kind != "flag"]),
        st.lists(st.text(st.characters(exclude_characters="\n\r")), min_size=10, max_size=10),
        st.sampled_from("\"'"),
    )
    def test_what_is_quoted_comes_back_as_it_was(self, options: Any, values: list[str], sign: str) -> None:
        quoted = [
            f"{option.long} {sign}{value.replace(chr(92), chr(92) * 2).replace(sign, chr(92) + sign)}{sign}"
            for option, value in zip(options, values, strict=False)
        ]
        found = parse(CHAT, " ".join(quoted) + " the text")
        assert found.text == "the text"
        assert found.options == {
            option.keyword: value for option, value in zip(options, values, strict=False)
        }

    def test_each_option_is_explained_with_an_example(self) -> None:
        for magic in (CHAT, MUSIC):
            told = magic.help()
            assert max(map(len, told.split("\n"))) <= 110
            for option in magic.options:
                assert all(form in told for form in option.forms)
                assert option.about in told
                assert option.kind == "flag" or f"{option.long} {option.example}" in told
                if option.kind != "flag":
                    assert parse(magic, f"{option.long} {option.example}").options.keys() == {option.keyword}


# ── %%chat ──


def messages(*contents: str) -> list[dict[str, str]]:
    """The last is the user's; one before it is the system's."""
    roles = ["system", "user"][-len(contents) :]
    return [{"role": role, "content": text} for role, text in zip(roles, contents, strict=True)]


class TestChat:
    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("%%chat\nHi  there\n  you; \n\n", {"messages": messages("Hi  there\n  you;")}),
            (
                "%%chat\n\n  {name!r} is {n:03d}: {'a': {n}}",
                {"messages": messages("  'Ada' is 007: {'a': 7}")},
            ),
            ("%%chat --raw\n{name} {{x}}", {"messages": messages("{name} {{x}}")}),
            ("%%chat\n{{name}} {_}", {"messages": messages("{name} 42")}),
            ("%chat Don't {name} -t 5?", {"messages": messages("Don't Ada -t 5?")}),
            ("reply = %chat Is it {name}?", {"messages": messages("Is it Ada?")}),
            ("%chat $name {{name}}", {"messages": messages("$name {name}")}),
            (
                '%%chat -m {model} -s "You are {name!r}." -t 0.5 --max-tokens 9\nHi',
                {
                    "model": "tiny",
                    "messages": messages("You are 'Ada'.", "Hi"),
                    "temperature": 0.5,
                    "max_tokens": 9,
                },
            ),
            ("%%chat -t 1\nHi", {"messages": messages("Hi"), "temperature": 1}),
            ("if True:\n    %chat What is {n}?", {"messages": messages("What is 7?")}),
            (
                "def ask(name):\n    n = 1\n    return get_ipython().run_line_magic('chat', '{name} {n}')\nask('Bo')",
                {"messages": messages("Bo 1")},
            ),
        ],
    )
    def test_what_is_sent(
        self, shell: InteractiveShell, wire: Wire, code: str, expected: dict[str, Any]
    ) -> None:
        good(shell, "name, n, model = 'Ada', 7, 'tiny'; 42")
        wire.say(sse(event(delta("Hi", finish_reason="stop")), event(b"[DONE]")))
        good(shell, code)
        body = wire.asked[-1].json
        assert body.pop("stream") is True
        body.pop("stream_options", None)
        assert body == {"model": "auto", **expected}

    def test_whole_or_growing_it_is_the_verbs_own_call(
        self, shell: InteractiveShell, box: bn.sandbox.Sandbox
    ) -> None:
        good(shell, "%%chat -s Short --idempotency-key mine-1\nHi")
        bn.chat("Hi", system="Short", stream=True)
        good(shell, "%%chat -s Short --no-stream\nHi")
        bn.chat("Hi", system="Short")
        growing, twin, whole, other = box.seen
        assert growing.fingerprint == twin.fingerprint != whole.fingerprint == other.fingerprint
        assert growing.idempotency_key == "mine-1"

    def test_the_reply_is_the_value(
        self, shell: InteractiveShell, wire: Wire, capsys: pytest.CaptureFixture[str]
    ) -> None:
        reply = good(shell, "%%chat --no-stream --into first\nHi")
        assert isinstance(reply, bn.Reply)
        assert shell.user_ns["_"] is shell.user_ns["first"] is shell.user_ns["Out"][1] is reply
        assert capsys.readouterr().out.count("Hello") == 1
        good(shell, "other = %chat --no-stream --into _ Again")
        assert shell.user_ns["other"] is not reply
        assert shell.user_ns["_"] is reply, "an assignment has no value"
        assert (
            shell.user_ns["In"][1]
            == "get_ipython().run_cell_magic('chat', '--no-stream --into first', 'Hi\\n')"
        )
        assert good(shell, "%chat --no-stream {_}, {first}") is shell.user_ns["_"]
        assert wire.asked[-1].json["messages"][-1]["content"] == "Hello, Hello"

    @pytest.mark.parametrize(
        ("code", "says"),
        [
            ("%%chat\n \n\t\n", "no text below %%chat"),
            ("%chat", "%chat has no text"),
            ("%%chat --into\nHi", "--into needs a value"),
            ("%%chat --into 2x\nHi", "name of a variable, not '2x'"),
            ("%%chat --into class\nHi", "name of a variable, not 'class'"),
            ("%%chat --system You are terse\nHi", "'are terse' in the line of %%chat"),
            ("%%chat\n{nane}", "Did you mean {name}?"),
            ("%%chat -s {nane}\nHi", "Did you mean {name}?"),
            ("%%chat\n{missing}", "The value of {missing} is missing"),
            ("%%chat -t hot\nHi", "temperature must be a number from 0 to 2, not 'hot'"),
            ("%%chat -t 3\nHi", "temperature must be from 0 to 2"),
            ("%%chat -t nan\nHi", "temperature must be a number"),
            ("%%chat --max-tokens 1.5\nHi", "max_tokens must be a whole number of at least 1, not 1.5"),
            ("%%chat --model ''\nHi", "model must be 'auto' or a model's id"),
            ("%%chat --schema Citty\nHi", "Did you mean City?"),
            ("%%chat --schema name\nHi", "schema must be a type or a JSON schema"),
            ("%%chat --schema missing\nHi", "--schema: missing is None"),
            ("%%chat --client name\nHi", "--client: name is a str, not a bn.Client"),
            ("%%chat --chat name\nHi", "--chat: name is a str, not a bn.Chat"),
            ("%%chat --chat talk --into talk\nHi", "in the conversation's place"),
            ("%%chat --chat talk -t 9\nHi", "temperature must be from 0 to 2"),
            ("%%chat --idempotency-key 'a b'\nHi", "idempotency_key"),
        ],
    )
    def test_what_is_wrong_is_refused_before_anything_is_sent(
        self, shell: InteractiveShell, wire: Wire, code: str, says: str
    ) -> None:
        good(shell, "name, missing, City = 'Ada', None, dict; 42")
        before = dict(shell.user_ns)
        assert says in str(bad(shell, code))
        assert wire.asked == []
        assert shell.user_ns["_"] == 42
        assert {name for name in shell.user_ns if not name.startswith("_")} == {
            name for name in before if not name.startswith("_")
        }

    def test_a_failure_binds_nothing(self, shell: InteractiveShell, wire: Wire) -> None:
        good(shell, "answer = 'old'; 42")
        wire.say(http(400, {"error": {"code": "invalid_request", "message": "No.", "retryable": False}}))
        bad(shell, "%%chat --into answer\nHi", bn.InvalidRequest)
        wire.say(sse(event(delta("Half an ans"))))
        error = bad(shell, "%%chat --into answer\nHi", bn.IncompleteStream)
        assert error.reply.text == "Half an ans"
        assert (shell.user_ns["answer"], shell.user_ns["_"]) == ("old", 42)

    def test_the_data_of_a_schema(self, shell: InteractiveShell, wire: Wire) -> None:
        good(shell, "import pydantic\nclass City(pydantic.BaseModel):\n    name: str")
        wire.say(http(body=completion('{"name": "Oslo"}')))
        assert good(shell, "%%chat --no-stream --schema City\nA city").data.name == "Oslo"
        assert wire.asked[-1].json["response_format"]["json_schema"]["name"] == "City"
        good(shell, "plain = {'title': 'Place', 'type': 'object'}")
        assert good(shell, "%%chat --no-stream --schema plain\nA city").data == {"name": "Oslo"}
        good(shell, "Cities = list[City]")
        wire.say(http(body=completion('{"value": [{"name": "Oslo"}]}')))
        assert good(shell, "%%chat --no-stream --schema Cities\nA city").data[0].name == "Oslo"

    def test_the_users_own_names_are_the_users(self, shell: InteractiveShell, wire: Wire) -> None:
        good(shell, "str = list = dict = len = print = isinstance = bn = open = None\n_ = 5")
        assert good(shell, "%chat --no-stream Hi").text == "Hello"
        assert shell.user_ns["_"] == 5
        bad(shell, "%%chat\n{len}")  # it is None, and not the builtin

    def test_another_client(self, shell: InteractiveShell, wire: Wire, box: bn.sandbox.Sandbox) -> None:
        shell.user_ns["mine"] = bn.Client(KEY, base_url=wire.base_url)
        assert good(shell, "%chat --client mine --no-stream Hi").text == "Hello"
        assert len(wire.asked) == 1
        assert box.seen == []
        shell.user_ns["mine"].close()


class TestConversation:
    def test_it_is_made_and_gone_on_with(self, shell: InteractiveShell, wire: Wire) -> None:
        good(shell, "%%chat --no-stream --chat talk -s Short -m tiny -t 0\nOne")
        talk = shell.user_ns["talk"]
        assert (talk.system, talk.model, len(talk)) == ("Short", "tiny", 1)
        good(shell, "%%chat --no-stream --chat talk -s Short --into answer\nTwo")
        assert shell.user_ns["talk"] is talk
        assert talk.turns[1].reply is shell.user_ns["answer"]
        body = wire.asked[-1].json
        assert [each["content"] for each in body["messages"]] == ["Short", "One", "Hello", "Two"]
        assert body["model"] == "tiny"
        assert "temperature" not in body
        good(shell, "%%chat --no-stream --chat talk -m other\nThree")
        assert (wire.asked[-1].json["model"], talk.model) == ("other", "tiny")

    def test_a_conversation_of_the_users_own(self, shell: InteractiveShell, wire: Wire) -> None:
        shell.user_ns["talk"] = talk = bn.Chat()
        bad(shell, "%%chat --chat talk -s New -t 9\nHi")
        assert talk.system is None
        good(shell, "%%chat --no-stream --chat talk -s New\nHi")
        assert talk.system == "New"
        assert "turns under another system text" in str(bad(shell, "%%chat --chat talk -s Newer\nHi"))
        shell.user_ns["mine"] = verbs._client
        assert "held with another client" in str(bad(shell, "%%chat --chat talk --client mine\nHi"))
        good(shell, "%%chat --no-stream --chat other --client mine\nHi")
        good(shell, "%%chat --no-stream --chat other --client mine\nAgain")
        assert len(wire.asked) == 3

    def test_a_cell_that_failed_is_run_again_under_its_key(self, shell: InteractiveShell, wire: Wire) -> None:
        wire.say(sse(event(delta("Half"))))
        bad(shell, "%%chat --chat talk\nHi", bn.IncompleteStream)
        assert len(shell.user_ns["talk"]) == 0
        wire.say(sse(event(delta("Hi", finish_reason="stop")), event(b"[DONE]")))
        good(shell, "%%chat --chat talk\nHi")
        first, second = (each.headers["idempotency-key"] for each in wire.asked)
        assert first == second


# ── %%music ──


class TestMusic:
    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("%music --no-wait dream {style}", {"prompt": "dream pop"}),
            ("%music --no-wait Is it {style}?", {"prompt": "Is it pop?"}),
            (
                '%%music --no-wait --title "{style}\'s" -m suno-5.5\ndream {style}\n\n'
                "[Verse 1]\nCity {style}\n\n[Chorus]:\nOh",
                {
                    "prompt": "dream pop",
                    "lyrics": "[Verse 1]\nCity pop\n\n[Chorus]:\nOh",
                    "title": "pop's",
                    "model": "suno-5.5",
                },
            ),
            ("%%music --no-wait\n[Verse]\nOh", {"lyrics": "[Verse]\nOh"}),
            ("%%music --no-wait --lyrics words\n\n", {"lyrics": "[Chorus]\nLa {x}"}),
            ("%%music --no-wait --lyrics words\nrock", {"prompt": "rock", "lyrics": "[Chorus]\nLa {x}"}),
            (
                "%%music --no-wait --instrumental --seconds 2.5\n[1, 2] [not a line] of {words}",
                {
                    "prompt": "[1, 2] [not a line] of [Chorus]\nLa {x}",
                    "instrumental": True,
                    "model_options": {"sandbox": {"seconds": 2.5}},
                },
            ),
            (
                "%music --no-wait --reference art_123 like this",
                {"prompt": "like this", "reference_audio": {"artifact_id": "art_123"}},
            ),
            (
                "%music --no-wait --reference tune like this",
                {"prompt": "like this", "reference_audio": {"url": "https://example.org/a.mp3"}},
            ),
        ],
    )
    def test_what_is_sent(
        self, shell: InteractiveShell, wire: Wire, code: str, expected: dict[str, Any]
    ) -> None:
        wire.say(http(202, TASK))
        shell.user_ns.update(style="pop", words="[Chorus]\nLa {x}", tune="https://example.org/a.mp3")
        task = good(shell, code)
        assert isinstance(task, bn.Task)
        assert wire.asked[-1].json == {"model": "auto", **expected}

    @pytest.mark.parametrize(
        ("code", "says"),
        [
            ("%%music\n\n", "no text below %%music"),
            ("%music", "%music has no text"),
            ("%%music --lyrics words\nrock\n[Verse]\nOh", "two lyrics"),
            ("%%music --lyrics n\nrock", "lyrics must be text"),
            ("%%music --lyrics wrods\nrock", "Did you mean words?"),
            ("%%music --instrumental\nrock\n[Verse]\nOh", "instrumental=True says that nobody sings"),
            ("%%music --seconds long\nrock", "--seconds must be a number"),
            ("%%music --reference ./none.wav\nrock", "none.wav"),
            ("%%music --instrumentl\nrock", "Did you mean --instrumental?"),
            ("%%music\nrock\n[Verse]\n{oh}", "There is no value for {oh}"),
        ],
    )
    def test_what_is_wrong_is_refused_before_anything_is_sent(
        self, shell: InteractiveShell, wire: Wire, code: str, says: str
    ) -> None:
        shell.user_ns.update(words="La", n=7)
        assert says in str(bad(shell, code))
        assert wire.asked == []

    def test_a_song_and_the_way_back_to_it(self, shell: InteractiveShell, box: bn.sandbox.Sandbox) -> None:
        cell = "%%music --seconds 2 -m minimax-music-2.6 --reuse --into song\nsolo piano"
        song = good(shell, cell)
        assert (song.status, len(song.clips)) == ("succeeded", 1)
        assert 1.5 < song.clips[0].duration < 4
        assert shell.user_ns["_"] is shell.user_ns["song"] is song
        assert good(shell, cell).id == song.id
        assert sum(each.effect for each in box.seen if each.method == "POST") == 1


# ── %beatra ──


class TestStatus:
    def test_a_look_starts_nothing(
        self, shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, isolated: Path
    ) -> None:
        monkeypatch.setattr(verbs, "_client", bn.Client(mode="sandbox"))
        monkeypatch.setattr(bn.sandbox, "_shared", None)
        status = good(shell, "%beatra")
        assert isinstance(status, Status)
        assert bn.sandbox._shared is None
        assert not isolated.exists()
        assert (status.mode, status.base_url, status.models, status.journal_rows) == (
            "sandbox",
            None,
            None,
            0,
        )
        text = display.to_plain(status)
        assert "not started yet" in text
        assert "[sandbox]" in text

    def test_what_was_spent_and_what_is_unfinished(
        self, shell: InteractiveShell, box: bn.sandbox.Sandbox
    ) -> None:
        reply = good(shell, "%chat Hi")
        good(shell, "%music --no-wait --seconds 2 piano")
        status = good(shell, "%beatra status")
        assert status.models == len(bn.models())
        assert status.session == status.today
        assert status.session.calls == status.journal_rows == 2
        assert status.session.sandbox_credits == reply.usage.credits + 80
        assert (status.session.credits, status.unfinished, status.elsewhere) == (0, 1, 0)
        for render in (display.to_plain, display.to_html, display.to_markdown):
            text = render(status)
            assert "80.0" in text
            assert "bn.pending()" in text
            assert box.base_url in text.replace("\\", "")
            assert box.api_key not in text + repr(status)
        shell.user_ns["pending"] = good(shell, "%beatra pending")
        assert len(good(shell, "pending.wait()")) == 1

    def test_other_processes_and_days_are_told_apart(self, shell: InteractiveShell, wire: Wire) -> None:
        from datetime import UTC, datetime, timedelta
        from decimal import Decimal

        from beatra_nb.store.entry import Entry
        from beatra_nb.store.journal import Journal

        now = datetime.now(UTC)
        good(shell, "%chat --no-stream Hi")
        for entry in (
            Entry(now, "chat", credits=Decimal("1.5"), process=1),
            Entry(now - timedelta(days=400), "chat", credits=Decimal(100)),  # this number was another's then
            Entry(now, "chat", credits=Decimal(7), sandbox=True, process=1),
        ):
            Journal.open().record(entry)
        status = look()
        assert status.session is not None
        assert status.today is not None
        assert (status.session.calls, status.session.credits) == (1, Decimal("0.25"))
        assert (status.today.calls, status.today.credits, status.today.sandbox_credits) == (
            3,
            Decimal("1.75"),
            7,
        )
        assert status.journal_rows == 4

    def test_trouble_is_told_and_not_raised(
        self, shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, isolated: Path
    ) -> None:
        monkeypatch.setattr(verbs, "_client", None)
        monkeypatch.setenv("BEATRA_MODE", "live")
        isolated.mkdir()
        (isolated / "journal.sqlite3").write_bytes(b"no database at all" * 100)
        status = good(shell, "%beatra")
        assert set(status.troubles) == {"mode", "journal"}
        assert status.unfinished is None
        text = display.to_plain(status)
        assert "needs an API key" in text
        assert "journal.sqlite3" in text
        assert "Unfinished" not in text

    def test_a_service_that_does_not_know_its_models(self, shell: InteractiveShell, wire: Wire) -> None:
        wire.say(http(500, b"<b>down</b>", kind="text/html"))
        status = look()
        assert status.models is None
        assert "not known: " in display.to_plain(status)
        assert status.journal_rows == 0, "the look itself leaves no row"

    def test_what_else_it_shows(self, shell: InteractiveShell, box: bn.sandbox.Sandbox) -> None:
        reply = good(shell, "%chat Hi")
        assert "sandbox-scripted" in good(shell, "%beatra models").ids
        assert len(good(shell, "%beatra journal")) == 2
        assert [each.request_id for each in good(shell, f"%beatra journal {reply.request_id}")] == [
            reply.request_id
        ]
        assert len(good(shell, "%beatra pending")) == 0
        assert "Did you mean %beatra journal?" in str(bad(shell, "%beatra Jurnal"))
        assert "takes nothing more" in str(bad(shell, "%beatra models all"))


# ── completion ──


class TestCompletion:
    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("%%chat --mo", {"--model"}),
            ("%%chat --max-tokens 5 --m", {"--model"}),
            ("\n%%chat --no", {"--no-stream"}),
            ("x = 1\nreply = %chat --sch", {"--schema"}),
            ("%%music --in", {"--instrumental", "--into"}),
            ("%%chat --schema C", {"City"}),
            ("%%chat --schema=", {"City", "shape"}),
            ("%%chat --chat ", {"talk"}),
            ("%%chat --client ", {"mine"}),
            ("%%chat --into sh", {"shape"}),
            ("%%music --lyrics ", {"words"}),
            ("%beatra mo", {"models"}),
            ("%beatra ", {"status", "models", "journal", "pending"}),
            ('%%chat -s "You are --model" --model ', {"auto", "sandbox-scripted", "sandbox-smollm2"}),
            ("%%chat -m sandbox-sc", {"sandbox-scripted"}),
            ("%%music --model ", {"auto", "suno-5.5", "minimax-music-2.6"}),
        ],
    )
    def test_what_fits(
        self, shell: InteractiveShell, box: bn.sandbox.Sandbox, code: str, expected: set[str]
    ) -> None:
        good(
            shell,
            "import pydantic\nimport beatra_nb as bn\nclass City(pydantic.BaseModel): pass\n"
            "class Broken:\n    __class__ = property(lambda self: 1 / 0)\n"
            "shape, talk, words, broken = {}, bn.Chat(), 'La', Broken()",
        )
        shell.user_ns["mine"] = verbs._client
        if expected >= {"sandbox-smollm2"} and "sandbox-smollm2" not in bn.models().ids:
            expected = expected - {"sandbox-smollm2"}
        assert completed(shell, code) == expected

    def test_the_first_word_may_be_any_option(self, shell: InteractiveShell) -> None:
        assert completed(shell, "%%chat ") == {option.long for option in CHAT.options}
        assert "--raw" not in completed(shell, "%%chat --raw --")

    @pytest.mark.parametrize(
        "code",
        ["%%chat\n%chat --mo", "%%chat\n--mo", "%chat hello --mo", "%%chat -- --mo", "%%time --mo", "--mo"],
    )
    def test_a_text_is_not_an_option(self, shell: InteractiveShell, code: str) -> None:
        assert "--model" not in completed(shell, code)

    def test_a_service_that_does_not_answer_is_not_waited_for(
        self, shell: InteractiveShell, wire: Wire
    ) -> None:
        released = threading.Event()

        def answer() -> Iterator[bytes]:
            released.wait(30)
            names = ["late-model", "x\n!touch hacked", "two words", '"quoted"', "{name}"]
            yield http(body={"object": "list", "data": [{"id": name} for name in names]})

        wire.say(answer())
        assert completed(shell, "%%chat --model ") == {"auto"}
        released.set()
        question = known_models._question
        assert question is not None
        assert question.answer(30)[1] == ""
        assert completed(shell, "%%chat --model ") == {"auto", "late-model"}
        assert len(wire.asked) == 1, "asked once, and known for a while"


# ── in and out ──


OURS = ("chat", "music", "beatra")


def state(shell: InteractiveShell) -> tuple[Any, ...]:
    table = shell.magics_manager.magics
    return (
        [(kind, name, table[kind][name]) for kind in table for name in OURS if name in table[kind]],
        list(shell.Completer.custom_matchers),
        list(shell.input_transformers_cleanup),
    )


class TestInAndOut:
    def test_ipython_is_left_as_it_was(self, shell: InteractiveShell) -> None:
        magics.unload(shell)
        magics.unload(shell)
        shell.register_magic_function(lambda line: "another's", magic_kind="line", magic_name="music")
        before = state(shell)
        for command in ("load", "load", "reload", "unload", "unload", "reload", "unload"):
            good(shell, f"%{command}_ext beatra_nb")
            loaded = command != "unload"
            assert len(state(shell)[0]) == (5 if loaded else 1)
            assert len(state(shell)[1]) == len(before[1]) + loaded
            assert len(state(shell)[2]) == len(before[2]) + loaded
        assert state(shell) == before
        assert good(shell, "%music x") == "another's"
        assert completed(shell, "%%chat --mo") <= {"%%chat"}

    def test_a_later_magic_of_the_same_name_stays(self, shell: InteractiveShell) -> None:
        shell.register_magic_function(lambda line: "later", magic_kind="line", magic_name="chat")
        magics.unload(shell)
        assert good(shell, "%chat x") == "later"

    @pytest.mark.parametrize(
        "code",
        [
            "%%time\n%chat What?\n",
            'x = """\n%chat What?\n"""\n',
            "%chat?\n",
            "%chat ?\n",
            "%chat ??\n",
            "%beatra models?\n",
            "x?\n",
            "%chat Well.\n",
        ],
    )
    def test_only_questions_are_kept_from_ipythons_help(self, code: str) -> None:
        lines = code.splitlines(keepends=True)
        assert magics.keep_questions(lines) == lines

    @given(st.text())
    @example("'")
    @example("\\")
    def test_a_question_arrives_to_the_letter(self, text: str) -> None:
        assume('"""' not in text and "'''" not in text)
        line = f"%chat a{text.replace(chr(10), ' ')}?"
        [kept] = magics.keep_questions([line])
        said: list[str] = []

        class Shell:
            def run_line_magic(self, name: str, text: str) -> None:
                said.append(f"%{name} {text}")

        exec(kept, {"get_ipython": Shell})
        assert said == [line]
