"""Both clients, against a real server."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import socket
import threading
import time
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb import verbs
from beatra_nb.core import seams
from beatra_nb.core.base_client import BaseClient
from beatra_nb.display import notices
from beatra_nb.sandbox import Sandbox
from tests.core.conftest import QUICK
from tests.core.wire import KEY, Wire, completion, delta, event, http, sse


async def ask(kind: type[BaseClient], base_url: str, how: str, prompt: str = "Hi", **more: Any) -> bn.Reply:
    """One call, by either client, in either way."""
    settings = {"base_url": base_url, "timeout": more.pop("timeout", QUICK)}
    key = more.pop("key", KEY)
    if kind is bn.Client:

        def work() -> bn.Reply:
            with bn.Client(key, **settings) as client:
                if how == "plain":
                    return client.chat(prompt, **more)
                with client.stream(prompt, **more) as stream:
                    text = "".join(stream)
                assert text == stream.reply.text
                return stream.reply

        return await asyncio.to_thread(work)
    async with bn.AsyncClient(key, **settings) as client:
        if how == "plain":
            return await client.chat(prompt, **more)
        async with client.stream(prompt, **more) as stream:
            text = "".join([piece async for piece in stream])
        assert text == stream.reply.text
        return stream.reply


KINDS = pytest.mark.parametrize("kind", [bn.Client, bn.AsyncClient], ids=["sync", "async"])
HOWS = pytest.mark.parametrize("how", ["plain", "streamed"])
WHOLE = [
    event(delta("Hel", finish_reason=None)),
    event(delta("lo", finish_reason="stop")),
    event({"id": "c1", "choices": [], "usage": completion()["usage"]}),
    b"data: [DONE]\n\n",
]


def whole(how: str, **headers: str) -> Any:
    return http(200, completion(), **headers) if how == "plain" else sse(*WHOLE, **headers)


@KINDS
@HOWS
async def test_what_goes_out_and_what_comes_back(wire: Wire, kind: type[BaseClient], how: str) -> None:
    wire.say(whole(how, x_request_id="req_1"))
    reply = await ask(kind, wire.base_url, how, model="m1", temperature=0.5)
    asked = wire.asked[0]
    assert (asked.method, asked.path) == ("POST", "/v1/chat/completions")
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["idempotency-key"] == reply.idempotency_key
    assert asked.headers["user-agent"] == f"beatra-nb/{bn.__version__}"
    assert "cookie" not in asked.headers
    assert asked.json["model"] == "m1"
    assert asked.json["messages"] == [{"role": "user", "content": "Hi"}]
    assert asked.json.get("stream", False) is (how == "streamed")
    assert (reply.text, reply.model, reply.request_id, reply.finish_reason) == (
        "Hello",
        "m1",
        "req_1",
        "stop",
    )
    assert (reply.complete, reply.attempts, reply.sandbox, reply.cut_by) == (True, 1, False, None)
    assert reply.usage is not None
    assert str(reply.usage.credits) == "0.25"
    assert reply.elapsed > 0
    assert reply.raw["choices"]


@KINDS
@HOWS
async def test_every_call_has_a_key_of_its_own(wire: Wire, kind: type[BaseClient], how: str) -> None:
    wire.scripts.extend([whole(how), whole(how)])
    for _ in range(2):
        await ask(kind, wire.base_url, how)
    assert len({asked.headers["idempotency-key"] for asked in wire.asked}) == 2


def test_connections_are_used_again(wire: Wire, client: bn.Client, box: Sandbox) -> None:
    wire.say(http(200, completion()))
    for _ in range(5):
        client.chat("x")
    assert len(wire._open) == 1


def test_a_finished_stream_s_connection_is_used_again(wire: Wire, client: bn.Client) -> None:
    body = b"".join(WHOLE)
    wire.say(http(200, body, "text/event-stream"))
    for _ in range(3):
        assert "".join(client.stream("x")) == "Hello"
    assert len(wire._open) == 1


def test_a_server_that_keeps_a_finished_stream_open_holds_nobody_up(wire: Wire, client: bn.Client) -> None:
    wire.say(sse(*WHOLE, 3.0))
    began = time.monotonic()
    assert "".join(client.stream("x")) == "Hello"
    assert time.monotonic() - began < 2.5


SPLIT = "naïve 😀 日本 𝔘".encode()


@KINDS
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"], ids=["LF", "CRLF", "CR"])
async def test_a_stream_as_networks_bring_it(wire: Wire, kind: type[BaseClient], end: bytes) -> None:
    line = end[: len(end) // 2]
    raw = b": welcome" + end + event(delta(SPLIT.decode()), end) + b"data:" + end
    two = b'data: {"model": "m1",' + line + b'data: "choices": [{"delta": {"content": "!"}}]}' + end
    raw += b"event: x" + line + b"id: 1" + line + two + event({"choices": []}, end) + b"data: [DONE]" + end
    wire.say(sse(*(raw[i : i + 1] for i in range(len(raw)))))
    reply = await ask(kind, wire.base_url, "streamed")
    assert reply.text == SPLIT.decode() + "!"
    assert reply.complete


CUTS: dict[str, tuple[list[bytes | float], str]] = {
    "no [DONE]": ([event(delta("half"))], "before the service said"),
    "finish reason without [DONE]": ([event(delta("half", finish_reason="stop"))], "before the service said"),
    "in an event": ([event(delta("half")), b'data: {"choices": [{"del'], "before the service said"),
    "no JSON": ([event(delta("half")), b"data: <html>\n\n"], "could not be read"),
    "silence": ([event(delta("half")), 1.2], "silent"),
    "an error event": (
        [
            event(delta("half")),
            event({"error": {"code": "rate_limited", "message": "Enough.", "retryable": True}}),
            b"data: [DONE]\n\n",
        ],
        "Enough",
    ),
    "a strange error event": (
        [event(delta("half")), event({"error": "boom"}), b"data: [DONE]\n\n"],
        "failure",
    ),
}


@KINDS
@pytest.mark.parametrize("cut", CUTS)
async def test_a_cut_stream_is_never_whole(wire: Wire, kind: type[BaseClient], cut: str) -> None:
    pieces, says = CUTS[cut]
    wire.say(sse(*pieces, x_request_id="req_1"))
    with pytest.raises(bn.IncompleteStream, match=says) as caught:
        await ask(kind, wire.base_url, "streamed")
    error = caught.value
    assert (error.reply.text, error.reply.complete) == ("half", False)
    assert error.reply.cut_by
    assert error.request_id == error.reply.request_id == "req_1"
    assert error.idempotency_key == wire.asked[0].headers["idempotency-key"]
    assert len(wire.asked) == 1, "what has begun is not sent again"
    assert isinstance(error.cause, bn.BeatraError)


@KINDS
async def test_an_error_event_names_its_code_and_its_request(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say(sse(*CUTS["an error event"][0], x_request_id="req_1"))
    with pytest.raises(bn.IncompleteStream) as caught:
        await ask(kind, wire.base_url, "streamed")
    cause = caught.value.cause
    assert isinstance(cause, bn.RateLimited)
    assert (cause.code, cause.request_id, caught.value.retryable) == ("rate_limited", "req_1", True)


@KINDS
async def test_an_answer_that_dribbles_is_ended_by_the_total_time(wire: Wire, kind: type[BaseClient]) -> None:
    body = http(200, completion("x" * 200))
    head, _, rest = body.partition(b"\r\n\r\n")

    def dribble() -> Any:
        yield head + b"\r\n\r\n"
        for i in range(len(rest)):
            yield rest[i : i + 1]
            yield 0.05

    wire.say(dribble())
    began = time.monotonic()
    with pytest.raises(bn.Timeout):
        await ask(kind, wire.base_url, "plain", timeout=bn.Timeouts(connect=1, read=1, total=0.5))
    assert time.monotonic() - began < 5
    assert len(wire.asked) == 1


@KINDS
@HOWS
async def test_headers_that_dribble_are_ended_by_the_total_time(
    wire: Wire, kind: type[BaseClient], how: str
) -> None:
    slow: list[bytes | float] = [b"HTTP/1.1 200 OK\r\n"]
    for number in range(100):
        slow += [0.1, f"x-{number}: 1\r\n".encode()]
    wire.say(slow)
    began = time.monotonic()
    with pytest.raises(bn.Timeout):
        await ask(kind, wire.base_url, how, timeout=bn.Timeouts(connect=1, read=1, total=0.5))
    assert time.monotonic() - began < 5, "not the ten seconds of the headers"
    assert len(wire.asked) == 1


def test_the_total_time_holds_on_a_connection_that_is_used_again(wire: Wire) -> None:
    slow: list[bytes | float] = [b"HTTP/1.1 200 OK\r\n"]
    for number in range(100):
        slow += [0.1, f"x-{number}: 1\r\n".encode()]
    wire.say(http(200, completion()), slow)
    began = time.monotonic()
    with bn.Client(KEY, base_url=wire.base_url, timeout=bn.Timeouts(connect=1, read=1, total=0.5)) as client:
        assert client.chat("x").complete
        with pytest.raises(bn.Timeout):
            client.chat("y")
    assert time.monotonic() - began < 5


@KINDS
async def test_a_stream_that_dribbles_is_ended_by_the_total_time(wire: Wire, kind: type[BaseClient]) -> None:
    def dribble() -> Any:
        yield from sse()
        for _ in range(200):
            yield event(delta("x"))
            yield 0.05

    wire.say(dribble())
    with pytest.raises(bn.IncompleteStream, match=r"not whole (within|in the time)") as caught:
        await ask(kind, wire.base_url, "streamed", timeout=bn.Timeouts(connect=1, read=1, total=0.5))
    assert isinstance(caught.value.cause, bn.Timeout)
    assert 0 < len(caught.value.reply.text) < 100


ODD_ANSWERS: dict[str, tuple[bytes, str]] = {
    "html": (http(200, b"<html>login</html>", "text/html"), "not with"),
    "empty": (http(200, b""), "empty body|event stream"),
    "no content": (http(204, b""), "204"),
    "a list": (http(200, []), "no object|event stream"),
    "another object": (http(200, {"ok": True}), "chat answer|event stream"),
    "no choices": (http(200, {"choices": []}), "chat answer|event stream"),
    "broken": (http(200, b'{"choices": ['), "broken JSON|event stream"),
    "a redirect": (http(302, b"", location="https://evil.example/"), "redirect"),
}


@KINDS
@HOWS
@pytest.mark.parametrize("answer", ODD_ANSWERS)
async def test_an_answer_that_is_none(wire: Wire, kind: type[BaseClient], how: str, answer: str) -> None:
    raw, says = ODD_ANSWERS[answer]
    wire.say(raw)
    with pytest.raises(bn.UnexpectedResponse, match=says) as caught:
        await ask(kind, wire.base_url, how)
    error = caught.value
    assert (error.attempts, error.retryable, len(wire.asked)) == (1, False, 1)
    assert error.idempotency_key == wire.asked[0].headers["idempotency-key"]
    assert error.status in (200, 204, 302)


LENIENT: list[tuple[str, dict[str, Any]]] = [
    ("usage", {"usage": None}),
    ("usage", {"usage": "lots"}),
    ("usage", {"usage": {"prompt_tokens": None, "completion_tokens": "7", "credits": "free"}}),
    ("usage", {"usage": {"prompt_tokens": 10**40, "credits": "NaN"}}),
    ("model", {"model": None}),
    ("id", {"id": 7}),
    ("extra", {"something": {"new": 1}}),
    ("finish", {"choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": 5}]}),
    (
        "role",
        {"choices": [{"index": None, "message": {"role": None, "content": "Hello", "tool_calls": None}}]},
    ),
]


@pytest.mark.parametrize(("_what", "odd"), LENIENT)
def test_odd_fields_never_cost_an_answer(
    wire: Wire, client: bn.Client, _what: str, odd: dict[str, Any]
) -> None:
    wire.say(http(200, completion() | odd))
    assert client.chat("x").text == "Hello"
    assert bn.journal()[0].status == "ok"


@KINDS
async def test_a_proxy_that_quotes_the_request_does_not_bring_the_key_into_an_error(
    wire: Wire, kind: type[BaseClient]
) -> None:
    for status, content in (
        (400, "text/html"),
        (407, "text/plain"),
        (200, "text/html"),
        (500, "application/json"),
    ):
        wire.say(http(status, f"you sent: authorization: Bearer {KEY}".encode(), content))
        with pytest.raises(bn.APIError) as caught:
            await ask(kind, wire.base_url, "plain")
        assert "you sent" in caught.value.body
        assert KEY not in f"{caught.value} {vars(caught.value)}"


# ── fallback ──

GONE = {"error": {"code": "model_unavailable", "message": "Gone.", "retryable": True}}


@KINDS
@HOWS
@pytest.mark.parametrize("code", ["model_unavailable", "unsupported_model"])
async def test_another_model_may_answer_and_the_reply_says_so(
    wire: Wire, kind: type[BaseClient], how: str, code: str
) -> None:
    wire.say(http(503, {"error": GONE["error"] | {"code": code}}), whole(how))
    reply = await ask(kind, wire.base_url, how, model="pinned", fallback="auto")
    assert [asked.json["model"] for asked in wire.asked] == ["pinned", "auto"]
    assert len({asked.headers["idempotency-key"] for asked in wire.asked}) == 2, "another body, another key"
    assert (reply.asked_model, reply.model, reply.fallback, reply.text) == ("pinned", "m1", True, "Hello")


def test_a_watched_stream_says_so_too(wire: Wire, client: bn.Client) -> None:
    wire.say(http(503, GONE), sse(*WHOLE))
    reply = client.chat("x", model="pinned", fallback="auto", stream=True)
    assert (reply.asked_model, reply.fallback) == ("pinned", True)
    assert client.last is reply


@KINDS
async def test_without_being_asked_no_other_model_answers(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say(http(503, GONE), http(200, completion()))
    reply = await ask(kind, wire.base_url, "plain", model="pinned")
    assert [asked.json["model"] for asked in wire.asked] == ["pinned", "pinned"]
    assert not reply.fallback


@HOWS
def test_the_key_that_an_error_names_repeats_the_whole_call(wire: Wire, client: bn.Client, how: str) -> None:
    def keys() -> list[tuple[str, str]]:
        found = [(asked.json["model"], asked.headers["idempotency-key"]) for asked in wire.asked]
        wire.asked.clear()
        return list(dict.fromkeys(found))

    wire.say(http(503, GONE), b"")  # the pinned model is gone, then the connection breaks
    stream = how == "streamed"
    with pytest.raises(bn.ConnectionFailed) as caught:
        client.chat("x", model="pinned", fallback="auto", stream=stream)
    first = keys()
    key = caught.value.idempotency_key
    assert repr(key) in str(caught.value)
    wire.say(http(503, GONE), whole(how))
    reply = client.chat("x", model="pinned", fallback="auto", stream=stream, idempotency_key=key)
    assert keys() == first, "the same calls with the same keys: nothing is paid twice"
    assert reply.idempotency_key == key


def test_a_partial_answer_says_that_another_model_gave_it(wire: Wire, client: bn.Client) -> None:
    wire.say(http(503, GONE), sse(event(delta("half"))))
    with pytest.raises(bn.IncompleteStream) as caught:
        client.chat("x", model="pinned", fallback="auto", stream=True)
    assert (caught.value.reply.text, caught.value.reply.fallback) == ("half", True)
    assert caught.value.reply.asked_model == "pinned"
    assert caught.value.idempotency_key == caught.value.reply.idempotency_key


def test_nobody_is_told_to_do_what_was_done(wire: Wire, client: bn.Client) -> None:
    wire.say(http(503, GONE))
    for options in ({"model": "pinned", "fallback": "auto"}, {}):
        with pytest.raises(bn.ServerError) as caught:
            client.chat("x", **options)
        assert "fallback" not in str(caught.value)
    with pytest.raises(bn.ServerError, match="fallback"):
        client.chat("x", model="pinned")


@KINDS
async def test_a_whole_answer_in_place_of_a_stream_is_taken(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say(http(200, completion("All at once.")))
    reply = await ask(kind, wire.base_url, "streamed")
    assert (reply.text, reply.complete) == ("All at once.", True)


@KINDS
@HOWS
async def test_content_in_parts_is_put_together(wire: Wire, kind: type[BaseClient], how: str) -> None:
    parts = [{"type": "text", "text": "He"}, {"type": "image"}, 7, {"type": "text", "text": "llo"}]
    if how == "streamed":
        wire.say(sse(event({"choices": [{"delta": {"content": parts}}]}), event(b"[DONE] ")))
    else:
        wire.say(http(200, {"choices": [{"message": {"content": parts}}]}))
    assert (await ask(kind, wire.base_url, how)).text == "Hello"


@KINDS
@pytest.mark.parametrize(
    ("how", "answer"),
    [
        ("plain", http(200, b'{"you sent": "' + KEY.encode())),
        ("plain", http(200, {"you sent": KEY})),
        (
            "streamed",
            [*sse(event({"error": {"code": "x", "message": KEY, "param": KEY, "details": {"a": KEY}}}))],
        ),
        ("streamed", [*sse(event(b"not json " + KEY.encode()))]),
        ("streamed", http(200, {"you sent": KEY})),
    ],
    ids=["broken json", "no choices", "error event", "unreadable event", "no stream"],
)
async def test_a_key_that_is_quoted_back_is_shown_nowhere(
    wire: Wire, kind: type[BaseClient], how: str, answer: Any
) -> None:
    wire.say(answer)
    with pytest.raises(bn.BeatraError) as caught:
        await ask(kind, wire.base_url, how)
    error = caught.value
    shown = f"{error} {vars(error)!r} {getattr(error, 'cause', None)!r} {error._repr_html_()}"
    shown += "".join(error._render_traceback_()) + repr(vars(getattr(error, "cause", None) or error))
    assert KEY not in shown
    assert "[the key]" in shown


def test_an_error_shown_as_text_is_more_than_its_repr(wire: Wire, client: bn.Client) -> None:
    from IPython.core.formatters import DisplayFormatter

    wire.say(http(429, {"error": {"code": "rate_limited", "message": "Slow down."}}, x_request_id="req_7"))
    with pytest.raises(bn.RateLimited) as caught:
        client.chat("x")
    data, _ = DisplayFormatter().format(caught.value)
    assert "req_7" in data["text/plain"]
    assert "RateLimited(" not in data["text/plain"]


def test_other_failures_are_no_reason_to_fall_back(wire: Wire, client: bn.Client) -> None:
    wire.say(http(403, {"error": {"code": "forbidden", "message": "No."}}))
    with pytest.raises(bn.PermissionDenied):
        client.chat("x", model="pinned", fallback="auto")
    assert len(wire.asked) == 1


# ── schema and tools ──


@KINDS
@HOWS
async def test_a_schema_is_asked_for_and_parsed(box: Sandbox, kind: type[BaseClient], how: str) -> None:
    from tests.core.test_request import City

    reply = await ask(kind, box.base_url, how, "A city", key=box.api_key, schema=City)
    assert isinstance(reply.data, City)
    as_dict = await ask(kind, box.base_url, how, "A city", key=box.api_key, schema=City.model_json_schema())
    assert set(as_dict.data) == {"name", "people"}


@KINDS
@HOWS
async def test_unfit_data_holds_the_reply_and_what_it_cost_is_in_the_journal(
    wire: Wire, kind: type[BaseClient], how: str
) -> None:
    from tests.core.test_request import City

    wire.say(whole(how, x_request_id="req_1"))
    with pytest.raises(bn.InvalidData) as caught:
        await ask(kind, wire.base_url, how, schema=City, repairs=0)
    error = caught.value
    assert (error.reply.text, error.reply.complete, error.request_id) == ("Hello", True, "req_1")
    assert error.idempotency_key == wire.asked[0].headers["idempotency-key"]
    row = bn.journal()[0]
    assert (row.status, row.error_type, row.total_tokens, str(row.credits)) == (
        "error",
        "InvalidData",
        3,
        "0.25",
    )
    assert row.request_id == "req_1"


@KINDS
@HOWS
async def test_tools_go_through_and_calls_come_back(box: Sandbox, kind: type[BaseClient], how: str) -> None:
    from tests.core.test_conversation import TOOL

    reply = await ask(kind, box.base_url, how, "Call weather", key=box.api_key, tools=[TOOL])
    assert [call.name for call in reply.tool_calls] == ["weather"]
    assert reply.finish_reason == "tool_calls"


@KINDS
@HOWS
async def test_several_answers(box: Sandbox, kind: type[BaseClient], how: str) -> None:
    reply = await ask(kind, box.base_url, how, "Hi", key=box.api_key, n=3)
    assert len(reply.choices) == 3
    assert reply.choices[0] == reply.text


# ── the journal ──


@KINDS
@HOWS
async def test_every_call_leaves_one_row(wire: Wire, kind: type[BaseClient], how: str) -> None:
    wire.say(http(503, b"busy", "text/html"), whole(how, x_request_id="req_1"))
    reply = await ask(kind, wire.base_url, how, "A secret prompt", model="m1")
    (row,) = bn.journal()
    assert (row.status, row.asked_model, row.model, row.request_id) == ("ok", "m1", "m1", "req_1")
    assert (row.attempts, row.http_status, row.total_tokens) == (2, 200, 3)
    assert row.idempotency_key == reply.idempotency_key
    assert "secret prompt" not in repr(row)


@KINDS
@HOWS
async def test_without_a_journal_nothing_is_written(
    wire: Wire, kind: type[BaseClient], how: str, isolated: Any
) -> None:
    wire.say(whole(how))
    async with bn.AsyncClient(KEY, base_url=wire.base_url, journal=False) as client:
        assert client.journal_on is False
        if how == "plain":
            await client.chat("x")
        else:
            assert [piece async for piece in client.stream("x")]
    assert not isolated.exists()


def test_a_journal_that_cannot_be_written_breaks_no_call(
    wire: Wire, client: bn.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEATRA_HOME", "/dev/null/nowhere")
    wire.say(http(200, completion()))
    with pytest.warns(UserWarning, match="journal"):
        assert client.chat("x").text == "Hello"
    assert client.chat("x").text == "Hello"


# ── life and death of a client ──


def test_a_closed_client_says_so(wire: Wire) -> None:
    with bn.Client(KEY, base_url=wire.base_url) as client:
        pass
    for call in (client.models, client.health, lambda: client.chat("x"), lambda: client.stream("x")):
        with pytest.raises(bn.ConfigurationError, match="closed"):
            call()
    client.close()


async def test_a_closed_async_client_says_so(wire: Wire) -> None:
    async with bn.AsyncClient(KEY, base_url=wire.base_url) as client:
        pass
    with pytest.raises(bn.ConfigurationError, match="closed"):
        await client.chat("x")
    with pytest.raises(bn.ConfigurationError, match="closed"):
        client.stream("x")
    await client.close()


@KINDS
def test_a_client_is_never_pickled(kind: type[BaseClient]) -> None:
    client = kind(KEY, base_url="http://127.0.0.1:9/v1")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never pickled"):
            attempt(client)
    assert KEY[3:9] not in f"{client!r} {vars(client)}"
    assert "127.0.0.1:9" in repr(client)


# A loop that is closed leaves its connections to the garbage collector, which says so.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_async_client_works_in_one_loop_after_another(box: Sandbox) -> None:
    client = bn.AsyncClient(box.api_key, base_url=box.base_url)

    async def call() -> str:
        return (await client.chat("Hi")).text

    assert asyncio.run(call()) == asyncio.run(call())
    asyncio.run(client.close())
    gc.collect()


def test_a_twin_has_the_same_settings(box: Sandbox) -> None:
    with bn.Client(
        box.api_key, base_url=box.base_url, timeout=QUICK, max_attempts=2, journal=False
    ) as client:
        twin = client.twin()
        assert twin._settings == client._settings

        async def call() -> bn.Reply:
            async with twin:
                return await twin.chat("Hi")

        assert asyncio.run(call()).text


def test_many_threads_share_one_client(talk: bn.Client, box: Sandbox) -> None:
    since = len(box.seen)
    replies: list[bn.Reply] = []
    threads = [
        threading.Thread(target=lambda i=i: replies.append(talk.chat(f"Repeat: {i}"))) for i in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(int(reply.text) for reply in replies) == list(range(20))
    assert len({each.idempotency_key for each in box.seen[since:]}) == 20


# ── leaving a stream early ──


@pytest.mark.parametrize("way", ["with", "close", "drop"])
def test_leaving_early_closes_the_connection_and_keeps_what_had_come(wire: Wire, way: str) -> None:
    def endless() -> Any:
        yield from sse(x_request_id="req_1")
        for _ in range(2000):
            yield event(delta("x"))
            yield 0.01

    wire.say(endless())
    client = bn.Client(KEY, base_url=wire.base_url, timeout=QUICK)
    stream = client.stream("x")
    assert next(stream) == "x"
    if way == "with":
        with stream:
            pass
    elif way == "close":
        stream.close()
    else:
        del stream
        gc.collect()
    assert wire.gone.wait(5), "the server notices that nobody listens"
    assert client.last is not None
    assert (client.last.complete, client.last.cut_by, client.last.request_id) == (
        False,
        "you stopped it",
        "req_1",
    )
    assert client.last.text
    (row,) = bn.journal()
    assert row.status == "interrupted"
    client.close()


def test_a_stream_that_nobody_reads_is_not_sent(wire: Wire, client: bn.Client) -> None:
    wire.say(sse(*WHOLE))
    stream = client.stream("x")
    assert "0 characters" in repr(stream)
    assert stream.reply.complete is False
    stream.close()
    assert list(stream) == []
    assert wire.asked == []


def test_a_stream_knows_its_reply_at_every_moment(wire: Wire, client: bn.Client) -> None:
    wire.say(sse(*WHOLE))
    stream = client.stream("x")
    texts = []
    for _ in stream:
        texts.append((stream.reply.text, stream.reply.complete))
    assert texts == [("Hel", False), ("Hello", False)]
    assert (stream.reply.text, stream.reply.complete) == ("Hello", True)
    assert next(stream, None) is None
    with pytest.raises(TypeError):
        pickle.dumps(stream)


# ── last ──


async def test_last_is_the_last_answer_of_either_default_client(box: Sandbox) -> None:
    client = bn.connect(box.api_key, base_url=box.base_url)
    assert bn.last() is None
    first = await asyncio.to_thread(bn.chat, "Repeat: 1")
    assert bn.last() is first
    second = await bn.achat("Repeat: 2")
    assert bn.last() is second
    stream = bn.stream("Repeat: 3")
    assert "".join(stream) == "3"
    assert bn.last() is stream.reply
    async_stream = bn.astream("Repeat: 4")
    assert [piece async for piece in async_stream] == ["4"]
    assert bn.last() is async_stream.reply
    await verbs.default_async_client().close()
    client.close()


def test_last_keeps_the_partial_answer_of_a_cut_stream(wire: Wire, client: bn.Client) -> None:
    wire.say(sse(event(delta("half"))))
    with pytest.raises(bn.IncompleteStream) as caught:
        list(client.stream("x"))
    assert client.last is caught.value.reply
    assert client.last.text == "half"  # type: ignore[union-attr]


# ── catalog and health ──


def test_models_fall_back_to_the_plain_list(wire: Wire, client: bn.Client) -> None:
    entry = {
        "id": "m1",
        "owned_by": "o",
        "status": "available",
        "capabilities": ["chat", 5],
        "modalities": None,
    }
    wire.say(
        http(404, {"error": {"code": "not_found", "message": "No."}}),
        http(200, {"object": "list", "data": [entry, {"id": 5}, "x", {"id": "m2"}]}, x_request_id="r"),
    )
    models = client.models()
    assert [asked.path for asked in wire.asked] == ["/v1/catalog/models", "/v1/models"]
    assert "idempotency-key" not in wire.asked[0].headers
    assert models.ids == ["m1", "m2"]
    assert (models[0].owned_by, models[0].status, models[0].capabilities) == ("o", "available", ("chat",))
    assert models.request_id == "r"


@pytest.mark.parametrize("call", ["models", "capabilities"])
def test_a_call_without_a_key_is_never_sent_twice(wire: Wire, client: bn.Client, call: str) -> None:
    wire.say(http(503, GONE), http(200, {"data": []}))
    with pytest.raises(bn.ServerError):
        getattr(client, call)()
    assert len(wire.asked) == 1


@pytest.mark.parametrize("body", [{"data": {}}, {"data": None}, {}])
def test_a_list_that_is_none(wire: Wire, client: bn.Client, body: object) -> None:
    wire.say(http(200, body))
    with pytest.raises(bn.UnexpectedResponse, match="list"):
        client.capabilities()


def test_capabilities_say_what_may_be_called(talk: bn.Client) -> None:
    abilities = talk.capabilities()
    assert {a.status for a in abilities} <= {"Available", "Preview", "Planned"}
    assert "Available" in {a.status for a in abilities}
    assert abilities.sandbox


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (http(200, {"status": "ok"}), "ok"),
        (http(200, {"status": "degraded"}), "degraded"),
        (http(200, {}), "unknown"),
        (http(200, {"status": None}), "unknown"),
        (http(503, GONE), "model_unavailable"),
        (http(502, b"<html>", "text/html"), "HTTP 502"),
        (http(200, b"<html>", "text/html"), "HTTP 200"),
    ],
)
def test_health_is_a_result_and_not_an_error(
    wire: Wire, client: bn.Client, answer: bytes, status: str
) -> None:
    wire.say(answer)
    health = client.health()
    assert (health.ok, health.status) == (status == "ok", status)
    assert bool(health) is health.ok
    assert len(wire.asked) == 1


def test_nobody_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with bn.Client(KEY, base_url=f"http://127.0.0.1:{port}/v1", timeout=QUICK) as client:
        with pytest.raises(bn.ConnectionFailed):
            client.health()
        with pytest.raises(bn.ConnectionFailed) as caught:
            client.chat("x")
    assert caught.value.attempts == 4
    assert "paid twice" not in str(caught.value), "nothing has left: there is nothing to pay"


def test_a_refused_call_that_may_have_arrived_says_how_not_to_pay_twice(wire: Wire) -> None:
    wire.say(b"")  # the connection ends before an answer
    with (
        bn.Client(KEY, base_url=wire.base_url, timeout=QUICK) as client,
        pytest.raises(bn.BeatraError) as caught,
    ):
        client.chat("x")
    assert repr(caught.value.idempotency_key) in str(caught.value)


# ── parity ──

VERBS = ["chat", "stream", "models", "capabilities", "health"]


def parameters(function: Any, *, bound: bool = False) -> list[tuple[str, Any, Any, Any]]:
    given = list(inspect.signature(function).parameters.values())[0 if bound else 1 :]
    return [(p.name, p.kind, p.default, p.annotation) for p in given]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_exists_four_ways_with_the_same_keywords(verb: str) -> None:
    expected = parameters(getattr(bn.Client, verb))
    assert parameters(getattr(bn.AsyncClient, verb)) == expected
    assert parameters(getattr(bn, verb), bound=True) == expected
    assert parameters(getattr(bn, f"a{verb}"), bound=True) == expected
    assert getattr(bn, verb).__doc__
    assert getattr(bn, f"a{verb}").__name__ == f"a{verb}"


def test_chat_and_stream_take_the_same_but_for_the_watching() -> None:
    chat = [p for p in parameters(bn.Client.chat) if p[0] != "stream"]
    assert chat == parameters(bn.Client.stream)


def test_both_clients_and_connect_are_made_alike() -> None:
    names = [p[0] for p in parameters(bn.Client.__init__)]
    assert names == [p[0] for p in parameters(bn.AsyncClient.__init__)]
    assert names == [p[0] for p in parameters(bn.connect, bound=True)]
    assert [p[2] for p in parameters(bn.Client.__init__)] == [
        p[2] for p in parameters(bn.connect, bound=True)
    ]


@pytest.mark.parametrize("verb", ["send", "regenerate", "edit"])
def test_a_conversation_s_verbs_have_twins(verb: str) -> None:
    awaited = parameters(getattr(bn.Chat, f"a{verb}"))
    # What a front of one's own needs exists awaited alone: nothing else could draw while a call blocks.
    assert parameters(getattr(bn.Chat, verb)) == [
        each for each in awaited if each[0] not in ("on_text", "client")
    ]
    assert inspect.iscoroutinefunction(getattr(bn.Chat, f"a{verb}"))


# ── no key: the sandbox ──


async def test_the_default_client_is_made_at_the_first_use_and_says_once_who_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BEATRA_SANDBOX_ENGINE", "scripted")
    monkeypatch.setattr(verbs, "_client", None)
    monkeypatch.setattr(verbs, "_async_client", None)
    monkeypatch.setattr(notices, "_said", set())
    reply = bn.chat("Say hi in five words.")
    assert (reply.sandbox, reply.model) == (True, "sandbox-scripted")
    assert verbs.default_client().mode == "sandbox"
    assert (await bn.achat("Hi")).sandbox
    assert bn.chat("Hi", stream=True).sandbox
    said = capsys.readouterr().err
    assert said.count("No API key is set") == 1
    await verbs.default_async_client().close()
    verbs.default_client().close()


def test_asked_for_the_sandbox_nothing_needs_saying(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BEATRA_SANDBOX_ENGINE", "scripted")
    monkeypatch.setattr(notices, "_said", set())
    with bn.Client(mode="sandbox") as client:
        assert client.chat("Hi").sandbox
        assert client.base_url.startswith("http://127.0.0.1:")
    assert capsys.readouterr().err == ""


class Nervous:
    """A painter during whose work the user interrupts."""

    def __init__(self, when: str) -> None:
        self.when = when

    def begin(self, reply: bn.Reply) -> None:
        pass

    def add(self, text: str) -> None:
        if self.when == "add":
            raise KeyboardInterrupt

    def finish(self, reply: bn.Reply) -> None:
        if self.when == "finish" and reply.complete:
            raise KeyboardInterrupt

    def drop(self) -> None:
        pass


@pytest.mark.parametrize(("when", "text", "whole"), [("add", "Hel", False), ("finish", "Hello", True)])
def test_an_interrupt_between_two_pieces_keeps_what_had_come(
    wire: Wire, client: bn.Client, monkeypatch: pytest.MonkeyPatch, when: str, text: str, whole: bool
) -> None:
    monkeypatch.setattr(seams, "painter", lambda *, sandbox: Nervous(when))
    wire.say(sse(*WHOLE))
    with pytest.raises(bn.Interrupted) as caught:
        client.chat("x", stream=True)
    stop = caught.value
    assert stop.reply is client.last
    assert stop.reply is not None
    assert (stop.reply.text, stop.reply.complete) == (text, whole)
    assert stop.idempotency_key == wire.asked[0].headers["idempotency-key"]
    assert stop.__cause__ is None
    assert stop.__suppress_context__
