"""A streamed answer, put together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.core.assemble import Assembler, BadChunk
from beatra_nb.core.models import CompletionWire
from tests.core.test_envelope import JSON


def taken(*chunks: Any) -> tuple[Assembler, str]:
    assembler = Assembler()
    said = [assembler.take(c if isinstance(c, bytes) else json.dumps(c).encode()) for c in chunks]
    return assembler, "".join(said)


def choice(delta: object, index: object = 0, **more: Any) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": index, "delta": delta, **more}]}


def test_deltas_become_the_text() -> None:
    one, said = taken(
        choice({"role": "assistant", "content": ""}), choice({"content": "a"}), choice({"content": "b"})
    )
    assert said == one.text == "ab"
    assert one.completion()["choices"][0]["message"] == {"role": "assistant", "content": "ab"}
    assert (one.completion()["id"], one.completion()["model"]) == ("c", "m")
    assert not one.done


def test_only_done_is_done() -> None:
    one, _ = taken(choice({"content": "a"}, finish_reason="stop"))
    assert one.finish_reason == "stop"
    assert not one.done
    assert one.take(b"[DONE]") == ""
    assert one.done


def test_chunks_without_choices_and_the_usage_chunk() -> None:
    one, said = taken(
        {"id": "c", "model": "m"},
        {"choices": []},
        {"choices": None},
        choice({"content": "x"}) | {"usage": None},
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}},
    )
    assert said == "x"
    assert one.completion()["usage"]["total_tokens"] == 4


def test_the_model_may_be_named_late() -> None:
    one, _ = taken({"id": "c", "model": ""}, choice({"content": "x"}))
    assert one.completion()["model"] == "m"


@pytest.mark.parametrize("delta", [None, {}, {"content": None}, {"content": 5}, {"content": ["a"]}, "x", [1]])
def test_null_and_odd_deltas_add_nothing(delta: object) -> None:
    one, said = taken(choice({"content": "a"}), choice(delta), choice({"content": "b"}))
    assert said == one.text == "ab"


def test_tool_calls_come_in_pieces() -> None:
    def call(index: object, **more: Any) -> dict[str, Any]:
        return choice({"tool_calls": [{"index": index, **more}]})

    one, said = taken(
        call(0, id="t1", type="function", function={"name": "weather", "arguments": ""}),
        call(0, function={"arguments": '{"city": '}),
        call(1, id="t2", function={"name": "time", "arguments": "{}"}),
        call(0, function={"arguments": '"Bern"}'}),
        choice({"tool_calls": None}),
        choice({"tool_calls": [None, 5]}),
        choice({}, finish_reason="tool_calls"),
    )
    assert said == ""
    calls = one.completion()["choices"][0]["message"]["tool_calls"]
    assert [c["id"] for c in calls] == ["t1", "t2"]
    assert [c["function"] for c in calls] == [
        {"name": "weather", "arguments": '{"city": "Bern"}'},
        {"name": "time", "arguments": "{}"},
    ]
    assert one.finish_reason == "tool_calls"


def test_several_answers_are_kept_apart_and_only_the_first_is_streamed() -> None:
    one, said = taken(
        choice({"content": "a"}, 0),
        choice({"content": "x"}, 1),
        choice({"content": "b"}, 0),
        choice({"content": "y"}, 2),
        choice({"content": "z"}, 1),
    )
    assert said == "ab"
    assert [c["message"]["content"] for c in one.completion()["choices"]] == ["ab", "xz", "y"]
    assert [c["index"] for c in one.completion()["choices"]] == [0, 1, 2]


@pytest.mark.parametrize("data", [b"", b" ", b"\n"])
def test_an_empty_event_is_a_sign_of_life(data: bytes) -> None:
    assert taken(choice({"content": "a"}), data, choice({"content": "b"}))[1] == "ab"


@pytest.mark.parametrize("data", [b"{", b"<html>", b"\xff", b"[DONE", b'{"a": }', b"[" * 100_000])
def test_what_is_no_json_is_told(data: bytes) -> None:
    with pytest.raises(BadChunk) as caught:
        taken(choice({"content": "a"}), data)
    assert len(str(caught.value)) <= 200


@pytest.mark.parametrize("data", [b"[]", b"5", b"null", b'"x"', b"{}"])
def test_json_that_is_no_chunk_is_passed_over(data: bytes) -> None:
    assert taken(data, choice({"content": "a"}))[1] == "a"


def test_an_error_event_is_the_service_s_word() -> None:
    with pytest.raises(bn.ServerError) as caught:
        taken(
            {
                "error": {
                    "code": "model_unavailable",
                    "message": "Gone.",
                    "retryable": True,
                    "request_id": "req_5",
                }
            }
        )
    error = caught.value
    assert (error.code, error.status, error.retryable, error.request_id) == (
        "model_unavailable",
        None,
        True,
        "req_5",
    )


@pytest.mark.parametrize("inner", ["boom", {"message": "no code"}, ["x"], 5])
def test_an_error_event_of_another_shape_is_an_error_all_the_same(inner: object) -> None:
    with pytest.raises(bn.APIError) as caught:
        taken({"error": inner})
    assert caught.value.retryable is False
    assert caught.value.body


def test_an_empty_error_field_is_none() -> None:
    assert taken(choice({"content": "a"}) | {"error": None})[1] == "a"


CHUNK = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON,
        "model": JSON,
        "usage": JSON | st.fixed_dictionaries({"prompt_tokens": JSON, "credits": JSON}),
        "choices": JSON
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "index": JSON | st.integers(0, 3),
                    "finish_reason": JSON,
                    "delta": JSON
                    | st.fixed_dictionaries(
                        {},
                        optional={
                            "content": JSON,
                            "tool_calls": JSON
                            | st.lists(st.fixed_dictionaries({"index": JSON, "function": JSON})),
                        },
                    ),
                },
            ),
            max_size=3,
        ),
    },
)


@given(chunks=st.lists(CHUNK, max_size=5))
def test_no_chunk_breaks_it_and_what_comes_out_is_an_answer(chunks: list[Any]) -> None:
    one, said = taken(*chunks)
    assert said == one.text
    assert CompletionWire.model_validate(one.completion()).choices[0].message.content == said
