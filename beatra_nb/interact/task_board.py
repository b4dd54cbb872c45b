"""``bn.TaskBoard``: the account's jobs, live: what runs, what was made lately, and what was begun here.

The board looks, and never begins a job: what was begun on this machine and has no answer is listed, and left to
``bn.pending()``, which asks under the job's own key. Its looks leave no rows in the journal.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatra_nb.core import policy
from beatra_nb.core.errors import APIError, BeatraError, InvalidInput, NotFound
from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import short_path
from beatra_nb.display.watching import look_around, surface
from beatra_nb.interact import work
from beatra_nb.interact.panel import Panel
from beatra_nb.interact.task_rows import FILTERS, row_of, unheard
from beatra_nb.interact.trouble import trouble

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable

    from beatra_nb.core.client import Client
    from beatra_nb.core.flow import Context, Flow
    from beatra_nb.core.media import Clip
    from beatra_nb.core.task import BaseTask, Task
    from beatra_nb.core.task_list import LostJob, TaskList
    from beatra_nb.store.jobs import Job

IDLE = 30.0  # seconds between two looks when nothing runs
GLANCE = 2.0  # seconds between two glances at this machine's journal, which cost the service nothing
AWAY = 600.0  # seconds without a page until nobody is taken to look
MOST = 500  # tasks on the board


class TaskBoard(Panel):
    """The jobs of this account, live, with cancel, attach and download.

    Parameters
    ----------
    limit : int, default 20
        How many recent tasks to begin with, from 1 to 100; further ones are fetched when they are asked for.
    client : Client, optional
        Whose account it is; the default client if left out.

    Attributes
    ----------
    tasks : tuple of Task
        The tasks on the board, newest first: ordinary tasks, to be used like any others.
    unheard : tuple of LostJob
        Jobs that were begun on this machine and of which nobody knows whether the service took them.

    Examples
    --------
    >>> board = bn.TaskBoard()  # doctest: +SKIP
    >>> board.attach(board.tasks[0].id).wait()  # doctest: +SKIP
    """

    modules = ("task_board.js",)
    styles = ("task_board.css",)
    urgent = frozenset({"stop", "cancel"})

    def __init__(self, *, limit: int = 20, client: Client | None = None) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 100:
            raise InvalidInput(f"limit must be a whole number from 1 to 100, not {limit!r:.40}.")
        self._limit = limit
        self._tasks: dict[str, Task] = {}
        self._local: set[str] = set()  # ids of tasks whose result this machine still waits for
        self._gone: set[str] = set()  # ids that the service does not know
        self._settled: set[str] = set()  # ids that have been looked at once more after their end
        self._lost: tuple[LostJob, ...] = ()
        self._older: TaskList | None = None  # where the next page begins
        self._moved = self._seen = (
            time.monotonic()
        )  # when something last began to run, and a page last looked
        self._still_of: object = None  # what the last still showed
        self._wake = asyncio.Event()
        tree = {
            "rows": [],
            "lost": [],
            "filter": "all",
            "more": False,
            "loading": False,
            "looked": None,
            "note": "",
            "sandbox": False,
        }
        super().__init__(tree, client=client)
        self._doc.set("sandbox", value=self._base.mode == "sandbox")
        if surface(look_around()) != "page":
            with suppress(BeatraError):  # what is wrong is said on the board
                self.refresh()

    # ── what is there ──

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks on the board, newest first."""
        with self._lock:
            return tuple(self._tasks[key] for key in self._order())

    @property
    def unheard(self) -> tuple[LostJob, ...]:
        """Jobs begun here of which nobody knows whether the service took them; ``bn.pending()`` asks."""
        return self._lost

    @property
    def has_more(self) -> bool:
        """Whether the service has older tasks."""
        return bool(self._doc["more"])

    @property
    def note(self) -> str:
        """What is to be known about the last look."""
        return str(self._doc["note"])

    @property
    def sandbox(self) -> bool:
        """Whether the sandbox answers."""
        return bool(self._doc["sandbox"])

    @property
    def filter(self) -> str:
        """Which tasks the page shows; set it to ``"all"``, ``"running"``, ``"succeeded"`` or ``"failed"``."""
        return str(self._doc["filter"])

    @filter.setter
    def filter(self, which: str) -> None:
        if which not in FILTERS:
            raise InvalidInput(f"filter must be one of {', '.join(FILTERS)}, not {which!r:.40}.")
        self._doc.set("filter", value=which)

    # ── what can be done ──

    def refresh(self) -> TaskBoard:
        """Look now, and return the board.

        Raises
        ------
        APIError, ConnectionFailed, Timeout
            If the service does not say; the board stays as it was.
        """
        work.wait(self._look(whole=True))
        return self

    def more(self) -> bool:
        """Fetch the next page of older tasks; return whether there was one."""
        return work.wait(self._next_page())

    def cancel(self, id: str) -> Task:
        """Ask the service to stop a task (best effort), and return it; what was prepaid is refunded."""
        task = self._task(id)
        work.wait(self._cancelled(task))
        return task

    def attach(self, id: str) -> Task:
        """Wait for a task beside the kernel, fetch its audio when it is there, and return it at once.

        ``task.wait()`` waits for it in the cell as well.
        """
        task = self._task(id)
        self._wait_for(task)
        return task

    def download(self, id: str) -> list[Path]:
        """Save a task's clips in the working folder, under names that are free, and return where they are."""
        return work.wait(self._saved(self._task(id)))

    def __repr__(self) -> str:
        return f"TaskBoard({len(self._tasks)} tasks{', more on the service' if self.has_more else ''})"

    # ── what the page asks ──

    def ask_here(self) -> None:
        """Hear that somebody looks."""
        self._seen = time.monotonic()
        work.loop().call_soon_threadsafe(self._wake.set)

    async def ask_refresh(self) -> None:
        """Look now."""
        await self._look(whole=True)

    async def ask_more(self) -> bool:
        """Fetch the next page."""
        return await self._next_page()

    def ask_filter(self, which: str) -> None:
        """Show some of them."""
        self.filter = which

    async def ask_cancel(self, task: str) -> None:
        """Stop a task."""
        await self._cancelled(self._task(task))

    def ask_attach(self, task: str) -> None:
        """Wait for a task."""
        self._wait_for(self._task(task))

    async def ask_download(self, task: str) -> list[str]:
        """Save a task's clips."""
        return [short_path(path) for path in await self._saved(self._task(task))]

    # ── looking ──

    def _shown(self) -> None:
        self._begin(self._pulse(), "pulse")

    async def _pulse(self) -> None:
        """Look again and again, as waiting for a task would; seldom when nothing runs, not when nobody looks."""
        failures, whole = 0, True
        while True:
            asked_for = None
            try:
                await self._look(whole=whole)
                failures = 0
            except BeatraError as error:
                failures, asked_for = failures + 1, error.retry_after
            except (
                Exception
            ):  # a defect must not end the pulse behind a board that looks alive; `_look` has said it
                failures += 1
            busy = any(not task.done for task in self.tasks) or failures
            whole = not busy
            waited = time.monotonic() - self._moved
            rest = policy.poll_pause(waited, random.random(), asked_for=asked_for, failures=failures)  # noqa: S311
            await self._rest(rest if busy else IDLE)

    async def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            if now - self._seen > AWAY:
                await self._wake.wait()
                end = now  # somebody looks again: so does the board
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), min(GLANCE, max(end - now, 0)))
            self._wake.clear()
            if self._begun_since():
                return

    def _begun_since(self) -> bool:
        """Whether a job has been begun on this machine that the board does not know."""
        with suppress(BeatraError):
            begun = {job.task_id for job in self._unfinished() if job.task_id}
            return bool(begun - self._tasks.keys() - self._gone)
        return False

    def _unfinished(self) -> list[Job]:
        _, context = self._twin._ready()
        return context.jobs.unfinished(context.place) if context.jobs is not None else []

    async def _look(self, *, whole: bool) -> None:
        """Look once; ``whole``, at everything that is unfinished as well."""
        self._doc.set("loading", value=True)
        try:
            found = await self._list()
            self._take_all(found)
            if self._older is None:
                self._older = found
                self._doc.set("more", value=found.has_more)
            if whole:
                for status in ("running", "queued"):
                    self._take_all(await self._list(status=status, limit=100))
            listed = {task.id for task in found.items}
            local = self._unfinished()
            self._local = {job.task_id for job in local if job.task_id}
            self._lost = unheard(local)
            for task in [
                *self.tasks,
                *(self._made(key) for key in self._local - self._tasks.keys() - self._gone),
            ]:
                if task.id not in listed and not task.done:
                    await self._look_at(task)
            for task in self.tasks:
                if task.id in self._local and task.status in ("failed", "canceled"):
                    await self._settle_job(task)
            self._doc.set("note", value="")
            self._doc.set("looked", value=time.time())
        except BeatraError as error:
            again = (
                ""
                if isinstance(error, APIError) and error.code and not error.retryable
                else " Looking again."
            )
            self._doc.set("note", value=f"No word from the service: {one_line(error.message, 300)}{again}")
            raise
        except Exception as error:
            self._doc.set("note", value=f"The look failed: {type(error).__name__}: {one_line(error, 300)}")
            raise
        finally:
            self._doc.set("loading", value=False)
            self._draw()

    async def _list(self, **filters: Any) -> TaskList:  # noqa: ANN401
        from beatra_nb.core import jobs
        from beatra_nb.core.task_list import TaskList, checked_filters

        given = {"limit": self._limit, **filters}
        names = ("status", "capability", "limit", "created_after", "created_before", "expand", "cursor")
        asked = {"order": "desc", **dict.fromkeys(names), "expand": "input,billing", **given}
        listing = TaskList(self._base, checked_filters(**asked))
        await self._quietly(lambda context: jobs.page(context, listing, self._base._new_task))
        return listing

    async def _next_page(self) -> bool:
        from beatra_nb.core import jobs

        if self._older is None:
            await self._look(whole=False)
        older = self._older
        if older is None or not older.has_more or len(self._tasks) >= MOST:
            self._doc.set("more", value=False)
            return False
        await self._quietly(lambda context: jobs.page(context, older, self._base._new_task))
        self._take_all(older)
        self._doc.set("more", value=older.has_more and len(self._tasks) < MOST)
        self._draw()
        return True

    async def _look_at(self, task: Task) -> None:
        from beatra_nb.core import jobs

        try:
            await self._quietly(lambda context: jobs.look(context, task))
        except NotFound as error:
            if error.code is None:
                raise
            with self._lock:
                self._gone.add(task.id)  # bn.pending() says that it is lost
                self._tasks.pop(task.id, None)
            return
        self._take(task)

    async def _settle_job(self, task: Task) -> None:
        """Let the journal know how a job of this machine ended, and what was refunded: once, by an open look."""
        from beatra_nb.core import jobs

        if task.id in self._settled:
            return
        await self._twin._run(lambda context: jobs.look(context, task))
        self._settled.add(task.id)

    async def _quietly(self, flow: Callable[[Context], Flow[None]]) -> None:
        """Ask without leaving a row, and without taking note of a refund, which only a row could tell."""
        await self._twin._run(lambda context: flow(replace(context, journal=None, jobs=None)))

    # ── keeping ──

    def _made(self, key: str) -> Task:
        task = self._base._new_task()
        task.id = key
        return task

    def _take_all(self, listing: TaskList) -> None:
        for task in listing.items:
            self._take(task)
        if listing.sandbox:
            self._doc.set("sandbox", value=True)

    def _take(self, task: Task) -> None:
        with self._lock:
            known = self._tasks.setdefault(task.id, task)
            if known is not task and not (known.done and not task.done):
                known.take(task.raw, request_id=task.request_id, sandbox=task.sandbox)
            elif not task.done:
                self._moved = time.monotonic()

    def _order(self) -> list[str]:
        last = datetime.max.replace(tzinfo=UTC)
        return sorted(self._tasks, key=lambda key: self._tasks[key].created_at or last, reverse=True)

    def _task(self, key: object) -> Task:
        task = self._tasks.get(key) if isinstance(key, str) else None
        if task is None:
            raise InvalidInput(
                f"There is no task {key!r:.60} on this board.",
                hint="board.tasks holds those that are; bn.task(id) finds any other.",
            )
        return task

    def _draw(self) -> None:
        """Tell the page the rows: only what has changed of them, unless others came or went."""
        with self._lock:
            rows = [row_of(self._tasks[key], here=key not in self._local) for key in self._order()]
            before = {row["id"]: row for row in self._doc["rows"]}
            for row in rows:
                row |= {name: before.get(row["id"], {}).get(name, value) for name, value in _OWN.items()}
            if [row["id"] for row in rows] == list(before):
                for at, row in enumerate(rows):
                    for name, value in row.items():
                        self._doc.set("rows", at, name, value=value)
            else:
                self._doc.set("rows", value=rows)
            now = datetime.now(UTC)
            lost = [
                {
                    "key": one_line(job.idempotency_key, 120),
                    "title": one_line(job.title or job.verb, 120),
                    "seconds": max(0.0, (now - job.started).total_seconds()),
                }
                for job in self._lost
            ]
            self._doc.set("lost", value=lost)
            # The still waits for quiet, and a running task is never quiet: it follows what has really changed.
            news = [(row["id"], row["status"], row["title"]) for row in rows] + [job["key"] for job in lost]
            if (news, self.note) != self._still_of:
                self._still_of = news, self.note
                self._settle()

    def _say(self, task: BaseTask, **said: Any) -> None:  # noqa: ANN401
        """Tell the page something about one row."""
        with self._lock:
            for at, row in enumerate(self._doc["rows"]):
                if row["id"] == task.id:
                    for name, value in said.items():
                        self._doc.set("rows", at, name, value=value)

    # ── acting ──

    async def _cancelled(self, task: Task) -> None:
        from beatra_nb.core import jobs

        self._say(task, busy="cancelling", error=None)
        try:
            await self._twin._run(lambda context: jobs.cancel(context, task, "cancelled on the task board"))
        except Exception as error:
            self._say(task, error=trouble(error))
            raise
        finally:
            self._say(task, busy="")
            self._draw()

    def _wait_for(self, task: Task) -> concurrent.futures.Future[None] | None:
        name = f"attach {task.id}"
        return None if self._busy(name) else self._begin(self._attached(task), name)

    async def _attached(self, task: Task) -> None:
        from beatra_nb.core import jobs

        self._say(task, attached=True, error=None)
        try:
            if task.done and not task.takes:
                await self._twin._run(lambda context: jobs.look(context, task))
            await self._twin._run(lambda context: jobs.wait(context, task, _Watch(self, task), None))
            if task.status == "failed" and task.error is not None:
                self._say(task, error=trouble(task.error))
        except Exception as error:  # whatever it was, nobody awaits this work: it is said in the row
            self._say(task, error=trouble(error))
        finally:
            self._say(task, attached=False, note="")
            if task.done:
                self._local.discard(task.id)
            self._draw()

    async def _saved(self, task: Task) -> list[Path]:
        from beatra_nb.core import jobs

        self._say(task, busy="saving", error=None)
        try:
            if not task.done:
                raise InvalidInput(
                    "This task is not over yet.", hint="Attach to it: it is fetched at its end."
                )
            if not task.takes:  # a list does not say what was made
                await self._twin._run(lambda context: jobs.look(context, task))
            if not task.clips:
                raise InvalidInput("This task has made nothing that could be saved.")
            await self._twin._run(lambda context: jobs.wait(context, task, _Watch(self, task), None))
            self._local.discard(task.id)
            paths = []
            for clip in task.clips:
                if clip.data is None:
                    await self._fetched(clip)  # says what keeps it from coming
                paths.append(await asyncio.to_thread(_save, clip))
            self._say(task, saved=[short_path(path) for path in paths])
        except Exception as error:
            self._say(task, error=trouble(error))
            raise
        finally:
            self._say(task, busy="")
            self._draw()
        return paths

    async def _fetched(self, clip: Clip) -> None:
        from beatra_nb.core import jobs

        await self._twin._run(lambda context: jobs.fetch(context, clip, jobs.Nobody()))


# What the board itself knows of a row; the rest is the task's.
_OWN: dict[str, Any] = {"busy": "", "attached": False, "note": "", "error": None, "saved": []}


class _Watch:
    """Shows on the board how a task goes that is waited for."""

    def __init__(self, board: TaskBoard, task: Task) -> None:
        self._board, self._task = board, task

    def update(self, task: BaseTask) -> None:
        """Draw the task's row."""
        self._board._draw()

    def note(self, text: str) -> None:
        """Say something in the row."""
        self._board._say(self._task, note=one_line(text, 200))

    def cancel_asked(self) -> bool:
        """Say no: the board cancels by itself."""
        return False


def _save(clip: Clip) -> Path:
    """Save a clip in the working folder under a name that is free, unless that has been done."""
    from beatra_nb.core.files import safe_name

    if clip.saved is not None and clip.saved.is_file() and clip.saved.read_bytes() == clip.data:
        return clip.saved.resolve()
    stem = f"{safe_name(clip.title or clip.artifact_id or 'clip')}-{clip.index}"
    taken = {path.stem for path in Path().iterdir()}
    number, name = 1, stem
    while name in taken:
        number += 1
        name = f"{stem} ({number})"
    return clip.save(name).resolve()
