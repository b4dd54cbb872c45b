"""Jobs: begun once, paid once, waited for patiently, found again."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.core import jobs, policy
from beatra_nb.core.base_client import BaseClient
from beatra_nb.core.flow import Answer, Open, Pause
from beatra_nb.core.music import MusicRequest
from beatra_nb.core.settings import Secret
from beatra_nb.core.task import Task
from beatra_nb.sandbox import Sandbox
from beatra_nb.store import jobs as stored
from beatra_nb.store.accounts import tag
from beatra_nb.store.journal import Journal, JournalWarning
from tests.core.conftest import QUICK
from tests.core.driving import (
    NOON,
    PUBLIC,
    REFUSED,
    RESET,
    SILENT,
    Late,
    Served,
    Step,
    Watcher,
    World,
    billing,
    no,
    page,
    said,
    state,
)
from tests.core.sounds import encoded
from tests.core.wire import KEY, Asked, Wire, http

MP3 = encoded("MP3", seconds=0.2)
KINDS = pytest.mark.parametrize("kind", [bn.Client, bn.AsyncClient], ids=["sync", "async"])
CLIP = {"artifact_id": "art_1", "audio_url": "https://cdn.example.com/1.mp3", "title": "Take"}
MADE = state("succeeded", output={"clips": [CLIP]}, billing=billing())
DONE = state("succeeded", output={"clips": []}, billing=billing())  # with nothing to fetch
POLL = ("GET", "/tasks/task_1")
CANCEL = ("POST", "/tasks/task_1/cancel")


def row(key: str | None = None) -> Any:
    """The journal's row of a job, as it lies on the disk."""
    with closing(sqlite3.connect(Journal.open().path)) as file:
        file.row_factory = sqlite3.Row
        where = "" if key is None else f"WHERE key = '{key}'"
        rows = file.execute(f"SELECT * FROM jobs {where} ORDER BY id DESC").fetchall()
    return dict(rows[0]) if rows else None


def rows() -> list[Any]:
    """All of them, oldest first."""
    with closing(sqlite3.connect(Journal.open().path)) as file:
        file.row_factory = sqlite3.Row
        return [dict(each) for each in file.execute("SELECT * FROM jobs ORDER BY id")]


def paid() -> Decimal:
    """What was paid by the journal's account."""
    return sum((entry.credits for entry in Journal.open() if entry.credits is not None), Decimal(0))


def known(status: str = "running", **more: Any) -> Task:
    return Task(None, state(status, **more), request_id="req_0")


# ── cadence ──


@given(st.floats(0, 1e7), st.floats(0, 1, exclude_max=True), st.integers(0, 10_000))
def test_a_pause_between_two_looks_is_bounded(waited: float, rand: float, failures: int) -> None:
    pause = policy.poll_pause(waited, rand, failures=failures)
    assert 0.8 * policy.POLL_FIRST <= pause <= 1.2 * max(policy.POLL_CAP, policy.BACKOFF_CAP)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True))
def test_pauses_grow(one: float, two: float, rand: float) -> None:
    assert policy.poll_pause(min(one, two), rand) <= policy.poll_pause(max(one, two), rand)
    assert policy.poll_pause(one, rand) <= policy.poll_pause(one, rand, failures=3)


@given(st.floats(0, 1e6), st.floats(0, 1, exclude_max=True), st.floats(0, 1e9))
def test_pauses_honour_what_the_service_asks_for(waited: float, rand: float, asked: float) -> None:
    pause = policy.poll_pause(waited, rand, asked_for=asked)
    assert pause >= min(asked, policy.LONGEST_RETRY_AFTER)
    assert pause >= policy.poll_pause(waited, rand)
    assert pause <= max(policy.POLL_CAP * 1.2, policy.LONGEST_RETRY_AFTER + policy.BACKOFF_BASE)


@given(st.floats(0, 1e5))
def test_a_crowd_does_not_look_together(waited: float) -> None:
    assert policy.poll_pause(waited, 0.0) < policy.poll_pause(waited, 0.9)


# ── waiting ──


def test_looks_are_quick_at_first_and_calmer_later() -> None:
    world, watch = World(), Watcher()
    left = iter(range(70))
    world.say(lambda _: said(body=state("running")) if next(left, None) is not None else said(body=DONE))
    task = known()
    world.run(jobs.wait(world.context(), task, watch, None))
    assert world.asked == [POLL] * 71
    assert world.pauses[0] == pytest.approx(policy.POLL_FIRST)
    assert world.pauses == sorted(world.pauses)
    assert world.pauses[-1] == pytest.approx(policy.POLL_CAP)
    assert max(wish.seconds for wish in world.wishes if isinstance(wish, Pause)) <= jobs.SLICE
    assert (task.status, watch.seen[-1]) == ("succeeded", "succeeded")


def test_a_task_that_is_over_is_not_asked_for_again() -> None:
    world = World()
    for status in ("succeeded", "failed", "canceled"):
        world.run(jobs.wait(world.context(), known(status), Watcher(), 5))
    assert world.wishes == []


