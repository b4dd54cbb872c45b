"""One exchange on a tape: what was asked, and what came of it. A line of JSON each, made of chosen fields.

A tape is somebody else's file as often as one's own, so each field is checked when it is read; and it is shared, so
what is written is chosen, not what is secret left out: neither a key nor an account's headers have a field.

    {"session": "5f0c2a", "turn": 7, "at": "2026-11-23T12:00:00.123Z",
     "request":  {"method": "POST", "path": "/chat/completions", "body": {…}},
     "response": {"status": 200, "headers": {…}, "json": {…}, "took": 0.412}}

``turn`` is the call's place among those of its session in the order of asking, as lines stand in the order of
finishing; all attempts of one call have the same. A response's body stands under one of ``json``, ``text``,
``base64``, ``media`` (a file of the cassette) and ``events`` (a stream: pairs of seconds and text). ``cut`` is what
ended it early, ``left`` that nobody read on; ``failure`` stands in place of a response that never came.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

LONGEST = 86_400.0  # seconds that an exchange may have taken
# What a view or a rule of trying again may look at. An account's headers are none of them.
HEADERS = (
    "content-type",
    "content-encoding",
    "content-length",
    "transfer-encoding",
    "location",
    "retry-after",
    "idempotent-replayed",
    "x-request-id",
    "x-beatra-sandbox",
)
MEDIA = re.compile(r"media/([0-9a-f]{64})\.[a-z0-9]{1,5}")
_NAME = re.compile(r"[A-Za-z]{1,40}")


class Unreadable(ValueError):
    """A line does not hold what a line of a tape holds; says what is wrong."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as it is matched: never its headers, never a key.

    Attributes
    ----------
    method : str
        The HTTP method.
    path : str
        Below the base URL; a whole address where a file was asked for elsewhere.
    query : str
        As it was sent; its pairs are matched in any order.
    body : object
        The JSON value; a text where it was none; None where there was no body. Of a form, its fields, and of its
        file the hash and the type.
    """

    method: str
    path: str
    query: str = ""
    body: Any = None

    @property
    def digest(self) -> bytes:
        """What two requests have in common that mean the same."""
        pairs = sorted(parse_qsl(self.query, keep_blank_values=True))
        text = json.dumps([self.method, self.path, pairs, comparable(self.body)], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=20).digest()

    @property
    def line(self) -> str:
        """Method and address, for people."""
        return f"{self.method} {self.path}{'?' if self.query else ''}{self.query}"


def comparable(body: object) -> object:
    """Return what of a body is matched: a file's name may differ, and often holds a folder made for the day."""
    if isinstance(body, dict) and isinstance(body.get("file"), dict) and "form" in body:
        return {**body, "file": {name: said for name, said in body["file"].items() if name != "name"}}
    return body


@dataclass(frozen=True, slots=True)
class Trouble:
    """What kept an answer from coming, or from ending: the kind, as the HTTP library names it, and its words."""

    kind: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was asked, and what came of it.

    Attributes
    ----------
    asked : Asked
        The request.
    at : datetime
        When it was recorded, in UTC, to the millisecond.
    session : str
        The recording that it belongs to.
    took : float
        Seconds until the answer was whole (for a stream: until its head), or until it failed.
    status : int
        The HTTP status; 0 where no answer came.
    headers : dict
        Those of ``HEADERS`` that there were.
    body : bytes
        A body that is no stream and no file.
    media : str
        The file that holds the body, below the cassette's folder.
    events : tuple
        A stream's pieces: seconds since the request, and bytes.
    streamed : bool
        Whether the body is a stream.
    trouble : Trouble or None
        What kept the answer from coming or ended it early.
    left : bool
        Whether the answer was not read to its end.
    turn : int
        The call's place among those of its session, from 1 on; 0 where the tape does not say.
    """

    asked: Asked
    at: datetime
    session: str = ""
    took: float = 0.0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    media: str = ""
    events: tuple[tuple[float, bytes], ...] = ()
    streamed: bool = False
    trouble: Trouble | None = None
    left: bool = False
    turn: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the line's value."""
        asked = self.asked
        request: dict[str, Any] = {"method": asked.method, "path": asked.path}
        if asked.query:
            request["query"] = asked.query
        if asked.body is not None:
            request["body"] = asked.body
        out: dict[str, Any] = {"session": self.session}
        if self.turn:
            out["turn"] = self.turn
        out |= {"at": stamp(self.at), "request": request}
        trouble = None if self.trouble is None else {"error": self.trouble.kind, "text": self.trouble.text}
        if not self.status:
            return {**out, "failure": {**(trouble or {}), "took": self.took}}
        response: dict[str, Any] = {"status": self.status, "headers": self.headers, "took": self.took}
        if self.streamed:
            response["events"] = [[offset, _readable(piece)] for offset, piece in self.events]
        elif self.media:
            response["media"] = self.media
        else:
            response.update(_written(self.body))
        if trouble is not None:
            response["cut"] = trouble
        if self.left:
            response["left"] = True
        return {**out, "response": response}

    @classmethod
    def of_json(cls, line: Any) -> Exchange:  # noqa: ANN401
        """Read a line's value.

        Raises
        ------
        Unreadable
            If it is not what a line holds.
        """
        request = _part(line, "request")
        asked = Asked(
            _text(request, "method"), _text(request, "path"), _text(request, "query", ""), request.get("body")
        )
        known: dict[str, Any] = {
            "asked": asked,
            "at": _moment(_text(line, "at")),
            "session": _text(line, "session", ""),
            "turn": _turn(line.get("turn", 0)),
        }
        if "failure" in line:
            failure = _part(line, "failure")
            return cls(**known, took=_seconds(failure.get("took", 0.0)), trouble=_trouble(failure))
        response = _part(line, "response")
        status = response.get("status")
        if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599:
            raise Unreadable("its status is no HTTP status")
        known.update(
            status=status,
            headers=_headers(response.get("headers", {})),
            took=_seconds(response.get("took", 0.0)),
            left=response.get("left") is True,
            trouble=_trouble(response["cut"]) if "cut" in response else None,
        )
        if "events" in response:
            return cls(**known, streamed=True, events=_events(response["events"]))
        if "media" in response:
            name = _text(response, "media")
            if MEDIA.fullmatch(name) is None:
                raise Unreadable("its media is not named media/<sha256>.<type>")
            return cls(**known, media=name)
        return cls(**known, body=_body(response))


