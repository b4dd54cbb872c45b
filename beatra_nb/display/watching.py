"""Who is looking? A pure decision over what the surroundings tell, and the one function that looks around.

A kernel cannot ask the page whether somebody is there while a cell runs, but the environment leaves marks: a
notebook server sets ``JPY_SESSION_NAME`` for the kernels of its pages, while nbclient, nbval and papermill do
not; VS Code and Colab have marks of their own. The guess can be overridden by ``BEATRA_DISPLAY``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

from beatra_nb.core import settings

Surface = Literal["page", "once", "terminal", "nowhere"]
"""Where a growing answer goes: a live *page*, a single display *once* it is there, a *terminal*, or *nowhere*."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What can be known about who is looking.

    Attributes
    ----------
    kernel : bool
        The code runs in a Jupyter kernel.
    tty : bool
        Standard output is a terminal.
    session : str or None
        The mark of a notebook server.
    marks : frozenset of str
        The marks of other front ends.
    choice : str
        The user's own word: ``"auto"``, ``"live"`` or ``"static"``.
    ipython : bool
        IPython runs, in a kernel or in a terminal.
    """

    kernel: bool = False
    tty: bool = False
    session: str | None = None
    marks: frozenset[str] = frozenset()
    choice: str = "auto"
    ipython: bool = False


def surface(around: Surroundings) -> Surface:
    """Decide where a growing answer is shown.

    Examples
    --------
    >>> surface(Surroundings(kernel=True, ipython=True, session="a.ipynb"))
    'page'
    >>> surface(Surroundings(kernel=True, ipython=True))
    'once'
    """
    if around.kernel:
        watched = around.choice == "live" or bool(around.session or around.marks)
        return "page" if watched and around.choice != "static" else "once"
    if around.choice == "static":
        return "once" if around.ipython and around.tty else "nowhere"
    return "terminal" if around.tty or around.choice == "live" else "nowhere"


def look_around() -> Surroundings:
    """Read the surroundings of this very moment."""
    shell = ipython_shell()
    return Surroundings(
        kernel=getattr(shell, "kernel", None) is not None,
        tty=_is_tty(),
        session=settings.notebook_session(),
        marks=frozenset(settings.environment_marks()),
        choice=settings.display_choice(),
        ipython=shell is not None,
    )


def ipython_shell() -> Any:  # noqa: ANN401 - IPython's own type, which is not imported here
    """Return the running IPython shell, or None, without loading IPython for the question."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def _is_tty() -> bool:
    try:
        return sys.stdout is not None and sys.stdout.isatty()
    except (AttributeError, ValueError):  # a replaced or a closed stream
        return False
