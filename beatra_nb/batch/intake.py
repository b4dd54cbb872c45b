"""Where rows come from: lists, generators, async generators; one at a time, and only when there is a place for it.

A generator may block, over a file or a database, and must not hold up the calls that are under way. So it is read
by a thread, which is told how many rows are wanted. A list costs nothing to read, and is read in place.
Whatever is no list may compute its rows when it is asked for them, also where it is no iterator itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Intake(Protocol[T_co]):
    """Gives rows, one at a time."""

    async def next(self) -> T_co | None:
        """Return the next row; None when there are no more."""

    def ready(self) -> bool:
        """Whether ``take`` has something to give, without waiting."""

    def take(self) -> T_co | None:
        """Return the next row at once; None when there are no more."""

    def close(self) -> None:
        """Ask for no more; called at once."""

    async def aclose(self) -> None:
        """Let go of the source; called when nobody waits for a row any more."""


def intake_of(
    source: Iterable[T] | AsyncIterable[T], *, blocking: bool | None = None, ahead: int = 1
) -> Intake[T]:
    """Return what reads a source.

    Parameters
    ----------
    source : iterable or async iterable
        The rows.
    blocking : bool or None
        Whether asking it for a row may take a while; by default, whether it is no list or tuple.
    ahead : int
        How many rows a thread may read before they are asked for.
    """
    if isinstance(source, AsyncIterable):
        return _Awaited(source)
    if blocking is None:
        blocking = not isinstance(source, list | tuple)
    return _Threaded(source, ahead) if blocking else _Plain(source)


class _Plain(Generic[T]):
    """Rows that lie ready."""

    def __init__(self, source: Iterable[T]) -> None:
        self._rows = iter(source)

    async def next(self) -> T | None:
        return self.take()

    def ready(self) -> bool:
        return True

    def take(self) -> T | None:
        return next(self._rows, None)

    def close(self) -> None:
        _close(self._rows)

    async def aclose(self) -> None:
        pass


class _Awaited(Generic[T]):
    """Rows that are awaited."""

    def __init__(self, source: AsyncIterable[T]) -> None:
        self._rows: AsyncIterator[T] = aiter(source)

    async def next(self) -> T | None:
        return await anext(self._rows, None)

    def ready(self) -> bool:
        return False

    def take(self) -> T | None:
        raise RuntimeError("these rows have to be waited for")

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        close = getattr(self._rows, "aclose", None)
        if close is not None:
            await close()


class _Threaded(Generic[T]):
    """Rows that a thread reads. It runs ahead by so many at the most, and stops for good when it is not asked."""

    def __init__(self, source: Iterable[T], ahead: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._wanted = threading.Semaphore(0)
        self._ready: deque[tuple[T | None, BaseException | None]] = deque()
        self._arrived = asyncio.Event()
        self._closed = False
        self._over = False
        # A daemon: a source that blocks for ever must not keep the interpreter from ending.
        self._thread = threading.Thread(target=self._read, args=(source,), name="beatra-nb rows", daemon=True)
        self._thread.start()
        self._wanted.release(ahead)

    async def next(self) -> T | None:
        while not self.ready():
            self._arrived.clear()
            await self._arrived.wait()
        return self.take()

    def ready(self) -> bool:
        return self._over or bool(self._ready)

    def take(self) -> T | None:
        if self._over:
            return None
        row, problem = self._ready.popleft()
        if problem is not None:
            self._over = True
            raise problem
        if row is None:
            self._over = True
            return None
        self._wanted.release()  # another one, while this one is on its way
        return row

    def close(self) -> None:
        self._closed = True
        self._wanted.release()

    async def aclose(self) -> None:
        pass  # the thread sees to it, whenever the source lets it

    def _read(self, source: Iterable[T]) -> None:
        rows: Iterator[T] | None = None
        try:
            rows = iter(source)
            while self._asked():
                row = next(rows, None)
                self._hand_over(row, None)
                if row is None:
                    return
        except BaseException as problem:
            self._hand_over(None, problem)
        finally:
            _close(rows)  # by the thread that read it: no other may, while it runs

    def _asked(self) -> bool:
        self._wanted.acquire()
        return not self._closed

    def _hand_over(self, row: T | None, problem: BaseException | None) -> None:
        self._ready.append((row, problem))
        if len(self._ready) <= 1:  # or nobody waits: there was one before it
            self._tell(self._arrived.set)

    def _tell(self, what: Callable[[], Any]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:  # the batch is over, and so is its loop
            self._closed = True


def _close(rows: Iterator[Any] | None) -> None:
    close = getattr(rows, "close", None)
    if close is not None:
        close()
