"""The arithmetic of a budget: what is spent, what is set aside, what is left. Pure but for its lock.

    reserve   what a call may cost is set aside, if there is room for it
    settle    what was set aside is given up for what the call came to: something, nothing, or nobody knows
    refund    what comes back of a task's price is no longer spent

A call is known by its idempotency key, and each key is paid once, however often it is sent.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from beatra_nb.core.seams import Showable

if TYPE_CHECKING:
    from datetime import datetime

    from beatra_nb.core.costs import Estimate

NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Spent(Showable):
    """What calls have cost, or may cost.

    Attributes
    ----------
    credits : Decimal
        Credits.
    tokens : int
        Tokens, asked and answered.
    calls : int
        How many calls.
    """

    credits: Decimal = NONE
    tokens: int = 0
    calls: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.credits + other.credits, self.tokens + other.tokens, self.calls + other.calls)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.credits - other.credits, self.tokens - other.tokens, self.calls - other.calls)


@dataclass(frozen=True, slots=True)
class Left(Showable):
    """What a budget has left; None where it has no bound.

    Attributes
    ----------
    credits : Decimal or None
        Credits.
    tokens : int or None
        Tokens.
    """

    credits: Decimal | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Paid:
    """What a call came to.

    Attributes
    ----------
    amount : Spent
        What it cost.
    told : bool
        False where nobody said so, and it is an estimate.
    sandbox : bool
        Whether a sandbox was paid.
    task : str
        The task whose price it is, which may still come back.
    recorded : datetime or None
        When the answer was recorded, where it is on a cassette.
    replayed : bool
        Whether it came from there: then it cost nothing, and is counted as it cost when it was recorded.
    """

    amount: Spent
    told: bool = True
    sandbox: bool = False
    task: str = ""
    recorded: datetime | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why there is no room for a call, in one unit."""

    unit: str
    bound: Any
    spent: Any
    aside: Any
    expected: Any


class Purse:
    """Bounds, and what has been taken of them. Safe in many threads.

    Attributes
    ----------
    credits, tokens
        The bounds; None where there is none.
    spent, flying, maybe : Spent
        What was paid, what is set aside for calls under way, and for calls that nobody knows the end of.
    unpriced : int
        Paid calls that did not say what they cost.
    sandbox : bool
        Whether a sandbox was paid.
    recorded : datetime or None
        When the last answer that is on a cassette was recorded.
    replayed : Spent
        What of the spent was only played again.
    """

    def __init__(self, credits: Decimal | None = None, tokens: int | None = None) -> None:
        self.credits, self.tokens = credits, tokens
        self.spent, self.flying, self.maybe = Spent(), Spent(), Spent()
        self.unpriced = 0
        self.sandbox = False
        self.recorded: datetime | None = None
        self.replayed = Spent()
        self._doubts: dict[str, Spent] = {}  # key → what is set aside for a call that nobody knows the end of
        self._keys: set[int] = set()  # hashes of the keys that were paid
        self._tasks: dict[str, tuple[Decimal, Decimal]] = {}  # task → its price, and what came back of it
        # Re-entrant, and what is settled goes through a queue: the garbage collector may finish an abandoned stream,
        # and so settle it, in the midst of any change here.
        self._lock = threading.RLock()
        self._busy = False
        self._news: deque[Callable[[], None]] = deque()

    def used(self) -> Spent:
        """Return what is no longer free: spent, under way, or maybe spent."""
        self._catch_up()
        with self._lock:
            return self.spent + self.flying + self.maybe

    def aside(self) -> Spent:
        """Return what is set aside."""
        self._catch_up()
        with self._lock:
            return self.flying + self.maybe

    def left(self) -> Left:
        """Return what is free, never less than nothing."""
        used = self.used()
        return Left(
            None if self.credits is None else max(self.credits - used.credits, NONE),
            None if self.tokens is None else max(self.tokens - used.tokens, 0),
        )

    def more(self, credits: Decimal, tokens: int) -> None:
        """Raise the bounds that there are."""
        with self._lock:
            self.credits = None if self.credits is None else self.credits + credits
            self.tokens = None if self.tokens is None else self.tokens + tokens

    def shortage(self, estimate: Estimate) -> Shortage | None:
        """Return why there is no room for a call; None if there is."""
        with self._lock:
            used, spent = self.used(), self.spent
        kinds: tuple[tuple[str, Any, Any, Any, Any, Any], ...] = (
            ("credits", self.credits, used.credits, spent.credits, estimate.sure_credits, estimate.credits),
            ("tokens", self.tokens, used.tokens, spent.tokens, estimate.sure_tokens, estimate.tokens),
        )
        for unit, bound, taken, paid, sure, expected in kinds:
            if bound is not None and (taken >= bound or taken + sure > bound):
                return Shortage(unit, bound, paid, taken - paid, expected)
        return None

    def reserve(self, key: str | None, estimate: Estimate) -> Spent | Shortage:
        """Set aside what a call may cost, and return it; or return why there is no room, with nothing changed."""
        with self._changing():
            if key is not None and hash(key) in self._keys:
                return Spent()  # the service answers the same key with what was paid for
            if key is not None and key in self._doubts:
                amount = self._doubts.pop(key)  # its room was never given up
                self.maybe -= amount
            else:
                if (problem := self.shortage(estimate)) is not None:
                    return problem
                amount = Spent(estimate.credits, estimate.tokens, 1)
            self.flying += amount
            return amount

    def settle(self, key: str | None, amount: Spent, paid: Paid | None, *, maybe: bool = False) -> None:
        """Give up what was set aside for what the call came to: ``paid``, nothing, or ``maybe`` that much."""

        def change() -> None:
            self.flying -= amount
            if key is not None and hash(key) in self._keys:
                return
            if maybe:
                self.maybe += amount
                if key is not None:
                    self._doubts[key] = self._doubts.get(key, Spent()) + amount
            elif paid is not None:
                if key is not None:
                    self._keys.add(hash(key))
                self.spent += paid.amount
                self.unpriced += not paid.told
                self.sandbox = self.sandbox or paid.sandbox
                self.recorded = paid.recorded or self.recorded
                self.replayed += paid.amount if paid.replayed else Spent()
                if paid.task:
                    self._tasks[paid.task] = paid.amount.credits, NONE

        self._later(change)

    def refund(self, task: str, total: Decimal) -> None:
        """Take back what came back of a task's price; ``total`` is all that has come back so far."""

        def change() -> None:
            if task not in self._tasks:
                return  # somebody else has paid for it
            price, back = self._tasks[task]
            news = min(total, price) - back  # told at each look, and given back once
            if news > 0:
                self._tasks[task] = price, back + news
                self.spent -= Spent(news)

        self._later(change)

    def _later(self, change: Callable[[], None]) -> None:
        """Make a change now, or when the one that is being made further down this thread is done."""
        self._news.append(change)
        self._catch_up()

    def _catch_up(self) -> None:
        with self._lock:
            if self._busy:
                return
            self._busy = True
            try:
                while self._news:
                    self._news.popleft()()
            finally:
                self._busy = False

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            self._busy = True
            try:
                yield
            finally:
                self._busy = False
                self._catch_up()
