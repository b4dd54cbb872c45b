"""What travels between a batch and the workers of a cluster: rows out, outcomes back, as bytes.

Bytes, so that a scheduler needs to know nothing of a notebook's classes, and shows nothing of them. Classes of the
notebook itself travel by value, and what was made of them there comes home as their own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from beatra_nb.batch.outcome import Outcome, Trouble
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.lenient import load
from beatra_nb.core.request import ChatRequest
from beatra_nb.core.settings import Timeouts
from beatra_nb.store.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beatra_nb.core.typed import Shape

# A row's request without what can be made again: its body from the JSON, its key from the run.
_MADE = ("body", "frame", "key", "wire_key")
_ASKED = tuple(each.name for each in fields(ChatRequest) if each.name not in _MADE)
_TOLD = tuple(each.name for each in fields(Outcome))
_SHAPE = _ASKED.index("shape")
_ask = attrgetter(*_ASKED)
_tell = attrgetter(*_TOLD)
Packed: TypeAlias = "tuple[int, int, int, tuple[Any, ...]]"
_DATA, _TEXT = _TOLD.index("data"), _TOLD.index("text")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is the same for a whole batch.

    Attributes
    ----------
    run_id : str
        The run's name, which keys follow from.
    base_url, timeouts, max_attempts
        As of the client.
    journal : bool
        Whether calls leave rows for the journal.
    """

    run_id: str
    base_url: str
    timeouts: Timeouts
    max_attempts: int
    journal: bool


@dataclass(frozen=True, slots=True)
class Order:
    """A partition: rows to be asked about, and how.

    Attributes
    ----------
    rows : list of (int, int, int, tuple)
        Position, generation, number and request of each.
    places : int
        How many calls a worker may have under way at once.
    more : frozenset of str
        The workers that may have one more.
    rate : float or None
        How many it may begin a second.
    held_until : float
        When the service lets anybody begin again, by the wall's clock.
    credits, tokens : Decimal or int or None
        When to stop: the partition's own part of the budgets.
    """

    rows: list[Packed]
    places: int
    more: frozenset[str] = frozenset()
    rate: float | None = None
    held_until: float = 0.0
    credits: Decimal | None = None
    tokens: int | None = None

    @property
    def shape(self) -> Shape | None:
        """What the rows' answers are to be."""
        return self.rows[0][3][_SHAPE] if self.rows else None

    def requests(self) -> Iterator[tuple[int, int, int, ChatRequest]]:
        """Yield the rows as they were."""
        for position, generation, number, asked in self.rows:
            known = dict(zip(_ASKED, asked, strict=True))
            request = ChatRequest(body=load(known["json"]), key="", wire_key="", **known)
            yield position, generation, number, request


def packed(position: int, generation: int, number: int, request: ChatRequest) -> Packed:
    """Return a row as an order takes it."""
    return position, generation, number, _ask(request)


@dataclass(slots=True)
class Report:
    """What became of a partition.

    Attributes
    ----------
    rows : list of tuple
        The rows that are done.
    entries : list of Entry
        What the journal shall know.
    stopped : str or None
        Why not all rows are done.
    trouble : Trouble or None
        The failure that it stopped for.
    elapsed : float
        Seconds.
    stranger : str or None
        The address of a worker that was not introduced to this batch: it has done nothing.
    """

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    stopped: str | None = None
    trouble: Trouble | None = None
    elapsed: float = 0.0
    stranger: str | None = None

    def take(self, outcome: Outcome) -> None:
        """Take a row that is done."""
        self.rows.append(_tell(outcome))

    def outcomes(self) -> list[Outcome]:
        """Return the rows that are done."""
        return [Outcome(*row) for row in self.rows]

    def to_bytes(self, *, whole: bool = True) -> bytes:
        """Write it down; not ``whole`` without what was parsed, which is also left out where it cannot travel."""
        if not whole:
            self.rows = [(*row[:_DATA], None, *row[_DATA + 1 :]) for row in self.rows]
        try:
            return _pickled(self)
        except Exception:
            if not whole:
                raise
            return self.to_bytes(whole=False)

    def worth_sending(self, shape: Shape) -> bool | None:
        """Whether what was parsed is sooner read than parsed once more from its text; None if there is nothing yet.

        Most of it is not: parsing is fast. It is where code of the user's own checks it, or works on it.
        """
        data, text = next(
            ((row[_DATA], row[_TEXT]) for row in self.rows if row[_DATA] is not None and row[_TEXT]),
            (None, None),
        )
        if data is None:
            return None
        try:
            sent = _pickled(data)
            return _time_of(shape.parse, text) > _time_of(from_bytes, sent)
        except Exception:
            return False


def to_bytes(order: Order) -> bytes:
    """Write an order down.

    Raises
    ------
    InvalidInput
        If the schema is made of what cannot travel.
    """
    try:
        return _pickled(order)
    except Exception as problem:
        reason = f"{type(problem).__name__}: {problem}"
    raise InvalidInput(
        f"The rows' schema cannot be sent to the cluster's workers ({reason:.200}).",
        hint="Define its classes in a module that the workers can import.",
    )


def from_bytes(data: bytes) -> Any:  # noqa: ANN401
    """Read an order or a report."""
    from distributed.protocol.pickle import loads

    return loads(data)  # type: ignore[no-untyped-call]


def _time_of(what: Callable[[Any], object], given: object) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        what(given)
        times.append(time.perf_counter() - began)
    return min(times)


def _pickled(thing: object) -> bytes:
    from distributed.protocol.pickle import dumps  # by value what belongs to a notebook

    data: bytes = dumps(thing)  # type: ignore[no-untyped-call]
    return data
