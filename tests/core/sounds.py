"""Real files of sound for the tests, made by a real encoder."""

from __future__ import annotations

import io
import struct
from functools import cache
from typing import Any

import numpy as np
import soundfile as sf


@cache
def encoded(
    kind: str = "MP3", *, seconds: float = 2.0, rate: int = 44_100, channels: int = 2, **more: Any
) -> bytes:
    """Return a tone with a little noise, encoded by libsndfile."""
    frames = int(seconds * rate)
    time = np.arange(frames) / rate
    noise = np.random.default_rng(1).normal(0, 0.02, (frames, channels))
    samples = (0.4 * np.sin(2 * np.pi * 220 * time)[:, None] + noise).astype("float32")
    return encode(samples, rate, kind, **more)


def encode(samples: np.ndarray, rate: int, kind: str, **more: Any) -> bytes:
    """Encode samples, in blocks: one long write crashes some encoders."""
    buffer = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with sf.SoundFile(buffer, "w", rate, channels, format=kind, **more) as file:
        for start in range(0, len(samples), 1 << 14):
            file.write(samples[start : start + (1 << 14)])
    return buffer.getvalue()


def without_note(mp3: bytes) -> bytes:
    """Return an MP3 without the first frame, in which the encoder notes how much follows."""
    assert b"Xing" in mp3[:40] or b"Info" in mp3[:40]
    return mp3[mp3.index(mp3[:2], 40) :]


def wav_header(data: int, *, rate: int = 44_100, channels: int = 2, bits: int = 16) -> bytes:
    """Return a WAV header that claims so many bytes of samples."""
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * frame, frame, bits)
    return (
        b"RIFF"
        + struct.pack("<I", min(data + 36, 0xFFFFFFFF))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + (b"data" + struct.pack("<I", data))
    )


def id3(size: int, flags: int = 0) -> bytes:
    """Return an ID3v2 tag with so many bytes in it."""
    length = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00" + bytes([flags]) + length + bytes(size)


def box(kind: bytes, *contents: bytes) -> bytes:
    """Return a box of an MP4 file."""
    body = b"".join(contents)
    return struct.pack(">I", len(body) + 8) + kind + body


def m4a(
    seconds: float = 3.0, *, handler: bytes = b"soun", brand: bytes = b"M4A ", index_first: bool = True
) -> bytes:
    """Return an MP4 file by the book, its samples being nonsense."""
    scale = 44_100
    mdhd = box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, scale, int(seconds * scale), 0x55C4, 0))
    hdlr = box(b"hdlr", struct.pack(">II4s12s", 0, 0, handler, b""), b"\0")
    entry = box(b"mp4a", bytes(6), struct.pack(">HIIHHHHI", 1, 0, 0, 2, 16, 0, 0, scale << 16))
    stbl = box(b"stbl", box(b"stsd", struct.pack(">II", 0, 1), entry))
    tkhd = box(b"tkhd", struct.pack(">IIIII", 7, 0, 0, 1, 0), bytes(60))
    moov = box(b"moov", box(b"trak", tkhd, box(b"mdia", mdhd, hdlr, box(b"minf", stbl))))
    mdat = box(b"mdat", bytes(5000))
    ftyp = box(b"ftyp", brand, struct.pack(">I", 512), brand, b"isom")
    return ftyp + (moov + mdat if index_first else mdat + moov)


def element(number: int, body: bytes, *, unknown: bool = False) -> bytes:
    """Return an element of a WebM file."""
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    length = b"\x01" + b"\xff" * 7 if unknown else (1 << 56 | len(body)).to_bytes(8, "big")
    return name + length + body


def weba(seconds: int = 3, *, kind: int = 2) -> bytes:
    """Return a WebM file as a browser records it: lengths unknown, no duration, blocks of 60 ms."""
    audio = element(0xE1, element(0xB5, struct.pack(">f", 48_000)) + element(0x9F, b"\x01"))
    codec = element(0x86, b"A_OPUS" if kind == 2 else b"V_VP9")
    entry = element(0xAE, element(0xD7, b"\x01") + element(0x83, bytes([kind])) + codec + audio)
    clusters = b"".join(
        element(
            0x1F43B675,
            element(0xE7, (second * 1000).to_bytes(4, "big"))
            + b"".join(
                element(0xA3, b"\x81" + struct.pack(">hB", at, 0x80) + bytes(100))
                for at in range(0, 1000, 60)
            ),
            unknown=True,
        )
        for second in range(seconds)
    )
    info = element(0x1549A966, element(0x2AD7B1, (1_000_000).to_bytes(3, "big")))
    segment = element(0x18538067, info + element(0x1654AE6B, entry) + clusters, unknown=True)
    return element(0x1A45DFA3, element(0x4282, b"webm")) + segment


def adts(frames: int = 100, length: int = 200) -> bytes:
    """Return a bare AAC stream, its samples being nonsense (44.1 kHz, stereo)."""
    head = bytes([0xFF, 0xF1, 0x50, 0x80 | length >> 11, length >> 3 & 0xFF, (length & 7) << 5 | 0x1F, 0xFC])
    return (head + bytes(length - 7)) * frames
