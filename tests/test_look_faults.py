"""The fault table, over what only looks and fetches: one look, the polls of a wait, and the download of a clip.

A single look carries no key and is told as it went; a wait and a download survive all that passes. The rows are those
of ``test_faults``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb.core import policy
from beatra_nb.sandbox import Sandbox, Seen
from tests.test_faults import GAVE_UP, KINDS, ROWS, Row, both_ways, in_turns, named
from tests.test_task_faults import NOTHING, SHORT, Count, client_of, done

CREDITS = Decimal(10_000)
# What one attempt gives, where the table says only that the next one succeeds.
ONCE: dict[str, tuple[type[bn.BeatraError], str | None, int | None]] = {
    "429": (bn.RateLimited, "rate_limited", 429),
    "500": (bn.ServerError, "internal_error", 500),
    "400": (bn.InvalidRequest, "invalid_request", 400),
    "billing_failed": (bn.ServerError, "billing_failed", 500),
    "midstream": (bn.ServerError, "billing_failed", 500),
    "model_unavailable": (bn.ServerError, "model_unavailable", 503),
    "unknown_code": (bn.InvalidRequest, "unheard_of", 400),
    "html": (bn.ServerError, None, 503),
    "empty": (bn.ServerError, None, 503),
    "short_body": (bn.ConnectionFailed, None, None),
    "reset": (bn.ConnectionFailed, None, None),
    "cut": (bn.ConnectionFailed, None, None),
    "stall": (bn.Timeout, None, None),
    "slow": (bn.Timeout, None, None),
}
NO_JSON = "bad_json"  # of a file: shorter, and as long as its header says; nobody can tell


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with faults."""
    state = tmp_path_factory.mktemp("state")
    with bn.sandbox.start(engine="scripted", faults=True, state=state) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def song(box: Sandbox) -> tuple[str, bytes]:
    """A task that is over: its id, and its audio."""
    with bn.Client(box.api_key, base_url=box.base_url, journal=False) as client:
        task = client.music("slow blues", **SHORT)
        return task.id, task.clips[0].audio()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the policy's own pauses short; what a server asks for is still waited for."""
    monkeypatch.setattr(policy, "BACKOFF_BASE", 0.01)
    monkeypatch.setattr(policy, "POLL_FIRST", 0.02)


def error_of_one(row: Row) -> tuple[type[bn.BeatraError], str | None, int | None, bool] | None:
    """What a single attempt gives: class, code, status and flag."""
    end = row.plain
    if end.error is not None:
        return end.error, end.code, end.status, bool(end.retryable)
    if end.seen == 1:
        return None
    return *ONCE[row.fault.partition(";")[0].partition(":")[0]], True


def saw(box: Sandbox, since: int, path: str) -> list[Seen]:
    return [each for each in box.seen[since:] if path in each.path]


def told(error: bn.BeatraError) -> tuple[type[bn.BeatraError], str | None, int | None, bool]:
    return type(error), getattr(error, "code", None), getattr(error, "status", None), error.retryable


# ── one look ──

BRIEF = [row for row in ROWS if row.fault in ("html:503", "reset:before", "bad_json", "429", "forbidden")]
LOOKS = [
    *((verb, *each) for turn, verb in enumerate(("task", "tasks")) for each in both_ways(turn)),
    # the same, said otherwise
    *((verb, *each) for turn, verb in enumerate(("refresh", "more")) for each in both_ways(turn, BRIEF)),
]


@pytest.mark.parametrize(("verb", "row", "kind"), LOOKS, ids=named)
async def test_one_look(box: Sandbox, song: tuple[str, bytes], verb: str, row: Row, kind: str) -> None:
    expected, before = error_of_one(row), Count.of(box)
    async with client_of(box, kind) as client:
        known = await done(client.task, song[0], audio=False)
        listing = await done(client.tasks)
        listing.has_more, items = True, listing.items
        look: Any = {
            "task": lambda: done(client.task, song[0], audio=False),
            "refresh": lambda: done(known.refresh),
            "tasks": lambda: done(client.tasks),
            "more": lambda: done(listing.more),
        }[verb]
        since = len(box.seen)
        box.inject(f"{row.fault};on=tasks")
        if expected is None:
            await look()
        else:
            with pytest.raises(bn.BeatraError) as caught:
                await look()
            error = caught.value
            assert told(error) == expected
            assert error.attempts == 1
            assert error.hint
            assert error.request_id in (None, box.seen[-1].request_id)
        seen = saw(box, since, "/tasks")
        assert [each.idempotency_key for each in seen] == [None], "what carries no key is sent once"
        [entry, *_] = bn.journal()
        assert entry.attempts == 1
        assert entry.error_type == (expected[0].__name__ if expected else None)
        if expected is not None:
            await look()  # nothing is lost: it can be asked again
        assert (known.status, len(known.clips)) == ("succeeded", 1)
        assert listing.items[: len(items)] == items
    assert Count.of(box).since(before) == NOTHING


