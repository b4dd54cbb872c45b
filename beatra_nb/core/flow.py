"""The way of a call, written once and driven twice.

A *flow* is a generator: it yields what it wants done, receives what came of it, and returns the result of the
call. It decides everything (what to send, whether to try again, when a stream is whole, what goes to the journal)
and does nothing itself. ``transport`` holds the two drivers, one that blocks and one that awaits; neither
decides anything.

    flow yields            the driver does                             the flow receives
    ───────────            ───────────────                             ─────────────────
    Send(call, timeouts)   sends the request                           Answer or Failure
    Open(url, timeouts)    asks a foreign address, without the key     Answer or Failure
    Pause(seconds)         sleeps                                      None
    READ                   reads the next piece of the open stream     bytes, None at its end, or Failure
    DRAIN                  lets the finished connection be used again  None
    a str                  hands it to whoever iterates                None
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, TypeAlias, TypeVar

from beatra_nb.core import policy
from beatra_nb.core.costs import PRICES, Prices
from beatra_nb.core.envelope import error_from
from beatra_nb.core.errors import BeatraError, ConnectionFailed, Timeout
from beatra_nb.core.scrub import NOTHING, Scrubber
from beatra_nb.core.settings import Timeouts

if TYPE_CHECKING:
    from datetime import datetime

    from beatra_nb.store.audio import AudioFiles
    from beatra_nb.store.entry import Entry
    from beatra_nb.store.jobs import Jobs

T = TypeVar("T")

MOST_WAITS = 30  # refusals that one call bears with, where it bears with any
NOT_TWICE = (
    "The service may have done the work: call again with idempotency_key={!r}, and it is not paid twice."
)
# On a cassette, where the same words are shown again: a key is new each time.
NOT_TWICE_TAPED = (
    "The service may have done the work: called again with the idempotency_key that bn.journal() shows, it is not "
    "paid twice."
)


@dataclass(frozen=True, slots=True)
class Call:
    """One logical call: sent once or several times, always the same.

    Attributes
    ----------
    verb : str
        Its name in the journal.
    method, path : str
        The HTTP method, and the path below the base URL.
    body : bytes or None
        The JSON body.
    key : str or None
        Its idempotency key; a call without one is never sent twice.
    repeat_with : str or None
        The key that repeats the logical call, where it is not the one that is sent.
    stream : bool
        Whether a successful answer stays open and is read piece by piece.
    form : Form or None
        A multipart body, in place of ``body``.
    label : str or None
        The prompt that it was made from, for the journal; never sent.
    """

    verb: str
    method: str
    path: str
    body: bytes | None = None
    key: str | None = None
    stream: bool = False
    repeat_with: str | None = None
    form: Form | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart body with one file, which is read anew for each attempt.

    Attributes
    ----------
    fields : dict
        The other parts.
    name, media_type : str
        What the file is called and is.
    open : callable
        Returns a reader that stands at the file's beginning.
    patience : float
        Seconds that sending may take beyond the total time of a call.
    """

    fields: dict[str, str]
    name: str
    media_type: str
    open: Callable[[], BinaryIO]
    patience: float = 0.0


@dataclass(slots=True)
class Reel:
    """What a tape knows of an exchange: the same while it is recorded and when it is replayed.

    Attributes
    ----------
    at : datetime
        When it was recorded, in UTC.
    offset : float
        Seconds from the request to what has been read of the answer.
    replayed : bool
        Whether it came from the tape.
    late : bool
        Whether it ended because the time of the whole call was over.
    """

    at: datetime
    offset: float = 0.0
    replayed: bool = False
    late: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the server; of a stream that stays open, only its head (``body`` is empty)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    open: bool = False
    reel: Reel | None = None

    @property
    def request_id(self) -> str | None:
        """The service's id of the exchange."""
        return self.headers.get("x-request-id")

    @property
    def sandbox(self) -> bool:
        """Whether a sandbox answered: it says so itself in a header."""
        return "x-beatra-sandbox" in self.headers

    @property
    def recorded(self) -> datetime | None:
        """When it was recorded, where it is on a tape."""
        return None if self.reel is None else self.reel.at

    def without_key(self, scrub: Scrubber) -> Answer:
        """Return it without the key, which the other side may have quoted."""
        body, said = scrub(self.body), "\n".join(self.headers.values())
        if body is self.body and scrub.text(said) is said:
            return self
        headers = {name: scrub.text(value) for name, value in self.headers.items()}
        return replace(self, body=body, headers=headers)


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. Plain words only: the client library's exceptions hold headers, and those hold the key.

    Attributes
    ----------
    what : str
        What happened, as a sentence.
    timeout : bool
        Whether time ran out.
    retryable : bool
        Whether another attempt could end otherwise.
    hint : str or None
        What to do about it, where more can be said than "try again".
    sent : bool
        Whether the request may have reached the service.
    reel : Reel or None
        What a tape knows of it.
    """

    what: str
    timeout: bool = False
    retryable: bool = True
    hint: str | None = None
    sent: bool = True
    reel: Reel | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Wish: send this call once; an answer that is read whole has so many seconds in all."""

    call: Call
    timeouts: Timeouts
    seconds: float


