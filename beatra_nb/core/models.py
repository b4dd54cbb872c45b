"""What travels on the wire, as pydantic types.

All of them are tolerant: unknown fields are kept, optional ones may be missing or null. Only what the API
promises is required. This module is loaded at the first answer, not at import.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from beatra_nb.core.lenient import text_of

LARGEST_POWER = 30  # of ten, that a number of credits may have


class Wire(BaseModel):
    """Base of the wire types: lenient about what is extra, and about nulls where a default exists."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())


def _none_as(default: Any) -> BeforeValidator:  # noqa: ANN401
    return BeforeValidator(lambda value: default() if value is None else value)


def _lenient_decimal(value: object) -> object:
    """Credits are decimal strings; anything unreadable is no figure rather than a failed answer."""
    if value is None or isinstance(value, Decimal):
        return value
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return None
    # Nobody pays as much, and to write it out or to reckon with it would take all memory.
    return number if number.is_finite() and abs(number.adjusted()) <= LARGEST_POWER else None


def _lenient_int(value: object) -> int:
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        return 0


Credits = Annotated[Decimal | None, BeforeValidator(_lenient_decimal)]
Count = Annotated[int, BeforeValidator(_lenient_int)]
Text = Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else "")]
MaybeText = Annotated[str | None, BeforeValidator(lambda value: value if isinstance(value, str) else None)]
Flag = Annotated[bool, BeforeValidator(lambda value: value is True)]
Objects = Annotated[
    list[dict[str, Any]],
    BeforeValidator(
        lambda value: [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    ),
]


class UsageWire(Wire):
    """``usage`` of a chat answer."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    total_tokens: Count = 0
    credits: Credits = None
    credits_usd_reference: Credits = None


class MessageWire(Wire):
    """A message of a chat answer."""

    role: Text = "assistant"
    content: Annotated[str, BeforeValidator(text_of)] = ""
    tool_calls: Objects = Field(default_factory=list)


class ChoiceWire(Wire):
    """One of the answers."""

    index: Count = 0
    message: Annotated[MessageWire, _none_as(MessageWire)] = Field(default_factory=MessageWire)
    finish_reason: MaybeText = None


class CompletionWire(Wire):
    """``POST /chat/completions`` without streaming."""

    id: Text = ""
    model: Text = ""
    choices: list[ChoiceWire]
    usage: Annotated[
        UsageWire | None, BeforeValidator(lambda value: value if isinstance(value, dict) else None)
    ] = None


class ErrorWire(Wire):
    """What is inside an error envelope."""

    code: MaybeText = None
    message: Text = ""
    retryable: Flag = False
    request_id: MaybeText = None
    param: MaybeText = None
    details: Annotated[
        dict[str, Any], BeforeValidator(lambda value: value if isinstance(value, dict) else {})
    ] = Field(default_factory=dict)


# ── tasks, clips, uploads (Preview: everything may be missing or change) ──


def _lenient_time(value: object) -> object:
    """Times are ISO 8601; a figure is seconds since the epoch. Anything unreadable is no time."""
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _lenient_float(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _object(value: object) -> object:
    return value if isinstance(value, dict) else {}


Time = Annotated[datetime | None, BeforeValidator(_lenient_time)]
MaybeNumber = Annotated[float | None, BeforeValidator(_lenient_float)]
Object = Annotated[dict[str, Any], BeforeValidator(_object)]


class ProgressWire(Wire):
    """``progress`` of a task."""

    percent: MaybeNumber = None
    stage: Text = ""
    message: Text = ""


class BillingWire(Wire):
    """``billing`` of a task."""

    charged_credits: Credits = None
    refunded_credits: Credits = None
    currency: Text = ""


class ClipWire(Wire):
    """One of ``output.clips`` of a music task."""

    artifact_id: Text = ""
    audio_url: Text = ""
    url: Text = ""
    title: Text = ""
    duration_seconds: MaybeNumber = None
    lyrics: Text = ""
    media_type: Text = ""


class TaskWire(Wire):
    """The envelope of a task, whole or as a summary."""

    task_id: Text = ""
    status: Text = ""
    capability: Text = ""
    model: Text = ""
    resolved_model: Text = ""
    metadata: Object = Field(default_factory=dict)
    input: Object = Field(default_factory=dict)
    progress: Annotated[ProgressWire, BeforeValidator(_object)] = Field(default_factory=ProgressWire)
    output: Object = Field(default_factory=dict)
    warnings: Objects = Field(default_factory=list)
    error: Annotated[dict[str, Any] | None, BeforeValidator(lambda v: v if isinstance(v, dict) else None)] = (
        None
    )
    billing: Annotated[BillingWire, BeforeValidator(_object)] = Field(default_factory=BillingWire)
    created_at: Time = None
    started_at: Time = None
    completed_at: Time = None
    cancel_requested_at: Time = None


class UploadWire(Wire):
    """``POST /uploads``."""

    artifact_id: Text = ""
    id: Text = ""
    url: Text = ""
    cdn_url: Text = ""
    media_type: Text = ""
    purpose: Text = ""
