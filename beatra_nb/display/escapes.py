"""The one place where text becomes safe to stand in html or in markdown."""

from __future__ import annotations

import re
from html import escape

from beatra_nb.display import tex
from beatra_nb.display.clean import visible

_SPECIAL = re.compile(r"([\\`*_\[\]|~$]|!(?=\[)|&(?=[#\w]))")
_LINE_START = re.compile(r"^([-+=#>:]|\d{1,9}(?=[.)](?:\s|$)))", re.MULTILINE)
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)
_ADDRESS = re.compile(r"(?:https?://|mailto:)[^\s<>\"'`\\]+", re.IGNORECASE)


def html_text(value: object) -> str:
    """Return text for html, inside an element or a double-quoted attribute."""
    return escape(visible(value))


def md_text(value: object) -> str:
    """Return text for markdown: no character of it can begin markup, html, a formula or an image."""
    text = visible(value)
    if tex.is_active(text):
        return md_code(text)  # front ends look for formulas after markdown, where escapes are gone
    # A bracket of a tag is an entity rather than an escape: renderers differ in escapes, not in entities.
    text = _SPECIAL.sub(r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")
    text = _INDENT.sub(lambda found: "&nbsp;" * min(len(found.group().expandtabs(4)), 40), text)
    return _LINE_START.sub(lambda found: _escape_start(found.group()), text)


def md_lines(value: object) -> str:
    """Return text for markdown with its line breaks kept."""
    return "\\\n".join(line or "&nbsp;" for line in md_text(value).strip("\n").split("\n"))


def md_code(value: object) -> str:
    """Return text as a markdown code span on one line."""
    text = " ".join(visible(value).split()) or " "
    fence = "`" * (_longest_run(text, "`") + 1)
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def md_fence(value: object, language: str = "") -> str:
    """Return text as a fenced block that its own content cannot close."""
    text = visible(value).rstrip("\n")
    fence = "`" * max(3, _longest_run(text, "`") + 1)
    return f"{fence}{re.sub('[^a-z0-9+#-]', '', language.lower())[:20]}\n{text}\n{fence}"


def md_cell(markdown: str) -> str:
    """Return inline markdown for a table cell, its text already escaped: one line, and no bare bar."""
    flat = markdown.replace("\\\n", " ").replace("\n", " ")
    return re.sub(r"(?<!\\)\|", r"\\|", flat)


def is_address(url: str) -> bool:
    """Whether a link may lead there: the web or an e-mail, nothing that acts on this page or this server."""
    return _ADDRESS.fullmatch(url) is not None


def _longest_run(text: str, char: str) -> int:
    return max((len(run) for run in re.findall(f"{re.escape(char)}+", text)), default=0)


def _escape_start(found: str) -> str:
    return f"{found}\\" if found[0].isdigit() else f"\\{found}"
