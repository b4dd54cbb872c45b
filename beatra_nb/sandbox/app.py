"""The ASGI application: what answers at each address, and the layers every request passes.

Stamp    X-Request-Id and X-Beatra-Sandbox on every answer; the log of what was seen; the last safety net
Faults   only in a sandbox started with ``faults=True``
Guard    the Host header (against DNS rebinding) and the key
routes   health, models, catalog, chat; music, tasks, uploads, files (``studio``, ``uploads``, ``cdn``)
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from beatra_nb.core.settings import Secret
from beatra_nb.sandbox import catalog, chat
from beatra_nb.sandbox.cdn import CDN_PATH, Cdn
from beatra_nb.sandbox.checks import parse_json
from beatra_nb.sandbox.contract import BASE_PATH, Refusal, fingerprint, new_id
from beatra_nb.sandbox.engines import Engines
from beatra_nb.sandbox.exchange import (
    JSON,
    Exchange,
    exchange_of,
    header,
    key_of,
    read_body,
    refused,
    stamps,
)
from beatra_nb.sandbox.ledger import Ledger, Reader, ReaderGone, Recording
from beatra_nb.sandbox.music_models import MUSIC_MODELS
from beatra_nb.sandbox.studio import Studio
from beatra_nb.sandbox.uploads import Uploads
from beatra_nb.sandbox.validate import chat_request

log = logging.getLogger("beatra_nb.sandbox")

_VISIBLE_ID = re.compile(rb"[\x21-\x7e]{1,128}")


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
                # A file's address is the key to it, and ends with its title.
                path = "/cdn/…" if exchange.path.startswith("/cdn/") else exchange.path
                log.info("%s %s %s %.1f ms", exchange.method, path, exchange.status, took)


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
        if scope["path"] != BASE_PATH + "/health" and not scope["path"].startswith(CDN_PATH + "/"):
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


class Service:
    """The routes and what they share."""

    def __init__(self, engines: Engines, state: Path, opening: int, workers: int | None) -> None:
        self.engines = engines
        self.ledger = Ledger()
        self.studio = Studio(state, opening, workers, self.ledger.knows)
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

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        exchange = exchange_of(request.scope)
        key = key_of(exchange)
        body = parse_json(await read_body(request))
        exchange.fingerprint = fingerprint(body)
        asked = chat_request(body)
        if asked.model in MUSIC_MODELS:
            known = ", ".join(["auto", *self.engines.models])
            message = f"{asked.model} makes music (POST {BASE_PATH}/music/text-to-music). For chat there is: {known}."
            raise Refusal("unsupported_model", message, param="/model")
        engine = self.engines.pick(asked)
        exchange.engine = engine.name

        async def produce(recording: Recording) -> None:
            await chat.produce(engine, asked, recording, exchange.request_id, whole)

        def whole() -> None:
            exchange.effect = True

        if key is not None and self.studio.used(key):
            raise Refusal("idempotency_conflict")
        recording, new = self.ledger.claim(key, exchange.fingerprint, produce)
        exchange.replayed = not new
        return Follow(recording, replayed=not new)

    def close(self) -> None:
        """Stop all answers; called in the server's own loop."""
        self.ledger.close()

    def app(self) -> ASGIApp:
        """Return the router."""
        studio = self.studio
        routes = [
            Route(BASE_PATH + "/health", self.health, methods=["GET"]),
            Route(BASE_PATH + "/models", self.models, methods=["GET"]),
            Route(BASE_PATH + "/catalog/models", self.catalog_models, methods=["GET"]),
            Route(BASE_PATH + "/catalog/capabilities", self.capabilities, methods=["GET"]),
            Route(BASE_PATH + "/chat/completions", self.chat, methods=["POST"]),
            Route(BASE_PATH + "/music/text-to-music", studio.text_to_music, methods=["POST"]),
            Route(BASE_PATH + "/music/reference-audio-to-music", studio.reference_to_music, methods=["POST"]),
            Route(BASE_PATH + "/uploads", Uploads(studio).create, methods=["POST"]),
            Route(BASE_PATH + "/tasks", studio.tasks, methods=["GET"]),
            Route(BASE_PATH + "/tasks/{task_id}", studio.task, methods=["GET"]),
            Route(BASE_PATH + "/tasks/{task_id}/cancel", studio.cancel, methods=["POST"]),
            Route(CDN_PATH + "/{token}/{name}", Cdn(studio).file, methods=["GET"]),
        ]
        app = Starlette(
            routes=routes,
            exception_handlers={HTTPException: _unrouted, Refusal: _refusal, Exception: _broken},
        )
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


async def _broken(request: Request, error: Exception) -> Response:
    return refused(Refusal("internal_error"), exchange_of(request.scope).request_id)
