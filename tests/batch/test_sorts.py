"""Python types as columns, and values made to fit them without loss."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, Field, HttpUrl, RootModel

from beatra_nb.batch.sorts import PLACES, Sort, as_text, fitted, plain, sort_of

EAST = dt.timezone(dt.timedelta(hours=2))
ZONED, BARE = dt.datetime(2026, 1, 1, 12, tzinfo=EAST), dt.datetime(2026, 1, 1, 12)


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
    both: str = dataclasses.field(init=False, default="")


class Tags(RootModel[list[str]]):
    pass


Score = NewType("Score", int)


@pytest.mark.parametrize(
    ("kind", "sort"),
    [
        (int, Sort("int")),
        (int | None, Sort("int")),
        (int | float, Sort("float")),
        (int | str, Sort("object")),
        (Score, Sort("int")),
        (Annotated[int, Field(ge=0)], Sort("int")),
        (Tone, Sort("category", ("good", "bad"))),
        (Literal["a", "b"] | None, Sort("category", ("a", "b"))),
        (Literal[1, 2], Sort("int")),
        (dt.datetime, Sort("datetime")),
        (AwareDatetime, Sort("datetime")),
        (dt.time | None, Sort("time")),
        (dt.timedelta, Sort("duration")),
        (Decimal, Sort("decimal")),
        (bytes, Sort("bytes")),
        (UUID, Sort("text")),
        (Path, Sort("text")),
        (HttpUrl, Sort("text")),
        (IPv4Address, Sort("text")),
        (list[Score], Sort("list", (Sort("int"),))),
        (list[UUID] | None, Sort("list", (Sort("text"),))),
        (Tags, Sort("list", (Sort("str"),))),
        (Place, Sort("struct", (("city", Sort("str")), ("height", Sort("int"))))),
        (Pair, Sort("struct", (("left", Sort("int")), ("right", Sort("str"))))),
        (dict[str, int], Sort("map", (Sort("int"),))),
        (dict[int, str], Sort("object")),
        (object, Sort("object")),
        (Any, Sort("object")),
    ],
)
def test_sorts(kind: Any, sort: Sort) -> None:
    assert sort_of(kind) == sort


def test_a_type_that_holds_itself_ends_at_once() -> None:
    class Tree(BaseModel):
        one: Tree | None
        two: Tree | None
        three: list[Tree]
        four: dict[str, Tree]
        five: Tree | int

    Tree.model_rebuild(_types_namespace={"Tree": Tree})
    names = ("one", "two", "three", "four", "five")
    inner = {"three": Sort("list", (Sort("object"),)), "four": Sort("map", (Sort("object"),))}
    assert sort_of(Tree) == Sort("struct", tuple((each, inner.get(each, Sort("object"))) for each in names))


def test_plain_values() -> None:
    assert plain(Place(city="Oslo")) == {"city": "Oslo", "height": None}
    assert plain([Pair(1, "r")]) == [{"left": 1, "right": "r"}]
    assert plain({"a": Tone.BAD}) == {"a": "bad"}
    assert plain(Tags(["x"])) == ["x"]
    assert plain(Decimal("1.10")) == Decimal("1.10")


@pytest.mark.parametrize(
    ("kind", "values", "sort", "held"),
    [
        (dt.datetime, [BARE, None], Sort("datetime"), [BARE, None]),
        (dt.datetime, [None], Sort("datetime"), [None]),
        (dt.datetime, [ZONED, None], Sort("instant"), [ZONED, None]),
        (dt.datetime, [ZONED, BARE], Sort("text"), ["2026-01-01T12:00:00+02:00", "2026-01-01T12:00:00"]),
        (
            dt.datetime,
            [dt.datetime.min.replace(tzinfo=EAST)],
            Sort("text"),
            ["0001-01-01T00:00:00+02:00"],
        ),
        (dt.time, [dt.time(10), None], Sort("time"), [dt.time(10), None]),
        (dt.time, [dt.time(10), dt.time(10, tzinfo=EAST)], Sort("text"), ["10:00:00", "10:00:00+02:00"]),
        (
            Decimal,
            [Decimal("1.25"), Decimal("1E+3")],
            Sort("decimal", (2,)),
            [Decimal("1.25"), Decimal(1000)],
        ),
        (Decimal, [Decimal(1).scaleb(PLACES)], Sort("text"), [f"1E+{PLACES}"]),
        (Decimal, [Decimal("NaN"), None], Sort("text"), ["NaN", None]),
        (UUID, [UUID(int=1), None], Sort("text"), [str(UUID(int=1)), None]),
        (
            list[dt.datetime],
            [[ZONED], None, [], [BARE, BARE]],
            Sort("list", (Sort("text"),)),
            [["2026-01-01T12:00:00+02:00"], None, [], ["2026-01-01T12:00:00"] * 2],
        ),
        (
            dict[str, Decimal],
            [{"a": Decimal("0.5"), "b": Decimal(2)}, None, {}, {"c": None}],
            Sort("map", (Sort("decimal", (1,)),)),
            [{"a": Decimal("0.5"), "b": Decimal(2)}, None, {}, {"c": None}],
        ),
    ],
)
def test_values_are_fitted(kind: Any, values: list[Any], sort: Sort, held: list[Any]) -> None:
    assert fitted(sort_of(kind), values) == (sort, held)


MOMENTS = st.none() | st.datetimes(timezones=st.none() | st.just(EAST) | st.just(dt.UTC))


@given(
    st.lists(st.none() | st.lists(st.none() | st.fixed_dictionaries({"at": MOMENTS}), max_size=3), max_size=4)
)
def test_no_moment_is_moved_however_deep_it_stands(rows: list[Any]) -> None:
    sort = Sort("list", (Sort("struct", (("at", Sort("datetime")),)),))
    made, held = fitted(sort, rows)
    assert [row and len(row) for row in held] == [row and len(row) for row in rows]

    def moments(values: Any) -> list[Any]:
        return [each and each["at"] for row in values if row for each in row]

    before, after = moments(rows), moments(held)
    kind = made.inner[0].inner[0][1].name
    if kind == "text":
        after = [each and dt.datetime.fromisoformat(each) for each in after]
    assert after == before
    some = [each for each in before if each]
    if kind == "instant":
        assert all(each.tzinfo is dt.UTC for each in after if each)
    elif kind == "datetime":
        assert all(each.tzinfo is None for each in some)
    else:
        assert some


def test_texts() -> None:
    assert [as_text(each) for each in (BARE, b"\xff", Decimal("1.0"), dt.datetime)] == [
        "2026-01-01T12:00:00",
        "\\xff",
        "1.0",
        "<class 'datetime.datetime'>",
    ]
