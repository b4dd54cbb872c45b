"""The endpoints of music and tasks, and what they share with uploads: the state and the crew."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from beatra_nb.sandbox.checks import Checker, parse_json
from beatra_nb.sandbox.contract import Refusal, fingerprint, new_id
from beatra_nb.sandbox.exchange import JSON, Exchange, exchange_of, key_of, origin_of, read_body
from beatra_nb.sandbox.ledger import KEEP_ENTRIES
from beatra_nb.sandbox.music_models import CAPABILITIES, COMPOSER
from beatra_nb.sandbox.music_request import MusicRequest, music_request
from beatra_nb.sandbox.state import answers, artifacts, retention, tasks
from beatra_nb.sandbox.state.desk import Desk, StateTrouble
from beatra_nb.sandbox.state.sql import pack, transaction
from beatra_nb.sandbox.state.tasks import NewTask
from beatra_nb.sandbox.state.wallet import UNIT
from beatra_nb.sandbox.task_list import cursor, wanted
from beatra_nb.sandbox.task_wire import task_body
from beatra_nb.sandbox.work.crew import Crew

P = ParamSpec("P")
T = TypeVar("T")

MAX_REASON = 500
TIDY_EVERY = 3600.0  # seconds
MUSIC_PACKAGES = ("numpy", "soundfile")
INSTALL = "pip install 'beatra-nb[sandbox]'"


def missing_packages(names: tuple[str, ...]) -> list[str]:
    """Return which packages are not installed, without loading those that are."""
    missing: list[str] = []
    for name in names:
        if name in _there:
            continue
        try:
            there = find_spec(name) is not None
        except (ImportError, ValueError):
            there = False
        if there:
            _there.add(name)
        else:
            missing.append(name)
    return missing


_there: set[str] = set()


def needs(names: tuple[str, ...], what: str) -> None:
    """Refuse what cannot be done here for want of a package."""
    if missing := missing_packages(names):
        raise Refusal(
            "unsupported_capability",
            f"{what} in the sandbox needs {' and '.join(missing)}, which is not installed here. Run: {INSTALL}",
        )


class Studio:
    """Everything below the endpoints that lasts: opened at the first request that needs it, or when there is work."""

    def __init__(self, folder: Path, opening: int, workers: int | None, taken: Callable[[str], bool]) -> None:
        self.desk = Desk(folder, opening)
        self.crew = Crew(self.desk, workers)
        self._tidied = time.monotonic()
        self._used: OrderedDict[str, None] = OrderedDict()  # keys of this process's tasks and artifacts
        self._taken = taken  # whether a key has been used for something else than a task or an artifact

    def resume(self) -> None:
        """Go on with what a sandbox before this one left; returns at once, and what fails now is told later."""
        if self.desk.exists:
            self._tidy()
            self._work()

    def _tidy(self) -> None:
        self._tidied = time.monotonic()
        with suppress(StateTrouble):  # whoever asks for something hears of it
            self.desk.ask(retention.tidy, self.desk.files)

    def close(self) -> None:
        """Stop work, put it back into the queue, close the state; blocks for a moment."""
        self.crew.stop()
        self.desk.close()

    async def ask(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **more: P.kwargs
    ) -> T:
        """Ask the state, while the server's loop goes on.

        Raises
        ------
        Refusal
            When the state cannot be read or written, with what to do.
        """
        try:
            answer = self.desk.ask(work, *args, **more)
            if time.monotonic() - self._tidied >= TIDY_EVERY:  # without requests nothing grows
                self._tidy()
            return await asyncio.wrap_future(answer)
        except StateTrouble as trouble:
            raise _refusal(trouble) from None

    def trouble(self, problem: OSError) -> Refusal:
        """Return what to answer when a file cannot be written."""
        return _refusal(self.desk.trouble(problem))

    def free(self, exchange: Exchange) -> str | None:
        """Return a request's key; refuse one that chat has used."""
        key = key_of(exchange)
        if key is not None and self._taken(key):
            raise Refusal("idempotency_conflict")
        return key

    def use(self, key: str | None) -> None:
        """Remember that a key has made something, so that chat refuses it."""
        if key is not None:
            self._used[key] = None
            while len(self._used) > KEEP_ENTRIES:
                self._used.popitem(last=False)

    def used(self, key: str) -> bool:
        """Whether a key belongs to a task or an artifact, as far as this process knows."""
        return key in self._used

    def _work(self) -> None:
        if not missing_packages(MUSIC_PACKAGES):
            self.crew.start()
            self.crew.call()

    # --- the endpoints

    async def text_to_music(self, request: Request) -> Response:
        """``POST /v1/music/text-to-music``."""
        return await self._create(request, CAPABILITIES[0])

    async def reference_to_music(self, request: Request) -> Response:
        """``POST /v1/music/reference-audio-to-music``."""
        return await self._create(request, CAPABILITIES[1])

    async def _create(self, request: Request, capability: str) -> Response:
        exchange = exchange_of(request.scope)
        body = parse_json(await read_body(request))
        exchange.fingerprint = fingerprint(body)
        key = self.free(exchange)
        needs(MUSIC_PACKAGES, "Music")
        asked = music_request(body, reference=capability == CAPABILITIES[1])
        fault = request.scope.get("beatra.task_fault")
        # The address counts too: one body for two endpoints is two requests.
        print_ = fingerprint({"path": capability, "body": body})
        answer, new = await self.ask(_open_task, asked, capability, key, print_, fault)
        exchange.effect, exchange.replayed = new, not new
        self.use(key)
        self._work()
        return JSON(answer, 202, None if new else {"idempotent-replayed": "true"})

    async def task(self, request: Request) -> Response:
        """``GET /v1/tasks/{id}``."""
        task = await self.ask(tasks.get, request.path_params["task_id"])
        return JSON(task_body(task, origin_of(request.scope)))

    async def tasks(self, request: Request) -> Response:
        """``GET /v1/tasks``."""
        asked, expand = wanted(request.query_params)
        found, more = await self.ask(tasks.page, asked)
        origin = origin_of(request.scope)
        return JSON(
            {
                "object": "list",
                "data": [task_body(task, origin, expand) for task in found],
                "next_cursor": cursor(found[-1], newest_first=asked.newest_first) if more else None,
                "has_more": more,
            }
        )

    async def cancel(self, request: Request) -> Response:
        """``POST /v1/tasks/{id}/cancel``."""
        exchange = exchange_of(request.scope)
        reason = None
        if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
            raw = await read_body(request, optional=True)
            body = parse_json(raw) if raw else {}
            exchange.fingerprint = fingerprint(body) if raw else ""
            check = Checker(body)
            reason = check.text("reason", longest=MAX_REASON)
            check.finish()
        task, changed = await self.ask(tasks.cancel, request.path_params["task_id"], reason)
        if changed:
            exchange.effect = True
            self.crew.drop(task.id)
        return JSON(task_body(task, origin_of(request.scope)))


