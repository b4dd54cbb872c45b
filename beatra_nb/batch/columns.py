"""Answers as columns: which there are, of what type, and how they join a frame of any library.

Each library is given its own types: nullable integers, categories of a known set, structs for nested data. Where
something has no such type, the column holds Python objects. Libraries are loaded only when they made the frame.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from beatra_nb.batch.outcome import Outcome
    from beatra_nb.core.typed import Shape

# What every answer tells beside itself: the column, its type, and how it is read.
ABOUT: dict[str, tuple[Any, Callable[[Outcome], Any]]] = {
    "request_id": (str, lambda out: out.request_id),
    "model": (str, lambda out: out.model),
    "credits": (float, lambda out: None if out.credits is None else float(out.credits)),
    "attempts": (int, lambda out: out.attempts),
    "error": (str, lambda out: None if out.error is None else out.error.code or out.error.type),
    "retryable": (bool, lambda out: None if out.error is None else out.error.retryable),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of answers.

    Attributes
    ----------
    name : str
        Its name in the frame: its own, or with ``_answer`` behind it where the frame has one of that name.
    kind : type
        The Python type of its values; None stands for "no answer".
    values : list
        One for each row.
    """

    name: str
    kind: Any
    values: list[Any]


def columns_of(outcomes: Sequence[Outcome], shape: Shape | None, taken: Iterable[str] = ()) -> list[Column]:
    """Return the columns of a batch's answers.

    Parameters
    ----------
    outcomes : sequence of Outcome
        One for each row, in the order of the rows.
    shape : Shape or None
        What the answers were asked to be, with a column for each field; None for a column ``text``.
    taken : iterable of str
        Names that the frame has already.
    """
    names = set(taken)
    columns = []

    def add(name: str, kind: Any, values: list[Any]) -> None:  # noqa: ANN401
        free = name
        for number in range(1, len(names) + 2):
            if free not in names:
                break
            free = f"{name}_answer{number if number > 1 else ''}"
        names.add(free)
        columns.append(Column(free, kind, values))

    if shape is None:
        add("text", str, [out.text if out.ok else None for out in outcomes])
    else:
        values = [shape.values(out.data) if out.ok and out.data is not None else {} for out in outcomes]
        for name, kind in shape.fields.items():
            add(name, kind, [plain(each.get(name)) for each in values])
    for name, (kind, read) in ABOUT.items():
        add(name, kind, [read(out) for out in outcomes])
    return columns


def plain(value: Any) -> Any:  # noqa: ANN401
    """Return a value as columns hold it: models and dataclasses as dicts, enums as their values."""
    if isinstance(value, enum.Enum):
        return value.value
    if hasattr(type(value), "model_fields"):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    return value


# ── what a Python type is as a column ──


@dataclass(frozen=True, slots=True)
class Sort:
    """A type without its Python spelling.

    Attributes
    ----------
    name : str
        ``int``, ``float``, ``bool``, ``str``, ``date``, ``datetime``, ``category``, ``list``, ``struct`` or
        ``object``.
    inner : tuple
        The values of a category, the sort of a list's items, or (name, sort) pairs of a struct.
    """

    name: str
    inner: tuple[Any, ...] = ()


_PLAIN = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
    dt.date: "date",
    dt.datetime: "datetime",
    decimal.Decimal: "float",
}


def sort_of(kind: Any, depth: int = 0) -> Sort:  # noqa: ANN401
    """Return what a Python type is as a column.

    Examples
    --------
    >>> sort_of(int | None)
    Sort(name='int', inner=())
    >>> sort_of(Literal["good", "bad"])
    Sort(name='category', inner=('good', 'bad'))
    """
    origin, args = get_origin(kind), get_args(kind)
    if depth > 20:  # a type that holds itself
        return Sort("object")
    if origin is Annotated:
        return sort_of(args[0], depth + 1)
    if origin in (Union, types.UnionType):
        some = {sort_of(each, depth + 1) for each in args if each is not type(None)}
        if some == {Sort("int"), Sort("float")}:
            return Sort("float")
        return some.pop() if len(some) == 1 else Sort("object")
    if origin is Literal:
        return _category(args)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _category(tuple(each.value for each in kind))
    if kind in _PLAIN:
        return Sort(_PLAIN[kind])
    if origin in (list, set, frozenset, tuple):
        items = {sort_of(each, depth + 1) for each in args if each is not Ellipsis}
        return Sort("list", (items.pop(),)) if len(items) == 1 else Sort("object")
    if (fields := _struct_fields(kind)) is not None:
        inner = tuple((name, sort_of(each, depth + 1)) for name, each in fields.items())
        return Sort("struct", inner) if inner else Sort("object")
    return Sort("object")


def _category(values: tuple[Any, ...]) -> Sort:
    values = tuple(each for each in values if each is not None)
    if values and all(isinstance(each, str) for each in values):
        return Sort("category", values)
    found = {type(each) for each in values}
    return Sort(_PLAIN.get(found.pop(), "object")) if len(found) == 1 else Sort("object")


def _struct_fields(kind: Any) -> dict[str, Any] | None:  # noqa: ANN401
    if not isinstance(kind, type):
        return None
    if hasattr(kind, "model_fields"):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if dataclasses.is_dataclass(kind) or hasattr(kind, "__total__"):
        return get_type_hints(kind)
    return None


# ── joining ──


