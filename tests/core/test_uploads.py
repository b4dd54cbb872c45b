"""Files on their way: sent whole, hashed on the way, and not twice."""

from __future__ import annotations

import asyncio
import email
import email.policy
import hashlib
import io
import json
import os
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb.core import uploads
from beatra_nb.core.base_client import BaseClient
from beatra_nb.core.uploads import Metered, UploadRequest
from beatra_nb.store.journal import Journal
from tests.core.conftest import QUICK
from tests.core.driving import PUBLIC, RESET, Step, World, no, page, said
from tests.core.sounds import encoded
from tests.core.wire import KEY, Asked, Wire, http

MP3 = encoded("MP3", seconds=0.5)
WAV = encoded("WAV", seconds=4.0)  # more than the pieces in which it is read
KINDS = pytest.mark.parametrize("kind", [bn.Client, bn.AsyncClient], ids=["sync", "async"])
MADE = {
    "artifact_id": "art_1",
    "url": "https://cdn.example.com/a",
    "media_type": "audio/mpeg",
    "purpose": "media_input",
}


async def upload(
    kind: type[BaseClient], base_url: str, source: Any, *, journal: bool = True, **more: Any
) -> Any:
    """One upload by either client."""
    if kind is bn.Client:

        def work() -> Any:
            with bn.Client(KEY, base_url=base_url, timeout=QUICK, journal=journal) as client:
                return client.upload(source, **more)

        return await asyncio.to_thread(work)
    async with bn.AsyncClient(KEY, base_url=base_url, timeout=QUICK, journal=journal) as client:
        return await client.upload(source, **more)


def parts(asked: Asked) -> dict[str, Any]:
    """A multipart body, read by the standard library's parser."""
    head = f"content-type: {asked.headers['content-type']}\r\n\r\n".encode()
    message: Any = email.message_from_bytes(head + asked.body, policy=email.policy.HTTP)
    assert message.is_multipart()
    assert not message.defects
    return {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}


def field(part: Any) -> str:
    return part.get_payload(decode=True).decode()  # type: ignore[no-any-return]


@pytest.fixture
def riff(tmp_path: Path) -> Path:
    path = tmp_path / "riff.mp3"
    path.write_bytes(MP3)
    return path


# ── over the wire ──


@KINDS
async def test_what_goes_out_and_what_comes_back(wire: Wire, kind: type[BaseClient], riff: Path) -> None:
    wire.say(http(201, MADE | {"new": 1}, x_request_id="req_1"))
    metadata = {"project": "démo", "deep": {"a": [1, None, True]}}
    artifact = await upload(kind, wire.base_url, riff, purpose=" reference_audio ", metadata=metadata)
    asked = wire.asked[0]
    assert (asked.method, asked.path) == ("POST", "/v1/uploads")
    assert asked.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert len(asked.headers["idempotency-key"]) == 36
    assert int(asked.headers["content-length"]) == len(asked.body)
    found = parts(asked)
    assert set(found) == {"file", "purpose", "media_type", "metadata"}
    assert field(found["purpose"]) == "reference_audio"
    assert field(found["media_type"]) == "audio/mpeg"
    assert json.loads(field(found["metadata"])) == metadata
    assert found["file"].get_payload(decode=True) == MP3
    assert found["file"].get_filename() == "riff.mp3"
    assert found["file"].get_content_type() == "audio/mpeg"
    assert (artifact.id, artifact.url, artifact.request_id) == ("art_1", "https://cdn.example.com/a", "req_1")
    assert (artifact.size, artifact.sha256) == (len(MP3), hashlib.sha256(MP3).hexdigest())
    assert (artifact.name, artifact.media_type, artifact.reused) == ("riff.mp3", "audio/mpeg", False)
    assert artifact.duration == pytest.approx(0.5, abs=0.06)
    assert (artifact.metadata, artifact.raw["new"], artifact.sandbox) == (metadata, 1, False)
    assert artifact.elapsed > 0
    entry = Journal.open().view()[0]
    assert (entry.verb, entry.status, entry.attempts, entry.request_id) == ("upload", "ok", 1, "req_1")


