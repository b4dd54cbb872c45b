"""The fault table: what goes wrong on a real wire, how often the server sees the call, and what the user gets.

Every row runs through the sandbox's own server with its faults on, by a blocking and an awaiting client, plain and
streamed. Four things must hold whatever happens: all attempts of a call carry one key, the work is done at most once,
nothing is sent again that the rule forbids, and nothing that was cut short looks whole.

What breaks on the wire is met by each driver for itself, and is tried with both. What an answer says is decided by
the one flow that both drive: there the rows take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb.core import policy
from beatra_nb.sandbox import Sandbox

TIMEOUTS = bn.Timeouts(connect=2, read=0.5, total=5)
PROMPT = "Write 30 words"


@dataclass(frozen=True)
class End:
    """What is seen of one call.

    Attributes
    ----------
    seen : how often the server saw it
    done : how often the work was done
    error : what the user got; None for a whole answer
    code, status, retryable : of the error (or of what cut the stream short)
    partial : whether a part of the answer had come
    """

    seen: int
    done: int
    error: type[bn.BeatraError] | None = None
    code: str | None = None
    status: int | None = None
    retryable: bool | None = None
    partial: bool = False
    cause: type[bn.BeatraError] | None = None
    request_id: bool = True


@dataclass(frozen=True)
class Row:
    """A fault, how often it strikes, and the ends of a plain and of a streamed call."""

    name: str
    fault: str
    plain: End
    streamed: End | None = None  # None: the same
    times: int = 1
    seconds: float = 0.0  # at least so long between two attempts


WHOLE = End(2, 1)
GAVE_UP = 4  # as often as a client sends by default


def no(error: type[bn.APIError], code: str | None, status: int, *, done: int = 0) -> End:
    """A failure that is told at once."""
    return End(1, done, error, code, status, False)


def cut(cause: type[bn.BeatraError], code: str | None = None, *, partial: bool = True) -> End:
    """A stream that was cut short: never sent again, for a part of it has been shown."""
    return End(1, 1, bn.IncompleteStream, code, None, True, partial, cause)


def silent(error: type[bn.BeatraError], *, request_id: bool = False) -> End:
    """Every attempt failed without an answer; the work was done once all the same."""
    return End(GAVE_UP, 1, error, None, None, True, request_id=request_id)


ROWS = [
    Row("429, Retry-After in seconds", "429:retry_after=1", WHOLE, seconds=1.0),
    Row("429, Retry-After as a date", "429:retry_after=date", WHOLE, seconds=1.0),
    Row("429, Retry-After unreadable", "429:retry_after=soon", WHOLE),
    Row(
        "429, Retry-After longer than is worth waiting",
        "429:retry_after=3600",
        End(1, 0, bn.RateLimited, "rate_limited", 429, True),
    ),
    Row("429 for ever", "429", End(GAVE_UP, 0, bn.RateLimited, "rate_limited", 429, True), times=GAVE_UP),
    Row("429, not retryable", "429:retryable=false", no(bn.RateLimited, "rate_limited", 429)),
    Row("500, not retryable", "500:retryable=false", no(bn.ServerError, "internal_error", 500)),
    Row("500, retryable", "500:retryable=true", WHOLE),
    Row("503, not retryable", "503:retryable=false", no(bn.ServerError, "model_unavailable", 503)),
    Row("400, retryable", "400:retryable=true", WHOLE),
    Row("400", "400", no(bn.InvalidRequest, "invalid_request", 400)),
    Row("401", "invalid_api_key", no(bn.AuthenticationError, "invalid_api_key", 401)),
    Row("402", "insufficient_balance", no(bn.InsufficientBalance, "insufficient_balance", 402)),
    Row("403", "forbidden", no(bn.PermissionDenied, "forbidden", 403)),
    Row("409", "conflict", no(bn.Conflict, "idempotency_conflict", 409)),
    Row("billing_failed", "billing_failed", WHOLE),
    Row("model_unavailable", "model_unavailable", WHOLE),
    Row("unknown code", "unknown_code", no(bn.InvalidRequest, "unheard_of", 400)),
    Row("unknown code, retryable", "unknown_code:retryable=true", WHOLE),
    Row("unknown code, 503", "unknown_code:status=503", no(bn.ServerError, "unheard_of", 503)),
    Row("503 HTML", "html:503", WHOLE),
    Row("503 HTML for ever", "html:503", End(GAVE_UP, 0, bn.ServerError, None, 503, True), times=GAVE_UP),
    Row("503 empty", "empty:503", WHOLE),
    Row("500 HTML", "html:500", no(bn.ServerError, None, 500)),
    Row("403 HTML", "html:403", no(bn.PermissionDenied, None, 403)),
    Row("200 HTML", "html:200", no(bn.UnexpectedResponse, None, 200)),
    Row("200 empty", "empty:200", no(bn.UnexpectedResponse, None, 200)),
    Row(
        "truncated JSON",
        "bad_json",
        no(bn.UnexpectedResponse, None, 200, done=1),
        cut(bn.ConnectionFailed),
    ),
    Row("shorter than content-length", "short_body", WHOLE, cut(bn.ConnectionFailed)),
    Row(
        "shorter than content-length for ever",
        "short_body",
        silent(bn.ConnectionFailed),
        cut(bn.ConnectionFailed),
        times=GAVE_UP,
    ),
    Row("reset before headers", "reset:before", WHOLE),
    Row("reset before headers for ever", "reset:before", silent(bn.ConnectionFailed), times=GAVE_UP),
    Row("reset in headers", "reset:headers", WHOLE),
    Row("reset after headers", "reset:after;after=5", WHOLE, cut(bn.ConnectionFailed)),
    Row("cut before [DONE]", "cut:5", WHOLE, cut(bn.ConnectionFailed)),
    Row("cut before the first token", "cut:0", WHOLE, cut(bn.ConnectionFailed, partial=False)),
    Row("stalled", "stall:5", WHOLE, cut(bn.Timeout)),
    Row("slow headers", "slow:0.9", WHOLE),
    Row("slow headers for ever", "slow:0.9", silent(bn.Timeout), times=GAVE_UP),
    Row("headers byte by byte", "trickle", End(1, 1)),
    Row(
        "error event in mid-stream",
        "midstream:billing_failed;after=5",
        WHOLE,
        cut(bn.ServerError, "billing_failed"),
    ),
    Row(
        "error event in mid-stream, final",
        "midstream:forbidden;after=5",
        no(bn.PermissionDenied, "forbidden", 403, done=1),
        End(1, 1, bn.IncompleteStream, "forbidden", None, False, True, bn.PermissionDenied),
    ),
]


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    """A sandbox with faults."""
    with bn.sandbox.start(engine="scripted", faults=True) as sandbox:
        yield sandbox


KINDS = ["sync", "async"]
HOWS = ["plain", "streamed"]
ON_THE_WIRE = ("short_body", "reset", "cut", "stall", "slow", "trickle")


def kinds_for(row: Row, turn: int = 0) -> list[str]:
    """Which clients a row is tried with: both where the drivers meet it, else one or the other, in turns."""
    if row.fault.startswith(ON_THE_WIRE) and row.times == 1:
        return KINDS
    return [KINDS[(ROWS.index(row) + turn) % 2]]


def both_ways(turn: int = 0, rows: list[Row] = ROWS) -> list[tuple[Row, str]]:
    """The rows, each with the clients it is tried with."""
    return [(row, kind) for row in rows for kind in kinds_for(row, turn)]


def in_turns(*lists: Sequence[Any]) -> list[tuple[Any, ...]]:
    """All combinations; the kind of client at the end of each takes turns, so that each item meets both."""
    places = product(*(range(len(each)) for each in lists))
    return [(*(each[i] for each, i in zip(lists, at, strict=True)), KINDS[sum(at) % 2]) for at in places]


def named(it: Any) -> str:
    return it if isinstance(it, str) else str(it.name)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the policy's own pauses short; what a server asks for is still waited for."""
    monkeypatch.setattr(policy, "BACKOFF_BASE", 0.01)


