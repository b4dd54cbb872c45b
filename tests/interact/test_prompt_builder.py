"""The prompt builder without a page: what a hand asks for by messages, what Python does, and that both agree."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb import display, sandbox
from beatra_nb.interact import prompt_rows, work
from beatra_nb.interact.prompt_builder import PromptBuilder
from beatra_nb.interact.prompt_runs import Version
from tests.display.audit import audit
from tests.display.kernel import Kernel

WIDGET = "application/vnd.jupyter.widget-view+json"
HOSTILE = '<img src=x onerror="window.pwned=1"></textarea><script>pwned=1</script>\u202e{name}'


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sandbox.Sandbox]:
    with sandbox.start(engine="scripted", faults=True, state=tmp_path_factory.mktemp("state")) as started:
        yield started


@pytest.fixture
def client(box: sandbox.Sandbox) -> Iterator[bn.Client]:
    box.clear()
    with bn.Client(box.api_key, base_url=box.base_url, max_attempts=1) as made:
        yield made
        work.wait(work.twin(made).close())


@pytest.fixture
def build(client: bn.Client) -> Iterator[Callable[..., Hand]]:
    made: list[PromptBuilder] = []

    def make(*args: Any, **more: Any) -> Hand:
        made.append(PromptBuilder(*args, client=client, **more))
        return Hand(made[-1])

    yield make
    for each in made:
        each.close()


class Hand:
    """A page, as the kernel hears it: questions go in as messages, and what is seen is the document alone."""

    def __init__(self, builder: PromptBuilder) -> None:
        self.builder = builder
        self.told: list[dict[str, Any]] = []
        self.number = 0
        builder._doc.attach(self.told.append)
        builder._page = self  # type: ignore[assignment]
        self.answers: dict[int, dict[str, Any]] = {}

    def answer(self, message: dict[str, Any]) -> None:
        if "heard" not in message:  # the answer itself comes later
            self.answers[message["re"]] = message

    def close(self) -> None:
        self.builder._doc.detach()

    def ask(self, name: str, **args: Any) -> Any:
        said = self.try_(name, **args)
        assert "error" not in said, said
        return said.get("value")

    def try_(self, name: str, **args: Any) -> dict[str, Any]:
        self.number += 1
        self.builder._heard({"ask": name, "id": self.number, "by": "hand", "args": args}, [])
        number = self.number
        until(lambda: number in self.answers)
        return self.answers[number]

    def refused(self, name: str, **args: Any) -> str:
        return self.try_(name, **args)["error"]["message"]

    def type(self, field: str, value: str) -> None:
        self.ask("edit", field=field, value=value)

    def cell(self, at: int, column: str, value: str) -> None:
        self.ask("cell", row=self.row(at)["id"], column=column, value=value)

    def row(self, at: int) -> Any:
        return self["rows"][at]

    def run(self, *rows: int) -> None:
        self.ask("run", rows=[self.row(at)["id"] for at in rows] or None)
        self.wait()

    def wait(self) -> None:
        until(lambda: not self["run"]["on"])

    def __getitem__(self, key: str) -> Any:
        return self.builder._doc.snapshot()["tree"][key]


def until(true: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.005)


def bodies(box: sandbox.Sandbox) -> list[str]:
    return [each.fingerprint for each in box.seen if each.path.endswith("/chat/completions")]


# ── the prompt ──


def test_variables_are_found_and_the_preview_follows_what_is_typed(build: Callable[..., Hand]) -> None:
    hand = build()
    assert hand["preview"] == {"empty": True}
    hand.type("user", 'Say {word} as {"json": 1}')
    assert hand["variables"] == [{"name": "word", "there": False}]
    assert hand["columns"] == ["word"]
    assert "{word}" in hand["preview"]["trouble"]["message"]
    hand.cell(0, "word", "hi")
    assert hand["variables"] == [{"name": "word", "there": True}]
    assert hand["preview"]["messages"] == [{"role": "user", "content": 'Say hi as {"json": 1}'}]
    assert hand["preview"]["tokens"] > 5
    hand.type("system", "Be brief, {word}.")
    assert [each["content"] for each in hand["preview"]["messages"]] == [
        "Be brief, hi.",
        'Say hi as {"json": 1}',
    ]
    assert hand["preview"]["messages"] == hand.builder.messages(0)
    # A column of nothing that nothing uses is gone again; one with a value stays.
    hand.type("user", "Say {word} to {nam}")
    assert hand["columns"] == ["word", "nam"]
    hand.type("user", "Say it")
    hand.type("system", "")
    assert hand["columns"] == ["word"]


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("temperature", "3", "from 0 to 2"),
        ("temperature", "0,7", "from 0 to 2"),
        ("temperature", "nan", "from 0 to 2"),
        ("max_tokens", "0", "at least 1"),
        ("max_tokens", "1.5", "at least 1"),
        ("schema", "{", "no JSON"),
        ("schema", "[1]", "in braces"),
    ],
)
def test_what_cannot_be_sent_is_said_at_its_field(
    build: Callable[..., Hand], box: sandbox.Sandbox, field: str, text: str, told: str
) -> None:
    hand = build("Hi")
    before = len(box.seen)
    hand.type(field, text)
    assert told in hand["invalid"][field]
    assert hand["fields"][field] == text  # a draft is kept as it was typed
    assert field in hand.refused("run")
    with pytest.raises(bn.InvalidInput, match=field):
        hand.builder.run()
    assert len(box.seen) == before
    hand.type(field, "")
    assert hand["invalid"] == {}
    assert len(hand.builder.run()) == 1


def test_settings_reach_the_request(build: Callable[..., Hand]) -> None:
    hand = build("Hi")
    for name, text in {"temperature": "0.2", "max_tokens": "7", "model": "sandbox-scripted"}.items():
        hand.type(name, text)
    hand.type(
        "schema", '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}'
    )
    body = hand.builder.prompt.request().body
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0.2, 7, "sandbox-scripted")
    hand.type("max_tokens", "")
    hand.run()
    assert [name for name, _ in hand["answer"]["parts"]] == ["city"]
    assert next(iter(hand.builder.results)) == "city"


def test_python_and_hand_change_one_prompt(build: Callable[..., Hand]) -> None:
    class City(pydantic.BaseModel):
        name: str

    hand = build("Hi", examples=[("a", "b")], schema=City, name="Mine")
    assert '"title": "City"' in hand["fields"]["schema"]
    hand.builder.prompt = bn.Prompt("Hello {x}", temperature=0, options={"seed": 7})
    assert hand["fields"]["user"] == "Hello {x}"
    assert hand["fields"]["temperature"] == "0"
    assert hand["more"] == "seed = 7"
    hand.type("user", "Bye {x}")
    assert hand.builder.prompt == bn.Prompt("Bye {x}", temperature=0, options={"seed": 7})
    hand.builder.prompt = "Only this"
    assert hand["fields"]["user"] == "Only this"
    for wrong in ({"temperature": 5}, {"max_tokens": 0}, {"model": " "}):
        with pytest.raises(bn.InvalidInput):
            build("Hi", **wrong)
    with pytest.raises(bn.InvalidInput, match="not both"):
        build("Hi", prompt=bn.Prompt("Hello"))
    with pytest.raises(bn.InvalidInput, match=r"bn\.Prompt"):
        hand.builder.prompt = 5  # type: ignore[assignment]


def test_examples_are_added_edited_moved_and_removed(build: Callable[..., Hand]) -> None:
    hand = build("Q", examples=[("1", "one")])
    hand.ask("example_add")
    first, second = (each["id"] for each in hand["examples"])
    hand.ask("example_edit", id=second, part="user", value="2")
    hand.ask("example_edit", id=second, part="assistant", value="two {n}")
    hand.ask("example_move", id=second, by=-1)
    hand.ask("example_move", id=second, by=-1)  # it is the first already
    assert [(each.user, each.assistant) for each in hand.builder.prompt.examples] == [
        ("2", "two {n}"),
        ("1", "one"),
    ]
    assert [each["id"] for each in hand["examples"]] == [second, first]
    hand.ask("example_drop", id=first)
    assert [each["content"] for each in hand.builder.messages()] == ["2", "two {n}", "Q"]
    assert "not there" in hand.refused("example_move", id=first, by=1)


# ── rows ──


def test_rows_come_from_tables_lists_and_texts(build: Callable[..., Hand]) -> None:
    frame = pd.DataFrame({"city": ["Oslo", None], "n": [1, 2], "x": [1.5, float("nan")]})
    hand = build("{city} {n:d}", rows=frame)
    assert hand["columns"] == ["city", "n", "x"]
    assert [row["v"] for row in hand["rows"]] == [
        {"city": "Oslo", "n": "1", "x": "1.5"},
        {"city": None, "n": "2", "x": None},
    ]
    assert hand.builder.messages(0)[0]["content"] == "Oslo 1"
    hand.builder.rows = [{"city": "Rome", "n": 3}]
    assert hand.builder.rows == [{"city": "Rome", "n": 3}]
    assert build("{word}", rows=["a", "b"]).builder.rows == [{"word": "a"}, {"word": "b"}]
    assert build("{word}", rows=pd.Series([1, 2], name="word")).builder.rows == [{"word": 1}, {"word": 2}]
    assert build("{word}").builder.rows == []
    for wrong in ("text", 5, [object()], [[1]], pd.DataFrame([[1, 2]], columns=["a", "a"])):
        with pytest.raises(bn.InvalidInput):
            build("{word}", rows=wrong)
    with pytest.raises(bn.InvalidInput, match="2 variables"):
        build("{a} {b}", rows=["x"])
    with pytest.raises(bn.InvalidInput, match="10,000 rows"):
        build("{a}", rows=range(10_001))
    with pytest.raises(bn.InvalidInput, match="too long"):
        build("{a}", rows=["x" * 200_000])


def test_rows_are_added_edited_and_removed(build: Callable[..., Hand]) -> None:
    hand = build("{n:d} {word}", rows=[{"n": 1, "word": "a"}])
    added = hand.ask("row_add")
    assert hand["selected"] == added
    hand.cell(1, "n", "12")
    hand.cell(1, "word", "007")
    assert hand.builder.rows[1] == {"n": 12, "word": "007"}  # a number, as its column holds numbers; a text
    assert hand.builder.messages(1)[0]["content"] == "12 007"
    hand.cell(1, "word", "")
    assert "missing" in hand["preview"]["trouble"]["message"]
    hand.ask("row_drop", row=added)
    assert hand["selected"] == hand.row(0)["id"]
    hand.ask("row_drop", row=hand.row(0)["id"])
    assert hand.builder.rows == []
    assert len(hand["rows"]) == 1  # there is always one to write in
    assert "not there" in hand.refused("cell", row=added, column="n", value="1")
    assert "no column" in hand.refused("cell", row=hand.row(0)["id"], column="other", value="1")


def test_a_table_is_pasted(build: Callable[..., Hand]) -> None:
    hand = build("{city} has {n:d}", rows=[{"city": "Rome", "n": 1}])
    table = 'city;n\n"Oslo; the ""old"" one";2\r\nBergen;3\r\n'
    told = hand.ask("read", text=table)
    assert (told["columns"], told["count"], told["header"]) == (["city", "n"], 2, True)
    assert hand.ask("paste", text=table, add=True) == 2
    assert [row["n"] for row in hand.builder.rows] == [1, 2, 3]
    assert hand.builder.rows[1]["city"] == 'Oslo; the "old" one'
    hand.ask("paste", text="Tromsø\t4\nBodø\t\n")
    assert hand.builder.rows == [{"city": "Tromsø", "n": 4}, {"city": "Bodø", "n": None}]
    assert hand.ask("read", text="Tromsø\t4", header=True)["count"] == 0
    assert "nothing" in hand.refused("read", text="\n\n")
    assert "columns" in hand.refused("paste", text="x\t" * 60)
    assert "too long" in hand.refused("read", text="x" * 4_000_001)
    assert "10,000 rows" in hand.refused("paste", text="x\n" * 20_000)
    assert "read as a table" in hand.refused("read", text='a,"' + "x" * 140_000)
    assert len(hand.builder.rows) == 2  # what is refused changes nothing


CELL = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=5))
def test_every_pasted_cell_arrives(given: list[tuple[str, str]]) -> None:
    rows = [row for row in given if "".join(row).strip()]
    if not rows:
        return
    text = "\n".join("\t".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    read = prompt_rows.read_table(text, header=False)
    for row, found in zip(rows, read.rows, strict=True):
        for cell, (name, value) in zip(row, found.items(), strict=True):
            if not cell.strip():
                assert value is None
            else:
                assert str(value) == (cell.strip() if _numeric(read, name) else cell)


def _numeric(read: prompt_rows.Pasted, name: str) -> bool:
    return any(isinstance(row[name], int | float) for row in read.rows)


# ── running ──


def test_run_one_row_by_hand_and_all_from_python(build: Callable[..., Hand], box: sandbox.Sandbox) -> None:
    hand = build("Say hi to {name}", rows=["Ada", "Bob", "Cy"])
    hand.run(1)
    hand.ask("select", row=hand.row(1)["id"])
    answer = hand["answer"]
    reply = hand.builder.answers[1]
    assert isinstance(reply, bn.Reply)
    assert (answer["text"], answer["request_id"], answer["sandbox"]) == (reply.text, reply.request_id, True)
    assert hand.builder.answers[0] is None
    results = hand.builder.run()
    assert [each.ok for each in results] == [True] * 3
    assert results.answers == hand.builder.answers
    assert [row["a"]["state"] for row in hand["rows"]] == ["done"] * 3
    frame = hand.builder.results
    columns = [
        "name",
        "text",
        "model",
        "request_id",
        "tokens",
        "credits",
        "seconds",
        "finish_reason",
        "error",
        "score",
        "version",
    ]
    assert list(frame) == columns
    assert list(frame.name) == ["Ada", "Bob", "Cy"]
    assert list(frame.text) == [each.text for each in hand.builder.answers if isinstance(each, bn.Reply)]
    assert results.to_frame().equals(frame)
    assert len(hand["versions"]) == 1  # the prompt has not changed between the runs
    assert hand["versions"][0]["answers"] == 4
    # What Python sends is what bn.chat sends.
    seen = bodies(box)[-3:]
    prompt = hand.builder.prompt
    for row in hand.builder.rows:
        hand.builder._base.chat(prompt.messages(row), **prompt.keywords())
    assert sorted(bodies(box)[-3:]) == sorted(seen)
    with pytest.raises(bn.InvalidInput, match="no row"):
        hand.builder.run(7)


def test_a_rows_column_may_be_called_as_the_answers_are(build: Callable[..., Hand]) -> None:
    hand = build("Repeat {text}", rows=["a"])
    frame = (hand.builder.run(), hand.builder.results)[1]
    assert list(frame)[:2] == ["text", "answer_text"]
    assert frame.text[0] == "a"


def test_errors_stay_with_their_row_and_can_be_retried(
    build: Callable[..., Hand], box: sandbox.Sandbox
) -> None:
    hand = build("Say hi to {name}", rows=[{"name": "Ada"}, {"name": None}, {"name": "Cy"}])
    plan = hand.ask("plan")
    assert (plan["calls"], plan["left"], plan["unfit"]) == (2, 2, 1)
    box.inject("500")
    hand.run(0)
    assert hand.row(0)["a"]["state"] == "error"
    assert hand["answer"]["trouble"]["request_id"]
    results = hand.builder.run()
    assert [each.ok for each in results] == [True, False, True]
    assert isinstance(results[1].error, bn.InvalidInput)
    assert "missing" in hand.builder.results.error[1]
    assert hand.ask("plan")["left"] == 0
    hand.cell(1, "name", "Bob")
    assert hand.ask("plan")["left"] == 1
    hand.ask("run", left=True)
    hand.wait()
    assert hand["run"]["of"] == 1
    assert all(isinstance(each, bn.Reply) for each in hand.builder.answers)
    assert hand["versions"][0]["failed"] == 2  # nothing is lost


def test_nothing_is_sent_where_nothing_can_be(build: Callable[..., Hand], box: sandbox.Sandbox) -> None:
    hand = build("Say {word}")
    before = len(box.seen)
    for what in ("run", "plan"):
        assert "{word}" in hand.refused(what)
    with pytest.raises(bn.InvalidInput, match="word"):
        hand.builder.run()
    hand.type("user", "   ")
    assert "empty" in hand.refused("run")
    assert hand["versions"] == []
    assert len(box.seen) == before


def test_a_wrong_key_stops_the_rest(build: Callable[..., Hand], box: sandbox.Sandbox) -> None:
    hand = build("{n}", rows=range(20))
    for _ in range(20):
        box.inject("401")
    hand.run()
    assert hand["run"]["note"].startswith("Stopped after this: AuthenticationError")
    asked = [each for each in hand.builder.answers if each is not None]
    assert 1 <= len(asked) <= 8
    assert [row["a"] for row in hand["rows"]][-1] is None
    box.clear()
    assert all(each.ok for each in hand.builder.run())


def test_stop_leaves_what_has_come_and_asks_again_under_the_same_key(
    build: Callable[..., Hand], box: sandbox.Sandbox
) -> None:
    hand = build("Tell {n}", rows=range(8))
    for _ in range(8):
        box.inject("slow:5")
    started = len(box.seen)
    hand.ask("run")
    until(lambda: len(box.seen) >= started + 4)
    assert hand.ask("stop") is True
    hand.wait()
    assert "8 rows were left" in hand["run"]["note"]
    assert [row["a"] for row in hand["rows"]] == [None] * 8
    keys = {each.idempotency_key for each in box.seen[started:]}
    assert len(keys) == 4  # four at once
    box.clear()
    hand.run()
    assert hand["run"]["done"] == 8
    again = {each.idempotency_key for each in box.seen[started + 4 :]}
    assert keys < again


def test_stop_reaches_a_run_that_a_cell_waits_for(build: Callable[..., Hand], box: sandbox.Sandbox) -> None:
    hand = build("Tell {n}", rows=range(3))
    for _ in range(3):
        box.inject("slow:20")
    before = len(box.seen)

    def press() -> None:
        until(lambda: len(box.seen) > before)
        hand.ask("stop")

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(bn.Interrupted, match="Stopped"):
        hand.builder.run()
    presser.join()
    assert hand["run"]["on"] is False
    assert [row["a"] for row in hand["rows"]] == [None] * 3


def test_what_is_stopped_before_it_began_is_over_as_well(build: Callable[..., Hand]) -> None:
    hand = build("Tell {n}", rows=range(3))
    for _ in range(30):
        hand.ask("run")
        hand.ask("stop")
        hand.wait()
    until(lambda: not any(row.asking for row in hand.builder._rows))
    assert all(each.ok for each in hand.builder.run())


def test_a_row_may_go_while_it_is_asked_for(build: Callable[..., Hand], box: sandbox.Sandbox) -> None:
    hand = build("Tell {n}", rows=range(2))
    box.inject("slow:0.3")
    hand.ask("run", rows=[hand.row(0)["id"]])
    hand.ask("row_drop", row=hand.row(0)["id"])
    hand.wait()
    assert len(hand["rows"]) == 1
    assert len(hand.builder.versions[0].answers) == 1  # it was paid for


# ── versions ──


def test_versions_scores_diff_and_restore(build: Callable[..., Hand]) -> None:
    hand = build("Say hi to {name}", rows=["Ada", "Bob"])
    hand.run()
    first = hand.row(0)["a"]["text"]
    hand.ask("score", row=hand.row(0)["id"], score=4)
    hand.builder.score(1, 5)
    hand.ask("note", version=1, text="warm")
    hand.type("user", "Say bye to {name}")
    assert hand["version"] == 0
    assert '+  "user": "Say bye to {name}"' in hand.ask("diff", version=1)
    hand.run(0)
    assert [(each["n"], each["score"], each["notes"]) for each in hand["versions"]] == [
        (1, "4.5", "warm"),
        (2, "", ""),
    ]
    assert [row["a"]["version"] for row in hand["rows"]] == [2, 1]
    hand.ask("restore", version=1)
    assert hand.builder.prompt.user == "Say hi to {name}"
    assert hand["version"] == 1
    assert [(row["a"]["version"], row["a"]["score"]) for row in hand["rows"]] == [(1, 4), (1, 5)]
    assert hand.row(0)["a"]["text"] == first
    hand.type("name", "Greeting")
    assert hand["version"] == 1  # a name is for people
    assert hand.builder.versions[0].score == 4.5
    assert list(hand.builder.results.score) == [4, 5]
    for wrong in (0, 6, True, 2.5, "4"):
        assert "score" in hand.refused("score", row=hand.row(0)["id"], score=wrong)
    for wrong in (0, 3, "x"):
        assert "no version" in hand.refused("restore", version=wrong)
    hand.ask("score", row=hand.row(0)["id"], score=None)
    assert hand["versions"][0]["score"] == "5.0"


def test_an_answer_to_other_values_says_so(build: Callable[..., Hand]) -> None:
    hand = build("Say {w}", rows=["a"])
    hand.run()
    assert hand["answer"]["old"] is False
    hand.cell(0, "w", "b")
    assert hand["answer"]["old"] is True


def test_an_answer_to_other_values_stands_beside_no_row(build: Callable[..., Hand]) -> None:
    hand = build("repeat: {w}", rows=["a", "b"])
    hand.run()
    hand.cell(0, "w", "zebra")
    assert [row["a"].get("old") for row in hand["rows"]] == [True, None]
    assert hand.builder.answers[0] is None
    assert hand.builder.answers[1].text == "b"
    table = hand.builder.results
    assert list(table.w) == ["zebra", "b"]
    assert table.text.isna().tolist() == [True, False]
    assert display.to_plain(hand.builder).count("the row has changed since") == 1
    hand.cell(0, "w", "a")
    assert hand.builder.answers[0].text == "a"
    assert "changed since" not in display.to_plain(hand.builder)


def test_the_still_marks_answers_of_an_earlier_version(build: Callable[..., Hand]) -> None:
    hand = build("Say hi to {w}", rows=["Ada", "Bob"])
    hand.run()
    assert hand.builder.version == 1
    assert "v1" not in display.to_plain(hand.builder)
    hand.type("user", "Say bye to {w}")
    assert hand.builder.version == 0
    assert display.to_plain(hand.builder).count("v1") == 2


def test_an_answer_that_was_cut_off_says_so_everywhere(build: Callable[..., Hand]) -> None:
    hand = build("Write a text of {n} words.", rows=[80, 3], max_tokens=12)
    results = hand.builder.run()
    assert [each.finish_reason for each in results] == ["length", "stop"]
    assert list(hand.builder.results.finish_reason) == ["length", "stop"]
    assert [row["a"].get("cut") for row in hand["rows"]] == [True, None]
    assert hand["answer"]["cut"] == "cut off at max tokens"
    for seen in (hand.builder, results):
        assert display.to_plain(seen).count("cut off at max tokens") == 1


def test_equal_rows_keep_a_key_each(build: Callable[..., Hand], box: sandbox.Sandbox) -> None:
    hand = build("Tell {n}", rows=["same"] * 3)
    for _ in range(3):
        box.inject("slow:5")
    started = len(box.seen)
    hand.ask("run")
    until(lambda: len(box.seen) == started + 3)
    hand.ask("stop")
    hand.wait()
    keys = {each.idempotency_key for each in box.seen[started:]}
    assert len(keys) == 3
    box.clear()
    assert all(each.ok for each in hand.builder.run())
    assert {each.idempotency_key for each in box.seen[-3:]} == keys


def test_run_waits_for_rows_that_a_hand_is_asking_for(
    build: Callable[..., Hand], box: sandbox.Sandbox
) -> None:
    hand = build("Tell {n}", rows=range(4))
    for _ in range(2):
        box.inject("slow:0.5")
    started = len(box.seen)
    hand.ask("run", rows=[hand.row(0)["id"], hand.row(1)["id"]])
    until(lambda: len(box.seen) == started + 2)
    results = hand.builder.run()
    assert [each.row["n"] for each in results] == [0, 1, 2, 3]
    assert all(each.ok for each in results)
    assert len(box.seen) == started + 4  # nothing is asked twice


def test_stop_reaches_a_run_that_waits_for_the_rows_of_a_hand(
    build: Callable[..., Hand], box: sandbox.Sandbox
) -> None:
    hand = build("Tell {n}", rows=range(1))
    box.inject("slow:20")
    started = len(box.seen)
    hand.ask("run")
    until(lambda: len(box.seen) == started + 1)

    def press() -> None:
        until(lambda: len(hand.builder._jobs) == 2)  # the row, and the wait for it
        hand.ask("stop")

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(bn.Interrupted):
        hand.builder.run()
    presser.join()
    assert len(box.seen) == started + 1


def test_what_was_not_asked_after_a_hopeless_error_says_why(
    build: Callable[..., Hand], box: sandbox.Sandbox
) -> None:
    hand = build("{n}", rows=range(12))
    for _ in range(12):
        box.inject("401")
    results = hand.builder.run()
    assert len(results) == 12
    assert "This row was not asked" in str(results[-1].error)
    assert "AuthenticationError" in str(results[-1].error)
    assert hand.builder.answers[-1] is None


def test_parts_of_the_prompt_are_set_from_python(build: Callable[..., Hand]) -> None:
    hand = build("Say hi to {name}", rows=["Ada"])
    hand.type("max_tokens", "many")
    hand.builder.temperature = 0
    hand.builder.system = "Be kind"
    hand.builder.examples = [("a", "b")]
    hand.builder.schema = None
    assert hand["fields"]["temperature"] == "0"
    assert hand["fields"]["system"] == "Be kind"
    assert [each["user"] for each in hand["examples"]] == ["a"]
    assert hand["fields"]["max_tokens"] == "many"  # a hand is still at it
    hand.builder.max_tokens = 9
    assert (hand["fields"]["max_tokens"], hand["invalid"]) == ("9", {})
    assert [each["role"] for each in hand["preview"]["messages"]] == ["system", "user", "assistant", "user"]
    assert hand.builder.run()[0].ok
    assert hand.builder.prompt.keywords() == {"model": "auto", "temperature": 0, "max_tokens": 9}
    assert hand.builder.versions[0].prompt == hand.builder.prompt
    for name, wrong in (("temperature", 9), ("max_tokens", "x"), ("user", None), ("model", "")):
        with pytest.raises(bn.InvalidInput):
            setattr(hand.builder, name, wrong)
    assert hand.builder.prompt.temperature == 0


def test_rows_are_numbered_by_any_whole_number(build: Callable[..., Hand]) -> None:
    hand = build("Hi {n}", rows=range(2))
    assert [each.row["n"] for each in hand.builder.run(np.int64(1))] == [1]
    assert len(hand.builder.run([0, 0])) == 2
    assert len(hand.builder.versions[0].answers) == 2  # and is asked once
    for wrong in (True, 2, "0", 1.0):
        with pytest.raises(bn.InvalidInput, match="no row"):
            hand.builder.run(wrong)


def test_a_dict_of_columns_is_no_row(build: Callable[..., Hand]) -> None:
    with pytest.raises(bn.InvalidInput, match="dict of columns"):
        build("Hi {x}", rows={"x": ["a", "b"]})
    assert build("Hi {x}", rows=[{"x": ["a", "b"]}]).builder.rows == [{"x": ["a", "b"]}]
    assert build("Hi {x}", rows={"x": "a"}).builder.rows == [{"x": "a"}]


def test_the_code_says_that_the_builder_has_a_client_of_its_own(build: Callable[..., Hand]) -> None:
    assert "a client of its own" in build("Hi").builder.to_code().splitlines()[0]
    with PromptBuilder("Hi") as builder:
        assert "client" not in builder.to_code()


def test_the_bar_says_sandbox_when_an_answer_does(build: Callable[..., Hand]) -> None:
    hand = build("Hi", rows=None)
    assert hand["sandbox"] is False  # by its address alone it cannot be known
    hand.run()
    assert hand["sandbox"] is True


def test_the_history_is_summed_up_as_it_grows(build: Callable[..., Hand], box: sandbox.Sandbox) -> None:
    hand = build("Tell {n}", rows=range(3))
    box.inject("400")
    hand.run()
    hand.run(1)
    version = hand.builder.versions[0]
    assert version.failed == sum(not each.ok for each in version.answers) == 1
    assert version.credits == sum(each.credits for each in version.answers if each.credits is not None)
    hand.builder.score(0, 2)
    hand.builder.score(1, 5)
    hand.builder.score(0, 4)
    assert (version.score, version.scored) == (4.5, 2)
    hand.run(1)  # its score goes with the answer that it was given to
    assert (version.score, version.scored) == (4.5, 2)
    assert version.latest(hand.row(1)["id"]) is version.answers[-1]
    again = Version(1, version.prompt, list(version.answers))
    assert (again.failed, again.credits, again.score) == (1, version.credits, 4.5)


# ── code and files ──


def test_the_code_sends_byte_for_byte_the_same(
    build: Callable[..., Hand], box: sandbox.Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = build(
        'Say "{name}" {{x}} {n:03d}\n\'\'\'\\ {"a": 1}',
        system="Ünïcode \u202e 🎉",
        examples=[("{no}", "fields")],
        temperature=0.25,
        max_tokens=9,
        schema={"type": "object", "properties": {"a": {"type": "string"}}},
        rows=[{"name": HOSTILE, "n": 3}, {"name": "b", "n": 4}, {"name": None, "n": 5}],
    )
    before = len(bodies(box))
    hand.builder.run([0, 1])
    sent = bodies(box)[before:]
    code = hand.ask("code")
    assert code == hand.builder.to_code()
    monkeypatch.setattr(bn, "chat", hand.builder._base.chat)
    exec(compile(code, "cell", "exec"), {})
    assert sorted(bodies(box)[before + 2 :]) == sorted(sent)
    hand.builder.prompt = bn.Prompt("No gaps")
    assert 'bn.chat("No gaps")' in hand.builder.to_code()


def test_saved_and_loaded(build: Callable[..., Hand], tmp_path: Any, client: bn.Client) -> None:
    hand = build("Hi {name}\nBye", rows=[{"name": "Ada", "n": 1}, {"name": None, "n": 2}], name="Mine")
    path = hand.builder.save(tmp_path / "mine.json")
    document = json.loads(path.read_text("utf-8"))
    assert document["user"] == ["Hi {name}", "Bye"]
    with pytest.raises(bn.InvalidInput, match="already there"):
        hand.builder.save(path)
    with PromptBuilder.load(path, client=client) as other:
        assert other.prompt == hand.builder.prompt
        assert other.rows == hand.builder.rows
        assert other.save(tmp_path / "again.json").read_bytes() == path.read_bytes()


# ── speed, and what is shown ──


def test_with_a_thousand_rows_a_change_is_one_small_message(build: Callable[..., Hand]) -> None:
    hand = build("Tell {name} about {n}", rows=[{"name": f"name {n}", "n": n} for n in range(1000)])
    hand.builder._doc.flush()
    hand.told.clear()
    hand.type("user", "Tell {name} all about {n}")
    hand.cell(500, "name", "Ada")
    hand.ask("select", row=hand.row(500)["id"])
    hand.builder._doc.flush()
    paths = [path for each in hand.told for _, path, _ in each["patch"]]
    assert ["rows"] not in paths
    assert ["rows", 500, "v", "name"] in paths
    assert sum(len(json.dumps(each)) for each in hand.told) < 2000


def test_hostile_text_is_only_text(build: Callable[..., Hand]) -> None:
    hand = build(
        HOSTILE,
        system=HOSTILE,
        rows=[{"name": HOSTILE, "<b>": HOSTILE}],
        examples=[(HOSTILE, HOSTILE)],
        name=HOSTILE,
    )
    hand.run()
    hand.ask("note", version=1, text=HOSTILE)
    assert "\u202e" not in hand["preview"]["messages"][0]["content"]
    for thing in (hand.builder, hand.builder.run(), hand.builder.versions[0]):
        audit(display.to_html(thing))
        assert "\u202e" not in display.to_markdown(thing) + display.to_plain(thing)
    assert "no field" in hand.refused("edit", field="__class__", value="x")
    for args in (
        {"row": [], "column": "name", "value": "x"},
        {"row": hand.row(0)["id"], "column": "name", "value": 5},
    ):
        assert "error" in hand.try_("cell", **args)
    assert "error" in hand.try_("example_edit", id={}, part="user", value="x")


def test_the_still_says_everything_and_stays_small(build: Callable[..., Hand]) -> None:
    hand = build(
        "Hi {name}", system="Be kind", rows=[f"n{n}" for n in range(300)], temperature=0.5, name="Greeting"
    )
    hand.run(0, 1)
    hand.builder.score(0, 3)
    plain = display.to_plain(hand.builder)
    for word in (
        "Greeting",
        "Be kind",
        "Hi {name}",
        "n0",
        "temperature 0.5",
        "sandbox",
        "not asked yet",
        "260 more rows",
        "★ 3",
    ):
        assert word in plain
    assert len(display.to_html(hand.builder)) < 60_000
    assert repr(hand.builder) == "PromptBuilder('Hi {name}', 300 rows)"
    assert WIDGET not in hand.builder._repr_mimebundle_()
    assert "2 rows" in display.to_plain(hand.builder.run([0, 1]))


def test_closed_it_can_still_be_read(build: Callable[..., Hand]) -> None:
    hand = build("Hi", rows=None)
    hand.run()
    hand.builder.close()
    assert isinstance(hand.builder.answers[0], bn.Reply)
    assert hand.builder.to_code()


def test_the_code_sends_the_same_from_a_fresh_kernel(
    build: Callable[..., Hand], box: sandbox.Sandbox
) -> None:
    builder = build(
        'Say "{word}" to {who!r} as {"json": 1},\n\'\'\' """ \\ {{not}} – ü 漢字 🎉',
        system="You greet.\nIn few words.",
        rows=[{"word": "hi", "who": "Ada"}, {"word": HOSTILE, "who": 3}],
        examples=[("Greet Tom", "Hi Tom!")],
        temperature=0.5,
        max_tokens=30,
    ).builder
    before = len(bodies(box))
    builder.run()
    sent = sorted(bodies(box)[before:])
    assert len(set(sent)) == 2
    with Kernel(
        watched=False, env={"BEATRA_BASE_URL": box.base_url, "BEATRA_API_KEY": box.api_key}
    ) as kernel:
        kernel.run(builder.to_code())
    assert sorted(bodies(box)[before + 2 :]) == sent
