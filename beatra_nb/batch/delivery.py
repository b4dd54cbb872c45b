"""From a finished row to its report: on the disk first, then told. Several rows share one transaction.

Writing happens in a thread, so that the calls under way are not held up by the disk; a group is all that has
finished since the last one. The journal's rows travel the same way.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from beatra_nb.batch.outcome import Outcome, Trouble, money
from beatra_nb.store.checkpoint import CUT, DEDUPED, SANDBOX, UNASKED, Kept

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from beatra_nb.store.checkpoint import Checkpoint, Move
    from beatra_nb.store.entry import Entry
    from beatra_nb.store.journal import Journal

    A = TypeVar("A")
    T = TypeVar("T")

GROUP = 0.02  # seconds in which finished rows gather for one transaction
JOURNAL_GROUP = 0.25  # the journal is in no hurry
MOST_WAITING = 2000  # finished rows that wait for the disk, before no more are begun
_LARGEST = 2**62  # what a database and a service's arithmetic both hold


class JournalQueue:
    """Stands in for the journal: takes rows at once, and has them written in groups."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def record(self, entry: Entry) -> None:
        """Take a row."""
        self.entries.append(entry)


class Delivery:
    """Takes finished rows; reports them in the order in which they were finished, each once it is durable.

    Attributes
    ----------
    problem : Exception or None
        Why the checkpoint could not be written: rows from then on were not reported.
    """

    def __init__(
        self,
        report: Callable[[Outcome], None],
        checkpoint: Checkpoint | None,
        journal: Journal | None,
        on_problem: Callable[[Exception], None],
    ) -> None:
        self._report = report
        self._checkpoint = checkpoint
        self._journal = journal
        self.queue = JournalQueue() if journal is not None else None
        self.problem: Exception | None = None
        self._rows: list[tuple[bytes, Outcome, int]] = []
        self._moves: list[Move] = []
        self._loop = asyncio.get_running_loop()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="beatra-nb checkpoint")
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._on_problem = on_problem
        self._closing = False

    def add(self, body: bytes, outcome: Outcome, number: int = UNASKED) -> None:
        """Take a finished row; one that was sent has a number among those that ask the same."""
        if self._checkpoint is None:
            self._report(outcome)
        else:
            self._rows.append((body, outcome, number))
            if len(self._rows) >= MOST_WAITING:
                self._room.clear()
        self._schedule(GROUP if self._rows else JOURNAL_GROUP)

    @property
    def has_room(self) -> bool:
        """Whether the disk has caught up."""
        return self._room.is_set()

    async def room(self) -> None:
        """Wait until it has."""
        if not self._room.is_set():
            await self._room.wait()

    async def read(self, what: Callable[[Checkpoint, A], T], about: A) -> T:
        """Read what earlier runs have finished, in the thread that has the file."""
        assert self._checkpoint is not None  # noqa: S101 - asked for by who knows that there is one
        return await self._loop.run_in_executor(self._disk, what, self._checkpoint, about)

    def move(self, move: Move) -> None:
        """Have a row moved, before any row is written that comes after this."""
        self._moves.append(move)
        self._schedule(GROUP)

    async def close(self) -> None:
        """Write and report what waits."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        try:
            if self.problem is None and self._anything():
                await self._write()
        finally:
            self._disk.shutdown(wait=False)

    def _anything(self) -> bool:
        return bool(self._rows or self._moves) or (self.queue is not None and bool(self.queue.entries))

    def _schedule(self, seconds: float) -> None:
        free = self._timer is None and self._writing is None and not self._closing
        if free and self.problem is None and self._anything():
            self._timer = self._loop.call_later(seconds, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._writing = self._loop.create_task(self._write_on())

    async def _write_on(self) -> None:
        try:
            await self._write()
        finally:
            self._writing = None
            self._schedule(GROUP if self._rows else JOURNAL_GROUP)

    async def _write(self) -> None:
        rows, self._rows = self._rows, []
        moves, self._moves = self._moves, []
        entries: list[Entry] = []
        if self.queue is not None:
            entries, self.queue.entries = self.queue.entries, []
        try:
            await self._loop.run_in_executor(self._disk, self._put, rows, moves, entries)
        except Exception as problem:
            self._give_up(problem)
            return
        self._room.set()
        try:
            for _, outcome, _ in rows:
                self._report(outcome)
        except Exception as problem:
            self._give_up(problem)

    def _give_up(self, problem: Exception) -> None:
        self.problem = problem
        self._room.set()
        self._on_problem(problem)

    def _put(self, rows: list[tuple[bytes, Outcome, int]], moves: list[Move], entries: list[Entry]) -> None:
        if (rows or moves) and self._checkpoint is not None:
            self._checkpoint.write([kept_of(*row) for row in rows], moves)
        if entries and self._journal is not None:
            self._journal.record_many(entries)


def kept_of(body: bytes, outcome: Outcome, number: int = UNASKED) -> Kept:
    """Return a row as the checkpoint keeps it."""
    return Kept(
        outcome.position,
        body,
        outcome.generation,
        outcome.finished,
        outcome.text,
        outcome.request_id,
        outcome.model,
        None if outcome.credits is None else str(outcome.credits),
        min(outcome.prompt_tokens, _LARGEST),
        min(outcome.completion_tokens, _LARGEST),
        outcome.attempts,
        outcome.elapsed,
        None if outcome.error is None else outcome.error.to_json(),
        (DEDUPED if outcome.deduped else 0)
        | (SANDBOX if outcome.sandbox else 0)
        | (CUT if outcome.cut else 0),
        number,
    )


def outcome_of(kept: Kept, data: object = None) -> Outcome:
    """Return a row that was kept."""
    # Taken apart at once: a hundred thousand of them are read back, and each look at a name costs as much as a value.
    (position, _, generation, _, text, request_id, model, credits, prompt_tokens, completion_tokens, attempts,
     elapsed, error, flags, _) = kept  # fmt: skip
    return Outcome(
        position,
        text,
        data,
        request_id,
        model,
        money(credits),
        prompt_tokens,
        completion_tokens,
        attempts,
        elapsed,
        None if error is None else Trouble.from_json(error),
        bool(flags & DEDUPED),
        True,  # stored
        generation,
        bool(flags & SANDBOX),
        None,  # recorded: it was not asked now
        bool(flags & CUT),
    )
