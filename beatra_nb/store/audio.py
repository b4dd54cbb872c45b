"""Audio that was fetched, kept on disk: what was paid for still plays when the service's address has expired.

A download goes to a temporary name; only what is whole gets its own. The folder is bounded: the files that were
not used for longest give way.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from beatra_nb.core import settings

ROOM = 1_000_000_000  # bytes


class AudioFiles:
    """The folder of fetched audio. No method raises: a full disk costs nobody a clip.

    Parameters
    ----------
    folder : Path or None
        Where; None keeps nothing.
    room : int
        Bytes that the folder may hold.
    """

    def __init__(self, folder: Path | None, room: int = ROOM) -> None:
        self.folder = folder
        self.room = room

    @classmethod
    def of_user(cls) -> AudioFiles:
        """Return this user's: ``audio`` beside the journal."""
        return cls(settings.home() / "audio")

    def get(self, place: str, ident: str) -> bytes | None:
        """Return what was fetched from a place under an id."""
        path = self._path(place, ident)
        if path is None:
            return None
        try:
            data = path.read_bytes()
            os.utime(path)  # it is in use
        except OSError:
            return None
        return data or None

    def part(self, place: str, ident: str) -> Part:
        """Return what a download is written to."""
        return Part(self, self._path(place, ident))

    def _path(self, place: str, ident: str) -> Path | None:
        if self.folder is None:
            return None
        # Ids come from a server and may be anything; a hash is a name that every file system takes.
        return (
            self.folder
            / hashlib.sha256(f"{place}\n{ident}".encode("utf-8", "backslashreplace")).hexdigest()[:40]
        )

    def make_room(self, needed: int, besides: str = "") -> bool:
        """Remove the files that were not used for longest, until so many bytes fit in; return whether they do.

        The bytes may be in the folder already, under the name ``besides``.
        """
        if self.folder is None or needed > self.room:
            return False
        with contextlib.suppress(OSError):
            files = [
                (entry.stat(), entry.path)
                for entry in os.scandir(self.folder)
                if entry.is_file() and entry.path != besides
            ]
            total = sum(stat.st_size for stat, _ in files) + needed
            for stat, path in sorted(files, key=lambda item: item[0].st_mtime):
                if total <= self.room:
                    break
                os.unlink(path)
                total -= stat.st_size
        return True


class Part:
    """A download under way: on disk under a temporary name, and in memory, where it is wanted in the end."""

    def __init__(self, files: AudioFiles, path: Path | None) -> None:
        self._files, self._path = files, path
        self._memory = bytearray()
        self._temporary = ""
        self._file: BinaryIO | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, self._temporary = tempfile.mkstemp(prefix="fetching-", suffix=".part", dir=path.parent)
            self._file = os.fdopen(handle, "wb")
        except OSError:
            self._give_up()

    @property
    def size(self) -> int:
        """Bytes so far."""
        return len(self._memory)

    @property
    def data(self) -> bytes:
        """What came so far."""
        return bytes(self._memory)

    @property
    def head(self) -> bytes:
        """The first bytes, which tell what the file is."""
        return bytes(self._memory[:4096])

    def write(self, piece: bytes) -> None:
        """Take the next piece."""
        self._memory += piece
        if self._file is not None:
            try:
                self._file.write(piece)
            except OSError:
                self._give_up()

    def restart(self) -> None:
        """Forget what came: it comes again from the beginning."""
        self._memory.clear()
        if self._file is not None:
            try:
                self._file.seek(0)
                self._file.truncate()
            except OSError:
                self._give_up()

    def finish(self) -> bytes:
        """Return the whole, and give the file its name."""
        if self._file is not None and self._path is not None:
            try:
                self._file.flush()
                os.fsync(self._file.fileno())  # the name must not be there before the bytes are
                self._file.close()
                if self._files.make_room(len(self._memory), besides=self._temporary):
                    os.replace(self._temporary, self._path)
                    self._temporary = ""
            except OSError:
                pass
        self._give_up()
        return bytes(self._memory)

    def drop(self) -> None:
        """Leave nothing behind."""
        self._memory.clear()
        self._give_up()

    def _give_up(self) -> None:
        """Go on without the disk."""
        file, self._file = self._file, None
        temporary, self._temporary = self._temporary, ""
        with contextlib.suppress(OSError):
            if file is not None:
                file.close()
        with contextlib.suppress(OSError):
            if temporary:
                os.unlink(temporary)
