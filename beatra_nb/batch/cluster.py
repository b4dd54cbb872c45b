"""A batch on a cluster: the calls are made by the workers of a Dask client, everything that lasts stays here.

    books ── a partition ── cluster ── a worker's engine (crew) ── a report ── books

The books are kept in this process: the checkpoint, which rows are the same, the budgets, the tally. Rows are put
together in partitions, which are sent while there is room for them; a report brings their outcomes home. A worker
that is lost takes nothing along: its partition is sent to another one by the cluster, under the same keys, and the
service gives the answers that it has already made.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from beatra_nb import __version__
from beatra_nb.batch import crew, engine, parcel
from beatra_nb.batch.accounts import Accounts
from beatra_nb.batch.books import GRACE, Books, Row
from beatra_nb.batch.cluster_client import Lost, Workers, checked
from beatra_nb.batch.outcome import Outcome, Trouble
from beatra_nb.batch.parcel import Order, Report, Terms
from beatra_nb.batch.seal import seal
from beatra_nb.core.errors import BeatraError, ConfigurationError
from beatra_nb.core.reply import Reply
from beatra_nb.core.request import parse_data

if TYPE_CHECKING:
    from beatra_nb.batch.pace import Pace
    from beatra_nb.batch.stop import Stop
    from beatra_nb.batch.tally import Tally
    from beatra_nb.batch.turns import Job
    from beatra_nb.core.flow import Context
    from beatra_nb.core.request import ChatRequest
    from beatra_nb.core.settings import Secret
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
    room: Callable[[ChatRequest, bool], bool] | None = None,
    blocking: bool | None = None,
    run_id: str | None = None,
    anew: bool = False,
) -> Tally:
    """Ask about every row, by the workers of a cluster, and report each one.

    Parameters
    ----------
    jobs, on_outcome, checkpoint, dedupe, stop, room, blocking, run_id, anew
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
    books: dict[str, Any] = {
        "context": context,
        "on_outcome": on_outcome,
        "checkpoint": checkpoint,
        "dedupe": dedupe,
        "stop": stop,
        "room": room,
        "run_id": run_id,
        "anew": anew,
    }
    if transport.tape is not None:  # a recording is made, and played, in this process alone
        return await engine.run(jobs, transport=transport, pace=pace, blocking=blocking, **books)
    return await _Spread(workers, transport.key, pace, **books).run(jobs, blocking)


