"""Answers as columns: which there are, of what type, and how they join a frame of any library.

Each library is given its own types: nullable integers, categories of a known set, moments in UTC, structs for
nested data. Where something has no such type, the column holds Python objects in pandas, and JSON elsewhere: an
answer that was paid for is never lost to its column. Libraries are loaded only when they made the frame.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beatra_nb.batch.sorts import PLACES, Sort, as_text, fitted, plain, sort_of

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
    # What is told of every answer goes by the same names whatever the schema is; so they are given away first.
    about = {name: _free(name, names) for name in ABOUT}
    columns = []

    def add(name: str, kind: Any, values: list[Any]) -> None:  # noqa: ANN401
        columns.append(Column(_free(name, names), kind, values))

    if shape is None:
        add("text", str, [out.text if out.ok else None for out in outcomes])
    else:
        values = [shape.values(out.data) if out.ok and out.data is not None else {} for out in outcomes]
        for name, kind in shape.fields.items():
            add(name, kind, [plain(each.get(name)) for each in values])
    for name, (kind, read) in ABOUT.items():
        columns.append(Column(about[name], kind, [read(out) for out in outcomes]))
    return columns


def _free(name: str, taken: set[Any]) -> str:
    """Return a name that is not taken, and take it."""
    free = name
    for number in range(1, len(taken) + 2):
        if free not in taken:
            break
        free = f"{name}_answer{number if number > 1 else ''}"
    taken.add(free)
    return free


# ── joining ──


def join(native: Any, columns: Sequence[Column]) -> Any:  # noqa: ANN401
    """Return a frame of the same library with the columns behind its own; rows, index and dtypes stay."""
    if (wrapper := _wrapper(native)) is not None:
        return wrapper.from_native(join(native.to_native(), columns), eager_only=True)
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
    return frame.with_columns(*_other_series(frame.implementation, columns)).to_native()


def frame_of(native: Any, columns: Sequence[Column]) -> Any:  # noqa: ANN401
    """Return a new frame of the columns alone, of the library that a series came from, with its index."""
    if (wrapper := _wrapper(native)) is not None:
        return wrapper.from_native(frame_of(native.to_native(), columns), eager_only=True)
    library = _library(native)
    if library == "pandas":
        import pandas as pd

        return _join_pandas(pd.DataFrame(index=native.index), columns)
    if library == "polars":
        import polars as pl

        return pl.DataFrame([_polars_series(pl, column) for column in columns])
    if library == "pyarrow":
        import pyarrow as pa

        return pa.table({column.name: _arrow_array(pa, column) for column in columns})
    import narwhals as nw

    series = nw.from_native(native, series_only=True)
    return series.to_frame().select(*_other_series(series.implementation, columns)).to_native()


def _library(native: Any) -> str:  # noqa: ANN401
    """Return which library made a frame; a subclass is its library's, wherever it was written."""
    roots = [each.__module__.partition(".")[0] for each in type(native).__mro__]
    return next((root for root in roots if root in ("pandas", "polars", "pyarrow")), roots[0])


def _wrapper(native: Any) -> Any:  # noqa: ANN401
    """Return the narwhals that a frame or series is wrapped by, one of its stable ones perhaps; None if by none."""
    module = str(type(native).__module__)
    if module.partition(".")[0] != "narwhals":
        return None
    return importlib.import_module(module if module.startswith("narwhals.stable.") else "narwhals")


def _other_series(backend: Any, columns: Sequence[Column]) -> list[Any]:  # noqa: ANN401
    """Return series of a library that only narwhals knows, by its own idea of what the values are."""
    import narwhals as nw

    made = []
    for column in columns:
        try:
            made.append(nw.new_series(column.name, column.values, backend=backend))
        except Exception:  # each library has errors of its own
            made.append(nw.new_series(column.name, _as_json(column.values), nw.String(), backend=backend))
    return made


def _join_pandas(native: Any, columns: Sequence[Column]) -> Any:  # noqa: ANN401
    import pandas as pd

    added = pd.DataFrame({column.name: _pandas_series(pd, column) for column in columns}, copy=False)
    added.index = native.index  # one and the same: nothing is aligned, also where a label stands twice
    frame = pd.concat([native, added], axis=1)
    frame.attrs = dict(native.attrs)
    frame.columns.name = native.columns.name
    return frame


def _pandas_series(pd: Any, column: Column) -> Any:  # noqa: ANN401
    array = _pandas_array(pd, column)
    # Of objects pandas would guess a type once more, and fail where it guesses wrong.
    return pd.Series(array, dtype=array.dtype)


