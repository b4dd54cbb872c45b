"""What became of a row: small, and the same when it is read back."""

from __future__ import annotations

import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.batch.delivery import kept_of, outcome_of
from beatra_nb.batch.outcome import Outcome, Trouble

WORDS = st.text(max_size=30)
TROUBLES = st.builds(
    Trouble, WORDS, WORDS, st.none() | WORDS, st.booleans(), st.booleans(), st.none() | WORDS
)
OUTCOMES = st.builds(
    Outcome,
    position=st.integers(0, 2**40),
    text=st.none() | WORDS,
    request_id=st.none() | WORDS,
    model=st.none() | WORDS,
    credits=st.none() | st.decimals(0, 10**6, allow_nan=False, places=4),
    prompt_tokens=st.integers(0, 2**40),
    completion_tokens=st.integers(0, 2**40),
    attempts=st.integers(0, 100),
    elapsed=st.floats(0, 10**6),
    error=st.none() | TROUBLES,
    deduped=st.booleans(),
    stored=st.just(True),
    generation=st.integers(0, 9),
    sandbox=st.booleans(),
)


@given(OUTCOMES)
def test_it_is_the_same_when_it_is_read_back(outcome: Outcome) -> None:
    kept = kept_of(b"body", outcome)
    assert outcome_of(kept) == outcome
    assert kept.finished == outcome.finished


def test_numbers_that_no_file_holds_are_cut() -> None:
    kept = kept_of(b"", Outcome(0, prompt_tokens=10**30))
    assert kept.prompt_tokens < 2**63


def test_it_is_small() -> None:
    text, request_id = "Hello", "req_01M843YQ90TVD6P87YQF8C16MC"
    outcome = Outcome(123_456, text, None, request_id, "m1", Decimal("0.0105"), 300, 300, 1, 0.5)
    parts = [outcome.position, outcome.request_id, outcome.credits, outcome.prompt_tokens,
             outcome.completion_tokens, outcome.elapsed]  # fmt: skip
    assert sys.getsizeof(outcome) + sum(map(sys.getsizeof, parts)) <= 500


def sent(error: bn.BeatraError, *, doubtful: bool) -> bn.BeatraError:
    error.attempts, error.doubtful = 2, doubtful
    return error


REPLY = bn.Reply("no number", model="m1", usage=bn.Usage(3, 2, 5, Decimal("0.5")), sandbox=True)


@pytest.mark.parametrize(
    ("error", "finished", "generation"),
    [
        (sent(bn.Timeout("Silence.", retryable=True), doubtful=True), False, 4),
        (sent(bn.RateLimited("Busy.", code="rate_limited", retryable=True), doubtful=False), False, 5),
        (sent(bn.InvalidRequest("No.", code="invalid_request"), doubtful=False), True, 5),
        (sent(bn.InsufficientBalance("Empty.", code="insufficient_balance"), doubtful=False), False, 5),
        (sent(bn.InvalidData("No fit.", reply=REPLY, errors=[]), doubtful=True), True, 5),
        (bn.InvalidInput("No such column."), True, 5),
    ],
)
def test_what_is_asked_again_and_under_which_key(
    error: bn.BeatraError, finished: bool, generation: int
) -> None:
    outcome = Outcome.of_error(0, 4, error)
    assert (outcome.ok, outcome.finished, outcome.next_generation) == (False, finished, generation)


def test_an_answer_that_does_not_fit_was_paid_for() -> None:
    outcome = Outcome.of_error(0, 0, bn.InvalidData("No fit.", reply=REPLY, errors=[]))
    assert (outcome.text, outcome.credits, outcome.prompt_tokens) == ("no number", Decimal("0.5"), 3)
    assert outcome.sandbox


def test_who_follows_pays_nothing() -> None:
    follower = Outcome.of_reply(1, 0, REPLY).for_follower(7)
    assert (follower.position, follower.text, follower.credits) == (7, "no number", 0)
    assert follower.deduped
    assert follower.prompt_tokens == follower.attempts == 0
