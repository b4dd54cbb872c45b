"""Many calls at once, beside httpx, aiohttp, the openai SDK and chatlas; and what a checkpoint costs.

``python -m tests.benchmarks.bench_batch [--calls 2000] [--rows 100000] [--rounds 3] [--only calls|rows|resume]``
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from tests.benchmarks.slow_server import running
from tests.benchmarks.table import show, verdict

KEY = "sk-" + "0" * 32
PROMPT = "Say hi in five words."
MESSAGES = [{"role": "user", "content": PROMPT}]

Contender = Callable[[str, int, int], Awaitable[None]]


async def httpx_(base_url: str, calls: int, active: int) -> None:
    import httpx

    places = asyncio.Semaphore(active)
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:

        async def one() -> None:
            async with places:
                answer = await http.post(
                    f"{base_url}/chat/completions",
                    json={"model": "auto", "messages": MESSAGES},
                    headers={"Authorization": f"Bearer {KEY}"},
                )
                assert answer.json()["choices"]

        await asyncio.gather(*(one() for _ in range(calls)))


async def aiohttp_(base_url: str, calls: int, active: int) -> None:
    import aiohttp

    places = asyncio.Semaphore(active)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> None:
            async with (
                places,
                session.post(
                    f"{base_url}/chat/completions",
                    json={"model": "auto", "messages": MESSAGES},
                    headers={"Authorization": f"Bearer {KEY}"},
                ) as answer,
            ):
                assert (await answer.json())["choices"]

        await asyncio.gather(*(one() for _ in range(calls)))


async def openai_(base_url: str, calls: int, active: int) -> None:
    import openai

    places = asyncio.Semaphore(active)
    async with openai.AsyncOpenAI(api_key=KEY, base_url=base_url) as sdk:

        async def one() -> None:
            async with places:
                answer = await sdk.chat.completions.create(model="auto", messages=MESSAGES)  # type: ignore[arg-type]
                assert answer.choices

        await asyncio.gather(*(one() for _ in range(calls)))


async def chatlas_(base_url: str, calls: int, active: int) -> None:
    import chatlas

    chat = chatlas.ChatOpenAICompletions(base_url=base_url, api_key=KEY, model="auto")
    answers = await chatlas.parallel_chat(chat, [PROMPT] * calls, max_active=active, rpm=10_000_000)
    assert len(answers) == calls


def ours(*, checkpoint: bool, journal: bool) -> Contender:
    async def run(base_url: str, calls: int, active: int) -> None:
        from beatra_nb.batch import engine
        from beatra_nb.core.request import ChatRequest

        def jobs() -> Iterator[engine.Job]:
            base = ChatRequest.of(PROMPT)
            return (engine.Job(position, base) for position in range(calls))

        done = await batch(base_url, jobs(), active, checkpoint=checkpoint, journal=journal)
        assert done == calls, done

    return run


async def batch(
    base_url: str,
    jobs: Iterator[object],
    active: int,
    *,
    checkpoint: bool | Path,
    journal: bool,
    keep: list[object] | None = None,
) -> int:
    """Run the engine over jobs; gives how many rows have an answer."""
    import beatra_nb as bn
    from beatra_nb.batch import engine
    from beatra_nb.batch.pace import Pace
    from beatra_nb.core.flow import Context
    from beatra_nb.core.many import ManyTransport
    from beatra_nb.core.settings import Secret
    from beatra_nb.store.checkpoint import Checkpoint
    from beatra_nb.store.journal import Journal

    context = Context(base_url, bn.Timeouts(), journal=Journal.open() if journal else None)
    transport = ManyTransport(base_url, Secret(KEY), active=active)
    kept = None
    if checkpoint:
        path = checkpoint if isinstance(checkpoint, Path) else Path(tempfile.mkdtemp()) / "bench.beatra"
        kept = Checkpoint.open(path, {"prompt": PROMPT})
    told = keep if keep is not None else []
    try:
        tally = await engine.run(
            jobs,  # type: ignore[arg-type]
            context=context,
            transport=transport,
            pace=Pace(active),
            on_outcome=told.append,
            checkpoint=kept,
            blocking=False,
        )
    finally:
        await transport.close()
        if kept is not None:
            kept.close()
    return tally.ok


CONTENDERS: dict[str, Contender] = {
    "beatra_nb": ours(checkpoint=False, journal=False),
    "beatra_nb, journal": ours(checkpoint=False, journal=True),
    "beatra_nb, journal and checkpoint": ours(checkpoint=True, journal=True),
    "aiohttp": aiohttp_,
    "httpx": httpx_,
    "AsyncOpenAI and gather": openai_,
    "chatlas parallel_chat": chatlas_,
}


def many_calls(calls: int, latency: float, active: int, rounds: int, bound: float, slowest: float) -> None:
    """Measure every contender at a server of that latency."""
    ideal = active / latency
    rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    costs: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with running(latency) as base_url:
        for number in range(rounds + 1):
            for name, contender in CONTENDERS.items():
                # The first round is short: it pays for imports.
                some = min(active, calls) if number == 0 else calls
                if name not in OURS and number > 1:
                    continue  # the others are slow, and no bound hangs on their noise
                gc.collect()
                cpu, wall = time.process_time(), time.perf_counter()
                asyncio.run(contender(base_url, some, active))  # type: ignore[arg-type]
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                if number:
                    rates[name].append(some / wall)
                    costs[name].append(1e6 * cpu / some)
    sdk = statistics.median(costs["AsyncOpenAI and gather"])
    fastest = max(rates["aiohttp"])  # what this machine lets through just now
    rows = []
    for name in CONTENDERS:
        part, cost = max(rates[name]) / ideal, min(costs[name])
        told = name in OURS
        rows.append(
            [
                name,
                f"{max(rates[name]):.0f}",
                f"{part:.2f}",
                verdict(part, bound, at_least=True) if told else "",
                f"{max(rates[name]) / fastest:.2f}",
                f"{cost:.0f}",
                f"{cost / sdk:.2f}",
                verdict(cost / sdk, slowest) if told else "",
            ]
        )
    show(
        f"{calls} calls, {active} at once, {1000 * latency:.0f} ms each: best of {rounds}; ideal {ideal:.0f} calls/s",
        ["", "calls/s", "of ideal", "bound", "× aiohttp", "CPU µs a call", "× openai", "bound"],
        rows,
    )


OURS = [name for name in CONTENDERS if name.startswith("beatra_nb")]


def many_rows(rows: int, active: int = 64) -> None:
    """Measure memory and the checkpoint's price at a server that answers at once."""
    from beatra_nb.batch import engine
    from beatra_nb.batch.asks import Asker

    asker = Asker.of(f"Row {{n}}: {PROMPT}")

    def jobs(count: int) -> Iterator[engine.Job]:
        return (engine.Job(at, asker.request({"n": at})) for at in range(count))

    def run(count: int, checkpoint: bool | Path, keep: list[object]) -> float:
        start = time.perf_counter()
        done = asyncio.run(
            batch(base_url, jobs(count), active, checkpoint=checkpoint, journal=True, keep=keep)
        )
        assert done == count, done
        return time.perf_counter() - start

    with running(0.0) as base_url, tempfile.TemporaryDirectory() as folder:
        run(500, True, [])
        before = peak()
        path = Path(folder) / "rows.beatra"
        kept: list[object] = []
        whole = run(rows, path, kept)
        growth = peak() - before
        size = path.stat().st_size / 2**20
        kept.clear()
        gc.collect()
        few = max(1000, rows // 10)
        pairs = [(run(few, False, []), run(few, True, [])) for _ in range(5)]
    price = statistics.median(b / a for a, b in pairs) - 1
    show(
        f"{rows} rows at a server that answers at once, {active} at a time, with journal",
        ["", "figure", "bound"],
        [
            ["rows a second, with a checkpoint", f"{rows / whole:.0f}", ""],
            ["memory growth, MiB (every outcome kept)", f"{growth:.0f}", verdict(growth, 150)],
            ["throughput that the checkpoint costs", f"{100 * price:.0f} %", verdict(price, 0.15)],
            ["size of the file, MiB", f"{size:.0f}", ""],
        ],
    )


def resume(rows: int, rounds: int) -> None:
    """Measure how a finished run is read back: nothing is sent, so that no server is needed."""
    from beatra_nb.batch import engine, keys
    from beatra_nb.batch.asks import Asker
    from beatra_nb.store.checkpoint import Checkpoint, Kept

    asker = Asker.of(f"Row {{n}}: {PROMPT}")
    shuffled = [*range(rows)]
    random.Random(7).shuffle(shuffled)
    orders = {
        "as it was": range(rows),
        "with a row left out at the top": range(1, rows),
        "shuffled": shuffled,
    }
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name, order in orders.items():
            took = []
            for number in range(rounds + 1):  # the first one pays for imports
                path = Path(folder) / f"{number}.beatra"
                with Checkpoint.open(path, {"prompt": PROMPT}) as kept:
                    for start in range(0, rows, 2000):
                        some = [
                            (at, asker.request({"n": at})) for at in range(start, min(start + 2000, rows))
                        ]
                        kept.write(
                            [
                                Kept(at, keys.body_digest(each), 0, True, f"Hi, number {at}!", f"req_{at:024d}",
                                     "auto", "0.25", 9, 5, 1, 0.05, None, 0)
                                for at, each in some
                            ]
                        )  # fmt: skip
                jobs = (engine.Job(at, asker.request({"n": n})) for at, n in enumerate(order))
                gc.collect()
                cpu, wall = time.process_time(), time.perf_counter()
                done = asyncio.run(batch("http://127.0.0.1:9", jobs, 64, checkpoint=path, journal=True))
                took.append((time.perf_counter() - wall, time.process_time() - cpu))
                assert done == len(order), done
                path.unlink()
            wall, cpu = min(took[1:])
            bound = verdict(wall, 3) if name == "as it was" else ""
            lines.append([name, f"{wall:.2f}", f"{cpu:.2f}", bound])
    show(f"a finished run of {rows} rows is read back: best of {rounds}", ["", "s", "CPU s", "bound"], lines)


def peak() -> float:
    """Return the most memory this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--calls", type=int, default=2000)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", choices=("calls", "rows", "resume"))
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["BEATRA_HOME"] = home
        if chosen.only in (None, "rows"):
            many_rows(chosen.rows)  # first: what the others load is not its memory
        if chosen.only in (None, "rows", "resume"):
            resume(chosen.rows, chosen.rounds)
        if chosen.only in (None, "calls"):
            many_calls(chosen.calls, 0.05, 64, chosen.rounds, 0.88, 0.4)
            many_calls(chosen.calls, 0.2, 256, chosen.rounds, 0.8, 0.4)


if __name__ == "__main__":
    main()
