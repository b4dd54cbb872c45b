"""Flows driven by hand: no network, a clock that is set, a service that answers what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import beatra_nb as bn
from beatra_nb.core.flow import READ, Answer, Context, Failure, Flow, Open, Outcome, Pause, Send
from beatra_nb.core.task import BaseTask
from beatra_nb.core.wire import TOO_SLOW
from beatra_nb.store.journal import Journal

PUBLIC = "https://api.example.com/v1"
NOON = 1_795_435_200.0  # a moment, in seconds since the epoch
TIMES = bn.Timeouts(connect=2, read=5, total=60)


@dataclass
class Clock:
    """Two clocks: one that only goes on, and the one on the wall, which may jump."""

    now: float = 1000.0
    wall: float = NOON

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


@dataclass
class Served:
    """A file that is opened: its head, and its pieces (a Failure among them cuts it)."""

    pieces: list[bytes | Failure]
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200


@dataclass
class Late:
    """An answer that takes so long."""

    seconds: float
    outcome: Answer | Failure


Step = Answer | Failure | Served | Late | Callable[[Any], "Answer | Failure | Served | Late"]

RESET = Failure("The connection was reset.")
SILENT = Failure("The service fell silent and did not answer in time.", timeout=True)
REFUSED = Failure("No connection could be made (refused).", sent=False)


def said(status: int = 200, body: object = None, **headers: str) -> Answer:
    """An answer; a body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"content-type": "application/json", **names}, data)


def no(status: int, code: str, *, retryable: bool = False, **headers: str) -> Answer:
    """A refusal in the API's envelope."""
    return said(status, {"error": {"code": code, "message": f"{code}.", "retryable": retryable}}, **headers)


def page(status: int = 200) -> Answer:
    """A proxy's page."""
    return Answer(status, {"content-type": "text/html"}, b"<html>login</html>")


def state(status: str = "running", ident: str = "task_1", **more: Any) -> dict[str, Any]:
    """A task's envelope."""
    return {"object": "task", "task_id": ident, "status": status, "model": "suno-5.5", **more}


def billing(charged: object = "80", refunded: object = "0") -> dict[str, Any]:
    """The part of an envelope that tells what was paid."""
    return {"charged_credits": charged, "refunded_credits": refunded, "currency": "credits"}


@dataclass
class World:
    """What is around a flow. Answers come in turn; the last one stays."""

    steps: list[Step] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    wishes: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pieces: Iterator[bytes | Failure] = iter(())

    def context(self, base_url: str = PUBLIC, *, journal: bool = True, **more: Any) -> Context:
        """What a client would hand to a flow."""
        book = Journal.open() if journal else None
        return Context(
            **{
                "base_url": base_url,
                "timeouts": TIMES,
                "journal": book,
                "jobs": book.jobs if book else None,
                "place": base_url,
                "now": lambda: self.clock.now,
                "wall": lambda: self.clock.wall,
                "rand": lambda: 0.5,
                **more,
            }
        )

    def say(self, *steps: Step) -> World:
        """Set what is answered next."""
        self.steps[:] = steps
        return self

    def run(self, flow: Flow[Any]) -> Any:
        """Drive a flow to its result."""
        outcome: Outcome = None
        while True:
            try:
                wish = flow.send(outcome)
            except StopIteration as end:
                return end.value
            self.wishes.append(wish)
            outcome = self._perform(wish)

    def _perform(self, wish: Any) -> Outcome:
        if isinstance(wish, Pause):
            self.clock.pass_by(wish.seconds)
            return None
        if wish is READ:
            return next(self._pieces, None)
        assert isinstance(wish, Send | Open), wish
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        while callable(step):
            step = step(wish)
        if isinstance(step, Late):
            self.clock.pass_by(min(step.seconds, wish.seconds))
            step = step.outcome if step.seconds <= wish.seconds else TOO_SLOW
        if isinstance(step, Served):
            self._pieces = iter(step.pieces)
            return Answer(step.status, step.headers, b"", open=True)
        return step  # type: ignore[return-value]

    @property
    def sent(self) -> list[Send]:
        """The requests to the API."""
        return [wish for wish in self.wishes if isinstance(wish, Send)]

    @property
    def opened(self) -> list[str]:
        """The foreign addresses that were asked."""
        return [wish.url for wish in self.wishes if isinstance(wish, Open)]

    @property
    def asked(self) -> list[tuple[str, str]]:
        """Method and path of each request to the API."""
        return [(wish.call.method, wish.call.path) for wish in self.sent]

    @property
    def pauses(self) -> list[float]:
        """How long was rested between two looks (the steps in which it rests are put together)."""
        rests, last = [], 0.0
        for wish in self.wishes:
            if isinstance(wish, Pause):
                last += wish.seconds
            elif isinstance(wish, Send):
                rests.append(last)
                last = 0.0
        return rests


@dataclass
class Watcher:
    """Somebody who watches, and presses *Cancel* when it is time."""

    press: Callable[[], bool] = lambda: False
    notes: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def update(self, task: BaseTask) -> None:
        self.seen.append(task.status)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def cancel_asked(self) -> bool:
        return self.press()