class _Spread(Books[list[Row]]):
    """A batch whose calls are made by the workers of a cluster, a partition of rows at a time."""

    def __init__(self, workers: Workers, key: Secret, pace: Pace, **books: Any) -> None:  # noqa: ANN401
        super().__init__(active=pace.max_active, **books)
        self._workers = workers
        self._key = key
        self._pace = pace
        self._token = uuid.uuid4().hex[:8]
        self._terms = Terms(
            self.run_id,
            self.context.base_url,
            self.context.timeouts,
            self.context.max_attempts,
            self.context.journal is not None,
        )
        self._count = 1  # workers
        self._loading: list[Row] = []
        self._bytes = 0
        self._lingering: asyncio.TimerHandle | None = None
        self._accounts = Accounts(self.context, self.room)
        self._shorts: dict[
            int, Outcome
        ] = {}  # rows that a worker had no room for any more, when they were paid for
        self._begging = 0  # partitions that wait for the budget, and not for a worker
        self._number = 0
        self._size = 1
        self._held_until = 0.0  # by the wall's clock
        self._asides: set[asyncio.Task[Any]] = set()

    async def run(self, jobs: Iterable[Job] | AsyncIterable[Job], blocking: bool | None = None) -> Tally:
        """Run the batch to its end, with the workers that the cluster has."""
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
            sealed[address] = seal(self._key, public)
        if sealed:
            await self._workers.tell(crew.equip, self._token, self._terms, sealed, workers=list(sealed))

    async def _muster(self) -> tuple[int, frozenset[str]]:
        """Count the workers, and divide the places among them."""
        self._count = max(1, len(await self._workers.names()))
        places, more = await self._workers.shares(self._pace.max_active)
        self._size = max(self._size, places)
        return places, more

    def _hear(self, message: dict[str, Any]) -> None:
        """Hear from one worker that the service asked it to wait; in a thread of the cluster's client."""
        with contextlib.suppress(RuntimeError):  # the loop has closed in the same moment
            self.loop.call_soon_threadsafe(self._held, float(message["until"]))

    def _held(self, until: float) -> None:
        """Tell all workers."""
        if until <= self._held_until:
            return
        self._held_until = until
        pace = self._pace
        pace.held_until = max(pace.held_until, time.monotonic() + until - time.time())
        self._aside(crew.hold, until)

    def _aside(self, what: Callable[..., None], word: float) -> None:
        """Say something to all workers, and do not wait for it."""
        task = self.loop.create_task(self._workers.tell(what, self._token, word))
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    # Rows come

    async def feed(self) -> None:
        """Put rows together in partitions, and send those off while there is room for them."""
        while (row := await self.next_row()) is not None:
            while not self._accounts.claim(row.position, row.request):
                await self._load_off()
                if not self._anybody_out():
                    self.out_of_budget()
                    return
                await self.one_less()
            self._load(row)
            if len(self._loading) >= self._size or self._bytes >= MOST_BYTES:
                await self._load_off()
        await self._load_off()

    def _load(self, row: Row) -> None:
        self._loading.append(row)
        self._bytes += len(row.request.json)
        if self._lingering is None:
            self._lingering = self.loop.call_later(LINGER, self._lingered)

    def _lingered(self) -> None:
        self._lingering = None
        if self._loading and self._any_room():
            self._send_off()

    async def _load_off(self) -> None:
        while self._loading and not self._any_room():
            await self.one_less()
        if self._loading:
            self._send_off()

    def _any_room(self) -> bool:
        places = self._pace.max_active
        most = places if self._count > places else AHEAD * self._count
        return len(self.under_way) - self._begging < most

    def _anybody_out(self) -> bool:
        return len(self.under_way) > self._begging or bool(self._loading)

    # Partitions go

    def _send_off(self) -> None:
        rows, self._loading, self._bytes = self._loading, [], 0
        self.begin(self._carry({row.position: row for row in rows}), rows)
        self._count_places()

    def over(self, task: asyncio.Task[None]) -> None:
        """Hear that a partition is no longer under way."""
        super().over(task)
        self._count_places()

    def _count_places(self) -> None:
        """Say about how many calls are under way, for whoever watches."""
        self._pace.active = min(self._pace.max_active, sum(map(len, self.under_way.values())))

    async def _carry(self, rows: dict[int, Row]) -> None:
        """See a partition through, however often it has to be sent."""
        tries = 0
        sent = False  # whether any of the rows may have been
        try:
            while rows and not self.stop.level:
                sent = True
                before = len(rows)
                report = await self._order(rows)
                self._bring_home(report, rows)
                sent = report.stranger is None and report.stopped != "budget"
                if not rows:
                    break
                if report.stranger is not None:
                    await self._introduce([report.stranger])
                out_of_budget = report.stopped == "budget"
                # Mostly at least one row was sent, so that it comes to an end.
                tries = 0 if out_of_budget and len(rows) < before else tries + 1
                if tries >= MOST_TRIES:
                    if out_of_budget:
                        self.out_of_budget()
                    else:
                        self._give_up("it was begun and not done, again and again")
                elif out_of_budget:
                    await self._claim_again(rows)
        except Lost as lost:
            self._give_up(str(lost))
        finally:
            self.left_out = self.left_out or bool(rows)
            for at in rows.keys() & self._shorts.keys():  # what was paid for them is told
                self._take_home(rows.pop(at), self._shorts.pop(at))
            self._accounts.give_up(rows, sent=sent)

    async def _order(self, rows: dict[int, Row]) -> Report:
        """Send a partition once more, until a worker has reported about it."""
        pace = self._pace
        for attempt in range(MOST_TRIES):
            places, more = await self._muster()
            credits, tokens = self._accounts.allowance(rows, AHEAD * self._count)
            order = Order(
                [parcel.packed(at, row.generation, row.number, row.request) for at, row in rows.items()],
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

    def _bring_home(self, report: Report, rows: dict[int, Row]) -> None:
        """Take a report's rows."""
        if self.delivery.queue is not None:
            self.delivery.queue.entries.extend(report.entries)
        for told in report.outcomes():
            row = rows.get(told.position)
            if row is None:
                continue
            if told.error is not None and told.error.type == "BudgetExceeded":
                self._shorts[row.position] = told  # there may be room here: it is sent again under its key
                continue
            self._shorts.pop(row.position, None)
            self._take_home(rows.pop(row.position), _parsed(told, row.request))
        if report.rows and report.elapsed:
            # Towards partitions that take about as long as they should.
            fit = int(len(report.rows) / report.elapsed * TARGET)
            self._size = max(1, min(fit, 2 * self._size, MOST_ROWS))
        if report.trouble is not None and report.stopped is not None and not self.stop.level:
            self.tally.trouble = report.trouble
            self.stop.stop(report.stopped)

    def _take_home(self, row: Row, outcome: Outcome) -> None:
        self._accounts.settle(row.request, outcome)
        self.done(row, outcome)

    def _give_up(self, why: str) -> None:
        """End the batch for want of a cluster; what is finished stays."""
        if not self.stop.level:
            self.tally.trouble = Trouble(
                "ConnectionFailed",
                f"The cluster could not do a part of the batch: {why}.",
                retryable=True,
                hint="Look at the workers' logs: they may be short of memory.",
            )
            self.stop.stop("cluster")

    async def _claim_again(self, rows: dict[int, Row]) -> None:
        """Claim for rows that a worker did not send, with what is known about prices by now."""
        unsent = [row for at, row in rows.items() if at not in self._shorts]
        self._accounts.give_up([row.position for row in unsent], sent=False)
        self._begging += 1
        self._fewer.set()
        try:
            if len(unsent) < len(rows) and self._anybody_out():
                await self.one_less()  # others may cost less than was set aside for them
            for row in unsent:
                while not self._accounts.claim(row.position, row.request):
                    if not self._anybody_out():
                        self.out_of_budget()
                        return
                    await self.one_less()
        finally:
            self._begging -= 1

    # The end

    async def wind_up(self, feeder: asyncio.Task[None]) -> None:
        """End what is under way; what was not sent off is not waited for."""
        if self._lingering is not None:
            self._lingering.cancel()
        try:
            await super().wind_up(feeder)
        finally:
            self._accounts.give_up((row.position for row in self._loading), sent=False)

    async def come_home(self) -> None:
        """Have the workers end what is under way, and wait a moment for what they report."""
        self._aside(crew.stop, 1)
        await self.at_home(GRACE + HOME)


def _parsed(outcome: Outcome, request: ChatRequest) -> Outcome:
    """Return a row with its answer parsed, where what was parsed there could not travel."""
    if request.shape is None or outcome.data is not None or not outcome.ok:
        return outcome
    try:
        return replace(outcome, data=parse_data(Reply(outcome.text or ""), request.schema))
    except BeatraError as error:
        return replace(outcome, error=Trouble.of(error))
