"""The error tree, as its drawing says."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

import beatra_nb as bn
from beatra_nb.core import errors

TREE = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, bn.BeatraError | bn.Interrupted) and kind.__module__ == errors.__name__
]


def drawn() -> dict[str, str]:
    """Child → parent, read off the drawing in the module's docstring."""
    parents, path = {}, []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│ ]*)(?:[├└]── )?([A-Z]\w+)\b", line):
            depth = 0 if "──" not in line else len(found[1]) // 4 + 1
            path[depth:] = [found[2]]
            if depth:
                parents[found[2]] = path[depth - 1]
    return parents


def test_the_drawing_is_the_tree() -> None:
    assert drawn() == {
        kind.__name__: kind.__bases__[0].__name__
        for kind in TREE
        if kind not in (bn.BeatraError, bn.Interrupted)
    }


def test_every_error_is_public() -> None:
    assert {kind.__name__ for kind in TREE} <= set(bn.__all__)


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling_and_copying_with_all_it_knows(kind: type[BaseException]) -> None:
    reply = bn.Reply("half", complete=False, request_id="req_1")
    more: dict[str, object] = {"hint": "Do this.", "idempotency_key": "k"}
    if issubclass(kind, bn.Interrupted):
        more |= {"reply": reply}
    else:
        more |= {"request_id": "req_1", "retryable": True, "attempts": 3}
    if kind is bn.IncompleteStream:
        more |= {"reply": reply, "cause": bn.Timeout("slow", retryable=True)}
    if kind is bn.InvalidData:
        more |= {"reply": reply, "errors": [{"loc": ("a",), "msg": "m"}]}
    if issubclass(kind, bn.APIError):
        more |= {"code": "c", "status": 400, "param": "/a", "details": {"b": [1]}, "body": "{}"}
    error = kind("What happened.", **more)  # type: ignore[arg-type]
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert again.args == error.args
        fields = dict(vars(again))
        expected = dict(vars(error))
        if kind is bn.IncompleteStream:
            assert str(fields.pop("cause")) == str(expected.pop("cause"))
        assert fields == expected
    assert "What happened." in str(error)


def test_kin_of_the_standard_library() -> None:
    assert issubclass(bn.InvalidInput, ValueError)
    assert issubclass(bn.Timeout, TimeoutError)
    assert issubclass(bn.Interrupted, KeyboardInterrupt)
    assert not issubclass(bn.Interrupted, Exception), "`except Exception` in a loop must not swallow it"


def test_a_person_reads_what_happened_what_to_do_and_the_id() -> None:
    error = bn.RateLimited("Too much.", code="rate_limited", status=429, hint="Wait.", request_id="req_7")
    assert str(error) == "429 rate_limited: Too much. Wait. (request id req_7)"
