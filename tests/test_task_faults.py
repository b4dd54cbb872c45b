"""The fault table, over what makes and stops work: creating a task, uploading a file, cancelling.

The rows are those of ``test_faults``; looking and fetching have theirs in ``test_look_faults``. What is counted here
is tasks, charges, refunds and files: one call is one of them at most, and after a failure of which nobody knows how
it ended, coming back finds the one, or makes it once.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb.core import policy
from beatra_nb.sandbox import Sandbox, Seen
from beatra_nb.sandbox.state.desk import FILES
from tests.core.sounds import encoded
from tests.test_faults import GAVE_UP, KINDS, TIMEOUTS, End, Row, both_ways, in_turns, named

SHORT = {"model": "minimax-music-2.6", "model_options": {"sandbox": {"seconds": 2}}}
PRICE = Decimal(50)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox whose only worker stands still: every further task stays in the queue until it is cancelled."""
    state = tmp_path_factory.mktemp("state")
    with bn.sandbox.start(engine="scripted", faults=True, state=state, music_workers=1) as sandbox:
        sandbox.inject("task:stall")
        with bn.Client(sandbox.api_key, base_url=sandbox.base_url, journal=False) as client:
            client.music("for ever", wait=False, **SHORT)
        yield sandbox


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the policy's own pauses short; what a server asks for is still waited for."""
    monkeypatch.setattr(policy, "BACKOFF_BASE", 0.01)


@contextlib.asynccontextmanager
async def client_of(box: Sandbox, kind: str, **more: Any) -> AsyncIterator[Any]:
    """A client of either kind."""
    made_with = {"base_url": box.base_url, "timeout": TIMEOUTS, **more}
    if kind == "async":
        async with bn.AsyncClient(box.api_key, **made_with) as client:
            yield client
    else:
        with bn.Client(box.api_key, **made_with) as client:
            yield client


