"""An error as a panel shows it: plain values, in the words of the error's card."""

from __future__ import annotations

from typing import Any

from beatra_nb.core.errors import BeatraError
from beatra_nb.display.clean import one_line, visible
from beatra_nb.display.failures import facts


def trouble(error: BaseException) -> dict[str, Any]:
    """Return what a panel needs to show an error, with nothing in it but text.

    Examples
    --------
    >>> from beatra_nb.core.errors import InvalidInput
    >>> trouble(InvalidInput("The text is empty.", hint="Write something."))["todo"]
    'Write something.'
    """
    if not isinstance(error, BeatraError):
        # A defect of ours or of a user's own code: its words, never its frames.
        words = one_line(error, 400) if str(error) else ""
        return {
            "title": "Something went wrong",
            "message": f"{type(error).__name__}: {words}",
            "kind": "error",
        }
    told = facts(error)
    shown: dict[str, Any] = {
        "title": told.title,
        "kind": told.kind,
        "code": told.code,
        "message": visible(told.message)[:2000],
        "again": told.again,
        "todo": visible(told.todo)[:2000],
        "param": told.param,
        "request_id": one_line(told.request_id, 120),
    }
    shown["retryable"] = getattr(error, "retryable", False) is True
    return {name: value for name, value in shown.items() if value not in ("", None)}
