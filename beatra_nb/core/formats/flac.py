"""FLAC: a header that says how much there is, and frames that say where they stand.

A frame does not say how long it is, but it ends with a checksum: the last one of the file tells whether all of it
is there, and whether the header speaks the truth.
"""

from __future__ import annotations

from typing import NamedTuple

from beatra_nb.core.formats.base import (
    LONGEST,
    MOST_PARTS,
    Damaged,
    Sound,
    TooLong,
    Window,
    cut_short,
    sound,
)
from beatra_nb.core.formats.mpeg import after_tags, before_tags

_LARGEST = 1 << 21  # bytes of a frame: no encoder's is larger


class StreamInfo(NamedTuple):
    """What the header says."""

    block: int  # samples a frame, where it is fixed
    largest: int  # bytes of the largest frame; 0 where it is not known
    rate: int
    channels: int
    frames: int  # samples a channel in all; 0 where it is not known


def stream_info(body: bytes) -> StreamInfo:
    """Return what the 34 bytes of STREAMINFO say."""
    if len(body) < 34:
        raise cut_short()
    packed = int.from_bytes(body[10:18], "big")
    return StreamInfo(
        block=int.from_bytes(body[0:2], "big"),
        largest=int.from_bytes(body[7:10], "big"),
        rate=packed >> 44,
        channels=(packed >> 41 & 7) + 1,
        frames=packed & 0xF_FFFF_FFFF,
    )


def measure(window: Window) -> Sound:
    """Return what a FLAC file holds.

    Raises
    ------
    Unfit
        If it is cut short, damaged, or too long; a long silence is small, and is not decoded to find out.
    """
    place = after_tags(window) + 4
    info = None
    for _ in range(MOST_PARTS):
        head = window.at(place, 4)
        length = int.from_bytes(head[1:4], "big")
        if len(head) < 4 or place + 4 + length > window.size:
            raise cut_short()
        if head[0] & 0x7F == 0 and info is None:
            info = stream_info(window.at(place + 4, 34))
        place += 4 + length
        if head[0] & 0x80:
            break
    if info is None or not info.rate:
        raise Damaged("is damaged: its header does not say how it is sampled", "Export it again.")
    if info.frames > LONGEST * info.rate:
        raise TooLong(info.frames / info.rate)
    last = _last_sample(window, place, before_tags(window), info)
    if info.frames and last != info.frames:
        raise cut_short()
    return sound(last, info.rate, info.channels)


def _last_sample(window: Window, start: int, end: int, info: StreamInfo) -> int:
    """Return the number of the sample after the last one, by the last frame that is whole."""
    start = max(start, end - min(info.largest or _LARGEST, _LARGEST))
    tail = window.at(start, end - start)
    at = len(tail)
    for _ in range(MOST_PARTS):
        at = tail.rfind(b"\xff", 0, at)
        if at < 0:
            break
        stop = _frame_end(tail[at : at + 16], info)
        if stop is not None and _crc16(tail[at:]) == 0:
            return stop
    raise cut_short()


def _frame_end(head: bytes, info: StreamInfo) -> int | None:
    """Return the number of the sample after a frame, from its header; None if it is no header."""
    if len(head) < 7 or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    at = 5
    number = head[4]
    if number >= 0xC0:  # written as UTF-8 writes characters, and further
        more = 8 - (number ^ 0xFF).bit_length() - 1
        number &= 0x3F >> more
        at += more
        for byte in head[5:at]:
            if byte & 0xC0 != 0x80:
                return None
            number = number << 6 | byte & 0x3F
    elif number >= 0x80:
        return None
    size = head[2] >> 4
    if size in (6, 7):
        samples = int.from_bytes(head[at : at + size - 5], "big") + 1
        at += size - 5
    elif size:
        samples = 192 if size == 1 else 576 << size - 2 if size < 6 else 256 << size - 8
    else:
        return None
    at += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    return (number if head[1] & 1 else number * info.block) + samples


def _table(polynomial: int, bits: int) -> tuple[int, ...]:
    top, mask = 1 << bits - 1, (1 << bits) - 1
    table = []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return tuple(table)


_CRC8 = _table(0x07, 8)
_CRC16 = _table(0x8005, 16)


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _CRC8[value ^ byte]
    return value


def _crc16(data: bytes) -> int:
    value = 0
    for byte in data:
        value = (value << 8 & 0xFF00) ^ _CRC16[value >> 8 ^ byte]
    return value
