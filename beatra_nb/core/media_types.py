"""What a file is: told by its bytes, never by its name or by what somebody says about it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from beatra_nb.core.formats.base import Window

HEAD = 4096  # bytes of a file's beginning that tell what it is

_SUFFIXES = {
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/ogg": ".ogg",
    "audio/flac": ".flac",
    "audio/mp4": ".m4a",
    "audio/aac": ".aac",
    "audio/aiff": ".aiff",
    "audio/webm": ".weba",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/avif": ".avif",
    "image/heic": ".heic",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/ogg": ".ogv",
}
# What else these types are called.
_ALIASES = {
    "audio/mp3": "audio/mpeg",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-mpeg": "audio/mpeg",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "audio/aacp": "audio/aac",
    "audio/x-aac": "audio/aac",
    "audio/x-aiff": "audio/aiff",
    "audio/opus": "audio/ogg",
    "audio/vorbis": "audio/ogg",
    "application/ogg": "audio/ogg",
    "image/jpg": "image/jpeg",
}
# They may hold sound, or pictures with sound.
CONTAINERS = ("audio/mp4", "video/mp4", "video/quicktime", "audio/webm", "video/webm")
# What begins a file: (bytes at its start, type). Formats that need a closer look come after these.
_MAGIC = (
    (b"fLaC", "audio/flac"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_BRANDS = {
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"M4P ": "audio/mp4",
    b"F4A ": "audio/mp4",
    b"qt  ": "video/quicktime",
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
}


def sniff(head: bytes) -> str | None:
    """Tell the media type of a file by its first bytes: 64 are enough for most, 4096 for all.

    Parameters
    ----------
    head : bytes
        How the file begins.

    Returns
    -------
    str or None
        The type of sound, image or video; None for anything else.

    Examples
    --------
    >>> sniff(b"fLaC" + bytes(60)), sniff(b"<!doctype html>")
    ('audio/flac', None)
    """
    head = bytes(head[:HEAD])
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    kind = head[8:12]
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return {b"WAVE": "audio/wav", b"WEBP": "image/webp"}.get(kind)
    if head[:4] == b"FORM":
        return "audio/aiff" if kind in (b"AIFF", b"AIFC") else None
    if head[:4] == b"OggS":
        return "video/ogg" if b"\x80theora" in head else "audio/ogg"
    if head[4:8] == b"ftyp":
        return _mp4_type(head)
    if head[:4] == b"\x1aE\xdf\xa3":
        return _webm_type(head)
    return _mpeg_type(head)


def suffix_of(media_type: str) -> str:
    """Return the suffix of files of a type, with its dot.

    Examples
    --------
    >>> suffix_of("audio/mpeg"), suffix_of("text/html")
    ('.mp3', '.bin')
    """
    return _SUFFIXES.get(canonical(media_type), ".bin")


def is_audio(media_type: str) -> bool:
    """Tell whether a media type is one of sound."""
    return canonical(media_type).startswith("audio/")


def canonical(media_type: str) -> str:
    """Return the one name of a media type that has several.

    Examples
    --------
    >>> canonical("Audio/MP3; charset=binary")
    'audio/mpeg'
    """
    plain = media_type.partition(";")[0].strip().lower()
    return _ALIASES.get(plain, plain)


def identify(stream: BinaryIO) -> str | None:
    """Tell the media type of a file, also where that stands far inside it.

    Sound and video share the containers MP4 and WebM: whether there is a picture, its tracks tell.

    Parameters
    ----------
    stream : file object
        Binary and seekable.
    """
    from beatra_nb.core.formats.base import Unfit, Window

    window = Window(stream)
    media_type = sniff(window.at(0, HEAD))
    if media_type not in CONTAINERS:
        return media_type
    try:
        found = tracks(window, media_type)
    except Unfit:
        return media_type
    container = media_type.partition("/")[2]
    if found == {"audio"}:
        return "audio/webm" if container == "webm" else "audio/mp4"
    return f"video/{container}" if "video" in found else media_type


def tracks(window: Window, media_type: str) -> set[str]:
    """Return which kinds of tracks an MP4 or WebM file holds: ``audio``, ``video``.

    Raises
    ------
    Unfit
        If that cannot be read.
    """
    from beatra_nb.core.formats import mp4, webm

    return webm.tracks(window) if media_type.endswith("/webm") else mp4.tracks(window)


def _mp4_type(head: bytes) -> str | None:
    """Tell sound from video as well as the beginning allows; the tracks decide, and they may stand at the end."""
    brands = [head[at : at + 4] for at in (8, *range(16, min(int.from_bytes(head[:4], "big"), 128), 4))]
    if brands[0] in _BRANDS:
        return _BRANDS[brands[0]]
    if b"vide" in head:
        return "video/mp4"
    if b"soun" in head or b"M4A " in brands:
        return "audio/mp4"
    return next(
        (_BRANDS[brand] for brand in brands if _BRANDS.get(brand, "").startswith("image/")), "video/mp4"
    )


def _webm_type(head: bytes) -> str | None:
    if b"webm" not in head and b"matroska" not in head:
        return None
    pictures = any(codec in head for codec in (b"V_VP8", b"V_VP9", b"V_AV1", b"V_MPEG"))
    return "audio/webm" if b"A_" in head and not pictures else "video/webm"


def _mpeg_type(head: bytes) -> str | None:
    """Tell MP3 and AAC: by their tag, by their first frame, or by two frames in a row a little further on."""
    from beatra_nb.core.formats import mpeg
    from beatra_nb.core.formats.base import Damaged, Window

    names = {"mp3": "audio/mpeg", "aac": "audio/aac"}
    try:
        start = mpeg.after_tags(Window(io.BytesIO(head)))
    except Damaged:  # the tag is longer than what is given: by far the most of these are MP3
        return "audio/mpeg"
    if start and head[start : start + 4] == b"fLaC":
        return "audio/flac"
    at = start
    while at >= 0:
        frame = mpeg.frame(head[at : at + 7])
        after = head[at + frame.length :][:7] if frame else b""
        following = mpeg.frame(after)
        if frame and following and following.kind == frame.kind:
            return names[frame.kind[0]]
        if frame and at == start and len(after) < 7:
            return names[frame.kind[0]]
        at = head.find(b"\xff", at + 1)
    return "audio/mpeg" if start else None
