"""What was recorded is replayed alike, whatever it was: by both clients, from both sides of the HTTP library."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb import verbs
from beatra_nb.core import seams
from beatra_nb.core.base_client import BaseClient
from beatra_nb.core.forms import Splitter
from beatra_nb.sandbox import Sandbox
from tests.core.wire import KEY, Wire, completion, delta, event, http, sse

KINDS = pytest.mark.parametrize("kind", [bn.Client, bn.AsyncClient], ids=["sync", "async"])
HOWS = pytest.mark.parametrize("how", ["plain", "streamed"])
WHOLE = [event(delta("Hel")), event(delta("lo", finish_reason="stop")), b"data: [DONE]\n\n"]
BUSY = http(
    503, {"error": {"code": "model_unavailable", "message": "Busy.", "retryable": True}}, retry_after="0"
)


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.stop()


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    return tmp_path / "a.cassette"


async def outcome(kind: type[BaseClient], how: str, **settings: Any) -> dict[str, Any]:
    """One call, and all that is seen of it; what is new each time by its nature is left out."""
    prompt, more = settings.pop("prompt", "Hi"), settings.pop("more", {})
    seen: dict[str, Any] = {}
    try:
        if kind is bn.Client:

            def work() -> bn.Reply:
                with bn.Client(**settings) as client:
                    if how == "plain":
                        return client.chat(prompt, **more)
                    with client.stream(prompt, **more) as stream:
                        seen["pieces"] = list(stream)
                    return stream.reply

            reply = await asyncio.to_thread(work)
        else:
            async with bn.AsyncClient(**settings) as client:
                if how == "plain":
                    reply = await client.chat(prompt, **more)
                else:
                    async with client.stream(prompt, **more) as stream:
                        seen["pieces"] = [piece async for piece in stream]
                    reply = stream.reply
        seen["reply"] = reply.with_(idempotency_key=None)
        seen["view"] = seams.to_markdown(reply)
    except bn.BeatraError as error:
        seen |= {"error": type(error), "message": error.message, "attempts": error.attempts}
        seen |= {"code": getattr(error, "code", None), "request_id": error.request_id}
        cards = "\n".join([*seams.error_card(error), seams.to_plain(error)])
        seen |= {"recorded": error.recorded, "marks": re.findall(r"recorded \d{4}-\d\d-\d\d", cards)}
        if (partial := getattr(error, "reply", None)) is not None:
            seen["partial"] = partial.with_(idempotency_key=None)
    return seen


async def both(
    kind: type[BaseClient], how: str, cassette: Path, base_url: str, **more: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is seen while a call is recorded, and when it is replayed."""
    live = await outcome(
        kind, how, api_key=KEY, base_url=base_url, mode="record", cassette=cassette, max_attempts=2, **more
    )
    more.pop("timeout", None)
    told = await outcome(kind, how, mode="replay", cassette=cassette, speed=0, max_attempts=2, **more)
    return live, told


def lines(cassette: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (cassette / "tape.jsonl").read_text("utf-8").splitlines()]


@KINDS
@HOWS
async def test_an_answer_is_replayed_as_it_was_seen(
    kind: type[BaseClient], how: str, wire: Wire, cassette: Path
) -> None:
    wire.say(http(200, completion("Grüße"), x_request_id="req_1") if how == "plain" else sse(*WHOLE))
    live, told = await both(kind, how, cassette, wire.base_url)
    assert live == told
    assert live["reply"].recorded.date() == datetime.now(UTC).date()
    assert f"recorded {live['reply'].recorded:%Y-%m-%d}" in live["view"].replace("**", "")
    assert len(wire.asked) == 1


@KINDS
@HOWS
async def test_an_answer_after_a_refusal_is_replayed_with_both_attempts(
    kind: type[BaseClient], how: str, wire: Wire, cassette: Path
) -> None:
    wire.say(BUSY, http(200, completion()) if how == "plain" else sse(*WHOLE))
    live, told = await both(kind, how, cassette, wire.base_url)
    assert live == told
    assert live["reply"].attempts == 2
    assert len(lines(cassette)) == 3


