"""Ogg: pages, each of which says how long it is and up to which sample its sound reaches."""

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
from beatra_nb.core.formats.flac import stream_info

_NOWHERE = 0xFFFF_FFFF_FFFF_FFFF  # no packet ends on this page


class _Stream:
    """One logical stream: its codec's header and how far it came."""

    def __init__(self, rate: int, channels: int, skipped: int) -> None:
        self.rate = rate
        self.channels = channels
        self.skipped = skipped  # samples before the sound begins
        self.reached = 0
        self.ended = False


def measure(window: Window) -> Sound:
    """Return what an Ogg file holds (Vorbis, Opus, FLAC or Speex), also several songs one after another.

    Raises
    ------
    Unfit
        If it is cut short or damaged, or holds no sound that is known.
    """
    place = 0
    sounds: dict[int, _Stream | None] = {}  # by serial number; None for what is no sound
    heard: list[_Stream] = []
    for _ in range(MOST_PAGES):
        if place >= window.size:
            break
        head = window.at(place, 27)
        if head[:4] != b"OggS"[: len(head)]:
            raise Damaged("is damaged: its pages do not follow one another", "Download or export it again.")
        if len(head) < 27:
            raise cut_short()
        kind, granule, serial, count = struct.unpack_from("<BQI8xB", head, 5)
        lengths = window.at(place + 27, count)
        body = place + 27 + count
        place = body + sum(lengths)
        if len(lengths) < count or place > window.size:
            raise cut_short()
        if kind & 2:  # the first page of a stream
            stream = _codec(window.at(body, min(sum(lengths), 128)))
            sounds[serial] = stream
            if stream:
                heard.append(stream)
            continue
        stream = sounds.get(serial)
        if stream is None:
            continue
        if granule != _NOWHERE:
            stream.reached = max(stream.reached, granule)
            if stream.reached > LONGEST * stream.rate + stream.skipped:
                raise TooLong
        stream.ended = stream.ended or bool(kind & 4)
    else:
        raise too_many_pieces()
    if not heard:
        raise Damaged(
            "holds no sound of a kind that is known (Vorbis, Opus, FLAC)", "Export it again as MP3."
        )
    if not heard[-1].ended:
        raise cut_short()
    first = heard[0]
    duration = sum(max(each.reached - each.skipped, 0) / each.rate for each in heard if each.rate)
    return sound(duration * first.rate, first.rate, first.channels)


def _codec(packet: bytes) -> _Stream | None:
    if packet[:7] == b"\x01vorbis" and len(packet) >= 16:
        return _Stream(int.from_bytes(packet[12:16], "little"), packet[11], 0)
    if packet[:8] == b"OpusHead" and len(packet) >= 12:
        return _Stream(48_000, packet[9], int.from_bytes(packet[10:12], "little"))
    if packet[:5] == b"\x7fFLAC":
        info = stream_info(packet[17:51])
        return _Stream(info.rate, info.channels, 0)
    if packet[:8] == b"Speex   " and len(packet) >= 52:
        return _Stream(int.from_bytes(packet[36:40], "little"), int.from_bytes(packet[48:52], "little"), 0)
    return None
