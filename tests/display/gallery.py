"""Objects of every kind to look at: ordinary ones, and ones whose every field is the text given."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import struct
import wave
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from beatra_nb.core import errors
from beatra_nb.core.budget import Budget
from beatra_nb.core.conversation import Chat, Turn
from beatra_nb.core.costs import Estimate
from beatra_nb.core.lenient import whole
from beatra_nb.core.media import Artifact
from beatra_nb.core.prompt import Prompt
from beatra_nb.core.purse import Spent
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
from beatra_nb.core.task import AsyncTask, Progress, Task, TaskWarning
from beatra_nb.core.task_list import LostJob, PendingList, TaskList
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


MADE = datetime(2026, 11, 23, tzinfo=UTC)
TASK_ID = "task_01J5ZKC3W8M2QX7N4B6D9F1H5T"


@functools.cache
def sound(seconds: float = 0.2, pitch: float = 220.0) -> bytes:
    """A tone that rises and falls, as a file."""
    file, rate = io.BytesIO(), 8000
    count = int(rate * seconds)
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        tone = (
            math.sin(math.pi * n / count) * math.sin(2 * math.pi * pitch * n / rate) for n in range(count)
        )
        out.writeframes(b"".join(struct.pack("<h", int(30_000 * value)) for value in tone))
    return file.getvalue()


def task_wire(status: str = "succeeded", clips: int = 2, **more: Any) -> dict[str, Any]:
    """What the service says of a task."""
    wire: dict[str, Any] = {
        "task_id": TASK_ID,
        "status": status,
        "capability": "text-to-music",
        "model": "auto",
        "resolved_model": "suno-5.5",
        "input": {
            "prompt": "dream pop, warm analog drums",
            "title": "City Lights",
            "lyrics": "[Verse]\nWaking",
        },
        "created_at": MADE.isoformat(),
        "completed_at": "2026-11-23T00:00:09Z" if status in ("succeeded", "failed", "canceled") else None,
        "billing": {"charged_credits": "80"},
    }
    if status == "succeeded":
        wire["output"] = {
            "clips": [
                {
                    "artifact_id": f"art_{at}",
                    "audio_url": f"https://cdn.example/{at}.mp3",
                    "title": "City Lights",
                    "duration_seconds": 185.2 + at,
                    "media_type": "audio/mpeg",
                    "seed": 4711 + at,
                    "tempo_bpm": 92 + 8 * at,
                    "key": ("A minor", "C major", "D dorian")[at % 3],
                    "genre": "dream pop",
                    "lyrics": "[Verse]\nWaking",
                }
                for at in range(clips)
            ]
        }
    return {**wire, **more}


def task(status: str = "succeeded", clips: int = 2, *, here: bool = True, **more: Any) -> Task:
    """An ordinary task; its clips' audio is ``here``, or has not been fetched."""
    made = Task(None, task_wire(status, clips, **more), request_id=REQUEST_ID)
    for clip in made.clips if here else ():
        clip.keep(sound(pitch=220.0 * clip.index))
    return made


def hostile_task(
    text: str, status: str = "succeeded", kind: type[Task | AsyncTask] = Task
) -> Task | AsyncTask:
    """A task in which every text is the text given."""
    clips = [
        {
            "artifact_id": f"{text}{at}",
            "audio_url": text,
            "title": text,
            "duration_seconds": 6,
            "lyrics": text + "?" * at,
            "media_type": text,
            "seed": text,
            "tempo_bpm": 92,
            "key": text,
            "genre": text,
            "sections": [{"name": text, "start_seconds": 1}, text, {"name": text, "start_seconds": text}],
            whole(text): text,
        }
        for at in range(4)
    ]
    wire = {
        "task_id": text,
        "status": status,
        "capability": text,
        "model": text,
        "resolved_model": text + "!",
        "metadata": {whole(text): text},
        "input": {"prompt": text, "title": text, "lyrics": text},
        "progress": {"percent": 40, "stage": text, "message": text},
        "output": {"clips": clips} if status == "succeeded" else {},
        "warnings": [{"code": text, "message": text, "field": text}, {"code": text}],
        "error": {
            "code": text,
            "message": text,
            "retryable": False,
            "param": text,
            "details": {whole(text): text},
        },
        "billing": {"charged_credits": "80", "refunded_credits": "80", "currency": text},
        "created_at": MADE.isoformat(),
    }
    made = kind(None, wire, request_id=text, sandbox=True)
    made.price = made.attached = text
    # One that plays, one of a kind that does not, one that may not be embedded, and one that could not be fetched.
    here = made.clips
    if here:
        here[0].keep(sound())
        here[0].saved = Path((text.replace("\0", "").replace("/", "") or "x") + ".wav")
        here[1].keep(b"no sound that anybody knows")
        here[2].keep(sound())
        here[2].embed = False
        here[3].problem = text
    return made


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
        "records": answer.with_(data=[{text: text, "b": [text]}, {text: City(name=text)}], repairs=2),
        "a word": answer.with_(data=text, repairs=1),
        "a tree": answer.with_(data={text: {text: [{text: text}]}}),
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
        **{status: hostile_task(text, status) for status in ("queued", "running", "failed", "canceled")},
        "task": hostile_task(text),
        "async task": hostile_task(text, kind=AsyncTask),
        "odd task": hostile_task(text, text),
        **{f"clip {clip.index}": clip for clip in hostile_task(text).clips},
        "async clip": hostile_task(text, kind=AsyncTask).clips[3],
        "progress": Progress(40, text, text),
        "billing": hostile_task(text).billing,
        "warning": TaskWarning(text, text, text),
        "artifact": Artifact(text, text, text, text, 3, text, text, 6.0, True, text, True, {text: text}, 1.0),
        "tasks": task_list(text),
        "pending": PendingList(
            [hostile_task(text, "running")],  # type: ignore[list-item]
            [LostJob(text, MADE, text, text, text)],
        ),
        "lost job": LostJob(text, MADE, text, text, text),
        "notice": Notice(text),
        "traceback": Traceback(text),
        "budget": refusing(text),
        "spent": Spent(Decimal("0.5"), 3, 1),
        "prompt": prompt(text),
        "unknown": Unknown(text),
        **{kind.__name__: make_error(kind, text, text) for kind in error_classes()},
    }


def refusing(text: str) -> Budget:
    """A budget whose check says no."""
    budget = Budget(5, 100, check=lambda spent: text, name=text)
    with contextlib.suppress(errors.BudgetExceeded):
        budget.reserve(None, Estimate(Decimal(1), 1))
    return budget


def prompt(text: str) -> Prompt:
    """A prompt of which every text is the text given, beside two fields."""
    around = f"{text}{{word}}{text} {{First name!r:>3}}\n{text}"
    return Prompt(
        around,
        system=around,
        examples=[(text, text)],
        model=text,
        schema={"title": text, "type": text},
        options={"stop": text},
        name=text,
        notes=text,
    )


def task_list(text: str) -> TaskList:
    """A page of tasks, of which there are more."""
    found = TaskList(None, {"status": text, "capability": text, text: text})  # type: ignore[arg-type]
    found.add([hostile_task(text), hostile_task(text + "2", text)], "next", True)  # type: ignore[list-item]
    found.sandbox, found.request_id = True, text
    return found


class Unknown:
    """An object that the display knows nothing of."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text
