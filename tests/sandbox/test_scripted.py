"""The scripted engine: the same request, the same answer; and answers that tutorials can use."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from beatra_nb.sandbox.engines import instances
from tests.sandbox.conftest import chat, text_of


def say(http: httpx.Client, prompt: str, **fields: Any) -> str:
    return text_of(chat(http, prompt, **fields))


@pytest.mark.parametrize(("count", "word"), [(5, "five"), (3, "3"), (1, "one"), (9, "nine"), (30, "thirty")])
def test_greetings_have_the_length_asked_for(http: httpx.Client, count: int, word: str) -> None:
    assert len(say(http, f"Say hi in {word} words.").split()) == count


def test_the_same_request_gets_the_same_answer(http: httpx.Client) -> None:
    prompts = ["Tell me something.", "Write a table", "What is love?", "300 words please"]
    for prompt in prompts:
        assert say(http, prompt) == say(http, prompt) == say(http, prompt, temperature=2, top_p=0.1)
    assert len({say(http, prompt) for prompt in prompts}) == len(prompts)


def test_seeds_and_choices_vary(http: httpx.Client) -> None:
    texts = {say(http, "Write 40 words", seed=seed) for seed in range(5)}
    assert len(texts) == 5
    assert say(http, "Write 40 words", seed=3) in texts
    several = chat(http, "Write 40 words", n=8, seed=3).json()
    found = [choice["message"]["content"] for choice in several["choices"]]
    assert len(set(found)) == 8
    assert found[0] == say(http, "Write 40 words", seed=3)
    assert several["usage"]["completion_tokens"] == 8 * 40


@pytest.mark.parametrize("count", [1, 2, 7, 100, 5000])
def test_texts_of_n_words(http: httpx.Client, count: int) -> None:
    assert len(say(http, f"Write about spring in {count} words.").split()) == count


def test_markdown_when_it_is_asked_for(http: httpx.Client) -> None:
    assert re.search(r"```python\n.*\n```", say(http, "Write a python function"), re.S)
    assert re.search(r"\|---\|", say(http, "Make a table of things"))
    assert "$$" in say(http, "Show me a famous formula")
    lines = say(http, "Give me four ideas").splitlines()
    assert [line.split(".")[0] for line in lines] == ["1", "2", "3", "4"]


def test_small_talk_that_tutorials_lean_on(http: httpx.Client) -> None:
    assert say(http, "What is 17 * 3?") == "17 * 3 is 51."
    assert say(http, "8 / 0") == "Nothing can be divided by zero."
    assert say(http, "Repeat after me: <b>&amp;</b>\nyes") == "<b>&amp;</b>\nyes"
    assert say(http, "Summarise: Cats sleep a lot. They also eat.") == "In short: Cats sleep a lot."
    assert "“Is the moon blue?”" in say(http, "Is the moon blue?")


def test_it_remembers_the_conversation(http: httpx.Client) -> None:
    messages = [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello Ada!"},
        {"role": "user", "content": "What is my name?"},
    ]
    assert text_of(chat(http, messages=messages)) == "Your name is Ada."
    messages[-1]["content"] = "What did I say?"
    assert text_of(chat(http, messages=messages)) == "You said: “My name is Ada.”"
    messages[-1]["content"] = "What is my age?"
    assert text_of(chat(http, messages=messages)) == "You have not told me in this conversation."


def test_length_and_stop(http: httpx.Client) -> None:
    whole = say(http, "Write 20 words")
    short = chat(http, "Write 20 words", max_tokens=6).json()
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 6
    assert whole.startswith(short["choices"][0]["message"]["content"])
    assert chat(http, "Write 20 words", max_tokens=20).json()["choices"][0]["finish_reason"] == "stop"
    assert (
        chat(http, "Write 20 words", max_tokens=9, max_completion_tokens=4).json()["usage"][
            "completion_tokens"
        ]
        == 4
    )
    word = whole.split()[4]
    stopped = chat(http, "Write 20 words", stop=["not there", word]).json()["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert stopped["message"]["content"] == whole[: whole.index(word)]


def test_usage_has_nominal_credits(http: httpx.Client) -> None:
    usage = chat(http, "Write 1000 words").json()["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == 1000
    assert re.fullmatch(r"\d+(\.\d*[1-9])?", usage["credits"])
    assert float(usage["credits_usd_reference"]) == pytest.approx(float(usage["credits"]) / 1000)


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]},
        },
    }
    for name, key in (("get_weather", "city"), ("look_up", "term"))
]


@pytest.mark.parametrize(
    ("prompt", "choice", "called"),
    [
        ("How are you?", None, None),
        ("Use look_up for this", None, "look_up"),
        ("Use look_up for this", "none", None),
        ("Use lookup or look_ups", "auto", None),
        ("How are you?", "required", "get_weather"),
        ("Use look_up", "required", "look_up"),
        ("Use look_up", {"type": "function", "function": {"name": "get_weather"}}, "get_weather"),
    ],
)
def test_tools_are_called_when_forced_or_named(
    http: httpx.Client, prompt: str, choice: Any, called: str | None
) -> None:
    answer = chat(http, prompt, tools=TOOLS, tool_choice=choice).json()["choices"][0]
    if called is None:
        assert "tool_calls" not in answer["message"]
        assert answer["finish_reason"] == "stop"
    else:
        assert answer["message"]["tool_calls"][0]["function"]["name"] == called
        assert answer["finish_reason"] == "tool_calls"


def test_the_turn_after_a_tool_is_text(http: httpx.Client) -> None:
    messages = [
        {"role": "user", "content": "Use look_up"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]
    assert (
        text_of(chat(http, messages=messages, tools=TOOLS, tool_choice="required")) == "The tool answered: 42"
    )


# --- answers under a schema


class City(BaseModel):
    name: str
    population: int = Field(ge=0)
    mood: str = Field(pattern=r"^(good|bad)-\d{2}$")


def test_a_pydantic_model_is_filled_from_the_prompt(http: httpx.Client) -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "city", "schema": City.model_json_schema()}}
    made = City.model_validate_json(
        say(http, "Extract: Paris has 2100000 inhabitants.", response_format=asked)
    )
    assert (made.name, made.population) == ("Paris", 2100000)
    assert isinstance(json.loads(say(http, "Anything", response_format={"type": "json_object"})), dict)


NAMES = st.sampled_from(["name", "age", "city", "a/b", "x~y", "ünïcode", ""])
SCALARS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={"minLength": st.integers(0, 20), "format": st.sampled_from(["email", "date", "uuid"])},
    ),
    st.fixed_dictionaries({"type": st.just("string"), "maxLength": st.integers(0, 12)}),
    st.fixed_dictionaries(
        {
            "type": st.just("string"),
            "pattern": st.sampled_from(
                [r"^\d{3}-[a-z]+$", r"^(yes|no)$", "[A-Z]{2}", r"^\w+@\w+\.com$", r"^a*b?c{2,4}$"]
            ),
        }
    ),
    st.builds(
        lambda low, width, kind: {"type": kind, "minimum": low, "maximum": low + width},
        st.integers(-1000, 1000),
        st.integers(0, 50),
        st.sampled_from(["integer", "number"]),
    ),
    st.builds(
        lambda low, width: {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + width},
        st.floats(-9, 9),
        st.floats(0.01, 5),
    ),
    st.builds(
        lambda step, low: {"type": "integer", "multipleOf": step, "minimum": low},
        st.integers(1, 12),
        st.integers(-50, 50),
    ),
    st.sampled_from(
        [
            {"type": "boolean"},
            {"type": "null"},
            {},
            {"type": ["string", "null"]},
            {"const": {"a": [1]}},
            {"type": ["integer", "boolean"]},
        ]
    ),
    st.lists(
        st.one_of(st.integers(), st.text(max_size=5), st.none(), st.booleans()), min_size=1, max_size=4
    ).map(lambda values: {"enum": values}),
)


def containers(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def an_object(properties: dict[str, Any], closed: bool, count: int) -> dict[str, Any]:
        schema = {"type": "object", "properties": properties, "required": sorted(properties)[:count]}
        return schema | ({"additionalProperties": False} if closed else {})

    return st.one_of(
        st.builds(an_object, st.dictionaries(NAMES, inner, max_size=4), st.booleans(), st.integers(0, 4)),
        st.builds(
            lambda items, low, more: {
                "type": "array",
                "items": items,
                "minItems": low,
                "maxItems": low + more,
            },
            inner,
            st.integers(0, 3),
            st.integers(0, 3),
        ),
        st.builds(
            lambda first, rest: {
                "type": "array",
                "prefixItems": first,
                "items": rest,
                "minItems": len(first),
            },
            st.lists(inner, min_size=1, max_size=3),
            inner,
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        inner.map(lambda part: {"allOf": [part]}),
        inner.map(lambda part: {"type": "object", "additionalProperties": part, "minProperties": 1}),
        inner.map(
            lambda part: {
                "$defs": {"part": part},
                "type": "object",
                "properties": {"x": {"$ref": "#/$defs/part"}},
                "required": ["x"],
            }
        ),
    )


SCHEMAS = st.recursive(SCALARS, containers, max_leaves=8)


def rooted(schema: dict[str, Any]) -> bool:
    """References of this test lead to the root's own definitions, so only a root may have them."""
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    text = json.dumps(inner)
    return "$defs" not in text or (
        "$defs" in schema and text.count("$defs") == 1 and "$defs" not in json.dumps(schema["$defs"])
    )


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(schema=SCHEMAS.filter(rooted), seed=st.integers(0, 1000))
def test_whatever_the_schema_the_answer_fits_or_is_refused(schema: dict[str, Any], seed: int) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    made = instances.make(schema, prompt="Ada, 36, lives in Paris with 2.5 cats.", chance=random.Random(seed))
    jsonschema.Draft202012Validator(schema).validate(made)


