"""What a task leaves behind, and what is sent to one: clips and artifacts.

Data objects: they hold no markup. A clip knows its client by way of its task only when it has to fetch its audio.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from beatra_nb.core.errors import BeatraError, InvalidInput
from beatra_nb.core.seams import Showable

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from beatra_nb.core.task import AsyncTask, BaseTask, Task

Embed = Literal["auto"] | bool

PEAKS = 400  # how many peaks a waveform has
# What a clip has attributes for; all else that the service says of it is in ``facts``.
KNOWN = frozenset(
    """artifact_id audio_url url title duration_seconds lyrics media_type
    seed tempo_bpm tempo bpm key genre""".split()  # noqa: SIM905 - a list of words is easier to read
)


@dataclass(frozen=True, slots=True)
class Artifact(Showable):
    """A file that the service holds.

    Attributes
    ----------
    id : str
        What to pass as ``reference=``; keep it in your own records.
    url : str
        Where the file can be fetched; may expire.
    media_type : str
        Such as ``"audio/mpeg"``.
    purpose : str
        What it was uploaded for.
    size : int
        Bytes.
    sha256 : str
        The hash of its bytes, in hex.
    name : str
        The file's name, without its folder.
    duration : float or None
        Seconds, where it is audio.
    reused : bool
        True when the very same bytes had been uploaded before, so that nothing was sent.
    request_id : str or None
        The exchange's id.
    sandbox : bool
        True when the sandbox holds it.
    recorded : datetime or None
        When the exchange was recorded, where it is on a cassette.
    metadata : dict
        What was said about it when it was uploaded.
    elapsed : float
        Seconds the upload took.
    raw : dict
        The answer as it came.
    """

    id: str
    url: str = ""
    media_type: str = ""
    purpose: str = ""
    size: int = 0
    sha256: str = ""
    name: str = ""
    duration: float | None = None
    reused: bool = False
    request_id: str | None = None
    sandbox: bool = False
    recorded: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    elapsed: float = 0.0
    raw: dict[str, Any] = field(default_factory=dict, repr=False)


class BaseClip(Showable):
    """A piece of audio that a task made.

    Attributes
    ----------
    index : int
        Which of the task's takes it is, from 1.
    artifact_id : str
        The service's id of the file.
    url : str
        Where the file can be fetched; may expire (``task.refresh()`` gets a new one).
    title : str
        Its title.
    duration : float or None
        Seconds, as the service says.
    lyrics : str
        The lyrics as they were arranged, where the service says.
    seed : int or str or None
        What the take was made from, where the service says.
    tempo : float or None
        Beats a minute, where the service says.
    key : str
        The musical key, where the service says.
    genre : str
        The kind of music, where the service says.
    facts : dict
        Everything else that the service says about it.
    data : bytes or None
        The compressed file, once it has been fetched.
    saved : Path or None
        Where it was last saved.
    embed : "auto" or bool
        Whether the notebook's output shall hold the bytes: ``"auto"`` up to a limit (``BEATRA_EMBED_MB``).
    problem : str
        Why the audio is not here, if fetching it failed.
    """

    def __init__(self, task: BaseTask, index: int, wire: dict[str, Any]) -> None:
        self.task = task
        self.index = index
        self.data: bytes | None = None
        self.saved: Path | None = None
        self.embed: Embed = task.embed
        self.problem = ""
        self.take(wire)

    def take(self, wire: dict[str, Any]) -> None:
        """Take what the service says now; audio that has been fetched stays."""
        from beatra_nb.core.models import ClipWire

        clip = ClipWire.model_validate(wire)
        self.artifact_id = clip.artifact_id
        self.url = clip.audio_url or clip.url
        self.title = clip.title
        self.duration = clip.duration_seconds
        self.lyrics = clip.lyrics
        self._said_type = clip.media_type
        seed = wire.get("seed")
        self.seed: int | str | None = (
            seed if isinstance(seed, int | str) and not isinstance(seed, bool) else None
        )
        self.tempo = _number(wire, "tempo_bpm", "tempo", "bpm")
        self.key = _word(wire.get("key"))
        self.genre = _word(wire.get("genre"))
        self.facts = {name: value for name, value in wire.items() if name not in KNOWN}
        self.raw = wire

    @property
    def task_id(self) -> str:
        """The id of the task that made it."""
        return self.task.id

    @property
    def model(self) -> str:
        """Who made it."""
        return self.task.resolved_model or self.task.model

    @property
    def request_id(self) -> str | None:
        """The id of the exchange that told of it."""
        return self.task.request_id

    @property
    def sandbox(self) -> bool:
        """Whether the sandbox made it."""
        return self.task.sandbox

    @property
    def recorded(self) -> datetime | None:
        """When its task was recorded, where it is on a cassette."""
        return self.task.recorded

    @property
    def credits(self) -> Decimal | None:
        """What was charged for it: the task's charge, shared among its takes."""
        billing = self.task.billing
        if billing.charged is None:
            return None
        share = (billing.charged - (billing.refunded or Decimal(0))) / max(1, len(self.task.takes))
        return Decimal(f"{share:.2f}".rstrip("0").rstrip("."))

    @property
    def size(self) -> int | None:
        """Bytes of the compressed file, once it has been fetched."""
        return None if self.data is None else len(self.data)

    @property
    def media_type(self) -> str:
        """What the file is: by its bytes once they are here, before that as the service says."""
        if self.data is not None:
            from beatra_nb.core.audio import sniff

            return sniff(self.data[:4096]) or self._said_type
        return self._said_type

    @property
    def peaks(self) -> list[float] | None:
        """The waveform for a picture; None where it cannot be drawn. Never fetches anything."""
        if self.data is None:
            return None
        try:
            return [float(value) for value in self._waveform]
        except BeatraError:
            return None

    @cached_property
    def _waveform(self) -> NDArray[np.float32]:
        from beatra_nb.core import audio

        return audio.peaks(self._here(), PEAKS)

    def _here(self) -> bytes:
        """Return the bytes, or say how to get them."""
        if self.data is None:
            raise InvalidInput(
                f"The audio of take {self.index} has not been fetched yet.",
                hint="await clip.audio() fetches it.",
            )
        return self.data

    def keep(self, data: bytes) -> None:
        """Keep the bytes that were fetched."""
        self.__dict__.pop("_waveform", None)
        self.data, self.problem = data, ""

    def _target(self, path: str | os.PathLike[str] | None, overwrite: bool) -> Path:
        """Return where to write; refuse to overwrite before anything is fetched."""
        from beatra_nb.core.files import target

        return target(path, self.title or self.artifact_id or "clip", self.index, overwrite=overwrite)

    def _write(self, path: Path, overwrite: bool) -> Path:
        from beatra_nb.core.files import write

        self.saved = write(path, self._here(), self.media_type, overwrite=overwrite)
        return self.saved

    def __repr__(self) -> str:
        length = "" if self.duration is None else f", {self.duration:.1f} s"
        return f"{type(self).__name__}({self.title!r}{length}, artifact_id={self.artifact_id!r})"


