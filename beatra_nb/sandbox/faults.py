"""Failures on request, for tests and teaching; only in a sandbox that was started with ``faults=True``.

A request asks with the header ``X-Sandbox-Fault: <fault>``, or the test queues one with
``Sandbox.inject("<fault>")``. A fault is a name, perhaps an argument, perhaps options:
``name:argument;option=value;…``. ``times=2`` lets it happen for the first two requests only (of one
idempotency key, where it comes by header), so that a retry succeeds.

=====================  ==============================================================================
any code of the table  its envelope, status and flag; options ``status``, ``retryable``, ``message``,
                       ``retry_after`` (seconds, ``date`` or ``date:SECONDS`` for an HTTP date, or any text),
                       ``param`` (a JSON Pointer) and ``fields`` (names with ``+`` between them, for
                       ``details.unsupported_fields``): ``unsupported_option;fields=response_format``
``429``, ``500``, …    an envelope with that status; the same options (``500:retryable=false``)
``unknown_code``       a code that no table has; options ``code``, ``status``, ``retryable``
``conflict``           409, as for an idempotency key used with another body
``html:STATUS``        a proxy's HTML page
``empty:STATUS``       no body at all
``bad_json``           200, and JSON that breaks off
``short_body``         200, and fewer bytes than Content-Length says
``reset:before``       the connection is reset before a byte is sent
``reset:headers``      … in the middle of the header block
``reset:after``        … after the headers, in the middle of the body (stream: ``after=N`` chunks, default 2)
``cut:N``              a stream that ends cleanly after N chunks, without [DONE]
``stall:N``            a stream that falls silent after N chunks
``midstream:CODE``     an error event in the stream; ``after=N`` chunks (default 2)
``slow:SECONDS``       a delay before the headers
``trickle``            the headers byte by byte; ``trickle:SECONDS`` between two bytes
``task:CODE``          not the request but the work: a task is created, and fails with that code after
                       some progress; options ``retryable``, ``message``
``task:stall``         … and stands still after some progress, until it is cancelled
=====================  ==============================================================================

Every fault takes ``on=SEGMENT``: it strikes only requests with that first segment below ``/v1`` (``chat``, ``music``,
``tasks``, ``uploads``, ``models``, ``catalog``, ``health``), ``cancel`` for the cancelling of a task (which is not
``tasks`` then), or ``cdn`` for files. A queued fault waits for its request and lets others pass:
``inject("reset:after;on=tasks")``. With ``share=0.05`` it strikes that part of the requests, chosen at random (the
same ones each time), until ``clear()``. Faults of the work wait for a request to ``music`` without being told.

The envelopes, pages and empty bodies come before any work. All others strike on the wire **after** the work
is done and remembered, whatever the client does: the hard case for whoever must not pay twice. A plain answer
meets ``cut`` as ``short_body``, ``stall`` as silence, and ``midstream`` as the error itself.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from beatra_nb.core.errors import InvalidInput
from beatra_nb.sandbox.contract import BASE_PATH, CODES, Refusal
from beatra_nb.sandbox.exchange import exchange_of, header
from beatra_nb.sandbox.strikes import strike

_BY_STATUS = {
    400: "invalid_request",
    401: "invalid_api_key",
    402: "insufficient_balance",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "idempotency_conflict",
    422: "invalid_request",
    429: "rate_limited",
    503: "model_unavailable",
}
_OPTIONS = frozenset({
    "times", "status", "retryable", "retry_after", "message", "code", "after", "on", "param", "fields",
    "share",
})  # fmt: skip
_SEGMENTS = ("chat", "music", "tasks", "cancel", "uploads", "models", "catalog", "health", "cdn")
_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Fault:
    """A parsed fault."""

    spec: str
    name: str
    argument: str = ""
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, spec: str) -> Fault:
        """Read ``name:argument;option=value``.

        Raises
        ------
        InvalidInput
            For a fault that does not exist.
        """
        first, *rest = (part.strip() for part in spec.split(";"))
        name, _, argument = first.partition(":")
        if "=" in argument:
            rest, argument = [argument, *rest], ""
        options = dict(part.partition("=")[::2] for part in rest if part)
        fault = cls(
            spec, name.lower(), argument, {key.strip(): value.strip() for key, value in options.items()}
        )
        try:
            fault.check()
        except ValueError as problem:
            raise InvalidInput(
                f"There is no fault {spec[:80]!r}: {problem}.",
                hint="See beatra_nb.sandbox.faults for the list.",
            ) from None
        return fault

    def check(self) -> None:
        """Raise ``ValueError`` where a number, a name or an option is not what it must be."""
        if unknown := set(self.options) - _OPTIONS:
            raise ValueError(f"the option {sorted(unknown)[0]!r} is unknown")
        if self.options.get("on", _SEGMENTS[0]) not in _SEGMENTS:
            raise ValueError(f"on is one of {', '.join(_SEGMENTS)}")
        for option in ("times", "after"):
            _count(self.options.get(option, "1"))
        if not 0 <= float(self.options.get("share", "1")) <= 1:
            raise ValueError("share is a part from 0 to 1")
        _status(self.options.get("status", "200"))
        retry_after = self.options.get("retry_after", "1")
        if retry_after.startswith("date"):
            _seconds(retry_after.partition(":")[2] or "1")
        elif not (retry_after.isascii() and retry_after.isprintable()):
            raise ValueError("retry_after must be plain text")
        if self.name in ("html", "empty"):
            _status(self.argument or "503")
        elif self.name in ("cut", "stall"):
            _count(self.argument or "0")
        elif self.name in ("slow", "trickle"):
            _seconds(self.argument or "0")
        elif self.name == "midstream":
            if self.argument not in (*CODES, "", "unknown_code"):
                raise ValueError(f"the code {self.argument!r} is unknown")
        elif self.name == "reset":
            if self.argument not in ("before", "headers", "after", ""):
                raise ValueError("reset comes before, headers or after")
        elif self.name == "task":
            if self.argument not in (*CODES, "stall", "unknown_code"):
                raise ValueError("task fails with a code of the table, or is told to stall")
        elif self.name.isdecimal():
            _status(self.name)
        elif self.name not in ("bad_json", "short_body", "unknown_code", "conflict", *CODES):
            raise ValueError("its name is unknown")

    @property
    def after(self) -> int:
        """After how many chunks it strikes."""
        if self.name in ("cut", "stall"):
            return int(self.argument or 0)
        return int(self.options.get("after", 2))

    def strikes(self, scope: Scope) -> bool:
        """Whether a request is one that it waits for."""
        on = self.options.get("on", "music" if self.name == "task" else None)
        return on is None or on == segment(scope["path"])

    @property
    def of_task(self) -> dict[str, Any]:
        """What a fault of the work makes of the task."""
        if self.argument == "stall":
            return {"stall": True}
        refusal = self.refusal(self.argument)
        return {"code": refusal.code, "message": refusal.message, "retryable": refusal.retryable}

    def refusal(self, name: str | None = None) -> Refusal:
        """Return the error that it stands for."""
        name = name or self.name
        code, status = name, None
        if name.isdecimal():
            status = int(name)
            code = _BY_STATUS.get(status, "internal_error" if status >= 500 else "invalid_request")
        elif name == "conflict":
            code = "idempotency_conflict"
        elif name == "unknown_code":
            code, status = "unheard_of", 400
        flag = self.options.get("retryable")
        retryable = flag.lower() == "true" if flag is not None else None
        if retryable is None and code not in CODES:
            retryable = False
        return Refusal(
            self.options.get("code", code),
            self.options.get("message") or (None if code in CODES else "Something that no table knows."),
            status=int(self.options["status"]) if "status" in self.options else status,
            retryable=retryable,
            param=self.options.get("param"),
            details={"unsupported_fields": fields.split("+")}
            if (fields := self.options.get("fields"))
            else None,
            headers=self._retry_after(),
        )

    def _retry_after(self) -> dict[str, str]:
        value = self.options.get("retry_after")
        if value is None:
            return {}
        if value.startswith("date"):
            seconds = float(value.partition(":")[2] or 1)
            value = formatdate(time.time() + seconds + 0.999, usegmt=True)
        return {"retry-after": value}


def segment(path: str) -> str:
    """Return the word that ``on=`` means for an address."""
    parts = path.strip("/").split("/")
    if parts[0] != BASE_PATH.strip("/"):
        return parts[0]
    if len(parts) == 4 and parts[1] == "tasks" and parts[3] == "cancel":
        return "cancel"
    return parts[1] if len(parts) > 1 else ""


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text[:20]!r} is not a count")
    return int(text)


def _status(text: str) -> int:
    if not (text.isdecimal() and 200 <= int(text) <= 599):
        raise ValueError(f"{text[:20]!r} is not an answer's status")
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 3600:
        raise ValueError("it is not a time of 0 to 3600 seconds")
    return seconds


class Faults:
    """The faults of one sandbox: what is queued, and how often each has struck."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []
        self._scattered: list[tuple[Fault, float, random.Random]] = []
        self._struck: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._lock = threading.Lock()
        self._closing = asyncio.Event()

    def inject(self, spec: str, times: int = 1) -> None:
        """Queue a fault for the next requests."""
        fault = Fault.parse(spec)
        if isinstance(times, bool) or not isinstance(times, int) or times < 1:
            raise InvalidInput("times must be a whole number from 1.")
        with self._lock:
            if "share" in fault.options:
                chance = random.Random(spec)  # noqa: S311 - repeatable on purpose, no secret
                self._scattered.append((fault, float(fault.options["share"]), chance))
            else:
                self._queue.extend([fault] * times)

    def clear(self) -> None:
        """Forget what is queued."""
        with self._lock:
            self._queue.clear()
            self._scattered.clear()

    def close(self) -> None:
        """End every pause; called in the server's own loop."""
        self._closing.set()

    def next_for(self, scope: Scope) -> Fault | None:
        """Return the fault that a request meets, if any."""
        with self._lock:
            for at, waiting in enumerate(self._queue):
                if waiting.strikes(scope):
                    return self._queue.pop(at)
            for fault, share, chance in self._scattered:
                if fault.strikes(scope) and chance.random() < share:
                    return fault
        asked = header(scope, b"x-sandbox-fault")
        if asked is None:
            return None
        try:
            fault = Fault.parse(asked.decode("latin-1"))
        except InvalidInput as problem:
            raise Refusal("invalid_request", str(problem), status=400) from None
        if not fault.strikes(scope):
            return None
        limit = fault.options.get("times")
        if limit is not None:
            # Every attempt of one call carries the same header, so count by the key that they share.
            key = (exchange_of(scope).idempotency_key or "", fault.spec)
            count = self._struck[key] = self._struck.pop(key, 0) + 1
            if len(self._struck) > _COUNTED:
                self._struck.popitem(last=False)
            if count > int(limit):
                return None
        return fault

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return the application with faults."""

        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            fault = self.next_for(scope)
            if fault is None:
                await app(scope, receive, send)
                return
            exchange_of(scope).fault = fault.spec
            if fault.name == "task":
                scope["beatra.task_fault"] = fault.of_task
                await app(scope, receive, send)
                return
            await strike(fault, app, scope, receive, send, self._closing)

        return faulty