async def call(box: Sandbox, kind: str, how: str, **more: Any) -> bn.Reply:
    """Make one call in one of the four ways."""
    made_with = {"base_url": box.base_url, "timeout": TIMEOUTS}
    if kind == "async":
        async with bn.AsyncClient(box.api_key, **made_with) as client:
            if how == "plain":
                return await client.chat(PROMPT, **more)
            stream = client.stream(PROMPT, **more)
            pieces = [piece async for piece in stream]
            assert "".join(pieces) == stream.reply.text
            return stream.reply

    def work() -> bn.Reply:
        with bn.Client(box.api_key, **made_with) as client:
            if how == "plain":
                return client.chat(PROMPT, **more)
            stream = client.stream(PROMPT, **more)
            assert "".join(stream) == stream.reply.text
            return stream.reply

    return await asyncio.to_thread(work)


@pytest.fixture(scope="module")
def whole(box: Sandbox) -> str:
    """The whole answer."""
    with bn.Client(box.api_key, base_url=box.base_url, journal=False) as client:
        return client.chat(PROMPT).text


@pytest.mark.parametrize(("kind", "how"), [*product(KINDS, HOWS)])
async def test_without_a_fault(box: Sandbox, whole: str, kind: str, how: str) -> None:
    reply = await call(box, kind, how)
    assert (reply.complete, reply.text, reply.attempts) == (True, whole, 1)


