"""Files at addresses that need no key because nobody can guess them: ``/cdn/<token>/<name>``, outside ``/v1``.

Only audio is shown in place; anything else that was uploaded is offered as a download, and a page among it could
do nothing: it is served without any right to run.
"""

from __future__ import annotations

import asyncio
import os

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from beatra_nb.sandbox.contract import Refusal
from beatra_nb.sandbox.state import artifacts
from beatra_nb.sandbox.studio import Studio

CDN_PATH = "/cdn"


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
        shown = artifact.media_type.startswith("audio/")
        return FileResponse(
            path,
            media_type=artifact.media_type,
            filename=artifact.name,
            stat_result=stat,
            content_disposition_type="inline" if shown else "attachment",
            headers={"content-security-policy": "default-src 'none'; sandbox"},
        )
