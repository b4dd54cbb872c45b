"""Lists of tasks: the account's, page by page as they are asked for, and this machine's unfinished ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from beatra_nb.core import seams
from beatra_nb.core.errors import InvalidInput, TaskFailed
from beatra_nb.core.frames import load_pandas
from beatra_nb.core.lenient import whole
from beatra_nb.core.policy import WAIT
from beatra_nb.core.seams import Showable
from beatra_nb.core.task import AsyncTask, BaseTask, Task

if TYPE_CHECKING:
    from datetime import datetime

    import pandas

    from beatra_nb.core.task_verbs import AsyncTaskVerbs, TaskVerbs

_T = TypeVar("_T", bound=BaseTask)

EXPANDABLE = ("output", "usage", "billing", "callback", "input", "all")
STATUSES = ("queued", "running", "succeeded", "failed", "canceled")


class BaseTaskList(Showable, Generic[_T]):
    """Tasks of the account, newest first; further pages are fetched when they are asked for.

    Attributes
    ----------
    items : tuple of Task
        The tasks fetched so far.
    has_more : bool
        Whether the service has further ones.
    filters : dict
        What was asked for.
    request_id : str or None
        The id of the last page's exchange.
    sandbox : bool
        True when the sandbox answered.
    recorded : datetime or None
        When the exchange was recorded, where it is on a cassette.
    """

    def __init__(self, filters: dict[str, Any]) -> None:
        self.filters = filters
        self.items: tuple[_T, ...] = ()
        self.has_more = True
        self.request_id: str | None = None
        self.sandbox = False
        self.recorded: datetime | None = None
        self._cursor: str | None = filters.get("cursor")

    def add(self, tasks: Sequence[_T], cursor: str | None, has_more: bool) -> None:
        """Take a page."""
        known = {task.id for task in self.items}
        fresh = [task for task in tasks if task.id not in known]
        self.items += tuple(fresh)
        # A service that gives the same page again and again must not be asked for ever.
        stuck = cursor is None or cursor == self._cursor or (bool(tasks) and not fresh)
        self.has_more, self._cursor = has_more and not stuck, cursor

    @property
    def cursor(self) -> str | None:
        """Where the next page begins."""
        return self._cursor

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None}

    def __repr__(self) -> str:
        more = ", more on the service" if self.has_more else ""
        return f"{type(self).__name__}({len(self.items)} tasks{more})"


class TaskList(BaseTaskList[Task]):
    """Tasks of the account, newest first; iterating fetches further pages as they are needed.

    Examples
    --------
    >>> bn.tasks(status="succeeded").to_frame()  # doctest: +SKIP
    """

    __doc__ = f"{__doc__}\n{BaseTaskList.__doc__}"

    def __init__(self, client: TaskVerbs, filters: dict[str, Any]) -> None:
        super().__init__(filters)
        self._client: TaskVerbs | None = client

    def more(self) -> bool:
        """Fetch the next page; return whether there was one."""
        if not self.has_more:
            return False
        (self._client or seams.default_client())._page(self)
        return True

    def __iter__(self) -> Iterator[Task]:
        at = 0
        while True:
            while at < len(self.items):
                yield self.items[at]
                at += 1
            if not self.more():
                return

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Task, ...]: ...
    def __getitem__(self, index: int | slice) -> Task | tuple[Task, ...]:
        """Return one of them, or a few; pages are fetched up to there."""
        if isinstance(index, slice):
            from_behind = (index.start or 0) < 0 or (index.step or 1) < 0
            needed = None if from_behind or index.stop is None or index.stop < 0 else index.stop
        else:
            needed = None if index < 0 else index + 1
        while (needed is None or len(self.items) < needed) and self.more():
            pass
        return self.items[index]

    def to_frame(self, limit: int | None = 1000) -> pandas.DataFrame:
        """Return the tasks as a DataFrame, a row each, fetching pages up to ``limit`` tasks (None: all).

        Raises
        ------
        ConfigurationError
            If pandas is not installed.
        """
        load_pandas()
        while (limit is None or len(self.items) < limit) and self.more():
            pass
        return frame(self.items[:limit])


class AsyncTaskList(BaseTaskList[AsyncTask]):
    """Tasks of the account, newest first; ``async for`` fetches further pages as they are needed."""

    def __init__(self, client: AsyncTaskVerbs, filters: dict[str, Any]) -> None:
        super().__init__(filters)
        self._client: AsyncTaskVerbs | None = client

    async def more(self) -> bool:
        """Fetch the next page; return whether there was one."""
        if not self.has_more:
            return False
        await (self._client or seams.default_async_client())._page(self)
        return True

    async def __aiter__(self) -> AsyncIterator[AsyncTask]:
        at = 0
        while True:
            while at < len(self.items):
                yield self.items[at]
                at += 1
            if not await self.more():
                return

    async def to_frame(self, limit: int | None = 1000) -> pandas.DataFrame:
        """Return the tasks as a DataFrame: ``TaskList.to_frame``, awaited."""
        load_pandas()
        while (limit is None or len(self.items) < limit) and await self.more():
            pass
        return frame(self.items[:limit])


@dataclass(frozen=True, slots=True)
class LostJob(Showable):
    """A job that was begun and cannot be found again by itself.

    Attributes
    ----------
    idempotency_key : str
        Its key; the service forgets it after 24 h.
    started : datetime
        When it was begun, in UTC.
    verb : str
        What was called.
    reason : str
        Why it cannot be found again, and what to do.
    title : str
        Its title, where it had one.
    """

    idempotency_key: str
    started: datetime
    verb: str
    reason: str
    title: str = ""


class BasePendingList(Showable, Sequence[_T]):
    """Unfinished jobs of this machine, found again; ``wait`` finishes them all.

    Attributes
    ----------
    items : tuple of Task
        The jobs, oldest first.
    lost : tuple of LostJob
        Jobs that were begun and cannot be found again by themselves.
    unheard : tuple of LostJob
        Jobs of which nobody could say how they are just now; they stay as they were.
    elsewhere : int
        How many more were begun here with another key, or at another address.
    """

    def __init__(
        self,
        items: Sequence[_T],
        lost: Sequence[LostJob] = (),
        unheard: Sequence[LostJob] = (),
        elsewhere: int = 0,
    ) -> None:
        self.elsewhere = elsewhere
        self.items = tuple(items)
        self.lost = tuple(lost)
        self.unheard = tuple(unheard)

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[_T, ...]: ...
    def __getitem__(self, index: int | slice) -> _T | tuple[_T, ...]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        lost = f", {len(self.lost)} lost" if self.lost else ""
        return f"{type(self).__name__}({list(self.items)!r}{lost})"


class PendingList(BasePendingList[Task]):
    """Unfinished jobs of this machine, found again.

    Examples
    --------
    >>> bn.pending().wait()  # doctest: +SKIP
    """

    __doc__ = f"{__doc__}\n{BasePendingList.__doc__}"

    def wait(self, timeout: float | None = WAIT) -> list[Task]:
        """Wait for each of them in turn, and return them all; a failed one is among them, with its ``error``.

        Parameters
        ----------
        timeout : float or None
            Seconds to wait for each.
        """
        for task in self.items:
            with suppress(TaskFailed):  # it is over; its error stays in the task
                task.wait(timeout)
        return list(self.items)


class AsyncPendingList(BasePendingList[AsyncTask]):
    """Unfinished jobs of this machine, found again; ``wait`` is awaited."""

    async def wait(self, timeout: float | None = WAIT) -> list[AsyncTask]:
        """Wait for each of them in turn: ``PendingList.wait``, awaited."""
        for task in self.items:
            with suppress(TaskFailed):
                await task.wait(timeout)
        return list(self.items)


def checked_filters(
    *,
    status: str | None,
    capability: str | None,
    limit: int,
    created_after: datetime | str | None,
    created_before: datetime | str | None,
    order: str,
    expand: str | Sequence[str] | None,
    cursor: str | None,
) -> dict[str, Any]:
    """Check the filters of a list of tasks, and return them as they are sent.

    Raises
    ------
    InvalidInput
        If the service would refuse them.
    """
    if status is not None and status not in STATUSES:
        raise InvalidInput(f"status must be one of {', '.join(STATUSES)}, not {status!r:.60}.")
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 100:
        raise InvalidInput(
            f"limit must be a whole number from 1 to 100, not {limit!r:.60}.",
            hint="It is the size of a page: iterating fetches further pages by itself.",
        )
    if order not in ("asc", "desc"):
        raise InvalidInput(f"order must be 'asc' or 'desc', not {order!r:.60}.")
    parts = [expand] if isinstance(expand, str) else list(expand or ())
    parts = [word.strip() for part in parts for word in str(part).split(",") if word.strip()]
    if unknown := [part for part in parts if part not in EXPANDABLE]:
        raise InvalidInput(f"expand can be {', '.join(EXPANDABLE)}, not {unknown[0]!r:.60}.")
    filters: dict[str, Any] = {"limit": limit, "order": order}
    for name, value in (("status", status), ("capability", capability), ("cursor", cursor)):
        if value is not None:
            filters[name] = _text(name, value)
    for name, moment in (("created_after", created_after), ("created_before", created_before)):
        if moment is not None:
            filters[name] = _moment(name, moment)
    if parts:
        filters["expand"] = ",".join(parts)
    return filters


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be text, not {type(value).__name__}.")
    if whole(value) != value:
        raise InvalidInput(f"{name} holds half a character, which cannot be sent.")
    return value


def _moment(name: str, value: datetime | str) -> str:
    from datetime import UTC, datetime

    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise InvalidInput(
            f"{name} must be a datetime or a text such as '2026-01-31T12:00:00Z', not {value!r:.60}."
        ) from None
    try:
        # A time without a zone is the user's own.
        return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError):
        raise InvalidInput(f"{name} must be a datetime that UTC has, too, not {value!r:.60}.") from None


def frame(tasks: Sequence[BaseTask]) -> pandas.DataFrame:
    """Make a DataFrame of tasks, with types that know what is missing."""
    pd = load_pandas()
    texts = ("id", "status", "capability", "model", "resolved_model", "title")
    columns: dict[str, Any] = {
        name: pd.Series([getattr(task, name) or None for task in tasks], dtype="string") for name in texts
    }
    for name in ("created_at", "started_at", "completed_at"):
        columns[name] = pd.Series([getattr(task, name) for task in tasks], dtype="datetime64[us, UTC]")
    columns["elapsed"] = pd.Series([task.elapsed for task in tasks], dtype="Float64")
    for name in ("charged", "refunded"):
        values = [getattr(task.billing, name) for task in tasks]
        columns[name] = pd.Series([None if v is None else float(v) for v in values], dtype="Float64")
    table: pandas.DataFrame = pd.DataFrame(columns)
    return table