@pytest.mark.parametrize(
    ("row", "kind", "how"),
    [(row, kind, how) for turn, how in enumerate(HOWS) for row, kind in both_ways(turn)],
    ids=named,
)
async def test_fault(box: Sandbox, whole: str, row: Row, kind: str, how: str) -> None:
    expected = row.streamed if how == "streamed" and row.streamed is not None else row.plain
    box.clear()  # what others have not met
    since = len(box.seen)
    box.inject(row.fault, row.times)
    began = asyncio.get_running_loop().time()
    reply: bn.Reply | None = None
    error: bn.BeatraError | None = None
    try:
        reply = await call(box, kind, how)
    except bn.BeatraError as caught:
        error = caught
    took = asyncio.get_running_loop().time() - began
    # A fault that strikes after the client has hung up is still at work in the server: wait for its end.
    seen = box.seen[since:]
    for _ in range(200):
        if sum(each.effect for each in seen) >= expected.done:
            break
        await asyncio.sleep(0.01)
        seen = box.seen[since:]

    # The server's side.
    assert len(seen) == expected.seen, "how often it saw the call"
    assert len({each.idempotency_key for each in seen}) == 1, "one call is one key"
    assert seen[0].idempotency_key
    assert len({each.fingerprint for each in seen if each.fingerprint}) <= 1, "and always the same body"
    assert sum(each.effect for each in seen) == expected.done <= 1, "how often the work was done"
    assert took >= row.seconds * (expected.seen - 1)

    # The user's side.
    answer = reply if reply is not None else getattr(error, "reply", None)
    if expected.error is None:
        assert error is None
        assert reply is not None
        assert (reply.complete, reply.text, reply.cut_by) == (True, whole, None)
        assert (reply.attempts, reply.finish_reason) == (expected.seen, "stop")
    else:
        assert reply is None
        assert type(error) is expected.error
        cause = getattr(error, "cause", None)
        told = cause if isinstance(cause, bn.APIError) else error
        assert (type(cause) if cause else None) is expected.cause
        assert getattr(told, "code", None) == expected.code
        assert getattr(told, "status", None) == expected.status
        assert error.retryable is expected.retryable
        assert error.attempts == expected.seen
        assert bool(error.request_id) is expected.request_id
        assert error.request_id in (None, seen[-1].request_id)
        assert error.idempotency_key == seen[0].idempotency_key
        assert error.hint
        assert (answer is not None) is (expected.error is bn.IncompleteStream)
    if answer is not None:
        assert answer.request_id == seen[-1].request_id
        assert answer.idempotency_key == seen[0].idempotency_key
    if answer is not None and expected.error is not None:
        assert answer.complete is False
        assert answer.cut_by
        assert whole.startswith(answer.text)
        assert bool(answer.text) is expected.partial
        assert answer.text != whole or row.fault.startswith("bad_json")

    # What stays: one row, and it tells the same.
    journal = bn.journal()
    entry = journal[0]
    assert journal.total == 1
    assert entry.idempotency_key == seen[0].idempotency_key
    assert entry.attempts == expected.seen
    assert entry.error_code == expected.code
    assert entry.error_type == (expected.error.__name__ if expected.error else None)
    assert entry.status == (
        "ok" if expected.error is None else "incomplete" if expected.error is bn.IncompleteStream else "error"
    )


