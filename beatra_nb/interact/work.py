"""The thread on which the panels' work runs: one event loop for all of them.

A kernel runs one cell at a time, and while it does, its own event loop stands still. What a panel asks of the API
must go on all the same, and *Stop* must be heard; so calls are awaited here, beside the kernel. The loop is started
by the first work, and its thread is a daemon: it never keeps a kernel alive.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import weakref
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from beatra_nb.core.errors import BeatraError, InvalidInput

if TYPE_CHECKING:
    from beatra_nb.core.async_client import AsyncClient
    from beatra_nb.core.client import Client

T = TypeVar("T")
Work = Coroutine[Any, Any, T]

_lock = threading.RLock()  # a client may be collected, and its twin closed, while it is held
_loop: asyncio.AbstractEventLoop | None = None
# A client's twin for this loop: connections belong to the loop that opened them.
_twins: weakref.WeakKeyDictionary[Client, AsyncClient] = weakref.WeakKeyDictionary()


def loop() -> asyncio.AbstractEventLoop:
    """Return the loop, started now if need be."""
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="beatra-work", daemon=True).start()
        return _loop


def begin(work: Work[T]) -> concurrent.futures.Future[T]:
    """Begin some work on the loop, and return at once; cancelling the future cancels the work."""
    return asyncio.run_coroutine_threadsafe(work, loop())


def wait(work: Work[T]) -> T:
    """Do some work on the loop, and return what it comes to; an interrupt cancels it.

    Raises
    ------
    InvalidInput
        From the loop's own thread, which would wait for itself.
    """
    if _loop is not None and _running() is _loop:
        work.close()
        raise InvalidInput(
            "This would wait for itself.",
            hint="Await it, or call it from a cell rather than from a callback.",
        )
    future = begin(work)
    try:
        while True:
            try:
                return future.result(timeout=0.2)  # not without end: Windows hears an interrupt between waits
            except concurrent.futures.TimeoutError:
                if future.done():  # it ended just now, or with a time-out of its own
                    return future.result()
    except KeyboardInterrupt:
        future.cancel()
        raise
    except BeatraError as error:
        # Raised anew for the caller: the frames of the other thread tell a user nothing.
        raise error.with_traceback(None) from None


def twin(client: Client) -> AsyncClient:
    """Return the client that stands in for another one on the loop: the same account, awaited.

    Its connections are closed when the client is gone.
    """
    with _lock:
        if client not in _twins:
            _twins[client] = made = client.twin()
            weakref.finalize(client, _close, made).atexit = False
        return _twins[client]


def _close(twin: AsyncClient) -> None:
    begin(twin.close())


def _forget() -> None:
    """Begin anew in a forked process: neither the thread nor its connections came along."""
    global _loop, _lock
    _loop, _lock = None, threading.RLock()
    _twins.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
