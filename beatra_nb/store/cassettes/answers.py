"""Which recorded answer a request gets: by what it asks, in the order of asking, and call by call."""

from __future__ import annotations

import itertools
import json
import threading
from typing import TYPE_CHECKING

from beatra_nb.store.cassettes.nearest import difference

if TYPE_CHECKING:
    from beatra_nb.store.cassettes.exchange import Asked, Exchange

AGAIN = 50  # how often a task that was not over when its recording ended is told as it was


class Answers:
    """What was recorded, ready to be told again. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._index: dict[bytes, list[Exchange]] = {}  # by what is asked
        # The same by call, where the tape tells them apart.
        self._calls: dict[bytes, list[list[Exchange]]] = {}
        self._newest: dict[bytes, int] = {}
        self._told: dict[bytes, int] = {}
        # Which call's answers a key gets, and how many it had.
        self._given: dict[tuple[bytes, str], list[int]] = {}

    def __len__(self) -> int:
        return sum(len(exchanges) for exchanges in self._index.values())

    def add(self, exchange: Exchange, session: int) -> None:
        """Take an exchange of the so-manieth recording: of the same request, the newest recording counts alone."""
        digest = exchange.asked.digest
        newest = self._newest.get(digest, -1)
        if session < newest:
            return  # two have recorded at once, and this one began before the other
        if session > newest:
            self._newest[digest] = session
            self._index[digest] = []
        self._index[digest].append(exchange)

    def sort(self) -> None:
        """Put all of them in the order in which they were asked for."""
        for digest, exchanges in self._index.items():
            if not all(exchange.turn for exchange in exchanges):
                continue  # an older tape, or one that somebody wrote
            exchanges.sort(key=lambda exchange: exchange.turn)
            calls = itertools.groupby(exchanges, key=lambda exchange: exchange.turn)
            self._calls[digest] = [list(attempts) for _, attempts in calls]

    def next(self, asked: Asked, key: str | None = None) -> Exchange | None:
        """Return what answers a request now; None where nothing was recorded for it.

        The same request asked again gets its next recorded answer. When all were given, a look (GET) gets the last
        one again, as the thing looked at stays as it is; a POST begins anew, as a cell that is run again does.

        Where it has an idempotency key, another key is another call, which gets the answers of the next recorded
        call; so the second attempt of one row of a batch never gets the first answer of another.
        """
        digest = asked.digest
        with self._lock:
            recorded = self._index.get(digest)
            if not recorded:
                return None
            if key is not None and (calls := self._calls.get(digest)):
                return self._attempt(digest, key, calls)
            turn = self._told.get(digest, 0)
            self._told[digest] = turn + 1
        if turn < len(recorded):
            return recorded[turn]
        if asked.method != "GET":
            return recorded[turn % len(recorded)]
        last = recorded[-1]
        if turn - len(recorded) >= AGAIN and _under_way(last):
            return None  # whoever waits for it would wait for ever
        return last

    def _attempt(self, digest: bytes, key: str, calls: list[list[Exchange]]) -> Exchange:
        given = self._given.get((digest, key))
        if given is None:
            turn = self._told.get(digest, 0)
            self._told[digest] = turn + 1
            given = self._given[digest, key] = [turn % len(calls), 0]
        attempts = calls[given[0]]
        given[1] += 1
        return attempts[(given[1] - 1) % len(attempts)]

    def unlike(self, asked: Asked) -> str:
        """Say how a request differs from the nearest that was recorded."""
        return difference(asked, [exchanges[0].asked for exchanges in self._index.values()])

    @property
    def request_ids(self) -> set[str]:
        """The service's ids of the exchanges."""
        every = itertools.chain.from_iterable(self._index.values())
        return {each.headers["x-request-id"] for each in every if "x-request-id" in each.headers}


def _under_way(exchange: Exchange) -> bool:
    """Whether an answer is a task that is not over."""
    try:
        value = json.loads(exchange.body)
    except (ValueError, RecursionError):
        return False
    inner = value.get("task", value) if isinstance(value, dict) else None
    return isinstance(inner, dict) and inner.get("status") in ("queued", "running")
