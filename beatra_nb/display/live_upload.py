"""An upload shown while it is sent: a card or a line if it takes long enough to be read, else nothing.

What the upload gave, an artifact, shows itself as the value of its cell. A painter never breaks the call it shows
(``painting``).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from beatra_nb.display.clean import one_line
from beatra_nb.display.painting import Harmless, Pacer, Place, write
from beatra_nb.display.pieces import seconds, size
from beatra_nb.display.watching import look_around, surface

if TYPE_CHECKING:
    from beatra_nb.core.media import Artifact

INTERVAL = 0.25  # seconds between two messages to a page
SHORT = 0.5  # seconds; an upload that takes no longer is not worth a card
LATELY = 3.0  # seconds over which the speed is taken


class UploadPainter(Protocol):
    """What an upload is shown by."""

    def progress(self, sent: int) -> None:
        """Take how many bytes have been sent; cheap."""

    def finish(self, artifact: Artifact) -> None:
        """Take the card away: the artifact shows itself."""

    def drop(self) -> None:
        """Take everything away."""


def upload_painter(name: str, size: int) -> UploadPainter:
    """Return the painter of an upload that fits who is looking.

    Parameters
    ----------
    name : str
        What is sent.
    size : int
        Its bytes.
    """
    where = surface(look_around())
    if where == "page":
        return _CarefulUpload(lambda: _UploadPage(name, size), _UploadNowhere())
    if where == "terminal":
        return _CarefulUpload(lambda: _UploadTerminal(name, size), _UploadNowhere())
    return _UploadNowhere()


class _Upload(UploadPainter, Protocol):
    @property
    def shows(self) -> bool: ...


class _CarefulUpload(Harmless[_Upload]):
    """Any painter of uploads, made harmless."""

    shown_instead = "uploads are shown once they are done"

    def progress(self, sent: int) -> None:
        try:
            self._inner.progress(sent)
        except Exception as error:
            self._give_up(error)


class _Speed:
    """How fast something has lately been sent, and how long the rest will take."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def words(self, sent: int) -> str:
        """Return a line such as ``3.2 of 100.0 MB · 8.1 MB/s · 12 s left``."""
        now = time.monotonic()
        self._seen.append((now, sent))
        while len(self._seen) > 2 and now - self._seen[1][0] > LATELY:
            self._seen.pop(0)
        since, before = self._seen[0]
        speed = (sent - before) / max(now - since, 1e-6)
        parts = [f"{size(sent)} of {size(self._size)}"]
        if speed > 0:
            parts.append(f"{size(speed)}/s")
            if left := round((self._size - sent) / speed):
                parts.append(f"{left} s left" if left < 100 else f"{seconds(left)} left")
        return " · ".join(parts)


class _UploadPage:
    """A card, if it takes long enough to be read."""

    shows = False  # the artifact is shown as what the call returns

    def __init__(self, name: str, size: int) -> None:
        self._name, self._size, self._sent = one_line(name, 120), size, 0
        self._began = time.monotonic()
        self._speed = _Speed(size)
        self._live: tuple[Any, Place, Pacer] | None = None

    def progress(self, sent: int) -> None:
        self._sent = sent
        if self._live is not None:
            self._live[2].wake()
        elif time.monotonic() - self._began >= SHORT:
            self._live = self._make()

    def finish(self, artifact: Artifact) -> None:
        if self._live is not None:
            self._live[0].end("The upload is done.")
        self.drop()

    def drop(self) -> None:
        if self._live is not None:
            _, place, pacer = self._live
            pacer.stop()
            place.clear()

    def _make(self) -> tuple[Any, Place, Pacer]:
        from beatra_nb.display.task_widget import LiveTask

        widget = LiveTask(self._state(), by_hand="to stop, interrupt the kernel (■)")
        return widget, Place(widget), Pacer(lambda: widget.show(self._state()), INTERVAL)

    def _state(self) -> dict[str, Any]:
        sent = self._sent
        return {
            "title": f"Uploading {self._name}",
            "says": "An upload is on its way.",
            "stage": "sending" if sent < self._size else "waiting for the service",
            "message": self._speed.words(sent),
            "percent": round(100 * sent / self._size, 1) if self._size else None,
            "elapsed": round(time.monotonic() - self._began, 1),
        }


class _UploadTerminal:
    """One line if it takes long, and one when it is done."""

    shows = False

    def __init__(self, name: str, size: int) -> None:
        self._name, self._size = one_line(name, 120), size
        self._began = time.monotonic()
        self._told = False

    def progress(self, sent: int) -> None:
        if not self._told and time.monotonic() - self._began >= SHORT:
            self._told = True
            write(f"Uploading {self._name} ({size(self._size)}) …\n")

    def finish(self, artifact: Artifact) -> None:
        if self._told:
            parts = [
                "uploaded",
                seconds(time.monotonic() - self._began),
                f"artifact {one_line(artifact.id, 120)}",
            ]
            write(f"── {' · '.join(part for part in parts if part)}\n")

    def drop(self) -> None:
        pass


class _UploadNowhere:
    """Nobody looks."""

    shows = False

    def progress(self, sent: int) -> None:
        pass

    def finish(self, artifact: Artifact) -> None:
        pass

    def drop(self) -> None:
        pass
