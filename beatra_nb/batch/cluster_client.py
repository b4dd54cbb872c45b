"""A Dask client as a batch needs it, whether its methods block or are awaited."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import time
from typing import TYPE_CHECKING, Any, TypeVar

from beatra_nb.core.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

INSTALL = "pip install 'beatra-nb[dask]'"
LOOK = 1.0  # seconds for which it is believed who the workers are
NAMED = 64  # workers of which each has its very own share; of more, a few places are left over


class Lost(Exception):
    """The cluster gave a partition up: it was cancelled from outside, or its workers died again and again.

    Attributes
    ----------
    final : bool
        Whether sending it once more is of no use.
    """

    def __init__(self, what: str, *, final: bool) -> None:
        super().__init__(what)
        self.final = final


def checked(executor: Any) -> Any:  # noqa: ANN401
    """Return what was passed as ``executor=``, if a batch can be given to it.

    Raises
    ------
    ConfigurationError
        If Dask is not installed here.
    InvalidInput
        If it is no client of a cluster, or one that is closed.
    """
    if importlib.util.find_spec("distributed") is None:
        raise ConfigurationError("executor= needs Dask's distributed, which is not installed.", hint=INSTALL)
    from distributed import Client

    if not isinstance(executor, Client):
        raise InvalidInput(
            f"executor must be a Dask client, not {type(executor).__name__}.",
            hint="executor=distributed.Client(…), connected to a cluster; without it, this process makes the calls.",
        )
    if executor.status != "running":
        raise InvalidInput(
            f"The Dask client is {executor.status}.", hint="Pass one that is connected to a cluster."
        )
    return executor


class Workers:
    """The workers of a cluster, for one event loop."""

    def __init__(self, executor: Any) -> None:  # noqa: ANN401
        self._client: Any = checked(executor)
        self._loop = asyncio.get_running_loop()
        self._awaited = bool(self._client.asynchronous)
        if not self._awaited and getattr(self._client, "_asynchronous", False):
            raise InvalidInput(
                "This Dask client belongs to another event loop.",
                hint="Await bn.amap(…) in its loop, or pass a client that was made without asynchronous=True.",
            )
        self._known: list[str] = []
        self._looked = -LOOK

    async def names(self) -> list[str]:
        """Return the addresses of the workers, as they were a moment ago."""
        now = time.monotonic()
        if now - self._looked >= LOOK or not self._known:
            self._looked = now
            self._known = sorted(await self._call(self._client.nthreads))
        return self._known

    async def shares(self, places: int) -> tuple[int, frozenset[str]]:
        """Divide places among the workers: how many each has, and which of them have one more."""
        names = await self.names()
        share, over = divmod(places, max(len(names), 1))
        if not share:
            return 1, frozenset()
        return share, frozenset(names[:over]) if len(names) <= NAMED else frozenset()

    async def tell(
        self, what: Callable[..., T], *args: object, workers: list[str] | None = None
    ) -> dict[str, Any]:
        """Call a function in workers, beside their tasks; gives what each said, or its exception."""
        said = await self._call(self._client.run, what, *args, workers=workers, on_error="return")
        return dict(said or {})

    async def ask(self, what: Callable[..., T], *args: object, name: str) -> T:
        """Have a worker do a task, and fetch what it said.

        Raises
        ------
        Lost
            If the cluster gave it up.
        """
        future = self._client.submit(what, *args, key=name, pure=False)
        try:
            await self._done(future)
            if future.status == "finished":
                result: T = await self._call(future.result)
                return result
            if future.status != "error":
                raise Lost(f"the task was {future.status}", final=self._client.status != "running")
            problem = await self._call(future.exception)
        finally:
            # The cluster forgets it, and does not begin with it if it has not.
            future.release()
        from distributed import KilledWorker

        if isinstance(problem, KilledWorker):
            raise Lost("the workers that had it died, one after another", final=True)
        raise problem

    def listen(self, topic: str, hear: Callable[[dict[str, Any]], None]) -> None:
        """Have something called, in a thread of the client, with each message that workers log under a topic."""
        self._client.subscribe_topic(topic, lambda event: hear(event[1]))

    def hush(self, topic: str) -> None:
        """End that."""
        with contextlib.suppress(Exception):  # the client may be closed by now
            self._client.unsubscribe_topic(topic)

    async def _done(self, future: Any) -> None:  # noqa: ANN401
        """Wait for a future, in whatever state it ends."""
        over: asyncio.Future[None] = self._loop.create_future()

        def end() -> None:
            if not over.done():
                over.set_result(None)

        def tell(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(end)

        future.add_done_callback(tell)
        await over

    async def _call(self, method: Callable[..., Any], *args: object, **more: object) -> Any:  # noqa: ANN401
        if self._awaited:
            return await method(*args, **more)
        return await asyncio.to_thread(method, *args, **more)
