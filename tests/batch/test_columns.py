"""Answers as columns of every library: index, dtypes and nulls survive."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from decimal import Decimal
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel

from beatra_nb.batch.columns import Column, Sort, columns_of, frame_of, join, plain, sort_of
from beatra_nb.batch.outcome import Outcome, Trouble
from beatra_nb.core.typed import Shape


class Tone(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Place(BaseModel):
    city: str
    height: int | None = None


@dataclasses.dataclass
class Pair:
    left: int
    right: str


class Everything(BaseModel):
    name: str
    count: int
    ratio: float
    sure: bool
    tone: Tone
    kind: Literal["a", "b"] | None
    day: dt.date
    tags: list[str]
    place: Place
    pair: Pair
    either: int | str


SHAPE = Shape.of(Everything)
WHOLE = Everything(
    name="x",
    count=3,
    ratio=0.5,
    sure=True,
    tone=Tone.BAD,
    kind="a",
    day=dt.date(2026, 1, 2),
    tags=["p", "q"],
    place=Place(city="Oslo", height=3),
    pair=Pair(1, "r"),
    either="y",
)
NO = Trouble("RateLimited", "Too much.", "rate_limited", retryable=True)
OUTCOMES = [
    Outcome(0, "…", WHOLE, "req_1", "m", Decimal("0.25"), attempts=1),
    Outcome(1, attempts=4, error=NO),
]


def columns(taken: tuple[str, ...] = ()) -> list[Column]:
    return columns_of(OUTCOMES, SHAPE, taken)


@pytest.mark.parametrize(
    ("kind", "sort"),
    [
        (int, Sort("int")),
        (int | None, Sort("int")),
        (int | float, Sort("float")),
        (int | str, Sort("object")),
        (Tone, Sort("category", ("good", "bad"))),
        (Literal["a", "b"] | None, Sort("category", ("a", "b"))),
        (Literal[1, 2], Sort("int")),
        (list[int], Sort("list", (Sort("int"),))),
        (Place, Sort("struct", (("city", Sort("str")), ("height", Sort("int"))))),
        (dict[str, int], Sort("object")),
        (Any, Sort("object")),
    ],
)
def test_sorts(kind: Any, sort: Sort) -> None:
    assert sort_of(kind) == sort


def test_a_type_that_holds_itself_ends() -> None:
    class Tree(BaseModel):
        children: list[Tree]

    Tree.model_rebuild(_types_namespace={"Tree": Tree})
    assert sort_of(Tree).name in ("struct", "object")


def test_plain_values() -> None:
    assert plain(WHOLE)["place"] == {"city": "Oslo", "height": 3}
    assert plain(WHOLE)["pair"] == {"left": 1, "right": "r"}
    assert plain(WHOLE)["tone"] == "bad"


def test_names_are_kept_apart() -> None:
    frame = pd.DataFrame({"name": [1, 2], "error": [3, 4], "error_answer": [5, 6]})
    joined = join(frame, columns(tuple(frame.columns)))
    assert list(joined["name"]) == [1, 2]
    assert joined["name_answer"].iloc[0] == "x"
    assert list(joined["error_answer"]) == [5, 6]
    assert list(joined["error_answer2"]) == [None, "rate_limited"] or pd.isna(joined["error_answer2"][0])
    assert joined.columns.is_unique


@pytest.mark.parametrize("index", [["a", "b"], ["a", "a"], [5, 1]])
def test_pandas(index: list[Any]) -> None:
    frame = pd.DataFrame({"q": pd.array([1, None], dtype="Int8")}, index=index)
    frame.attrs["mine"] = 1
    joined = join(frame, columns())
    assert list(joined.index) == index
    assert joined["q"].dtype == "Int8"
    assert joined.attrs == {"mine": 1}
    assert list(frame.columns) == ["q"], "what was passed stays as it is"
    assert joined["count"].dtype == "Int64"
    assert joined["count"].isna().tolist() == [False, True]
    assert joined["sure"].dtype == "boolean"
    assert joined["tone"].dtype == pd.CategoricalDtype(["good", "bad"])
    assert joined["place"].iloc[0] == {"city": "Oslo", "height": 3}
    assert joined["place"].iloc[1] is None
    assert joined["credits"].tolist()[0] == 0.25
    assert joined["retryable"].tolist()[1] is True
    assert joined["attempts"].tolist() == [1, 4]


def test_polars() -> None:
    joined = join(pl.DataFrame({"q": pl.Series([1, None], dtype=pl.Int8)}), columns())
    assert joined.schema["q"] == pl.Int8
    assert joined.schema["tone"] == pl.Enum(["good", "bad"])
    assert joined.schema["place"] == pl.Struct({"city": pl.String, "height": pl.Int64})
    assert joined.schema["tags"] == pl.List(pl.String)
    assert joined["day"].to_list() == [dt.date(2026, 1, 2), None]
    assert joined["place"].to_list()[0] == {"city": "Oslo", "height": 3}
    assert joined["either"].to_list() == ["y", None]


def test_pyarrow() -> None:
    joined = join(pa.table({"q": pa.array([1, None], pa.int8())}), columns())
    assert joined.schema.field("q").type == pa.int8()
    assert joined.schema.field("place").type == pa.struct([("city", pa.string()), ("height", pa.int64())])
    assert pa.types.is_dictionary(joined.schema.field("tone").type)
    assert joined["tone"].to_pylist() == ["bad", None]
    assert joined["day"].to_pylist() == [dt.date(2026, 1, 2), None]
    assert joined["either"].to_pylist()[1] is None


@pytest.mark.parametrize(
    "frame", [pd.DataFrame({"q": []}), pl.DataFrame({"q": []}), pa.table({"q": pa.array([], pa.int64())})]
)
def test_empty_frames_have_the_columns_all_the_same(frame: Any) -> None:
    joined = join(frame, columns_of([], SHAPE, ("q",)))
    names = joined.column_names if isinstance(joined, pa.Table) else list(joined.columns)
    assert names[:3] == ["q", "name", "count"]
    assert len(joined) == 0


@pytest.mark.parametrize("kind", [int, float, bool, str, dt.date, Tone, list[int], Place, int | str])
def test_what_does_not_fit_its_type_is_kept(kind: Any) -> None:
    column = Column("x", kind, [object, None])
    for native in (pd.DataFrame({"q": [1, 2]}), pl.DataFrame({"q": [1, 2]}), pa.table({"q": [1, 2]})):
        assert len(join(native, [column])) == 2


def test_series_give_frames() -> None:
    series = pd.Series(["a", "b"], index=[7, 7], name="q")
    assert list(frame_of(series, columns()).index) == [7, 7]
    assert frame_of(pl.Series("q", ["a", "b"]), columns()).height == 2
    assert frame_of(pa.chunked_array([["a", "b"]]), columns()).num_rows == 2


def test_text_where_there_is_no_schema() -> None:
    made = columns_of([Outcome(0, "hi"), Outcome(1, error=NO)], None)
    assert made[0] == Column("text", str, ["hi", None])
    assert [each.name for each in made][1:] == [
        "request_id",
        "model",
        "credits",
        "attempts",
        "error",
        "retryable",
    ]
