"""A conversation records a turn when it is whole, and never pays twice for one that failed."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, create_model

import beatra_nb as bn
from beatra_nb.sandbox import Sandbox
from tests.core.wire import Wire, completion, delta, event, http, sse

WAYS = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def chat_of(talk: bn.Client, **more: Any) -> bn.Chat:
    return bn.Chat("Be brief.", client=talk, **more)


def keys(box: Sandbox, since: int) -> list[str | None]:
    return [each.idempotency_key for each in box.seen[since:]]


@WAYS
def test_turns_are_recorded_and_sent_along(talk: bn.Client, stream: bool) -> None:
    chat = chat_of(talk, title="T")
    first = chat.send("My name is Ada.", stream=stream)
    second = chat.send("What is my name?", stream=stream)
    assert "Ada" in second.text
    assert [turn.prompt for turn in chat.turns] == ["My name is Ada.", "What is my name?"]
    assert [turn.reply for turn in chat] == [first, second]
    assert [m["role"] for m in chat.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert chat.usage.total_tokens == first.usage.total_tokens + second.usage.total_tokens  # type: ignore[union-attr]
    assert len(chat) == 2
    assert "2 turns" in repr(chat)
    assert bool(bn.Chat()) is True


@WAYS
@pytest.mark.parametrize(
    "fault", ["500:retryable=false", "html:200", "reset:before", "conflict", "unknown_code"]
)
def test_a_failed_send_leaves_the_conversation_as_it_was(
    talk: bn.Client, box: Sandbox, stream: bool, fault: str
) -> None:
    chat = chat_of(talk)
    chat.send("one")
    before = (chat.turns, chat.messages, chat.usage)
    box.inject(fault, 4 if fault == "reset:before" else 1)
    with pytest.raises(bn.BeatraError):
        chat.send("two", stream=stream)
    assert (chat.turns, chat.messages, chat.usage) == before
    chat.send("two", stream=stream)  # the cell run again
    assert [turn.prompt for turn in chat.turns] == ["one", "two"]


@WAYS
@pytest.mark.parametrize("fault", ["slow:2", "reset:before", "short_body", "cut:2"])
def test_run_again_after_no_answer_it_is_the_same_call_and_done_once(
    talk: bn.Client, box: Sandbox, stream: bool, fault: str
) -> None:
    chat = chat_of(talk)
    since = len(box.seen)
    box.inject(fault, 1 if stream and fault in ("short_body", "cut:2") else 4)
    with pytest.raises((bn.Timeout, bn.ConnectionFailed, bn.IncompleteStream)):
        chat.send("Once, please", stream=stream)
    chat.send("Once, please", stream=stream)
    assert len(set(keys(box, since))) == 1
    assert sum(each.effect for each in box.seen[since:]) == 1


@pytest.mark.parametrize("fault", ["html:200", "bad_json", "html:502", "empty:500"])
def test_an_answer_that_is_not_the_service_s_leaves_the_end_unknown_too(
    talk: bn.Client, box: Sandbox, fault: str
) -> None:
    chat = chat_of(talk)
    since = len(box.seen)
    box.inject(fault, 4 if fault == "html:502" else 1)
    with pytest.raises(bn.APIError):
        chat.send("Once, please")
    chat.send("Once, please")
    assert len(set(keys(box, since))) == 1
    assert sum(each.effect for each in box.seen[since:]) == 1


def test_after_the_service_s_own_word_a_new_try_is_a_new_call(talk: bn.Client, box: Sandbox) -> None:
    chat = chat_of(talk)
    since = len(box.seen)
    box.inject("500:retryable=false")
    with pytest.raises(bn.ServerError):
        chat.send("x")
    chat.send("x")
    assert len(set(keys(box, since))) == 2


def test_other_words_or_another_way_are_another_call(talk: bn.Client, box: Sandbox) -> None:
    for first, second in (
        ({"prompt": "a"}, {"prompt": "b"}),
        ({"prompt": "a"}, {"prompt": "a", "temperature": 1}),
        ({"prompt": "a"}, {"prompt": "a", "stream": True}),  # another body: the same key would be a 409
        ({"prompt": "a"}, {"prompt": "a", "model": "sandbox-scripted"}),
    ):
        chat = chat_of(talk)
        since = len(box.seen)
        box.inject("reset:before", 4)
        with pytest.raises(bn.ConnectionFailed):
            chat.send(**first)  # type: ignore[arg-type]
        chat.send(**second)  # type: ignore[arg-type]
        assert len(set(keys(box, since))) == 2


def test_saying_the_same_again_after_an_answer_is_a_new_call(talk: bn.Client, box: Sandbox) -> None:
    chat = chat_of(talk)
    since = len(box.seen)
    for _ in range(2):
        chat.send("x")
        chat.regenerate()
    assert len(set(keys(box, since))) == 4


def test_a_key_of_one_s_own_is_used(talk: bn.Client, box: Sandbox) -> None:
    since = len(box.seen)
    chat = chat_of(talk)
    assert chat.send("x", idempotency_key="my-key-1").idempotency_key == "my-key-1"
    assert keys(box, since) == ["my-key-1"]


@WAYS
def test_regenerate_replaces_the_last_turn_once_the_new_one_is_whole(
    talk: bn.Client, box: Sandbox, stream: bool
) -> None:
    chat = chat_of(talk)
    chat.send("one")
    chat.send("two")
    before = chat.turns
    box.inject("500:retryable=false")
    with pytest.raises(bn.ServerError):
        chat.regenerate(stream=stream)
    assert chat.turns == before
    reply = chat.regenerate(stream=stream, seed=5)
    assert [turn.prompt for turn in chat.turns] == ["one", "two"]
    assert chat.turns[0] is before[0]
    assert chat.turns[1].reply is reply


def test_edit_goes_on_from_there(talk: bn.Client, box: Sandbox) -> None:
    chat = chat_of(talk)
    for word in ("one", "two", "three"):
        chat.send(word)
    both = chat.fork()
    before = chat.turns
    box.inject("500:retryable=false")
    with pytest.raises(bn.ServerError):
        chat.edit(1, "deux")
    assert chat.turns == before
    chat.edit(1, "deux")
    assert [turn.prompt for turn in chat.turns] == ["one", "deux"]
    chat.edit(-1, "zwei")
    assert [turn.prompt for turn in chat.turns] == ["one", "zwei"]
    assert [turn.prompt for turn in both.turns] == ["one", "two", "three"]


@pytest.mark.parametrize("turn", [3, -4, True, 1.0, "1", None])
def test_a_turn_that_is_not_there(talk: bn.Client, turn: object) -> None:
    chat = chat_of(talk)
    for word in ("one", "two", "three"):
        chat.send(word)
    with pytest.raises(bn.InvalidInput, match=r"no turn.*0 to 2"):
        chat.edit(turn, "x")  # type: ignore[arg-type]
    with pytest.raises(bn.InvalidInput, match="empty"):
        bn.Chat(client=talk).regenerate()


def test_forks_share_and_part(talk: bn.Client) -> None:
    chat = chat_of(talk, title="T", temperature=0.5)
    for word in ("one", "two"):
        chat.send(word)
    other = chat.fork(0)
    assert other.turns == chat.turns[:1]
    assert (other.system, other.title, other.defaults) == ("Be brief.", "T", {"temperature": 0.5})
    other.send("apart")
    other.defaults["temperature"] = 1
    assert [turn.prompt for turn in chat.turns] == ["one", "two"]
    assert chat.defaults == {"temperature": 0.5}
    assert chat.fork(-1).turns == chat.turns


def test_one_thing_at_a_time(wire: Wire, client: bn.Client) -> None:
    may_end = threading.Event()
    asked = threading.Event()

    def slowly() -> Any:
        asked.set()
        may_end.wait(10)
        yield http(200, completion("late"))

    wire.say(slowly(), http(200, completion("b")))
    chat = bn.Chat(client=bn.Client("sk-test-test", base_url=wire.base_url))
    thread = threading.Thread(target=chat.send, args=("a",))
    thread.start()
    assert asked.wait(10)
    with pytest.raises(bn.InvalidInput, match="still waiting"):
        chat.send("b")
    may_end.set()
    thread.join(10)
    assert [turn.reply.text for turn in chat] == ["late"]
    assert chat.send("b").text == "b"
    chat._client.close()  # type: ignore[union-attr]


async def test_one_thing_at_a_time_awaited(atalk: bn.AsyncClient) -> None:
    chat = bn.Chat(async_client=atalk)
    pace = {"pace": 0.01}
    first = asyncio.create_task(chat.asend("Say hi in five words", model_options=pace))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(bn.InvalidInput, match="still waiting"):
        await chat.asend("b")
    await first
    await chat.asend("b")
    assert len(chat) == 2


@WAYS
async def test_the_async_twins(atalk: bn.AsyncClient, box: Sandbox, stream: bool) -> None:
    chat = bn.Chat(async_client=atalk)
    await chat.asend("My name is Ada.", stream=stream)
    assert "Ada" in (await chat.asend("What is my name?", stream=stream)).text
    await chat.aregenerate(stream=stream)
    await chat.aedit(0, "My name is Bob.", stream=stream)
    assert [turn.prompt for turn in chat.turns] == ["My name is Bob."]
    since = len(box.seen)
    box.inject("reset:before", 4)
    with pytest.raises(bn.ConnectionFailed):
        await chat.asend("x", stream=stream)
    assert len(chat) == 1
    await chat.asend("x", stream=stream)
    assert len(set(keys(box, since))) == 1


@pytest.mark.parametrize("cancelled", [False, True], ids=["plain", "streamed"])
async def test_a_cancelled_turn_is_not_recorded_and_keeps_its_key(
    atalk: bn.AsyncClient, box: Sandbox, cancelled: bool
) -> None:
    chat = bn.Chat(async_client=atalk)
    since = len(box.seen)
    box.inject("slow:5")
    task = asyncio.create_task(chat.asend("x", stream=cancelled))
    while len(box.seen) == since:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(chat) == 0
    await chat.asend("x", stream=cancelled)
    assert len(set(keys(box, since))) == 1


def test_a_cut_stream_is_no_turn(wire: Wire, client: bn.Client) -> None:
    chat = bn.Chat(client=client)
    wire.say(sse(event(delta("half"))))
    with pytest.raises(bn.IncompleteStream) as caught:
        chat.send("x", stream=True)
    assert caught.value.reply.text == "half"
    assert len(chat) == 0


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@WAYS
def test_the_results_of_tools_are_a_turn(talk: bn.Client, stream: bool) -> None:
    chat = chat_of(talk, tools=[TOOL])
    asked = chat.send("Call weather for Bern.", stream=stream)
    assert asked.tool_calls[0].name == "weather"
    result = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "rain"}
    answer = chat.send([result], stream=stream)
    assert "rain" in answer.text
    roles = [m["role"] for m in chat.messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant"]
    assert chat.messages[2]["tool_calls"][0]["id"] == asked.tool_calls[0].id
    assert chat.turns[1].prompt == "rain"
    chat.regenerate()
    assert chat.turns[1].sent == (result,)


def test_defaults_hold_for_every_turn_and_one_turn_may_differ(wire: Wire, client: bn.Client) -> None:
    chat = bn.Chat(client=client, model="m1", temperature=0.5)
    wire.say(http(200, completion()))
    chat.send("x")
    chat.send("y", temperature=1, model="m2")
    sent = [(asked.json["model"], asked.json["temperature"]) for asked in wire.asked]
    assert sent == [("m1", 0.5), ("m2", 1)]


@pytest.mark.parametrize("system", [5, b"x", ["x"]])
def test_a_system_that_is_no_text(system: object) -> None:
    with pytest.raises(bn.InvalidInput, match="system"):
        bn.Chat(system)  # type: ignore[arg-type]


def test_stream_is_no_default() -> None:
    with pytest.raises(bn.InvalidInput, match=r"send\(\)"):
        bn.Chat(stream=True)


def test_a_half_made_one_has_a_repr() -> None:
    assert "0 turns" in repr(bn.Chat.__new__(bn.Chat))
    assert "not ready" in repr(bn.Client.__new__(bn.Client))


def test_bad_input_is_no_turn(talk: bn.Client) -> None:
    chat = chat_of(talk)
    for bad in ("", [], None, [{"role": "x"}], "\ud800"):
        with pytest.raises(bn.InvalidInput):
            chat.send(bad)  # type: ignore[arg-type]
    assert len(chat) == 0
    chat.send("x")  # and it is not busy for ever


def test_invalid_data_is_no_turn(wire: Wire, client: bn.Client) -> None:
    from tests.core.test_request import City

    chat = bn.Chat(client=client)
    wire.say(http(200, completion("no json")))
    with pytest.raises(bn.InvalidData) as caught:
        chat.send("x", schema=City)
    assert caught.value.reply.text == "no json"
    assert len(chat) == 0
    with pytest.raises(bn.InvalidData):
        chat.send("x", schema=City)
    assert len({asked.headers["idempotency-key"] for asked in wire.asked}) == len(wire.asked) == 4, (
        "with the same key it would get the same unfit answer for ever"
    )


def test_a_copy_keeps_the_client(talk: bn.Client) -> None:
    chat = chat_of(talk, temperature=0.5)
    chat.send("x")
    for again in (copy.copy(chat), copy.deepcopy(chat)):
        assert again.turns == chat.turns
        assert (again.system, again.model, again.defaults) == (chat.system, chat.model, chat.defaults)
        again.send("y")
        assert talk.last is again.turns[-1].reply
        assert len(chat.turns) == 1
    with pytest.raises(TypeError, match="save"):
        pickle.dumps(chat)  # it would come back with another account's client


def test_a_pickled_conversation_goes_on_with_the_default_client(box: Sandbox) -> None:
    with bn.connect(box.api_key, base_url=box.base_url) as client:
        chat = bn.Chat("Be brief.", temperature=0.5)
        chat.send("x")
        again = pickle.loads(pickle.dumps(chat))
        assert again.turns == chat.turns
        assert (again.system, again.model, again.defaults) == (chat.system, chat.model, chat.defaults)
        again.send("y")
        assert client.last is again.turns[-1].reply


async def test_awaited_it_stays_with_its_own_client(talk: bn.Client, box: Sandbox) -> None:
    chat = bn.Chat(client=talk)
    before = len(box.seen)
    await chat.asend("x")
    assert len(box.seen) == before + 1, "it went where the blocking client goes"
    assert chat._async_client is not None
    await chat._async_client.close()
    only_async = bn.Chat(async_client=talk.twin())
    with pytest.raises(bn.InvalidInput, match="async client"):
        only_async.send("x")


def test_what_is_really_sent_decides_whether_it_is_the_same_call(wire: Wire, client: bn.Client) -> None:
    def city(**fields: Any) -> type[BaseModel]:
        return create_model("City", **fields)

    wire.say(b"")
    chat = bn.Chat(client=client)
    for schema in (city(name=(str, ...)), city(name=(str, ...), country=(str, ...)), city(name=(str, ...))):
        with pytest.raises(bn.ConnectionFailed):
            chat.send("x", schema=schema)
    keys = list(dict.fromkeys(asked.headers["idempotency-key"] for asked in wire.asked))
    assert len(keys) == 2, "the changed schema is another call, the first one again is not"


def test_a_call_whose_end_is_unknown_survives_saving(wire: Wire, client: bn.Client, tmp_path: Path) -> None:
    wire.say(b"")
    chat = bn.Chat(client=client)
    with pytest.raises(bn.ConnectionFailed):
        chat.send("x")
    again = bn.Chat.load(chat.save(tmp_path / "chat.json"), client=client)
    for copied in (again, chat.fork()):
        with pytest.raises(bn.ConnectionFailed):
            copied.send("x")
    assert len({asked.headers["idempotency-key"] for asked in wire.asked}) == 1


def test_without_a_client_the_default_one_answers(box: Sandbox) -> None:
    client = bn.connect(box.api_key, base_url=box.base_url)
    chat = bn.Chat()
    chat.send("x")
    assert bn.last() is chat.turns[-1].reply
    client.close()
