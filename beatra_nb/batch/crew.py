"""A batch at work in one worker of a cluster: the same engine, on the partitions that come.

The functions here are called by the cluster, in its workers. A batch *introduces* itself to a worker, which shows a
number; *equips* it with the key, sealed for that number (``seal``); and from then on sends it partitions (``work``).
A worker that was not equipped, because it came later or was started anew, says so, and is.

All partitions of a batch share one event loop, one set of connections and one pace in a worker. Once all rows of a
partition are under way its task *secedes*, so that the next one may begin: nobody waits for the slowest row.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from beatra_nb import __version__
from beatra_nb.batch import engine
from beatra_nb.batch.delivery import JournalQueue
from beatra_nb.batch.gate import Gate
from beatra_nb.batch.pace import Pace, Verdict
from beatra_nb.batch.parcel import Order, Report, Terms, from_bytes
from beatra_nb.batch.seal import Lock
from beatra_nb.batch.stop import Stop
from beatra_nb.batch.turns import Job
from beatra_nb.core import budget as budgets
from beatra_nb.core.flow import Context
from beatra_nb.core.many import ManyTransport
from beatra_nb.core.policy import LONGEST_RETRY_AFTER
from beatra_nb.core.scrub import Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable

    from beatra_nb.core.purse import Spent
    from beatra_nb.core.request import ChatRequest
    from beatra_nb.core.settings import Secret
    from beatra_nb.core.typed import Shape

IDLE = 120.0  # seconds after which a worker forgets a batch that it hears nothing of, and its key
WORTH_TELLING = 0.25  # seconds by which a hold must grow before the others are told

# A process may hold several workers (Dask's threaded clusters): each is known by its address.
_crews: dict[tuple[str, str], Crew] = {}
_locks: dict[tuple[str, str], Lock] = {}


def topic(batch: str) -> str:
    """Return under which name a batch's workers tell what all of them should know."""
    return f"beatra-batch-{batch}"


# What the cluster calls. It fills ``dask_worker`` in by that name.


def introduce(batch: str, dask_worker: Any) -> tuple[str, int]:  # noqa: ANN401
    """Return this package's version here, and the number to seal a key for."""
    lock = _locks.setdefault((batch, dask_worker.address), Lock())
    return __version__, lock.public


def equip(batch: str, terms: Terms, sealed: dict[str, tuple[int, bytes]], dask_worker: Any) -> None:  # noqa: ANN401
    """Take the key that was sealed for this worker, and be ready for partitions."""
    name = batch, dask_worker.address
    lock, mine = _locks.pop(name, None), sealed.get(dask_worker.address)
    if lock is not None and mine is not None and name not in _crews:
        _crews[name] = Crew(batch, terms, lock.open(*mine), dask_worker)


def hold(batch: str, until: float, dask_worker: Any) -> None:  # noqa: ANN401
    """Let no call begin before a moment of the wall's clock: the service asked another worker to wait."""
    if crew := _crews.get((batch, dask_worker.address)):
        crew.hold(until)


def stop(batch: str, level: int, dask_worker: Any) -> None:  # noqa: ANN401
    """Tell what is under way that the batch is to end: once for "no more rows", twice for "at once"."""
    if crew := _crews.get((batch, dask_worker.address)):
        crew.stop(level)


def dismiss(batch: str, dask_worker: Any) -> None:  # noqa: ANN401
    """Forget the batch and its key."""
    _locks.pop((batch, dask_worker.address), None)
    if crew := _crews.pop((batch, dask_worker.address), None):
        crew.close()


def work(batch: str, order: bytes) -> bytes:
    """Ask about the rows of a partition; the task that a batch gives to the cluster."""
    from distributed import get_worker, secede

    address = get_worker().address
    crew = _crews.get((batch, address))
    if crew is None:
        return Report(stranger=address).to_bytes()
    return crew.work(order, secede)


