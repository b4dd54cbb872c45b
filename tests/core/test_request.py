"""What a user passes, checked before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import beatra_nb as bn
from beatra_nb.core.request import ChatRequest, encode, messages_of, parse_data
from beatra_nb.core.typed import Shape

T = TypeVar("T")


class City(BaseModel):
    name: str
    people: int


class Page(BaseModel, Generic[T]):
    items: list[T]


class Strange(BaseModel):
    call: Callable[[], int]


MESSAGES = st.lists(
    st.one_of(
        st.builds(
            lambda role, text: {"role": role, "content": text}, st.sampled_from(["system", "user"]), st.text()
        ),
        st.builds(lambda text: {"content": text, "role": "user"}, st.text()),
        st.builds(
            lambda text: {"role": "user", "content": [{"type": "text", "text": text}], "n": 1.5}, st.text()
        ),
    ),
    max_size=4,
)


@given(st.lists(MESSAGES, min_size=1, max_size=3), st.sampled_from(["auto", 'a "messages":[] model', "ü\n"]))
def test_rows_are_encoded_as_any_other_body(rows: list[list[dict[str, Any]]], model: str) -> None:
    base = ChatRequest.of("Hi", model=model, temperature=0.5, seed=3, stop=['"messages":['])
    for messages in rows:
        request = base.about(messages)
        assert request.body == {**base.body, "messages": messages}
        assert request.json == encode(request.body)
        assert [*json.loads(request.json)] == [*base.body]


def test_a_row_that_cannot_be_sent_says_so() -> None:
    base = ChatRequest.of("Hi")
    for content, what in (("half \ud83d", "lone surrogate"), ([float("nan")], "cannot be sent as JSON")):
        with pytest.raises(bn.InvalidInput, match=f"'messages' .*{what}"):
            base.about([{"role": "user", "content": content}])


def test_a_text_becomes_a_message() -> None:
    request = ChatRequest.of("Hi", system="Be brief.")
    assert request.body == {
        "model": "auto",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    }
    assert request.key != ChatRequest.of("Hi").key


def test_messages_go_as_they_are_and_are_copied() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "x"}], "name": "ada"}
    request = ChatRequest.of([message])
    message["content"] = "changed"
    assert request.body["messages"][0] == {
        "role": "user",
        "content": [{"type": "text", "text": "x"}],
        "name": "ada",
    }


def test_options_go_through_and_none_is_left_out() -> None:
    body = ChatRequest.of(
        "x", temperature=0, max_tokens=5, seed=3, stop=["a"], top_p=None, made_up={"a": 1}
    ).body
    assert {k: v for k, v in body.items() if k not in ("model", "messages")} == {
        "temperature": 0,
        "max_tokens": 5,
        "seed": 3,
        "stop": ["a"],
        "made_up": {"a": 1},
    }


TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def test_tools_go_through() -> None:
    assert ChatRequest.of("x", tools=[TOOL]).body["tools"] == [TOOL]
    assert ChatRequest.of("x", tools=(TOOL,)).body["tools"] == [TOOL]


SELF: list[Any] = []
SELF.append(SELF)

BAD: list[tuple[dict[str, Any], str]] = [
    ({"prompt": ""}, "empty"),
    ({"prompt": " \n\t"}, "empty"),
    ({"prompt": []}, "empty"),
    ({"prompt": None}, "text or a list"),
    ({"prompt": 5}, "text or a list"),
    ({"prompt": b"hi"}, "text or a list"),
    ({"prompt": {"role": "user", "content": "x"}}, "text or a list"),
    ({"prompt": {"a"}}, "text or a list"),
    ({"prompt": ["hi"]}, "Message 0 must be a dict"),
    ({"prompt": [{"role": "user", "content": "a"}, None]}, "Message 1 must be a dict"),
    ({"prompt": [{"content": "x"}]}, "Message 0 has the role None"),
    ({"prompt": [{"role": "robot", "content": "x"}]}, "'robot'"),
    ({"prompt": [{"role": ["user"], "content": "x"}]}, "has the role"),
    ({"prompt": [{"role": "user"}]}, "needs text"),
    ({"prompt": [{"role": "user", "content": None}]}, "needs text"),
    ({"prompt": [{"role": "assistant", "content": None}]}, "needs text"),
    ({"prompt": [{"role": "user", "content": 5}]}, "needs text"),
    ({"prompt": "half \ud83d"}, "lone surrogate"),
    ({"prompt": [{"role": "user", "content": "x", "name": "\udc00"}]}, "'messages'.*lone surrogate"),
    ({"system": 5}, "system must be text"),
    ({"system": "\udfff"}, "lone surrogate"),
    ({"model": ""}, "model must be"),
    ({"model": "  "}, "model must be"),
    ({"model": None}, "model must be"),
    ({"model": 5}, "model must be"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": float("nan")}, "temperature"),
    ({"temperature": "0.5"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"tools": "f"}, "tools must be"),
    ({"tools": 5}, "tools must be"),
    ({"tools": TOOL}, "tools must be"),
    ({"tools": ["f"]}, "tools must be"),
    ({"tools": [{"function": print}]}, "'tools'"),
    ({"tools": (tool for tool in [TOOL])}, "tools must be"),
    ({"schema": "City"}, "schema must be"),
    ({"schema": City(name="x", people=1)}, "schema must be"),
    ({"schema": [City]}, "schema must be.*Did you mean list\\[City\\]"),
    ({"schema": Strange}, "Strange has no JSON schema"),
    ({"schema": Callable[[int], int]}, "Callable.* has no JSON schema"),
    ({"repairs": -1}, "repairs must be"),
    ({"repairs": True}, "repairs must be"),
    ({"repairs": None}, "repairs must be"),
    ({"repairs": 1.0}, "repairs must be"),
    ({"schema": City, "response_format": {"type": "json_object"}}, "not both"),
    ({"fallback": "other"}, "fallback"),
    ({"fallback": True}, "fallback"),
    ({"messages": []}, "'messages'"),
    ({"idempotency_key": ""}, "idempotency_key"),
    ({"idempotency_key": "a b"}, "idempotency_key"),
    ({"idempotency_key": "é"}, "idempotency_key"),
    ({"idempotency_key": 5}, "idempotency_key"),
    ({"seed": float("inf")}, "'seed'"),
    ({"metadata": {"when": object()}}, "'metadata'"),
    ({"metadata": {1, 2}}, "'metadata'"),
    ({"metadata": SELF}, "'metadata'"),
    ({"user": "\ud800"}, "'user'"),
]


@pytest.mark.parametrize(
    ("arguments", "says"), BAD, ids=lambda value: str(value)[:40].encode("ascii", "replace").decode()
)
def test_what_cannot_be_sent_is_refused_before_it_is(
    arguments: dict[str, Any], says: str, talk: bn.Client, box: bn.sandbox.Sandbox
) -> None:
    before = len(box.seen)
    arguments = {"prompt": "Hi", **arguments}
    if not isinstance(arguments.get("tools"), list | str | dict | int | None):
        arguments["tools"] = iter([TOOL])
    for verb in (talk.chat, talk.stream):
        with pytest.raises(bn.InvalidInput, match=says) as caught:
            verb(**arguments)
        assert isinstance(caught.value, ValueError)
        assert caught.value.attempts == 0
    assert len(box.seen) == before


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=3)
    | st.just(object()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=2)
        | st.tuples(inner)
    ),
    max_leaves=5,
)
NAMES = [
    "prompt",
    "system",
    "model",
    "temperature",
    "max_tokens",
    "tools",
    "schema",
    "idempotency_key",
    "fallback",
    "repairs",
    "top_p",
]


@given(arguments=st.dictionaries(st.sampled_from(NAMES), ODD))
def test_any_arguments_make_a_body_that_can_be_sent_or_an_error_of_ours(arguments: dict[str, Any]) -> None:
    try:
        request = ChatRequest.of(**{"prompt": "x", **arguments})
    except bn.InvalidInput as error:
        assert str(error)  # noqa: PT017
        return
    body = json.loads(encode(request.body))
    assert body["model"]
    assert body["messages"]
    assert request.key.isascii()


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_every_real_text_arrives_as_it_was_written(text: str) -> None:
    assert json.loads(encode(ChatRequest.of(text).body))["messages"][-1]["content"] == text
    assert messages_of(text) == [{"role": "user", "content": text}]


def test_a_tool_s_turn() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "5"},
    ]
    assert messages_of(turn) == turn


def test_falling_back_is_another_call_that_can_be_repeated() -> None:
    request = ChatRequest.of("x", model="pinned", fallback="auto", idempotency_key="k1")
    other = request.falling_back()
    assert (other.model, other.fallback) == ("auto", None)
    assert (other.key, other.asked) == (request.key, "pinned"), "to its caller it is the same call"
    assert other.wire_key != request.wire_key, "another body must not be sent with the same key"
    again = ChatRequest.of("x", model="pinned", fallback="auto", idempotency_key="k1").falling_back()
    assert other.wire_key == again.wire_key


def test_further_requests_of_a_call_have_keys_of_their_own_that_can_be_repeated() -> None:
    request = ChatRequest.of("x", model="pinned", fallback="auto", idempotency_key="k1")
    others = [request.varied({**request.body, "seed": 1}, "words"), request.falling_back()]
    others += [each.varied(each.body, "repair-1") for each in others]
    assert len({each.wire_key for each in (request, *others)}) == 5, "a key says which body it was sent with"
    assert {each.key for each in others} == {"k1"}
    assert others[0].wire_key == request.varied({}, "words").wire_key
    assert json.loads(others[0].json)["seed"] == 1


def response_format(schema: Any) -> dict[str, Any]:
    return Shape.of(schema).response_format


def test_response_formats() -> None:
    made = response_format(City)
    assert made == ChatRequest.of("x", schema=City).body["response_format"]
    assert made["type"] == "json_schema"
    assert made["json_schema"]["name"] == "City"
    assert made["json_schema"]["schema"]["required"] == ["name", "people"]
    assert response_format(Page[int])["json_schema"]["name"] == "Page_int"
    assert response_format({"title": "Ünsinn 1!", "type": "object"})["json_schema"]["name"] == "nsinn_1"
    assert response_format({"type": "object"})["json_schema"] == {
        "name": "answer",
        "schema": {"type": "object"},
    }


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Bern", "people": 5}',
        '```json\n{"name": "Bern", "people": 5}\n```',
        ' ```\n{"name":"Bern","people":5}```\n',
    ],
)
def test_data_is_parsed_also_from_a_fence(text: str) -> None:
    assert parse_data(bn.Reply(text), City) == City(name="Bern", people=5)
    assert parse_data(bn.Reply(text), {"type": "object"}) == {"name": "Bern", "people": 5}


@pytest.mark.parametrize(
    "text", ["", "Bern", '{"name": "Bern"}', '{"name": "Bern", "people": "many"}', "[]", "{", "[" * 9999]
)
def test_data_that_does_not_fit_holds_the_reply(text: str) -> None:
    reply = bn.Reply(text, request_id="req_1", attempts=2)
    with pytest.raises(bn.InvalidData) as caught:
        parse_data(reply, City)
    error = caught.value
    assert error.reply is reply
    assert (error.request_id, error.attempts, error.retryable) == ("req_1", 2, False)
    assert error.errors
    assert "City" in error.message


def test_an_answer_cut_off_by_its_length_says_so() -> None:
    with pytest.raises(bn.InvalidData, match="max_tokens"):
        parse_data(bn.Reply('{"name": "Be', finish_reason="length"), City)
