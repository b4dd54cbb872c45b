"""How a prompt builder asks: a few rows at once, each under its own key, and nothing that was paid for is lost."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from beatra_nb.core.conversation import end_unknown
from beatra_nb.core.errors import (
    AuthenticationError,
    ConfigurationError,
    InsufficientBalance,
    InvalidInput,
    PermissionDenied,
)
from beatra_nb.core.prompt import Prompt
from beatra_nb.core.request import ChatRequest
from beatra_nb.interact import prompt_page
from beatra_nb.interact.panel import Panel
from beatra_nb.interact.prompt_fields import sendable
from beatra_nb.interact.prompt_price import Prices
from beatra_nb.interact.prompt_runs import Answer, Version, same, words_of

AT_ONCE = 4
# What the next row would meet as well.
_HOPELESS = (AuthenticationError, PermissionDenied, InsufficientBalance, ConfigurationError)
_UNSETTLED = 10_000  # keys that are remembered


@dataclass(slots=True, eq=False)
class Row:
    """A row of the table: its values, and what came of it last."""

    id: int
    values: dict[str, Any]
    answer: Answer | None = None
    asking: bool = False


@dataclass(slots=True, eq=False)
class Batch:
    """Rows that are asked for together, with the values that they had when it began."""

    prompt: Prompt
    rows: list[tuple[Row, dict[str, Any]]]
    found: dict[int, Answer] = field(default_factory=dict)  # by the row's id
    version: Version | None = None
    hopeless: Exception | None = None  # why there is no point in going on
    begun: bool = False
    ended: bool = False


class Asking(Panel):
    """The part of a prompt builder that asks, and that keeps what comes."""

    _prompt: Prompt
    _rows: list[Row]

    def __init__(self, tree: dict[str, Any], **more: Any) -> None:  # noqa: ANN401
        super().__init__(tree, **more)
        self._rows = []
        self._versions: list[Version] = []
        self._prices = Prices()
        self._count = 0
        self._running = 0  # runs that are going on
        self._gate: asyncio.Semaphore | None = None
        # Calls that may have been made although nothing came of them here, by their body: asked for again, they keep
        # their key, so that the service answers what it has finished and charges once. Equal rows have equal bodies,
        # and each call a key of its own.
        self._unsettled: dict[bytes, list[str]] = {}
        self._places: dict[int, int] = {}  # where each row was when it was looked for last
        self._doc.set("sandbox", value=self._base.mode == "sandbox")

    def _whole(self) -> Prompt:
        """Return the prompt, if every field can be used."""
        raise NotImplementedError

    def _refresh(self) -> None:
        """Say what follows from the prompt and the rows."""
        raise NotImplementedError

    # ── what the page asks ──

    async def ask_plan(self) -> dict[str, Any]:
        """Say what asking for all rows would take, before it is done."""
        with self._lock:
            prompt = self._whole()
            rows = [(dict(row.values), self._settled(prompt, row)) for row in self._rows]
        # Thousands of rows take seconds, in which neither the kernel nor other panels shall wait.
        return await asyncio.to_thread(self._plan, prompt, rows)

    def _plan(self, prompt: Prompt, rows: list[tuple[dict[str, Any], bool]]) -> dict[str, Any]:
        fit = [(values, settled) for values, settled in rows if sendable(prompt, values)]
        if not fit:
            prompt.request(rows[0][0])  # which says why
        left = sum(not settled for _, settled in fit)
        expected = self._prices.expected(self._base, prompt, (prompt.messages(values) for values, _ in fit))
        return {"calls": len(fit), "left": left, "unfit": len(rows) - len(fit), **expected}

    def ask_run(self, rows: list[int] | None = None, left: bool = False) -> None:
        """Ask for rows by their ids, for all of them, or for those ``left`` without an answer to this prompt."""
        prompt = self._whole()
        with self._lock:
            chosen = self._rows if rows is None else [self._rows[self._place_of(each)] for each in rows]
            if left:
                chosen = [row for row in chosen if not self._settled(prompt, row)]
            self._start(prompt, chosen)

    def ask_stop(self) -> bool:
        """Stop asking; return whether anything was stopped."""
        return self._stop()

    # ── asking ──

    def _start(self, prompt: Prompt, rows: Sequence[Row]) -> tuple[Batch, concurrent.futures.Future[None]]:
        """Take the rows as they are at this moment, and begin to ask for them."""
        with self._lock:
            if rows and not any(sendable(prompt, row.values) for row in rows):
                prompt.request(rows[0].values)  # nothing can be sent: this says why
            once = {row.id: row for row in rows if not row.asking}
            batch = Batch(prompt, [(row, dict(row.values)) for row in once.values()])
            batch.version = self._version_of(prompt)
            places = {row.id: at for at, row in enumerate(self._rows)}
            for row, _ in batch.rows:
                row.asking = True
                self._tell_state(row, places.get(row.id))
            self._tell_answer()
            run: dict[str, Any] = (
                dict(self._doc["run"]) if self._running else {"done": 0, "of": 0, "failed": 0}
            )
            self._doc.set("run", value={**run, "on": True, "of": run["of"] + len(batch.rows), "note": ""})
            self._running += 1
            future = self._begin(self._ask_rows(batch))
        # What is stopped before it has begun never comes to its own end.
        future.add_done_callback(lambda _: None if batch.begun else self._end(batch))
        return batch, future

    async def _wait_for_rows(self, prompt: Prompt, rows: Sequence[Row]) -> list[Answer]:
        """Ask for rows as any other work of the panel, which Stop reaches; wait, and return what came of each."""
        found: dict[int, Answer] = {}
        left = list(rows)
        while left:
            with self._lock:
                elsewhere = [row for row in left if row.asking]
                batch, future = self._start(prompt, left)
            try:
                await asyncio.wrap_future(future)
            finally:
                while not batch.ended:  # a future that is cancelled is so before its work has ended
                    await asyncio.sleep(0.01)
            found |= batch.found
            if elsewhere:  # a hand is asking for them already: their answer may be the one that is wanted
                await asyncio.wrap_future(self._begin(_until_asked(elsewhere)))
            with self._lock:
                done = [row for row in elsewhere if self._settled(prompt, row)]
                found |= {row.id: row.answer for row in done if row.answer is not None}
                left = [row for row in elsewhere if row not in done]
        return [found[row.id] for row in rows]

    async def _ask_rows(self, batch: Batch) -> None:
        """Ask for rows, and keep in the batch what came of each."""
        batch.begun = True
        if self._gate is None:
            self._gate = asyncio.Semaphore(AT_ONCE)
        try:
            await asyncio.gather(*(self._one(batch, row, values) for row, values in batch.rows))
        finally:
            self._end(batch)

    async def _one(self, batch: Batch, row: Row, values: dict[str, Any]) -> None:
        prompt, version = batch.prompt, batch.version
        assert self._gate is not None  # noqa: S101 - made by the caller
        assert version is not None  # noqa: S101 - found before anything is begun
        async with self._gate:
            answer = batch.found[row.id] = Answer(values, version.number, row_id=row.id)
            if batch.hopeless is not None:  # told to who waits for it; beside the row nothing has come
                why = f"This row was not asked, after another one failed: {words_of(batch.hopeless)}"
                answer.error = ConfigurationError(why, hint=getattr(batch.hopeless, "hint", None))
                return
            began = time.monotonic()
            try:
                request = prompt.request(values)
                key = self._key_for(request)
                try:
                    messages, keywords = prompt.messages(values), prompt.keywords()
                    answer.reply = await self._twin.chat(messages, **keywords, idempotency_key=key)
                except BaseException as error:
                    if end_unknown(error):
                        self._remember_key(request.json, key)
                    raise
            except Exception as error:  # of a defect as well: the other rows go on
                answer.error = error.with_traceback(None)
                answer.reply = getattr(error, "reply", None)
                if isinstance(error, _HOPELESS):
                    batch.hopeless = error
            answer.seconds = time.monotonic() - began
            self._take(version, row, answer)

    def _key_for(self, request: ChatRequest) -> str:
        """Return the key of an equal call whose end is unknown, to be used by one call alone; else a new one."""
        keys = self._unsettled.get(request.json)
        if keys is None:
            return request.key
        key = keys.pop()
        if not keys:
            del self._unsettled[request.json]
        return key

    def _remember_key(self, body: bytes, key: str) -> None:
        self._unsettled.setdefault(body, []).append(key)
        if len(self._unsettled) > _UNSETTLED:
            del self._unsettled[next(iter(self._unsettled))]

    def _take(self, version: Version, row: Row, answer: Answer) -> None:
        """Keep what came of a row."""
        with self._lock:
            version.add(answer)
            row.answer, row.asking = answer, False
            if answer.reply is not None and answer.reply.sandbox:
                self._doc.set("sandbox", value=True)
            run = self._doc["run"]
            failed = run["failed"] + (not answer.ok)
            self._doc.set("run", "done", value=run["done"] + 1)
            self._doc.set("run", "failed", value=failed)
            at = self._find(row.id)
            if at is None:
                self._tell_version(version)
            else:
                self._answered(at)

    def _end(self, batch: Batch) -> None:
        with self._lock:
            if batch.ended:
                return
            batch.ended = True
            left = [row for row, _ in batch.rows if row.asking]
            places = {row.id: at for at, row in enumerate(self._rows)}
            for row in left:
                row.asking = False
                self._tell_state(row, places.get(row.id))
            self._running -= 1
            self._prices.forget()
            if left:
                why = f"after this: {words_of(batch.hopeless)}" if batch.hopeless else "by hand"
                rest = f"{len(left):,} {'row was' if len(left) == 1 else 'rows were'} left."
                self._doc.set("run", "note", value=f"Stopped {why.rstrip('.')}. {rest}")
            self._doc.set("run", "on", value=self._running > 0)
            self._refresh()

    # ── versions ──

    def _version_of(self, prompt: Prompt) -> Version:
        """Return the version of a prompt, made now if it was never run."""
        for version in self._versions:
            if same(version.prompt, prompt):
                break
        else:
            version = Version(len(self._versions) + 1, prompt)
            self._versions.append(version)
            self._doc.push("versions", value=prompt_page.summary(version))
        if same(self._prompt, prompt):
            self._doc.set("version", value=version.number)
        return version

    def _version_at(self, number: int) -> Version:
        if type(number) is not int or not 1 <= number <= len(self._versions):
            raise InvalidInput(
                f"There is no version {number!r:.40}.",
                hint=f"There are {len(self._versions)}, counted from 1.",
            )
        return self._versions[number - 1]

    def _settled(self, prompt: Prompt, row: Row) -> bool:
        """Whether a row has an answer to this very prompt, and to the values it has now."""
        answer = row.answer
        return (
            answer is not None
            and answer.ok
            and answer.fits(row.values)
            and same(self._versions[answer.version - 1].prompt, prompt)
        )

    # ── telling the page ──

    def _told(self, row: Row) -> dict[str, Any]:
        return {"id": row.id, "v": prompt_page.row_texts(row.values), "a": self._brief(row)}

    def _brief(self, row: Row) -> dict[str, Any] | None:
        told = prompt_page.brief(row.answer, old=not row.answer.fits(row.values)) if row.answer else None
        return {**(told or {}), "state": "asking"} if row.asking else told

    def _tell_state(self, row: Row, at: int | None) -> None:
        if at is not None:
            self._doc.set("rows", at, "a", value=self._brief(row))

    def _answered(self, at: int) -> None:
        """Say what has become of a row's answer."""
        row = self._rows[at]
        self._doc.set("rows", at, "a", value=self._brief(row))
        if row.answer is not None:
            self._tell_version(self._versions[row.answer.version - 1])
        if self._doc["selected"] == row.id:
            self._tell_answer()
        self._settle()

    def _tell_version(self, version: Version) -> None:
        self._doc.set("versions", version.number - 1, value=prompt_page.summary(version))

    def _tell_answer(self) -> None:
        """Say what came of the row that is looked at."""
        row = self._rows[self._place_of(self._doc["selected"])]
        if row.answer is None:
            told: dict[str, Any] | None = {"state": "asking"} if row.asking else None
        else:
            told = {"row": row.id, **prompt_page.detail(row.answer, old=not row.answer.fits(row.values))}
            told["state"] = "asking" if row.asking else "done" if row.answer.ok else "error"
        self._doc.set("answer", value=told)

    def _place_of(self, id: int) -> int:
        at = self._find(id)
        if at is None:
            raise InvalidInput("This row is not there any more.")
        return at

    def _find(self, id: int) -> int | None:
        """Return where a row is. Rows rarely move, and each of thousands of answers asks for its row's place."""
        at = self._places.get(id)
        if at is None or at >= len(self._rows) or self._rows[at].id != id:
            self._places = {row.id: at for at, row in enumerate(self._rows)}
            at = self._places.get(id)
        return at

    def _next_id(self) -> int:
        self._count += 1
        return self._count


async def _until_asked(rows: Sequence[Row]) -> None:
    """Wait until nobody is asking for some rows."""
    while any(row.asking for row in rows):
        await asyncio.sleep(0.01)
