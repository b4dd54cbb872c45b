"""How much the sandbox costs: ``python -m tests.benchmarks.bench_sandbox`` prints a table.

The server's own share of a call is what a plain HTTP client measures, less what the same client needs for a
bare loopback exchange of the same bytes. The real engine is measured when its weights are here.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing

import httpx

from beatra_nb import sandbox
from beatra_nb.sandbox import Sandbox, weights
from tests.benchmarks.table import show

CALLS = 300
FIRST_TOKENS = 15
HI = {"model": "auto", "messages": [{"role": "user", "content": "Say hi in five words."}]}


def median_ms(call: Callable[[], object], count: int = CALLS) -> float:
    """Return the median time of a call in milliseconds."""
    for _ in range(20):
        call()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def bare(request: bytes, answer: bytes) -> float:
    """Return the median time of the same exchange with a server that only echoes fixed bytes."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(65536):
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with socket.create_connection(listener.getsockname()) as wire:
            return median_ms(lambda: (wire.sendall(request), wire.recv(65536)))


def raw_request(box: Sandbox, body: dict[str, object]) -> bytes:
    """Return a chat request as bytes."""
    data = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {httpx.URL(box.base_url).netloc.decode()}\r\n"
    head += f"Authorization: Bearer {box.api_key}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def plain_call(box: Sandbox) -> tuple[float, float]:
    """Return the medians of a scripted call over a raw socket, and of the bare exchange."""
    request = raw_request(box, HI)
    with socket.create_connection(("127.0.0.1", httpx.URL(box.base_url).port or 0)) as wire:
        wire.sendall(request)
        answer = wire.recv(65536)
        took = median_ms(lambda: (wire.sendall(request), wire.recv(65536)))
    return took, bare(request, answer)


def stream_rate(box: Sandbox) -> float:
    """Return how many chunks a second a scripted stream of 5,000 words delivers."""
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Write 5000 words"}]}
    request = raw_request(box, body)
    rates = []
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", httpx.URL(box.base_url).port or 0)) as wire:
            began = time.perf_counter()
            wire.sendall(request)
            got = b""
            while b"[DONE]" not in got[-200:]:
                got += wire.recv(1 << 20)
            rates.append(got.count(b"data: ") / (time.perf_counter() - began))
    return statistics.median(rates)


def first_token(box: Sandbox) -> tuple[float, float]:
    """Return the median time to the first token of a fresh short prompt, and the tokens a second after it."""
    headers = {"Authorization": f"Bearer {box.api_key}"}
    firsts, rates = [], []
    with httpx.Client(
        base_url=box.base_url, headers=headers, trust_env=False, verify=False, timeout=100
    ) as http:
        http.post("/chat/completions", json={**HI, "max_tokens": 1})  # loaded and warm
        for number in range(FIRST_TOKENS):
            body = {
                "model": "auto",
                "stream": True,
                "max_tokens": 40,
                "messages": [{"role": "user", "content": f"Tell me about number {number}."}],
            }
            began = time.perf_counter()
            times = []
            with http.stream("POST", "/chat/completions", json=body) as answer:
                for line in answer.iter_lines():
                    if '"content":"' in line and '"content":""' not in line:
                        times.append(time.perf_counter())
            firsts.append(times[0] - began)
            if len(times) > 10:
                rates.append((len(times) - 1) / (times[-1] - times[0]))
    return statistics.median(firsts) * 1000, statistics.median(rates)


def cold_start() -> float:
    """Return the median time in milliseconds of a first start in a fresh process, imports included."""
    code = (
        "import time; began = time.perf_counter(); from beatra_nb import sandbox; "
        "box = sandbox.start(engine='scripted'); print(time.perf_counter() - began); box.stop()"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(5)
    ]
    return statistics.median(float(run.stdout) for run in runs) * 1000


def main() -> None:
    """Measure and print."""
    rows: list[tuple[str, str, str]] = [
        ("first start in a fresh process, imports included", f"{cold_start():.0f} ms", "")
    ]
    starts = []
    for _ in range(5):
        began = time.perf_counter()
        with sandbox.start(engine="scripted"):
            starts.append(time.perf_counter() - began)
    rows.append(("start once imported", f"{statistics.median(starts) * 1000:.1f} ms", "≤ 100 ms"))
    with sandbox.start(engine="scripted") as box:
        took, floor = plain_call(box)
        rows.append(("scripted call, server's overhead (median)", f"{took - floor:.2f} ms", "≤ 3 ms"))
        rows.append(("scripted stream", f"{stream_rate(box):,.0f} chunks/s", ""))
    if weights.installed() is not None:
        with sandbox.start(engine="smollm2") as box:
            first, rate = first_token(box)
            rows.append(("real model, first token after warm-up (median)", f"{first:.0f} ms", "≤ 100 ms"))
            rows.append(("real model, after it", f"{rate:.0f} tokens/s", ""))
    show("The sandbox", ("what", "measured", "wanted"), rows)


if __name__ == "__main__":
    main()
