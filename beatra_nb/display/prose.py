"""What a model wrote: markdown → html that can only be looked at.

The parser knows CommonMark, tables, strike-through and formulas; raw html is off. This walker then writes every
tag itself and escapes every text itself, so nothing of the model's can become markup. Links lead to the web or an
e-mail only; images are named and linked, never loaded; headings are stepped down, for they stand inside a page.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from beatra_nb.display import tex
from beatra_nb.display.clean import visible
from beatra_nb.display.colours import highlight
from beatra_nb.display.escapes import html_text, is_address

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

LONGEST = 200_000  # characters; a longer text is shown unformatted
_DEEPEST = 60  # levels of lists and quotes; beyond, the parser would leave text out
# Where a text has more of these it is shown as it stands: the parser's time grows with the square of brackets that
# stay open, and short rows of a wide table are filled up with cells.
_MOST = {"[": 4_000, "|": 8_000}

FENCE = (
    "padding:10px 14px;border:1px solid rgba(128,128,128,.2);border-radius:8px;background:rgba(128,128,128,.08);"
    "overflow-x:auto;white-space:pre;font-size:.92em;line-height:1.5"
)
_CODE = "padding:.1em .35em;border-radius:4px;background:rgba(128,128,128,.15);font-size:.92em"
_CELL = (
    "padding:.35em .8em;border:0;border-bottom:1px solid rgba(128,128,128,.22);vertical-align:top;text-align:"
)
_HEADINGS = {"h1": ("h3", "1.3em"), "h2": ("h4", "1.17em"), "h3": ("h5", "1.06em")}
_BARE = re.compile(r"https?://[^\s<>\"'`\\]+[^\s<>\"'`\\.,;:!?)\]}*_]")
TASK = re.compile(r"\[([ xX])\][ \t]+")


@lru_cache(maxsize=32)
def parse(text: str) -> list[Token] | None:
    """Return the markdown's tokens (not to be changed), or None where it is better shown as it stands."""
    if len(text) > LONGEST or any(text.count(sign) > most for sign, most in _MOST.items()):
        return None
    try:
        tokens = _parser().parse(visible(text))
    except Exception:
        return None
    return None if any(token.level >= _DEEPEST - 2 for token in tokens) else tokens


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    md = MarkdownIt("commonmark", {"html": False, "maxNesting": _DEEPEST}).enable(["table", "strikethrough"])
    md.disable(["html_block", "html_inline"])
    md.validateLink = is_address  # type: ignore[method-assign]
    tex.plugin(md)
    return md


def to_html(text: str) -> str:
    """Return a model's markdown as html."""
    tokens = parse(text)
    if tokens is None:
        return f'<div dir="auto" style="white-space:pre-wrap;overflow-wrap:anywhere">{html_text(text)}</div>'
    return _Walk().blocks(tokens)


class _Walk:
    """Writes one token stream; remembers only where space is due."""

    def __init__(self) -> None:
        self._first = True  # the first block of a container has no space above it

    def blocks(self, tokens: list[Token]) -> str:
        return "".join(self._block(token, tokens[at + 1 : at + 3]) for at, token in enumerate(tokens))

    def _block(self, token: Token, ahead: list[Token]) -> str:
        kind = token.type
        if kind == "inline":
            return inline_html(token.children or [])
        if kind.endswith("_open"):
            return self._open(token, ahead)
        if kind.endswith("_close"):
            return self._close(token)
        if kind in ("fence", "code_block"):
            return self._fence(token)
        if kind == "math_block":
            return f'<div style="margin:{self._above()};overflow-x:auto">{_math(token.content)}</div>'
        if kind == "hr":
            style = f"margin:{self._above('1em')};border:0;border-top:1px solid rgba(128,128,128,.35)"
            return f'<hr style="{style}">'
        return html_text(token.content)

    def _open(self, token: Token, ahead: list[Token]) -> str:
        tag, kind = token.tag, token.type
        if kind == "paragraph_open":
            if token.hidden:
                self._first = False
                return ""
            return f'<p dir="auto" style="margin:{self._above()}{_side(ahead)}">'
        if kind == "heading_open":
            tag, size = _HEADINGS.get(tag, ("h6", "1em"))
            above = self._above("1.1em")
            return (
                f'<{tag} dir="auto" style="margin:{above};font-size:{size};font-weight:600;line-height:1.35">'
            )
        above = self._above(".25em" if tag == "li" else ".75em")
        if tag == "li":
            self._first = True
            task = len(ahead) == 2 and ahead[1].type == "inline" and TASK.match(ahead[1].content)
            return f'<li dir="auto" style="margin:{above}{";list-style-type:none" if task else ""}">'
        if tag in ("ul", "ol"):
            start = token.attrGet("start")
            number = f' start="{int(start)}"' if tag == "ol" and start is not None else ""
            self._first = True
            return f'<{tag} dir="auto"{number} style="margin:{above};padding:0 1.7em">'
        if tag == "blockquote":
            self._first = True
            style = "padding:.1em 1em;border:0;border-left:3px solid rgba(128,128,128,.45);font-style:normal"
            return f'<blockquote dir="auto" style="margin:{above};{style}">'
        if tag == "table":
            return (
                f'<div tabindex="0" style="margin:{above};overflow-x:auto">'
                '<table style="margin:0;border-collapse:collapse;table-layout:auto;font-size:.95em">'
            )
        if tag in ("th", "td"):
            side = str(token.attrGet("style") or "").removeprefix("text-align:") or "left"
            weight = ";font-weight:600" if tag == "th" else ""
            scope = ' scope="col"' if tag == "th" else ""
            return f'<{tag} dir="auto"{scope} style="{_CELL}{side}{weight}">'
        return f"<{tag}>" if tag in ("thead", "tbody", "tr") else ""

    def _close(self, token: Token) -> str:
        self._first = False
        if token.type == "heading_close":
            return f"</{_HEADINGS.get(token.tag, ('h6', ''))[0]}>"
        if token.hidden or not token.tag:
            return ""
        return "</table></div>" if token.tag == "table" else f"</{token.tag}>"

    def _fence(self, token: Token) -> str:
        # `visible` again, here and wherever text is written: an entity in the source may have become anything.
        language = (token.info.split() or [""])[0]
        return fence_html(visible(token.content.rstrip("\n")), language, self._above())

    def _above(self, space: str = ".75em") -> str:
        margin = "0" if self._first else f"{space} 0 0"
        self._first = False
        return margin