async def done(verb: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """Call a verb of either kind; a blocking one in a thread, so that the test goes on."""
    if inspect.iscoroutinefunction(verb):
        return await verb(*args, **more)
    return await asyncio.to_thread(verb, *args, **more)


# ── what is counted ──


@dataclass(frozen=True)
class Count:
    """What a sandbox has, and what was paid."""

    tasks: int
    charges: int
    refunds: int
    files: int
    balance: Decimal

    @classmethod
    def of(cls, box: Sandbox) -> Count:
        kinds = [row.kind for row in box.wallet()]
        files = len([*(box.state / FILES).glob("*.upload")])
        return cls(sum(box.tasks.values()), kinds.count("charge"), kinds.count("refund"), files, box.balance)

    def since(self, before: Count) -> Count:
        return Count(*(getattr(self, name) - getattr(before, name) for name in self.__dataclass_fields__))


NOTHING = Count(0, 0, 0, 0, Decimal(0))
PAID = Count(1, 1, 0, 0, -PRICE)
REFUNDED = Count(0, 0, 1, 0, PRICE)
BACK = Count(1, 1, 1, 0, Decimal(0))  # a task made and cancelled
FILED = Count(0, 0, 0, 1, Decimal(0))


def no_matter_which(row: Row, ok: int) -> End:
    """The end that a row promises to a plain call; an endpoint's success has a status of its own."""
    end = row.plain
    return End(**{**vars(end), "status": ok}) if row.fault == "bad_json" else end


async def seen_of(box: Sandbox, path: str, since: int, effects: int) -> list[Seen]:
    """The requests to an endpoint; one that struck after the client had hung up may still be at work."""
    for _ in range(300):
        seen = [each for each in box.seen[since:] if path in each.path]
        if sum(each.effect for each in seen) >= effects:
            break
        await asyncio.sleep(0.01)
    return seen


def check_server(seen: list[Seen], end: End, took: float, row: Row) -> None:
    """One call is one key and one body, sent as often as the rule says, and its work is done once at most."""
    assert len(seen) == end.seen, "how often the server saw it"
    assert {each.method for each in seen} == {"POST"}
    assert len({each.idempotency_key for each in seen}) == 1, "one call is one key"
    assert seen[0].idempotency_key
    assert len({each.fingerprint for each in seen if each.fingerprint}) <= 1, "and always the same body"
    assert sum(each.effect for each in seen) == end.done <= 1, "how often the work was done"
    assert took >= row.seconds * (end.seen - 1)


def check_error(error: bn.BeatraError | None, seen: list[Seen], end: End) -> None:
    """What the user gets is what the table says."""
    if end.error is None:
        assert error is None
        return
    assert type(error) is end.error
    assert getattr(error, "code", None) == end.code
    assert getattr(error, "status", None) == end.status
    assert error.retryable is end.retryable
    assert error.attempts == end.seen
    assert bool(error.request_id) is end.request_id
    assert error.request_id in (None, seen[-1].request_id)
    assert error.idempotency_key == seen[0].idempotency_key
    assert error.hint


def check_row(verb: str, seen: list[Seen], end: End) -> None:
    """The journal tells the same."""
    [entry] = [each for each in bn.journal() if each.verb == verb]
    assert entry.idempotency_key == seen[0].idempotency_key
    assert (entry.attempts, entry.error_code) == (end.seen, end.code)
    assert entry.error_type == (end.error.__name__ if end.error else None)
    assert entry.status == ("error" if end.error else "ok")
    paid = {"music": PRICE, "cancel": -PRICE, "upload": None}[verb]
    assert entry.credits == (None if end.error else paid)


async def struck(
    box: Sandbox, row: Row, on: str, path: str, end: End, verb: Callable[..., Any], *args: Any, **more: Any
) -> tuple[Any, bn.BeatraError | None, list[Seen]]:
    """Call a verb while a fault strikes, and check what the server saw and what the user got."""
    since, began = len(box.seen), asyncio.get_running_loop().time()
    box.inject(f"{row.fault};on={on}", row.times)
    result, error = None, None
    try:
        result = await done(verb, *args, **more)
    except bn.BeatraError as caught:
        error = caught
    took = asyncio.get_running_loop().time() - began
    seen = await seen_of(box, path, since, end.done)
    check_server(seen, end, took, row)
    check_error(error, seen, end)
    return result, error, seen


# ── creating ──


@pytest.mark.parametrize(("row", "kind"), both_ways(), ids=named)
async def test_creating(box: Sandbox, row: Row, kind: str) -> None:
    end = no_matter_which(row, 202)
    before = Count.of(box)
    async with client_of(box, kind) as client:
        task, error, seen = await struck(
            box, row, "music", "/music/", end, client.music, "slow blues", wait=False, **SHORT
        )
        key = seen[0].idempotency_key
        check_row("music", seen, end)
        made = Count.of(box).since(before)
        assert made == (PAID if end.done else NOTHING)
        if task is not None:
            assert (task.idempotency_key, task.attached) == (key, "")
            assert task.billing.charged == PRICE
        if error is not None and end.code is not None and end.status < 500:
            pending = await done(client.pending)
            assert (len(pending), len(pending.lost)) == (0, 0), (
                "the service said no: there is nothing to find"
            )
            assert Count.of(box).since(before) == made
            return

        # Nobody knows how it ended, or the task is at work: coming back finds the one, or makes it once.
        pending = await done(client.pending)
        assert len(pending) == 1
        assert not pending.lost
        [found] = pending
        attached = "pending" if end.done else "resent"
        assert (found.idempotency_key, found.attached, found.status) == (key, attached, "queued")
        assert error is None or error.resumable
        assert task is None or task.id == found.id
        assert Count.of(box).since(before) == PAID
        assert [each.id for each in await done(client.pending)] == [found.id]
        assert Count.of(box).since(before) == PAID
        await done(found.cancel)
        assert Count.of(box).since(before) == BACK
        assert not await done(client.pending)
    assert (
        len({each.idempotency_key for each in box.seen if each.effect and each.idempotency_key == key}) <= 1
    )


MADE = ["reset:before", "short_body", "bad_json", "stall:0"]  # the work was done, and the answer did not come
UNKNOWN = ["reset:before", "short_body", "bad_json", "stall:0", "html:503", "500:retryable=false"]


@pytest.mark.parametrize(("fault", "way", "kind"), in_turns(UNKNOWN, ["key", "rerun"]))
async def test_a_cell_that_is_run_again_is_the_same_job(
    box: Sandbox, fault: str, way: str, kind: str
) -> None:
    before = Count.of(box)
    times = 1 if fault in ("bad_json", "500:retryable=false") else GAVE_UP
    asked = {**SHORT, "wait": False, "title": "One"}
    asked |= {"idempotency_key": f"mine-{fault}-{kind}"} if way == "key" else {"rerun": "reuse"}
    async with client_of(box, kind) as client:
        box.inject(f"{fault};on=music", times)
        with pytest.raises(bn.BeatraError) as caught:
            await done(client.music, "slow blues", **asked)
        again = await done(client.music, "slow blues", **asked)
        attached = way if fault in MADE else "resent"
        assert (again.idempotency_key, again.attached) == (caught.value.idempotency_key, attached)
        assert (caught.value.resumable, caught.value.retryable) == (False, True)
        third = await done(client.music, "slow blues", **asked)
        assert (third.id, third.attached) == (again.id, way)
        assert Count.of(box).since(before) == PAID
        await done(third.cancel)
    assert Count.of(box).since(before) == BACK


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_refused_is_no_job_and_may_be_asked_again(box: Sandbox, kind: str) -> None:
    before = Count.of(box)
    async with client_of(box, kind) as client:
        box.inject("insufficient_balance;on=music")
        asked = {**SHORT, "wait": False, "idempotency_key": f"refused-{kind}"}
        with pytest.raises(bn.InsufficientBalance) as caught:
            await done(client.music, "slow blues", **asked)
        assert caught.value.attempts == 1
        assert not await done(client.pending)
        task = await done(client.music, "slow blues", **asked)
        assert Count.of(box).since(before) == PAID
        assert [each.id for each in await done(client.pending)] == [task.id]
        await done(task.cancel)
    assert Count.of(box).since(before) == BACK


@pytest.mark.parametrize("kind", KINDS)
async def test_a_service_that_still_fails_loses_nothing(box: Sandbox, kind: str) -> None:
    """Coming back may meet the next failure: the jobs stay, and the next time they are found."""
    before = Count.of(box)
    async with client_of(box, kind, max_attempts=1) as client:
        for _ in range(2):
            box.inject("reset:before;on=music")
            with pytest.raises(bn.ConnectionFailed):
                await done(client.music, "slow blues", wait=False, **SHORT)
        assert Count.of(box).since(before).tasks == 2
        for fault, times in (
            ("html:503", 2),
            ("reset:before", 1),
        ):  # where nobody answers, only one is asked for
            box.inject(f"{fault};on=music", times)
            with pytest.raises(bn.BeatraError):  # nobody answers at all
                await done(client.pending)
        box.inject("html:503;on=music")
        pending = await done(client.pending)
        assert (len(pending), pending.lost) == (1, ()), "one that is silent does not hide the other"
        [silent] = pending.unheard
        assert silent.idempotency_key != pending[0].idempotency_key
        pending = await done(client.pending)
        assert (len(pending), pending.lost, pending.unheard) == (2, (), ())
        for task in pending:
            await done(task.cancel)
    assert Count.of(box).since(before) == Count(2, 2, 2, 0, Decimal(0))


# ── uploading ──

_numbers = itertools.count()


def a_file() -> bytes:
    """Bytes that were never uploaded: as a picture, any bytes will do."""
    return b"\x89PNG\r\n\x1a\n" + bytes(3000) + str(next(_numbers)).encode()


@pytest.mark.parametrize(("row", "kind"), both_ways(1), ids=named)
async def test_uploading(box: Sandbox, row: Row, kind: str) -> None:
    end = no_matter_which(row, 201)
    before, data = Count.of(box), a_file()
    async with client_of(box, kind) as client:
        artifact, error, seen = await struck(box, row, "uploads", "/uploads", end, client.upload, data)
        check_row("upload", seen, end)
        assert Count.of(box).since(before) == (FILED if end.done else NOTHING)
        if artifact is None:
            assert error is not None
            artifact = await done(client.upload, data, idempotency_key=error.idempotency_key)
            assert not artifact.reused, "what did not come through is not taken for uploaded"
        assert Count.of(box).since(before) == FILED, "one file is one artifact"
        assert artifact.size == len(data)
        again = await done(client.upload, data)
        assert (again.id, again.reused) == (artifact.id, True)
        assert Count.of(box).since(before) == FILED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["reset:before", "short_body", "html:503"])
