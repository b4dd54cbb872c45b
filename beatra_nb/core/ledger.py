"""Asks the budgets for leave before a call, and writes its row to the journal when it ends, however it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beatra_nb.core import claims, seams
from beatra_nb.core.errors import APIError, BeatraError, ConfigurationError, IncompleteStream, InvalidInput

if TYPE_CHECKING:
    from decimal import Decimal
    from types import TracebackType

    from beatra_nb.core.claims import Claim
    from beatra_nb.core.flow import Call, Context, Sent
    from beatra_nb.core.reply import Reply
    from beatra_nb.core.task import BaseTask


class Ledger:
    """Context manager around a call.

    Attributes
    ----------
    reply : Reply or None
        Set by the flow as soon as there is one, whole or partial.
    task : BaseTask or None
        The task that the call is about.
    credits : Decimal or None
        What the call cost where there is no reply to say so; a refund is negative, so that a sum is what was paid.
    """

    __slots__ = (
        "_asked",
        "_call",
        "_claim",
        "_context",
        "_error",
        "_sent",
        "_started",
        "_wall",
        "credits",
        "reply",
        "task",
    )

    def __init__(self, context: Context, call: Call, asked: str | None = None) -> None:
        self._context = context
        self._call = call
        self._asked = asked
        self._claim: Claim | None = None
        self._sent: Sent | None = None
        self._error: BaseException | None = None
        self._started = context.now()
        self._wall = context.wall()
        self.reply: Reply | None = None
        self.task: BaseTask | None = None
        self.credits: Decimal | None = None

    def sent(self, sent: Sent) -> None:
        """Take note of the answer's head."""
        self._sent = sent

    def failed(self, error: BaseException) -> None:
        """Take note of an error that the flow turned into a result."""
        self._error = error

    def elapsed(self) -> float:
        """Return the seconds since the call began; of a recorded one, those that the tape has."""
        reel = self._sent.answer.reel if self._sent else None
        if self._sent is not None and reel is not None:
            return round(self._sent.before + reel.offset, 3)
        return self._context.now() - self._started

    def __enter__(self) -> Ledger:
        self._claim = claims.claim(self._context, self._call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, BeatraError) and error.idempotency_key is None:
            # It was raised over an answer that had arrived: the call is known by its key all the same.
            error.idempotency_key = self._call.key
            error.attempts = error.attempts or (self._sent.attempts if self._sent else 0)
        if isinstance(error, BeatraError) and error.taped is None and self._sent and self._sent.answer.reel:
            error.taped = (self._sent.answer.reel.at, self.elapsed())
        self._settle(error or self._error)
        if self._context.journal is not None:
            self._write(error or self._error)

    def _settle(self, error: BaseException | None) -> None:
        """Tell the budgets what the call came to."""
        reply, claim, task = self.reply, self._claim, self.task
        usage = reply.usage if reply else None
        if reply is not None and usage is not None:
            place = self._context.base_url
            self._context.prices.learn(place, self._asked or reply.model, reply.model, usage)
        if task is not None and task.billing.refunded:
            claims.refunded(task)
        if claim is None:
            return
        if reply is not None and (usage is not None or error is None):
            claim.chat(reply)
        elif error is None and task is not None:
            claim.task(task, self.credits)
        elif isinstance(error, BeatraError) and (
            not error.doubtful or isinstance(error, InvalidInput | ConfigurationError)
        ):
            claim.nothing()  # the service did not do the work, or was never asked
        else:
            claim.maybe()

    def _write(self, error: BaseException | None) -> None:
        reply, sent, task = self.reply, self._sent, self.task
        usage = reply.usage if reply else None
        self._context.journal.record(  # type: ignore[union-attr]
            seams.entry(
                self._wall,
                verb=self._call.verb,
                status=_status(error, reply),
                asked_model=self._asked,
                model=reply.model if reply else (task and task.resolved_model) or None,
                request_id=sent.answer.request_id if sent else getattr(error, "request_id", None),
                idempotency_key=self._call.key,
                attempts=sent.attempts if sent else getattr(error, "attempts", 1),
                http_status=sent.answer.status if sent else getattr(error, "status", None),
                prompt_tokens=usage.prompt_tokens if usage else None,
                completion_tokens=usage.completion_tokens if usage else None,
                total_tokens=usage.total_tokens if usage else None,
                credits=usage.credits if usage else self.credits,
                task_id=(task and task.id) or None,
                prompt=self._call.label,
                duration=self._context.now() - self._started,
                error_code=_code(error),
                error_type=type(error).__name__ if error is not None else None,
                base_url=self._context.base_url,
                sandbox=bool(sent and sent.answer.sandbox),
            )
        )


def _status(error: BaseException | None, reply: Reply | None) -> str:
    if error is None:
        return "ok"
    if isinstance(error, IncompleteStream):
        return "incomplete"
    if isinstance(error, Exception):
        return "error"
    # An interrupt, a cancelled coroutine, or a stream that nobody read to its end.
    return "interrupted"


def _code(error: BaseException | None) -> str | None:
    if isinstance(error, IncompleteStream):
        error = error.cause
    return error.code if isinstance(error, APIError) else None
