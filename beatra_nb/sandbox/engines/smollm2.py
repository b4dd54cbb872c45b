"""The real engine: SmolLM2-135M-Instruct on this machine, run by xllamacpp (llama.cpp) in a process of its own.

It answers one request at a time, first come, first served, for all sandboxes of this Python process. It is a
toy: greetings, summaries and answers under a schema work, arithmetic does not.

Where a request asks for no ``max_tokens``, an answer stops after 512 tokens; where it asks for more than 1024,
after 1024. Either way its ``finish_reason`` is then ``length``.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from beatra_nb.sandbox import weights
from beatra_nb.sandbox.contract import Refusal
from beatra_nb.sandbox.engines.base import Call, ChatRequest, Event, Finish, Message, Spent, Text, Tool
from beatra_nb.sandbox.engines.model_process import Item, ModelProcess, Refused

CONTEXT = 4096  # tokens of prompt and answer together
DEFAULT_MAX_TOKENS = 512  # where a request does not say: a toy that rambles on keeps nobody waiting for long
MAX_TOKENS = 1024  # whatever a request says
TEMPERATURE, TOP_P = 0.3, 0.9  # where a request does not say: hotter, so small a model loses the thread
SYSTEM = "You are a helpful assistant."  # always sent: the template's own default derails the model


@dataclass(frozen=True, slots=True)
class Missing:
    """What keeps this engine from starting, and how to mend it."""

    what: str
    mend: str


def missing() -> Missing | None:
    """Return what is missing for this engine, or None; loads nothing."""
    if importlib.util.find_spec("xllamacpp") is None:
        return Missing("the package xllamacpp is not installed", "Run: pip install 'beatra-nb[sandbox]'")
    if not sys.executable:
        return Missing("this Python does not know its own program", "Use the scripted engine.")
    if weights.installed() is None:
        return Missing("its weights are not here", "Run: beatra-nb fetch")
    return None


class SmolLM2:
    """The engine as a sandbox sees it; all of them share one model."""

    name = "smollm2"
    model = "sandbox-smollm2"

    def __init__(self) -> None:
        self._process = ModelProcess.acquire(self.model, CONTEXT)
        self._closed = False

    @property
    def usable(self) -> bool:
        """False once the model's process has ended before it could answer at all."""
        return not self._process.broken

    def warm(self) -> None:
        """Load the model and read the usual beginning of a conversation, in the background."""
        self._process.submit(_body(_WARM_UP, None, 0), lambda item: None)

    def close(self) -> None:
        """Give the model back; the last to do so frees it."""
        if not self._closed:
            self._closed = True
            self._process.release()

    async def answer(self, request: ChatRequest) -> AsyncIterator[Event]:
        """Answer; several choices are made one after the other."""
        tool = request.tool_to_call()
        prompt_tokens = spoken = 0
        for index in range(request.n):
            opened = False
            async for chunk in self._chunks(_body(request, tool, index)):
                if usage := chunk.get("usage"):
                    prompt_tokens = int(usage["prompt_tokens"])
                    spoken += int(usage["completion_tokens"])
                for choice in chunk.get("choices", ()):
                    text = choice["delta"].get("content")
                    if text and tool is None:
                        yield Text(index, text)
                    elif text:
                        call_id = None if opened else "call_" + secrets.token_hex(12)
                        yield Call(index, call_id, None if opened else tool.name, text)  # type: ignore[union-attr]
                        opened = True
                    if reason := choice.get("finish_reason"):
                        yield Finish(index, "tool_calls" if tool is not None and reason == "stop" else reason)
        yield Spent(prompt_tokens, spoken)

    async def _chunks(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Follow one job of the model; leaving early stops it at the next token."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Item] = asyncio.Queue()
        job = self._process.submit(body, lambda item: _hand(loop, arrived, item))
        try:
            while (item := await arrived.get()) is not None:
                if isinstance(item, Refusal):
                    raise item
                if isinstance(item, Refused):
                    raise _unusable(item.reason, body)
                if "error" in item:
                    raise _refusal(item["error"])
                yield item
        finally:
            self._process.cancel(job)


def _hand(loop: asyncio.AbstractEventLoop, arrived: asyncio.Queue[Item], item: Item) -> None:
    loop.call_soon_threadsafe(arrived.put_nowait, item)


# For "any JSON object": left alone with braces, so small a model never finds an end.
_ANY_OBJECT = {
    "type": "object",
    "properties": {"answer": {"type": "string", "maxLength": 200}},
    "required": ["answer"],
}

_WARM_UP = ChatRequest(model=SmolLM2.model, messages=(Message("user", "Hi"),), max_tokens=1)


def _body(request: ChatRequest, tool: Tool | None, index: int) -> dict[str, Any]:
    """Return the request as llama.cpp takes it; always streamed, so that it can be stopped at any token."""
    messages = [_message(message) for message in request.messages]
    if not any(message["role"] == "system" for message in messages):
        messages.insert(0, {"role": "system", "content": SYSTEM})
    body: dict[str, Any] = {
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": min(request.max_tokens or DEFAULT_MAX_TOKENS, MAX_TOKENS),
        "temperature": TEMPERATURE if request.temperature is None else request.temperature,
        "top_p": TOP_P if request.top_p is None else request.top_p,
        "seed": secrets.randbits(31) if request.seed is None else (request.seed + index) & 0x7FFFFFFF,
    }
    if request.stop:
        body["stop"] = list(request.stop)
    for name in ("frequency_penalty", "presence_penalty"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    if tool is not None:
        body["response_format"] = _schema_format(tool.parameters or {"type": "object", "properties": {}})
    elif request.schema is not None:
        body["response_format"] = _schema_format(request.schema)
    elif request.json_object:
        body["response_format"] = _schema_format(_ANY_OBJECT)
    return body


def _schema_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def _message(message: Message) -> dict[str, str]:
    """The model's template knows system, user and assistant; what else there is, is told in words."""
    if message.role == "tool":
        return {"role": "user", "content": f"The tool answered: {message.text}"}
    if message.tool_calls and not message.text:
        called = [json.dumps(call.get("function"), ensure_ascii=False) for call in message.tool_calls]
        return {"role": "assistant", "content": "I call the tool: " + "; ".join(called)}
    return {"role": message.role, "content": message.text}


def _refusal(error: dict[str, Any]) -> Refusal:
    if error.get("type") == "exceed_context_size_error":
        return Refusal(
            "invalid_request",
            f"The conversation is {error.get('n_prompt_tokens')} tokens long; this model reads at most {CONTEXT}.",
            param="/messages",
        )
    message = str(error.get("message", ""))[:300]
    if error.get("code") == 400:
        return Refusal("invalid_request", f"The model cannot take this request: {message}")
    return Refusal("model_unavailable", f"The model failed: {message}")


def _unusable(reason: str, body: dict[str, Any]) -> Refusal:
    reason = reason.rpartition("failed: ")[2][:300]
    if "response_format" not in body:
        return Refusal("invalid_request", f"The model cannot take this request: {reason}")
    return Refusal(
        "invalid_request",
        f"The model cannot follow this JSON schema: {reason}",
        param="/response_format/json_schema/schema",
    )
