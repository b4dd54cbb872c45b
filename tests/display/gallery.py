"""Objects of every kind to look at: ordinary ones, and ones whose every field is the text given."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from beatra_nb.core import errors
from beatra_nb.core.conversation import Chat, Turn
from beatra_nb.core.reply import (
    Capability,
    CapabilityList,
    Health,
    ModelInfo,
    ModelList,
    Reply,
    ToolCall,
    Usage,
)
from beatra_nb.display.cards import Traceback
from beatra_nb.display.notices import Notice
from beatra_nb.store.bundle import SupportBundle
from beatra_nb.store.entry import Entry
from beatra_nb.store.view import JournalView

REQUEST_ID = "req_01J5ZK8V9Q2M4T6X8Y0A2C4E6G"
USAGE = Usage(12, 48, 60, Decimal("0.0600"), Decimal("0.00006"))

TYPICAL = (
    "The capital of country **{n}** is *City {n}*. It has been so since the year {n}, for reasons of trade:\n\n"
    "1. a river with `n={n}` boats,\n2. a market that met on Tuesdays,\n3. and a hill to build upon.\n\n"
    "That is all that is worth knowing of it; ask me for more, and I will gladly go into the details."
)


class City(BaseModel):
    """What an answer was parsed into."""

    name: str
    population: int = 3
    districts: list[str] = []
    twin: City | None = None


def reply(text: str = "Hello there.", **fields: Any) -> Reply:
    """An ordinary answer."""
    given: dict[str, Any] = {
        "model": "beatra-large-2",
        "request_id": REQUEST_ID,
        "usage": USAGE,
        "finish_reason": "stop",
        "elapsed": 0.842,
    }
    return Reply(text, **{**given, **fields})


def conversation(
    count: int, text: str = TYPICAL, *, title: str | None = "Capitals", system: str | None = None
) -> Chat:
    """A conversation that has had so many turns."""
    chat = Chat(system, title=title)
    chat._turns = [
        Turn(
            f"Question {n}: what is the capital of country {n}, and why?", reply(text.replace("{n}", str(n)))
        )
        for n in range(1, count + 1)
    ]
    return chat


def error_classes() -> list[type[BaseException]]:
    """Every class of the error tree, and the interruption."""
    found: list[type[BaseException]] = [errors.BeatraError]
    for each in found:
        found += each.__subclasses__()
    return [*(kind for kind in found if kind.__module__ == errors.__name__), errors.Interrupted]


def make_error(kind: type[BaseException], text: str, request_id: str | None = REQUEST_ID) -> BaseException:
    """An error of a class, every field of it the text."""
    part = reply(text, complete=False, cut_by=text)
    if kind is errors.Interrupted:
        return errors.Interrupted(text, reply=part)
    fields: dict[str, Any] = {"hint": text, "request_id": request_id, "attempts": 3}
    if kind is errors.IncompleteStream:
        fields |= {"reply": part, "cause": errors.ConnectionFailed(text)}
    elif kind is errors.InvalidData:
        fields |= {"reply": part, "errors": [{"loc": (text,), "msg": text}]}
    elif issubclass(kind, errors.APIError):
        fields |= {"code": text, "status": 418, "param": text, "details": {text: [text]}, "body": text}
    return kind(text, **fields)


def filled(text: str) -> dict[str, object]:
    """One object of every kind, every text field of which is the text given."""
    answer = reply(
        text,
        model=text,
        request_id=text,
        finish_reason=text,
        asked_model=text + "?",
        tool_calls=(ToolCall(text, text, text),),
        sandbox=True,
    )
    entry = Entry(
        datetime(2026, 11, 23, tzinfo=UTC),
        text,
        "error",
        text,
        text,
        text,
        text,
        error_code=text,
        error_type=text,
        base_url=text,
    )
    chat = conversation(0, title=text, system=text)
    chat._turns = [Turn(text, answer) for _ in range(13)]
    return {
        "reply": answer,
        "cut": answer.with_(complete=False, cut_by=text),
        "fallback": answer.with_(fallback=True, tool_calls=()),
        "data": answer.with_(data=City(name=text, districts=[text], twin=City(name=text))),
        "plain data": answer.with_(data={text: [text, {text: None}]}),
        "choices": answer.with_(choices=(text, text)),
        "declined": answer.with_(text="", raw={"choices": [{"message": {"refusal": text}}]}),
        "usage": USAGE,
        "models": ModelList([ModelInfo(text, text, text, (text,), (text,))], request_id=text, sandbox=True),
        "capabilities": CapabilityList([Capability(text, text, text)], request_id=text),
        "model": ModelInfo(text, text, text, (text,), (text,)),
        "capability": Capability(text, text, text),
        "tool call": ToolCall(text, text, text),
        "entry": entry,
        "health": Health(False, text, text, 0.1, text),
        "turn": chat.turns[0],
        "chat": chat,
        "journal": JournalView(
            [entry], 1000, Path("/x") / (text.replace("\0", "").replace("/", "") or "y"), text
        ),
        "bundle": SupportBundle(
            text, (entry,), datetime(2026, 11, 23, tzinfo=UTC), {text: text}, {text: text}, {text: text}
        ),
        "notice": Notice(text),
        "traceback": Traceback(text),
        "unknown": Unknown(text),
        **{kind.__name__: make_error(kind, text, text) for kind in error_classes()},
    }


class Unknown:
    """An object that the display knows nothing of."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text
