"""What an order of music may hold: everything wrong is named, and nothing wrong costs anything."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.music_request import MAX_LYRICS, MAX_PROMPT
from tests.sandbox.jobs import QUICK, order, over, post

REFERENCE = "/music/reference-audio-to-music"


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"prompt": ""}, "/prompt"),
        ({"prompt": ...}, "/prompt"),
        ({"prompt": None, "lyrics": "  \n"}, "/prompt"),
        ({"prompt": 5}, "/prompt"),
        ({"prompt": ["a"]}, "/prompt"),
        ({"prompt": "x" * (MAX_PROMPT + 1)}, "/prompt"),
        ({"lyrics": "x" * (MAX_LYRICS + 1)}, "/lyrics"),
        ({"lyrics": {}}, "/lyrics"),
        ({"instrumental": "yes"}, "/instrumental"),
        ({"instrumental": 1}, "/instrumental"),
        ({"title": 1}, "/title"),
        ({"title": "x" * 201}, "/title"),
        ({"model": 5}, "/model"),
        ({"metadata": []}, "/metadata"),
        ({"metadata": "x"}, "/metadata"),
        ({"metadata": {"a": "x" * 17_000}}, "/metadata"),
        ({"model_options": "x"}, "/model_options"),
        ({"model_options": {"suno": 1}, "model": "auto"}, "/model_options/suno"),
        (
            {"model_options": {"suno": {"style_weight": 1.01}}, "model": "auto"},
            "/model_options/suno/style_weight",
        ),
        (
            {"model_options": {"suno": {"style_weight": -0.1}}, "model": "auto"},
            "/model_options/suno/style_weight",
        ),
        (
            {"model_options": {"suno": {"style_weight": True}}, "model": "auto"},
            "/model_options/suno/style_weight",
        ),
        (
            {"model_options": {"suno": {"weirdness_constraint": 10**400}}, "model": "suno-5.5"},
            "/model_options/suno/weirdness_constraint",
        ),
        (
            {"model_options": {"suno": {"custom_mode": "on"}}, "model": "auto"},
            "/model_options/suno/custom_mode",
        ),
        ({"model_options": {"sandbox": {"seconds": 1.9}}}, "/model_options/sandbox/seconds"),
        ({"model_options": {"sandbox": {"seconds": 241}}}, "/model_options/sandbox/seconds"),
        ({"model_options": {"sandbox": {"format": "wav"}}}, "/model_options/sandbox/format"),
        ({"model_options": {"sandbox": {"format": ["mp3"]}}}, "/model_options/sandbox/format"),
        ({"model_options": {"sandbox": {"seed": -1}}}, "/model_options/sandbox/seed"),
        ({"model_options": {"sandbox": {"seed": 1.5}}}, "/model_options/sandbox/seed"),
    ],
)
def test_what_is_not_valid_is_named(http: httpx.Client, fields: dict[str, Any], where: str) -> None:
    answer = post(http, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["retryable"]) == (422, "invalid_request", False)
    assert error["param"] == where
    assert where in [each["field"] for each in error["details"]["errors"]]
    assert error["message"].startswith(where)


def test_everything_wrong_is_told_at_once(http: httpx.Client) -> None:
    errors = post(http, prompt=1, lyrics=2, metadata=3).json()["error"]["details"]["errors"]
    assert [each["field"] for each in errors] == ["/prompt", "/lyrics", "/metadata"]


@pytest.mark.parametrize("model", ["sandbox-scripted", "suno", "", "x" * 500, "../etc"])
def test_an_unknown_model(http: httpx.Client, model: str) -> None:
    answer = post(http, model=model or "nope", model_options=...)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "unsupported_model", "/model")
    assert "suno-5.5, minimax-music-2.6" in error["message"]
    assert len(error["message"]) < 300


@pytest.mark.parametrize(
    ("model", "options", "unsupported"),
    [
        ("minimax-music-2.6", {"suno": {"custom_mode": True}}, ["model_options/suno"]),
        ("suno-5.5", {"minimax": {}}, ["model_options/minimax"]),
        ("auto", {"minimax": {"x": 1}}, ["model_options/minimax"]),
        ("auto", {"udio": {}}, ["model_options/udio"]),
        ("auto", {"sandbox": {"tempo": 90}}, ["model_options/sandbox/tempo"]),
    ],
)
def test_options_of_another_model(
    http: httpx.Client, model: str, options: dict[str, Any], unsupported: list[str]
) -> None:
    answer = post(http, model=model, model_options=options)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "unsupported_option")
    assert error["details"]["unsupported_fields"] == unsupported
    assert error["param"] == "/" + unsupported[0]


@pytest.mark.parametrize(
    ("reference", "status", "code", "where"),
    [
        (..., 422, "invalid_request", "/reference_audio"),
        (None, 422, "invalid_request", "/reference_audio"),
        ("art_1", 422, "invalid_request", "/reference_audio"),
        ({}, 422, "invalid_request", "/reference_audio"),
        ({"artifact_id": "a", "url": "https://x.example/a"}, 422, "invalid_request", "/reference_audio"),
        ({"artifact_id": 5}, 422, "invalid_request", "/reference_audio/artifact_id"),
        ({"artifact_id": "art_nope"}, 404, "not_found", "/reference_audio/artifact_id"),
        ({"artifact_id": "' OR 1=1 --"}, 404, "not_found", "/reference_audio/artifact_id"),
        ({"url": "http://example.com/a.mp3"}, 422, "invalid_request", "/reference_audio/url"),
        ({"url": "ftp://example.com/a.mp3"}, 422, "invalid_request", "/reference_audio/url"),
        ({"url": "file:///etc/passwd"}, 422, "invalid_request", "/reference_audio/url"),
        ({"url": "https://"}, 422, "invalid_request", "/reference_audio/url"),
        ({"url": "http://[::1"}, 422, "invalid_request", "/reference_audio/url"),
        ({"url": "https://x.example/" + "a" * 2048}, 422, "invalid_request", "/reference_audio/url"),
        (
            {"url": "http://127.0.0.1/cdn/" + "A" * 32 + "/a.mp3"},
            404,
            "not_found",
            "/reference_audio/url",
        ),
        ({"url": "https://example.com/a.mp3"}, 422, "unsupported_option", "/reference_audio/url"),
    ],
)
def test_references_that_cannot_be(
    http: httpx.Client, reference: Any, status: int, code: str, where: str
) -> None:
    body = {"model": "auto", "prompt": "rock"} | ({} if reference is ... else {"reference_audio": reference})
    answer = http.post(REFERENCE, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, where)


def test_the_sandbox_says_what_to_do_instead_of_fetching(http: httpx.Client) -> None:
    answer = http.post(
        REFERENCE, json={"prompt": "rock", "reference_audio": {"url": "https://example.com/a.mp3"}}
    )
    assert "no network" in answer.json()["error"]["message"]
    assert "/v1/uploads" in answer.json()["error"]["message"]


def test_a_reference_is_not_dropped_silently(http: httpx.Client) -> None:
    error = post(http, reference_audio={"artifact_id": "art_1"}).json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_option", "/reference_audio")


def test_a_file_that_is_no_audio_is_no_reference(http: httpx.Client) -> None:
    note = http.post("/uploads", files={"file": ("note.txt", b"la la la", "text/plain")}).json()
    answer = http.post(
        REFERENCE, json={"prompt": "rock", "reference_audio": {"artifact_id": note["artifact_id"]}}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (422, "/reference_audio/artifact_id")
    assert "text/plain" in error["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b'{"prompt": NaN}', b'{"metadata": {"a": 1e999}}', b"[" * 100_000]
)
def test_bodies_that_are_no_object(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/music/text-to-music", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


def test_another_content_type(http: httpx.Client) -> None:
    answer = http.post(
        "/music/text-to-music", content=json.dumps(QUICK), headers={"Content-Type": "text/plain"}
    )
    assert answer.status_code == 415


def test_what_was_refused_costs_nothing(studio: Sandbox, wire: httpx.Client) -> None:
    for fields in ({"prompt": ""}, {"model": "nope"}, {"model_options": {"suno": {}}}):
        assert post(wire, **fields).status_code >= 400
    assert studio.balance == 10_000
    assert sum(studio.tasks.values()) == 0
    assert not any(seen.effect for seen in studio.seen)


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "", "lyrics": "[Verse]\nla la"},
        {"instrumental": None, "title": None, "lyrics": None, "metadata": None},
        {"unknown": {"a": 1}, "title": "  Ä \U0001f3b5 \ud800 ", "prompt": "jazz \ud800"},
        {"metadata": {"order": [1, {"x": None}]}},
    ],
)
def test_what_is_valid_is_made(studio: Sandbox, wire: httpx.Client, fields: dict[str, Any]) -> None:
    done = over(wire, order(wire, **fields))
    assert (done["status"], done["error"]) == ("succeeded", None)
    assert done["metadata"] == (fields.get("metadata") or {})


def test_without_a_model_it_is_auto(wire: httpx.Client) -> None:
    answer = wire.post(
        "/music/text-to-music", json={"prompt": "x", "model_options": {"sandbox": {"seconds": 2}}}
    )
    body = answer.json()
    assert (body["model"], body["resolved_model"]) == ("auto", "sandbox-composer")
    assert body["billing"]["charged_credits"] == "80"


def nested(depth: int) -> bytes:
    """An order whose metadata make it so deep."""
    inside = b'{"a":' * (depth - 1) + b"1" + b"}" * (depth - 1)
    return b'{"prompt": "x", "metadata": ' + inside + b"}"


@pytest.mark.parametrize(("depth", "status"), [(64, 202), (65, 400), (960, 400), (990, 400), (100_000, 400)])
def test_what_is_nested_too_deep_is_refused(
    studio: Sandbox, wire: httpx.Client, depth: int, status: int
) -> None:
    studio.inject("task:stall")
    headers = {"Content-Type": "application/json"}
    answer = wire.post("/music/text-to-music", content=nested(depth), headers=headers)
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["error"]["code"] == "invalid_request"
    listed = wire.get("/tasks", params={"expand": "all"})
    assert (listed.status_code, len(listed.json()["data"])) == (200, int(status == 202))


def test_braces_within_a_text_are_no_depth(wire: httpx.Client, studio: Sandbox) -> None:
    studio.inject("task:stall")
    answer = post(wire, prompt="{[" * 500, metadata={"a": [[]] * 200})
    assert answer.status_code == 202


def test_half_a_character_is_no_trouble(http: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    body = b'{"prompt": "x", "reference_audio": {"artifact_id": "\\ud800"}}'
    answer = http.post(REFERENCE, content=body, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["retryable"]) == (404, "not_found", False)
    cancelled = http.post("/tasks/nope/cancel", content=b'{"reason": "\\udfff"}', headers=headers)
    assert cancelled.status_code == 404


def test_what_was_sent_is_kept_once(studio: Sandbox, wire: httpx.Client) -> None:
    studio.inject("task:stall")
    asked = {"prompt": "a tune for Ottilie", "metadata": {"order": "number-4711"}}
    first = post(wire, "once", **asked)
    assert post(wire, "once", **asked).content == first.content
    assert first.json()["input"]["prompt"] == asked["prompt"]
    (kept,) = studio._ask(lambda db: db.execute("SELECT body FROM answers").fetchone())
    assert "Ottilie" not in kept
    assert "4711" not in kept
