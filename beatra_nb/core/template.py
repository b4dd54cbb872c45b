r"""Texts with named gaps, such as ``Say hello to {name} in {n:d} words``.

The language is Python's format strings with what surprises taken out, so that JSON, code and formulas can stand in
a prompt as they are:

* ``{name}`` is a **field**; so are ``{name!r}`` (also ``!s``, ``!a``), ``{price:.2f}`` and ``{name!r:>20}``. What may
  follow the colon is Python's format language.
* A name is a Python identifier, or a column's name: words joined by spaces, hyphens or dots, perhaps with a unit at
  the end: ``{First name}``, ``{price.eur}``, ``{Length (mm)}``. It begins with a letter or ``_``. A dot is a letter
  like any other: attributes and indexes are never looked up.
* Every other brace is plain text: ``{"a": 1}``, ``{ x }``, ``{1, 2}``, ``{}``, ``\d{2}``, ``{color: red}``. The last
  shows the one special rule: where a blank follows the colon, the rest must be a format (``{n: d}``).
* Doubled braces around what would be a field are plain, single ones: ``{{name}}`` is the text ``{name}``. Three are
  one of each, as in an f-string: ``{{{name}}}`` is the value in braces. Braces without a partner are plain text.

A value that is missing (``None``, NaN, ``NaT``, ``pandas.NA``) is an error, because a prompt that says "None" or
nothing at all in the middle of a sentence is rarely meant; a conversion (``{name!s}``) says that it is.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from beatra_nb.core.errors import InvalidInput

# A run of braces, what may be a field, a run of braces. Every quantifier is possessive and a run is entered at its
# first brace only, so that hostile text costs no more than its length. What is a letter is decided by Python's own
# rule for identifiers afterwards: \w knows no vowel signs (as in नाम).
_LETTERS = r"[\w\u0080-\U0010ffff]"
# Groups are not repeated possessively: Python 3.11 up to 3.11.4 forgets where one began that did not fit.
_FIELD = re.compile(
    rf"""
    (?<!\{{) (?P<opening>\{{++)
    (?P<name> {_LETTERS}[\w\u0080-\U0010ffff.-]*+ (?:[ ][\w\u0080-\U0010ffff.-]++)* (?:[ ]\([^(){{}}\n]++\))? )
    (?:!(?P<conversion>[rsa]))?
    (?::(?P<spec>[^{{}}\n]*+))?
    (?P<closing>\}}++)
    """,
    re.VERBOSE,
)
# Python's format language for numbers and texts: what a format that begins with a blank has to be.
_SPEC = re.compile(r"(?:.?[<>=^])?[-+ ]?z?#?0?\d*[,_]?(?:\.\d+)?[bcdeEfFgGnosxX%]?")
_WIDEST = 4  # digits of a width: {x:9999999999} would fill the memory

_CONVERSIONS: dict[str, Callable[[object], str]] = {"r": repr, "s": str, "a": ascii}
_LISTED = 12  # names that an error lists
_READABLE = 60  # characters of a name that an error lists


@dataclass(frozen=True, slots=True)
class Field:
    """A gap of a template.

    Attributes
    ----------
    name : str
        The name of the value that fills it.
    conversion : str or None
        ``"r"``, ``"s"`` or ``"a"`` where it is ``{name!r}`` and so on.
    spec : str
        The format after the colon; empty where there is none.
    start, end : int
        Where it stands in the template's text, from its brace to behind its brace, in characters.
    """

    name: str
    conversion: str | None
    spec: str
    start: int
    end: int

    def fill(self, value: object) -> str:
        """Write a value as the field asks for.

        Raises
        ------
        InvalidInput
            If the value is missing, or the format is none for it.
        """
        if self.conversion is None and is_missing(value):
            raise InvalidInput(
                f"The value of {{{self.name}}} is missing (it is {value!r}).",
                hint=f"Fill it in, leave its row out, or write {{{self.name}!s}} to say {str(value)!r}.",
            )
        if self.spec and any(len(digits) > _WIDEST for digits in re.findall(r"\d+", self.spec)):
            raise InvalidInput(
                f"The format {self.spec!r} of {{{self.name}}} asks for too wide a text.",
                hint="Widths and digits go up to 9999.",
            )
        try:
            return format(_CONVERSIONS[self.conversion](value) if self.conversion else value, self.spec)
        except Exception as error:  # a value's own __format__ may raise anything
            what = type(value).__name__
            problem = f"{type(error).__name__}: {error}"
        if self.spec:
            raise InvalidInput(
                f"The format {self.spec!r} of {{{self.name}}} does not fit its value, of type {what} ({problem}).",
                hint=f"{{{self.name}}} without a format always fits.",
            )
        raise InvalidInput(
            f"The value of {{{self.name}}}, of type {what}, cannot be written as text ({problem}).",
            hint="Pass it as text.",
        )


@dataclass(frozen=True, slots=True)
class Template:
    r"""A text with named gaps.

    Attributes
    ----------
    text : str
        The text as it was written.
    fields : tuple of Field
        Its gaps, in order.

    Examples
    --------
    >>> Template('Say {word!r} as {"json": 1}.').render({"word": "hi"})
    'Say \'hi\' as {"json": 1}.'
    >>> Template("{First name}, {age:03d}; {{not me}}").names
    ('First name', 'age')
    """

    text: str
    fields: tuple[Field, ...] = field(init=False, repr=False, compare=False)
    _pieces: tuple[str | Field, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise InvalidInput(f"A template is text, not {type(self.text).__name__}.")
        pieces = tuple(_parse(self.text))
        object.__setattr__(self, "_pieces", pieces)
        object.__setattr__(self, "fields", tuple(piece for piece in pieces if isinstance(piece, Field)))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values it needs, each once, in order of appearance."""
        return tuple(dict.fromkeys(each.name for each in self.fields))

    def render(self, values: Mapping[str, Any]) -> str:
        """Fill the gaps.

        Parameters
        ----------
        values : mapping
            The values by name: a dict, or the row of a table (also a pandas ``Series``).

        Returns
        -------
        str
            The text; it is not looked at for fields again, so braces in values are safe.

        Raises
        ------
        InvalidInput
            If a value is not there, is missing (``None``, NaN), or does not fit its format.
        """
        values = named(values)
        return "".join(
            [
                piece if isinstance(piece, str) else piece.fill(lookup(piece.name, values))
                for piece in self._pieces
            ]
        )


@functools.lru_cache(maxsize=256)
def template(text: str) -> Template:
    """Return the template of a text: a batch asks for the same one a hundred thousand times."""
    return Template(text)


def escape(text: str) -> str:
    """Return a template that renders to a text, whatever stands in it.

    Examples
    --------
    >>> escape('{name} is {"a": 1}')
    '{{name}} is {"a": 1}'
    """

    def doubled(match: re.Match[str]) -> str:
        if not _is_field(match):
            return match[0]
        pairs = min(len(match["opening"]), len(match["closing"]))
        return "{" * pairs + match[0] + "}" * pairs

    return _FIELD.sub(doubled, text)


def is_missing(value: object) -> bool:
    """Whether a value stands for "there is none": ``None``, NaN, ``NaT``, ``pandas.NA``."""
    if value is None or type(value).__name__ == "NAType":
        return True
    try:
        return bool(value != value)  # noqa: PLR0124 - what is not equal to itself is not a number
    except Exception:  # an array, which is neither true nor false
        return False


def named(values: object) -> Mapping[str, Any]:
    """Return values by name: a mapping as it is, the row of a table as a dict.

    Raises
    ------
    InvalidInput
        If the values have no names.
    """
    if type(values) is dict or isinstance(values, Mapping):  # the first is far quicker
        return values
    if not callable(getattr(values, "keys", None)):
        raise InvalidInput(
            f"Values must come by name, in a dict, not as {type(values).__name__}.",
            hint='Pass a row such as {"name": "Ada"}.',
        )
    return dict(values)  # type: ignore[call-overload, no-any-return]


def lookup(name: str, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return the value of a name.

    Raises
    ------
    InvalidInput
        If there is none; the hint names the nearest.
    """
    if name in values:
        return values[name]
    names = [key for key in values if isinstance(key, str)]
    # The same letters may be stored in two ways (é as one sign, or as e and an accent): nobody can see which.
    composed = unicodedata.normalize("NFC", name)
    for other in names:
        if unicodedata.normalize("NFC", other) == composed:
            return values[other]
    raise InvalidInput(f"There is no value for {{{name}}}.", hint=_hint(name, names))


def _parse(text: str) -> Iterable[str | Field]:
    """Yield plain texts and fields."""
    done = 0
    for match in _FIELD.finditer(text):
        if not _is_field(match):
            continue
        pairs = min(len(match["opening"]), len(match["closing"]))
        outer, odd = divmod(pairs, 2)
        inner_start, inner_end = match.end("opening"), match.start("closing")
        yield text[done : inner_start - pairs] + "{" * outer
        if odd:
            yield Field(
                match["name"], match["conversion"], match["spec"] or "", inner_start - 1, inner_end + 1
            )
        else:
            yield text[inner_start:inner_end]
        yield "}" * outer
        done = inner_end + pairs
    yield text[done:]


def _is_field(match: re.Match[str]) -> bool:
    spec = match["spec"] or ""
    if spec.startswith(" ") and not _SPEC.fullmatch(spec):
        return False
    words = match["name"].partition(" (")[0]
    letters = re.sub(r"[ .-]", "_", words)
    return letters.isidentifier()


def _hint(name: str, names: list[str]) -> str:
    """Say what to do about a name that is not there."""
    names = [each for each in names if len(each) <= _READABLE]
    near = get_close_matches(name, names, n=1) or [each for each in names if each.lower() == name.lower()]
    told = [f"Did you mean {{{near[0]}}}?"] if near else []
    owner = name.partition(".")[0]
    if owner != name and owner in names:
        told.append(f"Fields have no attributes: give {name!r} as a value of its own.")
    shown = [each for each in names if not each.startswith("_")]
    if shown:
        more = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
        told.append(f"There are: {', '.join(shown[:_LISTED])}{more}.")
    told.append(f"To send the braces as they are, write {{{{{name}}}}}.")
    return " ".join(told)
