"""The verbs of music, uploads and tasks: blocking ones for ``Client``, awaited ones for ``AsyncClient``.

They stand beside each other here because they are the same flows, driven twice.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from beatra_nb.core import seams
from beatra_nb.core.base_client import BaseClient, interrupted_task, watching
from beatra_nb.core.errors import Interrupted, InvalidInput, spoken
from beatra_nb.core.policy import WAIT
from beatra_nb.core.settings import embed_limit

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import BinaryIO

    from beatra_nb.core.flow import Context, Flow
    from beatra_nb.core.media import Artifact, BaseClip, Embed
    from beatra_nb.core.music import Reference, Rerun
    from beatra_nb.core.task import AsyncTask, BaseTask, Task
    from beatra_nb.core.task_list import (
        AsyncPendingList,
        AsyncTaskList,
        BaseTaskList,
        PendingList,
        TaskList,
    )
    from beatra_nb.core.uploads import UploadRequest

T = TypeVar("T")


def checked_timeout(timeout: float | None) -> float | None:
    """Check how long to wait."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < float("inf"):
        raise InvalidInput(
            f"timeout must be a number of seconds above 0, or None, not {timeout!r:.60}.",
            hint="timeout=None waits for as long as it takes.",
        )
    return float(timeout)


def checked_embed(embed: object) -> Embed:
    """Check whether the output shall hold the audio."""
    if not isinstance(embed, bool) and embed != "auto":
        raise InvalidInput(f"embed must be True, False or 'auto', not {embed!r:.60}.")
    embed_limit()  # a setting that cannot be read is told now, not in a picture
    return embed


def checked_id(ident: object) -> str:
    """Check a task's id."""
    if not isinstance(ident, str) or ident.strip() in ("", ".", ".."):  # dots would lead to another address
        raise InvalidInput(
            f"A task is found by its id, a text, not by {ident!r:.60}.", hint="bn.tasks() lists the tasks."
        )
    try:
        ident.encode()
    except UnicodeEncodeError:
        raise InvalidInput("A task's id cannot hold half a character.") from None
    return ident.strip()


def checked_reason(reason: object) -> str | None:
    """Check why a task is cancelled."""
    if reason is not None and not isinstance(reason, str):
        raise InvalidInput(f"reason must be text, not {type(reason).__name__}.")
    return reason


@contextmanager
def quiet(task: BaseTask) -> Iterator[None]:
    """Let an interrupt say how to come back to a job that nobody watches."""
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError) as stop:
        raise spoken(stop, interrupted_task(task)) from None


@contextmanager
def asking(task: BaseTask | None, message: str, hint: str) -> Iterator[None]:
    """Let an interrupt say what a question that was not answered leaves open."""
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError) as stop:
        key = None if task is None else task.idempotency_key
        said = Interrupted(f"Interrupted {message}", task=task, hint=hint, idempotency_key=key)
        raise spoken(stop, said) from None


LOOKING = "before the service had answered: the task is as it was.", "task.refresh() asks again."
CANCELLING = (
    "before the service had answered: it may have cancelled the task.",
    "task.cancel() may be called again, and task.refresh() tells how it is; what was paid is refunded once.",
)
COMING_BACK = (
    "while unfinished jobs were being looked for: none is lost.",
    "bn.pending() looks for them again, and nothing is paid twice.",
)


@contextmanager
def uploading(drop: Callable[[], None], key: str) -> Iterator[None]:
    """Take an upload's display down when it fails, and let an interrupt speak."""
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError) as stop:
        drop()
        said = Interrupted(
            "Interrupted: the upload was stopped.",
            hint="Nothing was spent; run the cell again to upload it.",
            idempotency_key=key,
        )
        raise spoken(stop, said) from None
    except BaseException:
        drop()
        raise


