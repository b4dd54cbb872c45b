"""Uploads: what is taken, what is refused, and that nothing is left behind; and files at their addresses."""

from __future__ import annotations

import hashlib
import re
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb import sandbox
from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.multipart import MAX_FILE, MAX_FORM
from beatra_nb.sandbox.state import retention
from beatra_nb.sandbox.state.artifacts import safe_name
from beatra_nb.sandbox.state.desk import FILES
from tests.sandbox.conftest import client_of
from tests.sandbox.jobs import wait_for


def files_of(box: Sandbox) -> list[Path]:
    folder = box.state / FILES
    return list(folder.iterdir()) if folder.exists() else []


def send(http: httpx.Client, file: Any = ("tune.mp3", b"abc", "audio/mpeg"), **fields: str) -> httpx.Response:
    return http.post("/uploads", files={"file": file}, data=fields)


def test_an_upload_is_kept_as_it_was(studio: Sandbox, wire: httpx.Client) -> None:
    data = bytes(range(256)) * 5000
    answer = send(
        wire, ("Mein Lied (ü).mp3", data, "audio/mpeg"), purpose="reference_audio", metadata='{"a": [1]}'
    )
    body = answer.json()
    assert answer.status_code == 201
    assert re.fullmatch(r"art_01[0-9A-HJKMNP-TV-Z]{24}", body["artifact_id"])
    assert (body["object"], body["media_type"], body["purpose"]) == (
        "artifact",
        "audio/mpeg",
        "reference_audio",
    )
    assert (body["bytes"], body["filename"]) == (len(data), "Mein Lied (ü).mp3")
    assert body["sha256"] == hashlib.sha256(data).hexdigest()
    assert body["metadata"] == {"a": [1]}
    got = httpx.get(body["url"], trust_env=False)
    assert (got.status_code, got.content, got.headers["content-type"]) == (200, data, "audio/mpeg")
    assert [seen.effect for seen in studio.seen if seen.method == "POST"] == [True]
    assert studio.seen[0].fingerprint


@pytest.mark.parametrize(
    ("file", "fields", "media_type"),
    [
        (("a.mp3", b"x"), {}, "audio/mpeg"),
        (("a.weird", b"x"), {}, "application/octet-stream"),
        (("a", b"x", "audio/ogg; codecs=opus"), {}, "audio/ogg"),
        (("a.mp3", b"x", "application/octet-stream"), {}, "audio/mpeg"),
        (("a.mp3", b"x", "audio/mpeg"), {"media_type": "Audio/FLAC"}, "audio/flac"),
        (("a.mp3", b"x", "not a type"), {}, "audio/mpeg"),
    ],
)
def test_the_media_type(http: httpx.Client, file: Any, fields: dict[str, str], media_type: str) -> None:
    body = send(http, file, **fields).json()
    assert (body["media_type"], body["purpose"], body["metadata"]) == (media_type, "media_input", {})


