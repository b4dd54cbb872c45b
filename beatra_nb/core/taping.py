"""Recording and replaying, as transports of the HTTP library: the client above cannot tell.

``Recording`` stands before a real transport, and writes down what passes. ``Replaying`` stands in place of one, and
opens no connection. Both hand out a ``Reel`` with each answer: the moment of the exchange and how long it took, as
the tape has them. Whatever is shown of an answer is taken from there in both, so that a notebook shows the same to
the byte, recorded or replayed.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import httpx

from beatra_nb.core import seams
from beatra_nb.core.costs import Prices
from beatra_nb.core.errors import ConfigurationError, NotRecorded
from beatra_nb.core.flow import Reel
from beatra_nb.core.forms import Splitter

if TYPE_CHECKING:
    from beatra_nb.core.flow import Context, Recorder
    from beatra_nb.store.cassettes.cassette import Cassette
    from beatra_nb.store.cassettes.exchange import Asked, Exchange
    from beatra_nb.store.entry import Entry
    from beatra_nb.store.jobs import Jobs

LATE = 0.02  # seconds: a wait that ends so near the end of all time was cut by it
PIECE = 262_144  # bytes of a file that are handed out at once


class TooSlow(httpx.TimeoutException):
    """The total time of a call was over."""


_TROUBLES: dict[str, type[httpx.TransportError] | type[httpx.DecodingError]] = {
    kind.__name__: kind
    for kind in (
        TooSlow,
        httpx.ConnectTimeout,
        httpx.ReadTimeout,
        httpx.WriteTimeout,
        httpx.PoolTimeout,
        httpx.ConnectError,
        httpx.ReadError,
        httpx.WriteError,
        httpx.CloseError,
        httpx.ProxyError,
        httpx.RemoteProtocolError,
        httpx.LocalProtocolError,
        httpx.UnsupportedProtocol,
    )
}
# Of these alone the words are shown; others may quote a header.
_QUOTED = (httpx.ConnectError, httpx.RemoteProtocolError)


class Clock:
    """A clock that goes on by the pauses that are not waited for.

    Each call skips for itself: the calls of others, in other threads or tasks, must not run out of time by it.
    """

    def __init__(self) -> None:
        self._here = threading.local()

    def now(self) -> float:
        """Return the time, in seconds, as the call under way has it."""
        return time.monotonic() + cast(float, getattr(self._here, "skipped", 0.0))

    def skip(self, seconds: float) -> None:
        """Set how far the call that goes on now is ahead."""
        self._here.skipped = seconds


@dataclass
class Tape:
    """What a client records to or replays from; its async twin shares it.

    Attributes
    ----------
    cassette : Cassette
        The folder.
    replays : bool
        Whether answers come from it; else they are written to it.
    speed : float
        How fast a replay goes: 1 as it was recorded, 2 twice as fast, 0 without any waiting.
    jobs : Jobs or None
        The jobs of this session alone: what this machine remembers of others would not be on the tape.
    """

    cassette: Cassette
    replays: bool
    speed: float = 1.0
    jobs: Jobs | None = None
    clock: Clock = field(default_factory=Clock)
    prices: Prices = field(
        default_factory=Prices
    )  # of its own calls alone, so that budgets go the same way again

    def pause(self, seconds: float) -> float:
        """Return how much of a pause is waited for."""
        if not self.replays:
            return seconds
        return seconds / self.speed if self.speed else 0.0

    def play(self, asked: Asked, key: str | None) -> Exchange:
        """Return what was recorded for a request with an idempotency key.

        Raises
        ------
        NotRecorded
            If nothing was.
        """
        if (exchange := self.cassette.next(asked, key)) is not None:
            return exchange
        name = self.cassette.name
        if not self.cassette.exists:
            raise NotRecorded(f"There is no cassette {name} to replay from.", hint=_record(name))
        raise NotRecorded(
            f"{asked.line[:200]} was not recorded as it is asked here. {self.cassette.unlike(asked)}",
            hint=f"Nothing was sent. {_record(name)}",
        )

    def context(self, context: Context) -> Context:
        """Return what the flows of a client with this tape look at.

        Pauses are the same each time, so that what is shown of a retry is; audio comes from the tape, not from the
        files that this machine has kept.
        """
        context = replace(context, rand=lambda: 0.5, now=self.clock.now, files=None, prices=self.prices)
        if context.jobs is not None:
            context = replace(context, jobs=self.jobs)
        if self.replays:
            journal = context.journal and ReplayJournal(context.journal, self.cassette.name)
            context = replace(context, free=True, journal=journal)
        return context

    def keep(self, exchange: Exchange, base_url: str, scrub: Callable[[bytes], bytes]) -> None:
        """Write an exchange down; a disk that is full costs nobody an answer."""
        try:
            source = "sandbox" if "x-beatra-sandbox" in exchange.headers else "live"
            self.cassette.begin(base_url, source)
            self.cassette.write(exchange, scrub)
        except ConfigurationError as error:
            seams.say_once("cassette", str(error))


class ReplayJournal:
    """The journal as a replay writes it: its calls went to a cassette, and cost nothing."""

    def __init__(self, inner: Recorder, name: str) -> None:
        self._inner, self._where = inner, f"cassette {name}"

    def record(self, entry: Entry) -> object:
        """Write one row."""
        return self._inner.record(replace(entry, base_url=self._where, credits=None))


def _record(name: str) -> str:
    return (
        f"To record it, run with BEATRA_MODE=record BEATRA_CASSETTE={name}, or begin the notebook with "
        f"bn.record({name!r})."
    )


@dataclass(frozen=True)
class Place:
    """Where one of a client's connections leads, as a tape has it."""

    tape: Tape
    base_url: str  # empty for addresses outside the API
    scrub: Callable[[bytes], bytes] = bytes

    def asked(self, request: httpx.Request, body: Any) -> Asked:  # noqa: ANN401
        """Return a request as it is matched."""
        url = str(request.url)
        if self.base_url and url.startswith(f"{self.base_url}/"):
            path, _, query = url[len(self.base_url) :].partition("?")
            return seams.asked(request.method, path, query, body)
        return seams.asked(request.method, url, "", body)


