"""The quickstart by the official ``openai`` package: nothing changed but base URL and key."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from beatra_nb.sandbox import Sandbox
from tests.sandbox.test_contract import BAD_KEY

MESSAGES: Any = [{"role": "user", "content": "Say hi in five words."}]


def test_plain(box: Sandbox) -> None:
    with OpenAI(base_url=box.base_url, api_key=box.api_key) as client:
        answer = client.chat.completions.create(model="auto", messages=MESSAGES)
        assert len((answer.choices[0].message.content or "").split()) == 5
        assert answer.choices[0].finish_reason == "stop"
        assert answer.id.startswith("chatcmpl_01")
        assert answer.model == "sandbox-scripted"
        assert answer.usage is not None
        assert answer.usage.total_tokens > 5
        assert float(answer.usage.credits) > 0  # type: ignore[attr-defined]
        assert (answer._request_id or "").startswith("req_01")
        assert next(model.id for model in client.models.list()) == "sandbox-scripted"


def test_streamed(box: Sandbox) -> None:
    with OpenAI(base_url=box.base_url, api_key=box.api_key) as client:
        plain = client.chat.completions.create(model="auto", messages=MESSAGES).choices[0].message.content
        chunks = list(
            client.chat.completions.create(
                model="auto", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
        )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == plain
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None


async def test_async_plain_and_streamed(box: Sandbox) -> None:
    async with AsyncOpenAI(base_url=box.base_url, api_key=box.api_key) as client:
        answer = await client.chat.completions.create(model="auto", messages=MESSAGES)
        stream = await client.chat.completions.create(model="auto", messages=MESSAGES, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == answer.choices[0].message.content


def test_a_bad_key_gets_the_quickstarts_body(box: Sandbox) -> None:
    client = OpenAI(base_url=box.base_url, api_key="sk-" + "0" * 32)
    with client, pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model="auto", messages=MESSAGES)
    assert caught.value.response.json() == BAD_KEY
    assert caught.value.code == "invalid_api_key"


def test_schema_tools_and_the_sdks_own_stream_helper(box: Sandbox) -> None:
    class Person(BaseModel):
        name: str
        age: int

    with OpenAI(base_url=box.base_url, api_key=box.api_key) as client:
        parsed = client.chat.completions.parse(
            model="auto", messages=[{"role": "user", "content": "Ada is 36."}], response_format=Person
        )
        assert parsed.choices[0].message.parsed == Person(name="Ada", age=36)
        tools: Any = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
        with client.chat.completions.stream(
            model="auto", messages=MESSAGES, tools=tools, tool_choice="required"
        ) as stream:
            stream.until_done()
            call = stream.get_final_completion().choices[0].message.tool_calls
        assert call is not None
        assert call[0].function.name == "look_up"
        assert isinstance(json.loads(call[0].function.arguments), dict)


def test_errors_carry_the_envelope(box: Sandbox) -> None:
    with OpenAI(base_url=box.base_url, api_key=box.api_key) as client:
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            client.chat.completions.create(model="auto", messages=MESSAGES, temperature=3)
        assert caught.value.param == "/temperature"
        assert (caught.value.request_id or "").startswith("req_01")
        with pytest.raises(openai.BadRequestError, match="no model"):
            client.chat.completions.create(model="gpt-7", messages=MESSAGES)


@pytest.mark.weights
async def test_with_the_real_engine(real_box: Sandbox) -> None:
    with OpenAI(base_url=real_box.base_url, api_key=real_box.api_key) as client:
        answer = client.chat.completions.create(model="auto", messages=MESSAGES)
        stream = client.chat.completions.create(model="auto", messages=MESSAGES, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert answer.model == "sandbox-smollm2"
    assert answer.choices[0].message.content
    assert text
    async with AsyncOpenAI(base_url=real_box.base_url, api_key=real_box.api_key) as client:
        assert (
            (await client.chat.completions.create(model="auto", messages=MESSAGES)).choices[0].message.content
        )
