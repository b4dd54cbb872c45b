"""What a prompt says in figures: length, tempo, key."""

from __future__ import annotations

import re

_NUMBER = r"(\d{1,6}(?:[.,]\d{1,3})?)"
_WORDS = {
    "half": 0.5, "a": 1.0, "an": 1.0, "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "six": 6.0,
    "eight": 8.0, "ten": 10.0, "twelve": 12.0, "fifteen": 15.0, "twenty": 20.0, "thirty": 30.0, "forty": 40.0,
    "sixty": 60.0, "ninety": 90.0, "eine": 1.0, "une": 1.0, "un": 1.0, "una": 1.0,
}  # fmt: skip
_COUNT = rf"(?:(?<!\w){_NUMBER}|\b({'|'.join(_WORDS)})(?!\w))"
_MINUTE = r"(?:a[\s-]+)?(?:minutes?|mins?|minuten?|minutos?|分钟|分)(?!\w)"
_SECOND = r"(?:seconds?|secs?|sekunden?|segundos?|secondes?)(?!\w)|秒|s\b"
_TIME = re.compile(rf"{_COUNT}[\s-]*(?:({_MINUTE})|({_SECOND}))", re.I)
_JOINT = re.compile(r"[\s,]*(?:and|und|y|et)?[\s,]*")
# "90s", "the 1960s", "'70s" are times to sound like, not lengths; "30 s" and "30 sec" are lengths.
_DECADE = re.compile(
    r"(?<!\d)(?:(?:(?:19|20)\d|[2-9])0['’]?s|(?:the|from|late|early|mid)[\s-]+[01]0['’]?s)\b"
)
_PART = re.compile(
    r"[\s-]*(?:long[\s-]+)?(?:\w+[\s-]+)?(?:intro|outro|solo|break|bridge|build|drop|verse|chorus|hook|fade|note|delay|"
    r"loop[\s-]+intro|ending)"
)
_CLOCK = re.compile(r"(?<![\d:])(\d{1,2}):([0-5]\d)(?![\d:])")
_TEMPO = re.compile(rf"{_NUMBER}\s*(?:bpm|beats per minute|schläge)|(?:tempo|bpm)\s*[:=]?\s*{_NUMBER}", re.I)

_SIGN = r"(♯|#|♭|b(?![a-z])|[\s-]?sharp\b|[\s-]?flat\b|(?:is|es)(?=[\s-]*(?i:dur|moll))|s(?=[\s-]*(?i:dur|moll)))?"
_MODE = r"((?i:major|minor|maj|min|dur|moll|majeur|mineur|mayor|menor))\b"
_KEYS = (
    # "in a minor", "key of a major"; a bare "a minor hit" is an article, "in a minor key" names no tonic.
    re.compile(rf"\b(?i:in|key(?:\s+of)?|tonart)[\s:]+([A-Ha-h]){_SIGN}[\s-]*{_MODE}"),
    re.compile(rf"(?<![\w'’])([A-Hb-h]|a(?=s?-)){_SIGN}[\s-]*{_MODE}"),
    re.compile(rf"\b(?i:key(?:\s+of)?|tonart)[\s:]+([A-Ha-h]){_SIGN}(m?)(?![\w'’])"),
    re.compile(rf"\bin\s+([B-H]|A(?=\s*(?:[#♯♭b.,;!)]|flat|sharp|m\b|$))){_SIGN}(m?)(?![\w'’])"),
    re.compile(r"(?<![\w'’])([A-H])([#♯♭]|b)(m?)(?![\w'’])"),
    re.compile(r"(?<![\w'’])([B-H])()()(?=\s+(?i:blues)\b)"),
)
_NO_TONIC = re.compile(rf"\b(?:in\s+)?(?:a\s+)?{_MODE}\s+(?:key|mode|tonality|scale|mood)\b", re.I)
_TONICS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11, "H": 11}
_SHARP, _FLAT = {"♯", "#", "sharp", "is"}, {"♭", "b", "flat", "es", "s"}
_MINOR = {"minor", "min", "moll", "mineur", "menor", "m"}


def length(text: str) -> float | None:
    """Return the seconds that a text asks for: its longest statement, parts of a piece set aside.

    >>> length("a 10 second intro, 90s grunge, 3 minutes long")
    180.0
    """
    text = _DECADE.sub(" ", text)
    whole: list[float] = []
    parts: list[float] = []
    minutes_end, minutes = -1, 0.0
    for match in _TIME.finditer(text):
        digits, word, minute, second = match.groups()
        if not digits and second and (second.casefold() == "s" or _WORDS[word.casefold()] <= 1):
            continue  # "a second verse", "loved ones"
        value = float(digits.replace(",", ".")) if digits else _WORDS[word.casefold()]
        value *= 60.0 if minute else 1.0
        if second and minutes_end >= 0 and _JOINT.fullmatch(text, minutes_end, match.start()):
            value += minutes
        minutes_end, minutes = (match.end(), value) if minute else (-1, 0.0)
        (parts if _PART.match(text, match.end()) else whole).append(value)
    if longest := max(whole or parts, default=0.0):
        return longest
    if clock := _CLOCK.search(text):
        return int(clock.group(1)) * 60.0 + int(clock.group(2)) or None
    return None


def tempo(text: str) -> float | None:
    """Return the beats a minute that a text asks for."""
    if match := _TEMPO.search(text):
        value = float((match.group(1) or match.group(2)).replace(",", "."))
        # Absurd numbers are taken for what they are in another octave, or left alone.
        while value > 220 and value <= 880:
            value /= 2
        while 0 < value < 40 and value >= 10:
            value *= 2
        return value if 40 <= value <= 220 else None
    return None


def key(prompt: str) -> tuple[int | None, bool | None]:
    """Return the tonic and whether the key is minor; None for what is not said. Capitals matter.

    >>> key("a song in e minor"), key("Bb blues"), key("a minor hit")
    ((4, True), (10, None), (None, None))
    """
    if bare := _NO_TONIC.search(prompt):
        named = re.search(r"\b([B-Hb-h]|A)[#♯♭b]?[\s-]*$", prompt[: bare.start(1)])
        if named is None:
            return None, bare.group(1).casefold() in _MINOR
    for pattern in _KEYS:
        if match := pattern.search(prompt):
            letter, sign, mode = match.groups()
            sign, mode = (sign or "").strip(" -\t\n").casefold(), (mode or "").casefold()
            if letter in "Bb" and not sign and mode in {"dur", "moll"}:
                sign = "b"  # a German B is the others' B flat
            shift = 1 if sign in _SHARP else -1 if sign in _FLAT else 0
            return (_TONICS[letter.upper()] + shift) % 12, mode in _MINOR if mode else None
    return None, None
