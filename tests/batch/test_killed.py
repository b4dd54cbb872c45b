"""A batch that is killed over and over again: every row has one answer, and each was paid once.

``BATCH_ROWS=5000 python -m pytest tests/batch/test_killed.py`` takes more rows.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from beatra_nb import sandbox
from beatra_nb.batch.outcome import Outcome
from beatra_nb.batch.tally import Tally
from beatra_nb.store.checkpoint import Checkpoint
from tests.batch.driving import jobs, ran
from tests.batch.worker import FINGERPRINT

ROWS = int(os.environ.get("BATCH_ROWS", "500"))
KILLS = 5
SHARE = 0.05
FAULTS = ["429;retry_after=0.02", "429", "503", "billing_failed", "html:502", "empty:504", "reset:before",
          "reset:headers", "reset:after", "short_body"]  # fmt: skip


@pytest.fixture
def box() -> Iterator[sandbox.Sandbox]:
    with sandbox.start(engine="scripted", faults=True) as box:
        for fault in FAULTS:
            box.inject(f"{fault};share={SHARE / 2 if fault.startswith('429') else SHARE}")
        yield box


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.timeout(600)
def test_every_row_has_one_answer_and_is_paid_once(box: sandbox.Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "rows.beatra"
    chance = random.Random(7)
    paid = Counter[str | None]()
    seen = 0

    def count() -> None:
        """Count what was paid; the sandbox remembers its last ten thousand requests alone."""
        nonlocal seen
        now = box.seen
        assert len(now) - seen < 10_000
        paid.clear()
        paid.update(each.idempotency_key for each in now if each.effect)

    told: list[int] = []
    for _ in range(KILLS):
        told.append(worker(box, path, kill_after=chance.randrange(0, ROWS // 8)))
        count()
    for _ in range(5):  # a row may have had bad luck on each of its attempts: it is asked again
        if worker(box, path) == 0:
            break
    count()

    with Checkpoint.open(path, FINGERPRINT) as kept:
        rows = list(kept)
        assert kept.finished == ROWS
    assert [row.position for row in rows] == list(range(ROWS))
    assert all(row.error is None and row.text for row in rows)
    assert len(paid) == ROWS
    assert set(paid.values()) == {1}
    box.clear()
    _, undisturbed = asyncio.run(ask(box))
    assert [row.text for row in rows] == [outcome.text for outcome in undisturbed]


async def ask(box: sandbox.Sandbox) -> tuple[Tally, list[Outcome]]:
    return await ran(box.base_url, box.api_key, jobs(ROWS))


def worker(box: sandbox.Sandbox, path: Path, *, kill_after: int | None = None) -> int:
    """Run the batch in a process; kill it when it has told of so many rows. Gives how many rows have failed."""
    command = [sys.executable, "-m", "tests.batch.worker", box.base_url, str(path), str(ROWS)]
    environment = {**os.environ, "BEATRA_API_KEY": box.api_key}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        for line in child.stdout:
            rows = int(line.split()[1]) if line.startswith("told") else 0
            if kill_after is not None and rows >= kill_after:
                child.kill()
                return -1
            if found := re.match(r"done (\d+) failed (\d+) stopped (\w+)", line):
                assert found[1] == str(ROWS), line
                assert found[3] == "None", line
                return int(found[2])
    assert kill_after is not None, "the batch ended without a word"
    return -1
