"""Files at addresses that need no key because nobody can guess them: ``/cdn/<token>/<name>``, outside ``/v1``.

Only audio of the known kinds is shown in place; anything else that was uploaded is offered as a download, and a page
among it could do nothing: it is served without any right to run.
"""

from __future__ import annotations

import asyncio
import os

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from beatra_nb.sandbox.contract import Refusal
from beatra_nb.sandbox.exchange import exchange_of, refused
from beatra_nb.sandbox.state import artifacts
from beatra_nb.sandbox.studio import Studio

CDN_PATH = "/cdn"
PLAYED = frozenset(
    [
        "audio/mpeg",
        "audio/ogg",
        "audio/flac",
        "audio/wav",
        "audio/x-wav",
        "audio/mp4",
        "audio/webm",
        "audio/aac",
    ]
)


class _File(FileResponse):
    """A file, or parts of it; a range that cannot be is refused in the envelope of every other refusal."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        refusal: Refusal | None = None

        async def checked(message: Message) -> None:
            nonlocal refusal
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                status = message["status"]
                told = "cannot be read" if status == 400 else "lies outside the file"
                size = self.stat_result.st_size if self.stat_result else "*"
                headers = {"content-range": f"bytes */{size}"} if status == 416 else None
                refusal = Refusal(
                    "invalid_request", f"The Range header {told}.", status=status, headers=headers
                )
            elif refusal is None:
                await send(message)

        await super().__call__(scope, receive, checked)
        if refusal is not None:
            await refused(refusal, exchange_of(scope).request_id)(scope, receive, send)


class Cdn:
    """Serves the files of a studio."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def file(self, request: Request) -> Response:
        """``GET`` and ``HEAD /cdn/<token>/<name>``, also in parts (``Range``)."""
        token, name = request.path_params["token"], request.path_params["name"]
        artifact = None
        if self._studio.desk.exists:  # whoever knocks at random makes no folder
            artifact = await self._studio.ask(artifacts.by_token, token)
        if artifact is None or artifact.name != name:
            raise Refusal("not_found")
        path = self._studio.desk.files / artifact.path
        stat = None
        if artifact.expired is None:
            try:
                stat = await asyncio.to_thread(os.stat, path)
            except OSError:
                stat = None
        if stat is None:
            raise Refusal("expired")
        return _File(
            path,
            media_type=artifact.media_type,
            filename=artifact.name,
            stat_result=stat,
            content_disposition_type="inline" if artifact.media_type in PLAYED else "attachment",
            headers={"content-security-policy": "default-src 'none'; sandbox"},
        )
