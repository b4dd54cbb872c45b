"""Streams: the shape OpenAI's clients expect, growing as it is made, and stopped when nobody listens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx
import pytest

from beatra_nb.sandbox import Sandbox
from tests.sandbox.conftest import HI, chat, client_of, text_of


def events(http: httpx.Client, prompt: str = "Say hi in five words.", **fields: Any) -> list[Any]:
    answer = chat(http, prompt, stream=True, **fields)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = answer.content.decode().split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    data = [block.removeprefix("data: ") for block in blocks]
    assert data.pop() == "[DONE]"
    return [json.loads(each) for each in data]


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for something that must come true; fail when it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.005)


def test_the_shape_of_a_stream(http: httpx.Client) -> None:
    chunks = events(http)
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["id"].startswith("chatcmpl_01")
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {"sandbox-scripted"}
    assert all(isinstance(chunk["created"], int) for chunk in chunks)
    assert all("usage" not in chunk for chunk in chunks)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert all(set(choice["delta"]) == {"content"} for choice in choices[1:-1])
    assert (choices[-1]["delta"], choices[-1]["finish_reason"]) == ({}, "stop")
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    streamed = "".join(choice["delta"].get("content", "") for choice in choices)
    assert streamed == text_of(chat(http))
    assert len(choices) == len(streamed.split()) + 2  # word by word


def test_usage_comes_last_and_only_when_asked(http: httpx.Client) -> None:
    chunks = events(http, stream_options={"include_usage": True})
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == chat(http).json()["usage"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_several_choices_in_one_stream(http: httpx.Client) -> None:
    chunks = events(http, "Tell me a story of 30 words", n=3)
    texts = ["", "", ""]
    for chunk in chunks:
        choice = chunk["choices"][0]
        texts[choice["index"]] += choice["delta"].get("content") or ""
    plain = chat(http, "Tell me a story of 30 words", n=3).json()["choices"]
    assert texts == [choice["message"]["content"] for choice in plain]
    assert len(set(texts)) == 3
    assert [c["choices"][0]["index"] for c in chunks if c["choices"][0]["finish_reason"]] == [0, 1, 2]


def test_tool_calls_come_as_deltas(http: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]
    fields: dict[str, Any] = {"tools": tools, "tool_choice": "required"}
    chunks = events(http, "How is the weather in Paris?", **fields)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    calls = [
        c["choices"][0]["delta"]["tool_calls"][0] for c in chunks if "tool_calls" in c["choices"][0]["delta"]
    ]
    assert calls[0]["id"].startswith("call_")
    assert (calls[0]["type"], calls[0]["function"]["name"]) == ("function", "get_weather")
    assert all("id" not in call and "name" not in call["function"] for call in calls[1:])
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Paris"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    whole = chat(http, "How is the weather in Paris?", **fields).json()["choices"][0]
    assert (whole["finish_reason"], whole["message"]["content"]) == ("tool_calls", None)
    assert json.loads(whole["message"]["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris"}


def test_a_failure_before_the_stream_is_an_ordinary_error(http: httpx.Client) -> None:
    answer = chat(http, stream=True, temperature=9)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json")
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "elsewhere.json"}}}
    answer = chat(http, stream=True, response_format=schema)
    assert (answer.status_code, answer.json()["error"]["param"]) == (
        422,
        "/response_format/json_schema/schema",
    )


def test_a_stream_grows_at_the_pace_asked_for(http: httpx.Client) -> None:
    body = {**HI, "stream": True, "model_options": {"pace": 0.05}}
    arrived = []
    with http.stream("POST", "/chat/completions", json=body) as answer:
        arrived = [time.perf_counter() for line in answer.iter_lines() if '"content":"' in line]
    gaps = [later - earlier for earlier, later in pairwise(arrived[1:])]
    assert len(gaps) >= 4
    assert min(gaps) > 0.02


@pytest.mark.parametrize("stream", [True, False])
def test_the_engine_stops_when_the_client_goes_away(faulty: Sandbox, stream: bool) -> None:
    """Stopped work leaves its key free: asking again is new work, and nothing was remembered or counted."""
    long = {
        "prompt": "Write 600 words",
        "stream": stream,
        "model_options": {"pace": 0.02},
    }  # 12 seconds of work
    body = {"model": "auto", "messages": [{"role": "user", "content": long.pop("prompt")}], **long}
    key = {"Idempotency-Key": "k-1"}
    ledger = faulty._server._service.ledger
    with client_of(faulty) as http:
        if stream:
            with http.stream("POST", "/chat/completions", json=body, headers=key) as answer:
                next(answer.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                http.post("/chat/completions", json=body, headers=key, timeout=0.3)
        until(lambda: not ledger.at_work, seconds=1.0)
        assert [seen.effect for seen in faulty.seen] == [False]
        quick = {**body, "stream": False, "model_options": None}
        again = http.post("/chat/completions", json=quick, headers=key)
    assert again.status_code == 200
    assert "idempotent-replayed" not in again.headers
    assert [seen.effect for seen in faulty.seen] == [False, True]


def test_one_slow_stream_does_not_hold_up_others(http: httpx.Client) -> None:
    body = {**HI, "stream": True, "model_options": {"pace": 0.2}}
    with http.stream("POST", "/chat/completions", json=body) as answer:
        lines = answer.iter_lines()  # held: a lost iterator would close the stream
        next(lines)
        began = time.perf_counter()
        assert chat(http).status_code == 200
        assert time.perf_counter() - began < 0.5
        assert list(lines)[-2] == "data: [DONE]"