def _refusal(trouble: StateTrouble) -> Refusal:
    message = f"{trouble.message} {trouble.hint} Chat goes on meanwhile."
    return Refusal("internal_error", message, retryable=trouble.passing)


def _open_task(
    db: sqlite3.Connection,
    asked: MusicRequest,
    capability: str,
    key: str | None,
    print_: str,
    fault: dict[str, Any] | None,
) -> tuple[dict[str, Any], bool]:
    """Create a task, take its price and remember its answer, all or nothing; or return what the key has."""
    with transaction(db):
        if (known := answers.recall(db, key, print_)) is not None:
            task = tasks.get(db, known["task_id"])
            return known | {"metadata": task.metadata, "input": task.input}, False
        new = NewTask(
            id=new_id("task_"),
            capability=capability,
            model=asked.asked,
            resolved_model=COMPOSER,
            title=asked.title,
            metadata=asked.metadata,
            input=asked.wire,
            spec=asked.spec,
            cost=asked.model.credits * UNIT,
            characters=asked.characters,
            warnings=asked.warnings,
            reference=_reference(db, asked),
            fault=None if fault is None else pack(fault),
        )
        body = task_body(tasks.create(db, new), "")
        # What was sent is kept with the task, once; the rest is as it was at first, whatever the task is by now.
        answers.remember(db, key, print_, body | {"metadata": None, "input": None})
    return body, True


def _reference(db: sqlite3.Connection, asked: MusicRequest) -> str | None:
    """Return the id of the artifact that a request refers to, if it is there and is audio."""
    if asked.artifact_id is not None:
        artifact, where = artifacts.by_id(db, asked.artifact_id), "/reference_audio/artifact_id"
    elif asked.token is not None:
        artifact, where = artifacts.by_token(db, asked.token), "/reference_audio/url"
    else:
        return None
    problem = None
    if artifact is None:
        problem = "names nothing that this sandbox has; upload the file first (POST /v1/uploads)"
    elif artifact.expired is not None:
        problem = "names a file that has expired; upload it again"
    elif artifact.media_type.partition("/")[0] not in ("audio", "video", "application"):
        problem = f"names a file of type {artifact.media_type}, which is not audio"
    if problem is not None:
        raise Refusal(
            "not_found" if artifact is None else "invalid_request",
            f"{where} {problem}.",
            param=where,
            details={"errors": [{"field": where, "message": problem}]},
        )
    return artifact.id if artifact is not None else None
