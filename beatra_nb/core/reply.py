"""What a call returns: plain, frozen, picklable data. No markup, no client, no key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

from beatra_nb.core.seams import Showable

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Usage(Showable):
    """Tokens and credits of an answer, or the sum over several.

    Attributes
    ----------
    prompt_tokens, completion_tokens, total_tokens : int
        Counts, in tokens.
    credits : Decimal or None
        What was charged, in credits; None where the service did not say.
    credits_usd_reference : Decimal or None
        The same in US dollars, for display only (the service's reference rate).
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    credits: Decimal | None = None
    credits_usd_reference: Decimal | None = None

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            _plus(self.credits, other.credits),
            _plus(self.credits_usd_reference, other.credits_usd_reference),
        )


def _plus(a: Decimal | None, b: Decimal | None) -> Decimal | None:
    if a is None:
        return b
    return a if b is None else a + b


@dataclass(frozen=True, slots=True)
class ToolCall(Showable):
    """A call of one of your ``tools`` that the model asks for.

    Attributes
    ----------
    id : str
        The id to answer under.
    name : str
        The function's name.
    arguments : str
        Its arguments as the model wrote them: JSON by convention, never trusted.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply(Showable):
    """An answer of the chat API.

    ``str(reply)`` is its text; at the end of a cell it shows itself.

    Attributes
    ----------
    text : str
        The answer.
    model : str
        The model that answered, as the service named it.
    request_id : str or None
        The service's id of the exchange (``X-Request-Id``): keep it for support.
    usage : Usage or None
        Tokens and credits, where the service said.
    finish_reason : str or None
        Why the model stopped (``"stop"``, ``"length"``, ``"tool_calls"``, …).
    complete : bool
        False when the answer was cut short; never act on such a reply as if it were whole.
    elapsed : float
        Seconds from the call to the end of the answer, retries included.
    attempts : int
        How often a request was sent, those of repairs included.
    data : object
        The parsed object, where a ``schema`` was asked for.
    tool_calls : tuple of ToolCall
        The calls of your tools that the model asks for.
    choices : tuple of str
        Every answer's text where ``n`` > 1 was asked for; else just ``(text,)``.
    asked_model : str
        The model that was asked for.
    fallback : bool
        True when the asked model was not available and ``"auto"`` answered in its place.
    sandbox : bool
        True when the sandbox answered, not the live service.
    recorded : datetime or None
        When the exchange was recorded, where it is on a cassette (being recorded, or replayed).
    idempotency_key : str or None
        The key of this logical call, the same on each of its attempts.
    cut_by : str or None
        What cut the answer short, in words; None for a whole one.
    repairs : int
        How often it was asked for again because it did not fit its ``schema``. Each answer was charged, and ``usage``
        is their sum; everything else is the last one's.
    raw : dict
        The body as it came (for a stream: the pieces put together).
    """

    text: str
    model: str = ""
    request_id: str | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    complete: bool = True
    elapsed: float = 0.0
    attempts: int = 1
    data: Any = None
    tool_calls: tuple[ToolCall, ...] = ()
    choices: tuple[str, ...] = ()
    asked_model: str = "auto"
    fallback: bool = False
    sandbox: bool = False
    recorded: datetime | None = None
    idempotency_key: str | None = None
    cut_by: str | None = None
    repairs: int = 0
    raw: dict[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        head = self.text if len(self.text) <= 60 else self.text[:57] + "…"
        state = "" if self.complete else ", complete=False"
        return f"Reply({head!r}, model={self.model!r}, request_id={self.request_id!r}{state})"

    def with_(self, **changes: Any) -> Reply:  # noqa: ANN401
        """Return a copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class ModelInfo(Showable):
    """A model this account may use.

    Attributes
    ----------
    id : str
        What to pass as ``model=``.
    owned_by : str
        Who runs it.
    status : str
        ``"available"`` or ``"unavailable"`` where the catalog says, else empty.
    capabilities, modalities : tuple of str
        What it can do, where the catalog says.
    raw : dict
        The entry as it came.
    """

    id: str
    owned_by: str = ""
    status: str = ""
    capabilities: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    raw: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Capability(Showable):
    """Something the API can do, today or one day.

    Attributes
    ----------
    id : str
        Its name, such as ``"chat"``.
    status : str
        ``"Available"`` (a contract), ``"Preview"`` (callable, may change) or ``"Planned"`` (do not call yet).
    description : str
        What it is.
    raw : dict
        The entry as it came.
    """

    id: str
    status: str = ""
    description: str = ""
    raw: dict[str, Any] = field(default_factory=dict, repr=False)


class _Listing(Showable, Sequence[_T]):
    """An immutable list that shows itself as a table and remembers which exchange it came from."""

    def __init__(
        self,
        items: Iterable[_T],
        *,
        request_id: str | None = None,
        sandbox: bool = False,
        recorded: datetime | None = None,
    ) -> None:
        self._items = tuple(items)
        self.request_id = request_id
        self.sandbox = sandbox
        self.recorded = recorded

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[_T, ...]: ...
    def __getitem__(self, index: int | slice) -> _T | tuple[_T, ...]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[_T]:
        return iter(self._items)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._items)!r})"


class ModelList(_Listing[ModelInfo]):
    """The models of this account; iterate it, or ``.ids`` for the names alone."""

    @property
    def ids(self) -> list[str]:
        """What may be passed as ``model=``."""
        return [model.id for model in self]


class CapabilityList(_Listing[Capability]):
    """What the API can do, capability by capability, with its release status."""

    def get(self, name: str) -> Capability | None:
        """Return the capability of this id, or None."""
        return next((item for item in self if item.id == name), None)


@dataclass(frozen=True, slots=True)
class Health(Showable):
    """Whether the service is well.

    Attributes
    ----------
    ok : bool
        True only when the service says ``"ok"``.
    status : str
        What it says.
    base_url : str
        Who was asked.
    elapsed : float
        Seconds the answer took.
    request_id : str or None
        The exchange's id.
    sandbox : bool
        True when it is the sandbox.
    recorded : datetime or None
        When the exchange was recorded, where it is on a cassette.
    """

    ok: bool
    status: str
    base_url: str
    elapsed: float = 0.0
    request_id: str | None = None
    sandbox: bool = False
    recorded: datetime | None = None

    def __bool__(self) -> bool:
        return self.ok
