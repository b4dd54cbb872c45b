"""What an engine is: a checked request goes in, events come out.

The server turns events into the wire's shapes, so an engine knows no HTTP and no JSON envelope.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

MAX_CHOICES = 8


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation, its content as plain text."""

    role: str
    text: str
    tool_calls: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the caller offers, with the JSON schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat request that has passed validation; defaults are filled in.

    ``choice`` is ``"none"``, ``"auto"``, ``"required"`` or the name of the one tool that must be called.
    ``pace`` is a pause in seconds before each token of the scripted engine.
    """

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    n: int = 1
    seed: int | None = None
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    schema: dict[str, Any] | None = None
    json_object: bool = False
    tools: tuple[Tool, ...] = ()
    choice: str = "auto"
    pace: float = 0.0
    wire: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def prompt(self) -> str:
        """The text of the last message the user wrote."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), self.messages[-1].text)

    def tool_to_call(self) -> Tool | None:
        """Return the tool this turn calls: the forced one, or the one that the prompt names.

        Neither engine is able to weigh whether a tool would help; calling exactly what is forced or named
        keeps tool code testable and claims no judgement.
        """
        if not self.tools or self.choice == "none" or self.messages[-1].role == "tool":
            return None
        named = [t for t in self.tools if re.search(rf"(?<!\w){re.escape(t.name)}(?!\w)", self.prompt)]
        if self.choice == "required":
            return (named or list(self.tools))[0]
        if self.choice == "auto":
            return named[0] if named else None
        return next(t for t in self.tools if t.name == self.choice)


@dataclass(frozen=True, slots=True)
class Text:
    """Some more text of one choice."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A piece of a tool call: the name comes with the first, the arguments bit by bit."""

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Finish:
    """One choice is over."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What the whole answer took; the last event."""

    prompt_tokens: int
    completion_tokens: int


Event = Text | Call | Finish | Spent


class Engine(Protocol):
    """Something that answers."""

    @property
    def name(self) -> str:
        """The engine's name (``X-Beatra-Sandbox``)."""

    @property
    def model(self) -> str:
        """The id of its model, as answers name it."""

    @property
    def usable(self) -> bool:
        """Whether it can be expected to answer."""

    def answer(self, request: ChatRequest) -> AsyncIterator[Event]:
        """Answer; closing the iterator stops the work within a token.

        Raises
        ------
        Refusal
            For what this engine cannot do with this request; before the first event where possible.
        """

    def warm(self) -> None:
        """Begin to load what the first answer needs, without waiting for it."""

    def close(self) -> None:
        """Free what the engine holds; may be called again."""
