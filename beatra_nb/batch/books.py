"""The books of a batch: what every batch does, wherever its calls are made.

    jobs ── intake ── turns (shelf) ── next_row ── [ somebody asks ] ── done ── delivery (checkpoint) ── on_outcome

A row is taken when there is a place for it. It is sent under a key that follows from the run and the row (``keys``),
so that a run that was killed goes on where it was, and no row is paid for twice. What is finished is on the disk
before it is told.

Who asks is a subclass: the engine in this process, or the workers of a cluster. It says how rows are fed to whoever
asks (``feed``) and how those under way come home when the batch is stopped (``come_home``).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from beatra_nb.batch import keys
from beatra_nb.batch.delivery import Delivery, outcome_of
from beatra_nb.batch.intake import intake_of
from beatra_nb.batch.outcome import OF_THE_ACCOUNT, Outcome
from beatra_nb.batch.shelf import Shelf
from beatra_nb.batch.stop import Stop
from beatra_nb.batch.tally import Tally
from beatra_nb.batch.turns import Turns
from beatra_nb.core import policy
from beatra_nb.core.errors import BeatraError
from beatra_nb.core.reply import Reply
from beatra_nb.core.request import ChatRequest, parse_data
from beatra_nb.store.checkpoint import UNASKED
from beatra_nb.store.journal import Journal

if TYPE_CHECKING:
    from beatra_nb.batch.turns import Job, Turn
    from beatra_nb.core.flow import Context
    from beatra_nb.store.checkpoint import Checkpoint, Kept

GRACE = 0.8  # seconds that calls under way have to come home after the first word to stop
HOPELESS = 32  # rows in a row that failed where asking again might help: nobody is there, so the batch stops
AHEAD = 64  # rows that are read before there is a place for them, where a run goes on
MOMENT = 0.005  # seconds of rows that are made or read back, before others have a turn

W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is sent."""

    position: int
    request: ChatRequest
    body: bytes
    generation: int
    number: int
    doubtful: bool