def stamp(moment: datetime) -> str:
    """Write a moment for people and machines."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def compact(value: object) -> str:
    """Write JSON as most services do."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _written(body: bytes) -> dict[str, Any]:
    """Return a body as readably as it can be had back to the byte: what a view quotes must not change."""
    if not body:
        return {}
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}
    try:
        value = json.loads(text)
        if compact(value) == text:
            return {"json": value}
        if json.dumps(value) == text:
            return {"json": value, "style": "spaced"}
    except (ValueError, RecursionError):
        pass
    return {"text": text}


def _body(response: dict[str, Any]) -> bytes:
    if "json" in response:
        try:
            value = response["json"]
            return (json.dumps(value) if response.get("style") == "spaced" else compact(value)).encode()
        except (ValueError, RecursionError):
            raise Unreadable("its JSON cannot be written again") from None
    return _bytes(response.get("text", {"base64": response.get("base64", "")}))


def _readable(piece: bytes) -> str | dict[str, str]:
    """Return a piece of a stream as text; one that ends within a character, in base64."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(piece).decode()}


def _bytes(value: object) -> bytes:
    try:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, dict) and isinstance(value.get("base64"), str):
            return base64.b64decode(value["base64"], validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        pass
    raise Unreadable("its body is neither text nor base64")


def _events(value: object) -> tuple[tuple[float, bytes], ...]:
    if not isinstance(value, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in value):
        raise Unreadable("its events are not pairs of seconds and text")
    return tuple((_seconds(offset), _bytes(piece)) for offset, piece in value)


def _trouble(value: object) -> Trouble:
    kind, text = (value.get("error"), value.get("text", "")) if isinstance(value, dict) else (None, "")
    if not isinstance(kind, str) or _NAME.fullmatch(kind) is None or not isinstance(text, str):
        raise Unreadable("it does not say what failed")
    return Trouble(kind, text[:1000])


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Unreadable("its headers are no object")
    for name in HEADERS:
        said = value.get(name, "")
        if not isinstance(said, str) or not all(" " <= sign <= "ÿ" for sign in said):
            raise Unreadable(f"its header {name} is nothing that a header can hold")
    return {name: value[name] for name in HEADERS if name in value}


def _part(value: object, name: str) -> dict[str, Any]:
    part = value.get(name) if isinstance(value, dict) else None
    if not isinstance(part, dict):
        raise Unreadable(f"it has no {name}")
    return part


def _text(value: dict[str, Any], name: str, default: str | None = None) -> str:
    said = value.get(name, default)
    if not isinstance(said, str):
        raise Unreadable(f"its {name} is no text")
    return said


def _turn(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Unreadable("its turn is no number")
    return value


def _seconds(value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not 0 <= value <= LONGEST
    ):
        raise Unreadable("a time in it is no number of seconds")
    return float(value)


def _moment(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unreadable("its date cannot be read") from None
