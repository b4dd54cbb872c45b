"""The arithmetic of budgets: whatever happens in whatever order, no more is taken than there is."""

from __future__ import annotations

import gc
import threading
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.core.costs import Estimate
from beatra_nb.core.purse import Paid, Purse, Shortage, Spent

MONEY = st.decimals("0", "20", places=3)
COUNT = st.integers(0, 200)


def sure(credits: Decimal | int | str, tokens: int = 0) -> Estimate:
    """An estimate that is no guess."""
    return Estimate(Decimal(credits), tokens, Decimal(credits), tokens)


def taken(amount: Spent | Shortage) -> Spent:
    assert isinstance(amount, Spent)
    return amount


@dataclass
class Step:
    """A call: what it is expected to cost, what it costs, how it ends, and how many others end before it does."""

    key: str | None
    expected: tuple[Decimal, int]
    cost: tuple[Decimal, int]
    end: str
    wait: int = 0


STEPS = st.lists(
    st.builds(
        Step,
        st.none() | st.sampled_from("abcdef"),
        st.tuples(MONEY, COUNT),
        st.tuples(MONEY, COUNT),
        st.sampled_from(["paid", "failed", "maybe"]),
        st.integers(0, 5),
    ),
    max_size=40,
)


@dataclass
class Play:
    """Steps played on a purse, and the sums done the slow way beside it."""

    purse: Purse
    flying: list[tuple[Step, Spent]] = field(default_factory=list)
    over: Decimal = Decimal(0)
    over_tokens: int = 0
    paid_keys: set[str] = field(default_factory=set)
    spent: Decimal = Decimal(0)

    def begin(self, step: Step) -> None:
        before = self.purse.used()
        amount = self.purse.reserve(step.key, sure(*step.expected))
        if isinstance(amount, Shortage):
            assert self.purse.used() == before, "what is refused takes nothing"
            return
        self.flying.append((step, amount))

    def end(self, step: Step, amount: Spent) -> None:
        cost = Spent(*step.cost, 1)
        self.purse.settle(
            step.key, amount, Paid(cost) if step.end == "paid" else None, maybe=step.end == "maybe"
        )
        if step.end == "paid" and (step.key is None or step.key not in self.paid_keys):
            self.spent += cost.credits
            self.over += max(cost.credits - amount.credits, Decimal(0))
            self.over_tokens += max(cost.tokens - amount.tokens, 0)
            if step.key is not None:
                self.paid_keys.add(step.key)

    def check(self) -> None:
        purse = self.purse
        assert purse.credits is not None
        assert purse.tokens is not None
        used = purse.used()
        assert purse.spent.credits == self.spent, "each key is paid once"
        # No more than the bound, but for what answers cost beyond what was expected of them.
        assert used.credits <= purse.credits + self.over
        assert used.tokens <= purse.tokens + self.over_tokens
        assert purse.flying.credits == sum((amount.credits for _, amount in self.flying), Decimal(0))
        assert min(purse.flying.credits, purse.maybe.credits, purse.flying.tokens, purse.maybe.tokens) >= 0


@given(bound=MONEY, tokens=COUNT, steps=STEPS, order=st.randoms(use_true_random=False))
def test_calls_in_any_order_never_take_more_than_there_is(
    bound: Decimal, tokens: int, steps: list[Step], order: Any
) -> None:
    play = Play(Purse(bound, tokens))
    for step in steps:
        play.begin(step)
        play.check()
        for _ in range(min(step.wait, len(play.flying))):
            play.end(*play.flying.pop(order.randrange(len(play.flying))))
            play.check()
    while play.flying:
        play.end(*play.flying.pop())
        play.check()
    assert play.purse.flying == Spent(), "nothing stays under way"


@given(bound=MONEY, steps=STEPS)
def test_calls_that_cost_what_was_expected_stay_within_the_bound(bound: Decimal, steps: list[Step]) -> None:
    purse = Purse(bound)
    for step in steps:
        amount = purse.reserve(None, sure(step.expected[0]))
        if isinstance(amount, Spent):
            purse.settle(
                None, amount, Paid(amount) if step.end == "paid" else None, maybe=step.end == "maybe"
            )
    assert purse.used().credits <= bound


