"""What one request and its answer are known by, and the means that every endpoint uses."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from beatra_nb.sandbox.contract import MAX_BODY, Refusal, encode

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


def origin_of(scope: Scope) -> str:
    """Return where this very server is, as the beginning of an address."""
    return f"http://127.0.0.1:{scope['server'][1]}"


def key_of(exchange: Exchange) -> str | None:
    """Return the idempotency key of a request, checked."""
    key = exchange.idempotency_key
    if key is not None and not _VISIBLE_KEY.fullmatch(key):
        raise Refusal("invalid_request", "Idempotency-Key must be 1 to 255 visible ASCII characters.")
    return key


async def read_body(request: Request, *, optional: bool = False) -> bytes:
    """Read a JSON body up to the limit; one that is optional may be empty, and then needs no type."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    other = Refusal("invalid_request", "Content-Type must be application/json.", status=415)
    if kind != "application/json" and not (optional and not kind):
        raise other
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
    if body and not kind:
        raise other
    return bytes(body)
