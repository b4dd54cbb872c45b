"""The rules of trying again, pure: no clock, no network, no sleep.

The one rule of the API: try again only when the failure says ``retryable``, whatever its status. A failure
without the API's envelope (a reset, a time-out, a proxy's 502/503/504) carries no flag; it may be tried again
only because the idempotency key makes a second arrival harmless. So without a key nothing is ever sent twice.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from beatra_nb.core.errors import InvalidInput

if TYPE_CHECKING:
    from beatra_nb.core.errors import BeatraError

BACKOFF_BASE = 0.5  # seconds: the ceiling of the first pause
BACKOFF_CAP = 8.0
LONGEST_RETRY_AFTER = 60.0  # a service that asks for more is better asked again by the user, later
WAIT = 1800.0  # seconds that a verb waits for a task, unless told otherwise
POLL_FIRST = 0.4  # seconds until a new task is looked at
POLL_GROWTH = 0.08  # a task that has taken so long is looked at again after this part of it
POLL_CAP = 6.0
FLAGLESS_RETRYABLE = frozenset({502, 503, 504})


def new_key() -> str:
    """Return a fresh idempotency key: one for each logical call."""
    return str(uuid.uuid4())


def derived_key(key: str, purpose: str) -> str:
    """Return the key of a follow-up call, the same each time for the same first key and purpose."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{key}/{purpose}"))


def check_key(key: str) -> str:
    """Check an idempotency key that a user chose.

    Raises
    ------
    InvalidInput
        If no header could carry it.
    """
    if not isinstance(key, str) or not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise InvalidInput(
            "idempotency_key must be 1 to 255 visible ASCII characters without spaces.",
            hint="str(uuid.uuid4()) makes a good one.",
        )
    return key


def backoff(attempt: int, rand: float) -> float:
    """Return the pause after the given attempt: exponential with full jitter, in seconds.

    Parameters
    ----------
    attempt : int
        The attempt that has just failed, from 1.
    rand : float
        A random number in [0, 1).
    """
    return float(rand * min(BACKOFF_CAP, BACKOFF_BASE * 2 ** (attempt - 1)))


def retry_after(value: str | None, now: float) -> float | None:
    """Read a ``Retry-After`` header: seconds, or an HTTP date.

    Parameters
    ----------
    value : str or None
        The header as it came.
    now : float
        The time, in seconds since the epoch (for dates).

    Returns
    -------
    float or None
        Seconds to wait, at least 0; None where the header is missing or unreadable.
    """
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{0,9})?", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:  # HTTP dates are in UTC, also in the form that does not say so
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def pause_before_retry(
    error: BeatraError,
    *,
    attempt: int,
    max_attempts: int,
    keyed: bool,
    asked_for: float | None,
    remaining: float,
    rand: float,
) -> float | None:
    """Decide whether, and after how long, a failed call is sent again.

    Parameters
    ----------
    error : BeatraError
        What went wrong; its ``retryable`` flag decides.
    attempt, max_attempts : int
        The attempt that failed, from 1, and how many there may be.
    keyed : bool
        Whether the call carried an idempotency key.
    asked_for : float or None
        What ``Retry-After`` said, in seconds.
    remaining : float
        What is left of the call's total time, in seconds.
    rand : float
        A random number in [0, 1).

    Returns
    -------
    float or None
        Seconds to wait before the next attempt; None to give up.
    """
    if not (error.retryable and keyed and attempt < max_attempts):
        return None
    pause = backoff(attempt, rand)
    if asked_for is not None:
        if asked_for > LONGEST_RETRY_AFTER:
            return None
        # The jitter comes on top, so that a crowd told the same time does not return as one.
        pause = asked_for + rand * BACKOFF_BASE
    return pause if pause < remaining else None


def poll_pause(waited: float, rand: float, *, asked_for: float | None = None, failures: int = 0) -> float:
    """Return how long to wait before a task is looked at again, in seconds: quick at first, then ever calmer.

    Parameters
    ----------
    waited : float
        Seconds since the waiting began.
    rand : float
        A random number in [0, 1): a class that started together does not ask together.
    asked_for : float or None
        What ``Retry-After`` said, in seconds.
    failures : int
        How many looks in a row have failed.

    Examples
    --------
    >>> poll_pause(0.0, 0.5), poll_pause(60.0, 0.5), poll_pause(3600.0, 0.5)
    (0.4, 4.8, 6.0)
    """
    pause = min(POLL_CAP, max(POLL_FIRST, POLL_GROWTH * waited))
    if failures:
        pause = max(pause, min(BACKOFF_CAP, BACKOFF_BASE * 2.0 ** min(failures, 10)))
    pause *= 0.8 + 0.4 * rand
    return max(
        pause, min(asked_for, LONGEST_RETRY_AFTER) + rand * BACKOFF_BASE if asked_for is not None else 0.0
    )
