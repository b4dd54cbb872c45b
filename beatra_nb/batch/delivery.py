"""From a finished row to its report: on the disk first, then told. Several rows share one transaction.

Writing happens in a thread, so that the calls under way are not held up by the disk; a group is all that has
finished since the last one. The journal's rows travel the same way.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from beatra_nb.batch.outcome import Outcome, Trouble, money
from beatra_nb.store.checkpoint import DEDUPED, PAGE, SANDBOX, Kept, Move

if TYPE_CHECKING:
    from collections.abc import Callable

    from beatra_nb.store.checkpoint import Checkpoint, Place
    from beatra_nb.store.entry import Entry
    from beatra_nb.store.journal import Journal

GROUP = 0.02  # seconds in which finished rows gather for one transaction
JOURNAL_GROUP = 0.25  # the journal is in no hurry
MOST_WAITING = 2000  # finished rows that wait for the disk, before no more are begun
_LARGEST = 2**62  # what a database and a service's arithmetic both hold


class JournalQueue:
    """Stands in for the journal: takes rows at once, and has them written in groups."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def record(self, entry: Entry) -> None:
        """Take a row."""
        self.entries.append(entry)


class Delivery:
    """Takes finished rows; reports them in the order in which they were finished, each once it is durable.

    Attributes
    ----------
    problem : Exception or None
        Why the checkpoint could not be written: rows from then on were not reported.
    """

    def __init__(
        self,
        report: Callable[[Outcome], None],
        checkpoint: Checkpoint | None,
        journal: Journal | None,
        on_problem: Callable[[Exception], None],
    ) -> None:
        self._report = report
        self._checkpoint = checkpoint
        self._journal = journal
        self.queue = JournalQueue() if journal is not None else None
        self.problem: Exception | None = None
        self._rows: list[tuple[bytes, Outcome]] = []
        self._moves: list[Move] = []
        self._loop = asyncio.get_running_loop()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="beatra-nb checkpoint")
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._on_problem = on_problem
        self._closing = False

    def add(self, body: bytes, outcome: Outcome) -> None:
        """Take a finished row."""
        if self._checkpoint is None:
            self._report(outcome)
        else:
            self._rows.append((body, outcome))
            if len(self._rows) >= MOST_WAITING:
                self._room.clear()
        self._schedule(GROUP if self._rows else JOURNAL_GROUP)

    @property
    def has_room(self) -> bool:
        """Whether the disk has caught up."""
        return self._room.is_set()

    async def room(self) -> None:
        """Wait until it has."""
        if not self._room.is_set():
            await self._room.wait()

    async def page(self, first: int) -> list[Kept]:
        """Read finished rows of earlier runs, in the thread that has the file."""
        assert self._checkpoint is not None  # noqa: S101 - asked for by who knows that there is one
        return await self._loop.run_in_executor(self._disk, self._checkpoint.page, first)

    async def find(self, position: int, body: bytes) -> Kept | None:
        """Read one finished row of earlier runs."""
        assert self._checkpoint is not None  # noqa: S101 - as above
        return await self._loop.run_in_executor(self._disk, self._checkpoint.find, position, body)

    async def places(self) -> dict[bytes, list[Place]]:
        """Read where the finished rows of earlier runs are."""
        assert self._checkpoint is not None  # noqa: S101 - as above
        return await self._loop.run_in_executor(self._disk, self._checkpoint.places)

    def move(self, move: Move) -> None:
        """Have a row moved, before any row is written that comes after this."""
        self._moves.append(move)
        self._schedule(GROUP)

    async def close(self) -> None:
        """Write and report what waits."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        try:
            if self.problem is None and self._anything():
                await self._write()
        finally:
            self._disk.shutdown(wait=False)

    def _anything(self) -> bool:
        return bool(self._rows or self._moves) or (self.queue is not None and bool(self.queue.entries))

    def _schedule(self, seconds: float) -> None:
        free = self._timer is None and self._writing is None and not self._closing
        if free and self.problem is None and self._anything():
            self._timer = self._loop.call_later(seconds, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._writing = self._loop.create_task(self._write_on())

    async def _write_on(self) -> None:
        try:
            await self._write()
        finally:
            self._writing = None
            self._schedule(GROUP if self._rows else JOURNAL_GROUP)

    async def _write(self) -> None:
        rows, self._rows = self._rows, []
        moves, self._moves = self._moves, []
        entries: list[Entry] = []
        if self.queue is not None:
            entries, self.queue.entries = self.queue.entries, []
        try:
            await self._loop.run_in_executor(self._disk, self._put, rows, moves, entries)
        except Exception as problem:
            self._give_up(problem)
            return
        self._room.set()
        try:
            for _, outcome in rows:
                self._report(outcome)
        except Exception as problem:
            self._give_up(problem)

    def _give_up(self, problem: Exception) -> None:
        self.problem = problem
        self._room.set()
        self._on_problem(problem)

    def _put(self, rows: list[tuple[bytes, Outcome]], moves: list[Move], entries: list[Entry]) -> None:
        if (rows or moves) and self._checkpoint is not None:
            self._checkpoint.write([kept_of(body, outcome) for body, outcome in rows], moves)
        if entries and self._journal is not None:
            self._journal.record_many(entries)


class Shelf:
    """The rows that an earlier run has finished, read page by page beside the rows that are asked for.

    A row that is not at its place may be at another one: the data came in another order, or with rows in between.
    Each answer goes to one row, and first of all to the one that stands where it was asked: several rows that ask
    the same keep answers of their own. So an answer from further down is free only when that place is passed.

    Attributes
    ----------
    moving : bool
        Whether rows may be at other places than before.
    """

    def __init__(self, delivery: Delivery, *, empty: bool, moving: bool = True) -> None:
        self._delivery = delivery
        self._page: dict[tuple[int, bytes], Kept] = {}
        self._to = (
            2**63 if empty else 0
        )  # positions before this one are in the page, were passed, or are nowhere
        self.moving = moving and not empty
        self._free: dict[bytes, list[Place]] | None = None  # by digest; the first place is at the end
        self._gone: dict[
            tuple[int, bytes], int
        ] = {}  # generations that have moved from where they were asked
        self._moved: set[tuple[int, bytes]] = (
            set()
        )  # rows that the file may still have at their former places

    def known(self, position: int) -> bool:
        """Whether a position need not be loaded first."""
        return position < self._to

    async def load(self, position: int) -> None:
        """Read the rows from a position on."""
        if self.moving and self._free is None:
            self._free = await self._delivery.places()
            for body, places in self._free.items():
                for place in places:
                    if place.origin != place.position:
                        self._leave(body, place)
        rows = await self._delivery.page(position)
        # What was moved on its way to the disk is no longer where it was.
        self._page = {
            (row.position, row.body): row for row in rows if (row.position, row.body) not in self._moved
        }
        # Rows beyond the last one that was read are not known yet; where it was the last of all, none is there.
        self._to = rows[-1].position + 1 if len(rows) >= PAGE else 2**63

    def find(self, position: int, body: bytes) -> Kept | None:
        """Return the row of a known position, if there is one with this body."""
        return self._page.get((position, body))

    def settled(self, position: int, body: bytes) -> bool:
        """Whether a row of a known position is where it should be, or nowhere."""
        if self._free is None or (places := self._free.get(body)) is None:
            return True
        if (position, body) not in self._page:
            return False
        if places[-1].position == position:  # mostly: it is the first one that was not passed yet
            self._take(body, -1)
            return True
        at = next((at for at, place in enumerate(places) if place.position == position), None)
        if at is not None:
            self._take(body, at)
        return True

    def elsewhere(self, body: bytes) -> int | None:
        """Return the first other place that has an answer which is nobody's yet."""
        places = (self._free or {}).get(body)
        return places[-1].position if places else None

    async def fetch(self, position: int, body: bytes) -> None:
        """Move the answer from that place to this one."""
        assert self._free is not None  # noqa: S101 - there is such a place
        place = self._take(body, -1)
        kept = self._page.pop((place.position, body), None)
        if kept is None:
            kept = await self._delivery.find(place.position, body)
        if kept is None:
            return
        self._leave(body, place)
        self._moved.add((place.position, body))
        self._delivery.move(Move(body, place.position, position))
        self._page[position, body] = kept._replace(position=position)

    def generation(self, position: int, body: bytes) -> int:
        """Return the first generation to ask a row with: its key must not be that of an answer that has moved."""
        return self._gone.get((position, body), 0)

    def _take(self, body: bytes, at: int) -> Place:
        assert self._free is not None  # noqa: S101 - there is such a place
        places = self._free[body]
        place = places.pop(at)
        if not places:
            del self._free[body]
        return place

    def _leave(self, body: bytes, place: Place) -> None:
        name = (place.origin, body)
        self._gone[name] = max(self._gone.get(name, 0), place.generation + 1)


def kept_of(body: bytes, outcome: Outcome) -> Kept:
    """Return a row as the checkpoint keeps it."""
    return Kept(
        outcome.position,
        body,
        outcome.generation,
        outcome.finished,
        outcome.text,
        outcome.request_id,
        outcome.model,
        None if outcome.credits is None else str(outcome.credits),
        min(outcome.prompt_tokens, _LARGEST),
        min(outcome.completion_tokens, _LARGEST),
        outcome.attempts,
        outcome.elapsed,
        None if outcome.error is None else outcome.error.to_json(),
        (DEDUPED if outcome.deduped else 0) | (SANDBOX if outcome.sandbox else 0),
    )


def outcome_of(kept: Kept, data: object = None) -> Outcome:
    """Return a row that was kept."""
    return Outcome(
        kept.position,
        kept.text,
        data,
        kept.request_id,
        kept.model,
        money(kept.credits),
        kept.prompt_tokens,
        kept.completion_tokens,
        kept.attempts,
        kept.elapsed,
        None if kept.error is None else Trouble.from_json(kept.error),
        deduped=bool(kept.flags & DEDUPED),
        stored=True,
        generation=kept.generation,
        sandbox=bool(kept.flags & SANDBOX),
    )
