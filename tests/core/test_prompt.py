"""Prompts: what they send, how they are saved, and the code that says the same."""

from __future__ import annotations

import builtins
import copy
import datetime
import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import beatra_nb as bn
from beatra_nb import verbs
from beatra_nb.core import prompt_file
from beatra_nb.core.prompt import DEEPEST, OWN, Example, Prompt
from beatra_nb.core.prompt_code import WIDTH
from beatra_nb.core.prompt_file import KEYS, PromptFile
from beatra_nb.core.request import ChatRequest
from beatra_nb.core.template import escape
from tests.core.wire import KEY, Wire, completion, http


class City(BaseModel):
    name: str
    people: int


FULL = Prompt(
    "Greetings from {place}",
    system="You write postcards.\nNever more than {words:d} words.",
    examples=[("Greetings from {Rome}", "Pizza!\nSun!")],  # type: ignore[arg-type]
    model="m1",
    temperature=0.5,
    max_tokens=30,
    schema=City,  # type: ignore[arg-type]
    options={"seed": 7, "stop": ["\n"]},
    name="Postcards",
    notes="For the\nsummer.",
)
ROW = {"place": "Oslo", "words": 20}


# -- What is sent ------------------------------------------------------------------------------------------------


def test_it_sends_what_bn_chat_would_send() -> None:
    request = FULL.request({**ROW, "other": 1})
    messages = [
        {"role": "system", "content": "You write postcards.\nNever more than 20 words."},
        {"role": "user", "content": "Greetings from {Rome}"},
        {"role": "assistant", "content": "Pizza!\nSun!"},
        {"role": "user", "content": "Greetings from Oslo"},
    ]
    assert FULL.messages(ROW) == messages
    same = ChatRequest.of(
        messages, model="m1", temperature=0.5, max_tokens=30, schema=City, seed=7, stop=["\n"]
    )
    assert request.json == same.json


def test_the_shortest_prompt_is_the_shortest_call() -> None:
    assert Prompt("Hi").request().json == ChatRequest.of("Hi").json
    assert Prompt("Hi", system="").request().json == ChatRequest.of("Hi").json
    assert Prompt("Hi").keywords() == {"model": "auto"}


def test_variables_of_both_texts_come_once() -> None:
    assert Prompt("{a} {b} {a}", system="{c} {b} {{d}}").variables == ("c", "b", "a")
    assert FULL.variables == ("words", "place")


def test_a_row_is_needed_where_there_are_variables() -> None:
    with pytest.raises(bn.InvalidInput, match=r"\{words\}, \{place\}") as caught:
        FULL.messages()
    assert '{"words": …, "place": …}' in str(caught.value.hint)
    with pytest.raises(bn.InvalidInput, match=r"no value for \{place\}"):
        FULL.messages({"words": 1})


