"""What a client records to or replays from: a cassette, how fast it goes, and a clock of its own."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from beatra_nb.core import seams
from beatra_nb.core.costs import Prices
from beatra_nb.core.errors import ConfigurationError, NotRecorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beatra_nb.core.flow import Context, Recorder
    from beatra_nb.core.scrub import Scrubber
    from beatra_nb.store.cassettes.cassette import Cassette
    from beatra_nb.store.cassettes.exchange import Asked, Exchange
    from beatra_nb.store.entry import Entry
    from beatra_nb.store.jobs import Jobs


class Clock:
    """A clock that goes on by the pauses that are not waited for.

    Each call skips for itself: the calls of others, in other threads or tasks, must not run out of time by it.
    """

    def __init__(self) -> None:
        self._here = threading.local()

    def now(self) -> float:
        """Return the time, in seconds, as the call under way has it."""
        return time.monotonic() + cast(float, getattr(self._here, "skipped", 0.0))

    def skip(self, seconds: float) -> None:
        """Set how far the call that goes on now is ahead."""
        self._here.skipped = seconds


@dataclass
class Tape:
    """What a client records to or replays from; its async twin shares it.

    Attributes
    ----------
    cassette : Cassette
        The folder.
    replays : bool
        Whether answers come from it; else they are written to it.
    speed : float
        How fast a replay goes: 1 as it was recorded, 2 twice as fast, 0 without any waiting.
    jobs : Jobs or None
        The jobs of this session alone: what this machine remembers of others would not be on the tape.
    """

    cassette: Cassette
    replays: bool
    speed: float = 1.0
    jobs: Jobs | None = None
    clock: Clock = field(default_factory=Clock)
    # Of its own calls alone, so that budgets go the same way again.
    prices: Prices = field(default_factory=Prices)

    def pause(self, seconds: float) -> float:
        """Return how much of a pause is waited for."""
        if not self.replays:
            return seconds
        return seconds / self.speed if self.speed else 0.0

    def check(self) -> None:
        """Raise if there is nothing to replay from.

        Raises
        ------
        NotRecorded
            If there is no cassette.
        """
        if self.replays and not self.cassette.exists:
            name = self.cassette.name
            raise NotRecorded(f"There is no cassette {name} to replay from.", hint=how_to_record(name))

    def play(self, asked: Asked, key: str | None) -> Exchange:
        """Return what was recorded for a request with an idempotency key.

        Raises
        ------
        NotRecorded
            If nothing was.
        """
        if (exchange := self.cassette.next(asked, key)) is not None:
            return exchange
        self.check()
        name = self.cassette.name
        raise NotRecorded(
            f"{asked.line[:200]} was not recorded as it is asked here. {self.cassette.unlike(asked)}",
            hint=f"Nothing was sent. {how_to_record(name)}",
        )

    def context(self, context: Context) -> Context:
        """Return what the flows of a client with this tape look at.

        Pauses are the same each time, so that what is shown of a retry is; audio comes from the tape, not from the
        files that this machine has kept.
        """
        context = replace(context, rand=lambda: 0.5, now=self.clock.now, files=None, prices=self.prices)
        if context.jobs is not None:
            context = replace(context, jobs=self.jobs)
        if self.replays:
            journal = context.journal and ReplayJournal(context.journal, self.cassette.name)
            context = replace(context, free=True, journal=journal)
        return context

    def keep(self, exchange: Exchange, base_url: str, scrub: Scrubber) -> None:
        """Write an exchange down; a disk that is full costs nobody an answer, nor a wrong key a whole recording."""
        if self.cassette.at_stake and exchange.status in (401, 403):
            return
        try:
            source = "sandbox" if "x-beatra-sandbox" in exchange.headers else "live"
            self.cassette.begin(base_url, source)
            self.cassette.write(exchange, scrub)
        except ConfigurationError as error:
            seams.say_once("cassette", str(error))

    def tell_unasked(self, kept: Sequence[str | None], checkpoint: str) -> None:
        """Tell, once, that a batch which is recorded took answers from a checkpoint that are not on the tape.

        Parameters
        ----------
        kept : sequence of str
            The request ids of those answers.
        checkpoint : str
            The file.
        """
        known = self.cassette.request_ids
        lacking = sum(1 for request_id in kept if request_id not in known)
        if not self.replays and lacking:
            rows, them = ("1 row", "it") if lacking == 1 else (f"{lacking:,} rows", "them")
            seams.say_once(
                f"unasked {checkpoint}",
                f"{rows} came from the checkpoint {checkpoint!r} without being asked, so the cassette "
                f"{self.cassette.name} does not have {them}, and a replay will miss {them}. To record the whole "
                "batch, run it once more with a new checkpoint, or without one.",
            )


class ReplayJournal:
    """The journal as a replay writes it: its calls went to a cassette, and cost nothing."""

    def __init__(self, inner: Recorder, name: str) -> None:
        self._inner, self._where = inner, f"cassette {name}"

    def record(self, entry: Entry) -> object:
        """Write one row."""
        return self._inner.record(replace(entry, base_url=self._where, credits=None))


def how_to_record(name: str) -> str:
    """Say how a cassette is made."""
    return (
        f"To record it, run with BEATRA_MODE=record BEATRA_CASSETTE={name}, or begin the notebook with "
        f"bn.record({name!r})."
    )
