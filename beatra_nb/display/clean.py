"""Text that may be hostile → text that is what it looks like.

Model text, titles and server fields can hold characters that a screen does not show or that re-order what it
shows: terminal controls, direction overrides, zero-width letters, tag characters that smuggle a second text.
Nothing is silently dropped: what would be invisible becomes a visible mark such as ``⟨U+202E⟩``. Characters with
an honest use keep it (joiners inside emoji and Indic words, variation selectors, flags of countries' parts).
"""

from __future__ import annotations

import re

_SUSPECT = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2028-\u202e\u2060-\u206f"
    "\u3164\uffa0\ufe00-\ufe0f\ufeff\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff\ud800-\udfff"
)
_ANY = re.compile(
    f"[{_SUSPECT}]"
)  # one set: ten times as quick as the alternatives, and mostly there is none
_ODD = re.compile(f"\r\n?|[\ufe00-\ufe0f]+|[\U000e0000-\U000e007f]+|[{_SUSPECT}]")
_FLAG = re.compile("[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
_SPACELESS = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF))  # scripts that break lines at U+200B


def visible(value: object) -> str:
    """Return the text with every hidden, re-ordering or controlling character made visible."""
    text = value if isinstance(value, str) else safe_str(value)
    if (text.isascii() and text.isprintable()) or not _ANY.search(text):
        return text
    return _ODD.sub(_mark, text)


class Cleaner:
    """Makes deltas harmless as they come; a character is judged by the one before it, so that one is kept."""

    def __init__(self) -> None:
        self._last = ""

    def clean(self, text: str) -> str:
        """Return one more piece of the text, with what is hidden in it made visible."""
        shown = visible(self._last + text)[len(visible(self._last)) :]
        if text:
            self._last = text[-1]
        return shown


def one_line(value: object, room: int) -> str:
    """Return the beginning of a text on one line, at most ``room`` characters, with an ellipsis when cut."""
    text = value if isinstance(value, str) else safe_str(value)
    # A slice first: a giant text must not be cleaned whole for the sake of its first words.
    head = " ".join(visible(text[: room * 4 + 64]).split())
    return head if len(head) <= room and len(text) <= room * 4 + 64 else head[: room - 1].rstrip() + "…"


def safe_str(value: object) -> str:
    """``str(value)`` that never raises."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}: it cannot be shown as text>"


def safe_repr(value: object, room: int = 4000) -> str:
    """``repr(value)`` that never raises, at most ``room`` characters."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}: its repr failed>"
    return text if len(text) <= room else f"{text[:room]}… ({len(text) - room:,} more characters)"


def _mark(match: re.Match[str]) -> str:
    found = match.group()
    code = ord(found[0])
    before = match.string[match.start() - 1] if match.start() else ""
    if found[0] == "\r" or code in (0x2028, 0x2029):
        return "\n"
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures: ␀ … ␟
    if code == 0x7F:
        return "␡"
    if code in (0x200C, 0x200D) and ord(before or "a") > 0x2FF:
        return found
    if code == 0x200B and any(low <= ord(before or "a") <= high for low, high in _SPACELESS):
        return found
    if 0xFE00 <= code <= 0xFE0F and len(found) == 1 and before and not before.isspace():
        return found
    if 0xE0000 <= code <= 0xE007F:
        if before == "\U0001f3f4" and _FLAG.fullmatch(found):
            return found
        # Tag characters mirror ASCII and are never drawn: say what they say.
        hidden = "".join(chr(ord(c) - 0xE0000) if 0xE0020 <= ord(c) < 0xE007F else "�" for c in found)
        return f"⟨hidden: {hidden}⟩"
    if 0xD800 <= code <= 0xDFFF or code in (0xFFFE, 0xFFFF):
        return "�"
    return "".join(f"⟨U+{ord(c):04X}⟩" for c in found)