async def test_a_reference_is_uploaded_once_for_a_job(box: Sandbox, fault: str, kind: str) -> None:
    before = Count.of(box)
    song = encoded("WAV", seconds=1 + next(_numbers) / 100)
    asked = {**SHORT, "reference": song, "wait": False, "idempotency_key": f"reference-{fault}-{kind}"}
    async with client_of(box, kind) as client:
        for on in ("uploads", "music"):
            box.inject(f"{fault};on={on}", GAVE_UP)
            with pytest.raises(bn.BeatraError):
                await done(client.music, "in this manner", **asked)
        task = await done(client.music, "in this manner", **asked)
        assert Count.of(box).since(before) == Count(1, 1, 0, 1, -PRICE)
        await done(task.cancel)


# ── cancelling ──


@pytest.mark.parametrize(("row", "kind"), both_ways(), ids=named)
async def test_cancelling(box: Sandbox, row: Row, kind: str) -> None:
    end = no_matter_which(row, 200)
    async with client_of(box, kind) as client:
        task = await done(client.music, "slow blues", wait=False, **SHORT)
        before = Count.of(box)
        result, error, seen = await struck(box, row, "cancel", "/cancel", end, task.cancel, "enough")
        check_row("cancel", seen, end)
        assert Count.of(box).since(before) == (REFUNDED if end.done else NOTHING)
        if error is None:
            assert result is task
        elif not end.done:
            assert task.status == "queued"
        await done(task.cancel)
        assert (task.status, task.billing.refunded) == ("canceled", PRICE)
        assert Count.of(box).since(before) == REFUNDED, "whatever happened, it is refunded once"
        assert not await done(client.pending)


