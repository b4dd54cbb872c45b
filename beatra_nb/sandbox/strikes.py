"""How a fault strikes a request: instead of the work, or after it, down to the socket.

A strike stands where the application would and decides what reaches the wire. Resets, broken header blocks
and wrong lengths go round uvicorn's HTTP library, straight to the connection that ``FaultyProtocol`` hands over.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from beatra_nb.sandbox.contract import MAX_BODY, encode, fingerprint
from beatra_nb.sandbox.exchange import exchange_of, header, refused, stamps

if TYPE_CHECKING:
    from beatra_nb.sandbox.faults import Fault


class FaultyProtocol(H11Protocol):
    """uvicorn's protocol, handing the connection itself to the application: a reset needs the socket."""

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **more)
        inner = self.app

        async def with_connection(scope: Scope, receive: Receive, send: Send) -> None:
            scope["beatra.transport"] = self.transport
            await inner(scope, receive, send)

        self.app = with_connection


async def strike(
    fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, send: Send, closing: asyncio.Event
) -> None:
    """Let a fault strike one request; ``closing`` is set when the server stops, and ends every pause."""
    await _Strike(fault, app, scope, receive, send, closing).run()


@dataclass
class _Answer:
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    @property
    def streamed(self) -> bool:
        return any(name == b"content-type" and b"event-stream" in value for name, value in self.headers)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unheard Of"


