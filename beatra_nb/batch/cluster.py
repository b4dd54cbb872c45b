"""A batch on a cluster: the calls are made by the workers of a Dask client, everything that lasts stays here.

    jobs ── the engine's books ── a partition ── cluster ── a worker's engine (crew) ── a report ── delivery

The engine's own books are kept in this process: the checkpoint, which rows are the same, the budgets, the tally. Rows
are put together in partitions, which are sent while there is room for them; a report brings their outcomes home. A
worker that is lost takes nothing along: its partition is sent to another one by the cluster, under the same keys, and
the service gives the answers that it has already made.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from beatra_nb import __version__
from beatra_nb.batch import crew, engine, parcel
from beatra_nb.batch.accounts import Accounts
from beatra_nb.batch.cluster_client import Lost, Workers, checked
from beatra_nb.batch.engine import BREATH, GRACE, Job, _Batch, _Row
from beatra_nb.batch.outcome import Outcome, Trouble
from beatra_nb.batch.parcel import Order, Report, Terms
from beatra_nb.batch.seal import seal
from beatra_nb.batch.stop import Stop
from beatra_nb.batch.tally import Tally
from beatra_nb.core.errors import BeatraError, ConfigurationError
from beatra_nb.core.reply import Reply
from beatra_nb.core.request import parse_data

if TYPE_CHECKING:
    from beatra_nb.batch.pace import Pace
    from beatra_nb.core.flow import Context
    from beatra_nb.core.request import ChatRequest
    from beatra_nb.core.transport import AsyncTransport
    from beatra_nb.store.checkpoint import Checkpoint

AHEAD = 4  # partitions of a worker: one that begins, one that waits, and those that only wait for their slowest rows
TARGET = 1.0  # seconds that a partition should take: little is asked again when a worker is lost
MOST_ROWS = 256  # rows of a partition
MOST_BYTES = 1_000_000  # bytes of a partition's requests
LINGER = 0.05  # seconds that rows wait for more, where they come slowly
FAREWELL = 2.0  # seconds for saying goodbye to the workers
HOME = 0.7  # seconds beyond the engine's own grace, for reports to come home
MOST_TRIES = 50  # sendings of one partition; clusters that come and go all the time are no place for a batch

__all__ = ["checked", "run"]


async def run(
    jobs: Iterable[Job] | AsyncIterable[Job],
    *,
    executor: Any,  # noqa: ANN401
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
    """Ask about every row, by the workers of a cluster, and report each one.

    Parameters
    ----------
    jobs, on_outcome, checkpoint, dedupe, stop, room, blocking, run_id
        As ``engine.run`` takes them, and with the same promises.
    executor : distributed.Client
        The cluster. A client that records or replays makes the calls in this process all the same.
    context : Context
        What flows look at, here and there.
    transport : AsyncTransport
        Where the calls go and with which key; nothing is sent over it.
    pace : Pace
        How many calls at once and how many a second, in the whole cluster.

    Returns
    -------
    Tally
        What became of it.

    Raises
    ------
    InvalidInput, ConfigurationError
        If the cluster cannot do it.
    CheckpointError
        If finished rows cannot be kept; what was reported until then is safe.
    """
    workers = Workers(executor)
    if transport.tape is not None:  # a recording is made, and played, in this process alone
        return await engine.run(
            jobs,
            context=context,
            transport=transport,
            pace=pace,
            on_outcome=on_outcome,
            checkpoint=checkpoint,
            dedupe=dedupe,
            stop=stop,
            room=room,
            blocking=blocking,
            run_id=run_id,
        )
    batch = _Spread(
        workers, context, transport, pace, on_outcome, checkpoint, dedupe, stop or Stop(), room, run_id
    )
    return await batch.run(jobs, blocking)


class _Spread(_Batch):
    """The engine's books, with the cluster to do the work."""

    def __init__(self, workers: Workers, context: Context, transport: AsyncTransport, *rest: Any) -> None:  # noqa: ANN401
        super().__init__(context, transport, *rest)
        self._workers = workers
        self._token = uuid.uuid4().hex[:8]
        self._terms = Terms(
            self._run_id,
            context.base_url,
            context.timeouts,
            context.max_attempts,
            context.journal is not None,
        )
        self._count = 1  # workers
        self._loading: list[_Row] = []
        self._bytes = 0
        self._lingering: asyncio.TimerHandle | None = None
        self._accounts = Accounts(self._context, self._room)
        self._begging = 0  # partitions that wait for the budget, and not for a worker
        self._number = 0
        self._size = 1
        self._held_until = 0.0  # by the wall's clock
        self._asides: set[asyncio.Task[Any]] = set()

    async def run(self, jobs: Iterable[Job] | AsyncIterable[Job], blocking: bool | None) -> Tally:
        self._workers.listen(crew.topic(self._token), self._hear)
        try:
            await self._introduce(None)
            await self._muster()
            return await super().run(jobs, blocking)
        finally:
            self._workers.hush(crew.topic(self._token))
            for each in self._asides:
                each.cancel()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(FAREWELL):
                    await self._workers.tell(crew.dismiss, self._token)

    # Workers

    async def _introduce(self, workers: list[str] | None) -> None:
        """Hand the key to workers, sealed for each."""
        said = await self._workers.tell(crew.introduce, self._token, workers=workers)
        sealed = {}
        for address, answer in said.items():
            if isinstance(answer, ImportError):
                raise ConfigurationError(
                    f"The cluster's workers cannot import what they need ({answer}).",
                    hint=f"Install beatra-nb[dask] {__version__} where they run.",
                )
            if isinstance(answer, BaseException):
                continue  # it is on its way out, or will say itself that it does not know us
            version, public = answer
            if version != __version__:
                raise ConfigurationError(
                    f"The worker {address} has beatra_nb {version}, and here is {__version__}.",
                    hint="Install the same version on both sides.",
                )
            sealed[address] = seal(self._transport.key, public)
        if sealed:
            await self._workers.tell(crew.equip, self._token, self._terms, sealed, workers=list(sealed))

    async def _muster(self) -> tuple[int, frozenset[str]]:
        """Count the workers, and divide the places among them."""
        self._count = max(1, len(await self._workers.names()))
        places, more = await self._workers.shares(self._gate.pace.max_active)
        self._size = max(self._size, places)
        return places, more

    def _hear(self, message: dict[str, Any]) -> None:
        """Hear from one worker that the service asked it to wait; in a thread of the cluster's client."""
        with contextlib.suppress(RuntimeError):  # the loop has closed in the same moment
            self._loop.call_soon_threadsafe(self._held, float(message["until"]))

    def _held(self, until: float) -> None:
        """Tell all workers."""
        if until <= self._held_until:
            return
        self._held_until = until
        pace = self._gate.pace
        pace.held_until = max(pace.held_until, time.monotonic() + until - time.time())
        self._aside(crew.hold, until)

    def _aside(self, what: Callable[..., None], word: float) -> None:
        """Say something to all workers, and do not wait for it."""
        task = self._loop.create_task(self._workers.tell(what, self._token, word))
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    # Rows come

    async def _feed(self) -> None:
        easy = 0
        while (job := await self._next()) is not None:
            if not self._shelf.known(job.position):
                await self._shelf.load(job.position)
            row = self._prepare(job)
            await self._delivery.room()
            if row is None:
                easy += 1
                if easy % BREATH == 0:
                    await asyncio.sleep(0)
                continue
            while not self._accounts.claim(row.position, row.request):
                await self._load_off()
                if not self._anybody_out():
                    self._out_of_budget()
                    return
                await self._one_less()
            self._load(row)
            if len(self._loading) >= self._size or self._bytes >= MOST_BYTES:
                await self._load_off()
        await self._load_off()
        self._all_read = True

    def _load(self, row: _Row) -> None:
        self._loading.append(row)
        self._bytes += len(row.request.json)
        if self._lingering is None:
            self._lingering = self._loop.call_later(LINGER, self._lingered)

    def _lingered(self) -> None:
        self._lingering = None
        if self._loading and self._any_room():
            self._send_off()

    async def _load_off(self) -> None:
        while self._loading and not self._any_room():
            await self._one_less()
        if self._loading:
            self._send_off()

    def _any_room(self) -> bool:
        places = self._gate.pace.max_active
        most = places if self._count > places else AHEAD * self._count
        return len(self._rows) - self._begging < most

    def _anybody_out(self) -> bool:
        return len(self._rows) > self._begging or bool(self._loading)

    # Partitions go

    def _send_off(self) -> None:
        rows, self._loading, self._bytes = self._loading, [], 0
        task = self._loop.create_task(self._carry({row.position: row for row in rows}))
        self._rows[task] = cast("Any", rows)
        task.add_done_callback(self._over)
        self._count_places()

    def _over(self, task: asyncio.Task[None]) -> None:
        super()._over(task)
        self._count_places()

    def _count_places(self) -> None:
        """Say about how many calls are under way, for whoever watches."""
        pace = self._gate.pace
        pace.active = min(pace.max_active, sum(len(cast("Any", rows)) for rows in self._rows.values()))

    async def _carry(self, rows: dict[int, _Row]) -> None:
        """See a partition through, however often it has to be sent."""
        tries = 0
        sent = False  # whether any of the rows may have been
        try:
            while rows and not self._stop.level:
                sent = True
                report = await self._order(rows)
                self._bring_home(report, rows)
                sent = report.stranger is None and report.stopped != "budget"
                if not rows:
                    break
                if report.stranger is not None:
                    await self._introduce([report.stranger])
                if report.stopped == "budget":
                    await self._claim_again(rows)
                    continue  # at least one row was sent: it comes to an end
                tries += 1
                if tries >= MOST_TRIES:
                    self._give_up("it was begun and not done, again and again")
        except Lost as lost:
            self._give_up(str(lost))
        finally:
            self._left_out = self._left_out or bool(rows)
            self._accounts.give_up(rows, sent=sent)

    async def _order(self, rows: dict[int, _Row]) -> Report:
        """Send a partition once more, until a worker has reported about it."""
        pace = self._gate.pace
        for attempt in range(MOST_TRIES):
            places, more = await self._muster()
            credits, tokens = self._accounts.allowance(rows, AHEAD * self._count)
            order = Order(
                [parcel.packed(at, row.generation, row.request) for at, row in rows.items()],
                places,
                more,
                None if pace.rate is None else pace.rate / self._count,
                self._held_until,
                credits,
                tokens,
            )
            self._number += 1
            name = f"beatra-batch-partition-{self._number}-{self._token}"
            try:
                data = await self._workers.ask(crew.work, self._token, parcel.to_bytes(order), name=name)
            except Lost as lost:
                if lost.final or attempt + 1 == MOST_TRIES:
                    raise
                continue
            report: Report = parcel.from_bytes(data)
            return report
        raise AssertionError("unreachable")

    def _bring_home(self, report: Report, rows: dict[int, _Row]) -> None:
        """Take a report's rows."""
        if self._delivery.queue is not None:
            self._delivery.queue.entries.extend(report.entries)
        for told in report.outcomes():
            row = rows.pop(told.position, None)
            if row is None:
                continue
            outcome = _parsed(told, row.request)
            self._accounts.settle(row.request, outcome)
            self._heed(outcome)
            self._delivery.add(row.body, outcome)
            for position in self._settle(row.body, outcome):
                self._delivery.add(row.body, outcome.for_follower(position))
        if report.rows and report.elapsed:
            # Towards partitions that take about as long as they should.
            fit = int(len(report.rows) / report.elapsed * TARGET)
            self._size = max(1, min(fit, 2 * self._size, MOST_ROWS))
        if report.trouble is not None and report.stopped is not None and not self._stop.level:
            self.tally.trouble = report.trouble
            self._stop.stop(report.stopped)

    def _heed(self, outcome: Outcome) -> None:
        """Stop the batch for what no other row would fare better with."""
        trouble = outcome.error
        if trouble is None:
            self._failures = 0
        elif trouble.retryable:
            self._failures += 1
            if self._failures >= self._hopeless and not self._stop.level:
                self.tally.trouble = trouble
                self._stop.stop("unreachable")

    def _give_up(self, why: str) -> None:
        """End the batch for want of a cluster; what is finished stays."""
        if not self._stop.level:
            self.tally.trouble = Trouble(
                "ConnectionFailed",
                f"The cluster could not do a part of the batch: {why}.",
                retryable=True,
                hint="Look at the workers' logs: they may be short of memory.",
            )
            self._stop.stop("cluster")

    async def _claim_again(self, rows: dict[int, _Row]) -> None:
        """Claim for rows that a worker did not send, with what is known about prices by now."""
        self._accounts.give_up(rows, sent=False)
        self._begging += 1
        self._fewer.set()
        try:
            for row in rows.values():
                while not self._accounts.claim(row.position, row.request):
                    if not self._anybody_out():
                        self._out_of_budget()
                        return
                    await self._one_less()
        finally:
            self._begging -= 1

    # The end

    async def _wind_up(self, feeder: asyncio.Task[None]) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
        try:
            await super()._wind_up(feeder)
        finally:
            self._accounts.give_up((row.position for row in self._loading), sent=False)

    async def _come_home(self) -> None:
        """Have the workers end what is under way, and wait a moment for what they report."""
        self._aside(crew.stop, 1)
        try:
            async with asyncio.timeout(GRACE + HOME):
                while self._rows and self._stop.level == 1 and self._broken is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass


def _parsed(outcome: Outcome, request: ChatRequest) -> Outcome:
    """Return a row with its answer parsed, where what was parsed there could not travel."""
    if request.shape is None or outcome.data is not None or not outcome.ok:
        return outcome
    try:
        return replace(outcome, data=parse_data(Reply(outcome.text or ""), request.schema))
    except BeatraError as error:
        return replace(outcome, error=Trouble.of(error))
