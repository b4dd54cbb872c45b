"""What is seen: every object as html, markdown and plain text, from one neutral view.

``views`` turns an object into a tree of plain nodes (``view``); ``html``, ``markdown`` and ``plain`` each turn
that tree into a string. None of these functions raises, whatever an object holds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beatra_nb.display.cards import Traceback
    from beatra_nb.display.pieces import Scope
    from beatra_nb.display.view import View

__all__ = [
    "already_shown",
    "bundle",
    "error_card",
    "escape_markdown",
    "full_traceback",
    "say_once",
    "to_html",
    "to_markdown",
    "to_page",
    "to_plain",
]

# Bytes of one format in an output, embedded sound not counted; a notebook keeps every one of them.
LARGEST = 300_000


def bundle(obj: object) -> dict[str, str]:
    """Return an object as a mimebundle; ``text/plain`` is always in it."""
    from beatra_nb.display import markdown, plain

    look = _Look(obj)
    return {
        "text/html": look.html(),
        "text/markdown": look.within(markdown.render),
        "text/plain": look.within(plain.render),
    }


def to_html(obj: object, *, whole: bool = False) -> str:
    """Return an object as html that survives an untrusted or exported notebook.

    Parameters
    ----------
    obj : object
        Anything; what is not of this package is shown by its repr.
    whole : bool
        Whether to show it whole, however long; by default long parts are folded or counted.
    """
    return _Look(obj).html(whole=whole)


def to_markdown(obj: object, *, whole: bool = False) -> str:
    """Return an object as markdown in which every text from outside is inert."""
    from beatra_nb.display import markdown

    return _Look(obj).within(markdown.render, whole=whole)


def to_plain(obj: object, *, whole: bool = False) -> str:
    """Return an object as plain text that is safe to print in a terminal."""
    from beatra_nb.display import plain

    return _Look(obj).within(plain.render, whole=whole)


def to_page(obj: object, title: str) -> str:
    """Return an object, whole, as a standalone html page: one file that loads nothing."""
    from beatra_nb.display import pieces, views
    from beatra_nb.display.page import page
    from beatra_nb.display.view import Text

    try:
        return page(views.view(obj, pieces.WHOLE), title)
    except Exception:
        return page(Text(to_plain(obj)), title)


def escape_markdown(text: str) -> str:
    """Return text as markdown that shows it to the letter, line breaks kept."""
    from beatra_nb.display.escapes import md_lines

    return md_lines(text)


def error_card(error: BaseException) -> list[str]:
    """Return the lines that IPython prints in place of a traceback."""
    from beatra_nb.display import cards

    return cards.error_card(error)


def full_traceback(error: BaseException | None = None) -> Traceback:
    """Return the full traceback of an error, or of the last uncaught one, as an object that shows itself."""
    from beatra_nb.display import cards

    return cards.full_traceback(error)


def say_once(key: str, text: str) -> None:
    """Tell the user something once per process; never raises."""
    from beatra_nb.display import notices

    notices.say_once(key, text)


def already_shown(obj: object) -> bool:
    """Whether an object has just been shown while it grew, and need not be shown again as its cell's value."""
    painting = sys.modules.get("beatra_nb.display.painting")  # nothing was painted if nobody has loaded it
    return bool(painting is not None and painting.already_shown(obj))


class _Look:
    """One look at an object: its views are made once, whatever formats they are rendered to."""

    def __init__(self, obj: object) -> None:
        self._obj = obj
        self._views: dict[Scope, View] = {}

    def html(self, *, whole: bool = False) -> str:
        """Render to html; embedded sound is put in at the end, and its bytes are not counted."""
        from beatra_nb.display import html
        from beatra_nb.display.media_html import Bytes

        embedded = Bytes()

        def render(view: View) -> str:
            nonlocal embedded
            text, embedded = html.draft(view)
            return text

        text = self.within(render, whole=whole)
        return embedded.fill(text)

    def within(self, render: Callable[[View], str], *, whole: bool = False) -> str:
        """Render within the size bound: ever more briefly, in the end the start of the text alone."""
        from beatra_nb.display import pieces, plain
        from beatra_nb.display.clean import safe_repr
        from beatra_nb.display.view import Stack, Text

        for scope in (pieces.WHOLE,) if whole else (pieces.NORMAL, pieces.LESS, pieces.BRIEF):
            try:
                text = render(self._at(scope))
            except Exception:  # noqa: S112 - the next, simpler way is tried
                continue
            if whole or len(text) * 4 <= LARGEST or len(text.encode("utf-8", "replace")) <= LARGEST:
                return text
        try:
            start = plain.render(self._at(pieces.BRIEF))[:10_000]
        except Exception:
            start = safe_repr(self._obj, 10_000)
        return render(Stack((Text(start), Text("… the rest is too large to show here.", quiet=True))))

    def _at(self, scope: Scope) -> View:
        from beatra_nb.display import views

        if scope not in self._views:
            self._views[scope] = views.view(self._obj, scope)
        return self._views[scope]
