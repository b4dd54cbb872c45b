"""Texts with gaps: what is a field, what stays as it is, and what is said where a value does not fit."""

from __future__ import annotations

import datetime
import decimal
from collections import ChainMap
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.core.template import Template, escape

# Texts in which braces, names and formats are likely.
BRACED = st.lists(st.sampled_from([*"{}{}{}!:.-( )\n\"'19xé€😀", "name", "{a}", "{{a}}", ":>5", "!r"])).map(
    "".join
)
TEXTS = st.one_of(BRACED, st.text())


@pytest.mark.parametrize(
    ("text", "values", "rendered"),
    [
        ("Hi {name}!", {"name": "Ada"}, "Hi Ada!"),
        ("{name!r} {name!s} {name!a}", {"name": "é"}, "'é' é '\\xe9'"),
        ("{n:03d}|{n!r:>5}|{n: d}|{n:}", {"n": 7}, "007|    7| 7|7"),
        ("{n: >5}|{x: .1f}|{x:,.2f}", {"n": 7, "x": 1234.5}, "    7| 1234.5|1,234.50"),
        ("{day:%d. %B %Y}", {"day": datetime.date(2026, 1, 2)}, "02. January 2026"),
        (
            "{First name} {last-name} {a.b} {_x}",
            {"First name": 1, "last-name": 2, "a.b": 3, "_x": 4},
            "1 2 3 4",
        ),
        ("{Length (mm)} {Share (%):.0f}", {"Length (mm)": 5, "Share (%)": 12.3}, "5 12"),
        ("{größe} {नाम} {名前}", {"größe": 1, "नाम": 2, "名前": 3}, "1 2 3"),
        ("{cafe\u0301}", {"caf\u00e9": 1}, "1"),
        ("{a}{b}{a}", {"a": "{b}", "b": "{a}"}, "{b}{a}{b}"),
        ("{{name}} {{n:03d}} {{{{name}}}}", {}, "{name} {n:03d} {{name}}"),
        ("{{{name}}} {{name} {name}}", {"name": 1}, "{1} {1 1}"),
        ('{"who": {name}}', {"name": '"Ada"'}, '{"who": "Ada"}'),
        ("{name}", ChainMap({}, {"name": 1}), "1"),
        ("{a b} {n}", pd.Series({"a b": "x", "n": 2}), "x 2"),
        ("{flag} {items}", {"flag": True, "items": [1, "a"]}, "True [1, 'a']"),
        ("{x!s}, {y!r}", {"x": None, "y": float("nan")}, "None, nan"),
    ],
)
def test_fields_are_filled(text: str, values: Any, rendered: str) -> None:
    assert Template(text).render(values) == rendered


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"a": 1, "b": {"c": []}}',
        "{}",
        "{ name }",
        "{name }",
        "{1, 2}",
        "{2}",
        r"\d{3,5} \w{2}",
        "{a, b}",
        "{color: red}",
        "{f(x)}",
        "{a[0]}",
        "{a\nb}",
        "{name!x}",
        "{name",
        "name}",
        "}{",
        "{{}} {{{{",
        "{😀}",
        "{“a”}",
        "{x + 1}",
    ],
)
def test_other_braces_stay_as_they_are(text: str) -> None:
    template = Template(text)
    assert template.names == ()
    assert template.render({"name": "no", "a": "no"}) == text
    assert escape(text) == text


@given(TEXTS)
def test_an_escaped_text_renders_to_itself(text: str) -> None:
    assert Template(escape(text)).render({}) == text


@given(TEXTS, TEXTS, st.text())
def test_a_field_between_escaped_texts_is_the_value_between_the_texts(
    before: str, after: str, value: str
) -> None:
    assume(
        not (before.endswith("{") and after.startswith("}"))
    )  # braces that would be a pair around the field
    template = Template(escape(before) + "{name}" + escape(after))
    assert template.render({"name": value}) == before + value + after
    [field] = template.fields
    assert template.text[field.start : field.end] == "{name}"


def test_names_come_once_and_in_order_with_their_places() -> None:
    template = Template("{b} {{c}} {a!r:>3} {b:d}")
    assert template.names == ("b", "a")
    assert [(each.name, each.conversion, each.spec) for each in template.fields] == [
        ("b", None, ""),
        ("a", "r", ">3"),
        ("b", None, "d"),
    ]
    assert [template.text[each.start : each.end] for each in template.fields] == ["{b}", "{a!r:>3}", "{b:d}"]
    assert template == Template(template.text)
    assert hash(template) == hash(Template(template.text))


def refused(text: str, values: Any) -> bn.InvalidInput:
    with pytest.raises(bn.InvalidInput) as caught:
        Template(text).render(values)
    return caught.value


def test_a_missing_name_is_told_with_the_nearest_and_the_others() -> None:
    error = refused("{nmae}", {"name": 1, "age": 2, "_hidden": 3, 7: 4})
    assert "There is no value for {nmae}." in error.message
    assert error.hint is not None
    assert "Did you mean {name}?" in error.hint
    assert "There are: name, age." in error.hint
    assert "{{nmae}}" in error.hint
    assert "Did you mean {NAME}" in str(refused("{name}", {"NAME": 1}))
    assert "and 8 more" in str(refused("{x}", {f"column_{number}": 0 for number in range(20)}))
    assert len(str(refused("{x}", {"y" * 10**6: 0}))) < 200


def test_attributes_are_never_looked_up() -> None:
    error = refused("{day.year}", {"day": datetime.date(2026, 1, 2)})
    assert "no attributes" in str(error)
    assert Template("{a.__class__}").names == ("a.__class__",)


@pytest.mark.parametrize(
    "value",
    [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), decimal.Decimal("nan")],
)
def test_a_missing_value_is_an_error_that_names_its_column(value: object) -> None:
    error = refused("Dear {Last name},", {"Last name": value})
    assert "{Last name} is missing" in error.message
    assert "{Last name!s}" in str(error.hint)


class Rude:
    def __str__(self) -> str:
        raise KeyError("no")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{x:d}", "text"),
        ("{x:.2f}", [1]),
        ("{x:%Y}", "x"),
        ("{x}", Rude()),
        ("{x:zzz}", 1),
        ("{x:>9999999999}", 1),
    ],
)
def test_a_format_that_does_not_fit_is_an_error(text: str, value: object) -> None:
    error = refused(text, {"x": value})
    assert "{x}" in error.message
    assert error.hint


def test_arrays_are_values_like_others() -> None:
    assert Template("{x}").render({"x": np.array([1, 2])}) == "[1 2]"


@pytest.mark.parametrize("values", [5, "text", ["a"], None])
def test_values_without_names_are_refused(values: Any) -> None:
    assert "by name, in a dict" in str(refused("{x}", values))


def test_a_template_is_text() -> None:
    with pytest.raises(bn.InvalidInput, match="not int"):
        Template(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["{", "{a", "{a ", "{a (", "{a:", "{a!", "{{a}", "a.", "}", "{a-"])
def test_hostile_text_is_read_in_one_go(part: str) -> None:
    """A quadratic reader would need hours for these: the suite's time-out is the bound."""
    text = "{" + part * 100_000
    assert Template(escape(text)).render({}) == text
