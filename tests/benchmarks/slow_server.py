"""A server that answers every call after the same time, however many there are: one loop, in a process of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.raw_server import plain


class _Connection(asyncio.Protocol):
    """One connection; requests on it come one after another."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._answer = plain()
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            # Every client writes this header in letters of its own.
            at = self._buffer[:end].lower().find(b"content-length:")
            length = int(self._buffer[at + 15 : end + 2].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            if self._latency:
                self._loop.call_later(self._latency, self._say)
            else:
                self._say()

    def _say(self) -> None:
        self._transport.write(self._answer)


def _serve(latency: float, port: Any) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(latency), "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


@contextmanager
def running(latency: float) -> Iterator[str]:
    """Run the server; gives its base URL."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(latency, theirs), daemon=True)
    process.start()
    theirs.close()  # if the process dies, the wait below ends
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        process.terminate()
        process.join()