def test_a_row_may_come_from_a_table() -> None:
    frame = pd.DataFrame({"place": ["Oslo", "Bergen"], "words": [20, 30]})
    assert FULL.messages(frame.iloc[0]) == FULL.messages(ROW)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"user": " "}, "empty"),
        ({"user": " ", "examples": [("a", "b")]}, "empty"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"model": " "}, "model"),
        ({"options": {"tools": "hammer"}}, "tools"),
        ({"options": {"response_format": {}}, "schema": {}}, "schema"),
        ({"user": "\ud800"}, "surrogate"),
    ],
)
def test_a_draft_may_be_kept_and_not_sent(changes: dict[str, Any], says: str) -> None:
    draft = Prompt("Hi").replace(**changes)
    assert Prompt.from_json(draft.to_json()) == draft
    for use in (draft.request, draft.to_code):
        with pytest.raises(bn.InvalidInput, match=says):
            use()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"user": 5}, "'user' must be text, not 5"),
        ({"system": ["a"]}, "'system' must be text, not a list"),
        ({"model": None}, "'model' must be text, not nothing"),
        ({"name": 1.5}, "'name' must be text"),
        ({"temperature": "hot"}, "'temperature' must be a number, not text"),
        ({"temperature": True}, "'temperature' must be a number, not True"),
        ({"temperature": float("nan")}, "'temperature' must be a number"),
        ({"max_tokens": 1.5}, "'max_tokens' must be a whole number, not 1.5"),
        ({"max_tokens": True}, "'max_tokens' must be a whole number, not True"),
        ({"examples": "a"}, "'examples' must be a list"),
        ({"examples": {"a": "b"}}, "'examples' must be a list"),
        ({"examples": 5}, "'examples' must be a list"),
        ({"examples": ["ab"]}, "Example 1 must be a pair"),
        ({"examples": [("a", "b"), ("a",)]}, "Example 2 must be a pair"),
        ({"examples": [("a", 5)]}, "example's 'assistant' must be text"),
        ({"examples": [{"user": "a", "answer": "b"}]}, "Example 1"),
        ({"schema": "City"}, "schema must be"),
        ({"schema": {"a": {1, 2}}}, "'schema' must be plain JSON"),
        ({"options": [1]}, "'options' must be a dict"),
        ({"options": {1: 2}}, "'options' must be a dict"),
        ({"options": {"seed": object()}}, "'options' must be plain JSON"),
        ({"options": {"bias": float("inf")}}, "'options' must be plain JSON"),
        ({"options": {"temperature": 1}}, "cannot hold 'temperature'"),
        ({"options": {"stream": True}}, "cannot hold 'stream'"),
        ({"options": {"messages": []}}, "cannot hold 'messages'"),
    ],
)
def test_parts_of_the_wrong_type_are_refused_when_it_is_made(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(bn.InvalidInput, match=says):
        Prompt(**arguments)


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(bn.InvalidInput):
        Prompt("a", options={"deep": deep})
    level: Any = {}
    for _ in range(DEEPEST):
        level = [level]
    with pytest.raises(bn.InvalidInput, match="levels deep"):
        Prompt("a", options={"deep": level})


def test_it_never_changes_and_shares_nothing() -> None:
    options = {"stop": ["a"]}
    prompt = Prompt("Hi", options=options)
    options["stop"].append("b")
    prompt.keywords()["stop"].append("c")
    assert prompt.options == {"stop": ["a"]}
    with pytest.raises(FrozenInstanceError):
        prompt.user = "Ho"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(FULL)) == FULL == copy.deepcopy(FULL)


def test_replacing_makes_another() -> None:
    other = FULL.replace(user="Hello", examples=[Example("a", "b"), {"user": "c", "assistant": "d"}])
    assert (other.user, other.system) == ("Hello", FULL.system)
    assert other.examples == (Example("a", "b"), Example("c", "d"))
    assert FULL.user == "Greetings from {place}"
    with pytest.raises(bn.InvalidInput, match="no 'tempratur'"):
        FULL.replace(tempratur=1)


def test_numbers_from_numpy_become_plain() -> None:
    prompt = Prompt("Hi", temperature=np.float64(0.5), options={"seed": None})
    assert repr(prompt.temperature) == "0.5"
    assert prompt.options == {}


# -- Files ---------------------------------------------------------------------------------------------------------

SAVED = """{
  "beatra_prompt": 1,
  "name": "Postcards",
  "notes": [
    "For the",
    "summer."
  ],
  "model": "m1",
  "system": [
    "You write postcards.",
    "Never more than {words:d} words."
  ],
  "examples": [
    {
      "user": "Greetings from {Rome}",
      "assistant": [
        "Pizza!",
        "Sun!"
      ]
    }
  ],
  "user": "Greetings from {place}",
  "temperature": 0.5,
  "max_tokens": 30,
  "options": {
    "seed": 7,
    "stop": [
      "\\n"
    ]
  },
  "rows": [
    {
      "place": "Tromsø",
      "words": 20
    },
    {
      "place": [
        "Oslo,",
        "Norway"
      ],
      "words": null
    }
  ]
}
"""
ROWS = ({"place": "Tromsø", "words": 20}, {"place": "Oslo,\nNorway", "words": None})


def test_the_file_reads_well() -> None:
    prompt = FULL.replace(schema=None)
    assert prompt.to_json(ROWS) == SAVED
    assert prompt_file.parse(SAVED) == PromptFile(prompt, ROWS)
    assert Prompt("Hi").to_json() == '{\n  "beatra_prompt": 1,\n  "model": "auto",\n  "user": "Hi"\n}\n'


