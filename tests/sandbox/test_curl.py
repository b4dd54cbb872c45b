"""The quickstart by curl: nothing changed but base URL and key."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid

import pytest

from beatra_nb.sandbox import Sandbox
from tests.sandbox.conftest import HI
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
