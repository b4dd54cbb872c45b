"""What a user passes as a file → something that can be sent. Everything wrong is found here, before it is sent.

A file may be large, and may have to be sent more than once: so a source is not the bytes but a way to read them anew.
Whoever reads finds exactly what was checked, or an error.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from beatra_nb.core.audio import look_at, not_audio
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.media_types import canonical, is_audio, suffix_of
from beatra_nb.core.readers import FileOpener, PathOpener, Spool, check_regular, unreadable

MAX_BYTES = 100 * 1024 * 1024
MAX_NAME = 120

_BLOCK = 1 << 20
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|data:", re.ASCII)
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Source:
    """A file that can be sent, as often as need be.

    Attributes
    ----------
    name : str
        What it is called: the last part of its path, without anything that could be mistaken for more.
    size : int
        Bytes.
    media_type : str
        Told by its bytes.
    duration : float or None
        Seconds, where it is sound.
    open : callable
        Gives a new reader that stands at the beginning. Close it when done.
    """

    name: str
    size: int
    media_type: str
    duration: float | None
    open: Callable[[], BinaryIO]

    def sha256(self) -> str:
        """Return the fingerprint of the bytes, in hexadecimal; the file is read once, block by block."""
        import hashlib

        digest = hashlib.sha256()
        with self.open() as reader:
            while block := reader.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()


def source_of(
    value: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO,
    *,
    purpose: str = "media_input",
    media_type: str | None = None,
    name: str | None = None,
) -> Source:
    """Check what the user passed as a file.

    Parameters
    ----------
    value : path, bytes or file object
        The file. A file object is read from where it stands, and put back there; one that cannot be wound back is
        copied to a temporary file first.
    purpose : str
        ``"reference_audio"`` must be sound; anything else may be sound, an image or a video.
    media_type : str, optional
        What the user says it is. The bytes decide; a contradiction between the two is an error.
    name : str, optional
        What to call it; by default the last part of its path.

    Raises
    ------
    InvalidInput
        If it cannot be sent; the message says how to mend it.

    Examples
    --------
    >>> source_of(b"Dear diary, ", name="song.mp3")
    Traceback (most recent call last):
    beatra_nb.core.errors.InvalidInput: song.mp3 is neither audio nor an image nor a video...
    """
    opener: Callable[[], BinaryIO]
    if isinstance(value, bytes | bytearray | memoryview):
        size = value.nbytes if isinstance(value, memoryview) else len(value)
        called = safe_name(name) or "The data"
        _check_size(called, size)
        fixed = bytes(value)  # a copy only of what could still change
        opener = lambda: io.BytesIO(fixed)  # noqa: E731
        own_name = ""
    elif isinstance(value, str | os.PathLike):
        path = _path(value)
        own_name = os.path.basename(path)
        called = safe_name(name) or safe_name(own_name) or "The file"
        facts = _stat(path, called)
        size = facts.st_size
        _check_size(called, size)
        opener = PathOpener(path, called, size, facts.st_mtime_ns)
    elif hasattr(value, "read"):
        own_name = getattr(value, "name", "")
        own_name = own_name if isinstance(own_name, str) else ""
        called = safe_name(name) or safe_name(own_name) or "The file object"
        opener = _file_opener(value, called)
        size = opener.size
        _check_size(called, size)
    else:
        raise _no_file(value)

    with opener() as stream:
        found, sound = look_at(stream, called)
    kind = _agreed(called, found, media_type, purpose)
    return Source(
        name=safe_name(name) or safe_name(own_name) or f"upload{suffix_of(kind)}",
        size=size,
        media_type=kind,
        duration=sound.duration if sound else None,
        open=opener,
    )


def safe_name(text: str | None) -> str:
    r"""Return the last part of a path as a name that is safe in a header, a page and another one's folder.

    Examples
    --------
    >>> safe_name("/home/me/My \"best\"\tsong.mp3"), safe_name("..")
    ('My best song.mp3', '')
    """
    import unicodedata

    base = re.split(r"[/\\]", (text or "").replace("\t", " "))[-1]
    # Control and format characters (these turn the direction of writing), halves of characters, line separators.
    kept = "".join(
        char
        for char in base
        if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in "\"'`"
    )
    kept = " ".join(kept.split()).rstrip(". ")
    if len(kept) > MAX_NAME:
        stem, suffix = os.path.splitext(kept)
        suffix = suffix if len(suffix) <= 16 else ""
        kept = stem[: MAX_NAME - len(suffix)] + suffix
    return kept


# ── paths ──


def _path(value: str | os.PathLike[str]) -> str:
    path = os.fspath(value)
    path = os.fsdecode(path) if isinstance(path, bytes) else path
    if match := _SCHEME.match(path):
        if match[0].lower() in ("http://", "https://"):
            hint = (
                "Music takes an https address as it is: reference=…; to upload it, download the file first."
            )
        else:
            hint = "Pass the path of a file, its bytes, or a file object."
        raise InvalidInput("This is an address, and uploads take files.", hint=hint)
    if not path.strip():
        raise InvalidInput("The path is empty.", hint="Pass the path of a file.")
    if "\0" in path:
        raise InvalidInput(
            "A path cannot hold a null character.", hint="If this is a file's content, pass bytes."
        )
    return os.path.expanduser(path)


def _stat(path: str, called: str) -> os.stat_result:
    """Look at a file without opening it: opening a pipe waits for whoever shall write into it."""
    try:
        facts = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidInput(f"There is no file {called!r}.", hint=_near(path)) from None
    except OSError as error:
        raise unreadable(called, error) from None
    check_regular(called, facts)
    return facts


def _near(path: str) -> str:
    """Return what to do about a path that does not exist: perhaps it is a slip of the pen."""
    import difflib
    from itertools import islice

    try:
        with os.scandir(os.path.dirname(path) or ".") as entries:
            names = [entry.name for entry in islice(entries, 1000)]
    except OSError:
        return "Its folder does not exist, or may not be looked into: check the path."
    if alike := difflib.get_close_matches(os.path.basename(path), names, n=1, cutoff=0.75):
        return f"Did you mean {_short(alike[0])!r}?"
    return "Check the path: os.getcwd() tells where it begins, os.listdir() what is there."


# ── file objects ──


def _file_opener(file: Any, called: str) -> FileOpener:  # noqa: ANN401
    if getattr(file, "closed", False):
        raise InvalidInput(f"{called} is closed.", hint="Open it again, or pass its path.")
    if isinstance(file, io.TextIOBase) or hasattr(file, "encoding"):
        raise InvalidInput(
            f"{called} is open as text, and sound is bytes.",
            hint='Open it with open(path, "rb"), or pass its path.',
        )
    try:
        if hasattr(file, "readable") and not file.readable():
            raise InvalidInput(f"{called} is open for writing.", hint='Open it with open(path, "rb").')
        if not (hasattr(file, "seekable") and file.seekable()):
            return _spooled(file, called)
        start = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(start)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise _no_reading(called) from None
    if end and start >= end:
        raise InvalidInput(
            f"{called} stands at its end: there is nothing left to read.", hint="Call its .seek(0) first."
        )
    return FileOpener(file, start, end - start, called)


def _spooled(file: Any, called: str) -> FileOpener:  # noqa: ANN401
    """Copy what can be read only once to where it can be read again; never more than may be sent."""
    spool = Spool()
    size = 0
    while True:
        block = file.read(_BLOCK)
        if not isinstance(block, bytes | bytearray | memoryview):
            raise _no_reading(called)
        if not block:
            return FileOpener(cast(BinaryIO, spool.file), 0, size, called, keep=spool)
        size += len(block)
        if size > MAX_BYTES:
            raise _too_large(called, None)
        spool.file.write(block)


def _no_reading(called: str) -> InvalidInput:
    return InvalidInput(
        f"{called} cannot be read as bytes.",
        hint='Pass a path, bytes, or a file opened with open(path, "rb").',
    )


# ── what it is ──


def _check_size(called: str, size: int) -> None:
    if not size:
        raise InvalidInput(f"{called} is empty: it has no bytes at all.", hint="Download or export it again.")
    if size > MAX_BYTES:
        raise _too_large(called, size)


def _too_large(called: str, size: int | None) -> InvalidInput:
    large = "more than 100 MB" if size is None else f"{math.ceil(size / 2**20 * 10) / 10:.1f} MB"
    return InvalidInput(
        f"{called} is too large: {large}, and an upload takes 100 MB.",
        hint="Export it as MP3 or OGG, which need a tenth of a WAV's bytes, or cut out the part that matters.",
    )


def _agreed(called: str, found: str | None, said: str | None, purpose: str) -> str:
    """Return the media type, if the bytes, the user's word and the purpose agree."""
    if said is not None and not (isinstance(said, str) and _TYPE.fullmatch(said.partition(";")[0].strip())):
        raise InvalidInput(f"media_type must be like 'audio/mpeg', not {_short(repr(said))}.")
    if found is None and purpose != "reference_audio":
        raise InvalidInput(
            f"{called} is neither audio nor an image nor a video: its bytes are of no kind that is known.",
            hint="A name does not make a file what it says: look whether it plays.",
        )
    if purpose == "reference_audio" and (found is None or not is_audio(found)):
        raise not_audio(called, found)
    assert found is not None  # noqa: S101  # for the type checker; both cases are above
    if said is not None and canonical(said) != "application/octet-stream":
        theirs, _, same = canonical(said).partition("/")
        ours, _, container = found.partition("/")
        if theirs != ours and same != container:
            raise InvalidInput(
                f"{called} is {found} by its bytes, and media_type says {canonical(said)}.",
                hint="Leave media_type out: it is told by the bytes.",
            )
    return found


def _no_file(value: object) -> InvalidInput:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    hint = 'Pass a path, bytes, or a file opened with open(path, "rb").'
    if hasattr(value, "__array__") or isinstance(value, list | tuple):
        hint = 'Write the samples to a file first: soundfile.write("clip.wav", samples, 44100); then pass "clip.wav".'
    return InvalidInput(f"{kind} is no file.", hint=hint)


def _short(text: str) -> str:
    text = "".join(char if char.isprintable() else "�" for char in text)
    return text if len(text) <= 120 else f"{text[:60]}…{text[-50:]}"
