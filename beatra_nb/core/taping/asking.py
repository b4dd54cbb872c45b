"""What a request asks, as a tape has it: where it goes, what is in it, and which call it is an attempt of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import httpx

from beatra_nb.core import seams
from beatra_nb.core.forms import Splitter
from beatra_nb.core.scrub import NOTHING, Scrubber

if TYPE_CHECKING:
    from beatra_nb.core.taping.tape import Tape
    from beatra_nb.store.cassettes.exchange import Asked


@dataclass(frozen=True)
class Place:
    """Where one of a client's connections leads, as a tape has it."""

    tape: Tape
    base_url: str  # empty for addresses outside the API
    scrub: Scrubber = NOTHING

    def asked(self, request: httpx.Request, body: Any) -> Asked:  # noqa: ANN401
        """Return a request as it is matched."""
        url = str(request.url)
        if self.base_url and url.startswith(f"{self.base_url}/"):
            path, _, query = url[len(self.base_url) :].partition("?")
            return seams.asked(request.method, path, query, body)
        return seams.asked(request.method, url, "", body)


def key_of(request: httpx.Request) -> str | None:
    """Return what the attempts of one call have in common."""
    return cast("str | None", request.headers.get("idempotency-key"))


def body_of(request: httpx.Request) -> Any:  # noqa: ANN401
    """Return a request's body as it is matched."""
    if (splitter := Splitter.of(request.headers.get("content-type", ""))) is not None:
        for data in cast(httpx.SyncByteStream, request.stream):
            splitter.feed(data)
        return splitter.form()
    return _json(request.read())


async def async_body_of(request: httpx.Request) -> Any:  # noqa: ANN401
    """The same, awaited."""
    if (splitter := Splitter.of(request.headers.get("content-type", ""))) is not None:
        async for data in cast(httpx.AsyncByteStream, request.stream):
            splitter.feed(data)
        return splitter.form()
    return _json(await request.aread())


def _json(body: bytes) -> Any:  # noqa: ANN401
    if not body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "backslashreplace")
