"""What is asked of ``music``: checked before anything is sent, and sent as the API wants it."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.core.base_client import BaseClient
from beatra_nb.core.media import Artifact
from beatra_nb.core.music import MusicRequest, price_of
from beatra_nb.core.task import AsyncTask, Task
from tests.core.conftest import QUICK
from tests.core.driving import state
from tests.core.sounds import encoded, wav_header
from tests.core.wire import KEY, Wire, http

MP3 = encoded("MP3", seconds=0.2)
KINDS = pytest.mark.parametrize("kind", [bn.Client, bn.AsyncClient], ids=["sync", "async"])


async def call(kind: type[BaseClient], base_url: str, verb: str, *args: Any, **more: Any) -> Any:
    """One call of a verb, by either client."""
    journal = more.pop("journal", True)
    if kind is bn.Client:

        def work() -> Any:
            with bn.Client(KEY, base_url=base_url, timeout=QUICK, journal=journal) as client:
                return getattr(client, verb)(*args, **more)

        return await asyncio.to_thread(work)
    async with bn.AsyncClient(KEY, base_url=base_url, timeout=QUICK, journal=journal) as client:
        return await getattr(client, verb)(*args, **more)


ARTIFACT = Artifact("art_1", media_type="audio/mpeg")
MADE = state("succeeded", output={"clips": [{"artifact_id": "art_5", "audio_url": "https://x.example/5"}]})
LOOP: dict[str, Any] = {}
LOOP["me"] = LOOP

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "Both prompt and lyrics are empty"),
    "blank": ({"prompt": " \n", "lyrics": "\t"}, "Both prompt and lyrics are empty"),
    "prompt no text": ({"prompt": 5}, "prompt must be text, not int"),
    "lyrics no text": ({"prompt": "x", "lyrics": ["x"]}, "lyrics must be text, not list"),
    "title no text": ({"prompt": "x", "title": b"x"}, "title must be text, not bytes"),
    "half a character": ({"prompt": "x \ud83d"}, "half a character"),
    "no model": ({"prompt": "x", "model": ""}, "model must be 'auto' or a model's id"),
    "model no text": ({"prompt": "x", "model": None}, "model must be 'auto' or a model's id"),
    "instrumental no bool": (
        {"prompt": "x", "instrumental": "yes"},
        "instrumental must be True, False or None",
    ),
    "sung and not": ({"prompt": "x", "lyrics": "la", "instrumental": True}, "nobody sings"),
    "rerun": ({"prompt": "x", "rerun": "again"}, "rerun must be 'new' or 'reuse'"),
    "key": ({"prompt": "x", "idempotency_key": "a b"}, "idempotency_key must be"),
    "key empty": ({"prompt": "x", "idempotency_key": ""}, "idempotency_key must be"),
    "key long": ({"prompt": "x", "idempotency_key": "k" * 256}, "idempotency_key must be"),
    "key no text": ({"prompt": "x", "idempotency_key": 7}, "idempotency_key must be"),
    "options no dict": ({"prompt": "x", "model_options": "loud"}, "model_options must be a dict, not str"),
    "options flat": ({"prompt": "x", "model_options": {"style_weight": 1}}, "one dict for each family"),
    "suno's for minimax": (
        {"prompt": "x", "model": "minimax-music-2.6", "model_options": {"suno": {}}},
        "do not fit the model",
    ),
    "minimax's for suno": (
        {"prompt": "x", "model": "suno-5.5", "model_options": {"minimax": {"a": 1}}},
        "do not fit the model",
    ),
    "weight above 1": (
        {"prompt": "x", "model_options": {"suno": {"style_weight": 1.1}}},
        "number from 0 to 1",
    ),
    "weight below 0": (
        {"prompt": "x", "model_options": {"suno": {"weirdness_constraint": -0.1}}},
        "number from 0 to 1",
    ),
    "weight true": ({"prompt": "x", "model_options": {"suno": {"style_weight": True}}}, "number from 0 to 1"),
    "weight nan": (
        {"prompt": "x", "model_options": {"suno": {"style_weight": float("nan")}}},
        "number from 0 to 1",
    ),
    "option no JSON": ({"prompt": "x", "model_options": {"suno": {"x": {1, 2}}}}, "cannot be sent as JSON"),
    "option infinite": (
        {"prompt": "x", "model_options": {"new": {"x": float("inf")}}},
        "cannot be sent as JSON",
    ),
    "metadata no dict": ({"prompt": "x", "metadata": [1]}, "metadata must be a dict"),
    "metadata keys": ({"prompt": "x", "metadata": {1: 2}}, "metadata must be a dict with text as its keys"),
    "metadata no JSON": ({"prompt": "x", "metadata": {"a": object()}}, "cannot be sent as JSON"),
    "metadata endless": ({"prompt": "x", "metadata": {"a": LOOP}}, "cannot be sent as JSON"),
    "embed": ({"prompt": "x", "embed": "yes"}, "embed must be True, False or 'auto'"),
    "embed a number": ({"prompt": "x", "embed": 1}, "embed must be True, False or 'auto'"),
    "timeout 0": ({"prompt": "x", "timeout": 0}, "timeout must be a number of seconds above 0"),
    "timeout text": ({"prompt": "x", "timeout": "5"}, "timeout must be a number of seconds above 0"),
    "timeout inf": ({"prompt": "x", "timeout": float("inf")}, "timeout must be a number of seconds above 0"),
    "http": ({"prompt": "x", "reference": "http://example.com/a.mp3"}, "must begin with https://"),
    "ftp": ({"prompt": "x", "reference": "ftp://example.com/a.mp3"}, "must begin with https://"),
    "file url": ({"prompt": "x", "reference": "file:///etc/passwd"}, "must begin with https://"),
    "no host": ({"prompt": "x", "reference": "https:///a.mp3"}, "must begin with https://"),
    "bad host": ({"prompt": "x", "reference": "https://[::1/a.mp3"}, "address"),
    "password": ({"prompt": "x", "reference": "https://me:pw@example.com/a.mp3"}, "user or a password"),
    "no such file": ({"prompt": "x", "reference": "nowhere/a.mp3"}, "There is no file"),
    "a folder": ({"prompt": "x", "reference": "."}, "is a folder"),
    "empty bytes": ({"prompt": "x", "reference": b""}, "is empty"),
    "no audio": ({"prompt": "x", "reference": b"Dear diary, " * 30}, "not audio|no audio|not sound|neither"),
    "an image": ({"prompt": "x", "reference": b"\x89PNG\r\n\x1a\n" + bytes(99)}, "image"),
    "another thing": ({"prompt": "x", "reference": 7}, "is no file"),
    "an artifact of another kind": (
        {"prompt": "x", "reference": Artifact("art_1", media_type="image/png")},
        "must be audio",
    ),
}


@KINDS
@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_succeed_is_never_sent(wire: Wire, kind: type[BaseClient], case: str) -> None:
    arguments, says = REFUSED[case]
    wire.say(http(500, {}))
    for wait in (True, False):
        with pytest.raises(bn.InvalidInput, match=says):
            await call(kind, wire.base_url, "music", wait=wait, **arguments)
    assert (wire.asked, wire._open) == ([], [])
    assert len(bn.journal()) == 0


FILES: dict[str, tuple[bytes, str]] = {
    "empty.mp3": (b"", "is empty"),
    "text.mp3": (b"this is text\n" * 50, "not audio|no audio|not sound|neither"),
    "cut.mp3": (MP3[: len(MP3) // 2] if len(MP3) > 4000 else MP3[:100], "."),
    "bomb.wav": (wav_header(0xFFFF_FF00), "."),
}


@KINDS
@pytest.mark.parametrize("name", FILES)
async def test_a_bad_file_is_never_sent(
    wire: Wire, kind: type[BaseClient], tmp_path: Path, name: str
) -> None:
    data, says = FILES[name]
    (tmp_path / name).write_bytes(data)
    wire.say(http(500, {}))
    with pytest.raises(bn.InvalidInput, match=says):
        await call(kind, wire.base_url, "music", "x", reference=tmp_path / name)
    assert wire._open == []


@KINDS
async def test_a_huge_file_a_pipe_and_a_folder_are_never_sent(
    wire: Wire, kind: type[BaseClient], tmp_path: Path
) -> None:
    with open(tmp_path / "huge.wav", "wb") as file:
        file.write(wav_header(101 * 1024 * 1024))
        file.truncate(101 * 1024 * 1024)
    os.mkfifo(tmp_path / "pipe.mp3")
    for name, says in (("huge.wav", "too large"), ("pipe.mp3", "pipe"), (".", "folder")):
        with pytest.raises(bn.InvalidInput, match=says):
            await call(kind, wire.base_url, "music", "x", reference=tmp_path / name)
    assert wire._open == []


# ── prices ──


def test_prices() -> None:
    assert [price_of(model) for model in ("suno-5.5", "minimax-music-2.6", "auto", "tomorrow-1")] == [
        "80 credits",
        "50 credits",
        "50 or 80 credits",
        "",
    ]


@KINDS
async def test_the_price_is_known_before_it_is_spent(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say(http(202, state("queued")))
    task = await call(kind, wire.base_url, "music", "x", model=" suno-5.5 ", title="T", wait=False)
    assert (task.price, task.model, task.title, task.prompt) == ("80 credits", "suno-5.5", "T", "x")
    assert (task.id, task.status, task.done, task.attached) == ("task_1", "queued", False, "")


# ── what is sent ──


@KINDS
async def test_what_goes_out(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say(http(202, state("queued"), x_request_id="req_1"))
    task = await call(
        kind,
        wire.base_url,
        "music",
        "dream pop",
        lyrics="[Verse]\nCity lights",
        instrumental=False,
        title="Night",
        model="suno-5.5",
        model_options={"suno": {"style_weight": 0.7}, "sandbox": {"seconds": 8}},
        metadata={"project": "démo"},
        idempotency_key="mine-1",
        wait=False,
    )
    asked = wire.asked[0]
    assert (asked.method, asked.path) == ("POST", "/v1/music/text-to-music")
    assert asked.headers["idempotency-key"] == "mine-1" == task.idempotency_key
    assert asked.headers["content-type"] == "application/json"
    assert asked.json == {
        "model": "suno-5.5",
        "prompt": "dream pop",
        "lyrics": "[Verse]\nCity lights",
        "instrumental": False,
        "title": "Night",
        "metadata": {"project": "démo"},
        "model_options": {"suno": {"style_weight": 0.7}, "sandbox": {"seconds": 8}},
    }
    assert task.request_id == "req_1"


def test_what_was_left_out_is_not_sent() -> None:
    assert MusicRequest.of("x").body == {"model": "auto", "prompt": "x"}
    assert MusicRequest.of("", lyrics="la", title=" ", model_options={}).body == {
        "model": "auto",
        "lyrics": "la",
    }
    assert MusicRequest.of("x").key != MusicRequest.of("x").key
    assert not MusicRequest.of("x").chosen
    assert MusicRequest.of("x", idempotency_key="k").chosen


def test_the_sandbox_s_options_go_to_a_server_on_this_machine_alone() -> None:
    options = {"sandbox": {"seconds": 8}, "suno": {"custom_mode": True}}

    def sent(**settings: Any) -> Any:
        with bn.Client(journal=False, **settings) as client:
            return client._music(bn.Task(client), "x", {"model_options": options}).body["model_options"]

    assert sent(api_key=KEY, base_url="https://api.example.com/v1") == {"suno": {"custom_mode": True}}
    for base_url in ("http://127.0.0.1:9/v1", "http://localhost:9/v1", "http://[::1]:9/v1"):
        assert sent(api_key=KEY, base_url=base_url) == options
    assert sent(mode="sandbox") == options
    with bn.Client(KEY, base_url="https://api.example.com/v1") as client:
        request = client._music(bn.Task(client), "x", {"model_options": {"sandbox": {"seed": 1}}})
    assert "model_options" not in request.body
    with pytest.raises(bn.InvalidInput, match="one dict for each family"):
        MusicRequest.of("x", model_options={"sandbox": 8}, own_options=False)


# ── fingerprints ──

ATOM = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3)
NAME = st.sampled_from(["a", "b", "c", "é"])
VALUES = st.dictionaries(
    NAME, ATOM | st.lists(ATOM, max_size=2) | st.dictionaries(NAME, ATOM, max_size=2), max_size=3
)
OPTIONS = st.dictionaries(NAME, VALUES, max_size=3)


def backwards(value: Any) -> Any:
    """The same value, its dicts filled the other way round."""
    if isinstance(value, dict):
        return {name: backwards(value[name]) for name in reversed(value)}
    return [backwards(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=50)
@given(OPTIONS, VALUES)
def test_a_fingerprint_does_not_hang_on_the_order_of_fields(options: Any, metadata: Any) -> None:
    one = MusicRequest.of("x", model_options=options, metadata=metadata)
    two = MusicRequest.of("x", metadata=backwards(metadata), model_options=backwards(options))
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != MusicRequest.of("y", model_options=options, metadata=metadata).fingerprint


def test_a_fingerprint_tells_requests_apart() -> None:
    requests = [
        MusicRequest.of("x"),
        MusicRequest.of("x", model="suno-5.5"),
        MusicRequest.of("x", title="x"),
        MusicRequest.of("", lyrics="x"),
        MusicRequest.of("x", instrumental=True),
        MusicRequest.of("x", instrumental=False),
        MusicRequest.of("x", reference=ARTIFACT),
        MusicRequest.of("x", reference="https://example.com/a.mp3"),
        MusicRequest.of("x", metadata={"a": 1}),
    ]
    assert len({request.fingerprint for request in requests}) == len(requests)
    same = [
        MusicRequest.of("x", idempotency_key="k"),
        MusicRequest.of("x", rerun="reuse"),
        requests[0].with_key("k"),
    ]
    assert {request.fingerprint for request in same} == {requests[0].fingerprint}, "the key is not part of it"


def test_names_that_are_no_text_are_as_json_makes_them() -> None:
    request = MusicRequest.of(
        "x", metadata={"a": {1: "x", "b": (1, 2)}}, model_options={"new": {"m": {2: 1, "c": 1}}}
    )
    assert request.body["metadata"] == {"a": {"1": "x", "b": [1, 2]}}
    assert (
        request.fingerprint
        == MusicRequest.of("x", **{n: request.body[n] for n in ("metadata", "model_options")}).fingerprint
    )


# ── references ──


@pytest.mark.parametrize(
    ("reference", "wire"),
    [
        (ARTIFACT, {"artifact_id": "art_1"}),
        (Artifact("art_2"), {"artifact_id": "art_2"}),
        ("art_01J5XYZ", {"artifact_id": "art_01J5XYZ"}),
        (" art_1\n", {"artifact_id": "art_1"}),
        ("https://example.com/a.mp3?x=1#y", {"url": "https://example.com/a.mp3?x=1#y"}),
        (" HTTPS://example.com/a.mp3 ", {"url": "HTTPS://example.com/a.mp3"}),
        (Task(None, MADE).clips[0], {"artifact_id": "art_5"}),
        (AsyncTask(None, MADE).clips[0], {"artifact_id": "art_5"}),
    ],
)
def test_a_reference_that_the_service_can_have(reference: Any, wire: dict[str, str]) -> None:
    request = MusicRequest.of("x", reference=reference)
    assert (request.path, request.source) == ("/music/reference-audio-to-music", None)
    assert request.body["reference_audio"] == wire


def test_a_clip_without_an_artifact_cannot_be_followed_by_itself() -> None:
    clip = Task(None, state("succeeded", output={"clips": [{"audio_url": "https://x.example/1"}]})).clips[0]
    with pytest.raises(bn.InvalidInput, match="no artifact id") as caught:
        MusicRequest.of("x", reference=clip)
    assert "reference=clip.audio()" in caught.value.hint


class Once(io.BytesIO):
    """A file that cannot be wound back, such as what comes from the network."""

    def seekable(self) -> bool:
        return False


@KINDS
@pytest.mark.parametrize("how", ["path", "text", "no suffix", "bytes", "file", "read once"])
async def test_a_reference_on_this_machine_is_uploaded_first(
    wire: Wire, kind: type[BaseClient], tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "riff.mp3").write_bytes(MP3)
    (tmp_path / "riff").write_bytes(MP3)
    monkeypatch.chdir(tmp_path)
    reference: Any = {
        "path": tmp_path / "riff.mp3",
        "text": "riff.mp3",
        "no suffix": "riff",  # looks like an id, and is a file
        "bytes": MP3,
        "file": io.BytesIO(MP3),
        "read once": Once(MP3),
    }[how]
    wire.say(
        http(201, {"artifact_id": "art_7", "url": "https://cdn.example.com/7"}), http(202, state("queued"))
    )
    task = await call(kind, wire.base_url, "music", "x", reference=reference, wait=False)
    upload, create = wire.asked
    assert (upload.path, create.path) == ("/v1/uploads", "/v1/music/reference-audio-to-music")
    assert MP3 in upload.body
    assert b"reference_audio" in upload.body
    assert create.json["reference_audio"] == {"artifact_id": "art_7"}
    assert upload.headers["idempotency-key"] != create.headers["idempotency-key"] == task.idempotency_key
    if how == "file":
        assert reference.tell() == 0, "it stands where it stood"


@KINDS
async def test_the_upload_of_a_reference_has_a_key_that_follows_from_the_call_s(
    wire: Wire, kind: type[BaseClient]
) -> None:
    wire.say(
        http(201, {"artifact_id": "art_7"}), http(500, {}), http(201, {"artifact_id": "art_7"}), http(500, {})
    )
    for _ in range(2):
        with pytest.raises(bn.APIError):
            await call(
                kind,
                wire.base_url,
                "music",
                "x",
                reference=MP3,
                idempotency_key="mine",
                wait=False,
                journal=False,
            )
    uploads = [asked for asked in wire.asked if asked.path == "/v1/uploads"]
    assert len({asked.headers["idempotency-key"] for asked in uploads}) == 1
    assert len(uploads) == 2


@KINDS
async def test_a_reference_that_cannot_be_uploaded_spends_nothing(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say(http(422, {"error": {"code": "invalid_request", "message": "No.", "retryable": False}}))
    with pytest.raises(bn.InvalidRequest):
        await call(kind, wire.base_url, "music", "x", reference=MP3)
    assert [asked.path for asked in wire.asked] == ["/v1/uploads"]
