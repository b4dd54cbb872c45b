"""uvicorn in a daemon thread: a bound socket first, then a loop of its own, and a clean way out."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from beatra_nb.core.errors import SandboxUnavailable
from beatra_nb.core.settings import Secret
from beatra_nb.sandbox.app import Guard, Service, Stamp
from beatra_nb.sandbox.engines import Engines
from beatra_nb.sandbox.exchange import Exchange
from beatra_nb.sandbox.faults import Faults
from beatra_nb.sandbox.strikes import FaultyProtocol

SEEN = 10_000  # how many requests a sandbox with faults remembers
START_TIMEOUT = 10.0
STOP_TIMEOUT = 5.0

log = logging.getLogger("beatra_nb.sandbox")


class _Uvicorn(uvicorn.Server):
    """Tells when it is ready; in a thread that is not the main one it installs no signal handlers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self._ready()


class Server:
    """One running sandbox server."""

    def __init__(
        self,
        *,
        port: int,
        key: Secret,
        engines: Engines,
        faults: Faults | None,
        told: bool,
        state: Path,
        opening: int,
        workers: int | None,
    ) -> None:
        self.engines = engines
        self.faults = faults
        self.seen: deque[Exchange] = deque(maxlen=SEEN)
        self._service = Service(engines, state, opening, workers)
        self.studio = self._service.studio
        app: ASGIApp = Guard(self._service.app(), key)
        if faults is not None:
            app = faults.around(app)
        app = Stamp(app, engines, self.seen.append if faults is not None else _ignore, told=told)
        self._socket = _listen(port)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            http=H11Protocol if faults is None else FaultyProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._uvicorn = _Uvicorn(config, self._ready.set)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="beatra-sandbox", daemon=True)
        try:
            self._thread.start()
            if not self._ready.wait(START_TIMEOUT) or self._failure is not None:
                raise SandboxUnavailable(f"The sandbox server did not start: {self._failure!r:.200}")
            self.studio.resume()
        except BaseException:  # also an interrupt: no thread and no port stays behind
            self.stop()
            raise

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as failure:  # a thread has nobody to raise to; start() raises it
            self._failure = failure
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._uvicorn.serve(sockets=[self._socket])

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive() and not self._uvicorn.should_exit

    def stop(self) -> None:
        """Stop work in progress, close every connection, end the thread; may be called again."""
        self._uvicorn.should_exit = True
        loop = self._loop
        if loop is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # the loop has just closed by itself
                loop.call_soon_threadsafe(self._leave)
        self.studio.close()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(STOP_TIMEOUT)
        self._socket.close()

    def _leave(self) -> None:
        self._service.close()
        if self.faults is not None:
            self.faults.close()


def _ignore(exchange: Exchange) -> None:
    """Keep nothing: an ordinary sandbox has no log of its requests."""


def _listen(port: int) -> socket.socket:
    # The protocol is named: asyncio turns Nagle's delay off (40 ms an answer) only on sockets that name it.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows: nobody else may listen on the same port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(512)
        listener.setblocking(False)
    except OSError as problem:
        listener.close()
        raise SandboxUnavailable(
            f"The sandbox cannot listen on port {port}: {problem}.",
            hint="Leave port= out to get a free one.",
        ) from None
    return listener
