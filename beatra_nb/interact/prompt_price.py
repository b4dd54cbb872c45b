"""What a prompt's next calls may take: tokens by estimate, credits by what the same model cost before."""

from __future__ import annotations

import time
from decimal import Decimal
from statistics import median
from typing import TYPE_CHECKING, Any

from beatra_nb.core import seams, tokens
from beatra_nb.core.errors import BeatraError
from beatra_nb.display.pieces import figure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from beatra_nb.core.client import Client
    from beatra_nb.core.prompt import Prompt

FRESH = 20.0  # seconds; typing asks for the price a few times a second
_SEEN = 200  # calls that are looked at
_ROWS = (
    "SELECT total_tokens, completion_tokens, credits FROM calls WHERE verb IN ('chat', 'stream') AND sandbox = ?1 "
    "AND (asked_model = ?2 OR model = ?2) AND total_tokens > 0 ORDER BY id DESC LIMIT ?3"
)
_Call = tuple[int, int | None, Decimal | None]


class Prices:
    """What calls of a client have cost, by its journal; nothing where there is none."""

    def __init__(self) -> None:
        self._known: dict[tuple[bool, str], tuple[float, list[_Call]]] = {}

    def expected(
        self, client: Client, prompt: Prompt, messages: Iterable[list[dict[str, Any]]]
    ) -> dict[str, Any]:
        """Return the tokens that are sent, and the range of credits in words, empty where nothing is known."""
        asked = [tokens.estimate_messages(each) for each in messages]
        calls = self._calls(client, prompt.model)
        answers = [count for _, count, _ in calls if count]
        answer = int(median(answers)) if answers else 0
        if prompt.max_tokens is not None:
            answer = min(answer, prompt.max_tokens)
        total = sum(asked) + answer * len(asked)
        span = tokens.price_range(total, [(count, credits) for count, _, credits in calls])
        return {"tokens": sum(asked), "price": "" if span is None else in_words(*span)}

    def forget(self) -> None:
        """Look into the journal again: there are new calls."""
        self._known.clear()

    def _calls(self, client: Client, model: str) -> list[_Call]:
        key = (client.mode == "sandbox", model)
        now = time.monotonic()
        if key not in self._known or now - self._known[key][0] > FRESH:
            self._known[key] = now, _read(client, *key)
        return self._known[key][1]


def in_words(low: Decimal, high: Decimal) -> str:
    """Return a range of credits in words.

    Examples
    --------
    >>> in_words(Decimal("1.2345"), Decimal("3.2")), in_words(Decimal(2), Decimal(2))
    ('1.23–3.2 credits', '2 credits')
    """
    ends = [figure(_rounded(each)) for each in (low, high)]
    span = ends[0] if ends[0] == ends[1] else "–".join(ends)
    return f"{span} {'credit' if span == '1' else 'credits'}"


def _rounded(value: Decimal) -> Decimal:
    """Round to three figures: more would claim to know more."""
    if not value:
        return value
    return round(value, max(0, 2 - value.adjusted()))


def _read(client: Client, sandbox: bool, model: str) -> list[_Call]:
    if not client.journal_on:
        return []
    try:
        rows = seams.journal().read(_ROWS, (sandbox, model, _SEEN))
        return [(total, answer, None if cost is None else Decimal(cost)) for total, answer, cost in rows]
    except (BeatraError, ArithmeticError):  # no price is worth an error while somebody types
        return []
