"""The engine of a batch: rows in, outcomes out; as many calls under way as is good for everybody.

    books ── a row, a place (gate, pace) ── a flow (core) ── books

The books (``books``) say which row is next and keep what becomes of it. Here it is asked about, in this process. A
row is sent when there is a place for it, and takes it only while it is on the wire.

Nothing here draws, and nothing here knows what the rows mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from beatra_nb.batch.books import GRACE, Books, Row
from beatra_nb.batch.gate import Gate, PacedRun, RowClock
from beatra_nb.batch.outcome import Outcome
from beatra_nb.batch.turns import Job
from beatra_nb.core import resources
from beatra_nb.core.errors import BeatraError, BudgetExceeded
from beatra_nb.core.reply import Reply

if TYPE_CHECKING:
    from beatra_nb.batch.pace import Pace
    from beatra_nb.batch.stop import Stop
    from beatra_nb.batch.tally import Tally
    from beatra_nb.core.flow import Context
    from beatra_nb.core.request import ChatRequest
    from beatra_nb.core.transport import AsyncTransport
    from beatra_nb.store.checkpoint import Checkpoint

__all__ = ["Job", "run"]

HURRIED = ("interrupted", "unreachable", "asked to wait")  # why a batch stops, where calls may hang


async def run(
    jobs: Iterable[Job] | AsyncIterable[Job],
    *,
    context: Context,
    transport: AsyncTransport,
    pace: Pace | Gate,
    on_outcome: Callable[[Outcome], None],
    checkpoint: Checkpoint | None = None,
    dedupe: bool = False,
    stop: Stop | None = None,
    room: Callable[[ChatRequest, bool], bool] | None = None,
    blocking: bool | None = None,
    run_id: str | None = None,
    anew: bool = False,
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
    pace : Pace or Gate
        How many at once, and how many a second; a gate that is passed is shared with others.
    on_outcome : callable
        Is told of each finished row, in the loop's thread, when the row is durable.
    checkpoint : Checkpoint, optional
        Where finished rows are kept, and found again.
    dedupe : bool
        Ask identical rows once.
    stop : Stop, optional
        How to end it early.
    room : callable, optional
        Whether a row may still be paid for; it is told whether the row would be the only one under way. Where it
        may not while others are, they are waited for: they may cost less than was set aside. Where none is, the
        batch stops.
    blocking : bool, optional
        Whether reading a row may take a while; by default, whether ``jobs`` is no list or tuple.
    run_id : str, optional
        The run's name, where it was begun before: its rows are then at their places, and are looked for nowhere else.
    anew : bool
        Whether rows whose failure was kept as their last word are asked all the same.

    Returns
    -------
    Tally
        What became of it.

    Raises
    ------
    CheckpointError
        If finished rows cannot be kept; what was reported until then is safe.
    """
    batch = _Here(
        transport,
        pace if isinstance(pace, Gate) else Gate(pace),
        context,
        on_outcome,
        checkpoint=checkpoint,
        dedupe=dedupe,
        stop=stop,
        room=room,
        run_id=run_id,
        anew=anew,
    )
    return await batch.run(jobs, blocking)


