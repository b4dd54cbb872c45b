"""The engine at work against a sandbox or a scripted wire."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pydantic

import beatra_nb as bn
from beatra_nb.batch import engine
from beatra_nb.batch.engine import Job
from beatra_nb.batch.outcome import Outcome
from beatra_nb.batch.pace import Pace
from beatra_nb.batch.tally import Tally
from beatra_nb.core.flow import Context
from beatra_nb.core.many import ManyTransport
from beatra_nb.core.request import ChatRequest
from beatra_nb.core.scrub import Scrubber
from beatra_nb.core.settings import Secret
from beatra_nb.core.transport import AsyncTransport


def seldom(value: str) -> str:
    """Refuse about a third of the answers; asked again, the sandbox gives another one."""
    if hashlib.sha256(value.encode()).digest()[0] % 3 == 0:
        raise ValueError("no")
    return value


class Seldom(pydantic.BaseModel):
    """What a third of the answers do not fit."""

    name: Annotated[str, pydantic.AfterValidator(seldom)]


TIMES = bn.Timeouts(connect=5, read=10, total=60)


def jobs(count: int, text: str = "Say hi, number {}.", **options: Any) -> Iterator[Job]:
    return (Job(at, ChatRequest.of(text.format(at), **options)) for at in range(count))


def context_of(base_url: str, key: str, **more: Any) -> Context:
    return Context(base_url, TIMES, scrub=Scrubber(Secret(key)), **{"max_attempts": 6, **more})


@asynccontextmanager
async def transport_of(base_url: str, key: str, active: int = 16, *, fast: bool = True) -> Any:
    transport: AsyncTransport = ManyTransport(base_url, Secret(key), active=active)
    if not fast:
        await transport.close()
        transport = AsyncTransport(base_url, Secret(key))
    try:
        yield transport
    finally:
        await transport.close()


async def ran(
    base_url: str,
    key: str,
    rows: Iterable[Job] | AsyncIterable[Job],
    *,
    active: int = 16,
    context: dict[str, Any] | None = None,
    pace: Pace | None = None,
    told: Callable[[Outcome], None] = lambda outcome: None,
    fast: bool = True,
    **options: Any,
) -> tuple[Tally, list[Outcome]]:
    """Run the engine; gives the tally, and the outcomes in the order of the rows."""
    outcomes: list[Outcome] = []

    def take(outcome: Outcome) -> None:
        outcomes.append(outcome)
        told(outcome)

    async with transport_of(base_url, key, active, fast=fast) as transport:
        tally = await engine.run(
            rows,
            context=context_of(base_url, key, **(context or {})),
            transport=transport,
            pace=pace or Pace(active),
            on_outcome=take,
            **options,
        )
    assert tally.done == len(outcomes)
    return tally, sorted(outcomes, key=lambda outcome: outcome.position)
