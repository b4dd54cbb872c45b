"""The engine of a batch: rows in, outcomes out; as many calls under way as is good for everybody.

    jobs ── intake ── a place (gate, pace) ── a flow (core) ── delivery (checkpoint) ── on_outcome

A row is taken when there is a place for it. It is sent under a key that follows from the run and the row (``keys``),
so that a run that was killed goes on where it was, and no row is paid for twice. What is finished is on the disk
before it is told.

Nothing here draws, and nothing here knows what the rows mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from beatra_nb.batch import keys
from beatra_nb.batch.delivery import Delivery, Shelf, outcome_of
from beatra_nb.batch.gate import Gate, PacedRun, RowClock
from beatra_nb.batch.intake import intake_of
from beatra_nb.batch.outcome import OF_THE_ACCOUNT, Outcome
from beatra_nb.batch.stop import Stop
from beatra_nb.batch.tally import Tally
from beatra_nb.core import policy, resources
from beatra_nb.core.errors import BeatraError, BudgetExceeded
from beatra_nb.core.reply import Reply
from beatra_nb.core.request import ChatRequest, parse_data
from beatra_nb.store.journal import Journal

if TYPE_CHECKING:
    from beatra_nb.batch.pace import Pace
    from beatra_nb.core.flow import Context
    from beatra_nb.core.transport import AsyncTransport
    from beatra_nb.store.checkpoint import Checkpoint, Kept

GRACE = 0.8  # seconds that calls under way have to come home after the first word to stop
HOPELESS = 32  # rows in a row that failed where asking again might help: nobody is there, so the batch stops
BREATH = 128  # rows that need no call, before others have a turn
MOMENT = 0.02  # seconds of rows that are made, before others have a turn
NOWHERE = 2**63  # beyond every position


@dataclass(frozen=True, slots=True)
class Job:
    """A row to be asked about.

    Attributes
    ----------
    position : int
        Its place in the data; positions only go up.
    request : ChatRequest or BeatraError
        What is asked, or why it cannot be: then the row has failed, and nothing is sent.
    generation : int
        Which question about this row it is, where it was asked before (``Outcome.next_generation``).
    """

    position: int
    request: ChatRequest | BeatraError
    generation: int = 0


async def run(
    jobs: Iterable[Job] | AsyncIterable[Job],
    *,
    context: Context,
    transport: AsyncTransport,
    pace: Pace,
    on_outcome: Callable[[Outcome], None],
    checkpoint: Checkpoint | None = None,
    dedupe: bool = False,
    stop: Stop | None = None,
    room: Callable[[ChatRequest], bool] | None = None,
    blocking: bool | None = None,
    run_id: str | None = None,
) -> Tally:
    """Ask about every row, and report each one.

    Parameters
    ----------
    jobs : iterable or async iterable of Job
        The rows, read one at a time and only when there is a place.
    context : Context
        What flows look at; its time-outs hold for each row.
    transport : AsyncTransport
        Who carries the calls: a ``ManyTransport`` for more than a few dozen at once.
    pace : Pace
        How many at once, and how many a second.
    on_outcome : callable
        Is told of each finished row, in the loop's thread, when the row is durable.
    checkpoint : Checkpoint, optional
        Where finished rows are kept, and found again.
    dedupe : bool
        Ask identical rows once.
    stop : Stop, optional
        How to end it early.
    room : callable, optional
        Whether a row may still be paid for. Where it may not while others are under way, they are waited for: they
        may cost less than was set aside. Where none is, the batch stops.
    blocking : bool, optional
        Whether reading a row may take a while; by default, whether ``jobs`` is no list or tuple.
    run_id : str, optional
        The run's name, where it was begun before: its rows are then at their places, and are looked for nowhere else.

    Returns
    -------
    Tally
        What became of it.

    Raises
    ------
    CheckpointError
        If finished rows cannot be kept; what was reported until then is safe.
    """
    batch = _Batch(context, transport, pace, on_outcome, checkpoint, dedupe, stop or Stop(), room, run_id)
    return await batch.run(jobs, blocking)


class _Batch:
    """One batch under way."""

    def __init__(
        self,
        context: Context,
        transport: AsyncTransport,
        pace: Pace,
        on_outcome: Callable[[Outcome], None],
        checkpoint: Checkpoint | None,
        dedupe: bool,
        stop: Stop,
        room: Callable[[ChatRequest], bool] | None,
        run_id: str | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_outcome = on_outcome
        self._checkpoint = checkpoint
        self._stop = stop
        self._room = room
        self._transport = transport
        self._gate = Gate(pace)
        self._run_id = checkpoint.run_id if checkpoint is not None else run_id or keys.new_run()
        self.tally = Tally(self._run_id)
        journal = context.journal
        batched = journal if isinstance(journal, Journal) else None
        self._delivery = Delivery(self._report, checkpoint, batched, self._fail)
        self._context = replace(
            context,
            journal=self._delivery.queue if batched is not None else journal,
            bear_with=frozenset({"rate_limited"}),
        )
        self._shelf = Shelf(
            self._delivery, empty=checkpoint is None or not checkpoint.resumed, moving=run_id is None
        )
        # Rows whose answer may be further down, by where that is; the number keeps jobs from being compared.
        self._waiting: list[tuple[int, int, Job]] = []
        # A digest → what it was answered, or who waits for the answer.
        self._same: dict[bytes, Outcome | list[int]] | None = {} if dedupe else None
        self._rows: dict[asyncio.Task[None], PacedRun[Reply]] = {}
        self._most = 2 * pace.max_active + 8  # those between two attempts included
        self._news = asyncio.Event()
        self._fewer = asyncio.Event()
        self._open = False  # whether the feeder waits for a place, and lanes may take rows
        self._put_back: Job | Exception | None = None  # what a lane took and could not use
        self._broken: BaseException | None = None
        self._all_read = False  # whether every row was taken
        self._left_out = False  # whether one that was taken has no outcome
        self._failures = 0  # in a row, of those where asking again might help
        self._hopeless = max(HOPELESS, 2 * pace.max_active)

    async def run(self, jobs: Iterable[Job] | AsyncIterable[Job], blocking: bool | None) -> Tally:
        began = time.monotonic()
        self._intake = intake_of(jobs, blocking=blocking)
        leave = self._stop.listen(self._told_to_stop)
        feeder = self._loop.create_task(self._feed())
        feeder.add_done_callback(lambda _: self._news.set())
        try:
            await self._until(lambda: feeder.done() and not self._rows)
        finally:
            try:
                await self._wind_up(feeder)
            finally:
                leave()
        if self._broken is not None:
            raise self._broken
        if not feeder.cancelled() and (problem := feeder.exception()) is not None:
            raise problem
        if self._left_out or not self._all_read:
            self.tally.stopped = self._stop.reason or "interrupted"
        self.tally.elapsed = time.monotonic() - began
        return self.tally

    # Rows come

    async def _feed(self) -> None:
        """Take rows as long as there are any, and have each one asked about in a lane of its own."""
        wave = await self._place()
        easy = 0
        breath = self._loop.time()
        while (job := await self._next()) is not None:
            if self._stop.level:
                break
            if not self._shelf.known(job.position):
                await self._shelf.load(job.position)
            row = self._prepare(job)
            if (
                self._loop.time() - breath > MOMENT
            ):  # rows may be slow to make, and nobody else was heard meanwhile
                await asyncio.sleep(0)
                breath = self._loop.time()
            if not self._delivery.has_room:
                await self._delivery.room()
            if row is None:
                easy += 1
                if easy % BREATH == 0:
                    await asyncio.sleep(0)
                continue
            if not await self._affordable(row):
                self._out_of_budget()
                break
            self._begin(row, wave)
            if self._room is not None:
                await asyncio.sleep(0)  # it sets aside what it may cost before there is room for the next one
            while len(self._rows) >= self._most:
                await self._one_less()
            wave = await self._place()
        else:
            self._all_read = True
        self._gate.give_back()

    async def _place(self) -> int:
        """Wait for a place; meanwhile the lanes may take rows themselves."""
        self._open = True
        try:
            return await self._gate.enter()
        finally:
            self._open = False

    async def _next(self) -> Job | None:
        """Return the next row, at its turn: one whose answer may be further down waits until that place is passed."""
        while True:
            job = await self._read()
            if not self._shelf.moving or (job is not None and self._in_place(job)):
                return job
            passed = NOWHERE if job is None else job.position
            if self._waiting and self._waiting[0][0] < passed:
                self._put_back = job
                job = heapq.heappop(self._waiting)[2]
            if job is None or await self._at_its_turn(job, passed):
                return job

    async def _at_its_turn(self, job: Job, passed: int) -> bool:
        """Find the answer of a row; False where it may be another row's, which comes later."""
        if not self._shelf.known(job.position):
            await self._shelf.load(job.position)
        if isinstance(job.request, BeatraError):
            return True
        body = keys.body_digest(job.request)
        if self._shelf.settled(job.position, body) or (self._same is not None and body in self._same):
            return True
        place = self._shelf.elsewhere(body)
        if place is not None and place >= passed:
            heapq.heappush(self._waiting, (place, job.position, job))
            return False
        if place is not None:
            await self._shelf.fetch(job.position, body)
        return True

    def _in_place(self, job: Job) -> bool:
        """Whether nothing has to be read from the file for a row, and it is this row's turn."""
        if not self._shelf.known(job.position):
            return False
        if not self._shelf.moving or isinstance(job.request, BeatraError):
            return not self._waiting
        return not self._waiting and self._shelf.settled(job.position, keys.body_digest(job.request))

    async def _read(self) -> Job | None:
        if self._put_back is not None:
            job, self._put_back = self._put_back, None
            if isinstance(job, Exception):
                raise job
            return job
        return self._intake.take() if self._intake.ready() else await self._intake.next()

    def _next_at_once(self) -> tuple[_Row, int] | None:
        """Return a row and a place for a lane that has just become free; None leaves it to the feeder.

        Otherwise two turns of the loop would pass for each row before its request leaves.
        """
        if not self._open or self._put_back is not None or self._room is not None:
            return None
        if self._transport.tape is not None:
            return None  # rows are asked in their order, so that a replay gives each one the answer it had
        if (
            self._stop.level
            or self._broken is not None
            or not self._delivery.has_room
            or not self._intake.ready()
        ):
            return None
        wave = self._gate.try_enter()
        if wave is None:
            return None
        try:
            job = self._intake.take()
            if job is not None and self._in_place(job):
                row = self._prepare(job)
                if row is not None:
                    return row, wave
            else:
                self._put_back = job
        except Exception as problem:
            self._put_back = problem  # a source that fails, fails the feeder
        self._gate.give_back()
        return None

    def _prepare(self, job: Job) -> _Row | None:
        """Return a row as it is to be sent; None for one that needs no sending, or not now."""
        request = job.request
        if isinstance(request, BeatraError):
            self._delivery.add(b"", Outcome.of_error(job.position, job.generation, request))
            return None
        body = keys.body_digest(request)
        generation, position = job.generation, job.position
        kept = self._shelf.find(position, body)
        if kept is None:
            generation = max(generation, self._shelf.generation(position, body))
        else:
            outcome = _read_back(kept, request)
            # A row that is asked anew on purpose is asked, whatever was its last word.
            if outcome is not None and outcome.finished and generation <= kept.generation:
                if self._same is not None:
                    self._same.setdefault(body, outcome)  # who waits for another row's answer goes on waiting
                self._report(outcome)
                return None
            asked = kept.generation if outcome is None or outcome.finished else outcome.next_generation
            generation = max(generation, asked)
        if self._same is not None:
            known = self._same.get(body)
            if isinstance(known, list):
                known.append(position)
                return None
            if known is not None:
                self._delivery.add(body, known.for_follower(position))
                return None
            self._same[body] = []
        key = keys.row_key(self._run_id, position, body, generation)
        return _Row(position, keys.keyed(request, key), body, generation)

    async def _affordable(self, row: _Row) -> bool:
        while self._room is not None and not self._room(row.request):
            if not self._rows:
                return False
            await self._one_less()
        return True

    def _out_of_budget(self) -> None:
        """Take no more rows; said by several, it still means that those on the wire come home."""
        if not self._stop.level:
            self._stop.stop("budget")

    async def _one_less(self) -> None:
        self._fewer.clear()
        await self._fewer.wait()

    # Rows go

    def _begin(self, row: _Row, wave: int) -> None:
        run = self._run_of(row, wave)
        task = self._loop.create_task(self._lane(row, run))
        self._rows[task] = run
        task.add_done_callback(self._over)

    def _run_of(self, row: _Row, wave: int) -> PacedRun[Reply]:
        clock = RowClock(self._context.now)
        flow = resources.chat(replace(self._context, now=clock), row.request)
        return PacedRun(self._transport, flow, gate=self._gate, clock=clock, wave=wave)

    async def _lane(self, row: _Row, run: PacedRun[Reply]) -> None:
        """Ask about a row, and then about others as long as there is a place for them at once."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is one
        await self._ask(row, run)
        while (more := self._next_at_once()) is not None:
            row, wave = more
            self._rows[task] = run = self._run_of(row, wave)
            await self._ask(row, run)

    async def _ask(self, row: _Row, run: PacedRun[Reply]) -> None:
        clock = run.clock
        began = clock()
        try:
            async for _ in run:
                pass
        except BudgetExceeded:
            self._left_out = True  # it was not sent: it is among the first ones of the next run
            self._out_of_budget()
            return
        except BeatraError as error:
            outcome = Outcome.of_error(row.position, row.generation, error, clock() - began)
            self._look_at(outcome, error)
        else:
            outcome = Outcome.of_reply(row.position, row.generation, run.result)
            self._failures = 0
        finally:
            run.let_go()
        self._delivery.add(row.body, outcome)
        for position in self._settle(row.body, outcome):
            self._delivery.add(row.body, outcome.for_follower(position))

    def _look_at(self, outcome: Outcome, error: BeatraError) -> None:
        """Stop the batch for what no other row would fare better with."""
        trouble = outcome.error
        assert trouble is not None  # noqa: S101 - it is a failure's
        reason = None
        if trouble.code in OF_THE_ACCOUNT:
            reason = "account"
        elif error.retryable:
            self._failures += 1
            if error.retry_after is not None and error.retry_after > policy.LONGEST_RETRY_AFTER:
                reason = "asked to wait"
            elif self._failures >= self._hopeless:
                reason = "unreachable"
        if reason is not None and not self._stop.level:
            self.tally.trouble = trouble
            self._stop.stop(reason)

    def _settle(self, body: bytes, outcome: Outcome) -> list[int]:
        """Keep an answer for identical rows; gives those that wait for it."""
        if self._same is None:
            return []
        waiting = self._same.get(body)
        self._same[body] = outcome
        return waiting if isinstance(waiting, list) else []

    def _over(self, task: asyncio.Task[None]) -> None:
        del self._rows[task]
        self._fewer.set()
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._fail(problem)
        if not self._rows:
            self._news.set()

    def _report(self, outcome: Outcome) -> None:
        self.tally.add(outcome)
        self._on_outcome(outcome)

    def _fail(self, problem: BaseException) -> None:
        """End the batch for a failure that is no row's."""
        self._broken = self._broken or problem
        self._news.set()

    # The end

    async def _until(self, over: Callable[[], bool]) -> None:
        while not over() and not self._stop.level and self._broken is None:
            self._news.clear()
            await self._news.wait()

    def _told_to_stop(self) -> None:
        """Hear it; in whatever thread it was said."""
        with contextlib.suppress(RuntimeError):  # the loop has closed in the same moment
            self._loop.call_soon_threadsafe(self._news.set)

    async def _wind_up(self, feeder: asyncio.Task[None]) -> None:
        """End what is under way, and see that what is finished is safe."""
        self._look_for_the_end()
        feeder.cancel()
        self._intake.close()
        try:
            if self._rows and self._stop.level == 1 and self._broken is None:
                await self._come_home()
        finally:
            under_way = [*self._rows]
            for task in under_way:
                self._drop(task)
            self._gate.close()
            await asyncio.gather(feeder, *under_way, return_exceptions=True)
            await self._intake.aclose()
            await self._delivery.close()

    def _look_for_the_end(self) -> None:
        """See whether the last row had been taken, where only the feeder has not heard of it yet."""
        if self._open and self._put_back is None and not self._waiting and self._intake.ready():
            with contextlib.suppress(Exception):
                self._all_read = self._intake.take() is None

    def _drop(self, task: asyncio.Task[None]) -> None:
        self._left_out = True
        task.cancel()

    async def _come_home(self) -> None:
        """Give what is on the wire a moment; what only waits to be sent again is waited for no longer."""
        for task, run in [*self._rows.items()]:
            if not run.on_wire:
                self._drop(task)
        try:
            async with asyncio.timeout(GRACE):
                while self._rows and self._stop.level == 1 and self._broken is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass


@dataclass(frozen=True, slots=True)
class _Row:
    """A row as it is sent."""

    position: int
    request: ChatRequest
    body: bytes
    generation: int


def _read_back(kept: Kept, request: ChatRequest) -> Outcome | None:
    """Return a row that was kept, with its answer parsed anew; None where it does not fit the schema any more."""
    if request.shape is None or not kept.text or kept.error is not None:
        return outcome_of(kept)
    try:
        return outcome_of(kept, parse_data(Reply(kept.text), request.shape))
    except BeatraError:
        return None