@dataclass(frozen=True, slots=True)
class Open:
    """Wish: get a foreign address without the key; a successful answer stays open and is read piece by piece.

    Attributes
    ----------
    url : str
        The address.
    timeouts : Timeouts
        How long to wait.
    seconds : float
        For all of it.
    private : bool
        Whether it may lead to this machine or into a private network.
    """

    url: str
    timeouts: Timeouts
    seconds: float
    private: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Wish: wait."""

    seconds: float


class _Read:
    """Wish: the next piece of the open stream."""


class _Drain:
    """Wish: read the end of a finished stream, so that its connection can be used again."""


READ: Final = _Read()
DRAIN: Final = _Drain()

Wish: TypeAlias = Send | Open | Pause | _Read | _Drain | str
Outcome: TypeAlias = Answer | Failure | bytes | None
Flow: TypeAlias = Generator[Wish, Outcome, T]


class Recorder(Protocol):
    """Where calls leave a row."""

    def record(self, entry: Entry) -> object:
        """Write one row; must not raise."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a flow may look at: the settings of its client, a clock, chance, and the journal.

    ``place`` is where jobs live: the base URL, or ``"sandbox"`` for the one of this process, whose address
    changes from start to start while its tasks stay.
    """

    base_url: str
    timeouts: Timeouts
    max_attempts: int = 4
    journal: Recorder | None = None
    jobs: Jobs | None = None
    files: AudioFiles | None = None
    place: str = ""
    give_up_on: frozenset[str] = frozenset()  # codes that are not worth another attempt here
    bear_with: frozenset[str] = frozenset()  # codes that use up no attempt: many calls wait together there
    free: bool = False  # whether calls cost nothing, because they are answered from a recording
    prices: Prices = PRICES  # what calls have cost
    scrub: Scrubber = NOTHING  # takes the key out of what the other side quotes
    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    rand: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a call that succeeded; ``before`` are the seconds of its earlier attempts, as a tape has them."""

    answer: Answer
    attempts: int
    deadline: float
    before: float = 0.0


def send(context: Context, call: Call) -> Flow[Sent]:
    """Send a call until it succeeds or the policy gives up.

    Raises
    ------
    BeatraError
        The failure of the last attempt.
    """
    deadline = context.now() + context.timeouts.total + (call.form.patience if call.form else 0.0)
    attempt = 0
    waits = 0  # attempts that do not count
    arrived = False  # whether any attempt may have reached the service
    doubtful = False  # whether any attempt may have done its work without our knowing
    repeat_with = call.repeat_with or call.key
    before = 0.0
    while True:
        attempt += 1
        left = max(deadline - context.now(), 0.001)
        outcome = yield Send(call, _within(context.timeouts, left), left)
        if isinstance(outcome, Answer):
            outcome = outcome.without_key(context.scrub)
        if isinstance(outcome, Answer) and 200 <= outcome.status < 300:
            return Sent(outcome, attempt, deadline, before)
        error, asked_for = _failure(outcome, context)
        reel = outcome.reel if isinstance(outcome, Answer | Failure) else None
        if reel is not None:
            error.taped = (reel.at, round(before + reel.offset, 3))
        arrived = arrived or not isinstance(outcome, Failure) or outcome.sent
        doubtful = doubtful or _doubtful(outcome, error)
        error.attempts, error.arrived, error.doubtful = attempt, arrived, doubtful
        error.retry_after = asked_for
        error.idempotency_key = repeat_with
        code = getattr(error, "code", None)
        if code in context.give_up_on:
            raise error
        if code in context.bear_with and waits < MOST_WAITS:
            waits += 1
        pause = policy.pause_before_retry(
            error,
            attempt=max(attempt - waits, 1),
            max_attempts=context.max_attempts,
            keyed=call.key is not None,
            asked_for=asked_for,
            remaining=deadline - context.now(),
            rand=context.rand(),
        )
        if pause is None:
            if isinstance(outcome, Failure) and outcome.retryable and repeat_with is not None and arrived:
                told = NOT_TWICE.format(repeat_with) if error.taped is None else NOT_TWICE_TAPED
                error.hint = f"{error.hint} {told}"
            raise error
        before += pause + (reel.offset if reel is not None else 0.0)
        yield Pause(pause)


def _doubtful(outcome: Outcome, error: BeatraError) -> bool:
    """Whether an attempt may have done its work: it may have arrived, and the service itself did not say no."""
    if isinstance(outcome, Failure):
        return outcome.sent
    return getattr(error, "code", None) is None or (getattr(error, "status", None) or 500) >= 500


def failure_error(failure: Failure) -> BeatraError:
    """Make the error for an attempt without an answer."""
    if failure.timeout:
        return Timeout(
            failure.what,
            retryable=failure.retryable,
            hint=failure.hint or "Try again, or allow more time with timeout=.",
        )
    return ConnectionFailed(
        failure.what,
        retryable=failure.retryable,
        hint=failure.hint or "Check the network and base_url; `beatra-nb doctor` looks for the cause.",
    )


def _failure(outcome: Outcome, context: Context) -> tuple[BeatraError, float | None]:
    if isinstance(outcome, Answer):
        asked_for = policy.retry_after(outcome.headers.get("retry-after"), context.wall())
        error: BeatraError = error_from(outcome.status, outcome.headers, outcome.body)
        if error.retryable and asked_for is not None and asked_for > policy.LONGEST_RETRY_AFTER:
            error.hint = f"The service asks to wait {asked_for:.0f} s before trying again."
        return error, asked_for
    if isinstance(outcome, Failure):
        return failure_error(outcome), None
    raise TypeError(f"a driver answered Send with {outcome!r}")


def _within(timeouts: Timeouts, left: float) -> Timeouts:
    """Return the time-outs of one attempt, none longer than what is left of the whole."""
    if left >= timeouts.read and left >= timeouts.connect:
        return timeouts
    return replace(timeouts, connect=min(timeouts.connect, left), read=min(timeouts.read, left))
