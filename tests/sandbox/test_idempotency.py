"""One key is one answer: replayed, shared while it is made, refused for another body, forgotten in time."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.ledger import KEEP_SECONDS, ProcessMemory, Remembered
from tests.sandbox.conftest import HI, chat, client_of


def ask(http: httpx.Client, key: str | None, body: dict[str, Any]) -> httpx.Response:
    return http.post("/chat/completions", json=body, headers={"Idempotency-Key": key} if key else {})


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_key_and_body_get_the_same_bytes(faulty: Sandbox, stream: bool) -> None:
    body = {**HI, "stream": stream}
    with client_of(faulty) as http:
        first, again = ask(http, "k", body), ask(http, "k", body)
        reordered = ask(http, "k", dict(reversed(body.items())))
        other = ask(http, "another", body)
        keyless = [ask(http, None, body), ask(http, None, body)]
    assert first.content == again.content == reordered.content
    assert len({first.content, other.content, *(each.content for each in keyless)}) == 4  # ids of their own
    assert first.headers["content-type"] == again.headers["content-type"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert first.headers["x-request-id"] != again.headers["x-request-id"]
    assert [seen.effect for seen in faulty.seen] == [True, False, False, True, True, True]
    assert [seen.replayed for seen in faulty.seen] == [False, True, True, False, False, False]
    assert len({seen.fingerprint for seen in faulty.seen}) == 1


def test_another_body_is_a_conflict(http: httpx.Client) -> None:
    ask(http, "conflict-1", HI)
    answer = ask(http, "conflict-1", {**HI, "temperature": 1})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["retryable"]) == (409, "idempotency_conflict", False)
    assert ask(http, "conflict-1", HI).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_second_request_joins_the_first_while_it_runs(faulty: Sandbox, stream: bool) -> None:
    body = {**HI, "stream": stream, "model_options": {"pace": 0.05}}
    answers: list[httpx.Response] = []

    def run() -> None:
        with client_of(faulty) as http:
            answers.append(ask(http, "shared", body))

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum(seen.effect for seen in faulty.seen) == 1
    assert sum(seen.replayed for seen in faulty.seen) == 4


def test_a_joined_answer_goes_on_when_the_first_client_leaves(faulty: Sandbox) -> None:
    body = {**HI, "stream": True, "model_options": {"pace": 0.05}}
    second: list[httpx.Response] = []
    with client_of(faulty) as http, client_of(faulty) as other:
        with http.stream("POST", "/chat/completions", json=body, headers={"Idempotency-Key": "j"}) as answer:
            lines = answer.iter_lines()
            next(lines)
            thread = threading.Thread(target=lambda: second.append(ask(other, "j", body)))
            thread.start()
            while len(faulty.seen) < 2:
                next(lines)
            next(lines)
        thread.join()
    assert second[0].text.endswith("data: [DONE]\n\n")


def test_a_conflict_is_seen_while_the_first_still_runs(faulty: Sandbox) -> None:
    body = {**HI, "stream": True, "model_options": {"pace": 0.1}}
    key = {"Idempotency-Key": "c"}
    with (
        client_of(faulty) as http,
        http.stream("POST", "/chat/completions", json=body, headers=key) as answer,
    ):
        lines = answer.iter_lines()  # held: a lost iterator would close the stream
        next(lines)
        assert ask(http, "c", HI).status_code == 409


def test_a_request_that_was_not_valid_leaves_its_key_free(http: httpx.Client) -> None:
    assert ask(http, "free", {**HI, "temperature": 9}).status_code == 422
    assert ask(http, "free", HI).status_code == 200


def test_a_failure_that_would_come_again_is_remembered(http: httpx.Client) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "elsewhere.json"}}}
    first = ask(http, "same-failure", {**HI, "response_format": schema})
    again = ask(http, "same-failure", {**HI, "response_format": schema})
    assert first.status_code == again.status_code == 422
    assert first.content == again.content
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", ["x" * 256, "a b", "ü"])
def test_odd_keys_are_refused(http: httpx.Client, key: str) -> None:
    answer = http.post("/chat/completions", json=HI, headers={b"Idempotency-Key": key.encode()})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


def test_keys_of_two_sandboxes_do_not_meet(faulty: Sandbox, box: Sandbox) -> None:
    with client_of(faulty) as one, client_of(box) as two:
        assert ask(one, "both", HI).json()["id"] != ask(two, "both", HI).json()["id"]


def remembered(made: float, size: int = 1) -> Remembered:
    return Remembered("f", 200, "application/json", b"x" * size, (), made)


def test_memory_ends_after_a_day() -> None:
    now = [1000.0]
    memory = ProcessMemory(clock=lambda: now[0])
    memory.put("k", remembered(1000.0))
    now[0] += KEEP_SECONDS
    assert memory.get("k") is not None
    now[0] += 1
    assert memory.get("k") is None


def test_memory_is_bounded_by_number_and_size() -> None:
    memory = ProcessMemory(entries=3, size=100, clock=lambda: 0.0)
    for name in "abcd":
        memory.put(name, remembered(0.0))
    assert [memory.get(name) is not None for name in "abcd"] == [False, True, True, True]
    memory.put("big", remembered(0.0, size=99))
    assert [memory.get(name) is not None for name in "bcd"] == [False, False, True]
    memory.put("bigger", remembered(0.0, size=500))
    assert memory.get("bigger") is not None  # one answer is always kept
    assert memory.get("big") is None
    memory.put("small", remembered(0.0))
    assert memory.get("bigger") is None
    assert memory.get("small") is not None


def test_a_key_is_not_needed(http: httpx.Client) -> None:
    assert chat(http).status_code == 200
