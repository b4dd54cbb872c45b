"""Audio that music shall follow: from Python or from a page, looked at, and uploaded when it is used."""

from __future__ import annotations

import base64
import shutil
import tempfile
import weakref
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatra_nb.core.errors import BeatraError, InvalidInput
from beatra_nb.core.media import PEAKS
from beatra_nb.core.music import MusicRequest
from beatra_nb.core.sources import MAX_BYTES, Source, safe_name, source_of
from beatra_nb.display.clean import one_line
from beatra_nb.display.media_html import sound_type
from beatra_nb.display.pieces import clock, size
from beatra_nb.display.waveform import waveform

if TYPE_CHECKING:
    from beatra_nb.core.music import Reference as Given

PART = 512 * 1024  # bytes of one message of the page
HEARD = 32 * 2**20  # bytes up to which it is decoded for its picture, and played from the kernel


@dataclass(frozen=True, eq=False)
class Reference:
    """Audio that music shall follow.

    Attributes
    ----------
    name : str
        What it is called.
    source : Source or None
        The file, where it has still to be uploaded.
    wire : dict or None
        How it is named in a request, where the service has it or fetches it.
    """

    name: str
    source: Source | None = None
    wire: dict[str, str] | None = None
    kept: object = field(default=None, repr=False)  # what must not go away while this is in use

    @classmethod
    def of(cls, given: Given | Reference) -> Reference:
        """Check what was given as ``reference=``.

        Raises
        ------
        InvalidInput
            If it cannot be used; the message says how to mend it.
        """
        if isinstance(given, Reference):
            return given
        request = MusicRequest.of("check", reference=given)
        if request.source is not None:
            return cls(request.source.name, request.source)
        wire = request.body["reference_audio"]
        called = getattr(given, "name", "") or getattr(given, "title", "")
        return cls(one_line(called or next(iter(wire.values())), 160), wire=wire)

    def join(self, request: MusicRequest) -> MusicRequest:
        """Return a request that follows this audio."""
        if self.wire is not None:
            return replace(request, body={**request.body, "reference_audio": self.wire})
        return replace(request, source=self.source)

    def audio(self) -> bytes:
        """Return the bytes of a file that is here.

        Raises
        ------
        InvalidInput
            If it is not on this machine, or too large to be played from here.
        """
        if self.source is None or self.source.size > HEARD:
            raise InvalidInput("This reference cannot be played here.")
        with self.source.open() as reader:
            return reader.read()

    def shown(self) -> dict[str, Any]:
        """Return what a page shows of it; its picture is drawn from its samples, which takes a moment."""
        if self.source is None:
            kind = "an address" if self.wire and "url" in self.wire else "already at the service"
            return {"name": self.name, "facts": [kind], "state": "ready"}
        facts = [clock(self.source.duration), size(self.source.size), self.source.media_type]
        kind = sound_type(self.source.media_type) if self.source.size <= HEARD else ""
        drawn = self._picture() if kind else ""
        return {
            "name": one_line(self.name, 160),
            "facts": [fact for fact in facts if fact],
            "state": "ready",
            "kind": kind,
            "wave": drawn,
        }

    def _picture(self) -> str:
        from beatra_nb.core import audio

        try:
            peaks = [float(value) for value in audio.peaks(self.audio(), PEAKS)]
        except BeatraError:  # no codec for it, or none installed: it can be sent all the same
            return ""
        return picture(waveform(peaks, "Waveform"))

    def __repr__(self) -> str:
        length = clock(self.source.duration) if self.source is not None else ""
        return f"Reference({self.name!r}{f', {length}' if length else ''})"


def picture(image: Any) -> str:  # noqa: ANN401 - an Image of a view, or None
    """Return a small picture as a data URI; empty for none."""
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode('ascii')}" if image else ""


class Folder:
    """A temporary folder that goes when nothing needs it any more."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="beatra-reference-"))
        self.remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class Arrival:
    """A file on its way from a page, part by part.

    Parameters
    ----------
    ident : str
        What the page calls this very transfer.
    name : str
        The file's name, as the page says: anything.
    length : int
        Its bytes, as the page says.
    """

    def __init__(self, ident: str, name: str, length: int) -> None:
        self.ident = ident
        self.name = safe_name(name)
        if not 0 < length <= MAX_BYTES:
            many = "is empty" if length <= 0 else f"has {size(length)}, and an upload takes 100 MB"
            raise InvalidInput(f"{self.name or 'The file'} {many}.", hint="Choose another file.")
        self.length, self.come = length, 0
        self._folder = Folder()
        # Whatever the page calls it, on this disk it has a name of ours.
        self._path = self._folder.path / "sound"
        self._file = self._path.open("wb")

    def take(self, at: int, data: bytes) -> bool:
        """Take the next part; return whether it was the last.

        Raises
        ------
        InvalidInput
            If it is not the next one, or more than was said.
        """
        if at != self.come or not 0 < len(data) <= PART or self.come + len(data) > self.length:
            raise InvalidInput("The file did not arrive in order.", hint="Choose it again.")
        self._file.write(data)
        self.come += len(data)
        if self.come < self.length:
            return False
        self._file.close()
        return True

    def reference(self) -> Reference:
        """Return what arrived, checked.

        Raises
        ------
        InvalidInput
            If it is no sound, or damaged.
        """
        source = source_of(self._path, purpose="reference_audio", name=self.name or "reference")
        return Reference(source.name, source, kept=self._folder)

    def drop(self) -> None:
        """Forget what has come."""
        self._file.close()
        self._folder.remove()