def test_the_documented_file_is_one() -> None:
    assert prompt_file.__doc__ is not None
    shown = prompt_file.__doc__.partition("json\n\n")[2].partition("\n\n*")[0]
    told = prompt_file.parse(shown)
    assert told.prompt.variables == ("words", "place")
    assert [line.strip() for line in told.text().splitlines()] == [
        line.strip() for line in shown.splitlines()
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SIGNS = st.characters() | st.sampled_from("\"\"''\\\\\n\n{}{} \t\r\u2028\x00é漢😀")
TEXT = st.text(SIGNS, max_size=200)
SPOKEN = TEXT.filter(lambda text: text.strip() and not re.search("[\ud800-\udfff]", text))  # what can be sent
NAMES = st.text(max_size=8) | st.sampled_from(["seed", "top_p", "stop", "user", "x-y", "class", "print"])
OPTIONS = st.dictionaries(NAMES, JSON, max_size=3).filter(
    lambda options: not (OWN | {"tools", "fallback", "response_format"}) & set(options)
)


def prompts(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Prompt]:
    return st.builds(
        Prompt,
        texts,
        system=st.none() | texts,
        examples=st.lists(st.tuples(texts, texts), max_size=2),
        model=st.just("auto") | SPOKEN,
        temperature=st.none() | st.integers(0, 2) | st.floats(0, 2),
        max_tokens=st.none() | st.integers(1, 10**6),
        schema=st.none() | st.dictionaries(st.text(), JSON, max_size=3),
        options=OPTIONS,
        name=TEXT,
        notes=TEXT,
    )


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT


@given(prompts(TEXT), st.lists(st.dictionaries(TEXT, SCALARS, max_size=3), max_size=3))
def test_what_was_saved_is_read_again(prompt: Prompt, rows: list[dict[str, Any]]) -> None:
    text = prompt.to_json(rows)
    assert prompt_file.parse(text) == PromptFile(prompt, tuple(rows)) == prompt_file.parse(text.encode())
    assert prompt_file.parse(text).text() == text
    assert [key for key in json.loads(text) if key not in KEYS] == []
    assert text.endswith("\n}\n")


def test_saving_and_loading(tmp_path: Path) -> None:
    path = tmp_path / "postcards.json"
    assert FULL.save(path, ROWS) == path
    assert Prompt.load(path) == FULL
    assert prompt_file.load(str(path)).rows == ROWS
    with pytest.raises(bn.InvalidInput, match="already there") as caught:
        Prompt("other").save(path)
    assert "overwrite=True" in str(caught.value.hint)
    assert Prompt.load(path) == FULL
    Prompt("\ud800 other").save(path, overwrite=True)
    assert Prompt.load(path) == Prompt("\ud800 other")
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["postcards.json"]


def test_rows_of_tables_become_plain(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.5, float("nan")], "b": ["x", None], "n": [1, 2]})
    path = Prompt("{a}").save(tmp_path / "p.json", rows=(row for _, row in frame.iterrows()))
    assert prompt_file.load(path).rows == ({"a": 1.5, "b": "x", "n": 1}, {"a": None, "b": None, "n": 2})
    assert PromptFile(Prompt(), ({"x": np.int64(3), "y": np.True_},)).rows == ({"x": 3, "y": True},)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"day": datetime.date(2026, 1, 1)}, "'day' of row 1 is datetime.date"),
        ({"x": float("inf")}, "finite"),
        ({"x": [1]}, "'x' of row 1"),
        ({5: 1}, "name 5"),
        ([1], "by name, in a dict"),
    ],
)
def test_rows_that_have_no_place_in_a_file_are_refused(tmp_path: Path, row: Any, says: str) -> None:
    with pytest.raises(bn.InvalidInput, match=says):
        Prompt("Hi").save(tmp_path / "p.json", rows=[row])
    assert not [each for each in tmp_path.iterdir() if each.is_file()]