@pytest.mark.parametrize(
    ("file", "fields", "where"),
    [
        (None, {}, "/file"),
        (("a.mp3", b""), {}, "/file"),
        (("a.mp3", b"x"), {"purpose": "world_domination"}, "/purpose"),
        (("a.mp3", b"x"), {"metadata": "[]"}, "/metadata"),
        (("a.mp3", b"x"), {"metadata": "{"}, "/metadata"),
        (("a.mp3", b"x"), {"metadata": "x"}, "/metadata"),
        (("a.mp3", b"x"), {"media_type": "mp3"}, "/media_type"),
        (("a.mp3", b"x"), {"media_type": "text/html\r\nX: y"}, "/media_type"),
        (("a.mp3", b"x"), {"metadata": "x" * 70_000}, "/metadata"),
        (("a.mp3", b"x"), {"metadata": '{"a": "' + "x" * 17_000 + '"}'}, "/metadata"),
        (("a.mp3", b"x"), {"metadata": '{"a":' * 65 + "1" + "}" * 65}, "/metadata"),
    ],
)
def test_forms_that_are_not_taken(
    studio: Sandbox, wire: httpx.Client, file: Any, fields: dict[str, str], where: str
) -> None:
    if file is None:
        answer = wire.post("/uploads", files={"other": ("x", b"x")}, data=fields)
    else:
        answer = send(wire, file, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (422, "invalid_request", where)
    assert files_of(studio) == []


def test_two_files_are_one_too_many(studio: Sandbox, wire: httpx.Client) -> None:
    answer = wire.post("/uploads", files=[("file", ("a", b"x")), ("file", ("b", b"y"))])
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "/file")
    assert files_of(studio) == []


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"", 415),
        ("multipart/mixed; boundary=x", b"--x--\r\n", 415),
        ("multipart/form-data; boundary=x", b"nonsense", 400),
        ("multipart/form-data; boundary=x", b"", 400),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nab',
            400,
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nab\r\n--x',
            400,
        ),
        ("multipart/form-data; boundary=" + "x" * 300, b"", 415),
    ],
)
def test_bodies_that_are_no_form(
    studio: Sandbox, wire: httpx.Client, kind: str, content: bytes, status: int
) -> None:
    answer = wire.post("/uploads", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, "invalid_request")
    assert files_of(studio) == []


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the largest size there may be, made of holes."""
    path = tmp_path_factory.mktemp("large") / "large.wav"
    with path.open("wb") as file:
        file.truncate(MAX_FILE)
    return path


def test_the_largest_file_and_one_byte_more(studio: Sandbox, wire: httpx.Client, large: Path) -> None:
    with large.open("rb") as file:
        body = send(wire, ("large.wav", file)).json()
    assert body["bytes"] == MAX_FILE
    assert len(files_of(studio)) == 1

    boundary = b"--x"
    head = boundary + b'\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'

    def parts() -> Iterator[bytes]:  # chunked: no Content-Length warns of what comes
        yield head
        with large.open("rb") as file:
            while block := file.read(1 << 20):
                yield block
        yield b"!\r\n" + boundary + b"--\r\n"

    answer = wire.post(
        "/uploads", content=parts(), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (413, "invalid_request", "/file")
    assert "100 MB" in error["message"]
    assert len(files_of(studio)) == 1


def raw(box: Sandbox, length: int, *more: str) -> socket.socket:
    """Begin an upload by hand."""
    url = httpx.URL(box.base_url)
    lines = [
        "POST /v1/uploads HTTP/1.1",
        f"Host: 127.0.0.1:{url.port}",
        f"Authorization: Bearer {box.api_key}",
        "Content-Type: multipart/form-data; boundary=x",
        f"Content-Length: {length}",
        *more,
    ]
    wire = socket.create_connection(("127.0.0.1", url.port or 0), timeout=10)
    wire.sendall("\r\n".join([*lines, "", ""]).encode())
    return wire


HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


def test_who_waits_hears_at_once_that_it_is_too_much(studio: Sandbox) -> None:
    with raw(studio, 10**12, "Expect: 100-continue") as wire:
        assert b" 413 " in wire.recv(65536).split(b"\r\n")[0]
    assert files_of(studio) == []


@pytest.mark.parametrize("fault", [None, "slow:0.01", "reset:after"])
def test_an_upload_that_breaks_off_leaves_nothing(studio: Sandbox, fault: str | None) -> None:
    asked = [] if fault is None else [f"X-Sandbox-Fault: {fault}"]
    with raw(studio, 50_000_000, *asked) as wire:
        wire.sendall(HEAD + b"x" * 3_000_000)
        wait_for(lambda: bool(files_of(studio)))
    wait_for(lambda: not files_of(studio))
    assert not any(seen.effect for seen in studio.seen)


def test_a_stop_in_the_middle_of_an_upload_leaves_nothing(studio: Sandbox) -> None:
    with raw(studio, 50_000_000) as wire:
        wire.sendall(HEAD + b"x" * 3_000_000)
        wait_for(lambda: bool(files_of(studio)))
        studio.stop()
    assert files_of(studio) == []


def test_a_stop_while_the_state_keeps_an_upload_keeps_its_file(tmp_path: Path) -> None:
    headers = {"Idempotency-Key": "once"}
    with sandbox.start(engine="scripted", state=tmp_path) as box, client_of(box) as http:
        http.get("/tasks")
        other = sqlite3.connect(tmp_path / "state.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # another program writes: the state has to wait

        def sending() -> None:
            with suppress(httpx.HTTPError):
                http.post("/uploads", files={"file": ("a.mp3", b"x" * 1000)}, headers=headers)

        sender = threading.Thread(target=sending)
        sender.start()
        wait_for(lambda: any(path.suffix == ".upload" for path in files_of(box)))
        box.stop()
        other.execute("ROLLBACK")
        sender.join()
        wait_for(lambda: other.execute("SELECT count(*) FROM artifacts").fetchone()[0] == 1)
        other.close()
    with sandbox.start(engine="scripted", state=tmp_path) as box, client_of(box) as http:
        again = http.post("/uploads", files={"file": ("a.mp3", b"x" * 1000)}, headers=headers)
        assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
        assert httpx.get(again.json()["url"], trust_env=False).content == b"x" * 1000
        assert len(files_of(box)) == 1


@pytest.mark.parametrize("tidied", [False, True])
def test_a_replay_brings_a_file_back_that_was_gone(studio: Sandbox, wire: httpx.Client, tidied: bool) -> None:
    def upload() -> httpx.Response:
        return wire.post("/uploads", files={"file": ("a", b"x")}, headers={"Idempotency-Key": "once"})

    first = upload().json()
    if tidied:
        studio._ask(retention.tidy, studio.state / FILES, keep_bytes=0)
    else:
        files_of(studio)[0].unlink()
    assert httpx.get(first["url"], trust_env=False).status_code == 410
    again = upload()
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.json() == first
    assert httpx.get(first["url"], trust_env=False).content == b"x"
    assert [path.name for path in files_of(studio)] == [f"{first['artifact_id']}.upload"]


def test_a_form_of_parts_that_nobody_asked_for_has_a_limit_too(studio: Sandbox, wire: httpx.Client) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    sent = 0

    def parts() -> Iterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="other"; filename="a"\r\n\r\n'
        while sent <= MAX_FORM:
            sent += 1 << 20
            yield bytes(1 << 20)
        yield b"\r\n" + HEAD + b"abc\r\n--x--\r\n"

    answer = wire.post("/uploads", content=parts(), headers=kind)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "invalid_request")
    assert files_of(studio) == []


def test_a_length_that_is_too_much_is_refused_before_the_body(studio: Sandbox) -> None:
    with raw(studio, MAX_FORM + 1) as wire:
        wire.sendall(HEAD)
        assert b" 413 " in wire.recv(65536).split(b"\r\n")[0]
    assert files_of(studio) == []


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"--x\r\nX-Long: " + b"y" * 9000 + HEAD[3:] + b"a\r\n--x--\r\n", 400),
        (b"--x\r\n" + b"X-Many: y\r\n" * 1000 + HEAD[5:] + b"a\r\n--x--\r\n", 400),
        (
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 40 + HEAD + b"a\r\n--x--\r\n",
            422,
        ),
    ],
)
def test_headers_and_parts_are_bounded(
    studio: Sandbox, wire: httpx.Client, content: bytes, status: int
) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = wire.post("/uploads", content=content, headers=kind)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, "invalid_request")
    assert files_of(studio) == []


def test_a_length_that_lies_is_no_upload(studio: Sandbox) -> None:
    body = HEAD + b"abc\r\n--x--\r\n"
    with raw(studio, len(body) - 5) as wire:  # the rest would be the next request
        wire.sendall(body)
        assert b" 400 " in wire.recv(65536).split(b"\r\n")[0]
    assert files_of(studio) == []


def test_several_at_once(studio: Sandbox, wire: httpx.Client) -> None:
    found: dict[int, bytes] = {}

    def run(number: int) -> None:
        data = bytes([number]) * 2_000_003
        found[number] = httpx.get(send(wire, ("x.bin", data)).json()["url"], trust_env=False).content

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: bytes([number]) * 2_000_003 for number in range(8)}


# --- addresses


@pytest.fixture(scope="module")
def address(scripted_box: Sandbox) -> str:
    answer = httpx.post(
        scripted_box.base_url + "/uploads",
        files={"file": ("a.mp3", bytes(range(256)) * 1000, "audio/mpeg")},
        headers={"Authorization": f"Bearer {scripted_box.api_key}"},
        trust_env=False,
    )
    url = answer.json()["url"]
    assert isinstance(url, str)
    return url


DATA = bytes(range(256)) * 1000


@pytest.mark.parametrize(
    ("range_", "status", "told", "content"),
    [
        (None, 200, None, DATA),
        ("bytes=0-0", 206, "bytes 0-0/256000", DATA[:1]),
        ("bytes=100-199", 206, "bytes 100-199/256000", DATA[100:200]),
        ("bytes=255990-", 206, "bytes 255990-255999/256000", DATA[-10:]),
        ("bytes=-10", 206, "bytes 255990-255999/256000", DATA[-10:]),
        ("bytes=256000-", 416, "bytes */256000", None),
    ],
)
def test_parts_of_a_file(
    address: str, range_: str | None, status: int, told: str | None, content: Any
) -> None:
    headers = {} if range_ is None else {"Range": range_}
    for method in ("GET", "HEAD"):
        answer = httpx.request(method, address, headers=headers, trust_env=False)
        assert (answer.status_code, answer.headers.get("content-range")) == (status, told)
        if content is not None:
            assert answer.content == (content if method == "GET" else b"")
            assert answer.headers["content-length"] == str(len(content))
            assert answer.headers["accept-ranges"] == "bytes"


def test_what_every_file_carries(address: str) -> None:
    headers = httpx.get(address, trust_env=False).headers
    assert headers["content-type"] == "audio/mpeg"
    assert headers["content-disposition"] == 'inline; filename="a.mp3"'
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert headers["x-request-id"].startswith("req_")
    assert not any(name.startswith("access-control") for name in headers)


def test_no_key_is_needed_nor_looked_at(address: str) -> None:
    assert (
        httpx.get(address, headers={"Authorization": "Bearer nonsense"}, trust_env=False).status_code == 200
    )
    token = address.split("/cdn/")[1].split("/", maxsplit=1)[0]
    assert len(token) * 6 >= 128


def test_the_host_is_looked_at(address: str) -> None:
    assert httpx.get(address, headers={"Host": "evil.example"}, trust_env=False).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/cdn/x/a.mp3",
        "/cdn/../v1/models",
        "/cdn/..%2f..%2fstate.sqlite3/a.mp3",
        "/cdn/{token}/other.mp3",
        "/cdn/{token}/..%2f..%2f..%2fstate.sqlite3",
        "/cdn/{token}",
        "/cdn/",
        "/cdn",
    ],
)
def test_nothing_else_is_served(scripted_box: Sandbox, address: str, path: str) -> None:
    token = address.split("/cdn/")[1].split("/", maxsplit=1)[0]
    origin = httpx.URL(scripted_box.base_url)
    with socket.create_connection(("127.0.0.1", origin.port or 0), timeout=5) as wire:
        wire.sendall(
            f"GET {path.format(token=token)} HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n\r\n".encode()
        )
        status = wire.recv(65536).split(b" ")[1]
    assert status in (b"404", b"401")


def test_a_page_that_was_uploaded_cannot_run(http: httpx.Client) -> None:
    url = send(http, ("evil.html", b"<script>alert(1)</script>", "text/html")).json()["url"]
    headers = httpx.get(url, trust_env=False).headers
    assert headers["content-disposition"] == 'attachment; filename="evil.html"'
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("a b ü.mp3", "a-b.mp3"),
        ("...", "file"),
        ("日本語", "file"),
        ("x\r\ny: z", "x-y-z"),
        ("a" * 300, "a" * 80),
        ('"; drop', "drop"),
    ],
)
def test_names_become_safe(given: str, safe: str) -> None:
    assert safe_name(given) == safe


@given(st.text(max_size=300))
def test_a_safe_name_is_safe_whatever_is_given(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", safe_name(text, ".mp3"))
    assert ".." not in safe_name(text)


@pytest.mark.parametrize(
    ("media_type", "shown"),
    [("audio/mpeg", True), ("audio/webm", True), ("audio/x-anything", False), ("text/html", False)],
)
def test_only_audio_of_the_known_kinds_is_shown(http: httpx.Client, media_type: str, shown: bool) -> None:
    url = send(http, ("a", b"x"), media_type=media_type).json()["url"]
    disposition = httpx.get(url, trust_env=False).headers["content-disposition"]
    assert disposition.partition(";")[0] == ("inline" if shown else "attachment")


@pytest.mark.parametrize(
    ("asked", "status"), [("bytes=99999999-", 416), ("nonsense", 400), ("bytes=5-2", 400)]
)
def test_a_range_that_cannot_be_is_refused_as_everything_is(address: str, asked: str, status: int) -> None:
    answer = httpx.get(address, headers={"Range": asked}, trust_env=False)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["retryable"]) == (status, "invalid_request", False)
    assert ("content-range" in answer.headers) == (status == 416)
