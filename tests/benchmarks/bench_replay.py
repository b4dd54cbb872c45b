"""What a replay costs: ``python -m tests.benchmarks.bench_replay``.

A notebook of 200 calls, replayed from a cassette without waiting, against httpx alone with an answer made up in
memory: what is above that is the client with its journal, and the tape.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

import beatra_nb as bn
from beatra_nb.store.cassettes.cassette import Cassette
from beatra_nb.store.cassettes.exchange import Asked, Exchange
from tests.benchmarks.table import show, verdict

CALLS = 200
ROUNDS = 15


def answer(number: int) -> dict[str, object]:
    """Return what a chat is answered."""
    message = {"role": "assistant", "content": f"Answer {number}. " * 40}
    return {
        "id": f"chatcmpl_{number}",
        "model": "m1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 90, "total_tokens": 120, "credits": "0.25"},
    }


def body(number: int) -> dict[str, object]:
    """Return what is asked."""
    return {"model": "auto", "messages": [{"role": "user", "content": f"Question {number}"}]}


def record(path: Path) -> None:
    """Make the cassette."""
    cassette = Cassette(path)
    cassette.begin("https://api.example.com/v1", "live")
    for number in range(CALLS):
        cassette.write(
            Exchange(
                Asked("POST", "/chat/completions", body=body(number)),
                datetime.now(UTC),
                took=0.4,
                status=200,
                headers={"content-type": "application/json", "x-request-id": f"req_{number}"},
                body=json.dumps(answer(number), separators=(",", ":")).encode(),
            )
        )
    cassette.close()


def replayed(path: Path, *, journal: bool) -> float:
    """Return the seconds of a whole replay, reading the tape included."""
    start = time.perf_counter()
    with bn.Client(mode="replay", cassette=path, speed=0, journal=journal) as client:
        for number in range(CALLS):
            client.chat(f"Question {number}")
    return time.perf_counter() - start


def read(path: Path) -> float:
    """Return the seconds of reading the tape."""
    start = time.perf_counter()
    Cassette(path)
    return time.perf_counter() - start


def raw() -> float:
    """Return the seconds of httpx alone."""
    data = json.dumps(answer(0)).encode()

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "application/json"}, content=data)

    start = time.perf_counter()
    with httpx.Client(transport=httpx.MockTransport(handle)) as client:
        for number in range(CALLS):
            client.post("https://api.example.com/v1/chat/completions", json=body(number)).json()
    return time.perf_counter() - start


def main() -> None:
    """Measure in turn, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BEATRA_HOME"] = folder
        path = Path(folder) / "bench.cassette"
        record(path)
        ways = {
            "httpx alone, its MockTransport": raw,
            "a replay, journal on": lambda: replayed(path, journal=True),
            "a replay, journal off": lambda: replayed(path, journal=False),
            "reading the tape, in these": lambda: read(path),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(ROUNDS + 1):
            for name, way in ways.items():
                took = way()
                if number:  # the first warms up
                    times[name].append(took / CALLS * 1e3)
        base = times["httpx alone, its MockTransport"]
        rows = []
        for name, each in times.items():
            added = statistics.median(a - b for a, b in zip(each, base, strict=True))
            told = verdict(added, 1.0) if name.startswith("a replay") else ""
            rows.append([name, f"{statistics.median(each):.3f}", f"{added:.3f}", told])
        show(f"{CALLS} exchanges: ms an exchange", ["way", "median", "above httpx", "bound"], rows)


if __name__ == "__main__":
    main()
