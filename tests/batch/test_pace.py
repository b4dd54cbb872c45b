"""How many calls, and when: decided without a clock of its own, so that it can be looked at from all sides."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.batch.pace import CATCH_UP, Pace, rate_of


@pytest.mark.parametrize(
    ("given_", "meant"),
    [(5, 5.0), (0.5, 0.5), ("60/min", 1.0), ("90 / minute", 1.5), ("3 per second", 3.0), ("7200/h", 2.0),
     ("10/s", 10.0), ("120 per mins", 2.0), (None, None)],
)  # fmt: skip
def test_a_rate_is_read(given_: object, meant: float | None) -> None:
    assert rate_of(given_) == meant  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [0, -1, math.inf, math.nan, True, "", "fast", "5", "5/day/h", "0/s", [], "5/x"]
)
def test_what_is_no_rate_is_refused(wrong: object) -> None:
    with pytest.raises(bn.InvalidInput, match="60/min"):
        rate_of(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "16", 10_000])
def test_what_is_no_number_of_places_is_refused(wrong: object) -> None:
    with pytest.raises(bn.InvalidInput, match="max_active"):
        Pace(wrong)  # type: ignore[arg-type]


def test_places_are_halved_once_for_each_wave_and_come_back() -> None:
    pace = Pace(16, rand=lambda: 0.5)
    waves = [pace.start(0.0) for _ in range(16)]
    assert pace.delay(0.0) is None
    for wave in waves:
        pace.finish(1.0, wave, "limited", retry_after=2.0)
    assert (pace.limit, pace.active) == (8, 0)
    delay = pace.delay(1.0)
    assert delay is not None
    assert 2.0 <= delay <= 3.0
    now = 4.0
    wave = pace.start(now)
    pace.finish(now, wave, "limited")
    assert pace.limit == 4
    for _ in range(200):
        now += 1
        pace.finish(now, pace.start(now), "well")
    assert pace.limit == 16


def test_after_a_hold_calls_set_off_one_by_one() -> None:
    pace = Pace(8, rand=lambda: 0.0)
    waves = [pace.start(0.0) for _ in range(8)]
    for wave in waves:
        pace.finish(0.0, wave, "limited", retry_after=1.0)
    assert pace.delay(1.0) == 0.0
    pace.start(1.0)
    second = pace.delay(1.0)
    assert second is not None
    assert second > 0


def test_a_hold_without_a_word_how_long_grows() -> None:
    pace = Pace(4, rand=lambda: 1.0)
    held = []
    now = 0.0
    for _ in range(4):
        now = max(now, pace.held_until) + 1
        wave = pace.start(now)
        pace.finish(now, wave, "limited")
        held.append(pace.held_until - now)
    assert held == sorted(held)
    assert held[0] < held[-1] <= 8.0


def test_other_troubles_change_nothing_but_what_the_service_asks_to_wait_holds() -> None:
    pace = Pace(4, rand=lambda: 0.0)
    pace.finish(0.0, pace.start(0.0), "troubled")
    assert (pace.limit, pace.delay(0.0)) == (4, 0.0)
    pace.finish(0.0, pace.start(0.0), "troubled", retry_after=3.0)
    assert (pace.limit, pace.delay(0.0)) == (4, 3.0)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["start", "start", "well", "limited", "troubled", "asked"]),
        st.floats(0, 2, allow_nan=False),
        st.integers(0, 63),
    ),
    max_size=200,
)


@given(EVENTS, st.integers(1, 40), st.none() | st.floats(0.5, 200), st.floats(0, 0.999))
def test_whatever_happens_the_bounds_hold(
    events: list[tuple[str, float, int]], most: int, rate: float | None, chance: float
) -> None:
    pace = Pace(most, rate=rate, rand=lambda: chance)
    now, held_until = 0.0, -1.0
    under_way: list[int] = []
    started: list[float] = []
    for what, passes, which in events:
        now += passes
        if what == "start":
            delay = pace.delay(now)
            if delay is None:
                assert len(under_way) >= pace.limit
                continue
            now += delay
            assert pace.delay(now) == pytest.approx(0.0, abs=1e-9)
            assert now >= held_until - 1e-9, "a call began while the batch was held"
            under_way.append(pace.start(now))
            started.append(now)
        elif under_way:
            wave = under_way.pop(which % len(under_way))
            asked = {"asked": 1.5}.get(what)
            verdict = "limited" if what == "asked" else what
            pace.finish(now, wave, verdict, retry_after=asked)  # type: ignore[arg-type]
            if asked is not None:
                held_until = max(held_until, now + asked)
        assert pace.active == len(under_way) <= most
        assert 1 <= pace.limit <= most
    if rate is not None:
        for first in range(len(started)):
            for last in range(first, len(started)):
                window = started[last] - started[first]
                assert last - first + 1 <= rate * (window + CATCH_UP) + 1 + 1e-6


@given(st.integers(1, 64), st.integers(1, 400))
def test_a_healthy_batch_always_comes_back_to_all_its_places(most: int, refusals: int) -> None:
    pace = Pace(most, rand=lambda: 0.0)
    now = 0.0
    for _ in range(refusals):
        now = max(now, pace.held_until) + 1
        pace.finish(now, pace.start(now), "limited")
    for _ in range(40 * most):
        now = max(now, pace.held_until) + 1
        pace.finish(now, pace.start(now), "well")
    assert pace.limit == most
