r"""Takes the key out of what others quote, before it is read, shown or written: the one place that does.

A service, or a proxy in its place, may quote what it was sent; and JSON has many ways to write one text: as it is, in
escapes (``\u0062`` is a b, ``\/`` a slash), in escapes of escapes where JSON stands within JSON. All of them are
found, also where a stream cuts them into pieces. What was found can then be in nothing that is made of the answer: no
reply, error, row of a journal or checkpoint, and no cassette.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from beatra_nb.core.settings import Secret

MARK = b"[the key]"
SHORTEST = 8  # characters; a shorter key may stand in any text by chance
DEEPEST = 7  # backslashes before an escape: those of JSON in JSON in JSON
_ESCAPED = "/\"'\\"  # what a backslash alone may stand before


class Scrubber:
    r"""Takes a key out of bytes and texts; without a key, it leaves them as they are. It shows itself nowhere.

    Parameters
    ----------
    key : Secret, optional
        The key.

    Examples
    --------
    >>> from beatra_nb.core.settings import Secret
    >>> scrub = Scrubber(Secret("sk-123456"))
    >>> scrub(rb'"you sent \u0073k-123456"')
    b'"you sent [the key]"'
    >>> scrub.pieces([b"sk-1", b"23456", b"!"])
    [b'[the key]', b'', b'!']
    """

    __slots__ = ("_hinted", "_key", "_written")

    def __init__(self, key: Secret | None = None) -> None:
        known = key is not None and len(key.reveal()) >= SHORTEST
        self._key = key if known else None
        # Without one of these, no escape can stand for anything in the key; it tells no more of it than its signs.
        signs = "".join(re.escape(sign) for sign in _ESCAPED if key is not None and sign in key.reveal())
        hint = rf"\\(?:u00[2-7]|[{signs}])" if signs else r"\\u00[2-7]"
        self._hinted = re.compile(hint.encode()).search
        self._written: Callable[[bytes], Iterator[re.Match[bytes]]] | None = None

    def __call__(self, data: bytes) -> bytes:
        """Return bytes without the key; the very same where it is not in them."""
        spans = self._spans(data)
        return next(_without(data, spans, [data])) if spans else data

    def text(self, text: str) -> str:
        """Return a text without the key; the very same where it is not in it."""
        data = text.encode("utf-8", "surrogatepass")
        clean = self(data)
        return text if clean is data else clean.decode("utf-8", "surrogatepass")

    def pieces(self, pieces: Sequence[bytes], *, cut: bool = False) -> Sequence[bytes]:
        """Return the pieces of one whole without the key, which may lie across several; as many as there were.

        Where the whole was ``cut`` short, it may end within the key.
        """
        whole = b"".join(pieces)
        spans = self._spans(whole)
        if cut and self._key is not None:
            sizes = range(len(self._key.reveal()) - 1, SHORTEST - 1, -1)
            ends = (size for size in sizes if whole.endswith(self._key.reveal()[:size].encode()))
            spans += [(len(whole) - size, len(whole)) for size in itertools.islice(ends, 1)]
        return [*_without(whole, spans, pieces)] if spans else pieces

    def texts(self, texts: Sequence[str], *, cut: bool = False) -> Sequence[str]:
        """Return the same of texts that make one whole."""
        pieces = [text.encode("utf-8", "surrogatepass") for text in texts]
        clean = self.pieces(pieces, cut=cut)
        return texts if clean is pieces else [each.decode("utf-8", "surrogatepass") for each in clean]

    def _spans(self, data: bytes) -> list[tuple[int, int]]:
        """Return where the key stands, from the backslashes before it on: half an escape must not stay behind."""
        # Every piece of every stream comes by here: what can be known at a glance is. Nor does a local of a frame
        # hold the bare key, as a traceback may show those.
        if self._key is None or (self._key.reveal().encode() not in data and self._hinted(data) is None):
            return []
        if self._written is None:
            self._written = _written(self._key)
        spans: list[tuple[int, int]] = []
        for match in self._written(data):
            start, before = match.start(), spans[-1][1] if spans else 0
            while start > before and data[start - 1] == ord("\\"):
                start -= 1
            spans.append((start, match.end()))
        return spans

    def __repr__(self) -> str:
        return "Scrubber(•••)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key is never pickled. Make a Scrubber where it is needed.")


NOTHING = Scrubber()


def _written(key: Secret) -> Callable[[bytes], Iterator[re.Match[bytes]]]:
    """Return what finds a key in all the ways that JSON can write it; its repr tells nothing."""
    return re.compile("".join(map(_ways, key.reveal())).encode()).finditer


def _ways(sign: str) -> str:
    r"""Return an expression for all the ways to write one sign, at any depth."""
    code = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{ord(sign):02x}")
    # It begins with a plain sign: such a pattern is searched for quickly.
    escape = rf"\\\\{{0,{DEEPEST - 1}}}u00{code}"
    if sign == "\\":
        return rf"(?:{escape}|\\{{1,{DEEPEST + 1}}})"
    alone = rf"\\{{0,{DEEPEST}}}" if sign in _ESCAPED else ""
    return rf"(?:{alone}{re.escape(sign)}|{escape})"


def _without(whole: bytes, spans: list[tuple[int, int]], pieces: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a whole without the spans; a mark stands where one begins."""
    end = at = 0
    for piece in pieces:
        here, end = end, end + len(piece)
        kept = []
        while at < len(spans) and spans[at][0] < end:
            start, stop = spans[at]
            if start >= here:
                kept += [whole[here:start], MARK]
            here = min(stop, end)
            if stop > end:
                break  # the rest of it stands in the next piece
            at += 1
        yield b"".join([*kept, whole[here:end]])
