"""MP4 and M4A: boxes in boxes. Read is the index alone: which tracks there are, how long, how sampled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from beatra_nb.core.formats.base import MOST_PARTS, Damaged, Sound, Window, cut_short, sound, too_many_pieces

_HOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"mvex", b"moof", b"traf")


class _Track:
    """One track, as its boxes are met."""

    def __init__(self) -> None:
        self.number = 0
        self.kind = b""  # "soun" or "vide"
        self.scale = 0
        self.length = 0
        self.rate = 0
        self.channels = 0
        self.each = 0  # default length of a sample in a file that comes in fragments


class Box(NamedTuple):
    """A box: its kind, and from where to where its contents stand."""

    kind: bytes
    start: int
    end: int


def tracks(window: Window) -> set[str]:
    """Return which kinds of tracks a file holds: ``audio``, ``video``.

    Raises
    ------
    Unfit
        If the index cannot be read.
    """
    kinds = {b"soun": "audio", b"vide": "video"}
    return {kinds[each.kind] for each in _index(window) if each.kind in kinds}


def measure(window: Window) -> Sound:
    """Return what the sound of an MP4 file is.

    Raises
    ------
    Unfit
        If it is cut short, damaged, too long, or has no track of sound.
    """
    found = [each for each in _index(window) if each.kind == b"soun"]
    if not found:
        raise Damaged("holds no sound", "Pass a file with a track of audio.")
    track = found[0]
    if not track.scale:
        raise Damaged("is damaged: its header does not say how long it is", "Export it again.")
    rate = track.rate or track.scale
    return sound(track.length / track.scale * rate, rate, track.channels)


def _index(window: Window) -> list[_Track]:
    """Walk the boxes of the whole file."""
    found: list[_Track] = []
    fragment: _Track | None = None
    seen = set()
    for box in _boxes(window, 0, window.size):
        seen.add(box.kind)
        body = window.at(box.start, min(box.end - box.start, 64))
        if box.kind == b"trak":
            found.append(_Track())
        elif box.kind in (b"trex", b"tfhd"):
            fragment = _fragment(box.kind, body, found)
        elif box.kind == b"trun" and fragment:
            fragment.length += _run(window, box, fragment.each)
        elif found:
            _read(box.kind, body, found[-1])
    if b"moov" not in seen:
        raise Damaged("is damaged or was never finished: its index is missing", "Record or export it again.")
    return found


def _read(kind: bytes, body: bytes, track: _Track) -> None:
    wide = body[:1] == b"\x01"  # 64-bit times
    if kind == b"tkhd":
        track.number = _number(body, 20 if wide else 12, 4)
    elif kind == b"hdlr":
        track.kind = track.kind or body[8:12]
    elif kind == b"mdhd":
        track.scale = _number(body, 20 if wide else 12, 4)
        length = _number(body, 24, 8) if wide else _number(body, 16, 4)
        track.length = 0 if length in (0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF) else length
    elif kind == b"stsd":
        track.channels = _number(body, 32, 2) or 2
        track.rate = _number(body, 40, 2)  # whole samples a second, of a 16.16 number


def _fragment(kind: bytes, body: bytes, found: list[_Track]) -> _Track | None:
    number = _number(body, 4, 4)
    track = next((each for each in found if each.number == number), None)
    if track is None:
        return None
    if kind == b"trex":
        track.each = _number(body, 12, 4)
    else:
        flags = _number(body, 1, 3)
        at = 8 + (8 if flags & 1 else 0) + (4 if flags & 2 else 0)
        track.each = _number(body, at, 4) if flags & 8 else track.each
    return track


def _run(window: Window, box: Box, each: int) -> int:
    """Return how long the samples of a fragment are together."""
    head = window.at(box.start, 8)
    flags, count = _number(head, 1, 3), _number(head, 4, 4)
    if not flags & 0x100:
        return count * each
    at = box.start + 8 + 4 * bool(flags & 1) + 4 * bool(flags & 4)
    width = 4 * (flags >> 8 & 15).bit_count()
    table = window.at(at, min(count * width, box.end - at))
    return sum(_number(table, place, 4) for place in range(0, len(table), width))


def _boxes(window: Window, start: int, end: int) -> Iterator[Box]:
    """Yield every box, the holders before what they hold."""
    stack = [(start, end)]
    for _ in range(MOST_PARTS * 4):
        while stack and stack[-1][0] >= stack[-1][1]:
            stack.pop()
        if not stack:
            return
        place, stop = stack.pop()
        head = window.at(place, 16)
        if stop - place < 8:  # padding
            continue
        length, kind, header = _number(head, 0, 4), head[4:8], 8
        if length == 1:
            length, header = _number(head, 8, 8), 16
        elif length == 0:
            length = stop - place
        if length < header:
            raise Damaged("is damaged: its parts do not fit together", "Export it again.")
        if place + length > stop:
            raise cut_short()
        stack.append((place + length, stop))
        yield Box(kind, place + header, place + length)
        if kind in _HOLDERS:
            stack.append((place + header, place + length))
    raise too_many_pieces()


def _number(data: bytes, place: int, width: int) -> int:
    return int.from_bytes(data[place : place + width], "big")