def test_a_guess_is_set_aside_and_refuses_nothing_while_there_is_something_left() -> None:
    purse, guess = Purse(Decimal(1)), Estimate(Decimal("0.6"))
    first, second = taken(purse.reserve("a", guess)), taken(purse.reserve("b", guess))
    assert isinstance(purse.reserve("c", guess), Shortage), "the guesses have taken it all"
    purse.settle("a", first, Paid(Spent(Decimal("0.01"), 10, 1)))
    purse.settle("b", second, None)
    assert taken(purse.reserve("c", guess)).credits == Decimal("0.6")


def test_what_was_maybe_spent_is_settled_by_the_same_key() -> None:
    purse = Purse(Decimal(10))
    amount = taken(purse.reserve("k", sure(8)))
    purse.settle("k", amount, None, maybe=True)
    assert (purse.maybe.credits, purse.left().credits) == (8, 2)
    assert isinstance(purse.reserve("other", sure(8)), Shortage)
    again = taken(purse.reserve("k", sure(8)))  # its room was never given up
    assert (purse.maybe.credits, purse.flying.credits) == (0, 8)
    purse.settle("k", again, Paid(Spent(Decimal(5), 0, 1)))
    assert (purse.spent.credits, purse.left().credits) == (5, 5)
    once_more = taken(purse.reserve("k", sure(8)))
    assert once_more == Spent(), "paid once"
    purse.settle("k", once_more, Paid(Spent(Decimal(5), 0, 1)))
    assert purse.spent == Spent(Decimal(5), 0, 1)


def test_a_refund_is_given_back_once_and_never_more_than_was_paid() -> None:
    purse = Purse(Decimal(100))
    purse.settle("k", taken(purse.reserve("k", sure(80))), Paid(Spent(Decimal(80), 0, 1), task="t"))
    purse.refund("elsewhere", Decimal(80))
    assert purse.spent.credits == 80, "another's refund is not ours"
    for _ in range(3):
        purse.refund("t", Decimal(30))
    assert purse.spent.credits == 50
    purse.refund("t", Decimal(500))
    assert purse.spent.credits == 0
    assert purse.left().credits == 100


def test_many_threads_share_one_purse() -> None:
    purse, went = Purse(Decimal(50)), []

    def work() -> None:
        for _ in range(100):
            amount = purse.reserve(None, sure(1))
            if isinstance(amount, Spent):
                purse.settle(None, amount, Paid(amount))
                went.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(went), purse.spent.credits, purse.spent.calls, purse.flying) == (50, 50, 50, Spent())


def test_what_the_garbage_collector_settles_in_the_midst_of_a_change_is_counted() -> None:
    purse = Purse(Decimal(100))

    class Abandoned:
        """A call that nobody holds any more."""

        def __init__(self) -> None:
            self.amount = taken(purse.reserve(None, sure(1)))
            self.me = self  # so that only the collector finds it

        def __del__(self) -> None:
            purse.settle(None, self.amount, None, maybe=True)

    before = gc.get_threshold()
    gc.set_threshold(1)  # at every turn
    try:
        for _ in range(20):
            Abandoned()
            purse.settle(None, taken(purse.reserve(None, sure(1))), Paid(Spent(Decimal(1), 0, 1)))
    finally:
        gc.set_threshold(*before)
        gc.collect()
    assert (purse.spent.credits, purse.aside().credits, purse.flying) == (20, 20, Spent())


@pytest.mark.parametrize(
    ("credits", "tokens", "unit"), [(1, None, "credits"), (None, 1, "tokens"), (0, 5, "credits")]
)
def test_a_shortage_says_of_what(credits: int | None, tokens: int | None, unit: str) -> None:
    purse = Purse(None if credits is None else Decimal(credits), tokens)
    short = purse.reserve(None, sure(2, 2))
    assert isinstance(short, Shortage)
    assert short.unit == unit
