"""One small sentence to the user, once."""

from __future__ import annotations

import contextlib
import sys
import threading
from dataclasses import dataclass

from beatra_nb.core.seams import Showable
from beatra_nb.display.clean import one_line

_said: set[str] = set()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Notice(Showable):
    """A note that shows itself.

    Attributes
    ----------
    text : str
        What it says.
    """

    text: str

    def __str__(self) -> str:
        return self.text


def say_once(key: str, text: str) -> None:
    """Say something once per process and key: in a notebook as a note, elsewhere as a line on stderr.

    It never raises: what was to be said is never worth a failed call.
    """
    with _lock:
        if key in _said:
            return
        _said.add(key)
    with contextlib.suppress(Exception):
        if in_kernel():
            from IPython.display import display

            display(Notice(text))  # type: ignore[no-untyped-call]
        else:
            print(one_line(text, 1000), file=sys.stderr)


def in_kernel() -> bool:
    """Whether this runs in a kernel, where a note can be displayed; costs no import."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None