class _Strike:
    """One fault striking one request."""

    def __init__(
        self, fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, send: Send, closing: asyncio.Event
    ) -> None:
        self.fault, self.app, self.scope, self.receive, self.send = fault, app, scope, receive, send
        self.closing = closing
        self.transport: asyncio.Transport = scope["beatra.transport"]
        self.exchange = exchange_of(scope)

    async def run(self) -> None:
        ways: dict[str, Callable[[], Awaitable[None]]] = {
            "html": self.html,
            "empty": self.empty,
            "bad_json": self.bad_json,
            "short_body": self.short_body,
            "reset": self.reset,
            "cut": self.cut,
            "stall": self.stall,
            "midstream": self.midstream,
            "slow": self.slow,
            "trickle": self.trickle,
        }
        await ways.get(self.fault.name, self.error)()

    # --- instead of any work

    async def error(self) -> None:
        await self.drained()
        answer = refused(self.fault.refusal(), self.exchange.request_id)
        await answer(self.scope, self.receive, self.send)

    async def html(self) -> None:
        status = int(self.fault.argument or 503)
        title = f"{status} {_phrase(status)}"
        page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1><hr>proxy</body></html>\n"
        await self.drained()
        await self.deliver(_Answer(status, [(b"content-type", b"text/html")], page.encode()))

    async def empty(self) -> None:
        await self.drained()
        kind = (b"content-type", b"application/json")
        await self.deliver(_Answer(int(self.fault.argument or 503), [kind]))

    async def drained(self) -> None:
        """Read the request to its end, and note what it asked for (a form's bytes say nothing: they go by)."""
        kept = b"json" in (header(self.scope, b"content-type") or b"")
        body = bytearray()
        while (message := await self.receive())["type"] == "http.request":
            if kept and len(body) <= MAX_BODY:
                body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.exchange.fingerprint = fingerprint(bytes(body)) if body else ""

    # --- after the work, on the wire

    async def bad_json(self) -> None:
        answer = await self.worked()
        answer.body = answer.body[: len(answer.body) * 2 // 3]
        await self.deliver(answer)

    async def short_body(self) -> None:
        answer = await self.worked()
        self.raw(self.head(answer, length=True) + answer.body[: len(answer.body) // 2])
        await self.closed()

    async def reset(self) -> None:
        answer = await self.worked()
        head = self.head(answer)
        where = self.fault.argument or "before"
        if where == "headers":
            self.raw(head[: len(head) // 2])
        elif where == "after" and answer.streamed:
            events = answer.body.split(b"\n\n")[: self.fault.after]
            self.raw(head + b"".join(event + b"\n\n" for event in events))
        elif where == "after":
            self.raw(head + answer.body[: len(answer.body) // 2])
        await self.aborted()

    async def slow(self) -> None:
        answer = await self.worked()
        await self.pause(float(self.fault.argument or 1))
        await self.deliver(answer)

    async def trickle(self) -> None:
        head = self.head(answer := await self.worked())
        for at in range(len(head)):
            if self.transport.is_closing() or self.closing.is_set():
                break
            self.raw(head[at : at + 1])
            await asyncio.sleep(float(self.fault.argument or 0.001))
        self.raw(answer.body)
        await self.closed()

    async def cut(self) -> None:
        answer = await self.worked()
        if answer.streamed:
            await self.deliver(self.begun(answer))
        else:
            self.raw(self.head(answer) + answer.body[: len(answer.body) // 2])
            await self.closed()

    async def stall(self) -> None:
        answer = await self.worked()
        if answer.streamed:
            await self.deliver(self.begun(answer), more=True)
        await self.left()

    async def midstream(self) -> None:
        refusal = self.fault.refusal(self.fault.argument or "model_unavailable")
        answer = await self.worked()
        if not answer.streamed:
            await refused(refusal, self.exchange.request_id)(self.scope, self.receive, self.send)
            return
        answer = self.begun(answer)
        answer.body += b"data: " + encode(refusal.envelope(self.exchange.request_id)) + b"\n\n"
        await self.deliver(answer)

    # --- means

    async def worked(self) -> _Answer:
        """Let the application do its whole work, whatever the client does meanwhile."""
        answer = _Answer()
        parts: list[bytes] = []

        read = False  # whether the whole request is here: a client that leaves before that asked for nothing

        async def receive() -> Message:
            nonlocal read
            message = await self.receive()
            if message["type"] == "http.disconnect" and read:
                await self.closing.wait()
            read = read or not message.get("more_body")
            return message

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], list(message.get("headers", ()))
            else:
                parts.append(message.get("body", b""))

        await self.app(self.scope, receive, send)
        answer.body = b"".join(parts)
        return answer

    def begun(self, answer: _Answer) -> _Answer:
        """A stream's first chunks, as many as the fault lets through."""
        events = answer.body.split(b"\n\n")[: self.fault.after]
        return _Answer(answer.status, answer.headers, b"".join(event + b"\n\n" for event in events))

    async def deliver(self, answer: _Answer, *, more: bool = False) -> None:
        headers = self.lengthened(answer, told=not answer.streamed)
        await self.send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": answer.body, "more_body": more})

    def lengthened(self, answer: _Answer, *, told: bool) -> list[tuple[bytes, bytes]]:
        """The answer's headers, with the length that its body has by now (HEAD tells of a body it does not send)."""
        if self.scope["method"] == "HEAD":
            return answer.headers
        headers = [item for item in answer.headers if item[0] != b"content-length"]
        return [*headers, (b"content-length", str(len(answer.body)).encode())] if told else headers

    def head(self, answer: _Answer, *, length: bool = False) -> bytes:
        """The header block as bytes, for answers that go round the HTTP library."""
        self.exchange.status = answer.status
        headers = self.lengthened(answer, told=length or not answer.streamed)
        headers = [*headers, *stamps(self.exchange), (b"connection", b"close")]
        lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}".encode()]
        lines += [name + b": " + value for name, value in headers]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def raw(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    async def closed(self) -> None:
        self.transport.close()
        await self.left()

    async def aborted(self) -> None:
        """Reset: lingering for no time makes the kernel send RST instead of FIN."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None and not self.transport.is_closing():
            linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()
        await self.left()

    async def left(self) -> None:
        """Wait until the connection is gone, or the server stops."""
        gone = asyncio.ensure_future(self._disconnect())
        closing = asyncio.ensure_future(self.closing.wait())
        await asyncio.wait({gone, closing}, return_when=asyncio.FIRST_COMPLETED)
        for task in (gone, closing):
            task.cancel()
        await asyncio.gather(gone, closing, return_exceptions=True)
        if self.closing.is_set() and not self.transport.is_closing():
            self.transport.abort()

    async def _disconnect(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.closing.wait(), seconds)
