"""Bounds on what calls may cost: set aside before a call is sent, settled by what it came to.

Every call that costs something passes through the ``Ledger``, which asks for leave here (``claims``). So a budget
holds for whatever is called inside it: chats, streams, conversations, music, panels, a batch, with either client.

    before   what is spent + set aside + expected of the call must stay within the bound, or nothing is sent
    during   what is expected is set aside, so that many calls at once cannot all take the same credits
    after    what it really cost is spent; of a call that failed nothing is; of one that nobody knows the end of
             what was expected stays set aside as *maybe spent*, until the same key comes again

A bound is kept up to what is under way: an answer may turn out longer than expected. The sums are done by ``purse``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from beatra_nb.core import seams
from beatra_nb.core.costs import Estimate
from beatra_nb.core.errors import BudgetExceeded, InvalidInput
from beatra_nb.core.purse import NONE, Left, Paid, Purse, Shortage, Spent

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import datetime
    from types import TracebackType

    from beatra_nb.display.live_budget import BudgetPainter

MORE = "Allow more (budget.more(…), or another bound), then run the cell again: nothing was sent."
Number: TypeAlias = "Decimal | int | float | str"
Check: TypeAlias = Callable[[Spent], "bool | str"]


class Budget(seams.Showable):
    """A bound on what calls may cost; ``bn.budget`` makes one and tells how it is used.

    Attributes
    ----------
    name : str or None
        What it is called in views and errors.
    credits, tokens : Decimal or int or None
        Its bounds.
    """

    def __init__(
        self,
        credits: Number | None = None,
        tokens: int | None = None,
        check: Check | None = None,
        name: str | None = None,
    ) -> None:
        if credits is None and tokens is None and check is None:
            raise InvalidInput(
                "A budget needs a bound: credits, tokens or a check of your own.",
                hint="bn.budget(credits=500)",
            )
        if check is not None and not callable(check):
            raise InvalidInput(
                f"check must be a function, not {type(check).__name__}.",
                hint="It is called with what was spent, and says whether more may be: True, False or why not.",
            )
        if name is not None and not isinstance(name, str):
            raise InvalidInput(f"name must be text, not {type(name).__name__}.")
        self.name = name
        self._purse = Purse(
            None if credits is None else _credits(credits), None if tokens is None else _tokens(tokens)
        )
        self._check = check
        self._lock = threading.Lock()
        self._refused: str | None = None
        self._inside = 0
        self._painter: BudgetPainter | None = None

    # ── looking ──

    @property
    def credits(self) -> Decimal | None:
        """The bound on credits; None where there is none."""
        return self._purse.credits

    @property
    def tokens(self) -> int | None:
        """The bound on tokens; None where there is none."""
        return self._purse.tokens

    @property
    def spent(self) -> Spent:
        """What was spent, by what the service says; where it does not say, by estimate (see ``unpriced``)."""
        return self._purse.spent

    @property
    def reserved(self) -> Spent:
        """What is set aside: for calls under way, and for those that were maybe paid."""
        return self._purse.aside()

    @property
    def maybe(self) -> Spent:
        """What was maybe spent: by calls that nobody knows the end of. The same key again settles it."""
        return self._purse.maybe

    @property
    def left(self) -> Left:
        """What may still be spent, never less than nothing."""
        return self._purse.left()

    @property
    def unbounded(self) -> bool:
        """Whether nothing but a check of the user's own bounds it."""
        return self.credits is None and self.tokens is None

    @property
    def objection(self) -> str | None:
        """What the user's own check says against more at this moment; None if nothing."""
        return self._reason()

    @property
    def calls(self) -> int:
        """How many calls were paid."""
        return self._purse.spent.calls

    @property
    def unpriced(self) -> int:
        """How many of them did not say what they cost, so that an estimate was counted."""
        return self._purse.unpriced

    @property
    def recorded(self) -> datetime | None:
        """When the last answer that is on a cassette was recorded."""
        return self._purse.recorded

    @property
    def replayed(self) -> Spent:
        """What of the spent was only played again: it is counted as it was recorded, and cost nothing now."""
        return self._purse.replayed

    @property
    def exceeded(self) -> bool:
        """Whether nothing more may be spent: a bound is reached, or the last call was refused."""
        left = self.left
        return self._refused is not None or left.credits == 0 or left.tokens == 0

    @property
    def refused(self) -> str | None:
        """Why the last call was refused; None if it was not."""
        return self._refused

    @property
    def holds(self) -> bool:
        """Whether it holds just now: inside ``with``, or between ``start`` and ``stop``."""
        return self._inside > 0

    @property
    def sandbox(self) -> bool:
        """Whether a sandbox was paid, in its play money."""
        return self._purse.sandbox

    def room(self, estimate: Estimate | Number | None = None) -> bool:
        """Whether so much more may be spent; never raises for want of room.

        Parameters
        ----------
        estimate : number, optional
            Credits; left out, whether anything may be spent at all.
        """
        if estimate is None:
            estimate = Estimate()
        elif not isinstance(estimate, Estimate):
            estimate = Estimate(sure_credits=_credits(estimate))
        if self._reason() is not None:
            return False
        return self._purse.shortage(estimate) is None

    # ── using ──

    def __enter__(self) -> Budget:
        _inside.set((*_inside.get(), self))
        self._show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        inside = list(_inside.get())
        for at in reversed(range(len(inside))):
            if inside[at] is self:
                del inside[at]
                break
        _inside.set(tuple(inside))
        self._unshow()

    def start(self) -> Budget:
        """Let it hold for every call of this process, in all cells and threads, until ``stop``; return it.

        Examples
        --------
        >>> budget = bn.budget(credits=500).start()
        >>> budget.stop().holds
        False
        """
        global _started
        with _starting:
            if any(each is self for each in _started):
                return self
            _started = (*_started, self)
        self._show()
        return self

    def stop(self) -> Budget:
        """Let it hold no longer for what is called from now on; return it."""
        global _started
        with _starting:
            if not any(each is self for each in _started):
                return self
            _started = tuple(each for each in _started if each is not self)
        self._unshow()
        return self

    def more(self, credits: Number | None = None, tokens: int | None = None) -> Budget:
        """Allow more: add to the bounds; return the budget.

        Examples
        --------
        >>> bn.budget(credits=5).more(2.5).credits
        Decimal('7.5')
        """
        if credits is None and tokens is None:
            raise InvalidInput("more() needs to know how much more.", hint="budget.more(credits=100)")
        for name, bound, given in (("credits", self.credits, credits), ("tokens", self.tokens, tokens)):
            if bound is None and given is not None:
                raise InvalidInput(f"This budget has no bound on {name}: any number of them may be spent.")
        self._purse.more(
            NONE if credits is None else _credits(credits), 0 if tokens is None else _tokens(tokens)
        )
        self._refused = None
        self._changed()
        return self

    def __repr__(self) -> str:
        bounds = [f"credits={self.credits}"] if self.credits is not None else []
        bounds += [f"tokens={self.tokens}"] if self.tokens is not None else []
        bounds += ["check=…"] if self._check is not None else []
        bounds += [f"name={self.name!r}"] if self.name else []
        return f"Budget({', '.join(bounds)}; {self.spent.credits} credits, {self.spent.tokens} tokens spent)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A budget is never pickled or copied: the same credits would be spent twice.")

    # ── asked by calls ──

    def reserve(self, key: str | None, estimate: Estimate) -> Spent:
        """Set aside what a call may cost, and return it, to be settled.

        Raises
        ------
        BudgetExceeded
            If there is not so much left.
        """
        if (reason := self._reason()) is not None:
            raise self._no(BudgetExceeded(f"{self._called} refuses the call: {reason}.", name=self.name))
        amount = self._purse.reserve(key, estimate)
        if isinstance(amount, Shortage):
            raise self._no(self._exceeded(amount))
        self._refused = None
        self._changed()
        return amount

    def settle(self, key: str | None, amount: Spent, paid: Paid | None, *, maybe: bool = False) -> None:
        """Give up what was set aside for what the call came to: something, nothing (None), or nobody knows."""
        self._purse.settle(key, amount, paid, maybe=maybe)
        self._changed()

    def refund(self, task: str, total: Decimal) -> None:
        """Take back what came back of a task's price; ``total`` is all that has come back so far."""
        self._purse.refund(task, total)
        self._changed()

    def _reason(self) -> str | None:
        """Ask the user's own check; return why not, or None."""
        if self._check is None:
            return None
        said = self._check(self._purse.used())
        if said is True:
            return None
        if said is False:
            return "its check says no"
        if isinstance(said, str):
            return said.strip().rstrip(".") or "its check says no"
        raise InvalidInput(
            f"A budget's check must say True, False or why not, and it said {said!r:.60}.",
            hint="check=lambda spent: spent.calls < 100",
        )

    def _exceeded(self, short: Shortage) -> BudgetExceeded:
        under_way = (
            f", {_plain(short.aside)} set aside for calls under way or maybe paid" if short.aside else ""
        )
        about = f"; this call may take about {_plain(short.expected)}" if short.expected else ""
        unit = short.unit[:-1] if short.bound == 1 else short.unit
        return BudgetExceeded(
            f"{self._called} of {_plain(short.bound)} {unit} has no room for this call: "
            f"{_plain(short.spent)} spent{under_way}{about}.",
            name=self.name,
            unit=short.unit,
            bound=short.bound,
            spent=short.spent,
            reserved=short.aside,
            estimate=short.expected,
        )

    def _no(self, error: BudgetExceeded) -> BudgetExceeded:
        error.hint = MORE
        self._refused = error.message
        self._changed()
        return error

    @property
    def _called(self) -> str:
        return f"The budget {self.name!r}" if self.name else "The budget"

    # ── its meter ──

    def _show(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
        self._painter = seams.budget_painter(self)

    def _unshow(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside:
                return
            painter, self._painter = self._painter, None
        if painter is not None:
            painter.finish(self)

    def _changed(self) -> None:
        if (painter := self._painter) is not None:
            painter.update()


_inside: ContextVar[tuple[Budget, ...]] = ContextVar("beatra_nb_budgets", default=())
_started: tuple[Budget, ...] = ()
_starting = threading.Lock()


def budget(
    credits: Number | None = None,
    tokens: int | None = None,
    check: Check | None = None,
    name: str | None = None,
) -> Budget:
    """Set a bound on what calls may cost.

    Use it in a ``with`` block around any calls, or from ``.start()`` to ``.stop()`` around any cells. Calls that
    are expected to cost more than is left are not sent.

    Parameters
    ----------
    credits : number, optional
        The most credits that may be spent.
    tokens : int, optional
        The most tokens, asked and answered.
    check : callable, optional
        A check of yours, asked before each call with what was spent (``Spent``, what is set aside included): True
        lets the call go, False or a reason stops it.
    name : str, optional
        What to call it in views and errors.

    Returns
    -------
    Budget
        With ``.spent``, ``.reserved``, ``.left``, ``.calls`` and ``.exceeded``; shown as a meter, live inside
        ``with``.

    Raises
    ------
    InvalidInput
        If it has no bound, or one that is no number.
    BudgetExceeded
        By the calls inside, before they are sent, when there is no room for them.

    Notes
    -----
    What a call may cost is estimated from what its model has cost in this process; of music the price is known. The
    bound is kept up to what is under way: an answer may turn out longer than expected. A ``with`` block holds for
    what it calls, also in asyncio tasks made inside it; ``start()`` holds for all threads. Budgets inside budgets
    all count. Answers that are replayed are counted as they cost when they were recorded, so that a replay goes as
    the recording went; ``.replayed`` tells how much of it that is.

    Examples
    --------
    >>> with bn.budget(credits=500) as budget:  # doctest: +SKIP
    ...     bn.chat("Say hi in five words.")
    >>> budget.left.credits  # doctest: +SKIP
    """
    return Budget(credits, tokens, check, name)


def of(given: Budget | Number | Check) -> Budget:
    """Return what was passed as ``budget=``: a budget as it is, a number as credits, a function as a check."""
    if isinstance(given, Budget):
        return given
    if callable(given):
        return Budget(check=given)
    if isinstance(given, int | float | str | Decimal) and not isinstance(given, bool):
        return Budget(given)
    raise InvalidInput(
        f"budget must be a number of credits, a bn.budget(…) or a function, not {type(given).__name__}.",
        hint="budget=5, or budget=bn.budget(tokens=10_000)",
    )


def within(given: Budget | Number | Check | None) -> AbstractContextManager[object]:
    """Return what lets a budget hold for a block: one passed as ``budget=``; it shows no meter."""
    return nullcontext() if given is None else holding((of(given),))


@contextmanager
def holding(budgets: tuple[Budget, ...]) -> Iterator[None]:
    """Let budgets hold for a block, beside those that already do."""
    before = _inside.get()
    _inside.set((*before, *(each for each in budgets if each not in before)))
    try:
        yield
    finally:
        _inside.set(before)


def active() -> tuple[Budget, ...]:
    """Return the budgets that hold for what is called here and now."""
    inside, started = _inside.get(), _started
    return tuple(dict.fromkeys((*started, *inside))) if inside or started else ()


def room(estimate: Estimate | Number | None = None) -> bool:
    """Whether all budgets that hold here and now have room for so much."""
    return all(each.room(estimate) for each in active())


def _credits(value: object) -> Decimal:
    problem = f"A budget's credits must be a number from 0, not {value!r:.60}."
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise InvalidInput(problem, hint="bn.budget(credits=500)")
    try:
        number = Decimal(str(value).strip().replace("_", ""))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        raise InvalidInput(problem, hint="bn.budget(credits=500)")
    return number


def _tokens(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInput(
            f"A budget's tokens must be a whole number from 0, not {value!r:.60}.",
            hint="bn.budget(tokens=10_000)",
        )
    return value


def _plain(value: Decimal | int) -> str:
    """Write an amount for people: no exponent, no more than four figures behind the point."""
    if isinstance(value, int):
        return f"{value:,}"
    if value.adjusted() > 15:
        return str(value)[:40]
    text = f"{value:,.4f}".rstrip("0").rstrip(".")
    return text if value == 0 or text not in ("0", "-0") else "less than 0.0001"
