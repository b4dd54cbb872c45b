"""How many calls a batch has under way, and when the next may begin. Pure: the clock is told, chance is passed in.

A batch begins with all the places it was given. When the service says that it is too much, the places are halved,
once for each *wave*: the calls that were already under way then say the same thing again. While calls succeed,
places come back. What the service asks to wait holds the whole batch, not the one row that was told.
"""

from __future__ import annotations

import math
import random
import re
from typing import TYPE_CHECKING, Literal

from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.policy import BACKOFF_BASE, LONGEST_RETRY_AFTER, backoff

if TYPE_CHECKING:
    from collections.abc import Callable

Verdict = Literal["well", "limited", "troubled"]

MOST_ACTIVE = 4096
GROWTH = 0.1  # the part of the places that comes back in each wave of good answers, and at least one place
CATCH_UP = 0.02  # seconds that a rate may be made up for: clocks wake up a little late
SPREAD = 0.25  # seconds over which a held batch sets off again: a crowd must not return as one
MOST_BACKOFF_STEPS = 6

_UNITS = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "m": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
}


def rate_of(rate: float | str | None) -> float | None:
    """Return a rate in calls per second, from a number of them or from words such as ``"60/min"``.

    Raises
    ------
    InvalidInput
        If it is no rate.

    Examples
    --------
    >>> rate_of(5), rate_of("90/min"), rate_of(None)
    (5.0, 1.5, None)
    """
    if rate is None:
        return None
    calls: float | None = None
    if isinstance(rate, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:/|per)\s*([a-zA-Z]+)\s*", rate)
        unit = _UNITS.get(found[2].lower().rstrip("s") or "s") if found else None
        if found is not None and unit is not None:
            calls = float(found[1]) / unit
    elif isinstance(rate, int | float) and not isinstance(rate, bool):
        calls = float(rate)
    if calls is None or not math.isfinite(calls) or calls <= 0:
        raise InvalidInput(
            f"rate must be a number of calls per second, or words such as '60/min', not {rate!r:.60}.",
            hint="rate=5 lets five calls a second begin; leave it out for as many as there is room for.",
        )
    return calls


class Pace:
    """The places of a batch. Every method that needs the time is told it, in seconds of any steady clock.

    Attributes
    ----------
    max_active : int
        How many calls there may be under way at the most.
    limit : int
        How many there may be just now.
    active : int
        How many there are.
    held_until : float
        Before this moment no call begins, because the service asked for it.

    Examples
    --------
    >>> pace = Pace(2)
    >>> pace.delay(0.0), pace.start(0.0), pace.start(0.0), pace.delay(0.0)
    (0.0, 0, 0, None)
    """

    def __init__(
        self,
        max_active: int = 16,
        *,
        rate: float | str | None = None,
        rand: Callable[[], float] = random.random,
    ) -> None:
        if (
            isinstance(max_active, bool)
            or not isinstance(max_active, int)
            or not 1 <= max_active <= MOST_ACTIVE
        ):
            raise InvalidInput(
                f"max_active must be a whole number from 1 to {MOST_ACTIVE}, not {max_active!r:.60}.",
                hint="It is how many rows may be under way at once; 16 is a good start.",
            )
        self.max_active = max_active
        self.rate = rate_of(rate)
        self.active = 0
        self.held_until = -math.inf
        self._rand = rand
        self._limit = float(max_active)
        self._wave = 0
        self._refusals = 0  # waves in a row in which the service said no
        self._next_slot = -math.inf  # when the rate allows the next call
        self._spread_left = 0  # calls that still set off one by one after a hold
        self._spread_slot = -math.inf

    @property
    def limit(self) -> int:
        """How many calls there may be under way just now."""
        return int(self._limit)

    def delay(self, now: float) -> float | None:
        """Say how long the next call has to wait: 0.0 for not at all, None for until another one is over."""
        if self.active >= self.limit:
            return None
        moment = max(self.held_until, self._next_slot)
        if self._spread_left:
            moment = max(moment, self._spread_slot)
        return max(0.0, moment - now)

    def start(self, now: float) -> int:
        """Take a place for a call that begins now, and return its wave, which ``finish`` is told."""
        self.active += 1
        if self.rate is not None:
            gap = 1.0 / self.rate
            self._next_slot = max(self._next_slot, now - min(CATCH_UP, gap)) + gap
        if self._spread_left:
            self._spread_left -= 1
            self._spread_slot = now + SPREAD / self.limit
        return self._wave

    def give_back(self) -> None:
        """Leave a place that no call was sent from."""
        self.active -= 1

    def finish(self, now: float, wave: int, verdict: Verdict, *, retry_after: float | None = None) -> None:
        """Leave a place, and say how the call went.

        Parameters
        ----------
        now : float
            The time.
        wave : int
            What ``start`` gave.
        verdict : {"well", "limited", "troubled"}
            Answered; refused because it was too much; or any other failure, which changes nothing.
        retry_after : float or None
            How long the service asks to wait, in seconds.
        """
        self.active -= 1
        if verdict == "well":
            if wave == self._wave:
                self._refusals = 0
            if self._limit < self.max_active:
                more = max(1.0, GROWTH * self._limit) / self._limit
                self._limit = min(float(self.max_active), self._limit + more)
            return
        first = verdict == "limited" and wave == self._wave
        pause = 0.0
        if retry_after is not None:
            pause = min(retry_after, LONGEST_RETRY_AFTER) + self._rand() * BACKOFF_BASE
        elif first:
            pause = backoff(min(self._refusals + 1, MOST_BACKOFF_STEPS), self._rand())
        if first:
            self._wave += 1
            self._refusals += 1
            self._limit = max(1.0, self._limit / 2)
        if pause and now + pause > self.held_until:
            self.held_until = now + pause
            self._spread_left, self._spread_slot = self.limit, -math.inf
