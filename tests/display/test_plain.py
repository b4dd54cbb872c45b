"""Text for terminals, and characters made visible."""

from __future__ import annotations

import pytest

from beatra_nb.display import plain
from beatra_nb.display.clean import one_line, visible
from beatra_nb.display.view import Badge, Code, Details, Fields, Message, Note, Prose, Row, Stack, Table, Text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\tand\nsimple", "plain\tand\nsimple"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("\x1b[31m\x00\x7f\x9b", "␛[31m␀␡⟨U+009B⟩"),
        ("a\u202eb\u2066c", "a⟨U+202E⟩b⟨U+2066⟩c"),
        ("pass\u200bword \u200cx", "pass⟨U+200B⟩word ⟨U+200C⟩x"),
        ("👩‍👩‍👧‍👦 ❤️ 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", None),
        ("می‌خواهم क्‍ष ไทย\u200bไทย", None),
        ("x\U000e0068\U000e0069", "x⟨hidden: hi⟩"),
        ("😀\ufe01\ufe02\ufe03", "😀⟨U+FE01⟩⟨U+FE02⟩⟨U+FE03⟩"),
        ("\ud800 \uffff \ufeff", "� � ⟨U+FEFF⟩"),
        ("عربي עברית 中文 ไทย हिन्दी", None),
    ],
)
def test_hidden_characters_become_visible_and_honest_ones_stay(text: str, shown: str | None) -> None:
    assert visible(text) == (text if shown is None else shown)
    assert visible(visible(text)) == visible(text)


def test_one_line_is_short_whatever_comes() -> None:
    assert one_line("a\n  b", 10) == "a b"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"
    assert one_line(" " * 1000 + "x", 10).endswith("…")
    assert one_line(None, 10) == "None"
    assert len(one_line("\u202e" * 10_000_000, 40)) == 40


def test_columns_stand_under_each_other_for_wide_letters_too() -> None:
    table = Table(("Name", "Count"), ((Text("中文字"), Text("1")), (Text("abc"), Text("22"))), frozenset({1}))
    lines = plain.render(table).split("\n")
    assert lines == ["Name    Count", "──────  ─────", "中文字      1", "abc        22"]
    assert plain.width("e\u0301") == 1
    assert plain.width("👩") == 2


def test_every_node_has_a_plain_form() -> None:
    view = Stack(
        (
            Message("You", Prose("**Hi**"), footer=Row((Badge("", "1 s"),))),
            Note("Mind this.", "warn"),
            Fields((("a", Text("1\n2")), ("long", Badge("x", tone="good")))),
            Details("More", Code("x = 1", "python", "Code")),
        )
    )
    assert plain.render(view) == (
        "You:\n  **Hi**\n  1 s\n\n! Mind this.\n\na     1\n      2\nlong  [x]\n\nMore:\n  Code\n      x = 1"
    )
