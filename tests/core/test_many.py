"""Many calls at once: the same answers and the same words for what goes wrong as over httpx, and no key anywhere."""

from __future__ import annotations

import asyncio
import socket
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb import sandbox
from beatra_nb.batch.gate import Gate, PacedRun, RowClock
from beatra_nb.batch.pace import Pace
from beatra_nb.core import resources
from beatra_nb.core.flow import Answer, Call, Context, Failure, Send
from beatra_nb.core.many import SHARD, ManyTransport
from beatra_nb.core.request import ChatRequest
from beatra_nb.core.settings import Secret
from tests.core.wire import KEY, Wire, completion, http

TIMES = bn.Timeouts(connect=2, read=0.5, total=20)
BODY = b'{"model":"auto","messages":[{"role":"user","content":"hi"}]}'


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.stop()


@pytest.fixture(params=["aiohttp", "shards"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "shards":
        monkeypatch.setitem(sys.modules, "aiohttp", None)  # as where it is not installed
    return str(request.param)


def send(*, seconds: float = 20.0, key: str = "key-1", times: bn.Timeouts = TIMES) -> Send:
    return Send(Call("chat", "POST", "/chat/completions", BODY, key), times, seconds)


async def exchange(base_url: str, wish: Send | None = None) -> Answer | Failure:
    transport = ManyTransport(base_url, Secret(KEY))
    try:
        return await transport.exchange(wish or send())
    finally:
        await transport.close()


async def test_what_is_sent_and_what_comes_back(wire: Wire, way: str) -> None:
    wire.say(http(200, completion("Hello"), X_Request_Id="req_7", set_cookie="a=b"))
    transport = ManyTransport(wire.base_url, Secret(KEY))
    assert transport.fast == (way == "aiohttp")
    try:
        answers = [await transport.exchange(send()) for _ in range(2)]
    finally:
        await transport.close()
    for answer in answers:
        assert isinstance(answer, Answer)
        assert (answer.status, answer.request_id) == (200, "req_7")
        assert b"Hello" in answer.body
    for asked in wire.asked:
        assert (asked.method, asked.path, asked.body) == ("POST", "/v1/chat/completions", BODY)
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert asked.headers["idempotency-key"] == "key-1"
        assert asked.headers["content-type"] == "application/json"
        assert asked.headers["accept"] == "application/json"
        assert asked.headers["user-agent"].startswith("beatra-nb/")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_nobody_there(way: str) -> None:
    failure = await exchange(f"http://127.0.0.1:{closed_port()}/v1")
    assert isinstance(failure, Failure)
    assert failure.what.startswith("No connection could be made (")
    assert (failure.sent, failure.retryable, failure.timeout) == (False, True, False)


async def test_a_name_that_does_not_exist(way: str) -> None:
    failure = await exchange("https://nobody.invalid/v1")
    assert isinstance(failure, Failure)
    assert (failure.sent, failure.retryable) == (False, True)


async def test_silence(wire: Wire, way: str) -> None:
    wire.say([2.0])
    failure = await exchange(wire.base_url)
    assert failure == Failure("The service fell silent and did not answer in time.", timeout=True)


async def test_too_slow_in_all(wire: Wire, way: str) -> None:
    wire.say(x for x in [http(200, completion())[:20], *[0.2, b"x"] * 10])
    failure = await exchange(wire.base_url, send(seconds=0.6))
    assert isinstance(failure, Failure)
    assert (failure.timeout, failure.sent) == (True, True)
    assert "whole" in failure.what


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-le", http(200, completion())[:-20], b"garbage\r\n\r\n"],
    ids=["nothing", "half a head", "half a body", "no http"],
)
async def test_an_answer_that_is_cut_off_may_have_been_paid_for(wire: Wire, way: str, answer: bytes) -> None:
    wire.say(iter([answer]))
    failure = await exchange(wire.base_url)
    assert isinstance(failure, Failure)
    assert (failure.sent, failure.retryable, failure.timeout) == (True, True, False), failure


async def test_broken_compression_is_not_asked_for_again(wire: Wire, way: str) -> None:
    wire.say(http(200, b"this is no gzip", content_encoding="gzip"))
    failure = await exchange(wire.base_url)
    assert isinstance(failure, Failure)
    assert (failure.sent, failure.retryable) == (True, False)
    assert "decoded" in failure.what


async def test_a_redirect_is_not_followed(wire: Wire, way: str) -> None:
    wire.say(http(307, b"", location="http://127.0.0.1:1/elsewhere"))
    answer = await exchange(wire.base_url)
    assert isinstance(answer, Answer)
    assert answer.status == 307
    assert len(wire.asked) == 1


async def test_a_key_that_no_header_carries_is_not_quoted(wire: Wire, way: str) -> None:
    wire.say(http(200, completion()))
    bad = KEY + "\n"
    transport = ManyTransport(wire.base_url, Secret(bad))
    try:
        failure = await transport.exchange(send())
    finally:
        await transport.close()
    assert isinstance(failure, Failure)
    assert KEY not in repr(failure)
    assert not wire.asked


async def test_no_frame_holds_the_key(wire: Wire, way: str) -> None:
    """Also not those of a call that was cancelled in the middle."""
    wire.say([1.0])
    transport = ManyTransport(wire.base_url, Secret(KEY))
    flow = resources.chat(Context(wire.base_url, bn.Timeouts()), ChatRequest.of("hi"))
    run = PacedRun(transport, flow, gate=Gate(Pace(1)), clock=RowClock())
    task = asyncio.create_task(anext(run))  # type: ignore[arg-type]
    while not wire.asked:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    trace = caught.value.__traceback__
    assert trace is not None
    # Without this very frame: it has the wire, which was sent the key.
    caught.value.__traceback__ = trace.tb_next
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "PacedRun" in shown
    assert KEY not in shown
    await transport.close()
    assert KEY not in repr(vars(transport))


async def test_many_at_once(way: str) -> None:
    with sandbox.start(engine="scripted", faults=True) as box:
        transport = ManyTransport(box.base_url, Secret(box.api_key), active=100)
        try:
            answers = await asyncio.gather(
                *(transport.exchange(send(key=f"key-{at}", times=bn.Timeouts())) for at in range(100))
            )
        finally:
            await transport.close()
        assert all(isinstance(answer, Answer) and answer.status == 200 for answer in answers), answers[:3]
        assert len(box.seen) == 100


def test_a_proxy_is_left_to_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    for base_url, fast in (("https://api.example.com/v1", False), ("http://127.0.0.1:1/v1", True)):
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        transport = ManyTransport(base_url, Secret(KEY), active=3 * SHARD)
        assert transport.fast is fast
        asyncio.run(transport.close())
    monkeypatch.setenv("NO_PROXY", "api.example.com")
    transport = ManyTransport("https://api.example.com/v1", Secret(KEY))
    assert transport.fast
    asyncio.run(transport.close())


async def test_streams_have_transports_of_their_own(wire: Wire) -> None:
    transport = ManyTransport(wire.base_url, Secret(KEY))
    call: Any = Call("stream", "POST", "/chat/completions", BODY, "key-1", stream=True)
    with pytest.raises(TypeError, match="whole answers"):
        await transport.exchange(Send(call, TIMES, 5.0))
    await transport.close()
