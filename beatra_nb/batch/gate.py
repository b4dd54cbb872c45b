"""Where the calls of a batch wait for each other: the awaiting half of ``pace``, and a driver that keeps to it.

A row holds a place only while it is on the wire. While it rests between two attempts its place is another row's;
so a few rows in trouble do not slow down the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from beatra_nb.batch.pace import Pace, Verdict
from beatra_nb.core import policy
from beatra_nb.core.envelope import error_from
from beatra_nb.core.flow import Answer, Pause, Send
from beatra_nb.core.many import ManyTransport
from beatra_nb.core.transport import AsyncRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from beatra_nb.core.flow import Flow, Outcome, Wish
    from beatra_nb.core.transport import AsyncTransport

T = TypeVar("T")


class Gate:
    """The places of one batch, for coroutines of one loop. Rows that were sent before go first."""

    def __init__(self, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self.pace = pace
        self._clock = clock
        self._again: deque[asyncio.Future[None]] = deque()
        self._first: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None

    def try_enter(self) -> int | None:
        """Take a place if there is one at once, and nobody who was sent before waits for it; gives its wave."""
        now = self._clock()
        return self.pace.start(now) if not self._again and self.pace.delay(now) == 0.0 else None

    async def enter(self, *, again: bool = False) -> int:
        """Wait for a place and take it; gives its wave."""
        queue = self._again if again else self._first
        if not queue and (again or not self._again) and self.pace.delay(self._clock()) == 0.0:
            return self.pace.start(self._clock())
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._wake()
        try:
            while True:
                await turn
                if self.pace.delay(self._clock()) == 0.0:
                    return self.pace.start(self._clock())
                turn = asyncio.get_running_loop().create_future()
                queue.appendleft(turn)
                self._wake()
        finally:
            if turn in queue:
                queue.remove(turn)
            self._wake()

    def leave(self, wave: int, verdict: Verdict, retry_after: float | None = None) -> None:
        """Leave a place, and say how the call went."""
        self.pace.finish(self._clock(), wave, verdict, retry_after=retry_after)
        # Not at once: whoever leaves may go in again for its next row, and then nobody need wake up.
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._wake_now)

    def give_back(self) -> None:
        """Leave a place that nothing was sent from."""
        self.pace.give_back()
        self._wake()

    @property
    def held(self) -> float:
        """Seconds for which the service holds the batch."""
        return max(0.0, self.pace.held_until - self._clock())

    def close(self) -> None:
        """Let no timer outlive the batch."""
        for handle in (self._timer, self._soon):
            if handle is not None:
                handle.cancel()

    def _wake_now(self) -> None:
        self._soon = None
        self._wake()

    def _wake(self) -> None:
        """Let the next one in, or look again when it is time."""
        queue = self._again or self._first
        if not queue:
            return
        delay = self.pace.delay(self._clock())
        if delay is None:
            return  # whoever leaves wakes the next
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay > 0:
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake)
            return
        turn = queue.popleft()
        if not turn.done():
            turn.set_result(None)


class RowClock:
    """The clock of one row: it stands still while the whole batch is held, so that no time-out runs meanwhile."""

    __slots__ = ("_held", "_now")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._held = 0.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self._now() - self._held

    def stood_still(self, seconds: float) -> None:
        """Leave out a time that was spent waiting for the batch."""
        self._held += seconds


class PacedRun(AsyncRun[T]):
    """One row under way, in step with all the others.

    Attributes
    ----------
    clock : RowClock
        The row's own clock.
    on_wire : bool
        Whether its request has left and its answer has not come.
    """

    def __init__(
        self,
        transport: AsyncTransport,
        flow: Flow[T],
        *,
        gate: Gate,
        clock: RowClock,
        wave: int | None = None,
    ) -> None:
        super().__init__(transport, flow)
        self._gate = gate
        self.clock = clock
        self._wave = wave  # of a place that is already held
        self._limited = False
        self.on_wire = False

    async def _perform(self, wish: Wish) -> Outcome:
        if isinstance(wish, Send):
            return await self._send_in_turn(wish)
        if isinstance(wish, Pause):
            began = self.clock()
            await super()._perform(wish)
            if self._limited:
                self.clock.stood_still(self.clock() - began)
            return None
        return await super()._perform(wish)

    async def _send_in_turn(self, wish: Send) -> Outcome:
        wave, self._wave = self._wave, None
        if wave is None:
            began = self.clock()
            wave = await self._gate.enter(again=True)
            self.clock.stood_still(self.clock() - began)
        verdict: Verdict = "troubled"
        retry_after: float | None = None
        self.on_wire = True
        try:
            transport = self._transport
            if isinstance(transport, ManyTransport):
                outcome: Outcome = await transport.exchange(wish)
            else:
                outcome = await super()._perform(wish)
            verdict, retry_after = judge(outcome)
        finally:
            self.on_wire = False
            self._limited = verdict == "limited"
            self._gate.leave(wave, verdict, retry_after)
        return outcome

    def let_go(self) -> None:
        """Leave the place of a row that never came to send."""
        if self._wave is not None:
            self._wave = None
            self._gate.give_back()


def judge(outcome: Outcome) -> tuple[Verdict, float | None]:
    """Say what an attempt tells about the whole batch: how it went, and what the service asks to wait."""
    if not isinstance(outcome, Answer):
        return "troubled", None
    if outcome.status < 300:
        return "well", None
    error = error_from(outcome.status, outcome.headers, outcome.body)
    if not error.retryable:
        return "troubled", None
    asked_for = policy.retry_after(outcome.headers.get("retry-after"), time.time())
    if asked_for is not None and asked_for > policy.LONGEST_RETRY_AFTER:
        asked_for = None  # the row gives up, and the batch with it
    limited = error.code == "rate_limited" or outcome.status == 429
    return ("limited" if limited else "troubled"), asked_for
