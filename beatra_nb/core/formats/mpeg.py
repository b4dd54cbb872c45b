"""MPEG audio, frame by frame: MP3 (and its elder, layer II) and AAC as a bare stream (ADTS).

Such a file has no header of its own: it is a row of frames, each with four bytes that say how long it is. How much
sound there is, is known when the row has been walked; an encoder's note in the first frame (``Xing``, ``Info`` or
``VBRI``) says how long it should be. Before and after the row stand tags of several kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from beatra_nb.core.formats.base import (
    LONGEST,
    Damaged,
    Sound,
    TooLong,
    Window,
    cut_short,
    sound,
    too_many_pieces,
)

# kbit/s by bitrate index; index 0 is "free format", which nothing in use writes, 15 is forbidden.
_BITRATES = {
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_AAC_RATES = (
    96_000,
    88_200,
    64_000,
    48_000,
    44_100,
    32_000,
    24_000,
    22_050,
    16_000,
    12_000,
    11_025,
    8_000,
    7_350,
)

GAP = 1 << 16  # bytes of anything between, before or after frames that are passed over in silence


class Frame(NamedTuple):
    """What the first bytes of a frame say."""

    length: int
    samples: int
    rate: int
    channels: int
    kind: tuple[str, int, int]  # what stays the same from frame to frame


@lru_cache(maxsize=1024)
def mp3_frame(head: bytes) -> Frame | None:
    """Return what a frame's first four bytes say; None if they begin no frame.

    Layer I is no frame here: nobody has such files, and the byte order mark of UTF-16 text looks like one.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer not in (2, 3) or bitrate in (0, 15) or rate == 3 or head[3] & 3 == 2:
        return None
    newest = version == 3
    per_second = _RATES[version][rate]
    samples = 576 if layer == 3 and not newest else 1152
    kbits = _BITRATES[1 if newest else 2, layer][bitrate - 1]
    length = samples // 8 * kbits * 1000 // per_second + (head[2] >> 1 & 1)
    channels = 1 if head[3] >> 6 == 3 else 2
    return Frame(length, samples, per_second, channels, ("mp3", head[1] & 0x1E, rate))


