"""What a call may cost, told before it is sent: from what this process has paid, and from the prices that are known.

The service names no price of a token, so it is learned: each answer that says what it cost teaches what its model
takes for a token, and how long its answers are. Until then there is a guess, which is set aside but refuses nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from beatra_nb.core.lenient import load, text_of

if TYPE_CHECKING:
    from beatra_nb.core.flow import Call
    from beatra_nb.core.reply import Usage

CHAT, MUSIC = "/chat/completions", "/music/"  # how the paths of calls that cost something begin
SEEN = 16  # answers of a model that are remembered: prices change
MODELS = 256  # models that are remembered
GUESSED_ANSWER = 256  # tokens of an answer, while nobody knows
GUESSED_PRICE = Decimal("0.001")  # credits a token, while nobody knows
NONE = Decimal(0)
FINEST = Decimal("0.000001")  # credits; sums of finer ones would not come out even
PART = 100  # characters
REMEMBERED = 20_000  # bytes of a body
PER_MESSAGE, PER_CALL = 5, 3  # tokens around the texts
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
    guessed : bool
        Whether nothing is known of what such calls have come to.
    """

    credits: Decimal = NONE
    tokens: int = 0
    sure_credits: Decimal = NONE
    sure_tokens: int = 0
    guessed: bool = False


# All tokens of a call, those of its answer, and what it cost.
_Calls: TypeAlias = "deque[tuple[int, int, Decimal | None]]"


class Prices:
    """What models have cost, by where they are asked and what they are called. Safe in many threads.

    Examples
    --------
    >>> from beatra_nb.core.reply import Usage
    >>> prices = Prices()
    >>> prices.learn("here", "auto", "m1", Usage(60, 40, 100, Decimal("0.5")))
    >>> prices.token("here", "auto"), prices.answer("here", "auto")
    (Decimal('0.005'), 40)
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._seen: dict[tuple[str, str], _Calls] = {}

    def learn(self, place: str, asked: str, answered: str, usage: Usage) -> None:
        """Take note of what an answer cost; the model that was asked and the one that answered may differ."""
        call = usage.total_tokens, usage.completion_tokens, usage.credits
        self._of(place, asked).append(call)
        if answered != asked:
            self._of(place, answered).append(call)

    def _of(self, place: str, model: str) -> _Calls:
        # Every call comes by here: where its model is known, nobody waits for the lock.
        if (known := self._seen.get((place, model))) is not None:
            return known
        with self._lock:
            made = self._seen.setdefault((place, model), deque(maxlen=SEEN))
            while len(self._seen) > MODELS:
                del self._seen[next(iter(self._seen))]
            return made

    def token(self, place: str, model: str) -> Decimal | None:
        """Return what a token of this model costs, in credits; None while nobody knows."""
        priced = [
            (count, credits)
            for count, _, credits in self._calls(place, model)
            if credits is not None and credits.is_finite() and 0 <= credits <= DEAREST
        ]
        if not priced:
            return None
        return sum((credits for _, credits in priced), NONE) / sum(count for count, _ in priced)

    def answer(self, place: str, model: str) -> int | None:
        """Return how many tokens an answer of this model has; None while nobody knows."""
        calls = self._calls(place, model)
        return round(sum(max(count, 0) for _, count, _ in calls) / len(calls)) if calls else None

    def longest(self, place: str, model: str) -> int | None:
        """Return how many tokens the longest of its answers had; None while nobody knows."""
        return max((max(count, 0) for _, count, _ in self._calls(place, model)), default=None)

    def _calls(self, place: str, model: str) -> list[tuple[int, int, Decimal | None]]:
        known = self._seen.get((place, model))
        return [call for call in known.copy() if call[0] > 0] if known else []


PRICES = Prices()


def costs(call: Call) -> bool:
    """Whether a call is one that costs something."""
    return call.method == "POST" and call.path.startswith((CHAT, MUSIC))


def of_call(place: str, call: Call, prices: Prices = PRICES) -> Estimate:
    """Return what a call may cost, by what it sends; ``place`` is the base URL."""
    if call.path.startswith(MUSIC):
        return of_music(str(load(call.body or b"{}").get("model")))
    return of_chat(place, call.body or b"{}", prices)


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


def of_chat(place: str, body: bytes, prices: Prices = PRICES) -> Estimate:
    """Return what a chat call may cost: its own tokens by estimate, its answer and the price by what was seen.

    Parameters
    ----------
    place : str
        The base URL.
    body : bytes
        What is sent.
    prices : Prices
        What was seen.

    Examples
    --------
    >>> messages = b'[{"role": "user", "content": "Say hi in five words."}]'
    >>> of_chat("nowhere", b'{"model": "auto", "max_tokens": 20, "messages": %b}' % messages)
    Estimate(credits=Decimal('0.034'), tokens=34, sure_credits=Decimal('0'), sure_tokens=14, guessed=True)
    """
    asks = (_remembered if len(body) <= REMEMBERED else _asks)(body)
    answer, price = prices.answer(place, asks.model), prices.token(place, asks.model)
    if answer is None:
        total = asks.total(GUESSED_ANSWER)
        return Estimate(total * GUESSED_PRICE, total, NONE, asks.tokens, guessed=True)
    # What is set aside is what the longest one took, since many may be under way at once; what is refused is what
    # most take, so that a budget is used to its end.
    total, sure = asks.total(prices.longest(place, asks.model) or answer), asks.total(answer)
    if price is None:
        return Estimate(total * GUESSED_PRICE, total, NONE, sure)
    return Estimate(rounded(total * price), total, rounded(sure * price), sure)


class _Asks(NamedTuple):
    """What a chat call asks for, as far as it makes it dear."""

    model: str
    tokens: int
    longest: int | None
    times: int

    def total(self, answer: int) -> int:
        """Return the tokens of the call with answers of so many."""
        return self.tokens + self.times * (answer if self.longest is None else min(answer, self.longest))


def _asks(body: bytes) -> _Asks:
    sent = load(body)
    messages = sent.get("messages") or ()
    tokens = PER_CALL + sum(PER_MESSAGE + _tokens(text_of(each.get("content"))) for each in messages)
    for name in ("response_format", "tools"):  # these are read by the model like any text
        if sent.get(name):
            tokens += _tokens(str(sent[name]))
    longest = [each for name in ("max_tokens", "max_completion_tokens") if (each := _whole(sent.get(name)))]
    return _Asks(str(sent.get("model")), tokens, min(longest, default=None), _whole(sent.get("n")) or 1)


# Of many calls, each is asked about twice: whether there is room for it, and when it goes.
_remembered = lru_cache(maxsize=256)(_asks)


def _tokens(text: str) -> int:
    """Return roughly how many tokens a text has; of a long one three parts are looked at."""
    from beatra_nb.core.tokens import (
        estimate,
    )  # its tables take a moment, and are not needed for a first call

    if len(text) <= 3 * PART:
        return estimate(text)
    middle = len(text) // 2
    parts = text[:PART], text[middle : middle + PART], text[-PART:]
    return sum(map(estimate, parts)) * len(text) // (3 * PART)


def rounded(credits: Decimal) -> Decimal:
    """Round credits up to what can be summed exactly."""
    return credits.quantize(FINEST, ROUND_UP) if credits <= DEAREST * DEAREST else credits


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
