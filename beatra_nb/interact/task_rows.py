"""The rows of a task board: what a page is told of each task, as plain values."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from beatra_nb.display import tasks
from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import credits_of, figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beatra_nb.core.task import BaseTask
    from beatra_nb.core.task_list import LostJob
    from beatra_nb.store.jobs import Job

FILTERS = ("all", "running", "succeeded", "failed")
PATIENCE = 20.0  # seconds that a job may be on its way before it is called unheard of
NOT_KNOWN = (
    "Nobody knows yet whether the service took this job. "
    "bn.pending() asks again under its key: one job, paid once."
)


def row_of(task: BaseTask, *, here: bool) -> dict[str, Any]:
    """Return what a page shows of a task; ``here``: this machine does not wait for its result."""
    made, paid, back = task.created_at, task.billing.charged, task.billing.refunded
    return {
        "id": one_line(task.id, 200),
        "status": one_line(task.status or "unknown", 40),
        "tone": tasks.TONES.get(task.status, "plain"),
        "title": tasks.title_of(task),
        "model": tasks.models_of(task),
        "percent": task.progress.percent,
        "stage": one_line(task.progress.stage or task.progress.message or "", 80),
        "created": None if made is None else made.timestamp(),
        "elapsed": task.elapsed if task.done else None,
        "cost": credits_of(paid) or one_line(task.price, 80),
        "refunded": f"{figure(back)} refunded" if back else "",
        "done": task.done,
        "here": here,
        "canceling": task.cancel_requested_at is not None and not task.done,
        "why": "" if task.error is None else one_line(task.error.message, 200),
    }


def unheard(jobs: Sequence[Job]) -> tuple[LostJob, ...]:
    """Return the jobs of this machine that the service has not answered; one that was just sent may be on its way."""
    from beatra_nb.core.task_list import LostJob

    now = time.time()
    return tuple(
        LostJob(job.key, job.started, job.verb, NOT_KNOWN, job.title)
        for job in jobs
        if job.task_id is None and now - job.started.timestamp() > PATIENCE
    )
