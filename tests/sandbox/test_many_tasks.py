"""Two hundred tasks at once, most cancelled, a restart in the middle: every one ends right, to the last credit.

A file of its own, so that it runs beside the others.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from beatra_nb import sandbox
from beatra_nb.sandbox.state.desk import FILES
from tests.sandbox.conftest import client_of
from tests.sandbox.jobs import adds_up, order, wait_for

MANY = 200
CANCELLED = 140  # composing is what takes the time, and what is counted is the same
WORKERS = 3


def statuses(http: httpx.Client) -> dict[str, str]:
    found: dict[str, str] = {}
    query: dict[str, str | int] = {"limit": 100}
    while True:
        page = http.get("/tasks", params=query).json()
        found |= {each["task_id"]: each["status"] for each in page["data"]}
        if not page["has_more"]:
            return found
        query["cursor"] = page["next_cursor"]


@pytest.mark.timeout(180)
def test_two_hundred_tasks_and_a_restart(tmp_path: Path) -> None:
    with (
        sandbox.start(engine="scripted", state=tmp_path, music_workers=WORKERS) as box,
        client_of(box) as http,
    ):
        with ThreadPoolExecutor(16) as pool:
            ids = list(pool.map(lambda number: order(http, f"key-{number}"), range(MANY)))
        assert len(set(ids)) == MANY
        # Some that wait, some at work, some that may be over by now.
        chosen = [each for at, each in enumerate(ids) if at % 10 < 10 * CANCELLED // MANY]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda each: http.post(f"/tasks/{each}/cancel").json(), chosen))
        cancelled = {answer["task_id"] for answer in answers if answer["status"] == "canceled"}
        assert cancelled | {
            answer["task_id"] for answer in answers if answer["status"] == "succeeded"
        } == set(chosen)
        assert len(cancelled) > CANCELLED // 2
        wait_for(lambda: box.tasks["succeeded"] >= (MANY - CANCELLED) // 4)
        assert box.tasks["queued"] > 0
    with (
        sandbox.start(engine="scripted", state=tmp_path, music_workers=WORKERS) as box,
        client_of(box) as http,
    ):
        wait_for(lambda: box.tasks["queued"] + box.tasks["running"] == 0, patience=120)
        ends = statuses(http)
        assert ends == {each: "canceled" if each in cancelled else "succeeded" for each in ids}
        assert adds_up(box) == 10_000 - 50 * (MANY - len(cancelled))
        moves = Counter((row.kind, row.task_id) for row in box.wallet())
        assert set(moves.values()) == {1}
        assert Counter(kind for kind, _ in moves) == {"opening": 1, "charge": MANY, "refund": len(cancelled)}
        # Every clip is there, and nothing else.
        page = http.get("/tasks", params={"limit": 100, "status": "succeeded", "expand": "output"}).json()
        clips = [clip for each in page["data"] for clip in each["output"]["clips"]]
        assert len(clips) == MANY - len(cancelled)
        assert {httpx.head(clip["audio_url"], trust_env=False).status_code for clip in clips} == {200}
        assert len(list((tmp_path / FILES).iterdir())) == MANY - len(cancelled)
