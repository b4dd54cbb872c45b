"""From a prompt to a brief: what somebody's words ask for, in musical terms. Never fails, whatever they wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from beatra_nb.sandbox.music import measures
from beatra_nb.sandbox.music.genre import Genre
from beatra_nb.sandbox.music.genres import BY_NAME, GENRES
from beatra_nb.sandbox.music.order import LEAST_SECONDS, MOST_SECONDS

DEFAULT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Brief:
    """What is wanted; None where the words leave it open.

    Attributes
    ----------
    genre : Genre
        The nearest of the genres we can play.
    named : bool
        Whether the prompt named it, rather than us choosing it.
    dark : bool or None
        Minor or major.
    energy : float
        How lively, −0.3 to 0.3 around what the genre usually is.
    pace : float
        How fast within the genre's range: −1 slow, 1 fast.
    brightness : float
        dB of treble more or less.
    tempo : float or None
        Beats a minute, when given.
    tonic : int or None
        Pitch class of the key, when given.
    seconds : float or None
        Length, when given; within what we make.
    wanted : dict
        Role → instruments that were asked for.
    refused : frozenset of str
        Roles that were declined: "no drums".
    clipped : bool
        Whether the length asked for was beyond the bounds.
    """

    genre: Genre
    named: bool = True
    dark: bool | None = None
    energy: float = 0.0
    pace: float = 0.0
    brightness: float = 0.0
    tempo: float | None = None
    tonic: int | None = None
    seconds: float | None = None
    wanted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    clipped: bool = False


# Moods: words → (dark, energy, pace, brightness). A word may be the beginning of one.
_MOODS: tuple[tuple[str, tuple[float, float, float, float]], ...] = (
    (
        "happy joy cheer sunny upbeat playful fröhlich alegre joyeux feliz summer fun bright uplifting",
        (-1, 0.1, 0.4, 1.5),
    ),
    (
        "sad melanchol lonely heartbreak tears grief traurig triste nostalg bittersweet",
        (1, -0.15, -0.5, -1.5),
    ),
    ("dark sinister ominous horror haunt menac düster gloomy evil", (1, 0.0, -0.1, -2.0)),
    (
        "calm peaceful gentle soft quiet tender mellow soothing ruhig tranquil slow serene intimate",
        (0, -0.2, -0.6, -1.5),
    ),
    ("energetic powerful aggressive intense driving hard wild explosive massive loud", (0, 0.2, 0.5, 1.5)),
    ("epic heroic triumphant majestic victor anthem", (-0.4, 0.2, 0.1, 0.5)),
    ("fast quick uptempo rapid frantic schnell rápido rapide vite", (0, 0.1, 0.9, 0.0)),
    ("langsam lento lent adagio downtempo sleepy", (0, -0.15, -0.9, -0.5)),
    ("warm cosy cozy analog vintage lush", (0, 0, 0, -1.2)),
    ("romantic love liebe amor amour", (-0.3, -0.05, -0.2, -0.5)),
    ("mysterious suspense tense spooky", (1, 0, -0.2, -1.0)),
    ("crisp sparkling shimmering glitter airy", (0, 0, 0, 1.5)),
)

# Instruments: words → (role, instrument).
_INSTRUMENTS: tuple[tuple[str, str, str], ...] = (
    ("electric piano|rhodes|wurlitzer|e-piano", "chords", "electric piano"),
    ("felt piano", "chords", "felt piano"),
    ("piano|klavier|pianist", "chords", "piano"),
    ("nylon guitar|classical guitar|spanish guitar", "chords", "nylon guitar"),
    ("acoustic guitar|fingerpicked|ukulele", "chords", "acoustic guitar"),
    ("distorted guitar|heavy guitar", "riff", "distorted guitar"),
    ("lead guitar|guitar solo|electric guitar", "lead", "lead guitar"),
    ("guitars?|gitarre", "chords", "clean guitar"),
    ("organ|hammond", "chords", "organ"),
    ("strings|string section|streicher|cello|violas?", "pad", "strings"),
    ("violin|fiddle|geige", "lead", "violin"),
    ("choir|choral|voices", "pad", "choir"),
    ("saxophone|sax", "lead", "saxophone"),
    ("trumpet", "lead", "trumpet"),
    ("brass|horns?|trombones?", "answer", "brass"),
    ("flute|flöte", "lead", "flute"),
    ("clarinet", "lead", "clarinet"),
    ("harmonica", "lead", "harmonica"),
    ("accordion", "lead", "accordion"),
    ("melodica", "lead", "melodica"),
    ("whistl\\w*", "lead", "whistling"),
    ("vibraphone|vibes", "lead", "vibraphone"),
    ("marimba|kalimba|xylophone", "arp", "marimba"),
    ("harp", "arp", "harp"),
    ("bells|glockenspiel|chimes", "arp", "bells"),
    ("music box|celesta", "arp", "celesta"),
    ("banjo", "arp", "banjo"),
    ("arpeggi\\w*|plucks?", "arp", "synth pluck"),
    ("pads?", "pad", "warm pad"),
    ("supersaws?", "chords", "supersaw"),
    ("synth lead|lead synth|synths?|synthesi[sz]ers?", "lead", "analog lead"),
    ("slap bass", "bass", "slap bass"),
    ("double bass|upright bass|contrabass|kontrabass", "bass", "double bass"),
    ("synth bass", "bass", "synth bass"),
    ("sub bass|808s?", "bass", "sub bass"),
    ("acid|303", "bass", "acid bass"),
)
_ROLE_WORDS = {
    "drums": "drums?|percussion|beats?|schlagzeug|kick",
    "bass": "bass",
    "lead": "lead|melody|solo|tune",
    "pad": "pads?|strings|choir",
    "chords": "chords|guitars?|piano|keys|organ",
    "arp": "arps?|arpeggi\\w*",
    "riff": "riffs?|guitars?",
}
# What fits when the prompt names a mood and no genre.
_BY_MOOD = {
    (True, False): ("cinematic", "synthwave", "hip-hop"),
    (True, True): ("classical", "lo-fi", "ambient"),
    (False, True): ("folk", "lo-fi", "dream pop", "bossa nova"),
    (False, False): ("pop", "funk", "house", "rock"),
}
_ANY = ("pop", "dream pop", "synthwave", "folk", "funk", "lo-fi", "cinematic", "rock", "bossa nova", "house")

# Genres in scripts that do not part their words.
_ELSEWHERE = {
    "ロック": "rock", "ジャズ": "jazz", "ブルース": "blues", "メタル": "metal", "レゲエ": "reggae",
    "ピアノ": "classical", "クラシック": "classical", "フォーク": "folk", "テクノ": "techno", "ハウス": "house",
    "ヒップホップ": "hip-hop", "アンビエント": "ambient", "ポップ": "pop", "摇滚": "rock", "爵士": "jazz",
    "古典": "classical", "钢琴": "classical", "民谣": "folk", "电子": "house", "嘻哈": "hip-hop", "流行": "pop",
    "재즈": "jazz", "록": "rock", "팝": "pop", "рок": "rock", "джаз": "jazz", "классик": "classical",
    "фортепиано": "classical", "техно": "techno",
}  # fmt: skip

# What is declined: "not jazz", "anything but metal", "no trap or drill".
_NOT = (
    r"(?<!\w)(?:no|not|never|without|except(?:[ ]for)?|(?:any|every)thing[ ]but|"
    r"other[ ]than|instead[ ]of|rather[ ]than|"
    r"kein\w*|nicht|ohne|sin|sans|\w+n['’]t(?:[ ]want|[ ]like)?)\s+"
    r"(?:(?:a|an|the|any|too|so|very|really|more|much|like|to|be)\s+){0,2}"
)
_GENRE_WORDS = "|".join(
    sorted((re.escape(word) for genre in GENRES for word in genre.words), key=len, reverse=True)
)
_NO_GENRE = re.compile(
    rf"{_NOT}(?:{_GENRE_WORDS})(?!\w)(?:\s*(?:,\s*)?(?:or|nor|oder)\s+(?:{_GENRE_WORDS})(?!\w))*"
)
_NO_MOOD = re.compile(rf"{_NOT}\w+")


def read(prompt: str, *, seed_pick: float = 0.0, seconds: float | None = None) -> Brief:
    """Return the brief behind a prompt.

    Parameters
    ----------
    prompt : str
        Anything: a genre, a mood, a picture, a length, in any language, or nothing.
    seed_pick : float, default 0.0
        From 0 to 1: chooses among genres that fit equally well when none is named.
    seconds : float, optional
        The length, when it was given apart from the prompt; it beats the prompt's.

    Examples
    --------
    >>> brief = read("a 12 s jazz jingle in B♭ major, 140 bpm, no drums")
    >>> brief.genre.name, brief.seconds, brief.tempo, brief.tonic, sorted(brief.refused)
    ('jazz', 12.0, 140.0, 10, ['drums'])
    """
    text = prompt.casefold()
    dark, energy, pace, brightness = _mood(_NO_MOOD.sub(" ", text))
    genre = _genre(_NO_GENRE.sub(" ", text))
    tonic, minor = measures.key(prompt)
    asked = seconds if seconds is not None else measures.length(text)
    length = None if asked is None else min(MOST_SECONDS, max(LEAST_SECONDS, asked))
    wanted, refused = _players(text)
    if minor is not None:
        dark = minor
    named = genre is not None
    if genre is None:
        choices = _BY_MOOD[(bool(dark), energy < 0)] if dark is not None or energy else _ANY
        declined = " ".join(match.group() for match in _NO_GENRE.finditer(text))
        spared = [name for name in choices if not any(_starts(declined, w) for w in BY_NAME[name].words)]
        choices = tuple(spared) or _ANY
        genre = BY_NAME[choices[min(len(choices) - 1, int(seed_pick * len(choices)))]]
    tempo = measures.tempo(text)
    return Brief(
        genre, named, dark, energy, pace, brightness, tempo, tonic, length, wanted, refused,
        clipped=length is not None and asked is not None and length != asked,
    )  # fmt: skip


def _starts(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}", text) is not None


def _genre(text: str) -> Genre | None:
    """Return the genre with the longest of its words in the text; of two as long the one named first."""
    found = [
        (-len(word), match.start(), genre)
        for genre in GENRES
        for word in genre.words
        if (match := re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text))
    ]
    # "jazz piano" is jazz: an instrument's name makes a genre only where nothing else does.
    firm = [
        entry for entry in found if -entry[0] > 0 and not (entry[2].name == "classical" and entry[0] == -5)
    ]
    if loud := min(firm or found, key=lambda entry: entry[:2], default=None):
        return loud[2]
    return next((BY_NAME[name] for word, name in _ELSEWHERE.items() if word in text), None)


def _mood(text: str) -> tuple[bool | None, float, float, float]:
    dark = energy = pace = bright = 0.0
    for words, (d, e, p, b) in _MOODS:
        if any(_starts(text, word) for word in words.split()):
            dark, energy, pace, bright = dark + d, energy + e, pace + p, bright + b
    verdict = None if abs(dark) < 0.5 else dark > 0
    return verdict, max(-0.3, min(0.3, energy)), max(-1.0, min(1.0, pace)), max(-3.0, min(3.0, bright))


def _players(text: str) -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    refused = {
        role
        for role, words in _ROLE_WORDS.items()
        if re.search(rf"\b(?:no|without|ohne|sin|sans|minus)\s+(?:\w+\s+)?(?:{words})\b", text)
    }
    if re.search(r"\b(?:drumless|beatless)\b", text):
        refused.add("drums")
    wanted: dict[str, tuple[str, ...]] = {}
    rest = re.sub(r"\b(?:no|without|ohne|sin|sans|minus)\s+(?:\w+\s+)?\w+", " ", text)
    for words, role, instrument in _INSTRUMENTS:
        rest, count = re.subn(rf"(?<!\w)(?:{words})(?!\w)", " ", rest)
        if count:
            wanted[role] = (*wanted.get(role, ()), instrument)
    return wanted, frozenset(refused)