# ── the polls of a wait ──

FATAL = [row for row in ROWS if row.plain.code is not None and row.plain.retryable is False]
PASSING = [row for row in ROWS if row not in FATAL and "3600" not in row.fault]


@pytest.mark.parametrize(("row", "kind"), both_ways(0, PASSING), ids=named)
async def test_waiting_survives(box: Sandbox, song: tuple[str, bytes], row: Row, kind: str) -> None:
    before, since = Count.of(box), len(box.seen)
    async with client_of(box, kind) as client:
        task = seen_last_week(client, song[0])
        box.inject(f"{row.fault};on=tasks", row.times)
        began = asyncio.get_running_loop().time()
        assert await done(task.wait, timeout=30) is task
        took = asyncio.get_running_loop().time() - began
        assert (task.status, task.clips[0].data) == ("succeeded", song[1])
    seen = saw(box, since, "/tasks/")
    trouble = error_of_one(row) is not None
    assert len(seen) == 1 + row.times * trouble
    assert {(each.method, each.idempotency_key) for each in seen} == {("GET", None)}
    assert took >= row.seconds
    [entry] = [each for each in bn.journal() if each.verb == "wait"]
    assert (entry.status, entry.attempts) == ("ok", len(seen)), "one wait is one row, however often it looked"
    assert Count.of(box).since(before) == NOTHING


@pytest.mark.parametrize(("row", "kind"), both_ways(1, FATAL), ids=named)
async def test_waiting_ends_when_the_service_says_no(
    box: Sandbox, song: tuple[str, bytes], row: Row, kind: str
) -> None:
    since = len(box.seen)
    async with client_of(box, kind) as client:
        task = seen_last_week(client, song[0])
        box.inject(f"{row.fault};on=tasks")
        with pytest.raises(bn.APIError) as caught:
            await done(task.wait, timeout=30)
        assert told(caught.value) == error_of_one(row)
        assert f"The task goes on: {task.found_by}.wait() comes back" in (caught.value.hint or "")
        assert len(saw(box, since, "/tasks/")) == 1
        assert task.status == "running", "nothing is made up"
        await done(task.wait)
        assert task.clips[0].data == song[1]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_service_that_asks_for_an_hour_is_not_asked_again_in_time(
    box: Sandbox, song: tuple[str, bytes], kind: str
) -> None:
    since = len(box.seen)
    async with client_of(box, kind) as client:
        task = seen_last_week(client, song[0])
        box.inject("429:retry_after=3600;on=tasks")
        with pytest.raises(bn.TaskTimeout) as caught:
            await done(task.wait, timeout=0.6)
        assert caught.value.task is task
    assert len(saw(box, since, "/tasks/")) == 1


@pytest.mark.parametrize(
    ("fault", "kind"), in_turns(["html:200", "empty:200", "bad_json", "html:500", "html:403"])
)
async def test_what_cannot_be_read_for_ever_ends_the_wait(
    box: Sandbox, song: tuple[str, bytes], fault: str, kind: str
) -> None:
    since = len(box.seen)
    async with client_of(box, kind) as client:
        task = seen_last_week(client, song[0])
        box.inject(f"{fault};on=tasks", 4)
        with pytest.raises(bn.APIError) as caught:
            await done(task.wait, timeout=30)
        assert (caught.value.code, caught.value.retryable) == (None, False)
        assert f"{task.found_by}.wait() comes back" in (caught.value.hint or "")
    assert len(saw(box, since, "/tasks/")) == 4


def seen_last_week(client: Any, ident: str) -> Any:
    """A task as it was last seen when it was at work."""
    kind = bn.AsyncTask if isinstance(client, bn.AsyncClient) else bn.Task
    return kind(client, {"task_id": ident, "status": "running", "model": SHORT["model"]})


# ── the download ──

FILES = [row for row in ROWS if row.fault != NO_JSON]