# ── recording ──


class _Take:
    """One exchange while it is recorded."""

    def __init__(self, place: Place, request: httpx.Request, asked: Asked) -> None:
        self._place, self._asked = place, asked
        self._over: float | None = request.extensions.get("over")
        self._started = time.monotonic()
        self._turn = place.tape.cassette.turn(_key(request))
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
            trouble, self.reel.late = ("TooSlow", ""), True
        elif isinstance(error, httpx.TransportError):
            kind = type(error).__name__ if type(error).__name__ in _TROUBLES else "TransportError"
            text = self._place.scrub(str(error).encode()).decode() if isinstance(error, _QUOTED) else ""
            trouble = (kind, text[:200])
        elif self._response is None:
            return  # an interrupt: nothing came, and nothing can be told again
        else:
            self.end(left=True)
            return
        error.reel = self.reel  # type: ignore[union-attr]
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
        take = _Take(self._place, request, self._place.asked(request, _body(request)))
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
        take = _Take(self._place, request, self._place.asked(request, await _async_body(request)))
        try:
            response = await self._inner.handle_async_request(request)
        except BaseException as error:
            take.failed(error)
            raise
        return take.begun(response, _AsyncHeard(cast(httpx.AsyncByteStream, response.stream), take))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


# ── replaying ──


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
            raise _trouble(exchange, self._reel)
        if exchange.left:
            raise NotRecorded(
                "The recording of this answer ends here: when it was made, nobody read on.",
                hint=_record(self._tape.cassette.name),
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
        exchange = self._tape.play(self._place.asked(request, _body(request)), _key(request))
        if wait := self._tape.pause(exchange.took):
            time.sleep(wait)
        return self._response(exchange)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, awaited."""
        exchange = self._tape.play(self._place.asked(request, await _async_body(request)), _key(request))
        # Also without a wait others get their turn, as they do while a connection is waited for.
        await asyncio.sleep(self._tape.pause(exchange.took))
        return self._response(exchange)

    def _response(self, exchange: Exchange) -> httpx.Response:
        reel = Reel(exchange.at, exchange.took, replayed=True)
        if not exchange.status:
            raise _trouble(exchange, reel)
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


def _trouble(exchange: Exchange, reel: Reel) -> Exception:
    trouble = exchange.trouble
    assert trouble is not None  # noqa: S101 - asked only then
    error = _TROUBLES.get(trouble.kind, httpx.TransportError)(trouble.text)
    reel.late = trouble.kind == TooSlow.__name__
    error.reel = reel  # type: ignore[union-attr]
    return error


# ── what a request asks ──


def _key(request: httpx.Request) -> str | None:
    """Return what the attempts of one call have in common."""
    return cast("str | None", request.headers.get("idempotency-key"))


def _body(request: httpx.Request) -> Any:  # noqa: ANN401
    if (splitter := Splitter.of(request.headers.get("content-type", ""))) is not None:
        for data in cast(httpx.SyncByteStream, request.stream):
            splitter.feed(data)
        return splitter.form()
    return _json(request.read())


async def _async_body(request: httpx.Request) -> Any:  # noqa: ANN401
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


# ── where clients get them ──


def instead(place: Place) -> dict[str, Any]:
    """Return the options with which one of httpx's clients replays; none where it does not."""
    return (
        {"transport": Replaying(place), "trust_env": False}
        if place is not None and place.tape.replays
        else {}
    )


def record(http: httpx.Client | httpx.AsyncClient, place: Place) -> None:
    """Have one of httpx's clients record what it does, also through proxies."""
    if place.tape.replays:
        return
    wrap: Any = AsyncRecording if isinstance(http, httpx.AsyncClient) else Recording
    # Passed as an argument, a transport would keep httpx from looking for proxies; so it is put before those made.
    http._transport = wrap(http._transport, place)
    for pattern, inner in http._mounts.items():
        if inner is not None:
            http._mounts[pattern] = wrap(inner, place)
