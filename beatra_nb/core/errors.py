"""Everything that can go wrong, as one tree.

    BeatraError
    ├── ConfigurationError          fix the settings; nothing was sent
    │   └── SandboxUnavailable      the sandbox cannot start here; says what to install
    ├── CheckpointError             a batch's checkpoint file is another one's, in use, damaged or full
    ├── InvalidInput                an argument is unusable; nothing was sent (also a ValueError)
    │   └── UnknownPrompt           a directory of prompts has none of this name (also a KeyError)
    ├── BudgetExceeded              the call could cost more than a budget has left; nothing was sent
    ├── NotRecorded                 a replay has no answer to this request; nothing was sent
    ├── ConnectionFailed            no answer: refused, reset, cut off
    ├── Timeout                     no answer in time
    │   └── TaskTimeout             a task was not over in the time given; it lives on, and the error holds it
    ├── IncompleteStream            a stream was cut short; holds the partial reply
    ├── InvalidData                 an answer does not fit the schema asked for; holds the reply
    └── APIError                    the service answered, and the answer is a failure
        ├── AuthenticationError     unauthorized, invalid_api_key, api_key_region_mismatch
        ├── PermissionDenied        tenant_disabled, forbidden
        ├── InsufficientBalance     insufficient_balance
        ├── InvalidRequest          invalid_request, unsupported_capability / _model / _option
        ├── NotFound                404
        ├── Conflict                409
        ├── RateLimited             rate_limited
        ├── ServerError             billing_failed, model_unavailable, other 5xx
        ├── UnexpectedResponse      a 2xx or 3xx that is not what the API promises (a proxy's page)
        └── TaskFailed              a task ended in ``failed``

    Interrupted                     a KeyboardInterrupt that holds the partial reply

Every error is picklable, keeps plain data only, and never holds a request, a header or a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beatra_nb.core import seams
from beatra_nb.core.lenient import printable, whole
from beatra_nb.core.seams import Showable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from beatra_nb.core.reply import Reply
    from beatra_nb.core.task import BaseTask


class BeatraError(Showable, Exception):
    """Base of every error this package raises on purpose.

    Attributes
    ----------
    message : str
        What happened, in one or two sentences.
    hint : str or None
        What to do about it.
    request_id : str or None
        The service's id of the exchange, for support.
    retryable : bool
        Whether the very same call may simply be made again.
    attempts : int
        How often the request was sent; 0 if it never was.
    idempotency_key : str or None
        The key of the logical call: called again with it, nothing is done or charged twice.
    arrived : bool
        Whether the request may have reached the service, in any of its attempts.
    resumable : bool
        Whether ``bn.pending()`` is the way back to what may have been begun.
    doubtful : bool
        Whether the service may have done the work all the same, in any of its attempts.
    retry_after : float or None
        How long the service asks to wait, in seconds.
    paid : Reply or None
        An answer that had come before, and was charged: it did not fit the schema, and no better one could be had.
    taped : (datetime, float) or None
        Where its exchange is on a cassette, when that was recorded, and the seconds of the whole call as it has them.
    """

    arrived = True
    doubtful = True
    resumable = False
    retry_after: float | None = None
    paid: Reply | None = None
    taped: tuple[datetime, float] | None = None

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        request_id: str | None = None,
        retryable: bool = False,
        attempts: int = 0,
        idempotency_key: str | None = None,
    ) -> None:
        # A kernel cannot send on half a character, and a terminal obeys what is not printable.
        message = printable(whole(message))
        super().__init__(message)
        self.message = message
        self.hint = hint and whole(hint)
        self.request_id = request_id and whole(request_id)
        self.retryable = retryable
        self.attempts = attempts
        self.idempotency_key = idempotency_key

    @property
    def recorded(self) -> datetime | None:
        """When its exchange was recorded, where that is on a cassette."""
        return self.taped[0] if self.taped is not None else None

    def __str__(self) -> str:
        tail = [self.hint] if self.hint else []
        if self.request_id:
            tail.append(f"(request id {self.request_id})")
        return " ".join([self.message, *tail])

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle by their positional args; ours are made of keywords, so rebuild from the fields. These
        # come as state, after the error itself: a task holds its error, and the error its task.
        return _rebuild, (type(self), self.args), self.__dict__

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: a short card in place of the stack (called twice, so pure)."""
        return seams.error_card(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ANN401
        """IPython's hook for plain text; without it, exceptions are shown by their repr."""
        printer.text(seams.to_plain(self))


def _rebuild(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args
    return error


class ConfigurationError(BeatraError):
    """Settings that cannot work; raised before anything is sent."""


class SandboxUnavailable(ConfigurationError):
    """The sandbox was asked for and cannot start here."""


class InvalidInput(BeatraError, ValueError):
    """An argument that cannot be sent; raised before anything is sent or spent."""


class UnknownPrompt(InvalidInput, KeyError, AttributeError):
    """A directory of prompts has none of this name."""


class BudgetExceeded(BeatraError):
    """A call could cost more than a budget has left; raised before it is sent.

    Attributes
    ----------
    name : str or None
        The budget's name.
    unit : str
        What it counts, where the bound is one: ``"credits"`` or ``"tokens"``; empty where a check of yours refused.
    bound : Decimal or int or None
        How much of it there is.
    spent, reserved : Decimal or int or None
        What has been spent, and what is set aside for calls under way.
    estimate : Decimal or int or None
        What the call was expected to cost.
    """

    arrived = doubtful = False

    def __init__(
        self,
        message: str,
        *,
        name: str | None = None,
        unit: str = "",
        bound: Decimal | int | None = None,
        spent: Decimal | int | None = None,
        reserved: Decimal | int | None = None,
        estimate: Decimal | int | None = None,
        **more: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(message, **more)
        self.name, self.unit = name and whole(name), unit
        self.bound, self.spent, self.reserved, self.estimate = bound, spent, reserved, estimate


class CheckpointError(BeatraError):
    """The checkpoint of a batch cannot be used as it is: it belongs to another run, is in use, damaged or full."""

    arrived = doubtful = False


class NotRecorded(BeatraError):
    """A replay was asked what the cassette has no answer to; the message says what differs. Nothing was sent."""

    arrived = doubtful = False


class ConnectionFailed(BeatraError):
    """No answer arrived: the connection was refused, reset or cut off."""


class Timeout(BeatraError, TimeoutError):
    """No answer arrived in time."""


class TaskTimeout(Timeout):
    """A task was not over in the time given. The task itself goes on.

    Attributes
    ----------
    task : Task or None
        The task as it was last seen: ``error.task.wait()`` comes back to it.
    """

    def __init__(self, message: str, *, task: BaseTask | None = None, **more: Any) -> None:  # noqa: ANN401
        super().__init__(message, **more)
        self.task = task


class IncompleteStream(BeatraError):
    """A stream ended before the service said it was whole.

    Attributes
    ----------
    reply : Reply
        What had arrived, with ``complete=False``. Never act on it as if it were whole.
    cause : BeatraError or None
        What cut it short, where that is known (an error event, a reset, a time-out).
    """

    def __init__(self, message: str, *, reply: Reply, cause: BeatraError | None = None, **more: Any) -> None:  # noqa: ANN401
        super().__init__(message, **more)
        self.reply = reply
        self.cause = cause


class InvalidData(BeatraError):
    """An answer that does not fit the schema it was asked for.

    Attributes
    ----------
    reply : Reply
        The whole answer: it was paid for and is not lost.
    errors : list of dict
        What does not fit, as pydantic reports it.
    """

    def __init__(self, message: str, *, reply: Reply, errors: list[dict[str, Any]], **more: Any) -> None:  # noqa: ANN401
        super().__init__(message, **more)
        self.reply = reply
        self.errors = errors


class APIError(BeatraError):
    """The service answered with a failure.

    Attributes
    ----------
    code : str or None
        The envelope's code; None where the body was not the API's envelope.
    status : int or None
        The HTTP status; None for an error event inside a stream.
    param : str or None
        JSON Pointer (RFC 6901) to the offending field.
    details : dict
        The envelope's details (``errors``, ``unsupported_fields``, …).
    body : str
        The start of the body as it came, for support.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        param: str | None = None,
        details: Mapping[str, Any] | None = None,
        body: str = "",
        **more: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(message, **more)
        self.code = code and whole(code)
        self.status = status
        self.param = param
        self.details = dict(details or {})
        self.body = body

    def __str__(self) -> str:
        label = " ".join(str(part) for part in (self.status, self.code) if part is not None)
        return f"{label}: {super().__str__()}" if label else super().__str__()


class AuthenticationError(APIError):
    """The key is missing, unknown, revoked, or belongs to another region."""


class PermissionDenied(APIError):
    """The key is good, and may not do this."""


class InsufficientBalance(APIError):
    """The account has too few credits for new work."""


class InvalidRequest(APIError):
    """The request must be changed before it can succeed."""


class NotFound(APIError):
    """There is no such thing under this id."""


class Conflict(APIError):
    """An idempotency key was used with another body, or a job is already over."""


class RateLimited(APIError):
    """The account's request budget is used up for the moment."""


class ServerError(APIError):
    """The service failed."""


class UnexpectedResponse(APIError):
    """A success by its status whose body is not what the API promises."""


class TaskFailed(APIError):
    """A task ended in ``failed``.

    Attributes
    ----------
    task : Task or None
        The task, with what was charged and refunded.
    """

    def __init__(self, message: str, *, task: BaseTask | None = None, **more: Any) -> None:  # noqa: ANN401
        super().__init__(message, **more)
        self.task = task


class Interrupted(Showable, KeyboardInterrupt):
    """The kernel was interrupted during a call; what had arrived is kept.

    It is a ``KeyboardInterrupt``, so loops and *Run All* stop as they should.

    Attributes
    ----------
    reply : Reply or None
        The partial answer with ``complete=False``, or None if nothing had arrived.
    task : Task or None
        The task that was waited for: it goes on, and ``interrupted.task.wait()`` comes back to it.
    result : BatchResult or None
        What a batch had finished.
    hint : str or None
        What to do about it.
    idempotency_key : str or None
        The key of the logical call: called again with it, nothing is done or charged twice.
    """

    def __init__(
        self,
        message: str = "Interrupted.",
        *,
        reply: Reply | None = None,
        task: BaseTask | None = None,
        result: Any = None,  # noqa: ANN401 - a BatchResult, which the core does not know
        hint: str | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        super().__init__(whole(message))
        self.message = whole(message)
        self.reply = reply
        self.task = task
        self.result = result
        self.hint = hint
        self.idempotency_key = idempotency_key

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args), self.__dict__

    def _render_traceback_(self) -> list[str]:
        return seams.error_card(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ANN401
        printer.text(seams.to_plain(self))


def spoken(stop: BaseException, said: Interrupted) -> BaseException:
    """Return what to raise for an interrupt, so that the cell shows our words and not the frames it was in.

    A cell that awaits is interrupted by being cancelled, and must end as cancelled: others may wait for that. It
    only looks like ours.
    """
    if isinstance(stop, KeyboardInterrupt):
        return said
    stop._render_traceback_ = said._render_traceback_  # type: ignore[attr-defined]
    return stop


BY_CODE: dict[str, type[APIError]] = {
    "unauthorized": AuthenticationError,
    "invalid_api_key": AuthenticationError,
    "api_key_region_mismatch": AuthenticationError,
    "tenant_disabled": PermissionDenied,
    "forbidden": PermissionDenied,
    "insufficient_balance": InsufficientBalance,
    "billing_failed": ServerError,
    "invalid_request": InvalidRequest,
    "unsupported_capability": InvalidRequest,
    "unsupported_model": InvalidRequest,
    "unsupported_option": InvalidRequest,
    "rate_limited": RateLimited,
    "model_unavailable": ServerError,
}

BY_STATUS: dict[int, type[APIError]] = {
    400: InvalidRequest,
    401: AuthenticationError,
    402: InsufficientBalance,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    422: InvalidRequest,
    429: RateLimited,
}

# What a person should do, by code: the intent behind the pair of status and code.
HINTS: dict[str, str] = {
    "unauthorized": "Set BEATRA_API_KEY, or pass api_key= to bn.connect().",
    "invalid_api_key": "Check the key: copy it again from the dashboard, or make a new one.",
    "api_key_region_mismatch": "This key belongs to another region: set BEATRA_BASE_URL to that region's host.",
    "tenant_disabled": "The account is suspended: contact support with the request id.",
    "forbidden": "This key may not do this: use another key or ask the account's owner.",
    "insufficient_balance": "Top up the account's credits, then run the cell again.",
    "billing_failed": "The charge did not go through on the service's side: try again in a moment.",
    "invalid_request": "Fix the field named above, then run the cell again.",
    "unsupported_capability": "bn.capabilities() lists what can be done today.",
    "unsupported_model": 'Pick one from bn.models(), or use model="auto".',
    "unsupported_option": "Leave the field out, or choose another model.",
    "rate_limited": "The service is busy for this account: wait a little, then run the cell again.",
    "model_unavailable": 'Pick another model, or pass fallback="auto".',
}


def class_for(code: str | None, status: int | None) -> type[APIError]:
    """The error class for an envelope's code, or else for a status.

    A code that is not in the table is an open door: it becomes the class of its status, and its own
    ``retryable`` flag alone decides about trying again.
    """
    if code in BY_CODE:
        return BY_CODE[code]
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status is not None and status >= 500:
        return ServerError
    if status is not None and status < 400:
        return UnexpectedResponse
    return APIError
