"""The two drivers of a flow, over httpx: one blocks, one awaits. Neither decides anything (see ``flow``).

httpx's own objects stay behind this module and its ``connections`` and ``wire``. Its exceptions hold the request, and
the request holds the key; so they are turned into plain words there, outside their ``except`` block, and never
chained to or raised from.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import httpx

from beatra_nb.core import connections, deadline, foreign, wire
from beatra_nb.core.errors import BeatraError, Interrupted
from beatra_nb.core.flow import Answer, Failure, Flow, Open, Outcome, Pause, Send, Wish, _Read
from beatra_nb.core.scrub import Scrubber

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from beatra_nb.core.settings import Secret
    from beatra_nb.core.taping.tape import Tape

T = TypeVar("T")

REFUSAL = 65_536  # bytes of a stranger's refusal that are read
DRAIN_SECONDS = 1.0  # how long a finished stream may keep its connection before it is dropped


def _ahead(tape: Tape | None, outcome: Answer | Failure) -> float:
    """Return by how much a replayed answer came sooner than the recorded one."""
    if tape is None or outcome.reel is None or not outcome.reel.replayed:
        return 0.0
    return outcome.reel.offset - tape.pause(outcome.reel.offset)


def _refused(transport: Transport | AsyncTransport, wish: Open) -> Failure | None:
    """Return why an address is not asked; what is replayed leads nowhere."""
    replays = transport.tape is not None and transport.tape.replays
    return None if replays else foreign.check(wish)


# ── blocking ──


class Transport:
    """Blocking connections to one base URL, kept and used again."""

    def __init__(self, base_url: str, key: Secret, tape: Tape | None = None) -> None:
        self.base_url = base_url
        self.key = key
        self.tape = tape
        self.scrub = Scrubber(key)
        self.http: httpx.Client = connections.to_service(httpx.Client, base_url, key, tape)
        # A client that nobody closed, such as the default one, closes its connections when it goes.
        weakref.finalize(self, self.http.close)
        self._foreign: dict[str, httpx.Client] = {}

    def foreign(self, url: str) -> httpx.Client:
        """Return a client for an address outside the API: it has never seen the key."""
        kind = foreign.kind(url)
        if kind not in self._foreign:
            http: httpx.Client = connections.to_stranger(httpx.Client, url, self.key, self.tape)
            weakref.finalize(self, http.close)
            self._foreign.setdefault(kind, http)
        return self._foreign[kind]

    def run(self, flow: Flow[T]) -> T:
        """Drive a flow to its result."""
        run = Run(self, flow)
        for _ in run:
            pass
        return run.result

    def close(self) -> None:
        """Close the connections."""
        self.http.close()
        for http in self._foreign.values():
            http.close()


class Run(Generic[T]):
    """One flow under way; iterating yields the text that it hands out. Left half-way, it closes its connection.

    Attributes
    ----------
    result
        What the flow returned, once it has.
    """

    result: T

    def __init__(self, transport: Transport, flow: Flow[T]) -> None:
        self._transport = transport
        self._flow = flow
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes] | None = None
        self._over = 0.0  # when the total time of the call ends, by the monotonic clock
        self._skipped = 0.0  # seconds of pauses that a replay did not wait for

    def __iter__(self) -> Run[T]:
        return self

    def __next__(self) -> str:
        outcome: Outcome = None
        thrown: BaseException | None = None
        try:
            while True:
                if (tape := self._transport.tape) is not None:
                    tape.clock.skip(self._skipped)
                try:
                    wish = self._flow.throw(thrown) if thrown else self._flow.send(outcome)
                except StopIteration as end:
                    self.result = end.value
                    raise StopIteration from None
                if isinstance(wish, str):
                    return wish
                thrown = None
                try:
                    outcome = self._perform(wish)
                except KeyboardInterrupt:
                    # A fresh one is thrown above: this one's frames are httpx's, and they hold the header.
                    thrown = Interrupted()
                except BeatraError as error:
                    thrown = error.with_traceback(None)
        except BaseException:
            self.close()
            raise

    def _perform(self, wish: Wish) -> Outcome:
        if isinstance(wish, _Read):
            return self._read()
        if isinstance(wish, Send | Open):
            self.close_response()  # an earlier answer that was not read to its end
            outcome = self._send(wish)
            self._skipped += _ahead(self._transport.tape, outcome)
            return outcome
        if isinstance(wish, Pause):
            time.sleep(self._waited(wish.seconds))
        else:
            self._drain()
        return None

    def _waited(self, seconds: float) -> float:
        """Return how much of a pause is waited for: a replay may go faster."""
        tape = self._transport.tape
        waited = seconds if tape is None else tape.pause(seconds)
        self._skipped += seconds - waited
        return waited

    def _send(self, wish: Send | Open) -> Answer | Failure:
        transport = self._transport
        self._over = time.monotonic() + wish.seconds
        try:
            with deadline.until(self._over):
                if isinstance(wish, Open):
                    if (refused := _refused(transport, wish)) is not None:
                        return refused
                    http = transport.foreign(wish.url)
                    response = http.send(wire.foreign_request(http, wish, self._over), stream=True)
                    if (refused := foreign.check_peer(wish, response)) is not None:
                        response.close()
                        return refused
                else:
                    with wire.file_of(wish) as file:
                        request = wire.request(transport.http, transport.base_url, wish, file, self._over)
                        response = transport.http.send(request, stream=True)
                if wire.stays_open(response, wish):
                    self._response, self._pieces = response, response.iter_bytes()
                    return wire.answer(response, stays_open=True)
                try:
                    # Of a stranger's refusal the beginning says enough.
                    body = (
                        next(response.iter_bytes(REFUSAL), b"") if isinstance(wish, Open) else response.read()
                    )
                finally:
                    response.close()
            return wire.answer(response, body)
        except BeatraError:
            raise  # our own: the file changed while it was read, or a recording has no answer
        except Exception as error:
            return self._failed(error)

    def _read(self) -> bytes | Failure | None:
        assert self._pieces is not None  # noqa: S101 - a flow reads only what it has opened
        try:
            with deadline.until(self._over):
                return next(self._pieces, None)
        except BeatraError:
            raise  # our own: a recording ends here
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> Failure:
        late = time.monotonic() > self._over and wire.reel_of(error) is None  # a tape says so itself
        return wire.TOO_SLOW if late else wire.failure(error, self._transport.scrub)

    def _drain(self) -> None:
        """Read the end of a finished stream; a server that keeps it open is hung up on."""
        assert self._response is not None  # noqa: S101
        stream = self._response.extensions.get("network_stream")
        sock = stream.get_extra_info("socket") if stream is not None else None
        # The base class's method: SSLSocket's own would drop its state under the reader's feet.
        watchdog = threading.Timer(DRAIN_SECONDS, _shut, [sock])
        watchdog.daemon = True
        watchdog.start()
        try:
            while self._read_on():
                pass
        finally:
            watchdog.cancel()
            self.close_response()

    def _read_on(self) -> bool:
        piece = self._read()
        return isinstance(piece, bytes)

    def close_response(self) -> None:
        """Let go of the open response; unread, its connection is closed, which tells the server to stop."""
        response, self._response, self._pieces = self._response, None, None
        if response is not None:
            with contextlib.suppress(Exception):
                response.close()

    def close(self) -> None:
        """End the flow where it stands."""
        self.close_response()
        self._flow.close()


def _shut(sock: Any) -> None:  # noqa: ANN401
    if sock is not None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


# ── awaiting ──


class AsyncTransport:
    """The same, awaited. Connections belong to an event loop; in another loop new ones are made."""

    def __init__(self, base_url: str, key: Secret, tape: Tape | None = None) -> None:
        self.base_url = base_url
        self.key = key
        self.tape = tape
        self.scrub = Scrubber(key)
        self._http = self._connect()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._foreign: dict[str, tuple[asyncio.AbstractEventLoop, httpx.AsyncClient]] = {}

    def foreign(self, url: str) -> httpx.AsyncClient:
        """Return a client for an address outside the API: it has never seen the key."""
        kind, loop = foreign.kind(url), asyncio.get_running_loop()
        if kind not in self._foreign or self._foreign[kind][0] is not loop:
            self._foreign[kind] = loop, connections.to_stranger(httpx.AsyncClient, url, self.key, self.tape)
        return self._foreign[kind][1]

    @property
    def http(self) -> httpx.AsyncClient:
        """The client of the running loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                self._http = self._connect()
            self._loop = loop
        return self._http

    def _connect(self) -> httpx.AsyncClient:
        http: httpx.AsyncClient = connections.to_service(
            httpx.AsyncClient, self.base_url, self.key, self.tape
        )
        return http

    async def run(self, flow: Flow[T]) -> T:
        """Drive a flow to its result."""
        run = AsyncRun(self, flow)
        async for _ in run:
            pass
        return run.result

    async def close(self) -> None:
        """Close the connections; those of a loop that is closed are gone with it."""
        if self._loop is None or not self._loop.is_closed():
            await self._http.aclose()
        for loop, http in self._foreign.values():
            if not loop.is_closed():
                await http.aclose()


