"""Tasks that fail, or stand still, because a test or a lesson asked for it: no worker is troubled with them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from beatra_nb.sandbox.state.tasks import Job

STEPS = ((5, "planning", "Planning"), (20, "composing", "Take 1: drums"), (40, "rendering", "Take 1: lead"))
PAUSE = 0.3


def work(
    job: Job,
    note: Callable[[dict[str, object]], None],
    dropped: threading.Event,
    fail: Callable[[Job, dict[str, Any]], None],
) -> None:
    """Pretend to work for a while, then do what the fault says."""
    fault: dict[str, Any] = json.loads(job.fault or "{}")
    for percent, stage, message in STEPS:
        note({"percent": percent, "stage": stage, "message": message})
        if dropped.wait(PAUSE):
            return
    if fault.get("stall"):
        dropped.wait()
    else:
        fail(job, {name: fault[name] for name in ("code", "message", "retryable")})
