"""The two drivers of a flow, over httpx: one blocks, one awaits. Neither decides anything (see ``flow``).

httpx stays behind this one module. Its exceptions hold the request, and the request holds the key; so they are
turned into plain words here, outside their ``except`` block, and never chained to or raised from.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import threading
import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar
from urllib.parse import urlsplit

import httpx

from beatra_nb import __version__
from beatra_nb.core import deadline, foreign
from beatra_nb.core.errors import BeatraError, ConfigurationError, Interrupted
from beatra_nb.core.flow import Answer, Failure, Flow, Open, Outcome, Pause, Reel, Send, Wish, _Read
from beatra_nb.core.settings import Secret, is_loopback, scrubber

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

    from beatra_nb.core.settings import Timeouts
    from beatra_nb.core.taping import Tape

T = TypeVar("T")

TOO_SLOW = Failure("The answer was not whole in the time there was for the whole call.", timeout=True)
REFUSAL = 65_536  # bytes of a stranger's refusal that are read
DRAIN_SECONDS = 1.0  # how long a finished stream may keep its connection before it is dropped


class BearerAuth(httpx.Auth):
    """Writes the key into a request at the last moment; no frame or object of ours ever holds the header."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        yield request


def _options(base_url: str, key: Secret) -> dict[str, Any]:
    """Return what both of httpx's clients are made with."""
    parts = urlsplit(base_url)
    local = is_loopback(parts.hostname or "")
    return {
        "auth": BearerAuth(key),
        "headers": {"User-Agent": f"beatra-nb/{__version__}", "Accept": "application/json"},
        "follow_redirects": False,  # a redirect could carry the key to another host
        # What runs on this machine is never reached through a proxy; plain http needs no certificates,
        # and loading them takes longer than everything else here.
        "trust_env": not local,
        "verify": not (local and parts.scheme == "http"),
    }


def _request(
    http: httpx.Client | httpx.AsyncClient, base_url: str, wish: Send, file: BinaryIO | None
) -> httpx.Request:
    call, times = wish.call, wish.timeouts
    headers = {}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    if call.key is not None:
        headers["Idempotency-Key"] = call.key
    if call.stream:
        headers["Accept"] = "text/event-stream, application/json"
    body: dict[str, Any] = {"content": call.body}
    if call.form is not None:
        part = (call.form.name, file, call.form.media_type)
        body = {"data": call.form.fields, "files": {"file": part}}
    return http.build_request(
        call.method, _url(base_url + call.path), headers=headers, timeout=_timeout(times), **body
    )


def _file_of(wish: Send) -> contextlib.AbstractContextManager[BinaryIO | None]:
    """Open the file that is to be sent, anew for each attempt."""
    form = wish.call.form
    return contextlib.closing(form.open()) if form is not None else contextlib.nullcontext()


def _foreign_request(http: httpx.Client | httpx.AsyncClient, wish: Open) -> httpx.Request:
    return http.build_request("GET", wish.url, timeout=_timeout(wish.timeouts))


@functools.lru_cache(maxsize=64)
def _url(address: str) -> httpx.URL:
    return httpx.URL(address)  # taking an address apart is a tenth of a quick call


@functools.lru_cache(maxsize=64)
def _timeout(times: Timeouts) -> httpx.Timeout:
    return httpx.Timeout(times.read, connect=times.connect, pool=times.connect)


def _stays_open(response: httpx.Response, wish: Send | Open) -> bool:
    if isinstance(wish, Open):
        return response.is_success
    kind = response.headers.get("content-type", "")
    return wish.call.stream and response.is_success and kind.lower().startswith("text/event-stream")


def _answer(response: httpx.Response, body: bytes = b"", *, stays_open: bool = False) -> Answer:
    # httpx looks each name up by a walk over all of them; the raw pairs are read once.
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw
    }
    return Answer(response.status_code, headers, body, stays_open, response.extensions.get("reel"))


def _failure(error: Exception) -> Failure:
    """Put an exception of the client library into plain words."""
    reel = _reel(error)
    if reel is None:
        return _in_words(error)
    return replace(TOO_SLOW if reel.late else _in_words(error), reel=reel)


def _reel(error: Exception) -> Reel | None:
    """Return what a tape knows of an exchange that failed."""
    reel = getattr(error, "reel", None)
    return reel if isinstance(reel, Reel) else None


def _in_words(error: Exception) -> Failure:
    text = str(error)
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return Failure("No connection could be made in time.", timeout=True, sent=False)
        case httpx.TimeoutException():
            return Failure("The service fell silent and did not answer in time.", timeout=True)
        case httpx.ConnectError() if "CERTIFICATE_VERIFY_FAILED" in text:
            return Failure(
                "The service's certificate could not be verified.",
                retryable=False,
                hint="Behind a company proxy, set SSL_CERT_FILE to its CA bundle.",
                sent=False,
            )
        case httpx.ProxyError():
            hint = "Check HTTPS_PROXY and NO_PROXY."
            return Failure("The proxy refused the connection.", hint=hint, sent=False)
        case httpx.ConnectError():
            return Failure(f"No connection could be made ({text[:160] or 'refused'}).", sent=False)
        case httpx.RemoteProtocolError():
            return Failure(f"The connection was cut off ({text[:160]}).")
        case httpx.DecodingError():
            return Failure("The answer could not be decoded (its compression is broken).", retryable=False)
        case httpx.NetworkError():
            return Failure("The connection was reset.")
        case _:
            # Never str(error) here: an illegal header's message quotes the header.
            return Failure(f"The request could not be sent ({type(error).__name__}).", retryable=False)


