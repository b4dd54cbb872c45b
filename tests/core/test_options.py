"""Names of options: what can only be a mistake is refused before it is sent, and everything else goes as it is."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.core import options
from beatra_nb.core.request import ChatRequest


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("temprature", "temperature"),
        ("Temperature", "temperature"),
        ("max_token", "max_tokens"),
        ("sytem", "system"),
        ("shema", "schema"),
        ("budgt", "budget"),
        ("respone_format", "response_format"),
        ("topp", "top_p"),
    ],
)
def test_a_misspelt_one_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(bn.InvalidInput, match=f"'{name}'.*Did you mean '{nearest}'"):
        ChatRequest.of("hi", **{name: 1})


@pytest.mark.parametrize(
    "name", ["top_k", "min_tokens", "speed", "repetition_penalty", "x", "own_field", "n"]
)
def test_any_other_field_goes_as_it_is(name: str) -> None:
    assert ChatRequest.of("hi", **{name: 1}).body[name] == 1


@pytest.mark.parametrize("name", sorted(options.CONNECTION))
def test_what_belongs_to_the_connection_is_not_sent_in_a_body(name: str) -> None:
    with pytest.raises(bn.InvalidInput, match=r"bn\.connect") as caught:
        ChatRequest.of("hi", **{name: "planted-value"})
    assert "planted-value" not in str(caught.value)


def test_what_belongs_to_a_batch_is_no_option_of_one_call() -> None:
    with pytest.raises(bn.InvalidInput, match=r"bn\.map"):
        ChatRequest.of("hi", checkpoint="x")
    options.check(["checkpoint"], also=options.BATCH)


def test_the_verbs_know_their_own_keywords() -> None:
    """Or a misspelt one of a keyword that is new would pass again."""

    def keywords(verb: object) -> set[str]:
        parameters = inspect.signature(verb).parameters.values()  # type: ignore[arg-type]
        return {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}

    assert keywords(bn.chat) | keywords(bn.stream) <= options.VERBS
    assert keywords(bn.map) <= options.VERBS | options.BATCH
    assert keywords(bn.connect) - {"mode", "journal", "speed"} | {"api_key"} == options.CONNECTION


@given(st.lists(st.text(max_size=20), max_size=4))
def test_any_names_are_taken_or_refused(names: list[str]) -> None:
    try:
        options.check(names)
    except bn.InvalidInput as error:
        assert error.hint  # noqa: PT017