def _pandas_array(pd: Any, column: Column) -> Any:  # noqa: ANN401
    values: Sequence[Any] = column.values
    # What is not what its type says, or is too large, stays as it is: the values themselves are right.
    with contextlib.suppress(Exception):
        sort, held = sort_of(column.kind), values
        if sort.name == "datetime":  # the only one whose type pandas has by its values
            sort, held = fitted(sort, held)
        match sort.name:
            case "int" | "float" | "bool":
                name = {"int": "Int64", "float": "Float64", "bool": "boolean"}[sort.name]
                return pd.array(held, dtype=name)
            case "str":
                return pd.array(held, dtype="string")
            case "category" if all(each is None or each in sort.inner for each in held):
                return pd.Categorical(held, categories=list(sort.inner))
            case "datetime" | "instant":
                return pd.array(held, dtype=f"datetime64[us{', UTC' if sort.name == 'instant' else ''}]")
            case "duration":
                return pd.array(held, dtype="timedelta64[us]")
    array = pd.array([None] * len(values), dtype=object)
    for position, value in enumerate(values):
        array[position] = value
    return array


def _polars_series(pl: Any, column: Column) -> Any:  # noqa: ANN401
    with contextlib.suppress(Exception):  # polars has errors of its own
        sort, values = fitted(sort_of(column.kind), column.values)
        if (kind := _polars_type(pl, sort)) is not None:
            return pl.Series(column.name, values, dtype=kind, strict=True)
    # Objects in polars can be neither filtered nor saved.
    return pl.Series(column.name, _as_json(column.values), dtype=pl.String)


def _polars_type(pl: Any, sort: Sort) -> Any:  # noqa: ANN401
    simple = {
        "int": pl.Int64,
        "float": pl.Float64,
        "bool": pl.Boolean,
        "str": pl.String,
        "text": pl.String,
        "bytes": pl.Binary,
        "date": pl.Date,
        "time": pl.Time,
        "datetime": pl.Datetime("us"),
        "instant": pl.Datetime("us", "UTC"),
        "duration": pl.Duration("us"),
    }
    match sort.name:
        case "category":
            return pl.Enum(list(sort.inner))
        case "decimal":
            return pl.Decimal(PLACES, sort.inner[0] if sort.inner else 0)
        case "list":
            inner = _polars_type(pl, sort.inner[0])
            return None if inner is None else pl.List(inner)
        case "struct":
            inside = {name: _polars_type(pl, each) for name, each in sort.inner}
            return None if None in inside.values() else pl.Struct(inside)
    return simple.get(sort.name)


def _arrow_array(pa: Any, column: Column) -> Any:  # noqa: ANN401
    try:
        sort, values = fitted(sort_of(column.kind), column.values)
        if sort.name == "category":
            place = {value: number for number, value in enumerate(sort.inner)}
            codes = [None if each is None else place[each] for each in values]
            return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(sort.inner)))
        kind = _arrow_type(pa, sort)
        # Left to guess, Arrow takes a moment without a zone for one in UTC.
        return pa.array(values if kind is not None else [_as_told(each) for each in values], kind)
    except Exception:  # not only Arrow's own errors: a value may be anything
        # A union of types has no place in Arrow: as JSON nothing of it is lost.
        return pa.array(_as_json(column.values), pa.string())


def _arrow_type(pa: Any, sort: Sort) -> Any:  # noqa: ANN401
    simple = {
        "int": pa.int64,
        "float": pa.float64,
        "bool": pa.bool_,
        "str": pa.string,
        "text": pa.string,
        "bytes": pa.binary,
        "date": pa.date32,
        "category": pa.string,
    }
    match sort.name:
        case "list":
            inner = _arrow_type(pa, sort.inner[0])
            return None if inner is None else pa.list_(inner)
        case "map":
            inner = _arrow_type(pa, sort.inner[0])
            return None if inner is None else pa.map_(pa.string(), inner)
        case "struct":
            inside = [(name, _arrow_type(pa, each)) for name, each in sort.inner]
            return None if any(kind is None for _, kind in inside) else pa.struct(inside)
        case "decimal":
            return pa.decimal128(PLACES, sort.inner[0] if sort.inner else 0)
        case "datetime" | "instant":
            return pa.timestamp("us", "UTC" if sort.name == "instant" else None)
        case "time":
            return pa.time64("us")
        case "duration":
            return pa.duration("us")
    return simple[sort.name]() if sort.name in simple else None


def _as_told(value: Any) -> Any:  # noqa: ANN401
    """Return a value as JSON has it, of which Arrow may guess the type."""
    if isinstance(value, dict):
        return {str(name): _as_told(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_told(each) for each in value]
    return value if value is None or isinstance(value, str | int | float) else as_text(value)


def _as_json(values: Sequence[Any]) -> list[str | None]:
    """Return values as JSON, and texts as they are."""
    told = [
        each if each is None or isinstance(each, str) else json.dumps(_as_told(each), ensure_ascii=False)
        for each in values
    ]
    # Half a character has no place in UTF-8.
    return [None if each is None else each.encode("utf-8", "backslashreplace").decode() for each in told]
