"""The quickstart by curl: nothing changed but base URL and key."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.multipart import MAX_FILE
from beatra_nb.sandbox.state.desk import FILES
from tests.sandbox.conftest import HI
from tests.sandbox.jobs import QUICK, wait_for
from tests.sandbox.test_contract import BAD_KEY

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


def curl(box: Sandbox, key: str, *more: str, body: object = HI) -> str:
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", f"{box.base_url}/chat/completions"]
    command += ["-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json"]
    command += ["-H", f"Idempotency-Key: {uuid.uuid4()}", "-d", json.dumps(body), *more]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_plain(box: Sandbox) -> None:
    answer = json.loads(curl(box, box.api_key))
    assert len(answer["choices"][0]["message"]["content"].split()) == 5


def test_headers_are_seen(box: Sandbox) -> None:
    head = curl(box, box.api_key, "--include").partition("\n\n")[0].partition("\r\n\r\n")[0].lower()
    assert head.startswith("http/1.1 200 ok")
    assert "x-request-id: req_01" in head
    assert "x-beatra-sandbox: scripted" in head


def test_streamed(box: Sandbox) -> None:
    told = curl(box, box.api_key, "--no-buffer", body={**HI, "stream": True})
    assert told.endswith("data: [DONE]\n\n")
    assert told.count("data: ") == 5 + 3  # words; role, finish, done


def test_a_bad_key_gets_the_quickstarts_body(box: Sandbox) -> None:
    assert json.loads(curl(box, "sk-" + "0" * 32)) == BAD_KEY


@pytest.mark.weights
def test_with_the_real_engine(real_box: Sandbox) -> None:
    answer = json.loads(curl(real_box, real_box.api_key))
    assert answer["model"] == "sandbox-smollm2"
    assert answer["choices"][0]["message"]["content"]


def test_the_whole_way_of_music(studio: Sandbox, tmp_path: Path) -> None:
    """Upload, order, look, fetch: nothing but curl."""

    def run(url: str, *more: str) -> dict[str, Any]:
        command = ["curl", "--silent", "--show-error", "--noproxy", "*", url, *more]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        answer: dict[str, Any] = json.loads(told) if told else {}
        return answer

    auth = ["-H", f"Authorization: Bearer {studio.api_key}"]
    send = [*auth, "-H", "Content-Type: application/json", "-d"]

    def made(path: str, body: dict[str, Any]) -> Path:
        key = ["-H", f"Idempotency-Key: {uuid.uuid4()}"]
        task = run(f"{studio.base_url}/music/{path}", *key, *send, json.dumps({**QUICK, **body}))
        wait_for(lambda: run(f"{studio.base_url}/tasks/{task['task_id']}", *auth)["status"] == "succeeded")
        (clip,) = run(f"{studio.base_url}/tasks/{task['task_id']}", *auth)["output"]["clips"]
        run(clip["audio_url"], "-o", str(tmp_path / "clip.mp3"))
        assert (tmp_path / "clip.mp3").stat().st_size == clip["bytes"]
        return tmp_path / "clip.mp3"

    tune = made("text-to-music", {"prompt": "dream pop, warm drums"})
    file = run(f"{studio.base_url}/uploads", *auth, "-F", f"file=@{tune}", "-F", "purpose=reference_audio")
    assert (file["media_type"], file["bytes"]) == ("audio/mpeg", tune.stat().st_size)
    made("reference-audio-to-music", {"reference_audio": {"artifact_id": file["artifact_id"]}})


def test_an_upload_larger_than_curl_sends_unasked(studio: Sandbox, tmp_path: Path) -> None:
    """From 1 MB on curl waits for a "100 Continue"."""
    large = tmp_path / "large.bin"
    large.write_bytes(b"x" * 20_000_000)
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        f"{studio.base_url}/uploads",
        "-F",
        f"file=@{large}",
    ]
    command += ["-H", f"Authorization: Bearer {studio.api_key}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert json.loads(told)["bytes"] == 20_000_000

    with large.open("ab") as file:
        file.truncate(MAX_FILE + 1_000_000)
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert json.loads(told)["error"]["param"] == "/file"
    assert len(list((studio.state / FILES).iterdir())) == 1
