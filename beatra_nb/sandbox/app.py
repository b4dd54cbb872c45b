"""The ASGI application: what answers at each address, and the layers every request passes.

Stamp    X-Request-Id and X-Beatra-Sandbox on every answer; the log of what was seen; the last safety net
Faults   only in a sandbox started with ``faults=True``
Guard    the Host header (against DNS rebinding) and the key
routes   health, models, catalog, chat
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from beatra_nb.core.settings import Secret
from beatra_nb.sandbox import catalog, chat
from beatra_nb.sandbox.contract import BASE_PATH, MAX_BODY, Refusal, encode, fingerprint, new_id
from beatra_nb.sandbox.engines import Engines
from beatra_nb.sandbox.ledger import Ledger, Reader, ReaderGone, Recording
from beatra_nb.sandbox.validate import chat_request, parse_json

log = logging.getLogger("beatra_nb.sandbox")

_VISIBLE_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_VISIBLE_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(slots=True)
class Exchange:
    """What one request and its answer are known by, on their way through the layers."""

    request_id: str
    engine: str
    method: str
    path: str
    idempotency_key: str | None = None
    fingerprint: str = ""
    effect: bool = False
    replayed: bool = False
    status: int | None = None
    fault: str | None = None
    began: float = field(default_factory=time.perf_counter)


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange that ``Stamp`` put into a scope."""
    exchange: Exchange = scope["state"]["exchange"]
    return exchange


class JSON(Response):
    """A JSON answer."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Return the body as bytes."""
        return encode(content)


def refused(refusal: Refusal, request_id: str | None) -> Response:
    """Return a refusal as an answer."""
    return JSON(refusal.envelope(request_id), refusal.status, refusal.headers)


class Stamp:
    """The outermost layer."""

    def __init__(
        self, app: ASGIApp, engines: Engines, seen: Callable[[Exchange], None], *, told: bool
    ) -> None:
        self.app, self.engines, self.seen, self.told = app, engines, seen, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        if scope["type"] != "http":
            return
        wanted = header(scope, b"x-request-id")
        exchange = Exchange(
            wanted.decode() if wanted and _VISIBLE_ID.fullmatch(wanted) else new_id("req_"),
            self.engines.default.name,
            scope["method"],
            scope["path"],
            (header(scope, b"idempotency-key") or b"").decode("latin-1") or None,
        )
        scope.setdefault("state", {})["exchange"] = exchange
        self.seen(exchange)

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *stamps(exchange)]}
            await send(message)

        try:
            await self.app(scope, receive, stamped)
        except ClientDisconnect:
            pass
        except Refusal as refusal:
            await refused(refusal, exchange.request_id)(scope, receive, stamped)
        except Exception:
            log.exception("A request to the sandbox failed.")
            if exchange.status is None:
                await refused(Refusal("internal_error"), exchange.request_id)(scope, receive, stamped)
            else:
                raise
        finally:
            if self.told:
                took = (time.perf_counter() - exchange.began) * 1000
                log.info("%s %s %s %.1f ms", exchange.method, exchange.path, exchange.status, took)


