"""What ``bn.journal()`` returns: the newest calls, ready to be looked at, searched and analysed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from beatra_nb.core import seams
from beatra_nb.core.frames import load_pandas
from beatra_nb.core.seams import Showable
from beatra_nb.store.entry import FIELDS, Entry

if TYPE_CHECKING:
    from pathlib import Path

    import pandas

    from beatra_nb.store.bundle import SupportBundle
    from beatra_nb.store.journal import Journal

# The columns worth a look; an entry has more.
COLUMNS = (
    "time", "verb", "prompt", "model", "status", "total_tokens", "credits", "duration", "attempts", "request_id",
)  # fmt: skip

# How a column is kept in a frame. Credits become floats there, for arithmetic; entries hold them exactly.
_DTYPES = {
    "attempts": "Int64",
    "http_status": "Int64",
    "prompt_tokens": "Int64",
    "completion_tokens": "Int64",
    "total_tokens": "Int64",
    "credits": "Float64",
    "duration": "Float64",
    "sandbox": "boolean",
    "process": "Int64",
    "id": "Int64",
}


class JournalView(Showable, Sequence[Entry]):
    """The newest calls, newest first: a sequence of entries that shows itself as a table, and prints as one.

    Attributes
    ----------
    columns : list of str
        What the table shows.
    rows : list of dict
        The calls shown, every field by its name.
    total : int
        How many calls there are altogether (that match, after a search).
    text : str or None
        What was searched for.
    path : Path
        The journal's file.

    Examples
    --------
    >>> import beatra_nb as bn
    >>> calls = bn.journal()  # doctest: +SKIP
    >>> calls.search("rate_limited").to_frame()  # doctest: +SKIP
    """

    def __init__(self, entries: Iterable[Entry], total: int, path: Path, text: str | None = None) -> None:
        self._entries = tuple(entries)
        self.total = total
        self.path = path
        self.text = text

    @property
    def columns(self) -> list[str]:
        """What the table shows."""
        return list(COLUMNS)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The calls shown, every field by its name."""
        return [entry.as_dict() for entry in self._entries]

    def search(self, text: str, limit: int | None = 50) -> JournalView:
        """Search the whole journal, not only what is shown here; see ``Journal.search``."""
        return self._journal().search(text, limit)

    def to_frame(self) -> pandas.DataFrame:
        """Return every call this view stands for as a DataFrame, newest first.

        The view shows the newest; the frame holds all of them (all that match, after a search).

        Raises
        ------
        ConfigurationError
            If pandas is not installed.
        """
        return frame(self._journal().matching(self.text))

    def support_bundle(self, request_id: str) -> SupportBundle:
        """Return what support needs to look into a call; see ``Journal.support_bundle``."""
        return self._journal().support_bundle(request_id)

    def _journal(self) -> Journal:
        # The view keeps the path alone, so that it can be pickled and holds no file open.
        from beatra_nb.store.journal import Journal

        return Journal.open(self.path)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Entry, ...]: ...
    def __getitem__(self, index: int | slice) -> Entry | tuple[Entry, ...]:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __str__(self) -> str:
        return seams.to_plain(self)

    def __repr__(self) -> str:
        what = "" if self.text is None else f" for {self.text!r}"
        return f"JournalView({len(self)} of {self.total} calls{what}, newest first)"


def frame(entries: Sequence[Entry]) -> pandas.DataFrame:
    """Make a DataFrame of entries, with types that know what is missing."""
    pd = load_pandas()
    columns: dict[str, Any] = {}
    for name in FIELDS:
        values = [getattr(entry, name) for entry in entries]
        if name == "time":
            columns[name] = pd.Series(values, dtype="datetime64[us, UTC]")
        elif name == "credits":
            floats = [None if value is None else float(value) for value in values]
            columns[name] = pd.Series(floats, dtype="Float64")
        else:
            columns[name] = pd.Series(values, dtype=_DTYPES.get(name, "string"))
    made: pandas.DataFrame = pd.DataFrame(columns)
    return made
