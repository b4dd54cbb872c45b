"""What the drummer plays: the genre's patterns by energy, with ghost notes, fills, crashes, builds."""

from __future__ import annotations

from beatra_nb.sandbox.music import chance
from beatra_nb.sandbox.music.form import Form, Section
from beatra_nb.sandbox.music.genre import Beat, Genre
from beatra_nb.sandbox.music.score import Hit

_LOUD = {"X": 1.0, "x": 0.76, "o": 0.42}
_KEPT = {"kick", "hat", "ride", "open", "shaker"}  # what goes on under a fill's first half


def play(genre: Genre, form: Form, seed: int) -> list[Hit]:
    """Return every stroke of the piece."""
    if not genre.beats:
        return []
    pick = chance.stream(seed, "drums")
    hits: list[Hit] = []
    chosen: dict[tuple[str, int], Beat] = {}
    for number, section in enumerate(form.sections):
        if section.energy < genre.drums_enter and section.kind != "Intro":
            continue
        level = 0 if section.energy < 0.5 else 1 if section.energy < 0.78 else 2
        variants = genre.beats[level]
        if not variants:
            continue
        beat = chosen.setdefault((section.kind, level), pick.choice(variants))
        following = form.sections[number + 1] if number + 1 < len(form.sections) else None
        hits += _section(genre, section, following, beat, level, pick.random(), number > 0)
    return hits


def _section(
    genre: Genre,
    section: Section,
    following: Section | None,
    beat: Beat,
    level: int,
    mood: float,
    crash: bool,
) -> list[Hit]:
    hits: list[Hit] = []
    loud = 0.72 + 0.28 * section.energy
    # An intro comes in by degrees: half of it, rounded down, is left to the others.
    silent = (
        section.bars // 2 if section.kind == "Intro" and section.bars > 1 and genre.drums_enter > 0.3 else 0
    )
    if section.kind == "Intro" and section.energy < genre.drums_enter and section.bars < 2:
        return []
    for bar in range(silent, section.bars):
        at = 4.0 * (section.start + bar)
        filled = bar == section.bars - 1 and section.bars > 1 and genre.fill != "none"
        for piece, rhythm in beat.items():
            for step, char in enumerate(rhythm):
                if char == "." or (filled and step >= 8 and piece not in _KEPT) or (filled and step >= 12):
                    continue
                if piece == "crash" and bar % 4:
                    continue
                if piece == "crackle" and bar % 1:
                    continue
                ghost = 0.9 if (bar + step) % 3 else 1.0
                hits.append(Hit(at + step / 4, piece, loud * _LOUD[char] * ghost))
            if piece in {"kick", "snare"} and bar % 4 == 3 and not filled and mood > 0.4:
                hits.append(Hit(at + 3.5 if piece == "kick" else at + 3.75, piece, loud * 0.45))
        if filled:
            lifts = following is None or following.energy >= section.energy
            hits += _fill(genre, at, loud, lifts and section.energy > 0.4)
    grand = level == 2 and genre.fill in {"toms", "riser", "timpani", "roll", "reggae", "latin"}
    if crash and (grand or section.kind == "Chorus") and genre.fill not in {"none", "jazz"}:
        hits.append(Hit(4.0 * section.start, "crash", 0.8 * loud))
    builds = following is not None and following.energy > section.energy + 0.12 and section.bars >= 2
    if builds and genre.fill == "riser":
        hits.append(Hit(4.0 * section.end - 4.0, "riser", 0.8))
    elif builds and genre.fill in {"timpani", "none"} and level > 0:
        hits.append(Hit(4.0 * section.end - 3.0, "swell", 0.7))
    return hits


def _fill(genre: Genre, at: float, loud: float, lifts: bool) -> list[Hit]:
    """Return the last bar's fill: from beat three where it leads up, a hint on beat four where it leads down."""
    if not lifts:
        return [Hit(at + 3.0, "snare" if genre.fill != "timpani" else "timpani", loud * 0.5)]
    if genre.fill == "toms":
        pieces = ("snare", "snare", "tom1", "tom1", "tom2", "tom2", "tom3", "tom3")
        return [Hit(at + 2 + i / 4, piece, loud * (0.62 + 0.04 * i)) for i, piece in enumerate(pieces)]
    if genre.fill in {"riser", "roll"}:
        count = 8 if genre.fill == "riser" else 6
        piece = "clap" if genre.kit == "techno" else "snare"
        return [Hit(at + 4 - (count - i) / 4, piece, loud * (0.35 + 0.06 * i)) for i in range(count)]
    if genre.fill == "jazz":
        return [
            Hit(at + 2 + beat, piece, loud * v)
            for beat, piece, v in ((0.5, "snare", 0.5), (1, "tom1", 0.5), (1.5, "snare", 0.65))
        ]
    if genre.fill == "reggae":
        return [
            Hit(at + 2 + i / 4, piece, loud * 0.75)
            for i, piece in enumerate(("tom1", "tom1", "tom2", "rim", "tom3", "tom3"))
        ]
    if genre.fill == "latin":
        pieces = ("bongo", "bongo", "conga", "bongo", "conga", "conga", "conga2", "conga2")
        return [Hit(at + 2 + i / 4, piece, loud * (0.55 + 0.05 * i)) for i, piece in enumerate(pieces)]
    return [
        Hit(at + 2 + i / 4, "timpani" if i % 2 == 0 else "taiko", loud * (0.4 + 0.07 * i)) for i in range(8)
    ]


def finish(genre: Genre, form: Form) -> list[Hit]:
    """Return the last stroke, with the final chord."""
    at = 4.0 * form.bars
    energy = form.sections[-1].energy
    if not genre.beats or genre.name in {"ambient", "classical"} or energy < genre.drums_enter - 0.2:
        return []
    if genre.fill == "timpani":
        return [Hit(at, "timpani", 0.9), Hit(at, "taiko", 0.9), Hit(at, "crash", 0.7)]
    if genre.fill == "none":
        return [Hit(at, piece, 0.7) for piece in ("kick", "triangle")]
    soft = genre.fill in {"jazz", "latin"}
    return [Hit(at, "kick", 0.85), Hit(at, "ride" if soft else "crash", 0.6 if soft else 0.75)]
