"""The live card of a batch: how far it is, how fast it goes, and what holds it up."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beatra_nb.core import seams

if TYPE_CHECKING:
    from beatra_nb.batch.pace import Pace
    from beatra_nb.batch.result import Tallying, Totals
    from beatra_nb.batch.stop import Stop
    from beatra_nb.display.live_batch import BatchPainter

RECENT = 80  # looks back that the rate is taken over


@dataclass(frozen=True)
class Progress(seams.Showable):
    """How far a batch is: what the live card shows.

    Attributes
    ----------
    totals : Totals
        The figures so far.
    rate : float or None
        Rows a second, over the last few seconds.
    left : float or None
        Seconds that the rest may take.
    active : int
        Calls under way.
    state : str
        What is going on, where it is more than asking.
    """

    totals: Totals
    rate: float | None = None
    left: float | None = None
    active: int = 0
    state: str = ""


class Card:
    """Shows a batch while it runs; nothing of it stays where the batch ends in an error of its own."""

    def __init__(self, tally: Tallying, pace: Pace, stop: Stop, *, show: bool) -> None:
        self._tally = tally
        self._pace = pace
        self._stop = stop
        self._show = show
        self._began = time.monotonic()
        self._recent: list[tuple[float, int]] = []
        self._painter: BatchPainter | None = None

    def __enter__(self) -> Card:
        if self._show:
            from beatra_nb.display import live_batch

            self._painter = live_batch.batch_painter()
        return self

    def __exit__(self, *_: object) -> None:
        painter, self._painter = self._painter, None
        if painter is not None:
            painter.drop()

    def close(self, obj: object) -> None:
        """Show what came of the batch, for good."""
        painter, self._painter = self._painter, None
        if painter is not None:
            painter.finish(obj)

    def draw(self) -> None:
        """Show how far it is."""
        if self._painter is None:
            return
        now = time.monotonic()
        totals = self._tally.totals(now - self._began, times=False)
        finished = totals.done + totals.failed - totals.resumed
        self._recent.append((now, finished))
        del self._recent[:-RECENT]
        since, before = self._recent[0]
        rate = (finished - before) / (now - since) if now - since > 0.3 and finished > before else None
        left = None
        if rate and totals.total is not None:
            left = max(0, totals.total - totals.done - totals.failed) / rate
        self._painter.update(Progress(totals, rate, left, self._pace.active, self._state(now)))

    def _state(self, now: float) -> str:
        if self._stop.level:
            return "stopping: what is under way has a moment to come home"
        if (held := self._pace.held_until - now) > 0.5:
            return f"the service asks to wait: going on in {held:.0f} s"
        if self._pace.limit < self._pace.max_active:
            return f"slowed down to {self._pace.limit} at once"
        return ""
