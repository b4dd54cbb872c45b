"""Transports that send by another one, and write down what passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import httpx

from beatra_nb.core import seams
from beatra_nb.core.flow import Reel
from beatra_nb.core.taping.asking import async_body_of, body_of, key_of
from beatra_nb.core.taping.troubles import TooSlow, written

if TYPE_CHECKING:
    from beatra_nb.core.taping.asking import Place
    from beatra_nb.store.cassettes.exchange import Asked

LATE = 0.02  # seconds: a wait that ends so near the end of all time was cut by it


class _Take:
    """One exchange while it is recorded."""

    def __init__(self, place: Place, request: httpx.Request, asked: Asked) -> None:
        self._place, self._asked = place, asked
        self._over: float | None = request.extensions.get("over")
        self._started = time.monotonic()
        self._turn = place.tape.cassette.turn(key_of(request))
        now = datetime.now(UTC)
        self.reel = Reel(now.replace(microsecond=now.microsecond // 1000 * 1000))
        self._pieces: list[tuple[float, bytes]] = []
        self._response: httpx.Response | None = None
        self._done = False

    def begun(self, response: httpx.Response, stream: Any) -> httpx.Response:  # noqa: ANN401
        """Take note of an answer's head; return it with a body that is written down as it is read."""
        self._response = response
        self.reel.offset = self._took = self._passed()
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=stream,
            extensions={**response.extensions, "reel": self.reel},
        )

    def piece(self, data: bytes) -> bytes:
        """Take the next piece of the body."""
        self.reel.offset = self._passed()
        self._pieces.append((self.reel.offset, data))
        return data

    def failed(self, error: BaseException) -> None:
        """Take note of what went wrong; the error tells how long it took, as the tape has it."""
        self.reel.offset = self._passed()
        late = self._over is not None and time.monotonic() > self._over - LATE
        if late and isinstance(error, asyncio.CancelledError | httpx.TransportError):
            trouble, self.reel.late = (TooSlow.__name__, ""), True
        elif isinstance(error, httpx.TransportError):
            trouble = written(error, self._place.scrub)
        elif self._response is None:
            return  # an interrupt: nothing came, and nothing can be told again
        else:
            self.end(left=True)
            return
        error.reel = self.reel  # type: ignore[union-attr]
        self._pieces.append((self.reel.offset, b""))  # it may have been silent for long before that
        self.end(trouble=trouble)

    def end(self, *, trouble: tuple[str, str] | None = None, left: bool = False) -> None:
        """Write the exchange down, once."""
        if self._done:
            return
        self._done = True
        response, streamed, headers = self._response, False, {}
        if response is not None:
            headers = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in response.headers.raw
            }
            streamed = headers.get("content-type", "").lower().startswith("text/event-stream")
            self.reel.offset = self.reel.offset if streamed else self._passed()
        exchange = seams.exchange(
            self._asked,
            self.reel.at,
            took=self._took if streamed else self.reel.offset,
            status=response.status_code if response is not None else 0,
            headers=headers,
            body=b"" if streamed else b"".join(data for _, data in self._pieces),
            events=tuple(self._pieces) if streamed else (),
            streamed=streamed,
            trouble=trouble,
            left=left,
            turn=self._turn,
        )
        self._place.tape.keep(
            exchange, self._place.base_url or self._place.tape.cassette.base_url, self._place.scrub
        )

    def _passed(self) -> float:
        return round(time.monotonic() - self._started, 3)


class _Heard(httpx.SyncByteStream):
    """A body that is written down as it is read."""

    def __init__(self, stream: httpx.SyncByteStream, take: _Take) -> None:
        self._stream, self._take = stream, take

    def __iter__(self) -> Iterator[bytes]:
        try:
            for data in self._stream:
                yield self._take.piece(data)
        except GeneratorExit:
            raise
        except BaseException as error:
            self._take.failed(error)
            raise
        self._take.end()

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._take.end(left=True)  # unless it has ended before


class _AsyncHeard(httpx.AsyncByteStream):
    """The same, awaited."""

    def __init__(self, stream: httpx.AsyncByteStream, take: _Take) -> None:
        self._stream, self._take = stream, take

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._stream:
                yield self._take.piece(data)
        except GeneratorExit:
            raise
        except BaseException as error:
            self._take.failed(error)
            raise
        self._take.end()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._take.end(left=True)


class Recording(httpx.BaseTransport):
    """Sends by another transport, and writes down what passes."""

    def __init__(self, inner: httpx.BaseTransport, place: Place) -> None:
        self._inner, self._place = inner, place

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        request.headers["Accept-Encoding"] = "identity"  # a tape is to be read by people
        take = _Take(self._place, request, self._place.asked(request, body_of(request)))
        try:
            response = self._inner.handle_request(request)
        except BaseException as error:
            take.failed(error)
            raise
        return take.begun(response, _Heard(cast(httpx.SyncByteStream, response.stream), take))

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


class AsyncRecording(httpx.AsyncBaseTransport):
    """The same, awaited."""

    def __init__(self, inner: httpx.AsyncBaseTransport, place: Place) -> None:
        self._inner, self._place = inner, place

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        request.headers["Accept-Encoding"] = "identity"
        take = _Take(self._place, request, self._place.asked(request, await async_body_of(request)))
        try:
            response = await self._inner.handle_async_request(request)
        except BaseException as error:
            take.failed(error)
            raise
        return take.begun(response, _AsyncHeard(cast(httpx.AsyncByteStream, response.stream), take))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
