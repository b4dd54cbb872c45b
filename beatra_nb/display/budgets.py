"""The view of a budget: a meter, what was spent, set aside and left, in figures."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import Scope, figure, get, sandbox_badge
from beatra_nb.display.view import Badge, Card, Meter, Note, Row, Stack, Text, Tone, View

_UNITS = ("credits", "tokens")


def budget(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a Budget."""
    spent, held, left = get(obj, "spent"), get(obj, "reserved"), get(obj, "left")
    bounds = [unit for unit in _UNITS if get(obj, unit) is not None]
    body: list[View] = [_meter(unit, get(obj, unit), get(spent, unit), get(held, unit)) for unit in bounds]
    maybe, calls = get(obj, "maybe"), get(obj, "calls", 0)
    facts: list[View] = [Badge("", _count(calls, "call"))]
    for unit in _UNITS:
        facts += _facts(unit, spent, held, maybe, left, calls)
    body.append(Row(tuple(facts)))
    if refused := get(obj, "refused"):
        body.append(Note(one_line(refused, 600), "warn"))
    if unpriced := get(obj, "unpriced", 0):
        some = "1 call did" if unpriced == 1 else f"{figure(unpriced)} calls did"
        body.append(Note(f"{some} not say what it cost: an estimate is counted.", "plain"))
    title: list[View] = [Text(one_line(get(obj, "name") or "Budget", 120), strong=True)]
    title.append(_state(obj))
    marks = tuple(sandbox_badge(obj))
    used_up = get(obj, "exceeded") is True
    return Card(
        Stack(tuple(body)),
        label="Budget",
        title=Row(tuple(title)),
        footer=Row((*marks, Badge("", "play money"))) if marks else None,
        tone="warn" if used_up else "plain",
    )


def spent(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of what was spent, or is left."""
    parts = [_amount(get(obj, unit), unit) for unit in _UNITS if get(obj, unit) is not None]
    if isinstance(calls := get(obj, "calls"), int):
        parts.append(_count(calls, "call"))
    return Row(tuple(Badge("", part) for part in parts or ["no bound"]))


def line(obj: object) -> str:
    """Return one plain line about a budget.

    Examples
    --------
    >>> from beatra_nb.core.budget import Budget
    >>> line(Budget(5, name="Tonight"))
    'Tonight: 0 of 5 credits spent · 0 calls'
    """
    parts = []
    for unit in _UNITS:
        if (bound := get(obj, unit)) is not None:
            parts.append(f"{_figure(get(get(obj, 'spent'), unit))} of {_amount(bound, unit)} spent")
            if aside := get(get(obj, "reserved"), unit):
                parts.append(f"{_amount(aside, unit)} set aside")
    parts.append(_count(get(obj, "calls", 0), "call"))
    if get(obj, "refused"):
        parts.append("used up")
    return one_line(f"{get(obj, 'name') or 'Budget'}: {' · '.join(parts)}", 400)


def _meter(unit: str, bound: Any, spent: Any, held: Any) -> View:  # noqa: ANN401
    taken = spent + held
    percent = 100.0 if not bound else float(min(Decimal(100), Decimal(100) * Decimal(taken) / Decimal(bound)))
    aside = f", {_figure(held)} set aside" if held else ""
    return Meter(percent, f"{_figure(spent)} of {_amount(bound, unit)} spent{aside}")


def _facts(unit: str, spent: Any, held: Any, maybe: Any, left: Any, calls: Any) -> list[View]:  # noqa: ANN401
    """Return the figures of one unit that say more than the meter."""
    rest, doubt = get(left, unit), get(maybe, unit)
    if rest is None:
        return [Badge("", f"{_amount(cost, unit)} spent")] if (cost := get(spent, unit)) else []
    out: list[View] = []
    if flying := get(held, unit) - doubt:
        out.append(Badge("", f"{_amount(flying, unit)} under way"))
    if doubt:
        out.append(Badge(f"{_amount(doubt, unit)} maybe spent", tone="warn"))
    out.append(Badge("", f"{_amount(rest, unit)} left"))
    if calls and (each := get(spent, unit) / Decimal(calls)) > 0:
        more = f": room for about {figure(int(rest / each))} more" if rest >= each else ""
        out.append(Badge("", f"about {_figure(each)} a call{more}"))
    return out


def _state(obj: object) -> View:
    tone: Tone = "warn"
    if get(obj, "exceeded") is True:
        return Badge("used up", tone=tone)
    return Badge("holds", tone="good") if get(obj, "holds") is True else Text("")


def _amount(value: object, unit: str) -> str:
    return f"{_figure(value)} {unit[:-1] if value == 1 else unit}"


def _count(count: object, noun: str) -> str:
    return f"{figure(count)} {noun if count == 1 else noun + 's'}"


def _figure(value: object) -> str:
    """Write an amount with as many figures as matter to somebody who watches it."""
    if (
        isinstance(value, Decimal)
        and value.is_finite()
        and value.adjusted() < 15
        and value != value.to_integral_value()
    ):
        value = round(value, 2 if abs(value) >= 100 else max(4, 2 - value.adjusted()))
    return figure(value)
