"""Puts the chunks of a streamed chat answer together. Pure and tolerant: what is odd is passed over."""

from __future__ import annotations

import json
from typing import Any

from beatra_nb.core.envelope import error_from_envelope
from beatra_nb.core.errors import APIError
from beatra_nb.core.lenient import load, mapped, text_of, whole
from beatra_nb.core.scrub import NOTHING, Scrubber


class BadChunk(ValueError):
    """An event of the stream that is not JSON."""


class Assembler:
    """Takes one event after another and knows the answer so far.

    Attributes
    ----------
    done : bool
        Whether ``[DONE]`` has come: only then is the answer whole.
    """

    def __init__(self) -> None:
        self._first: list[str] = []  # choice 0, by far the most frequent
        self._half = ""
        self._others: dict[int, list[str]] = {}
        self._tools: dict[int, dict[str, str]] = {}
        self._head: dict[str, Any] = {}
        self.finish_reason: str | None = None
        self.usage: dict[str, Any] | None = None
        self.done = False

    def take(self, data: bytes) -> str:
        """Take one event's data; return what it adds to the text of the first choice.

        Raises
        ------
        BadChunk
            If the event is not JSON.
        APIError
            If the event is the service's word that it failed.
        """
        if data.startswith(b"[DONE]") and data.strip() == b"[DONE]":
            self.done = True
            return ""
        try:
            chunk = load(data, mend=False)
        except (ValueError, RecursionError):
            if not data.strip():  # an empty event: some proxies keep connections alive with them
                return ""
            raise BadChunk(data[:200].decode("utf-8", "replace")) from None
        if not isinstance(chunk, dict):
            return ""
        if chunk.get("error"):
            raise _stream_error(chunk["error"])
        if not self._head:
            self._head = {k: v for k, v in chunk.items() if k not in ("choices", "usage")}
        elif not self._head.get("model") and chunk.get("model"):
            self._head["model"] = chunk["model"]
        if isinstance(chunk.get("usage"), dict):
            self.usage = chunk["usage"]
        choices = chunk.get("choices")
        added = ""
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                added += self._take_choice(choice)
        return added

    def _take_choice(self, choice: dict[str, Any]) -> str:
        index = choice.get("index") or 0
        if not isinstance(index, int):
            return ""
        reason = choice.get("finish_reason")
        if index == 0 and isinstance(reason, str):
            self.finish_reason = reason
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return ""
        if index == 0 and isinstance(delta.get("tool_calls"), list):
            self._take_tools(delta["tool_calls"])
        content = delta.get("content")
        if not isinstance(content, str):
            content = text_of(content)
        if not content:
            return ""
        if index == 0:
            return self._take_text(content)
        self._others.setdefault(index, []).append(content)
        return ""

    def _take_text(self, content: str) -> str:
        if self._half or not content.isascii():
            content = self._half + content
            # Half a character waits for its other half, which comes with the next piece.
            self._half = content[-1] if "\ud800" <= content[-1] <= "\udbff" else ""
            content = whole(content.removesuffix(self._half) if self._half else content)
        if content:
            self._first.append(content)
        return content

    def _take_tools(self, calls: list[Any]) -> None:
        for position, call in enumerate(calls):
            if not isinstance(call, dict):
                continue
            index = call.get("index")
            slot = self._tools.setdefault(
                index if isinstance(index, int) else position, {"id": "", "name": "", "arguments": ""}
            )
            function = call.get("function")
            function = function if isinstance(function, dict) else {}
            slot["id"] = slot["id"] or _text(call.get("id"))
            slot["name"] = slot["name"] or _text(function.get("name"))
            slot["arguments"] += _text(function.get("arguments"))

    @property
    def text(self) -> str:
        """The first choice's text so far."""
        return "".join(self._first)

    def completion(self, scrub: Scrubber = NOTHING) -> dict[str, Any]:
        """Return the answer in the shape of a body that came whole, without a key that was quoted word by word."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self._tools:
            message["tool_calls"] = [
                {
                    "id": slot["id"],
                    "type": "function",
                    "function": {"name": slot["name"], "arguments": slot["arguments"]},
                }
                for _, slot in sorted(self._tools.items())
            ]
        choices = [{"index": 0, "message": message, "finish_reason": self.finish_reason}]
        choices += [
            {
                "index": index,
                "message": {"role": "assistant", "content": "".join(parts)},
                "finish_reason": None,
            }
            for index, parts in sorted(self._others.items())
        ]
        body = {**self._head, "choices": choices}
        if self.usage is not None:
            body["usage"] = self.usage
        return mapped(body, lambda text: scrub.text(whole(text)))  # type: ignore[no-any-return]


def _stream_error(inner: object) -> APIError:
    if isinstance(inner, dict):
        error = error_from_envelope(inner, status=None, request_id=None, body=json.dumps(inner)[:600])
        if error is not None:
            return error
    return APIError("The service reported a failure in the middle of the answer.", body=str(inner)[:600])


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
