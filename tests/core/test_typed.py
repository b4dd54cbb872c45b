"""Types in the wide sense as shapes of answers: what is sent, what is read, what is refused."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import os
import pickle
import re
import subprocess
import sys
import threading
import typing
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar
from uuid import UUID

import pytest
import typing_extensions
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, TypeAdapter, create_model, field_validator

import beatra_nb as bn
from beatra_nb.core.typed import Misfit, Shape

T = TypeVar("T")


class City(BaseModel):
    name: str
    people: int | None = None


class Node(BaseModel):
    label: str
    children: list[Node] = []


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0
    tags: list[str] = dataclasses.field(default_factory=list)


class Movie(typing_extensions.TypedDict):
    title: str
    year: typing_extensions.NotRequired[int]


class Page(BaseModel, Generic[T]):
    items: list[T]


class Names(RootModel[list[str]]):
    pass


class Pair(typing.NamedTuple):
    word: str
    count: int


class Picky(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def _lower(cls, value: str) -> str:
        if value != value.lower():
            raise ValueError("write it in small letters")
        return value


class Faulty(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def _wrong(cls, value: str) -> str:
        raise KeyError(value)


Score = NewType("Score", int)
Json = typing_extensions.TypeAliasType("Json", "dict[str, Json] | list[Json] | str | None")

# What is asked for, an answer as JSON, and what it is.
READ: list[tuple[Any, object, object]] = [
    (City, {"name": "Bern", "people": 5}, City(name="Bern", people=5)),
    (Node, {"label": "a", "children": [{"label": "b"}]}, Node(label="a", children=[Node(label="b")])),
    (Page[int], {"items": [1]}, Page[int](items=[1])),
    (Point, {"x": 1, "y": 2, "tags": ["t"]}, Point(1, 2.0, ["t"])),
    (Movie, {"title": "M"}, {"title": "M"}),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (int, 4, 4),
    (float, 0.5, 0.5),
    (str, "x", "x"),
    (bool, True, True),
    (None.__class__, None, None),
    (datetime.date, "2026-11-23", datetime.date(2026, 11, 23)),
    (datetime.datetime, "2026-11-23T10:00:00Z", datetime.datetime(2026, 11, 23, 10, tzinfo=datetime.UTC)),
    (Decimal, "1.50", Decimal("1.50")),
    (UUID, "00000000-0000-0000-0000-000000000001", UUID(int=1)),
    (Mood, "good", Mood.GOOD),
    (Literal["good", "bad"], "bad", "bad"),
    (Literal[1, 2], 2, 2),
    (list[City], [{"name": "Bern"}], [City(name="Bern")]),
    (list[list[int]], [[1], []], [[1], []]),
    (tuple[int, str], [1, "a"], (1, "a")),
    (set[int], [1, 2], {1, 2}),
    (Pair, ["a", 1], Pair("a", 1)),
    (int | None, None, None),
    (City | Point, {"x": 1}, Point(1)),
    (Mood | None, "bad", Mood.BAD),
    (Annotated[int, Field(ge=1, le=5)], 5, 5),
    (Annotated[City, "noted"], {"name": "Bern"}, City(name="Bern")),
    (Names, ["a"], Names(["a"])),
    (Score, 3, 3),
    (Json, {"a": ["b", None]}, {"a": ["b", None]}),
    (Any, [1, {"a": None}], [1, {"a": None}]),
]
AS_NAME = {"ids": lambda value: str(value)[:40]}


@pytest.mark.parametrize(("schema", "said", "data"), READ, **AS_NAME)
def test_what_is_asked_for_is_what_comes(schema: Any, said: object, data: object) -> None:
    shape = Shape.of(schema)
    assert shape.json_schema["type"] == "object", "services want an object at the root"
    told = {"value": said} if shape.wrapped else said
    for text in (json.dumps(told), json.dumps(told, indent=1), f"```json\n{json.dumps(told)}\n```"):
        read = shape.parse(text)
        assert read == data
        assert type(read) is type(data)
    assert pickle.loads(pickle.dumps(Shape.of(int))) == Shape.of(int)


@pytest.mark.parametrize(("schema", "said", "data"), READ, **AS_NAME)
def test_the_bare_value_is_taken_where_nothing_else_is_meant(schema: Any, said: object, data: object) -> None:
    assert Shape.of(schema).parse(json.dumps(said)) == data


def test_what_is_no_object_travels_inside_one() -> None:
    assert Shape.of(int).json_schema == {
        "type": "object",
        "properties": {"value": {"type": "integer"}},
        "required": ["value"],
        "additionalProperties": False,
    }
    several = Shape.of(list[City]).json_schema
    assert several["properties"]["value"] == {"type": "array", "items": {"$ref": "#/$defs/City"}}
    assert set(several["$defs"]) == {"City"}, "definitions stand where the references look for them"


def test_a_class_goes_as_pydantic_has_it() -> None:
    for schema in (City, Point, Movie, Page[int]):
        assert Shape.of(schema).json_schema == TypeAdapter(schema).json_schema()


def test_a_class_that_holds_itself_is_an_object_at_the_root_too() -> None:
    schema = Shape.of(Node).json_schema
    assert schema["type"] == "object"
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert "Node" in schema["$defs"]
    assert "$ref" not in schema


def test_a_json_schema_goes_to_the_letter_and_stays_the_users() -> None:
    own = {"type": "array", "items": {"type": "integer"}, "x-note": 1}
    shape = Shape.of(own)
    assert shape.json_schema == own
    shape.json_schema["x-note"] = 2
    own["type"] = "object"
    assert shape.json_schema == {"type": "array", "items": {"type": "integer"}, "x-note": 1}
    assert shape.parse("[1]") == [1]
    assert not shape.wrapped


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (Literal["good", "bad"], "good"),
        (Literal["good", "bad"], " good\n"),
        (Literal["good", "bad"], '"good"'),
        (Literal["good", "bad"], 'Here it is:\n```json\n{"value": "good"}\n```\nAnything else?'),
    ],
)
def test_habits_of_models_are_borne_with(schema: Any, text: str) -> None:
    assert Shape.of(schema).parse(text) == "good"
    assert Shape.of(Mood).parse(text) == Mood.GOOD


@pytest.mark.parametrize(
    ("schema", "text", "where"),
    [
        (int, "", "the answer"),
        (int, "four", "the answer"),
        (int, '{"value": "four"}', "value"),
        (int, '{"value": 4, "why": "2 + 2"}', "why"),
        (int, '{"answer": 4}', "value"),
        (str, "  ", "the answer"),
        (str, "null", "the answer"),
        (str, '{"value": "cut in the mid', "the answer"),
        (str, '"cut in the mid', "the answer"),
        (str, '["cut", "in the', "the answer"),
        (str, "{'value': 'no JSON'}", "the answer"),
        (str, 'Here: {"value": "x"}', "the answer"),
        (str, '{"text": "x"}', "value"),
        (int, "42 apples", "the answer"),
        (int, "1,000", "the answer"),
        (int, "5...", "the answer"),
        (City | str, "I cannot say.", "the answer"),  # a city may have been meant
        (list[str], "a, b", "the answer"),
        (Literal["No", "NO"], "no", "the answer"),
        ({"type": "string", "format": "date"}, "tomorrow", "the answer"),
        ({"type": "integer"}, '{"a": 1}', "the answer"),
        (Literal["good", "bad"], "better", "the answer"),
        (Literal["good", "bad"], "good or bad", "the answer"),
        (
            dict[str, str] | int,
            '{"value": 4.5}',
            "value",
        ),  # a wrapped half, not a dict with a field called value
        (City, '{"people": 3}', "name"),
        (City, "[" * 99_999, "the answer"),
        (list[City], '{"value": [{"name": "a"}, {}]}', "value.1.name"),
        (Picky, '{"name": "Bern"}', "name"),
        ({"type": "object"}, "no json", "the answer"),
        ({"type": "object"}, "[" * 99_999, "the answer"),
    ],
    **AS_NAME,
)
def test_what_does_not_fit_says_where(schema: Any, text: str, where: str) -> None:
    with pytest.raises(Misfit) as caught:
        Shape.of(schema).parse(text)
    assert str(caught.value).startswith(f"{where}: ") or where in str(caught.value)
    assert caught.value.errors
    pickle.dumps(caught.value.errors)
    assert caught.value.cause is None


def test_a_validator_that_fails_is_told_from_an_answer_that_does_not_fit() -> None:
    with pytest.raises(Misfit, match="KeyError") as caught:
        Shape.of(Faulty).parse('{"name": "x"}')
    assert isinstance(caught.value.cause, KeyError)


# ── refused ──


class Plain:
    pass


class Old(typing.TypedDict):
    a: int


REFUSED: list[tuple[Any, str, str]] = [
    (Plain, "Plain has no JSON schema", "plain types"),
    (threading.Lock().__class__, "lock has no JSON schema", ""),
    (Callable[[int], int], "has no JSON schema", ""),
    (list[Plain], r"list\[Plain\] has no JSON schema", ""),
    (create_model("Call", call=(Callable[[], int], ...)), "Call has no JSON schema", ""),
    (list["Unheard"], "has no JSON schema", ""),  # noqa: F821
    ("City", "not 'City'", "class City"),
    (5, "not 5", ""),
    ([City], "not \\[", r"Did you mean list\[City\]"),
    ((int,), "not \\(", r"Did you mean list\[int\]"),
    ([1, 2], "not \\[1, 2\\]", ""),
    (City(name="x"), "not City", "schema=City"),
    (Point(1), "not Point", "schema=Point"),
    (Mood.GOOD, "not <Mood", ""),
    (..., "not Ellipsis", ""),
    (len, "not <built-in", ""),
]


@pytest.mark.parametrize(("schema", "says", "hint"), REFUSED, **AS_NAME)
def test_what_has_no_json_schema_is_refused_with_a_way_out(schema: Any, says: str, hint: str) -> None:
    with pytest.raises(bn.InvalidInput, match=says) as caught:
        Shape.of(schema)
    assert caught.value.hint
    assert re.search(hint, caught.value.hint)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic takes them there")
def test_the_older_typed_dict_is_refused_with_what_to_use() -> None:
    with pytest.raises(bn.InvalidInput, match=r"typing_extensions\.TypedDict"):
        Shape.of(Old)


# ── fields, names, fingerprints ──


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        (City, {"name": str, "people": int | None}),
        (Annotated[City, "noted"], {"name": str, "people": int | None}),
        (Page[int], {"items": list[int]}),
        (Point, {"x": int, "y": float, "tags": list[str]}),
        (Movie, {"title": str, "year": int}),
        (int, {"value": int}),
        (Score, {"value": int}),
        (dict[str, int], {"value": dict[str, int]}),
        (list[City], {"value": list[City]}),
        (City | None, {"value": City | None}),
        (Names, {"value": Names}),
        (Literal["a", "b"], {"value": Literal["a", "b"]}),
        (
            {
                "type": "object",
                "properties": {
                    "a": {"type": "string"},
                    "b": {"type": ["integer", "null"]},
                    "c": {"enum": ["x", "y"]},
                    "d": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                    "e": {},
                    "f": {"type": "array", "items": {}},
                    "fs": {
                        "type": ["array", "null"],
                        "items": {"type": "array", "items": {"type": "string"}},
                    },
                    "g": {"$ref": "#/$defs/X"},
                    "h": True,
                    "i": {"type": "nonsense"},
                },
            },
            {
                "a": str,
                "b": int | None,
                "c": Literal["x", "y"],
                "d": float | None,
                "e": Any,
                "f": list,
                "fs": list[list[str]] | None,
                "g": Any,
                "h": Any,
                "i": Any,
            },
        ),
        ({"type": "array"}, {"value": list}),
        ({"type": "object"}, {"value": dict}),
        ({}, {"value": Any}),
    ],
    **AS_NAME,
)
def test_the_fields_of_an_answer(schema: Any, fields: dict[str, Any]) -> None:
    shape = Shape.of(schema)
    assert shape.fields == fields
    assert list(shape.fields) == list(fields)


def test_the_values_of_an_answer_stand_under_the_names_of_its_fields() -> None:
    assert Shape.of(City).values(City(name="Bern")) == {"name": "Bern", "people": None}
    assert Shape.of(Point).values(Point(1)) == {"x": 1, "y": 0.0, "tags": []}
    assert Shape.of(Movie).values({"title": "M"}) == {"title": "M", "year": None}
    assert Shape.of(int).values(4) == {"value": 4}
    assert Shape.of(dict[str, int]).values({"value": 4}) == {"value": {"value": 4}}
    named = {"type": "object", "properties": {"a": {}}}
    assert Shape.of(named).values({"a": 1, "b": 2}) == {"a": 1}
    assert Shape.of(named).values("odd") == {"a": None}
    assert Shape.of({}).values({"a": 1}) == {"value": {"a": 1}}


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        (City, "City"),
        (list[City], "list[City]"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (City | None, "City | None"),
        (typing.Optional[int], "int | None"),  # noqa: UP045
        (typing.Union[int, str], "int | str"),  # noqa: UP007
        (Literal["a", 1], "Literal['a', 1]"),
        (Annotated[int, Field(gt=0)], "int"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Page[int], "Page[int]"),
        (list[Any], "list[Any]"),
        (Score, "Score"),
        (Json, "Json"),
        ({"type": "object"}, "the schema"),
    ],
)
def test_names_are_as_people_write_them(schema: Any, name: str) -> None:
    assert Shape.of(schema).name == name


def test_a_shape_is_made_once_and_is_its_own_shape() -> None:
    assert Shape.of(list[City]) is Shape.of(list[City])
    shape = Shape.of(Literal["a", "b"])
    assert Shape.of(shape) is shape
    unhashable = Annotated[int, {"a": 1}]
    assert Shape.of(unhashable).parse("3") == 3
    assert hash(Shape.of({"enum": [{}]})) is not None


def test_a_class_that_is_defined_anew_is_another_shape() -> None:
    first, second = (create_model("City", name=(kind, ...)) for kind in (str, int))
    assert Shape.of(first) != Shape.of(second)
    assert Shape.of(list[first]).parse('[{"name": "x"}]')  # type: ignore[valid-type]
    with pytest.raises(Misfit):
        Shape.of(list[second]).parse('[{"name": "x"}]')  # type: ignore[valid-type]


def test_a_fingerprint_tells_schemas_apart_and_is_the_same_in_every_process() -> None:
    kinds: list[Any] = [City, Point, Movie, int, float, int | str, str | int, list[int], Mood, {}, {"a": 1}]
    prints = [Shape.of(each).fingerprint for each in kinds]
    assert len(set(prints)) == len(prints)
    assert Shape.of({"a": 1, "b": 2}).fingerprint == Shape.of({"b": 2, "a": 1}).fingerprint
    code = (
        "from typing import *\nfrom beatra_nb.core.typed import Shape\n"
        "print(Shape.of(str | int).fingerprint, Shape.of(int | str).fingerprint)"
    )
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=env
    )
    assert done.stdout.split() == [Shape.of(str | int).fingerprint, Shape.of(int | str).fingerprint]


def test_a_default_that_is_no_json_is_no_warning() -> None:
    odd = create_model("Odd", at=(Any, object()), name=(str, "x"))
    assert "default" not in Shape.of(odd).json_schema["properties"]["at"]


# ── any type ──


NAMES = st.sampled_from(["a", "b", "value", "items", "x_1"])
WORDS = st.lists(st.text("abcö \"'", min_size=1, max_size=6), min_size=1, max_size=4, unique=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
# A type, and how to make values of it: what a model might answer, as Python has it.
Kind = tuple[Any, st.SearchStrategy[Any]]
LEAVES: list[Kind] = [
    (int, st.integers(-(2**53), 2**53)),
    (float, FINITE),
    (str, st.text(max_size=8)),
    (bool, st.booleans()),
    (datetime.date, st.dates()),
    (Mood, st.sampled_from(Mood)),
    (Annotated[int, Field(ge=0, le=9)], st.integers(0, 9)),
    (City, st.builds(City, name=st.text(max_size=5), people=st.none() | st.integers(0, 9))),
    (Point, st.builds(Point, x=st.integers(0, 9), y=FINITE, tags=st.lists(st.text(max_size=3), max_size=2))),
    (Node, st.builds(Node, label=st.text(max_size=3), children=st.just([]))),
]


def _literal(words: list[str]) -> Kind:
    return Literal[tuple(words)], st.sampled_from(words)


def _made(fields: dict[str, Kind]) -> Kind:
    model = create_model("Made", **{name: (kind, ...) for name, (kind, _) in fields.items()})  # type: ignore[call-overload]
    return model, st.builds(model, **{name: values for name, (_, values) in fields.items()})


def _typed_dict(fields: dict[str, Kind]) -> Kind:
    kind = typing_extensions.TypedDict("Made", {name: each for name, (each, _) in fields.items()})  # type: ignore[operator]
    return kind, st.fixed_dictionaries({name: values for name, (_, values) in fields.items()})


def _grown(inner: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
    fields = st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    return st.one_of(
        inner.map(lambda kind: (list[kind[0]], st.lists(kind[1], max_size=3))),
        inner.map(
            lambda kind: (dict[str, kind[0]], st.dictionaries(st.text(max_size=3), kind[1], max_size=2))
        ),
        inner.map(lambda kind: (kind[0] | None, st.none() | kind[1])),
        st.tuples(inner, inner).map(
            lambda two: (tuple[two[0][0], two[1][0]], st.tuples(two[0][1], two[1][1]))
        ),
        fields.map(_made),
        fields.map(_typed_dict),
    )


KINDS = st.recursive(st.sampled_from(LEAVES) | WORDS.map(_literal), _grown, max_leaves=6)


@given(kind=KINDS, data=st.data())
def test_any_answer_of_any_type_comes_back_as_it_was(kind: Kind, data: st.DataObject) -> None:
    schema, values = kind
    shape = Shape.of(schema)
    sent = shape.json_schema
    assert sent["type"] == "object"
    for ref in re.findall(r'"\$ref": "#/\$defs/([^"]+)"', json.dumps(sent)):
        assert ref in sent["$defs"]
    value = data.draw(values)
    text = TypeAdapter(schema).dump_json(value).decode()
    assert shape.parse(f'{{"value": {text}}}' if shape.wrapped else text) == value
    assert list(shape.values(value)) == list(shape.fields)
    assert Shape(schema).fingerprint == shape.fingerprint
    assert shape.name


@given(
    kind=KINDS, text=st.text(max_size=30) | st.sampled_from(['{"value": 1}', '{"value":', "null", "[]", "{}"])
)
def test_any_text_is_read_or_a_misfit(kind: Kind, text: str) -> None:
    shape = Shape.of(kind[0])
    try:
        shape.parse(text)
    except Misfit as misfit:
        assert misfit.errors  # noqa: PT017
        assert str(misfit)  # noqa: PT017


JSON_SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "null", "odd", 5, {}, [[]]])
            | st.lists(st.just("string")),
            "enum": st.lists(st.none() | st.integers() | st.text(max_size=2) | st.just({}), max_size=3),
            "const": st.none() | st.text(max_size=2) | st.just([]),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.just("object"),
            "properties": st.dictionaries(NAMES, inner, max_size=3) | st.none(),
            "anyOf": st.lists(inner, max_size=2) | st.none(),
            "required": st.just(["value"]),
            "additionalProperties": st.just(False),
        },
    ),
)


@given(schema=JSON_SCHEMAS)
def test_any_json_schema_has_fields_and_goes_as_it_is(schema: dict[str, Any]) -> None:
    shape = Shape.of(schema)
    assert shape.json_schema == schema
    assert shape.fields
    assert shape.fingerprint
    for text in ("null", '"x"', "x", '{"value": 1}'):
        try:
            shape.parse(text)
        except Misfit as misfit:
            assert misfit.errors  # noqa: PT017
