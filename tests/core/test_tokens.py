"""Estimates without a tokenizer, held against a real one."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb import sandbox
from beatra_nb.core.client import Client
from beatra_nb.core.tokens import PER_CALL, PER_MESSAGE, estimate, estimate_messages, price_range


@given(st.text(), st.text())
def test_more_text_has_no_fewer_tokens(first: str, second: str) -> None:
    assert 0 <= estimate(first) <= estimate(first + "\n" + second)
    assert estimate(first) <= 2 * len(first) + 1


def test_nothing_has_none() -> None:
    assert estimate("") == 0
    assert estimate_messages([]) == PER_CALL


def test_messages_cost_more_than_their_texts() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Say hi."}, {"type": "image"}]},
        {"role": "assistant", "content": None},
    ]
    texts = estimate("Be brief.") + estimate("Say hi.")
    assert estimate_messages(messages) == texts + 3 * PER_MESSAGE + PER_CALL


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a" * 10**6, 166_667),
        (" " * 10**6, 1),
        (" \n" * 10**6, 2),
        ("aA" * 10**5, 100_001),
        ("(" * 10**6, 625_000),
        ("漢" * 10**6, 1_600_000),
    ],
)
def test_hostile_text_is_read_in_one_go(text: str, tokens: int) -> None:
    assert estimate(text) == tokens  # a pattern that tries again and again would not end within a test's time


def test_scripts_weigh_differently() -> None:
    assert estimate("1234567890") > estimate("abcdefghij")
    assert estimate("漢字漢字") > estimate("abcd")
    assert estimate("ABCDEFGHI") > estimate("abcdefghi")


# Other texts than those that the weights were found with.
ENGLISH = [
    "Write a short poem about the sea in winter, with four lines and no rhymes.",
    "Dear Mr Brown, thank you for your letter of 3 March. We are sorry that your parcel arrived late.",
    '[{"id": 17, "title": "Tea", "tags": ["hot", "green"]}, {"id": 18, "title": "Coffee", "tags": []}]',
    "for name in names:\n    if name.startswith('A'):\n        print(name.upper())\n",
    "1. Read the text.\n2. List three facts.\n3. Say which of them surprised you most, and why.\n",
]
OTHERS = [
    "Bitte schreibe eine kurze Geschichte über einen Hund, der nicht schlafen kann.",
    "Напиши короткий рассказ о собаке, которая не может уснуть.",
    "请写一个关于一只睡不着的狗的短篇故事。",
    "眠れない犬についての短い話を書いてください。",
]


@pytest.mark.weights
def test_estimates_are_near_a_real_tokenizer_s_counts() -> None:
    with (
        sandbox.start(engine="smollm2") as service,
        Client(service.api_key, base_url=service.base_url) as client,
    ):

        def counted(text: str) -> int:
            usage = client.chat(text, system=".", model="sandbox-smollm2", max_tokens=1).usage
            assert usage is not None
            assert usage.prompt_tokens is not None
            return usage.prompt_tokens

        def guessed(text: str) -> int:
            return estimate_messages([{"role": "system", "content": "."}, {"role": "user", "content": text}])

        for text in ENGLISH:
            assert guessed(text) == pytest.approx(counted(text), rel=0.25), text
        for text in OTHERS:
            assert 0.4 <= guessed(text) / counted(text) <= 1.1, text


def test_prices_are_a_range_of_what_was_seen() -> None:
    calls = [(100, Decimal("0.5")), (50, Decimal("0.3")), (10, None), (None, Decimal(1)), (0, Decimal(0))]
    assert price_range(1000, calls) == (Decimal(5), Decimal(6))
    assert price_range(0, calls) == (0, 0)
    assert price_range(1000, [(100, Decimal(0))]) == (0, 0)


def test_no_price_where_none_is_known() -> None:
    assert price_range(1000, []) is None
    assert price_range(1000, [(None, None), (5, Decimal("NaN")), (-1, Decimal(1)), (5, Decimal(-1))]) is None
