"""Errors as text: the short card that IPython prints in place of a stack, and the full stack on request."""

from __future__ import annotations

import re
import sys
import textwrap
import traceback
from dataclasses import dataclass

from beatra_nb.core.seams import Showable
from beatra_nb.display.clean import one_line, visible
from beatra_nb.display.failures import facts, recorded_in
from beatra_nb.display.pieces import marks

_WIDTH = 84
_KEY = re.compile(r"\bsk-[A-Za-z0-9_\-]{6,}")


def error_card(error: BaseException) -> list[str]:
    """Return the lines that stand in for a traceback. Pure: IPython asks twice."""
    try:
        return _card(error)
    except Exception:
        return [f"{type(error).__name__}: {visible(error)}"]


def _card(error: BaseException) -> list[str]:
    told = facts(error)
    red, bold, dim, end = "\x1b[31m", "\x1b[1m", "\x1b[2m", "\x1b[0m"  # our own chrome only
    name = " · ".join(part for part in (told.kind, told.code, *marks(recorded_in(error))) if part)
    lines = [f"{red}╭─{end} {bold}{told.title}{end}  {dim}{name}{end}"]
    rule = f"{red}│{end}"
    lines += [f"{rule}  {line}".rstrip() for line in _wrapped(told.message, _WIDTH, most=12)]
    lines.append(rule)
    # The full traceback is told of last: it is the way on for whoever needs more than this.
    pairs = [
        ("Try again?", told.again),
        ("What to do", told.todo),
        ("Request id", one_line(told.request_id, 200)),
    ]
    for label, text in pairs:
        if text:
            first, *rest = _wrapped(text, _WIDTH - 13, most=8)
            lines.append(f"{rule}  {bold}{label}{end}   {first}")
            lines += [f"{rule}  {' ' * 13}{line}" for line in rest]
    lines.append(f"{red}╰─{end} {dim}bn.traceback() shows the full traceback.{end}")
    return lines


def _wrapped(text: str, width: int, most: int) -> list[str]:
    lines = [
        part
        for line in visible(text[: width * most * 2]).split("\n")
        for part in (textwrap.wrap(line, width, break_on_hyphens=False) or [""])
    ]
    if len(lines) > most or len(text) > width * most * 2:
        lines = [*lines[:most], "…"]
    return lines or [""]


@dataclass(frozen=True, slots=True)
class Traceback(Showable):
    """A full traceback as text, without anybody's local variables.

    Attributes
    ----------
    text : str
        What Python would have printed; anything that looks like a key is masked.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def full_traceback(error: BaseException | None = None) -> Traceback:
    """Return the whole traceback of an error, or of the last one that was not caught.

    Parameters
    ----------
    error : BaseException, optional
        Which one; by default the last.

    Returns
    -------
    Traceback
        At the end of a cell it shows itself; ``.text`` is the text.
    """
    if error is None:
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    if error is None:
        return Traceback("No error has gone uncaught in this session.")
    try:
        # Source lines may hold a key that somebody wrote into a cell; values of variables are never asked for.
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    except Exception:
        text = f"{type(error).__name__}: {visible(error)}"
    return Traceback(_KEY.sub("sk-•••", visible(text)))
