"""Conversations as files: saved to go on with, or exported to be read."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import fields, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from beatra_nb.core import seams
from beatra_nb.core.conversation import Chat, Turn
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.policy import check_key
from beatra_nb.core.reply import Reply, ToolCall, Usage

if TYPE_CHECKING:
    from beatra_nb.core.async_client import AsyncClient
    from beatra_nb.core.client import Client

_T = TypeVar("_T")

FORMAT = "beatra_nb.chat"
VERSION = 1
SUFFIXES = (".md", ".html", ".ipynb")


def save(chat: Chat, path: str | os.PathLike[str]) -> Path:
    """Write a conversation as JSON, whole or not at all."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "title": chat.title,
        "system": chat.system,
        "model": chat.model,
        "defaults": chat.defaults,
        "turns": [
            {"prompt": turn.prompt, "sent": list(turn.sent), "reply": _reply_to_json(turn.reply)}
            for turn in chat.turns
        ],
        # Calls whose end is not known: said again, they are sent with the key they had.
        "unsettled": chat._unsettled,
    }
    try:
        text = json.dumps(document, ensure_ascii=False, indent=1)
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(document, indent=1)  # half a character survives as an escape
    except (TypeError, ValueError) as error:
        problem = str(error)
        raise InvalidInput(
            f"The conversation's defaults cannot be saved: {problem}.",
            hint="Pass classes such as schema= to send() instead of Chat().",
        ) from None
    return write(path, text)


def load(path: str | os.PathLike[str], *, client: Client | None, async_client: AsyncClient | None) -> Chat:
    """Read a conversation that ``save`` wrote."""
    path = checked_path(path)
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise InvalidInput(f"{path} is not a saved conversation: it holds no JSON.") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InvalidInput(f"{path} is not a saved conversation.", hint="chat.save(path) writes one.")
    if document.get("version") != VERSION:
        raise InvalidInput(
            f"{path} was saved in version {document.get('version')!r} of the format; this package reads {VERSION}.",
            hint="A newer beatra-nb reads it.",
        )
    try:
        chat = Chat(
            document["system"],
            model=document["model"],
            title=document.get("title"),
            client=client,
            async_client=async_client,
            **document["defaults"],
        )
        _text(chat.model)
        _text(chat.title or "")
        chat._turns = tuple(
            Turn(_text(turn["prompt"]), _reply_from_json(turn["reply"]), tuple(map(_object, turn["sent"])))
            for turn in document["turns"]
        )
        unsettled = document.get("unsettled") or {}
        chat._unsettled = {_text(name): check_key(key) for name, key in unsettled.items()}
    except (KeyError, TypeError, AttributeError, InvalidOperation) as error:
        problem = f"{type(error).__name__}: {error}"
        raise InvalidInput(
            f"{path} is a saved conversation with a part missing or broken ({problem})."
        ) from None
    return chat


def export(chat: Chat, path: str | os.PathLike[str]) -> Path:
    """Write a conversation for people to read."""
    suffix = checked_path(path).suffix.lower()
    if suffix == ".md":
        return write(path, seams.to_markdown(chat))
    if suffix == ".html":
        return write(path, seams.to_page(chat, chat.title or "Conversation"))
    if suffix == ".ipynb":
        return write(path, json.dumps(_notebook(chat), indent=1))
    raise InvalidInput(
        f"A conversation cannot be exported as {suffix or 'a file without a suffix'!r}.",
        hint=f"Use one of {', '.join(SUFFIXES)}.",
    )


def _notebook(chat: Chat) -> dict[str, Any]:
    """Return the conversation as a notebook: a cell of text for each turn, nothing that runs."""
    cells = [f"# {seams.plain_words(chat.title or 'Conversation')}"]
    if chat.system:
        cells.append(f"*System:* {seams.plain_words(chat.system)}")
    cells += [seams.to_markdown(turn) for turn in chat.turns]
    return {
        "cells": [
            {
                "cell_type": "markdown",
                "id": f"turn-{number}",
                "metadata": {},
                "source": source.encode("utf-8", "replace").decode().splitlines(keepends=True),
            }
            for number, source in enumerate(cells)
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def write(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text file under a temporary name, then move it in place: never half a file.

    Raises
    ------
    InvalidInput
        If the file cannot be written.
    """
    path = checked_path(path)
    try:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            # Not by tempfile: what is made here has the mode that the user's umask gives every new file.
            with part.open("x", encoding="utf-8", errors="replace", newline="\n") as file:
                file.write(text)
            if path.exists():
                part.chmod(path.stat().st_mode & 0o777)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:  # a ValueError for a path that no file can have
        problem = getattr(error, "strerror", None) or error
        raise InvalidInput(f"{path} cannot be written: {problem}.") from None
    return path


def checked_path(path: str | os.PathLike[str]) -> Path:
    """Return what a user gave as a path, with ``~`` for the home."""
    try:
        return Path(path).expanduser()
    except (TypeError, RuntimeError) as error:  # not a path, or the home of nobody
        problem = str(error)
    raise InvalidInput(f"{path!r} is not a usable path: {problem}")


def _reply_to_json(reply: Reply) -> dict[str, Any]:
    out = {item.name: getattr(reply, item.name) for item in fields(Reply) if item.name != "data"}
    out["tool_calls"] = [
        {"id": call.id, "name": call.name, "arguments": call.arguments} for call in reply.tool_calls
    ]
    out["choices"] = list(reply.choices)
    out["recorded"] = None if reply.recorded is None else reply.recorded.isoformat()
    if reply.usage is not None:
        usage = {item.name: getattr(reply.usage, item.name) for item in fields(Usage)}
        out["usage"] = {k: str(v) if isinstance(v, Decimal) else v for k, v in usage.items()}
    return out


def _reply_from_json(saved: dict[str, Any]) -> Reply:
    known = {item.name for item in fields(Reply)} - {"data"}
    values = {name: value for name, value in saved.items() if name in known}
    calls, usage = values.pop("tool_calls", []), values.pop("usage", None)
    recorded = values.pop("recorded", None)
    values["choices"] = tuple(_text(text) for text in values.get("choices", ()))
    reply = _same_types(Reply(**values), Reply(""))
    return reply.with_(
        tool_calls=tuple(_same_types(ToolCall(**call), ToolCall("", "", "")) for call in calls),
        usage=None if usage is None else _usage_from_json(_object(usage)),
        recorded=None if recorded is None else _moment(recorded),
    )


def _usage_from_json(saved: dict[str, Any]) -> Usage:
    money = {}
    for name in ("credits", "credits_usd_reference"):
        amount = saved.pop(name, None)
        money[name] = None if amount is None else Decimal(_text(amount))
        if amount is not None and not money[name].is_finite():  # type: ignore[union-attr]
            raise TypeError("an amount was expected")
    return replace(_same_types(Usage(**saved), Usage()), **money)  # type: ignore[arg-type]


def _same_types(made: _T, model: _T) -> _T:
    """Return a data class whose fields are checked against another's: a hand may have been at the file."""
    for item in fields(made):  # type: ignore[arg-type]
        value, like = getattr(made, item.name), getattr(model, item.name)
        fits = (str, type(None)) if like is None else (int, float) if type(like) is float else type(like)
        if not isinstance(value, fits):
            raise TypeError(f"{item.name} is no {type(like).__name__}")
    return made


def _moment(value: object) -> datetime:
    try:
        return datetime.fromisoformat(_text(value))
    except ValueError:
        raise TypeError("a date was expected") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text was expected")
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("an object was expected")
    return dict(value)
