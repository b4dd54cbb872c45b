"""What the readers of all formats share: a file to look into, what they find, and what can be wrong with it."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

LONGEST = 30 * 60.0  # seconds of audio that anything here takes; no song is longer
FASTEST = 768_000  # samples a second; the highest rate in use
MOST_CHANNELS = 64
# More than any real file has, few enough to be looked at quickly: chunks and boxes; and pages and blocks, of which
# half an hour of speech can have 90,000.
MOST_PARTS = 20_000
MOST_PAGES = 200_000


class Sound(NamedTuple):
    """How long a sound is, in seconds, and how it is sampled."""

    duration: float
    rate: int
    channels: int


class Unfit(Exception):
    """What is wrong with a file, as the rest of a sentence that begins with its name."""

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class Damaged(Unfit):
    """The file is not what its header says."""


class TooLong(Unfit):
    """The sound is longer than anybody can have meant."""

    def __init__(self, seconds: float | None = None) -> None:
        least = f"more than {LONGEST / 60:.0f} minutes"
        super().__init__(
            f"holds {least} of sound" if seconds is None else f"is {clock(seconds)} long, {least}",
            "Cut out the part that matters: half a minute to a few minutes is plenty.",
        )


class Window:
    """A file to look into at any place.

    Parameters
    ----------
    stream : file object
        Binary, seekable, standing anywhere. Its reads are buffered by whoever opened it.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = stream.seek(0, 2)

    def at(self, place: int, count: int) -> bytes:
        """Return the bytes at a place: fewer than asked at the end of the file."""
        if not 0 <= place < self.size:
            return b""
        self._stream.seek(place)
        return self._stream.read(count)


def sound(frames: float, rate: float, channels: int) -> Sound:
    """Return what was found in a header, if it can be true.

    Raises
    ------
    Unfit
        If it cannot, or if it is longer than can be meant.
    """
    if not (1 <= rate <= FASTEST and 1 <= channels <= MOST_CHANNELS):
        raise Damaged(f"is damaged: its header speaks of {channels} channels at {rate:.0f} samples a second")
    if frames <= 0:
        raise Damaged("holds no sound at all", "Record or export it again.")
    duration = frames / rate
    if duration > LONGEST:
        raise TooLong(duration)
    return Sound(duration, round(rate), channels)


def cut_short(promised: float | None = None, held: float | None = None) -> Damaged:
    """Return the error for a file that ends before it should; with seconds where they are known."""
    how = ""
    if promised is not None and held is not None and clock(promised) != clock(held):
        how = f": its header promises {clock(promised)} of sound, and {clock(held)} are there"
    return Damaged(f"is cut short{how}", "Download or export it again: the end of the file is missing.")


def too_many_pieces() -> Damaged:
    """Return the error for a file that would take forever to look through."""
    return Damaged("is damaged: it is made of far too many pieces", "Download or export it again.")


def clock(seconds: float) -> str:
    """Return a length of time as people write it.

    Examples
    --------
    >>> clock(200), clock(36_000), clock(0.25)
    ('3:20', '10:00:00', '0.2 s')
    """
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
