"""A prompt as Python: the code a person would have written to send the same.

Without variables it is one call of ``bn.chat``. With variables it is a ``bn.Prompt``, the rows, and a call for each.
Long texts are written in pieces, in parentheses, so that every character is safe and no line is too long.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.template import Field, Template, lookup, named

if TYPE_CHECKING:
    from beatra_nb.core.prompt import Prompt, Row

WIDTH = 88  # columns of a line, as code in notebooks is usually laid out
NARROWEST = 24  # columns that a piece of a text gets, however deep it stands
SHORT = 40  # characters of several lines that may still be written as one
DEEPEST = 20  # levels of a row's value
STEP = "    "
MOMENTS = (datetime.date, datetime.datetime, datetime.time)


def write(prompt: Prompt, rows: Row | Iterable[Row] | None, *, client: str) -> str:
    """Return Python that sends what the prompt sends for the rows (see ``Prompt.to_code``)."""
    if not all(part.isidentifier() for part in client.split(".")):
        raise InvalidInput(
            f"client must be the name of what chat is called on, not {client!r}.", hint='client="bn"'
        )
    if not prompt.variables:
        prompt.request()
        head = "import beatra_nb as bn\n\n" if client == "bn" else ""
        return head + _call(f"{client}.chat", _chat_arguments(prompt)) + "\n"
    one = rows is None or _is_row(rows)
    given = [dict.fromkeys(prompt.variables, "")] if rows is None else rows_of(rows)
    plain = [_plain_row(prompt, row, number) for number, row in enumerate(given, 1)]
    if rows is not None:
        _check(prompt, plain)
    if one:
        note = "  # fill in your values" if rows is None else ""
        data = f"row = {literal(plain[0], '', used=len('row = ') + len(note))}{note}"
        run = f"{client}.chat(prompt.messages(row), **prompt.keywords())"
    else:
        data = f"rows = {literal(plain, '', used=len('rows = '))}"
        call = f"{client}.chat(prompt.messages(row), **prompt.keywords())"
        run = f"replies = [{call} for row in rows]"
        if len(run) > WIDTH:
            run = f"replies = [\n{STEP}{call}\n{STEP}for row in rows\n]"
    made = _call("bn.Prompt", _prompt_arguments(prompt), start="prompt = ")
    clock = "import datetime\n\n" if any(_has_moment(row) for row in plain) else ""
    return f"{clock}import beatra_nb as bn\n\n{made}\n{data}\n\n{run}\n"


def _check(prompt: Prompt, rows: list[dict[str, Any]]) -> None:
    """Make sure that the prompt can be sent for every row: code that fails when it is run helps nobody."""
    for number, row in enumerate(rows, 1):
        try:
            prompt.request(row)
        except InvalidInput as error:
            if len(rows) == 1:
                raise
            raise InvalidInput(f"Row {number}: {error.message}", hint=error.hint) from None


def rows_of(rows: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401
    """Return rows as a list of mappings: from one row, a list of rows, or a data frame.

    Raises
    ------
    InvalidInput
        If there is something else among them.
    """
    if _is_row(rows):
        return [named(rows)]
    if hasattr(rows, "columns") and hasattr(rows, "to_dict"):
        rows = rows.to_dict("records")
    if isinstance(rows, str) or not isinstance(rows, Iterable):
        raise InvalidInput(
            f"Rows must be a list of dicts, or a data frame, not {type(rows).__name__}.",
            hint='rows=[{"name": "Ada"}, {"name": "Alan"}]',
        )
    return [named(row) for row in rows]


def _is_row(rows: object) -> bool:
    return isinstance(rows, Mapping) or (hasattr(rows, "keys") and not hasattr(rows, "columns"))


def _chat_arguments(prompt: Prompt) -> list[tuple[str, Any]]:
    """Return the arguments of ``bn.chat``: what is the default is not said."""
    messages = prompt.messages()
    system = [("system=", messages.pop(0)["content"])] if prompt.system is not None else []
    settings = prompt.keywords()
    if settings["model"] == "auto":
        del settings["model"]
    asked: Any = messages if prompt.examples else messages[0]["content"]
    # Python knows some letters of identifiers as others; ASCII alone stays what it is.
    named_well = all(name.isascii() and name.isidentifier() and not iskeyword(name) for name in settings)
    rest: list[tuple[str, Any]] = (
        [(f"{name}=", value) for name, value in settings.items()] if named_well else [("**", settings)]
    )
    return [("", asked), *system, *rest]


def _prompt_arguments(prompt: Prompt) -> list[tuple[str, Any]]:
    """Return the arguments of ``bn.Prompt``; what is for people only (name, notes) stays in the file."""
    given = {
        "system": prompt.system,
        "examples": [(each.user, each.assistant) for each in prompt.examples] or None,
        "model": None if prompt.model == "auto" else prompt.model,
        "temperature": prompt.temperature,
        "max_tokens": prompt.max_tokens,
        "schema": prompt.schema,
        "options": prompt.options or None,
    }
    return [("", prompt.user), *((f"{name}=", value) for name, value in given.items() if value is not None)]


def _call(function: str, arguments: list[tuple[str, Any]], start: str = "") -> str:
    """Write a call: on one line if it fits, else a line for each argument."""
    flat = [_flat(value) for _, value in arguments]
    if all(text is not None for text in flat):
        inside = ", ".join(f"{name}{text}" for (name, _), text in zip(arguments, flat, strict=True))
        line = f"{start}{function}({inside})"
        if len(line) <= WIDTH:
            return line
    lines = [f"{STEP}{name}{literal(value, STEP, used=len(name) + 1)},\n" for name, value in arguments]
    return f"{start}{function}(\n{''.join(lines)})"


def literal(value: Any, indent: str, *, used: int = 0) -> str:  # noqa: ANN401
    """Write a value of plain Python: on one line if it fits, else laid out over several.

    Parameters
    ----------
    value : object
        A text, a number, None, a date, or lists, tuples and dicts of them.
    indent : str
        The indentation of the line in which it begins.
    used : int, default 0
        Columns of that line that are taken, beside the indentation.
    """
    flat = _flat(value)
    if flat is not None and len(indent) + used + len(flat) <= WIDTH:
        return flat
    inner = indent + STEP
    if isinstance(value, str):
        pieces = [f"{inner}{quoted(piece)}\n" for piece in _pieces(value, max(WIDTH - len(inner), NARROWEST))]
        return f"(\n{''.join(pieces)}{indent})" if len(pieces) > 1 else quoted(value)
    if isinstance(value, dict) and value:
        names = {name: f"{_flat(name) or quoted(str(name))}: " for name in value}
        items = [
            f"{inner}{names[name]}{literal(each, inner, used=len(names[name]) + 1)},\n"
            for name, each in value.items()
        ]
        return f"{{\n{''.join(items)}{indent}}}"
    if isinstance(value, list | tuple) and value:
        items = [f"{inner}{literal(each, inner, used=1)},\n" for each in value]
        opening, closing = "[]" if isinstance(value, list) else "()"
        return f"{opening}\n{''.join(items)}{indent}{closing}"
    return flat or repr(value)


def _flat(value: Any) -> str | None:  # noqa: ANN401
    """Write a value on one line; None where it holds a text that wants several."""
    if isinstance(value, str):
        return None if "\n" in value.strip("\n") and len(value) > SHORT else quoted(value)
    if isinstance(value, dict):
        parts = [
            (quoted(name) if isinstance(name, str) else repr(name), _flat(value[name])) for name in value
        ]
        return None if any(text is None for _, text in parts) else f"{{{', '.join(map(': '.join, parts))}}}"  # type: ignore[arg-type]
    if isinstance(value, list | tuple):
        items = [text for each in value if (text := _flat(each)) is not None]
        if len(items) < len(value):
            return None
        inside = ", ".join(items)
        if isinstance(value, list):
            return f"[{inside}]"
        return f"({inside},)" if len(items) == 1 else f"({inside})"
    return repr(value)


def quoted(text: str) -> str:
    r"""Write a text as a Python literal, in double quotes unless single ones save escapes.

    Examples
    --------
    >>> print(quoted("it's\n"), quoted('"hi"'))
    "it's\n" '"hi"'
    """
    if text.count('"') > text.count("'"):
        return repr(text)
    written = repr("'" + text)  # the quote in it makes Python choose double quotes, if there is none of them
    if written[0] == '"':
        return f'"{written[2:]}'
    inside = written[3:-1].replace("\\'", "'").replace('"', '\\"')
    return f'"{inside}"'


def _pieces(text: str, width: int) -> Iterator[str]:
    """Cut a text behind its newlines, and long lines at words, so that each piece fits when it is written."""
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        piece, room = "", width - 2
        for word in re.findall(r"\S+\s*|\s+", line):
            for part in _cut(word, width - 2):
                cost = _cost(part)
                if piece and cost > room:
                    yield piece
                    piece, room = "", width - 2
                piece, room = piece + part, room - cost
        yield piece


def _cut(word: str, width: int) -> Iterator[str]:
    """Cut a word that is longer than a line."""
    if _cost(word) <= width:
        yield word
        return
    part, room = "", width
    for sign in word:
        cost = _cost(sign)
        if part and cost > room:
            yield part
            part, room = "", width
        part, room = part + sign, room - cost
    yield part


def _cost(text: str) -> int:
    """Return how many columns a text takes at most between its quotes."""
    return len(repr(text)) - 2 + text.count("'") + text.count('"')


def _plain_row(prompt: Prompt, row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the values that the prompt needs of a row, as plain Python that is filled in just the same."""
    fields = [*Template(prompt.system or "").fields, *Template(prompt.user).fields]
    return {
        name: _plain_value(lookup(name, row), [each for each in fields if each.name == name], number)
        for name in prompt.variables
    }


