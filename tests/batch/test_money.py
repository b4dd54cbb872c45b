"""What a batch costs: a row is paid once, every charge is told, and a budget is used to its end and not beyond."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pydantic
import pytest

import beatra_nb as bn
from beatra_nb.batch.pace import Pace
from beatra_nb.batch.stop import Stop
from beatra_nb.core.errors import InsufficientBalance, InvalidInput, RateLimited, ServerError
from beatra_nb.sandbox import Sandbox
from tests.batch.driving import Seldom, jobs, ran


def charged(box: Sandbox, since: int) -> int:
    """How many calls did work since then: the sandbox's own word."""
    return sum(seen.effect for seen in box.seen[since:])


def never(value: str) -> str:
    raise ValueError("must be a capital")


class Never(pydantic.BaseModel):
    name: Annotated[str, pydantic.AfterValidator(never)]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("insufficient_balance;on=chat", InsufficientBalance),
        ("rate_limited;retry_after=900;on=chat", RateLimited),
        ("500;on=chat", ServerError),
    ],
)
def test_an_answer_that_could_not_be_mended_is_told_and_not_paid_again(
    talk: bn.Client, box: Sandbox, tmp_path: Path, fault: str, kind: type[bn.BeatraError]
) -> None:
    since = len(box.seen)
    box.inject("slow:0.001;on=chat")  # the first answer comes, and what it should be asked again for does not
    box.inject(fault, 10)
    asking: dict[str, Any] = {"schema": Never, "checkpoint": tmp_path / "c", "progress": False}
    try:
        result = talk.map(["Lisbon"], "City of {x}?", **asking)
    except kind as stopped:
        result = stopped.result  # type: ignore[attr-defined]
    assert result[0].error is not None
    assert result[0].error.type == kind.__name__
    assert result.credits > 0, "what came before was paid"
    assert charged(box, since) == 1
    assert result[0].sandbox

    box.clear()
    again = talk.map(["Lisbon"], "City of {x}?", **asking, repairs=0)
    assert again[0].error is not None
    assert again[0].error.type == "InvalidData"
    assert charged(box, since) == 1, "it lay ready under the key of the row"


@pytest.mark.parametrize("active", [4, 64])
def test_a_budget_is_used_to_its_end_also_by_rows_that_are_asked_again(
    talk: bn.Client, box: Sandbox, active: int
) -> None:
    box.inject("slow:0.02;on=chat;share=1")
    talk.map(["one", "two"], "City {x} and something", schema=Seldom, progress=False)  # prices are known now
    since = len(box.seen)
    budget = bn.budget(credits="1.5")
    rows = [f"c{number}" for number in range(400)]
    result = talk.map(
        rows, "City {x} and something", schema=Seldom, max_active=active, budget=budget, progress=False
    )
    assert result.stopped is not None
    assert "has no room for another row" in result.stopped
    assert "retry_failed(budget=…)" in result.stopped
    assert Decimal("1.35") < budget.spent.credits <= Decimal("1.5")
    assert result.credits == budget.spent.credits, "what was paid for rows that were left out is told as well"
    assert charged(box, since) == budget.spent.calls

    whole = result.retry_failed(budget=100)
    assert len(whole) == len(rows)
    paid = Counter(seen.idempotency_key for seen in box.seen[since:] if seen.effect)
    assert max(paid.values()) == 1
    answered = [out for out in whole if out.ok]
    assert len(answered) > 300


def test_one_goes_ahead_where_nobody_knows_what_it_costs(tmp_path: Path) -> None:
    with bn.sandbox.start(
        engine="scripted", faults=True
    ) as box:  # a place of its own: its prices are not known
        box.inject("slow:0.05;on=chat;share=1")
        with bn.Client(box.api_key, base_url=box.base_url) as talk:
            budget = bn.budget(credits=10)
            rows = [f"Write a text of 2000 words about {number}" for number in range(100)]
            result = talk.map(rows, "{x}", budget=budget, max_active=64, progress=False)
    assert result.stopped is not None
    assert 2 < len(result) < 10
    assert budget.spent.credits <= 10


def test_a_failure_that_may_have_been_paid_is_no_last_word(
    talk: bn.Client, box: Sandbox, tmp_path: Path
) -> None:
    """Such as a page of a captive portal, with status 200 for everything."""
    box.inject("html:200;on=chat;share=1")
    rows = [f"w{number}" for number in range(300)]
    with pytest.raises(bn.UnexpectedResponse) as caught:
        talk.map(rows, "Say {x}", checkpoint=tmp_path / "c", progress=False)
    assert len(caught.value.result) < 100  # type: ignore[attr-defined]
    box.clear()
    result = talk.map(rows, "Say {x}", checkpoint=tmp_path / "c", progress=False)
    assert all(out.ok for out in result)


