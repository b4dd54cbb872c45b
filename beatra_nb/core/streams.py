"""What ``bn.stream`` returns: an iterator over the text that remembers the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beatra_nb.core import budget as budgets
from beatra_nb.core.errors import Interrupted
from beatra_nb.core.seams import Showable

if TYPE_CHECKING:
    from types import TracebackType

    from beatra_nb.core.reply import Reply
    from beatra_nb.core.resources import Growing
    from beatra_nb.core.transport import AsyncRun, Run


class _Stream(Showable):
    """What both kinds of stream share."""

    def __init__(self, growing: Growing) -> None:
        self._growing = growing
        # Nothing is sent before the first iteration, which may come after the block that the call was made in.
        self._budgets = budgets.active()

    @property
    def reply(self) -> Reply:
        """The answer: whole once the iteration has ended; before, what has arrived (``complete=False``)."""
        return self._growing.reply()

    def __repr__(self) -> str:
        reply = self.reply
        state = "whole" if reply.complete else (reply.cut_by or "growing")
        return f"{type(self).__name__}({len(reply.text)} characters, {state})"


class TextStream(_Stream):
    """An answer as it comes: iterate over it for pieces of text.

    Use it in a ``with`` block, or iterate to the end; leaving early closes the connection, which stops the model.

    Examples
    --------
    >>> with bn.stream("Count to three.") as stream:  # doctest: +SKIP
    ...     for piece in stream:
    ...         print(piece, end="")
    >>> stream.reply.usage  # doctest: +SKIP
    """

    def __init__(self, run: Run[Reply], growing: Growing) -> None:
        super().__init__(growing)
        self._run = run

    def __iter__(self) -> TextStream:
        return self

    def __next__(self) -> str:
        try:
            if self._budgets:
                with budgets.holding(self._budgets):
                    return next(self._run)
            return next(self._run)
        except KeyboardInterrupt:
            pass  # raised anew below, without the frames it came through
        reply = self.reply
        raise interrupted(reply, reply.idempotency_key)

    def __enter__(self) -> TextStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the answer where it is; what has arrived stays in ``.reply``."""
        self._run.close()


class AsyncTextStream(_Stream):
    """An answer as it comes, awaited: ``async for`` over it for pieces of text."""

    def __init__(self, run: AsyncRun[Reply], growing: Growing) -> None:
        super().__init__(growing)
        self._run = run

    def __aiter__(self) -> AsyncTextStream:
        return self

    async def __anext__(self) -> str:
        if self._budgets:
            with budgets.holding(self._budgets):
                return await anext(self._run)
        return await anext(self._run)

    async def __aenter__(self) -> AsyncTextStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the answer where it is; what has arrived stays in ``.reply``."""
        await self._run.aclose()


def interrupted(reply: Reply | None, key: str | None) -> Interrupted:
    """Make the interrupt that a user sees: short, and honest about what may have been spent."""
    if reply is not None and reply.complete:
        return Interrupted(
            "You stopped the call just when its answer was whole.",
            reply=reply,
            hint="It is in the error's .reply, and in bn.last() or your client's .last.",
            idempotency_key=key,
        )
    if reply is not None and reply.text:
        return Interrupted(
            f"You stopped the answer after {len(reply.text)} characters.",
            reply=reply,
            hint="What had arrived is in bn.last() (or your client's .last), marked complete=False.",
            idempotency_key=key,
        )
    return Interrupted(
        "You stopped the call before an answer arrived; the service may have finished it all the same.",
        reply=reply,
        hint=f"To get that answer without paying twice, call again with idempotency_key={key!r} within 24 h."
        if key
        else None,
        idempotency_key=key,
    )
