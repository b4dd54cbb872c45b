"""How chords and basses are played: one bar of rhythm a line, by name.

For chords: ``X``, ``x`` and ``o`` strike the whole chord loud, normally or softly; a digit plays that voice from
below, ``b`` the bass note; ``.`` lets it ring on. For basses: ``R``/``r`` root loud or soft, ``5`` fifth below or
above, ``8`` octave, ``3`` third, ``7`` seventh or sixth, ``a`` a step that leads to the next root.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Style:
    """A way to play; bars take turns through ``bars``.

    ``hold`` is the longest a note is held in beats, ``strum`` the seconds between one string and the next.
    """

    bars: tuple[str, ...]
    hold: float = 8.0
    strum: float = 0.0


CHORDS: dict[str, Style] = {
    "held": Style(("x...............",)),
    "pop8": Style(("X.x.x.x.X.x.x.x.", "X.x.x.x.X.x.x.xx"), 1.0),
    "push": Style(("X.....x.......x.", "X.....x...x.....")),
    "drop": Style(("X.....o...x.....", "X.....o.....o...", "X.........x..o..")),
    "nod": Style(("X...o.x...o.x...", "X..o..x...x..o..")),
    "bounce": Style(("X..x...o..x...o.", "X...o..x..x..o..")),
    "lull": Style(("X.......o...o...", "X.......o.....o.")),
    "anthem": Style(("X..x..x...x.x...", "X..x..x...x..x.."), 0.7),
    "stab": Style(("X..x..x...x..x..", "X..x..x.....x..."), 0.3),
    "offbeat": Style(("..X...X...X...X.",), 0.35),
    "dub": Style(("...X............", "......x........."), 0.4),
    "strum": Style(("X...x.x..xx.x.x.", "X...x.x..xx.x.xo"), 2.0, 0.013),
    "strum2": Style(("X.x.x.xoX.x.x.xo",), 2.0, 0.011),
    "pick8": Style(("0.1.2.3.2.1.2.1.", "0.2.1.3.2.1.3.2.")),
    "pick8b": Style(("0.2.3.2.1.2.3.2.", "0.1.3.2.1.3.2.1.")),
    "travis": Style(("b.2.1.3.b.2.1.2.", "b.3.1.2.b.2.1.3."), 1.5),
    "boomchick": Style(("b...x.o.b...x.o.",), 0.9, 0.009),
    "shuffle": Style(("..x...x...x...x.", "..x...x...x..xx."), 0.4),
    "boogie": Style(("X.x.X.x.X.x.X.x.",), 0.45),
    "skank": Style(("....X.......X...", "....X.......X.o."), 0.22, 0.004),
    "bubble": Style(("..o.x.o...o.x.o.",), 0.2),
    "bossa": Style(("X..x..x...x..x..", "..x..x..x..x..x."), 0.6),
    "bossa2": Style(("x...x..x..x.x...", "..x...x..x..x..."), 0.6),
    "comp": Style(("X.....x.........", "......x.....x...", "..x...........x.", "X.....o...x....."), 0.8),
    "comp2": Style(("......x.......x.", "X.........x.....", "....x.....x....."), 1.2),
    "kicks": Style(("................", "......X.......X.", "................", "X.....X........."), 0.4),
    "scratch": Style(("x.oX..ox.oX.x.ox", "xoo.x.oXo.x.xoo."), 0.16),
    "scratch2": Style(("..xX..x...xX..xo", "o.xX.ox.o.xX.oxo"), 0.16),
    "arp8": Style(("0.1.2.3.2.1.3.2.",), 1.0),
    "arp16": Style(("0123210123213210", "0123012332103210"), 0.4),
    "arp16b": Style(("0.230.210.230.12", "03.203.203.20312"), 0.4),
    "drops": Style(("3......1........", "....2.........0.", "..1.......3.....", "........2......."), 6.0),
    "nocturne": Style(("0.1.2.3.2.1.2.1.", "0.2.3.2.1.2.3.2."), 3.0),
    "alberti": Style(("0.2.1.2.0.2.1.2.",), 1.0),
    "ostinato": Style(("0.002.001.002.00", "0.002.003.002.10"), 0.25),
    "ostinato2": Style(("0.0.2.0.1.0.2.0.", "0.0.2.0.3.0.2.1."), 0.3),
    "banjo": Style(("0213021302130213", "2013201320132031"), 0.5),
}

# Power chords and chugs: R strikes the chord's root, r softly.
RIFFS: dict[str, Style] = {
    "power8": Style(("R.r.R.r.R.r.R.r.", "R.r.R.r.R.r.R.R."), 0.5),
    "powerhit": Style(("R.....R.........", "R.....R...R.....")),
    "chug": Style(("R.rrR.rrR.rrR.rr", "R.rrR.rr..R.R.rr"), 0.24),
    "gallop": Style(("R.rrR.rrR.rrR.rr", "R..rR..rR.rrR.rr"), 0.24),
}

BASSES: dict[str, Style] = {
    "held": Style(("R...............",)),
    "eighths": Style(("R.r.r.r.R.r.r.r.", "R.r.r.r.R.r.r.a."), 0.5),
    "pop": Style(("R..r..r.R.r.r.5.", "R..r..r.R.r...a."), 0.7),
    "rock": Style(("R.r.r.r.R.r.5.r.", "R.r.r.r.R.5.8.a."), 0.5),
    "offbeat": Style(("..R...R...R...R.", "..R...R...R...8."), 0.4),
    "houseroll": Style(("R..r..R...r.R.8.", "R..r..R...r.R.a."), 0.35),
    "acid": Style(("R.r8r.3r.r8.r7r.", "r.R8.r7r.8r.R.35"), 0.24),
    "techroll": Style(("..rR..rR..rR..rR",), 0.24),
    "808": Style(("R.........r.....", "R......r..5....."), 2.4),
    "808b": Style(("R..r......r.....", "R.....r.....a..."), 2.0),
    "lofi": Style(("R.........r..5..", "R......r......a."), 1.6),
    "boogie": Style(("R.r.3.3.5.5.7.5.", "R.r.3.3.5.5.7.a."), 0.5),
    "twofive": Style(("R.......5.......", "R.......5...a...", "R.......5......."), 1.4),
    "reggae": Style(("R..r..3.5.....r.", "..R...R.5.3.r..."), 0.6),
    "reggae2": Style(("R.....r.3..5....", "R.....r.5..8..a."), 0.7),
    "bossa": Style(("R.....5.5.....R.", "R.....5.5.....a."), 1.4),
    "octaves8": Style(("R.8.R.8.R.8.R.8.",), 0.4),
    "octaves16": Style(("r.r8R.r8r.r8R.r8", "rrr8rrr8rrr8rr8a"), 0.24),
    "chug": Style(("R.rrR.rrR.rrR.rr",), 0.24),
    "funk": Style(("R..r..8r..7.8.5r", "R...r.8...r7r.8a"), 0.3),
    "funk2": Style(("R.r..8.r.R.7.58.", "R.r..8.r..5.7.8a"), 0.3),
}

# Rhythms of tunes: a bar each, by how dense they are. A dash ends a note early.
TUNES: dict[str, tuple[str, ...]] = {
    "sparse": (
        "x.......x...x...",
        "x.....x.....x...",
        "....x...x.......",
        "x...........x...",
        "x...x...x.......",
    ),
    "flowing": (
        "x...x.x.x...x.x.",
        "x.x.x...x.x.x...",
        "x...x.x.x.x.x...",
        "..x.x.x.x...x...",
        "x.....x.x.x.x...",
    ),
    "catchy": (
        "x..x..x.x...x...",
        "x..x..x...x.x.x.",
        "x.x..x..x...x...",
        "..x.x..x..x.x...",
        "x..x.x..x.x.....",
    ),
    "busy": ("x.x.x.xxx.x.x.x.", "x.xxx.x.x.x.xxx.", "..x.x.x.xxx.x.x.", "x.x.xxx.x...x.x."),
    "swing": (
        "x.x.x.x.x.x.x...",
        "..x.x.x.x...x.x.",
        "x...x.x.x.x.x.x.",
        "x.....x.x.x.x.x.",
        "..x.x...x.x.x...",
    ),
    "blues": ("x.x.x.....x.x...", "..x.x.x.x.......", "x.....x.x.x.....", "..x.x.x...x.x..."),
    "hits": ("......x.......x.", "x..x............", "..........x.x.x.", "..x...x........."),
}
ENDINGS: dict[str, tuple[str, ...]] = {
    "sparse": ("x...............", "x.......x......."),
    "flowing": ("x.x.x...........", "x...x..........."),
    "catchy": ("x..x..x.........", "x..x............"),
    "busy": ("x.x.x.x.x.......", "x.xxx...x......."),
    "swing": ("x.x.x...........", "x...x..........."),
    "blues": ("x.x.x...........", "..x.x..........."),
    "hits": ("x...............", "......x........."),
}
