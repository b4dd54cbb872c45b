"""What the tests of batches share: a real sandbox that may be asked to fail, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

import beatra_nb as bn
from beatra_nb.core import policy
from beatra_nb.sandbox import Sandbox

QUICK = bn.Timeouts(connect=5, read=10, total=60)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses as the policy makes them, only shorter."""
    monkeypatch.setattr(policy, "BACKOFF_BASE", 0.005)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A real sandbox that may be asked to fail."""
    with bn.sandbox.start(engine="scripted", faults=True) as running:
        yield running


@pytest.fixture
def box(sandbox: Sandbox, fast: None) -> Iterator[Sandbox]:
    """The sandbox, with no faults waiting from another test."""
    yield sandbox
    sandbox.clear()


@pytest.fixture
def talk(box: Sandbox) -> Iterator[bn.Client]:
    """A client of the sandbox."""
    with bn.Client(box.api_key, base_url=box.base_url, timeout=QUICK) as client:
        yield client


@pytest.fixture
async def atalk(box: Sandbox) -> AsyncIterator[bn.AsyncClient]:
    """An async client of it."""
    async with bn.AsyncClient(box.api_key, base_url=box.base_url, timeout=QUICK) as client:
        yield client
