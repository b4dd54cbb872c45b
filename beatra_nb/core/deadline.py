"""A total time-out for blocking sockets.

httpx can be told how long to wait for the next bytes, not for all of them: a server that sends one byte of its
headers now and then could hold a blocking call for ever. Here every wait for a socket is cut to what is left of the
whole. The deadline belongs to a thread, because a blocking call does; the connections may be shared.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import httpcore

if TYPE_CHECKING:
    import httpx

_mine = threading.local()


class until:  # noqa: N801 - it reads as a word: with until(moment)
    """Cut every wait for a socket in this thread, so that none lasts beyond ``moment`` (monotonic seconds)."""

    def __init__(self, moment: float) -> None:
        self._moment = moment

    def __enter__(self) -> None:
        _mine.moment = self._moment

    def __exit__(self, *failure: object) -> None:
        _mine.moment = None


def install(http: httpx.Client) -> None:
    """Make a client's connections, also those through proxies, keep the deadline of the thread that uses them."""
    # httpx has no public way to give its pools a network backend, which httpcore offers; where the names below
    # should ever change, a test of slow headers tells, and calls go on with the time-out between bytes.
    for transport in (http._transport, *http._mounts.values()):
        pool = getattr(transport, "_pool", None)
        backend = getattr(pool, "_network_backend", None)
        if pool is not None and isinstance(backend, httpcore.NetworkBackend):
            pool._network_backend = _Backend(backend)


def _left(timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    moment = getattr(_mine, "moment", None)
    if moment is None:
        return timeout
    left = float(moment - time.monotonic())
    if left <= 0:
        raise late("the total time is over")
    return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait is cut."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(
            self._inner.start_tls(ssl_context, server_hostname, _left(timeout, httpcore.ConnectTimeout))
        )

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore has it
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Makes such connections."""

    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        wait = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, wait, local_address, socket_options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        wait = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_unix_socket(path, wait, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)
