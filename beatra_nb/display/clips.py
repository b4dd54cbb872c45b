"""Views of sound: clips as players, and files that were uploaded.

A view never fetches anything: a clip whose bytes are not here says so, and how to get them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from beatra_nb.core import settings
from beatra_nb.display.clean import one_line
from beatra_nb.display.media_html import sound_type
from beatra_nb.display.pieces import (
    Scope,
    clock,
    credits_of,
    figure,
    get,
    id_badge,
    plain,
    sandbox_badge,
    seconds,
    short_path,
    size,
    words,
)
from beatra_nb.display.view import Audio, Badge, Card, Details, Fields, Note, Player, Row, Stack, Text, View
from beatra_nb.display.waveform import waveform

MOST_WAVES = 12  # more pictures than that are not worth their bytes
_NAMES = {
    "audio/mpeg": "MP3",
    "audio/ogg": "OGG",
    "audio/wav": "WAV",
    "audio/flac": "FLAC",
    "audio/mp4": "M4A",
}
_DEFAULT_LIMIT = 8_000_000


class Room:
    """How much sound one output may still hold."""

    def __init__(self) -> None:
        try:
            self.limit = settings.embed_limit()
        except Exception:  # a setting that cannot be read is told by the next call, not by a picture
            self.limit = _DEFAULT_LIMIT
        self._used = 0

    def admits(self, clip: object, data: bytes) -> bool:
        """Whether a clip's bytes shall be in the output; those that are, are counted."""
        embed = get(clip, "embed", "auto")
        wanted = embed if isinstance(embed, bool) else self._used + len(data) <= self.limit
        if wanted:
            self._used += len(data)
        return wanted


