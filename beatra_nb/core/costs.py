"""What a call may cost, told before it is sent: from what this process has paid, and from the prices that are known.

The service names no price of a token, so it is learned: each answer that says what it cost teaches what its model
takes for a token, and how long its answers are. Until then there is a guess, which is set aside but refuses nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING, Any

from beatra_nb.core.lenient import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from beatra_nb.core.flow import Call
    from beatra_nb.core.reply import Usage

CHAT, MUSIC = "/chat/completions", "/music/"  # how the paths of calls that cost something begin
SEEN = 16  # answers of a model that are remembered: prices change
MODELS = 256  # models that are remembered
GUESSED_ANSWER = 256  # tokens of an answer, while nobody knows
GUESSED_PRICE = Decimal("0.001")  # credits a token, while nobody knows
NONE = Decimal(0)
FINEST = Decimal("0.000001")  # credits; sums of finer ones would not come out even
DEAREST = Decimal(10**9)  # credits of one call; what claims to cost more teaches nothing


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a call may cost.

    Attributes
    ----------
    credits, tokens
        What is set aside for it.
    sure_credits, sure_tokens
        What it is refused for, where there is not so much left: a mere guess is no reason to refuse.
    """

    credits: Decimal = NONE
    tokens: int = 0
    sure_credits: Decimal = NONE
    sure_tokens: int = 0


class Prices:
    """What models have cost, by where they are asked and what they are called. Safe in many threads.

    Examples
    --------
    >>> from beatra_nb.core.reply import Usage
    >>> prices = Prices()
    >>> prices.learn("here", {"auto"}, Usage(60, 40, 100, Decimal("0.5")))
    >>> prices.token("here", "auto"), prices.answer("here", "auto")
    (Decimal('0.005'), 40)
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._seen: OrderedDict[tuple[str, str], deque[tuple[int, int, Decimal | None]]] = OrderedDict()

    def learn(self, place: str, models: set[str], usage: Usage) -> None:
        """Take note of what an answer cost; the model that was asked and the one that answered may differ."""
        if usage.total_tokens <= 0:
            return
        credits = usage.credits
        if credits is not None and not (credits.is_finite() and 0 <= credits <= DEAREST):
            credits = None
        with self._lock:
            for model in models:
                calls = self._seen.setdefault((place, model), deque(maxlen=SEEN))
                calls.append((usage.total_tokens, max(usage.completion_tokens, 0), credits))
                self._seen.move_to_end((place, model))
            while len(self._seen) > MODELS:
                self._seen.popitem(last=False)

    def token(self, place: str, model: str) -> Decimal | None:
        """Return what a token of this model costs, in credits; None while nobody knows."""
        priced = [(count, credits) for count, _, credits in self._calls(place, model) if credits is not None]
        if not priced:
            return None
        return sum((credits for _, credits in priced), NONE) / sum(count for count, _ in priced)

    def answer(self, place: str, model: str) -> int | None:
        """Return how many tokens an answer of this model has; None while nobody knows."""
        calls = self._calls(place, model)
        return round(sum(count for _, count, _ in calls) / len(calls)) if calls else None

    def _calls(self, place: str, model: str) -> list[tuple[int, int, Decimal | None]]:
        with self._lock:
            return list(self._seen.get((place, model), ()))


PRICES = Prices()


def costs(call: Call) -> bool:
    """Whether a call is one that costs something."""
    return call.method == "POST" and call.path.startswith((CHAT, MUSIC))


def of_call(place: str, call: Call, prices: Prices = PRICES) -> Estimate:
    """Return what a call may cost, by what it sends; ``place`` is the base URL."""
    body = load(call.body) if call.body is not None else {}
    return of_music(str(body.get("model"))) if call.path.startswith(MUSIC) else of_chat(place, body, prices)


def of_music(model: str) -> Estimate:
    """Return what a piece of music costs: exactly, where the price is known; of several, the highest.

    Examples
    --------
    >>> of_music("suno-5.5").sure_credits
    Decimal('80')
    """
    from beatra_nb.core import music

    highest = Decimal(max(price for price, _ in music.PRICES.values()))
    if model == "auto":
        return Estimate(highest, sure_credits=highest)
    if model in music.PRICES:
        price = Decimal(music.PRICES[model][0])
        return Estimate(price, sure_credits=price)
    return Estimate(highest)


def of_chat(place: str, body: Mapping[str, Any], prices: Prices = PRICES) -> Estimate:
    """Return what a chat call may cost: its own tokens by estimate, its answer and the price by what was seen.

    Examples
    --------
    >>> body = {"model": "auto", "messages": [{"role": "user", "content": "Say hi in five words."}]}
    >>> of_chat("nowhere", {**body, "max_tokens": 20})
    Estimate(credits=Decimal('0.034'), tokens=34, sure_credits=Decimal('0'), sure_tokens=14)
    """
    from beatra_nb.core import tokens

    model = str(body.get("model"))
    asked = tokens.estimate_messages(body.get("messages") or ())
    for name in ("response_format", "tools"):  # these are read by the model like any text
        if body.get(name):
            asked += tokens.estimate(str(body[name]))
    answer = prices.answer(place, model)
    longest = [each for name in ("max_tokens", "max_completion_tokens") if (each := _whole(body.get(name)))]
    times = _whole(body.get("n")) or 1
    expected = times * min([GUESSED_ANSWER if answer is None else answer, *longest])
    total, price = asked + expected, prices.token(place, model)
    sure = asked if answer is None else total
    if price is None:
        return Estimate(total * GUESSED_PRICE, total, NONE, sure)
    credits = rounded(total * price)
    return Estimate(credits, total, credits, sure)


def rounded(credits: Decimal) -> Decimal:
    """Round credits up to what can be summed exactly."""
    return credits.quantize(FINEST, ROUND_UP) if credits <= DEAREST * DEAREST else credits


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
