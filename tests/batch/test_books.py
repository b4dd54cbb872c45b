"""Which row gets which answer, run after run: the books against a service that is nothing but a table of keys."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.batch.books import GRACE, Books, Row
from beatra_nb.batch.keys import body_digest
from beatra_nb.batch.outcome import Outcome, Trouble
from beatra_nb.batch.turns import Job
from beatra_nb.core.request import ChatRequest
from beatra_nb.store.checkpoint import Checkpoint
from tests.batch.driving import context_of
from tests.core.wire import KEY

LUCK = ["well", "well", "well", "refused", "doubtful", "lost"]
BODIES = {text: ChatRequest.of(f"Say hi to {text}.") for text in "ab"}


class Gone(Exception):
    """The process that asks is gone before it hears the answer."""


class Service:
    """Gives each key an answer of its own, and the same one each time."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.asked: Counter[str] = Counter()

    def ask(self, row: Row) -> str:
        prompt = row.request.body["messages"][0]["content"]
        self.asked[prompt[-2]] += 1
        return self.answers.setdefault(row.request.wire_key, f"{prompt[-2]}{len(self.answers)}")


class Asking(Books[None]):
    """Three rows at a time, and each one as lucky as it is said."""

    def __init__(self, service: Service, luck: Iterator[str], told: list[Outcome], **about: object) -> None:
        super().__init__(context_of("http://127.0.0.1:9", KEY), told.append, active=3, **about)  # type: ignore[arg-type]
        self._service = service
        self._luck = luck

    async def feed(self) -> None:
        while (row := await self.next_row()) is not None:
            self.begin(self._ask(row, next(self._luck, "well")), None)
            if len(self.under_way) == 3:
                await self.one_less()

    async def come_home(self) -> None:
        await self.at_home(GRACE)

    async def _ask(self, row: Row, luck: str) -> None:
        await asyncio.sleep(0)
        error = None
        text: str | None = None
        if luck != "refused":
            text = self._service.ask(row)
        if luck == "lost":
            raise Gone
        if luck != "well":
            text, error = None, Trouble("Timeout", "Too slow.", retryable=True, doubtful=luck == "doubtful")
        self.done(row, Outcome(row.position, text, error=error, generation=row.generation))


def asked_for(data: Sequence[str]) -> list[Job]:
    return [Job(at, BODIES.get(text) or bn.InvalidInput("No such row.")) for at, text in enumerate(data)]


def run(
    path: Path, service: Service, data: Sequence[str], luck: Sequence[str], *, page: int, **how: bool
) -> tuple[list[Outcome], bool]:
    """Ask about some rows; gives what was told, and whether the run came to its end."""
    told: list[Outcome] = []

    async def go() -> None:
        with Checkpoint.open(path, {}) as kept:
            kept.at_once = page
            books = Asking(service, iter(luck), told, checkpoint=kept, dedupe=how["dedupe"])
            await books.run(asked_for(data), how["blocking"])

    try:
        asyncio.run(go())
    except Gone:
        return told, False
    return told, True


def in_file(path: Path) -> dict[tuple[int, str], tuple[str | None, bool]]:
    """What is kept: by place and question, the answer, and whether it is finished."""
    digests = {body_digest(request): text for text, request in BODIES.items()}
    with Checkpoint.open(path, {}) as kept:
        rows = [row for row in kept if row.body]
    return {(row.position, digests[row.body]): (row.text, bool(row.finished)) for row in rows}


DATA = st.text("aab!", max_size=7)
RUNS = st.lists(st.tuples(DATA, st.lists(st.sampled_from(LUCK), max_size=6)), min_size=1, max_size=5)
MOVED = [
    ("a", []),
    ("ba", []),
    ("aa", []),
]  # the answer to the first row stands further down, and stays there
MOVED_TWICE = [("a", []), ("ba", []), ("bba", []), ("aab", [])]


