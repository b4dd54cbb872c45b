"""What a batch takes for rows, and how a prompt becomes a request for each of them."""

from __future__ import annotations

import dataclasses
import functools
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import narwhals as nw
import narwhals.stable.v1 as nw_v1
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel

import beatra_nb as bn
from beatra_nb.batch.asks import Asker
from beatra_nb.batch.rows import Rows


class Word(NamedTuple):
    word: str


@dataclasses.dataclass
class DataWord:
    word: str


class ModelWord(BaseModel):
    word: str


def asked(prompt: Any, row: object, **keywords: Any) -> str:
    return str(Asker.of(prompt, **keywords).request(row).body["messages"][-1]["content"])


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame({"word": ["a", "b"]}, index=[9, 9]),
        pl.DataFrame({"word": ["a", "b"]}),
        pa.table({"word": ["a", "b"]}),
        [{"word": "a"}, {"word": "b"}],
        [Word("a"), Word("b")],
        [DataWord("a"), DataWord("b")],
        [ModelWord(word="a"), ModelWord(word="b")],
        pd.Series(["a", "b"]),
        pl.Series(["a", "b"]),
        pa.RecordBatch.from_pydict({"word": ["a", "b"]}),
        pa.array(["a", "b"]),
        pa.chunked_array([["a"], ["b"]]),
        pd.Index(["a", "b"]),
        pd.Series([{"word": "a"}, {"word": "b"}], index=[9, 9]),
        pl.Series([{"word": "a"}, {"word": "b"}]),
        pd.DataFrame({"word": ["a", "b"]}, index=pd.MultiIndex.from_tuples([(1, 1), (1, 1)])),
        nw.from_native(pd.DataFrame({"word": ["a", "b"]})),
        nw_v1.from_native(pl.DataFrame({"word": ["a", "b"]})),
        nw.from_native(pl.Series(["a", "b"]), series_only=True),
        np.array(["a", "b"]),
        ["a", "b"],
        ("a", "b"),
    ],
    ids=lambda data: f"{type(data).__module__}.{type(data).__name__}",
)
def test_rows_of_every_kind(data: Any) -> None:
    rows = Rows.of(data)
    assert rows.total == 2
    asker = Asker.of("Say {word}.")
    asker.check(rows, next(iter(rows)))
    plain = dataclasses.replace(rows, kind="plain")
    for again in (rows, plain):
        said = [asker.request(row).body["messages"][-1]["content"] for row in again]
        assert said == ["Say a.", "Say b."]
        assert again.lasting


def test_generators_are_not_read_beforehand() -> None:
    def rows() -> Any:
        raise AssertionError("read too early")
        yield

    assert Rows.of(rows()).total is None
    assert not Rows.of(rows()).lasting