FAILURES: dict[str, Callable[[], list[Any]]] = {
    "a refusal": lambda: [
        http(
            422,
            {"error": {"code": "invalid_request", "message": "No.", "retryable": False}},
            x_request_id="r",
        )
    ],
    "a proxy's page": lambda: [http(502, b"<html>bad</html>", "text/html")],
    "a page that says success": lambda: [http(200, b"<html>login</html>", "text/html")],
    "a cut head": lambda: [iter([b"HTTP/1.1 200 OK\r\ncont"])],
    "a cut body": lambda: [iter([b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"])],
    "silence": lambda: [iter([2.0])],
    "odd headers": lambda: [http(404, b"{}", x_request_id="req \xc3\xa9\xd0\xba", location="\xff")],
    "bytes that are no text": lambda: [http(200, b"\xff\xfe\x00")],
}


@KINDS
@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_is_replayed(kind: type[BaseClient], name: str, wire: Wire, cassette: Path) -> None:
    wire.say(*FAILURES[name](), *FAILURES[name]())
    timeout = bn.Timeouts(connect=1, read=0.3, total=20)
    live, told = await both(kind, "plain", cassette, wire.base_url, timeout=timeout)
    assert live == told
    assert live["marks"] == [f"recorded {live['recorded']:%Y-%m-%d}"] * 2


@KINDS
async def test_a_call_without_time_is_replayed(kind: type[BaseClient], wire: Wire, cassette: Path) -> None:
    dribble = iter([b"HTTP/1.1 200 OK\r\n", *[b"x-a: b\r\n", 0.2] * 20])
    wire.say(dribble)
    timeout = bn.Timeouts(connect=1, read=1, total=0.5)
    live, told = await both(kind, "plain", cassette, wire.base_url, timeout=timeout)
    assert live["error"] is told["error"] is bn.Timeout
    assert live["message"] == told["message"]


@KINDS
async def test_nobody_there_is_replayed(kind: type[BaseClient], cassette: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    live, told = await both(kind, "plain", cassette, f"http://127.0.0.1:{port}/v1")
    assert live == told
    assert live["error"] is bn.ConnectionFailed
    assert live["attempts"] == 2


@KINDS
@pytest.mark.parametrize(
    "pieces",
    [
        WHOLE[:1],
        [*WHOLE[:1], event({"error": {"code": "model_unavailable", "message": "Gone.", "retryable": True}})],
        [*WHOLE[:1], b'data: {"half'],
        [event(delta("é"))[:40], event(delta("é"))[40:], *WHOLE],
    ],
    ids=["cut", "error event", "half an event", "split anywhere"],
)
async def test_a_stream_is_replayed_as_far_as_it_came(
    kind: type[BaseClient], pieces: list[bytes], wire: Wire, cassette: Path
) -> None:
    wire.say(sse(*pieces))
    live, told = await both(kind, "streamed", cassette, wire.base_url)
    assert live == told


async def test_a_stream_that_was_left_ends_where_it_was_left(wire: Wire, cassette: Path) -> None:
    wire.say(sse(WHOLE[0], 0.2, *WHOLE[1:]))
    with bn.Client(KEY, base_url=wire.base_url, mode="record", cassette=cassette) as client:
        with client.stream("Hi") as stream:
            next(iter(stream))
        live = stream.reply
    with bn.Client(mode="replay", cassette=cassette, speed=0) as client:
        with client.stream("Hi") as stream:
            next(iter(stream))
        told = stream.reply
        assert told.with_(idempotency_key=None) == live.with_(idempotency_key=None)
        with pytest.raises(bn.NotRecorded, match="ends here"), client.stream("Hi") as stream:
            list(stream)


def test_no_key_is_on_a_tape(wire: Wire, cassette: Path) -> None:
    quoting = {"error": {"code": "invalid_api_key", "message": f"{KEY} is no key.", "retryable": False}}
    half = len(KEY) // 2
    wire.say(
        http(401, quoting, x_request_id=f"req-{KEY}", x_account="acct-123", set_cookie="session=secret"),
        sse(b"data: " + KEY[:half].encode(), 0.1, KEY[half:].encode() + b"\n\n", *WHOLE),
        http(200, completion("fine"), x_request_id="req_2"),
    )
    with bn.Client(KEY, base_url=wire.base_url, mode="record", cassette=cassette) as client:
        with pytest.raises(bn.AuthenticationError):
            client.chat("Hi")
        with pytest.raises(bn.BeatraError), client.stream("Hi") as stream:
            list(stream)
        client.chat(f"My key is {KEY}; keep it.")
    for path in cassette.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for at in range(len(KEY) - 12):
                assert KEY[at : at + 12].encode() not in data
            assert b"acct-123" not in data
            assert b"session=secret" not in data
            assert b"Authorization" not in data
            assert b"Bearer" not in data


def test_a_request_that_was_not_recorded_says_what_differs(wire: Wire, cassette: Path) -> None:
    wire.say(http(200, completion()))
    with bn.Client(KEY, base_url=wire.base_url, mode="record", cassette=cassette) as client:
        client.chat("Say hi in five words.", temperature=0)
        client.chat("Something else.", temperature=0)
    with bn.Client(mode="replay", cassette=cassette, speed=0) as client:
        with pytest.raises(bn.NotRecorded) as caught:
            client.chat("Say hi in six words.", temperature=0)
        assert "messages[0].content: “Say hi in [-five-] {+six+} words.”" in caught.value.message
        assert "BEATRA_MODE=record" in str(caught.value)
        assert caught.value.attempts == 0
        assert not caught.value.doubtful
        with pytest.raises(bn.NotRecorded, match=r"temperature: recorded was 0, asked is 1"):
            client.chat("Something else.", temperature=1)
        with pytest.raises(bn.NotRecorded, match=r"seed: recorded was nothing, asked is 7"):
            client.chat("Something else.", temperature=0, seed=7)
        with pytest.raises(bn.NotRecorded, match="The nearest that was recorded is POST /chat/completions"):
            client.health()
    assert len(wire.asked) == 2


def test_without_a_cassette_it_says_how_to_make_one(tmp_path: Path) -> None:
    with (
        bn.Client(mode="replay", cassette=tmp_path / "none.cassette") as client,
        pytest.raises(bn.NotRecorded, match="There is no cassette"),
    ):
        client.chat("Hi")
    assert not (tmp_path / "none.cassette").exists()


def test_a_replay_of_no_cassette_is_told_at_once(tmp_path: Path) -> None:
    before = verbs.exchange((None, None))
    try:
        with pytest.raises(bn.NotRecorded, match="There is no cassette") as caught:
            bn.replay(tmp_path / "none.cassette")
        assert "bn.record(" in str(caught.value)
        assert "BEATRA_MODE=record" in str(caught.value)
        assert verbs.exchange((None, None)) == (None, None), "what was the default client stays it"
    finally:
        verbs.exchange(before)
    assert not (tmp_path / "none.cassette").exists()


def test_the_same_request_is_answered_in_turn_and_then_anew(wire: Wire, cassette: Path) -> None:
    wire.say(*[http(200, completion(text)) for text in ("one", "two", "three")])
    with bn.Client(KEY, base_url=wire.base_url, mode="record", cassette=cassette) as client:
        assert [client.chat("Next?").text for _ in range(3)] == ["one", "two", "three"]
    with bn.Client(mode="replay", cassette=cassette, speed=0) as client:
        assert [client.chat("Next?").text for _ in range(5)] == ["one", "two", "three", "one", "two"]


def test_what_is_recorded_again_replaces_what_was(wire: Wire, cassette: Path) -> None:
    for texts in (["one", "two", "other"], ["three"]):
        wire.say(*[http(200, completion(text)) for text in texts])
        with bn.Client(KEY, base_url=wire.base_url, mode="record", cassette=cassette) as client:
            for text in texts:
                client.chat("Other?" if text == "other" else "Next?")
    with bn.Client(mode="replay", cassette=cassette, speed=0) as client:
        assert [client.chat("Next?").text for _ in range(2)] == ["three", "three"]
        assert client.chat("Other?").text == "other"


async def test_calls_at_once_are_recorded_and_replayed(box: Sandbox, cassette: Path) -> None:
    settings = {"api_key": box.api_key, "base_url": box.base_url, "mode": "record"}
    prompts = [f"Say hello to {number}." for number in range(12)]
    async with bn.AsyncClient(**settings, cassette=cassette) as client:  # type: ignore[arg-type]
        live = await asyncio.gather(*[client.chat(prompt, seed=1) for prompt in prompts])
    async with bn.AsyncClient(mode="replay", cassette=cassette, speed=0) as client:
        told = await asyncio.gather(*[client.chat(prompt, seed=1) for prompt in reversed(prompts)])
    assert [one.request_id for one in live] == [one.request_id for one in reversed(told)]
    assert [one.elapsed for one in live] == [one.elapsed for one in reversed(told)]


async def test_verbs_record_and_replay_and_come_back(cassette: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEATRA_SANDBOX_ENGINE", "scripted")
    before = bn.connect(mode="sandbox")
    with bn.record(cassette, once=True) as taping:
        assert taping.mode == "record"
        live = bn.chat("Hi", seed=1)
        twin = await bn.achat("Hello", seed=1)
        await verbs.default_async_client().close()
    assert verbs.default_client() is before
    with bn.record(cassette, once=True, speed=0) as taping:
        assert taping.mode == "replay"
        assert bn.chat("Hi", seed=1).with_(idempotency_key=None) == live.with_(idempotency_key=None)
        assert (await bn.achat("Hello", seed=1)).request_id == twin.request_id
    taping = bn.replay(cassette, speed=0)  # as a plain call at the top of a notebook
    assert bn.chat("Hi", seed=1).request_id == live.request_id
    assert live.sandbox
    taping.stop()
    assert verbs.default_client() is before
    before = lines(cassette)
    with pytest.raises(bn.ConfigurationError):
        bn.record(cassette, refresh=True, speed=-1)
    with pytest.raises(bn.InvalidInput, match="once or anew"):
        bn.record(cassette, refresh=True, once=True)
    with (
        bn.sandbox.start(engine="scripted", faults=True) as box,
        bn.record(cassette, refresh=True, api_key="not-this-one", base_url=box.base_url),
        pytest.raises(bn.AuthenticationError),
    ):
        bn.chat("Hi", seed=1)
    assert lines(cassette) == before, "what was recorded is there until there is something better"
    with bn.record(cassette, refresh=True):
        bn.chat("Anew", seed=1)
    assert [line["request"]["body"]["messages"][0]["content"] for line in lines(cassette)[1:]] == ["Anew"]


def test_failures_that_may_have_been_paid_look_the_same_in_a_replay(cassette: Path) -> None:
    def shown(client: bn.Client) -> list[str]:
        views = []
        for prompt in ("one", "Tell me about dogs"):
            with pytest.raises(bn.BeatraError) as caught:
                client.chat(prompt, stream=len(prompt) > 3)
            views.append(caught.value._repr_html_())
        return views

    with bn.sandbox.start(engine="scripted", faults=True) as box:
        box.inject("reset:after;on=chat")
        box.inject("stall:2;on=chat")
        where: dict[str, Any] = {
            "base_url": box.base_url,
            "timeout": bn.Timeouts(read=0.5),
            "max_attempts": 1,
        }
        with bn.Client(box.api_key, mode="record", cassette=cassette, **where) as client:
            before = shown(client)
    with bn.Client(mode="replay", cassette=cassette, speed=0, max_attempts=1) as client:
        assert shown(client) == before
    assert "bn.journal()" in before[0]


def test_jobs_are_recorded_for_good_and_replayed_without_a_trace(
    cassette: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEATRA_SANDBOX_ENGINE", "scripted")
    options: dict[str, Any] = {"model": "minimax-music-2.6", "model_options": {"sandbox": {"seconds": 3}}}
    with bn.Client(mode="record", cassette=cassette) as client:
        left = client.music("first", wait=False, **options)
        made = client.music("second", **options)
        found = client.pending()
        assert [task.id for task in found] == [left.id]
    # What was recorded is a real job: it is found when the recording is over.
    with bn.Client(mode="sandbox") as client:
        assert [task.id for task in client.pending()] == [left.id]
        client.pending().wait()
        assert len(client.pending()) == 0
    with bn.Client(mode="replay", cassette=cassette, speed=0) as client:
        again = client.music("first", wait=False, **options)
        told = client.music("second", **options)
        assert (again.id, told.id, told.status) == (left.id, made.id, "succeeded")
        assert told.clips[0].audio() == made.clips[0].audio()
        assert told.elapsed == made.elapsed
        assert told.recorded is not None
        assert [task.id for task in client.pending()] == [left.id]
    with bn.Client(mode="sandbox") as client:
        assert len(client.pending()) == 0
    rows = bn.journal(20)
    replayed = [row for row in rows if (row.base_url or "").startswith("cassette ")]
    assert len(replayed) >= 2
    assert all(row.credits is None for row in replayed)


def test_a_task_that_was_not_over_does_not_keep_a_replay_for_ever(wire: Wire, cassette: Path) -> None:
    wire.say(http(200, {"task_id": "task_1", "status": "running", "created_at": "2026-01-01T00:00:00Z"}))
    with bn.Client(KEY, base_url=wire.base_url, mode="record", cassette=cassette) as client:
        live = client.task("task_1")
    with bn.Client(mode="replay", cassette=cassette, speed=0) as client:
        task = client.task("task_1")
        assert task.elapsed == live.elapsed
        with pytest.raises(bn.NotRecorded):
            task.wait()


def test_time_that_ran_out_runs_out_again(wire: Wire, cassette: Path) -> None:
    """A replay does not wait, and yet its clock goes on as the recording's did."""
    wire.say(http(200, {"task_id": "task_1", "status": "running", "progress": {"percent": 40}}))
    seen = []
    settings: dict[str, Any] = {"api_key": KEY, "base_url": wire.base_url, "mode": "record"}
    for given in (settings, {"mode": "replay", "speed": 0}):
        with bn.Client(**given, cassette=cassette) as client, pytest.raises(bn.TaskTimeout) as caught:
            client.task("task_1").wait(timeout=1.2)
        seen.append(str(caught.value))
    assert seen[0] == seen[1]


def test_a_replay_goes_as_fast_as_it_is_told(wire: Wire, cassette: Path) -> None:
    """Time is told by a clock that goes on by what is not waited for."""
    from beatra_nb.core.taping.tape import Tape
    from beatra_nb.store.cassettes.cassette import Cassette

    for speed, waited in ((0.0, 0.0), (1.0, 4.0), (2.0, 2.0)):
        assert Tape(Cassette(cassette), replays=True, speed=speed).pause(4.0) == waited
    assert Tape(Cassette(cassette), replays=False, speed=0).pause(4.0) == 4.0


@contextmanager
def _chosen(monkeypatch: pytest.MonkeyPatch, **names: str) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for name, value in names.items():
            patch.setenv(f"BEATRA_{name}", value)
        yield


def test_the_environment_can_record_and_replay(
    wire: Wire, cassette: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire.say(http(200, completion("by environment")))
    with (
        _chosen(monkeypatch, MODE="once", CASSETTE=str(cassette), API_KEY=KEY, BASE_URL=wire.base_url),
        bn.Client() as client,
    ):
        assert client.mode == "record"
        client.chat("Hi")
    with _chosen(monkeypatch, MODE="once", CASSETTE=str(cassette), SPEED="0"), bn.Client() as client:
        assert client.mode == "replay"
        assert client.chat("Hi").text == "by environment"
        assert KEY not in repr(client)


@pytest.mark.parametrize("size", [0, 1, 7, 5000])
@pytest.mark.parametrize("step", [1, 3, 100_000])
def test_forms_are_taken_apart_however_they_come(size: int, step: int) -> None:
    import hashlib

    import httpx

    file = bytes(range(256)) * (size // 256 + 1)
    request = httpx.Request(
        "POST",
        "http://x/",
        data={"purpose": "media_input", "metadata": '{"a": "ü\\r\\n"}'},
        files={"file": ("a.wav", file[:size], "audio/wav")},
    )
    body = request.read()
    splitter = Splitter.of(request.headers["content-type"])
    assert splitter is not None
    for start in range(0, len(body), step):
        splitter.feed(body[start : start + step])
    assert splitter.form() == {
        "form": {"purpose": "media_input", "metadata": '{"a": "ü\\r\\n"}'},
        "file": {
            "name": "a.wav",
            "type": "audio/wav",
            "size": size,
            "sha256": hashlib.sha256(file[:size]).hexdigest(),
        },
    }
