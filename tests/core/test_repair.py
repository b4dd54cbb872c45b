"""Answers that do not fit, schemas that are not taken: asked again within one call, and every charge told."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any, Literal

import pytest
from pydantic import BaseModel, field_validator

import beatra_nb as bn
from beatra_nb.core import resources
from beatra_nb.core.base_client import BaseClient
from beatra_nb.core.policy import derived_key
from beatra_nb.core.reply import Usage
from beatra_nb.core.request import ChatRequest
from beatra_nb.sandbox import Sandbox
from tests.core.conftest import QUICK
from tests.core.driving import RESET, World, no, said
from tests.core.test_client import HOWS, KINDS, ask
from tests.core.wire import KEY, Wire, completion, delta, event, http, sse


class City(BaseModel):
    name: str
    people: int


class Faulty(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def _wrong(cls, value: str) -> str:
        raise KeyError(value)


GOOD = '{"name": "Bern", "people": 5}'
BAD = '{"name": "Bern"}'
REFUSES = {
    "code": "unsupported_option",
    "message": "No.",
    "retryable": False,
    "details": {"unsupported_fields": ["response_format"]},
}


def answer(text: str, request_id: str = "req_1", **more: Any) -> Any:
    return said(body=completion(text, **more), x_request_id=request_id)


def refusal(**more: Any) -> Any:
    return said(422, {"error": {**REFUSES, **more}})


def drive(world: World, prompt: Any = "A city", **options: Any) -> bn.Reply:
    request = ChatRequest.of(prompt, **{"schema": City, "idempotency_key": "k1", **options})
    reply: bn.Reply = world.run(resources.chat(world.context(), request))
    return reply


def bodies(world: World) -> list[dict[str, Any]]:
    return [json.loads(each.call.body or b"") for each in world.sent]


def keys(world: World) -> list[str | None]:
    return [each.call.key for each in world.sent]


# ── an answer that does not fit ──


def test_an_answer_that_does_not_fit_is_asked_for_again_and_both_are_counted() -> None:
    world = World([answer(BAD, "req_1"), answer(GOOD, "req_2")])
    reply = drive(world)
    assert reply.data == City(name="Bern", people=5)
    assert (reply.repairs, reply.attempts, reply.request_id, reply.text) == (1, 2, "req_2", GOOD)
    assert reply.usage == Usage(2, 4, 6, Decimal("0.50"))
    assert reply.raw["choices"][0]["message"]["content"] == GOOD
    assert reply.raw["usage"]["credits"] == "0.25", "the last answer, as it came"
    assert reply.idempotency_key == "k1"


def test_what_is_asked_then_holds_the_answer_and_what_is_wrong_with_it() -> None:
    world = World([answer(BAD), answer(GOOD)])
    drive(world, system="Be brief.", n=1, temperature=0.5, stream_options={"include_usage": True})
    first, second = bodies(world)
    assert second["messages"][:2] == first["messages"]
    assert second["messages"][2] == {"role": "assistant", "content": BAD}
    assert second["messages"][3]["role"] == "user"
    assert "- people: Field required" in second["messages"][3]["content"]
    assert second["response_format"] == first["response_format"]
    assert second["temperature"] == 0.5
    assert not {"n", "stream_options"} & second.keys(), "one good answer is enough, and it comes whole"


def test_each_answer_has_its_own_key_and_its_own_row() -> None:
    world = World([answer(BAD, "req_1"), answer("[]", "req_2"), answer(GOOD, "req_3")])
    assert drive(world, repairs=2).repairs == 2
    assert keys(world) == ["k1", derived_key("k1", "repair-1"), derived_key("k1", "repair-2")]
    assert {each.call.repeat_with for each in world.sent} == {"k1"}
    rows = bn.journal()
    assert [row.request_id for row in rows] == ["req_3", "req_2", "req_1"]
    assert [(row.status, row.error_type, row.credits) for row in rows] == [
        ("ok", None, Decimal("0.25")),
        ("error", "InvalidData", Decimal("0.25")),
        ("error", "InvalidData", Decimal("0.25")),
    ]
    again = World([answer(BAD), answer("[]"), answer(GOOD)])
    drive(again, repairs=2)
    assert keys(again) == keys(world), "the call made again is the same call, all the way"


@pytest.mark.parametrize("repairs", [0, 1, 3])
def test_after_as_many_repairs_as_allowed_it_is_an_error_that_tells_the_sum(repairs: int) -> None:
    world = World([answer(BAD)])
    with pytest.raises(bn.InvalidData, match="does not fit City: people: Field required") as caught:
        drive(world, repairs=repairs)
    error = caught.value
    asked = repairs + 1
    assert len(world.sent) == asked
    assert (error.reply.repairs, error.reply.attempts, error.attempts) == (repairs, asked, asked)
    assert error.reply.usage == Usage(asked, 2 * asked, 3 * asked, Decimal("0.25") * asked)
    assert error.reply.text == BAD
    assert error.errors[0]["type"] == "missing"
    assert error.idempotency_key == "k1"
    assert ("answers were asked for" in (error.hint or "")) is (repairs > 0)
    if repairs == 3:
        assert "4 answers were asked for, and each was charged" in str(error)


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_what_was_cut_off_is_not_asked_for_again(reason: str) -> None:
    body = completion(BAD)
    body["choices"][0]["finish_reason"] = reason
    world = World([said(body=body)])
    with pytest.raises(bn.InvalidData) as caught:
        drive(world, repairs=5)
    assert len(world.sent) == 1
    assert ("max_tokens" in (caught.value.hint or "")) is (reason == "length")


@pytest.mark.parametrize(
    ("schema", "text", "data"),
    [(str, "Bern, I think.", "Bern, I think."), (Literal["good", "bad"], "Good.", "good"), (int, "42.", 42)],
)
def test_a_bare_answer_is_paid_once(schema: Any, text: str, data: Any) -> None:
    world = World([answer(text)])
    reply = drive(world, schema=schema)
    assert (reply.data, reply.text, reply.repairs) == (data, text, 0)
    assert reply.usage.credits == Decimal("0.25")
    in_words = World([refusal(), answer(text)])
    assert drive(in_words, schema=schema).data == data
    body = completion(text)
    body["choices"][0]["finish_reason"] = "length"
    with pytest.raises(bn.InvalidData, match="max_tokens"):
        drive(World([said(body=body)]), schema=schema)


def test_a_repair_that_is_cut_off_is_the_last_one() -> None:
    body = completion(BAD)
    body["choices"][0]["finish_reason"] = "length"
    world = World([answer(BAD), said(body=body), answer(GOOD)])
    with pytest.raises(bn.InvalidData, match=r"max_tokens.*2 answers were asked for"):
        drive(world, repairs=5)
    assert len(world.sent) == 2


def test_an_answer_that_calls_tools_is_no_misfit() -> None:
    body = completion("")
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body["choices"][0]["message"]["tool_calls"] = [call]
    reply = drive(World([said(body=body)]))
    assert (reply.data, reply.repairs, [each.name for each in reply.tool_calls]) == (None, 0, ["f"])


def test_an_answer_is_held_against_a_json_schema_too() -> None:
    world = World([refusal(), answer(BAD), answer(GOOD)])
    reply = drive(world, schema=City.model_json_schema())
    assert (reply.data, reply.repairs) == ({"name": "Bern", "people": 5}, 1)
    assert "- people: Field required" in bodies(world)[2]["messages"][-1]["content"]


def test_an_empty_answer_is_not_quoted() -> None:
    world = World([answer(""), answer(GOOD)])
    drive(world)
    assert [each["role"] for each in bodies(world)[1]["messages"]] == ["user", "user"]
    assert "was empty" in bodies(world)[1]["messages"][1]["content"]


def test_a_validator_of_the_users_that_fails_costs_one_answer_and_names_the_cause() -> None:
    world = World([answer(BAD)])
    with pytest.raises(bn.InvalidData, match="a validator raised KeyError") as caught:
        drive(world, schema=Faulty, repairs=3)
    assert len(world.sent) == 1
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_repair_that_fails_can_be_taken_up_again_with_the_same_key() -> None:
    world = World([answer(BAD), no(402, "insufficient_balance")])
    with pytest.raises(bn.InsufficientBalance, match="had come before, and was charged") as caught:
        drive(world)
    assert caught.value.idempotency_key == "k1"
    lost = World([answer(BAD), RESET])
    with pytest.raises(bn.ConnectionFailed) as cut:
        drive(lost)
    assert cut.value.idempotency_key == "k1"
    assert "idempotency_key='k1'" in str(cut.value)


def test_many_and_long_errors_are_told_in_short() -> None:
    wrong = [{"name": "x" * 5000, "people": "many"} for _ in range(50)]
    world = World([answer(json.dumps({"value": wrong})), answer('{"value": []}')])
    assert drive(world, schema=list[City]).data == []
    told = bodies(world)[1]["messages"][-1]["content"]
    assert "- value.0.people: " in told
    assert "and 40 more" in told
    assert len(told) < 3000


# ── a schema that is not taken ──


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"details": {"unsupported_fields": ["response_format.json_schema"]}},
        {"details": {}, "param": "/response_format"},
        {"details": {}, "param": "/response_format/type"},
        {"details": {"unsupported_fields": "response_format"}, "param": "response_format"},
    ],
)
def test_a_schema_that_is_not_taken_goes_in_words(more: dict[str, Any]) -> None:
    world = World([refusal(**more), answer(GOOD)])
    reply = drive(world, system="Be brief.")
    assert reply.data == City(name="Bern", people=5)
    assert (reply.repairs, reply.usage and reply.usage.credits) == (0, Decimal("0.25")), "a refusal is free"
    first, second = bodies(world)
    assert "response_format" not in second
    system, user = second["messages"]
    assert system["content"].startswith("Be brief.\n\n")
    assert json.loads(system["content"].partition("around it:\n")[2]) == City.model_json_schema()
    assert user == first["messages"][1]
    assert keys(world) == ["k1", derived_key("k1", "words")]
    assert [row.error_code for row in bn.journal()] == [None, "unsupported_option"]


@pytest.mark.parametrize(
    ("messages", "roles", "starts"),
    [
        ("A city", ["system", "user"], "Answer with"),
        (
            [{"role": "developer", "content": "D"}, {"role": "user", "content": "u"}],
            ["developer", "user"],
            "D\n\n",
        ),
        (
            [{"role": "system", "content": ""}, {"role": "user", "content": "u"}],
            ["system", "user"],
            "Answer with",
        ),
    ],
)
def test_the_words_stand_where_instructions_stand(messages: Any, roles: list[str], starts: str) -> None:
    world = World([refusal(), answer(GOOD)])
    drive(world, messages)
    said_then = bodies(world)[1]["messages"]
    assert [each["role"] for each in said_then] == roles
    assert said_then[0]["content"].startswith(starts)


def test_instructions_in_parts_get_one_more() -> None:
    parts = [{"type": "text", "text": "Be brief."}]
    world = World([refusal(), answer(GOOD)])
    drive(world, [{"role": "system", "content": parts}, {"role": "user", "content": "u"}])
    content = bodies(world)[1]["messages"][0]["content"]
    assert content[0] == parts[0]
    assert "JSON schema" in content[1]["text"]


@pytest.mark.parametrize(
    "failure",
    [
        refusal(details={}),
        refusal(details={"unsupported_fields": ["temperature"]}),
        refusal(details={"unsupported_fields": ["response_format", "temperature"]}),
        refusal(details={"unsupported_fields": [5]}),
        refusal(code="invalid_request"),
        said(400, {"error": {"code": "unsupported_model", "message": "No.", "retryable": False}}),
    ],
)
def test_any_other_refusal_stands(failure: Any) -> None:
    world = World([failure, answer(GOOD)])
    with pytest.raises(bn.InvalidRequest):
        drive(world)
    assert len(world.sent) == 1


def test_a_refused_format_of_the_users_own_is_the_users_to_mend() -> None:
    world = World([refusal(), answer("{}")])
    with pytest.raises(bn.InvalidRequest):
        drive(world, schema=None, response_format={"type": "json_object"})
    assert len(world.sent) == 1


def test_in_words_and_repaired() -> None:
    world = World([refusal(), answer("Bern, I think."), answer(GOOD)])
    reply = drive(world)
    assert (reply.data.people, reply.repairs) == (5, 1)
    third = bodies(world)[2]
    assert "response_format" not in third, "what the service does not take is not sent again"
    assert [each["role"] for each in third["messages"]] == ["system", "user", "assistant", "user"]
    words = derived_key("k1", "words")
    assert keys(world) == ["k1", words, derived_key(words, "repair-1")]


def test_with_a_fallback_the_model_that_answered_is_asked_again() -> None:
    gone = no(503, "model_unavailable", retryable=True)
    world = World([gone, refusal(), answer(BAD), answer(GOOD)])
    reply = drive(world, model="pinned", fallback="auto")
    assert (reply.data.people, reply.repairs, reply.fallback, reply.asked_model) == (5, 1, True, "pinned")
    assert [each["model"] for each in bodies(world)] == ["pinned", "auto", "auto", "auto"]
    assert ["response_format" in each for each in bodies(world)] == [True, True, False, False]
    assert len(set(keys(world))) == 4
    never = World([answer(BAD), no(400, "unsupported_model")])
    with pytest.raises(bn.InvalidRequest):
        drive(never, model="pinned", fallback="auto")
    assert len(never.sent) == 2, "a repair is of the model that answered: no other is asked in its place"


# ── by the clients ──


def streamed(text: str) -> Any:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "credits": "0.25"}
    last = {
        "id": "c1",
        "model": "m1",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "usage": usage,
    }
    return sse(event(delta(text)), event(last), event(b"[DONE]"))


@KINDS
@HOWS
async def test_every_client_repairs(wire: Wire, kind: type[BaseClient], how: str) -> None:
    wire.say(streamed(BAD) if how == "streamed" else http(body=completion(BAD)), http(body=completion(GOOD)))
    if kind is bn.Client:
        with bn.Client(KEY, base_url=wire.base_url, timeout=QUICK) as client:
            reply = await asyncio.to_thread(client.chat, "A city", schema=City, stream=how == "streamed")
    else:
        async with bn.AsyncClient(KEY, base_url=wire.base_url, timeout=QUICK) as client:
            reply = await client.chat("A city", schema=City, stream=how == "streamed")
    assert (reply.data, reply.repairs) == (City(name="Bern", people=5), 1)
    assert reply.usage == Usage(2, 4, 6, Decimal("0.50"))
    assert [asked.json.get("stream", False) for asked in wire.asked] == [how == "streamed", False]
    assert (reply.complete, reply.cut_by) == (True, None)


@KINDS
@HOWS
async def test_every_client_tells_when_none_fits(wire: Wire, kind: type[BaseClient], how: str) -> None:
    wire.say(streamed(BAD) if how == "streamed" else http(body=completion(BAD)), http(body=completion("[]")))
    with pytest.raises(bn.InvalidData, match="2 answers were asked for") as caught:
        await ask(kind, wire.base_url, how, "A city", schema=City)
    assert (caught.value.reply.text, caught.value.reply.repairs) == ("[]", 1)


def test_a_stream_ends_with_the_repaired_answer(wire: Wire, client: bn.Client) -> None:
    wire.say(streamed(BAD), http(body=completion(GOOD)))
    stream = client.stream("A city", schema=City)
    assert "".join(stream) == BAD, "it had been handed out when it turned out not to fit"
    assert stream.reply.text == GOOD
    assert stream.reply.repairs == 1
    assert client.last is stream.reply


def test_a_stream_that_was_not_repaired_keeps_the_last_answer(wire: Wire, client: bn.Client) -> None:
    wire.say(streamed(BAD), http(body=completion("[]")))
    stream = client.stream("A city", schema=City)
    with pytest.raises(bn.InvalidData) as caught:
        list(stream)
    assert stream.reply is caught.value.reply
    assert (stream.reply.text, stream.reply.data) == ("[]", None)


def test_a_conversation_records_the_answer_that_fits(wire: Wire, client: bn.Client) -> None:
    wire.say(http(body=completion(BAD)), http(body=completion(GOOD)), http(body=completion("Hi")))
    chat = bn.Chat(client=client, schema=City)
    assert chat.send("A city").data.people == 5
    assert [message["content"] for message in chat.messages] == ["A city", GOOD]
    assert chat.usage.credits == Decimal("0.50")
    with pytest.raises(bn.InvalidData):
        chat.send("Another", repairs=0)
    assert len(wire.asked) == 3


# ── the real sandbox ──


class Never(BaseModel):
    """What no answer fits, although it fits the JSON schema."""

    count: int

    @field_validator("count")
    @classmethod
    def _never(cls, value: int) -> int:
        raise ValueError("is never right")


@KINDS
@HOWS
async def test_plain_types_from_the_sandbox(box: Sandbox, kind: type[BaseClient], how: str) -> None:
    good = await ask(kind, box.base_url, how, "Is it?", key=box.api_key, schema=Literal["good", "bad"])
    assert good.data in ("good", "bad")
    count = await ask(kind, box.base_url, how, "How many?", key=box.api_key, schema=int)
    assert type(count.data) is int
    cities = await ask(kind, box.base_url, how, "Which?", key=box.api_key, schema=list[City])
    assert all(type(each) is City for each in cities.data)
    either = await ask(kind, box.base_url, how, "Which?", key=box.api_key, schema=City | None)
    assert either.data is None or type(either.data) is City


def test_the_sandbox_charges_every_attempt_once(talk: bn.Client, box: Sandbox) -> None:
    before = len(box.seen)
    with pytest.raises(bn.InvalidData) as caught:
        talk.chat("How many?", schema=Never, repairs=2, idempotency_key="repairs-1")
    seen = box.seen[before:]
    assert len(seen) == 3
    assert sum(each.effect for each in seen) == 3
    rows = bn.journal()
    paid = [row.credits for row in rows]
    assert caught.value.reply.usage.credits == sum(paid)
    with pytest.raises(bn.InvalidData):
        talk.chat("How many?", schema=Never, repairs=2, idempotency_key="repairs-1")
    assert sum(each.effect for each in box.seen[before:]) == 3, "made again with its key, nothing is charged"


def test_a_sandbox_that_does_not_take_schemas_is_asked_in_words(talk: bn.Client, box: Sandbox) -> None:
    box.inject("unsupported_option;fields=response_format;on=chat")
    reply = talk.chat('Repeat: {"name": "Bern", "people": 5}', schema=City)
    assert reply.data == City(name="Bern", people=5)
    box.inject("unsupported_option;param=/response_format/json_schema;on=chat")
    assert talk.chat("Repeat: 4", schema=int).data == 4
    box.inject("unsupported_option;fields=response_format+seed;on=chat")
    with pytest.raises(bn.InvalidRequest) as caught:
        talk.chat("Repeat: 4", schema=int)
    assert caught.value.details == {"unsupported_fields": ["response_format", "seed"]}