RARE: list[dict[str, Any]] = [
    {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 3},
    {
        "type": "array",
        "items": {"type": "integer", "minimum": 0, "maximum": 5},
        "uniqueItems": True,
        "minItems": 4,
    },
    {"type": "array", "contains": {"const": 7}, "minContains": 2, "minItems": 3},
    {"oneOf": [{"type": "integer", "multipleOf": 3}, {"type": "integer", "multipleOf": 5}]},
    {
        "type": "object",
        "patternProperties": {"^x-[a-z]+$": {"type": "integer"}},
        "additionalProperties": False,
        "minProperties": 2,
    },
    {"type": "object", "propertyNames": {"pattern": "^[a-z]{4}$"}, "minProperties": 2},
    {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "maxProperties": 1, "minProperties": 1},
    {"type": "integer", "not": {"multipleOf": 2}},
    {"if": {"type": "integer"}, "then": {"minimum": 50}, "type": "integer"},
    {"type": "object", "properties": {"a": {"type": "string"}}, "dependentRequired": {"a": ["b"]}},
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"a": {"minimum": 90}}, "required": ["b"]},
        ]
    },
    {"type": "number", "multipleOf": 0.01, "minimum": 0.5, "maximum": 0.6},
    {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "v": {"type": "integer"},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                },
                "required": ["v", "next"],
            }
        },
    },
    {
        "type": "object",
        "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["kids"],
    },
    {"properties": {"implied": {"minimum": 3}}, "required": ["implied"]},
]


