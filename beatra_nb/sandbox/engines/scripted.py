"""The scripted engine: the same request always gets the same answer, at once, with nothing to install.

It claims no intelligence. Its answers fit what tutorials and tests ask for (see ``phrases``), obey length,
stop, ``n``, seed, JSON schemas and tools, and come word by word. Temperature and the penalties change nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
from collections.abc import AsyncIterator

from beatra_nb.sandbox.contract import Refusal
from beatra_nb.sandbox.engines import instances, phrases
from beatra_nb.sandbox.engines.base import Call, ChatRequest, Event, Finish, Spent, Text

_TOKEN = re.compile(r"\s*\S{1,24}|\s+\Z")
_BREATH = 64  # tokens between two looks at the rest of the server's work, when there is no pace


class Scripted:
    """The engine of tests and of machines without weights."""

    name = "scripted"
    model = "sandbox-scripted"
    usable = True

    def warm(self) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to free."""

    async def answer(self, request: ChatRequest) -> AsyncIterator[Event]:
        """Answer token by token, ``request.pace`` seconds apart."""
        spoken = 0
        for index in range(request.n):
            chance = random.Random(_seed(request, index))  # noqa: S311 - repeatable on purpose, no secret
            tool = request.tool_to_call()
            if tool is not None:
                text = _instance(tool.parameters or {"type": "object"}, request.prompt, chance, "/tools")
            elif request.schema is not None:
                where = "/response_format/json_schema/schema"
                text = _instance(request.schema, request.prompt, chance, where)
            elif request.json_object:
                text = json.dumps({"answer": phrases.reply(request, chance)}, ensure_ascii=False)
            else:
                text = phrases.reply(request, chance)
            reason = "tool_calls" if tool is not None else "stop"
            if tool is None:
                text = _until_stop(text, request.stop)
            pieces = _TOKEN.findall(text)
            if request.max_tokens is not None and len(pieces) > request.max_tokens:
                pieces, reason = pieces[: request.max_tokens], "length"
            if tool is not None:
                yield Call(index, f"call_{chance.getrandbits(96):024x}", tool.name, "")
            for piece in pieces:
                spoken += 1
                if request.pace:
                    await asyncio.sleep(request.pace)
                elif spoken % _BREATH == 0:
                    await asyncio.sleep(0)
                yield Text(index, piece) if tool is None else Call(index, None, None, piece)
            yield Finish(index, reason)
        yield Spent(sum(count_tokens(message.text) + 3 for message in request.messages), spoken)


def count_tokens(text: str) -> int:
    """How many tokens the scripted engine counts in a text: words, long ones in pieces."""
    return len(_TOKEN.findall(text))


def _seed(request: ChatRequest, index: int) -> int:
    parts = [[m.role, m.text] for m in request.messages]
    digest = hashlib.sha256(json.dumps([parts, request.seed, index]).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _until_stop(text: str, stops: tuple[str, ...]) -> str:
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


def _instance(schema: dict[str, object], prompt: str, chance: random.Random, where: str) -> str:
    try:
        made = instances.make(schema, prompt=prompt, chance=chance)
    except instances.CannotMake as problem:
        raise Refusal(
            "invalid_request",
            f"The sandbox's scripted engine cannot make an answer for this JSON schema: {problem}.",
            param=where,
        ) from None
    return json.dumps(made, ensure_ascii=False)
