"""Which row is next: each one once, with what is kept of it, when it is clear which answer is its own.

A row whose answer stood further down in the data of an earlier run waits until that place is passed: a row that
stands there comes first. So the rows may come in another order than the data has.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from beatra_nb.batch import keys
from beatra_nb.batch.shelf import NOWHERE
from beatra_nb.core.errors import BeatraError

if TYPE_CHECKING:
    from collections.abc import Container

    from beatra_nb.batch.intake import Intake
    from beatra_nb.batch.shelf import Shelf
    from beatra_nb.core.request import ChatRequest
    from beatra_nb.store.checkpoint import Kept, Place

TOGETHER = 500  # answers from other places that are read at once


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
    number : int or None
        Which one it is of the rows that ask the same, where somebody else has said so.
    doubtful : bool
        Whether the question may have been answered, and paid, without our knowing.
    """

    position: int
    request: ChatRequest | BeatraError
    generation: int = 0
    number: int | None = None
    doubtful: bool = False


class Turn(NamedTuple):
    """A row whose turn it is.

    Attributes
    ----------
    job : Job
        The row.
    body : bytes
        The digest of what is to be sent; empty where nothing can be.
    kept : Kept or None
        What is kept of it.
    """

    job: Job
    body: bytes
    kept: Kept | None = None


class Turns:
    """Gives the rows of a batch.

    Parameters
    ----------
    intake : Intake
        Where they come from.
    shelf : Shelf
        What is kept of them.
    same : container of bytes, optional
        The digests of rows that stand for all that are alike: others that ask the same need no answer from elsewhere.
    """

    def __init__(self, intake: Intake[Job], shelf: Shelf, same: Container[bytes] | None = None) -> None:
        self._intake = intake
        self._shelf = shelf
        self._same = same
        self._held: Job | Exception | None = None  # what was read, and has to wait for the file
        self._over = False  # whether there is nothing more to read
        self.reading = False  # whether the next row is waited for, and none is in hand
        # Rows whose answer may be further down, by what they ask; and the first such place of each question.
        self._waiting: dict[bytes, deque[Job]] = {}
        self._places: list[tuple[int, bytes]] = []
        # Rows whose answer has to be read from the file, and those that go by such a row; by what they ask.
        self._wanted: list[tuple[Job, bytes, Place | None]] = []
        self._sought: set[bytes] = set()
        self._found: deque[Turn] = deque()

    @property
    def ready(self) -> bool:
        """Whether there may be a row at once."""
        waits = self._held is not None or self._over or self._waiting or self._wanted or self._found
        return not waits and self._intake.ready()

    def at_once(self) -> Turn | None:
        """Return the next row if there is one, and nothing has to be waited for; None leaves it to ``next``.

        Not to be called while that is awaited.
        """
        if not self.ready:
            return None
        try:
            job = self._intake.take()
        except Exception as problem:  # whoever awaits the next row hears of it
            self._held = problem
            return None
        if job is None:
            self._over = True
            return None
        turn = self._in_place(job)
        if turn is None:
            self._held = job
        return turn

    async def next(self) -> Turn | None:
        """Return the next row; None at the end."""
        while not self._found:
            if self._wanted and self._time_to_fetch():
                await self._fetch()
            elif self._over and not self._waiting:
                return None
            else:
                if not self._wanted:
                    self._sought.clear()
                job = await self._read()
                self._pass_by(NOWHERE if job is None else job.position)
                if job is not None:
                    await self._consider(job)
        return self._found.popleft()

    def ended(self) -> bool:
        """Whether all rows were given, as far as that can be said without waiting."""
        if self._held is None and not self._over and self._intake.ready():
            try:
                self._held = self._intake.take()
            except Exception as problem:
                self._held = problem
            self._over = self._held is None
        return self._over and not (self._waiting or self._wanted or self._found)

    async def _read(self) -> Job | None:
        held, self._held = self._held, None
        if isinstance(held, Exception):
            raise held
        if held is None and not self._over:
            self.reading = True
            try:
                held = self._intake.take() if self._intake.ready() else await self._intake.next()
            finally:
                self.reading = False
            self._over = held is None
        return held

    async def _consider(self, job: Job) -> None:
        """Find the answer of a row that was just read, or have it wait."""
        shelf = self._shelf
        if not shelf.knows(job.position):
            await shelf.load(job.position)
        turn = self._in_place(job)
        if turn is not None:
            self._found.append(turn)
            return
        if not shelf.opened:
            await shelf.open()
        assert not isinstance(job.request, BeatraError)  # noqa: S101 - it would be in its place
        body = keys.body_digest(job.request)
        place = shelf.elsewhere(body)
        if body in self._waiting:
            self._waiting[body].append(job)
        elif place is not None and place > job.position:
            self._waiting[body] = deque([job])
            heapq.heappush(self._places, (place, body))
        else:
            self._give(job, body)

    def _in_place(self, job: Job) -> Turn | None:
        """Return a row whose answer is where it should be, or nowhere; None if that is not known yet."""
        if isinstance(job.request, BeatraError):
            return Turn(job, b"")
        shelf = self._shelf
        if not shelf.knows(job.position):
            return None
        body = keys.body_digest(job.request)
        kept = shelf.take(job.position, body)
        if kept is None and not (self._same is not None and body in self._same):
            known = shelf.opened and shelf.elsewhere(body) is None and body not in self._sought
            return Turn(job, body) if known else None
        return Turn(job, body, kept)

    def _pass_by(self, position: int) -> None:
        """Wake those whose answer could have been another row's until now."""
        while self._places and self._places[0][0] < position:
            body = heapq.heappop(self._places)[1]
            waiting = self._waiting[body]
            while waiting:
                place = self._shelf.elsewhere(body)
                if place is not None and place >= position and self._same is None:
                    heapq.heappush(self._places, (place, body))
                    break
                self._give(waiting.popleft(), body)
            else:
                del self._waiting[body]

    def _give(self, job: Job, body: bytes) -> None:
        """Give a row the first answer that is nobody's, if there is one."""
        if self._same is not None:
            if body in self._same:
                self._found.append(Turn(job, body))
                return
            if body in self._sought:
                self._wanted.append((job, body, None))
                return
            self._sought.add(body)
        if self._shelf.elsewhere(body) is None:
            self._found.append(Turn(job, body))
            return
        place, kept = self._shelf.claim(body)
        if kept is None:
            self._wanted.append((job, body, place))
        else:
            self._found.append(Turn(job, body, self._shelf.move(kept, place, job.position)))

    def _time_to_fetch(self) -> bool:
        """Whether enough answers are wanted, or there is nothing to do but to fetch them."""
        if self._over or len(self._wanted) >= TOGETHER:
            return True
        return self._held is None and not self._intake.ready()

    async def _fetch(self) -> None:
        wanted, self._wanted = self._wanted, []
        answers = iter(await self._shelf.fetch([place for _, _, place in wanted if place is not None]))
        for job, body, place in wanted:
            kept = None if place is None else next(answers)
            if kept is not None and place is not None:
                kept = self._shelf.move(kept, place, job.position)
            self._found.append(Turn(job, body, kept))
