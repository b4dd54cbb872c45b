"""What a batch came to: its answers in order, what failed and why, and what all of it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from beatra_nb.batch.columns import Column, columns_of, join
from beatra_nb.core import seams
from beatra_nb.core.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

    from beatra_nb.batch.outcome import Outcome
    from beatra_nb.core.typed import Shape

BARS = 12  # of the histogram of times


@dataclass(frozen=True, slots=True)
class Totals:
    """A batch in figures; the live card and the finished result show the same ones.

    Attributes
    ----------
    done, failed, resumed, deduped : int
        Rows with an answer; without one; answered in an earlier run; answered by an identical row.
    total : int or None
        All rows; None while an iterator has not ended.
    codes : tuple of (str, int)
        Why rows failed, the most frequent first.
    prompt_tokens, completion_tokens : int
        What this run used.
    credits : Decimal or None
        What this run cost; None where the service named no credits.
    times : tuple of float
        The seconds of each answer of this run, sorted.
    elapsed : float
        The seconds of the whole; of a batch that is on a cassette, those of its rows together, as it has them: a
        replay shows the same.
    sandbox : bool
        Whether a sandbox answered.
    recorded : datetime or None
        When its last row was recorded, where it is on a cassette.
    cut : int
        Answers that were cut off at as many tokens as they may have.
    """

    done: int = 0
    failed: int = 0
    resumed: int = 0
    deduped: int = 0
    total: int | None = None
    codes: tuple[tuple[str, int], ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    credits: Decimal | None = None
    times: tuple[float, ...] = ()
    elapsed: float = 0.0
    sandbox: bool = False
    recorded: datetime | None = None
    cut: int = 0

    def at(self, part: float) -> float | None:
        """Return the seconds within which a part of the answers came, such as 0.5 for the median."""
        if not self.times:
            return None
        return self.times[min(len(self.times) - 1, int(part * len(self.times)))]

    def histogram(self, bars: int = BARS) -> tuple[tuple[float, float, int], ...]:
        """Return how many answers took how long: (from, to, count), in seconds, with bars of equal width."""
        if not self.times:
            return ()
        low, high = self.times[0], self.times[-1]
        if high - low < 1e-6:
            return ((low, high, len(self.times)),)
        width = (high - low) / bars
        counts = [0] * bars
        for each in self.times:
            counts[min(bars - 1, int((each - low) / width))] += 1
        return tuple((low + i * width, low + (i + 1) * width, count) for i, count in enumerate(counts))


class Tallying:
    """Counts outcomes while they come."""

    def __init__(self, total: int | None) -> None:
        self.total = total
        self._done = self._failed = self._resumed = self._deduped = self._cut = 0
        self._codes: Counter[str] = Counter()
        self._prompt = self._completion = 0
        self._credits: Decimal | None = None
        self._times: list[float] = []
        self._sandbox = False
        self._recorded: datetime | None = None
        self._taped = 0  # milliseconds: their sum is the same in whatever order the rows come

    @property
    def done(self) -> int:
        """Rows with an answer."""
        return self._done

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        if outcome.error is None:
            self._done += 1
        else:
            self._failed += 1
            self._codes[outcome.error.code or outcome.error.type] += 1
        self._cut += outcome.cut
        self._sandbox = self._sandbox or outcome.sandbox
        if outcome.recorded is not None:
            self._recorded = max(self._recorded or outcome.recorded, outcome.recorded)
        if outcome.stored:
            self._resumed += 1
            return
        self._deduped += outcome.deduped
        self._prompt += 0 if outcome.deduped else outcome.prompt_tokens
        self._completion += 0 if outcome.deduped else outcome.completion_tokens
        if outcome.credits is not None:
            self._credits = (self._credits or Decimal(0)) + outcome.credits
        if outcome.recorded is not None and not outcome.deduped:
            self._taped += round(outcome.elapsed * 1000)
        if outcome.ok and not outcome.deduped:
            self._times.append(outcome.elapsed)

    def totals(self, elapsed: float, *, times: bool = True) -> Totals:
        """Return the figures so far; without the times they cost nothing."""
        return Totals(
            self._done,
            self._failed,
            self._resumed,
            self._deduped,
            self.total,
            # The same in whatever order they came.
            tuple(sorted(self._codes.items(), key=lambda each: (-each[1], each[0]))),
            self._prompt,
            self._completion,
            self._credits,
            tuple(sorted(self._times)) if times else (),
            elapsed if self._recorded is None else self._taped / 1000,
            self._sandbox,
            self._recorded,
            self._cut,
        )


def as_finished(outcomes: list[Outcome]) -> list[Outcome]:
    """Return rows as they were finished; those on a cassette in the order that it has, also in a quicker replay."""
    if not any(out.recorded for out in outcomes):
        return outcomes

    def moment(out: Outcome) -> tuple[float, int]:
        return out.recorded.timestamp() + out.elapsed if out.recorded else 0.0, out.position

    return sorted(outcomes, key=moment)


@dataclass(frozen=True)
class Summary(seams.Showable):
    """What is shown of a batch whose answers are in the frame that comes back.

    Attributes
    ----------
    totals : Totals
        The batch in figures.
    stopped : str or None
        Why it ended before its end.
    """

    totals: Totals
    stopped: str | None = None


@dataclass(frozen=True, repr=False)
class BatchResult(seams.Showable):
    """The answers of a batch, in the order of its rows.

    It is a sequence of outcomes: ``result[0].text``, ``for out in result``. ``.data`` and ``.texts`` are lists of the
    same length, with None where there is no answer.

    Attributes
    ----------
    outcomes : sequence of Outcome
        One for each row that is done. A batch that was stopped lacks those that it did not come to.
    totals : Totals
        The batch in figures.
    stopped : str or None
        Why it ended before its end.
    checkpoint : str or None
        The file that knows the finished rows; the same call with it goes on.

    Examples
    --------
    >>> result = bn.map(["cheese", "bread"], "Translate {word} into French.")  # doctest: +SKIP
    >>> result.texts  # doctest: +SKIP
    """

    outcomes: Sequence[Outcome]
    totals: Totals
    shape: Shape | None = None
    stopped: str | None = None
    checkpoint: str | None = None
    inputs: Any = None  # the rows, where they can be looked at again
    again: Callable[[Any], BatchResult] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    def __getitem__(self, index: int) -> Outcome:
        return self.outcomes[index]

    @property
    def texts(self) -> list[str | None]:
        """The answers' texts; None where there is none."""
        return [out.text if out.ok else None for out in self.outcomes]

    @property
    def data(self) -> list[Any]:
        """The answers parsed by the schema; None where there is none."""
        return [out.data for out in self.outcomes]

    @property
    def credits(self) -> Decimal | None:
        """What this run cost; None where the service named no credits."""
        return self.totals.credits

    @property
    def ok(self) -> BatchResult:
        """The rows with an answer."""
        return self._part([out for out in self.outcomes if out.ok])

    @property
    def failed(self) -> BatchResult:
        """The rows without an answer; each has its ``.error`` with code, message and whether to ask again."""
        return self._part([out for out in self.outcomes if not out.ok])

    def retry_failed(self, *, budget: Any = None) -> BatchResult:  # noqa: ANN401
        """Ask again for the rows that failed, and for those that the batch did not come to.

        A row whose work may have been done is sent under the key it had: it is not paid for twice.

        Parameters
        ----------
        budget : Budget or number or callable, optional
            What this may cost, as ``bn.map`` takes it; by default what the batch's own budget has left.

        Returns
        -------
        BatchResult
            The whole batch, with the new answers in their places.

        Raises
        ------
        InvalidInput
            If the rows came from an iterator: they are gone.
        """
        if self.again is None:
            raise InvalidInput(
                "The rows of this batch came from an iterator, which is used up.",
                hint="Call bn.map again with checkpoint=: only what failed is asked.",
            )
        return self.again(budget)

    def to_frame(self) -> Any:  # noqa: ANN401
        """Return a pandas frame: the rows, and the answers' columns behind them.

        Raises
        ------
        ConfigurationError
            If pandas is not installed.
        """
        from beatra_nb.core.frames import load_pandas

        pd = load_pandas()
        frame = pd.DataFrame(index=[out.position for out in self.outcomes])
        if self.inputs is not None:
            every = list(self.inputs)
            rows = [every[out.position] for out in self.outcomes]
            named = rows and all(isinstance(row, dict) for row in rows)
            frame = (
                pd.DataFrame(rows, index=frame.index)
                if named
                else pd.DataFrame({"value": rows}, index=frame.index)
            )
        return join(frame, self.columns(taken=frame.columns))

    def columns(self, taken: Any = ()) -> list[Column]:  # noqa: ANN401
        """Return the answers as columns, named apart from those that are taken."""
        return columns_of(self.outcomes, self.shape, taken)

    def _part(self, outcomes: Sequence[Outcome]) -> BatchResult:
        tally = Tallying(len(outcomes))
        for out in outcomes:
            tally.add(out)
        return replace(self, outcomes=outcomes, totals=tally.totals(self.totals.elapsed))

    def __getstate__(self) -> dict[str, Any]:
        # What asks again holds a client, and that a key.
        return {**self.__dict__, "again": None, "inputs": None if self.inputs is None else list(self.inputs)}

    def __repr__(self) -> str:
        done, failed = self.totals.done, self.totals.failed
        return f"<BatchResult: {done:,} answered, {failed:,} failed{', stopped' if self.stopped else ''}>"


_last: BatchResult | None = None


def remember(result: BatchResult) -> BatchResult:
    """Keep a result as the last one: an interrupt or an error must not take it along."""
    global _last
    _last = result
    return result


def last_batch() -> BatchResult | None:
    """Return what the last batch of this process came to, whole or stopped; None before the first.

    Also where the call itself ended in an error or an interrupt, or gave a data frame.

    Examples
    --------
    >>> bn.last_batch().failed  # doctest: +SKIP
    """
    return _last
