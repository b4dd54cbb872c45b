"""What the rows of a batch may cost, kept where the budgets are, while the calls are made elsewhere.

A row is claimed for before it leaves, as the ledger of a call does it, and settled by the outcome that comes home. So
one budget holds for any number of workers, up to what is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from beatra_nb.core import budget as budgets
from beatra_nb.core import claims, resources
from beatra_nb.core.errors import BudgetExceeded
from beatra_nb.core.flow import Call
from beatra_nb.core.reply import Reply, Usage

if TYPE_CHECKING:
    from decimal import Decimal

    from beatra_nb.batch.outcome import Outcome
    from beatra_nb.core.claims import Claim
    from beatra_nb.core.flow import Context
    from beatra_nb.core.request import ChatRequest


class Accounts:
    """The claims of rows that are under way.

    Parameters
    ----------
    context : Context
        What the calls are made with: where they go decides about what they cost.
    room : callable, optional
        Asked first, whether a row may still be paid for.
    """

    def __init__(self, context: Context, room: Callable[[ChatRequest, bool], bool] | None) -> None:
        self._context = context
        self._room = room
        self._claims: dict[int, Claim] = {}

    def claim(self, position: int, request: ChatRequest) -> bool:
        """Set aside in the budgets what a row may cost, if there is room for it."""
        if self._room is not None and not self._room(request, not self._claims):
            return False
        call = Call("chat", "POST", resources.CHAT, request.json, request.wire_key)
        try:
            claim = claims.claim(self._context, call)
        except BudgetExceeded:
            return False
        if claim is not None:
            self._claims[position] = claim
        return True

    def settle(self, request: ChatRequest, outcome: Outcome) -> None:
        """Tell the budgets what a row came to, and the next estimates what its model costs."""
        tokens = outcome.prompt_tokens + outcome.completion_tokens
        usage = None
        if tokens or outcome.credits is not None:
            usage = Usage(outcome.prompt_tokens, outcome.completion_tokens, tokens, outcome.credits)
            if outcome.model is not None and outcome.attempts == 1 and outcome.error is None:
                self._context.prices.learn(self._context.base_url, request.asked, outcome.model, usage)
        claim = self._claims.pop(outcome.position, None)
        if claim is None:
            return
        if usage is not None or outcome.error is None:
            claim.chat(Reply("", usage=usage, sandbox=outcome.sandbox))
        elif outcome.error.doubtful:
            claim.maybe()
        else:
            claim.nothing()

    def give_up(self, positions: Iterable[int], *, sent: bool) -> None:
        """Settle rows without an outcome: as maybe paid where they may have been sent, as nothing where not."""
        for position in positions:
            claim = self._claims.pop(position, None)
            if claim is not None and sent:
                claim.maybe()
            elif claim is not None:
                claim.nothing()

    def allowance(self, positions: Iterable[int], others: int) -> tuple[Decimal | None, int | None]:
        """Return how many credits and tokens some rows may spend before they are asked about anew.

        It is what is set aside for them and their part of what is left, where so many ``others`` may want some.
        """
        active = budgets.active()
        if not active:
            return None, None
        set_aside = [claim.estimate for at in positions if (claim := self._claims.get(at)) is not None]
        left = [each.left for each in active]
        credits = [
            sum((each.credits for each in set_aside), free.credits / others)
            for free in left
            if free.credits is not None
        ]
        tokens = [
            sum((each.tokens for each in set_aside), free.tokens // others)
            for free in left
            if free.tokens is not None
        ]
        return min(credits, default=None), min(tokens, default=None)
