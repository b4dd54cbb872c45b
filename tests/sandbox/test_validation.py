"""Bodies that are not right: each bad field is named by a JSON Pointer."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox.conftest import HI, chat

USER = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}

WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"model": None}, ["/model"]),
    ({"model": 7}, ["/model"]),
    ({"model": " "}, ["/model"]),
    ({"messages": None}, ["/messages"]),
    ({"messages": []}, ["/messages"]),
    ({"messages": "hi"}, ["/messages"]),
    ({"messages": ["hi"]}, ["/messages/0"]),
    ({"messages": [{"content": "x"}]}, ["/messages/0/role"]),
    ({"messages": [USER, {"role": "robot", "content": "x"}]}, ["/messages/1/role"]),
    ({"messages": [{"role": ["user"], "content": "x"}]}, ["/messages/0/role"]),
    ({"messages": [{"role": "user"}]}, ["/messages/0/content"]),
    ({"messages": [{"role": "user", "content": 5}]}, ["/messages/0/content"]),
    ({"messages": [{"role": "user", "content": ["x"]}]}, ["/messages/0/content/0"]),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
        ["/messages/0/content/0/text"],
    ),
    ({"messages": [{"role": "assistant", "content": None}]}, ["/messages/0/content"]),
    ({"messages": [{"role": "assistant", "content": "", "tool_calls": 1}]}, ["/messages/0/tool_calls"]),
    ({"stream": "yes"}, ["/stream"]),
    ({"stream_options": []}, ["/stream_options"]),
    ({"stream_options": {"include_usage": 1}}, ["/stream_options/include_usage"]),
    ({"temperature": 2.1}, ["/temperature"]),
    ({"temperature": -0.1}, ["/temperature"]),
    ({"temperature": "warm"}, ["/temperature"]),
    ({"temperature": True}, ["/temperature"]),
    ({"top_p": 1.5}, ["/top_p"]),
    ({"max_tokens": 0}, ["/max_tokens"]),
    ({"max_tokens": 1.5}, ["/max_tokens"]),
    ({"max_completion_tokens": "9"}, ["/max_completion_tokens"]),
    ({"n": 0}, ["/n"]),
    ({"n": 9}, ["/n"]),
    ({"seed": 2**63}, ["/seed"]),
    ({"stop": ""}, ["/stop"]),
    ({"stop": [1]}, ["/stop"]),
    ({"stop": list("abcde")}, ["/stop"]),
    ({"frequency_penalty": 3}, ["/frequency_penalty"]),
    ({"presence_penalty": "x"}, ["/presence_penalty"]),
    ({"metadata": "x"}, ["/metadata"]),
    ({"user": 1}, ["/user"]),
    ({"model_options": {"pace": 99}}, ["/model_options/pace"]),
    ({"response_format": "json"}, ["/response_format"]),
    ({"response_format": {"type": "xml"}}, ["/response_format/type"]),
    ({"response_format": {"type": "json_schema"}}, ["/response_format/json_schema/schema"]),
    ({"tools": {}}, ["/tools"]),
    ({"tools": [{"type": "function"}]}, ["/tools/0"]),
    ({"tools": [{"type": "function", "function": {"name": ""}}]}, ["/tools/0/function/name"]),
    (
        {"tools": [{"type": "function", "function": {"name": "a", "parameters": 1}}]},
        ["/tools/0/function/parameters"],
    ),
    ({"tool_choice": "required"}, ["/tool_choice"]),
    ({"tool_choice": "sometimes", "tools": [TOOL]}, ["/tool_choice"]),
    (
        {"tool_choice": {"type": "function", "function": {"name": "x"}}, "tools": [TOOL]},
        ["/tool_choice/function/name"],
    ),
    (
        {"temperature": 3, "n": "two", "messages": [{"role": "x", "content": "y"}]},
        ["/n", "/temperature", "/messages/0/role"],
    ),
]


@pytest.mark.parametrize(("wrong", "fields"), WRONG, ids=[json.dumps(w)[:60] for w, _ in WRONG])
def test_each_bad_field_is_named(http: httpx.Client, wrong: dict[str, Any], fields: list[str]) -> None:
    answer = http.post("/chat/completions", json={**HI, **wrong})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["code"], error["retryable"]) == ("invalid_request", False)
    named = [each["field"] for each in error["details"]["errors"]]
    assert sorted(named) == sorted(fields)
    assert error["param"] == named[0]
    assert error["param"] in error["message"]


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0, "top_p": 1},
        {"temperature": 2, "n": 8, "seed": -1},
        {
            "temperature": None,
            "stop": None,
            "tools": None,
            "stream": None,
            "max_tokens": None,
            "response_format": None,
        },
        {"anything_else": {"deep": [1]}, "user": "me", "metadata": {"a": "b"}, "parallel_tool_calls": False},
        {"logprobs": False, "logit_bias": {}},
        {"max_tokens": 5.0},
        {"messages": [{"role": "developer", "content": "Be kind."}, USER]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}
            ]
        },
        {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, USER]},
        {"model_options": {"suno": {"style_weight": 1}}},
    ],
)
def test_what_is_right_or_unknown_passes(http: httpx.Client, fields: dict[str, Any]) -> None:
    assert http.post("/chat/completions", json={**HI, **fields}).status_code == 200


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"logprobs": True}, ["logprobs"]),
        ({"logprobs": True, "top_logprobs": 3}, ["logprobs", "top_logprobs"]),
        ({"logit_bias": {"50256": -100}}, ["logit_bias"]),
        ({"reasoning_effort": "high"}, ["reasoning_effort"]),
        ({"modalities": ["text", "audio"]}, ["modalities"]),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            ["messages/0/content/0"],
        ),
    ],
)
def test_what_no_engine_takes_is_named(http: httpx.Client, fields: dict[str, Any], names: list[str]) -> None:
    error = http.post("/chat/completions", json={**HI, **fields})
    assert error.status_code == 422
    body = error.json()["error"]
    assert (body["code"], body["details"]["unsupported_fields"]) == ("unsupported_option", names)
    assert body["param"] == "/" + names[0]


def test_unknown_models(http: httpx.Client) -> None:
    for model in ("gpt-7", "sandbox-smollm2", "AUTO"):
        answer = chat(http, model=model)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "unsupported_model", "/model")
        assert "sandbox-scripted" in error["message"]
    assert "beatra-nb fetch" in chat(http, model="sandbox-smollm2").json()["error"]["message"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[1]",
        b'"x"',
        b"nul",
        b'{"a": NaN}',
        b"\xff\xfe",
        b"{}{}",
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=range(10),
)
def test_bodies_that_are_not_a_json_object(http: httpx.Client, raw: bytes) -> None:
    answer = http.post("/chat/completions", content=raw, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_other_content_types_are_refused(http: httpx.Client, kind: str) -> None:
    """Above all those that a foreign web page may send without asking (no CORS preflight)."""
    answer = http.post("/chat/completions", content=json.dumps(HI), headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "invalid_request")
    good = http.post(
        "/chat/completions",
        content=json.dumps(HI),
        headers={"Content-Type": "application/json; charset=utf-8"},
    )
    assert good.status_code == 200


def test_a_body_that_is_too_large(http: httpx.Client) -> None:
    answer = chat(http, "x" * (4 * 1024 * 1024))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "invalid_request")
    assert "4 MB" in answer.json()["error"]["message"]
    assert chat(http).status_code == 200


def test_pointers_are_escaped_and_names_are_only_text(http: httpx.Client) -> None:
    body = json.dumps({**HI, "model": "<script>\ud800~/"}).encode()
    answer = http.post("/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "<script>" in answer.json()["error"]["message"]


def test_lone_surrogates_become_replacement_characters(http: httpx.Client) -> None:
    body = json.dumps(
        {**HI, "messages": [{"role": "user", "content": "repeat: a\ud83d\ude00b\ud800c"}]}
    ).encode()
    answer = http.post("/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.json()["choices"][0]["message"]["content"] == "a😀b�c"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    *(
        "model",
        "messages",
        "stream",
        "temperature",
        "top_p",
        "max_tokens",
        "n",
        "seed",
        "stop",
        "stream_options",
    ),
    *(
        "tools",
        "tool_choice",
        "response_format",
        "metadata",
        "user",
        "model_options",
        "logprobs",
        "logit_bias",
    ),
]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_whatever_is_sent_gets_an_answer_or_an_envelope(http: httpx.Client, fields: dict[str, Any]) -> None:
    body = {**HI, **fields}
    answer = http.post("/chat/completions", json=body)
    assert answer.status_code in (200, 400, 422)
    if answer.status_code != 200:
        assert answer.json()["error"]["code"] in (
            "invalid_request",
            "unsupported_option",
            "unsupported_model",
        )
