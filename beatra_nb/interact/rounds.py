"""What came of a comparison: rounds of answers, who was voted for, and the same as a frame."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from beatra_nb.core.conversation import end_unknown
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.frames import load_pandas
from beatra_nb.core.policy import new_key

if TYPE_CHECKING:
    import pandas

    from beatra_nb.core.errors import BeatraError
    from beatra_nb.core.reply import Reply
    from beatra_nb.core.request import ChatRequest
    from beatra_nb.interact.lanes import Lane

LETTERS = string.ascii_uppercase
_COLUMNS = {
    "label": "string",
    "asked": "string",
    "answered": "string",
    "text": "string",
    "seconds": "Float64",
    "first_seconds": "Float64",
    "tokens": "Int64",
    "credits": "Float64",
    "finish_reason": "string",
    "request_id": "string",
    "error": "string",
    "votes": "Int64",
}


@dataclass(slots=True)
class Outcome:
    """What one lane came to in one round.

    Attributes
    ----------
    label : str
        The lane's name; in a blind round that has not been revealed, its letter.
    lane : Lane or None
        Its settings; None while they are hidden.
    reply : Reply or None
        The answer, whole or cut short; None where nothing had come.
    first : float or None
        Seconds until the first words.
    error : BeatraError or None
        Why there is no whole answer.
    votes : int
        How many voted for it.
    state : str
        ``"waiting"``, ``"writing"``, ``"done"``, ``"stopped"`` or ``"failed"``.
    """

    label: str
    lane: Lane | None
    reply: Reply | None = None
    first: float | None = None
    error: BeatraError | None = None
    votes: int = 0
    state: str = "waiting"

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.state not in ("waiting", "writing")


@dataclass(slots=True)
class Round:
    """One prompt, asked of all lanes.

    Attributes
    ----------
    number : int
        From 1.
    prompt : str
        What was asked.
    blind : bool
        Whether it was asked blind.
    revealed : bool
        Whether the page may know who is who.
    outcomes : list of Outcome
        What came of it, in the order it is shown.
    system : str
        The system text of all lanes; empty for none.
    """

    number: int
    prompt: str
    blind: bool
    outcomes: list[Outcome]
    revealed: bool = True
    requests: list[ChatRequest] = field(default_factory=list, repr=False)
    system: str = ""

    def letter(self, at: int) -> str:
        """Return the letter under which an answer is shown while its author is hidden."""
        return LETTERS[at]

    def find(self, which: object) -> int:
        """Return the position of an answer by its letter (of a blind round), its label, or its number from 1."""
        names = [self.letter(at) if self.blind else "" for at in range(len(self.outcomes))]
        labels = [each.label if self.revealed else "" for each in self.outcomes]
        if isinstance(which, int) and not isinstance(which, bool) and 1 <= which <= len(names):
            return which - 1
        if isinstance(which, str) and which:
            if which.upper() in names:
                return names.index(which.upper())
            if which in labels:
                return labels.index(which)
        known = ", ".join(names if self.blind else labels)
        raise InvalidInput(f"There is no answer {which!r:.60}.", hint=f"There are: {known}.")

    def shown(self) -> Round:
        """Return what may be known of it: the round itself, or, before it is revealed, without who is who."""
        if self.revealed:
            return self
        hidden = [
            replace(each, label=self.letter(at), lane=None, reply=_masked(each.reply), first=None, error=None)
            for at, each in enumerate(self.outcomes)
        ]
        return replace(self, outcomes=hidden, requests=[])

    def to_frame(self) -> pandas.DataFrame:
        """Return the answers as a DataFrame, a row each; what is hidden is missing."""
        shown = self.shown()
        return frame(shown.outcomes, hidden=not self.revealed)


def _masked(reply: Reply | None) -> Reply | None:
    """Return an answer without what would tell its author: names, ids, times, prices."""
    if reply is None:
        return None
    return reply.with_(
        model="",
        request_id=None,
        usage=None,
        elapsed=0.0,
        attempts=1,
        asked_model="auto",
        fallback=False,
        idempotency_key=None,
        cut_by=None,
        raw={},
    )


def again(request: ChatRequest, outcome: Outcome) -> ChatRequest:
    """Return the call that is sent when a lane is tried again.

    It is the same call, under the same key, where the service may have finished it: then nothing is paid twice. After
    the service itself has refused it, or has answered, it is a new one.
    """
    if outcome.state == "stopped" or (outcome.error is not None and end_unknown(outcome.error)):
        return request
    key = new_key()
    return replace(request, key=key, wire_key=key)


def frame(outcomes: Sequence[Outcome], *, hidden: bool = False) -> pandas.DataFrame:
    """Make a DataFrame of outcomes, with types that know what is missing."""
    pd = load_pandas()
    rows = [_row(each, hidden) for each in outcomes]
    made: pandas.DataFrame = pd.DataFrame(
        {name: pd.Series([row[name] for row in rows], dtype=kind) for name, kind in _COLUMNS.items()}
    )
    return made


def _row(outcome: Outcome, hidden: bool) -> dict[str, Any]:
    reply, error = outcome.reply, outcome.error
    usage = None if reply is None else reply.usage
    credits = None if usage is None else usage.credits
    return {
        "label": outcome.label,
        "asked": None if outcome.lane is None else outcome.lane.model,
        "answered": (reply.model or None) if reply is not None else None,
        "text": None if reply is None else reply.text,
        "seconds": None if reply is None or hidden else max(reply.elapsed, outcome.first or 0.0),
        "first_seconds": outcome.first,
        "tokens": None if usage is None else usage.completion_tokens,
        "credits": None if credits is None else float(credits),
        "finish_reason": None if reply is None else reply.finish_reason,
        "request_id": None if reply is None else reply.request_id,
        "error": None if error is None else error.message,
        "votes": outcome.votes,
    }
