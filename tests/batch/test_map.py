"""``bn.map`` against a real sandbox: what goes in, what comes back, and what it costs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel

import beatra_nb as bn
from beatra_nb.sandbox import Sandbox

WORDS = ["cheese", "bread", "wine", "salt", "fish"]
SAY = "Repeat: {word}"


class Fact(BaseModel):
    city: str
    number: int


def asked(box: Sandbox) -> int:
    """How many chats the sandbox has seen."""
    return sum(seen.path.endswith("/chat/completions") for seen in box.seen)


def generated() -> Iterator[str]:
    yield from WORDS


async def awaited() -> AsyncIterator[str]:
    for word in WORDS:
        await asyncio.sleep(0)
        yield word


@pytest.mark.parametrize(
    "data", [WORDS, tuple(WORDS), [{"word": word} for word in WORDS], generated, awaited]
)
def test_rows_that_are_no_frame(talk: bn.Client, data: Any) -> None:
    result = talk.map(data() if callable(data) else data, SAY, progress=False)
    assert isinstance(result, bn.BatchResult)
    assert result.texts == WORDS
    assert len(result) == 5
    assert (result.totals.done, result.totals.total in (5, None)) == (5, True)
    assert all(out.request_id for out in result)
    assert result[2].text == "wine"


async def test_awaited(atalk: bn.AsyncClient) -> None:
    assert (await atalk.map(WORDS, SAY, progress=False)).texts == WORDS
    assert (await atalk.map(awaited(), SAY, progress=False)).texts == WORDS


def test_prompts_of_every_kind(talk: bn.Client) -> None:
    prompt = bn.Prompt("Repeat: {word}", system="Be {word}.", temperature=0.1)
    assert talk.map(WORDS, prompt, progress=False).texts == WORDS
    assert talk.map(WORDS, lambda word: f"Repeat: {word.upper()}", progress=False).texts[0] == "CHEESE"


def test_pandas(talk: bn.Client) -> None:
    frame = pd.DataFrame({"word": WORDS, "text": range(5), "error": None}, index=[3, 3, 4, 5, 6])
    joined = talk.map(frame, SAY, progress=False)
    assert list(joined.index) == [3, 3, 4, 5, 6]
    assert list(joined["text_answer"]) == WORDS
    assert list(joined["text"]) == list(range(5))
    assert joined["error_answer"].isna().all()
    assert joined["attempts"].dtype == "Int64"


OWN = {
    "word": ["cheese", "bread", None],
    "text": [1, None, 3],
    "error": ["mine", None, "mine"],
    "attempts": [[1], None, []],
}
FRAMES: list[Any] = [
    pd.DataFrame(OWN, index=pd.MultiIndex.from_tuples([("a", 1), ("a", 1), ("b", 2)], names=["k", "n"])).astype(
        {"text": "Int8", "error": "category"}
    ),
    pl.DataFrame(OWN, schema_overrides={"text": pl.Int8, "error": pl.Categorical}),
    pa.table(OWN).cast(pa.schema(
        [("word", pa.large_string()), ("text", pa.int8()), ("error", pa.string()), ("attempts", pa.list_(pa.int8()))],
        {"from": "here"},
    )),
]  # fmt: skip


def told(frame: Any, name: str) -> list[Any]:
    column = frame[name]
    values = column.to_pylist() if isinstance(frame, pa.Table) else column.to_list()
    return [None if not isinstance(each, list) and pd.isna(each) else each for each in values]


@pytest.mark.parametrize("frame", FRAMES, ids=["pandas", "polars", "pyarrow"])
def test_a_frame_comes_back_whole_whatever_its_columns_are_called(talk: bn.Client, frame: Any) -> None:
    own = list(frame.column_names if isinstance(frame, pa.Table) else frame.columns)
    joined = talk.map(frame, SAY, progress=False)
    assert type(joined) is type(frame)
    assert list(joined.column_names if isinstance(joined, pa.Table) else joined.columns) == [
        *own, "text_answer", "request_id", "model", "credits", "attempts_answer", "error_answer", "retryable",
    ]  # fmt: skip
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_frame_equal(joined[own], frame)
    else:
        assert joined.select(own).equals(frame)
        assert joined.select(own).schema == frame.schema
    assert told(joined, "text_answer") == ["cheese", "bread", None]
    assert told(joined, "error_answer") == [None, None, "InvalidInput"]
    assert told(joined, "attempts_answer") == [1, 1, 0]
    assert told(joined, "retryable") == [None, None, False]
    none = frame[:0] if not isinstance(frame, pa.Table) else frame.slice(0, 0)
    assert len(empty := talk.map(none, SAY, progress=False)) == 0
    types = (
        (lambda each: dict(each.dtypes)) if isinstance(frame, pd.DataFrame) else (lambda each: each.schema)
    )
    assert types(empty) == types(joined)


@pytest.mark.parametrize("frame", FRAMES, ids=["pandas", "polars", "pyarrow"])
def test_a_column_that_is_not_there_is_told_before_the_first_call(
    talk: bn.Client, box: Sandbox, frame: Any
) -> None:
    before = asked(box)
    with pytest.raises(bn.InvalidInput, match=r"\{wrd\}.*Did you mean \{word\}"):
        talk.map(frame, "Repeat: {wrd}", progress=False)
    assert asked(box) == before


def test_what_a_frame_came_to_can_be_looked_at_and_asked_again(talk: bn.Client, box: Sandbox) -> None:
    for frame in (
        pd.DataFrame({"word": WORDS}, index=list("abcde")),
        pa.table({"word": WORDS}),
        pd.Series(WORDS),
    ):
        box.inject("invalid_request")
        talk.map(frame, SAY, progress=False)
        last = bn.last_batch()
        assert last is not None
        assert len(last.failed) == 1
        whole = last.retry_failed()
        assert whole.texts == WORDS
        assert whole.to_frame()["text"].tolist() == WORDS
        assert whole.to_frame().iloc[:, 0].tolist() == WORDS
        assert last.failed.to_frame().iloc[0, 0] in WORDS


def test_moments_and_numbers_of_answers(talk: bn.Client) -> None:
    class Event(BaseModel):
        at: datetime
        price: Decimal
        id: UUID
        error: str

    for frame in (
        pd.DataFrame({"word": WORDS[:2]}),
        pl.DataFrame({"word": WORDS[:2]}),
        pa.table({"word": WORDS[:2]}),
    ):
        joined = talk.map(frame, "When? {word}", schema=Event, progress=False)
        assert told(joined, "error") == [None, None]
        assert all(isinstance(each, str) for each in told(joined, "error_answer"))
        assert all(isinstance(each, Decimal) for each in told(joined, "price"))
        assert all(isinstance(each, datetime | str) for each in told(joined, "at"))


def test_polars_and_arrow_with_a_schema(talk: bn.Client) -> None:
    for frame in (pl.DataFrame({"word": WORDS}), pa.table({"word": WORDS})):
        joined = talk.map(frame, "Which city, which number? {word}", schema=Fact, progress=False)
        assert type(joined) is type(frame)
        names = joined.column_names if isinstance(frame, pa.Table) else joined.columns
        assert list(names)[:3] == ["word", "city", "number"]
        assert (
            all(isinstance(each, int) for each in joined["number"].to_pylist())
            if isinstance(frame, pa.Table)
            else joined.schema["number"] == pl.Int64
        )


def test_series_give_frames_of_answers(talk: bn.Client) -> None:
    joined = talk.map(pd.Series(WORDS, index=list("abcde")), SAY, schema=Literal["a", "b"], progress=False)
    assert list(joined.index) == list("abcde")
    assert joined["value"].dtype == pd.CategoricalDtype(["a", "b"])


@pytest.mark.parametrize("empty", [[], pd.DataFrame({"word": []}), pl.DataFrame({"word": []})])
def test_nothing_to_ask(talk: bn.Client, box: Sandbox, empty: Any) -> None:
    before = asked(box)
    result = talk.map(empty, SAY, progress=False)
    assert len(result) == 0
    assert asked(box) == before


def test_a_name_that_no_column_has_is_told_before_the_first_call(talk: bn.Client, box: Sandbox) -> None:
    before = asked(box)
    for data in (pd.DataFrame({"words": WORDS}), [{"words": word} for word in WORDS], iter([{"words": "x"}])):
        with pytest.raises(bn.InvalidInput, match=r"\{word\}") as told:
            talk.map(data, SAY, progress=False)
        assert "{words}" in str(told.value.hint)
    assert asked(box) == before


def test_a_missing_value_is_an_error_of_its_row(talk: bn.Client) -> None:
    joined = talk.map(pd.DataFrame({"word": ["a", None, "c"]}), SAY, progress=False)
    assert joined["error"].tolist()[1] == "InvalidInput"
    assert joined["text"].tolist()[0::2] == ["a", "c"]
    assert joined["attempts"].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"on_error": "ignore"}, "on_error"),
        ({"order": "sorted"}, "order"),
        ({"max_active": 0}, "max_active"),
        ({"rate": "often"}, "rate"),
        ({"budget": "much"}, "credits"),
        ({"temperature": 9}, "temperature"),
        ({"temprature": 0}, "temperature"),
        ({"max_activ": 4}, "max_active"),
        ({"api_key": "x"}, "connect"),
        ({"stream": True}, "stream"),
        ({"schema": 3}, "schema"),
        ({"checkpoint": ""}, "checkpoint"),
        ({"if_changed": "so what", "checkpoint": "x"}, "if_changed"),
    ],
)
def test_arguments_are_checked_before_anything_is_sent(
    talk: bn.Client, box: Sandbox, wrong: dict[str, Any], word: str
) -> None:
    before = asked(box)
    with pytest.raises(bn.InvalidInput, match=word):
        talk.map(WORDS, SAY, progress=False, **wrong)
    assert asked(box) == before


def test_identical_rows_are_asked_once(talk: bn.Client, box: Sandbox) -> None:
    before = asked(box)
    result = talk.map(["a", "b"] * 20, SAY, dedupe=True, progress=False)
    assert asked(box) - before == 2
    assert result.texts == ["a", "b"] * 20
    assert result.totals.deduped == 38


def test_failures_are_marked_and_asked_again(talk: bn.Client, box: Sandbox) -> None:
    box.inject("invalid_request", times=2)
    result = talk.map(WORDS, SAY, progress=False)
    assert len(result.ok) == 3
    assert len(result.failed) == 2
    assert dict(result.totals.codes) == {"invalid_request": 2}
    assert all(out.error.message for out in result.failed if out.error)
    before = asked(box)
    whole = result.retry_failed()
    assert whole.texts == WORDS
    assert asked(box) - before == 2
    assert len(whole.failed) == 0


def test_a_failure_may_end_the_batch(talk: bn.Client, box: Sandbox) -> None:
    box.inject("invalid_request")
    with pytest.raises(bn.InvalidRequest, match="Row 0") as ended:
        talk.map(["a"] * 200, SAY, on_error="raise", max_active=1, progress=False)
    result = ended.value.result  # type: ignore[attr-defined]
    assert result.totals.failed == 1
    assert len(result) < 200


def test_an_account_that_can_do_no_more_ends_the_batch(talk: bn.Client, box: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "c.beatra"
    talk.map(WORDS[:2], SAY, checkpoint=file, progress=False)
    box.inject("insufficient_balance")
    with pytest.raises(bn.InsufficientBalance) as ended:
        talk.map(WORDS, SAY, checkpoint=file, max_active=1, progress=False)
    assert 2 <= ended.value.result.totals.done < 5  # type: ignore[attr-defined]
    assert str(file) in str(ended.value.hint)
    assert talk.map(WORDS, SAY, checkpoint=file, progress=False).texts == WORDS


def test_a_budget_stops_cleanly_and_a_larger_one_goes_on(
    talk: bn.Client, box: Sandbox, tmp_path: Path
) -> None:
    rows = [f"word {number}" for number in range(60)]
    whole = talk.map(rows, SAY, progress=False)
    file = tmp_path / "c.beatra"
    budget = bn.budget(credits=whole.credits / 4)
    first = talk.map(rows, SAY, checkpoint=file, budget=budget, max_active=4, progress=False)
    assert first.stopped is not None
    assert "budget" in first.stopped
    assert 0 < len(first) < 60
    assert first.credits <= whole.credits / 4 + 4 * whole.credits / 60
    second = talk.map(rows, SAY, checkpoint=file, budget=whole.credits * 2, progress=False)
    assert second.texts == whole.texts
    assert second.totals.resumed == len(first.ok)
    assert first.credits + second.credits == whole.credits


def test_a_budget_around_it_counts_as_well(talk: bn.Client) -> None:
    with bn.budget(tokens=60) as budget:
        joined = talk.map(pd.DataFrame({"word": WORDS * 20}), SAY, max_active=2, progress=False)
    assert budget.spent.tokens > 0
    assert set(joined["error"].dropna()) == {"not_asked"}
    assert joined["retryable"].dropna().all()


def test_a_function_may_be_the_budget(talk: bn.Client) -> None:
    result = talk.map(WORDS, SAY, budget=lambda spent: spent.calls < 2, max_active=1, progress=False)
    assert len(result) == 2


def test_a_checkpoint_of_another_prompt_is_refused_or_kept_apart(talk: bn.Client, tmp_path: Path) -> None:
    file = tmp_path / "c.beatra"
    talk.map(WORDS, SAY, checkpoint=file, progress=False)
    with pytest.raises(bn.CheckpointError, match="prompt"):
        talk.map(WORDS, "Repeat: {word}!", checkpoint=file, progress=False)
    apart = talk.map(WORDS, "Repeat: {word}!", checkpoint=file, if_changed="apart", progress=False)
    assert apart.texts[0] == "cheese!"


def test_a_row_that_changed_is_asked_anew(talk: bn.Client, box: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "c.beatra"
    talk.map(WORDS, SAY, checkpoint=file, progress=False)
    before = asked(box)
    assert talk.map(["tea", *WORDS[1:]], SAY, checkpoint=file, progress=False).texts[0] == "tea"
    assert asked(box) - before == 1


def test_a_finished_batch_is_read_back_without_a_call(talk: bn.Client, box: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "c.beatra"
    frame = pd.DataFrame({"word": WORDS})
    first = talk.map(frame, "Which city? {word}", schema=Fact, checkpoint=file, progress=False)
    before = asked(box)
    second = talk.map(frame, "Which city? {word}", schema=Fact, checkpoint=file, progress=False)
    assert asked(box) == before
    pd.testing.assert_frame_equal(first, second)


def test_order_as_finished(talk: bn.Client) -> None:
    rows = ["Write 60 words", "Repeat: quick"]
    options = {"model_options": {"pace": 0.005}}
    result = talk.map(rows, "{x}", order="finished", max_active=2, progress=False, **options)
    assert [out.position for out in result] == [1, 0]


def test_rows_of_an_iterator_cannot_be_asked_again(talk: bn.Client) -> None:
    with pytest.raises(bn.InvalidInput, match="iterator"):
        talk.map(iter(WORDS), SAY, progress=False).retry_failed()


def test_an_iterator_that_fails_is_told(talk: bn.Client) -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        talk.map(broken(), SAY, progress=False)


def test_frames_of_a_result(talk: bn.Client) -> None:
    single = talk.map(WORDS, SAY, progress=False).to_frame()
    assert list(single.columns)[:2] == ["value", "text"]
    named = talk.map([{"word": word} for word in WORDS], SAY, schema=Fact, progress=False).to_frame()
    assert list(named.columns)[:3] == ["word", "city", "number"]
    assert next(iter(talk.map(iter(WORDS), SAY, progress=False).to_frame().columns)) == "text"


def test_no_key_in_a_checkpoint(talk: bn.Client, box: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "c.beatra"
    talk.map(WORDS, SAY, checkpoint=file, progress=False)
    assert box.api_key.encode() not in b"".join(each.read_bytes() for each in tmp_path.glob("c.beatra*"))


def test_views(talk: bn.Client, box: Sandbox) -> None:
    box.inject("invalid_request")
    result = talk.map(["<script>alert(1)</script>", *WORDS], SAY, progress=False)
    for thing in (result, result.ok, result.failed, result[0], result[1], *result.failed):
        page = thing._repr_html_()
        assert "<script>alert" not in page
        assert json.dumps(thing._repr_mimebundle_()["text/plain"])
    assert "invalid_request: 1" in result._repr_html_()
    assert "median" in result._repr_html_()


PROGRAM = """
import sys, time
import beatra_nb as bn
url, key, file = sys.argv[1:]
client = bn.Client(key, base_url=url)
try:
    print("begun", flush=True)
    client.map([f"Write {n} words" for n in range(40, 140)], "{x}", max_active=4, checkpoint=file,
               model_options={"pace": 0.01})
