"""Whatever stands in whatever field: it is shown as text, in every format."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from beatra_nb import display
from beatra_nb.display.clean import visible
from beatra_nb.display.html import asset
from tests.display.audit import audit
from tests.display.gallery import filled, reply

ATTACKS = [
    "<script>window.PWNED=1</script>",
    "</script></style></pre></code></div></details><script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    '"><svg/onload=alert(1)>',
    "' onmouseover='alert(1)",
    "<iframe src='javascript:alert(1)'></iframe>",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt&#58;alert(1))",
    "[click](<java\nscript:alert(1)>)",
    "[click](data:text/html,<script>alert(1)</script>)",
    "[ref]: javascript:alert(1)\n\n[ref]",
    "<javascript:alert(1)>",
    "![pixel](https://evil.invalid/pixel.png)",
    "![pixel][p]\n\n[p]: https://evil.invalid/pixel.png 'x'",
    "![p](data:image/svg+xml;base64,PHN2Zz4=)",
    "[![nested](https://evil.invalid/a.png)](https://evil.invalid/b)",
    "```html\n</code></pre><script>alert(1)</script>\n```",
    "```\n````\n<script>alert(1)</script>",
    "`` ` `<script>alert(1)</script>",
    '```"onload=alert(1)\nx\n```',
    "| a | b |\n|---|---|\n| <b onclick=alert(1)> | `x|y` |",
    "$\\href{javascript:alert(1)}{x}$ and \\(\\style{position:fixed}{x}\\)",
    "$$\n\\def\\x{<img src=x onerror=alert(1)>}\n$$",
    "$a <img src=x onerror=alert(1)> b$",
    "$![x](https://evil.invalid/x.png)$",
    "\u202egnp.exe\u202c \u2066x\u2069 \u061c\u200e",
    "a\u200bb\u2060c\ufeffd\u00ade",
    "\U000e0049\U000e0067\U000e006e\U000e006f\U000e0072\U000e0065",
    "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\x9b31m\x00\x08\x7f\r\n\rover",
    "lone \ud800 and \udfff surrogates",
    "&lt;script&gt; &#x202e; &#0; &#xD800;",
    "<!-- comment --> <![CDATA[x]]> <?php ?> <!DOCTYPE html>",
    "<style>@import url(https://evil.invalid/x.css)</style>",
    "<a href=javascript:alert(1)>x</a><form action=//evil.invalid><input name=q>",
    "> " * 200 + "deep",
    "- " * 200 + "deep",
    "[" * 600,
    "*" * 600,
    "{{constructor.constructor('alert(1)')()}} ${7*7} <%= 1 %>",
]
LETTERS = st.text(
    st.one_of(st.characters(), st.sampled_from("<>&\"'`*_[]()!|#$\\:/~-+= \n\t{}")), max_size=80
)
HOSTILE = st.one_of(
    LETTERS, st.sampled_from(ATTACKS), st.tuples(LETTERS, st.sampled_from(ATTACKS), LETTERS).map("".join)
)
# Markdown as the boldest front end renders it: raw html on, formulas unknown, bare addresses as links.
FRONT_END = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def check_html(html: str) -> str:
    """Assert that nothing in it could run or load; returns its text."""
    return "".join(audit(html).text)


def check_markdown(markdown: str) -> None:
    """Assert that a front end which trusts it finds nothing but text and honest links."""
    stack = FRONT_END.parse(markdown)
    for token in (each for block in stack for each in (block, *(block.children or []))):
        assert token.type not in ("html_block", "html_inline"), token.content
        assert token.type != "image", token.attrs
        if token.type == "link_open":
            assert re.match(r"(https?://|mailto:|#$)", str(token.attrs["href"]), re.IGNORECASE), token.attrs
    assert_shown(markdown.replace("\t", " "))  # a tab inside code stays one: it may matter to who copies it


def assert_shown(text: str) -> None:
    """Assert that a terminal and a reader see every character, and none that steers them."""
    for char in text:
        assert char in "\n" or unicodedata.category(char) not in ("Cc", "Cs"), f"U+{ord(char):04X}"
        assert not 0x202A <= ord(char) <= 0x202E, "direction override"
        assert not 0x2066 <= ord(char) <= 0x2069, "direction isolate"
    text.encode("utf-8")


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_attacks_are_text_in_every_field_and_format(attack: str) -> None:
    for name, thing in filled(attack).items():
        bundle = display.bundle(thing)
        assert set(bundle) == {"text/html", "text/markdown", "text/plain"}, name
        check_html(bundle["text/html"])
        check_markdown(bundle["text/markdown"])
        assert_shown(bundle["text/plain"])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HOSTILE)
def test_any_text_is_text_in_every_field_and_format(text: str) -> None:
    for thing in filled(text).values():
        bundle = display.bundle(thing)
        check_html(bundle["text/html"])
        check_markdown(bundle["text/markdown"])
        assert_shown(bundle["text/plain"])


@settings(max_examples=100, deadline=None)
@given(HOSTILE)
def test_no_letter_of_an_answer_is_lost(text: str) -> None:
    from beatra_nb.core.reply import Reply

    answer = Reply(text)
    bundle = display.bundle(answer)
    if not text.strip():
        assert "empty" in bundle["text/plain"]
        return
    assert visible(text).expandtabs(4).strip("\n") == bundle["text/plain"].strip("\n")
    # Marks of markdown go, addresses move into links, entities are decoded; what remains are the letters in order.
    shown = audit(bundle["text/html"])
    kept = re.sub(r"\W+", "", "".join(shown.text))
    for word in re.findall(r"[a-zA-Z]{4,}", text):
        if not re.search(r"[&\[\]()<:]|```", text):
            assert word in kept


@settings(max_examples=30, deadline=None)
@given(HOSTILE)
def test_the_page_holds_no_more_than_the_view(text: str) -> None:
    answer = reply(text, model=text)
    page = display.to_page(answer, text)
    head, body = page.split('<main dir="auto">\n')
    view, script = body.split("\n<script>")
    check_html(view)
    assert script.startswith(asset("copy.js"))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', head)
    assert policy
    assert "default-src 'none'" in policy[1]
    digest = base64.b64encode(hashlib.sha256(asset("copy.js").encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[1]
    assert re.search(r"<title>[^<]*</title>", head)
    assert "<script" not in head


@settings(max_examples=30, deadline=None)
@given(HOSTILE)
def test_error_cards_are_safe_in_a_terminal(text: str) -> None:
    for thing in filled(text).values():
        if isinstance(thing, BaseException):
            lines = display.error_card(thing)
            bare = [re.sub(r"\x1b\[(0|1|2|31)m", "", line) for line in lines]
            for line in bare:
                assert "\n" not in line
                assert_shown(line)


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "<" * 300_000, "👩‍👩‍👧 " * 60_000, "a b\n" * 100_000, "`" * 200_000]
)
def test_giant_texts_are_bounded_and_say_so(text: str) -> None:
    from beatra_nb.core.reply import Reply

    bundle = display.bundle(Reply(text))
    for kind, shown in bundle.items():
        assert len(shown.encode()) <= display.LARGEST, kind
        assert "more characters are not shown here; reply.text holds the whole" in shown.replace("\n", " ")
    check_html(bundle["text/html"])
