"""Answers without the JSON that was asked for: taken where they mean one thing, and no half of one ever."""

from __future__ import annotations

import datetime
import enum
import json
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from beatra_nb.core.typed import Misfit, Shape

AS_NAME = {"ids": lambda value: str(value)[:40]}


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@pytest.mark.parametrize(
    ("schema", "text", "data"),
    [
        (str, "I cannot say.\n", "I cannot say.\n"),
        (str, '"Yes," she said.', '"Yes," she said.'),
        (str, "[Note] It is.", "[Note] It is."),
        (str, "```python\nx = 1\n```", "```python\nx = 1\n```"),
        (str, '```json\n{"value": "x"}\n```', "x"),
        (str, "1.50", "1.50"),
        (Annotated[str, Field(max_length=9)], "short", "short"),
        (str | None, "None.", None),
        (int | str, "4 apples", "4 apples"),
        (int | str, "4", 4),
        (int, " 42.", 42),
        (int | None, "none", None),
        (float, "**-0.5**", -0.5),
        (bool, "Yes.", True),
        (Literal["good", "bad"], " Good. ", "good"),
        (Literal["good", "bad"], '"Bad".', "bad"),
        (Literal["good", "bad"], '{"value": "GOOD"}', "good"),
        (Literal["no", "No.", "NO"], "No.", "No."),
        (Literal["a", 1], "A", "a"),
        (Mood | None, "bad", Mood.BAD),
        (datetime.date, "2026-11-23", datetime.date(2026, 11, 23)),
        (UUID, str(UUID(int=1)), UUID(int=1)),
        ({"type": "string"}, "As it is.", "As it is."),
        ({"enum": ["good", "bad"]}, "Good", "good"),
        # What a prompt keeps of a plain type.
        (Shape.of(str).json_schema, "As it is.", {"value": "As it is."}),
        (Shape.of(Mood).json_schema, "Good", {"value": "good"}),
        (Shape.of(list[int]).json_schema, "[1, 2]", {"value": [1, 2]}),
    ],
    **AS_NAME,
)
def test_a_bare_answer_is_taken_where_it_means_one_thing(schema: Any, text: str, data: object) -> None:
    read = Shape.of(schema).parse(text)
    assert read == data
    assert type(read) is type(data)


@pytest.mark.parametrize(
    ("schema", "text", "read"),
    [
        (str, "The half of a", False),
        (str, '"all of it"', True),
        (str, '{"value": "all of it"}', True),
        (int, "4", False),
        (bool, "true", False),
        (list[int], "[4]", True),
        (Literal["good", "bad"], "good", True),  # max_tokens=1 is a habit of those who classify
        (Literal["good", "bad"], "Good", False),
    ],
    **AS_NAME,
)
def test_of_an_answer_that_was_cut_off_no_half_is_taken(schema: Any, text: str, read: bool) -> None:
    shape = Shape.of(schema)
    if read:
        assert shape.parse(text, whole=False) == shape.parse(text)
        return
    shape.parse(text)
    with pytest.raises(Misfit):
        shape.parse(text, whole=False)


@given(text=st.text(max_size=40))
def test_any_text_that_is_no_json_is_a_text(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        if text.strip() and text.strip()[0] not in '{["' and text.isprintable():
            assert Shape.of(str).parse(text) == text
