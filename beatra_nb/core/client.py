"""``Client``: the verbs, blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from beatra_nb.core import seams
from beatra_nb.core.base_client import leave
from beatra_nb.core.flow import Context
from beatra_nb.core.request import REPAIRS, ChatRequest
from beatra_nb.core.task_verbs import TaskVerbs
from beatra_nb.core.transport import Run, Transport

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from beatra_nb.core.async_client import AsyncClient
    from beatra_nb.core.budget import Budget, Number
    from beatra_nb.core.flow import Flow
    from beatra_nb.core.prompt import Prompt as PromptTemplate
    from beatra_nb.core.reply import CapabilityList, Health, ModelList, Reply
    from beatra_nb.core.request import Prompt, Schema
    from beatra_nb.core.streams import TextStream

T = TypeVar("T")


class Client(TaskVerbs):
    """A connection to the API that blocks.

    Parameters
    ----------
    api_key : str, optional
        The key; else ``BEATRA_API_KEY``. White space around it is dropped.
    base_url : str, optional
        Where the service is; else ``BEATRA_BASE_URL``, else the live service.
    mode : {"auto", "live", "sandbox", "record", "replay", "once", "refresh"}, optional
        Who answers; else ``BEATRA_MODE``, else ``"auto"``: live with a key, otherwise the sandbox. ``"record"`` is
        the same, and writes each exchange to a cassette; ``"replay"`` answers from one, without a key or a network;
        ``"once"`` replays where there is a cassette, and records otherwise; ``"refresh"`` records anew.
    timeout : float or Timeouts, default 60
        Seconds without a sign of life before a call fails; ``Timeouts`` sets each kind apart.
    max_attempts : int, default 4
        How often one call may be sent, the first time included.
    journal : bool, default True
        Whether each call leaves a row in the journal.
    cassette : path, optional
        The folder to record to or replay from; else ``BEATRA_CASSETTE``, else ``beatra.cassette``.
    speed : float, optional
        How fast a replay goes: 1 (default) as it was recorded, 0 without waiting; else ``BEATRA_SPEED``.

    Raises
    ------
    ConfigurationError
        If these settings cannot work; nothing was sent.

    Examples
    --------
    >>> with bn.Client(mode="sandbox") as client:  # doctest: +SKIP
    ...     reply = client.chat("Say hi in five words.")
    """

    _transport: Transport | None = None

    def chat(
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
        """Ask a model, and return its answer.

        Parameters
        ----------
        prompt : str or list of dict
            A text, or messages with ``role`` and ``content``.
        system : str, optional
            How the model shall behave.
        model : str, default "auto"
            A model's id, or ``"auto"`` to let the service choose.
        stream : bool, default False
            Show the answer while it grows; the finished reply is returned all the same.
        schema : type or dict, optional
            What the answer shall be: a pydantic model, a dataclass, ``int``, ``Literal["good", "bad"]``,
            ``list[City]``, …, or a JSON schema. It is parsed into ``Reply.data``.
        temperature : float, optional
            From 0 (steady) to 2 (wild).
        max_tokens : int, optional
            The longest answer, in tokens.
        tools : list of dict, optional
            Tools that the model may call, passed on as they are; its calls are in ``Reply.tool_calls``.
        idempotency_key : str, optional
            A key of your own for this logical call; the service remembers it for 24 h, so the same call
            with the same key is not done or charged twice.
        fallback : {"auto"}, optional
            Let another model answer if the asked one is not available; the reply says so.
        repairs : int, default 1
            How often an answer that does not fit ``schema`` is asked for again, each time charged; 0 for never.
        budget : number or Budget, optional
            What the call may cost: credits, or a ``bn.budget(…)``.
        **options
            Any other field of the API (``top_p``, ``seed``, ``stop``, ``n``, …); what looks misspelt is refused.

        Returns
        -------
        Reply
            The answer, with the model that gave it, its request id and what it cost.

        Raises
        ------
        InvalidInput
            If an argument cannot be sent; nothing was.
        InvalidData
            If the answer does not fit ``schema``; the error holds the reply.
        BudgetExceeded
            If there is no room for it in a budget; nothing was sent.
        IncompleteStream
            If a streamed answer was cut short; the error holds what had arrived.
        APIError
            If the service refuses or fails (see its subclasses).
        ConnectionFailed, Timeout
            If no answer arrived.

        Notes
        -----
        ``POST /chat/completions``, status *Available*. Billed after the call.

        Examples
        --------
        >>> bn.chat("Say hi in five words.")  # doctest: +SKIP
        """
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
                return self._watched(request)
        from beatra_nb.core import resources

        with self._remember(request), self._within(budget):
            transport, context = self._ready()
            reply = transport.run(resources.chat(context, request))
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
    ) -> TextStream:
        """Ask a model, and iterate over its answer as it comes.

        Takes what ``chat`` takes. Nothing is sent before the first iteration.

        Returns
        -------
        TextStream
            Yields pieces of text; ``.reply`` holds the whole at the end.

        Raises
        ------
        IncompleteStream
            While iterating, if the answer is cut short; the error holds what had arrived.

        Examples
        --------
        >>> for piece in bn.stream("Count to three."):  # doctest: +SKIP
        ...     print(piece, end="")
        """
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

    def map(
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
        """Ask about every row of some data, many at once.

        Parameters
        ----------
        data : list, Series, data frame, iterator or async iterator
            The rows: texts or other single values, dicts, named tuples, dataclasses, or the rows of a frame (pandas,
            polars, pyarrow and what else narwhals reads). An iterator is read row by row, as there is room.
        prompt : str, Prompt or callable
            A template (``"Translate {word} into French."``), a ``Prompt``, or a function (not an async one) that
            makes the prompt from a row. With single values, the template's one name stands for the value.
        schema : type or dict, optional
            What each answer shall be: a pydantic model, ``int``, ``Literal["good", "bad"]``, ``list[City]``, …
        system : str, optional
            How the model shall behave; a template, too.
        model : str, default "auto"
            A model's id, or ``"auto"`` to let the service choose.
        max_active : int, default 16
            How many calls there may be under way at once. It is lowered by itself while the service says that it is
            too much, and comes back.
        rate : float or str, optional
            How many calls may begin: a number of them a second, or ``"60/min"``.
        checkpoint : path, optional
            A file that keeps each row as it is finished. The same call with it goes on after a crash, and asks for
            nothing twice.
        budget : number, Budget or callable, optional
            What it may cost: credits, a ``bn.budget(…)``, or a function that is asked before each row. The batch
            stops cleanly when there is no room for another row. What a row may cost is learned from those before:
            the first one goes alone, and ``max_tokens`` keeps the others from being dearer than any before.
        on_error : {"return", "raise"}, default "return"
            Whether a row that fails is marked, or ends the batch; then the same call asks for it anew.
        executor : dask.distributed.Client, optional
            A cluster whose workers do the calls.
        order : {"input", "finished"}, default "input"
            The order of the result; a frame keeps its own.
        progress : bool, default True
            Whether a card shows how far it is, and what it came to.
        dedupe : bool, default False
            Ask identical rows once.
        if_changed : {"refuse", "apart"}, default "refuse"
            What to do with a checkpoint of another prompt, schema, model or setting: refuse it, or keep this run
            apart in the same file.
        temperature, max_tokens, repairs, fallback, **options
            As in ``chat``.

        Returns
        -------
        BatchResult or data frame
            For a frame (or a Series), a frame of the same library with the answers' columns behind its own: ``text``
            or one for each field of the schema, then ``request_id``, ``model``, ``credits``, ``attempts``, ``error``
            and ``retryable``. A name that is taken gets ``_answer`` behind it: names go to the data's own columns
            first, then to these six, then to the schema's fields. For all else a ``BatchResult``.

        Raises
        ------
        InvalidInput
            If something is wrong with the arguments, such as a name in the prompt that no column has; nothing was
            sent.
        CheckpointError
            If the checkpoint is another batch's, in use, or damaged.
        Interrupted
            On an interrupt; what was finished is in its ``.result``. A second interrupt drops what is under way.
        AuthenticationError, InsufficientBalance, …
            If the account can do no more; what was finished is in the error's ``.result``.

        Notes
        -----
        Each row is one logical call with its own idempotency key, which follows from the checkpoint and the row: a
        row that is sent again is not charged twice. A name in the prompt that is missing in one row (None, NaN) is an
        error of that row alone.

        Examples
        --------
        >>> bn.map(["cheese", "bread"], "Translate {word} into French.").texts  # doctest: +SKIP
        """
        return seams.batch(
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
        ).run()

    def models(self) -> ModelList:
        """List the models of this account (``GET /catalog/models``, else ``GET /models``; *Preview*).

        Returns
        -------
        ModelList
            A table that iterates over ``ModelInfo``. The list changes: keep it for short periods only.
        """
        from beatra_nb.core import resources

        return self._run(resources.models)

    def capabilities(self) -> CapabilityList:
        """List what the API can do, and what is *Available*, *Preview* or *Planned*.

        Returns
        -------
        CapabilityList
            A table that iterates over ``Capability`` (``GET /catalog/capabilities``; *Preview*).
        """
        from beatra_nb.core import resources

        return self._run(resources.capabilities)

    def health(self) -> Health:
        """Ask whether the service is well (``GET /health``; *Available*).

        Returns
        -------
        Health
            True in a condition only when it is; degraded service is a result, not an error.

        Raises
        ------
        ConnectionFailed, Timeout
            If nothing answered at all.
        """
        from beatra_nb.core import resources

        return self._run(resources.health)

    def twin(self) -> AsyncClient:
        """Return an ``AsyncClient`` with the same settings."""
        settings = self._settings
        from beatra_nb.core.async_client import AsyncClient

        twin = AsyncClient(
            settings.key,
            base_url=settings.base_url,
            mode=settings.mode if settings.told else "auto",  # so that it, too, says whose answers these are
            timeout=settings.timeouts,
            max_attempts=settings.max_attempts,
            journal=settings.journal,
            cassette=settings.cassette,
            speed=settings.speed,
        )
        twin._share(self)
        return twin

    def close(self) -> None:
        """Close the connections. The sandbox of this process runs on: others may use it."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connected(self) -> Transport:
        base_url, key = self._endpoint()
        with self._lock:
            if self._transport is None or self._transport.base_url != base_url:
                if self._transport is not None:
                    self._transport.close()
                self._transport = Transport(base_url, key, self._tape)
            return self._transport

    def _ready(self) -> tuple[Transport, Context]:
        self._tell_sandbox()
        transport = self._connected()
        return transport, self._context(transport.base_url, transport.key)

    def _run(self, flow: Callable[[Context], Flow[T]]) -> T:
        transport, context = self._ready()
        return transport.run(flow(context))

    def _stream(self, request: ChatRequest) -> TextStream:
        from beatra_nb.core.resources import Growing, stream
        from beatra_nb.core.streams import TextStream

        growing = Growing(request, self._keep)
        transport, context = self._ready()
        return TextStream(Run(transport, stream(context, request, growing)), growing)

    def _watched(self, request: ChatRequest) -> Reply:
        with self._remember(request):
            stream = self._stream(request)
            painter = seams.painter(sandbox=self.uses_sandbox)
            try:
                with stream:
                    for number, piece in enumerate(stream):
                        if number == 0:
                            painter.begin(stream.reply)
                        painter.add(piece)
            except BaseException:
                leave(painter, stream.reply)
                raise
            reply = stream.reply
            painter.finish(reply)
        return reply
