"""How a task and an artifact look on the wire."""

from __future__ import annotations

from typing import Any

from beatra_nb.sandbox.contract import BASE_PATH
from beatra_nb.sandbox.state.artifacts import Artifact
from beatra_nb.sandbox.state.sql import iso
from beatra_nb.sandbox.state.tasks import LOOKED_AHEAD, Task
from beatra_nb.sandbox.state.wallet import UNIT, as_text

CREDITS_PER_DOLLAR = 1000
EXPANSIONS = ("output", "usage", "billing", "callback", "input", "all")


def task_body(task: Task, origin: str, expand: frozenset[str] = frozenset({"all"})) -> dict[str, Any]:
    """Return a task's envelope; parts that were not asked for are left out of a summary."""

    def asked(part: str) -> bool:
        return "all" in expand or part in expand

    body: dict[str, Any] = {
        "object": "task",
        "task_id": task.id,
        "status": task.status,
        "capability": task.capability,
        "model": task.model,
        "resolved_model": task.resolved_model,
        "metadata": task.metadata,
    }
    if task.title is not None:
        body["title"] = task.title
    if asked("input"):
        body["input"] = task.input
    body["progress"] = _progress(task)
    if asked("output"):
        body["output"] = _output(task, origin)
    body["warnings"] = task.warnings
    body["error"] = task.error
    if asked("usage"):
        body["usage"] = _usage(task)
    if asked("billing"):
        body["billing"] = {
            "charged_credits": as_text(task.charged),
            "refunded_credits": as_text(task.refunded),
            "charged_credits_usd_reference": _dollars(task.charged),
            "refunded_credits_usd_reference": _dollars(task.refunded),
            "currency": "credits",
        }
    if asked("callback"):
        body["callback"] = None
    path = f"{BASE_PATH}/tasks/{task.id}"
    return body | {
        "created_at": iso(task.created),
        "started_at": iso(task.started),
        "completed_at": iso(task.completed),
        "cancel_requested_at": iso(task.cancel_requested),
        # Without the server's own address: an answer that is replayed after a restart is still true.
        "links": {"self": path, "cancel": f"{path}/cancel"},
    }


def artifact_body(artifact: Artifact, origin: str) -> dict[str, Any]:
    """Return an artifact as an upload answers it."""
    return {
        "object": "artifact",
        "artifact_id": artifact.id,
        "url": origin + artifact.address,
        "media_type": artifact.media_type,
        "purpose": artifact.purpose,
        "bytes": artifact.bytes,
        "sha256": artifact.sha256,
        "filename": artifact.filename,
        "metadata": artifact.metadata,
        "created_at": iso(artifact.created),
    }


def _progress(task: Task) -> dict[str, Any]:
    if task.status != "queued":
        return {"percent": task.percent, "stage": task.stage, "message": task.message}
    place = f"{ordinal(task.place)} in line" if task.place else f"More than {LOOKED_AHEAD} in line"
    message = f"{task.message}: {place}" if task.message else place
    return {"percent": task.percent, "stage": "queued", "message": message}


def ordinal(number: int) -> str:
    """Return a number as a place: 1st, 2nd, 3rd, 4th."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _output(task: Task, origin: str) -> dict[str, Any] | None:
    if task.output is None:
        return None
    clips = [clip | {"audio_url": origin + clip["audio_url"]} for clip in task.output["clips"]]
    return task.output | {"clips": clips}


def _usage(task: Task) -> dict[str, Any]:
    paid = task.charged - task.refunded
    return {
        "audio_seconds": task.audio_seconds,
        "characters": task.characters,
        "credits": as_text(paid),
        "credits_usd_reference": _dollars(paid),
        "lines": [
            {
                "description": f"{task.capability} ({task.model})",
                "unit": "task",
                "quantity": 1,
                "credits": as_text(paid),
            }
        ],
    }


def _dollars(thousandths: int) -> str:
    # A dollar is a thousand credits: a thousandth of a credit is a millionth of a dollar.
    text = f"{thousandths / (UNIT * CREDITS_PER_DOLLAR):.6f}"
    return text.rstrip("0").rstrip(".")