class Books(ABC, Generic[W]):
    """One batch under way.

    Parameters
    ----------
    context, on_outcome, checkpoint, dedupe, stop, room, run_id, anew
        As ``engine.run`` takes them.
    active : int
        How many calls may be under way at once.

    Attributes
    ----------
    context : Context
        What flows look at: its journal gathers what they leave, until it is written.
    under_way : dict
        The tasks that ask, and with what.
    stop : Stop
        Whether the batch was told to stop, and why.
    room : callable or None
        Whether a row may still be paid for, and whether it is alone.
    run_id : str
        The run's name.
    all_read : bool
        Whether every row was taken.
    left_out : bool
        Whether one that was taken has no outcome; set by who leaves it out.
    tally : Tally
        What became of the batch.
    """

    def __init__(
        self,
        context: Context,
        on_outcome: Callable[[Outcome], None],
        *,
        active: int,
        checkpoint: Checkpoint | None = None,
        dedupe: bool = False,
        stop: Stop | None = None,
        room: Callable[[ChatRequest, bool], bool] | None = None,
        run_id: str | None = None,
        anew: bool = False,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.stop = stop or Stop()
        self.room = room
        self._anew = anew
        self.run_id = checkpoint.run_id if checkpoint is not None else run_id or keys.new_run()
        self.tally = Tally(self.run_id)
        self.under_way: dict[asyncio.Task[None], W] = {}
        self.all_read = self.left_out = False
        self._on_outcome = on_outcome
        journal = context.journal
        batched = journal if isinstance(journal, Journal) else None
        self.delivery = Delivery(self._report, checkpoint, batched, self.fail)
        self.context = replace(
            context,
            journal=self.delivery.queue if batched is not None else journal,
            bear_with=frozenset({"rate_limited"}),
        )
        self._resumed = checkpoint is not None and checkpoint.resumed
        self._shelf = Shelf(
            self.delivery, kept=checkpoint is not None, empty=not self._resumed, moving=run_id is None
        )
        # A digest → what it was answered, or who waits for the answer.
        self._same: dict[bytes, Outcome | list[int]] | None = {} if dedupe else None
        self._news = asyncio.Event()
        self._fewer = asyncio.Event()
        self._broken: BaseException | None = None
        self._breath = time.monotonic()
        self._failures = 0  # in a row, of those where asking again might help
        self._hopeless = max(HOPELESS, 2 * active)

    # What a subclass says

    @abstractmethod
    async def feed(self) -> None:
        """Have rows asked about, each one that ``next_row`` gives, until it gives none."""

    @abstractmethod
    async def come_home(self) -> None:
        """Give what is under way a moment when the batch was told to stop; ``at_home`` waits for it."""

    # What it is given

    async def run(self, jobs: Iterable[Job] | AsyncIterable[Job], blocking: bool | None = None) -> Tally:
        """Run the batch to its end."""
        began = time.monotonic()
        # Rows that were asked about before mostly need no place: to hand over each by itself would take far longer.
        self._intake = intake_of(jobs, blocking=blocking, ahead=AHEAD if self._resumed else 1)
        self.turns = Turns(self._intake, self._shelf, self._same)
        leave = self.stop.listen(self._told_to_stop)
        feeder = self.loop.create_task(self.feed())
        feeder.add_done_callback(lambda _: self._news.set())
        try:
            await self._until(lambda: feeder.done() and not self.under_way)
        finally:
            try:
                await self.wind_up(feeder)
            finally:
                leave()
        if self._broken is not None:
            raise self._broken
        if not feeder.cancelled() and (problem := feeder.exception()) is not None:
            raise problem
        if self.left_out or not self.all_read:
            self.tally.stopped = self.stop.reason or "interrupted"
        self.tally.elapsed = time.monotonic() - began
        return self.tally

    async def next_row(self) -> Row | None:
        """Return the next row to be asked about; what is known of others is reported on the way. None at the end."""
        while not self.stop.level:
            turn = self.turns.at_once() or await self.turns.next()
            if turn is None:
                self.all_read = True
                break
            row = self.prepared(turn)
            if time.monotonic() - self._breath > MOMENT:  # nobody else was heard meanwhile
                await asyncio.sleep(0)
                self._breath = time.monotonic()
            if not self.delivery.has_room:
                await self.delivery.room()
            if row is not None:
                return row
        return None

    def prepared(self, turn: Turn) -> Row | None:
        """Return a row as it is to be sent; None for one that needs no sending, or not now."""
        job, body, kept = turn
        request, position, generation, number = job.request, job.position, job.generation, job.number
        # Nothing is kept of those that were under way when an earlier run was killed.
        doubtful = job.doubtful or (self._resumed and kept is None)
        if isinstance(request, BeatraError):
            self.delivery.add(b"", Outcome.of_error(position, generation, request))
            return None
        if kept is not None:
            outcome = _read_back(kept, request)
            # A row that is asked anew on purpose is asked, whatever was its last word.
            asked_for = generation > kept.generation or (self._anew and kept.error is not None)
            if outcome is not None and outcome.finished and not asked_for:
                if self._same is not None:
                    self._same.setdefault(body, outcome)  # who waits for another row's answer goes on waiting
                self._report(outcome)
                return None
            generation = max(generation, kept.generation if outcome is None else outcome.next_generation)
            number = kept.number if kept.number != UNASKED else number
            doubtful = doubtful or (outcome is not None and outcome.doubtful)
        if self._same is not None:
            known = self._same.get(body)
            if isinstance(known, list):
                known.append(position)
                return None
            if known is not None:
                self.delivery.add(body, known.for_follower(position))
                return None
            self._same[body] = []
        if number is None:
            number = self._shelf.number(position, body)
        key = keys.row_key(self.run_id, number, body, generation)
        return Row(position, keys.keyed(request, key), body, generation, number, doubtful)

    def begin(self, asking: Coroutine[Any, Any, None], what: W) -> None:
        """Have something under way."""
        task = self.loop.create_task(asking)
        self.under_way[task] = what
        task.add_done_callback(self.over)

    def over(self, task: asyncio.Task[None]) -> None:
        """Hear that it is no longer."""
        del self.under_way[task]
        self._fewer.set()
        if not task.cancelled() and (problem := task.exception()) is not None:
            self.fail(problem)
        if not self.under_way:
            self._news.set()

    async def one_less(self) -> None:
        """Wait until something is over."""
        self._fewer.clear()
        await self._fewer.wait()

    def done(self, row: Row, outcome: Outcome, retry_after: float | None = None) -> None:
        """Take what became of a row, for itself and for those that go by it."""
        self._heed(outcome, retry_after)
        if row.doubtful:
            outcome = outcome.still_in_doubt()
        self.delivery.add(row.body, outcome, row.number)
        if self._same is not None:
            followers = self._same.get(row.body)
            self._same[row.body] = outcome
            for position in followers if isinstance(followers, list) else ():
                self.delivery.add(row.body, outcome.for_follower(position))

    def out_of_budget(self) -> None:
        """Take no more rows; said by several, it still means that those on the wire come home."""
        if not self.stop.level:
            self.stop.stop("budget")

    def fail(self, problem: BaseException) -> None:
        """End the batch for a failure that is no row's."""
        self._broken = self._broken or problem
        self._news.set()

    @property
    def broken(self) -> bool:
        """Whether it has failed."""
        return self._broken is not None

    # The end

    async def wind_up(self, feeder: asyncio.Task[None]) -> None:
        """End what is under way, and see that what is finished is safe."""
        feeder.cancel()
        self._intake.close()
        try:
            if self.under_way and self.stop.level == 1 and self._broken is None:
                await self.come_home()
        finally:
            under_way = [*self.under_way]
            for task in under_way:
                self.drop(task)
            await asyncio.gather(feeder, *under_way, return_exceptions=True)
            await self._intake.aclose()
            await self.delivery.close()

    async def at_home(self, seconds: float | None) -> None:
        """Wait until nothing is under way, but not for longer than that, nor after a second word."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.under_way and self.stop.level == 1 and self._broken is None:
                    self._news.clear()
                    await self._news.wait()

    def drop(self, task: asyncio.Task[None]) -> None:
        """Give up something that is under way."""
        self.left_out = True
        task.cancel()

    def _heed(self, outcome: Outcome, retry_after: float | None) -> None:
        """Stop the batch for what no other row would fare better with."""
        trouble = outcome.error
        reason = None
        if trouble is None:
            self._failures = 0
        elif trouble.code in OF_THE_ACCOUNT:
            reason = "account"
        elif not trouble.final:
            self._failures += 1
            if retry_after is not None and retry_after > policy.LONGEST_RETRY_AFTER:
                reason = "asked to wait"
            elif self._failures >= self._hopeless:
                reason = "unreachable"
        if reason is not None and not self.stop.level:
            self.tally.trouble = trouble
            self.stop.stop(reason)

    def _report(self, outcome: Outcome) -> None:
        self.tally.add(outcome)
        self._on_outcome(outcome)

    async def _until(self, over: Callable[[], bool]) -> None:
        while not over() and not self.stop.level and self._broken is None:
            self._news.clear()
            await self._news.wait()

    def _told_to_stop(self) -> None:
        """Hear it; in whatever thread it was said."""
        with contextlib.suppress(RuntimeError):  # the loop has closed in the same moment
            self.loop.call_soon_threadsafe(self._news.set)


def _read_back(kept: Kept, request: ChatRequest) -> Outcome | None:
    """Return a row that was kept, with its answer parsed anew; None where it does not fit the schema any more."""
    if request.shape is None or not kept.text or kept.error is not None:
        return outcome_of(kept)
    try:
        return outcome_of(kept, parse_data(Reply(kept.text), request.shape))
    except BeatraError:
        return None
