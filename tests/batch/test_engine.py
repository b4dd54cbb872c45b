"""Rows in, outcomes out: against the real sandbox, with its faults, and against wires that say what they are told."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb import sandbox
from beatra_nb.batch.engine import Job
from beatra_nb.batch.outcome import Outcome
from beatra_nb.batch.pace import Pace
from beatra_nb.batch.stop import Stop
from beatra_nb.core.request import ChatRequest
from beatra_nb.store.checkpoint import Checkpoint
from beatra_nb.store.journal import Journal
from tests.batch.driving import jobs, ran
from tests.core.wire import KEY, Wire, completion, http

PRINT = {"prompt": "Say hi, number {}."}


@pytest.fixture
def box() -> Iterator[sandbox.Sandbox]:
    with sandbox.start(engine="scripted", faults=True) as box:
        yield box


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.stop()


def kept_in(path: Path, at_once: int | None = None) -> Checkpoint:
    kept = Checkpoint.open(path / "rows.beatra", PRINT)
    kept.at_once = at_once or kept.at_once
    return kept


def effects(box: sandbox.Sandbox) -> Counter[str | None]:
    """How often the work was done, by key."""
    return Counter(seen.idempotency_key for seen in box.seen if seen.effect)


# ── every row, once ──


@pytest.mark.parametrize("fast", [True, False], ids=["many", "plain"])
async def test_every_row_is_asked_and_told_once(box: sandbox.Sandbox, fast: bool) -> None:
    tally, outcomes = await ran(box.base_url, box.api_key, jobs(100), fast=fast)
    assert [outcome.position for outcome in outcomes] == list(range(100))
    assert all(outcome.ok and outcome.text and outcome.sandbox for outcome in outcomes)
    assert (tally.done, tally.ok, tally.sent, tally.stopped) == (100, 100, 100, None)
    assert tally.credits == sum(outcome.credits or 0 for outcome in outcomes) > 0
    assert len(effects(box)) == 100
    assert all(seen.fault is None for seen in box.seen)


async def test_no_rows_at_all(box: sandbox.Sandbox) -> None:
    tally, outcomes = await ran(box.base_url, box.api_key, [])
    assert (tally.done, outcomes, tally.stopped) == (0, [], None)


async def test_never_more_at_once_than_allowed(box: sandbox.Sandbox) -> None:
    box.inject("slow:0.02;share=1")
    pace = Pace(5)
    most = 0

    def look() -> Iterator[Job]:
        nonlocal most
        for job in jobs(40):
            most = max(most, pace.active)
            yield job

    await ran(box.base_url, box.api_key, look(), pace=pace, blocking=False)
    assert most == 5
    assert pace.active == 0


async def test_rows_are_taken_when_there_is_a_place_and_not_before(wire: Wire) -> None:
    taken: list[int] = []
    answered = threading.Event()

    def slowly() -> Iterator[bytes]:
        answered.wait(20)
        yield http(200, completion())

    def rows() -> Iterator[Job]:
        for job in jobs(1000):
            taken.append(job.position)
            yield job

    wire.say(*[slowly() for _ in range(4)], http(200, completion()))
    stop = Stop()

    async def look() -> None:
        while len(wire.asked) < 4:
            await asyncio.sleep(0.01)
        assert len(taken) <= 6  # those under way, and the thread's one ahead
        stop.stop()
        stop.stop()
        answered.set()

    looking = asyncio.create_task(look())
    await ran(wire.base_url, KEY, rows(), active=4, stop=stop)
    await looking


async def test_rows_of_all_kinds_mixed(box: sandbox.Sandbox, tmp_path: Path) -> None:
    """Some were kept, some are alike, some cannot be made: lanes and feeder share them, and none is lost."""
    broken = bn.InvalidInput("There is no 'city'.")
    rows = [
        Job(at, broken if at % 13 == 0 else ChatRequest.of(f"Say hi, number {at if at % 3 else at % 9}."))
        for at in range(300)
    ]
    with kept_in(tmp_path) as kept:
        await ran(box.base_url, box.api_key, rows[100:200], checkpoint=kept, dedupe=True)
    box.inject("503;share=0.05")
    with kept_in(tmp_path) as kept:
        tally, outcomes = await ran(box.base_url, box.api_key, rows, checkpoint=kept, dedupe=True)
        assert [each.position for each in kept] == list(range(300))
    assert [outcome.position for outcome in outcomes] == list(range(300))
    assert [outcome.ok for outcome in outcomes] == [at % 13 != 0 for at in range(300)]
    # Every third row asks what one of the middle rows has asked.
    assert tally.stored == sum(at % 13 != 0 and (100 <= at < 200 or at % 3 == 0) for at in range(300))
    assert max(effects(box).values()) == 1


@pytest.mark.parametrize("kind", ["list", "generator", "blocking generator", "async generator"])
async def test_rows_come_from_anything(box: sandbox.Sandbox, kind: str) -> None:
    async def awaited() -> AsyncIterator[Job]:
        for job in jobs(30):
            await asyncio.sleep(0)
            yield job

    rows: Any = {
        "list": [*jobs(30)],
        "generator": jobs(30),
        "blocking generator": jobs(30),
        "async generator": awaited(),
    }[kind]
    blocking = {"generator": False, "blocking generator": True}.get(kind)
    _, outcomes = await ran(box.base_url, box.api_key, rows, blocking=blocking)
    assert [outcome.position for outcome in outcomes] == list(range(30))


async def test_a_blocking_source_holds_up_nobody(wire: Wire) -> None:
    """The second row comes only when the first one has been told, which needs the loop."""
    told = threading.Event()

    def rows() -> Iterator[Job]:
        first, second = jobs(2)
        yield first
        assert told.wait(20), "the answer was held up by the source"
        yield second

    wire.say(http(200, completion()))
    _, outcomes = await ran(wire.base_url, KEY, rows(), told=lambda outcome: told.set())
    assert len(outcomes) == 2


async def test_rows_that_are_computed_hold_up_nobody(wire: Wire) -> None:
    """What is no list may be slow, though it is no iterator: here it waits for an answer that needs the loop."""
    told = threading.Event()

    class Computed:
        def __iter__(self) -> Iterator[Job]:
            first, second = jobs(2)
            yield first
            assert told.wait(20), "the answer was held up by the rows"
            yield second

    wire.say(http(200, completion()))
    _, outcomes = await ran(wire.base_url, KEY, Computed(), told=lambda outcome: told.set())
    assert len(outcomes) == 2


async def test_slow_rows_leave_others_a_turn_and_hear_the_word(box: sandbox.Sandbox, tmp_path: Path) -> None:
    """The rows are made in place here, each one slowly; all of them were finished before, so nothing else waits."""
    with kept_in(tmp_path) as kept:
        await ran(box.base_url, box.api_key, jobs(40), checkpoint=kept)
    stop = Stop()
    made = turns = 0

    def slowly() -> Iterator[Job]:
        nonlocal made
        for job in jobs(40):
            made += 1
            threading.Event().wait(0.03)
            yield job

    async def listen() -> None:
        nonlocal turns
        while turns < 3:
            await asyncio.sleep(0)
            turns += made > 0
        stop.stop()

    with kept_in(tmp_path) as kept:
        listening = asyncio.create_task(listen())
        tally, _ = await ran(box.base_url, box.api_key, slowly(), checkpoint=kept, stop=stop, blocking=False)
        await listening
    assert tally.stopped == "interrupted"
    assert made < 40


@pytest.mark.parametrize("count", [10, 100])
async def test_a_source_that_fails_ends_the_batch_and_loses_nothing(box: sandbox.Sandbox, count: int) -> None:
    def rows() -> Iterator[Job]:
        yield from jobs(count)
        raise LookupError("the file ended in mid-row")

    told: list[Outcome] = []
    for blocking in (True, False):
        told.clear()
        with pytest.raises(LookupError, match="mid-row"):
            await ran(box.base_url, box.api_key, rows(), told=told.append, blocking=blocking)
        assert len(told) == count


async def test_a_report_that_fails_ends_the_batch(box: sandbox.Sandbox, tmp_path: Path) -> None:
    def broken(outcome: Outcome) -> None:
        raise LookupError("no such column")

    for kept in (None, kept_in(tmp_path)):
        with pytest.raises(LookupError, match="no such column"):
            await ran(box.base_url, box.api_key, jobs(50), told=broken, checkpoint=kept)
        if kept is not None:
            kept.close()


async def test_a_row_that_cannot_be_made_has_failed_and_nothing_is_sent(
    box: sandbox.Sandbox, tmp_path: Path
) -> None:
    rows = [Job(0, bn.InvalidInput("There is no 'city'.", hint="Name it.")), *list(jobs(2))[1:]]
    with kept_in(tmp_path) as kept:
        tally, outcomes = await ran(box.base_url, box.api_key, rows, checkpoint=kept)
    assert len(box.seen) == 1
    trouble = outcomes[0].error
    assert trouble is not None
    assert (trouble.type, trouble.message, trouble.doubtful) == ("InvalidInput", "There is no 'city'.", False)
    assert (outcomes[0].attempts, tally.failed) == (0, {"InvalidInput": 1})


async def test_every_call_leaves_its_row_in_the_journal(box: sandbox.Sandbox) -> None:
    box.inject("503", 3)
    await ran(box.base_url, box.api_key, jobs(150), context={"journal": Journal.open()})
    entries = list(Journal.open())
    assert len(entries) == 150
    assert {entry.idempotency_key for entry in entries} == set(effects(box))
    assert sum(entry.attempts for entry in entries) == 153


async def test_a_schema_is_parsed_also_when_it_is_read_back(box: sandbox.Sandbox, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    seen = []
    for _ in range(2):
        with kept_in(tmp_path) as kept:
            _, outcomes = await ran(box.base_url, box.api_key, jobs(5, schema=schema), checkpoint=kept)
        assert all(isinstance(outcome.data["n"], int) for outcome in outcomes)
        seen.append([outcome.data for outcome in outcomes])
    assert seen[0] == seen[1]
    assert len(box.seen) == 5


# ── in trouble ──

RETRYABLE = ["429;retry_after=0", "503", "billing_failed", "html:502", "empty:504", "reset:before",
             "reset:headers", "reset:after", "short_body"]  # fmt: skip


@pytest.mark.parametrize("fast", [True, False], ids=["many", "plain"])
async def test_faults_are_got_over_and_every_row_is_paid_once(box: sandbox.Sandbox, fast: bool) -> None:
    for fault in RETRYABLE:
        box.inject(f"{fault};share=0.03")
    tally, outcomes = await ran(box.base_url, box.api_key, jobs(150), fast=fast, context={"max_attempts": 12})
    assert all(outcome.ok for outcome in outcomes), [each.error for each in outcomes if each.error]
    assert tally.sent > 150
    assert effects(box) == dict.fromkeys(effects(box), 1)
    assert len(effects(box)) == 150


async def test_what_cannot_succeed_fails_alone(box: sandbox.Sandbox) -> None:
    box.inject("invalid_request;status=422", 3)
    tally, outcomes = await ran(box.base_url, box.api_key, jobs(40))
    failed = [outcome for outcome in outcomes if not outcome.ok]
    assert len(failed) == tally.failed["invalid_request"] == 3
    assert all(outcome.finished and outcome.attempts == 1 for outcome in failed)
    assert tally.stopped is None


async def test_a_refusal_holds_the_whole_batch_and_uses_up_no_attempt(wire: Wire) -> None:
    """The first is told to wait: no other row begins before that time is over."""
    envelope = {"error": {"code": "rate_limited", "message": "Slow down.", "retryable": True}}
    when: list[float] = []

    class Clock:
        def __iter__(self) -> Iterator[bytes]:
            when.append(time.monotonic())
            yield http(200, completion(), connection="close")

    wire.say(*[http(429, envelope, retry_after="1")] * 3, *[Clock() for _ in range(20)])
    pace = Pace(1)
    tally, outcomes = await ran(wire.base_url, KEY, jobs(8), pace=pace, context={"max_attempts": 2})
    assert [outcome.ok for outcome in outcomes] == [True] * 8
    assert tally.sent == 11
    # Its own clock stood still meanwhile: only the time on the wire counts.
    assert outcomes[0].elapsed < 3.0


async def test_places_shrink_when_it_is_too_much(box: sandbox.Sandbox) -> None:
    box.inject("429;retry_after=0.05", 8)
    pace = Pace(16)
    low = 16

    def told(outcome: Outcome) -> None:
        nonlocal low
        low = min(low, pace.limit)

    await ran(box.base_url, box.api_key, jobs(60), pace=pace, told=told)
    assert low <= 8
    assert pace.limit > low


@pytest.mark.parametrize("fault", ["invalid_api_key", "insufficient_balance", "tenant_disabled"])
async def test_trouble_with_the_account_ends_the_batch_and_the_rows_are_asked_again(
    box: sandbox.Sandbox, tmp_path: Path, fault: str
) -> None:
    box.inject(f"{fault};share=1")
    with kept_in(tmp_path) as kept:
        tally, outcomes = await ran(box.base_url, box.api_key, jobs(5000), active=4, checkpoint=kept)
        assert kept.finished == 0
    assert tally.stopped == "account"
    assert tally.trouble is not None
    assert tally.trouble.code == fault
    assert len(outcomes) <= 5
    box.clear()
    with kept_in(tmp_path) as kept:
        _, outcomes = await ran(box.base_url, box.api_key, jobs(20), checkpoint=kept)
    assert all(outcome.ok for outcome in outcomes)


async def test_a_service_that_is_gone_ends_the_batch(box: sandbox.Sandbox, tmp_path: Path) -> None:
    box.inject("503;share=1")
    with kept_in(tmp_path) as kept:
        tally, outcomes = await ran(
            box.base_url, box.api_key, jobs(5000), checkpoint=kept, context={"max_attempts": 1}
        )
    assert tally.stopped == "unreachable"
    assert 32 <= len(outcomes) <= 64


async def test_a_service_that_asks_to_wait_long_ends_the_batch(box: sandbox.Sandbox) -> None:
    box.inject("429;retry_after=3600;share=1")
    tally, outcomes = await ran(box.base_url, box.api_key, jobs(5000), active=4)
    assert tally.stopped == "asked to wait"
    assert len(outcomes) <= 5


# ── resuming ──


async def test_a_finished_run_asks_nothing_again(box: sandbox.Sandbox, tmp_path: Path) -> None:
    with kept_in(tmp_path) as kept:
        _, first = await ran(box.base_url, box.api_key, jobs(60), checkpoint=kept)
    with kept_in(tmp_path) as kept:
        tally, again = await ran(box.base_url, box.api_key, jobs(60), checkpoint=kept)
    assert len(box.seen) == 60
    assert [each.text for each in first] == [each.text for each in again]
    assert (tally.stored, tally.sent, tally.credits) == (60, 0, 0)
    assert all(outcome.stored and outcome.credits for outcome in again)


async def test_a_row_whose_body_changed_is_asked_again(box: sandbox.Sandbox, tmp_path: Path) -> None:
    with kept_in(tmp_path) as kept:
        await ran(box.base_url, box.api_key, jobs(10), checkpoint=kept)
    changed = [*jobs(5), *list(jobs(10, "Say hello to {}."))[5:]]
    with kept_in(tmp_path) as kept:
        tally, _ = await ran(box.base_url, box.api_key, changed, checkpoint=kept)
    assert (tally.stored, tally.sent) == (5, 5)
    assert max(effects(box).values()) == 1


async def test_what_may_succeed_later_is_asked_again_under_its_key(
    box: sandbox.Sandbox, tmp_path: Path
) -> None:
    box.inject("reset:after", 1)
    box.inject("invalid_request", 1)
    with kept_in(tmp_path) as kept:
        _, outcomes = await ran(
            box.base_url, box.api_key, jobs(6), active=1, checkpoint=kept, context={"max_attempts": 1}
        )
        assert [outcome.finished for outcome in outcomes] == [False, True, True, True, True, True]
        assert kept.finished == 5
    with kept_in(tmp_path) as kept:
        tally, again = await ran(box.base_url, box.api_key, jobs(6), active=1, checkpoint=kept)
    # The work had been done for the first one: its answer was waiting under the key, and was not paid twice.
    assert tally.sent == 1
    assert again[0].ok
    assert box.seen[-1].replayed
    assert box.seen[-1].idempotency_key == box.seen[0].idempotency_key
    assert not again[1].ok


async def test_what_was_refused_is_asked_anew_under_another_key(box: sandbox.Sandbox) -> None:
    box.inject("invalid_request", 1)
    tally, [outcome] = await ran(box.base_url, box.api_key, jobs(1))
    [job] = jobs(1)
    again = Job(0, job.request, outcome.next_generation)
    _, [answer] = await ran(box.base_url, box.api_key, [again], run_id=tally.run_id)
    assert answer.ok
    assert len({seen.idempotency_key for seen in box.seen}) == 2


# ── resuming with data in another order ──


def asking(*texts: str) -> list[Job]:
    return [Job(at, ChatRequest.of(f"Say hi to {text}.")) for at, text in enumerate(texts)]


def reordered(order: str) -> list[str]:
    names = [f"n{at}" for at in range(120)]
    match order:
        case "on top":
            return ["new", *names]
        case "taken out":
            return [*names[:50], *names[51:]]
        case "backwards":
            return names[::-1]
        case "halves":
            return [*names[60:], *names[:60]]
    random.Random(7).shuffle(names)
    return names


@pytest.mark.parametrize("active", [1, 16])
@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("order", ["on top", "taken out", "backwards", "halves", "shuffled"])
async def test_answers_follow_their_rows(
    box: sandbox.Sandbox, tmp_path: Path, order: str, blocking: bool, active: int
) -> None:
    names = [f"n{at}" for at in range(120)]
    with kept_in(tmp_path) as kept:
        _, first = await ran(box.base_url, box.api_key, asking(*names), checkpoint=kept)
    ids = {name: outcome.request_id for name, outcome in zip(names, first, strict=True)}
    other = reordered(order)
    for new in ("new" in other, 0):  # the second time, all of them are at their places
        with kept_in(tmp_path, at_once=17) as kept:  # so that most answers are no longer at hand
            tally, again = await ran(
                box.base_url,
                box.api_key,
                asking(*other),
                active=active,
                blocking=blocking,
                checkpoint=kept,
            )
        assert (tally.sent, tally.stored, tally.stopped) == (new, len(other) - new, None)
        assert [outcome.position for outcome in again] == [*range(len(other))]
        for name, outcome in zip(other, again, strict=True):
            assert outcome.request_id == ids.setdefault(name, outcome.request_id)
    assert max(effects(box).values()) == 1
    with kept_in(tmp_path) as kept:  # and back again: nothing was lost
        tally, _ = await ran(box.base_url, box.api_key, asking(*names), checkpoint=kept)
    assert (tally.sent, tally.stored) == (0, 120)


async def test_other_data_writes_nothing_over(box: sandbox.Sandbox, tmp_path: Path) -> None:
    for texts, sent in ((["a", "b"], 2), (["c", "d"], 2), (["a", "b"], 0), (["d", "c"], 0), (["b", "a"], 0)):
        with kept_in(tmp_path) as kept:
            tally, _ = await ran(box.base_url, box.api_key, asking(*texts), checkpoint=kept)
        assert tally.sent == sent
    assert len(box.seen) == 4


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from("abc"), max_size=8),
    st.lists(st.lists(st.sampled_from("abc"), max_size=10), min_size=1, max_size=3),
    st.sampled_from([1, 16]),
)
def test_each_answer_goes_to_one_row(
    box: sandbox.Sandbox,
    tmp_path_factory: pytest.TempPathFactory,
    first: list[str],
    others: list[list[str]],
    active: int,
) -> None:
    """Several samples of a prompt stay several: answers are never used twice, and none is paid for in vain."""
    path = tmp_path_factory.mktemp("samples")
    have: Counter[str] = Counter()
    for texts in (first, *others, first):
        with kept_in(path) as kept:
            tally, outcomes = asyncio.run(
                ran(box.base_url, box.api_key, asking(*texts), active=active, checkpoint=kept)
            )
        wanted = Counter(texts)
        assert tally.sent == sum((wanted - have).values())
        assert len({outcome.request_id for outcome in outcomes}) == len(texts)
        have |= wanted


async def test_a_row_keeps_its_place_although_others_ask_the_same(
    box: sandbox.Sandbox, tmp_path: Path
) -> None:
    """Those that were not done are asked under the keys that they may have been sent with before."""
    rows = asking(*["same"] * 8)
    with kept_in(tmp_path) as kept:
        _, first = await ran(box.base_url, box.api_key, rows[4:], checkpoint=kept)
    with kept_in(tmp_path) as kept:
        tally, again = await ran(box.base_url, box.api_key, rows, checkpoint=kept)
    assert tally.sent == 4
    assert [each.request_id for each in again[4:]] == [each.request_id for each in first]


async def test_a_row_that_is_asked_anew_is_asked_whatever_is_kept(
    box: sandbox.Sandbox, tmp_path: Path
) -> None:
    box.inject("invalid_request", 1)
    with kept_in(tmp_path) as kept:
        _, first = await ran(box.base_url, box.api_key, jobs(3), active=1, checkpoint=kept)
        run_id = kept.run_id
    assert [outcome.ok for outcome in first] == [False, True, True]
    with kept_in(tmp_path) as kept:
        tally, _ = await ran(box.base_url, box.api_key, jobs(3), checkpoint=kept)
    assert (tally.sent, tally.stored) == (0, 3)
    anew = [
        Job(job.position, job.request, out.next_generation) for job, out in zip(jobs(3), first, strict=True)
    ]
    for sent in (1, 0):
        with kept_in(tmp_path) as kept:
            tally, again = await ran(box.base_url, box.api_key, anew, checkpoint=kept, run_id=run_id)
        assert (tally.sent, [outcome.ok for outcome in again]) == (sent, [True] * 3)
    assert len({seen.idempotency_key for seen in box.seen}) == len(box.seen) == 4


# ── alike rows ──


def alike(count: int, kinds: int) -> list[Job]:
    return [Job(at, ChatRequest.of(f"Say hi, number {at % kinds}.")) for at in range(count)]


async def test_identical_rows_are_asked_once(box: sandbox.Sandbox, tmp_path: Path) -> None:
    with kept_in(tmp_path) as kept:
        tally, outcomes = await ran(box.base_url, box.api_key, alike(60, 7), dedupe=True, checkpoint=kept)
    assert len(box.seen) == tally.sent == 7
    assert tally.deduped == 53
    for outcome in outcomes:
        leader = outcomes[outcome.position % 7]
        assert (outcome.text, outcome.deduped) == (leader.text, outcome.position >= 7)
        assert outcome.credits == (0 if outcome.deduped else leader.credits)
    with kept_in(tmp_path) as kept:  # more rows than before: they find their leaders in the file
        tally, more = await ran(box.base_url, box.api_key, alike(90, 7), dedupe=True, checkpoint=kept)
    assert len(box.seen) == 7
    assert [outcome.text for outcome in more] == [outcomes[at % 7].text for at in range(90)]
    assert sum(outcome.deduped for outcome in more) == 83


async def test_who_waits_is_not_forgotten_over_a_row_that_was_kept(
    box: sandbox.Sandbox, tmp_path: Path
) -> None:
    """The first and the third row are asked again, as one; the fourth, alike, was done in an earlier run."""
    box.inject("503", 3)
    with kept_in(tmp_path) as kept:
        first = await ran(
            box.base_url, box.api_key, alike(4, 1), active=1, checkpoint=kept, context={"max_attempts": 1}
        )
        assert [outcome.ok for outcome in first[1]] == [False, False, False, True]
    with kept_in(tmp_path) as kept:
        tally, outcomes = await ran(box.base_url, box.api_key, alike(5, 1), dedupe=True, checkpoint=kept)
    assert [outcome.ok for outcome in outcomes] == [True] * 5
    assert (tally.sent, tally.stored, tally.deduped) == (1, 1, 3)


async def test_followers_fail_with_their_leader(box: sandbox.Sandbox) -> None:
    box.inject("invalid_request", 1)
    tally, outcomes = await ran(box.base_url, box.api_key, alike(10, 1), dedupe=True)
    assert [outcome.error is not None for outcome in outcomes] == [True] * 10
    assert tally.sent == 1


# ── stopping ──


async def test_a_word_that_comes_when_all_is_done_changes_nothing(box: sandbox.Sandbox) -> None:
    stop = Stop()
    told: list[Outcome] = []

    def take(outcome: Outcome) -> None:
        told.append(outcome)
        if len(told) == 20:
            stop.stop()

    tally, _ = await ran(box.base_url, box.api_key, jobs(20), told=take, stop=stop)
    assert (tally.stopped, tally.ok) == (None, 20)


async def test_a_budget_of_the_calls_themselves_stops_it_too(box: sandbox.Sandbox, tmp_path: Path) -> None:
    """Whoever does not ask for room first hears it from the call; no row is told as failed for it."""
    with kept_in(tmp_path) as kept, bn.budget(credits="0.2") as budget:
        tally, outcomes = await ran(box.base_url, box.api_key, jobs(200), active=4, checkpoint=kept)
        assert tally.stopped == "budget"
        assert all(outcome.ok for outcome in outcomes)
        assert 0 < len(outcomes) < 200
        assert budget.spent.credits <= budget.credits
    with kept_in(tmp_path) as kept:
        tally, outcomes = await ran(box.base_url, box.api_key, jobs(200), checkpoint=kept)
    assert tally.ok == 200
    assert max(effects(box).values()) == 1


async def test_an_async_source_is_closed(box: sandbox.Sandbox) -> None:
    closed = False
    stop = Stop()

    async def rows() -> AsyncIterator[Job]:
        nonlocal closed
        try:
            for job in jobs(1000):
                yield job
        finally:
            closed = True

    tally, _ = await ran(box.base_url, box.api_key, rows(), told=lambda outcome: stop.stop(), stop=stop)
    assert tally.stopped == "interrupted"
    assert closed


async def test_a_word_stops_it_and_it_can_go_on(box: sandbox.Sandbox, tmp_path: Path) -> None:
    stop = Stop()
    told: list[Outcome] = []

    def take(outcome: Outcome) -> None:
        told.append(outcome)
        if len(told) == 30:
            stop.stop()

    with kept_in(tmp_path) as kept:
        tally, outcomes = await ran(
            box.base_url, box.api_key, jobs(500), told=take, stop=stop, checkpoint=kept
        )
        assert kept.finished == len(outcomes) == tally.done
    assert tally.stopped == "interrupted"
    assert 30 <= len(outcomes) < 500
    with kept_in(tmp_path) as kept:
        tally, outcomes = await ran(box.base_url, box.api_key, jobs(500), checkpoint=kept)
    assert all(outcome.ok for outcome in outcomes)
    assert tally.stopped is None
    assert max(effects(box).values()) == 1
    assert len(effects(box)) == 500


@pytest.mark.parametrize("words", [1, 2])
async def test_what_hangs_does_not_keep_it(box: sandbox.Sandbox, words: int) -> None:
    """Nothing comes back here: the grace ends it, or the second word."""
    box.inject("stall:0;share=1")
    stop = Stop()

    def say() -> None:
        for _ in range(words):
            stop.stop()

    thread = threading.Timer(0.3, say)  # from another thread, as a signal or a button does
    thread.start()
    tally, outcomes = await ran(box.base_url, box.api_key, jobs(100), stop=stop)
    thread.join()
    assert (tally.stopped, outcomes) == ("interrupted", [])


async def test_a_source_that_blocks_for_ever_does_not_keep_it(box: sandbox.Sandbox) -> None:
    never = threading.Event()

    def rows() -> Iterator[Job]:
        yield from jobs(3)
        never.wait(60)

    stop = Stop()
    told: list[Outcome] = []

    def take(outcome: Outcome) -> None:
        told.append(outcome)
        if len(told) == 3:
            stop.stop()

    tally, outcomes = await ran(box.base_url, box.api_key, rows(), told=take, stop=stop)
    never.set()
    assert (tally.stopped, len(outcomes)) == ("interrupted", 3)


async def test_it_may_be_cancelled_from_outside(box: sandbox.Sandbox, tmp_path: Path) -> None:
    some = asyncio.Event()
    with kept_in(tmp_path) as kept:
        task = asyncio.create_task(
            ran(box.base_url, box.api_key, jobs(2000), checkpoint=kept, told=lambda outcome: some.set())
        )
        await some.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 0 < kept.finished < 2000
    assert len(asyncio.all_tasks()) == 1


async def test_no_room_stops_it_when_nothing_is_under_way(box: sandbox.Sandbox) -> None:
    left = 25

    def room(request: ChatRequest, alone: bool) -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    tally, outcomes = await ran(box.base_url, box.api_key, jobs(100), room=room)
    assert (tally.stopped, len(outcomes)) == ("budget", 25)


async def test_room_that_comes_back_is_used(box: sandbox.Sandbox) -> None:
    """At most two rows fit at a time; what comes home makes room."""
    pace = Pace(8)
    _, outcomes = await ran(
        box.base_url, box.api_key, jobs(30), pace=pace, room=lambda request, alone: pace.active <= 2
    )
    assert len(outcomes) == 30


async def test_a_checkpoint_that_cannot_be_written_ends_it(box: sandbox.Sandbox, tmp_path: Path) -> None:
    kept = kept_in(tmp_path)
    told: list[Outcome] = []

    def take(outcome: Outcome) -> None:
        told.append(outcome)
        kept.close()

    with pytest.raises(bn.CheckpointError, match="closed"):
        await ran(box.base_url, box.api_key, jobs(500), told=take, checkpoint=kept)
    with kept_in(tmp_path) as again:
        assert {each.position for each in again} == {outcome.position for outcome in told}


async def test_a_key_is_in_no_file_and_no_error(box: sandbox.Sandbox, tmp_path: Path) -> None:
    for fault in ("reset:before", "html:502", "invalid_api_key"):
        box.inject(fault, 1)
    with kept_in(tmp_path) as kept:
        _, outcomes = await ran(
            box.base_url, box.api_key, jobs(20), checkpoint=kept, context={"max_attempts": 2}
        )
    assert box.api_key not in repr(outcomes)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert box.api_key.encode() not in path.read_bytes()
