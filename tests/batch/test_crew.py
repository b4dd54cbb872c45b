"""What a worker of a cluster does with its part of the places."""

from __future__ import annotations

import time

import pydantic
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.batch.crew import Share
from beatra_nb.batch.outcome import Outcome, Trouble
from beatra_nb.batch.parcel import Order, Report, from_bytes, packed, to_bytes
from beatra_nb.core.policy import LONGEST_RETRY_AFTER
from beatra_nb.core.request import ChatRequest
from beatra_nb.core.typed import Shape


@given(st.lists(st.integers(1, 4096), min_size=1, max_size=8))
def test_a_share_is_what_it_was_last_told(sizes: list[int]) -> None:
    share = Share()
    for size in sizes:
        share.resize(size, None)
        assert share.limit == share.max_active == size


def test_what_the_service_asked_for_stays_in_proportion() -> None:
    share = Share()
    share.resize(16, 4.0)
    share.finish(0.0, share.start(0.0), "limited")
    assert share.limit == 8
    share.resize(8, 2.0)
    assert (share.limit, share.rate) == (4, 2.0)
    share.resize(8, 2.0)
    assert share.limit == 4


@given(st.floats(-1e6, 1e6))
def test_a_hold_is_kept_and_never_shortened_nor_without_end(seconds: float) -> None:
    share = Share()
    share.hold(time.time() + 5)
    before = share.held_until
    share.hold(time.time() + seconds)
    assert before <= share.held_until <= max(before, time.monotonic() + LONGEST_RETRY_AFTER)


def test_rows_travel_whole() -> None:
    asked = [
        ChatRequest.of(f"Is {at} good?", system="Be brief.", schema=list[int], temperature=0.5)
        for at in range(3)
    ]
    order = from_bytes(to_bytes(Order([packed(at, 1, at + 5, each) for at, each in enumerate(asked)], 4)))
    for at, (*about, request) in enumerate(order.requests()):
        each = asked[at]
        assert about == [at, 1, at + 5]
        assert (request.body, request.json, request.shape) == (each.body, each.json, each.shape)


def test_what_was_parsed_stays_behind_where_it_cannot_travel() -> None:
    report = Report()
    report.take(Outcome(3, "yes", data=(each for each in ())))
    report.take(Outcome(4, error=Trouble("Timeout", "Too slow.")))
    home = from_bytes(report.to_bytes()).outcomes()
    assert home == [Outcome(3, "yes"), Outcome(4, error=Trouble("Timeout", "Too slow."))]


class Slow(pydantic.BaseModel):
    word: str

    @pydantic.field_validator("word")
    @classmethod
    def look(cls, word: str) -> str:
        return min(sorted(word * 200) for _ in range(50))[0]


class Quick(pydantic.BaseModel):
    words: list[str]


def test_what_is_parsed_in_no_time_is_parsed_at_home() -> None:
    quick, slow = Shape.of(Quick), Shape.of(Slow)
    text, slow_text = '{"words": ["a", "b"]}', '{"word": "abc"}'
    report = Report()
    assert report.worth_sending(quick) is None
    report.take(Outcome(0, slow_text, slow.parse(slow_text)))
    assert report.worth_sending(slow)
    other = Report()
    other.take(Outcome(0, text, quick.parse(text)))
    assert from_bytes(other.to_bytes(whole=False)).outcomes() == [Outcome(0, text)]