except KeyboardInterrupt as stopped:
    print(len(stopped.result), stopped.result.totals.done, type(stopped).__name__, file in stopped.hint, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("words", [1, 2])
def test_an_interrupt_keeps_what_is_finished_and_says_how_to_go_on(
    talk: bn.Client, box: Sandbox, tmp_path: Path, words: int
) -> None:
    file = tmp_path / "c.beatra"
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, box.base_url, box.api_key, str(file)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    with program:
        before = asked(box)
        assert program.stdout.readline() == "begun\n"
        end = time.monotonic() + 30
        while asked(box) - before < 12:
            assert time.monotonic() < end
            time.sleep(0.02)
        for _ in range(words):
            program.send_signal(signal.SIGINT)
            time.sleep(0.1)
        count, done, name, told = program.stdout.readline().split()
    assert int(count) == int(done) > 0
    assert (name, told) == ("Interrupted", "True")
    rows = [f"Write {n} words" for n in range(40, 140)]
    rest = talk.map(rows, "{x}", checkpoint=file, progress=False, model_options={"pace": 0.01}, max_active=64)
    assert rest.totals.resumed == int(done)
    assert [len(text.split()) for text in rest.texts if text] == list(range(40, 140))
    # What was under way was sent again under the key it had: nothing was made twice.
    effects = Counter(seen.idempotency_key for seen in box.seen if seen.effect)
    assert max(effects.values()) == 1


def test_a_batch_is_recorded_and_replayed(
    talk: bn.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEATRA_SANDBOX_ENGINE", "scripted")
    tape = tmp_path / "rows.cassette"
    frame = pd.DataFrame({"word": WORDS})
    with bn.Client(mode="record", cassette=tape) as client:
        first = client.map(frame, SAY, progress=False)
    with bn.Client(mode="replay", cassette=tape, speed=0) as client:
        second = client.map(frame, SAY, progress=False)
        with pytest.raises(bn.NotRecorded, match=r"cheese"):
            client.map([*WORDS, "cheeses"], SAY, progress=False)
    pd.testing.assert_frame_equal(first, second)


def test_an_error_of_the_users_own_keeps_what_is_finished(talk: bn.Client) -> None:
    def broken() -> Iterator[str]:
        yield from WORDS
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk") as told:
        talk.map(broken(), SAY, max_active=1, progress=False)
    last = bn.last_batch()
    assert last is not None
    assert told.value.result is last  # type: ignore[attr-defined]
    assert [out.text for out in last] == WORDS[: len(last)]
    assert len(last) >= 3
    assert any(entry.name == "broken" for entry in told.traceback), (
        "the line that failed is the user's to see"
    )


async def test_a_cancelled_batch_keeps_what_is_finished(atalk: bn.AsyncClient) -> None:
    rows = [f"Write {count} words" for count in range(20, 120)]
    batch = asyncio.ensure_future(
        atalk.map(rows, "{x}", max_active=4, progress=False, model_options={"pace": 0.01})
    )
    await asyncio.sleep(1.5)
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch
    last = bn.last_batch()
    assert last is not None
    assert 0 < len(last) < 100
    assert last.stopped is not None


def test_the_sandboxes_answers_are_not_taken_for_the_services(
    talk: bn.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEATRA_SANDBOX_ENGINE", "scripted")
    file = tmp_path / "c.beatra"
    talk.map(WORDS, SAY, checkpoint=file, progress=False)
    with bn.Client(mode="sandbox") as other, pytest.raises(bn.CheckpointError, match="answered by"):
        other.map(WORDS, SAY, checkpoint=file, progress=False)


def test_a_lambda_is_known_by_its_code_alone(talk: bn.Client, tmp_path: Path) -> None:
    file = tmp_path / "c.beatra"
    first = talk.map(WORDS, lambda word: f"Repeat: {word}", checkpoint=file, progress=False)
    again = talk.map(WORDS, lambda word: f"Repeat: {word}", checkpoint=file, dedupe=True, progress=False)
    assert again.totals.resumed == len(first)
    with pytest.raises(bn.CheckpointError, match="prompt"):
        talk.map(WORDS, lambda word: f"Repeat {word}", checkpoint=file, progress=False)


def test_a_check_says_why_it_ended(talk: bn.Client) -> None:
    def check(spent: Any) -> bool | str:
        return spent.calls < 2 or "two are enough"

    result = talk.map(WORDS, SAY, budget=check, max_active=1, progress=False)
    assert "two are enough" in str(result.stopped)


def test_a_subclass_of_a_series_is_its_librarys(talk: bn.Client) -> None:
    class Own(pd.Series):
        @property
        def _constructor(self) -> type:
            return Own

    assert list(talk.map(Own(WORDS, index=list("abcde")), SAY, progress=False).index) == list("abcde")
