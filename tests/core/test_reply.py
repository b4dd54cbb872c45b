"""What a call returns: plain data that lasts."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn

COUNT = st.integers(0, 10**9)
MONEY = st.none() | st.decimals(0, 10**6, places=4)
USAGE = st.builds(bn.Usage, COUNT, COUNT, COUNT, MONEY, MONEY)
ANY_TEXT = st.text(st.characters(), max_size=30)  # lone surrogates among them
WORD = st.text("abc-_1", max_size=8)
REPLIES = st.builds(
    bn.Reply,
    ANY_TEXT,
    model=ANY_TEXT,
    request_id=st.none() | WORD,
    usage=st.none() | USAGE,
    finish_reason=st.sampled_from([None, "stop", "length", "tool_calls"]),
    elapsed=st.floats(0, 1e6),
    attempts=st.integers(1, 9),
    tool_calls=st.lists(st.builds(bn.ToolCall, WORD, ANY_TEXT, ANY_TEXT), max_size=2).map(tuple),
    choices=st.lists(ANY_TEXT, max_size=3).map(tuple),
    asked_model=WORD,
    fallback=st.booleans(),
    sandbox=st.booleans(),
    idempotency_key=st.none() | WORD,
    raw=st.dictionaries(
        ANY_TEXT, ANY_TEXT | st.none() | st.integers() | st.lists(ANY_TEXT, max_size=2), max_size=2
    ),
)


@given(reply=REPLIES)
def test_a_reply_survives_pickling_and_copying(reply: bn.Reply) -> None:
    assert pickle.loads(pickle.dumps(reply)) == reply
    assert copy.deepcopy(reply) == copy.copy(reply) == reply
    assert str(reply) == reply.text
    assert "\n" not in repr(reply)
    assert len(repr(reply)) < 2000


def test_a_reply_is_frozen() -> None:
    reply = bn.Reply("x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        reply.text = "y"  # type: ignore[misc]
    assert reply.with_(text="y").text == "y"
    assert reply.text == "x"


def test_a_cut_reply_says_so_in_its_repr() -> None:
    assert "complete=False" in repr(bn.Reply("x", complete=False))
    assert "complete" not in repr(bn.Reply("x"))


def test_usage_adds_up_and_knows_what_it_does_not_know() -> None:
    one = bn.Usage(1, 2, 3, Decimal("0.1"), None)
    two = bn.Usage(10, 20, 30, Decimal("0.2"), Decimal("0.0002"))
    assert one + two == bn.Usage(11, 22, 33, Decimal("0.3"), Decimal("0.0002"))
    assert (one + bn.Usage()).credits == Decimal("0.1")
    assert (bn.Usage() + bn.Usage()).credits is None


@given(usages=st.lists(USAGE, max_size=5))
def test_sums_do_not_depend_on_the_order(usages: list[bn.Usage]) -> None:
    assert sum(usages, bn.Usage()) == sum(reversed(usages), bn.Usage())


def test_lists() -> None:
    models = bn.ModelList([bn.ModelInfo("a"), bn.ModelInfo("b")], request_id="r")
    assert models.ids == ["a", "b"]
    assert models[0].id == "a"
    assert [m.id for m in models[0:1]] == ["a"]
    assert len(models) == 2
    assert bn.ModelInfo("b") in models
    assert "ModelList" in repr(models)
    abilities = bn.CapabilityList([bn.Capability("chat", "Available")])
    assert abilities.get("chat") is abilities[0]
    assert abilities.get("nothing") is None
    assert pickle.loads(pickle.dumps(models)).ids == models.ids


def test_health_is_true_only_when_it_is() -> None:
    assert bn.Health(True, "ok", "u")
    assert not bn.Health(False, "degraded", "u")
