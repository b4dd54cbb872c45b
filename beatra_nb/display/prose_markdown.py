"""What a model wrote: markdown → markdown that stays inert in front ends that trust it.

A front end renders ``text/markdown`` with a parser and a trust of its own: in a trusted notebook raw html runs
and images load. So the text is parsed here and written anew from its tokens, every word of it escaped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from beatra_nb.display import tex
from beatra_nb.display.escapes import is_address, md_cell, md_code, md_fence, md_lines, md_text
from beatra_nb.display.prose import TASK, image_name, parse

if TYPE_CHECKING:
    from markdown_it.token import Token

_MARKS = {"strong": ("**", "__"), "em": ("*", "_"), "s": ("~~",)}
# In a front end without formulas these would be links, images, code or html inside the formula's source.
_AMBIGUOUS = re.compile(r"\]\s*[(\[:]|!\[|[`~@]|://|www\.|\n\s*\n|&[#\w]")


def to_markdown(text: str) -> str:
    """Return a model's markdown as safe markdown."""
    tokens = parse(text)
    if tokens is None:
        return md_lines(text)
    return "\n".join(_Reader(tokens).blocks())


class _Reader:
    """Reads block tokens front to back."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def blocks(self, stop: str = "", *, tight: bool = False) -> list[str]:
        """Return the lines of all blocks up to the closing token."""
        lines: list[str] = []
        before, mark = "", 0
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if token.type == stop:
                break
            if lines and not tight:
                lines.append("")
            # Two lists in a row stay two by taking turns at their marks.
            mark = (mark + 1) % 2 if token.type == before else 0
            lines += self._block(token, mark)
            before = token.type
        return lines

    def _block(self, token: Token, mark: int = 0) -> list[str]:
        kind = token.type
        if kind in ("paragraph_open", "heading_open"):
            line = inline_markdown(self._tokens[self._at].children or [])
            self._at += 2
            if kind == "heading_open":
                return [f"{'#' * int(token.tag[1])} " + line.replace("\\\n", " ").replace("\n", " ")]
            return line.split("\n")
        if kind in ("bullet_list_open", "ordered_list_open"):
            return self._list(token, ("-", "*")[mark], (".", ")")[mark])
        if kind == "blockquote_open":
            return [f"> {line}".rstrip() for line in self.blocks("blockquote_close")]
        if kind in ("fence", "code_block"):
            return md_fence(token.content, (token.info.split() or [""])[0]).split("\n")
        if kind == "math_block":
            return _math(token.content).split("\n")
        if kind == "table_open":
            return self._table()
        if kind == "hr":
            return ["---"]
        return md_lines(token.content).split("\n")

    def _list(self, opening: Token, bullet: str, dot: str) -> list[str]:
        closing = opening.type.replace("_open", "_close")
        number = int(opening.attrGet("start") or 1) if opening.type == "ordered_list_open" else None
        lines: list[str] = []
        while self._tokens[self._at].type != closing:
            self._at += 1  # the item's own opening
            paragraph = self._tokens[self._at]
            tight = paragraph.type == "paragraph_open" and paragraph.hidden
            mark = f"{bullet} " if number is None else f"{number}{dot} "
            number = None if number is None else number + 1
            if lines and not tight:
                lines.append("")
            item = self.blocks("list_item_close", tight=tight) or [""]
            lines += [
                (mark + item[0]).rstrip(),
                *(" " * len(mark) + line if line else "" for line in item[1:]),
            ]
        self._at += 1
        return lines

    def _table(self) -> list[str]:
        rows: list[list[str]] = []
        sides: list[str] = []
        while (token := self._tokens[self._at]).type != "table_close":
            self._at += 1
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "inline":
                rows[-1].append(md_cell(inline_markdown(token.children or [])))
            elif token.type == "th_open":
                side = str(token.attrGet("style") or "")
                sides.append({"text-align:right": "--:", "text-align:center": ":-:"}.get(side, "---"))
        self._at += 1
        lines = [f"| {' | '.join(row)} |" for row in rows]
        lines.insert(1, f"| {' | '.join(sides)} |")
        return lines


def inline_markdown(tokens: list[Token]) -> str:
    """Return a line's tokens as safe markdown."""
    out: list[str] = []
    for at, token in enumerate(tokens):
        kind = token.type
        if kind == "text":
            task = TASK.match(token.content) if at == 0 else None
            if task:
                out.append(f"[{task[1].lower()}] ")
            out.append(
                _inside(token.content[task.end() if task else 0 :], starts=at == 0 or _breaks(tokens[at - 1]))
            )
        elif kind == "softbreak":
            out.append("\n")
        elif kind == "hardbreak":
            out.append("\\\n")
        elif kind == "code_inline":
            out.append(md_code(token.content))
        elif kind == "math_inline":
            out.append(_math(token.content))
        elif kind == "link_open":
            out.append("[")
        elif kind == "link_close":
            out.append(f"]({_target(_opening(tokens, at))})")
        elif kind == "image":
            out.append(f"[🖼 {md_text(image_name(token))}]({_target(token)})")
        elif token.tag in _MARKS:
            # The very signs of the source: with others, neighbours such as *a*_b_ would run together.
            out.append(token.markup if token.markup in _MARKS[token.tag] else "")
        else:
            out.append(md_text(token.content))
    return "".join(out)


def _inside(text: str, *, starts: bool) -> str:
    """Escape text that may stand in the middle of a line, where its first sign begins nothing."""
    if starts or not text:
        return md_text(text)
    space = len(text) - len(text.lstrip(" \t"))
    return text[:space] + md_text(text[space:])


def _breaks(token: Token) -> bool:
    return token.type in ("softbreak", "hardbreak")


def _opening(tokens: list[Token], closing: int) -> Token:
    depth = 0
    for at in range(closing, -1, -1):
        depth += {"link_close": 1, "link_open": -1}.get(tokens[at].type, 0)
        if depth == 0:
            return tokens[at]
    return tokens[closing]


def _target(token: Token) -> str:
    url = str(token.attrGet("href") or token.attrGet("src") or "")
    if not is_address(url):
        return "#"
    return re.sub(r"[()\[\]|$;]", lambda sign: f"%{ord(sign.group()):02X}", url)


def _math(source: str) -> str:
    if tex.is_active(source) or _AMBIGUOUS.search(source):
        return md_code(source)
    return source.replace("<", "\\lt ").replace(">", "\\gt ")