class AsyncRun(Generic[T]):
    """One flow under way, awaited; iterating yields the text that it hands out."""

    result: T

    def __init__(self, transport: AsyncTransport, flow: Flow[T]) -> None:
        self._transport = transport
        self._flow = flow
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._skipped = 0.0

    def __aiter__(self) -> AsyncRun[T]:
        return self

    async def __anext__(self) -> str:
        outcome: Outcome = None
        thrown: BaseException | None = None
        try:
            while True:
                if (tape := self._transport.tape) is not None:
                    tape.clock.skip(self._skipped)
                try:
                    wish = self._flow.throw(thrown) if thrown else self._flow.send(outcome)
                except StopIteration as end:
                    self.result = end.value
                    raise StopAsyncIteration from None
                if isinstance(wish, str):
                    return wish
                thrown = None
                try:
                    outcome = await self._perform(wish)
                except (asyncio.CancelledError, BeatraError) as error:
                    # Its frames are httpx's, and they hold the header: go on without them.
                    thrown = error.with_traceback(None)
                except KeyboardInterrupt:
                    thrown = Interrupted()
        except BaseException:
            await self.aclose()
            raise

    async def _perform(self, wish: Wish) -> Outcome:
        if isinstance(wish, _Read):
            return await self._read()
        if isinstance(wish, Send | Open):
            await self.close_response()  # an earlier answer that was not read to its end
            outcome = await self._send(wish)
            self._skipped += _ahead(self._transport.tape, outcome)
            return outcome
        if isinstance(wish, Pause):
            tape = self._transport.tape
            waited = wish.seconds if tape is None else tape.pause(wish.seconds)
            self._skipped += wish.seconds - waited
            await asyncio.sleep(waited)
        else:
            await self._drain()
        return None

    async def _send(self, wish: Send | Open) -> Answer | Failure:
        transport = self._transport
        over = time.monotonic() + wish.seconds
        try:
            async with asyncio.timeout(wish.seconds):
                if isinstance(wish, Open):
                    if (refused := await asyncio.to_thread(_refused, transport, wish)) is not None:
                        return refused
                    http = transport.foreign(wish.url)
                    response = await http.send(wire.foreign_request(http, wish, over), stream=True)
                    if (refused := foreign.check_peer(wish, response)) is not None:
                        await response.aclose()
                        return refused
                else:
                    http = transport.http
                    with wire.file_of(wish) as file:
                        request = wire.request(http, transport.base_url, wish, file, over)
                        response = await http.send(request, stream=True)
                if wire.stays_open(response, wish):
                    self._response, self._pieces = response, response.aiter_bytes()
                    return wire.answer(response, stays_open=True)
                try:
                    if isinstance(wish, Open):
                        body = await anext(response.aiter_bytes(REFUSAL), b"")
                    else:
                        body = await response.aread()
                finally:
                    await response.aclose()
                return wire.answer(response, body)
        except TimeoutError:
            return wire.TOO_SLOW
        except BeatraError:
            raise
        except Exception as error:
            return wire.failure(error, self._transport.scrub)

    async def _read(self) -> bytes | Failure | None:
        assert self._pieces is not None  # noqa: S101
        try:
            return await anext(self._pieces, None)
        except BeatraError:
            raise  # our own: a recording ends here
        except Exception as error:
            return wire.failure(error, self._transport.scrub)

    async def _drain(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while isinstance(await self._read(), bytes):
                    pass
        await self.close_response()

    async def close_response(self) -> None:
        """Let go of the open response."""
        response, self._response, self._pieces = self._response, None, None
        if response is not None:
            with contextlib.suppress(Exception):
                await response.aclose()

    async def aclose(self) -> None:
        """End the flow where it stands."""
        await self.close_response()
        self._flow.close()
