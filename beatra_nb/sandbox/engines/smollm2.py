"""The real engine: SmolLM2-135M-Instruct on this machine, run by xllamacpp (llama.cpp).

One model per process, however many sandboxes ask: it lives in a thread of its own and takes one answer at a
time, first come, first served. Never on the main thread, where an interrupt would land only at the end of an
answer; never on the server's loop, which must not wait for it. It is loaded when the first sandbox with this
engine starts and freed when the last one stops.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from beatra_nb.sandbox import weights
from beatra_nb.sandbox.contract import Refusal
from beatra_nb.sandbox.engines.base import Call, ChatRequest, Event, Finish, Message, Spent, Text, Tool

CONTEXT = 4096  # tokens of prompt and answer together
MAX_TOKENS = 1024  # a toy that rambles on is stopped here
MAX_WAITING = 1024
TEMPERATURE, TOP_P = 0.3, 0.9  # where a request does not say: hotter, so small a model loses the thread
SYSTEM = "You are a helpful assistant."  # always sent: the template's own default derails the model
STOP_TIMEOUT = 10.0

log = logging.getLogger("beatra_nb.sandbox")


@dataclass(frozen=True, slots=True)
class Missing:
    """What keeps this engine from starting, and how to mend it."""

    what: str
    mend: str


def missing() -> Missing | None:
    """Return what is missing for this engine, or None; loads nothing."""
    if importlib.util.find_spec("xllamacpp") is None:
        return Missing("the package xllamacpp is not installed", "Run: pip install 'beatra-nb[sandbox]'")
    if weights.installed() is None:
        return Missing("its weights are not here", "Run: beatra-nb fetch")
    return None


class SmolLM2:
    """The engine as a sandbox sees it; all of them share one ``_Model``."""

    name = "smollm2"
    model = "sandbox-smollm2"

    def __init__(self) -> None:
        self._model = _Model.acquire()
        self._closed = False

    def warm(self) -> None:
        """Load the model and read the usual beginning of a conversation, in the background."""
        self._model.submit(_Job(_body(_WARM_UP, None, 0), lambda item: None))

    def close(self) -> None:
        """Give the model back; the last to do so frees it."""
        if not self._closed:
            self._closed = True
            self._model.release()

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
        """Follow one job of the model's thread; leaving early stops it at the next token."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[dict[str, Any] | BaseException | None] = asyncio.Queue()

        def put(item: dict[str, Any] | BaseException | None) -> None:
            loop.call_soon_threadsafe(arrived.put_nowait, item)

        job = _Job(body, put)
        self._model.submit(job)
        try:
            while (item := await arrived.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                if "error" in item:
                    raise _refusal(item["error"])
                yield item
        finally:
            job.cancelled.set()


@dataclass(eq=False, slots=True)
class _Job:
    """One answer to make: chunks, then None; or an exception."""

    body: dict[str, Any]
    put: Callable[[dict[str, Any] | BaseException | None], None]
    cancelled: threading.Event = field(default_factory=threading.Event)

    def deliver(self, item: dict[str, Any] | BaseException | None) -> bool:
        """Hand over a chunk; True tells the engine to stop."""
        if self.cancelled.is_set():
            return True
        try:
            self.put(item)
        except RuntimeError:  # the server's loop is closed: nobody listens any more
            return True
        return False


class _Model:
    """The model and its thread."""

    _current: _Model | None = None
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._users = 0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._running: _Job | None = None
        self._closing = False
        self._server: Any = None
        self._thread = threading.Thread(target=self._work, name="beatra-smollm2", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls) -> _Model:
        with cls._lock:
            if cls._current is None:
                cls._current = cls()
            cls._current._users += 1
            return cls._current

    def release(self) -> None:
        cls = type(self)
        with cls._lock:
            self._users -= 1
            if self._users > 0:
                return
            if cls._current is self:
                cls._current = None
        self._closing = True
        if (running := self._running) is not None:
            running.cancelled.set()
        self._jobs.put(None)
        self._thread.join(STOP_TIMEOUT)

    def submit(self, job: _Job) -> None:
        if self._jobs.qsize() >= MAX_WAITING:
            raise Refusal(
                "rate_limited", "Too many answers are waiting for the model.", headers={"retry-after": "1"}
            )
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.cancelled.is_set() or self._closing:
                continue
            self._running = job
            try:
                if self._server is None:
                    self._server = _load()
                self._server.handle_chat_completions(job.body, job.deliver)
                job.deliver(None)
            except ValueError as problem:  # xllamacpp's way to refuse a schema that it cannot follow
                job.deliver(_unusable_schema(problem) if "response_format" in job.body else problem)
            except Exception as problem:  # whoever waits for the answer must hear of it
                job.deliver(problem)
            finally:
                self._running = None
        self._server = None

    @classmethod
    def _after_fork(cls) -> None:
        """Forget the parent's model in a forked child, which has its memory but none of its threads.

        Freeing it would wait for those threads for ever, so one reference is leaked on purpose.
        """
        if cls._current is not None and cls._current._server is not None:
            _LEAKED.append(cls._current._server)
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(cls._current._server))
        cls._current = None
        cls._lock = threading.Lock()


_LEAKED: list[object] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Model._after_fork)


def _load() -> Any:  # noqa: ANN401
    """Load the model, its own HTTP listener shut away.

    xllamacpp always opens a keyless listener that answers any origin. Here it listens on a Unix socket in a
    private folder, with a random key, and the socket's name is removed as soon as it exists: nothing can
    connect. Windows has no such sockets; there the random key and a closed origin must do.
    """
    path = weights.installed()
    if path is None:
        raise Refusal(
            "model_unavailable", "The model's weights are gone. Run 'beatra-nb fetch'.", retryable=False
        )
    import xllamacpp

    began = time.perf_counter()
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {SmolLM2.model}  # else a local path would stand in answers
    params.n_ctx = CONTEXT
    params.n_parallel = 1
    params.cpuparams.n_threads = 1  # two threads a token starve as soon as anything else runs
    params.cpuparams_batch.n_threads = min(2, os.cpu_count() or 1)  # reading the prompt is short: halve it
    params.cpuparams.poll = params.cpuparams_batch.poll = 0  # no spinning while nothing is asked
    params.cache_ram_mib = 0
    params.verbosity = -1
    params.ui = False
    params.endpoint_slots = False
    params.api_keys = [secrets.token_hex(32)]
    params.cors_origins = "http://127.0.0.1:9"
    if sys.platform == "win32":
        params.hostnames = ["127.0.0.1"]
        return xllamacpp.Server(params)
    folder = Path(tempfile.mkdtemp(prefix="beatra-"))  # mode 0700
    try:
        params.hostnames = [str(folder / "s.sock")]
        server = xllamacpp.Server(params)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    log.debug("Loaded %s in %.2f s.", SmolLM2.model, time.perf_counter() - began)
    return server


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
        "max_tokens": min(request.max_tokens or MAX_TOKENS, MAX_TOKENS),
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
        body["response_format"] = {"type": "json_object"}
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


def _unusable_schema(problem: ValueError) -> Refusal:
    reason = str(problem).rpartition("failed: ")[2][:300]
    return Refusal(
        "invalid_request",
        f"The model cannot follow this JSON schema: {reason}",
        param="/response_format/json_schema/schema",
    )