def clip(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a Clip."""
    footer: list[View] = [*sandbox_badge(obj)]
    if model := one_line(get(obj, "model") or "", 100):
        footer.append(Badge("", model))
    if credits := credits_of(get(obj, "credits")):
        footer.append(Badge("", credits))
    if task := words(get(obj, "task_id")):
        footer.append(Badge("task", one_line(task, 120), copy=True))
    footer += id_badge(obj)
    body: list[View] = [player(obj, scope, Room())]
    if lyrics := words(get(obj, "lyrics")):
        body.append(Details("Lyrics", plain(lyrics, scope, "clip.lyrics")))
    return Card(Stack(tuple(body)), label="Clip", footer=Row(tuple(footer)) if footer else None)


def player(
    obj: Any,  # noqa: ANN401
    scope: Scope,
    room: Room,
    *,
    mark: str = "",
    name: str = "clip",
    picture: bool = True,
) -> Player:
    """Return a clip as a player.

    Parameters
    ----------
    obj : Clip
        The clip.
    scope : Scope
        How much to show.
    room : Room
        How much sound the output may still hold.
    mark : str
        What tells it from the other takes.
    name : str
        How the reader's code reaches it.
    picture : bool
        Whether to draw the waveform.
    """
    title, time = title_of(obj), clock(get(obj, "duration"))
    data, kind = get(obj, "data"), sound_type(get(obj, "media_type"))
    sound: Audio | None = None
    body: list[View] = []
    if not isinstance(data, bytes) or not data:
        body.append(_missing(obj, name))
    elif not kind:
        told = one_line(get(obj, "media_type") or "", 80) or "unknown"
        body.append(
            Note(f"Its media type ({told}) is none that plays here: {name}.save() keeps the file.", "warn")
        )
    elif room.admits(obj, data):
        whole = ", ".join(part for part in (title, f"take {mark}" if mark else "", time) if part)
        sound = Audio(data, kind, whole)
    else:
        body.append(_not_embedded(obj, name, len(data), room.limit))
    drawn = (
        waveform(get(obj, "peaks"), f"Waveform{f', {time}' if time else ''}") if picture and kind else None
    )
    return Player(title, mark, time, drawn, sound, tuple(_facts(obj)), tuple(body))


def title_of(obj: object) -> str:
    """Return a clip's title, or what stands for it."""
    return (
        one_line(get(obj, "title") or get(get(obj, "task"), "title") or "", 160)
        or f"Take {get(obj, 'index', 1)}"
    )


def mark_of(index: int) -> str:
    """Return the letter of a take, from 0."""
    return chr(ord("A") + index) if index < 26 else str(index + 1)


def differences(items: Sequence[object]) -> str:
    """Return what takes differ in, where that is known: ``tempo 92 / 104 bpm, key A minor / C major``."""
    told = []
    for name, write in (("key", _key), ("tempo", _tempo), ("seed", _seed)):
        values = [write(item) for item in items]
        if all(values) and len(set(values)) > 1:
            unit = " bpm" if name == "tempo" else ""
            told.append(f"{name} {' / '.join(value.removesuffix(unit) for value in values)}{unit}")
    return " · ".join(told)


def _facts(obj: object) -> list[View]:
    kind = sound_type(get(obj, "media_type"))
    known = get(obj, "size")
    file = ", ".join(part for part in (_NAMES.get(kind, ""), size(known) if known else "") if part)
    told: list[View] = [
        Badge("", text) for text in (one_line(get(obj, "genre") or "", 60), _key(obj), _tempo(obj)) if text
    ]
    if seed := _seed(obj):
        told.append(Badge("seed", seed))
    if file:
        told.append(Badge("", file))
    if form := _form(obj):
        told.append(Badge("form", form))
    if saved := get(obj, "saved"):
        told.append(Badge("saved in", one_line(short_path(saved), 300)))
    return told


def _form(obj: object) -> str:
    """Return where its sections begin: ``Intro 0:00 · Verse 0:08``."""
    facts = get(obj, "facts")
    sections = facts.get("sections") if isinstance(facts, dict) else None
    told = []
    for section in sections[:24] if isinstance(sections, list) else ():
        if isinstance(section, dict) and (name := one_line(section.get("name") or "", 40)):
            words_of = f"{name} {clock(section.get('start_seconds'))}".strip()
            told.append(words_of.replace(" ", "\u00a0"))  # a name stays with its time
    return " · ".join(told)


def _key(obj: object) -> str:
    return one_line(get(obj, "key") or "", 60)


def _tempo(obj: object) -> str:
    tempo = get(obj, "tempo")
    known = isinstance(tempo, int | float) and not isinstance(tempo, bool) and 0 < tempo < 10_000
    return f"{figure(round(tempo, 1))} bpm" if known else ""


def _seed(obj: object) -> str:
    seed = get(obj, "seed")
    return "" if seed is None or seed == "" else one_line(words(seed), 60)


def _missing(obj: object, name: str) -> Note:
    wait = "await " if type(obj).__name__.startswith("Async") else ""
    if problem := words(get(obj, "problem")):
        return Note(
            f"The audio is not here: {one_line(problem, 400)} {wait}{name}.audio() tries again.", "warn"
        )
    return Note(f"The audio has not been fetched yet: {wait}{name}.audio() does that.")


def _not_embedded(obj: object, name: str, length: int, limit: int) -> Note:
    wait = "await " if type(obj).__name__.startswith("Async") else ""
    why = (
        "is not embedded here"
        if get(obj, "embed") is False
        else f"would make this output larger than it may be ({size(limit)} of sound)"
    )
    return Note(
        f"The audio ({size(length)}) {why}: {wait}{name}.save() writes it to a file, "
        f"and {name}.embed = True shows it here."
    )


def artifact(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of an Artifact."""
    fields: list[tuple[str, View]] = [
        ("Artifact id", Badge("", one_line(get(obj, "id") or "", 200), copy=True))
    ]
    told = (
        ("Type", one_line(get(obj, "media_type") or "", 100)),
        ("Size", size(known) if (known := get(obj, "size")) else ""),
        ("Length", clock(get(obj, "duration")) if get(obj, "duration") else ""),
        ("Purpose", one_line(get(obj, "purpose") or "", 100)),
    )
    fields += [(name, Text(text)) for name, text in told if text]
    if digest := one_line(get(obj, "sha256") or "", 64):
        fields.append(("SHA-256", Badge("", digest if len(digest) <= 20 else f"{digest[:16]}…", copy=False)))
    body: list[View] = [Fields(tuple(fields))]
    if get(obj, "reused") is True:
        body.append(Note("The very same bytes had been uploaded before: nothing was sent."))
    footer: list[View] = [*sandbox_badge(obj)]
    elapsed, length = get(obj, "elapsed"), get(obj, "size")
    if get(obj, "reused") is not True and (time := seconds(elapsed)):
        speed = f" ({size(length / elapsed)}/s)" if isinstance(length, int) and length > 1_000_000 else ""
        footer.append(Badge("", f"sent in {time}{speed}"))
    footer += id_badge(obj)
    return Card(
        Stack(tuple(body)),
        label="Artifact",
        title=Text(one_line(get(obj, "name") or "", 160) or "Uploaded file", strong=True),
        footer=Row(tuple(footer)) if footer else None,
    )
