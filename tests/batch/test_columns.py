"""Answers as columns of every library: index, dtypes and nulls survive."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import narwhals as nw
import narwhals.stable.v1 as nw_v1
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal as assert_polars_equal
from pydantic import BaseModel

from beatra_nb.batch.columns import Column, columns_of, frame_of, join
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


def test_names_are_kept_apart() -> None:
    frame = pd.DataFrame({"name": [1, 2], "error": [3, 4], "error_answer": [5, 6]})
    joined = join(frame, columns(tuple(frame.columns)))
    assert list(joined["name"]) == [1, 2]
    assert joined["name_answer"].iloc[0] == "x"
    assert list(joined["error_answer"]) == [5, 6]
    assert list(joined["error_answer2"]) == [None, "rate_limited"] or pd.isna(joined["error_answer2"][0])
    assert joined.columns.is_unique


class Named(BaseModel):
    error: str
    text: str
    model: int


NAMED = [Outcome(0, "…", Named(error="E", text="T", model=7), "req_1", "m"), Outcome(1, error=NO)]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_what_is_told_of_every_answer_keeps_its_name_whatever_the_schema(make: Any) -> None:
    def told(own: dict[str, Any]) -> dict[str, list[Any]]:
        joined = join(make(own), columns_of(NAMED, Shape.of(Named), own))
        named = joined if isinstance(joined, pa.Table) else {name: joined[name] for name in joined.columns}
        names = named.column_names if isinstance(named, pa.Table) else list(named)
        return {name: [None if pd.isna(each) else each for each in list_of(named[name])] for name in names}

    alone = told({"q": [1, 2]})
    assert list(alone) == [
        "q", "error_answer", "text", "model_answer",
        "request_id", "model", "credits", "attempts", "error", "retryable",
    ]  # fmt: skip
    assert (alone["error"], alone["error_answer"]) == ([None, "rate_limited"], ["E", None])
    assert (alone["model"], alone["model_answer"], alone["text"]) == (["m", None], [7, None], ["T", None])
    both = told({"error": [1, 2], "text": [3, 4]})
    assert both["error"] == [1, 2]
    assert both["error_answer"] == [None, "rate_limited"]
    assert both["error_answer2"] == ["E", None]
    assert (both["text"], both["text_answer"]) == ([3, 4], ["T", None])


def list_of(column: Any) -> list[Any]:
    return column.to_pylist() if isinstance(column, pa.ChunkedArray) else list(column)


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


EAST = dt.timezone(dt.timedelta(hours=2))
ZONED, BARE = dt.datetime(2026, 1, 1, 12, tzinfo=EAST), dt.datetime(2026, 1, 1, 12)
KINDS: list[tuple[Any, list[Any], str, Any, Any]] = [
    (dt.datetime, [ZONED, None], "datetime64[us, UTC]", pl.Datetime("us", "UTC"), pa.timestamp("us", "UTC")),
    (dt.datetime, [BARE, None], "datetime64[us]", pl.Datetime("us"), pa.timestamp("us")),
    (dt.datetime, [None, None], "datetime64[us]", pl.Datetime("us"), pa.timestamp("us")),
    (
        dt.datetime,
        [dt.datetime.max, dt.datetime.min],
        "datetime64[us]",
        pl.Datetime("us"),
        pa.timestamp("us"),
    ),
    (dt.timedelta, [dt.timedelta(seconds=5), None], "timedelta64[us]", pl.Duration("us"), pa.duration("us")),
    (dt.time, [dt.time(10), None], "object", pl.Time, pa.time64("us")),
    (Decimal, [Decimal("1.10"), Decimal(100)], "object", pl.Decimal(38, 2), pa.decimal128(38, 2)),
    (bytes, [b"a\xff", None], "object", pl.Binary, pa.binary()),
    (
        list[dt.datetime],
        [[ZONED], None],
        "object",
        pl.List(pl.Datetime("us", "UTC")),
        pa.list_(pa.timestamp("us", "UTC")),
    ),
    (UUID, [UUID(int=1), None], "object", pl.String, pa.string()),
    (dt.datetime, [ZONED, BARE], "object", pl.String, pa.string()),
    (dt.time, [dt.time(10, tzinfo=EAST), None], "object", pl.String, pa.string()),
    (dt.timedelta, [dt.timedelta.max, None], "object", pl.String, pa.string()),
    (int, [10**30, None], "object", pl.String, pa.string()),
    (dict[str, int], [{"a": 1}, None], "object", pl.String, pa.map_(pa.string(), pa.int64())),
    (
        dict[str, dt.datetime],
        [{"a": ZONED}, {"b": BARE}],
        "object",
        pl.String,
        pa.map_(pa.string(), pa.string()),
    ),
    (Any, [ZONED, BARE], "object", pl.String, pa.string()),
    (str, ["half a \ud800", None], "object", pl.String, pa.string()),
]


@pytest.mark.parametrize(("kind", "values", "pandas", "polars", "arrow"), KINDS)
def test_every_kind_of_value_has_a_column_and_keeps_what_it_says(
    kind: Any, values: list[Any], pandas: str, polars: Any, arrow: Any
) -> None:
    column = Column("x", kind, values)
    made = join(pd.DataFrame({"q": [1, 2]}), [column])["x"]
    assert made.dtype == pandas
    assert [None if each is pd.NaT or each is None else each for each in made] == values
    series = join(pl.DataFrame({"q": [1, 2]}), [column])["x"]
    assert series.dtype == polars
    array = join(pa.table({"q": [1, 2]}), [column])["x"]
    assert array.type == arrow
    for read in (series.to_list(), array.to_pylist()):
        if series.dtype == pl.String or pa.types.is_string(array.type):
            assert [each is None for each in read] == [each is None for each in values]
        else:
            assert read == values
    if values == [ZONED, BARE]:
        texts = array.to_pylist()
        assert [dt.datetime.fromisoformat(each) for each in texts] == values


def test_moments_inside_of_structs_keep_their_instant() -> None:
    class Event(BaseModel):
        at: dt.datetime | None
        price: Decimal
        seen: list[dt.datetime]

    event = Event(at=ZONED, price=Decimal("0.10"), seen=[BARE])
    outcomes = [Outcome(0, "…", [event, event]), Outcome(1, "…", []), Outcome(2, error=NO)]
    made = columns_of(outcomes, Shape.of(list[Event]))
    inner = {"at": ZONED, "price": Decimal("0.10"), "seen": [BARE]}
    polars = join(pl.DataFrame({"q": [1, 2, 3]}), made)["value"]
    assert polars.dtype == pl.List(
        pl.Struct(
            {"at": pl.Datetime("us", "UTC"), "price": pl.Decimal(38, 2), "seen": pl.List(pl.Datetime("us"))}
        )
    )
    arrow = join(pa.table({"q": [1, 2, 3]}), made)["value"]
    assert arrow.type.value_type.field("at").type == pa.timestamp("us", "UTC")
    pandas = join(pd.DataFrame({"q": [1, 2, 3]}), made)["value"]
    for read in (polars.to_list(), arrow.to_pylist(), pandas.tolist()):
        assert read == [[inner, inner], [], None]


MOMENTS = st.lists(st.none() | st.datetimes(timezones=st.none() | st.just(EAST)), min_size=1, max_size=4)


@given(MOMENTS)
def test_no_moment_is_moved_in_any_library(values: list[dt.datetime | None]) -> None:
    column = Column("at", dt.datetime, values)
    for own in (pd.DataFrame, pl.DataFrame, pa.table):
        held = list_of(join(own({"q": values and list(range(len(values)))}), [column])["at"])
        read = [dt.datetime.fromisoformat(each) if isinstance(each, str) else each for each in held]
        assert [None if each is pd.NaT else each for each in read] == values


def test_series_give_frames() -> None:
    series = pd.Series(["a", "b"], index=[7, 7], name="q")
    assert list(frame_of(series, columns()).index) == [7, 7]
    assert frame_of(pl.Series("q", ["a", "b"]), columns()).height == 2
    assert frame_of(pa.chunked_array([["a", "b"]]), columns()).num_rows == 2
    assert frame_of(pa.array(["a", "b"]), columns()).num_rows == 2


@pytest.mark.parametrize("narwhals", [nw, nw_v1])
def test_what_narwhals_wraps_comes_back_wrapped(narwhals: Any) -> None:
    frame = narwhals.from_native(pd.DataFrame({"q": [1, 2]}, index=[7, 7]))
    joined = join(frame, columns())
    assert type(joined) is type(frame)
    assert list(joined.to_native().index) == [7, 7]
    made = frame_of(narwhals.from_native(pl.Series("q", [1, 2]), series_only=True), columns())
    assert type(made) is type(frame)
    assert made.to_native().schema["tone"] == pl.Enum(["good", "bad"])


def test_a_record_batch_stays_one() -> None:
    joined = join(pa.RecordBatch.from_pydict({"q": [1, None]}), columns())
    assert isinstance(joined, pa.RecordBatch)
    assert joined.column("q").to_pylist() == [1, None]
    assert pa.types.is_dictionary(joined.schema.field("tone").type)


def test_what_the_frame_had_is_as_it_was() -> None:
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None], dtype="Int8"),
            "c": pd.Categorical(["a", None], categories=["b", "a"], ordered=True),
            "t": pd.to_datetime(["2026-01-01", None]).tz_localize("Europe/Oslo"),
            "p": pd.period_range("2026", periods=2, freq="D"),
            "o": [{"a": [1]}, None],
            5: [0.5, float("nan")],
        },
        index=pd.MultiIndex.from_tuples([("a", 1), ("a", 1)], names=["k", "n"]),
    )
    frame.columns.name = "about"
    for own in (frame, frame.iloc[[0]], frame.iloc[:0]):
        joined = join(own, columns_of(OUTCOMES[: len(own)], SHAPE, own.columns))
        pd.testing.assert_frame_equal(joined[list(own.columns)], own)
        assert joined.columns.name == "about"
    polars = pl.DataFrame(frame[["n", "c", "t"]].reset_index(drop=True))
    assert_polars_equal(join(polars, columns()).select(polars.columns), polars)
    field = pa.field("q", pa.int8(), metadata={"unit": "m"})
    table = pa.table({"q": pa.array([1, None], pa.int8())}, schema=pa.schema([field], {"about": "x"}))
    joined = join(table, columns())
    assert joined.select(["q"]).equals(table, check_metadata=True)
    assert joined.schema.metadata == {b"about": b"x"}


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
