"""What a Python type is as a column, and values made to fit it; which library makes the column is not known here.

A type says less than its values: a ``datetime`` may have a time zone or none, a ``Decimal`` any number of places. So
values are looked at before a column is made of them (``fitted``), also those inside of lists and structs.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import functools
import itertools
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from beatra_nb.core.kinds import members
from beatra_nb.core.kinds import plain as unnamed

PLACES = 38  # digits of a decimal column


@dataclass(frozen=True, slots=True)
class Sort:
    """A type without its Python spelling.

    Attributes
    ----------
    name : str
        ``int``, ``float``, ``bool``, ``str``, ``bytes``, ``date``, ``datetime``, ``time``, ``duration``, ``decimal``,
        ``text`` (what is written as text, such as a UUID), ``category``, ``list``, ``map``, ``struct`` or ``object``;
        of fitted values also ``instant``, a moment in UTC.
    inner : tuple
        The values of a category, the sort of a list's or a map's items, (name, sort) pairs of a struct, or the places
        behind the point of a decimal.
    """

    name: str
    inner: tuple[Any, ...] = ()


_PLAIN: dict[Any, str] = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
    bytes: "bytes",
    dt.date: "date",
    dt.datetime: "datetime",
    dt.time: "time",
    dt.timedelta: "duration",
    decimal.Decimal: "decimal",
}
# What pydantic calls types: JSON's own, and the forms of its texts.
_JSON = {"integer": "int", "number": "float", "boolean": "bool"}
_FORMS = {"date-time": "datetime", "date": "date", "time": "time", "duration": "duration"}


def sort_of(kind: Any, inside: frozenset[Any] = frozenset()) -> Sort:  # noqa: ANN401
    """Return what a Python type is as a column.

    Parameters
    ----------
    kind : type
        The type, in the wide sense.
    inside : frozenset
        The classes that it was found in: one that holds itself has no end.

    Examples
    --------
    >>> sort_of(int | None)
    Sort(name='int', inner=())
    >>> sort_of(Literal["good", "bad"])
    Sort(name='category', inner=('good', 'bad'))
    """
    kind = unnamed(kind)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        some = {sort_of(each, inside) for each in args if each is not type(None)}
        if some == {Sort("int"), Sort("float")}:
            return Sort("float")
        return some.pop() if len(some) == 1 else Sort("object")
    if origin is Literal:
        return _category(args)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _category(tuple(each.value for each in kind))
    if origin in (list, set, frozenset, tuple):
        items = {sort_of(each, inside) for each in args if each is not Ellipsis}
        return Sort("list", (items.pop(),)) if len(items) == 1 else Sort("object")
    if origin is dict and args[0] is str:
        return Sort("map", (sort_of(args[1], inside),))
    if not isinstance(kind, type) or kind in inside:
        return Sort("object")
    if kind in _PLAIN:
        return Sort(_PLAIN[kind])
    if getattr(kind, "__pydantic_root_model__", False):
        return sort_of(kind.model_fields["root"].annotation, inside | {kind})  # type: ignore[attr-defined]
    if (fields := members(kind)) is not None:
        inner = tuple((name, sort_of(each, inside | {kind})) for name, each in fields.items())
        return Sort("struct", inner) if inner else Sort("object")
    return _told(kind)


@functools.lru_cache(maxsize=128)
def _told(kind: type) -> Sort:
    """Return the sort of a class of which pydantic alone knows what it is: a UUID, a path, a moment with a zone."""
    from pydantic import TypeAdapter

    try:
        said = TypeAdapter(kind).json_schema()
    except Exception:  # each of its errors says the same here: no JSON type
        return Sort("object")
    if said.get("type") != "string" or "contentSchema" in said:
        return Sort(_JSON.get(str(said.get("type")), "object"))
    return Sort(_FORMS.get(said.get("format", ""), "text"))


def _category(values: tuple[Any, ...]) -> Sort:
    values = tuple(each for each in values if each is not None)
    if values and all(isinstance(each, str) for each in values):
        return Sort("category", values)
    found = {type(each) for each in values}
    return Sort(_PLAIN.get(found.pop(), "object")) if len(found) == 1 else Sort("object")


# ── values ──


def plain(value: Any) -> Any:  # noqa: ANN401
    """Return a value as columns hold it: models and dataclasses as dicts, enums as their values."""
    if isinstance(value, enum.Enum):
        return value.value
    if getattr(type(value), "__pydantic_root_model__", False):
        return plain(value.root)
    if hasattr(type(value), "model_fields"):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value) if each.init
        }
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    return value


def fitted(sort: Sort, values: Sequence[Any]) -> tuple[Sort, Sequence[Any]]:
    """Return values that a typed column can hold without loss, and what they are.

    Moments with a zone become moments in UTC. Where some have a zone and others have none, where times of the day
    have zones, or numbers have too many places, all of them become texts.

    Raises
    ------
    Exception
        Of any kind, if they are not what the sort says.

    Examples
    --------
    >>> fitted(Sort("decimal"), [decimal.Decimal("1.5"), None])
    (Sort(name='decimal', inner=(1,)), [Decimal('1.5'), None])
    """
    some = [each for each in values if each is not None]
    match sort.name:
        case "list":
            inner, flat = fitted(sort.inner[0], list(itertools.chain.from_iterable(some)))
            rest = iter(flat)
            made = [None if each is None else list(itertools.islice(rest, len(each))) for each in values]
            return Sort("list", (inner,)), made
        case "map":
            items, flat = fitted(sort.inner[0], [each for row in some for each in row.values()])
            rest = iter(flat)
            return Sort("map", (items,)), [each and dict(zip(each, rest, strict=False)) for each in values]
        case "struct":
            columns = {name: fitted(each, [row.get(name) for row in some]) for name, each in sort.inner}
            rows = (
                dict(zip(columns, row, strict=True))
                for row in zip(*(c[1] for c in columns.values()), strict=True)
            )
            inside = tuple((name, each) for name, (each, _) in columns.items())
            return Sort("struct", inside), [None if each is None else next(rows) for each in values]
        case "datetime":
            return _moments(values, some)
        case "time" if any(each.tzinfo is not None for each in some):
            return _texts(values)
        case "decimal":
            return _decimals(values, some)
        case "text":
            return _texts(values)
    return sort, values


def _moments(values: Sequence[Any], some: list[dt.datetime]) -> tuple[Sort, Sequence[Any]]:
    zoned = {each.utcoffset() is not None for each in some}
    if zoned == {True}:
        try:
            return Sort("instant"), [each and each.astimezone(dt.UTC) for each in values]
        except OverflowError:  # the first and the last day that Python knows
            return _texts(values)
    return _texts(values) if len(zoned) > 1 else (Sort("datetime"), values)


def _decimals(values: Sequence[Any], some: list[decimal.Decimal]) -> tuple[Sort, Sequence[Any]]:
    if not all(each.is_finite() for each in some):
        return _texts(values)
    behind = max((-int(each.as_tuple().exponent) for each in some), default=0)
    before = max((each.adjusted() + 1 for each in some), default=0)
    if max(behind, 0) + max(before, 0) > PLACES:
        return _texts(values)
    return Sort("decimal", (max(behind, 0),)), values


def _texts(values: Sequence[Any]) -> tuple[Sort, Sequence[Any]]:
    return Sort("text"), [None if each is None else as_text(each) for each in values]


def as_text(value: Any) -> str:  # noqa: ANN401
    """Return a value as text: what has a form of ISO in that form.

    Examples
    --------
    >>> as_text(dt.date(2026, 1, 2)), as_text(b"ab")
    ('2026-01-02', 'ab')
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    told = getattr(value, "isoformat", None)
    return str(told() if callable(told) and not isinstance(value, type) else value)