def _plain_value(value: Any, fields: list[Field], number: int) -> Any:  # noqa: ANN401
    if _is_plain(value, DEEPEST):
        return value
    wanted = [each.fill(value) for each in fields]  # raises what sending would raise
    for other in _stand_ins(value):
        try:
            if _is_plain(other, DEEPEST) and [each.fill(other) for each in fields] == wanted:
                return other
        except InvalidInput:
            continue  # a format that this one does not know
    raise InvalidInput(
        f"The value of {{{fields[0].name}}} in row {number}, of type {type(value).__name__}, cannot be code.",
        hint="Make it text or a number first.",
    )


def _stand_ins(value: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield plain values that may be filled in as a value is."""
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        yield value.item()
    if isinstance(value, datetime.datetime):
        yield datetime.datetime.combine(value.date(), value.time())
    yield str(value)


def _is_plain(value: object, depth: int) -> bool:
    """Whether a value can be written as a literal that is the very same value."""
    if value is None or type(value) in (str, bool, int):
        return True
    if type(value) is float:
        return math.isfinite(value)
    if type(value) in MOMENTS:
        return getattr(value, "tzinfo", None) is None
    if depth and type(value) in (list, tuple):
        return all(_is_plain(each, depth - 1) for each in value)  # type: ignore[attr-defined]
    if depth and type(value) is dict:
        return all(_is_plain(part, depth - 1) for pair in value.items() for part in pair)
    return False


def _has_moment(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_moment(part) for pair in value.items() for part in pair)
    return any(map(_has_moment, value)) if isinstance(value, list | tuple) else type(value) in MOMENTS
