"""JSON values against JSON schemas: what is wrong is found and placed, and nothing good is turned away."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

import beatra_nb as bn
from beatra_nb.core.conform import unfit
from beatra_nb.core.request import parse_data
from beatra_nb.sandbox.engines.fits import CannotMake, fits
from tests.core.test_typed import KINDS, Kind, Node

CITY = {
    "title": "City",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "people": {"type": ["integer", "null"], "minimum": 0, "exclusiveMaximum": 100},
        "kind": {"enum": ["big", "small"]},
        "twins": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2},
        "at": {"prefixItems": [{"type": "number"}, {"type": "number"}], "type": "array"},
        "size": {"anyOf": [{"type": "number"}, {"type": "object", "required": ["km2"]}]},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "where", "says"),
    [
        ([], (), "Input should be an object"),
        ({}, ("name",), "Field required"),
        ({"name": 5}, ("name",), "Input should be a string"),
        ({"name": ""}, ("name",), "at least 1 characters"),
        ({"name": "abcdef"}, ("name",), "at most 5 characters"),
        ({"name": "a", "people": 1.5}, ("people",), "an integer or null"),
        ({"name": "a", "people": True}, ("people",), "an integer or null"),
        ({"name": "a", "people": -1}, ("people",), "at least 0"),
        ({"name": "a", "people": 100}, ("people",), "below 100"),
        ({"name": "a", "kind": "huge"}, ("kind",), "one of 'big', 'small'"),
        ({"name": "a", "twins": [{"name": "b"}, {}]}, ("twins", 1, "name"), "Field required"),
        ({"name": "a", "twins": [{"name": "b"}] * 3}, ("twins",), "at most 2 items"),
        ({"name": "a", "at": [1, "2"]}, ("at", 1), "a number"),
        ({"name": "a", "size": "big"}, ("size",), "a number"),
        ({"name": "a", "size": {}}, ("size", "km2"), "Field required"),
        ({"name": "a", "mayor": "x"}, ("mayor",), "Nothing is expected here"),
    ],
)
def test_what_is_wrong_is_placed(value: object, where: tuple[Any, ...], says: str) -> None:
    [error] = unfit(value, CITY, CITY)
    assert error["loc"] == where
    assert says in error["msg"]
    with pytest.raises(bn.InvalidData, match="does not fit the schema"):
        parse_data(bn.Reply(json.dumps(value)), CITY)


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Bern"},
        {"name": "Bern", "people": 5.0, "kind": "big", "size": 2},
        {"name": "Bern", "people": None, "twins": [{"name": "a", "twins": []}], "at": [1, 2.5, "and"]},
    ],
)
def test_what_fits_is_taken(value: object) -> None:
    assert unfit(value, CITY, CITY) == []
    assert parse_data(bn.Reply(json.dumps(value)), CITY) == value


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "odd"},
        {"type": ["string", "odd"]},
        {"type": 5},
        {"$ref": "https://example.com/x"},
        {"$ref": "#/$defs/none"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"enum": "a"},
        {"anyOf": []},
        {"anyOf": None},
        {"required": "b", "properties": [], "items": [{"type": "null"}]},
        {"minimum": "5", "maxLength": None},
        {"pattern": "(", "format": "email"},
        {"patternProperties": {"^b": {}}, "additionalProperties": False},
        {"unheard": {"of": 1}},
    ],
)
@pytest.mark.parametrize("value", [5, "a", None, [5], {"a": 1, "b": 2}])
def test_what_is_odd_in_a_schema_asks_for_nothing(schema: dict[str, Any], value: object) -> None:
    assert unfit(value, schema, schema) == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, -2.0])
    | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
KIND = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
COUNT = st.integers(0, 3)
SCHEMAS = st.recursive(
    st.booleans()
    | st.just({"$ref": "#/$defs/d"})
    | st.fixed_dictionaries(
        {},
        optional={
            "type": KIND | st.lists(KIND, min_size=1, max_size=3),
            "enum": st.lists(JSON, max_size=4),
            "const": JSON,
            "minimum": COUNT,
            "exclusiveMaximum": COUNT,
            "minLength": COUNT,
            "maxLength": COUNT,
            "minItems": COUNT,
            "maxItems": COUNT,
            "minProperties": COUNT,
            "maxProperties": COUNT,
            "pattern": st.just("^a"),
            "not": st.just({"type": "string"}),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": KIND,
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            "required": st.lists(st.sampled_from("abc"), max_size=2),
            "additionalProperties": inner,
            "patternProperties": st.dictionaries(st.just("^a"), inner),
            "items": inner,
            "prefixItems": st.lists(inner, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "oneOf": st.lists(inner, min_size=1, max_size=3),
            "allOf": st.lists(inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=6,
)
FULL = ("pattern", "not", "oneOf", "patternProperties")  # what is left to whoever knows the dialect


@given(schema=SCHEMAS.filter(lambda schema: isinstance(schema, dict)), inner=SCHEMAS, value=JSON)
def test_it_agrees_with_a_full_validator(schema: dict[str, Any], inner: Any, value: object) -> None:
    root = {**schema, "$defs": {"d": inner}}
    try:
        good = fits(value, root, root)
    except CannotMake:
        assume(False)
    wrong = unfit(value, root, root)
    if good:
        assert wrong == []
    elif not any(f'"{word}"' in json.dumps(root) for word in FULL):
        assert wrong
    assert all(error["msg"] and isinstance(error["loc"], tuple) for error in wrong)


@given(kind=KINDS, data=st.data())
def test_what_pydantic_writes_fits_what_pydantic_asks_for(kind: Kind, data: st.DataObject) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(kind[0])
    schema = adapter.json_schema()
    value = json.loads(adapter.dump_json(data.draw(kind[1])))
    assert unfit(value, schema, schema) == []


def test_a_schema_that_holds_itself() -> None:
    schema = TypeAdapter(Node).json_schema()
    deep: dict[str, Any] = {"label": "x", "children": [{"label": 5}]}
    [error] = unfit(deep, schema, schema)
    assert error["loc"] == ("children", 0, "label")
    for _ in range(300):
        deep = {"label": "x", "children": [deep]}
    unfit(deep, schema, schema)  # what is deeper than anybody reads is let through
