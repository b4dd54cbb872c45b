"""Coroutines that wait for each other, and what one attempt tells about the batch."""

from __future__ import annotations

import asyncio

import pytest

import beatra_nb as bn
from beatra_nb.batch.gate import Gate, RowClock, judge
from beatra_nb.batch.pace import Pace
from beatra_nb.core import resources
from beatra_nb.core.flow import MOST_WAITS, Answer, Failure
from beatra_nb.core.request import ChatRequest
from tests.core.driving import RESET, World, no, page, said
from tests.core.wire import completion


async def test_whoever_was_sent_before_goes_first() -> None:
    gate = Gate(Pace(1))
    order: list[str] = []

    async def call(name: str, *, again: bool) -> None:
        wave = await gate.enter(again=again)
        order.append(name)
        gate.leave(wave, "well")

    first = await gate.enter()
    waiting = [asyncio.create_task(call(name, again=name.isupper())) for name in ("a", "b", "C", "D")]
    await asyncio.sleep(0)
    gate.leave(first, "well")
    await asyncio.gather(*waiting)
    assert order == ["C", "D", "a", "b"]
    assert gate.pace.active == 0


async def test_who_is_cancelled_keeps_nobody_waiting() -> None:
    gate = Gate(Pace(1))
    first = await gate.enter()
    gone = asyncio.create_task(gate.enter())
    next_ = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    gate.leave(first, "well")  # it is the turn of the one that is cancelled in the same moment
    gone.cancel()
    await asyncio.wait_for(next_, 5)
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert gate.pace.active == 1


async def test_a_hold_ends_by_itself() -> None:
    gate = Gate(Pace(4, rand=lambda: 0.0))
    wave = await gate.enter()
    gate.leave(wave, "limited", 0.05)
    assert gate.held > 0
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(asyncio.wait_for(gate.enter(), 5) for _ in range(2)))
    assert loop.time() - began >= 0.04
    gate.close()


def test_the_clock_of_a_row_stands_still_while_it_is_held() -> None:
    now = 10.0
    clock = RowClock(lambda: now)
    now = 15.0
    clock.stood_still(4.0)
    assert clock() == 11.0


@pytest.mark.parametrize(
    ("outcome", "verdict", "asked_for"),
    [
        (said(200, completion()), "well", None),
        (no(429, "rate_limited", retryable=True), "limited", None),
        (no(429, "rate_limited", retryable=True, retry_after="7"), "limited", 7.0),
        (no(503, "rate_limited", retryable=True), "limited", None),
        (no(429, "quota_gone", retryable=False, retry_after="7"), "troubled", None),
        (no(503, "model_unavailable", retryable=True, retry_after="7"), "troubled", 7.0),
        (no(429, "rate_limited", retryable=True, retry_after="4000"), "limited", None),
        (no(422, "invalid_request"), "troubled", None),
        (page(502), "troubled", None),
        (RESET, "troubled", None),
    ],
)
def test_what_an_attempt_tells(outcome: Answer | Failure, verdict: str, asked_for: float | None) -> None:
    assert judge(outcome) == (verdict, asked_for)


BUSY = no(429, "rate_limited", retryable=True, retry_after="0")


def test_where_calls_wait_together_a_refusal_uses_up_no_attempt() -> None:
    world = World().say(*[BUSY] * 10, RESET, said(200, completion()))
    request = ChatRequest.of("hi")
    context = world.context(max_attempts=2, bear_with=frozenset({"rate_limited"}))
    reply = world.run(resources.chat(context, request))
    assert reply.attempts == 12


def test_nobody_waits_for_ever() -> None:
    world = World().say(BUSY)
    context = world.context(max_attempts=3, bear_with=frozenset({"rate_limited"}))
    with pytest.raises(bn.RateLimited) as caught:
        world.run(resources.chat(context, ChatRequest.of("hi")))
    assert caught.value.attempts == MOST_WAITS + 3


def test_elsewhere_a_refusal_is_an_attempt() -> None:
    world = World().say(BUSY)
    with pytest.raises(bn.RateLimited) as caught:
        world.run(resources.chat(world.context(max_attempts=3), ChatRequest.of("hi")))
    assert caught.value.attempts == 3
