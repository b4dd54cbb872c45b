"""A cluster of four worker processes beside one process, at the same total concurrency.

``python -m tests.benchmarks.bench_cluster [--rows 2000] [--rounds 3] [--workers 4]``
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydantic

from tests.benchmarks.raw_server import ANSWER, HEAD
from tests.benchmarks.slow_server import _Connection
from tests.benchmarks.table import show, verdict

KEY = "sk-" + "0" * 32
ACTIVE = 64
ITEMS = 200  # of one answer: about 17 kB


class Item(pydantic.BaseModel):
    name: str
    size: int
    price: float
    tags: list[str]


class Stock(pydantic.BaseModel):
    items: list[Item]


class Checked(pydantic.BaseModel):
    """The same, looked over by code of the user's own: what parsing costs in earnest."""

    items: list[Item]

    @pydantic.model_validator(mode="after")
    def look(self) -> Checked:
        for _ in range(20):
            words = sorted(f"{item.name}{tag}{item.price:.3f}" for item in self.items for tag in item.tags)
        assert words
        return self


def answer() -> bytes:
    """One big answer."""
    items = [
        {"name": f"item {i}", "size": i, "price": i / 7, "tags": ["a", "b", str(i)]} for i in range(ITEMS)
    ]
    choice = {
        **ANSWER["choices"][0],  # type: ignore[index]
        "message": {"role": "assistant", "content": json.dumps({"items": items})},
    }
    body = json.dumps({**ANSWER, "choices": [choice]}).encode()
    return f"{HEAD}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class _Big(_Connection):
    def __init__(self, big: bytes) -> None:
        super().__init__(0.0)
        self._answer = big


def _serve(port: Any) -> None:
    async def serve() -> None:
        big = answer()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Big(big), "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


@contextmanager
def running() -> Iterator[str]:
    """Run a server of big answers; gives its base URL."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        process.terminate()
        process.join()


async def batch(base_url: str, rows: int, schema: Any, client: Any, checkpoint: bool) -> None:
    """Run a batch, on a cluster where there is a client of one."""
    import beatra_nb as bn
    from beatra_nb.batch import cluster, engine
    from beatra_nb.batch.pace import Pace
    from beatra_nb.core.flow import Context
    from beatra_nb.core.many import ManyTransport
    from beatra_nb.core.request import ChatRequest
    from beatra_nb.core.settings import Secret
    from beatra_nb.store.checkpoint import Checkpoint

    asked = ChatRequest.of("What is in stock?", schema=schema)
    jobs = (engine.Job(at, asked) for at in range(rows))
    transport = ManyTransport(base_url, Secret(KEY), active=ACTIVE)
    kept = Checkpoint.open(Path(tempfile.mkdtemp()) / "rows.beatra", {}) if checkpoint else None
    options: dict[str, Any] = {
        "context": Context(base_url, bn.Timeouts()),
        "transport": transport,
        "pace": Pace(ACTIVE),
        "on_outcome": lambda outcome: None,
        "checkpoint": kept,
        "blocking": False,
    }
    try:
        if client is None:
            tally = await engine.run(jobs, **options)
        else:
            tally = await cluster.run(jobs, executor=client, **options)
    finally:
        await transport.close()
        if kept is not None:
            kept.close()
    assert tally.ok == rows, tally


def cpu() -> float:
    """Return the CPU seconds that this process has used: the driver, and the scheduler beside it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    import dask
    from distributed import Client, LocalCluster

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=2000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--workers", type=int, default=4)
    chosen = options.parse_args()
    dask.config.set({"distributed.logging": {"distributed": "critical"}})
    kinds: list[tuple[str, Any, int, bool]] = [
        ("text alone, 17 kB", None, chosen.rows, False),
        ("a model of 200 items", Stock, chosen.rows, False),
        ("the same, with a checkpoint", Stock, chosen.rows, True),
        ("a model that code of one's own looks over", Checked, chosen.rows // 4, False),
    ]
    table = []
    with (
        tempfile.TemporaryDirectory() as home,
        running() as base_url,
        LocalCluster(
            n_workers=chosen.workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        os.environ["BEATRA_HOME"] = home

        def measure(rows: int, schema: Any, there: Any, checkpoint: bool) -> tuple[float, float, float]:
            wall, here, away = time.perf_counter(), cpu(), sum(client.run(time.process_time).values())
            asyncio.run(batch(base_url, rows, schema, there, checkpoint))
            wall, here = time.perf_counter() - wall, cpu() - here
            return wall, here, sum(client.run(time.process_time).values()) - away

        for name, schema, rows, checkpoint in kinds:
            for there in (None, client):
                measure(rows // 10, schema, there, checkpoint)  # imports, connections
            pairs = [
                (measure(rows, schema, None, checkpoint), measure(rows, schema, client, checkpoint))
                for _ in range(chosen.rounds)
            ]
            ratio = statistics.median(alone[0] / spread[0] for alone, spread in pairs)
            per_row = [
                1e6 * min(times) / rows
                for times in zip(*((alone[1], spread[1], spread[2]) for alone, spread in pairs), strict=True)
            ]
            table.append(
                [
                    name,
                    f"{rows / min(alone[0] for alone, _ in pairs):.0f}",
                    f"{rows / min(spread[0] for _, spread in pairs):.0f}",
                    f"{ratio:.2f}",
                    verdict(ratio, 1.0, at_least=True) if schema is Checked else "",
                    *(f"{each:.0f}" for each in per_row),
                    f"{1e6 / per_row[1]:.0f}",
                ]
            )
    show(
        f"{chosen.workers} workers beside one process, {ACTIVE} calls at once in all, {os.cpu_count()} cores",
        [
            "",
            "one process, rows/s",
            "cluster, rows/s",
            "×",
            "bound",
            "CPU µs a row: one process",
            "driver and scheduler",
            "workers",
            "one driver's limit, rows/s",
        ],
        table,
    )


if __name__ == "__main__":
    main()
