"""Answers while they are made and after: following, replaying, and the 24-hour memory of idempotency keys.

A ``Recording`` is one answer being written by one producer and read by any number of readers, each from the
first byte. So a plain reply, a stream, a second request with the same key that arrives in the middle, and a
replay the next day are one mechanism. When the last reader of an unfinished recording leaves, the producer
is stopped and nothing is remembered.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from beatra_nb.sandbox.contract import Refusal

KEEP_SECONDS = 24 * 3600
KEEP_ENTRIES = 4096
KEEP_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Remembered:
    """A finished answer as plain data, so that a memory on disk could hold it."""

    fingerprint: str
    status: int
    media_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...]
    made: float


class Memory(Protocol):
    """Where finished answers are kept by idempotency key."""

    def get(self, key: str) -> Remembered | None:
        """Return what is remembered under a key and is not too old."""

    def put(self, key: str, answer: Remembered) -> None:
        """Remember an answer."""


class ProcessMemory:
    """A memory that lasts as long as the process; bounded by age, number and size, oldest out first."""

    def __init__(
        self,
        *,
        entries: int = KEEP_ENTRIES,
        size: int = KEEP_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._kept: OrderedDict[str, Remembered] = OrderedDict()
        self._entries, self._room, self._clock = entries, size, clock

    def get(self, key: str) -> Remembered | None:
        """Return what is remembered under a key and is not too old."""
        answer = self._kept.get(key)
        if answer is not None and self._clock() - answer.made > KEEP_SECONDS:
            self._forget(key)
            return None
        return answer

    def put(self, key: str, answer: Remembered) -> None:
        """Remember an answer, making room for it."""
        self._forget(key)
        self._kept[key] = answer
        self._room -= len(answer.body)
        while len(self._kept) > self._entries or (self._room < 0 and len(self._kept) > 1):
            self._forget(next(iter(self._kept)))

    def _forget(self, key: str) -> None:
        if (gone := self._kept.pop(key, None)) is not None:
            self._room += len(gone.body)


class Recording:
    """One answer: a head (status, media type, headers) and a growing body."""

    def __init__(self) -> None:
        self.status = 0
        self.media_type = "application/json"
        self.headers: tuple[tuple[str, str], ...] = ()
        self.parts: list[bytes] = []
        self.done = False
        self.keep = False
        self.stopped = False
        self._readers: set[Reader] = set()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, answer: Remembered) -> Recording:
        """Make a finished recording from memory."""
        recording = cls()
        recording.begin(answer.status, answer.media_type, answer.headers)
        recording.parts.append(answer.body)
        recording.done = True
        return recording

    def begin(self, status: int, media_type: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Set the head; to be called before the first ``add``."""
        self.status, self.media_type, self.headers = status, media_type, headers
        self._wake()

    def add(self, part: bytes) -> None:
        """Append to the body."""
        self.parts.append(part)
        self._wake()

    def finish(self, *, keep: bool) -> None:
        """Close the body; ``keep`` when the same key shall get this answer again."""
        self.done, self.keep = True, keep
        self._wake()

    def start(self, produce: Callable[[Recording], Awaitable[None]], over: Callable[[], None]) -> None:
        """Run the producer as a task of its own; ``over`` is called when it ended in whatever way."""

        async def run() -> None:
            await produce(self)

        self._task = asyncio.get_running_loop().create_task(run())
        self._task.add_done_callback(lambda task: self._ended(task, over))

    def _ended(self, task: asyncio.Task[None], over: Callable[[], None]) -> None:
        if not self.done:  # cancelled, or the producer broke
            self.finish(keep=False)
        if not task.cancelled():
            task.exception()  # fetched, so that asyncio does not report it again
        over()

    def stop(self) -> None:
        """Stop the producer; from now on the recording is nobody's answer."""
        if self._task is not None and not self.done:
            self.stopped = True
            self._task.cancel()

    def _wake(self) -> None:
        for reader in self._readers:
            reader.wake.set()

    def enter(self, reader: Reader) -> None:
        """Count a reader in."""
        self._readers.add(reader)

    def leave(self, reader: Reader) -> None:
        """Count a reader out; the last one of an unfinished recording stops it."""
        self._readers.discard(reader)
        if not self._readers:
            self.stop()


class ReaderGone(Exception):
    """The client went away."""


class Reader:
    """One client's way through a recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.wake = asyncio.Event()
        self.gone = False
        self._at = 0
        recording.enter(self)

    def go(self) -> None:
        """Tell the reader that its client went away."""
        self.gone = True
        self.wake.set()

    def close(self) -> None:
        """Leave the recording."""
        self.recording.leave(self)

    async def head(self) -> None:
        """Wait until the recording's head is known."""
        while not self.recording.status and not self.recording.done:
            await self.sleep()

    async def more(self) -> bytes | None:
        """Return everything that is new, or None at the end."""
        while True:
            if self.gone:
                raise ReaderGone
            parts = self.recording.parts
            if self._at < len(parts):
                fresh = parts[self._at :]
                self._at = len(parts)
                return fresh[0] if len(fresh) == 1 else b"".join(fresh)
            if self.recording.done:
                return None
            await self.sleep()

    async def sleep(self) -> None:
        """Wait for news of the recording or of the client."""
        if self.gone:
            raise ReaderGone
        self.wake.clear()
        await self.wake.wait()
        if self.gone:
            raise ReaderGone


class Ledger:
    """Which key has which answer: at work, or remembered."""

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory: Memory = memory if memory is not None else ProcessMemory()
        self._at_work: dict[str, tuple[str, Recording]] = {}
        self._loose: set[Recording] = set()

    def claim(
        self, key: str | None, fingerprint: str, produce: Callable[[Recording], Awaitable[None]]
    ) -> tuple[Recording, bool]:
        """Return the answer for a key, and whether it is a new one that has just been started.

        Raises
        ------
        Refusal
            ``idempotency_conflict`` when the key belongs to another body.
        """
        if key is None:
            recording = Recording()
            self._loose.add(recording)
            recording.start(produce, lambda: self._loose.discard(recording))
            return recording, True
        working = self._at_work.get(key)
        if working is not None and not working[1].stopped:
            _same(working[0], fingerprint)
            return working[1], False
        if (answer := self._memory.get(key)) is not None:
            _same(answer.fingerprint, fingerprint)
            return Recording.of(answer), False
        recording = Recording()
        self._at_work[key] = (fingerprint, recording)
        recording.start(produce, lambda: self._over(key, fingerprint, recording))
        return recording, True

    def knows(self, key: str) -> bool:
        """Whether a key is in use here."""
        return key in self._at_work or self._memory.get(key) is not None

    def _over(self, key: str, fingerprint: str, recording: Recording) -> None:
        if (working := self._at_work.get(key)) is not None and working[1] is recording:
            del self._at_work[key]
        if recording.keep:
            body = b"".join(recording.parts)
            answer = Remembered(
                fingerprint, recording.status, recording.media_type, body, recording.headers, time.time()
            )
            self._memory.put(key, answer)

    @property
    def at_work(self) -> list[Recording]:
        """The answers that are being made."""
        return [*self._loose, *(recording for _, recording in self._at_work.values())]

    def close(self) -> None:
        """Stop everything that is at work."""
        for recording in self.at_work:
            recording.stop()


def _same(known: str, fingerprint: str) -> None:
    if known != fingerprint:
        raise Refusal("idempotency_conflict")
