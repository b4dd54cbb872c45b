"""``bn.map``: rows, a prompt, an engine, and what comes back; for cells that block and for those that await.

    Rows (rows.py) ── Asker (asks.py) ── engine.run ── BatchResult (result.py) or the frame with columns (columns.py)

The engine runs in an event loop: of a thread of its own where the caller blocks, so that an interrupt is heard at
once; of the caller where it awaits.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import functools
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from beatra_nb.batch import cluster, engine
from beatra_nb.batch.asks import Asker
from beatra_nb.batch.card import Card
from beatra_nb.batch.columns import columns_of, frame_of, join
from beatra_nb.batch.engine import Job
from beatra_nb.batch.outcome import Outcome, Trouble
from beatra_nb.batch.pace import Pace
from beatra_nb.batch.result import BatchResult, Summary, Tallying, as_finished, remember
from beatra_nb.batch.rows import Rows
from beatra_nb.batch.stop import Stop
from beatra_nb.batch.tally import Tally
from beatra_nb.core import budget as budgets
from beatra_nb.core import claims
from beatra_nb.core.errors import BeatraError, Interrupted, InvalidInput, spoken
from beatra_nb.store.checkpoint import Checkpoint

if TYPE_CHECKING:
    from beatra_nb.core.base_client import BaseClient
    from beatra_nb.core.budget import Budget
    from beatra_nb.core.flow import Context
    from beatra_nb.core.request import ChatRequest

OnError: TypeAlias = Literal["return", "raise"]
Order: TypeAlias = Literal["input", "finished"]

WATCH = 0.1  # seconds between two looks at the clock while a batch is waited for
UNASKED = "not_asked"
GO_ON = "The same call again goes on from there"


@dataclass
class Batch:
    """One batch: checked when it is made, then run once.

    ``bn.map`` documents the parameters.
    """

    client: BaseClient
    rows: Rows
    asker: Asker
    pace: Pace
    checkpoint: str | os.PathLike[str] | None
    if_changed: Literal["refuse", "apart"]
    budget: Budget | None
    on_error: OnError
    order: Order
    dedupe: bool
    show: bool
    executor: Any = None
    stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        self._outcomes: list[Outcome] = []
        self._tally = Tallying(self.rows.total)
        self._began = time.monotonic()
        self._card = Card(self._tally, self.pace, self.stop, show=self.show)
        self._skip: frozenset[int] = frozenset()
        self._kept: dict[int, Outcome] = {}
        self._raised: Outcome | None = None
        self._before: dict[int, Outcome] = {}
        self._run_id: str | None = None
        self._refused: Budget | None = None  # the budget that had no room for a row the last time

    @classmethod
    def of(
        cls,
        client: BaseClient,
        data: Any,  # noqa: ANN401
        prompt: Any,  # noqa: ANN401
        *,
        max_active: int,
        rate: float | str | None,
        checkpoint: str | os.PathLike[str] | None,
        if_changed: Literal["refuse", "apart"],
        budget: Any,  # noqa: ANN401
        on_error: OnError,
        executor: Any,  # noqa: ANN401
        order: Order,
        progress: bool,
        dedupe: bool,
        **keywords: Any,  # noqa: ANN401
    ) -> Batch:
        """Check everything that can be checked before the first call.

        Raises
        ------
        InvalidInput
            If something is wrong; nothing was sent.
        """
        if on_error not in ("return", "raise"):
            raise InvalidInput(f"on_error must be 'return' or 'raise', not {on_error!r:.60}.")
        if order not in ("input", "finished"):
            raise InvalidInput(f"order must be 'input' or 'finished', not {order!r:.60}.")
        if "stream" in keywords or "idempotency_key" in keywords:
            raise InvalidInput(
                "bn.map takes neither stream= nor idempotency_key=: each row has a key of its own."
            )
        if executor is not None:
            cluster.checked(executor)
        rows = Rows.of(data)
        asker = Asker.of(prompt, **keywords)
        if rows.columns is not None:
            asker.check(rows, None)
        elif isinstance(rows.native, Sequence) and len(rows.native):
            asker.check(rows, rows.native[0])
        return cls(
            client,
            rows,
            asker,
            Pace(max_active, rate=rate),
            checkpoint,
            if_changed,
            _budget(budget),
            on_error,
            order,
            dedupe,
            progress,
            executor,
        )

    # ── the two ways to run it ──

    def run(self) -> Any:  # noqa: ANN401
        """Run it to its end, and block until then."""
        done = threading.Event()
        came: list[Any] = []

        def work() -> None:
            try:
                came.append(asyncio.run(self._work()))
            except BaseException as error:
                came.append(error)
            finally:
                done.set()

        with self._card:
            # In a copy of this context: budgets hold for what is done here.
            run = contextvars.copy_context().run
            thread = threading.Thread(target=run, args=(work,), name="beatra-batch", daemon=True)
            thread.start()
            while True:
                try:
                    while not done.wait(WATCH):
                        self._card.draw()
                    break
                except KeyboardInterrupt:
                    self.stop.stop("interrupted")
            thread.join()
            ended = came[0]
            if isinstance(ended, BaseException):
                self._leave(ended)
                # Of our own errors the frames tell nothing; those of a generator or a check are the user's.
                raise ended.with_traceback(None) if isinstance(ended, BeatraError) else ended
            return self._finish(ended)

    async def arun(self) -> Any:  # noqa: ANN401
        """Run it to its end in the running loop."""
        with self._card:
            watch = asyncio.get_running_loop().create_task(self._watch())
            try:
                ended = await self._work()
            except asyncio.CancelledError as stop:
                raise spoken(stop, self._interrupted(self._leave(stop))) from None
            except BaseException as error:
                self._leave(error)
                raise
            finally:
                watch.cancel()
            return self._finish(ended)

    def _leave(self, error: BaseException) -> BatchResult:
        """Keep what was finished when a batch ends by an error that is no row's, and say so on the card."""
        interrupted = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
        tally = Tally(self._run_id or "", stopped="interrupted" if interrupted else "an error")
        tally.elapsed = time.monotonic() - self._began
        result = self._result(tally)
        if result.outcomes:
            with contextlib.suppress(AttributeError):
                error.result = result  # type: ignore[attr-defined]
            self._card.close(result)
        return result

    def _interrupted(self, result: BatchResult) -> Interrupted:
        return Interrupted(
            f"Interrupted: {_rows(result.totals.done)} answered, all of them kept.",
            hint=self._how_to_go_on(),
            result=result,
        )

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH)
            self._card.draw()

    async def _work(self) -> Tally:
        with budgets.within(self.budget):
            transport, context = self.client._many(self.pace.max_active)
            checkpoint = (
                None
                if self.checkpoint is None
                else await asyncio.to_thread(
                    Checkpoint.open, self.checkpoint, self._fingerprint(), if_changed=self.if_changed
                )
            )
            try:
                run = engine.run
                if self.executor is not None:
                    run = functools.partial(cluster.run, executor=self.executor)
                return await run(
                    self._awaited_jobs() if self.rows.awaited else _Readable(self),
                    context=context,
                    transport=transport,
                    pace=self.pace,
                    on_outcome=self._take,
                    checkpoint=checkpoint,
                    dedupe=self.dedupe,
                    stop=self.stop,
                    room=functools.partial(self._room, context) if budgets.active() else None,
                    blocking=self._slow,
                    run_id=self._run_id,
                    anew=self.on_error == "raise",
                )
            finally:
                if checkpoint is not None:
                    await asyncio.to_thread(checkpoint.close)
                await transport.close()

    def _room(self, context: Context, request: ChatRequest, alone: bool) -> bool:
        self._refused = claims.refusing(context, request)
        return self._refused is None and (alone or claims.known(context, request))

    def _fingerprint(self) -> dict[str, Any]:
        """What the checkpoint knows this batch by: what is asked, and who answers.

        The sandbox's answers must never be taken for the service's, nor those of a recording.
        """
        who = self.client.answered_by
        return {**self.asker.fingerprint, "answered by": who}

    # ── rows ──

    @property
    def _slow(self) -> bool:
        """Whether making a request may take a while: a function of the user's, or rows that are no list."""
        listed = self.rows.kind != "plain" or isinstance(self.rows.native, Sequence)
        return not (listed and self.asker.templated)

    def jobs(self) -> Iterator[Job]:
        """Yield the rows as they are to be asked about."""
        for position, row in enumerate(self.rows):
            if position not in self._skip:
                yield self._job(position, row)

    async def _awaited_jobs(self) -> AsyncIterator[Job]:
        position = 0
        async for row in self.rows:
            yield self._job(position, row)
            position += 1

    def _job(self, position: int, row: object) -> Job:
        generation, doubtful = (
            0,
            self._run_id is not None,
        )  # it may have been under way when the batch was stopped
        if (before := self._before.get(position)) is not None:
            generation, doubtful = before.next_generation, before.doubtful
        if position == 0:
            self.asker.check(self.rows, row)
        try:
            return Job(position, self.asker.request(row), generation, doubtful=doubtful)
        except BeatraError as error:
            return Job(position, error.with_traceback(None), generation)

    # ── outcomes ──

    def _take(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._tally.add(outcome)
        error = outcome.error
        if error is None or self._raised is not None:
            return
        if error.type == "BudgetExceeded":
            return  # the batch has come to its end, and the row is among the first ones of the next run
        # What is not on the tape is a mistake of the whole notebook, whatever rows shall do that fail.
        if self.on_error == "raise" or error.type == "NotRecorded":
            self._raised = outcome
            self.stop.stop("a row failed")

    def _finish(self, tally: Tally) -> Any:  # noqa: ANN401
        result = self._result(tally)
        if (tape := self.client._tape) is not None and self.checkpoint is not None:
            kept = [out.request_id for out in self._outcomes if out.stored and out.attempts]
            tape.tell_unasked(kept, os.fspath(self.checkpoint))
        interrupted = tally.stopped == "interrupted"
        if not interrupted and self._raised is None and tally.trouble is None:
            return self._give(result)
        self._card.close(result)
        if interrupted:
            raise self._interrupted(result)
        trouble = tally.trouble or (self._raised.error if self._raised else None)
        assert trouble is not None  # noqa: S101
        how = "" if trouble.type == "NotRecorded" else self._how_to_go_on()
        raise _error(trouble, result, how, self._raised)

    def _result(self, tally: Tally) -> BatchResult:
        outcomes = [*self._kept.values(), *self._outcomes]
        if self.order == "input" or self.rows.kind != "plain":
            outcomes.sort(key=lambda out: out.position)
        else:
            outcomes = as_finished(outcomes)
        lasting = self.rows.lasting
        return remember(
            BatchResult(
                outcomes,
                self._tally.totals(tally.elapsed),
                self.asker.shape,
                self._why(tally),
                None if self.checkpoint is None else os.fspath(self.checkpoint),
                self.rows if lasting else None,
                self._again(tally.run_id, outcomes) if lasting else None,
            )
        )

    def _why(self, tally: Tally) -> str | None:
        match tally.stopped:
            case None:
                return None
            case "budget":
                of = "" if self.rows.total is None else f" of {self.rows.total:,}"
                answered = f"{self._tally.done:,}{of} rows are answered."
                budget = self._refused or self.budget
                which = (
                    "The budget" if budget is None or budget is self.budget else "A budget around the batch"
                )
                if budget is not None and (objection := budget.objection) is not None:
                    return f"{which} refuses more: {objection}. {answered} {self._how_to_go_on()}"
                how = self._how_to_go_on(more=budget is self.budget)
                return f"{which} has no room for another row: {answered} {how}"
            case "interrupted":
                return f"It was interrupted. {self._how_to_go_on()}"
            case _:
                what = tally.trouble.message if tally.trouble else f"It was stopped: {tally.stopped}."
                return f"{what} {self._how_to_go_on()}"

    def _how_to_go_on(self, *, more: bool = False) -> str:
        if self.checkpoint is not None:
            how = " with a larger budget" if more else ""
            return f"{GO_ON}{how}: what is finished is in {os.fspath(self.checkpoint)!r}."
        kept = ""
        if self.rows.lasting:
            kept = f"bn.last_batch().retry_failed({'budget=…' if more else ''}) goes on from there. "
        elif self._outcomes:
            kept = "bn.last_batch() holds what is finished. "
        return f"{kept}With checkpoint= the same call goes on, even after a crash."

    def _give(self, result: BatchResult) -> Any:  # noqa: ANN401
        if self.rows.kind == "plain":
            self._card.close(result)
            return result
        self._card.close(Summary(result.totals, result.stopped))
        whole = _whole(result.outcomes, self.rows.total or 0)
        if self.rows.kind == "series":
            return frame_of(self.rows.native, columns_of(whole, self.asker.shape))
        return join(self.rows.native, columns_of(whole, self.asker.shape, self.rows.columns or ()))

    def _again(self, run_id: str, outcomes: list[Outcome]) -> Callable[[Any], BatchResult]:
        done = frozenset(out.position for out in outcomes if out.ok)

        def again(budget: Any) -> BatchResult:  # noqa: ANN401
            listed = dataclasses.replace(self.rows, kind="plain")  # a result comes back, of a frame as well
            pace = Pace(self.pace.max_active, rate=self.pace.rate)
            batch = dataclasses.replace(self, rows=listed, pace=pace, stop=Stop(), on_error="return")
            batch.budget = self.budget if budget is None else _budget(budget)
            batch._skip = done
            batch._kept = {out.position: out for out in outcomes if out.position in done}
            batch._before = {out.position: out for out in outcomes}
            batch._run_id = run_id
            for out in batch._kept.values():
                batch._tally.add(dataclasses.replace(out, stored=True))
            result = batch.run()
            assert isinstance(result, BatchResult)  # noqa: S101
            return result

        return again


class _Readable(Iterable[Job]):
    """The jobs of a batch as a list would be: read from the beginning, in place."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def __iter__(self) -> Iterator[Job]:
        return self._batch.jobs()


def _whole(outcomes: Sequence[Outcome], total: int) -> list[Outcome]:
    """Return one outcome for each row of a frame; rows that were not come to say so."""
    known: Mapping[int, Outcome] = {out.position: out for out in outcomes}
    unasked = Trouble("NotAsked", "The batch was stopped before this row.", UNASKED, retryable=True)
    return [known.get(at) or Outcome(at, error=unasked) for at in range(total)]


def _error(trouble: Trouble, result: BatchResult, go_on: str, row: Outcome | None) -> BeatraError:
    """Make the error that ends a batch; what it had done is in ``.result``."""
    from beatra_nb.core import errors

    where = f"Row {row.position}: " if row is not None else "The batch stopped: "
    message = where + trouble.message
    about: dict[str, Any] = {
        "hint": " ".join(part for part in (trouble.hint, go_on) if part),
        "retryable": trouble.retryable,
    }
    kind = getattr(errors, trouble.type, None)
    error: BeatraError
    if isinstance(kind, type) and issubclass(kind, errors.APIError):
        error = kind(message, code=trouble.code, **about)
    elif kind in (errors.ConnectionFailed, errors.Timeout, errors.InvalidInput, errors.NotRecorded):
        error = kind(message, **about)
    else:
        error = BeatraError(message, **about)
    error.result = result  # type: ignore[attr-defined]
    return error


def _budget(given: Any) -> Budget | None:  # noqa: ANN401
    """Return what was passed as ``budget=``: a function is a check of the user's own."""
    return None if given is None else budgets.of(given)


def _rows(count: int) -> str:
    return f"{count:,} {'row is' if count == 1 else 'rows are'}"