def test_a_row_that_raised_is_asked_anew_when_the_cell_is_run_again(
    talk: bn.Client, box: Sandbox, tmp_path: Path
) -> None:
    rows = [f"w{number}" for number in range(6)]
    asking: dict[str, Any] = {
        "checkpoint": tmp_path / "c",
        "on_error": "raise",
        "progress": False,
        "max_active": 1,
    }
    box.inject("slow:0.001;on=chat", 3)
    box.inject("invalid_request;on=chat")
    with pytest.raises(bn.InvalidRequest) as caught:
        talk.map(rows, "Say {x}", **asking)
    before: Any = caught.value.result  # type: ignore[attr-defined]
    assert [out.position for out in before if not out.ok] == [3]
    since = len(box.seen)
    result = talk.map(rows, "Say {x}", **asking)
    assert all(out.ok for out in result)
    assert charged(box, since) == len(rows) - len(before.ok)


def test_what_is_on_the_wire_comes_home_when_a_row_raises(talk: bn.Client, box: Sandbox) -> None:
    since = len(box.seen)
    box.inject("slow:1.2;on=chat", 5)
    box.inject("invalid_request;on=chat")
    with pytest.raises(bn.InvalidRequest) as caught:
        talk.map([f"w{number}" for number in range(6)], "Say {x}", on_error="raise", progress=False)
    result: Any = caught.value.result  # type: ignore[attr-defined]
    assert sum(out.ok for out in result) == charged(box, since) == 5


def test_a_part_and_a_frame_may_be_asked_again(talk: bn.Client, box: Sandbox) -> None:
    box.inject("slow:0.001;on=chat", 1)
    box.inject("invalid_request;on=chat")
    rows = ["a", "b", "c"]
    result = talk.map(rows, "Say {x}", max_active=1, progress=False)
    rows.sort(reverse=True)  # changed since then: an answer still belongs to the row that it is about
    assert len(result.failed) == 1
    whole = result.failed.retry_failed()
    assert [out.ok for out in whole] == [True, True, True]
    assert whole.to_frame()["value"].tolist() == ["a", "b", "c"]
    assert whole.texts[1] is not None
    assert "b" in whole.texts[1]

    box.inject("invalid_request;on=chat")
    frame = talk.map(pd.DataFrame({"x": ["a", "b"]}), "Say {x}", max_active=1, progress=False)
    assert frame["error"].notna().tolist() == [True, False]
    last = bn.last_batch()
    assert last is not None
    assert all(out.ok for out in last.retry_failed())


def test_the_budget_that_refuses_is_named(talk: bn.Client, box: Sandbox) -> None:
    rows = [f"w{number}" for number in range(200)]
    with bn.budget(credits="0.1"):
        result = talk.map(rows, "Say {x}", budget=100, progress=False)
    assert result.stopped is not None
    assert result.stopped.startswith("A budget around the batch has no room")
    checked = bn.budget(credits=50, check=lambda spent: "enough for today" if spent.calls > 9 else True)
    result = talk.map(rows, "Say {x}", budget=checked, progress=False)
    assert result.stopped is not None
    assert "refuses more: enough for today" in result.stopped


def test_answers_that_were_cut_off_are_counted(talk: bn.Client, box: Sandbox, tmp_path: Path) -> None:
    for resumed in (0, 2):
        result = talk.map(
            ["Write 50 words", "Repeat: two"], "{x}", max_tokens=5, checkpoint=tmp_path / "c", progress=False
        )
        assert [out.cut for out in result] == [True, False]
        assert result.totals.resumed == resumed
        assert "1 answer at max_tokens" in result._repr_html_()


def test_a_prompt_that_uses_nothing_of_the_rows_is_refused(talk: bn.Client, box: Sandbox) -> None:
    since = len(box.seen)
    with pytest.raises(InvalidInput, match="single braces"):
        talk.map([{"text": "a"}, {"text": "b"}], "Repeat: {{text}}", progress=False)
    assert len(box.seen) == since


async def test_no_place_is_lost_when_it_stops(box: Sandbox) -> None:
    """A row was being made for a place when the batch was told to stop."""
    pace, stop = Pace(1), Stop()

    def rows() -> Any:
        for job in jobs(10):
            if job.position == 2:
                stop.stop()
            yield job

    await ran(box.base_url, box.api_key, rows(), pace=pace, stop=stop, blocking=True)
    assert pace.active == 0
