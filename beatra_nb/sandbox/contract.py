"""The public contract's conventions: error codes, the envelope, ids, JSON as bytes."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

BASE_PATH = "/v1"
MAX_BODY = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Code:
    """A row of the error table."""

    status: int
    retryable: bool
    message: str


CODES: dict[str, Code] = {
    "unauthorized": Code(401, False, "No Authorization header. Send 'Authorization: Bearer <key>'."),
    "invalid_api_key": Code(401, False, "API key not found, signature mismatch, disabled, or revoked."),
    "api_key_region_mismatch": Code(400, False, "This API key belongs to another region's host."),
    "tenant_disabled": Code(403, False, "This account is suspended."),
    "forbidden": Code(403, False, "This key is not permitted to do that."),
    "insufficient_balance": Code(402, False, "Not enough credits to create new work."),
    "billing_failed": Code(500, True, "The charge failed after retries."),
    "invalid_request": Code(422, False, "The request is not valid."),
    "unsupported_capability": Code(400, False, "This capability is unknown or not enabled."),
    "unsupported_model": Code(400, False, "This model is unknown or cannot do this."),
    "unsupported_option": Code(422, False, "The model does not take a field of this request."),
    "rate_limited": Code(429, True, "Too many requests: the request budget is exhausted."),
    "model_unavailable": Code(503, True, "The model is unavailable: switch, or retry with 'auto'."),
    # Not in the published table, which is open: a client goes by the flag alone.
    "idempotency_conflict": Code(409, False, "This Idempotency-Key was used with a different request body."),
    "not_found": Code(404, False, "There is nothing at this address."),
    "expired": Code(410, False, "This file has expired: files are kept for a limited time and space."),
    "method_not_allowed": Code(405, False, "This address does not take that method."),
    "internal_error": Code(500, True, "Something went wrong in the sandbox."),
}


class Refusal(Exception):
    """An error answer, raised from anywhere below the server."""

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        status: int | None = None,
        retryable: bool | None = None,
        param: str | None = None,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        row = CODES.get(code, CODES["internal_error"])
        self.code = code
        self.message = message or row.message
        self.status = status or row.status
        self.retryable = row.retryable if retryable is None else retryable
        self.param = param
        self.details = details
        self.headers = headers or {}
        super().__init__(f"{self.status} {code}: {self.message}")

    def envelope(self, request_id: str | None = None) -> dict[str, Any]:
        """Return the error as the public envelope."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "retryable": self.retryable}
        # Whoever has no good key gets exactly the published body; the id is in the header all the same.
        if request_id and self.status != 401:
            error["request_id"] = request_id
        if self.param is not None:
            error["param"] = self.param
        if self.details:
            error["details"] = self.details
        return {"error": error}


def encode(value: object) -> bytes:
    """JSON as UTF-8; what UTF-8 cannot hold (lone surrogates) is written as escapes."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id(prefix: str) -> str:
    """Return an id such as ``req_01J5…``: 48 bits of milliseconds, 80 of chance, sortable by time."""
    number = int(time.time() * 1000) << 80 | secrets.randbits(80)
    return prefix + "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def pointer(*parts: str | int) -> str:
    """Return a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def fingerprint(body: dict[str, Any] | bytes) -> str:
    """SHA-256 of a body in canonical form, so that the order of fields and white space do not count."""
    canonical: object = body
    if isinstance(body, bytes):
        try:
            canonical = json.loads(body)
        except (ValueError, RecursionError):
            return hashlib.sha256(body).hexdigest()
    return hashlib.sha256(json.dumps(canonical, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