def join(native: Any, columns: Sequence[Column]) -> Any:  # noqa: ANN401
    """Return a frame of the same library with the columns behind its own; rows, index and dtypes stay."""
    library = _library(native)
    if library == "pandas":
        return _join_pandas(native, columns)
    if library == "polars":
        import polars as pl

        return native.with_columns([_polars_series(pl, column) for column in columns])
    if library == "pyarrow":
        import pyarrow as pa

        for column in columns:
            native = native.append_column(column.name, _arrow_array(pa, column))
        return native
    import narwhals as nw

    frame = nw.from_native(native, eager_only=True)
    backend = frame.implementation
    made = [nw.new_series(column.name, column.values, backend=backend) for column in columns]
    return frame.with_columns(*made).to_native()


def frame_of(native: Any, columns: Sequence[Column]) -> Any:  # noqa: ANN401
    """Return a new frame of the columns alone, of the library that a series came from, with its index."""
    library = _library(native)
    if library == "pandas":
        import pandas as pd

        return _join_pandas(pd.DataFrame(index=native.index), columns)
    if library == "polars":
        import polars as pl

        return pl.DataFrame([_polars_series(pl, column) for column in columns])
    import pyarrow as pa

    return pa.table({column.name: _arrow_array(pa, column) for column in columns})


def _library(native: Any) -> str:  # noqa: ANN401
    """Return which library made a frame; a subclass is its library's, wherever it was written."""
    roots = [each.__module__.partition(".")[0] for each in type(native).__mro__]
    return next((root for root in roots if root in ("pandas", "polars", "pyarrow")), roots[0])


def _join_pandas(native: Any, columns: Sequence[Column]) -> Any:  # noqa: ANN401
    import pandas as pd

    # Arrays, not series: these would be aligned by an index that may hold a label twice.
    made = {column.name: _pandas_array(pd, column) for column in columns}
    added = pd.DataFrame(made, index=native.index, copy=False)
    frame = pd.concat([native, added], axis=1) if len(native.index.unique()) == len(native) else None
    if frame is None:
        frame = native.copy(deep=False)
        for name, array in made.items():
            frame[name] = array
    frame.attrs = dict(native.attrs)
    return frame


def _pandas_array(pd: Any, column: Column) -> Any:  # noqa: ANN401
    sort, values = sort_of(column.kind), column.values
    try:
        match sort.name:
            case "int" | "float" | "bool":
                name = {"int": "Int64", "float": "Float64", "bool": "boolean"}[sort.name]
                return pd.array([None if each is None else each for each in values], dtype=name)
            case "str":
                return pd.array(values, dtype="string")
            case "category" if all(each is None or each in sort.inner for each in values):
                return pd.Categorical(values, categories=list(sort.inner))
            case "datetime":
                return pd.array(pd.to_datetime(pd.Series(values, dtype=object)))
    except (TypeError, ValueError, OverflowError):
        pass  # a union, or numbers too large: the values themselves are still right
    array = pd.array([None] * len(values), dtype=object)
    for position, value in enumerate(values):
        array[position] = value
    return array


def _polars_series(pl: Any, column: Column) -> Any:  # noqa: ANN401
    sort = sort_of(column.kind)
    try:
        return pl.Series(column.name, column.values, dtype=_polars_type(pl, sort), strict=True)
    except Exception:  # polars has errors of its own: what does not fit is kept as it is
        return pl.Series(column.name, column.values, dtype=pl.Object)


def _polars_type(pl: Any, sort: Sort) -> Any:  # noqa: ANN401
    simple = {
        "int": pl.Int64,
        "float": pl.Float64,
        "bool": pl.Boolean,
        "str": pl.String,
        "date": pl.Date,
        "datetime": pl.Datetime,
    }
    match sort.name:
        case "category":
            return pl.Enum(list(sort.inner))
        case "list":
            return pl.List(_polars_type(pl, sort.inner[0]))
        case "struct":
            return pl.Struct({name: _polars_type(pl, each) for name, each in sort.inner})
    return simple.get(sort.name, pl.Object)


def _arrow_array(pa: Any, column: Column) -> Any:  # noqa: ANN401
    sort = sort_of(column.kind)
    if sort.name == "category":
        place = {value: number for number, value in enumerate(sort.inner)}
        codes = [None if each is None else place.get(each) for each in column.values]
        return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(sort.inner)))
    kind = _arrow_type(pa, sort)
    try:
        return pa.array(column.values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        import json

        # A union of types has no place in Arrow: as JSON nothing of it is lost.
        texts = [
            each if each is None or isinstance(each, str) else json.dumps(each, default=str)
            for each in column.values
        ]
        return pa.array(texts, pa.string())


def _arrow_type(pa: Any, sort: Sort) -> Any:  # noqa: ANN401
    simple = {
        "int": pa.int64,
        "float": pa.float64,
        "bool": pa.bool_,
        "str": pa.string,
        "date": pa.date32,
        "category": pa.string,
    }
    match sort.name:
        case "list":
            inner = _arrow_type(pa, sort.inner[0])
            return None if inner is None else pa.list_(inner)
        case "struct":
            inside = [(name, _arrow_type(pa, each)) for name, each in sort.inner]
            return None if any(kind is None for _, kind in inside) else pa.struct(inside)
        case "datetime":
            return pa.timestamp("us")
    return simple[sort.name]() if sort.name in simple else None
