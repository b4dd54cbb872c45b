"""MP3 and OGG from samples: in blocks, the same bytes each time."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from beatra_nb.sandbox.music.tones import RATE, Samples

# One long OGG write crashes libsndfile.
_BLOCK = 16_384
_FORMATS = {"mp3": ("MP3", "MPEG_LAYER_III", "audio/mpeg"), "ogg": ("OGG", "VORBIS", "audio/ogg")}
_QUALITY = {"mp3": 0.65, "ogg": 0.6}  # variable, about 120 kbit/s: a minute is a megabyte or less
_PROBE = 1 << 18  # bytes: more than a block's worth, so that a disk with a remnant left counts as full
_SERIAL = 0x62656174  # any number will do, as long as it is always the same


def media_type(form: str) -> str:
    """Return the media type of a format."""
    return _FORMATS[form][2]


def write(mix: Samples, path: Path, form: str, done: Callable[[float], None]) -> None:
    """Encode ``(2, samples)`` to a file, which appears under its name only when it is whole."""
    import soundfile

    major, subtype, _ = _FORMATS[form]
    part = path.with_name(path.name + ".part")
    total = mix.shape[1]
    options = {"bitrate_mode": "VARIABLE"} if form == "mp3" else {}
    try:
        with soundfile.SoundFile(
            part, "w", RATE, 2, subtype, format=major, compression_level=_QUALITY[form], **options
        ) as file:
            for start in range(0, total, _BLOCK):
                file.write(mix[:, start : start + _BLOCK].T)
                done(min(1.0, (start + _BLOCK) / total))
        if form == "ogg":
            part.write_bytes(steady(part.read_bytes()))
        os.replace(part, path)
    except (soundfile.SoundFileError, AssertionError) as problem:  # a short write trips an assertion there
        _probe(part)
        raise OSError(errno.EIO, f"the {form.upper()} encoder could not finish the file") from problem
    finally:
        part.unlink(missing_ok=True)


def _probe(part: Path) -> None:
    """Raise what the system has against writing: libsndfile says only that it failed, not that the disk is full."""
    with part.open("ab", buffering=0) as file:
        written = file.write(bytes(_PROBE))
    if written < _PROBE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part))


def steady(data: bytes) -> bytes:
    """Return an OGG file with its stream's number, which libsndfile draws at random, set to our own.

    Each page carries the number and a checksum over itself (CRC-32 without reflection: ``zlib``'s, of reversed bits).
    """
    out = bytearray(data)
    place = 0
    while place + 27 <= len(out) and out[place : place + 4] == b"OggS":
        segments = out[place + 26]
        size = 27 + segments + sum(out[place + 27 : place + 27 + segments])
        struct.pack_into("<I", out, place + 14, _SERIAL)
        struct.pack_into("<I", out, place + 22, 0)
        struct.pack_into("<I", out, place + 22, _checksum(bytes(out[place : place + size])))
        place += size
    return bytes(out)


_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def _checksum(page: bytes) -> int:
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
