"""Every fault, as it is seen on the wire by a client that knows nothing of them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from beatra_nb.core.errors import InvalidInput
from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.contract import CODES
from tests.sandbox.conftest import HI, chat, client_of


@pytest.fixture(scope="module")
def shared_faulty() -> Iterator[Sandbox]:
    from beatra_nb import sandbox

    with sandbox.start(engine="scripted", faults=True) as box:
        yield box


@pytest.fixture
def wire(shared_faulty: Sandbox) -> Iterator[httpx.Client]:
    with client_of(shared_faulty) as http:
        yield http


def strike(
    http: httpx.Client, fault: str, *, stream: bool = False, key: str | None = None, **more: Any
) -> httpx.Response:
    headers = {"X-Sandbox-Fault": fault} | ({"Idempotency-Key": key} if key else {})
    return http.post("/chat/completions", json={**HI, "stream": stream}, headers=headers, **more)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("code", CODES)
def test_every_code_has_its_status_and_flag(wire: httpx.Client, code: str, stream: bool) -> None:
    answer = strike(wire, code, stream=stream)
    error = answer.json()["error"]
    assert (error["code"], answer.status_code, error["retryable"]) == (
        code,
        CODES[code].status,
        CODES[code].retryable,
    )
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-beatra-sandbox"] == "scripted"


@pytest.mark.parametrize(
    ("fault", "status", "code", "retryable"),
    [
        ("429", 429, "rate_limited", True),
        ("500", 500, "internal_error", True),
        ("500:retryable=false", 500, "internal_error", False),
        ("500;retryable=false", 500, "internal_error", False),
        ("400:retryable=true", 400, "invalid_request", True),
        ("503", 503, "model_unavailable", True),
        ("418", 418, "invalid_request", False),
        ("conflict", 409, "idempotency_conflict", False),
        ("unknown_code", 400, "unheard_of", False),
        ("unknown_code;retryable=true", 400, "unheard_of", True),
        ("unknown_code;code=moon;status=517", 517, "moon", False),
        ("rate_limited;retryable=false;status=403", 403, "rate_limited", False),
    ],
)
def test_variants_of_envelopes(
    wire: httpx.Client, fault: str, status: int, code: str, retryable: bool
) -> None:
    answer = strike(wire, fault)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["retryable"]) == (status, code, retryable)
    assert error["message"]


def test_retry_after_in_seconds_as_a_date_and_as_anything(wire: httpx.Client) -> None:
    assert strike(wire, "429;retry_after=1").headers["retry-after"] == "1"
    date = parsedate_to_datetime(strike(wire, "503;retry_after=date:2").headers["retry-after"])
    assert 1 < date.timestamp() - time.time() <= 3
    assert strike(wire, "429;retry_after=soon").headers["retry-after"] == "soon"


def test_pages_and_empty_bodies(wire: httpx.Client) -> None:
    for status in (503, 200, 502):
        page = strike(wire, f"html:{status}", stream=True)
        assert (page.status_code, page.headers["content-type"]) == (status, "text/html")
        assert page.text.startswith("<html>")
        empty = strike(wire, f"empty:{status}")
        assert (empty.status_code, empty.content, empty.headers["content-length"]) == (status, b"", "0")


def test_json_that_breaks_off(wire: httpx.Client) -> None:
    answer = strike(wire, "bad_json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert int(answer.headers["content-length"]) == len(answer.content) > 0
    with pytest.raises(json.JSONDecodeError):
        answer.json()


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_shorter_than_it_says(wire: httpx.Client, stream: bool) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        strike(wire, "short_body", stream=stream)


def raw_answer(box: Sandbox, fault: str, *, stream: bool) -> tuple[bytes, bool]:
    """Everything that came over a bare socket, and whether it ended in a reset."""
    url = httpx.URL(box.base_url)
    body = json.dumps({**HI, "stream": stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{url.port}\r\n"
    head += f"Authorization: Bearer {box.api_key}\r\n"
    head += (
        f"Content-Type: application/json\r\nX-Sandbox-Fault: {fault}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    got = b""
    with socket.create_connection(("127.0.0.1", url.port or 0), timeout=5) as wire:
        wire.sendall(head.encode() + body)
        try:
            while part := wire.recv(65536):
                got += part
        except ConnectionResetError:
            return got, True
    return got, False


@pytest.mark.parametrize("stream", [False, True])
def test_resets_before_in_and_after_the_headers(faulty: Sandbox, stream: bool) -> None:
    assert raw_answer(faulty, "reset:before", stream=stream) == (b"", True)

    got, reset = raw_answer(faulty, "reset:headers", stream=stream)
    assert reset
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in got

    got, reset = raw_answer(faulty, "reset:after", stream=stream)
    assert reset
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"x-request-id: req_" in head
    assert body
    if stream:
        assert body.count(b"data: ") == 2
        assert b"[DONE]" not in body
    else:
        with pytest.raises(json.JSONDecodeError):
            json.loads(body)
    # The work was done all the same: the case in which a careless client pays twice.
    assert [seen.effect for seen in faulty.seen] == [True, True, True]


def test_a_stream_cut_cleanly(wire: httpx.Client) -> None:
    for count in (0, 1, 3):
        answer = strike(wire, f"cut:{count}", stream=True)
        assert answer.status_code == 200
        assert answer.text.count("data: ") == count
        assert "[DONE]" not in answer.text


def test_a_stream_that_falls_silent(wire: httpx.Client, shared_faulty: Sandbox) -> None:
    body, headers = {**HI, "stream": True}, {"X-Sandbox-Fault": "stall:2"}
    parts: list[bytes] = []
    with client_of(shared_faulty) as http:
        http.timeout = httpx.Timeout(5, read=0.3)
        answer = http.stream("POST", "/chat/completions", json=body, headers=headers)
        with answer as stream, pytest.raises(httpx.ReadTimeout):
            parts.extend(stream.iter_raw())
    assert b"".join(parts).count(b"data: ") == 2
    with pytest.raises(httpx.ReadTimeout):
        strike(wire, "stall", timeout=httpx.Timeout(5, read=0.3))


def test_an_error_in_mid_stream(wire: httpx.Client) -> None:
    answer = strike(wire, "midstream:rate_limited;after=3;retryable=false", stream=True)
    assert answer.status_code == 200
    blocks = answer.text.removesuffix("\n\n").split("\n\n")
    assert len(blocks) == 4
    error = json.loads(blocks[-1].removeprefix("data: "))["error"]
    assert (error["code"], error["retryable"]) == ("rate_limited", False)
    assert strike(wire, "midstream:rate_limited").status_code == 429


@pytest.mark.parametrize("stream", [False, True])
def test_slow_headers(wire: httpx.Client, stream: bool) -> None:
    began = time.perf_counter()
    answer = strike(wire, "slow:0.3", stream=stream)
    assert answer.status_code == 200
    assert 0.3 <= time.perf_counter() - began < 3


@pytest.mark.parametrize("stream", [False, True])
def test_headers_byte_by_byte(wire: httpx.Client, stream: bool) -> None:
    answer = strike(wire, "trickle", stream=stream)
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() > 0.2
    assert "[DONE]" in answer.text if stream else answer.json()["choices"]


@pytest.mark.parametrize(
    "fault", ["reset:before", "reset:headers", "reset:after", "short_body", "bad_json", "cut:2", "slow:0.3"]
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_retry_after_a_broken_wire_gets_the_same_work(faulty: Sandbox, fault: str, stream: bool) -> None:
    with client_of(faulty) as http:
        with suppress(httpx.TransportError):
            strike(http, fault, stream=stream, key="k", timeout=0.2)
        again = http.post(
            "/chat/completions", json={**HI, "stream": stream}, headers={"Idempotency-Key": "k"}
        )
    assert again.status_code == 200
    assert again.headers["idempotent-replayed"] == "true"
    assert [(seen.idempotency_key, seen.effect) for seen in faulty.seen] == [("k", True), ("k", False)]


def test_times_counts_for_each_key(wire: httpx.Client) -> None:
    def statuses(key: str | None, fault: str) -> list[int]:
        return [strike(wire, fault, key=key).status_code for _ in range(4)]

    assert statuses("t-1", "500;times=2") == [500, 500, 200, 200]
    assert statuses("t-2", "500;times=2") == [500, 500, 200, 200]
    assert statuses(None, "503;times=1") == [503, 200, 200, 200]


def test_queued_faults_strike_in_order(faulty: Sandbox) -> None:
    faulty.inject("rate_limited", times=2)
    faulty.inject("html:502")
    with client_of(faulty) as http:
        assert [chat(http).status_code for _ in range(5)] == [429, 429, 502, 200, 200]
    assert [seen.fault for seen in faulty.seen] == ["rate_limited", "rate_limited", "html:502", None, None]
    assert [seen.status for seen in faulty.seen] == [429, 429, 502, 200, 200]
    assert [seen.effect for seen in faulty.seen] == [False, False, False, True, True]


def test_the_log_of_what_was_seen(faulty: Sandbox) -> None:
    with client_of(faulty) as http:
        http.get("/models", headers={"X-Request-Id": "mine"})
        chat(http, headers={"Idempotency-Key": "k"})
        faulty.inject("500")
        chat(http, headers={"Idempotency-Key": "k"})
    models, first, second = faulty.seen
    assert (models.method, models.path, models.request_id) == ("GET", "/v1/models", "mine")
    assert (models.idempotency_key, models.fingerprint, models.effect) == (None, "", False)
    assert (first.method, first.path, first.idempotency_key, first.effect) == (
        "POST",
        "/v1/chat/completions",
        "k",
        True,
    )
    assert first.fingerprint == second.fingerprint != ""  # a refused attempt shows what it would have done


@pytest.mark.parametrize(
    "fault",
    [
        "",
        "nonsense",
        "reset:sideways",
        "html:abc",
        "html:1000",
        "cut:x",
        "slow:soon",
        "429;colour=red",
        "midstream:nope",
        "1000",
        "cut:-1",
        "slow:-1",
        "slow:nan",
        "429;retry_after=date:x",
        "500;status=9",
    ],
)
def test_faults_that_do_not_exist(faulty: Sandbox, wire: httpx.Client, fault: str) -> None:
    with pytest.raises(InvalidInput, match="no fault"):
        faulty.inject(fault)
    answer = strike(wire, fault or "x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("times", [0, -1, 1.5, True])
def test_times_must_be_a_count(faulty: Sandbox, times: Any) -> None:
    with pytest.raises(InvalidInput, match="times"):
        faulty.inject("500", times=times)


def test_without_faults_nothing_is_asked_for_or_kept(http: httpx.Client, box: Sandbox) -> None:
    assert strike(http, "500").status_code == 200
    assert box.seen == []
    assert not box.faults
    with pytest.raises(InvalidInput, match="faults=True"):
        box.inject("500")


@pytest.mark.parametrize("fault", ["stall:1", "slow:60"])
def test_a_sandbox_stops_in_the_middle_of_a_fault(faulty: Sandbox, fault: str) -> None:
    faulty.inject(fault)
    body = json.dumps({**HI, "stream": True}).encode()
    url = httpx.URL(faulty.base_url)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {url.netloc.decode()}\r\n"
    head += f"Authorization: Bearer {faulty.api_key}\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", url.port or 0), timeout=5) as wire:
        wire.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        while not (faulty.seen and faulty.seen[0].effect):
            time.sleep(0.01)
        began = time.perf_counter()
        faulty.stop()
        assert time.perf_counter() - began < 1.5
    assert not faulty.running


def test_a_share_of_the_requests_is_struck_and_always_the_same_ones() -> None:
    from beatra_nb import sandbox

    def struck() -> list[int]:
        with sandbox.start(engine="scripted", faults=True) as box, client_of(box) as http:
            box.inject("503;share=0.3;on=chat")
            statuses = [chat(http, f"hi {number}").status_code for number in range(60)]
            assert http.get("/models").status_code == 200
            box.clear()
            assert {chat(http, f"hi {number}").status_code for number in range(20)} == {200}
            return statuses

    first = struck()
    assert 6 <= first.count(503) <= 30
    assert first.count(200) == 60 - first.count(503)
    assert struck() == first


@pytest.mark.parametrize("share", ["-0.1", "1.1", "half", ""])
def test_what_is_no_share_is_refused(faulty: Sandbox, share: str) -> None:
    with pytest.raises(InvalidInput):
        faulty.inject(f"503;share={share}")
