"""A budget shown while it holds: one small painter for each way of looking.

==========  ==============================================================================================
page        the meter itself, drawn anew a few times a second; its last state stays in the saved notebook
once        nothing until it is over, then one display
terminal    one line when it is over
nowhere     nothing
==========  ==============================================================================================

A painter never breaks the calls that it watches (``painting``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from beatra_nb.display import budgets
from beatra_nb.display.painting import Harmless, Pacer, bundle, current_cell, remember, show, write
from beatra_nb.display.watching import look_around, surface

if TYPE_CHECKING:
    from beatra_nb.core.budget import Budget

INTERVAL = 0.3  # seconds between two pictures: each is two or three kilobytes


class BudgetPainter(Protocol):
    """What a budget is shown by."""

    def update(self) -> None:
        """Take note that it has changed; cheap."""

    def finish(self, budget: Budget) -> None:
        """Show it as it stands, for good."""


def budget_painter(budget: Budget) -> BudgetPainter:
    """Return the painter of a budget that fits who is looking."""
    where = surface(look_around())
    if where == "page":
        return _CarefulBudget(lambda: _BudgetPage(budget), _BudgetOnce())
    if where == "terminal":
        return _CarefulBudget(_BudgetTerminal, _BudgetNowhere())
    return _CarefulBudget(_BudgetOnce if where == "once" else _BudgetNowhere, _BudgetNowhere())


class _Budget(BudgetPainter, Protocol):
    @property
    def shows(self) -> bool: ...
    def drop(self) -> None: ...


class _CarefulBudget(Harmless[_Budget]):
    """Any painter of budgets, made harmless."""

    shown_instead = "budgets are shown once they are over"

    def update(self) -> None:
        try:
            self._inner.update()
        except Exception as error:
            self._give_up(error)


class _BudgetPage:
    """The meter, drawn anew in its place."""

    shows = True

    def __init__(self, budget: Budget) -> None:
        from IPython.display import display

        self._budget = budget
        self._handle: Any = display(bundle(budget), raw=True, display_id=True)  # type: ignore[no-untyped-call]
        remember(budget, current_cell())  # as the value of this cell it would stand here twice
        self._pacer = Pacer(self._draw, INTERVAL)

    def update(self) -> None:
        self._pacer.wake()

    def finish(self, budget: Budget) -> None:
        self._pacer.stop()
        self._draw()

    def drop(self) -> None:
        self._pacer.stop()

    def _draw(self) -> None:
        self._handle.update(bundle(self._budget), raw=True)


class _BudgetOnce:
    """One display, when it is over."""

    shows = True

    def update(self) -> None:
        pass

    def finish(self, budget: Budget) -> None:
        show(budget)

    def drop(self) -> None:
        pass


class _BudgetTerminal:
    """One line, when it is over."""

    shows = False  # a line is not the view: an IPython prompt still shows that

    def update(self) -> None:
        pass

    def finish(self, budget: Budget) -> None:
        write(f"── {budgets.line(budget)}\n")

    def drop(self) -> None:
        pass


class _BudgetNowhere:
    """Nobody looks."""

    shows = False

    def update(self) -> None:
        pass

    def finish(self, budget: Budget) -> None:
        pass

    def drop(self) -> None:
        pass
