"""Ordering music from a sandbox over plain HTTP, and waiting for what comes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx

from beatra_nb.sandbox import Sandbox

# The shortest work there is: one clip of two seconds.
QUICK: dict[str, Any] = {
    "model": "minimax-music-2.6",
    "prompt": "solo piano",
    "model_options": {"sandbox": {"seconds": 2, "seed": 7}},
}
OVER = ("succeeded", "failed", "canceled")
PATIENCE = 60.0


def post(http: httpx.Client, key: str | None = None, **fields: Any) -> httpx.Response:
    """Send an order; fields go over those of ``QUICK``."""
    body = {name: value for name, value in {**QUICK, **fields}.items() if value is not ...}
    headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
    return http.post("/music/text-to-music", content=json.dumps(body), headers=headers)


def order(http: httpx.Client, key: str | None = None, **fields: Any) -> str:
    """Order music and return the task's id."""
    answer = post(http, key, **fields)
    assert answer.status_code == 202, answer.text
    task_id = answer.json()["task_id"]
    assert isinstance(task_id, str)
    return task_id


def task(http: httpx.Client, task_id: str) -> dict[str, Any]:
    answer = http.get(f"/tasks/{task_id}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def until(http: httpx.Client, task_id: str, *wanted: str) -> dict[str, Any]:
    """Look at a task until it has one of these statuses."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found.append(task(http, task_id))
        return found[-1]["status"] in wanted

    wait_for(there)
    return found[-1]


def over(http: httpx.Client, task_id: str) -> dict[str, Any]:
    """Look at a task until it has ended."""
    return until(http, task_id, *OVER)


def wait_for(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def adds_up(box: Sandbox) -> Decimal:
    """Check that the ledger's rows make its balances, one after another, and return the last."""
    held = Decimal(0)
    for row in box.wallet():
        held += row.credits
        assert row.balance == held >= 0
    assert box.balance == held
    return held