def _side(ahead: list[Token]) -> str:
    """Set a line of a right-to-left script flush right: front ends fix paragraphs to the left."""
    text = ahead[0].content[:200] if ahead else ""
    strong = next(
        (found for char in text if (found := unicodedata.bidirectional(char)) in ("L", "R", "AL")), "L"
    )
    return "" if strong == "L" else ";text-align:right"


def fence_html(source: str, language: str, margin: str = "0") -> str:
    """Return a block of code as html."""
    return (
        f'<pre class="bnb-code" dir="ltr" tabindex="0" style="margin:{margin};{FENCE}">'
        f'<code style="padding:0;background:transparent;font-size:1em">{highlight(source, language)}</code></pre>'
    )


_MARKS = {"strong": "strong", "em": "em", "s": "s"}


def inline_html(tokens: list[Token]) -> str:
    """Return a line's tokens as html."""
    out: list[str] = []
    in_link = 0
    for at, token in enumerate(tokens):
        kind = token.type
        if kind == "text":
            text = visible(token.content)
            if at == 0 and (task := TASK.match(text)):
                out.append("☐ " if task[1] == " " else "☑ ")
                text = text[task.end() :]
            out.append(html_text(text) if in_link else _linked(text))
        elif kind == "softbreak":
            out.append("\n")
        elif kind == "hardbreak":
            out.append("<br>")
        elif kind == "code_inline":
            out.append(f'<code style="{_CODE}">{html_text(token.content)}</code>')
        elif kind == "math_inline":
            out.append(_math(token.content))
        elif kind == "link_open":
            in_link += 1
            out.append(_anchor(str(token.attrGet("href") or "")))
        elif kind == "link_close":
            in_link -= 1
            out.append("</a>")
        elif kind == "image":
            out.append(_image(token, linked=in_link > 0))
        elif token.tag in _MARKS:
            out.append(f"<{'/' if token.nesting < 0 else ''}{_MARKS[token.tag]}>")
        else:
            out.append(html_text(token.content))
    return "".join(out)


def _math(source: str) -> str:
    if tex.is_active(source):
        return f'<code style="{_CODE}">{html_text(source)}</code>'
    # The whole view is closed to MathJax (a price is not a formula); these classes open it for this one span.
    return f'<span class="bnb-math tex2jax_process mathjax_process" dir="ltr">{html_text(source)}</span>'


def _anchor(url: str) -> str:
    where = html_text(url)
    return f'<a href="{where}" title="{where}" target="_blank" rel="noopener noreferrer nofollow">'


def _image(token: Token, *, linked: bool) -> str:
    name = html_text(image_name(token))
    label = f"🖼 {name}"
    if linked:
        return label
    return f"{_anchor(str(token.attrGet('src') or ''))}{label}</a>"


def image_name(token: Token) -> str:
    """Return what an image that is not loaded is called."""
    return token.content.strip() or "image"


def _linked(text: str) -> str:
    out: list[str] = []
    at = 0
    for found in _BARE.finditer(text):
        out += [html_text(text[at : found.start()]), _anchor(found.group()), html_text(found.group()), "</a>"]
        at = found.end()
    out.append(html_text(text[at:]))
    return "".join(out)