class Clip(BaseClip):
    """A piece of audio that a task made; shows itself as a player.

    Examples
    --------
    >>> task = bn.music("slow blues, 12 seconds")  # doctest: +SKIP
    >>> task.clips[0].save("blues.mp3")  # doctest: +SKIP
    """

    task: Task

    __doc__ = f"{__doc__}\n{BaseClip.__doc__}"

    def audio(self) -> bytes:
        """Return the compressed file, fetched if it is not here yet.

        Raises
        ------
        ConnectionFailed, Timeout, APIError
            If it cannot be fetched; an address that has expired is renewed by itself.
        """
        if self.data is None:
            self.task.fetch(self)
        return self._here()

    @property
    def waveform(self) -> NDArray[np.float32]:
        """The peaks: float32, shape (400,), the largest amplitude of each 400th of the time, 0 to 1.

        Raises
        ------
        ConfigurationError
            If numpy or soundfile is not installed (``pip install 'beatra-nb[audio]'``).
        """
        self.audio()
        return self._waveform

    def to_numpy(self) -> tuple[NDArray[np.float32], int]:
        """Return the samples, for analysis.

        Returns
        -------
        samples : ndarray of float32, shape (frames, channels)
            Amplitudes from −1 to 1.
        rate : int
            Frames a second.
        """
        from beatra_nb.core import audio

        return audio.decode(self.audio())

    def save(self, path: str | os.PathLike[str] | None = None, *, overwrite: bool = False) -> Path:
        """Write the compressed file, fetched if need be, and return where it is.

        Parameters
        ----------
        path : path, optional
            A file or a folder; by default a file named by the title, here. A missing suffix is added.
        overwrite : bool, default False
            Whether a file that is there may be replaced.

        Raises
        ------
        InvalidInput
            If it cannot be written there.
        """
        where = self._target(path, overwrite)
        self.audio()
        return self._write(where, overwrite)


class AsyncClip(BaseClip):
    """A piece of audio that a task made, its verbs awaited; shows itself as a player."""

    task: AsyncTask

    async def audio(self) -> bytes:
        """Return the compressed file, fetched if it is not here yet: ``Clip.audio``, awaited."""
        if self.data is None:
            await self.task.fetch(self)
        return self._here()

    @property
    def waveform(self) -> NDArray[np.float32]:
        """The peaks, once the audio is here: float32, shape (400,), 0 to 1."""
        self._here()
        return self._waveform

    async def to_numpy(self) -> tuple[NDArray[np.float32], int]:
        """Return samples and rate: ``Clip.to_numpy``, awaited."""
        from beatra_nb.core import audio

        return audio.decode(await self.audio())

    async def save(self, path: str | os.PathLike[str] | None = None, *, overwrite: bool = False) -> Path:
        """Write the compressed file: ``Clip.save``, awaited."""
        where = self._target(path, overwrite)
        await self.audio()
        return self._write(where, overwrite)


def _number(wire: dict[str, Any], *names: str) -> float | None:
    for name in names:
        value = wire.get(name)
        # No tempo is as large, and what is not a number is none.
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9:
            return float(value)
    return None


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""
