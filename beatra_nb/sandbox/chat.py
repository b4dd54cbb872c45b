"""From an engine's events to the wire: one completion, or a stream of chunks as OpenAI sends them."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, cast

from beatra_nb.sandbox import catalog
from beatra_nb.sandbox.contract import Refusal, encode, new_id
from beatra_nb.sandbox.engines.base import Call, ChatRequest, Engine, Event, Finish, Spent, Text
from beatra_nb.sandbox.ledger import Recording

DONE = b"data: [DONE]\n\n"
log = logging.getLogger("beatra_nb.sandbox")


async def produce(
    engine: Engine, request: ChatRequest, recording: Recording, request_id: str, whole: Callable[[], None]
) -> None:
    """Let the engine answer into a recording; ``whole`` is called when the work is done, before its end is told.

    A failure before the first event is an ordinary error answer, one after it an error event in the stream.
    Only whole answers and failures that the same request would meet again are kept for its key.
    """
    write = _Stream(engine, request, recording) if request.stream else _Completion(engine, request, recording)
    try:
        events = cast("AsyncGenerator[Event, None]", engine.answer(request))
        async with aclosing(events):
            async for event in events:
                write.event(event)
    except Refusal as refusal:
        _fail(recording, refusal, request_id)
        return
    except Exception:
        log.exception("The %s engine failed.", engine.name)
        _fail(recording, Refusal("internal_error"), request_id)
        return
    whole()
    write.end()


def _fail(recording: Recording, refusal: Refusal, request_id: str) -> None:
    envelope = encode(refusal.envelope(request_id))
    if recording.status:
        recording.add(b"data: " + envelope + b"\n\n")
        recording.finish(keep=False)
    else:
        recording.begin(refusal.status, "application/json", tuple(refusal.headers.items()))
        recording.add(envelope)
        recording.finish(keep=not refusal.retryable)


class _Completion:
    """Gathers everything and writes one JSON object."""

    def __init__(self, engine: Engine, request: ChatRequest, recording: Recording) -> None:
        self.recording = recording
        self.model = engine.model
        self.texts: list[list[str]] = [[] for _ in range(request.n)]
        self.calls: list[dict[str, Any] | None] = [None] * request.n
        self.reasons: list[str | None] = [None] * request.n
        self.usage: dict[str, Any] | None = None

    def event(self, event: Event) -> None:
        match event:
            case Text(index, text):
                self.texts[index].append(text)
            case Call(index, call_id, name, arguments):
                call = self.calls[index]
                if call is None:
                    function = {"name": name, "arguments": arguments}
                    self.calls[index] = {"id": call_id, "type": "function", "function": function}
                else:
                    call["function"]["arguments"] += arguments
            case Finish(index, reason):
                self.reasons[index] = reason
            case Spent(prompt, completion):
                self.usage = catalog.usage(prompt, completion)

    def choice(self, index: int) -> dict[str, Any]:
        call = self.calls[index]
        text = "".join(self.texts[index])
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if call is not None and not text else text,
            "refusal": None,
        }
        if call is not None:
            message["tool_calls"] = [call]
        return {
            "index": index,
            "message": message,
            "logprobs": None,
            "finish_reason": self.reasons[index] or "stop",
        }

    def end(self) -> None:
        body = {
            "id": new_id("chatcmpl_"),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.model,
            "choices": [self.choice(index) for index in range(len(self.texts))],
            "usage": self.usage,
        }
        self.recording.begin(200, "application/json")
        self.recording.add(encode(body))
        self.recording.finish(keep=True)


class _Stream:
    """Writes each event as it comes: role first, then deltas, finish reasons, usage when asked, [DONE]."""

    def __init__(self, engine: Engine, request: ChatRequest, recording: Recording) -> None:
        self.recording = recording
        self.include_usage = request.include_usage
        self.opened: set[int] = set()
        self.frame: dict[str, Any] = {
            "id": new_id("chatcmpl_"),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": engine.model,
        }
        if self.include_usage:
            self.frame["usage"] = None

    def chunk(self, index: int, delta: dict[str, Any], reason: str | None = None) -> None:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        self.write({**self.frame, "choices": [choice]})

    def write(self, chunk: dict[str, Any]) -> None:
        self.recording.add(b"data: " + encode(chunk) + b"\n\n")

    def event(self, event: Event) -> None:
        if not self.recording.status:
            self.recording.begin(200, "text/event-stream")
        if isinstance(event, Spent):
            if self.include_usage:
                figures = catalog.usage(event.prompt_tokens, event.completion_tokens)
                self.write({**self.frame, "choices": [], "usage": figures})
            return
        if event.index not in self.opened:
            self.opened.add(event.index)
            content = None if isinstance(event, Call) else ""
            self.chunk(event.index, {"role": "assistant", "content": content})
        match event:
            case Text(index, text):
                self.chunk(index, {"content": text})
            case Call(index, call_id, name, arguments):
                call: dict[str, Any] = {"index": 0, "function": {"arguments": arguments}}
                if call_id is not None:
                    call = {"index": 0, "id": call_id, "type": "function"}
                    call["function"] = {"name": name, "arguments": arguments}
                self.chunk(index, {"tool_calls": [call]})
            case Finish(index, reason):
                self.chunk(index, {}, reason)

    def end(self) -> None:
        self.recording.add(DONE)
        self.recording.finish(keep=True)
