"""What a batch is about, row by row: lists, dicts, generators, and any library's frames and series.

Frames and series are read through narwhals, so that none of their libraries is needed. A row is a mapping where
its values have names, and a plain value where they have none.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sized
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
        if isinstance(data, AsyncIterable | Iterable):
            return cls("plain", data, len(data) if isinstance(data, Sized) else None, None, data)
        raise InvalidInput(
            f"The data must be rows, not {type(data).__name__}.",
            hint="Pass a list, a Series or data frame, or a generator.",
        )

    @property
    def awaited(self) -> bool:
        """Whether the rows come from an async iterator."""
        return isinstance(self._read, AsyncIterable) and not isinstance(self._read, Iterable)

    def __iter__(self) -> Iterator[Any]:
        if self.kind == "frame":
            return iter(self._read.iter_rows(named=True, buffer_size=CHUNK))
        return iter(self._read)

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._read)


def _of_library(data: object) -> Rows | None:
    """Read a frame or a series; None of everything else."""
    import narwhals as nw

    try:
        found: Any = nw.from_native(data, allow_series=True, pass_through=True)
        if found is data:
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
