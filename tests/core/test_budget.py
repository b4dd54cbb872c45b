"""Budgets: what they let through, what they refuse before it is sent, and what they count afterwards."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb.core import budget as budgets
from beatra_nb.core import jobs
from beatra_nb.core.purse import Spent
from beatra_nb.core.task import Task
from beatra_nb.display import to_html
from beatra_nb.interact import work
from beatra_nb.sandbox import Sandbox
from tests.core.driving import RESET, World, billing, no, said, state
from tests.core.wire import Wire, completion, http

SHORT: dict[str, Any] = {"model_options": {"sandbox": {"seconds": 2}}}


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No budget outlasts its test."""
    yield
    for each in budgets.active():
        each.stop()
    assert budgets.active() == ()


def music(world: World, task: Task, **more: Any) -> Any:
    from beatra_nb.core.music import MusicRequest

    request = MusicRequest.of("dream pop", model="suno-5.5", **more)
    task.model = request.model
    return world.run(jobs.begin(world.context(), request, task, jobs.Nobody()))


# ── what they count ──


def test_a_block_counts_what_the_service_says(talk: bn.Client) -> None:
    before = talk.chat("outside")
    with bn.budget(credits=5) as budget:
        assert budget.holds
        one = talk.chat("Say hi in five words.")
        with talk.stream("Count to three.") as stream:
            assert "".join(stream)
        reply = stream.reply
    assert not budget.holds
    talk.chat("outside again")
    assert before.usage is not None
    assert one.usage is not None
    assert reply.usage is not None
    assert budget.spent == Spent(
        (one.usage.credits or 0) + (reply.usage.credits or 0),  # type: ignore[arg-type]
        one.usage.total_tokens + reply.usage.total_tokens,
        2,
    )
    assert budget.left.credits == 5 - budget.spent.credits
    assert (budget.reserved, budget.unpriced, budget.calls, budget.sandbox) == (Spent(), 0, 2, True)


def test_look_ups_cost_nothing_and_are_never_refused(talk: bn.Client) -> None:
    with bn.budget(credits=0) as budget:
        assert talk.models()
        assert talk.health()
        with pytest.raises(bn.BudgetExceeded):
            talk.chat("hi")
    assert budget.calls == 0
    assert budget.exceeded


def test_what_is_refused_is_never_sent_and_leaves_no_row(talk: bn.Client, box: Sandbox) -> None:
    talk.chat("so that a price is known")
    since, rows = len(box.seen), bn.journal().total
    with bn.budget(credits="0.0001", name="Tonight") as budget, pytest.raises(bn.BudgetExceeded) as caught:
        talk.chat("Write a long story.")
    error = caught.value
    assert (len(box.seen), bn.journal().total) == (since, rows)
    assert (error.name, error.unit, error.bound, error.spent) == ("Tonight", "credits", Decimal("0.0001"), 0)
    assert error.estimate is not None
    assert error.estimate > Decimal("0.0001")
    assert (error.retryable, error.arrived, error.doubtful, error.attempts) == (False, False, False, 0)
    assert "Tonight" in error.message
    assert "more(" in str(error)
    assert error.message == budget.refused
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.bound, again.estimate) == (str(error), error.bound, error.estimate)


def again_and_again(talk: bn.Client) -> None:
    for number in range(1000):
        talk.chat(f"Say the number {number}.")


def test_a_budget_stops_a_loop_at_its_bound(talk: bn.Client) -> None:
    talk.chat("so that a price is known")
    with bn.budget(credits=1) as budget, pytest.raises(bn.BudgetExceeded):
        again_and_again(talk)
    assert 0.9 < budget.spent.credits <= 1
    budget.more(credits=1)
    assert not budget.exceeded
    with budget:
        talk.chat("And on.")
    assert budget.spent.credits > Decimal("0.9")


def test_tokens_are_a_bound_of_their_own(talk: bn.Client) -> None:
    with bn.budget(tokens=100) as budget:
        with pytest.raises(bn.BudgetExceeded, match="tokens"):
            talk.chat("word " * 500)
        talk.chat("Hi.")
        with pytest.raises(bn.BudgetExceeded):
            again_and_again(talk)
    assert 0 < budget.spent.tokens <= 100