@pytest.mark.parametrize(("row", "kind"), both_ways(1, FILES), ids=named)
async def test_fetching(box: Sandbox, song: tuple[str, bytes], isolated: Path, row: Row, kind: str) -> None:
    end, since = row.plain, len(box.seen)
    async with client_of(box, kind) as client:
        task = await done(client.task, song[0], audio=False)
        [clip] = task.clips
        box.inject(f"{row.fault};on=cdn", row.times)
        began = asyncio.get_running_loop().time()
        data, error = None, None
        try:
            data = await done(clip.audio)
        except bn.BeatraError as caught:
            error = caught
        took = asyncio.get_running_loop().time() - began
        seen = saw(box, since, "/cdn/")
        assert len(seen) == end.seen
        assert {(each.method, each.idempotency_key) for each in seen} == {("GET", None)}
        assert took >= row.seconds * (end.seen - 1)
        if end.error is None:
            assert error is None
            assert data == clip.data == song[1]
            assert clip.problem == ""
        else:
            assert error is not None
            assert told(error) == (end.error, end.code, end.status, end.retryable)
            assert error.attempts == end.seen
            assert error.hint
            assert clip.data is None
            assert kept(isolated) == [], "nothing half stays"
        assert await done(clip.audio) == song[1]
        assert kept(isolated) == [song[1]], "what is kept is whole"
    rows = [each for each in bn.journal() if each.verb == "download"]
    assert [each.attempts for each in rows][-1] == end.seen
    assert [each.status for each in rows] == (["ok"] if end.error is None else ["ok", "error"])


@pytest.mark.parametrize(("attempts", "kind"), in_turns([1, 2, 3]))
async def test_attempts_to_fetch_are_bounded(
    box: Sandbox, song: tuple[str, bytes], isolated: Path, attempts: int, kind: str
) -> None:
    since = len(box.seen)
    async with client_of(box, kind, max_attempts=attempts) as client:
        task = await done(client.task, song[0], audio=False)
        box.inject("short_body;on=cdn", attempts)
        with pytest.raises(bn.ConnectionFailed) as caught:
            await done(task.clips[0].audio)
    assert caught.value.attempts == len(saw(box, since, "/cdn/")) == attempts
    assert kept(isolated) == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    in_turns(["short_body", "reset:after", "html:200", "404", "expired", "500:retryable=false"]),
)
async def test_a_wait_ends_well_without_the_audio_and_it_is_fetched_later(
    box: Sandbox, isolated: Path, fault: str, kind: str
) -> None:
    before = Count.of(box)
    async with client_of(box, kind) as client:
        box.inject(f"{fault};on=cdn", GAVE_UP if fault in ("short_body", "reset:after") else 1)
        task = await done(client.music, "slow blues", **SHORT)
        [clip] = task.clips
        assert (task.status, clip.data) == ("succeeded", None)
        assert clip.problem
        assert kept(isolated) == []
        [found] = await done(client.pending)
        assert found.id == task.id, "a job whose music is not here is not over"
        [finished] = await done((await done(client.pending)).wait)
        assert finished.clips[0].data == await done(clip.audio)
        assert clip.problem == ""
        assert kept(isolated) == [clip.data]
        assert not await done(client.pending)
    assert (made := Count.of(box).since(before)).charges == made.tasks == 1


def kept(home: Path) -> list[bytes]:
    """What lies in the folder of fetched audio, under whatever name."""
    folder = home / "audio"
    return [path.read_bytes() for path in folder.iterdir()] if folder.exists() else []


# ── all of it at once ──


@pytest.mark.parametrize(
    ("fault", "kind"),
    in_turns(["429:retry_after=0", "html:503", "reset:before", "short_body", "midstream:billing_failed"]),
)
async def test_a_bad_day(box: Sandbox, isolated: Path, fault: str, kind: str) -> None:
    before, since = Count.of(box), len(box.seen)
    async with client_of(box, kind) as client:
        for on in ("music", "tasks", "cdn"):
            box.inject(f"{fault};on={on}", 3)
        task = await done(client.music, "slow blues", timeout=30, **SHORT)
        assert task.status == "succeeded"
        assert kept(isolated) == [task.clips[0].data]
        assert not await done(client.pending)
    made = Count.of(box).since(before)
    assert (made.tasks, made.charges, made.refunds) == (1, 1, 0)
    creates = saw(box, since, "/music/")
    assert len(creates) == 4
    assert len({each.idempotency_key for each in creates}) == 1
    assert sum(each.effect for each in creates) == 1
    assert len(saw(box, since, "/cdn/")) == 4
    assert [row.credits for row in bn.journal() if row.credits is not None] == [Decimal(50)]
