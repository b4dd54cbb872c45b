"""The quickstart by the official ``openai`` package of npm: nothing changed but base URL and key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from beatra_nb import sandbox
from beatra_nb.sandbox import Sandbox
from tests.isolation import WEIGHTS
from tests.sandbox.test_contract import BAD_KEY

FOLDER = Path(__file__).with_name("node")

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="needs node and npm"
)


@pytest.fixture(scope="module")
def package() -> Path:
    """The folder with openai installed; fetched once, by the lock file, and then kept."""
    if not (FOLDER / "node_modules" / "openai" / "package.json").exists():
        npm = shutil.which("npm")
        assert npm is not None
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=FOLDER, check=True, timeout=110)
    return FOLDER


def run(package: Path, base_url: str, key: str) -> dict[str, Any]:
    environment = {**os.environ, "BEATRA_BASE_URL": base_url, "BEATRA_API_KEY": key}
    done = subprocess.run(
        [shutil.which("node") or "node", "quickstart.mjs"],
        cwd=package,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert key not in done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_plain_and_streamed(package: Path, box: Sandbox) -> None:
    found = run(package, box.base_url, box.api_key)
    assert len(found["text"].split()) == 5
    assert found["streamed"] == found["text"]
    assert found["last"] == "stop"
    assert found["id"].startswith("chatcmpl_01")
    assert found["requestId"].startswith("req_01")
    assert found["model"] == "sandbox-scripted"
    assert found["usage"]["credits"] == found["streamedUsage"]["credits"]
    assert found["models"][0] == "sandbox-scripted"


def test_a_bad_key_gets_the_quickstarts_body(package: Path, box: Sandbox) -> None:
    found = run(package, box.base_url, "sk-" + "0" * 32)
    assert found == {"name": "AuthenticationError", "status": 401, "error": BAD_KEY["error"]}


@pytest.mark.weights
def test_with_the_real_engine(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEATRA_WEIGHTS", str(WEIGHTS))
    with sandbox.start(engine="smollm2") as real:
        found = run(package, real.base_url, real.api_key)
    assert found["model"] == "sandbox-smollm2"
    assert found["text"]
    assert found["streamed"]
    assert found["last"] == "stop"
