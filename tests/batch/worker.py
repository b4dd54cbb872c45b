"""A process that runs a batch until it is done or killed: ``python -m tests.batch.worker URL CHECKPOINT ROWS``.

The key comes from the environment, as a user's does. It says ``begun``, and at last what the rows came to.
"""

from __future__ import annotations

import asyncio
import os
import sys

from beatra_nb.store.checkpoint import Checkpoint
from beatra_nb.store.journal import Journal
from tests.batch.driving import jobs, ran

FINGERPRINT = {"prompt": "Say hi, number {}."}


def main() -> None:
    base_url, path, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])

    async def run() -> None:
        told = 0

        def tell(outcome: object) -> None:
            nonlocal told
            told += 1
            if told % 20 == 0:
                print(f"told {told}", flush=True)

        with Checkpoint.open(path, FINGERPRINT) as kept:
            print("begun", flush=True)
            tally, outcomes = await ran(
                base_url,
                os.environ["BEATRA_API_KEY"],
                jobs(rows),
                active=32,
                checkpoint=kept,
                told=tell,
                context={"journal": Journal.open(), "max_attempts": 8},
            )
        failed = sum(not outcome.ok for outcome in outcomes)
        print(f"done {tally.done} failed {failed} stopped {tally.stopped}", flush=True)

    asyncio.run(run())


if __name__ == "__main__":
    main()
