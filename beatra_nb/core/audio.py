"""Sound as bytes: what it is, how long it is, its samples, its outline.

What a file is, is told by its bytes, never by its name. How long it is, is read from headers and checked against the
file in plain Python (``formats/``). Only samples need a codec: NumPy and soundfile, loaded when they are asked for.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO

from beatra_nb.core.errors import ConfigurationError, InvalidInput
from beatra_nb.core.media_types import CONTAINERS, identify, is_audio, sniff, suffix_of, tracks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["AudioFacts", "decode", "examine", "is_audio", "peaks", "sniff", "suffix_of"]

_DECODABLE = ("audio/mpeg", "audio/wav", "audio/ogg", "audio/flac", "audio/aiff")
_BLOCK = 1 << 16  # frames decoded at a time


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """What a file of sound is.

    Attributes
    ----------
    media_type : str
        Told by the bytes, such as ``"audio/mpeg"``.
    duration : float
        Seconds.
    rate : int
        Samples a second.
    channels : int
        1 for mono, 2 for stereo.
    """

    media_type: str
    duration: float
    rate: int
    channels: int


def examine(source: str | os.PathLike[str] | bytes | BinaryIO, *, name: str | None = None) -> AudioFacts:
    """Read what a file of sound is, and check that all of it is there, without decoding it.

    Parameters
    ----------
    source : path, bytes or file object
        The file; a file object must be binary and seekable, and is read from its beginning.
    name : str, optional
        What errors call it; the path's last part by default.

    Raises
    ------
    InvalidInput
        If it is empty, no sound, cut short, damaged, or longer than 30 minutes.
    """
    if isinstance(source, str | os.PathLike):
        name = name or os.path.basename(os.fspath(source))
        try:
            with open(source, "rb", buffering=1 << 16) as stream:
                return examine(stream, name=name)
        except OSError as error:
            raise InvalidInput(f"{name} cannot be read: {error.strerror}.") from None
    name = name or "The audio"
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    if not stream.seek(0, os.SEEK_END):
        raise InvalidInput(f"{name} is empty: it has no bytes at all.", hint="Download or export it again.")
    media_type, facts = look_at(stream, name)
    if facts is None:
        raise not_audio(name, media_type)
    return facts


def look_at(stream: BinaryIO, name: str) -> tuple[str | None, AudioFacts | None]:
    """Tell the type of any file, and check it as far as its kind can be checked.

    Parameters
    ----------
    stream : file object
        Binary, seekable and not empty.
    name : str
        What errors call it.

    Returns
    -------
    media_type : str or None
        As ``identify`` tells it.
    facts : AudioFacts or None
        None if it is no sound.

    Raises
    ------
    InvalidInput
        If it is sound or video that is cut short, damaged or too long.
    """
    from beatra_nb.core.formats.base import Unfit, Window

    window = Window(stream)
    media_type = identify(stream)
    try:
        if media_type in CONTAINERS:
            tracks(window, media_type)  # a film whose index cannot be read
        if media_type is None or not is_audio(media_type):
            return media_type, None
        return media_type, AudioFacts(media_type, *_measure(media_type)(window))
    except Unfit as unfit:
        raise InvalidInput(f"{name} {unfit.what}.", hint=unfit.hint) from None


def not_audio(name: str, media_type: str | None) -> InvalidInput:
    """Return the error for a file that is no sound, with what it is instead."""
    really = (
        f"its bytes are {media_type}" if media_type else "its bytes are of no kind of sound that is known"
    )
    return InvalidInput(
        f"{name} is not audio: {really}.", hint="Pass an MP3, WAV, OGG, FLAC, M4A or AIFF file."
    )


def decode(data: bytes) -> tuple[NDArray[np.float32], int]:
    """Decode a file of sound.

    Parameters
    ----------
    data : bytes
        The file, whole.

    Returns
    -------
    samples : numpy.ndarray
        float32, shape (frames, channels), within −1 and 1.
    rate : int
        Frames a second.

    Raises
    ------
    ConfigurationError
        If NumPy or soundfile is not installed.
    InvalidInput
        If these bytes cannot be decoded.
    """
    numpy, soundfile = _codecs()
    with _opened(data, soundfile) as file:
        samples: NDArray[np.float32] = file.read(dtype="float32", always_2d=True)
        rate = int(file.samplerate)
    numpy.nan_to_num(samples, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
    numpy.clip(samples, -1.0, 1.0, out=samples)
    return samples, rate


def peaks(data: bytes, count: int = 400) -> NDArray[np.float32]:
    """Return the outline of a sound: how loud it gets in each of ``count`` equal spans of its time.

    Parameters
    ----------
    data : bytes
        The file, whole. It is decoded piece by piece, so that a long one needs no more memory than a short one.
    count : int
        How many spans.

    Returns
    -------
    numpy.ndarray
        float32, shape (count,): the largest absolute amplitude over all channels, from 0 to 1 (full scale).

    Raises
    ------
    ConfigurationError
        If NumPy or soundfile is not installed.
    InvalidInput
        If these bytes cannot be decoded, or ``count`` is not at least 1.
    """
    if count < 1:
        raise InvalidInput(f"An outline needs at least one span, not {count!r}.")
    numpy, soundfile = _codecs()
    with _opened(data, soundfile) as file:
        frames = file.frames
        found, seen = _outline(file, frames, count, numpy)
        if seen != frames:  # the header was wrong: now the real length is known
            file.seek(0)
            found, _ = _outline(file, seen, count, numpy)
    numpy.nan_to_num(found, copy=False, nan=0.0)
    return numpy.minimum(found, numpy.float32(1.0))  # type: ignore[no-any-return]


def _outline(file: Any, frames: int, count: int, numpy: ModuleType) -> tuple[Any, int]:  # noqa: ANN401
    """Return the peaks of a file of so many frames, and how many frames there really were."""
    if frames < count:  # several spans on one frame: each shows it
        found, seen = _outline(file, frames, frames, numpy)
        return (found[numpy.arange(count) * frames // count] if frames else numpy.zeros(count, "f4")), seen
    channels = file.channels
    found = numpy.zeros(count, dtype=numpy.float32)
    starts = numpy.arange(count, dtype=numpy.int64) * frames // max(count, 1)  # of the spans
    seen = 0
    for block in _blocks(file, numpy):
        flat = numpy.abs(block.reshape(-1), out=block.reshape(-1))  # channels side by side: a span is one run
        first = max(int(numpy.searchsorted(starts, seen, side="right")) - 1, 0)
        after = int(numpy.searchsorted(starts, seen + len(block), side="left"))
        if first < after:
            edges = numpy.maximum(starts[first:after] - seen, 0)
            # fmax passes over what is no number, where maximum would spread it
            highest = numpy.fmax.reduceat(flat, edges * channels)
            found[first:after] = numpy.fmax(found[first:after], highest)
        seen += len(block)
    return found, seen


def _blocks(file: Any, numpy: ModuleType) -> Iterator[Any]:  # noqa: ANN401
    buffer = numpy.empty((_BLOCK, file.channels), dtype=numpy.float32)
    while len(block := file.read(out=buffer)):
        yield block


def _codecs() -> tuple[ModuleType, ModuleType]:
    try:
        import numpy
        import soundfile
    except (ImportError, OSError):  # OSError: soundfile is there, and its library is not
        raise ConfigurationError(
            "Samples of a sound need NumPy and soundfile, and they are not installed.",
            hint="pip install 'beatra-nb[audio]'",
        ) from None
    return numpy, soundfile


@contextmanager
def _opened(data: bytes, soundfile: ModuleType) -> Iterator[Any]:
    """Open a file of sound for decoding; what goes wrong inside becomes an error of ours."""
    from beatra_nb.core.formats.base import LONGEST, Damaged, TooLong, Window
    from beatra_nb.core.formats.mpeg import after_tags

    media_type = sniff(data)
    if media_type not in _DECODABLE:
        # A decoder that is offered anything at all looks for sound in it, slowly.
        raise InvalidInput(
            f"These bytes cannot be decoded here: {media_type or 'they are of no kind of sound that is known'}.",
            hint="MP3, WAV, OGG, FLAC and AIFF can be.",
        )
    try:
        if media_type == "audio/mpeg" and (start := after_tags(Window(io.BytesIO(data)))):
            data = data[start:]  # the decoder stumbles over some of them
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.frames > LONGEST * file.samplerate:
                raise InvalidInput(f"The audio {TooLong(file.frames / file.samplerate).what}.")
            yield file
    except (Damaged, soundfile.SoundFileError, RuntimeError, OSError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(
            "The audio cannot be decoded: it is damaged.", hint="Download or export it again."
        ) from None


def _measure(media_type: str) -> Any:  # noqa: ANN401
    from beatra_nb.core.formats import flac, mp4, mpeg, ogg, riff, webm

    return {
        "audio/mpeg": mpeg.measure,
        "audio/aac": mpeg.measure,
        "audio/wav": riff.measure_wav,
        "audio/aiff": riff.measure_aiff,
        "audio/flac": flac.measure,
        "audio/ogg": ogg.measure,
        "audio/mp4": mp4.measure,
        "audio/webm": webm.measure,
    }[media_type]
