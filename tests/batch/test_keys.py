"""A row's key: the same for the same question, another for any other."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.batch.keys import body_digest, keyed, new_run, row_key
from beatra_nb.core.policy import check_key
from beatra_nb.core.request import ChatRequest

ROW = st.tuples(st.text(max_size=20), st.integers(0, 2**40), st.binary(max_size=32), st.integers(0, 5))


@given(ROW, ROW)
def test_keys_are_the_same_for_the_same_question_alone(
    one: tuple[str, int, bytes, int], other: tuple[str, int, bytes, int]
) -> None:
    assert row_key(*one) == row_key(*one)
    assert (row_key(*one) == row_key(*other)) == (one == other)


def test_a_key_is_one_that_a_header_carries() -> None:
    key = row_key(new_run(), 1, b"body")
    assert check_key(key) == key == str(uuid.UUID(key))


def test_the_digest_is_of_what_is_sent() -> None:
    one = ChatRequest.of("Hi", temperature=0.5)
    assert body_digest(one) == body_digest(ChatRequest.of("Hi", temperature=0.5))
    assert body_digest(one) != body_digest(ChatRequest.of("Hi", temperature=0.6))


def test_a_request_goes_under_its_row_s_key() -> None:
    sent = keyed(ChatRequest.of("Hi"), "key-1")
    assert (sent.key, sent.wire_key) == ("key-1", "key-1")
