"""A gate between a client and a sandbox: everything goes through it, and something may happen at a chosen moment.

It speaks HTTP/1.1, one exchange a connection, and puts its own port into what the sandbox says about its address, so
that downloads come through it too.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

# before   the request has left the client and has not reached the sandbox
# after    the sandbox has done what was asked, and no byte of the answer has come back
# amid     half of the answer has come back
MOMENTS = ("before", "after", "amid")


class Gate:
    """A listening gate; ``strike`` is called once, at the chosen moment of the chosen request.

    Parameters
    ----------
    port : int
        The sandbox's port.
    method, path : str
        The request that is waited for: its method, and how its path begins.
    nth : int
        Which of them, from 1.
    moment : str
        One of ``MOMENTS``.
    strike : callable
        What happens then; the connection is dropped afterwards.
    """

    def __init__(
        self,
        port: int,
        method: str = "",
        path: str = "",
        nth: int = 1,
        moment: str = "",
        strike: Callable[[], None] = lambda: None,
    ) -> None:
        self.upstream = port
        self.method, self.path, self.nth, self.moment, self.strike = method, path, nth, moment, strike
        self.struck = threading.Event()
        self.seen: list[str] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        while len(str(self._listener.getsockname()[1])) != len(str(port)):  # the addresses must be as long
            self._listener.close()
            self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._exchange, args=(client,), daemon=True).start()

    def _exchange(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            request = _read_request(client)
            if not request:
                return None
            moment = self._moment(request)
            if moment == "before":
                return self._strike()
            answer = self._ask(request)
            if moment == "after":
                return self._strike()
            if moment == "amid":
                client.sendall(answer[: len(answer) // 2])
                return self._strike()
            client.sendall(answer)
        return None

    def _moment(self, request: bytes) -> str:
        method, path = request.split(b" ", 2)[:2]
        with self._lock:
            self.seen.append(f"{method.decode()} {path.decode()}")
            here = [
                line
                for line in self.seen
                if line.startswith(f"{self.method} ") and self.path in line.split(" ")[1]
            ]
            fits = self.seen[-1] in here and len(here) == self.nth
        return self.moment if fits and not self.struck.is_set() else ""

    def _strike(self) -> None:
        self.strike()
        self.struck.set()

    def _ask(self, request: bytes) -> bytes:
        head, _, body = request.partition(b"\r\n\r\n")
        lines = [
            line for line in head.split(b"\r\n") if not line.lower().startswith((b"host:", b"connection:"))
        ]
        lines += [f"Host: 127.0.0.1:{self.upstream}".encode(), b"Connection: close"]
        with socket.create_connection(("127.0.0.1", self.upstream)) as server:
            server.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            answer = bytearray()
            while piece := server.recv(65536):
                answer += piece
        return bytes(answer).replace(f"127.0.0.1:{self.upstream}".encode(), f"127.0.0.1:{self.port}".encode())


def _read_request(client: socket.socket) -> bytes:
    data = bytearray()
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ),
        0,
    )
    while len(body) < length:
        piece = client.recv(65536)
        if not piece:
            return b""
        body += piece
    return head + b"\r\n\r\n" + body
