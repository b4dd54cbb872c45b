"""Checking a JSON body field by field: every complaint carries a JSON Pointer."""

from __future__ import annotations

import json
import math
from typing import Any

from beatra_nb.sandbox.contract import Refusal, pointer

MAX_DEPTH = 64  # of objects and lists within each other: deeper, and writing them out again may fail
MAX_METADATA = 16 * 1024


def parse_json(raw: bytes) -> dict[str, Any]:
    """Read a body as one JSON object.

    Raises
    ------
    Refusal
        ``invalid_request`` with status 400 for what is not JSON, or is nested beyond reason.
    """
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as problem:
        where = f" at character {problem.pos}" if isinstance(problem, json.JSONDecodeError) else ""
        raise Refusal(
            "invalid_request", f"The body is not valid JSON{where}.", status=400, param=""
        ) from None
    if not isinstance(body, dict):
        raise Refusal("invalid_request", "The body must be a JSON object.", status=400, param="")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _too_deep(body):
        message = f"The body is nested more than {MAX_DEPTH} levels deep."
        raise Refusal("invalid_request", message, status=400, param="")
    return body


class Checker:
    """Reads one body and collects complaints; null stands for "not given", as OpenAI's clients send it."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.errors: list[dict[str, str]] = []
        self.unsupported: list[str] = []

    def finish(self, who: str = "The sandbox's models do") -> None:
        """Raise what was found, if anything.

        Raises
        ------
        Refusal
            ``invalid_request`` naming every bad field, or ``unsupported_option`` naming every one not taken.
        """
        if self.errors:
            first = self.errors[0]
            rest = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
            raise Refusal(
                "invalid_request",
                f"{first['field'] or 'The body'} {first['message']}{rest}.",
                param=first["field"],
                details={"errors": self.errors},
            )
        if self.unsupported:
            raise Refusal(
                "unsupported_option",
                f"{who} not take: {', '.join(self.unsupported)}.",
                param="/" + self.unsupported[0],
                details={"unsupported_fields": self.unsupported},
            )

    def bad(self, where: str, message: str) -> None:
        """Note a complaint."""
        self.errors.append({"field": where, "message": message})

    def text(
        self,
        name: str,
        of: dict[str, Any] | None = None,
        *path: str,
        required: bool = False,
        longest: int | None = None,
    ) -> str | None:
        """Read a string; what no UTF-8 can hold in it is replaced."""
        value = (self.body if of is None else of).get(name)
        if value is None:
            if required:
                self.bad(pointer(*path, name), "is required")
            return None
        if not isinstance(value, str) or (required and not value.strip()):
            self.bad(pointer(*path, name), "must be a non-empty string" if required else "must be a string")
            return None
        if longest is not None and len(value) > longest:
            self.bad(pointer(*path, name), f"must be at most {longest:,} characters, not {len(value):,}")
            return None
        return well_formed(value)

    def boolean(self, name: str, of: dict[str, Any] | None = None, *path: str) -> bool:
        """Read true or false."""
        value = (self.body if of is None else of).get(name)
        if value is not None and not isinstance(value, bool):
            self.bad(pointer(*path, name), "must be true or false")
        return value is True

    def mapping(self, name: str, of: dict[str, Any] | None = None, *path: str) -> dict[str, Any]:
        """Read an object."""
        value = (self.body if of is None else of).get(name)
        if value is not None and not isinstance(value, dict):
            self.bad(pointer(*path, name), "must be an object")
        return value if isinstance(value, dict) else {}

    def metadata(self) -> dict[str, Any]:
        """Read the user's own notes, within bounds: they are kept, and stand in every list."""
        value = self.mapping("metadata")
        if len(json.dumps(value, separators=(",", ":"))) > MAX_METADATA:
            self.bad("/metadata", f"must be at most {MAX_METADATA:,} bytes of JSON")
        return value

    def number(
        self, name: str, low: float, high: float, of: dict[str, Any] | None = None, *path: str
    ) -> float | None:
        """Read a number within bounds."""
        value = (self.body if of is None else of).get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.bad(pointer(*path, name), "must be a number")
        elif not low <= value <= high:
            self.bad(pointer(*path, name), f"must be from {low:g} to {high:g}")
        else:
            return float(value)
        return None

    def whole(
        self, name: str, low: int, high: int, of: dict[str, Any] | None = None, *path: str
    ) -> int | None:
        """Read a whole number within bounds."""
        value = (self.body if of is None else of).get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self.bad(pointer(*path, name), "must be a whole number")
        elif not low <= value <= high:
            self.bad(pointer(*path, name), f"must be from {low} to {high}")
        else:
            return value
        return None

    def choice(self, name: str, *allowed: str, of: dict[str, Any], path: tuple[str, ...]) -> str | None:
        """Read one of some words."""
        value = of.get(name)
        if value is None:
            return None
        if value not in allowed:
            self.bad(pointer(*path, name), f"must be one of {', '.join(allowed)}")
            return None
        return str(value)


def well_formed(text: str) -> str:
    """Join surrogate pairs and replace lone ones, which no tokenizer and no UTF-8 can hold."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _too_deep(value: dict[str, Any] | list[Any]) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        inside = (each.values() if isinstance(each, dict) else each for each in level)
        level = [item for items in inside for item in items if isinstance(item, dict | list)]
    return bool(level)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):  # 1e999 is read as infinity, which no JSON can hold
        raise ValueError(f"{text[:20]} is too large")
    return number


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
