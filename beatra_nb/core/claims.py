"""Asks the budgets that hold for leave to make a call, and tells them what it came to."""

from __future__ import annotations

import weakref
from decimal import Decimal
from typing import TYPE_CHECKING

from beatra_nb.core.budget import Budget, active
from beatra_nb.core.costs import NONE, Estimate, costs, of_call, of_chat, rounded
from beatra_nb.core.purse import Paid, Spent

if TYPE_CHECKING:
    from beatra_nb.core.flow import Call, Context
    from beatra_nb.core.reply import Reply
    from beatra_nb.core.request import ChatRequest
    from beatra_nb.core.task import BaseTask

# Who paid for tasks: their refunds may come long after the block that they were made in.
_with_tasks: weakref.WeakSet[Budget] = weakref.WeakSet()


class Claim:
    """What all budgets that hold for a call have set aside for it; settled once.

    Attributes
    ----------
    estimate : Estimate
        What the call was expected to cost.
    """

    __slots__ = ("_holds", "_key", "_replayed", "estimate")

    def __init__(self, key: str | None, estimate: Estimate, *, replayed: bool = False) -> None:
        self._key = key
        self._replayed = replayed
        self._holds: list[tuple[Budget, Spent]] = []
        self.estimate = estimate

    def take(self, budget: Budget) -> None:
        """Set it aside in one budget."""
        self._holds.append((budget, budget.reserve(self._key, self.estimate)))

    def chat(self, reply: Reply) -> None:
        """Settle it by an answer; what that does not say is taken as it was expected."""
        expected, usage = self.estimate, reply.usage
        credits, tokens, told = expected.credits, expected.tokens, False
        if usage is not None:
            tokens = usage.total_tokens
            told = usage.credits is not None and usage.credits.is_finite() and usage.credits >= 0
            if told:
                credits = usage.credits or NONE
            elif expected.tokens:
                credits = rounded(expected.credits * tokens / expected.tokens)
        self._end(Paid(Spent(credits, tokens, 1), told, reply.sandbox, "", reply.recorded, self._replayed))

    def task(self, task: BaseTask, credits: Decimal | None) -> None:
        """Settle it by a task; ``credits`` as the ledger has them, None where another process has paid."""
        told = task.billing.charged is not None
        if not told:
            credits = self.estimate.credits
        amount = Spent(credits or NONE, 0, 1)
        self._end(Paid(amount, told, task.sandbox, task.id, task.recorded, self._replayed))
        _with_tasks.update(budget for budget, _ in self._holds)
        self._holds = []

    def nothing(self) -> None:
        """Settle it by a failure: the service did not do the work, or was never asked."""
        self._end(None)

    def maybe(self) -> None:
        """Leave it set aside: the service may have done the work."""
        self._end(None, maybe=True)

    def _end(self, paid: Paid | None, *, maybe: bool = False) -> None:
        for budget, amount in self._holds:
            budget.settle(self._key, amount, paid, maybe=maybe)


def claim(context: Context, call: Call) -> Claim | None:
    """Set aside what a call may cost, in every budget that holds; None where none does, or it costs nothing.

    Raises
    ------
    BudgetExceeded
        If one of them has not so much left.
    """
    budgets = active()
    if not budgets or not costs(call):
        return None
    made = Claim(call.key, of_call(context.base_url, call, context.prices), replayed=context.free)
    try:
        for each in budgets:
            made.take(each)
    except BaseException:
        made.nothing()
        raise
    return made


def refusing(context: Context, request: ChatRequest) -> Budget | None:
    """Return the first budget that holds and has no room for a chat call; None where all have."""
    budgets = active()
    if not budgets:
        return None
    estimate = of_chat(context.base_url, request.json, context.prices)
    return next((each for each in budgets if not each.room(estimate)), None)


def known(context: Context, request: ChatRequest) -> bool:
    """Whether something is known of what such a call costs.

    Until then no call should be made beside others within a budget: many could cost many times the bound before the
    first one says so.
    """
    return not of_chat(context.base_url, request.json, context.prices).guessed


def refunded(task: BaseTask) -> None:
    """Give back what came back of a task's price, to the budgets that paid it."""
    if (total := task.billing.refunded) and task.id:
        for each in list(_with_tasks):
            each.refund(task.id, total)