def file_with(**changes: Any) -> str:
    return json.dumps({"beatra_prompt": 1, "model": "auto", "user": "Hi", **changes})


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("", "no JSON", "prompt.save"),
        ("{", "line 1, column 2", ""),
        ("[]", "beatra_prompt", ""),
        ("{}", "beatra_prompt", ""),
        ('{"beatra_prompt": "1"}', "must be 1", ""),
        ('{"beatra_prompt": true}', "must be 1", ""),
        ('{"beatra_prompt": 0}', "must be 1", ""),
        ('{"beatra_prompt": 2, "new": 1}', "of version 2; this package reads version 1", "pip install -U"),
        (file_with(temprature=1), "'temprature' is no key", "'temperature'"),
        (file_with(**{"x" * 10**6: 1}), "is no key", "There are: beatra_prompt, name"),
        (file_with(temperature="1"), "'temperature' must be a number, not text", ""),
        (file_with(max_tokens=1.5), "'max_tokens' must be a whole number", ""),
        (file_with(model=["a"]), "'model' must be text", ""),
        (file_with(user=5), "'user' must be text, or a list of lines", ""),
        (file_with(user=[]), "'user' must be text, or a list of lines", ""),
        (file_with(user=["a", 5]), "'user' must be text, or a list of lines", ""),
        (file_with(system=None), "'system' must be text", ""),
        (file_with(examples={}), "'examples' must be a list", ""),
        (file_with(examples=["a"]), "Example 1 must be an object", ""),
        (file_with(examples=[{"user": "a"}]), "Example 1 has no 'assistant'", ""),
        (file_with(examples=[{"user": "a", "assistent": "b"}]), "'assistent' is no key", "'assistant'"),
        (file_with(examples=[{"user": "a", "assistant": 5}]), "Example 1's 'assistant' must be text", ""),
        (file_with(schema=[]), "'schema' must be a JSON schema", ""),
        (file_with(schema=None), "'schema' must be a JSON schema", ""),
        (file_with(options=[]), "'options' must be a dict", ""),
        (file_with(options={"model": "x"}), "cannot hold 'model'", "model="),
        (file_with(rows={}), "'rows' must be a list", ""),
        (file_with(rows=[1]), "Row 1 must be an object", ""),
        (file_with(rows=[{}, {"a": {}}]), "'a' of row 2", ""),
        (file_with(rows=[{"a": [1]}]), "'a' of row 1 must be text", ""),
        ('{"beatra_prompt": 1, "user": "a", "user": "b"}', "'user' stands twice", "Keep one"),
        ('{"beatra_prompt": 1, "temperature": NaN}', "NaN", ""),
        ('{"beatra_prompt": 1, "temperature": 1e999}', "'temperature' must be a number", ""),
        ('{"beatra_prompt": 1, "rows": [{"a": -1e999}]}', "finite", ""),
        ('{"beatra_prompt": 1, "max_tokens": ' + "9" * 5000 + "}", "no JSON that can be read", ""),
        ("[" * 10**6, "no JSON", ""),
        ('{"a":' * 10**5, "no JSON", ""),
        (" " * 10_000_001, "more than 10 MB", ""),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_a_file_that_is_not_right_is_refused_by_name(tmp_path: Path, text: str, says: str, hint: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text, "utf-8")
    with pytest.raises(bn.InvalidInput, match=says) as caught:
        Prompt.load(path)
    assert str(path) in caught.value.message
    assert hint in (caught.value.hint or "")
    assert len(str(caught.value)) < 600
    with pytest.raises(bn.InvalidInput, match=says):
        Prompt.from_json(text)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, says in [
        (tmp_path / "none.json", "There is no file"),
        (tmp_path, "is no file"),
        (tmp_path / "pipe", "is no file"),
        ("/dev/zero", "is no file"),
        ("a\0b", "cannot be read"),
        (5, "not a usable path"),
    ]:
        with pytest.raises(bn.InvalidInput, match=says):
            Prompt.load(path)  # type: ignore[arg-type]
    (tmp_path / "latin").write_bytes(b'{"beatra_prompt": 1, "user": "\xe9"}')
    with pytest.raises(bn.InvalidInput, match="UTF-8"):
        Prompt.load(tmp_path / "latin")
    with pytest.raises(bn.InvalidInput, match="cannot be written"):
        FULL.save(tmp_path / "none" / "p.json")


