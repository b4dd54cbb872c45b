"""``AsyncClient``: the verbs, awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from beatra_nb.core import seams
from beatra_nb.core.base_client import leave
from beatra_nb.core.flow import Context
from beatra_nb.core.request import REPAIRS, ChatRequest
from beatra_nb.core.task_verbs import AsyncTaskVerbs
from beatra_nb.core.transport import AsyncRun, AsyncTransport

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from beatra_nb.core.budget import Budget, Number
    from beatra_nb.core.flow import Flow
    from beatra_nb.core.prompt import Prompt as PromptTemplate
    from beatra_nb.core.reply import CapabilityList, Health, ModelList, Reply
    from beatra_nb.core.request import Prompt, Schema
    from beatra_nb.core.streams import AsyncTextStream

T = TypeVar("T")


class AsyncClient(AsyncTaskVerbs):
    """A connection to the API whose verbs are awaited; takes what ``Client`` takes.

    Examples
    --------
    >>> async with bn.AsyncClient(mode="sandbox") as client:  # doctest: +SKIP
    ...     reply = await client.chat("Say hi in five words.")
    """

    _transport: AsyncTransport | None = None

    async def chat(
        self,
        /,
        prompt: Prompt,
        *,
        system: str | None = None,
        model: str = "auto",
        stream: bool = False,
        schema: Schema | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        idempotency_key: str | None = None,
        fallback: str | None = None,
        repairs: int = REPAIRS,
        budget: Budget | Number | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Reply:
        """Ask a model, and return its answer: ``Client.chat``, awaited."""
        request = ChatRequest.of(
            prompt,
            system=system,
            model=model,
            schema=schema,
            temperature=temperature,
            max_tokens=max_tokens,
            tools=tools,
            idempotency_key=idempotency_key,
            fallback=fallback,
            repairs=repairs,
            **options,
        )
        if stream:
            with self._within(budget):
                return await self._watched(request)
        from beatra_nb.core import resources

        with self._remember(request), self._within(budget):
            transport, context = self._ready()
            reply = await transport.run(resources.chat(context, request))
            self._keep(reply)
        return reply

    def stream(
        self,
        /,
        prompt: Prompt,
        *,
        system: str | None = None,
        model: str = "auto",
        schema: Schema | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        idempotency_key: str | None = None,
        fallback: str | None = None,
        repairs: int = REPAIRS,
        budget: Budget | Number | None = None,
        **options: Any,  # noqa: ANN401
    ) -> AsyncTextStream:
        """Ask a model, and iterate over its answer with ``async for``: ``Client.stream``, awaited."""
        request = ChatRequest.of(
            prompt,
            system=system,
            model=model,
            schema=schema,
            temperature=temperature,
            max_tokens=max_tokens,
            tools=tools,
            idempotency_key=idempotency_key,
            fallback=fallback,
            repairs=repairs,
            **options,
        )
        with self._within(budget):  # the stream keeps it, and is asked for pieces later
            return self._stream(request)

    async def map(
        self,
        /,
        data: Any,  # noqa: ANN401 - rows of any kind
        prompt: str | PromptTemplate | Callable[[Any], Any],
        *,
        schema: Schema | None = None,
        system: str | None = None,
        model: str = "auto",
        max_active: int = 16,
        rate: float | str | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        budget: Any = None,  # noqa: ANN401 - a number of credits, a Budget or a function
        on_error: Literal["return", "raise"] = "return",
        executor: Any = None,  # noqa: ANN401 - a cluster's client
        order: Literal["input", "finished"] = "input",
        progress: bool = True,
        dedupe: bool = False,
        if_changed: Literal["refuse", "apart"] = "refuse",
        temperature: float | None = None,
        max_tokens: int | None = None,
        repairs: int = REPAIRS,
        fallback: str | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401 - a frame of the data's own library, or a BatchResult
        """Ask about every row of some data, many at once, and await it; takes what ``Client.map`` takes."""
        return await seams.batch(
            self,
            data,
            prompt,
            schema=schema,
            system=system,
            model=model,
            max_active=max_active,
            rate=rate,
            checkpoint=checkpoint,
            budget=budget,
            on_error=on_error,
            executor=executor,
            order=order,
            progress=progress,
            dedupe=dedupe,
            if_changed=if_changed,
            temperature=temperature,
            max_tokens=max_tokens,
            repairs=repairs,
            fallback=fallback,
            **options,
        ).arun()

    async def models(self) -> ModelList:
        """List the models of this account: ``Client.models``, awaited."""
        from beatra_nb.core import resources

        return await self._run(resources.models)

    async def capabilities(self) -> CapabilityList:
        """List what the API can do: ``Client.capabilities``, awaited."""
        from beatra_nb.core import resources

        return await self._run(resources.capabilities)

    async def health(self) -> Health:
        """Ask whether the service is well: ``Client.health``, awaited."""
        from beatra_nb.core import resources

        return await self._run(resources.health)

    async def close(self) -> None:
        """Close the connections."""
        self._closed = True
        if self._transport is not None:
            await self._transport.close()
            self._transport = None

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _connected(self) -> AsyncTransport:
        base_url, key = self._endpoint()
        with self._lock:
            if self._transport is None or self._transport.base_url != base_url:
                self._transport = AsyncTransport(base_url, key, self._tape)
            return self._transport

    def _ready(self) -> tuple[AsyncTransport, Context]:
        self._tell_sandbox()
        transport = self._connected()
        return transport, self._context(transport.base_url, transport.key)

    async def _run(self, flow: Callable[[Context], Flow[T]]) -> T:
        transport, context = self._ready()
        return await transport.run(flow(context))

    def _stream(self, request: ChatRequest) -> AsyncTextStream:
        from beatra_nb.core.resources import Growing, stream
        from beatra_nb.core.streams import AsyncTextStream

        growing = Growing(request, self._keep)
        transport, context = self._ready()
        return AsyncTextStream(AsyncRun(transport, stream(context, request, growing)), growing)

    async def _watched(self, request: ChatRequest) -> Reply:
        with self._remember(request):
            stream = self._stream(request)
            painter = seams.painter(sandbox=self.uses_sandbox)
            try:
                async with stream:
                    begun = False
                    async for piece in stream:
                        if not begun:
                            begun = True
                            painter.begin(stream.reply)
                        painter.add(piece)
            except BaseException:
                leave(painter, stream.reply)
                raise
            reply = stream.reply
            painter.finish(reply)
        return reply
