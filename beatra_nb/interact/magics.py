"""``%load_ext beatra_nb``: the magics ``%%chat``, ``%%music`` and ``%beatra``, put into IPython and taken out again.

What is put in is remembered, so that taking it out leaves IPython as it was: a magic of the same name that was there
before is there again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from beatra_nb.interact import magic_calls
from beatra_nb.interact.magic_completion import matcher
from beatra_nb.interact.magic_names import Names
from beatra_nb.interact.magic_options import CHAT, MUSIC

_KINDS = ("line", "cell")
_QUESTION = re.compile(r"(\s*(?:[^\W\d]\w*\s*=\s*)?)%(chat|music)\s+([^\s?].*\?)\s*")


def load(shell: Any) -> None:  # noqa: ANN401 - IPython's own type, loaded with IPython alone
    """Put the magics into a running IPython; done twice, it is done once.

    Parameters
    ----------
    shell : InteractiveShell
        What ``get_ipython()`` returns.
    """
    unload(shell)
    _loaded[shell] = _Loaded(shell)


def unload(shell: Any) -> None:  # noqa: ANN401
    """Take the magics out again; nothing happens where they are not."""
    loaded = _loaded.pop(shell, None)
    if loaded is not None:
        loaded.take_out(shell)


class _Loaded:
    """What was put into one IPython."""

    def __init__(self, shell: Any) -> None:  # noqa: ANN401
        table = shell.magics_manager.magics
        self._before: dict[tuple[str, str], Any] = {}
        self._ours: dict[tuple[str, str], Any] = {}
        for name, kinds, function in _functions(shell):
            for kind in kinds:
                self._before[kind, name] = table[kind].get(name)
                self._ours[kind, name] = function
                shell.magics_manager.register_function(function, magic_kind=kind, magic_name=name)
        self._matcher = matcher(shell)
        shell.Completer.custom_matchers.append(self._matcher)
        shell.input_transformers_cleanup.append(keep_questions)

    def take_out(self, shell: Any) -> None:  # noqa: ANN401
        table = shell.magics_manager.magics
        for (kind, name), function in self._ours.items():
            if table[kind].get(name) is not function:
                continue  # somebody else's by now
            del table[kind][name]
            if (before := self._before[kind, name]) is not None:
                table[kind][name] = before
        if self._matcher in shell.Completer.custom_matchers:
            shell.Completer.custom_matchers.remove(self._matcher)
        if keep_questions in shell.input_transformers_cleanup:
            shell.input_transformers_cleanup.remove(keep_questions)


_loaded: dict[Any, _Loaded] = {}  # by shell


def keep_questions(lines: list[str]) -> list[str]:
    r"""Let ``%chat What is a kernel?`` ask a model: to IPython, a question mark at the end asks for help.

    It is one of IPython's input transformers: lines of a cell → lines of a cell. Left alone are cell magics, whose
    lines are theirs, and cells with long strings, in which such a line may stand as text. The cell that loads the
    magics has been read before they are there.

    >>> keep_questions(["%chat What is a kernel?"])
    ["get_ipython().run_line_magic('chat', 'What is a kernel?')\n"]
    """
    cell = "".join(lines)
    if cell.lstrip().startswith("%%") or '"""' in cell or "'''" in cell:
        return lines
    return [_kept(line) for line in lines]


def _kept(line: str) -> str:
    found = _QUESTION.fullmatch(line)
    if found is None:
        return line
    before, name, text = found.groups()
    return f"{before}get_ipython().run_line_magic({name!r}, {text!r})\n"


def _functions(shell: Any) -> list[tuple[str, tuple[str, ...], Callable[..., Any]]]:  # noqa: ANN401
    """Return the magics as plain functions, whose docstrings are what ``%%chat?`` shows."""
    from IPython.core.magic import needs_local_scope, no_var_expand

    def of(work: Callable[..., Any], text: str) -> Callable[..., Any]:
        def magic(line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
            names = Names(shell, local_ns)
            return work(names, line) if cell is None else work(names, line, cell)

        magic.__doc__ = text
        magic.__name__ = magic.__qualname__ = work.__name__
        # Braces and dollars are ours to read; and a line in a function sees the function's variables.
        kept: Callable[..., Any] = needs_local_scope(no_var_expand(magic))
        return kept

    return [
        ("chat", _KINDS, of(magic_calls.chat, CHAT.help())),
        ("music", _KINDS, of(magic_calls.music, MUSIC.help())),
        ("beatra", ("line",), of(magic_calls.beatra, magic_calls.beatra_help())),
    ]
