"""One key is one task and one charge, whoever asks and however often."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import httpx
import pytest

from beatra_nb import sandbox
from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.ledger import KEEP_SECONDS
from beatra_nb.sandbox.state.desk import FILES
from tests.sandbox.conftest import chat, client_of
from tests.sandbox.jobs import QUICK, adds_up, over, post


def upload(http: httpx.Client, key: str | None, data: bytes = b"abc", **fields: str) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return http.post("/uploads", files={"file": ("a.bin", data)}, data=fields, headers=headers)


def test_the_same_key_and_body_get_the_first_answer(studio: Sandbox, wire: httpx.Client) -> None:
    first = post(wire, "k")
    done = over(wire, first.json()["task_id"])
    again = post(wire, "k")
    turned = post(wire, "k", **dict(reversed(QUICK.items())))
    assert (again.status_code, again.content) == (
        202,
        first.content,
    )  # as it was, though the task is over now
    assert turned.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["status"] == "queued" != done["status"]
    orders = [seen for seen in studio.seen if seen.method == "POST"]
    assert [(seen.effect, seen.replayed) for seen in orders] == [(True, False), (False, True), (False, True)]
    assert adds_up(studio) == 9_950


def test_another_body_or_address_is_a_conflict(wire: httpx.Client) -> None:
    first = post(wire, "k").json()["task_id"]
    body = {**QUICK, "reference_audio": {"artifact_id": "x"}}
    answers = [
        post(wire, "k", prompt="something else"),
        wire.post("/music/reference-audio-to-music", json=body, headers={"Idempotency-Key": "k"}),
        wire.post("/music/reference-audio-to-music", json=body, headers={"Idempotency-Key": "k"}),
        upload(wire, "k"),
        chat(wire, headers={"Idempotency-Key": "k"}),
    ]
    for answer in answers[:1] + answers[3:]:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["retryable"]) == (409, "idempotency_conflict", False)
    assert answers[1].status_code == 409
    assert post(wire, "k").json()["task_id"] == first


def test_a_key_of_chat_is_not_for_music(wire: httpx.Client) -> None:
    chat(wire, headers={"Idempotency-Key": "c"})
    assert post(wire, "c").status_code == 409
    assert upload(wire, "c").status_code == 409
    assert chat(wire, headers={"Idempotency-Key": "c"}).headers["idempotent-replayed"] == "true"


def test_a_request_that_was_refused_leaves_its_key_free(wire: httpx.Client) -> None:
    assert post(wire, "free", prompt="").status_code == 422
    assert upload(wire, "free", purpose="nothing").status_code == 422
    assert chat(wire, headers={"Idempotency-Key": "free"}).status_code == 200
    assert post(wire, "free-2", prompt="").status_code == 422
    assert post(wire, "free-2").status_code == 202


def test_without_a_key_every_request_is_a_task(studio: Sandbox, wire: httpx.Client) -> None:
    assert post(wire).json()["task_id"] != post(wire).json()["task_id"]
    assert adds_up(studio) == 9_900


def test_twenty_threads_with_one_key_make_one_task(studio: Sandbox) -> None:
    answers: list[httpx.Response] = []
    ready = threading.Barrier(20)

    def run() -> None:
        with client_of(studio) as http:
            ready.wait()
            answers.append(post(http, "shared"))

    threads = [threading.Thread(target=run) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 19
    assert sum(seen.effect for seen in studio.seen) == 1
    assert sum(studio.tasks.values()) == 1
    assert adds_up(studio) == 9_950


def test_two_sandboxes_of_one_folder_share_keys_and_money(tmp_path: Path) -> None:
    with (
        sandbox.start(engine="scripted", state=tmp_path, music_workers=1) as one,
        sandbox.start(engine="scripted", state=tmp_path, music_workers=1) as two,
        client_of(one) as http,
        client_of(two) as other,
    ):
        answers: list[httpx.Response] = []

        def run(client: httpx.Client, key: str) -> None:
            answers.append(post(client, key))

        threads = [
            threading.Thread(target=run, args=(client, f"k-{number}"))
            for number in range(8)
            for client in (http, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in answers} == {202}
        ids = {answer.json()["task_id"] for answer in answers}
        assert len(ids) == 8
        assert {over(other, each)["status"] for each in ids} == {"succeeded"}
        assert adds_up(one) == adds_up(two) == 10_000 - 8 * 50


def test_a_key_outlives_the_sandbox(tmp_path: Path) -> None:
    with sandbox.start(engine="scripted", state=tmp_path) as box, client_of(box) as http:
        first, file = post(http, "k"), upload(http, "u")
    with sandbox.start(engine="scripted", state=tmp_path) as box, client_of(box) as http:
        again = post(http, "k")
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        replayed = upload(http, "u").json()
        assert replayed["artifact_id"] == file.json()["artifact_id"]
        # The address is where the sandbox is now.
        assert replayed["url"].startswith(box.base_url.removesuffix("/v1"))
        assert httpx.get(replayed["url"], trust_env=False).content == b"abc"
        assert adds_up(box) == 9_950


def test_a_key_is_forgotten_after_a_day(studio: Sandbox, wire: httpx.Client) -> None:
    first = post(wire, "k").json()["task_id"]
    with sqlite3.connect(studio.state / "state.sqlite3") as db:
        db.execute("UPDATE answers SET made = made - ?", ((KEEP_SECONDS + 1) * 1_000_000,))
    db.close()
    assert post(wire, "k", prompt="something else").json()["task_id"] != first


@pytest.mark.parametrize("key", ["x" * 256, "a b", "ü"])
def test_odd_keys_are_refused(http: httpx.Client, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode()}
    for answer in (
        http.post("/music/text-to-music", json=QUICK, headers=headers),
        http.post("/uploads", files={"file": b"x"}, headers=headers),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


def test_the_same_file_under_the_same_key_is_one_artifact(studio: Sandbox, wire: httpx.Client) -> None:
    first = upload(wire, "k", purpose="reference_audio", metadata='{"a": 1, "b": 2}')
    again = upload(
        wire, "k", metadata='{"b":2,"a":1}', purpose="reference_audio"
    )  # another boundary, another order
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    for other in (
        upload(wire, "k", b"abd", purpose="reference_audio", metadata='{"a": 1, "b": 2}'),
        upload(wire, "k", purpose="media_input", metadata='{"a": 1, "b": 2}'),
        upload(wire, "k"),
    ):
        assert other.status_code == 409
    assert [seen.effect for seen in studio.seen] == [True, False, False, False, False]
    assert len(list((studio.state / FILES).iterdir())) == 1