@KINDS
async def test_without_metadata_no_field_is_sent(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say(http(201, {"id": "art_2", "cdn_url": "https://cdn.example.com/b"}))
    artifact = await upload(kind, wire.base_url, MP3)
    assert set(parts(wire.asked[0])) == {"file", "purpose", "media_type"}
    assert (artifact.id, artifact.url, artifact.purpose) == (
        "art_2",
        "https://cdn.example.com/b",
        "media_input",
    )


NAMES = [
    'a"b\r\nx: y.mp3',
    "日本 🎵.mp3",
    "..mp3",
    "a;b=c.mp3",
    "x" * 200 + ".mp3",
    "per%22cent.mp3",
    "\u202egpj.mp3",
]


@pytest.mark.parametrize("name", NAMES)
async def test_a_file_s_name_is_safe(wire: Wire, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(MP3)
    wire.say(http(201, MADE))
    artifact = await upload(bn.Client, wire.base_url, tmp_path / name)
    found = parts(wire.asked[0])
    assert set(found) == {"file", "purpose", "media_type"}
    assert found["file"].get_payload(decode=True) == MP3
    assert not set(artifact.name) & set('\r\n"/\\\u202e')
    assert str(tmp_path) not in repr(wire.asked[0].body)
    assert "x" not in found["file"].keys()  # noqa: SIM118 - no header was smuggled in


@KINDS
@pytest.mark.parametrize("how", ["path", "bytes", "file"])
async def test_it_is_sent_whole_again_after_trouble(
    wire: Wire, kind: type[BaseClient], how: str, tmp_path: Path
) -> None:
    (tmp_path / "long.wav").write_bytes(WAV)
    wire.say(iter([b""]), http(503, b"<html>", "text/html"), http(201, MADE))
    with open(tmp_path / "long.wav", "rb") as file:
        source = {"path": tmp_path / "long.wav", "bytes": WAV, "file": file}[how]
        artifact = await upload(kind, wire.base_url, source)
        assert file.tell() == 0
    assert [parts(asked)["file"].get_payload(decode=True) == WAV for asked in wire.asked] == [True] * 3
    assert len({asked.headers["idempotency-key"] for asked in wire.asked}) == 1
    assert (artifact.sha256, artifact.size) == (hashlib.sha256(WAV).hexdigest(), len(WAV))
    assert Journal.open().view()[0].attempts == 3


@KINDS
async def test_the_same_bytes_are_not_sent_twice(wire: Wire, kind: type[BaseClient], riff: Path) -> None:
    wire.say(http(201, MADE, x_request_id="req_1"), http(201, MADE | {"artifact_id": "art_2"}))
    first = await upload(kind, wire.base_url, riff, metadata={"a": 1, "b": (2, 3)})
    again = await upload(kind, wire.base_url, MP3, metadata={"b": [2, 3], "a": 1})
    assert len(wire.asked) == 1
    assert (first.reused, again.reused, again.id, again.sha256) == (False, True, "art_1", first.sha256)
    assert (again.url, again.media_type, again.size, again.request_id) == (
        first.url,
        "audio/mpeg",
        len(MP3),
        None,
    )
    fresh = await upload(kind, wire.base_url, riff, metadata={"a": 1, "b": [2, 3]}, fresh=True)
    assert (fresh.id, fresh.reused, len(wire.asked)) == ("art_2", False, 2)
    newest = await upload(kind, wire.base_url, riff, metadata={"a": 1, "b": [2, 3]})
    assert (newest.id, newest.reused, len(wire.asked)) == ("art_2", True, 2)


@KINDS
async def test_what_is_said_otherwise_is_sent(wire: Wire, kind: type[BaseClient], riff: Path) -> None:
    wire.say(http(201, MADE))
    ways: list[dict[str, Any]] = [
        {},
        {"purpose": "reference_audio"},
        {"metadata": {"a": 1}},
        {"metadata": {"a": 2}},
    ]
    for _ in range(2):
        for more in ways:
            await upload(kind, wire.base_url, riff, **more)
    assert len(wire.asked) == len(ways)
    other = bytearray(MP3)
    other[-1] ^= 1
    assert not (await upload(kind, wire.base_url, bytes(other))).reused
    assert not (await upload(kind, wire.base_url, riff, journal=False)).reused
    assert len(wire.asked) == len(ways) + 2


async def test_another_place_has_other_artifacts(wire: Wire, riff: Path) -> None:
    other = Wire()
    wire.say(http(201, MADE))
    other.say(http(201, MADE | {"artifact_id": "art_9"}))
    try:
        await upload(bn.Client, wire.base_url, riff)
        artifact = await upload(bn.Client, other.base_url, riff)
    finally:
        other.stop()
    assert (artifact.id, artifact.reused) == ("art_9", False)


LOOP: list[Any] = []
LOOP.append(LOOP)


@KINDS
@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"metadata": {"a": object()}}, "cannot be sent as JSON"),
        ({"metadata": {"a": LOOP}}, "cannot be sent as JSON"),
        ({"metadata": {"a": float("nan")}}, "cannot be sent as JSON"),
        ({"metadata": {"a": "half \ud83d"}}, "half a character"),
        ({"metadata": "text"}, "metadata must be a dict"),
        ({"metadata": {1: 2}}, "text as its keys"),
        ({"purpose": ""}, "purpose must be"),
        ({"purpose": None}, "purpose must be"),
        ({"purpose": "half \ud83d"}, "half a character"),
        ({"idempotency_key": "a b"}, "idempotency_key must be"),
        ({"media_type": "audio"}, "media_type must be"),
        ({"media_type": "image/png"}, "media_type says"),
    ],
)
async def test_what_cannot_be_sent_is_not(
    wire: Wire, kind: type[BaseClient], riff: Path, more: Any, says: str
) -> None:
    wire.say(http(201, MADE))
    with pytest.raises(bn.InvalidInput, match=says):
        await upload(kind, wire.base_url, riff, **more)
    assert wire._open == []


