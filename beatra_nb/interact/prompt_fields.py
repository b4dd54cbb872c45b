"""The fields of a prompt builder: what is typed into them, and the part of the prompt that it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.prompt import Prompt
from beatra_nb.core.request import ChatRequest

FIELDS = ("name", "notes", "system", "user", "model", "temperature", "max_tokens", "schema")
LONGEST = 200_000  # characters of one field


def texts_of(prompt: Prompt) -> dict[str, str]:
    """Return the text that stands in each field for a prompt."""
    schema = "" if prompt.schema is None else json.dumps(prompt.schema, indent=2, ensure_ascii=False)
    return {
        "name": prompt.name,
        "notes": prompt.notes,
        "system": prompt.system or "",
        "user": prompt.user,
        "model": prompt.model,
        "temperature": "" if prompt.temperature is None else str(prompt.temperature),
        "max_tokens": "" if prompt.max_tokens is None else str(prompt.max_tokens),
        "schema": schema,
    }


def part_of(name: str, text: str) -> Any:  # noqa: ANN401
    """Return what a field's text stands for.

    Raises
    ------
    InvalidInput
        If it cannot be sent; the message says what could.

    Examples
    --------
    >>> part_of("temperature", "0.2"), part_of("max_tokens", "")
    (0.2, None)
    """
    if len(text) > LONGEST:
        raise InvalidInput(
            f"The text has more than {LONGEST:,} characters.", hint="Put what is long into a row."
        )
    if name == "system":
        return text or None
    if name == "model":
        model = text.strip() or "auto"
        ChatRequest.of("?", model=model)
        return model
    if name in ("temperature", "max_tokens"):
        return _number(name, text.strip())
    if name == "schema":
        return _schema(text)
    return text


def check(prompt: Prompt) -> None:
    """Check that a prompt from Python can stand in the fields.

    Raises
    ------
    InvalidInput
        If a part of it can never be sent, or is too long to be worked on by hand.
    """
    for name, text in texts_of(prompt).items():
        if len(text) > LONGEST:
            raise InvalidInput(
                f"The prompt's {name!r} has more than {LONGEST:,} characters.", hint="Shorten it."
            )
    ChatRequest.of("?", model=prompt.model, temperature=prompt.temperature, max_tokens=prompt.max_tokens)


def sendable(prompt: Prompt, values: Mapping[str, Any]) -> bool:
    """Whether a prompt can be sent for a row as it is."""
    try:
        prompt.request(values)
    except InvalidInput:
        return False
    return True


def _number(name: str, text: str) -> Any:  # noqa: ANN401 - a number, or None
    if not text:
        return None
    kinds = "a whole number of at least 1" if name == "max_tokens" else "a number from 0 to 2, such as 0.7"
    value: Any = None
    for kind in (int, float) if name == "temperature" else (int,):
        try:
            value = kind(text)
            break
        except ValueError:
            continue
    if value is None:
        raise InvalidInput(f"This must be {kinds}.", hint="Leave it empty for the model's own.")
    try:
        given: dict[str, Any] = {name: value}
        ChatRequest.of("?", **given)
    except InvalidInput:
        raise InvalidInput(f"This must be {kinds}.", hint="Leave it empty for the model's own.") from None
    return value


def _schema(text: str) -> dict[str, Any] | None:
    if not text.strip():
        return None
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        where = f"line {line}, column {getattr(error, 'colno', 1)}: " if line else ""
        problem = f"{where}{getattr(error, 'msg', error)}"
        raise InvalidInput(f"This is no JSON yet ({problem}).", hint='{"type": "object", …}') from None
    if not isinstance(schema, dict):
        raise InvalidInput("A JSON schema is an object, in braces.", hint='{"type": "object", …}')
    Prompt(schema=schema)  # checks what can be sent
    return schema
