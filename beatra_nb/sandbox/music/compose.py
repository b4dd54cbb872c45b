"""An order, carried out: listening, planning, composing, rendering, mixing, encoding, once for each take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beatra_nb.sandbox.music import (
    arrange,
    brief,
    chance,
    effects,
    encode,
    form,
    harmony,
    listen,
    lyrics,
    render,
    titles,
)
from beatra_nb.sandbox.music.arrange import Design
from beatra_nb.sandbox.music.brief import Brief
from beatra_nb.sandbox.music.listen import Heard
from beatra_nb.sandbox.music.lyrics import Passage
from beatra_nb.sandbox.music.order import LEAST_SECONDS, MOST_SECONDS, Order, Report
from beatra_nb.sandbox.music.score import Score

_LEAST_APART = 0.035  # of the first take's tempo: less, and two takes are one beat
_TRIES = 40  # seeds that are looked at for a second take that is another piece

# Share of a take's time that each stage takes, as measured.
_SHARES = {"composing": 0.01, "rendering": 0.32, "mixing": 0.17, "encoding": 0.5}


def compose(order: Order, report: Report) -> dict[str, Any]:
    """Carry out an order and return what the server is told: clips, warnings, what was heard in the reference.

    Raises
    ------
    Rejected
        If the reference cannot be read.
    """
    heard = None
    base = 1.0
    if order.reference is not None:
        report(base, "listening", "Listening to the reference")
        heard = listen.listen(
            order.reference, lambda share: report(1 + 7 * share, "listening", "Listening to the reference")
        )
        base = 8.0
    report(base, "planning", "Reading the prompt")
    wanted = brief.read(
        order.prompt,
        seed_pick=chance.stream(0, "genre", order.prompt, order.lyrics).random(),
        seconds=order.seconds,
    )
    passages = lyrics.passages(order.lyrics)
    designs = _takes(order, wanted, passages, heard)
    title = order.title.strip() or titles.title(order.prompt, order.lyrics, wanted)
    clips = []
    span = (100.0 - base) / len(designs)
    dropped = 0
    for number, design in enumerate(designs, 1):
        label = f"Take {number}: " if len(designs) > 1 else ""
        begin = base + span * (number - 1)

        def told(share: float, stage: str, what: str, begin: float = begin, label: str = label) -> None:
            report(begin + span * share, stage, f"{label}{what}" if label else what[:1].upper() + what[1:])

        told(0.0, "composing", "writing the score")
        score = arrange.write(design, passages, heard.contour if heard else None)
        dropped = max(dropped, score.form.dropped)
        name = f"{number}.{order.format}"
        _produce(score, design.seed, Path(order.folder) / name, order.format, told)
        clips.append(_clip(order, name, title, design, score))
    return {
        "clips": clips,
        "warnings": _warnings(order, wanted, passages, dropped, heard),
        "heard": heard.facts() if heard else None,
    }


def _takes(order: Order, wanted: Brief, passages: Sequence[Passage], heard: Heard | None) -> list[Design]:
    """Return a design for each clip; the second differs in tempo, key and arrangement where it is free to.

    The second take's seed is its own: ordered with that seed, it is the first take.
    """
    weird = order.weirdness or 0.0
    loose = max(0.0, 0.5 - order.style_weight) * 2 if order.style_weight is not None else 0.0
    found = None
    if heard is not None and heard.tempo is not None:
        found = (heard.tempo, heard.tonic, heard.minor)
    first = arrange.design(wanted, order.seed, weird=weird, loose=loose, heard=found)
    if order.clips < 2:
        return [first]

    def sounding(design: Design) -> float:
        """Return the tempo that it will have once it fits its length."""
        return form.plan(wanted, passages, design.tempo, design.seed).tempo

    best, most, pace = first, -math.inf, sounding(first)
    free = wanted.tempo is None and found is None
    for attempt in range(_TRIES):
        seed = chance.number(order.seed, "take", attempt) % 2**31
        other = arrange.design(wanted, seed, weird=weird, loose=loose, heard=found)
        instruments = sum(a[1] != b[1] for a, b in zip(first.players, other.players, strict=False))
        apart = abs(sounding(other) / pace - 1)
        score = (
            (-20.0 if free and apart < _LEAST_APART else 0.0)
            + 4.0 * (other.arrangement != first.arrangement)
            + min(4.0, 60 * apart)
            + 3.0 * (other.tonic != first.tonic)
            + min(3, instruments)
            + (other.verse != first.verse) + (other.chorus != first.chorus)
        )  # fmt: skip
        if score > most:
            best, most = other, score
    return [first, best]


def _produce(score: Score, seed: int, path: Path, form_: str, told: Any) -> None:  # noqa: ANN401
    """Render, mix and encode one take."""
    edge = _SHARES["composing"]
    width = _SHARES["rendering"]
    mixer = render.render(score, seed, lambda share, what: told(edge + width * share, "rendering", what))
    edge, width = edge + width, _SHARES["mixing"]
    seconds, damping, level = score.genre.room
    told(edge, "mixing", "adding the room")
    effects.add_room(
        mixer.mix, mixer.send, effects.room(seconds, damping), level,
        lambda share: told(edge + 0.4 * width * share, "mixing", "adding the room"),
    )  # fmt: skip
    mix = mixer.mix
    del mixer
    told(edge + 0.4 * width, "mixing", "balancing the tone")
    render.edges(mix)
    curve = effects.tone(effects.spectrum(mix), score.genre.tone, score.brightness)
    tenths = effects.equalise(
        mix, curve, lambda share: told(edge + width * (0.4 + 0.35 * share), "mixing", "balancing the tone")
    )
    told(edge + 0.75 * width, "mixing", "mastering")
    effects.master(
        mix,
        tenths,
        score.genre.glue,
        lambda share: told(edge + width * (0.75 + 0.25 * share), "mixing", "mastering"),
    )
    render.edges(mix)
    edge, width = edge + width, _SHARES["encoding"]
    told(edge, "encoding", f"encoding {form_.upper()}")
    encode.write(
        mix, path, form_, lambda share: told(edge + width * share, "encoding", f"encoding {form_.upper()}")
    )


def _clip(order: Order, name: str, title: str, design: Design, score: Score) -> dict[str, Any]:
    shape = score.form
    bar = 240.0 / shape.tempo
    sections = [
        {"name": section.name, "start_seconds": round(shape.lead_in + section.start * bar, 3)}
        for section in shape.sections
    ]
    if len(shape.sections) > 1 or shape.bars > 1:
        sections.append({"name": "Ending", "start_seconds": round(shape.lead_in + shape.bars * bar, 3)})
    return {
        "file": name,
        "media_type": encode.media_type(order.format),
        "title": title,
        "duration_seconds": round(shape.seconds, 3),
        "seed": design.seed,
        "tempo_bpm": round(shape.tempo, 1),
        "key": harmony.key_name(design.tonic, design.mode),
        "genre": score.genre.name,
        "lyrics": order.lyrics.strip() or None,
        "sections": sections,
    }


def _warnings(
    order: Order, wanted: Brief, passages: Sequence[Passage], dropped: int, heard: Heard | None
) -> list[dict[str, str]]:
    """Return what the person who ordered should know."""
    said: list[
        tuple[str, str, str]
    ] = []  # who composed is said by the server, which knows what was asked for
    if passages and not order.instrumental:
        said.append(
            ("lyrics_not_sung", "Instrumental only: the lyrics shape the form and are not sung.", "lyrics")
        )
    elif not order.instrumental:
        said.append(("instrumental_only", "Instrumental only: the sandbox has no singer.", "instrumental"))
    if dropped:
        said.append(
            (
                "lyrics_too_long",
                f"The piece is too short for {dropped} of the lyrics' sections; they were left out.",
                "lyrics",
            )
        )
    if wanted.clipped:
        said.append(
            (
                "length_adjusted",
                f"Pieces last {LEAST_SECONDS:g} to {MOST_SECONDS:g} seconds; the length was adjusted.",
                "seconds",
            )
        )
    if not wanted.named and (order.prompt.strip() or order.lyrics.strip()):
        why = (
            "The prompt names no genre that the sandbox plays"
            if order.prompt.strip()
            else "There is no prompt"
        )
        said.append(("genre_chosen", f"{why}; it chose {wanted.genre.name}.", "prompt"))
    if heard is not None and heard.tempo is None:
        said.append(("reference_unclear", heard.message, "reference_audio"))
    return [{"code": code, "message": message, "field": field} for code, message, field in said]
