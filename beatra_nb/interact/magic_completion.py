"""What may stand next in the line of a magic: options, models, variables; for IPython's completer.

The completer is asked at every press of the tab key, on the kernel's own thread: nothing here starts or spends
anything, and a service that does not answer at once is left alone.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import re
import sys
import types
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from beatra_nb.core import seams
from beatra_nb.core.client import Client
from beatra_nb.core.conversation import Chat
from beatra_nb.core.media import Artifact, BaseClip
from beatra_nb.core.music import PRICES
from beatra_nb.interact.known_models import known_models
from beatra_nb.interact.magic_calls import SUBCOMMANDS
from beatra_nb.interact.magic_names import Names
from beatra_nb.interact.magic_options import CHAT, MUSIC, Magic, Option, words_of

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext, SimpleMatcherResult

PATIENCE = 0.7  # seconds that a press of the tab key may wait for a list of models

MAGICS = {magic.name: magic for magic in (CHAT, MUSIC)}
# What a server calls a model ends up in the user's cell: only what is one plain word is offered.
_WORD = re.compile(r"[\w./:@+-]+", re.ASCII)
_CALL = re.compile(r"\s*(?:[^\W\d]\w*\s*=\s*)?(%%?)(chat|music|beatra)\s+(.*)", re.DOTALL)


def matcher(shell: Any) -> Callable[[CompletionContext], SimpleMatcherResult]:  # noqa: ANN401
    """Return what IPython's completer asks."""
    from IPython.core.completer import SimpleCompletion, context_matcher

    @context_matcher(identifier="beatra_nb.magics")  # type: ignore[untyped-decorator]
    def match(context: CompletionContext) -> SimpleMatcherResult:
        before = context.full_text.split("\n")[: context.cursor_line]
        fragment, found = completions(before, context.text_until_cursor, Names(shell))
        return {
            "completions": [SimpleCompletion(text, type="beatra") for text in found],
            "matched_fragment": fragment,
            "ordered": True,
            "suppress": True,  # where something fits here, Python's own names do not
        }

    result: Callable[[CompletionContext], SimpleMatcherResult] = match
    return result


def completions(before: list[str], line: str, names: Names) -> tuple[str, list[str]]:
    """Return the piece of a line that is completed, and what it may become.

    Parameters
    ----------
    before : list of str
        The lines of the cell above this one.
    line : str
        This one, up to the cursor.
    names : Names
        The notebook's variables.
    """
    call = _CALL.fullmatch(line)
    above = [each for each in before if each.strip()]
    # A cell magic stands at the top of its cell; below one, everything is its text.
    if call is None or (above and (call[1] == "%%" or above[0].lstrip().startswith("%%"))):
        return "", []
    rest = call[3]
    words = list(words_of(rest))
    last = words.pop() if words and not rest[-1:].isspace() else ""
    if call[2] == "beatra":
        return last, [] if words else _starting(last, SUBCOMMANDS)
    magic = MAGICS[call[2]]
    given, waiting, in_text = _walk(magic, words)
    if in_text:
        return "", []
    if waiting is None and "=" in last and (option := magic.find(last.partition("=")[0])):
        waiting, last = option, last.partition("=")[2]
    if waiting is not None:
        return last, _starting(last, _values(magic, waiting, names))
    if last and not last.startswith("-"):
        return "", []
    left = [option for option in magic.options if option not in given]
    return last, _starting(last, [option.long for option in left])


def _walk(magic: Magic, words: list[str]) -> tuple[list[Option], Option | None, bool]:
    """Return the options given so far, the one that waits for its value, and whether the text has begun."""
    given: list[Option] = []
    waiting: Option | None = None
    for word in words:
        if waiting is not None:
            waiting = None
            continue
        name, sign, _ = word.partition("=")
        option = magic.find(name)
        if option is None:
            return given, None, not word.startswith("-") or word == "--"
        given.append(option)
        waiting = option if option.kind != "flag" and not sign else None
    return given, waiting, False


def _starting(fragment: str, words: Any) -> list[str]:  # noqa: ANN401
    return [word for word in words if word.startswith(fragment)]


def _values(magic: Magic, option: Option, names: Names) -> list[str]:
    if option.kind == "model":
        return _models(magic)
    if option.kind not in ("name", "reference"):
        return []
    fits = _FITS.get(option.name, lambda value: True)
    return [name for name, value in names.visible().items() if _safely(fits, value)]


def _models(magic: Magic) -> list[str]:
    """Return what --model takes: what is known without asking, then what the account has."""
    music = magic is MUSIC
    try:
        found, _ = known_models(seams.default_client(), PATIENCE)
    except Exception:
        found = None
    ids = [
        model.id
        for model in found or ()
        if _WORD.fullmatch(model.id) and (not model.capabilities or _plays(model.capabilities) == music)
    ]
    return list(dict.fromkeys(["auto", *ids, *(PRICES if music and not ids else ())]))


def _plays(capabilities: tuple[str, ...]) -> bool:
    return any(each.partition(".")[0] == "music" for each in capabilities)


def _is_schema(value: object) -> bool:
    # Of all that may be one, what somebody has made for it: not int, and not every class that was imported.
    pydantic = sys.modules.get("pydantic")  # if it is not loaded there is no class of its kind
    models = (enum.Enum, *([pydantic.BaseModel] if pydantic is not None else []))
    if isinstance(value, type) and not isinstance(value, types.GenericAlias):
        return (
            issubclass(value, models)
            or dataclasses.is_dataclass(value)
            or hasattr(value, "__required_keys__")
        )
    return isinstance(value, Mapping) or bool(get_args(value))


def _safely(fits: Callable[[object], bool], value: object) -> bool:
    """Ask about an object of the user's, which may answer with an error."""
    try:
        return fits(value)
    except Exception:
        return False


_FITS: Mapping[str, Callable[[object], bool]] = {
    "schema": _is_schema,
    "chat": lambda value: isinstance(value, Chat),
    "client": lambda value: isinstance(value, Client),
    "lyrics": lambda value: isinstance(value, str),
    "reference": lambda value: isinstance(value, str | bytes | os.PathLike | Artifact | BaseClip),
    "into": lambda value: not isinstance(value, type | type(sys)),
}
