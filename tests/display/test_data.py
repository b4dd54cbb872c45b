"""What was parsed from an answer, as it is seen: words, records, tables and trees."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import typing
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel

from beatra_nb import display
from beatra_nb.display import live
from beatra_nb.display.data import parsed
from beatra_nb.display.pieces import BRIEF, NORMAL
from beatra_nb.display.view import Fields, Stack, Table, Text
from tests.display.gallery import reply
from tests.display.test_views import says, silent


class Mood(enum.Enum):
    GOOD = "good"


class City(BaseModel):
    name: str
    people: int | None = None
    twin: City | None = None
    tags: list[str] = []


@dataclasses.dataclass
class Trip:
    day: datetime.date
    cities: list[City]


class Pair(typing.NamedTuple):
    word: str
    count: int


class Names(RootModel[list[City]]):
    pass


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (4, "4"),
        (2.5, "2.5"),
        (True, "True"),
        ("good", "good"),
        (Mood.GOOD, "good"),
        (Decimal("1.50"), "1.50"),
        (datetime.date(2026, 11, 23), "2026-11-23"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_a_word_or_a_figure_stands_out(data: object, shown: str) -> None:
    assert parsed(data, NORMAL) == Text(shown, strong=True)
    says(reply('{"value": 1}', data=data), shown, "The answer as it came")


def test_a_long_text_is_text() -> None:
    text = "One line.\nAnd another."
    assert parsed(text, NORMAL) == Text(text)
    long = parsed("x" * 5000, BRIEF)
    assert isinstance(long, Stack)


@pytest.mark.parametrize("kind", [list, tuple, Names])
def test_records_are_a_table(kind: Any) -> None:
    data = kind([City(name="Bern", people=134_000, tags=["a"]), City(name="Köln")])
    table = parsed(data, NORMAL)
    assert isinstance(table, Table)
    assert table.head == ("name", "people", "twin", "tags")
    assert table.figures == {1}
    assert table.rows[0] == (Text("Bern"), Text("134000"), Text("none", quiet=True), Text('["a"]'))
    says(reply("x", data=data), "name", "Bern", "134000", "Köln")


def test_records_need_not_have_the_same_fields() -> None:
    table = parsed([{"a": 1}, {"b": Mood.GOOD, "a": None}, Pair("w", 1)._asdict()], NORMAL)
    assert isinstance(table, Table)
    assert table.head == ("a", "b", "word", "count")
    assert table.rows[1][1] == Text("good")


def test_a_long_table_is_cut_and_counted() -> None:
    view = parsed([{"a": at} for at in range(BRIEF.rows + 7)], BRIEF)
    assert isinstance(view, Stack)
    assert view.items[1] == Text("… 7 more rows", quiet=True)
    assert parsed([{"a": 1}] * BRIEF.rows, BRIEF) == parsed(tuple([{"a": 1}] * BRIEF.rows), BRIEF)


def test_very_wide_records_stand_one_below_the_other() -> None:
    view = parsed([{f"field {at}": at for at in range(20)}] * 2, NORMAL)
    assert isinstance(view, Fields)
    assert [name for name, _ in view.rows] == ["1", "2"]


def test_a_record_within_a_record_is_a_tree() -> None:
    data = Trip(datetime.date(2026, 11, 23), [City(name="Bern", twin=City(name="Köln"))])
    view = parsed(data, NORMAL)
    assert isinstance(view, Fields)
    assert [name for name, _ in view.rows] == ["day", "cities"]
    assert isinstance(view.rows[1][1], Table)
    says(
        reply("x", data=City(name="Bern", twin=City(name="Köln", tags=["a", "b"]))),
        "twin",
        "Köln",
        '["a", "b"]',
    )
    tree = reply("x", data={"a": {"b": {"c": 1}}})
    assert "a  b  c  1" in display.to_plain(tree)
    assert "- a:\n  - b:\n    - c: 1" in display.to_markdown(tree)
    table = display.to_markdown(reply("x", data={"a": [{"b": "x|y"}]}))
    assert "- a:\n\n  | b |\n  | --- |\n  | x\\|y |" in table


def test_what_is_nested_too_deep_is_json() -> None:
    data: Any = {"end": 1}
    for _ in range(20):
        data = {"in": data}
    says(reply("x", data=data), '{"in": ')
    says(reply("x", data=[[1, 2], [3]]), "1", "3")
    assert "[[1, 2], [3]]" in display.to_plain(reply("x", data=[[1, 2], [3]]))
    says(reply("x", data={"many": list(range(500))}), "499")


@pytest.mark.parametrize(
    ("data", "words"),
    [({}, "nothing in it"), ([], "an empty list"), ({"a": None}, "none"), ({"a": []}, "an empty list")],
)
def test_what_is_empty_says_so(data: object, words: str) -> None:
    says(reply("x", data=data), words)


def test_sets_stand_in_order() -> None:
    assert parsed({3, 1, 2}, NORMAL) == Text("[1, 2, 3]")
    assert parsed({1: "a"}, NORMAL) == Text('{"1": "a"}')


def test_an_object_that_holds_itself() -> None:
    loop: dict[str, Any] = {}
    loop["in"] = loop
    says(reply("x", data=loop), "{...}")


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.binary(max_size=3)
    | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.dictionaries(st.integers(), inner, max_size=2)
        | st.tuples(inner)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=10,
)


@given(data=ANY)
def test_anything_can_be_shown(data: object) -> None:
    shown = display.bundle(reply("The text.", data=data))
    assert all(shown.values())
    assert "too large" not in shown["text/plain"]


# ── repairs ──


@pytest.mark.parametrize(
    ("repairs", "badge", "count"), [(1, "1 repair", "2 answers"), (3, "3 repairs", "4 answers")]
)
def test_a_repair_is_told_and_that_it_was_charged(repairs: int, badge: str, count: str) -> None:
    mended = reply('{"value": 4}', data=4, repairs=repairs)
    says(mended, badge, count, "charged", "The usage is their sum")
    silent(mended.with_(repairs=0), "repair", "did not fit")
    assert f"asked for again {repairs}×" in live.footer(mended)
    assert "asked for again" not in live.footer(mended.with_(repairs=0))


def test_in_a_terminal_the_answer_that_counts_stands_last(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = live._Terminal()
    terminal.add('{"value": "four"}')
    terminal.finish(reply('{"value": 4}', data=4, repairs=1))
    first, told, second, footer = capsys.readouterr().out.splitlines()
    assert (first, second) == ('{"value": "four"}', '{"value": 4}')
    assert "did not fit" in told
    assert "asked for again 1×" in footer