def test_async_iterators() -> None:
    async def rows() -> AsyncIterator[str]:
        yield "a"

    assert Rows.of(rows()).awaited


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ("one text", "list of rows"),
        ({"a": 1}, "one dict"),
        (3, "int"),
        (pl.DataFrame({"a": [1]}).lazy(), "lazy"),
        (nw.from_native(pl.LazyFrame({"a": [1]})), "lazy"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "by name.*'a'"),
        (pa.table([[1], [2]], names=["a", "a"]), "by name.*'a'"),
        (pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])), "several levels"),
        (pd.MultiIndex.from_tuples([("a", 1)]), "to_frame"),
        (np.zeros((2, 2)), "2 dimensions"),
        (np.array(5), "0 dimensions"),
        (np.array([(1, 2)], dtype=[("a", int), ("b", int)]), "fields"),
        (pa.table({"a": [1]}).to_reader(), "RecordBatchReader"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_rows(data: Any, word: str) -> None:
    with pytest.raises(bn.InvalidInput, match=f"(?s){word}") as told:
        Rows.of(data)
    assert told.value.hint


@pytest.mark.parametrize("data", [pd.DataFrame({"city": ["a"]}), [{"city": "a"}]])
def test_a_name_that_is_not_there_is_told_with_the_nearest(data: Any) -> None:
    rows = Rows.of(data)
    with pytest.raises(bn.InvalidInput, match=r"\{citi\}") as told:
        Asker.of("Where is {citi}?").check(rows, next(iter(rows)))
    assert "{city}" in str(told.value.hint)


def test_single_values_have_one_name_at_most() -> None:
    rows = Rows.of(["a"])
    with pytest.raises(bn.InvalidInput, match="single values"):
        Asker.of("{a} and {b}").check(rows, "a")


@pytest.mark.parametrize("value", [None, float("nan"), pd.NA, pd.NaT])
def test_a_missing_value_is_an_error_of_its_row(value: Any) -> None:
    asker = Asker.of("Say {word}.")
    for row in ({"word": value}, value):
        with pytest.raises(bn.InvalidInput, match="missing"):
            asker.request(row)


def test_functions() -> None:
    assert asked(lambda row: f"Say {row['x']}", {"x": 1}) == "Say 1"
    assert asked(lambda row: [{"role": "user", "content": "Hi"}], {}) == "Hi"
    with pytest.raises(bn.InvalidInput, match="KeyError"):
        asked(lambda row: row["nope"], {})
    special = Asker.of(lambda row: bn.Prompt("Say {x}", model="mine", temperature=0.5), system="S").request(
        {"x": 1}
    )
    assert special.body["model"] == "mine"
    assert special.body["temperature"] == 0.5


async def awaited(row: Any) -> str:
    return "Hi"


async def streamed(row: Any) -> AsyncIterator[str]:
    yield "Hi"


def generated(row: Any) -> Iterator[str]:
    yield "Hi"


class Awaited:
    async def __call__(self, row: Any) -> str:
        return "Hi"


@pytest.mark.parametrize(
    "prompt", [awaited, functools.partial(awaited), Awaited(), Awaited().__call__, streamed, generated]
)
def test_a_function_that_is_no_plain_one_is_refused_at_once(prompt: Any) -> None:
    with pytest.raises(bn.InvalidInput, match=r"is (async|a generator); it has to be a plain one") as told:
        Asker.of(prompt)
    assert told.value.hint


def test_what_has_to_be_awaited_is_no_prompt() -> None:
    with pytest.raises(bn.InvalidInput, match="awaited"):
        asked(lambda row: awaited(row), "x")
    gc.collect()  # nobody complains that it was never awaited


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("temprature", "temperature"),
        ("max_activ", "max_active"),
        ("chekpoint", "checkpoint"),
        ("dedup", "dedupe"),
    ],
)
def test_a_misspelt_option_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(bn.InvalidInput, match=f"'{name}'.*'{nearest}'"):
        Asker.of("Say {word}.", **{name: 1})
    assert Asker.of("Say {word}.", top_k=3).base.body["top_k"] == 3


def test_a_prompts_own_settings_yield_to_those_of_the_call() -> None:
    prompt = bn.Prompt("Say {x}", system="Be {mood}.", model="mine", temperature=0.5)
    body = Asker.of(prompt, temperature=0.1, model="auto").request({"x": 1, "mood": "kind"}).body
    assert (body["model"], body["temperature"]) == ("mine", 0.1)
    assert body["messages"][0] == {"role": "system", "content": "Be kind."}
    assert Asker.of(prompt, system="Other").request({"x": 1}).body["messages"][0]["content"] == "Other"


def test_fingerprints_follow_what_decides_about_answers() -> None:
    def one(row: Any) -> str:
        return f"{row}!"

    def two(row: Any) -> str:
        return f"{row}?"

    made = [
        Asker.of("a {x}"),
        Asker.of("b {x}"),
        Asker.of("a {x}", system="s"),
        Asker.of("a {x}", model="m"),
        Asker.of("a {x}", temperature=0.1),
        Asker.of("a {x}", schema=ModelWord),
        Asker.of(one),
        Asker.of(two),
    ]
    assert len({repr(each.fingerprint) for each in made}) == len(made)
    assert Asker.of("a {x}").fingerprint == Asker.of(bn.Prompt("a {x}")).fingerprint
