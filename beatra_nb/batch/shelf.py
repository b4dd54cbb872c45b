"""What an earlier run has finished, read page by page beside the rows that are asked for.

In nearly every run each row stands where it stood before, and its answer is on the page. Only where one does not is
it looked up where the answers are that are nobody's yet (``open``). Each answer goes to one row, and first of all to
the one that stands where it was asked: several rows that ask the same keep answers of their own.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from beatra_nb.store.checkpoint import Checkpoint, Kept, Move, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beatra_nb.batch.delivery import Delivery

NOWHERE = 2**63 - 1  # beyond every position, and still a number to a database


class Shelf:
    """The answers of earlier runs, each to be taken once.

    Positions are asked for from the first on. What this run writes is at positions that were asked for already, so
    what is read later is as the earlier runs have left it.

    Parameters
    ----------
    delivery : Delivery
        Has the file.
    kept : bool
        Whether there is a file.
    empty : bool
        Whether there was no earlier run.
    moving : bool
        Whether rows may be at other places than before; otherwise each one is at its own, or nowhere.
    """

    def __init__(self, delivery: Delivery, *, kept: bool, empty: bool, moving: bool = True) -> None:
        self._delivery = delivery
        self._kept = kept
        self._moving = moving
        self._page: dict[tuple[int, bytes], Kept] = {}
        self._to = NOWHERE if empty else 0  # positions before this one are on the page, or were passed
        self._passed: list[Place] = []  # answers that nobody took, of earlier pages
        # The answers that are nobody's yet, by digest, the first one at the end; None until that is looked up.
        self._free: dict[bytes, list[Place]] | None = {} if empty else None
        self._begun: dict[
            bytes, list[Place]
        ] = {}  # the same of rows that are not finished: they have a number
        self._given: dict[bytes, int] = {}  # the numbers that rows have, as bits, by what they ask

    def knows(self, position: int) -> bool:
        """Whether a position need not be loaded first."""
        return position < self._to

    async def load(self, position: int) -> None:
        """Read on, as far as a position."""
        while position >= self._to:
            rows = await self._delivery.read(Checkpoint.page, self._to if self._moving else position)
            if self._free is None:
                self._passed += self._nobodys()
            self._page = {row[:2]: row for row in rows}
            self._to = rows[-1].position + 1 if rows else NOWHERE

    def take(self, position: int, body: bytes) -> Kept | None:
        """Take the answer that stands at a known position; None where there is none to this question."""
        kept = self._page.pop((position, body), None)
        if kept is not None and self._free is not None:
            self._strike(kept)
        return kept

    @property
    def opened(self) -> bool:
        """Whether it is known where the answers are that are nobody's yet."""
        return self._free is not None

    async def open(self) -> None:
        """Look up where they are; wanted as soon as a row has none at its place."""
        for body, number in await self._delivery.read(Checkpoint.numbers, 0):
            self._given[body] = self._given.get(body, 0) | 1 << number
        self._free = {}
        if self._moving:
            behind = await self._delivery.read(Checkpoint.places, self._to)
            for part in (behind, reversed(self._nobodys()), reversed(self._passed)):
                for place in part:
                    where = self._free if place.finished else self._begun
                    where.setdefault(place.body, []).append(place)
            self._passed = []

    def elsewhere(self, body: bytes) -> int | None:
        """Return the first place that has an answer which is nobody's yet; once they are known."""
        places = (self._free or {}).get(body) or self._begun.get(body)
        return places[-1].position if places else None

    def claim(self, body: bytes) -> tuple[Place, Kept | None]:
        """Take the answer from there: where it is, and itself if it is at hand."""
        assert self._free is not None  # noqa: S101 - there is such a place
        where = self._free if body in self._free else self._begun
        places = where[body]
        place = places.pop()
        if not places:
            del where[body]
        return place, self._page.pop((place.position, body), None)

    async def fetch(self, places: Sequence[Place]) -> list[Kept | None]:
        """Read answers that were claimed and are not at hand."""
        names = [(place.position, place.body) for place in places]
        found = await self._delivery.read(Checkpoint.find, names)
        return [found.get(name) for name in names]

    def move(self, kept: Kept, place: Place, position: int) -> Kept:
        """Give a claimed answer its new place, here and in the file."""
        self._delivery.move(Move(place.body, place.position, position))
        return kept._replace(position=position)

    def number(self, position: int, body: bytes) -> int:
        """Give a row that is sent its number among those that ask the same: the first that none of them has.

        Those that were under way when a run was killed have theirs again, in whatever order the data comes now:
        rows that ask the same are as good as each other.
        """
        if not self._kept:
            return position  # nothing will be looked for in another order
        given = self._given.get(body, 0)
        number = (~given & (given + 1)).bit_length() - 1
        self._given[body] = given | 1 << number
        return number

    def _nobodys(self) -> list[Place]:
        """Return where the answers are that are still on the page."""
        return [Place(row.body, row.position, row.finished) for row in self._page.values() if row.body]

    def _strike(self, kept: Kept) -> None:
        """Take a place out of those that are nobody's."""
        assert self._free is not None  # noqa: S101 - asked for by who has seen it
        where = self._free if kept.finished else self._begun
        position, body = kept.position, kept.body
        places = where.get(body)
        if places is None:
            return
        if places[-1].position == position:  # mostly: it is the first one
            at = len(places) - 1
        else:
            at = bisect_left(places, -position, key=lambda place: -place.position)
            if at == len(places) or places[at].position != position:
                return
        del places[at]
        if not places:
            del where[body]