class _Here(Books[PacedRun[Reply]]):
    """The calls of a batch in this process: each row in a lane, which takes the next one when it is done."""

    def __init__(
        self,
        transport: AsyncTransport,
        gate: Gate,
        context: Context,
        on_outcome: Callable[[Outcome], None],
        **about: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(context, on_outcome, active=gate.pace.max_active, **about)
        self._transport = transport
        self._gate = gate
        self._most = 2 * gate.pace.max_active + 8  # those between two attempts included
        self._short = 0  # rows that have begun, and wait for room in the budget
        self._open = False  # whether the feeder waits for a place, and lanes may take rows

    async def feed(self) -> None:
        """Take rows as long as there are any, and have each one asked about in a lane of its own."""
        wave: int | None = await self._place()
        try:
            while wave is not None and (row := await self.next_row()) is not None:
                if not await self._affordable(row):
                    self.out_of_budget()
                    break
                run = self._run_of(row, wave)
                self.begin(self._lane(row, run), run)
                wave = None  # the place is the row's now
                if self.room is not None:
                    await asyncio.sleep(0)  # it sets aside what it may cost: there may be room for no other
                while len(self.under_way) >= self._most:
                    await self.one_less()
                wave = await self._place()
        finally:
            if wave is not None:
                self._gate.give_back()

    async def _place(self) -> int:
        """Wait for a place; meanwhile the lanes may take rows themselves."""
        self._open = True
        try:
            return await self._gate.enter()
        finally:
            self._open = False

    def _next_at_once(self) -> tuple[Row, int] | None:
        """Return a row and a place for a lane that has just become free; None leaves it to the feeder.

        Otherwise two turns of the loop would pass for each row before its request leaves.
        """
        if not self._open or self.room is not None or self.stop.level or self.broken:
            return None
        if self._transport.tape is not None:
            return None  # rows are asked in their order, so that a replay gives each one the answer it had
        if not self.delivery.has_room or not self.turns.ready or (wave := self._gate.try_enter()) is None:
            return None
        turn = self.turns.at_once()
        if turn is not None and (row := self.prepared(turn)) is not None:
            return row, wave
        self._gate.give_back()
        return None

    async def _affordable(self, row: Row) -> bool:
        while self.room is not None and (self._short or not self.room(row.request, not self.under_way)):
            if not self.under_way:
                return False
            await self.one_less()
        return True

    async def _more_room(self, row: Row) -> bool:
        """Wait for room for a row that has begun and found none: others may cost less than was set aside for them."""
        self._short += 1
        try:
            while len(self.under_way) > self._short:
                await self.one_less()
                if self.room is not None and self.room(row.request, False):
                    return True
            return False
        finally:
            self._short -= 1

    def over(self, task: asyncio.Task[None]) -> None:
        """Hear that a lane is done; one that was dropped before it began has its place still."""
        self.under_way[task].let_go()
        super().over(task)

    def _run_of(self, row: Row, wave: int | None) -> PacedRun[Reply]:
        clock = RowClock(self.context.now)
        flow = resources.chat(replace(self.context, now=clock), row.request)
        return PacedRun(self._transport, flow, gate=self._gate, clock=clock, wave=wave)

    async def _lane(self, row: Row, run: PacedRun[Reply]) -> None:
        """Ask about a row, and then about others as long as there is a place for them at once."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is one
        await self._ask(row, run, task)
        while (more := self._next_at_once()) is not None:
            row, wave = more
            self.under_way[task] = run = self._run_of(row, wave)
            await self._ask(row, run, task)

    async def _ask(self, row: Row, run: PacedRun[Reply], task: asyncio.Task[None]) -> None:
        while (short := await self._asked(row, run)) is not None:
            try:
                more = await self._more_room(row)
            except asyncio.CancelledError:
                self._leave_out(row, short)
                raise
            if not more:
                self._leave_out(row, short)
                self.out_of_budget()
                return
            # From its beginning: what was paid for is there under its key.
            self.under_way[task] = run = self._run_of(row, None)

    def _leave_out(self, row: Row, short: BudgetExceeded) -> None:
        """Leave a row to the next run, of which it is among the first; what was paid for it is told."""
        self.left_out = True
        if short.paid is not None:
            self.done(row, Outcome.of_error(row.position, row.generation, short))

    async def _asked(self, row: Row, run: PacedRun[Reply]) -> BudgetExceeded | None:
        """Ask about a row; gives what a budget says that has no room for it, or no more."""
        clock = run.clock
        began = clock()
        retry_after = None
        try:
            async for _ in run:
                pass
        except BudgetExceeded as short:
            return short
        except BeatraError as error:
            outcome = Outcome.of_error(row.position, row.generation, error, clock() - began)
            retry_after = error.retry_after
        else:
            outcome = Outcome.of_reply(row.position, row.generation, run.result)
        finally:
            run.let_go()
        self.done(row, outcome, retry_after)
        return None

    async def wind_up(self, feeder: asyncio.Task[None]) -> None:
        """End what is under way; the last row may have been taken, and only the feeder has not heard of it yet."""
        self.all_read = self.all_read or ((self._open or self.turns.reading) and self.turns.ended())
        try:
            await super().wind_up(feeder)
        finally:
            self._gate.close()

    async def come_home(self) -> None:
        """Give what is on the wire a moment; what only waits to be sent again is waited for no longer.

        Where nobody is in a hurry, it is waited for: it is paid for.
        """
        for task, run in [*self.under_way.items()]:
            if not run.on_wire:
                self.drop(task)
        await self.at_home(GRACE if self.stop.reason in HURRIED else None)
