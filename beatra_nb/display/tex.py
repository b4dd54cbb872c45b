r"""Formulas in markdown: ``$…$``, ``$$…$$``, ``\(…\)``, ``\[…\]`` and ``\begin{…}…\end{…}`` for markdown-it.

A formula's source is passed on as it stands for the front end's own MathJax or KaTeX. Prices are not formulas:
an opening dollar has no space after it, a closing one none before and no digit after. Commands that could do
more than draw (links, styles, classes, macros that outlive the formula) make it code to read instead.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

_ACTIVE = re.compile(
    r"\\(href|url|class|style|css[iI]d|data|html\w*|unicode|require|mmlToken|includegraphics|bbox|toggle|mathtip"
    r"|texttip|action|def|gdef|edef|xdef|let|futurelet|global|long|csname|newcommand|renewcommand|providecommand"
    r"|newenvironment|renewenvironment|Declare\w*|Newextarrow|input|include|write|catcode)(?![a-zA-Z])"
)
_PAIRS = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_LONGEST = 4000  # characters of one formula; anything longer is text


def is_active(source: str) -> bool:
    """Whether a formula holds a command that could do more than draw."""
    return _ACTIVE.search(source) is not None


def plugin(md: MarkdownIt) -> None:
    """Teach a parser formulas: tokens ``math_inline`` and ``math_block`` whose content keeps its delimiters."""
    md.inline.ruler.before("escape", "tex", _inline)
    md.block.ruler.before("fence", "tex", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]})


def _inline(state: StateInline, silent: bool) -> bool:
    source, start = state.src, state.pos
    pair = source[start : start + 2]
    if pair in _PAIRS:
        close = _PAIRS[pair]
        end = source.find(close, start + 2, min(state.posMax, start + _LONGEST))
        if end <= start + 2 or not source[start + 2 : end].strip():
            return False
        end += 2
    elif source[start] == "$":
        end = _closing_dollar(source, start, min(state.posMax, start + _LONGEST))
        if end < 0:
            return False
    else:
        return False
    if not silent:
        token = state.push("math_inline", "", 0)
        token.content = source[start:end]
    state.pos = end
    return True


def _closing_dollar(source: str, start: int, limit: int) -> int:
    if start + 1 >= limit or source[start + 1].isspace() or (start and source[start - 1] in "$\\"):
        return -1
    end = source.find("$", start + 1, limit)
    while end > 0 and source[end - 1] == "\\":
        end = source.find("$", end + 1, limit)
    if end <= start + 1 or source[end - 1].isspace():
        return -1
    after = source[end + 1 : end + 2]
    if after.isdigit() or after == "$" or "\n\n" in source[start:end]:
        return -1
    return end + 1


def _block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    if state.is_code_block(start_line):
        return False
    first = _line(state, start_line)
    if first[:2] in ("$$", "\\["):
        close, skip = _PAIRS[first[:2]], 2
    elif match := re.match(r"\\begin\{([a-zA-Z]+\*?)\}", first):
        close, skip = f"\\end{{{match[1]}}}", match.end()
    else:
        return False
    line = _closing_line(state, start_line, end_line, first[skip:], close)
    if line < 0:
        return False
    source = state.getLines(start_line, line + 1, state.sCount[start_line], False).strip()
    if len(source) <= skip + len(close):
        return False
    if not silent:
        token = state.push("math_block", "", 0)
        token.block = True
        token.content = source
        token.map = [start_line, line + 1]
        state.line = line + 1
    return True


def _closing_line(state: StateBlock, start: int, stop: int, text: str, close: str) -> int:
    # Lines that were once searched in vain are not searched again: many openings would cost their square.
    searched: dict[str, int] = state.env.setdefault("tex", {})
    line, size = start, 0
    while not text.rstrip().endswith(close):
        line += 1
        size += len(text)
        if line < searched.get(close, 0) or line >= stop or size > _LONGEST:
            break
        text = _line(state, line)
        if state.sCount[line] < state.blkIndent or not text.strip():
            break
    else:
        return line
    searched[close] = max(line, searched.get(close, 0))
    return -1


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]
