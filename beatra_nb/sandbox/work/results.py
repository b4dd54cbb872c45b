"""What a worker tells, made into what is kept: progress, errors, and clips with their files."""

from __future__ import annotations

import hashlib
import math
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beatra_nb.sandbox.contract import new_id
from beatra_nb.sandbox.state.artifacts import Artifact, safe_name
from beatra_nb.sandbox.state.tasks import Job

CLIP_FIELDS = (
    "title",
    "duration_seconds",
    "lyrics",
    "media_type",
    "seed",
    "tempo_bpm",
    "key",
    "genre",
    "sections",
)


@dataclass(frozen=True, slots=True)
class Made:
    """A finished task's output and files."""

    output: dict[str, Any]
    warnings: list[dict[str, Any]]
    audio_seconds: float
    artifacts: list[Artifact]


def folder(files: Path, task_id: str) -> Path:
    """Make the folder of one attempt, and clear away what attempts before it left when they were killed."""
    for left in files.glob(f"{task_id}.*"):
        remove(left)
    path = files / f"{task_id}.{secrets.token_hex(4)}"
    path.mkdir(mode=0o700, parents=True)
    return path


def remove(path: Path) -> None:
    """Remove an attempt's folder."""
    shutil.rmtree(path, ignore_errors=True)


def clips(files: Path, made_in: Path, job: Job, done: dict[str, Any]) -> Made:
    """Make artifacts of the files that a worker has left in its folder."""
    found: list[Artifact] = []
    told: list[dict[str, Any]] = []
    seconds = 0.0
    for take, clip in enumerate(done["clips"], 1):
        path = made_in / Path(clip["file"]).name
        data = path.read_bytes()
        name = safe_name(str(clip.get("title") or ""), f"-{take}{path.suffix}", "clip")
        artifact = Artifact(
            id=new_id("art_"),
            task_id=job.id,
            path=path.relative_to(files).as_posix(),
            name=name,
            filename=name,
            media_type=clip["media_type"],
            purpose="output",
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        found.append(artifact)
        told.append(
            {"artifact_id": artifact.id, "audio_url": artifact.address}
            | {field: clip.get(field) for field in CLIP_FIELDS}
            | {"bytes": artifact.bytes}
        )
        seconds += float(clip.get("duration_seconds") or 0)
    output: dict[str, Any] = {"clips": told}
    if done.get("heard") is not None:
        output["heard"] = done["heard"]
    return Made(output, list(done.get("warnings") or ()), round(seconds, 3), found)


def progress(told: dict[str, Any]) -> tuple[float, str, str]:
    """Read a line of progress; 100 is said by the end alone."""
    percent = float(told.get("percent") or 0)
    percent = min(max(percent, 0.0), 99.9) if math.isfinite(percent) else 0.0
    return round(percent, 1), str(told.get("stage") or "")[:40], str(told.get("message") or "")[:200]


def error(told: dict[str, Any]) -> dict[str, Any]:
    """Read a worker's error."""
    return {
        "code": str(told.get("code") or "internal_error")[:80],
        "message": str(told.get("message") or "The composer failed.")[:1000],
        "retryable": told.get("retryable") is True,
    }


def failure(message: str) -> dict[str, Any]:
    """Return an error of the sandbox itself: the same may succeed when it is tried again."""
    return {"code": "model_unavailable", "message": message, "retryable": True}