async def test_names_that_are_no_text_are_kept_as_json_makes_them(wire: Wire) -> None:
    wire.say(http(201, MADE))
    metadata = {"a": {1: "x", "b": "y"}}
    artifact = await upload(bn.Client, wire.base_url, MP3, metadata=metadata)
    assert artifact.metadata == {"a": {"1": "x", "b": "y"}}
    assert (await upload(bn.Client, wire.base_url, MP3, metadata=metadata)).reused


@KINDS
@pytest.mark.parametrize(
    "answer", [http(201, {}), http(200, b"<html>", "text/html"), http(201, []), http(201, {"artifact_id": 7})]
)
async def test_an_answer_without_an_artifact_is_none(
    wire: Wire, kind: type[BaseClient], answer: bytes
) -> None:
    wire.say(answer)
    with pytest.raises(bn.UnexpectedResponse) as caught:
        await upload(kind, wire.base_url, MP3)
    assert caught.value.idempotency_key == wire.asked[0].headers["idempotency-key"]
    assert Journal.open().jobs.uploaded(wire.base_url, len(MP3)) == []


def key_in(error: BaseException) -> list[str]:
    """Where the key stands in all that a traceback can show; the tests' own frames, which made it, left out."""
    found, waiting, met = [], [error], set()
    while waiting:
        each = waiting.pop()
        if id(each) in met:
            continue
        met.add(id(each))
        frames = [frame for frame, _ in traceback.walk_tb(each.__traceback__)]
        ours = [
            frame for frame in frames if Path(__file__).parent not in Path(frame.f_code.co_filename).parents
        ]
        assert ours, "it came through the client"
        text = repr([frame.f_locals for frame in ours]) + repr(vars(each)) + repr(each.args) + str(each)
        found += [KEY[i : i + 6] for i in range(3, len(KEY) - 5) if KEY[i : i + 6] in text]
        waiting += [other for other in (each.__cause__, each.__context__) if other is not None]
    return found


@KINDS
@pytest.mark.parametrize("how", ["shrinks", "grows", "is rewritten", "goes", "is closed"])
async def test_a_file_that_changes_is_an_error_of_ours(
    wire: Wire, kind: type[BaseClient], tmp_path: Path, how: str
) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(WAV)
    wire.say(http(503, b"", "text/html"), http(201, MADE))
    file = open(path, "rb")  # noqa: SIM115
    state = os.stat(path)

    def change() -> Any:
        if how == "shrinks":
            os.truncate(path, 1000)
        elif how == "grows":
            with open(path, "ab") as more:
                more.write(b"x" * 1000)
        elif how == "is rewritten":
            path.write_bytes(WAV[::-1])
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
        elif how == "goes":
            path.unlink()
        else:
            file.close()
        yield http(503, b"", "text/html")

    wire.say(change(), http(201, MADE))
    source: Any = file if how == "is closed" else path
    with pytest.raises(bn.InvalidInput) as caught:
        await upload(kind, wire.base_url, source)
    file.close()
    assert len(wire.asked) == 1, "what is not the file any more is not sent"
    assert key_in(caught.value) == []
    assert Journal.open().jobs.uploaded(wire.base_url, len(WAV)) == []
    assert Journal.open().view()[0].error_type == "InvalidInput"


