"""A batch on a cluster, for tests; and a process that runs one until it is done or killed.

``python -m tests.batch.cluster_worker URL CHECKPOINT ROWS SCHEDULER``; the key comes from the environment. It says
how many rows it was told of, and at last what they came to.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

from distributed import Client

from beatra_nb.batch import cluster
from beatra_nb.batch.engine import Job
from beatra_nb.batch.outcome import Outcome
from beatra_nb.batch.pace import Pace
from beatra_nb.batch.tally import Tally
from beatra_nb.store.checkpoint import Checkpoint
from tests.batch.driving import context_of, jobs, transport_of
from tests.batch.worker import FINGERPRINT


async def spread(
    base_url: str,
    key: str,
    rows: Iterable[Job] | AsyncIterable[Job],
    client: Client,
    *,
    active: int = 16,
    context: dict[str, Any] | None = None,
    pace: Pace | None = None,
    told: Callable[[Outcome], None] = lambda outcome: None,
    **options: Any,
) -> tuple[Tally, list[Outcome]]:
    """Run a batch on a cluster; gives the tally, and the outcomes in the order of the rows."""
    outcomes: list[Outcome] = []

    def take(outcome: Outcome) -> None:
        outcomes.append(outcome)
        told(outcome)

    async with transport_of(base_url, key, active) as transport:
        tally = await cluster.run(
            rows,
            executor=client,
            context=context_of(base_url, key, **(context or {})),
            transport=transport,
            pace=pace or Pace(active),
            on_outcome=take,
            **options,
        )
    assert tally.done == len(outcomes)
    return tally, sorted(outcomes, key=lambda outcome: outcome.position)


def main() -> None:
    base_url, path, rows, scheduler = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

    async def run(client: Client) -> None:
        told = 0

        def tell(outcome: object) -> None:
            nonlocal told
            told += 1
            print(f"told {told}", flush=True)

        with Checkpoint.open(path, FINGERPRINT) as kept:
            tally, _ = await spread(
                base_url, os.environ["BEATRA_API_KEY"], jobs(rows), client, checkpoint=kept, told=tell
            )
        print(f"done {tally.done} failed {sum(tally.failed.values())} stopped {tally.stopped}", flush=True)

    with Client(scheduler) as client:
        asyncio.run(run(client))


if __name__ == "__main__":
    main()