def test_a_file_from_another_system_is_read(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(b"\xef\xbb\xbf" + FULL.to_json().replace("\n", "\r\n").encode())
    assert Prompt.load(path) == FULL


def test_a_diff_shows_the_lines_that_changed() -> None:
    other = FULL.replace(system="You write postcards.\nAlways {words} words.", name="Postcards, 2nd")
    assert FULL.diff(FULL) == ""
    lines = FULL.diff(other).splitlines()
    assert lines[:2] == ["--- Postcards", "+++ Postcards, 2nd"]
    assert '-    "Never more than {words:d} words."' in lines
    assert '+    "Always {words} words."' in lines
    assert '     "You write postcards.",' in lines
    assert sum(line.startswith(("+ ", "- ")) for line in lines) == 4


# -- Code ----------------------------------------------------------------------------------------------------------


def sent_by(code: str, **names: Any) -> list[bytes]:
    """Run code that may import nothing but this package, and return the bodies of its calls as they would be sent."""
    bodies: list[bytes] = []

    def chat(prompt: Any, **options: Any) -> str:
        bodies.append(ChatRequest.of(prompt, **options).json)
        return "a reply"

    package = SimpleNamespace(chat=chat, Prompt=Prompt)

    def only_the_package(name: str, *more: Any) -> Any:
        assert name in ("beatra_nb", "datetime")
        return package if name == "beatra_nb" else builtins.__import__(name, *more)

    scope = {"__builtins__": {"__import__": only_the_package}, "client": package, **names}
    exec(compile(code, "the code", "exec"), scope)
    return bodies


def longest(code: str) -> int:
    return max(map(len, code.splitlines()))


@given(prompts(SPOKEN.map(escape)))
def test_code_without_variables_sends_the_same_bytes(prompt: Prompt) -> None:
    code = prompt.to_code()
    assert sent_by(code) == [prompt.request().json]
    assert sent_by(prompt.to_code(client="client")) == [prompt.request().json]


VALUES = st.booleans() | st.integers() | st.floats(-9, 9) | SPOKEN | st.dates() | st.datetimes()
# What has no literal is written as the text that it becomes; with a conversion that would be another text.
ODD = st.decimals(allow_nan=False) | st.uuids() | st.timedeltas()
SPOKEN_ROWS = st.lists(
    st.fixed_dictionaries({"a": VALUES, "First name": VALUES | ODD, "other": ODD}), max_size=3
)


@given(prompts(SPOKEN.map(lambda text: escape(text) + " {a} {First name} {a!r:>3}")), SPOKEN_ROWS)
def test_code_with_rows_sends_the_same_bytes(prompt: Prompt, rows: list[dict[str, Any]]) -> None:
    assert sent_by(prompt.to_code(rows)) == [prompt.request(row).json for row in rows]
    for row in rows[:1]:
        assert sent_by(prompt.to_code(row)) == [prompt.request(row).json]


LONG = "word " * 60 + "\n\n" + "w" * 200 + ' "quoted" it\'s \\ back\u2028slash """triple""" ' + "é漢😀 " * 30


def test_code_is_laid_out_to_be_read() -> None:
    assert Prompt("Hi {{you}}").to_code() == 'import beatra_nb as bn\n\nbn.chat("Hi {you}")\n'
    assert (
        Prompt('Say "hi"', system="It's\nshort", model="m", temperature=0, options={"top_p": 1}).to_code()
        == """import beatra_nb as bn

bn.chat('Say "hi"', system="It's\\nshort", model="m", temperature=0, top_p=1)
"""
    )
    prompt = FULL.replace(schema=None, model="auto", options={})
    assert (
        prompt.to_code([ROW, {"place": "Rome", "words": 5, "other": 1}])
        == """import beatra_nb as bn

prompt = bn.Prompt(
    "Greetings from {place}",
    system=(
        "You write postcards.\\n"
        "Never more than {words:d} words."
    ),
    examples=[("Greetings from {Rome}", "Pizza!\\nSun!")],
    temperature=0.5,
    max_tokens=30,
)
rows = [{"words": 20, "place": "Oslo"}, {"words": 5, "place": "Rome"}]

replies = [bn.chat(prompt.messages(row), **prompt.keywords()) for row in rows]
"""
    )
    assert "row = {" in prompt.to_code(ROW)
    assert "\nbn.chat(prompt.messages(row), **prompt.keywords())\n" in prompt.to_code(ROW)
    code = prompt.to_code([ROW], client="a_client_with_a_long_name")
    assert longest(code) <= WIDTH
    assert "    for row in rows\n]" in code


def test_no_line_of_code_is_too_long() -> None:
    prompt = Prompt(
        escape(LONG), system=escape(LONG), examples=[(LONG, LONG)], schema={"title": "T", "a": [{"b": LONG}]}
    )  # type: ignore[arg-type]
    assert sent_by(prompt.to_code()) == [prompt.request().json]
    assert longest(prompt.to_code()) <= WIDTH
    prompt = prompt.replace(user="{text}")
    row = {"text": LONG}
    assert sent_by(prompt.to_code([row, row])) == [prompt.request(row).json] * 2
    assert longest(prompt.to_code([row, row])) <= WIDTH


def test_code_is_laid_out_as_a_formatter_would() -> None:
    for prompt, rows in [(FULL, [ROW, ROW]), (FULL.replace(user="Hi", system="It's me"), None)]:
        prompt = prompt.replace(system="Be brief.", examples=[("it's", '"x"')], user=prompt.user + '\'""')
        code = prompt.to_code(rows)
        done = subprocess.run(
            [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", str(WIDTH), "-"],
            input=code, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == code


def test_code_without_rows_can_be_filled_in() -> None:
    code = Prompt("Hi {First name}").to_code()
    assert 'row = {"First name": ""}  # fill in your values\n' in code
    assert sent_by(code) == [Prompt("Hi {name}").request({"name": ""}).json]


@pytest.mark.parametrize("half", ["\ud83d", "a\udc00'\"", "\ud83d\ude00"])
def test_half_characters_are_written_safely(half: str) -> None:
    """They cannot be sent, and code that holds them can be saved all the same."""
    code = Prompt("Hi {x!a}").to_code({"x": half})
    code.encode()
    assert sent_by(code) == [Prompt("Hi {x!a}").request({"x": half}).json]


def test_values_of_tables_become_plain_in_code() -> None:
    frame = pd.DataFrame(
        {
            "n": [1, 2],
            "x": [1.5, 2.5],
            "day": pd.to_datetime(["2026-01-02", "2026-02-03"]),
            "item": [["a", 1], {"b": None}],
        }
    )
    prompt = Prompt("{n:03d} {x:.1f} {day:%d.%m.%Y} {item} {t}")
    rows: list[dict[Any, Any]] = [
        {**row, "x": np.float64(row["x"]), "t": datetime.timedelta(days=2)}
        for row in frame.to_dict("records")
    ]
    code = prompt.to_code(rows)
    assert "import datetime\n\nimport beatra_nb as bn\n" in code
    assert "datetime.datetime(2026, 1, 2, 0, 0)" in code
    assert sent_by(code) == [prompt.request(row).json for row in rows]
    short = Prompt("{n:d} {day}")
    assert sent_by(short.to_code(frame)) == [short.request(row).json for row in frame.to_dict("records")]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"a": 1}, {}], r"no value for \{a\}"),
        ([{"a": 1}, {"a": None}], r"Row 2: The value of \{a\} is missing"),
        ([{"a": "x"}], "does not fit"),
        ([{"a": Decimal(5)}], "row 1, of type Decimal, cannot be code"),
        ([5], "by name, in a dict"),
        ("rows", "Rows must be a list"),
        (5, "Rows must be a list"),
    ],
)
def test_rows_that_cannot_be_sent_make_no_code(rows: Any, says: str) -> None:
    with pytest.raises(bn.InvalidInput, match=says):
        Prompt("{a:03.0f}").to_code(rows)


@pytest.mark.parametrize("client", ["", "a b", "bn; import os", "a.", "5"])
def test_the_client_is_a_name(client: str) -> None:
    with pytest.raises(bn.InvalidInput, match="client"):
        Prompt("Hi").to_code(client=client)


@pytest.fixture
def connected(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """A server that the verbs of the package talk to."""
    wire.say(http(200, completion('{"name": "Oslo", "people": 5}')))
    monkeypatch.setattr(verbs, "_client", None)
    bn.connect(KEY, base_url=wire.base_url, journal=False)
    return wire


@pytest.mark.parametrize("row", [ROW, None], ids=["variables", "none"])
def test_code_sends_the_same_bytes_over_the_wire(connected: Wire, row: dict[str, Any] | None) -> None:
    prompt = FULL if row else FULL.replace(user=escape(LONG), system=None)
    exec(prompt.to_code(row), {})
    assert [asked.body for asked in connected.asked] == [prompt.request(row).json]