class Crew:
    """One batch in one worker."""

    def __init__(self, batch: str, terms: Terms, key: Secret, worker: Any) -> None:  # noqa: ANN401
        self._batch = batch
        self._terms = terms
        self._worker = worker
        self._pace = Share()
        self._gate = SharedGate(self._pace, self._tell)
        # As many connections as are in use: the places differ from order to order.
        self._transport = ManyTransport(terms.base_url, key, active=64)
        self._context = Context(
            terms.base_url,
            terms.timeouts,
            max_attempts=terms.max_attempts,
            scrub=Scrubber(key),
        )
        self._worth: dict[Shape, bool] = {}
        self._stops: set[Stop] = set()
        self._level = 0
        self._at_work = 0
        self._closing = False
        self._idle: asyncio.TimerHandle | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._turn, name="beatra-nb batch", daemon=True)
        self._thread.start()
        self._loop.call_soon_threadsafe(self._rest)

    def __repr__(self) -> str:
        return f"Crew({self._batch!r})"

    def work(self, order: bytes, secede: Callable[[], None]) -> bytes:
        """Work an order off, in the thread of a task."""
        begun = threading.Event()
        try:
            under_way = asyncio.run_coroutine_threadsafe(self._work(order, begun), self._loop)
        except RuntimeError:  # it has gone home in this moment
            return Report(stranger=self._worker.address).to_bytes()
        under_way.add_done_callback(lambda _: begun.set())
        while not begun.wait(1.0):
            if not self._thread.is_alive():  # it went home before it had looked at the order
                return Report(stranger=self._worker.address).to_bytes()
        if not under_way.done():
            secede()
        return under_way.result()

    def hold(self, until: float) -> None:
        """Let no call begin before a moment."""
        self._do(self._pace.hold, until)

    def stop(self, level: int) -> None:
        """End what is under way."""
        self._do(self._stop, level)

    def close(self) -> None:
        """End it all, and forget the key."""
        self._do(self._close)

    def _do(self, what: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # it has gone home
            self._loop.call_soon_threadsafe(what, *args)

    def _turn(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._transport.close())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    async def _work(self, data: bytes, begun: threading.Event) -> bytes:
        if self._closing:
            return Report(stranger=self._worker.address).to_bytes()
        began = time.monotonic()
        order: Order = from_bytes(data)
        self._pace.resize(order.places + (self._worker.address in order.more), order.rate)
        self._pace.hold(order.held_until)
        told = Stop()
        for _ in range(self._level):
            told.stop()
        self._stops.add(told)
        self._at_work += 1
        queue = JournalQueue() if self._terms.journal else None
        report = Report()
        try:
            with budgets.holding(_allowance(order)):
                tally = await engine.run(
                    _jobs(order, begun),
                    context=replace(self._context, journal=queue),
                    transport=self._transport,
                    pace=self._gate,
                    on_outcome=report.take,
                    stop=told,
                    room=_room if budgets.active() else None,
                    blocking=False,
                    run_id=self._terms.run_id,
                )
        finally:
            self._stops.discard(told)
            self._at_work -= 1
            self._rest()
        report.entries = queue.entries if queue is not None else []
        report.trouble = tally.trouble
        report.stopped = told.reason if tally.stopped or tally.trouble else None
        report.elapsed = time.monotonic() - began
        return report.to_bytes(whole=self._whole(report, order))

    def _whole(self, report: Report, order: Order) -> bool:
        """Whether what was parsed is sent home with its text, as it was found once for each shape."""
        shape = order.shape
        if shape is None:
            return False
        if (known := self._worth.get(shape)) is None and (found := report.worth_sending(shape)) is not None:
            self._worth[shape] = known = found
        return bool(known)

    def _stop(self, level: int) -> None:
        while self._level < level:
            self._level += 1
            for told in [*self._stops]:
                told.stop()

    def _close(self) -> None:
        self._closing = True
        self._stop(2)
        self._rest()

    def _rest(self) -> None:
        """Go home when there is nothing more to do."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._at_work:
            return
        if self._closing:
            self._gate.shut()
            # What has just been finished is handed over first.
            self._loop.call_soon(self._loop.stop)
        else:
            self._idle = self._loop.call_later(IDLE, self._forgotten)

    def _forgotten(self) -> None:
        if not self._at_work:
            _crews.pop((self._batch, self._worker.address), None)
            self._close()

    def _tell(self, seconds: float) -> None:
        """Let the batch know that the service asks to wait."""
        self._worker.log_event(topic(self._batch), {"until": time.time() + seconds})


class Share(Pace):
    """The pace of one worker: its part of the batch's places, which changes as workers come and go."""

    def __init__(self) -> None:
        super().__init__(1)

    def resize(self, places: int, rate: float | None) -> None:
        """Take another part."""
        self.rate = rate
        if places != self.max_active:
            # What the service has asked for stays in proportion.
            self._limit = max(1.0, self._limit * places / self.max_active)
            self.max_active = places

    def hold(self, until: float) -> None:
        """Let no call begin before a moment of the wall's clock."""
        seconds = min(until - time.time(), LONGEST_RETRY_AFTER)
        moment = time.monotonic() + seconds
        if seconds > 0 and moment > self.held_until:
            self.held_until = moment
            self._spread_left, self._spread_slot = self.limit, moment


class SharedGate(Gate):
    """The gate that all partitions in a worker share; it tells when the service asks to wait."""

    def __init__(self, pace: Pace, tell: Callable[[float], None]) -> None:
        super().__init__(pace)
        self._tell = tell
        self._told = 0.0

    def leave(self, wave: int, verdict: Verdict, retry_after: float | None = None) -> None:
        """Leave a place, and say how the call went."""
        super().leave(wave, verdict, retry_after)
        if self.pace.held_until > self._told + WORTH_TELLING and self.held:
            self._told = self.pace.held_until
            self._tell(self.held)

    def close(self) -> None:
        """Nothing: other partitions wait here."""

    def shut(self) -> None:
        """Let no timer outlive the batch."""
        super().close()


def _jobs(order: Order, begun: threading.Event) -> Iterator[Job]:
    """Yield the rows, and tell when the last one was taken."""
    try:
        for position, generation, number, request in order.requests():
            yield Job(position, request, generation, number)
    finally:
        begun.set()


def _room(request: ChatRequest, alone: bool) -> bool:
    return budgets.room()


def _allowance(order: Order) -> tuple[budgets.Budget, ...]:
    """Return what lets a partition stop by itself; its first row always goes, or it would come again for ever."""
    credits, tokens = order.credits, order.tokens
    if credits is None and tokens is None:
        return ()

    def check(spent: Spent) -> bool:
        return (credits is None or spent.credits < max(credits, Decimal("1e-9"))) and (
            tokens is None or spent.tokens < max(tokens, 1)
        )

    return (budgets.Budget(check=check),)
