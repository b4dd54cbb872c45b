"""Reads html as a browser would and refuses all that could run or load."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

from beatra_nb.display.html import asset

BLOCKS = {
    "div",
    "p",
    "pre",
    "br",
    "hr",
    "ul",
    "ol",
    "li",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "details",
    "summary",
}
WORDS = {"span", "a", "strong", "em", "s", "code"}
TABLES = {"table", "thead", "tbody", "tr", "th", "td"}
MEDIA = {"audio", "img"}
TAGS = BLOCKS | WORDS | TABLES | MEDIA | {"style", "script"}
ATTRIBUTES = {
    "class",
    "style",
    "dir",
    "title",
    "href",
    "target",
    "rel",
    "role",
    "aria-label",
    "tabindex",
    "scope",
    "start",
    "src",
    "alt",
    "width",
    "height",
    "controls",
    "preload",
}
VOID = {"br", "hr", "img"}
# Bytes are only ever sound or a picture, in their element.
SOURCES = {
    "audio": re.compile(r"data:audio/(mpeg|ogg|wav|flac|mp4|aac|webm);base64,[A-Za-z0-9+/]+=*"),
    "img": re.compile(r"data:image/(svg\+xml|png);base64,([A-Za-z0-9+/]+=*)"),
}
DRAWING = re.compile(
    r'<svg [-a-z0-9 =":/.#]*xmlns="http://www.w3.org/2000/svg"[^<>&]*><path d="[Mv0-9. -]+"/></svg>'
)
STYLE = re.compile(r"[a-zA-Z0-9 :;.,%()#_\-/]*")


class Audit(HTMLParser):
    """Collects the text; fails on the first thing that views never write."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.stack: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self._raw: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, f"<{tag}> is never written"
        self.tags.append(tag)
        for name, value in attrs:
            assert name in ATTRIBUTES, f"{name}= is never written"
            if (tag, name) == ("audio", "controls"):
                continue
            assert value is not None
            if name == "src":
                assert SOURCES[tag].fullmatch(value), value[:80]
                self.sources.append(value)
                if tag == "img" and "svg" in value[:20]:
                    assert DRAWING.fullmatch(base64.b64decode(value.partition(",")[2]).decode("ascii"))
            if name == "href":
                assert re.match(r"(https?://|mailto:)", value, re.IGNORECASE), value
                self.links.append(value)
            if name == "style":
                assert STYLE.fullmatch(value), value
                assert "url" not in value
                assert "expression" not in value
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack.pop() == tag, f"</{tag}> closes something else"
        if tag in ("style", "script"):
            raw = "".join(self._raw)
            assert raw == asset("view.css" if tag == "style" else "copy.js")
            self._raw = []

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] in ("style", "script"):
            self._raw.append(data)
        else:
            self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError("comments are never written")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError("declarations are never written")

    unknown_decl = handle_decl
    handle_pi = handle_decl


def audit(html: str) -> Audit:
    """Read a piece of html; returns what was found in it."""
    found = Audit()
    found.feed(html)
    found.close()
    assert found.stack == [], "everything that is opened is closed"
    return found
