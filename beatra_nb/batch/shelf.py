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
    from collections.abc import Iterable, Sequence

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
    empty : bool
        Whether there was no earlier run.
    moving : bool
        Whether rows may be at other places than before; otherwise each one is at its own, or nowhere.
    """

    def __init__(self, delivery: Delivery, *, empty: bool, moving: bool = True) -> None:
        self._delivery = delivery
        self._moving = moving
        self._page: dict[tuple[int, bytes], Kept] = {}
        self._to = NOWHERE if empty else 0  # positions before this one are on the page, or were passed
        self._passed: list[Place] = []  # answers that nobody took, of earlier pages
        # The answers that are nobody's yet, by digest, the first one at the end; None until that is looked up.
        self._free: dict[bytes, list[Place]] | None = {} if empty else None
        # Where answers were asked that have moved since → the first generation to ask with.
        self._gone: dict[tuple[int, bytes], int] = {}

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
            self._note(Place.of(row) for row in rows if row.origin is not None)
            self._to = rows[-1].position + 1 if rows else NOWHERE

    def take(self, position: int, body: bytes) -> Kept | None:
        """Take the answer that stands at a known position; None where there is none to this question."""
        kept = self._page.pop((position, body), None)
        if kept is not None and self._free:
            self._strike(position, body)
        return kept

    @property
    def opened(self) -> bool:
        """Whether it is known where the answers are that are nobody's yet."""
        return self._free is not None

    async def open(self) -> None:
        """Look up where they are; wanted as soon as a row has none at its place."""
        behind = await self._delivery.read(Checkpoint.places, self._to if self._moving else 0)
        self._free = {}
        if self._moving:
            for part in (behind, reversed(self._nobodys()), reversed(self._passed)):
                for place in part:
                    self._free.setdefault(place.body, []).append(place)
            self._passed = []
        else:  # pages may be left out here
            self._note(place for place in behind if place.origin != place.position)

    def elsewhere(self, body: bytes) -> int | None:
        """Return the first place that has an answer which is nobody's yet; once they are known."""
        places = (self._free or {}).get(body)
        return places[-1].position if places else None

    def claim(self, body: bytes) -> tuple[Place, Kept | None]:
        """Take the answer from there: where it is, and itself if it is at hand."""
        assert self._free is not None  # noqa: S101 - there is such a place
        places = self._free[body]
        place = places.pop()
        if not places:
            del self._free[body]
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

    def generation(self, position: int, body: bytes) -> int:
        """Return the first generation to ask a row with: its key must not be that of an answer that has moved."""
        return self._gone.get((position, body), 0)

    def _nobodys(self) -> list[Place]:
        """Return where the answers are that are still on the page."""
        return [Place.of(row) for row in self._page.values() if row.finished]

    def _strike(self, position: int, body: bytes) -> None:
        """Take a place out of those that are nobody's."""
        assert self._free is not None  # noqa: S101 - asked for by who has seen it
        places = self._free.get(body)
        if places is None:
            return
        if places[-1].position == position:  # mostly: it is the first one
            at = len(places) - 1
        else:
            at = bisect_left(places, -position, key=lambda place: -place.position)
            if at == len(places) or places[at].position != position:
                return  # it is not finished
        del places[at]
        if not places:
            del self._free[body]

    def _note(self, moved: Iterable[Place]) -> None:
        for place in moved:
            name = place.origin, place.body
            self._gone[name] = max(self._gone.get(name, 0), place.generation + 1)
