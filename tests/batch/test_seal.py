"""The key on its way to a worker."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beatra_nb.batch.seal import Lock, seal
from beatra_nb.core.errors import ConfigurationError
from beatra_nb.core.settings import Secret

KEY = "sk-" + "q7Zr" * 8


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=80))
@settings(max_examples=25)
def test_who_it_was_sealed_for_can_open_it(key: str) -> None:
    lock = Lock()
    ours, sealed = seal(Secret(key), lock.public)
    assert lock.open(ours, sealed).reveal() == key
    assert len(key) < 4 or key.encode() not in sealed


def test_nobody_else_can() -> None:
    ours, sealed = seal(Secret(KEY), Lock().public)
    with pytest.raises(ConfigurationError, match="did not arrive"):
        Lock().open(ours, sealed)


@given(st.integers(0, len(KEY) + 31), st.integers(1, 255))
@settings(max_examples=25)
def test_a_change_on_the_way_is_noticed(at: int, change: int) -> None:
    lock = Lock()
    ours, sealed = seal(Secret(KEY), lock.public)
    changed = sealed[:at] + bytes([sealed[at] ^ change]) + sealed[at + 1 :]
    with pytest.raises(ConfigurationError):
        lock.open(ours, changed)


def test_the_same_key_never_looks_the_same() -> None:
    lock = Lock()
    assert seal(Secret(KEY), lock.public) != seal(Secret(KEY), lock.public)


@pytest.mark.parametrize("number", [-1, 0, 1])
def test_numbers_that_give_it_away_are_refused(number: int) -> None:
    with pytest.raises(ConfigurationError, match="unfit"):
        seal(Secret(KEY), number)


def test_a_lock_shows_nothing_and_stays() -> None:
    lock = Lock()
    assert str(lock.public) not in repr(lock)
    with pytest.raises(TypeError):
        pickle.dumps(lock)