@pytest.mark.parametrize("schema", RARE, ids=range(len(RARE)))
def test_rarer_keywords(schema: dict[str, Any]) -> None:
    for seed in range(20):
        made = instances.make(schema, prompt="1 2 3", chance=random.Random(seed))
        jsonschema.Draft202012Validator(schema).validate(made)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "#/$defs/nope"},
        {"$ref": "#anchor"},
        {"type": "object", "properties": {"x": {"$ref": "#"}}, "required": ["x"]},
        {"type": "wish"},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"enum": []},
        {"type": "string", "pattern": "(?=x)y"},
        {"type": "string", "pattern": "["},
        {"type": "string", "minLength": 10**9},
        {"type": "array", "minItems": 10**9, "items": {"type": "string"}},
        {"unevaluatedProperties": False, "type": "object"},
        {"allOf": [{"$ref": "#"}]},
        {"type": "object", "properties": [1]},
        {"type": "object", "required": ["a"], "properties": {"a": False}},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
    ],
    ids=range(16),
)
def test_what_cannot_be_made_is_refused_with_a_pointer(http: httpx.Client, schema: dict[str, Any]) -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = chat(http, response_format=asked)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "invalid_request")
    assert error["param"] == "/response_format/json_schema/schema"


def test_a_schema_that_grows_without_measure_comes_to_an_end() -> None:
    node: dict[str, Any] = {"type": "object", "properties": {f"p{i}": {"$ref": "#"} for i in range(12)}}
    assert isinstance(instances.make(node, prompt="", chance=random.Random(1)), dict)