@settings(max_examples=100)
@given(RUNS, st.sampled_from([1, 3, 100]), st.booleans())
@example(MOVED, 100, False)
@example(MOVED_TWICE, 1, False)
@example([("a", ["doubtful"]), ("a", ["refused"]), ("a", [])], 1, False)
@example([("a", ["lost"]), ("a", ["refused"]), ("a", [])], 1, False)
def test_each_row_has_one_answer_and_each_answer_one_row(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[tuple[str, list[str]]],
    page: int,
    blocking: bool,
) -> None:
    path = tmp_path_factory.mktemp("runs") / "rows.beatra"
    service = Service()
    most: Counter[str] = Counter()
    for data, luck in runs:
        before = in_file(path)
        service.asked.clear()
        told, whole = run(path, service, data, luck, page=page, dedupe=False, blocking=blocking)
        most |= Counter(data)
        for body in BODIES:
            paid = sum(answer[0] == body for answer in service.answers.values())
            assert paid <= most[body], "a row was paid again: lost ones lie ready under their keys"
        after = in_file(path)
        texts = {outcome.position: outcome.text for outcome in told if outcome.ok}

        assert len({outcome.position for outcome in told}) == len(told)
        assert len(set(texts.values())) == len(texts), "an answer was used twice"
        for at, text in texts.items():
            assert text is not None
            assert text[0] == data[at], "a row has the answer to another question"
            known, finished = before.get((at, data[at]), (None, False))
            assert not finished or text == known, "a row that stood at its place lost its answer"
        done = {text for text, finished in after.values() if finished}
        assert done >= {text for text, finished in before.values() if finished}, "an answer was lost"
        assert done >= set(texts.values()), "an answer was told before it was kept"
        if whole:
            assert sorted(outcome.position for outcome in told) == [*range(len(data))]
            for body in BODIES:
                rows = [(at, body) for at, text in enumerate(data) if text == body]
                free = sum(name not in rows for name in before if name[1] == body and before[name][1])
                again = sum(name in before and not before[name][1] for name in rows)
                new = sum(name not in before for name in rows)
                refused = sum(outcome.error is not None for outcome in told if data[outcome.position] == body)
                assert service.asked[body] <= again + max(0, new - free) <= service.asked[body] + refused


@settings(max_examples=60)
@given(RUNS, st.sampled_from([1, 3, 100]), st.booleans())
@example([("ab", []), ("baa", [])], 1, False)
def test_rows_that_are_alike_are_asked_once(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[tuple[str, list[str]]],
    page: int,
    blocking: bool,
) -> None:
    path = tmp_path_factory.mktemp("alike") / "rows.beatra"
    service = Service()
    for data, luck in runs:
        before = in_file(path)
        service.asked.clear()
        told, whole = run(path, service, data, luck, page=page, dedupe=True, blocking=blocking)
        assert all(outcome.text is None or outcome.text[0] == data[outcome.position] for outcome in told)
        for body in BODIES:
            known = [finished for name, (_, finished) in before.items() if name[1] == body]
            assert service.asked[body] <= (0 if known and all(known) else 1)
        if whole:
            assert sorted(outcome.position for outcome in told) == [*range(len(data))]


def test_a_retry_asks_under_no_key_whose_answer_stands_elsewhere(tmp_path: Path) -> None:
    """The run was stopped before its first row, whose answer of an earlier run is another row's by now."""
    path, service, told = tmp_path / "rows.beatra", Service(), list[Outcome]()
    for data in ("a", "ba"):
        run(path, service, data, [], page=1, dedupe=False, blocking=False)

    async def again() -> None:
        with Checkpoint.open(path, {}) as kept:
            books = Asking(service, iter(()), told, checkpoint=kept, run_id=kept.run_id)
            await books.run(asked_for("a"), blocking=False)

    asyncio.run(again())
    assert [outcome.text for outcome in told] == ["a2"]