@pytest.mark.parametrize(("deed", "attempts", "kind"), in_turns(["create", "upload", "cancel"], [1, 2, 3]))
async def test_attempts_are_bounded_as_the_user_says(
    box: Sandbox, deed: str, attempts: int, kind: str
) -> None:
    async with client_of(box, kind, max_attempts=attempts) as client:
        task = await done(client.music, "slow blues", wait=False, **SHORT)
        verb, args, more, on = {
            "create": (client.music, ["slow blues"], {"wait": False, **SHORT}, "music"),
            "upload": (client.upload, [a_file()], {}, "uploads"),
            "cancel": (task.cancel, [], {}, "cancel"),
        }[deed]
        since = len(box.seen)
        box.inject(f"reset:before;on={on}", attempts)
        with pytest.raises(bn.ConnectionFailed) as caught:
            await done(verb, *args, **more)
        assert caught.value.attempts == len(box.seen) - since == attempts
        for pending in await done(client.pending):
            await done(pending.cancel)


# ── work that fails, and work that stands still ──


@pytest.fixture
def idle(tmp_path: Any) -> Iterator[Sandbox]:
    """A sandbox whose worker is free."""
    with bn.sandbox.start(engine="scripted", faults=True, state=tmp_path / "idle") as sandbox:
        yield sandbox


TROUBLES = [
    ("task:model_unavailable", "waited for"),
    ("task:internal_error;retryable=false", "looked at later"),
    ("task:unknown_code;message=A string broke", "after a restart"),
    ("task:rate_limited", "after a restart"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("fault", "how"), TROUBLES)
async def test_a_task_that_fails(idle: Sandbox, fault: str, how: str, kind: str) -> None:
    async with client_of(idle, kind) as client:
        idle.inject(fault)
        task = None
        if how != "waited for":
            task = await done(client.music, "slow blues", wait=False, **SHORT)
            assert not task.done
        if how == "after a restart":
            [task] = await done(client.pending)
        with pytest.raises(bn.TaskFailed) as caught:
            await (done(task.wait) if task is not None else done(client.music, "slow blues", **SHORT))
        error, task = caught.value, caught.value.task
        assert task is not None
        code = fault.removeprefix("task:").partition(";")[0].replace("unknown_code", "unheard_of")
        assert (error.code, error.status) == (code, None)
        assert error.retryable is (fault in ("task:model_unavailable", "task:rate_limited"))
        advice = "The same call may be made again." if error.retryable else "Change the request before"
        assert advice in (error.hint or "")
        assert "50 credits were refunded" in (error.hint or "")
        assert ("A string broke" in error.message) is ("message=" in fault)
        assert (task.status, task.done, task.error, task.clips) == ("failed", True, error, ())
        assert (task.billing.charged, task.billing.refunded) == (PRICE, PRICE)
        assert Count.of(idle) == Count(1, 1, 1, 0, Decimal(10_000))
        assert not await done(client.pending), "it is over"
        with pytest.raises(bn.TaskFailed):
            await done(task.wait)
        assert (await done(client.task, task.id)).error.code == code
        paid = [row.credits for row in bn.journal() if row.credits is not None]
        assert paid == [-PRICE, PRICE], "paid, and given back"
        again = await done(client.music, "slow blues", rerun="reuse", wait=False, **SHORT)
        assert (again.id != task.id, again.attached) == (True, ""), "nobody wants the same failure again"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", ["music", "wait"])
async def test_a_task_that_stands_still(idle: Sandbox, verb: str, kind: str) -> None:
    async with client_of(idle, kind) as client:
        idle.inject("task:stall")
        if verb == "music":
            waiting = done(client.music, "slow blues", timeout=1.0, **SHORT)
        else:
            waiting = done((await done(client.music, "slow blues", wait=False, **SHORT)).wait, timeout=1.0)
        with pytest.raises(bn.TaskTimeout) as caught:
            await waiting
        error, task = caught.value, caught.value.task
        assert isinstance(error, TimeoutError)
        assert task is not None
        assert task.status == "running"
        assert "after 1 s" in error.message
        assert repr(task.id) in (error.hint or "")
        assert error.idempotency_key == task.idempotency_key
        assert Count.of(idle) == Count(1, 1, 0, 0, Decimal(9_950)), "it goes on"
        assert [each.id for each in await done(client.pending)] == [task.id]
        await done(task.cancel, "enough")
        assert (task.status, task.billing.refunded) == ("canceled", PRICE)
        assert Count.of(idle) == Count(1, 1, 1, 0, Decimal(10_000))
        assert await done(task.wait, timeout=1.0) is task
        assert not await done(client.pending)
