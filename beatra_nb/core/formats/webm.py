"""WebM (Matroska): elements with a number and a length. What browsers record is of this kind.

A browser that records does not know the length beforehand, and writes "unknown": so the elements are read in the
order in which they stand, and those that hold others are simply entered.
"""

from __future__ import annotations

import struct

from beatra_nb.core.formats.base import (
    LONGEST,
    MOST_PAGES,
    Damaged,
    Sound,
    TooLong,
    Window,
    cut_short,
    sound,
    too_many_pieces,
)

_HEADER, _SEGMENT, _INFO, _TRACKS, _ENTRY, _AUDIO, _CLUSTER, _GROUP = (
    0x1A45DFA3,
    0x18538067,
    0x1549A966,
    0x1654AE6B,
    0xAE,
    0xE1,
    0x1F43B675,
    0xA0,
)
_HOLDERS = (_SEGMENT, _INFO, _TRACKS, _ENTRY, _AUDIO, _CLUSTER, _GROUP)
_SCALE, _DURATION, _TYPE, _RATE, _CHANNELS, _TIME, _SIMPLE, _BLOCK = (
    0x2AD7B1,
    0x4489,
    0x83,
    0xB5,
    0x9F,
    0xE7,
    0xA3,
    0xA1,
)


class _Found:
    """What was met so far."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.scale = 1_000_000  # nanoseconds a tick
        self.duration = 0.0  # ticks
        self.rate = 8000.0  # what the format says where a file does not
        self.channels = 1
        self.cluster = 0
        self.last = 0


def tracks(window: Window) -> set[str]:
    """Return which kinds of tracks a file holds: ``audio``, ``video``.

    Raises
    ------
    Unfit
        If its parts cannot be read.
    """
    return _walk(window, until=_CLUSTER).kinds  # tracks are described before what is on them


def measure(window: Window) -> Sound:
    """Return what the sound of a WebM file is.

    Raises
    ------
    Unfit
        If it is cut short, damaged, too long, or has no track of sound.
    """
    found = _walk(window)
    if "audio" not in found.kinds:
        raise Damaged("holds no sound", "Pass a file with a track of audio.")
    seconds = (found.duration or found.last) * found.scale / 1e9
    return sound(seconds * found.rate, found.rate, found.channels)


def _walk(window: Window, *, until: int | None = None) -> _Found:
    found = _Found()
    place = 0
    for _ in range(MOST_PAGES):
        if place >= window.size:
            return found
        head = window.at(place, 12)
        number, used = _vint(head, 0, keep=True)
        length, width = _vint(head, used, keep=False)
        if not used or not width:
            if len(head) < 12:
                raise cut_short()
            raise Damaged("is damaged: its parts do not fit together", "Record or export it again.")
        place += used + width
        unknown = length == (1 << 7 * width) - 1
        if number == until:
            return found
        if number in _HOLDERS:
            if not unknown and place + length > window.size:
                raise cut_short()
            continue
        if unknown or place + length > window.size:
            raise cut_short()
        _read(number, window.at(place, min(length, 8)), found)
        if found.last * found.scale > LONGEST * 1e9:
            raise TooLong
        place += length
    raise too_many_pieces()


def _read(number: int, body: bytes, found: _Found) -> None:
    if number == _SCALE:
        found.scale = int.from_bytes(body, "big")
    elif number == _DURATION:
        found.duration = _float(body)
    elif number == _TYPE and body:
        found.kinds |= {1: {"video"}, 2: {"audio"}}.get(body[-1], set())
    elif number == _RATE:
        found.rate = _float(body)
    elif number == _CHANNELS and body:
        found.channels = int.from_bytes(body, "big")
    elif number == _TIME:
        found.cluster = int.from_bytes(body, "big")
        found.last = max(found.last, found.cluster)
    elif number in (_SIMPLE, _BLOCK) and len(body) >= 4:
        _, used = _vint(body, 0, keep=False)  # the track's number
        if used and len(body) >= used + 2:
            found.last = max(
                found.last, found.cluster + int.from_bytes(body[used : used + 2], "big", signed=True)
            )


def _vint(data: bytes, at: int, *, keep: bool) -> tuple[int, int]:
    """Return a number of variable width and the width; 0 if there is none."""
    if at >= len(data) or data[at] == 0:
        return 0, 0
    width = 9 - data[at].bit_length()
    raw = data[at : at + width]
    if len(raw) < width:
        return 0, 0
    value = int.from_bytes(raw, "big")
    return (value if keep else value & (1 << 7 * width) - 1), width


def _float(body: bytes) -> float:
    value = float(struct.unpack(">d" if len(body) == 8 else ">f", body)[0]) if len(body) in (4, 8) else 0.0
    return value if 0 <= value < 1e15 else 0.0
