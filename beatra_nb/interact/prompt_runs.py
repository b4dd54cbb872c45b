"""What came of a prompt: answers to rows, gathered by the version of the prompt that asked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, overload

from beatra_nb.core import seams
from beatra_nb.core.errors import BeatraError, InvalidInput
from beatra_nb.core.frames import load_pandas
from beatra_nb.core.prompt import Prompt
from beatra_nb.core.seams import Showable

if TYPE_CHECKING:
    import pandas

    from beatra_nb.core.reply import Reply

SCORES = (1, 2, 3, 4, 5)
FACTS = ("model", "request_id", "tokens", "credits", "seconds", "finish_reason", "error", "score", "version")
# Ends of an answer that is not all that the model would have said.
CUT = {"length": "cut off at max tokens", "content_filter": "cut off by the content filter"}
# What is written for people alone makes no version.
_SENT = tuple(each.name for each in fields(Prompt) if each.init and each.name not in ("name", "notes"))


@dataclass(slots=True)
class Answer:
    """What came of asking for one row.

    Attributes
    ----------
    row : dict
        The values that were sent.
    version : int
        The version of the prompt that asked.
    reply : Reply or None
        The answer.
    error : BaseException or None
        What went wrong instead.
    seconds : float
        How long it took.
    score : int or None
        From 1 to 5, as you judged it.
    """

    row: Mapping[str, Any]
    version: int
    reply: Reply | None = None
    error: BaseException | None = None
    seconds: float = 0.0
    score: int | None = None
    row_id: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.error is None and self.reply is not None

    @property
    def tokens(self) -> int | None:
        """How many tokens it took, where the service said."""
        usage = self.reply.usage if self.reply is not None else None
        return usage.total_tokens if usage is not None else None

    @property
    def credits(self) -> Decimal | None:
        """What it cost, where the service said."""
        usage = self.reply.usage if self.reply is not None else None
        return usage.credits if usage is not None else None

    @property
    def request_id(self) -> str | None:
        """The service's id of the exchange, answered or failed."""
        return getattr(self.reply if self.reply is not None else self.error, "request_id", None)

    @property
    def finish_reason(self) -> str | None:
        """Why the answer ended there; ``"length"`` says that it was cut off."""
        return self.reply.finish_reason if self.reply is not None else None

    @property
    def cut(self) -> str:
        """How the answer was cut off, in words; empty where it is whole."""
        return CUT.get(self.finish_reason or "", "")

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Whether it was given to these values; what is missing counts as not there."""
        return _there(self.row) == _there(row)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a parsed answer; empty where it is text."""
        data = self.reply.data if self.reply is not None else None
        return {str(name): value for name, value in data.items()} if isinstance(data, Mapping) else {}


@dataclass(slots=True)
class Version:
    """A prompt as it was when it was run.

    Attributes
    ----------
    number : int
        1 for the first.
    prompt : Prompt
        The prompt.
    answers : list of Answer
        Everything that was asked with it, oldest first; ``add`` takes one more.
    notes : str
        What you noted about it.
    time : float
        When it was first run, in seconds since the epoch.
    """

    number: int
    prompt: Prompt
    answers: list[Answer] = field(default_factory=list)
    notes: str = ""
    time: float = field(default_factory=time.time)
    # Running sums: the page is told of a version after each of thousands of answers.
    failed: int = field(default=0, init=False, repr=False, compare=False)
    credits: Decimal | None = field(default=None, init=False, repr=False, compare=False)
    _scores: dict[int, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _latest: dict[int, Answer] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given, self.answers = self.answers, []
        for each in given:
            self.add(each)

    @property
    def score(self) -> float | None:
        """The mean of the scores that were given; None before the first."""
        return sum(self._scores.values()) / len(self._scores) if self._scores else None

    @property
    def scored(self) -> int:
        """How many answers have a score."""
        return len(self._scores)

    def add(self, answer: Answer) -> None:
        """Take what came of a row."""
        self.answers.append(answer)
        self.failed += not answer.ok
        if answer.credits is not None:
            self.credits = (self.credits or Decimal(0)) + answer.credits
        before = self._latest.get(answer.row_id)
        if answer.ok or before is None or not before.ok:
            self._latest[answer.row_id] = answer
        self.rate(answer, answer.score)

    def rate(self, answer: Answer, score: int | None) -> None:
        """Score one of its answers."""
        answer.score = score
        self._scores.pop(id(answer), None)
        if score is not None:
            self._scores[id(answer)] = score

    def latest(self, row_id: int) -> Answer | None:
        """Return the last thing that came for a row, an answer rather than an error."""
        return self._latest.get(row_id)


class Results(Showable, Sequence[Answer]):
    """The answers of one run, in the order of the rows: shows itself as a table.

    Examples
    --------
    >>> results = builder.run()  # doctest: +SKIP
    >>> results.to_frame().groupby("version").score.mean()  # doctest: +SKIP
    """

    def __init__(self, answers: Iterable[Answer]) -> None:
        self._answers = tuple(answers)

    @property
    def answers(self) -> list[Reply | BaseException | None]:
        """The replies; in their place, where there is none, the error."""
        return [each.reply if each.ok else each.error for each in self._answers]

    def to_frame(self) -> pandas.DataFrame:
        """Return a DataFrame with a row each; see ``PromptBuilder.results``.

        Raises
        ------
        ConfigurationError
            If pandas is not installed.
        """
        return frame([(each.row, each) for each in self._answers])

    @overload
    def __getitem__(self, index: int) -> Answer: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Answer, ...]: ...
    def __getitem__(self, index: int | slice) -> Answer | tuple[Answer, ...]:
        return self._answers[index]

    def __len__(self) -> int:
        return len(self._answers)

    def __str__(self) -> str:
        return seams.to_plain(self)

    def __repr__(self) -> str:
        failed = sum(not each.ok for each in self._answers)
        return f"Results({len(self)} rows{f', {failed} failed' if failed else ''})"