TROUBLES: dict[str, list[Step]] = {
    "resets": [RESET] * 8,
    "refused connections": [REFUSED] * 8,
    "silence": [Late(100, RESET)] * 3,
    "time-outs": [SILENT] * 8,
    "503 pages": [page(503), page(502), page(504)] * 3,
    "enveloped and retryable": [no(500, "oops", retryable=True), no(429, "rate_limited", retryable=True)] * 4,
    "pages with 200": [page(200)] * 3,
    "a 500 page": [page(500)] * 3,
    "bad JSON": [said(200, b'{"task_id": "ta')] * 3,
    "another task": [said(200, state("succeeded", "task_2"))] * 3,
    "no task": [said(200, {"ok": True}), said(200, []), said(200, {"task_id": 7})],
    "odd ones apart": [page(), page(), page(), said(body=state()), page(), page(), page()],
    "odd and retryable": [page(), page(), page(), RESET, page(), page(), page()],
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_waiting_survives_trouble(trouble: str) -> None:
    world, watch, task = World(), Watcher(), known()
    world.say(*TROUBLES[trouble], said(body=DONE))
    world.run(jobs.wait(world.context(), task, watch, None))
    assert task.status == "succeeded"
    assert any("No word from the service" in note for note in watch.notes)
    assert watch.notes[-1] == "", "what was noted is taken back"
    entry = Journal.open().view()[0]
    assert (entry.verb, entry.status, entry.attempts) == ("wait", "ok", len(TROUBLES[trouble]) + 1)


@pytest.mark.parametrize("code", ["invalid_api_key", "forbidden", "brand_new"])
def test_waiting_ends_when_the_service_says_no(code: str) -> None:
    world, task = World().say(no(403, code)), known()
    with pytest.raises(bn.APIError) as caught:
        world.run(jobs.wait(world.context(), task, Watcher(), None))
    assert (caught.value.code, len(world.sent)) == (code, 1)
    assert "bn.task('task_1').wait() comes back to it" in caught.value.hint


def test_a_task_that_is_gone_does_not_go_on() -> None:
    world = World().say(said(body=state()), no(404, "not_found"))
    with pytest.raises(bn.NotFound) as caught:
        world.run(jobs.wait(world.context(), known(), Watcher(), None))
    assert "goes on" not in str(caught.value)
    assert "comes back" not in str(caught.value)
    world = World().say(page(404))
    with pytest.raises(bn.NotFound, match="The task goes on"):  # that was somebody in between
        world.run(jobs.wait(world.context(), known(), Watcher(), None))


def test_waiting_ends_when_nobody_there_speaks_the_api() -> None:
    world = World().say(page())
    with pytest.raises(bn.UnexpectedResponse, match="comes back to it"):
        world.run(jobs.wait(world.context(), known(), Watcher(), None))
    assert len(world.sent) == jobs.ODD_ANSWERS + 1


@pytest.mark.parametrize("silence", [RESET, page(503), no(500, "oops", retryable=True), Late(20, SILENT)])
def test_waiting_ends_after_five_minutes_without_a_word(silence: Step) -> None:
    world = World().say(silence)
    began = world.clock.now
    with pytest.raises(bn.BeatraError, match="The task goes on") as caught:
        world.run(jobs.wait(world.context(), known(), Watcher(), None))
    assert 300 < world.clock.now - began < 400
    assert len(world.sent) > jobs.ODD_ANSWERS
    assert caught.value.retryable


def test_a_word_in_between_begins_the_five_minutes_anew() -> None:
    world, task = World(), known()
    answers = iter([*[RESET] * 40, said(body=state()), *[RESET] * 40, said(body=DONE)])
    world.say(lambda _: next(answers))
    began = world.clock.now
    world.run(jobs.wait(world.context(), task, Watcher(), None))
    assert world.clock.now - began > 320
    assert task.done


def test_a_laptop_that_slept_looks_more_than_once() -> None:
    # On some systems the monotonic clock goes on while the lid is closed, and the network comes later than the user.
    world, task = World(), known()

    def wakes(_: object) -> Any:
        world.clock.pass_by(8 * 3600)
        return RESET

    world.say(said(body=state()), wakes, RESET, RESET, said(body=DONE))
    world.run(jobs.wait(world.context(), task, Watcher(), None))
    assert task.status == "succeeded"


@pytest.mark.parametrize("jump", [-1e8, 1e8])
def test_the_clock_on_the_wall_may_jump(jump: float) -> None:
    world, task = World(), known()

    def jumps(_: object) -> Any:
        world.clock.wall += jump
        return said(body=state())

    world.say(jumps, jumps, said(body=DONE))
    began = world.clock.now
    world.run(jobs.wait(world.context(), task, Watcher(), 10))
    assert world.clock.now - began < 3
    assert task.status == "succeeded"


@pytest.mark.parametrize("asked", ["7", "0.5", "86400"])
def test_retry_after_is_honoured(asked: str) -> None:
    world = World().say(no(429, "rate_limited", retryable=True, retry_after=asked), said(body=DONE))
    world.run(jobs.wait(world.context(), known(), Watcher(), None))
    assert world.pauses[1] >= min(float(asked), policy.LONGEST_RETRY_AFTER)
    assert world.pauses[1] < policy.LONGEST_RETRY_AFTER + 2


# ── the end of patience ──


def test_a_timeout_carries_the_task_and_how_to_come_back() -> None:
    world, task = World().say(said(body=state(progress={"percent": 41.7}), x_request_id="req_9")), known()
    task.idempotency_key = "k"
    began = world.clock.now
    with pytest.raises(bn.TaskTimeout) as caught:
        world.run(jobs.wait(world.context(), task, Watcher(), 12.5))
    error = caught.value
    assert error.task is task
    assert error.message == "The task was not over after 12.5 s (running, 42 %); it goes on."
    assert error.hint == "bn.task('task_1').wait() comes back to it, .cancel() stops it."
    assert (error.request_id, error.idempotency_key) == ("req_9", "k")
    assert isinstance(error, TimeoutError)
    assert world.clock.now - began == pytest.approx(12.5)
    assert Journal.open().view()[0].error_type == "TaskTimeout"


@pytest.mark.parametrize("timeout", [0.3, 3.0, 30.0, 47.0, 200.0])
def test_a_look_that_hangs_does_not_outlast_the_timeout(timeout: float) -> None:
    world = World().say(said(body=state()), Late(1e6, RESET))
    began = world.clock.now
    with pytest.raises(bn.TaskTimeout):
        world.run(jobs.wait(world.context(), known(), Watcher(), timeout))
    assert timeout - 1e-6 <= world.clock.now - began <= timeout + 1.0 + 1e-6


@pytest.mark.parametrize("timeout", [3.0, 30.0])
def test_an_address_that_hangs_does_not_outlast_the_timeout(timeout: float) -> None:
    def asked(wish: Any) -> Any:
        return Late(1e6, RESET) if isinstance(wish, Open) else Late(2.0, said(body=MADE))

    world, task = World().say(asked), known()
    began = world.clock.now
    world.run(jobs.wait(world.context(), task, Watcher(), timeout))
    assert world.clock.now - began <= timeout + 1.0 + 1e-6
    assert (task.status, task.clips[0].data) == ("succeeded", None)
    assert task.clips[0].problem, "it says why, and can be fetched later"


@pytest.mark.parametrize("timeout", [3.0, 30.0])
def test_a_cancel_that_hangs_does_not_outlast_the_timeout(timeout: float) -> None:
    world = World().say(Late(1e6, RESET))
    began = world.clock.now
    with pytest.raises(bn.TaskTimeout):
        world.run(jobs.wait(world.context(), known(), Watcher(lambda: True), timeout))
    assert timeout - 1e-6 <= world.clock.now - began <= timeout + 1.0 + 1e-6


# ── cancel ──


def test_cancel_is_asked_for_once_and_waited_for() -> None:
    world = World()
    task = begun(world.say(said(202, QUEUED)))
    watch = Watcher(lambda: len(world.sent) >= 3)
    cancelled = state("canceled", billing=billing("80", "80"))
    world.say(
        *[said(body=state())] * 2,
        said(202, state(cancel_requested_at="2026-11-23T12:00:00Z")),
        said(body=state()),
        said(body=cancelled),
    )
    world.run(jobs.wait(world.context(), task, watch, None))
    assert world.asked[1:] == [POLL, POLL, CANCEL, POLL, POLL]
    assert task.status == "canceled"
    assert "Cancelling …" in watch.notes
    assert paid() == 0, "what came back is counted once"


def test_a_press_is_noticed_at_once() -> None:
    world = World()
    pressed = {"at": world.clock.now + 100}
    watch = Watcher(lambda: world.clock.now >= pressed["at"])
    world.say(lambda wish: said(body=state("canceled" if wish.call.method == "POST" else "running")))
    world.run(jobs.wait(world.context(), known(), watch, None))
    assert world.clock.now - pressed["at"] <= jobs.SLICE
    assert world.asked.count(CANCEL) == 1
    assert world.asked[-1] == CANCEL, "it came back canceled: there is nothing to look at any more"


def test_a_cancel_that_comes_too_late_changes_nothing() -> None:
    world, task, watch = World(), known(), Watcher(lambda: True)
    world.say(said(body=DONE))
    world.run(jobs.wait(world.context(), task, watch, None))
    assert (world.asked, task.status) == ([CANCEL], "succeeded")


def test_a_cancel_that_fails_is_said_and_the_waiting_goes_on() -> None:
    world, task, watch = World(), known(), Watcher(lambda: True)
    world.say(no(403, "forbidden"), said(body=state()), said(body=DONE))
    world.run(jobs.wait(world.context(), task, watch, None))
    assert world.asked == [CANCEL, POLL, POLL]
    assert any(note.startswith("It could not be cancelled: forbidden") for note in watch.notes)
    assert task.status == "succeeded"


def test_a_cancel_is_sent_again_under_its_own_key() -> None:
    world, task = World().say(RESET, page(503), said(body=state("canceled"))), known()
    world.run(jobs.cancel(world.context(), task, "changed my mind"))
    assert world.asked == [CANCEL] * 3
    assert len({wish.call.key for wish in world.sent}) == 1
    assert world.sent[0].call.body == b'{"reason":"changed my mind"}'
    assert task.status == "canceled"


def test_an_id_from_outside_stays_within_its_path() -> None:
    task = Task(None, state(ident="a/../b?x=1#y %2e"))
    world = World().say(said(body=state("canceled", "a/../b?x=1#y %2e")))
    world.run(jobs.cancel(world.context(), task, None))
    assert world.asked == [("POST", "/tasks/a%2F..%2Fb%3Fx%3D1%23y%20%252e/cancel")]


# ── begin ──


def begun(world: World, prompt: str = "x", *, watch: Any = None, context: Any = None, **more: Any) -> Task:
    """Begin a job, as a client does."""
    request = MusicRequest.of(prompt, **more)
    task = Task(None)
    task.model, task.title, task.idempotency_key = request.model, request.body.get("title", ""), request.key
    world.run(jobs.begin(context or world.context(), request, task, watch or Watcher()))
    return task


QUEUED = state("queued", billing=billing())


@KINDS
async def test_a_job_is_on_disk_before_its_request_leaves(wire: Wire, kind: type[BaseClient]) -> None:
    seen: list[Any] = []

    def handler() -> Any:
        seen.append(row())
        yield http(202, QUEUED)

    wire.say(handler())
    if kind is bn.Client:

        def work() -> bn.Task:
            with bn.Client(KEY, base_url=wire.base_url, timeout=QUICK) as client:
                return client.music("secret plans", title="T", wait=False)

        task = await asyncio.to_thread(work)
    else:
        async with bn.AsyncClient(KEY, base_url=wire.base_url, timeout=QUICK) as client:
            task = await client.music("secret plans", title="T", wait=False)
    before, after = seen[0], row()
    assert (before["key"], before["status"], before["task_id"]) == (task.idempotency_key, "sending", None)
    assert bytes(before["body"]) == wire.asked[0].body
    assert (before["path"], before["verb"]) == ("/music/text-to-music", "music")
    where, _, account = before["place"].partition(" ")
    assert (where, account) == (wire.base_url, tag(Secret(KEY)))
    assert before["key"] == wire.asked[0].headers["idempotency-key"]
    assert (after["status"], after["task_id"], after["body"], after["title"]) == (
        "open",
        "task_1",
        None,
        None,
    )
    for path in Journal.open().path.parent.iterdir():
        assert b"secret plans" not in path.read_bytes(), path.name


@pytest.mark.parametrize(
    "last",
    [
        RESET,
        SILENT,
        page(503),
        page(500),
        no(500, "oops"),
        no(503, "model_unavailable", retryable=True),
        said(202, {}),
        page(202),
    ],
)
def test_where_nobody_knows_what_came_of_it_the_request_is_kept(last: Step) -> None:
    world = World().say(last)
    with pytest.raises(bn.BeatraError) as caught:
        begun(world)
    kept = row()
    assert (kept["status"], kept["task_id"]) == ("sending", None)
    assert bytes(kept["body"]) == world.sent[0].call.body
    assert caught.value.idempotency_key == kept["key"]
    assert caught.value.resumable
    assert caught.value.hint.startswith(jobs.MAYBE_BEGUN)


@pytest.mark.parametrize(
    "last",
    [
        no(402, "insufficient_balance"),
        no(422, "invalid_request"),
        no(429, "rate_limited", retryable=True),
        REFUSED,
    ],
)
def test_where_nothing_came_of_it_the_request_is_forgotten(last: Step) -> None:
    world = World().say(last)
    with pytest.raises(bn.BeatraError) as caught:
        begun(world)
    assert not caught.value.resumable
    assert (row()["status"], row()["body"], row()["title"]) == ("refused", None, None)
    assert pending(world) == NONE


@pytest.mark.parametrize("first", [RESET, SILENT, page(503), no(500, "billing_failed", retryable=True)])
@pytest.mark.parametrize(
    "last",
    [no(402, "insufficient_balance"), no(429, "rate_limited", retryable=True), REFUSED, no(409, "conflict")],
)
def test_a_refusal_after_an_answer_that_was_lost_proves_nothing(first: Step, last: Step) -> None:
    # The first attempt may have made the task, and its charge may be why the second is refused.
    world = World().say(first, last)
    with pytest.raises(bn.BeatraError):
        begun(world)
    assert (row()["status"], row()["body"] is None) == ("sending", False)


def test_a_job_is_one_key_over_all_its_attempts() -> None:
    world = World().say(RESET, page(503), no(500, "x", retryable=True), said(202, QUEUED))
    task = begun(world)
    assert not task.unwritten
    assert len({(wish.call.key, wish.call.body) for wish in world.sent}) == 1
    assert (task.id, len(world.sent), row()["status"]) == ("task_1", 4, "open")
    entry = Journal.open().view()[0]
    assert (entry.verb, entry.attempts, entry.credits, entry.task_id) == ("music", 4, Decimal(80), "task_1")


def test_an_interrupt_leaves_a_job_that_can_be_found() -> None:
    def interrupted(_: object) -> Any:
        raise KeyboardInterrupt

    world = World().say(interrupted)
    with pytest.raises(KeyboardInterrupt):
        begun(world)
    assert row()["status"] == "sending"
    assert Journal.open().view()[0].status == "interrupted"
    world.say(said(202, QUEUED))
    found = pending(world)
    assert ([task.id for task in found.tasks], found.lost) == (["task_1"], [])


# ── again ──


def test_run_again_it_is_a_new_job() -> None:
    world = World().say(said(202, QUEUED), said(202, state("queued", "task_2")))
    one, two = begun(world), begun(world)
    assert (one.id, two.id, two.attached) == ("task_1", "task_2", "")
    assert len({wish.call.key for wish in world.sent}) == 2


@pytest.mark.parametrize("now", [state("running"), DONE], ids=["running", "finished"])
def test_reuse_attaches_to_the_job_of_the_same_request(now: Any) -> None:
    world = World().say(said(202, QUEUED), said(body=now))
    one = begun(world, rerun="reuse")
    watch = Watcher()
    two = begun(world, rerun="reuse", watch=watch)
    assert world.asked == [("POST", "/music/text-to-music"), POLL]
    assert (one.attached, two.attached) == ("", "rerun")
    assert (two.id, two.status, two.idempotency_key) == ("task_1", now["status"], one.idempotency_key)
    assert watch.seen == [now["status"]]
    assert paid() == 80
    world.say(said(202, state("queued", "task_3")))
    assert begun(world, "y", rerun="reuse").attached == "", "another request is another job"


@pytest.mark.parametrize("gone", [state("failed"), state("canceled"), None])
def test_reuse_begins_anew_where_there_is_nothing_to_have(gone: Any) -> None:
    world = World().say(
        said(202, QUEUED),
        said(body=gone) if gone else no(404, "not_found"),
        said(202, state("queued", "task_2")),
    )
    begun(world, rerun="reuse")
    two = begun(world, rerun="reuse")
    assert world.asked[-1] == ("POST", "/music/text-to-music")
    assert (two.id, two.attached, two.status, two.error) == ("task_2", "", "queued", None)
    assert world.sent[0].call.key != world.sent[-1].call.key
    assert row()["task_id"] == "task_2"


ANSWERS = pytest.mark.parametrize(
    ("answer", "attached"),
    [(said(202, QUEUED, idempotent_replayed="true"), "replayed"), (said(202, QUEUED), "resent")],
    ids=["it had it", "it had it not"],
)


@ANSWERS
@pytest.mark.parametrize("way", ["rerun", "key"])
def test_what_had_no_answer_is_sent_again(way: str, answer: Answer, attached: str) -> None:
    world = World().say(RESET)
    more: Any = {"rerun": "reuse"} if way == "rerun" else {"idempotency_key": "mine"}
    with pytest.raises(bn.ConnectionFailed):
        begun(world, **more)
    world.say(answer)
    task = begun(world, **more)
    assert len({(wish.call.key, wish.call.body) for wish in world.sent}) == 1
    attached = way if attached == "replayed" else attached
    assert (task.id, task.attached, task.idempotency_key) == ("task_1", attached, world.sent[0].call.key)
    assert row()["status"] == "open"


@pytest.mark.parametrize("way", ["reuse", "key"])
def test_what_is_a_day_old_and_had_no_answer_is_neither_sent_again_nor_begun_anew(way: str) -> None:
    world = World().say(RESET)
    more: Any = {"rerun": "reuse"} if way == "reuse" else {"idempotency_key": "mine"}
    with pytest.raises(bn.ConnectionFailed):
        begun(world, **more)
    sent = len(world.sent)
    world.clock.pass_by(86_400)
    world.say(said(202, QUEUED))
    with pytest.raises(bn.InvalidInput, match="could be paid twice") as caught:
        begun(world, **more)
    assert "rerun='new'" in caught.value.hint
    assert len(world.sent) == sent
    other: Any = {"rerun": "new"} if way == "reuse" else {"idempotency_key": "another"}
    assert begun(world, **other).attached == "", "as it says, that is another job"


def test_reuse_does_not_attach_when_the_service_does_not_say() -> None:
    world = World().say(said(202, QUEUED), RESET)
    begun(world, rerun="reuse")
    with pytest.raises(bn.ConnectionFailed):
        begun(world, rerun="reuse")
    assert world.asked.count(("POST", "/music/text-to-music")) == 1, "nothing is paid on a guess"


def test_a_key_of_one_s_own_is_one_job() -> None:
    world = World().say(said(202, QUEUED), said(body=DONE))
    begun(world, idempotency_key="mine")
    two = begun(world, idempotency_key="mine")
    assert world.asked == [("POST", "/music/text-to-music"), POLL]
    assert (two.id, two.status, two.attached) == ("task_1", "succeeded", "key")
    assert paid() == 80


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_key_of_one_s_own_means_that_job_whatever_came_of_it(status: str) -> None:
    world = World().say(said(202, QUEUED), said(body=state(status)))
    begun(world, idempotency_key="mine")
    assert begun(world, idempotency_key="mine").status == status
    assert len(world.sent) == 2


def test_a_key_is_not_for_two_requests() -> None:
    world = World().say(said(202, QUEUED))
    begun(world, idempotency_key="mine")
    with pytest.raises(bn.InvalidInput, match="was used for another request"):
        begun(world, "y", idempotency_key="mine")
    assert len(world.sent) == 1
    assert begun(world, "y", idempotency_key="mine", context=world.context("https://eu.example.com/v1")).id


def test_a_key_that_was_refused_begins_a_job_later() -> None:
    world = World().say(no(402, "insufficient_balance"))
    with pytest.raises(bn.InsufficientBalance):
        begun(world, idempotency_key="mine")
    world.say(said(202, QUEUED))
    task = begun(world, idempotency_key="mine")
    assert (task.id, task.attached) == ("task_1", ""), "there was no job to attach to"
    assert (row()["status"], row()["task_id"]) == ("open", "task_1")


@pytest.mark.parametrize("delivered", [False, True])
def test_a_key_whose_task_is_gone_begins_a_job_that_is_known_again(delivered: bool) -> None:
    world = World().say(said(202, QUEUED))
    begun(world, idempotency_key="mine")
    if delivered:
        world.context().jobs.deliver(PUBLIC, "task_1", 30.0)  # type: ignore[union-attr]
    world.clock.pass_by(90_000)
    world.say(no(404, "not_found"), said(202, state("queued", "task_2")))
    task = begun(world, idempotency_key="mine")
    assert (task.id, task.attached) == ("task_2", "")
    found = row("mine")
    assert (found["task_id"], found["status"], found["body"]) == ("task_2", "open", None)
    began = datetime.fromisoformat(found["started"]).astimezone(UTC).timestamp()
    assert began == pytest.approx(NOON + 90_000, abs=5), "its day begins now"


def test_without_a_journal_there_is_nothing_to_find() -> None:
    world = World().say(said(202, QUEUED))
    context = world.context(journal=False)
    with pytest.raises(bn.InvalidInput, match="rerun='reuse' needs the journal"):
        begun(world, rerun="reuse", context=context)
    assert world.sent == []
    assert [begun(world, idempotency_key="mine", context=context).id for _ in range(2)] == ["task_1"] * 2
    assert [wish.call.key for wish in world.sent] == ["mine", "mine"], "the service knows the key"
    with pytest.raises(bn.InvalidInput, match="Unfinished jobs are found in the journal"):
        world.run(jobs.pending(context, lambda: Task(None)))
    assert not Journal.open().path.exists()


# ── pending ──


NONE = jobs.Found()


def pending(world: World, **more: Any) -> jobs.Found:
    return world.run(jobs.pending(world.context(**more), lambda: Task(None)))  # type: ignore[no-any-return]


@ANSWERS
def test_pending_sends_the_very_same_again(answer: Answer, attached: str) -> None:
    world = World().say(RESET)
    with pytest.raises(bn.ConnectionFailed):
        begun(world, "dream pop", title="Night", model="suno-5.5")
    first = world.sent[0].call
    world.clock.pass_by(23 * 3600)
    world.say(answer)
    found = pending(world)
    (task,) = found.tasks
    again = world.sent[-1].call
    assert (again.method, again.path, again.body, again.key) == (
        first.method,
        first.path,
        first.body,
        first.key,
    )
    assert (task.id, task.attached, task.title, task.model, task.idempotency_key) == (
        "task_1",
        "pending" if attached == "replayed" else attached,
        "Night",
        "suno-5.5",
        first.key,
    )
    assert (found.lost, found.unheard) == ([], [])
    assert paid() == 80
    began = datetime.fromisoformat(row()["started"]).astimezone(UTC).timestamp()
    assert began == pytest.approx(NOON, abs=5), "its day does not begin anew: the service's does not either"


def test_pending_asks_for_what_is_known() -> None:
    world = World().say(said(202, QUEUED), said(body=state("running")))
    begun(world)
    for _ in range(2):
        found = pending(world)
        (task,) = found.tasks
        assert (task.id, task.status, task.attached) == ("task_1", "running", "pending")
        assert (found.lost, found.unheard) == ([], [])
    assert world.asked == [("POST", "/music/text-to-music"), POLL, POLL]


def test_pending_never_sends_what_is_a_day_old() -> None:
    world = World().say(RESET)
    with pytest.raises(bn.ConnectionFailed):
        begun(world, title="Night")
    sent = len(world.sent)
    world.clock.pass_by(86_400)
    found = pending(world)
    (lost,) = found.lost
    assert (found.tasks, found.unheard, len(world.sent)) == ([], [], sent)
    assert (lost.idempotency_key, lost.verb, lost.title) == (world.sent[0].call.key, "music", "Night")
    assert lost.started.timestamp() == pytest.approx(NOON)
    assert "could be paid twice" in lost.reason
    assert pending(world) == NONE, "it is told once"
    assert row()["body"] is None


def test_pending_tells_what_the_service_has_forgotten() -> None:
    world = World().say(said(202, QUEUED), no(404, "not_found"))
    begun(world)
    found = pending(world)
    (lost,) = found.lost
    assert (found.tasks, found.unheard, lost.reason) == (
        [],
        [],
        "The service does not know this task any more.",
    )
    assert pending(world) == NONE


def test_pending_tells_what_the_service_refuses() -> None:
    world = World().say(RESET)
    with pytest.raises(bn.ConnectionFailed):
        begun(world)
    world.say(no(402, "insufficient_balance"))
    found = pending(world)
    (lost,) = found.lost
    assert (found.tasks, found.unheard, lost.reason) == (
        [],
        [],
        "The service refused it: insufficient_balance.",
    )
    assert pending(world) == NONE


def test_pending_keeps_what_nobody_answers_for() -> None:
    world = World().say(RESET)
    with pytest.raises(bn.ConnectionFailed):
        begun(world)
    with pytest.raises(bn.ConnectionFailed):
        pending(world)
    world.say(said(202, QUEUED))
    assert [task.id for task in pending(world).tasks] == ["task_1"]


def test_pending_leaves_other_places_alone() -> None:
    world = World().say(said(202, QUEUED))
    begun(world, context=world.context("https://eu.example.com/v1"))
    begun(world, context=world.context(place="sandbox"))
    assert pending(world) == jobs.Found(elsewhere=2)
    assert [job["status"] for job in rows()] == ["open"] * 2
    world.say(said(body=state()))
    for place in ({"base_url": "https://eu.example.com/v1"}, {"place": "sandbox"}):
        found = pending(world, **place)
        assert (len(found.tasks), found.elsewhere) == (1, 1)


def test_what_is_delivered_is_not_pending() -> None:
    world = World().say(said(202, QUEUED), said(body=MADE), Served([MP3]))
    task = begun(world)
    world.run(jobs.wait(world.context(), task, Watcher(), None))
    assert task.clips[0].data == MP3
    assert row()["status"] == "delivered"
    assert pending(world) == NONE


def test_what_could_not_be_fetched_is_still_pending() -> None:
    world = World().say(said(202, QUEUED))
    task = begun(world)
    world.say(said(body=MADE), RESET)
    world.run(jobs.wait(world.context(), task, Watcher(), None))
    assert task.clips[0].problem == "The connection was reset."
    assert row()["status"] == "open"
    world.say(said(body=MADE))
    assert [task.status for task in pending(world).tasks] == ["succeeded"]


def test_jobs_come_oldest_first_and_know_how_long_they_take() -> None:
    world = World()
    names = iter(["task_1", "task_2", "task_3"])
    world.say(lambda _: said(202, state("queued", next(names))))
    for _ in range(3):
        begun(world, model="suno-5.5")
        world.clock.pass_by(1)
    world.say(lambda wish: said(body=state("running", wish.call.path.rpartition("/")[2])))
    assert [task.id for task in pending(world).tasks] == ["task_1", "task_2", "task_3"]
    for number, seconds in enumerate((30.0, 10.0, 20.0), 1):
        world.context().jobs.deliver(PUBLIC, f"task_{number}", seconds)  # type: ignore[union-attr]
    world.say(said(202, state("queued", "task_4")))
    assert begun(world, model="suno-5.5").expected == 20.0


# ── the account ──


def test_a_row_for_each_verb_and_the_credits_add_up() -> None:
    world = World()
    task = begun(world.say(said(202, QUEUED)))
    world.say(
        said(body=state()),
        said(body=state("failed", error={"code": "moderated"}, billing=billing("80", "80"))),
    )
    world.run(jobs.wait(world.context(), task, Watcher(), None))
    world.run(jobs.look(world.context(), task))
    world.run(jobs.wait(world.context(), task, Watcher(), None))
    assert [(entry.verb, entry.credits) for entry in reversed(list(Journal.open()))] == [
        ("music", Decimal(80)),
        ("wait", Decimal(-80)),
        ("task", None),
    ]
    assert paid() == 0
    assert row()["status"] == "delivered"


def test_a_refund_is_counted_once_however_it_comes_to_be_known() -> None:
    def context(world: World, task: Task) -> Any:
        return world.say(
            said(body=state("canceled", task.id, billing=billing("80", "80"), output={}))
        ).context()

    def by_cancel(world: World, task: Task) -> None:
        world.run(jobs.cancel(context(world, task), task, None))

    def by_wait(world: World, task: Task) -> None:
        world.run(jobs.wait(context(world, task), task, Watcher(), None))

    def by_a_press(world: World, task: Task) -> None:
        world.run(jobs.wait(context(world, task), task, Watcher(lambda: True), None))

    def by_a_look(world: World, task: Task) -> None:
        world.run(jobs.look(context(world, task), task))

    def by_another_kernel(world: World, task: Task) -> None:
        world.run(jobs.look(context(world, task), Task(None, state(ident=task.id))))

    def by_coming_back(world: World, task: Task) -> None:
        world.run(jobs.pending(context(world, task), lambda: Task(None)))

    ways = (by_cancel, by_wait, by_a_press, by_a_look, by_another_kernel, by_coming_back)
    for number, way in enumerate(ways, 1):
        world = World()
        task = begun(world.say(said(202, state("queued", f"task_{number}", billing=billing()))))
        assert paid() == 80
        way(world, task)
        assert paid() == 0, way.__name__
        for again in ways:
            again(world, task)
        assert paid() == 0, way.__name__


def test_what_was_not_paid_here_is_not_counted_when_it_comes_back() -> None:
    world, task = World(), known(billing=billing())
    world.say(said(body=state("canceled", billing=billing("80", "80"))))
    world.run(jobs.wait(world.context(), task, Watcher(), None))
    world.run(jobs.look(world.context(), Task(None, state())))
    assert paid() == 0
    assert task.billing.refunded == 80


def test_part_of_a_charge_may_come_back() -> None:
    world = World()
    task = begun(world.say(said(202, QUEUED)))
    world.say(
        said(body=state(billing=billing("80", "10.5"))),
        said(body=state("canceled", billing=billing("80", "30.25"))),
    )
    world.run(jobs.wait(world.context(), task, Watcher(), None))
    assert paid() == Decimal("49.75")


def test_a_service_that_does_not_tell_the_price_costs_nothing_in_the_journal() -> None:
    world = World()
    begun(world.say(said(202, state("queued", billing={"charged_credits": "free"}))))
    assert [entry.credits for entry in Journal.open()] == [None]


# ── a journal in trouble ──


@pytest.mark.parametrize("trouble", ["damaged", "newer", "locked", "a folder"])
def test_a_journal_in_trouble_never_costs_a_call(
    isolated: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "PATIENCE", 0.0)
    isolated.mkdir()
    path = isolated / "journal.sqlite3"
    holder = None
    if trouble == "damaged":
        path.write_bytes(b"this is not a database " * 100)
    elif trouble == "a folder":
        path.mkdir()
    else:
        Journal.open().jobs.unfinished(PUBLIC)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("PRAGMA user_version = 999" if trouble == "newer" else "BEGIN EXCLUSIVE")
    world = World()
    try:
        with pytest.warns(JournalWarning):
            task = begun(world.say(said(202, QUEUED)))
        assert task.unwritten, "it says that it could not be written down"
        world.say(said(body=MADE), Served([MP3]))
        world.run(jobs.wait(world.context(), task, Watcher(), None))
        assert (task.status, task.clips[0].data) == ("succeeded", MP3)
        sent = len(world.sent)
        if trouble != "locked":  # readers go on beside a writer
            with pytest.raises(bn.InvalidInput, match="needs the journal, and it cannot be written"):
                begun(world, rerun="reuse")
            with pytest.raises(bn.BeatraError, match="journal cannot be read"):
                begun(world, idempotency_key="mine")
            assert len(world.sent) == sent, "what could be paid twice is not sent"
    finally:
        if holder is not None:
            holder.close()
        Journal.open()._waiting.clear()


# ── both clients, over the wire ──


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks in quick succession."""
    monkeypatch.setattr(policy, "POLL_FIRST", 0.005)


async def whole(kind: type[BaseClient], base_url: str, prompt: str = "x", **more: Any) -> Any:
    settings = {"base_url": base_url, "timeout": replace(QUICK, read=more.pop("read", 0.5))}
    if kind is bn.Client:

        def work() -> Any:
            with bn.Client(KEY, **settings) as client:
                return client.music(prompt, **more)

        return await asyncio.to_thread(work)
    async with bn.AsyncClient(KEY, **settings) as client:
        return await client.music(prompt, **more)


@KINDS
async def test_from_a_sentence_to_the_audio(wire: Wire, kind: type[BaseClient], quick: None) -> None:
    clips = [{"artifact_id": f"art_{n}", "audio_url": f"{wire.base_url[:-3]}/cdn/{n}.mp3"} for n in (1, 2)]
    wire.say(
        http(202, QUEUED, x_request_id="req_1"),
        http(200, state("running", progress={"percent": 50})),
        http(503, b"<html>", "text/html"),
        http(200, b"<html>", "text/html"),
        iter([b""]),  # the connection breaks
        http(200, state("succeeded", output={"clips": clips}, billing=billing()), x_request_id="req_2"),
        http(200, MP3, "application/octet-stream"),
        http(200, MP3, "application/octet-stream"),
    )
    task = await whole(kind, wire.base_url)
    assert (task.status, task.request_id, task.billing.charged) == ("succeeded", "req_2", Decimal(80))
    assert [(clip.data, clip.media_type, clip.problem) for clip in task.clips] == [
        (MP3, "audio/mpeg", "")
    ] * 2
    create, *looks, one, two = wire.asked
    assert [(asked.method, asked.path) for asked in looks] == [("GET", "/v1/tasks/task_1")] * 5
    assert all("idempotency-key" not in asked.headers for asked in looks)
    assert "idempotency-key" in create.headers
    assert [one.path, two.path] == ["/cdn/1.mp3", "/cdn/2.mp3"]
    assert all("authorization" not in asked.headers for asked in (one, two))
    assert row()["status"] == "delivered"


@KINDS
async def test_a_task_that_failed_is_raised(wire: Wire, kind: type[BaseClient], quick: None) -> None:
    failed = state("failed", error={"code": "moderated", "message": "No."}, billing=billing("80", "80"))
    wire.say(http(202, QUEUED), http(200, failed))
    with pytest.raises(bn.TaskFailed, match="80 credits were refunded") as caught:
        await whole(kind, wire.base_url)
    assert caught.value.task.status == "failed"
    assert caught.value.idempotency_key == wire.asked[0].headers["idempotency-key"]
    assert row()["status"] == "delivered"
    assert paid() == 0


@KINDS
async def test_a_service_that_hangs_ends_by_the_timeout(
    wire: Wire, kind: type[BaseClient], quick: None
) -> None:
    wire.say(http(202, QUEUED), [1.5])
    with pytest.raises(bn.TaskTimeout) as caught:
        await whole(kind, wire.base_url, timeout=0.3, read=30)
    assert caught.value.task.id == "task_1"


@KINDS
async def test_pending_jobs_are_waited_for_and_delivered(
    wire: Wire, kind: type[BaseClient], quick: None
) -> None:
    wire.say(iter([b""]))
    with pytest.raises(bn.ConnectionFailed, match=r"bn\.pending\(\) comes back to it") as caught:
        await whole(kind, wire.base_url)
    assert caught.value.resumable
    sent = len(wire.asked)
    clip = {"artifact_id": "art_1", "audio_url": f"{wire.base_url[:-3]}/cdn/1.mp3"}
    wire.say(
        http(202, QUEUED, idempotent_replayed="true"),
        http(200, state("succeeded", output={"clips": [clip]})),
        http(200, MP3, "audio/mpeg"),
    )
    if kind is bn.Client:

        def work() -> Any:
            with bn.Client(KEY, base_url=wire.base_url, timeout=QUICK) as client:
                return client.pending().wait(), client.pending()

        (task,), after = await asyncio.to_thread(work)
    else:
        async with bn.AsyncClient(KEY, base_url=wire.base_url, timeout=QUICK) as client:
            (task,) = await (await client.pending()).wait()
            after = await client.pending()
    assert (task.status, task.clips[0].data, task.attached) == ("succeeded", MP3, "pending")
    assert (len(after), after.lost) == (0, ())
    keys = {asked.headers["idempotency-key"] for asked in wire.asked if asked.method == "POST"}
    bodies = {asked.body for asked in wire.asked if asked.method == "POST"}
    assert (len(keys), len(bodies), len(wire.asked)) == (1, 1, sent + 3)


@KINDS
async def test_refresh_cancel_and_an_odd_reason(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say(http(202, QUEUED), http(200, state("running")), http(200, state("canceled")))

    async def steps(client: Any, call: Any) -> Any:
        task = await call(client.music, "x", wait=False)
        assert await call(task.refresh) is task
        assert task.status == "running"
        with pytest.raises(bn.InvalidInput, match="reason must be text"):
            await call(task.cancel, 5)
        assert (await call(task.cancel, "no more")).status == "canceled"
        for odd in ("", " ", 5, None, "half \ud83d"):
            with pytest.raises(bn.InvalidInput):
                await call(client.task, odd)

    if kind is bn.Client:
        with bn.Client(KEY, base_url=wire.base_url, timeout=QUICK) as client:
            await steps(client, asyncio.to_thread)
    else:

        async def call(verb: Any, *args: Any, **more: Any) -> Any:
            return await verb(*args, **more)

        async with bn.AsyncClient(KEY, base_url=wire.base_url, timeout=QUICK) as aclient:
            await steps(aclient, call)
    assert wire.asked[-1].json == {"reason": "no more"}
    assert len(wire.asked) == 3


def test_one_silent_job_hides_no_other() -> None:
    world = World().say(said(202, QUEUED), RESET)
    begun(world)
    with pytest.raises(bn.ConnectionFailed):
        begun(world, "another")
    world.say(said(body=state("running")), RESET)
    found = pending(world)
    assert ([task.id for task in found.tasks], found.lost) == (["task_1"], [])
    (silent,) = found.unheard
    assert silent.idempotency_key == world.sent[1].call.key
    assert "ask bn.pending() again" in silent.reason
    world.say(said(body=state("running")), said(202, state("queued", "task_2")))
    found = pending(world)
    assert [task.id for task in found.tasks] == ["task_1", "task_2"]
    assert (found.lost, found.unheard) == ([], [])


def three_jobs(world: World) -> None:
    names = iter(["task_1", "task_2", "task_3"])
    world.say(lambda _: said(202, state("queued", next(names))))
    for _ in range(3):
        begun(world)


def test_where_nobody_answers_the_others_are_not_asked() -> None:
    world = World()
    three_jobs(world)
    world.say(said(body=state("running")), RESET)
    found = pending(world)
    assert [task.id for task in found.tasks] == ["task_1"]
    assert world.asked[3:] == [POLL, ("GET", "/tasks/task_2")]
    assert [job.idempotency_key for job in found.unheard] == [wish.call.key for wish in world.sent[1:3]]
    world.say(SILENT)
    with pytest.raises(bn.Timeout):
        pending(world)
    assert world.asked[5:] == [POLL], "nobody was found: that is the error itself"
    world.say(lambda wish: said(body=state("running", wish.call.path.rpartition("/")[2])))
    assert len(pending(world).tasks) == 3, "none was closed"


def test_where_the_service_answers_every_job_is_asked_for() -> None:
    world = World()
    three_jobs(world)
    world.say(page(503))
    with pytest.raises(bn.ServerError):
        pending(world)
    assert world.asked[3:] == [("GET", f"/tasks/task_{n}") for n in (1, 2, 3)]
    world.say(page(503), no(404, "not_found"), page(503))
    found = pending(world)
    assert ([job.idempotency_key for job in found.lost], len(found.unheard), found.tasks) == (
        [world.sent[1].call.key],
        2,
        [],
    )
    assert [job["status"] for job in rows()] == ["open", "lost", "open"]


@pytest.mark.parametrize(
    "answer", [REFUSED, RESET, no(429, "rate_limited", retryable=True), page(404), page(400)]
)
def test_a_job_that_may_have_been_taken_is_closed_by_nothing_but_the_service_s_own_no(answer: Answer) -> None:
    world = World().say(RESET)
    with pytest.raises(bn.ConnectionFailed):
        begun(world)
    world.say(answer)
    with pytest.raises(bn.BeatraError):
        pending(world)
    world.say(said(202, QUEUED))
    (task,) = pending(world).tasks
    assert task.id == "task_1"


def test_a_stranger_s_404_makes_no_second_job() -> None:
    world = World().say(said(202, QUEUED))
    begun(world, rerun="reuse")
    world.say(page(404))
    with pytest.raises(bn.NotFound):
        begun(world, rerun="reuse")
    with pytest.raises(bn.NotFound):
        pending(world)
    assert [call for call in world.asked if call[0] == "POST"] == [("POST", "/music/text-to-music")]


def test_a_task_that_made_nothing_is_over_all_the_same() -> None:
    world = World().say(said(202, QUEUED), said(body=state("succeeded", output={"clips": []})))
    begun(world)
    assert pending(world).tasks[0].done
    assert pending(world) == NONE


# ── several at once ──

SHORT: dict[str, Any] = {
    "model": "minimax-music-2.6",
    "model_options": {"sandbox": {"seconds": 2}},
    "wait": False,
}
REUSE = """
import sys
import beatra_nb as bn
client = bn.Client(sys.argv[2], base_url=sys.argv[1])
sys.stdin.readline()
options = {"sandbox": {"seconds": 2}}
task = client.music("together", model="minimax-music-2.6", model_options=options, wait=False, rerun="reuse")
print(task.id)
"""


def test_threads_and_processes_with_the_same_request_begin_one_job(box: Sandbox) -> None:
    before = [row.kind for row in box.wallet()].count("charge")
    box.inject("task:stall")
    begin = threading.Barrier(4)
    found: list[bn.Task] = []

    def work(client: bn.Client) -> None:
        begin.wait(10)
        found.append(client.music("together", rerun="reuse", **SHORT))

    others = [
        subprocess.Popen(
            [sys.executable, "-c", REUSE, box.base_url, box.api_key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    with bn.Client(box.api_key, base_url=box.base_url) as client:
        threads = [threading.Thread(target=work, args=(client,)) for _ in range(4)]
        for other in others:
            assert other.stdin is not None
            other.stdin.write("go\n")
            other.stdin.flush()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        said_by_others = {other.communicate(timeout=30)[0].strip() for other in others}
        assert [other.returncode for other in others] == [0, 0]
        assert len(found) == 4
        assert {task.id for task in found} | said_by_others == {found[0].id}
        assert [row.kind for row in box.wallet()].count("charge") - before == 1
        assert len(rows()) == 1
        assert paid() == 50, "each was told the charge, and it is counted once"
        found[0].cancel()
        found[1].refresh()
        assert paid() == 0
        assert len(client.pending()) == 0


def test_a_claim_that_is_given_up_meanwhile_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().say(said(202, QUEUED))
    begun(world, rerun="reuse")
    latest = stored.Jobs.latest

    def closed_meanwhile(self: stored.Jobs, place: str, fingerprint: str) -> Any:
        job = latest(self, place, fingerprint)
        if job is not None and job.task_id == "task_1":  # another kernel has just found it gone
            self.close(place, job.key, "over")
            return None
        return job

    monkeypatch.setattr(stored.Jobs, "latest", closed_meanwhile)
    world.say(said(202, state("queued", "task_2")))
    assert begun(world, rerun="reuse").id == "task_2"
    assert [(job["task_id"], job["status"]) for job in rows()] == [("task_1", "over"), ("task_2", "open")]
    assert (
        world.context().jobs.claim(  # type: ignore[union-attr]
            PUBLIC,
            "third",
            started=NOON,
            body=b"x",
            **{name: rows()[1][name] for name in ("verb", "path", "fingerprint", "model")},
            title="",
        )
        is False
    ), "what was begun is claimed"


def test_a_journal_that_cannot_be_written_is_no_place_for_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "PATIENCE", 0.0)
    world = World().say(said(202, QUEUED))
    begun(world)
    with closing(sqlite3.connect(Journal.open().path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(bn.InvalidInput, match="cannot be written just now") as caught:
            begun(world, rerun="reuse")
        other.execute("ROLLBACK")
    assert "idempotency_key=" in caught.value.hint
    assert len(world.sent) == 1


# ── two accounts ──

OTHER = "sk-" + "oTh3rT3stK3yQ7xB" * 2


def asked_by(wire: Wire, key: str) -> list[Asked]:
    return [asked for asked in wire.asked if asked.headers["authorization"] == f"Bearer {key}"]


def test_two_keys_at_one_address_keep_their_jobs_apart(wire: Wire) -> None:
    with (
        bn.Client(KEY, base_url=wire.base_url, timeout=QUICK) as one,
        bn.Client(OTHER, base_url=wire.base_url, timeout=QUICK) as two,
    ):
        wire.say(iter([b""]))
        with pytest.raises(bn.ConnectionFailed):
            one.music("secret", wait=False)  # nobody knows what came of it
        wire.say(http(202, QUEUED))
        assert one.music("x", wait=False, idempotency_key="ours").id == "task_1"

        seen = len(wire.asked)
        found = two.pending()
        assert (len(found), found.lost, found.unheard, found.elsewhere) == (0, (), (), 2)
        assert len(wire.asked) == seen, "another account's job is neither looked at nor paid for"

        wire.say(http(202, state("queued", "task_2", billing=billing())))
        theirs = two.music("x", wait=False, idempotency_key="ours")
        assert (theirs.id, theirs.attached) == ("task_2", "")
        again = two.music("x", wait=False, rerun="reuse")
        assert (again.id, again.attached) == ("task_2", "rerun"), "not to the other account's"

        wire.say(http(200, state("canceled", billing=billing("80", "80"))))
        two.task("task_1", audio=False)
        assert paid() == 2 * 80, "what was paid by another account does not come back to this one"
        assert rows()[1]["status"] == "open"
        assert not any(b"secret" in asked.body for asked in asked_by(wire, OTHER))

        wire.say(http(202, state("queued", "task_3")), http(200, state("running")))
        assert {task.id for task in one.pending()} == {"task_1", "task_3"}
    assert len({job["place"] for job in rows()}) == 2
    for path in Journal.open().path.parent.rglob("*"):
        if path.is_file():
            assert KEY[3:].encode() not in path.read_bytes()
            assert OTHER[3:].encode() not in path.read_bytes()


def test_two_keys_at_one_address_keep_their_uploads_apart(wire: Wire) -> None:
    with (
        bn.Client(KEY, base_url=wire.base_url, timeout=QUICK) as one,
        bn.Client(OTHER, base_url=wire.base_url, timeout=QUICK) as two,
    ):
        wire.say(http(201, {"artifact_id": "art_1"}))
        assert not one.upload(MP3).reused
        wire.say(http(201, {"artifact_id": "art_2"}))
        assert (two.upload(MP3).id, two.upload(MP3).reused) == ("art_2", True)
        assert (one.upload(MP3).id, one.upload(MP3).reused) == ("art_1", True)
    assert len(wire.asked) == 2


# ── a key of one's own ──


@KINDS
async def test_a_key_whose_reference_was_uploaded_anew_is_still_one_job(
    wire: Wire, kind: type[BaseClient]
) -> None:
    wire.say(http(201, {"artifact_id": "art_old"}), http(202, state("queued", "task_0")))
    await whole(kind, wire.base_url, reference=MP3, wait=False)
    gone = {"error": {"code": "not_found", "message": "No such artifact.", "param": "reference_audio"}}
    wire.say(http(404, gone), http(201, {"artifact_id": "art_new"}), http(202, QUEUED), http(200, state()))
    asked: dict[str, Any] = {"reference": MP3, "wait": False, "idempotency_key": "mine"}
    one = await whole(kind, wire.base_url, "in this manner", **asked)
    two = await whole(kind, wire.base_url, "in this manner", **asked)
    assert (one.id, one.attached) == ("task_1", "")
    assert (two.id, two.attached, two.idempotency_key) == ("task_1", "key", one.idempotency_key)
    assert [(each.method, each.path.removeprefix("/v1")) for each in wire.asked[2:]] == [
        ("POST", "/music/reference-audio-to-music"),
        ("POST", "/uploads"),
        ("POST", "/music/reference-audio-to-music"),
        POLL,
    ]
    assert paid() == 80


@KINDS
async def test_a_task_that_failed_under_a_chosen_key_needs_another(
    wire: Wire, kind: type[BaseClient], quick: None
) -> None:
    failed = state("failed", error={"code": "model_unavailable", "message": "No.", "retryable": True})
    wire.say(http(202, QUEUED), http(200, failed))
    with pytest.raises(bn.TaskFailed, match="pass another one to try again") as caught:
        await whole(kind, wire.base_url, idempotency_key="mine")
    assert not caught.value.retryable
    wire.say(http(202, state("queued", "task_2")), http(200, failed | {"task_id": "task_2"}))
    with pytest.raises(bn.TaskFailed, match="The same call may be made again") as caught:
        await whole(kind, wire.base_url)
    assert caught.value.retryable


@pytest.mark.parametrize("again", [{"idempotency_key": "mine"}, {"rerun": "reuse"}])
def test_where_the_same_cell_is_the_same_job_it_may_be_run_again(again: dict[str, str]) -> None:
    world = World().say(RESET)
    with pytest.raises(bn.ConnectionFailed) as caught:
        begun(world, **again)
    error = caught.value
    assert (error.resumable, error.retryable) == (False, True)
    assert "the same job" in str(error)
    assert "pending" not in str(error)


def test_a_job_that_is_not_on_disk_is_not_promised_to_be_found(isolated: Path) -> None:
    isolated.mkdir()
    (isolated / "journal.sqlite3").mkdir()
    world = World().say(RESET)
    with pytest.warns(JournalWarning), pytest.raises(bn.ConnectionFailed) as caught:
        begun(world)
    assert caught.value.resumable is False
    assert f"idempotency_key={caught.value.idempotency_key!r}" in str(caught.value)
