"""What the tests of the core share: a server to the letter, a sandbox with faults, fast pauses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

import beatra_nb as bn
from beatra_nb.core import policy
from beatra_nb.sandbox import Sandbox
from tests.core.wire import KEY, Wire

QUICK = bn.Timeouts(connect=2, read=0.5, total=5)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses as the policy makes them, only shorter."""
    monkeypatch.setattr(policy, "BACKOFF_BASE", 0.005)


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A server that says what it is told."""
    server = Wire()
    yield server
    server.stop()


@pytest.fixture
def client(wire: Wire) -> Iterator[bn.Client]:
    """A client of it."""
    with bn.Client(KEY, base_url=wire.base_url, timeout=QUICK) as client:
        yield client


@pytest.fixture
async def async_client(wire: Wire) -> AsyncIterator[bn.AsyncClient]:
    """An async client of it."""
    async with bn.AsyncClient(KEY, base_url=wire.base_url, timeout=QUICK) as client:
        yield client


@pytest.fixture(scope="session")
def box() -> Iterator[Sandbox]:
    """A real sandbox that may be asked to fail."""
    with bn.sandbox.start(engine="scripted", faults=True) as sandbox:
        yield sandbox


@pytest.fixture
def talk(box: Sandbox) -> Iterator[bn.Client]:
    """A client of the sandbox."""
    with bn.Client(box.api_key, base_url=box.base_url, timeout=QUICK) as client:
        yield client


@pytest.fixture
async def atalk(box: Sandbox) -> AsyncIterator[bn.AsyncClient]:
    """An async client of the sandbox."""
    async with bn.AsyncClient(box.api_key, base_url=box.base_url, timeout=QUICK) as client:
        yield client
