"""Failures as the service sends them → our errors. Also for bodies that are no envelope at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beatra_nb.core.errors import HINTS, APIError, UnexpectedResponse, class_for
from beatra_nb.core.lenient import load
from beatra_nb.core.policy import FLAGLESS_RETRYABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY_KEPT = 600  # characters of a strange body worth showing


def error_from(status: int, headers: Mapping[str, str], body: bytes) -> APIError:
    """Make the error for an answer that is not a success.

    Parameters
    ----------
    status : int
        The HTTP status.
    headers : mapping of str to str
        The answer's headers.
    body : bytes
        Its body.
    """
    request_id = headers.get("x-request-id")
    try:
        envelope = load(body)
    except (ValueError, RecursionError):
        envelope = None
    if isinstance(envelope, dict) and isinstance(envelope.get("error"), dict):
        error = error_from_envelope(
            envelope["error"], status=status, request_id=request_id, body=_start(body)
        )
        if error is not None:
            return error
    return _no_envelope(status, headers, body, request_id)


def error_from_envelope(
    inner: Mapping[str, Any], *, status: int | None, request_id: str | None, body: str = ""
) -> APIError | None:
    """Make the error for the inside of an envelope; None where nothing in it says that it is one."""
    from beatra_nb.core.models import ErrorWire

    wire = ErrorWire.model_validate(dict(inner))
    if wire.code is None and not isinstance(inner.get("retryable"), bool):
        return None
    kind = class_for(wire.code, status)
    return kind(
        wire.message or f"The service answered {wire.code or status or 'with a failure'}.",
        code=wire.code,
        status=status,
        retryable=wire.retryable,
        request_id=request_id or wire.request_id,
        param=wire.param,
        details=wire.details,
        body=body,
        hint=_hint(wire.code, wire.retryable),
    )


def unexpected(status: int, headers: Mapping[str, str], body: bytes, what: str) -> UnexpectedResponse:
    """Make the error for a success whose body is not what the API promises.

    Parameters
    ----------
    what : str
        What was wrong with it, as the rest of the sentence "The service answered 200, but …".
    """
    return UnexpectedResponse(
        f"The service answered {status}, but {what}.",
        status=status,
        request_id=headers.get("x-request-id"),
        body=_start(body),
        hint=f"Is base_url right, and no proxy in between? The body begins: {_start(body, 160)!r}",
    )


def _no_envelope(status: int, headers: Mapping[str, str], body: bytes, request_id: str | None) -> APIError:
    if 300 <= status < 400:
        message = (
            f"The service answered {status}, a redirect; it is not followed, so that the key stays here."
        )
    else:
        kind = headers.get("content-type", "").partition(";")[0] or "no content type"
        message = f"The answer was {status} without the API's error envelope ({kind})."
    return class_for(None, status)(
        message,
        status=status,
        retryable=status in FLAGLESS_RETRYABLE,
        request_id=request_id,
        body=_start(body),
        hint=f"A proxy may have answered in the service's place. The body begins: {_start(body, 160)!r}"
        if body
        else "The body was empty: a proxy may have answered in the service's place.",
    )


def _hint(code: str | None, retryable: bool) -> str:
    if code is not None and code in HINTS:
        return HINTS[code]
    if retryable:
        return "It is safe to try again in a moment."
    return (
        "Trying again will not help before the request is changed; support can look it up by its request id."
    )


def _start(body: bytes, characters: int = BODY_KEPT) -> str:
    text = body[: characters * 4].decode("utf-8", "replace").strip()
    return text if len(text) <= characters else text[: characters - 1] + "…"
