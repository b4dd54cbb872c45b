"""Budgets to look at: the meter, live and at rest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb import display
from beatra_nb.core.costs import Estimate
from beatra_nb.core.purse import Left, Paid, Spent
from beatra_nb.display.budgets import line
from tests.display.audit import audit
from tests.display.kernel import Kernel, Message
from tests.display.test_live import STATIC, shown

SETUP = """
import asyncio, time
import beatra_nb as bn
from decimal import Decimal
from beatra_nb.core.costs import Estimate
from beatra_nb.core.purse import Paid, Spent
def pay(budget, credits="1"):
    amount = Spent(Decimal(credits), 10, 1)
    budget.settle(None, budget.reserve(None, Estimate(amount.credits, 10)), Paid(amount))
"""


def reserved(budget: bn.Budget, credits: str, tokens: int = 100) -> Spent:
    return budget.reserve(None, Estimate(Decimal(credits), tokens))


def used(**more: Any) -> bn.Budget:
    """A budget in the midst of its life."""
    budget = bn.budget(**{"credits": 500, "name": "Tonight", **more})
    for credits in ("12.5", "12"):
        amount = reserved(budget, credits)
        budget.settle(None, amount, Paid(amount, sandbox=True))
    budget.settle(None, reserved(budget, "3"), None, maybe=True)
    reserved(budget, "2.25")
    return budget


class TestView:
    def test_it_says_what_is_spent_set_aside_and_left(self) -> None:
        budget = used()
        for text in (display.to_html(budget), display.to_markdown(budget), display.to_plain(budget)):
            for words in (
                "Tonight",
                "24.5 of 500 credits spent, 5.25 set aside",
                "2.25 credits under way",
                "3 credits maybe spent",
                "470.25 credits left",
                "2 calls",
                "room for about 38 more",
                "sandbox",
                "play money",
            ):
                assert words in text, words
        audit(display.to_html(budget))

    def test_tokens_without_a_bound_are_told_as_well(self) -> None:
        assert "200 tokens spent" in display.to_plain(used())
        text = display.to_plain(used(credits=None, tokens=1000))
        assert "200 of 1,000 tokens spent, 200 set aside" in text
        assert "24.5 credits spent" in text

    def test_a_fresh_one_and_one_that_is_used_up(self) -> None:
        assert "0 of 5 credits spent" in display.to_plain(bn.budget(5))
        assert "used up" not in display.to_plain(bn.budget(5))
        empty = bn.budget(0)
        with pytest.raises(bn.BudgetExceeded):
            reserved(empty, "1")
        text = display.to_plain(empty)
        assert "[used up]" in text
        assert "! The budget of 0 credits has no room" in text
        assert "100 %" in text

    def test_holding_and_estimated(self) -> None:
        budget = bn.budget(5)
        amount = reserved(budget, "1")
        budget.settle(None, amount, Paid(amount, told=False))
        assert "1 call did not say what it cost" in display.to_plain(budget)
        with budget:
            assert "[holds]" in display.to_plain(budget)
        assert "[holds]" not in display.to_plain(budget)

    def test_a_check_alone_has_no_meter(self) -> None:
        text = display.to_plain(bn.budget(check=lambda spent: True))
        assert "%" not in text
        assert "0 calls" in text

    def test_absurd_amounts_are_shown_in_short(self) -> None:
        budget = bn.budget(credits="1e30")
        amount = reserved(budget, "1e29")
        budget.settle(None, amount, Paid(Spent(Decimal("1e999990"), 10**400, 1)))
        for text in (
            display.to_html(budget),
            display.to_plain(budget),
            line(budget),
            repr(display.bundle(budget)),
        ):
            assert len(text) < 30_000
        assert "Budget" in display.to_plain(budget)
        with pytest.raises(bn.BudgetExceeded) as caught:
            reserved(budget, "1")
        assert len(str(caught.value)) < 500

    def test_what_was_spent_and_what_is_left(self) -> None:
        assert display.to_plain(Spent(Decimal("1.50"), 3, 1)) == "1.5 credits · 3 tokens · 1 call"
        assert display.to_plain(Left(Decimal(1), None)) == "1 credit"
        assert display.to_plain(Left()) == "no bound"

    def test_the_error_s_card(self) -> None:
        budget = used(credits=30)
        with pytest.raises(bn.BudgetExceeded) as caught:
            budget.reserve(None, Estimate(Decimal(50), 1, Decimal(50), 1))
        text = display.to_plain(caught.value)
        assert "The budget has no room for this" in text
        assert "24.5 spent, 5.25 set aside" in text
        assert "Nothing was sent" in text

    def test_in_a_line(self) -> None:
        assert line(used()) == "Tonight: 24.5 of 500 credits spent · 5.25 credits set aside · 2 calls"


@pytest.fixture(scope="module")
def watched() -> Iterator[Kernel]:
    kernel = Kernel(watched=True, env={"PYTHONPATH": os.getcwd()})
    kernel.run(SETUP)
    yield kernel
    kernel.stop()


@pytest.fixture(scope="module")
def unwatched() -> Iterator[Kernel]:
    kernel = Kernel(watched=False, env={"PYTHONPATH": os.getcwd()})
    kernel.run(SETUP)
    yield kernel
    kernel.stop()


def drawn(said: list[Message]) -> list[Message]:
    return [one for one in said if one.kind in ("display_data", "update_display_data", "execute_result")]


class TestWatched:
    def test_a_block_shows_one_meter_that_follows(self, watched: Kernel) -> None:
        said = watched.run(
            "with bn.budget(credits=500, name='Live') as budget:\n"
            "    for _ in range(8): pay(budget); time.sleep(0.1)\n"
        )
        first, *later = drawn(said)
        assert first.kind == "display_data"
        assert set(first.data) == STATIC
        assert "0 of 500 credits spent" in first.data["text/plain"]
        assert "[holds]" in first.data["text/plain"]
        assert all(one.kind == "update_display_data" for one in later)
        assert {str(one.content["transient"]) for one in later} == {str(first.content["transient"])}
        assert 2 <= len(later) <= 8, "a few a second"
        last = later[-1].data["text/plain"]
        assert "8 of 500 credits spent" in last
        assert "[holds]" not in last
        assert not [one for one in said if one.kind.startswith("comm")], "no widget that dies with the kernel"

    def test_a_flood_of_calls_is_a_few_pictures(self, watched: Kernel) -> None:
        said = watched.run("with bn.budget(credits=5000) as budget:\n    for _ in range(2000): pay(budget)\n")
        assert len(drawn(said)) < 20

    def test_as_the_value_of_its_cell_it_is_not_shown_twice(self, watched: Kernel) -> None:
        assert len(shown(watched.run("with bn.budget(credits=5) as budget:\n    pay(budget)\nbudget"))) == 1
        assert len(shown(watched.run("budget"))) == 1

    def test_a_block_that_fails_leaves_its_last_state(self, watched: Kernel) -> None:
        said = watched.run(
            "with bn.budget(credits=3) as budget:\n    for _ in range(9): pay(budget)\n", fails=True
        )
        assert "[used up]" in drawn(said)[-1].data["text/plain"]
        [error] = [one.content for one in said if one.kind == "error"]
        assert error["ename"] == "BudgetExceeded"

    def test_a_started_one_is_followed_in_the_cell_that_started_it(self, watched: Kernel) -> None:
        [first] = shown(watched.run("budget = bn.budget(credits=5); budget.start()"))
        watched.run("pay(budget)")
        said = watched.run("budget.stop();")
        last = drawn(said)[-1]
        assert last.kind == "update_display_data"
        assert last.content["transient"] == first.content["transient"]
        assert "1 of 5 credits spent" in last.data["text/plain"]

    def test_blocks_inside_blocks_have_a_meter_each(self, watched: Kernel) -> None:
        said = watched.run(
            "with bn.budget(credits=5, name='Outer') as outer, bn.budget(credits=3, name='Inner') as inner:\n"
            "    with outer: pay(inner)\n"
        )
        assert len([one for one in said if one.kind == "display_data"]) == 2

    def test_a_keyword_shows_no_meter(self, watched: Kernel) -> None:
        said = watched.run(
            "from beatra_nb.core import budget as budgets\nwith budgets.within(5): print(len(budgets.active()))"
        )
        assert drawn(said) == []


class TestNobodyWatches:
    def test_it_is_shown_once_at_the_end(self, unwatched: Kernel) -> None:
        said = unwatched.run("with bn.budget(credits=5) as budget:\n    pay(budget); pay(budget)\n")
        [one] = drawn(said)
        assert one.kind == "display_data"
        assert "2 of 5 credits spent" in one.data["text/plain"]
        assert len(drawn(unwatched.run("with budget: pay(budget)\nbudget"))) == 1
        assert "update_display_data" not in {one.kind for one in said}

    def test_started_and_stopped(self, unwatched: Kernel) -> None:
        said = unwatched.run("budget = bn.budget(credits=5).start(); pay(budget)")
        assert drawn(said) == []
        [one] = drawn(unwatched.run("budget.stop();"))
        assert "1 of 5 credits spent" in one.data["text/plain"]

    def test_in_a_script_nothing_is_shown_and_nothing_is_loaded(self) -> None:
        code = SETUP + (
            "import sys\nwith bn.budget(credits=5) as budget: pay(budget)\nprint(budget)\n"
            "print(not {'IPython', 'ipywidgets', 'pandas'} & set(sys.modules))"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout == "Budget(credits=5; 1 credits, 10 tokens spent)\nTrue\n"
        assert done.stderr == ""