def check_score(score: object) -> int | None:
    """Return a score, or None for none.

    Raises
    ------
    InvalidInput
        If it is neither.
    """
    if score is None or (type(score) is int and score in SCORES):
        return score
    raise InvalidInput(
        f"A score is a whole number from {SCORES[0]} to {SCORES[-1]}, not {score!r:.40}.",
        hint="None takes it back.",
    )


def same(one: Prompt, other: Prompt) -> bool:
    """Whether two prompts send the same."""
    return all(getattr(one, name) == getattr(other, name) for name in _SENT)


def frame(rows: Sequence[tuple[Mapping[str, Any], Answer | None]]) -> pandas.DataFrame:
    """Make a DataFrame of rows and what came of them: the row's columns, then the answer's.

    Raises
    ------
    ConfigurationError
        If pandas is not installed.
    """
    pd = load_pandas()
    names = list(dict.fromkeys(name for row, _ in rows for name in row))
    parts = list(dict.fromkeys(name for _, answer in rows if answer for name in answer.fields))
    told = list(dict.fromkeys([*(parts or ["text"]), *FACTS]))
    columns = {name: _column([row.get(name) for row, _ in rows]) for name in names}
    for name in told:
        values = [_fact(answer, name, parts) for _, answer in rows]
        kind = _DTYPES.get(name) if name not in parts else None
        series = pd.Series(values, dtype=kind) if kind else _column(values)
        # A row may have a column of the same name, such as text: both are kept.
        columns[name if name not in columns else f"answer_{name}"] = series
    table: pandas.DataFrame = pd.DataFrame(columns)
    return table


def _column(values: list[Any]) -> pandas.Series[Any]:
    """Make a column; whole numbers stay whole where one is missing."""
    import pandas as pd

    there = [value for value in values if value is not None]
    whole = len(there) < len(values) and there and all(type(value) is int for value in there)
    return pd.Series(values, dtype="Int64") if whole else pd.Series(values)


_DTYPES: dict[str, Any] = {
    "text": "string",
    "model": "string",
    "request_id": "string",
    "finish_reason": "string",
    "error": "string",
    "tokens": "Int64",
    "credits": "Float64",
    "seconds": "Float64",
    "score": "Int64",
    "version": "Int64",
}


def _fact(answer: Answer | None, name: str, parts: Sequence[str]) -> Any:  # noqa: ANN401
    if answer is None:
        return None
    if name in parts:
        return answer.fields.get(name)
    if name == "text":
        return answer.reply.text if answer.reply is not None else None
    if name == "model":
        return (answer.reply.model or None) if answer.reply is not None else None
    if name == "error":
        return None if answer.error is None else words_of(answer.error)
    if name == "credits":
        return None if answer.credits is None else float(answer.credits)
    return getattr(answer, name)


def _there(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def words_of(error: BaseException) -> str:
    """Return an error in one sentence."""
    message = error.message if isinstance(error, BeatraError) else str(error)
    return f"{type(error).__name__}: {message}"
