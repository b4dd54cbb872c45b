"""What a reader finds in the view of each object."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb import display
from beatra_nb.core import errors
from beatra_nb.core.client import Client
from beatra_nb.core.conversation import Turn
from beatra_nb.core.reply import (
    Capability,
    CapabilityList,
    Health,
    ModelInfo,
    ModelList,
    Reply,
    ToolCall,
    Usage,
)
from beatra_nb.display import pieces, views
from beatra_nb.display.view import Badge, Card, Row, Text
from beatra_nb.store.entry import Entry
from beatra_nb.store.view import JournalView
from tests.display.audit import audit
from tests.display.gallery import REQUEST_ID, City, conversation, error_classes, filled, make_error, reply


def seen(thing: object) -> list[str]:
    """The text of each format, white space evened out."""
    bundle = display.bundle(thing)
    html = " ".join("".join(audit(bundle["text/html"]).text).split())
    markdown = " ".join(bundle["text/markdown"].replace("\\", "").split())
    return [html, markdown, " ".join(bundle["text/plain"].split())]


def says(thing: object, *words: str) -> None:
    """Assert that each format holds all the words."""
    for text in seen(thing):
        for word in words:
            assert word in text, (word, text)


def silent(thing: object, *words: str) -> None:
    """Assert that no format holds any of the words."""
    for text in seen(thing):
        for word in words:
            assert word not in text, (word, text)


class TestReply:
    def test_says_the_answer_and_where_it_came_from(self) -> None:
        answer = reply("It is **warm**.", usage=Usage(12, 1200, 1212, Decimal("0.0600"), Decimal("0.00006")))
        says(
            answer, "beatra-large-2", "1,212 tokens (12 in, 1,200 out)", "0.06 credits (≈ $0.00006)", "842 ms"
        )
        says(answer, REQUEST_ID)
        silent(answer, "sandbox", "incomplete", "attempts", "asked for", "Cut short")
        assert "<strong>warm</strong>" in display.to_html(answer)
        assert f">{REQUEST_ID}</code>" in display.to_html(answer)
        assert f"`{REQUEST_ID}`" in display.to_markdown(answer)

    def test_what_came_from_the_sandbox_says_so(self) -> None:
        says(reply(sandbox=True), "sandbox")

    def test_an_answer_cut_short_is_never_shown_as_whole(self) -> None:
        cut = reply("Mercury, Venus and", complete=False, cut_by="the connection ended", finish_reason=None)
        says(
            cut,
            "Cut short: the connection ended.",
            "not the whole answer",
            "incomplete",
            "Mercury, Venus and",
        )
        says(reply("", complete=False), "Nothing had arrived.")

    def test_a_limit_of_tokens_is_pointed_out(self) -> None:
        says(reply(finish_reason="length"), "max_tokens")

    @pytest.mark.parametrize("asked", ["auto", "beatra-large-2"])
    def test_who_answered_is_who_was_asked(self, asked: str) -> None:
        silent(reply(asked_model=asked), "asked for", "fallback")

    def test_another_model_than_asked_for(self) -> None:
        says(reply(asked_model="beatra-xl"), "asked for beatra-xl", "beatra-large-2")
        says(reply(asked_model="beatra-xl", fallback=True), "fallback: beatra-xl was not available")

    def test_attempts_are_told_when_there_were_several(self) -> None:
        says(reply(attempts=3), "3 attempts")

    def test_tool_calls_are_shown_in_order_but_as_text(self) -> None:
        calls = (ToolCall("c1", "weather", '{"city":"Łódź"}'), ToolCall("c2", "broken", '{"city":'))
        answer = reply("", tool_calls=calls)
        says(answer, "Tool call: weather (c1)", '"city": "Łódź"', "Tool call: broken", '{"city":')
        silent(answer, "The answer is empty")

    def test_parsed_data_is_a_small_table(self) -> None:
        data = City(name="Porto", population=231800, districts=["Ribeira"])
        answer = reply('{"name":"Porto"}', data=data)
        says(answer, "name", "Porto", "231800", '["Ribeira"]', "The answer as it came")

    def test_several_choices_are_numbered(self) -> None:
        says(reply("a", choices=("first", "second")), "Answer 1 of 2", "first", "Answer 2 of 2", "second")

    def test_an_empty_answer_says_that_it_is(self) -> None:
        says(reply(""), "The answer is empty.")

    def test_a_model_that_declined_is_quoted(self) -> None:
        declined = Reply(
            "", raw={"choices": [{"message": {"content": None, "refusal": "I would rather not."}}]}
        )
        says(declined, "The model declined: I would rather not.")
        silent(declined, "The answer is empty")
        silent(declined.with_(text="Gladly."), "declined")
        part = declined.with_(complete=False)
        says(part, "The model declined: I would rather not.", "Cut short")

    @pytest.mark.parametrize(
        "raw",
        [
            None,
            [],
            {"choices": None},
            {"choices": []},
            {"choices": [{"message": None}]},
            {"choices": [{"message": {"refusal": None}}]},
            {"choices": [{"message": {"refusal": {"a": 1}}}]},
            {"choices": [{"message": {"refusal": " \n"}}]},
            {"choices": {"0": 1}},
        ],
    )
    def test_an_odd_body_holds_no_refusal(self, raw: Any) -> None:
        says(Reply("", raw=raw), "The answer is empty.")

    def test_nothing_known_leaves_no_empty_footer(self) -> None:
        assert display.to_plain(Reply("Hi")) == "Hi"
        assert "border-top" not in display.to_html(Reply("Hi"))


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (Decimal("1E+2"), "100"),
        (Decimal("0.00000600"), "0.000006"),
        (Decimal("1E+999999"), "1E+999999"),
        (1234567, "1,234,567"),
        (10**400, "a very large number"),
        (0.1, "0.1"),
        (float("nan"), "NaN"),
    ],
)
def test_figures_are_written_as_people_write_them(figure: Any, words: str) -> None:
    assert pieces.figure(figure) == words


@pytest.mark.parametrize(
    ("time", "words"), [(0.0421, "42 ms"), (9.96, "10.0 s"), (125, "2 min 05 s"), (0, ""), (-1, "")]
)
def test_durations_are_written_as_people_say_them(time: float, words: str) -> None:
    assert pieces.seconds(time) == words


def test_usage_alone() -> None:
    says(Usage(1, 2, 3), "3 tokens (1 in, 2 out)")
    says(Usage(), "No usage is known.")


class TestLists:
    def test_models_have_the_columns_that_something_is_known_of(self) -> None:
        plain = ModelList([ModelInfo("a"), ModelInfo("b")])
        says(plain, "Model", "a", "b", "2 models")
        silent(plain, "Run by", "Status")
        says(
            ModelList([ModelInfo("a", "us", "unavailable")], sandbox=True),
            "Run by",
            "unavailable",
            "sandbox",
            "1 model",
        )

    def test_releases_are_told_apart_by_word(self) -> None:
        things = [
            Capability("chat", "Available"),
            Capability("music", "Preview"),
            Capability("image", "Planned"),
        ]
        says(
            CapabilityList(things),
            "a contract",
            "may change",
            "do not call",
            "Available",
            "Preview",
            "Planned",
        )

    def test_an_empty_list_says_so(self) -> None:
        says(ModelList([]), "No models.")
        says(CapabilityList([]), "No capabilities.")

    def test_long_lists_say_what_is_left_out(self) -> None:
        says(ModelList([ModelInfo(f"m{n}") for n in range(1000)]), "800 more rows", "1,000 models")

    def test_health(self) -> None:
        says(Health(True, "ok", "https://api.beatra.ai/v1"), "well", "ok", "https://api.beatra.ai/v1")
        says(Health(False, "degraded", "x"), "not well", "degraded")


class TestConversation:
    def test_a_short_one_is_whole(self) -> None:
        chat = conversation(3, system="Be terse.")
        says(chat, "Capitals", "Be terse.", "Question 1:", "Question 3:", "City 1", "3 turns", "180 tokens")
        silent(chat, "not shown", "excerpts", "sandbox")

    def test_older_turns_are_folded_and_counted(self) -> None:
        says(conversation(40), "Earlier turns 1–30 of 40, in excerpts", "Question 1:", "Question 40:")
        silent(conversation(40), "not shown here")

    def test_a_thousand_turns_stay_small_and_say_what_is_folded(self) -> None:
        chat = conversation(1000)
        says(
            chat,
            "Turns 1–890 are not shown here",
            "Earlier turns 891–990 of 1,000",
            "chat.export",
            "1,000 turns",
        )
        says(chat, "Question 891:", "Question 1000:")
        silent(chat, "Question 890:")
        for kind, text in display.bundle(chat).items():
            assert len(text.encode()) <= 300_000, kind

    @pytest.mark.parametrize("text", ["<" * 5000, "字" * 5000, "```python\n" + "x = '1' + 2\n" * 500 + "```"])
    def test_a_thousand_large_turns_stay_small_too(self, text: str) -> None:
        for kind, shown in display.bundle(conversation(1000, text)).items():
            assert len(shown.encode()) <= 300_000, kind
            assert "1,000 turns" in shown

    def test_exports_fold_nothing(self) -> None:
        chat = conversation(300)
        for text in (
            display.to_page(chat, "All"),
            display.to_markdown(chat, whole=True),
            display.to_plain(chat, whole=True),
        ):
            assert all(f"Question {n}:" in text for n in range(1, 301))
            assert "excerpts" not in text

    def test_nothing_yet(self) -> None:
        says(conversation(0, title=None), "Conversation", "No turns yet", "0 turns")

    def test_one_turn(self) -> None:
        turn = Turn("Why?", reply("Because.", complete=False, cut_by="you"))
        says(turn, "You", "Why?", "beatra-large-2", "Because.", "incomplete")

    def test_an_answer_cut_short_is_marked_in_its_turn(self) -> None:
        chat = conversation(2)
        chat._turns[0] = dataclasses.replace(chat.turns[0], reply=reply("par", complete=False, sandbox=True))
        says(chat, "Cut short", "incomplete", "sandbox")


class TestErrors:
    @pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
    def test_every_class_says_what_happened_and_what_to_do(self, kind: type[BaseException]) -> None:
        error = make_error(kind, "It went wrong this way")
        says(error, kind.__name__, "It went wrong this way", "Try again?")
        if kind is not errors.Interrupted:
            says(error, "What to do", REQUEST_ID)
        if getattr(error, "reply", None) is not None:
            says(error, "Cut short")

    def test_classes_have_titles_of_their_own(self) -> None:
        titles = [display.to_plain(make_error(kind, "x")).split("\n")[0] for kind in error_classes()]
        assert len(set(titles)) == len(titles)

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (errors.ServerError("x", retryable=True), "Yes, the same call"),
            (errors.ServerError("x", retryable=False), "No, the same call"),
            (errors.InvalidInput("x"), "Nothing was sent"),
            (errors.Timeout("x"), "Not blindly"),
            (errors.Timeout("x", retryable=True), "Yes, the same call"),
            (errors.IncompleteStream("x", reply=Reply("part")), "as a new call"),
            (errors.Interrupted(reply=Reply("part", complete=False)), "as a new call"),
            (errors.Interrupted(reply=Reply("part", complete=False), idempotency_key="k"), "as a new call"),
            (errors.Interrupted(reply=Reply(""), idempotency_key="k"), "as a new call"),
            (errors.Interrupted(idempotency_key="k"), "Yes, with the key named below: then nothing is paid"),
            (
                errors.Interrupted(reply=Reply("", complete=False), idempotency_key="k"),
                "Yes, with the key named below: then nothing is paid twice.",
            ),
        ],
    )
    def test_whether_to_try_again(self, error: BaseException, words: str) -> None:
        says(error, words)

    def test_a_look_up_that_was_stopped_is_simply_made_again(self) -> None:
        stopped = errors.Interrupted("You stopped the call.")
        says(stopped, "Yes.")
        silent(stopped, "paid", "charged", "key")

    def test_the_pair_of_status_and_code(self) -> None:
        says(errors.RateLimited("x", status=429, code="rate_limited"), "429 rate_limited")
        says(errors.ServerError("x", status=503), "HTTP 503")

    def test_a_class_of_the_users_own_is_shown_like_its_base(self) -> None:
        class Mine(errors.RateLimited):
            pass

        says(Mine("x", status=429, code="rate_limited"), "Too many requests", "Mine")


class TestJournal:
    def test_rows_and_totals(self, tmp_path: Path) -> None:
        says(filled("word")["journal"], "Journal", "error: word", "1,000 calls", "2026-11-23 00:00:00")

    def test_nothing_yet(self, tmp_path: Path) -> None:
        says(JournalView([], 0, tmp_path / "j.sqlite"), "The journal is empty")
        says(JournalView([], 0, tmp_path / "j.sqlite", "abc"), "No call matches “abc”")

    def test_it_prints_as_its_table(self, tmp_path: Path) -> None:
        calls = filled("word")["journal"]
        assert str(calls) == display.to_plain(calls)
        assert "error: word" in str(calls)
        assert "No call matches" in str(JournalView([], 0, tmp_path / "j.sqlite", "abc"))


class TestSingles:
    def test_a_model(self) -> None:
        model = ModelInfo("beatra-large-2", "beatra", "available", ("chat", "tools"), ("text",))
        says(
            model,
            "Model",
            "beatra-large-2",
            "Run by",
            "Status",
            "available",
            "chat, tools",
            "Takes and gives",
        )
        silent(ModelInfo("beatra-large-2"), "Run by", "Status", "Can do", "Takes and gives")

    def test_a_capability(self) -> None:
        says(
            Capability("chat", "Available", "Talks."),
            "chat",
            "Available",
            "a contract: build on it",
            "Talks.",
        )
        silent(Capability("chat"), "Release", "Which means", "What it is")

    def test_a_tool_call(self) -> None:
        says(ToolCall("c1", "weather", '{"city":"Łódź"}'), "weather", "c1", '"city": "Łódź"')
        says(ToolCall("", "weather", '{"city":'), "weather", '{"city":')

    def test_a_call_of_the_journal(self) -> None:
        time = datetime(2026, 11, 23, 12, tzinfo=UTC)
        entry = Entry(time, "chat", "error", "auto", request_id=REQUEST_ID, http_status=429, sandbox=True)
        says(
            entry,
            "2026-11-23 12:00:00",
            "Verb",
            "chat",
            "error",
            "auto",
            REQUEST_ID,
            "HTTP",
            "429",
            "sandbox",
        )
        silent(entry, "None", "Credits", "Tokens", "Task id", "Duration")
        says(dataclasses.replace(entry, credits=Decimal(0), duration=0.25), "Credits", "Duration", "250 ms")
        assert entry._repr_html_() == display.to_html(entry)
        assert not hasattr(entry, "__dict__")


class TestConnections:
    def test_a_look_at_a_client_neither_starts_the_sandbox_nor_shows_a_key(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from beatra_nb.core import seams

        def refuse() -> Any:
            raise AssertionError("a look must not start it")

        monkeypatch.setattr(seams, "shared_sandbox", refuse)
        says(Client(mode="sandbox"), "Client", "sandbox", "Journal", "on")
        live = Client("sk-" + "q" * 32, base_url="https://example.org/v1", journal=False)
        says(live, "live", "https://example.org/v1", "off")
        silent(live, "qqqq")

    def test_a_sandbox_shows_its_address_and_not_its_key(self) -> None:
        with bn.sandbox.start(engine="scripted") as box:
            says(box, "running", box.base_url, "scripted")
            silent(box, box.api_key, box.api_key[4:12])
        says(box, "stopped")


class Broken:
    """Every attribute of it raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class TestNeverRaises:
    def test_what_is_not_known_is_shown_by_its_repr(self) -> None:
        says({"a": 1}, "{'a': 1}")
        says(Broken(), "Broken: its repr failed")

    def test_an_object_of_another_package_is_not_taken_for_ours(self) -> None:
        Reply = type("Reply", (), {"__repr__": lambda self: "theirs"})
        says(Reply(), "theirs")

    @pytest.mark.parametrize("name", sorted(filled("x")))
    def test_objects_without_their_fields(self, name: str) -> None:
        kind = type(filled("x")[name])
        bare = kind.__new__(kind)
        for shown in (display.bundle(bare), {"page": display.to_page(bare, "x")}):
            assert all(shown.values())

    @pytest.mark.parametrize("field", [each.name for each in dataclasses.fields(Reply)])
    @pytest.mark.parametrize(
        "value", [None, 3, float("nan"), [], object(), Broken(), "x", b"\xff"], ids=range(8)
    )
    def test_replies_with_a_broken_field(self, field: str, value: object) -> None:
        for shown in display.bundle(reply("The answer is here.").with_(**{field: value})).values():
            assert shown
            if field != "text" and field not in ("data", "choices"):
                assert "answer is here" in shown

    def test_an_endless_object(self) -> None:
        loop: list[Any] = []
        loop.append(loop)
        says(reply("x", data=loop), "[[...]]")

    def test_a_view_that_fails_in_a_renderer_becomes_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(views._MAKERS, "beatra_nb.core.reply:Reply", lambda obj, scope: "no view")  # type: ignore[arg-type,return-value]
        says(reply("x"), "Reply(")


