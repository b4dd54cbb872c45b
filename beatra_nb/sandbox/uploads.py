"""``POST /v1/uploads``: one file in, an artifact out."""

from __future__ import annotations

import asyncio
import mimetypes
import re
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from beatra_nb.sandbox.checks import MAX_DEPTH, Checker, parse_json
from beatra_nb.sandbox.contract import Refusal, fingerprint, new_id
from beatra_nb.sandbox.exchange import JSON, exchange_of, origin_of
from beatra_nb.sandbox.multipart import Received, receive, refuse_length
from beatra_nb.sandbox.state import answers, artifacts
from beatra_nb.sandbox.state.artifacts import Artifact, safe_name
from beatra_nb.sandbox.state.sql import transaction
from beatra_nb.sandbox.studio import Studio, needs
from beatra_nb.sandbox.task_wire import artifact_body

PURPOSES = ("media_input", "reference_audio")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")


class Uploads:
    """The endpoint of uploads."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def create(self, request: Request) -> Response:
        """``POST /v1/uploads``."""
        exchange = exchange_of(request.scope)
        needs(("python_multipart",), "Uploading")
        key = self._studio.free(exchange)
        length = request.headers.get("content-length", "0")
        # Who waits for leave to send has not sent anything yet and need not.
        sent = None if _waits(request) else request.stream()
        await refuse_length(int(length) if length.isdecimal() else 0, sent)
        await self._studio.ask(_ready)
        files = self._studio.desk.files
        try:
            received = await receive(request.headers.get("content-type", ""), request.stream(), files)
        except OSError as problem:
            raise self._studio.trouble(problem) from None
        try:
            artifact = _checked(received)
            exchange.fingerprint = fingerprint(_identity(artifact))
            print_ = fingerprint({"path": "uploads", "body": _identity(artifact)})
            await asyncio.to_thread(received.path.rename, files / artifact.path)
            received.path = files / artifact.path
        except BaseException:
            _remove(received.path)
            raise
        try:
            found, kept = await self._studio.ask(_keep, artifact, key, print_, files)
        except Exception:  # not when the server stops meanwhile: the state may be keeping it at this moment
            _remove(received.path)
            raise
        if not kept:
            _remove(received.path)
        exchange.effect, exchange.replayed = kept, not kept
        self._studio.use(key)
        replayed = None if kept else {"idempotent-replayed": "true"}
        return JSON(artifact_body(found, origin_of(request.scope)), 201, replayed)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _waits(request: Request) -> bool:
    return request.headers.get("expect", "").lower() == "100-continue"


def _ready(db: sqlite3.Connection) -> None:
    """Nothing but making sure that the state, and with it the folder, is there."""


def _identity(artifact: Artifact) -> dict[str, Any]:
    """Return what makes two uploads the same: not the form's boundary, and not the order of its parts."""
    names = ("sha256", "filename", "media_type", "purpose", "metadata")
    return {name: getattr(artifact, name) for name in names}


def _keep(
    db: sqlite3.Connection, artifact: Artifact, key: str | None, print_: str, files: Path
) -> tuple[Artifact, bool]:
    """Keep an artifact, and True; or return what the key has made before, its file there again if it was gone."""
    with transaction(db):
        if (known := answers.recall(db, key, print_)) is not None:
            before = artifacts.by_id(db, known["artifact_id"])
            if before is not None:
                if not (files / before.path).exists():
                    (files / artifact.path).replace(files / before.path)
                    artifacts.revive(db, before.id)
                return before, False
        artifacts.add(db, artifact)
        answers.remember(db, key, print_, {"artifact_id": artifact.id})
    return artifact, True


def _checked(received: Received) -> Artifact:
    """Check a form and make an artifact of it.

    Raises
    ------
    Refusal
        ``invalid_request`` naming every bad field.
    """
    fields: dict[str, Any] = {name: value or None for name, value in received.fields.items()}
    check = Checker(fields)
    if not received.has_file:
        check.bad("/file", "is required")
    elif not received.size:
        check.bad("/file", "is empty")
    purpose = check.choice("purpose", *PURPOSES, of=fields, path=()) or PURPOSES[0]
    filename = Path((received.filename or "").replace("\\", "/")).name[:255] or "upload"
    media_type = _media_type(fields.get("media_type"), received.content_type, filename)
    if media_type is None:
        check.bad("/media_type", "must be a media type such as audio/mpeg")
    metadata: dict[str, Any] = {}
    if fields.get("metadata") is not None:
        try:
            fields["metadata"] = parse_json(fields["metadata"].encode())
        except Refusal:
            check.bad("/metadata", f"must be a JSON object, nested at most {MAX_DEPTH} levels deep")
        else:
            metadata = check.metadata()
    check.finish()
    artifact_id = new_id("art_")
    return Artifact(
        id=artifact_id,
        path=f"{artifact_id}.upload",
        name=safe_name(filename, fallback="upload"),
        filename=filename,
        media_type=media_type or "",
        purpose=purpose,
        bytes=received.size,
        sha256=received.sha256,
        metadata=metadata,
    )


def _media_type(said: str | None, part: str | None, filename: str) -> str | None:
    """Return the media type: as the form says, else as its part says, else as the name suggests."""
    if said is not None:
        said = said.partition(";")[0].strip().lower()
        return said if _MEDIA_TYPE.fullmatch(said) else None
    part = (part or "").partition(";")[0].strip().lower()
    if _MEDIA_TYPE.fullmatch(part) and part != "application/octet-stream":
        return part
    return mimetypes.guess_type(filename)[0] or "application/octet-stream"
