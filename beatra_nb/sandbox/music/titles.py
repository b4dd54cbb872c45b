"""A title for a piece that was ordered without one."""

from __future__ import annotations

import re
import unicodedata

from beatra_nb.sandbox.music import chance
from beatra_nb.sandbox.music.brief import Brief
from beatra_nb.sandbox.music.lyrics import passages

MOST = 60

_SMALL = {"a", "an", "the", "of", "and", "in", "on", "at", "to", "for", "with", "by", "from", "my", "your"}
_ABOUT = re.compile(
    r"\b(?:about|called|titled|named|über|sobre|à propos de)\s+[\"“„']?([^,.;:!?\n\"”]{3,80})", re.I
)
_DULL = frozenset(
    """
    a an the of and or in on at to for with by from my your me some no not very more less song songs track
    music piece tune jingle beat loop clip please make create write compose generate give want like style
    vibe vibes mood feel feeling sound sounding sounds instrumental intro outro verse chorus bridge second
    seconds sec minute minutes bpm tempo key major minor slow fast loud soft quiet long short big small drums
    drum bass guitar guitars piano synth synths strings lead pad pads vocals vocal voice voices melody rhythm
    background theme it is that this one two three four five ten twelve thirty half ein eine einen und mit
    über für sekunden sekunde minuten lied stück klavierstück una uno con para por segundos minutos canción
    une des avec pour secondes chanson moll dur
    """.split()  # noqa: SIM905 - a list of words is read as words
)
_OPENERS = (
    "Golden", "Silver", "Quiet", "Electric", "Paper", "Crystal", "Distant", "Hidden", "Tender", "Crimson", "Endless",
    "Blue",
)  # fmt: skip


def title(prompt: str, lyrics: str, wanted: Brief) -> str:
    """Return a title that fits; the same for every take of one order.

    >>> from beatra_nb.sandbox.music.brief import read
    >>> title("a song about the sea at night", "", read(""))
    'The Sea at Night'
    """
    pick = chance.stream(0, "title", prompt, lyrics)
    if (match := _ABOUT.search(prompt)) and (named := _case(" ".join(match.group(1).split()[:7]))):
        return named
    if line := _sung(lyrics):
        return line
    words: list[str] = re.findall(r"[^\W\d_][\w'’-]*", prompt)
    dull = _DULL | {part for word in wanted.genre.words for part in word.split()}
    telling = [word for word in words if word.casefold() not in dull and len(word) > 2]
    image = pick.choice(wanted.genre.images)
    latin = [word for word in telling if unicodedata.name(word[0], "").startswith("LATIN")]
    if telling and not latin:  # a script that we have no words for: the prompt's own stand well alone
        return _cut("".join(telling)[:14] if len(telling[0]) > 3 else " ".join(telling[:3]))
    opener = _case(pick.choice(latin[:6])) if latin else pick.choice(_OPENERS)
    return _cut(f"{opener} {image}" if opener.casefold() != image.casefold() else image)


def _sung(lyrics: str) -> str:
    """Return the first short line of the first chorus, or of the lyrics."""
    found = passages(lyrics)
    for passage in sorted(found, key=lambda each: each.kind != "Chorus"):
        for line in passage.text.split("\n"):
            words = re.sub(r"[\[\](){}<>\"“”]|^[\W_]+|[\W_]+$", "", line).split()
            if words:
                return _case(" ".join(words[:5]))
    return ""


def _case(text: str) -> str:
    words = re.sub(r"[<>{}\[\]|\\^`]", "", text).split()
    while words and len(words) > 1 and words[-1].casefold() in _SMALL:
        words.pop()
    shown = [
        word if number and word.casefold() in _SMALL else word[:1].upper() + word[1:]
        for number, word in enumerate(words)
    ]
    return _cut(" ".join(shown))


def _cut(text: str) -> str:
    text = "".join(c for c in text if c.isprintable()).strip(" -–,.;:'’")
    return text if len(text) <= MOST else text[: MOST - 1].rstrip() + "…"
