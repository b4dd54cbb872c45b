"""What became of one row: small, because a hundred thousand of them are in memory at once."""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from beatra_nb.core import seams
from beatra_nb.core.errors import InvalidData

if TYPE_CHECKING:
    from datetime import datetime

    from beatra_nb.core.errors import BeatraError
    from beatra_nb.core.reply import Reply

# The account must be mended before any row can succeed: such a no ends the batch, and is no row's last word.
OF_THE_ACCOUNT = frozenset(
    {
        "unauthorized",
        "invalid_api_key",
        "api_key_region_mismatch",
        "tenant_disabled",
        "forbidden",
        "insufficient_balance",
    }
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a row has no answer, as plain data.

    Attributes
    ----------
    type : str
        The error's class, such as ``"RateLimited"``.
    message : str
        What happened.
    code : str or None
        The API's code of it.
    retryable : bool
        Whether the same row may simply be asked again.
    doubtful : bool
        Whether the service may have done the work all the same.
    hint : str or None
        What to do about it.
    """

    type: str
    message: str
    code: str | None = None
    retryable: bool = False
    doubtful: bool = False
    hint: str | None = None

    @classmethod
    def of(cls, error: BeatraError) -> Trouble:
        """Take down an error."""
        code = getattr(error, "code", None)
        # An answer that does not fit has arrived and was paid for: nothing about it is in doubt.
        doubtful = error.doubtful and error.attempts > 0 and not isinstance(error, InvalidData)
        # One that had come before, and could not be mended, lies ready under the row's key: nobody pays for it again.
        doubtful = doubtful or error.paid is not None
        # A row has its key by itself: what a single call's hint says about keys is of no use here.
        hint = None if error.hint is not None and "idempotency_key" in error.hint else error.hint
        return cls(type(error).__name__, error.message, code, error.retryable, doubtful, hint)

    @property
    def final(self) -> bool:
        """Whether asking again would come to the same, with all else as it is."""
        mended = self.code in OF_THE_ACCOUNT or self.type == "BudgetExceeded"
        return not (self.retryable or self.doubtful or mended)

    def to_json(self) -> str:
        """Write it down."""
        return json.dumps([self.type, self.message, self.code, self.retryable, self.doubtful, self.hint])

    @classmethod
    def from_json(cls, text: str) -> Trouble:
        """Read what was written down."""
        return cls(*json.loads(text))


@dataclass(frozen=True, slots=True)
class Outcome(seams.Showable):
    """A row that is done: answered, or failed for good.

    Attributes
    ----------
    position : int
        The row's place in the data.
    text : str or None
        The answer; also the one that did not fit the schema. None where there is none.
    data : object
        The parsed answer, where a schema was asked for.
    request_id, model : str or None
        The service's id of the exchange, and the model that answered.
    credits : Decimal or None
        What was charged for this row; None where the service did not say.
    prompt_tokens, completion_tokens : int
        Counts.
    attempts : int
        How often the row was sent; 0 for one that never was.
    elapsed : float
        Seconds from its first sending to its end, without the time that the whole batch was held; of a row that is
        on a cassette, those that it has.
    error : Trouble or None
        Why there is no answer.
    deduped : bool
        Whether the answer is that of an earlier, identical row: nothing was sent or paid for this one.
    stored : bool
        Whether it was read back from a checkpoint: it was paid for in an earlier run.
    generation : int
        Which question about this row it answers (see ``keys``).
    sandbox : bool
        Whether a sandbox answered.
    recorded : datetime or None
        When its exchange was recorded, where it is on a cassette; None for a row from a checkpoint, which was not
        asked now and is marked as stored.
    cut : bool
        Whether the answer was cut off where it had as many tokens as it may have.
    """

    position: int
    text: str | None = None
    data: Any = None
    request_id: str | None = None
    model: str | None = None
    credits: Decimal | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    attempts: int = 0
    elapsed: float = 0.0
    error: Trouble | None = None
    deduped: bool = False
    stored: bool = False
    generation: int = 0
    sandbox: bool = False
    recorded: datetime | None = None
    cut: bool = False

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.error is None

    @property
    def finished(self) -> bool:
        """Whether a resumed run need not ask again."""
        return self.error is None or self.error.final

    @property
    def next_generation(self) -> int:
        """The generation to ask this row again with: the same one where the answer may lie ready under its key."""
        return self.generation if self.error is None or self.error.doubtful else self.generation + 1

    @property
    def doubtful(self) -> bool:
        """Whether there may be an answer all the same, paid and ready under the row's key."""
        return self.error is not None and self.error.doubtful

    def still_in_doubt(self) -> Outcome:
        """Return what became of a row that was in doubt before: a mere refusal does not say what came of it then."""
        if self.error is None or self.error.final or self.error.doubtful:
            return self
        return replace(self, error=replace(self.error, doubtful=True))

    @classmethod
    def of_reply(cls, position: int, generation: int, reply: Reply) -> Outcome:
        """Take down an answer."""
        usage = reply.usage
        return cls(
            position,
            reply.text,
            reply.data,
            reply.request_id,
            sys.intern(reply.model),  # one text for a hundred thousand rows
            usage.credits if usage else None,
            usage.prompt_tokens if usage else 0,
            usage.completion_tokens if usage else 0,
            reply.attempts,
            reply.elapsed,
            generation=generation,
            sandbox=reply.sandbox,
            recorded=reply.recorded,
            cut=reply.finish_reason == "length",
        )

    @classmethod
    def of_error(cls, position: int, generation: int, error: BeatraError, elapsed: float = 0.0) -> Outcome:
        """Take down a failure, and the answer that it carries: it was paid for."""
        reply: Reply | None = getattr(error, "reply", None) or error.paid
        usage = reply.usage if reply is not None else None
        # Where there is a tape, its times are shown: a replay must show the same.
        recorded, elapsed = error.taped or (None, elapsed)
        return cls(
            position,
            reply.text if reply is not None else None,
            None,
            error.request_id,
            sys.intern(reply.model) if reply is not None else None,
            usage.credits if usage else None,
            usage.prompt_tokens if usage else 0,
            usage.completion_tokens if usage else 0,
            error.attempts,
            elapsed,
            Trouble.of(error),
            generation=generation,
            sandbox=reply is not None and reply.sandbox,
            recorded=recorded,
        )

    def for_follower(self, position: int) -> Outcome:
        """Return the same for an identical row, which costs nothing."""
        return Outcome(
            position,
            self.text,
            self.data,
            self.request_id,
            self.model,
            None if self.credits is None else Decimal(0),
            error=self.error,
            deduped=True,
            stored=self.stored,
            sandbox=self.sandbox,
            recorded=self.recorded,
            cut=self.cut,
        )


@functools.lru_cache(maxsize=256)
def money(text: str | None) -> Decimal | None:
    """Read an amount that was written down; most rows of a batch cost one of a few."""
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        return None
