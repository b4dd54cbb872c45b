"""Where a clip is saved, and how: a temporary name first, then the move, so that no half file has the name."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import unicodedata
from pathlib import Path

from beatra_nb.core.errors import InvalidInput

LONGEST_NAME = 80  # characters; leaves room for a suffix on every file system
SAME = ({".ogg", ".oga"}, {".ogg", ".opus"}, {".mp4", ".m4a"}, {".aif", ".aiff"})  # names of one format
# What some file system refuses in a name, besides control characters.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*]+')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)( *\..*)?")  # whatever stands behind the dot


def safe_name(title: str) -> str:
    """Return a title as the name of a file that every system takes.

    Examples
    --------
    >>> safe_name("../../etc/passwd")
    'etc passwd'
    """
    text = _FORBIDDEN.sub(" ", unicodedata.normalize("NFC", title))
    text = "".join(sign for sign in text if sign.isprintable())
    text = re.sub(r"\s+", " ", text).strip(" .")
    text = text.encode("utf-8")[:LONGEST_NAME].decode("utf-8", "ignore").strip(" .")
    return "clip" if not text or _RESERVED.fullmatch(text) else text


def target(path: str | os.PathLike[str] | None, title: str, index: int, *, overwrite: bool) -> Path:
    """Return where a clip goes; the suffix may still be missing.

    Raises
    ------
    InvalidInput
        If nothing can be written there; said before anything is fetched.
    """
    name = f"{safe_name(title)}-{index}"
    if path is None:
        where = Path(name)
    else:
        try:
            where = Path(path).expanduser()
        except (TypeError, RuntimeError) as problem:
            raise InvalidInput(
                f"This is no path to save to: {problem}.", hint='clip.save("song.mp3")'
            ) from None
        if "\0" in str(where):
            raise InvalidInput("A path cannot hold a null character.")
    try:
        # A separator at the end means a folder, and a path forgets it.
        if path is not None and (where.is_dir() or str(path).endswith(("/", os.sep))):
            where = where / name
        if not where.parent.is_dir():
            raise InvalidInput(
                f"The folder {_short(where.parent)} does not exist.", hint="Make it first, or choose another."
            )
        _check_free(where, overwrite)
    except OSError as problem:  # a name that is too long, a folder that may not be looked into
        raise InvalidInput(
            f"{_short(where)} cannot be written: {problem.strerror or problem}.", hint="Choose another place."
        ) from None
    return where


def write(path: Path, data: bytes, media_type: str, *, overwrite: bool) -> Path:
    """Write bytes under a name, whole or not at all; return the name, its suffix added where it was missing.

    Raises
    ------
    InvalidInput
        If it cannot be written there, or the suffix says another format than the bytes are.
    """
    from beatra_nb.core.audio import suffix_of

    suffix = suffix_of(media_type)
    if not path.suffix or not re.fullmatch(r"\.[A-Za-z][A-Za-z0-9]{1,4}", path.suffix):
        path = path.with_name(path.name + suffix)
    elif suffix != ".bin" and not _same_format(path.suffix.lower(), suffix):
        raise InvalidInput(
            f"{path.name} would be misnamed: the audio is {media_type}.",
            hint=f"Save it as {path.with_suffix(suffix).name!r}, or leave the suffix out.",
        )
    _check_free(path, overwrite)
    temporary = path.with_name(f".beatra-{secrets.token_hex(6)}.part")
    try:
        # Made like any other file, with the mode that the user's files have.
        with temporary.open("xb") as file:
            file.write(data)
        os.replace(temporary, path)
    except (OSError, UnicodeError) as problem:
        raise InvalidInput(
            f"{_short(path)} cannot be written: {getattr(problem, 'strerror', None) or problem}.",
            hint="Choose a folder that you may write to; the audio is still here.",
        ) from None
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)
    return path


def _same_format(given: str, real: str) -> bool:
    return given == real or {given, real} in SAME


def _check_free(path: Path, overwrite: bool) -> None:
    if path.is_dir() or (path.exists() and not overwrite):
        raise InvalidInput(
            f"{_short(path)} is already there and was left as it is.",
            hint="Choose another name, or pass overwrite=True.",
        )


def _short(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 300 else f"{text[:200]}…{text[-90:]}"