class TaskVerbs(BaseClient):
    """Music, uploads and tasks, blocking."""

    def _run(self, flow: Callable[[Context], Flow[T]]) -> T:
        raise NotImplementedError

    def music(
        self,
        /,
        prompt: str = "",
        *,
        lyrics: str | None = None,
        instrumental: bool | None = None,
        title: str | None = None,
        model: str = "auto",
        reference: Reference | None = None,
        model_options: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        wait: bool = True,
        timeout: float | None = WAIT,
        embed: Embed = "auto",
        idempotency_key: str | None = None,
        rerun: Rerun = "new",
    ) -> Task:
        r"""Make music from words, and return the task with its clips.

        While it waits a card shows how far it is. Interrupting stops the waiting, not the task. What was begun is
        never lost: ``bn.pending()`` finds it again, also after the kernel has died.

        Parameters
        ----------
        prompt : str
            How it shall sound. May be empty where there are lyrics.
        lyrics : str, optional
            The words, with section tags such as ``[Verse]`` and ``[Chorus]``.
        instrumental : bool, optional
            Whether nobody shall sing.
        title : str, optional
            Its title.
        model : str, default "auto"
            A music model's id, such as ``"suno-5.5"`` (80 credits, two clips) or ``"minimax-music-2.6"``
            (50 credits, one clip), or ``"auto"`` to let the service choose.
        reference : path, Artifact, str, bytes or file, optional
            Audio to follow: a file (uploaded by itself, once), an artifact or its id, or an https address.
        model_options : dict, optional
            Options of one family of models: ``{"suno": {"style_weight": 0.7}}``. What stands under ``"sandbox"``
            (``seconds``, ``format``, ``seed``) is for the sandbox alone and sent nowhere else.
        metadata : dict, optional
            Your own notes, kept with the task.
        wait : bool, default True
            Wait until it is over, and fetch the audio.
        timeout : float or None, default 1800
            Seconds to wait; None for as long as it takes.
        embed : "auto" or bool, default "auto"
            Whether the notebook's output holds the audio; ``"auto"`` up to ``BEATRA_EMBED_MB`` (8) megabytes.
        idempotency_key : str, optional
            A key of your own: with it, a cell that is run again is the same job, and is not paid twice.
        rerun : {"new", "reuse"}, default "new"
            ``"reuse"`` attaches to the job that the very same request has already started from this machine.

        Returns
        -------
        Task
            The task; its ``clips`` show themselves as players.

        Raises
        ------
        InvalidInput
            If an argument cannot be sent; nothing was sent or spent.
        InsufficientBalance
            If the account has too few credits; nothing was begun.
        TaskFailed
            If the task failed; the error says why, and what was refunded.
        TaskTimeout
            If it is not over in time; the error holds the task, which goes on.
        APIError, ConnectionFailed, Timeout
            If the service refuses or does not answer.

        Notes
        -----
        ``POST /music/text-to-music`` and ``POST /music/reference-audio-to-music``, status *Preview*. Prepaid: debited
        when the task is created, refunded if it fails or is cancelled.

        Examples
        --------
        >>> bn.music("dream pop, warm analog drums", lyrics="[Verse]\nCity lights are waking")  # doctest: +SKIP
        """
        task = self._new_task(embed)
        request = self._music(
            task,
            prompt,
            {
                "lyrics": lyrics,
                "instrumental": instrumental,
                "title": title,
                "model": model,
                "reference": reference,
                "model_options": model_options,
                "metadata": metadata,
                "idempotency_key": idempotency_key,
                "rerun": rerun,
            },
        )
        seconds = checked_timeout(timeout)
        from beatra_nb.core import jobs
        from beatra_nb.core.uploads import UploadRequest

        if request.source is not None:
            request = request.with_artifact(self._send_file(UploadRequest.of_reference(request)))
        if not wait:
            with quiet(task):
                self._run(lambda context: jobs.begin(context, request, task, jobs.Nobody()))
            return task
        painter = self._task_painter()
        with watching(painter, task):
            painter.update(task)
            self._run(lambda context: jobs.begin(context, request, task, painter))
            self._run(lambda context: jobs.wait(context, task, painter, seconds))
        return task

    def upload(
        self,
        /,
        source: str | os.PathLike[str] | bytes | BinaryIO,
        *,
        purpose: str = "media_input",
        media_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        fresh: bool = False,
        idempotency_key: str | None = None,
    ) -> Artifact:
        """Upload a file, and return the artifact that it became.

        The file is read while it is sent. The very same bytes are not sent twice: what this machine has uploaded
        before is found in the journal.

        Parameters
        ----------
        source : path, bytes or file object
            What to upload, up to 100 MB.
        purpose : str, default "media_input"
            What for; ``"reference_audio"`` for music that shall follow it.
        media_type : str, optional
            What it is, where its bytes do not say.
        metadata : dict, optional
            Your own notes, kept with it.
        fresh : bool, default False
            Send it even if it was sent before.
        idempotency_key : str, optional
            A key of your own for this upload.

        Returns
        -------
        Artifact
            Its id is what ``reference=`` takes.

        Raises
        ------
        InvalidInput
            If the file cannot be read, is empty, too large, or not what it says; nothing was sent.
        APIError, ConnectionFailed, Timeout
            If the service refuses or does not answer.

        Notes
        -----
        ``POST /uploads``, status *Preview*; the limit of 100 MB is the service's.

        Examples
        --------
        >>> bn.upload("riff.mp3", purpose="reference_audio")  # doctest: +SKIP
        """
        from beatra_nb.core.uploads import UploadRequest

        return self._send_file(
            UploadRequest.of(
                source,
                purpose=purpose,
                media_type=media_type,
                metadata=metadata,
                fresh=fresh,
                idempotency_key=idempotency_key,
            )
        )

    def task(self, /, id: str, *, audio: bool = True, embed: Embed = "auto") -> Task:
        """Find a task by its id.

        Parameters
        ----------
        id : str
            The task's id.
        audio : bool, default True
            Fetch the audio, if the task is over.
        embed : "auto" or bool, default "auto"
            Whether the notebook's output holds the audio.

        Returns
        -------
        Task
            As it is now; ``.wait()`` waits for it.

        Raises
        ------
        NotFound
            If this account has no such task.

        Notes
        -----
        ``GET /tasks/{id}``, status *Preview*.
        """
        task = self._new_task(embed)
        task.id = checked_id(id)
        self._refresh(task)
        if audio and task.status == "succeeded":
            from beatra_nb.core import jobs

            with quiet(task):
                self._run(lambda context: jobs.wait(context, task, jobs.Nobody(), None))
        return task

    def tasks(
        self,
        /,
        *,
        status: str | None = None,
        capability: str | None = None,
        limit: int = 20,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        order: str = "desc",
        expand: str | Sequence[str] | None = "input,billing",
        cursor: str | None = None,
    ) -> TaskList:
        """List the account's tasks, newest first; further pages are fetched as they are needed.

        Parameters
        ----------
        status : str, optional
            Only tasks that are ``"queued"``, ``"running"``, ``"succeeded"``, ``"failed"`` or ``"canceled"``.
        capability : str, optional
            Only tasks of one kind.
        limit : int, default 20
            The size of a page, from 1 to 100.
        created_after, created_before : datetime or str, optional
            Only tasks made in this time.
        order : {"desc", "asc"}
            Newest or oldest first.
        expand : str or list of str, default "input,billing"
            Parts beyond the summary (``output``, ``usage``, ``billing``, ``callback``, ``input``, ``all``); None for
            the summary alone. Titles and credits are in the default's.
        cursor : str, optional
            Where to begin: an earlier list's ``cursor``.

        Returns
        -------
        TaskList
            A table that iterates over tasks, with ``.more()`` and ``.to_frame()``.

        Notes
        -----
        ``GET /tasks``, status *Preview*.
        """
        from beatra_nb.core.task_list import TaskList, checked_filters

        listing = TaskList(
            self,
            checked_filters(
                status=status,
                capability=capability,
                limit=limit,
                created_after=created_after,
                created_before=created_before,
                order=order,
                expand=expand,
                cursor=cursor,
            ),
        )
        self._page(listing)
        return listing

    def pending(self) -> PendingList:
        """Find the jobs that were begun on this machine and whose result is not here yet.

        A job of which nobody knows whether the service took it is sent again under the same key (the service
        remembers keys for 24 h): it is the same job, and is paid once.

        Returns
        -------
        PendingList
            Tasks; ``.wait()`` finishes them all.

        Examples
        --------
        >>> bn.pending().wait()  # after a restart of the kernel  # doctest: +SKIP
        """
        from beatra_nb.core import jobs
        from beatra_nb.core.task_list import PendingList

        with asking(None, *COMING_BACK):
            found = self._run(lambda context: jobs.pending(context, self._new_task))
        return PendingList(found.tasks, found.lost, found.unheard, found.elsewhere)  # type: ignore[arg-type]

    def _new_task(self, embed: Embed = "auto") -> Task:
        from beatra_nb.core.task import Task  # loaded with the first task, not with the client

        return Task(self, embed=checked_embed(embed))

    def _send_file(self, request: UploadRequest) -> Artifact:
        from beatra_nb.core.uploads import upload

        self._tell_sandbox()
        painter = seams.upload_painter(request.source.name, request.source.size)
        with uploading(painter.drop, request.key):
            artifact = self._run(lambda context: upload(context, request, painter.progress))
        painter.finish(artifact)
        return artifact

    def _refresh(self, task: BaseTask) -> None:
        from beatra_nb.core import jobs

        checked_id(task.id)
        with asking(task, *LOOKING):
            self._run(lambda context: jobs.look(context, task))

    def _wait(self, task: Task, timeout: float | None) -> Task:
        from beatra_nb.core import jobs

        checked_id(task.id)
        seconds = checked_timeout(timeout)
        painter = self._task_painter()
        with watching(painter, task):
            painter.update(task)
            self._run(lambda context: jobs.wait(context, task, painter, seconds))
        return task

    def _cancel(self, task: BaseTask, reason: str | None) -> None:
        from beatra_nb.core import jobs

        checked_id(task.id)
        with asking(task, *CANCELLING):
            self._run(lambda context: jobs.cancel(context, task, checked_reason(reason)))

    def _fetch(self, task: BaseTask, clip: BaseClip) -> None:
        from beatra_nb.core import jobs

        with quiet(task):
            self._run(lambda context: jobs.fetch(context, clip, jobs.Nobody()))

    def _page(self, listing: BaseTaskList[Any]) -> None:
        from beatra_nb.core import jobs

        self._run(lambda context: jobs.page(context, listing, self._new_task))


