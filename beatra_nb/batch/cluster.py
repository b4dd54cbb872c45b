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
import importlib.util
import time
import uuid
from collections.abc import AsyncIterable, Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from beatra_nb import __version__
from beatra_nb.batch import crew, parcel
from beatra_nb.batch.cluster_client import Lost, Workers
from beatra_nb.batch.engine import GRACE, Job, Tally, _Batch, _Row
from beatra_nb.batch.outcome import OF_THE_ACCOUNT, Outcome, Trouble
from beatra_nb.batch.parcel import Order, Report, Terms
from beatra_nb.batch.stop import Stop
from beatra_nb.core import budget as budgets
from beatra_nb.core import claims, resources
from beatra_nb.core.costs import PRICES
from beatra_nb.core.errors import BudgetExceeded, ConfigurationError
from beatra_nb.core.flow import Call, Context
from beatra_nb.core.reply import Reply, Usage

if TYPE_CHECKING:
    from beatra_nb.batch.pace import Pace
    from beatra_nb.core.claims import Claim
    from beatra_nb.core.request import ChatRequest
    from beatra_nb.core.transport import AsyncTransport
    from beatra_nb.store.checkpoint import Checkpoint

AHEAD = 4  # partitions of a worker: one that begins, one that waits, and those that only wait for their slowest rows
TARGET = 0.5  # seconds that a partition should take: little is asked again when a worker is lost
MOST_ROWS = 256  # rows of a partition
MOST_BYTES = 1_000_000  # bytes of a partition's requests
LINGER = 0.05  # seconds that rows wait for more, where they come slowly
HOME = 0.7  # seconds beyond the engine's own grace, for reports to come home
MOST_TRIES = 50  # sendings of one partition; clusters that come and go all the time are no place for a batch


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
        The cluster.
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
        self._loading: list[_Row] = []
        self._bytes = 0
        self._lingering: asyncio.TimerHandle | None = None
        self._claims: dict[int, Claim] = {}
        self._out = 0  # rows that workers have
        self._flying = 0  # partitions that workers have
        self._number = 0
        self._size = 0
        self._held_until = 0.0  # by the wall's clock
        self._asides: set[asyncio.Task[object]] = set()

    async def run(self, jobs: Iterable[Job] | AsyncIterable[Job], blocking: bool | None) -> Tally:
        self._workers.listen(crew.topic(self._token), self._hear)
        try:
            await self._introduce(None)
            return await super().run(jobs, blocking)
        finally:
            self._workers.hush(crew.topic(self._token))
            for each in self._asides:
                each.cancel()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2):
                    await self._workers.tell(crew.dismiss, self._token)

    # Workers

    async def _introduce(self, workers: list[str] | None) -> None:
        """Hand the key to workers, sealed for each."""
        from beatra_nb.batch.seal import seal

        said = await self._workers.tell(crew.introduce, self._token, workers=workers)
        sealed = {}
        for address, answer in said.items():
            if isinstance(answer, ImportError):
                raise ConfigurationError(
                    f"The cluster's workers cannot import what they need ({answer}).",
                    hint=f"Install beatra-nb[dask] {__version__} where they run, as here.",
                )
            if isinstance(answer, BaseException):
                continue  # it is on its way out; or it will say itself that it does not know us
            version, public = answer
            if version != __version__:
                raise ConfigurationError(
                    f"The worker {address} has beatra_nb {version}, and here is {__version__}.",
                    hint="Install the same version on both sides.",
                )
            sealed[address] = seal(self._transport.key, public)
        if sealed:
            await self._workers.tell(crew.equip, self._token, self._terms, sealed, workers=list(sealed))

    def _hear(self, message: dict[str, Any]) -> None:
        """Hear that the service asked one worker to wait, and tell the others; in a thread of the cluster's client."""
        with contextlib.suppress(RuntimeError):  # the loop has closed in the same moment
            self._loop.call_soon_threadsafe(self._held, float(message["until"]))

    def _held(self, until: float) -> None:
        if until <= self._held_until:
            return
        self._held_until = until
        pace = self._gate.pace
        pace.held_until = max(pace.held_until, time.monotonic() + until - time.time())
        self._aside(self._workers.tell(crew.hold, self._token, until))

    def _aside(self, what: Any) -> None:  # noqa: ANN401
        task = self._loop.create_task(what)
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    # Rows come

    async def _feed(self) -> None:
        easy = 0
        while (job := await self._intake.next()) is not None:
            row = await self._prepare(job)
            await self._delivery.room()
            if row is None:
                easy += 1
                if easy % crew_breath == 0:
                    await asyncio.sleep(0)
                continue
            if not await self._claimed(row):
                self._stop.stop("budget")
                return
            self._load(row)
            if len(self._loading) >= self._part_size() or self._bytes >= MOST_BYTES:
                await self._load_off()
        await self._load_off()

    async def _claimed(self, row: _Row) -> bool:
        """Set aside in the budgets what a row may cost; waits for others to come home where there is no room."""
        request = row.request
        call = Call("chat", "POST", resources.CHAT, request.json, request.wire_key)
        while True:
            try:
                if self._room is None or self._room(request):
                    claim = claims.claim(self._context, call)
                    if claim is not None:
                        self._claims[row.position] = claim
                    return True
            except BudgetExceeded:
                pass
            await self._load_off()
            if not self._flying and not self._starting():
                return False
            await self._one_less()

    def _starting(self) -> bool:
        """Whether there are partitions that have not come to their first sending yet."""
        return self._fresh > 0

    def _load(self, row: _Row) -> None:
        self._loading.append(row)
        self._bytes += len(row.request.json)
        if self._lingering is None:
            self._lingering = self._loop.call_later(LINGER, self._lingered)

    def _lingered(self) -> None:
        self._lingering = None
        if self._loading and len(self._rows) < self._most_parts():
            self._send_off()

    async def _load_off(self) -> None:
        while self._loading and len(self._rows) >= self._most_parts():
            await self._one_less()
        if self._loading:
            self._send_off()
