"""Faults of music, tasks, uploads and files: on the wire, aimed at one kind of request, and in the work itself."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import httpx
import pytest

from beatra_nb.core.errors import InvalidInput
from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.contract import CODES
from beatra_nb.sandbox.state.desk import FILES
from tests.sandbox.conftest import chat, client_of
from tests.sandbox.jobs import adds_up, order, over, post, task, until, wait_for

WIRE = [
    "reset:before",
    "reset:headers",
    "reset:after",
    "short_body",
    "bad_json",
    "cut:2",
    "slow:0.3",
    "stall",
]
INSTEAD = ["429", "500", "503;retry_after=1", "html:502", "empty:500", "unknown_code", "conflict"]


def create(http: httpx.Client, headers: dict[str, str]) -> httpx.Response:
    body = {"prompt": "x", "model": "minimax-music-2.6"}
    return http.post("/music/text-to-music", json=body, headers={"Idempotency-Key": "m", **headers})


def upload(http: httpx.Client, headers: dict[str, str]) -> httpx.Response:
    file = {"file": ("a.bin", b"x" * 200_000)}
    return http.post("/uploads", files=file, headers={"Idempotency-Key": "u", **headers})


@pytest.mark.parametrize("how", ["header", "queue"])
@pytest.mark.parametrize("fault", WIRE)
def test_what_broke_on_the_wire_was_done_once(studio: Sandbox, fault: str, how: str) -> None:
    """The hard case: the task is made and paid for, and the client hears nothing of it."""
    headers = {"X-Sandbox-Fault": fault} if how == "header" else {}
    with client_of(studio) as http:
        for send in (create, upload):
            if how == "queue":
                studio.inject(fault)
            http.timeout = httpx.Timeout(5, read=0.25)
            with suppress(httpx.TransportError):
                send(http, headers)
        http.timeout = httpx.Timeout(20)
        again, file = create(http, {}), upload(http, {})
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert (file.status_code, file.headers["idempotent-replayed"]) == (201, "true")
    assert [(seen.fault, seen.effect) for seen in studio.seen] == [
        (fault, True),
        (fault, True),
        (None, False),
        (None, False),
    ]
    assert sum(studio.tasks.values()) == 1
    assert adds_up(studio) == 9_950
    assert len([path for path in (studio.state / FILES).iterdir() if path.suffix == ".upload"]) == 1


@pytest.mark.parametrize("fault", INSTEAD)
def test_what_was_refused_was_not_done(studio: Sandbox, wire: httpx.Client, fault: str) -> None:
    headers = {"X-Sandbox-Fault": fault}
    music, file = create(wire, headers), upload(wire, headers)
    assert music.status_code >= 400
    assert file.status_code == music.status_code
    assert not any(seen.effect for seen in studio.seen)
    assert [seen.fault for seen in studio.seen] == [fault, fault]
    assert studio.seen[0].fingerprint  # it shows what it would have done
    assert sum(studio.tasks.values()) == 0
    assert adds_up(studio) == 10_000


def test_faults_of_looking_listing_cancelling_and_fetching(studio: Sandbox, wire: httpx.Client) -> None:
    done = over(wire, order(wire))
    url = done["output"]["clips"][0]["audio_url"]
    at = f"/tasks/{done['task_id']}"
    size = done["output"]["clips"][0]["bytes"]
    for get in (
        lambda: wire.get(at),
        lambda: wire.get("/tasks"),
        lambda: wire.post(at + "/cancel"),
        lambda: wire.get(url),
    ):
        studio.inject("429")
        assert get().status_code == 429
        studio.inject("html:503")
        assert get().text.startswith("<html>")
        for fault in ("short_body", "reset:before", "reset:after", "cut"):
            studio.inject(fault)
            with pytest.raises(httpx.TransportError):
                get()
        assert get().status_code == 200
    # A download that breaks off in the middle had its length told.
    studio.inject("short_body;on=cdn")
    with wire.stream("GET", url) as answer:
        assert int(answer.headers["content-length"]) == size
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()
    studio.inject("slow:0.1;on=cdn")
    assert len(wire.get(url).content) == size
    studio.inject("slow:0.1;on=cdn")
    assert wire.head(url).headers["content-length"] == str(size)


def test_a_queued_fault_waits_for_its_request(studio: Sandbox, wire: httpx.Client) -> None:
    studio.inject("500;on=cancel")
    studio.inject("503;on=tasks", times=2)
    studio.inject("429;on=music")
    studio.inject("html:502;on=cdn")
    assert chat(wire).status_code == 200
    assert wire.get("/models").status_code == 200
    assert [post(wire, "k").status_code for _ in range(2)] == [429, 202]
    task_id = post(wire, "k").json()["task_id"]
    assert [wire.get(f"/tasks/{task_id}").status_code for _ in range(2)] == [503, 503]
    done = over(wire, task_id)
    assert [wire.post(f"/tasks/{task_id}/cancel").status_code for _ in range(2)] == [500, 200]
    url = done["output"]["clips"][0]["audio_url"]
    assert [wire.get(url).status_code for _ in range(2)] == [502, 200]
    assert [seen.fault for seen in studio.seen if seen.fault] == [
        "429;on=music",
        "503;on=tasks",
        "503;on=tasks",
        "500;on=cancel",
        "html:502;on=cdn",
    ]


def test_a_fault_by_header_may_be_aimed_too(wire: httpx.Client) -> None:
    wire.headers["X-Sandbox-Fault"] = "503;on=tasks"
    assert chat(wire).status_code == 200
    assert wire.get("/tasks").status_code == 503
    assert wire.post("/tasks/x/cancel").status_code == 404
    assert post(wire).status_code == 202


@pytest.mark.parametrize(
    "fault",
    ["500;on=", "500;on=everything", "task", "task:nope", "task:stall;on=music;colour=red", "429;on=v1"],
)
def test_aims_that_do_not_exist(studio: Sandbox, fault: str) -> None:
    with pytest.raises(InvalidInput, match="no fault"):
        studio.inject(fault)


# --- in the work


@pytest.mark.parametrize(
    ("fault", "code", "retryable", "message"),
    [
        ("task:model_unavailable", "model_unavailable", True, CODES["model_unavailable"].message),
        (
            "task:invalid_request;message=The reference is silent.",
            "invalid_request",
            False,
            "The reference is silent.",
        ),
        ("task:internal_error;retryable=false", "internal_error", False, CODES["internal_error"].message),
        ("task:unknown_code;code=moon", "moon", False, "Something that no table knows."),
    ],
)
def test_a_task_that_fails(
    studio: Sandbox, wire: httpx.Client, fault: str, code: str, retryable: bool, message: str
) -> None:
    studio.inject(fault)
    wire.get("/tasks")  # not what it waits for
    answer = post(wire, "k")
    assert answer.status_code == 202
    seen: list[float] = []

    def ended() -> bool:
        body = task(wire, answer.json()["task_id"])
        seen.append(body["progress"]["percent"])
        return body["status"] == "failed"

    wait_for(ended)
    body = task(wire, answer.json()["task_id"])
    assert body["error"] == {"code": code, "message": message, "retryable": retryable}
    assert 0 < max(seen) < 100
    assert seen == sorted(seen)
    assert body["billing"]["refunded_credits"] == "50"
    assert adds_up(studio) == 10_000
    assert [(each.fault, each.effect) for each in studio.seen if each.method == "POST"] == [(fault, True)]


def test_a_task_that_stands_still(studio: Sandbox, wire: httpx.Client) -> None:
    answer = wire.post(
        "/music/text-to-music", json={"prompt": "x"}, headers={"X-Sandbox-Fault": "task:stall"}
    )
    task_id = answer.json()["task_id"]
    until(wire, task_id, "running")
    wait_for(lambda: task(wire, task_id)["progress"]["percent"] == 40)
    assert wire.post(f"/tasks/{task_id}/cancel").json()["status"] == "canceled"
    assert over(wire, order(wire))["status"] == "succeeded"  # the worker is free again
    assert adds_up(studio) == 9_950


def test_a_fault_of_the_work_outlives_a_restart(studio: Sandbox, wire: httpx.Client) -> None:
    from beatra_nb import sandbox

    studio.inject("task:stall")
    first = order(wire)
    studio.inject("task:billing_failed")
    second = order(wire)
    studio.stop()
    with sandbox.start(engine="scripted", state=studio.state, music_workers=2) as box, client_of(box) as http:
        assert over(http, second)["error"]["code"] == "billing_failed"
        until(http, first, "running")
        http.post(f"/tasks/{first}/cancel")
        assert adds_up(box) == 10_000


def test_a_fault_in_the_header_of_an_upload_is_heard(studio: Sandbox) -> None:
    """It is read before the body, and the body is read to its end, so that the client hears it."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + b"y" * 30_000_000
        + b"\r\n--x--\r\n"
    )
    url = httpx.URL(studio.base_url)
    head: dict[str, Any] = {
        "Host": f"127.0.0.1:{url.port}",
        "Authorization": f"Bearer {studio.api_key}",
        "Content-Type": "multipart/form-data; boundary=x",
        "X-Sandbox-Fault": "503;retry_after=7",
        "Content-Length": len(body),
    }
    lines = ["POST /v1/uploads HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    with socket.create_connection(("127.0.0.1", url.port or 0), timeout=20) as wire:
        wire.sendall("\r\n".join(lines).encode() + body)
        answer = wire.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 7" in answer