class AsyncTaskVerbs(BaseClient):
    """Music, uploads and tasks, awaited."""

    async def _run(self, flow: Callable[[Context], Flow[T]]) -> T:
        raise NotImplementedError

    async def music(
        self,
        /,
        prompt: str = "",
        *,
        lyrics: str | None = None,
        instrumental: bool | None = None,
        title: str | None = None,
        model: str = "auto",
        reference: Reference | None = None,
        model_options: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        wait: bool = True,
        timeout: float | None = WAIT,
        embed: Embed = "auto",
        idempotency_key: str | None = None,
        rerun: Rerun = "new",
    ) -> AsyncTask:
        """Make music from words, and return the task with its clips: ``Client.music``, awaited."""
        task = self._new_task(embed)
        request = self._music(
            task,
            prompt,
            {
                "lyrics": lyrics,
                "instrumental": instrumental,
                "title": title,
                "model": model,
                "reference": reference,
                "model_options": model_options,
                "metadata": metadata,
                "idempotency_key": idempotency_key,
                "rerun": rerun,
            },
        )
        seconds = checked_timeout(timeout)
        from beatra_nb.core import jobs
        from beatra_nb.core.uploads import UploadRequest

        if request.source is not None:
            request = request.with_artifact(await self._send_file(UploadRequest.of_reference(request)))
        if not wait:
            with quiet(task):
                await self._run(lambda context: jobs.begin(context, request, task, jobs.Nobody()))
            return task
        painter = self._task_painter()
        with watching(painter, task):
            painter.update(task)
            await self._run(lambda context: jobs.begin(context, request, task, painter))
            await self._run(lambda context: jobs.wait(context, task, painter, seconds))
        return task

    async def upload(
        self,
        /,
        source: str | os.PathLike[str] | bytes | BinaryIO,
        *,
        purpose: str = "media_input",
        media_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        fresh: bool = False,
        idempotency_key: str | None = None,
    ) -> Artifact:
        """Upload a file, and return the artifact that it became: ``Client.upload``, awaited."""
        from beatra_nb.core.uploads import UploadRequest

        return await self._send_file(
            UploadRequest.of(
                source,
                purpose=purpose,
                media_type=media_type,
                metadata=metadata,
                fresh=fresh,
                idempotency_key=idempotency_key,
            )
        )

    async def task(self, /, id: str, *, audio: bool = True, embed: Embed = "auto") -> AsyncTask:
        """Find a task by its id: ``Client.task``, awaited."""
        task = self._new_task(embed)
        task.id = checked_id(id)
        await self._refresh(task)
        if audio and task.status == "succeeded":
            from beatra_nb.core import jobs

            with quiet(task):
                await self._run(lambda context: jobs.wait(context, task, jobs.Nobody(), None))
        return task

    async def tasks(
        self,
        /,
        *,
        status: str | None = None,
        capability: str | None = None,
        limit: int = 20,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        order: str = "desc",
        expand: str | Sequence[str] | None = "input,billing",
        cursor: str | None = None,
    ) -> AsyncTaskList:
        """List the account's tasks, newest first: ``Client.tasks``, awaited; iterate with ``async for``."""
        from beatra_nb.core.task_list import AsyncTaskList, checked_filters

        listing = AsyncTaskList(
            self,
            checked_filters(
                status=status,
                capability=capability,
                limit=limit,
                created_after=created_after,
                created_before=created_before,
                order=order,
                expand=expand,
                cursor=cursor,
            ),
        )
        await self._page(listing)
        return listing

    async def pending(self) -> AsyncPendingList:
        """Find this machine's unfinished jobs: ``Client.pending``, awaited."""
        from beatra_nb.core import jobs
        from beatra_nb.core.task_list import AsyncPendingList

        with asking(None, *COMING_BACK):
            found = await self._run(lambda context: jobs.pending(context, self._new_task))
        return AsyncPendingList(found.tasks, found.lost, found.unheard, found.elsewhere)  # type: ignore[arg-type]

    def _new_task(self, embed: Embed = "auto") -> AsyncTask:
        from beatra_nb.core.task import AsyncTask  # loaded with the first task, not with the client

        return AsyncTask(self, embed=checked_embed(embed))

    async def _send_file(self, request: UploadRequest) -> Artifact:
        from beatra_nb.core.uploads import upload

        self._tell_sandbox()
        painter = seams.upload_painter(request.source.name, request.source.size)
        with uploading(painter.drop, request.key):
            artifact = await self._run(lambda context: upload(context, request, painter.progress))
        painter.finish(artifact)
        return artifact

    async def _refresh(self, task: BaseTask) -> None:
        from beatra_nb.core import jobs

        checked_id(task.id)
        with asking(task, *LOOKING):
            await self._run(lambda context: jobs.look(context, task))

    async def _wait(self, task: AsyncTask, timeout: float | None) -> AsyncTask:
        from beatra_nb.core import jobs

        checked_id(task.id)
        seconds = checked_timeout(timeout)
        painter = self._task_painter()
        with watching(painter, task):
            painter.update(task)
            await self._run(lambda context: jobs.wait(context, task, painter, seconds))
        return task

    async def _cancel(self, task: BaseTask, reason: str | None) -> None:
        from beatra_nb.core import jobs

        checked_id(task.id)
        with asking(task, *CANCELLING):
            await self._run(lambda context: jobs.cancel(context, task, checked_reason(reason)))

    async def _fetch(self, task: BaseTask, clip: BaseClip) -> None:
        from beatra_nb.core import jobs

        with quiet(task):
            await self._run(lambda context: jobs.fetch(context, clip, jobs.Nobody()))

    async def _page(self, listing: BaseTaskList[Any]) -> None:
        from beatra_nb.core import jobs

        await self._run(lambda context: jobs.page(context, listing, self._new_task))
