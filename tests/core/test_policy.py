"""The rules of trying again."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.core import policy
from beatra_nb.core.errors import APIError, BeatraError, InvalidInput, Timeout

RANDOM = st.floats(0, 1, exclude_max=True)


def pause(error: BeatraError, **changes: object) -> float | None:
    asked = {
        "attempt": 1,
        "max_attempts": 4,
        "keyed": True,
        "asked_for": None,
        "remaining": 600.0,
        "rand": 0.5,
    }
    return policy.pause_before_retry(error, **(asked | changes))  # type: ignore[arg-type]


YES, NO = APIError("x", retryable=True), APIError("x", retryable=False)


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch, fast: None) -> None:
    monkeypatch.setattr(policy, "BACKOFF_BASE", 0.5)


@given(attempt=st.integers(1, 20), rand=RANDOM)
def test_backoff_is_full_jitter_under_an_exponential_ceiling(attempt: int, rand: float) -> None:
    ceiling = min(policy.BACKOFF_CAP, policy.BACKOFF_BASE * 2 ** (attempt - 1))
    wait = policy.backoff(attempt, rand)
    assert 0 <= wait <= ceiling
    assert policy.backoff(attempt, 0.0) == 0  # full jitter begins at nothing …
    assert policy.backoff(attempt, 0.999_999) == pytest.approx(ceiling, rel=1e-5)  # … and reaches the ceiling


def test_the_ceiling_doubles_up_to_its_cap() -> None:
    assert [policy.backoff(attempt, 1.0) for attempt in range(1, 8)] == [0.5, 1, 2, 4, 8, 8, 8]


@given(
    attempt=st.integers(1, 30), limit=st.integers(1, 20), rand=RANDOM, keyed=st.booleans(), flag=st.booleans()
)
def test_only_what_is_retryable_keyed_and_not_yet_spent_is_sent_again(
    attempt: int, limit: int, rand: float, keyed: bool, flag: bool
) -> None:
    error = APIError("x", retryable=flag)
    wait = pause(error, attempt=attempt, max_attempts=limit, keyed=keyed, rand=rand)
    assert (wait is not None) == (flag and keyed and attempt < limit)


@given(asked=st.floats(0, 60), rand=RANDOM)
def test_retry_after_is_never_undercut(asked: float, rand: float) -> None:
    wait = pause(YES, asked_for=asked, rand=rand)
    assert wait is not None
    assert asked <= wait <= asked + policy.BACKOFF_BASE


def test_a_very_long_retry_after_is_left_to_the_user() -> None:
    assert pause(YES, asked_for=policy.LONGEST_RETRY_AFTER) is not None
    assert pause(YES, asked_for=policy.LONGEST_RETRY_AFTER + 0.1) is None


def test_retry_after_does_not_make_a_failure_retryable() -> None:
    assert pause(NO, asked_for=0.0) is None
    assert pause(YES, asked_for=0.0, keyed=False) is None


def test_nothing_is_begun_that_the_total_time_does_not_allow() -> None:
    assert pause(YES, asked_for=10.0, remaining=5.0) is None
    assert pause(Timeout("x", retryable=True), remaining=0.0, rand=0.0) is None


@given(seconds=st.integers(0, 10**9 - 1))
def test_retry_after_in_seconds(seconds: int) -> None:
    assert policy.retry_after(f" {seconds} ", 0.0) == seconds


@given(ahead=st.integers(-(10**6), 10**6), now=st.integers(10**9, 2 * 10**9))
def test_retry_after_as_an_http_date(ahead: int, now: int) -> None:
    assert policy.retry_after(formatdate(now + ahead, usegmt=True), float(now)) == max(0, ahead)


@pytest.mark.parametrize(
    "date", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_all_three_forms_of_http_dates_are_utc_wherever_the_kernel_is(
    date: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert policy.retry_after(date, 784111777.0 - 30) == 30
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "value", [None, "", "soon", "-5", "1e3", "NaN", "inf", "0x10", "5;", "Mon, 99 Foo 2020", "\0"]
)
def test_an_unreadable_retry_after_is_none(value: str | None) -> None:
    assert policy.retry_after(value, 0.0) is None


@given(value=st.text(max_size=60), now=st.floats(0, 2e9))
def test_no_header_ever_breaks_the_reader(value: str, now: float) -> None:
    wait = policy.retry_after(value, now)
    assert wait is None or wait >= 0


def test_keys_are_fresh_and_derived_ones_are_not() -> None:
    assert len({policy.new_key() for _ in range(100)}) == 100
    assert policy.derived_key("a", "fallback") == policy.derived_key("a", "fallback")
    assert len({policy.derived_key(k, p) for k in ("a", "b") for p in ("x", "y")} | {"a", "b"}) == 6


@pytest.mark.parametrize("key", ["", " ", "a b", "a\n", "é", "x" * 256, 5, b"x"])
def test_a_key_that_no_header_carries_is_refused(key: object) -> None:
    with pytest.raises(InvalidInput, match="visible ASCII"):
        policy.check_key(key)  # type: ignore[arg-type]
