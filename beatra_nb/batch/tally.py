"""What became of a batch as a whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beatra_nb.batch.outcome import Outcome, Trouble


@dataclass(slots=True)
class Tally:
    """What became of a batch as a whole.

    Attributes
    ----------
    run_id : str
        The run's name, which its keys follow from.
    done, ok : int
        Rows that were reported, and those of them with an answer.
    failed : Counter
        The others, by the API's code or the error's class.
    stored, deduped : int
        Rows that cost nothing now: read back from the checkpoint, or the same as an earlier one.
    sent : int
        Requests that left, every attempt counted.
    credits : Decimal
        What this run was charged, as far as the service said.
    prompt_tokens, completion_tokens : int
        What this run used.
    stopped : str or None
        Why it ended before the rows did: ``"interrupted"``, ``"budget"``, ``"account"``, ``"unreachable"``,
        ``"asked to wait"``, or what the caller said; None where every row was done.
    trouble : Trouble or None
        The failure that it stopped for.
    elapsed : float
        Seconds.
    """

    run_id: str
    done: int = 0
    ok: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    stored: int = 0
    deduped: int = 0
    sent: int = 0
    credits: Decimal = Decimal(0)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    stopped: str | None = None
    trouble: Trouble | None = None
    elapsed: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count a row."""
        self.done += 1
        if outcome.error is None:
            self.ok += 1
        else:
            self.failed[outcome.error.code or outcome.error.type] += 1
        if outcome.deduped:
            self.deduped += 1
        if outcome.stored:
            self.stored += 1
        elif not outcome.deduped:
            self.sent += outcome.attempts
            self.credits += outcome.credits or 0
            self.prompt_tokens += outcome.prompt_tokens
            self.completion_tokens += outcome.completion_tokens
