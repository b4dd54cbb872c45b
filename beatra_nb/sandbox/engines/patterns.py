r"""A text that matches a regular expression, for the plain expressions that JSON schemas hold.

Literals, ``.``, classes, ``\d \w \s``, groups, alternatives, anchors and repeats. Anything else (look-around,
back-references) is refused. The caller checks what comes out.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable

from beatra_nb.sandbox.engines.fits import CannotMake

_PRINTABLE = string.ascii_letters + string.digits + " _-.,:;!?@#/"
_SETS = {
    "d": string.digits,
    "w": string.ascii_letters + string.digits + "_",
    "s": " ",
    "D": string.ascii_letters,
    "W": "-.:!",
    "S": string.ascii_letters + string.digits,
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_MANY = 3  # how many more than the least an open-ended repeat may take
_MOST = 2000

_Part = Callable[[], str]


def make(pattern: str, chance: random.Random, *, at_least: int = 0) -> str:
    """Return a text that should match.

    ``at_least`` asks open-ended repeats to be long enough for a text of that length.

    Raises
    ------
    CannotMake
        For an expression that is not plain.
    """
    reader = _Reader(pattern, chance, max(_MANY, at_least))
    part = reader.alternatives()
    if reader.at < len(pattern):
        raise reader.trouble()
    return part()


class _Reader:
    def __init__(self, pattern: str, chance: random.Random, many: int) -> None:
        self.pattern, self.chance, self.many, self.at = pattern, chance, many, 0

    def trouble(self) -> CannotMake:
        return CannotMake(f"the pattern {self.pattern!r:.60} is not plain enough")

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def take(self) -> str:
        char = self.peek()
        if not char:
            raise self.trouble()
        self.at += 1
        return char

    def alternatives(self) -> _Part:
        options = [self.sequence()]
        while self.peek() == "|":
            self.take()
            options.append(self.sequence())
        return options[0] if len(options) == 1 else lambda: self.any_of(options)

    def any_of(self, options: list[_Part]) -> str:
        return self.chance.choice(options)()

    def sequence(self) -> _Part:
        parts: list[_Part] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated(self.atom()))
        return lambda: "".join(part() for part in parts)

    def atom(self) -> _Part:
        char = self.take()
        if char in "^$":
            return lambda: ""
        if char == "(":
            return self.group()
        if char == "[":
            return self.one_of(self.char_class())
        if char == ".":
            return self.one_of(_PRINTABLE)
        if char == "\\":
            return self.one_of(self.escape()) if self.peek() not in ("b", "A", "Z") else self.anchor()
        if char in "*+?{":
            raise self.trouble()
        return lambda: char

    def anchor(self) -> _Part:
        self.take()
        return lambda: ""

    def one_of(self, choices: str) -> _Part:
        if not choices:
            raise self.trouble()
        return lambda: self.chance.choice(choices)

    def group(self) -> _Part:
        if self.peek() == "?":
            self.take()
            kind = self.take()
            if kind == "P" and self.peek() == "<":
                self.at = self.pattern.find(">", self.at) + 1
                if self.at == 0:
                    raise self.trouble()
            elif kind != ":":
                raise self.trouble()
        inner = self.alternatives()
        if self.take() != ")":
            raise self.trouble()
        return inner

    def escape(self) -> str:
        char = self.take()
        if char in _SETS:
            return _SETS[char]
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char in ("u", "x"):
            digits = self.pattern[self.at : self.at + (4 if char == "u" else 2)]
            self.at += len(digits)
            try:
                return chr(int(digits, 16))
            except ValueError:
                raise self.trouble() from None
        if char.isalnum():
            raise self.trouble()
        return char

    def char_class(self) -> str:
        negated = self.peek() == "^"
        if negated:
            self.take()
        chosen: list[str] = []
        while self.peek() != "]" or not chosen:
            char = self.take()
            choices = self.escape() if char == "\\" else char
            if (
                self.peek() == "-"
                and self.pattern[self.at + 1 : self.at + 2] not in ("]", "")
                and len(choices) == 1
            ):
                self.take()
                last = self.take()
                last = self.escape() if last == "\\" else last
                if len(last) != 1 or not ord(choices) <= ord(last) <= ord(choices) + 0x3000:
                    raise self.trouble()
                choices = "".join(map(chr, range(ord(choices), ord(last) + 1)))
            chosen.append(choices)
        self.take()
        letters = "".join(chosen)
        return "".join(c for c in _PRINTABLE if c not in letters) if negated else letters

    def repeated(self, part: _Part) -> _Part:
        low, high = self.bounds()
        if (low, high) == (1, 1):
            return part
        if low > _MOST:
            raise self.trouble()
        top = low + self.many if high is None else min(high, low + max(self.many, _MANY))
        return lambda: "".join(part() for _ in range(self.chance.randint(low, max(low, top))))

    def bounds(self) -> tuple[int, int | None]:
        char = self.peek()
        if char not in ("*", "+", "?", "{"):
            return 1, 1
        self.take()
        found: tuple[int, int | None] = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(char, (1, 1))
        if char == "{":
            end = self.pattern.find("}", self.at)
            low, comma, high = self.pattern[self.at : end].partition(",")
            if end < 0 or not low.isdecimal() or (high and not high.isdecimal()):
                raise self.trouble()
            self.at = end + 1
            found = int(low), (int(high) if high else None) if comma else int(low)
        if self.peek() == "?":  # a lazy repeat makes the same texts
            self.take()
        return found
