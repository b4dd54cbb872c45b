"""Prompts to look at: one with its fields marked, and a directory of them."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb import display
from beatra_nb.display import html, markdown, plain
from beatra_nb.display.pieces import NORMAL
from beatra_nb.display.prompts import marked
from beatra_nb.display.view import Marked, Stack, Table, Text
from tests.display.audit import audit
from tests.display.test_hostile import ATTACKS, check_html, check_markdown


def whole() -> bn.Prompt:
    return bn.Prompt(
        "Translate {word!r} into {First name}'s language.",
        system="You are {tone}.",
        examples=[("cheese", "fromage")],
        model="sandbox-scripted",
        temperature=0.5,
        max_tokens=9,
        schema={"type": "object", "title": "Answer"},
        options={"seed": 7},
        name="Words",
        notes="Made on a Monday.",
    )


def test_a_prompt_shows_all_that_is_sent() -> None:
    prompt = whole()
    for text in (display.to_html(prompt), display.to_markdown(prompt), display.to_plain(prompt)):
        for words in (
            "Words", "Made on a Monday", "You are", "Translate", "{word!r}", "language.", "fromage", "1 example",
            "sandbox-scripted", "0.5", "seed", "Schema of the answer", "tone, word, First name", prompt.version,
        ):  # fmt: skip
            assert words in text, words
    assert repr(prompt).startswith("Prompt(user="), "its repr is Python still"


def test_fields_stand_out() -> None:
    prompt = whole()
    assert display.to_html(prompt).count('font-weight:600">{') == 3
    assert "Translate `{word!r}` into `{First name}`'s language." in display.to_markdown(prompt)
    assert "Translate {word!r} into {First name}'s language." in display.to_plain(prompt)


def test_half_a_prompt_and_a_long_one() -> None:
    assert "No prompt yet." in display.to_plain(bn.Prompt())
    long = display.to_plain(bn.Prompt("x" * 100_000 + "{word}"))
    assert "more characters are not shown" in long


@given(st.text(st.sampled_from("{}ab \n!r:`*_$\\"), max_size=60))
def test_marked_texts_are_the_text(text: str) -> None:
    view = marked(text, NORMAL)
    assert isinstance(view, Marked)
    assert "".join(piece for piece, _ in view.pieces) == text
    check_html(html.render(view))
    check_markdown(markdown.render(view))


def test_marked_pieces_are_text_whatever_they_hold() -> None:
    for attack in ATTACKS:
        view = Marked(((attack, False), (attack, True), (f"  {attack}", False), (attack, True)))
        check_html(html.render(Stack((view, Table(("a",), ((view,),))))))
        check_markdown(markdown.render(view))
        check_markdown(markdown.render(Table(("a",), ((view,),))))
        assert plain.render(view)


def test_marked_lines_stay_lines() -> None:
    view = Marked((("one\ntwo ", False), ("{x}", True), (" three\n    four", False)))
    assert plain.render(view) == "one\ntwo {x} three\n    four"
    assert markdown.render(view).startswith("one\\\ntwo `{x}` three\\\n")
    assert "one\ntwo " in html.render(Stack((view, Text("x"))))


def test_a_directory_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    whole().save(tmp_path / "words.json")
    bn.Prompt("Welcome {name} to a place of which a great many words might be said, and are not.").save(
        tmp_path / "mail" / "welcome.json"
    )
    (tmp_path / "broken.json").write_text('{"beatra_prompt": 1, "usr": "<b>"}', "utf-8")
    library = bn.prompts(tmp_path)
    for text in (display.to_html(library), display.to_markdown(library), display.to_plain(library)):
        for words in (
            "words", "mail/welcome", "Welcome", "tone, word, First name", "sandbox-scripted", whole().version,
            "2 prompts", "1 cannot be read", "usr",
        ):  # fmt: skip
            assert words in text, words
    audit(display.to_html(library))
    check_markdown(display.to_markdown(library))


def test_an_empty_directory(tmp_path: Path) -> None:
    assert "No prompts yet" in display.to_plain(bn.prompts(tmp_path))
