"""A server that costs nothing: raw sockets, answers made beforehand, in a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HEAD = "HTTP/1.1 200 OK\r\nX-Request-Id: req_1\r\n"
ANSWER = {
    "id": "chatcmpl_01",
    "object": "chat.completion",
    "created": 1,
    "model": "bench",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello, how are you?"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "credits": "0.02"},
}


def plain() -> bytes:
    """One whole answer."""
    body = json.dumps(ANSWER).encode()
    head = HEAD + f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def streamed(chunks: int) -> bytes:
    """One streamed answer of so many content chunks."""
    base = {"id": "chatcmpl_01", "object": "chat.completion.chunk", "created": 1, "model": "bench"}

    def event(**fields: Any) -> bytes:
        return b"data: " + json.dumps({**base, **fields}).encode() + b"\n\n"

    def delta(content: str, reason: str | None = None) -> bytes:
        return event(choices=[{"index": 0, "delta": {"content": content}, "finish_reason": reason}])

    events = [delta(f"word{i % 10} ") for i in range(chunks)]
    events += [delta("", "stop"), event(choices=[], usage=ANSWER["usage"]), b"data: [DONE]\n\n"]
    parts = [f"{len(e):x}\r\n".encode() + e + b"\r\n" for e in events]
    head = HEAD + "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + b"".join(parts) + b"0\r\n\r\n"


def _connection(conn: socket.socket, answers: dict[bool, bytes]) -> None:
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            if not (piece := conn.recv(65536)):
                return
            buffer += piece
        head, _, body = buffer.partition(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            ),
            0,
        )
        while len(body) < length:
            body += conn.recv(65536)
        request, buffer = body[:length], body[length:]
        conn.sendall(answers[b'"stream":true' in request.replace(b'"stream": true', b'"stream":true')])


def _serve(chunks: int, port: Any) -> None:
    answers = {False: plain(), True: streamed(chunks)}
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    port.send(listener.getsockname()[1])
    while True:
        conn, _ = listener.accept()
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_connection, args=(conn, answers), daemon=True).start()


@contextmanager
def running(chunks: int = 5000) -> Iterator[str]:
    """Run the server; gives its base URL."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(chunks, theirs), daemon=True)
    process.start()
    theirs.close()  # if the process dies, the wait below ends
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        process.terminate()
        process.join()
