r"""JSON and text as servers really send them: halves of characters are mended, not fatal.

A model's tokens can cut an emoji in two, and a server may then send each half as an escape (``\ud83d`` and
``\ude00``). Strict parsers refuse the whole answer for it, although it was paid for; a kernel cannot send on a
text that holds one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def load(data: bytes, *, mend: bool = True) -> Any:  # noqa: ANN401
    """Parse JSON: quickly where it is as it should be, patiently where it holds halves of characters.

    Raises
    ------
    ValueError
        If it is not JSON.
    """
    from pydantic_core import (
        from_json,
    )  # twice as fast as the standard library's, and not needed for an error

    try:
        return from_json(data)
    except ValueError:
        value = json.loads(
            data.decode("utf-8-sig", "surrogatepass")
        )  # as JSON is sent; in UTF-16 a key could hide
    return mended(value) if mend else value


def mended(value: Any) -> Any:  # noqa: ANN401
    """Return a value with every half character in its texts joined to its other half, or replaced by �."""
    return mapped(value, whole)


def mapped(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401
    """Return a value with all of its texts changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [mapped(item, change) for item in value]
    if isinstance(value, dict):
        return {change(name): mapped(item, change) for name, item in value.items()}
    return value


def whole(text: str) -> str:
    r"""Return a text without halves of characters.

    Examples
    --------
    >>> whole("\ud83d\ude00 \ud83d") == "\U0001f600 \ufffd"
    True
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def printable(text: str) -> str:
    r"""Return a text without what steers a terminal.

    Examples
    --------
    >>> printable("\x1b[31mred\nline")
    '[31mred\nline'
    """
    return (
        text if text.isprintable() else "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")
    )


def text_of(content: object) -> str:
    """Return the text of a message's content: a text, or parts of which some are text."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""