def test_front_ends_get_the_same_by_every_way_in() -> None:
    answer = reply("Hi")
    bundle = display.bundle(answer)
    assert answer._repr_mimebundle_() == bundle
    assert answer._repr_html_() == bundle["text/html"]
    assert answer._repr_markdown_() == bundle["text/markdown"]
    assert not display.already_shown(answer)


def test_views_are_plain_data() -> None:
    for name, thing in filled("x").items():
        view = views.view(thing)
        assert pickle.loads(pickle.dumps(view)) == view, name
        assert copy.deepcopy(view) == view
    with pytest.raises(dataclasses.FrozenInstanceError):
        Text("a").text = "b"  # type: ignore[misc]


def test_errors_look_the_same_after_a_pickle() -> None:
    for kind in error_classes():
        error = make_error(kind, "It went wrong")
        assert display.bundle(pickle.loads(pickle.dumps(error))) == display.bundle(error)


def test_views_hold_no_markup() -> None:
    def texts(view: object) -> list[str]:
        if isinstance(view, str):
            return [view]
        if isinstance(view, tuple):
            return [text for item in view for text in texts(item)]
        if dataclasses.is_dataclass(view):
            return [text for field in dataclasses.fields(view) for text in texts(getattr(view, field.name))]
        return []

    for name, thing in filled("word").items():
        assert not any(re.search(r"<\w|&\w+;|style=", text) for text in texts(views.view(thing))), name


def test_a_view_of_ones_own_renders_in_all_formats() -> None:
    from beatra_nb.display import html, markdown, plain

    view = Card(
        Text("body\nmore"), "Name", Text("Title", strong=True), Row((Badge("id", "x", copy=True),)), "warn"
    )
    assert plain.render(view) == "Title\n\nbody\nmore\n\n— id x"
    assert markdown.render(view) == "**Title**\n\nbody\\\nmore\n\n---\n\nid `x`\n"
    found = audit(html.render(view))
    assert "".join(found.text) == "Titlebody\nmoreid x"


def test_showing_a_reply_loads_neither_widgets_nor_the_client() -> None:
    code = (
        "import sys; from beatra_nb import display; from beatra_nb.core.reply import Reply;"
        "r = Reply('hi **x**'); display.bundle(r); display.already_shown(r);"
        "heavy = {'ipywidgets', 'anywidget', 'httpx', 'IPython', 'sqlite3', 'beatra_nb.sandbox'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
