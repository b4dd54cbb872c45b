"""A running sandbox and a plain HTTP client for it: no part of the package's own client is used here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from beatra_nb import sandbox
from beatra_nb.sandbox import Sandbox, weights

HI = {"model": "auto", "messages": [{"role": "user", "content": "Say hi in five words."}]}


def client_of(box: Sandbox, **more: Any) -> httpx.Client:
    headers = {"Authorization": f"Bearer {box.api_key}", **more.pop("headers", {})}
    return httpx.Client(
        base_url=box.base_url, headers=headers, timeout=20, trust_env=False, verify=False, **more
    )


def chat(http: httpx.Client, prompt: str = "Say hi in five words.", **fields: Any) -> httpx.Response:
    headers = fields.pop("headers", None)
    body = {"model": "auto", "messages": [{"role": "user", "content": prompt}], **fields}
    return http.post("/chat/completions", json=body, headers=headers)


def text_of(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    text = response.json()["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


@pytest.fixture(scope="session")
def scripted_box() -> Iterator[Sandbox]:
    with sandbox.start(engine="scripted") as box:
        yield box


@pytest.fixture
def box(scripted_box: Sandbox) -> Sandbox:
    """A scripted sandbox without faults, shared by the tests."""
    return scripted_box


@pytest.fixture
def http(box: Sandbox) -> Iterator[httpx.Client]:
    with client_of(box) as client:
        yield client


@pytest.fixture
def faulty() -> Iterator[Sandbox]:
    """A scripted sandbox of one test's own, with faults and their log."""
    with sandbox.start(engine="scripted", faults=True) as box:
        yield box


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Sandbox]:
    """A scripted sandbox of one test's own, with faults, an empty state and one worker for music."""
    with sandbox.start(engine="scripted", faults=True, state=tmp_path / "state", music_workers=1) as box:
        yield box


@pytest.fixture
def wire(studio: Sandbox) -> Iterator[httpx.Client]:
    """A client of the test's own studio."""
    with client_of(studio) as client:
        yield client


@pytest.fixture(scope="session")
def real_box() -> Iterator[Sandbox]:
    if weights.installed() is None:
        pytest.skip("the weights are not here: run beatra-nb fetch")
    with sandbox.start(engine="smollm2", faults=True) as box:
        yield box


@pytest.fixture
def real(real_box: Sandbox) -> Iterator[httpx.Client]:
    """A client of a sandbox with the real engine."""
    with client_of(real_box) as client:
        client.timeout = httpx.Timeout(100)  # the machine may be busy with other things
        yield client
