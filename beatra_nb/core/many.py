"""A transport for very many calls at once, still driven by the same flows.

httpx's pool of connections looks at all of them for each call: fine for thirty, and the end of all speed for
hundreds. Where ``aiohttp`` is installed (``pip install 'beatra-nb[batch]'``) whole answers are fetched over its
connections; otherwise several small pools share the work. What both must keep is the same as in ``transport``:
exceptions become plain words, and no object or frame of ours holds the key's header.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from beatra_nb import __version__
from beatra_nb.core.connections import certificates
from beatra_nb.core.flow import Answer, Failure, Send
from beatra_nb.core.settings import is_loopback
from beatra_nb.core.transport import AsyncRun, AsyncTransport
from beatra_nb.core.wire import TOO_SLOW

if TYPE_CHECKING:
    import aiohttp

    from beatra_nb.core.settings import Secret, Timeouts
    from beatra_nb.core.taping.tape import Tape

SHARD = 32  # connections that one of httpx's pools serves well
_HEADERS = {"User-Agent": f"beatra-nb/{__version__}", "Accept": "application/json"}


class ManyTransport(AsyncTransport):
    """Connections for many calls at once, in one event loop.

    Parameters
    ----------
    base_url, key
        As in ``AsyncTransport``.
    active : int
        How many calls there will be at once.
    tape : Tape, optional
        What they are recorded to or replayed from.
    """

    def __init__(self, base_url: str, key: Secret, *, active: int = 64, tape: Tape | None = None) -> None:
        super().__init__(base_url, key, tape)
        self._session: aiohttp.ClientSession | None = None
        self._shards: list[_Shard] = []
        self.fast = tape is None and _usable(base_url)  # httpx alone records and replays
        if not self.fast:
            count = max(1, -(-active // SHARD))
            self._shards = [_Shard(AsyncTransport(base_url, key, tape)) for _ in range(count)]

    async def exchange(self, wish: Send) -> Answer | Failure:
        """Send a call once and read its answer whole."""
        if wish.call.stream or wish.call.form is not None:
            raise TypeError("many calls at once are for whole answers")
        if self.fast:
            return await self._over_aiohttp(wish)
        shard = min(self._shards, key=lambda each: each.active)
        shard.active += 1
        try:
            return await _Once(shard.transport).send(wish)
        finally:
            shard.active -= 1

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        for shard in self._shards:
            await shard.transport.close()
        await super().close()

    async def _over_aiohttp(self, wish: Send) -> Answer | Failure:
        call = wish.call
        headers = dict(_HEADERS)
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        session = self._session or self._open()
        try:
            async with asyncio.timeout(wish.seconds):
                async with session.request(
                    call.method,
                    _url(self.base_url + call.path),
                    data=call.body,
                    headers=headers,
                    allow_redirects=False,  # a redirect could carry the key to another host
                    timeout=_timeout(wish.timeouts),
                ) as response:
                    body = await response.read()
                    raw = response.raw_headers
                    return Answer(
                        response.status,
                        {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw},
                        body,
                    )
        except TimeoutError as error:
            # The library's own time-outs are of this class too.
            return TOO_SLOW if type(error) is TimeoutError else _failure(error)
        except Exception as error:
            return _failure(error)

    def _open(self) -> aiohttp.ClientSession:
        """Make the session in the loop that it will live in."""
        import aiohttp

        key = self.key

        async def bear(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            request.headers["Authorization"] = f"Bearer {key.reveal()}"
            return await handler(request)

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=certificates(self.base_url), ttl_dns_cache=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(bear,),
            trust_env=False,  # no .netrc: its password would take the key's place
        )
        return self._session


class _Shard:
    """One of several small pools."""

    __slots__ = ("active", "transport")

    def __init__(self, transport: AsyncTransport) -> None:
        self.transport = transport
        self.active = 0


class _Once(AsyncRun[None]):
    """One exchange over httpx, without a flow."""

    def __init__(self, transport: AsyncTransport) -> None:
        super().__init__(transport, _nothing())

    async def send(self, wish: Send) -> Answer | Failure:
        return await self._send(wish)


def _nothing() -> Any:  # noqa: ANN401 - a flow that wishes for nothing
    return
    yield


def _usable(base_url: str) -> bool:
    """Whether aiohttp is there, and no proxy stands in between (httpx knows the kinds of those better)."""
    try:
        import aiohttp
    except ImportError:
        return False
    if not hasattr(aiohttp, "ClientMiddlewareType"):
        return False  # an old one, from before a key could be written at the last moment
    parts = urlsplit(base_url)
    if is_loopback(parts.hostname or ""):
        return True
    proxies = getproxies()
    proxied = parts.scheme in proxies or "all" in proxies
    return not proxied or bool(proxy_bypass(parts.hostname or ""))


@functools.lru_cache(maxsize=64)
def _url(address: str) -> Any:  # noqa: ANN401 - yarl's URL: taking an address apart costs as much as sending it
    from yarl import URL

    return URL(address)


@functools.lru_cache(maxsize=64)
def _timeout(times: Timeouts) -> aiohttp.ClientTimeout:
    import aiohttp

    return aiohttp.ClientTimeout(sock_connect=times.connect, sock_read=times.read)


def _failure(error: Exception) -> Failure:
    """Put an exception of the client library into plain words, and say whether the request may have arrived."""
    import aiohttp

    match error:
        case aiohttp.ConnectionTimeoutError():
            return Failure("No connection could be made in time.", timeout=True, sent=False)
        case aiohttp.ServerTimeoutError():
            return Failure("The service fell silent and did not answer in time.", timeout=True)
        case aiohttp.ClientConnectorCertificateError():
            return Failure(
                "The service's certificate could not be verified.",
                retryable=False,
                hint="Behind a company proxy, set SSL_CERT_FILE to its CA bundle.",
                sent=False,
            )
        case aiohttp.ClientConnectorError():
            text = str(error.os_error)[:160] or "refused"
            return Failure(f"No connection could be made ({text}).", sent=False)
        case aiohttp.ServerDisconnectedError():
            return Failure("The connection was cut off (the server disconnected without an answer).")
        case aiohttp.ClientPayloadError() if "decode" in str(error).lower():
            return Failure("The answer could not be decoded (its compression is broken).", retryable=False)
        case aiohttp.ClientPayloadError():
            return Failure("The connection was cut off in the middle of the answer.")
        case aiohttp.ClientResponseError():
            return Failure("The connection was cut off (what came was no HTTP answer).")
        case aiohttp.ClientConnectionError() | ssl.SSLError() | ConnectionError():
            return Failure("The connection was reset.")
        case _:
            # Never str(error) here: an illegal header's message quotes the header.
            return Failure(f"The request could not be sent ({type(error).__name__}).", retryable=False)
