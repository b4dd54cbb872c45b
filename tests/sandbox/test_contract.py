"""What holds for every answer: ids, headers, keys, hosts, envelopes, addresses."""

from __future__ import annotations

import re
import socket
import threading

import httpx
import pytest

from beatra_nb.core.errors import BY_CODE
from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.contract import CODES
from tests.sandbox.conftest import HI, chat

BAD_KEY = {
    "error": {
        "code": "invalid_api_key",
        "message": "API key not found, signature mismatch, disabled, or revoked.",
        "retryable": False,
    }
}


def test_health_needs_no_key(box: Sandbox) -> None:
    answer = httpx.get(box.base_url + "/health", trust_env=False)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_every_kind_of_answer_is_stamped(http: httpx.Client, box: Sandbox) -> None:
    answers = [
        http.get("/health"),
        http.get("/models"),
        http.get("/nowhere"),
        http.get("/"),
        http.delete("/models"),
        http.options("/chat/completions"),
        chat(http),
        chat(http, stream=True),
        chat(http, temperature=9),
        http.post("/chat/completions", content=b"{", headers={"Content-Type": "application/json"}),
        http.get("/models", headers={"Authorization": "Bearer no"}),
        http.get("/models", headers={"Host": "evil.example"}),
    ]
    assert [answer.status_code for answer in answers] == [
        200,
        200,
        404,
        404,
        405,
        405,
        200,
        200,
        422,
        400,
        401,
        403,
    ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert all(re.fullmatch(r"req_01[0-9A-HJKMNP-TV-Z]{24}", each) for each in ids)
    assert len(set(ids)) == len(ids)
    assert {answer.headers["x-beatra-sandbox"] for answer in answers} == {"scripted"}
    assert not any(name.startswith("access-control") for answer in answers for name in answer.headers)
    assert not any("server" in answer.headers for answer in answers)
    for answer in answers:
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert {"code", "message", "retryable"} <= error.keys()
            assert error.get("request_id", answer.headers["x-request-id"]) == answer.headers["x-request-id"]
    assert "POST" in answers[5].headers["allow"]


@pytest.mark.parametrize("wanted", ["my-job-7", "x" * 128, "~!@#"])
def test_a_sane_request_id_of_the_client_is_echoed(http: httpx.Client, wanted: str) -> None:
    assert http.get("/models", headers={"X-Request-Id": wanted}).headers["x-request-id"] == wanted


@pytest.mark.parametrize("odd", [b"x" * 129, b"a b", "ü".encode(), b""])
def test_an_odd_request_id_is_replaced(http: httpx.Client, odd: bytes) -> None:
    assert http.get("/models", headers={b"X-Request-Id": odd}).headers["x-request-id"].startswith("req_01")


def test_no_key_and_bad_keys(box: Sandbox) -> None:
    with httpx.Client(base_url=box.base_url, trust_env=False) as http:
        missing = http.post("/chat/completions", json=HI)
        assert (missing.status_code, missing.json()["error"]["code"]) == (401, "unauthorized")
        near = box.api_key[:-1] + ("a" if box.api_key[-1] != "a" else "b")
        for header in (
            f"Bearer {near}",
            "Bearer",
            "Bearer x y",
            f"Basic {box.api_key}",
            box.api_key,
            "Bearer \xff",
        ):
            bad = http.post(
                "/chat/completions", json=HI, headers={b"Authorization": header.encode("latin-1")}
            )
            assert bad.status_code == 401
            assert bad.json() == BAD_KEY
        good = http.post("/chat/completions", json=HI, headers={"Authorization": f"bearer {box.api_key}"})
        assert good.status_code == 200


def test_keys_are_random_and_look_like_the_services(box: Sandbox, faulty: Sandbox) -> None:
    assert re.fullmatch(r"sk-[A-Za-z0-9]{32}", box.api_key)
    assert box.api_key != faulty.api_key


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example:{port}", ""]
)
def test_a_host_that_is_not_this_server_is_refused(http: httpx.Client, box: Sandbox, host: str) -> None:
    port = httpx.URL(box.base_url).port
    answer = http.get("/models", headers={"Host": host.format(port=port)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"])
def test_the_names_of_loopback_are_accepted(http: httpx.Client, box: Sandbox, name: str) -> None:
    assert http.get("/models", headers={"Host": f"{name}:{httpx.URL(box.base_url).port}"}).status_code == 200


def test_only_loopback_listens(box: Sandbox) -> None:
    port = httpx.URL(box.base_url).port
    assert port is not None
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: it only tells this machine's own outer address
        outer = probe.getsockname()[0]
    except OSError:
        pytest.skip("this machine has no other address")
    finally:
        probe.close()
    if outer.startswith("127."):
        pytest.skip("this machine has no other address")
    with pytest.raises(OSError, match=r"refused|timed out"):
        socket.create_connection((outer, port), timeout=2).close()


def test_models(http: httpx.Client) -> None:
    listing = http.get("/models").json()
    assert listing["object"] == "list"
    music = ["suno-5.5", "minimax-music-2.6"]
    assert [m["id"] for m in listing["data"]] == ["sandbox-scripted", *music]  # who chats comes first
    assert {m["object"] for m in listing["data"]} == {"model"}
    assert all(m["owned_by"] for m in listing["data"])
    catalog = http.get("/catalog/models").json()
    chats, suno, minimax = catalog["data"]
    assert [m["id"] for m in catalog["data"]] == [m["id"] for m in listing["data"]]
    assert chats["modalities"] == {"input": ["text"], "output": ["text"]}
    assert "chat" in chats["capabilities"]
    assert suno["modalities"] == {"input": ["text", "audio"], "output": ["audio"]}
    assert "chat" not in suno["capabilities"]
    assert (suno["clips"], suno["price"]["credits"]) == (2, "80")
    assert (minimax["clips"], minimax["price"]["credits"]) == (1, "50")


@pytest.mark.parametrize("model", ["suno-5.5", "minimax-music-2.6"])
def test_a_music_model_does_not_chat(http: httpx.Client, model: str) -> None:
    error = chat(http, model=model).json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_model", "/model")
    assert "music" in error["message"]
    assert "sandbox-scripted" in error["message"]


def test_capabilities_tell_what_the_sandbox_serves(http: httpx.Client) -> None:
    listing = http.get("/catalog/capabilities").json()["data"]
    by_id = {each["id"]: each for each in listing}
    assert {each["status"] for each in listing} == {"Available", "Preview", "Planned"}
    assert all(each["description"] for each in listing)
    assert by_id["chat"]["status"] == "Available"
    assert by_id["chat"]["sandbox"] is True
    for name in ("music", "uploads", "tasks"):
        assert by_id[name]["status"] == "Preview"
        assert by_id[name]["sandbox"] is True
    for name in ("image", "video", "speech", "voices", "uploads.resumable", "callbacks"):
        assert by_id[name]["status"] == "Planned"
        assert by_id[name]["sandbox"] is False


def test_the_code_table_holds_every_code_the_client_knows() -> None:
    assert set(BY_CODE) <= set(CODES)


def test_many_at_once_get_their_own_answers(http: httpx.Client) -> None:
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        found[number] = chat(http, f"repeat: {number}").json()["choices"][0]["message"]["content"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: str(number) for number in range(32)}