def stamps(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """Return the headers that every answer carries."""
    return [
        (b"x-request-id", exchange.request_id.encode()),
        (b"x-beatra-sandbox", exchange.engine.encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return one request header."""
    return next((value for key, value in scope["headers"] if key == name), None)


class Guard:
    """Lets in who addresses this very server and holds its key."""

    def __init__(self, app: ASGIApp, key: Secret) -> None:
        self.app, self.key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request."""
        port = scope["server"][1]
        host = (header(scope, b"host") or b"").decode("latin-1").lower()
        if host not in {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}:
            # A web page whose own name was made to point here must not reach the sandbox.
            raise Refusal("forbidden", "The Host header does not name this server.")
        if scope["path"] != BASE_PATH + "/health":
            self.check(header(scope, b"authorization"))
        await self.app(scope, receive, send)

    def check(self, authorization: bytes | None) -> None:
        """Check the key, in a time that does not depend on it."""
        if authorization is None:
            raise Refusal("unauthorized")
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not secrets.compare_digest(key.strip(), self.key.reveal().encode()):
            raise Refusal("invalid_api_key")


class Follow(Response):
    """An answer that is read from a recording while that is being made."""

    def __init__(self, recording: Recording, *, replayed: bool) -> None:
        self.recording = recording
        self.replayed = replayed
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head and body as they come; leave as soon as the client does."""
        reader = Reader(self.recording)

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            reader.go()

        watcher = asyncio.create_task(watch())
        try:
            await self._send(reader, send, exchange_of(scope).request_id)
        except ReaderGone:
            pass
        finally:
            reader.close()
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher

    async def _send(self, reader: Reader, send: Send, request_id: str) -> None:
        await reader.head()
        recording = self.recording
        if not recording.status:  # the server is stopping
            gone = refused(Refusal("model_unavailable", "The sandbox is stopping."), request_id)
            await send(
                {"type": "http.response.start", "status": gone.status_code, "headers": gone.raw_headers}
            )
            await send({"type": "http.response.body", "body": gone.body})
            return
        kind = recording.media_type + ("; charset=utf-8" if recording.media_type.startswith("text/") else "")
        headers = [(b"content-type", kind.encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in recording.headers]
        if self.replayed:
            headers.append((b"idempotent-replayed", b"true"))
        if recording.media_type == "application/json":
            while not recording.done:
                await reader.sleep()
            body = b"".join(recording.parts)
            headers.append((b"content-length", str(len(body)).encode()))
            await send({"type": "http.response.start", "status": recording.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await send({"type": "http.response.start", "status": recording.status, "headers": headers})
        while (part := await reader.more()) is not None:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def read_body(request: Request) -> bytes:
    """Read a JSON body up to the limit."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal("invalid_request", "Content-Type must be application/json.", status=415)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            limit = MAX_BODY // (1024 * 1024)
            raise Refusal(
                "invalid_request",
                f"The body is larger than {limit} MB.",
                status=413,
                headers={"connection": "close"},
            )
    return bytes(body)


class Service:
    """The routes and what they share."""

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.ledger = Ledger()
        self.created = int(time.time())

    async def health(self, request: Request) -> Response:
        """``GET /v1/health``."""
        return JSON({"status": "ok"})

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``."""
        return JSON(catalog.models(self.engines.models, self.created))

    async def catalog_models(self, request: Request) -> Response:
        """``GET /v1/catalog/models``."""
        return JSON(catalog.catalog_models(self.engines.models, self.created))

    async def capabilities(self, request: Request) -> Response:
        """``GET /v1/catalog/capabilities``."""
        return JSON(catalog.capabilities())

    async def unserved(self, request: Request) -> Response:
        """Answer for what the public API has and the sandbox does not."""
        name = catalog.UNSERVED[request.url.path.split("/")[2]]
        raise Refusal("unsupported_capability", f"The sandbox does not serve {name} yet.")

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        exchange = exchange_of(request.scope)
        key = exchange.idempotency_key
        if key is not None and not _VISIBLE_KEY.fullmatch(key):
            raise Refusal("invalid_request", "Idempotency-Key must be 1 to 255 visible ASCII characters.")
        body = parse_json(await read_body(request))
        exchange.fingerprint = fingerprint(body)
        asked = chat_request(body)
        engine = self.engines.pick(asked)
        exchange.engine = engine.name

        async def produce(recording: Recording) -> None:
            await chat.produce(engine, asked, recording, exchange.request_id, whole)

        def whole() -> None:
            exchange.effect = True

        recording, new = self.ledger.claim(key, exchange.fingerprint, produce)
        exchange.replayed = not new
        return Follow(recording, replayed=not new)

    def close(self) -> None:
        """Stop all work; called in the server's own loop."""
        self.ledger.close()

    def app(self) -> ASGIApp:
        """Return the router."""
        routes = [
            Route(BASE_PATH + "/health", self.health, methods=["GET"]),
            Route(BASE_PATH + "/models", self.models, methods=["GET"]),
            Route(BASE_PATH + "/catalog/models", self.catalog_models, methods=["GET"]),
            Route(BASE_PATH + "/catalog/capabilities", self.capabilities, methods=["GET"]),
            Route(BASE_PATH + "/chat/completions", self.chat, methods=["POST"]),
            *(
                Route(BASE_PATH + f"/{name}{rest}", self.unserved, methods=["GET", "POST"])
                for name in catalog.UNSERVED
                for rest in ("", "/{rest:path}")
            ),
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: _unrouted, Refusal: _refusal})
        app.router.redirect_slashes = False
        return app


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class alone
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    message = None
    if code == "not_found":
        message = f"There is nothing at {request.url.path[:200]}. Addresses begin with {BASE_PATH}/."
    refusal = Refusal(code, message, status=error.status_code, headers=dict(error.headers or {}))
    return refused(refusal, exchange_of(request.scope).request_id)


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - registered for this class alone
    return refused(error, exchange_of(request.scope).request_id)
