"""``Chat``: a conversation that records a turn only when it is whole."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatra_nb.core import budget as budgets
from beatra_nb.core import seams
from beatra_nb.core.errors import (
    APIError,
    BudgetExceeded,
    ConnectionFailed,
    IncompleteStream,
    InvalidInput,
    Timeout,
)
from beatra_nb.core.reply import Reply, Usage
from beatra_nb.core.request import ChatRequest, Prompt, messages_of

if TYPE_CHECKING:
    import os

    from beatra_nb.core.async_client import AsyncClient
    from beatra_nb.core.budget import Budget, Check, Number
    from beatra_nb.core.client import Client


KEPT = ("system", "model", "title", "defaults", "_turns", "_unsettled")  # what a pickle holds


@dataclass(frozen=True, slots=True)
class Turn(seams.Showable):
    """One exchange: what was said, and the whole answer to it.

    Attributes
    ----------
    prompt : str
        What was said, as text.
    reply : Reply
        The answer.
    sent : tuple of dict
        The messages that this turn added, as they went out.
    """

    prompt: str
    reply: Reply
    sent: tuple[dict[str, Any], ...] = ()

    def messages(self) -> list[dict[str, Any]]:
        """Return the turn as messages for the API."""
        answer: dict[str, Any] = {"role": "assistant", "content": self.reply.text}
        if self.reply.tool_calls:
            answer["content"] = self.reply.text or None
            answer["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in self.reply.tool_calls
            ]
        return [*(dict(message) for message in self.sent), answer]


class Chat(seams.Showable):
    """A conversation.

    A turn is recorded when its answer is whole, and not before: a cell that failed can simply be run again. If it
    failed without an answer (a time-out, a cut connection), running it again with the same words uses the same
    idempotency key, so that the service answers what it may have finished meanwhile instead of charging twice.

    Parameters
    ----------
    system : str, optional
        How the model shall behave, in every turn.
    model : str, default "auto"
        Which model answers.
    title : str, optional
        What to call the conversation in views and exports.
    client : Client, optional
        Who sends; else the default client.
    budget : number, Budget or callable, optional
        What all turns together may cost: credits, a ``bn.budget(…)``, or a check of yours.
    **defaults
        What every turn shall be sent with (``temperature``, ``max_tokens``, …).

    Examples
    --------
    >>> chat = bn.Chat("You answer in one short sentence.")  # doctest: +SKIP
    >>> chat.send("What is a notebook?")  # doctest: +SKIP
    >>> chat.send("And a kernel?", stream=True)  # doctest: +SKIP
    """

    _model: str = "auto"  # these three also for a repr in a traceback of its own making
    title: str | None = None
    _turns: tuple[Turn, ...] = ()

    def __init__(
        self,
        system: str | None = None,
        *,
        model: str = "auto",
        title: str | None = None,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
        budget: Budget | Number | Check | None = None,
        **defaults: Any,  # noqa: ANN401
    ) -> None:
        if system is not None and not isinstance(system, str):
            raise InvalidInput(f"system must be text, not {type(system).__name__}.")
        if "stream" in defaults:
            raise InvalidInput("stream cannot be a default of a Chat.", hint="Pass stream=True to send().")
        self._system = system
        self._model = model
        self.title = title
        self.defaults = defaults
        self._client = client
        self._async_client = async_client
        self.budget = None if budget is None else budgets.of(budget)
        self._turns = ()
        self._busy = threading.Lock()
        self._asking: str | None = None
        self._watchers: dict[Callable[[], object], None] = {}
        self._unsettled: dict[str, str] = {}  # fingerprint → key of each call whose end is unknown

    # ── looking ──

    @property
    def system(self) -> str | None:
        """How the model shall behave, from the next turn on."""
        return self._system

    @system.setter
    def system(self, system: str | None) -> None:
        self._system = system
        self._changed()

    @property
    def model(self) -> str:
        """Which model answers, from the next turn on."""
        return self._model

    @model.setter
    def model(self, model: str) -> None:
        self._model = model
        self._changed()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The whole turns so far, oldest first."""
        return self._turns

    @property
    def usage(self) -> Usage:
        """The sum over all turns."""
        return reduce(Usage.__add__, (turn.reply.usage for turn in self._turns if turn.reply.usage), Usage())

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation as messages for the API."""
        return self._history(self._turns)

    def __len__(self) -> int:
        return len(self._turns)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns)

    def __repr__(self) -> str:
        name = f"{self.title!r}, " if self.title else ""
        return f"Chat({name}{len(self._turns)} turns, model={self.model!r})"

    @property
    def asking(self) -> str | None:
        """What has been said and not answered yet; None while nothing is under way."""
        return self._asking

    def watch(self, changed: Callable[[], object]) -> Callable[[], None]:
        """Have a function called whenever the conversation changes: its turns, what is under way, model or system.

        Parameters
        ----------
        changed : callable
            Called without arguments, in the thread that made the change; what it raises is ignored.

        Returns
        -------
        callable
            Call it to watch no longer.
        """
        self._watchers[changed] = None
        return lambda: self._watchers.pop(changed, None)

    # ── talking ──

    def send(self, prompt: Prompt, *, stream: bool = False, **options: Any) -> Reply:  # noqa: ANN401
        """Say something, and return the answer.

        Parameters
        ----------
        prompt : str or list of dict
            What to say; messages (such as the results of tools) are added as they are.
        stream : bool, default False
            Show the answer while it grows.
        **options
            What ``bn.chat`` takes, for this turn alone.

        Returns
        -------
        Reply
            The answer; the turn is recorded.

        Raises
        ------
        BeatraError
            What ``bn.chat`` raises; the conversation stays as it was.
        """
        return self._say(self._turns, prompt, stream, options)

    async def asend(
        self,
        prompt: Prompt,
        *,
        stream: bool = False,
        on_text: Callable[[str], object] | None = None,
        client: AsyncClient | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Reply:
        """Say something, and return the answer: ``send``, awaited.

        Parameters
        ----------
        prompt : str or list of dict
            What to say.
        stream : bool, default False
            Show the answer while it grows.
        on_text : callable, optional
            Called with each piece of the answer as it comes; nothing is shown then. ``aregenerate`` and ``aedit``
            take it as well.
        client : AsyncClient, optional
            Who sends this turn, instead of the conversation's own.
        **options
            What ``bn.chat`` takes, for this turn alone.
        """
        return await self._asay(self._turns, prompt, stream, options, on_text=on_text, client=client)

    def regenerate(self, *, stream: bool = False, **options: Any) -> Reply:  # noqa: ANN401
        """Ask for another answer to the last turn; the old one is replaced once the new one is whole."""
        last = self._turn(-1)
        return self._say(self._turns[:-1], _again(last), stream, options, last.prompt)

    async def aregenerate(
        self,
        *,
        stream: bool = False,
        on_text: Callable[[str], object] | None = None,
        client: AsyncClient | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Reply:
        """Ask for another answer to the last turn: ``regenerate``, awaited."""
        last, before = self._turn(-1), self._turns[:-1]
        return await self._asay(
            before, _again(last), stream, options, last.prompt, on_text=on_text, client=client
        )

    def edit(self, turn: int, text: str, *, stream: bool = False, **options: Any) -> Reply:  # noqa: ANN401
        """Say a turn differently, and go on from there.

        The turn and all after it are replaced once the new answer is whole. ``fork()`` first to keep both ways.

        Parameters
        ----------
        turn : int
            Its position in ``turns``; negative ones count from the end.
        text : str
            What to say instead.
        """
        return self._say(self._turns[: self._position(turn)], text, stream, options)

    async def aedit(
        self,
        turn: int,
        text: str,
        *,
        stream: bool = False,
        on_text: Callable[[str], object] | None = None,
        client: AsyncClient | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Reply:
        """Say a turn differently: ``edit``, awaited."""
        before = self._turns[: self._position(turn)]
        return await self._asay(before, text, stream, options, on_text=on_text, client=client)

    def fork(self, turn: int | None = None) -> Chat:
        """Return a conversation of its own that shares the turns so far.

        Parameters
        ----------
        turn : int, optional
            The last turn to share; all of them if left out.
        """
        end = len(self._turns) if turn is None else self._position(turn) + 1
        copy = Chat(
            self.system,
            model=self.model,
            title=self.title,
            client=self._client,
            async_client=self._async_client,
            budget=self.budget,  # the same one: a fork must not spend it twice
            **self.defaults,
        )
        copy._turns = self._turns[:end]
        copy._unsettled = dict(self._unsettled)
        return copy

    # ── keeping ──

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the conversation to a JSON file that ``Chat.load`` reads; return its path."""
        from beatra_nb.core import archive

        return archive.save(self, path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        client: Client | None = None,
        async_client: AsyncClient | None = None,
    ) -> Chat:
        """Read a conversation that ``save`` wrote.

        Raises
        ------
        InvalidInput
            If the file is missing or is not one.
        """
        from beatra_nb.core import archive

        return archive.load(path, client=client, async_client=async_client)

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write the conversation for people to read; the suffix says how: ``.md``, ``.html`` or ``.ipynb``.

        Returns
        -------
        pathlib.Path
            The file; the page needs nothing from outside.

        Raises
        ------
        InvalidInput
            For another suffix.
        """
        from beatra_nb.core import archive

        return archive.export(self, path)

    def __copy__(self) -> Chat:
        return self.fork()

    def __deepcopy__(self, memo: dict[int, Any]) -> Chat:
        return self.fork()  # turns are never changed, so both may hold them; the client stays the same one

    def __getstate__(self) -> dict[str, Any]:
        if self._client is not None or self._async_client is not None:
            # Without its client it would go on with the default one: another account, perhaps.
            raise TypeError(
                "A conversation with a client of its own is never pickled: use save(), and "
                "Chat.load(path, client=…)."
            )
        if self.budget is not None:
            raise TypeError(
                "A conversation with a budget is never pickled: its copy could spend it once more."
            )
        return {name: getattr(self, name) for name in KEPT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["system"], model=state["model"], title=state["title"], **state["defaults"])  # type: ignore[misc]
        self._turns, self._unsettled = state["_turns"], state["_unsettled"]

    # ── how a turn is made ──

    def _say(
        self, before: tuple[Turn, ...], prompt: Prompt, stream: bool, options: dict[str, Any], label: str = ""
    ) -> Reply:
        if self._client is None and self._async_client is not None:
            raise InvalidInput(
                "This conversation has an async client only.", hint="Use asend(), or pass client= to Chat()."
            )
        client = self._client or seams.default_client()
        with self._turn_of(before, prompt, stream, options, label) as turn:
            turn.reply = client.chat(turn.messages, stream=stream, **turn.options)
        return turn.reply

    async def _asay(
        self,
        before: tuple[Turn, ...],
        prompt: Prompt,
        stream: bool,
        options: dict[str, Any],
        label: str = "",
        *,
        on_text: Callable[[str], object] | None = None,
        client: AsyncClient | None = None,
    ) -> Reply:
        if client is None:
            if self._async_client is None and self._client is not None:
                self._async_client = self._client.twin()  # the same account, never another one by default
            client = self._async_client or seams.default_async_client()
        with self._turn_of(before, prompt, stream or on_text is not None, options, label) as turn:
            if on_text is None:
                turn.reply = await client.chat(turn.messages, stream=stream, **turn.options)
            else:
                async with client.stream(turn.messages, **turn.options) as growing:
                    async for piece in growing:
                        on_text(piece)
                turn.reply = growing.reply
        return turn.reply

    @contextmanager
    def _turn_of(
        self, before: tuple[Turn, ...], prompt: Prompt, stream: bool, options: dict[str, Any], label: str
    ) -> Iterator[_Pending]:
        """Prepare a turn, and record it only if the block sets a whole reply."""
        sent = messages_of(prompt)
        merged = {"model": self.model, **self.defaults, **options}
        budget = merged.pop("budget", None)  # of this turn alone
        messages = [*self._history(before), *sent]
        if not self._busy.acquire(blocking=False):
            raise InvalidInput(
                "This conversation is still waiting for an answer.",
                hint="Wait for it, or talk in a fork() meanwhile.",
            )
        try:
            # What is really sent decides whether it is the same call; this also checks it all beforehand.
            request = ChatRequest.of(messages, **merged)
            told = repr((stream, request.fallback)).encode()
            fingerprint = hashlib.sha256(request.json + told).hexdigest()
            if merged.get("idempotency_key") is None:
                merged["idempotency_key"] = self._unsettled.get(fingerprint, request.key)
            pending = _Pending(messages, merged)
            text = label or (prompt if isinstance(prompt, str) else _words(sent))
            self._asking = text
            self._changed()
            try:
                with budgets.within(self.budget), budgets.within(budget):
                    yield pending
            except BudgetExceeded:
                raise  # nothing was sent: what is known of an earlier sending stays
            except BaseException as error:
                self._unsettled.pop(fingerprint, None)
                if end_unknown(error):
                    self._unsettled[fingerprint] = merged["idempotency_key"]
                raise
            self._unsettled.pop(fingerprint, None)
            self._turns = (*before, Turn(text, pending.reply, tuple(sent)))
        finally:
            self._asking = None
            self._busy.release()
            self._changed()

    def _changed(self) -> None:
        for changed in list(self._watchers):
            with suppress(Exception):
                changed()

    def _history(self, turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
        head = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*head, *(message for turn in turns for message in turn.messages())]

    def _position(self, turn: int) -> int:
        count = len(self._turns)
        if isinstance(turn, bool) or not isinstance(turn, int) or not -count <= turn < count:
            raise InvalidInput(
                f"There is no turn {turn!r}.",
                hint=f"Turns go from 0 to {count - 1}." if count else "The conversation is empty.",
            )
        return turn % count

    def _turn(self, turn: int) -> Turn:
        return self._turns[self._position(turn)]


class _Pending:
    """A turn under way."""

    reply: Reply

    def __init__(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> None:
        self.messages = messages
        self.options = options


def end_unknown(error: BaseException) -> bool:
    """Whether the service may have finished the call, although its answer did not arrive whole."""
    if isinstance(error, APIError):
        return error.code is None  # something in between answered, not the service
    return not isinstance(error, Exception) or isinstance(
        error, Timeout | ConnectionFailed | IncompleteStream
    )


def _again(turn: Turn) -> Prompt:
    return [dict(message) for message in turn.sent]


def _words(messages: list[dict[str, Any]]) -> str:
    texts = (message.get("content") for message in messages)
    return "\n\n".join(text for text in texts if isinstance(text, str))
