"""What a call may cost, before it is sent."""

from __future__ import annotations

import json
import threading
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.core.costs import (
    DEAREST,
    GUESSED_ANSWER,
    MODELS,
    SEEN,
    Prices,
    costs,
    of_call,
    of_chat,
    of_music,
)
from beatra_nb.core.flow import Call
from beatra_nb.core.music import PRICES
from beatra_nb.core.reply import Usage
from beatra_nb.core.request import ChatRequest


def usage(prompt: int, answer: int, credits: object = "1") -> Usage:
    return Usage(prompt, answer, prompt + answer, None if credits is None else Decimal(str(credits)))


def body(text: str = "Say hi in five words.", **more: object) -> bytes:
    return json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}], **more}).encode()


def test_until_a_price_is_known_there_is_a_guess_that_refuses_nothing() -> None:
    guess = of_chat("here", body(), Prices())
    assert guess.credits > 0
    assert guess.sure_credits == 0
    assert guess.tokens == guess.sure_tokens + GUESSED_ANSWER
    assert guess.guessed


def test_prices_and_answers_are_learned_from_what_was_paid() -> None:
    prices = Prices()
    prices.learn("here", "auto", "m1", usage(50, 50, "0.2"))
    prices.learn("here", "auto", "m2", usage(100, 0, "0.4"))
    assert prices.token("here", "auto") == Decimal("0.003")
    assert prices.token("here", "m1") == Decimal("0.002")
    assert prices.answer("here", "auto") == 25
    assert prices.token("elsewhere", "auto") is None
    now, asked = of_chat("here", body(), prices), of_chat("here", body(), Prices()).sure_tokens
    assert now.sure_credits == Decimal("0.003") * now.sure_tokens
    assert now.sure_tokens == asked + 25
    assert now.credits == Decimal("0.003") * now.tokens
    assert now.tokens == asked + prices.longest("here", "auto") == asked + 50, (
        "set aside is what the longest took"
    )


def test_what_shortens_or_lengthens_an_answer_changes_the_estimate() -> None:
    prices = Prices()
    prices.learn("here", "auto", "auto", usage(10, 400))
    plain = of_chat("here", body(), prices).tokens
    assert of_chat("here", body(max_tokens=20), prices).tokens == plain - 380
    assert of_chat("here", body(max_completion_tokens=20), prices).tokens == plain - 380
    assert of_chat("here", body(max_tokens=9000), prices).tokens == plain
    assert of_chat("here", body(n=3), prices).tokens == plain + 800
    assert of_chat("here", body(tools=[{"type": "function"}]), prices).tokens > plain


def test_long_texts_are_told_by_their_parts() -> None:
    words = "Every good boy deserves fudge, and some of them get it on Sundays. "
    one, many = (of_chat("here", body(words * times), Prices()).sure_tokens for times in (4, 4000))
    assert many == pytest.approx(1000 * one, rel=0.2)
    several = json.dumps(
        {"model": "auto", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
    )
    assert of_chat("here", several.encode(), Prices()).sure_tokens < 20


def test_only_what_is_plausible_teaches() -> None:
    prices = Prices()
    for credits in ("NaN", "-1", "Infinity", DEAREST * 2, None):
        prices.learn("here", "auto", "auto", usage(5, 5, credits))
    prices.learn("here", "auto", "auto", usage(0, 0))
    assert prices.token("here", "auto") is None
    assert prices.answer("here", "auto") == 5


def test_little_is_remembered_and_the_newest_of_it() -> None:
    prices = Prices()
    prices.learn("here", "auto", "auto", usage(1, 9999))
    for _ in range(SEEN):
        prices.learn("here", "auto", "auto", usage(1, 9))
    assert prices.answer("here", "auto") == 9
    for number in range(MODELS):
        prices.learn("here", f"m{number}", f"m{number}", usage(1, 1))
    assert prices.answer("here", "auto") is None


def test_of_music_the_price_is_known() -> None:
    for model, (price, _) in PRICES.items():
        assert of_music(model).credits == of_music(model).sure_credits == price
    assert of_music("auto").sure_credits == max(price for price, _ in PRICES.values())
    assert of_music("another").sure_credits == 0


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/chat/completions", True),
        ("POST", "/music/text-to-music", True),
        ("POST", "/music/reference-audio-to-music", True),
        ("GET", "/models", False),
        ("POST", "/uploads", False),
        ("POST", "/tasks/x/cancel", False),
        ("GET", "/tasks/x", False),
    ],
)
def test_only_some_calls_cost_something(method: str, path: str, expected: bool) -> None:
    assert costs(Call("x", method, path)) is expected


@given(st.text().filter(str.strip))
def test_every_request_that_can_be_sent_can_be_estimated(text: str) -> None:
    try:
        request = ChatRequest.of(text, schema={"type": "object"})
    except ValueError:  # half a character
        return
    estimate = of_call("nowhere", Call("chat", "POST", "/chat/completions", request.json))
    assert estimate.tokens > estimate.sure_tokens > 0


def test_many_threads_may_learn_at_once() -> None:
    prices = Prices()

    def work() -> None:
        for number in range(200):
            prices.learn("here", "auto", f"m{number}", usage(1, 1))
            prices.token("here", "auto")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert prices.token("here", "auto") == Decimal("0.5")
