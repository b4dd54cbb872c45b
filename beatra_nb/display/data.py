"""Views of what was parsed from an answer: a word, a record, a table of records, or a tree of them.

Values are the model's words and may be hostile; they stay plain text until a renderer escapes them.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping, Sequence, Set
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from beatra_nb.display.clean import one_line, safe_repr, safe_str
from beatra_nb.display.pieces import Scope, as_json, get, plain
from beatra_nb.display.view import Fields, Stack, Table, Text, View

_SCALARS = (str, int, float, Decimal, date, time, timedelta, UUID, bytes, enum.Enum)
_DEEPEST = 5  # records within records; what is deeper is shown as JSON
_SHORT = 160  # characters of a list or a record that stands on one line
_CELL = 300  # characters of a cell
_COLUMNS = 12  # of a table; wider ones are shown as JSON


def parsed(value: object, scope: Scope) -> View:
    """Return what was parsed from an answer.

    Examples
    --------
    >>> from beatra_nb.display.pieces import NORMAL
    >>> parsed(4, NORMAL)
    Text(text='4', strong=True, quiet=False)
    """
    if _is_scalar(value) and len(word := _word(value)) <= _SHORT and "\n" not in word:
        return Text(word, strong=True)
    return _view(value, scope, 0)


def _view(value: object, scope: Scope, depth: int) -> View:
    if value is None:
        return Text("none", quiet=True)
    if _is_scalar(value):
        return plain(_word(value), scope, "reply.data")
    if (record := _record(value)) is not None and depth < _DEEPEST:
        return _fields(record, scope, depth)
    if (items := _items(value)) is not None and depth < _DEEPEST:
        return _list(items, scope, depth)
    return _code(value, scope)


def _fields(record: Mapping[str, Any], scope: Scope, depth: int) -> View:
    if not record:
        return Text("nothing in it", quiet=True)
    names = list(record)
    rows = [(one_line(name, 120), _view(record[name], scope, depth + 1)) for name in names[: scope.rows]]
    if len(names) > scope.rows:
        rows.append(("…", _more(len(names) - scope.rows, "field")))
    return Fields(tuple(rows))


def _list(items: Sequence[Any], scope: Scope, depth: int) -> View:
    if not items:
        return Text("an empty list", quiet=True)
    records = [_record(item) for item in items[: scope.rows]]
    whole = [each for each in records if each is not None]
    columns = list(dict.fromkeys(name for each in whole for name in each))
    if not columns or len(whole) < len(records):
        return _code(items, scope)
    rest = [_more(len(items) - len(whole), "row")] if len(items) > len(whole) else []
    if len(columns) <= _COLUMNS:
        table = _table(whole, columns, scope)
        return Stack((table, *rest)) if rest else table
    numbered = ((f"{at:,}", _fields(each, scope, depth + 1)) for at, each in enumerate(whole, 1))
    return Fields((*numbered, *(("…", each) for each in rest)))


def _table(records: Sequence[Mapping[str, Any]], columns: list[str], scope: Scope) -> Table:
    rows = tuple(tuple(_cell(each.get(name), scope) for name in columns) for each in records)
    figures = frozenset(
        at for at, name in enumerate(columns) if _all_figures([each.get(name) for each in records])
    )
    return Table(tuple(one_line(name, 60) for name in columns), rows, figures, "Parsed data")


def _all_figures(values: list[Any]) -> bool:
    there = [value for value in values if value is not None]
    return bool(there) and all(
        isinstance(value, int | float | Decimal) and not isinstance(value, bool) for value in there
    )


def _cell(value: object, scope: Scope) -> Text:
    if value is None:
        return Text("none", quiet=True)
    text = _word(value) if _is_scalar(value) else _json(value, scope)
    return Text(one_line(text, min(_CELL, scope.room)))


def _code(value: object, scope: Scope) -> View:
    """Return what has no better look as JSON: on one line where there is room."""
    short = _json(value, scope)
    return Text(short) if len(short) <= _SHORT else as_json(short, scope)


def _json(value: object, scope: Scope) -> str:
    try:
        return json.dumps(_dumped(value), ensure_ascii=False, default=_fallback)
    except Exception:
        return safe_repr(value, scope.room)


def _fallback(value: object) -> object:
    record = _record(value)
    if record is not None:
        return dict(record)
    items = _items(value)
    return list(items) if items is not None else _word(value)


def _dumped(value: object) -> object:
    """Return an object with plain dicts and lists in the place of models and the like, one level deep."""
    record, items = _record(value), _items(value)
    return dict(record) if record is not None else list(items) if items is not None else value


def _more(count: int, noun: str) -> Text:
    return Text(f"… {count:,} more {noun}{'' if count == 1 else 's'}", quiet=True)


def _is_scalar(value: object) -> bool:
    return isinstance(value, _SCALARS)


def _word(value: object) -> str:
    return safe_str(value.value if isinstance(value, enum.Enum) else value)


def _record(value: object) -> Mapping[str, Any] | None:
    """Return the fields of a model, a dataclass, a named tuple or a dict; None for what has none."""
    if isinstance(value, Mapping):
        return value if all(isinstance(name, str) for name in value) else None
    kind = type(value)
    if names := list(get(kind, "model_fields", None) or ()):
        return None if names == ["root"] else {name: get(value, name) for name in names}
    if dataclasses.is_dataclass(value):
        return {each.name: get(value, each.name) for each in dataclasses.fields(value)}
    if isinstance(value, tuple) and (names := list(get(kind, "_fields", None) or ())):
        return {name: get(value, name) for name in names}
    return None


def _items(value: object) -> Sequence[Any] | None:
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, Set):
        return sorted(value, key=safe_repr)  # the same in every process
    root = (
        get(value, "root", None) if list(get(type(value), "model_fields", None) or ()) == ["root"] else None
    )
    return root if isinstance(root, list | tuple) else None