def test_a_check_of_one_s_own(talk: bn.Client) -> None:
    seen: list[Spent] = []

    def check(spent: Spent) -> bool | str:
        seen.append(spent)
        return "two are enough." if spent.calls >= 2 else True

    with bn.budget(check=check) as budget:
        talk.chat("one")
        talk.chat("two")
        with pytest.raises(bn.BudgetExceeded, match="two are enough"):
            talk.chat("three")
    assert [each.calls for each in seen] == [0, 1, 2]
    assert not budget.room()
    with bn.budget(check=lambda spent: None), pytest.raises(bn.InvalidInput, match="True, False or why not"):  # type: ignore[arg-type,return-value]
        talk.chat("hi")
    with bn.budget(check=lambda spent: False), pytest.raises(bn.BudgetExceeded, match="says no"):
        talk.chat("hi")
    with bn.budget(check=lambda spent: 1 / 0 > 1), pytest.raises(ZeroDivisionError):  # type: ignore[return-value]
        talk.chat("hi")


def test_an_answer_that_does_not_say_what_it_cost_is_estimated(client: bn.Client, wire: Wire) -> None:
    wire.say(http(body=completion(usage={"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10})))
    with bn.budget(credits=1) as budget:
        client.chat("hi")
        assert (budget.unpriced, budget.spent.tokens) == (1, 10)
        assert budget.spent.credits > 0
        wire.say(http(body=completion(usage=None)))
        client.chat("hi")
    assert (budget.unpriced, budget.calls) == (2, 2)
    assert budget.spent.tokens > 10


# ── failures ──


@pytest.mark.parametrize(
    "fault", ["500:retryable=false", "rate_limited;times=9", "invalid_request", "html:403"]
)
def test_what_the_service_refused_costs_nothing(talk: bn.Client, box: Sandbox, fault: str) -> None:
    with bn.budget(credits=5) as budget:
        box.inject(fault, 4)
        with pytest.raises(bn.APIError) as caught:
            talk.chat("hi")
        box.clear()
    assert budget.spent == Spent()
    assert (budget.maybe.calls == 1) is caught.value.doubtful
    assert budget.reserved == budget.maybe


def test_attempts_under_one_key_count_once(talk: bn.Client, box: Sandbox) -> None:
    with bn.budget(credits=5) as budget:
        box.inject("reset:before", 2)
        reply = talk.chat("hi")
    assert reply.attempts == 3
    assert reply.usage is not None
    assert budget.spent == Spent(reply.usage.credits or Decimal(0), reply.usage.total_tokens, 1)


def test_what_nobody_knows_the_end_of_is_settled_by_its_key(talk: bn.Client, box: Sandbox) -> None:
    talk.chat("so that a price is known")
    with bn.budget(credits=5) as budget:
        box.inject("reset:before", 4)
        with pytest.raises(bn.ConnectionFailed) as caught:
            talk.chat("Say hi in five words.")
        assert (budget.spent, budget.maybe.calls) == (Spent(), 1)
        assert budget.left.credits == 5 - budget.maybe.credits
        reply = talk.chat("Say hi in five words.", idempotency_key=caught.value.idempotency_key)
        assert reply.usage is not None
        assert (budget.maybe, budget.spent.credits) == (Spent(), reply.usage.credits)
        talk.chat("Say hi in five words.", idempotency_key=caught.value.idempotency_key)
    assert (budget.calls, budget.spent.credits) == (1, reply.usage.credits)


def test_a_stream_that_was_left_is_maybe_spent(talk: bn.Client) -> None:
    with bn.budget(credits=5) as budget:
        with talk.stream("Write a text of 200 words.") as stream:
            next(iter(stream))
            assert (budget.reserved.calls, budget.maybe.calls) == (1, 0)
        assert (budget.spent, budget.maybe.calls) == (Spent(), 1)


def test_an_answer_that_does_not_fit_was_paid_all_the_same(client: bn.Client, wire: Wire) -> None:
    wire.say(http(body=completion("no JSON")))
    with bn.budget(credits=100) as budget, pytest.raises(bn.InvalidData):
        client.chat("hi", schema={"type": "object"})
    assert budget.spent.credits == Decimal("0.25") * len(wire.asked)


# ── where they hold ──


def test_budgets_inside_budgets_all_count(talk: bn.Client) -> None:
    with bn.budget(credits=5) as outer:
        talk.chat("one")
        with bn.budget(tokens=10_000) as inner, inner, bn.budget(credits=0) as shut:
            with pytest.raises(bn.BudgetExceeded):
                talk.chat("two")
            shut.more(credits=1)
            talk.chat("three")
    assert (outer.calls, inner.calls, shut.calls) == (2, 1, 1), "one that is entered twice counts once"
    assert outer.reserved == inner.reserved == Spent(), "what one had set aside was given back"


def test_a_started_budget_holds_for_every_thread_until_it_is_stopped(talk: bn.Client) -> None:
    def in_a_thread() -> None:
        thread = threading.Thread(target=talk.chat, args=("hi",))
        thread.start()
        thread.join()

    with bn.budget(credits=5) as block:
        in_a_thread()
    assert block.calls == 0, "a plain thread is not inside the block"
    budget = bn.budget(credits=5).start()
    assert budget.start() is budget
    assert budget.holds
    in_a_thread()
    talk.chat("hi")
    assert budget.stop().stop().calls == 2
    talk.chat("hi")
    assert (budget.calls, budget.holds) == (2, False)


async def test_it_holds_for_tasks_made_inside_and_for_no_others(atalk: bn.AsyncClient) -> None:
    go = asyncio.Event()

    async def other() -> None:
        await go.wait()
        await atalk.chat("from outside")

    outside = asyncio.create_task(other())
    await asyncio.sleep(0)
    with bn.budget(credits=5) as budget:
        go.set()
        await asyncio.gather(*(atalk.chat(f"hi {number}") for number in range(5)), outside)
        async with atalk.stream("Count to three.") as stream:
            async for _ in stream:
                pass
    assert budget.calls == 6


async def test_many_calls_at_once_cannot_all_take_the_same_credits(atalk: bn.AsyncClient) -> None:
    first = await atalk.chat("Say hi in five words.")
    assert first.usage is not None
    cost = first.usage.credits
    assert cost is not None
    with bn.budget(credits=cost * 4) as budget:
        done = await asyncio.gather(
            *(atalk.chat("Say hi in five words.") for _ in range(40)), return_exceptions=True
        )
    went = [each for each in done if isinstance(each, bn.Reply)]
    assert all(isinstance(each, bn.Reply | bn.BudgetExceeded) for each in done)
    assert 1 <= len(went) <= 5
    assert budget.calls == len(went)
    assert budget.reserved == Spent()


def test_a_stream_belongs_to_the_block_it_was_made_in(talk: bn.Client) -> None:
    with bn.budget(credits=5) as budget:
        stream = talk.stream("Count to three.")
    assert "".join(stream)
    assert budget.calls == 1
    with budgets.within(budget):
        stream = talk.stream("Count to three.")
    assert "".join(stream)
    assert budget.calls == 2


def test_what_a_panel_s_loop_does_for_a_block_counts_there(talk: bn.Client) -> None:
    with bn.budget(credits=5) as budget:
        work.wait(work.twin(talk).chat("hi"))
    assert budget.calls == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_has_a_budget(talk: bn.Client, stream: bool) -> None:
    chat = bn.Chat(client=talk, budget=5)
    chat.send("one", stream=stream)
    assert chat.budget is not None
    assert chat.budget.calls == 1
    fork = chat.fork()
    fork.send("two", stream=stream, budget=bn.budget(tokens=10_000))
    assert fork.budget is chat.budget
    assert chat.budget.calls == 2
    with pytest.raises(bn.BudgetExceeded):
        chat.send("three", stream=stream, budget=0)
    assert [turn.prompt for turn in chat.turns] == ["one"]
    assert chat.budget.reserved == Spent()


def test_a_refusal_does_not_forget_the_key_of_a_turn_that_nobody_knows_the_end_of(
    talk: bn.Client, box: Sandbox
) -> None:
    chat = bn.Chat(client=talk)
    box.inject("reset:before", 4)
    with pytest.raises(bn.ConnectionFailed) as caught:
        chat.send("one")
    with pytest.raises(bn.BudgetExceeded):
        chat.send("one", budget=0)
    assert chat.send("one").idempotency_key == caught.value.idempotency_key


async def test_a_conversation_awaited(atalk: bn.AsyncClient) -> None:
    chat = bn.Chat(async_client=atalk, budget="5")
    pieces: list[str] = []
    await chat.asend("one", on_text=pieces.append)
    await chat.asend("two")
    assert chat.budget is not None
    assert chat.budget.calls == 2
    assert pieces


# ── music ──


def test_the_price_of_music_is_known_beforehand(talk: bn.Client, box: Sandbox) -> None:
    with bn.budget(credits=100) as budget:
        task = talk.music("dream pop", model="minimax-music-2.6", **SHORT)
        since = len(box.seen)
        with pytest.raises(bn.BudgetExceeded, match="about 80"):
            talk.music("dream pop", **SHORT)
        assert len(box.seen) == since
    assert task.status == "succeeded"
    assert budget.spent == Spent(Decimal(50), 0, 1)


def test_what_a_task_gives_back_is_given_back_wherever_it_is_looked_at(talk: bn.Client) -> None:
    with bn.budget(credits=100) as budget:
        task = talk.music(
            "dream pop", model="suno-5.5", wait=False, model_options={"sandbox": {"seconds": 60}}
        )
    assert budget.spent.credits == 80
    with bn.budget(credits=100) as other:
        task.cancel()
        task.refresh()
    assert task.status == "canceled"
    assert (budget.spent.credits, budget.left.credits) == (0, 100)
    assert other.left.credits == 100, "another's refund is not ours"


def test_a_job_that_nobody_knows_the_end_of_is_paid_once() -> None:
    world, task = World(), Task(None, {})
    with bn.budget(credits=100) as budget:
        world.say(RESET)
        with pytest.raises(bn.ConnectionFailed):
            music(world, task, idempotency_key="k1")
        assert budget.maybe.credits == 80
        world.say(said(202, state("queued", billing=billing())))
        music(world, task, idempotency_key="k1")
    assert (budget.maybe, budget.spent) == (Spent(), Spent(Decimal(80), 0, 1))


def test_a_job_that_was_refused_or_does_not_say_its_price() -> None:
    world = World()
    with bn.budget(credits=100) as budget:
        world.say(no(402, "insufficient_balance"))
        with pytest.raises(bn.InsufficientBalance):
            music(world, Task(None, {}))
        assert budget.reserved == Spent()
        world.say(said(202, state("queued")))
        music(world, Task(None, {}))
        assert (budget.spent.credits, budget.unpriced) == (80, 1)
        with pytest.raises(bn.BudgetExceeded):
            music(world, Task(None, {}))


def test_a_refused_job_leaves_nothing_in_the_journal() -> None:
    world = World().say(said(202, state("queued")))
    with bn.budget(credits=10), pytest.raises(bn.BudgetExceeded):
        music(world, Task(None, {}))
    context = world.context()
    assert context.jobs is not None
    assert context.jobs.unfinished(context.place) == []
    assert world.sent == []


def test_a_replay_goes_as_the_recording_went_and_says_that_it_cost_nothing(
    talk: bn.Client, tmp_path: Path
) -> None:
    def play(client: bn.Client) -> tuple[bn.Budget, str]:
        with bn.budget(credits="0.5") as budget, pytest.raises(bn.BudgetExceeded) as caught:
            again_and_again(client)
        return budget, caught.value.message

    tape = tmp_path / "tape"
    base_url = talk.base_url
    key = talk._settings.key
    with bn.Client(key, base_url=base_url, mode="record", cassette=tape) as recording:
        paid, why = play(recording)
    with bn.Client(mode="replay", cassette=tape, speed=0) as replaying:
        played, why_again = play(replaying)
    assert (played.spent, why_again) == (paid.spent, why)
    assert (paid.replayed, played.replayed) == (Spent(), played.spent)
    assert paid.recorded is not None
    assert paid.recorded == played.recorded
    assert to_html(paid) == to_html(played)


# ── what they are made of ──


@pytest.mark.parametrize("wrong", [-1, True, "five", float("nan"), float("inf"), [1], Decimal("-0.1")])
def test_odd_bounds_are_refused(wrong: Any) -> None:
    for make in (
        lambda: bn.budget(credits=wrong),
        lambda: bn.budget(tokens=wrong),
        lambda: budgets.of(wrong),
    ):
        with pytest.raises(bn.InvalidInput):
            make()
    with pytest.raises(bn.InvalidInput):
        bn.budget(credits=1).more(wrong)


def test_odd_budgets_are_refused() -> None:
    with pytest.raises(bn.InvalidInput, match="needs a bound"):
        bn.budget()
    with pytest.raises(bn.InvalidInput, match="function"):
        bn.budget(check="never")  # type: ignore[arg-type]
    with pytest.raises(bn.InvalidInput, match="name"):
        bn.budget(1, name=3)  # type: ignore[arg-type]
    with pytest.raises(bn.InvalidInput, match="tokens"):
        bn.budget(credits=1).more(tokens=3)
    with pytest.raises(bn.InvalidInput, match="how much"):
        bn.budget(credits=1).more()
    with pytest.raises(bn.InvalidInput):
        bn.Chat(budget=[1])  # type: ignore[arg-type]


def test_a_bound_may_come_as_any_number() -> None:
    for given in (5, 5.0, "5", Decimal(5), " 5.0 "):
        assert bn.budget(credits=given).credits == 5
        assert budgets.of(given).credits == 5
    budget = bn.budget(tokens=10)
    assert budgets.of(budget) is budget
    with budgets.within(lambda spent: "no."):
        assert not budgets.room()
    assert budget.credits is None
    assert (budget.left.credits, budget.left.tokens) == (None, 10)


def test_nobody_makes_a_second_purse_of_the_same_credits() -> None:
    budget = bn.budget(credits=5)
    for double in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="twice"):
            double(budget)
    with pytest.raises(TypeError, match="budget"):
        pickle.dumps(bn.Chat(budget=5))
    assert copy.deepcopy(bn.Chat(budget=budget)).budget is budget


def test_room_is_asked_for_without_an_error() -> None:
    with bn.budget(credits=5) as budget, bn.budget(tokens=10):
        assert budgets.room()
        assert budgets.room(5)
        assert not budgets.room("5.1")
        assert not budget.room(6)
    assert budgets.room(6), "none holds here"
    assert not bn.budget(credits=0).room()


def test_it_says_what_it_is() -> None:
    said = repr(bn.budget(credits=5, tokens=7, check=lambda spent: True, name="Tonight"))
    assert said == "Budget(credits=5, tokens=7, check=…, name='Tonight'; 0 credits, 0 tokens spent)"


# ── the keyword ──


def test_the_keyword_holds_for_one_call(talk: bn.Client) -> None:
    budget = bn.budget(credits=5)
    talk.chat("hi", budget=budget)
    assert talk.chat("hi", stream=True, budget=budget).complete
    stream = talk.stream("hi", budget=budget)
    assert "".join(stream)
    talk.chat("hi")
    assert budget.calls == 3
    assert not budget.holds
    for call in (
        lambda: talk.chat("hi", budget=0),
        lambda: talk.chat("hi", stream=True, budget="0"),
        lambda: "".join(talk.stream("hi", budget=bn.budget(tokens=0))),
    ):
        with pytest.raises(bn.BudgetExceeded):
            call()


async def test_the_keyword_awaited(atalk: bn.AsyncClient) -> None:
    budget = bn.budget(credits=5)
    await atalk.chat("hi", budget=budget)
    async with atalk.stream("hi", budget=budget) as stream:
        async for _ in stream:
            pass
    assert budget.calls == 2
    with pytest.raises(bn.BudgetExceeded):
        await atalk.chat("hi", budget=0)


def test_a_batch_stops_at_its_bound_and_lets_what_is_under_way_come_home(talk: bn.Client) -> None:
    talk.chat("so that a price is known")
    with bn.budget(credits=50) as around:
        budget = bn.budget(credits=2)
        prompt = bn.Prompt("Say {word}.", name="say")
        result = talk.map(
            [f"word {number}" for number in range(500)], prompt, budget=budget, max_active=8, progress=False
        )
    assert budget.spent.credits <= 2
    assert budget.left.credits is not None
    assert budget.left.credits < Decimal("0.5")
    assert budget.reserved == Spent()
    assert len(result.ok) == budget.calls == around.calls < 500
    assert result.failed == [] or len(result.failed) == 0
    assert {entry.prompt for entry in bn.journal(budget.calls)} == {prompt.label}
