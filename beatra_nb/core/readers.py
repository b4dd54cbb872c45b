"""Reading a file that was checked, once or several times: the very bytes that were checked, or an error."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from beatra_nb.core.errors import InvalidInput

_BUFFER = 1 << 18


@dataclass(frozen=True, slots=True)
class PathOpener:
    """Opens a file anew, as long as it is still the one that was checked."""

    path: str
    called: str
    size: int
    changed: int  # nanoseconds, when it was last written to

    def __call__(self) -> BinaryIO:
        """Return a new reader that stands at the beginning."""
        try:
            # Not waiting: a pipe could have taken the file's place since it was looked at.
            number = os.open(
                self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            )
        except OSError as error:
            raise unreadable(self.called, error) from None
        try:
            check_regular(self.called, os.fstat(number))
            file = open(number, "rb", buffering=0)  # noqa: SIM115  # the reader closes it
        except BaseException:
            os.close(number)
            raise
        reader = Reader(cast(BinaryIO, file), 0, self.size, self.called, unchanged=self._unchanged, own=True)
        try:
            reader.check()
        except BaseException:
            reader.close()
            raise
        return io.BufferedReader(reader, _BUFFER)

    def _unchanged(self, file: BinaryIO) -> bool:
        facts = os.fstat(file.fileno())
        return (facts.st_size, facts.st_mtime_ns) == (self.size, self.changed)


@dataclass(frozen=True, slots=True)
class FileOpener:
    """Reads a file object anew from where it stood."""

    file: BinaryIO
    start: int
    size: int
    called: str
    keep: object = None  # what must live as long as this is in use

    def __call__(self) -> BinaryIO:
        """Return a new reader that stands at the beginning."""
        if getattr(self.file, "closed", False):
            raise InvalidInput(f"{self.called} was closed.", hint="Keep it open until the upload is done.")
        reader = Reader(self.file, self.start, self.size, self.called, unchanged=self._unchanged, keep=self)
        return io.BufferedReader(reader, _BUFFER)

    def _unchanged(self, file: BinaryIO) -> bool:
        return file.seek(0, os.SEEK_END) == self.start + self.size


class Spool:
    """A temporary file that goes when nobody holds it any more."""

    def __init__(self) -> None:
        import tempfile
        import weakref

        self.file = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self.file.close)


class Reader(io.RawIOBase):
    """Reads the part of a file that was checked, and notices when the file is no longer the same."""

    def __init__(
        self,
        file: BinaryIO,
        start: int,
        size: int,
        called: str,
        *,
        unchanged: Callable[[BinaryIO], bool],
        own: bool = False,
        keep: object = None,
    ) -> None:
        self._file = file
        self._start = start
        self._size = size
        self._called = called
        self._unchanged = unchanged
        self._own = own
        self._keep = keep
        self._at = 0

    def check(self) -> None:
        """Raise if the file is no longer the one that was checked."""
        if not self._unchanged(self._file):
            raise self._changed()

    def _changed(self) -> InvalidInput:
        return InvalidInput(
            f"{self._called} changed while it was being uploaded.",
            hint="Let what writes it come to an end, then run the cell again.",
        )

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be wound back."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place within the part that was checked."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        """Return where it stands."""
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        """Read on, and never past what was checked."""
        room = memoryview(buffer).cast("B")[: max(self._size - self._at, 0)]
        if not room:
            return 0
        try:
            self._file.seek(self._start + self._at)  # somebody else may have moved it
            count = self._fill(room)
        except OSError as error:
            raise unreadable(self._called, error) from None
        except ValueError:  # it was closed
            raise self._changed() from None
        if not count:
            raise self._changed()
        self._at += count
        if self._at == self._size:  # before the last bytes are handed on: afterwards nobody would ask
            self.check()
        return count

    def _fill(self, room: memoryview) -> int:
        if self._own:  # opened here, so it surely knows how to read into a place
            return cast(io.FileIO, self._file).readinto(room) or 0
        block = self._file.read(len(room)) or b""
        room[: len(block)] = block
        return len(block)

    def close(self) -> None:
        """Close the file if it was opened here; put one that was passed back to where it stood."""
        if not self.closed:
            if self._own:
                self._file.close()
            elif not getattr(self._file, "closed", False):
                self._file.seek(self._start)
        super().close()


def check_regular(called: str, facts: os.stat_result) -> None:
    """Raise if this is no file that can be sent: a folder, a pipe, a device."""
    if stat.S_ISREG(facts.st_mode):
        return
    if stat.S_ISDIR(facts.st_mode):
        raise InvalidInput(f"{called} is a folder.", hint="Pass one file at a time.")
    kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    kind = next((name for is_it, name in kinds if is_it(facts.st_mode)), "a device")
    raise InvalidInput(
        f"{called} is {kind}, not a file.", hint="Write what comes out of it to a file, and pass that."
    )


def unreadable(called: str, error: OSError) -> InvalidInput:
    """Return the error for a file that the system does not let be read."""
    if isinstance(error, PermissionError):
        return InvalidInput(
            f"{called} may not be read: permission denied.",
            hint="Give yourself the right to read it (chmod u+r), or copy it to a place of yours.",
        )
    return InvalidInput(
        f"{called} cannot be read: {error.strerror or error}.", hint="Check the path and the disk."
    )
