"""A transport that answers from a cassette, in the time that the answers took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import httpx

from beatra_nb.core.errors import NotRecorded
from beatra_nb.core.flow import Reel
from beatra_nb.core.taping.asking import async_body_of, body_of, key_of
from beatra_nb.core.taping.tape import how_to_record
from beatra_nb.core.taping.troubles import told

if TYPE_CHECKING:
    from beatra_nb.core.taping.asking import Place
    from beatra_nb.core.taping.tape import Tape
    from beatra_nb.store.cassettes.exchange import Exchange

PIECE = 262_144  # bytes of a file that are handed out at once


class _Told(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body as it was recorded, piece by piece, in its time."""

    def __init__(self, tape: Tape, exchange: Exchange, reel: Reel) -> None:
        self._tape, self._exchange, self._reel = tape, exchange, reel

    def _pieces(self) -> Iterator[tuple[float, bytes]]:
        exchange, reel = self._exchange, self._reel
        if exchange.streamed:
            for offset, data in exchange.events:
                wait, reel.offset = max(offset - reel.offset, 0.0), offset
                yield self._tape.pause(wait), data
        else:
            data = self._tape.cassette.media(exchange) if exchange.media else exchange.body
            for start in range(0, len(data), PIECE):
                yield 0.0, data[start : start + PIECE]

    def _end(self) -> None:
        """Fail as the recorded answer failed."""
        exchange = self._exchange
        if exchange.trouble is not None:
            raise told(exchange, self._reel)
        if exchange.left:
            raise NotRecorded(
                "The recording of this answer ends here: when it was made, nobody read on.",
                hint=how_to_record(self._tape.cassette.name),
            )

    def __iter__(self) -> Iterator[bytes]:
        for wait, data in self._pieces():
            if wait:
                time.sleep(wait)
            yield data
        self._end()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for wait, data in self._pieces():
            if wait:
                await asyncio.sleep(wait)
            yield data
        self._end()


class Replaying(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers from a cassette; opens no connection."""

    def __init__(self, place: Place) -> None:
        self._place, self._tape = place, place.tape

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        exchange = self._tape.play(self._place.asked(request, body_of(request)), key_of(request))
        if wait := self._tape.pause(exchange.took):
            time.sleep(wait)
        return self._response(exchange)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, awaited."""
        exchange = self._tape.play(self._place.asked(request, await async_body_of(request)), key_of(request))
        # Also without a wait others get their turn, as they do while a connection is waited for.
        await asyncio.sleep(self._tape.pause(exchange.took))
        return self._response(exchange)

    def _response(self, exchange: Exchange) -> httpx.Response:
        reel = Reel(exchange.at, exchange.took, replayed=True)
        if not exchange.status:
            raise told(exchange, reel)
        headers = dict(exchange.headers)
        whole = not (exchange.media or exchange.streamed or exchange.trouble or exchange.left)
        if whole and "content-length" in headers:
            headers["content-length"] = str(len(exchange.body))  # a tape may be edited
        return httpx.Response(
            exchange.status,
            headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
            stream=_Told(self._tape, exchange, reel),
            extensions={"reel": reel},
        )