@pytest.mark.parametrize(
    ("fault", "how", "kind"),
    in_turns(["slow:0.9", "reset:before", "short_body", "bad_json", "cut:5", "stall:5"], HOWS),
)
async def test_called_again_with_the_error_s_key_it_is_the_same_work(
    box: Sandbox, fault: str, how: str, kind: str
) -> None:
    since = len(box.seen)
    struck_once = fault == "bad_json" or (how == "streamed" and fault in ("short_body", "cut:5", "stall:5"))
    box.inject(fault, 1 if struck_once else GAVE_UP)
    with pytest.raises(bn.BeatraError) as caught:
        await call(box, kind, how)
    reply = await call(box, kind, how, idempotency_key=caught.value.idempotency_key)
    assert reply.complete
    assert sum(each.effect for each in box.seen[since:]) == 1, "done once, and so paid once"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_of_one_s_own_with_another_body_is_a_conflict(box: Sandbox, kind: str) -> None:
    await call(box, kind, "plain", idempotency_key=f"mine-{kind}")
    with pytest.raises(bn.Conflict) as caught:
        await call(box, kind, "plain", idempotency_key=f"mine-{kind}", temperature=1)
    assert (caught.value.status, caught.value.attempts, caught.value.retryable) == (409, 1, False)


@pytest.mark.parametrize(("how", "attempts", "kind"), in_turns(HOWS, [1, 2, 3]))
async def test_attempts_are_bounded_as_the_user_says(
    box: Sandbox, how: str, attempts: int, kind: str
) -> None:
    since = len(box.seen)
    box.inject("reset:before", attempts)
    more = {"base_url": box.base_url, "timeout": TIMEOUTS, "max_attempts": attempts}
    with bn.Client(box.api_key, **more) as client:
        async with client.twin() as twin:
            watch = how == "streamed"
            work = (
                twin.chat(PROMPT, stream=watch)
                if kind == "async"
                else asyncio.to_thread(client.chat, PROMPT, stream=watch)
            )
            with pytest.raises(bn.ConnectionFailed) as caught:
                await work
    assert caught.value.attempts == len(box.seen) - since == attempts


@pytest.mark.parametrize(
    "fault", ["html:503", "model_unavailable", "reset:before", "slow:0.9", "429:retry_after=0"]
)
def test_what_carries_no_key_is_never_sent_twice(box: Sandbox, fault: str) -> None:
    with bn.Client(box.api_key, base_url=box.base_url, timeout=TIMEOUTS) as client:
        for verb in (client.models, client.capabilities):
            since = len(box.seen)
            box.inject(fault)
            with pytest.raises(bn.BeatraError):
                verb()
            assert [each.idempotency_key for each in box.seen[since:]] == [None]
