"""WAV and AIFF: chunks, each with a name and a length, one behind the other."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from beatra_nb.core.formats.base import MOST_PARTS, Damaged, Sound, Window, cut_short, sound, too_many_pieces

UNKNOWN = 0xFFFF_FFFF  # what a program writes as a length that it does not know yet
_AS_SAMPLES = (1, 3, 6, 7)  # PCM, float, A-law, µ-law: a fixed number of bytes a frame


def measure_wav(window: Window) -> Sound:
    """Return what a WAV file holds (also RF64, its form for large files, and RIFX, its big-endian one).

    Raises
    ------
    Unfit
        If its chunks are not there, or say other than the file.
    """
    order = ">" if window.at(0, 4) == b"RIFX" else "<"
    form = b""
    large = 0
    for name, place, length in _chunks(window, order):
        if name == b"ds64":
            large = int.from_bytes(window.at(place + 8, 8), "little")
        elif name == b"fmt ":
            form = window.at(place, min(length, 40))
        elif name == b"data":
            break
    else:
        raise cut_short()
    if len(form) < 16:
        raise Damaged("is damaged: a WAV file must say how it is sampled, and this one does not", _AGAIN)
    kind, channels, rate, a_second, a_frame, bits = struct.unpack(f"{order}HHIIHH", form[:16])
    if kind == 0xFFFE and len(form) >= 26:  # "extensible": the kind itself stands further on
        kind = int.from_bytes(form[24:26], "little" if order == "<" else "big")
    if kind in _AS_SAMPLES:
        a_frame = a_frame or channels * -(-bits // 8)
        a_second = rate * a_frame
    if not a_second or not channels:
        raise Damaged("is damaged: its header speaks of no samples at all", _AGAIN)
    if length == UNKNOWN and large:
        length = large
    held = window.size - place
    if length == UNKNOWN or (length == 0 and held > a_second):
        raise Damaged(
            "was never finished: its header does not know how much sound follows",
            "A recording that was broken off leaves such a file: open it in an audio editor and save it again.",
        )
    if length > held:
        raise cut_short(length / a_second, held / a_second)
    return sound(length / a_second * rate, rate, channels)


def measure_aiff(window: Window) -> Sound:
    """Return what an AIFF or AIFF-C file holds.

    Raises
    ------
    Unfit
        If its chunks are not there, or say other than the file.
    """
    common = b""
    there = False
    for name, place, length in _chunks(window, ">"):
        if name == b"COMM":
            common = window.at(place, 18)
        elif name == b"SSND":
            there = True
        if place + length > window.size:
            raise cut_short()
    if len(common) < 18:
        raise cut_short()
    channels, frames, bits = struct.unpack(">HIH", common[:8])
    exponent = int.from_bytes(common[8:10], "big") - 16383 - 63
    rate = int.from_bytes(common[10:18], "big") * 2.0**exponent if -80 < exponent < 0 else 0.0
    if frames and not there:
        raise cut_short()
    # Uncompressed samples fill whole bytes, so they tell what must be there; AIFF-C may compress them.
    if window.at(8, 4) == b"AIFF" and frames * channels * -(-bits // 8) > window.size:
        raise cut_short()
    return sound(frames, rate, channels)


_AGAIN = "Export it again, or write it anew with soundfile."


def _chunks(window: Window, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, place of the contents and length of each chunk."""
    place = 12
    for _ in range(MOST_PARTS):
        head = window.at(place, 8)
        if len(head) < 8:
            return
        name, length = struct.unpack(f"{order}4sI", head)
        yield name, place + 8, length
        place += 8 + length + (length & 1)
    raise too_many_pieces()
