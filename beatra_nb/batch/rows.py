"""What a batch is about, row by row: lists, dicts, generators, and any library's frames and series.

Frames and series are read through narwhals, so that none of their libraries is needed. A row is a mapping where
its values have names, and a plain value where they have none.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from beatra_nb.core.errors import InvalidInput

Kind: TypeAlias = Literal["frame", "series", "plain"]

CHUNK = 512  # rows of a frame that are read at once


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a batch.

    Attributes
    ----------
    kind : {"frame", "series", "plain"}
        Where they come from.
    native : object
        What the user passed.
    total : int or None
        How many there are; None of an iterator, which tells it at its end.
    columns : tuple of str or None
        The names that every row has, where they are known before the first one is read.
    """

    kind: Kind
    native: Any
    total: int | None
    columns: tuple[str, ...] | None
    _read: Any  # a narwhals frame or series, or an iterable

    @classmethod
    def of(cls, data: object) -> Rows:
        """Look at what the user passed; nothing of it is read yet.

        Raises
        ------
        InvalidInput
            If there are no rows in it.
        """
        if isinstance(data, str | bytes):
            raise InvalidInput(
                "The data is one text, not a list of rows.",
                hint="bn.chat asks once; bn.map takes a list: bn.map([text], …).",
            )
        if isinstance(data, Mapping):
            raise InvalidInput(
                "The data is one dict, not a list of rows.",
                hint="bn.map([row], …) asks for one row; pandas.DataFrame(data) makes rows of columns.",
            )
        if (found := _of_library(data)) is not None:
            return found
        if (ndim := getattr(data, "ndim", 1)) != 1 or getattr(getattr(data, "dtype", None), "names", None):
            many = f"{ndim} dimensions" if ndim != 1 else "fields"
            raise InvalidInput(
                f"The data is an array of {many}, and a row is one value or has names.",
                hint="pandas.DataFrame(array) gives its columns names; list(array) makes rows of its first axis.",
            )
        if hasattr(data, "__arrow_c_stream__"):
            raise InvalidInput(
                f"A {type(data).__name__} gives whole batches of rows, not rows.",
                hint="Read it first: bn.map(pyarrow.table(data), …).",
            )
        if isinstance(data, AsyncIterable | Iterable):
            # A list may be changed while it is asked about, or after: an answer belongs to the row that it is about.
            rows = list(data) if isinstance(data, list) else data
            return cls("plain", data, len(data) if isinstance(data, Sized) else None, None, rows)
        raise InvalidInput(
            f"The data must be rows, not {type(data).__name__}.",
            hint="Pass a list, a Series or data frame, or a generator.",
        )

    @property
    def lasting(self) -> bool:
        """Whether they can be looked at again."""
        listed = isinstance(self.native, Sequence) or hasattr(self.native, "__array__")
        return listed or self.columns is not None or self.kind != "plain"

    @property
    def awaited(self) -> bool:
        """Whether the rows come from an async iterator."""
        return isinstance(self._read, AsyncIterable) and not isinstance(self._read, Iterable)

    def __iter__(self) -> Iterator[Any]:
        if self.columns is not None:
            return iter(self._read.iter_rows(named=True, buffer_size=CHUNK))
        return iter(self._read)

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._read)


def _of_library(data: object) -> Rows | None:
    """Read a frame or a series; None of everything else."""
    import narwhals as nw

    try:
        data, inside = _readable(data)
        found: Any = nw.from_native(inside, allow_series=True, pass_through=True)
        if found is inside:
            return None
        if isinstance(found, nw.LazyFrame):
            raise InvalidInput(
                f"A lazy frame ({type(data).__module__.partition('.')[0]}) has no rows yet.",
                hint="Collect it first: bn.map(frame.collect(), …), or .compute() for Dask.",
            )
        if isinstance(found, nw.Series):
            return Rows("series", data, len(found), None, found)
        columns = tuple(found.columns)
    except InvalidInput:
        raise
    except Exception as error:  # each library has errors of its own for what it cannot read
        problem = f"{type(error).__name__}: {str(error)[:200]}"
        raise InvalidInput(
            f"The rows of this {type(data).__name__} cannot be read by name ({problem}).",
            hint="Give each column a name of its own.",
        ) from None
    return Rows("frame", data, len(found), columns, found)


def _readable(data: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Return what the answers are joined to, and the same as narwhals reads it."""
    import narwhals as nw

    # What is of a library has loaded it.
    pd, pa = sys.modules.get("pandas"), sys.modules.get("pyarrow")
    inside = nw.to_native(data, pass_through=True)
    if pd is not None and isinstance(inside, pd.Index) and not isinstance(inside, pd.MultiIndex):
        data = inside = inside.to_series()
    if pd is not None and isinstance(inside, pd.MultiIndex):
        raise InvalidInput(
            "The data is an index of several levels.", hint="bn.map(index.to_frame(), …) gives them names."
        )
    if pd is not None and isinstance(inside, pd.DataFrame) and isinstance(inside.columns, pd.MultiIndex):
        raise InvalidInput(
            "The columns have names of several levels, and a row's values need one name each.",
            hint='frame.columns = ["_".join(map(str, names)) for names in frame.columns] joins them.',
        )
    if pa is not None and isinstance(inside, pa.RecordBatch):
        return data, pa.Table.from_batches([inside])
    if pa is not None and isinstance(inside, pa.Array):
        return data, pa.chunked_array([inside])
    return data, inside