def _configured(factory: Callable[..., Any], options: dict[str, Any]) -> Any:  # noqa: ANN401
    """Make one of httpx's clients; broken proxy or CA settings of the environment become our own error."""
    try:
        return factory(**options)
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        problem = f"{type(error).__name__}: {error}"
    raise ConfigurationError(
        f"The proxy or certificate settings of the environment cannot be used: {problem}.",
        hint="Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.",
    )


def certificates(base_url: str) -> Any:  # noqa: ANN401 - an SSL context, or False where there is nothing to verify
    """Return how the certificate of a server is verified, for another library that shall do as httpx does."""
    options = _options(base_url, Secret(""))
    if not options["verify"]:
        return False
    return _configured(httpx.create_ssl_context, {"trust_env": options["trust_env"]})


def _taped(factory: type[Any], options: dict[str, Any], tape: Tape | None, base_url: str, key: Secret) -> Any:  # noqa: ANN401
    """Make one of httpx's clients, which records or replays where there is a tape."""
    if tape is None:
        return _kept_in_time(_configured(factory, options))
    from beatra_nb.core import taping  # most clients have no need of it

    place = taping.Place(tape, base_url, scrubber(key))
    http = _kept_in_time(_configured(factory, {**options, **taping.instead(place)}))
    taping.record(http, place)
    return http


def _kept_in_time(http: Any) -> Any:  # noqa: ANN401
    if isinstance(http, httpx.Client):
        deadline.install(http)
    return http


def _until(request: httpx.Request, over: float) -> httpx.Request:
    """Let a request tell when its time is over: a recording says why an answer did not come."""
    request.extensions["over"] = over
    return request


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
        self.http: httpx.Client = _taped(httpx.Client, _options(base_url, key), tape, base_url, key)
        # A client that nobody closed, such as the default one, closes its connections when it goes.
        weakref.finalize(self, self.http.close)
        self._foreign: dict[str, httpx.Client] = {}

    def foreign(self, url: str) -> httpx.Client:
        """Return a client for an address outside the API: it has never seen the key."""
        kind = foreign.kind(url)
        if kind not in self._foreign:
            http: httpx.Client = _taped(httpx.Client, foreign.options(url), self.tape, "", self.key)
            foreign.no_cookies(http)
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
                    response = http.send(_until(_foreign_request(http, wish), self._over), stream=True)
                    if (refused := foreign.check_peer(wish, response)) is not None:
                        response.close()
                        return refused
                else:
                    with _file_of(wish) as file:
                        request = _request(transport.http, transport.base_url, wish, file)
                        response = transport.http.send(_until(request, self._over), stream=True)
                if _stays_open(response, wish):
                    self._response, self._pieces = response, response.iter_bytes()
                    return _answer(response, stays_open=True)
                try:
                    # Of a stranger's refusal the beginning says enough.
                    body = (
                        next(response.iter_bytes(REFUSAL), b"") if isinstance(wish, Open) else response.read()
                    )
                finally:
                    response.close()
            return _answer(response, body)
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
        late = time.monotonic() > self._over and _reel(error) is None  # a tape says so itself
        return TOO_SLOW if late else _failure(error)

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
        self._http: httpx.AsyncClient = _taped(
            httpx.AsyncClient, _options(base_url, key), tape, base_url, key
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._foreign: dict[str, tuple[asyncio.AbstractEventLoop, httpx.AsyncClient]] = {}

    def foreign(self, url: str) -> httpx.AsyncClient:
        """Return a client for an address outside the API: it has never seen the key."""
        kind, loop = foreign.kind(url), asyncio.get_running_loop()
        if kind not in self._foreign or self._foreign[kind][0] is not loop:
            http: httpx.AsyncClient = _taped(httpx.AsyncClient, foreign.options(url), self.tape, "", self.key)
            foreign.no_cookies(http)
            self._foreign[kind] = loop, http
        return self._foreign[kind][1]

    @property
    def http(self) -> httpx.AsyncClient:
        """The client of the running loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                options = _options(self.base_url, self.key)
                self._http = _taped(httpx.AsyncClient, options, self.tape, self.base_url, self.key)
            self._loop = loop
        return self._http

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
                    response = await http.send(_until(_foreign_request(http, wish), over), stream=True)
                    if (refused := foreign.check_peer(wish, response)) is not None:
                        await response.aclose()
                        return refused
                else:
                    http = transport.http
                    with _file_of(wish) as file:
                        request = _request(http, transport.base_url, wish, file)
                        response = await http.send(_until(request, over), stream=True)
                if _stays_open(response, wish):
                    self._response, self._pieces = response, response.aiter_bytes()
                    return _answer(response, stays_open=True)
                try:
                    if isinstance(wish, Open):
                        body = await anext(response.aiter_bytes(REFUSAL), b"")
                    else:
                        body = await response.aread()
                finally:
                    await response.aclose()
                return _answer(response, body)
        except TimeoutError:
            return TOO_SLOW
        except BeatraError:
            raise
        except Exception as error:
            return _failure(error)

    async def _read(self) -> bytes | Failure | None:
        assert self._pieces is not None  # noqa: S101
        try:
            return await anext(self._pieces, None)
        except BeatraError:
            raise  # our own: a recording ends here
        except Exception as error:
            return _failure(error)

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
