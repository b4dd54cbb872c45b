"""A server that says exactly what it is told to, byte by byte, and remembers what it was sent."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

KEY = "sk-" + "wIreT3stK3yQ7xZ9" * 2

Script = bytes | Iterable[bytes | float]


@dataclass
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Wire:
    """One listening socket; each connection's requests are answered by the next script (the last one stays)."""

    scripts: list[Script] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopping = False
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def say(self, *scripts: Script) -> None:
        self.scripts[:] = scripts

    def stop(self) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection.makefile("rb") as reader:
            while (asked := _read(reader)) is not None:
                self.asked.append(asked)
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                for part in [script] if isinstance(script, bytes) else script:
                    if isinstance(part, float):
                        time.sleep(part)
                        continue
                    try:
                        connection.sendall(part)
                    except OSError:
                        self.gone.set()
                        return
                if not isinstance(script, bytes) or b"content-length" not in script.lower():
                    break
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _read(reader: Any) -> Asked | None:
    first = reader.readline()
    if not first.strip():
        return None
    method, path, _ = first.decode().split(" ")
    headers = {}
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return Asked(method, path, headers, reader.read(int(headers.get("content-length", 0))))


def http(status: int = 200, body: object = None, kind: str = "application/json", **headers: str) -> bytes:
    """A whole answer; a body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"content-type: {kind}", f"content-length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def sse(*pieces: bytes | float, **headers: str) -> Iterator[bytes | float]:
    """The head of an event stream, then the pieces; the end of the connection is its end."""
    lines = ["HTTP/1.1 200 OK", "content-type: text/event-stream", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return iter(["\r\n".join(lines).encode() + b"\r\n\r\n", *pieces])


def event(value: object, end: bytes = b"\n\n") -> bytes:
    """One event."""
    data = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
    return b"data: " + data + end


def delta(text: str, **more: Any) -> dict[str, Any]:
    """A chunk that adds a text."""
    return {"id": "c1", "model": "m1", "choices": [{"index": 0, "delta": {"content": text}, **more}]}


def completion(text: str = "Hello", **more: Any) -> dict[str, Any]:
    """A whole answer's body."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl_1",
        "model": "m1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "credits": "0.25"},
        **more,
    }