@lru_cache(maxsize=1024)
def aac_frame(head: bytes) -> Frame | None:
    """Return what the first seven bytes of an ADTS frame say; None if they begin no such frame."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    rate = head[2] >> 2 & 15
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    channels = (head[2] & 1) << 2 | head[3] >> 6
    if rate >= len(_AAC_RATES) or length < 8:
        return None
    blocks = (head[6] & 3) + 1
    # Without a channel count the stream describes its own layout further in; two is the best guess.
    return Frame(
        length, 1024 * blocks, _AAC_RATES[rate], (channels or 2) + (channels == 7), ("aac", head[1], rate)
    )


def frame(head: bytes) -> Frame | None:
    """Return what the bytes at the beginning of a frame say, be it MP3 or AAC."""
    return mp3_frame(head[:4]) or aac_frame(head[:7])


def measure(window: Window) -> Sound:
    """Return how long an MP3 or AAC file really is.

    Raises
    ------
    Unfit
        If it is cut short, damaged, or too long.
    """
    start, end = after_tags(window), before_tags(window)
    start, first = _next(window, start, end, None)
    if first is None:
        raise Damaged(
            "is damaged: it begins like an MP3 file, and no sound follows",
            "Download or export it again.",
        )
    note = _note(window, start, first)
    frames = samples = place = 0
    row = _row(window, start + first.length if note else start, end, first)
    for place, each in row:
        # A few bytes are lost at the end of many files, and nobody hears it; a good part of a frame is a cut.
        if (place + each.length - end) * 4 >= each.length:
            promised = note.frames * first.samples / first.rate if note and note.frames else None
            raise cut_short(promised, samples / first.rate if promised else None)
        frames += 1
        samples += each.samples
        if samples > LONGEST * first.rate:
            raise TooLong(_promised(note, first))
    if note:
        there = end - start
        lost = note.frames - frames
        short = bool(note.bytes) and there < note.bytes
        # Some encoders count the frame of the note itself as a frame of sound.
        if note.frames and (lost > 1 or (lost == 1 and short)):
            raise cut_short(note.frames * first.samples / first.rate, samples / first.rate)
        if note.bytes - there > first.length:
            raise cut_short()
        samples -= min(note.silence, samples - 1) if samples and not lost else 0
    return sound(samples, first.rate, first.channels)


def after_tags(window: Window) -> int:
    """Return where the tags at the beginning end (ID3v2, and there may be several)."""
    place = 0
    for _ in range(100):
        if (tag := _id3(window, place)) is None:
            return place
        place += tag
        if place > window.size:
            raise cut_short()
    raise too_many_pieces()


def before_tags(window: Window) -> int:
    """Return where the tags at the end begin (ID3v1, APE)."""
    end = window.size
    if window.at(end - 128, 3) == b"TAG":
        end -= 128
    tail = window.at(max(end - 32, 0), 32)
    if tail[:8] == b"APETAGEX":
        length = int.from_bytes(tail[12:16], "little") + (32 if tail[23] & 0x80 else 0)
        end -= min(length, end)
    return end


def _id3(window: Window, place: int) -> int | None:
    head = window.at(place, 10)
    if len(head) < 10 or head[:3] != b"ID3" or 0xFF in head[3:5] or any(byte & 0x80 for byte in head[6:]):
        return None
    length = 0
    for byte in head[6:]:  # seven bits a byte
        length = length << 7 | byte
    return 10 + length + (10 if head[5] & 0x10 else 0)


def _row(window: Window, place: int, end: int, first: Frame) -> Iterator[tuple[int, Frame]]:
    """Yield the frames and where they stand, the last one perhaps incomplete."""
    parse, width = (mp3_frame, 4) if first.kind[0] == "mp3" else (aac_frame, 7)
    passed_over = 0
    while place + width <= end:
        each = parse(window.at(place, width))
        if each is None or each.kind != first.kind:
            found, each = _next(window, place, end, first)
            passed_over += found - place
            if each is None:
                if end - place > GAP:
                    raise _unreadable()
                return
            if passed_over > GAP + end // 8:
                raise _unreadable()
            place = found
        yield place, each
        place += each.length


def _unreadable() -> Damaged:
    return Damaged("is damaged: a good part of it is no sound", "Download or export it again.")


def _next(window: Window, place: int, end: int, like: Frame | None) -> tuple[int, Frame | None]:
    """Find the next frame that another one follows, or the end; None if there is none nearby."""
    if (tag := _id3(window, place)) is not None:  # files that were put one behind the other
        place += tag
    near = window.at(place, min(GAP, max(end - place, 0)))
    at = near.find(b"\xff")
    while at >= 0:
        each = frame(near[at : at + 7])
        if each and (like is None or each.kind == like.kind):
            after = place + at + each.length
            following = frame(window.at(after, 7))
            if (following and following.kind == each.kind) or end - 7 < after <= end:
                return place + at, each
        at = near.find(b"\xff", at + 1)
    return place + len(near), None


class Note(NamedTuple):
    """What an encoder noted in the first frame: how much follows (0: not said)."""

    frames: int
    bytes: int
    silence: int  # samples at both ends that the encoder had to add


def _note(window: Window, place: int, first: Frame) -> Note | None:
    body = window.at(place, min(first.length, 512))
    if first.kind[0] != "mp3":
        return None
    newest = body[1] & 0x18 == 0x18
    side = (17 if first.channels == 1 else 32) if newest else (9 if first.channels == 1 else 17)
    if body[36:40] == b"VBRI" and len(body) >= 54:
        return Note(int.from_bytes(body[50:54], "big"), int.from_bytes(body[46:50], "big"), 0)
    at = 4 + side
    if body[at : at + 4] not in (b"Xing", b"Info"):
        return None
    flags = int.from_bytes(body[at + 4 : at + 8], "big")
    at += 8
    values = []
    for flag, width in ((1, 4), (2, 4), (4, 100), (8, 4)):
        values.append(int.from_bytes(body[at : at + 4], "big") if flags & flag and flag < 4 else 0)
        at += width if flags & flag else 0
    gaps = (
        int.from_bytes(body[at + 21 : at + 24], "big")
        if body[at : at + 4] in (b"LAME", b"Lavf", b"Lavc")
        else 0
    )
    return Note(values[0], values[1], (gaps >> 12) + (gaps & 0xFFF))


def _promised(note: Note | None, first: Frame) -> float | None:
    seconds = note.frames * first.samples / first.rate if note else 0
    return seconds if seconds > LONGEST else None