class Shrinking(io.BytesIO):
    """A file that ends early, once it has been looked at."""

    ends = False

    def read(self, size: int | None = -1) -> bytes:
        return b"" if self.ends and self.tell() else super().read(size)


@KINDS
async def test_a_file_that_ends_while_it_is_sent_is_an_error_of_ours(
    wire: Wire, kind: type[BaseClient]
) -> None:
    wire.say(http(201, MADE))
    file = Shrinking(WAV)
    request = UploadRequest.of(file)
    file.ends = True
    says = "changed while it was being uploaded"
    if kind is bn.Client:
        client = bn.Client(KEY, base_url=wire.base_url, timeout=QUICK)
        with client, pytest.raises(bn.InvalidInput, match=says) as caught:
            client._send_file(request)
    else:
        async with bn.AsyncClient(KEY, base_url=wire.base_url, timeout=QUICK) as aclient:
            with pytest.raises(bn.InvalidInput, match=says) as caught:
                await aclient._send_file(request)
    assert key_in(caught.value) == []
    assert Journal.open().jobs.uploaded(wire.base_url, len(WAV)) == []


# ── the flow ──


def sent(world: World, source: Any = MP3, *, progress: Any = None, **more: Any) -> Any:
    request = UploadRequest.of(source, **more)
    return world.run(uploads.upload(world.context(), request, progress or (lambda _: None)))


def reads(size: int, answer: Step, *, upto: int | None = None) -> Any:
    """A server that reads what is sent in such pieces, and then answers."""

    def step(wish: Any) -> Step:
        with closing(wish.call.form.open()) as raw:
            left = upto
            while left is None or left > 0:
                block = raw.read(size)
                left = None if left is None else left - len(block)
                if not block:
                    break
        return answer

    return step


def test_progress_only_grows_and_ends_at_the_size() -> None:
    told: list[int] = []
    world = World().say(reads(1000, said(201, MADE)))
    artifact = sent(world, WAV, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == len(WAV)
    assert len(told) > 2
    assert artifact.sha256 == hashlib.sha256(WAV).hexdigest()


def test_each_attempt_is_counted_and_hashed_anew() -> None:
    told: list[int] = []
    data = encoded("WAV", seconds=8.0)
    assert len(data) > 2 * uploads.PIECE, "more than is read at once"
    world = World().say(
        reads(50_000, RESET, upto=300_000), reads(50_000, page(503)), reads(50_000, said(201, MADE))
    )
    artifact = sent(world, data, progress=told.append)
    attempts: list[list[int]] = [[]]
    for count in told:
        if attempts[-1] and count <= attempts[-1][-1] and count < len(data):
            attempts.append([])
        attempts[-1].append(count)
    first, second, third = [part[-1] for part in attempts]
    assert (0 < first < len(data), second, third) == (True, len(data), len(data))
    assert artifact.sha256 == hashlib.sha256(data).hexdigest()


def test_the_hash_follows_who_winds_back() -> None:
    told: list[int] = []
    meter = Metered(io.BytesIO(b"abcdef"), told.append)
    assert meter.read(4)[:4] == b"abcd"
    meter.seek(0, os.SEEK_END)
    assert meter.tell() == 6
    meter.seek(0)
    while meter.read(4):
        pass
    assert meter.sha256 == hashlib.sha256(b"abcdef").hexdigest()
    assert told[-1] == 6
    meter.close()


def test_a_large_file_is_waited_for_longer() -> None:
    world = World().say(reads(1 << 16, said(201, MADE)))
    sent(world, WAV)
    assert world.sent[0].seconds == pytest.approx(60 + len(WAV) / uploads.SLOWEST)


def test_a_refusal_is_the_service_s_word() -> None:
    world = World().say(reads(1 << 16, no(413, "too_large")))
    with pytest.raises(bn.APIError, match="too_large"):
        sent(world)
    assert Journal.open().jobs.uploaded(PUBLIC, len(MP3)) == []


def test_a_key_of_one_s_own_is_used() -> None:
    world = World().say(reads(1 << 16, said(201, MADE)))
    sent(world, idempotency_key="mine")
    assert world.sent[0].call.key == "mine"
