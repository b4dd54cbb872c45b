"""Lyrics as a plan of sections: the tags say what they are, the lines how long."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_SECTIONS = 24

# What people write in brackets → the kind of section we make of it.
_KINDS: tuple[tuple[str, str], ...] = (
    ("pre-chorus|pre chorus|prechorus|build|lift", "Pre-Chorus"),
    ("post-chorus|chorus|hook|refrain|drop|refrán|estribillo|coro|副歌", "Chorus"),
    ("intro|opening|prelude", "Intro"),
    ("outro|ending|end|coda|fade", "Outro"),
    ("bridge|middle 8|middle eight|break|breakdown|interlude|puente|pont", "Bridge"),
    ("solo|instrumental", "Solo"),
    ("verse|strophe|verso|estrofa|couplet|rap|主歌", "Verse"),
)
# Square brackets are tags wherever they stand; round ones are mostly sung, unless a tag is all they hold.
_TAG = re.compile(
    r"[\[【]([^\]】\n]{1,60})[\]】][^\S\n]*:?|^[^\S\n]*\(([^()\n]{1,60})\)[^\S\n]*:?[^\S\n]*$", re.M
)
_COUNTED = r"[\s#.:]*(?:x\s*)?(?:\d{1,3}|i{1,3}|iv|v)?(?:\s*x)?"
_LONE_TAG = re.compile(r"(?:\s*[\[【][^\]】\n]*[\]】])+\s*")


@dataclass(frozen=True, slots=True)
class Passage:
    """One section as the lyrics have it: its kind, and how many lines it has."""

    kind: str
    lines: int
    text: str = ""


def passages(lyrics: str) -> list[Passage]:
    r"""Return the sections of lyrics; lines without a tag are a verse, blank lines part untagged stanzas.

    >>> [(p.kind, p.lines) for p in passages("[Verse]\nCity lights\nare waking\n[Chorus]\nOh")]
    [('Verse', 2), ('Chorus', 1)]
    """
    text = lyrics.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        return []
    marks = [(match, kind) for match in _TAG.finditer(text) if (kind := _kind(*match.groups()))]
    if not marks:
        stanzas = [stanza for stanza in re.split(r"\n[^\S\n]*\n+", text) if stanza.strip()]
        # Without tags every second stanza plays the chorus, as most songs are built.
        return [
            Passage("Chorus" if number % 2 else "Verse", _lines(stanza), stanza.strip())
            for number, stanza in enumerate(stanzas)
        ]
    found = []
    if head := text[: marks[0][0].start()].strip():
        found.append(Passage("Verse", _lines(head), head))
    for number, (match, kind) in enumerate(marks):
        end = marks[number + 1][0].start() if number + 1 < len(marks) else len(text)
        body = text[match.end() : end].strip()
        found.append(Passage(kind, _lines(body), body))
    return found


def _lines(text: str) -> int:
    return sum(1 for line in text.split("\n") if line.strip() and not _LONE_TAG.fullmatch(line))


def _kind(square: str | None, round_: str | None) -> str | None:
    """Return the kind that a tag names first, "instrumental" only where it says nothing else."""
    if square is None:
        tag = (round_ or "").casefold().strip()
        return next((kind for words, kind in _KINDS if re.fullmatch(rf"(?:{words})s?{_COUNTED}", tag)), None)
    tag = square.casefold()
    found = []
    for words, kind in _KINDS:
        if match := re.search(rf"(?<![a-zà-ÿ])(?:{words})s?(?![a-zà-ÿ])", tag):
            found.append((match.group().startswith("instrumental"), match.start(), kind))
    return min(found, key=lambda entry: entry[:2])[2] if found else None
