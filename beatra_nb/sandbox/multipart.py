"""A multipart body as it comes in: the file goes straight to disk and is hashed on the way, nothing piles up.

Bytes are gathered into large blocks; a thread reads, writes and hashes one block while the next is being received.
So the server's loop is free for others, and at most two blocks are in memory, whatever the size of the file.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatra_nb.sandbox.contract import Refusal

if TYPE_CHECKING:
    from io import FileIO

MAX_FILE = 100 * 1024 * 1024
MAX_FIELD = 64 * 1024
MAX_FORM = MAX_FILE + 4 * MAX_FIELD
MAX_PARTS = 32
MAX_HEADERS = 8 * 1024  # of one part
BLOCK = 2 * 1024 * 1024
# So much of a body that is refused is read and thrown away, so that the client sees the answer and not a reset.
DRAIN_BYTES = 256 * 1024 * 1024
DRAIN_SECONDS = 10.0
DRAIN_PAUSE = 1.0  # whoever sends nothing for so long is waiting for an answer


@dataclass(slots=True)
class Received:
    """What a form held. ``path`` is the file on disk, for the receiver to keep or to remove."""

    path: Path
    size: int = 0
    sha256: str = ""
    filename: str | None = None
    content_type: str | None = None
    has_file: bool = False
    fields: dict[str, str] = field(default_factory=dict)


def too_large() -> Refusal:
    """Return the answer for a file over the limit."""
    limit = MAX_FILE // (1024 * 1024)
    message = f"The file is larger than {limit} MB, the most that an upload may hold."
    return Refusal("invalid_request", message, status=413, param="/file", headers={"connection": "close"})


async def refuse_length(length: int, parts: AsyncIterator[bytes] | None) -> None:
    """Refuse a body that says it is too long, before any of it is looked at.

    Raises
    ------
    Refusal
        When ``length`` is more than the largest file and its form can have.
    """
    if length > MAX_FORM:
        if parts is not None:
            await _drain(parts)
        raise too_large()


async def receive(content_type: str, parts: AsyncIterator[bytes], folder: Path) -> Received:
    """Read a form; its file is in ``folder`` afterwards, unless an exception says that nothing is.

    Raises
    ------
    Refusal
        For what is no form, or is too large.
    """
    boundary = _boundary(content_type)
    form = _Form(boundary, folder)
    try:
        async for part in parts:
            await form.feed(part)
        await form.end()
    except BaseException as problem:
        form.throw_away()
        if isinstance(problem, Refusal):
            await _drain(parts)
        raise
    return form.received


async def _drain(parts: AsyncIterator[bytes]) -> None:
    until, left = time.monotonic() + DRAIN_SECONDS, DRAIN_BYTES
    with suppress(TimeoutError, StopAsyncIteration):
        while left >= 0 and time.monotonic() < until:
            left -= len(await asyncio.wait_for(anext(parts), DRAIN_PAUSE))


def _boundary(content_type: str) -> bytes:
    from python_multipart.multipart import parse_options_header

    kind, options = parse_options_header(content_type)
    boundary: bytes = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
        raise Refusal(
            "invalid_request", "Content-Type must be multipart/form-data with a boundary.", status=415
        )
    return boundary


def _create(path: Path) -> FileIO:
    from io import FileIO

    # Its owner's alone, whatever folder it lies in.
    return FileIO(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600))


class _Form:
    """Hears the parser and sorts what it says: small fields into memory, the file to disk."""

    def __init__(self, boundary: bytes, folder: Path) -> None:
        from python_multipart import MultipartParser

        self.received = Received(folder / f"upload.{secrets.token_hex(8)}.part")
        self._parser: Any = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._finished,
            },
        )
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[str, str] = {}
        self._field = ""
        self._kind = "skip"
        self._text = bytearray()
        self._parts = self._header_bytes = self._total = 0
        self._whole = False
        self._block = bytearray()
        self._hash = hashlib.sha256()
        self._reading: asyncio.Future[None] | None = None
        self._disk = threading.Lock()
        self._file: FileIO | None = None
        self._over = False

    async def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        self._total += len(data)
        if self._total > MAX_FORM:  # also in parts that nobody asked for
            raise too_large()
        self._block += data
        if len(self._block) >= BLOCK:
            await self._hand_over()

    async def end(self) -> None:
        """Make sure that the form was whole and its file is on disk."""
        await self._hand_over()
        await self._read()
        if not self._whole:
            raise Refusal("invalid_request", "The form ends in the middle.", status=400)
        await asyncio.to_thread(self._shut)
        self.received.sha256 = self._hash.hexdigest()

    def throw_away(self) -> None:
        """Leave nothing on disk; waits for no thread, because the server may be stopping."""
        self._shut()
        with suppress(OSError):
            self.received.path.unlink()

    # --- blocks, one at a time, in a thread

    async def _hand_over(self) -> None:
        block, self._block = self._block, bytearray()
        await self._read()
        if block:
            self._reading = asyncio.get_running_loop().run_in_executor(None, self._take, block)

    async def _read(self) -> None:
        if (reading := self._reading) is not None:
            self._reading = None
            await reading

    def _take(self, block: bytearray) -> None:
        from python_multipart.exceptions import FormParserError

        with self._disk:
            if self._over:
                return
            try:
                self._parser.write(block)
            except FormParserError as problem:
                raise Refusal("invalid_request", f"The form cannot be read: {problem}.", status=400) from None

    def _shut(self) -> None:
        with self._disk:  # not in the middle of a block
            self._over = True
            if self._file is not None:
                self._file.close()

    # --- what the parser tells

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Refusal("invalid_request", f"The form holds more than {MAX_PARTS} parts.")
        self._headers, self._field, self._kind = {}, "", "skip"
        self._text = bytearray()
        self._header_bytes = 0

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._value += data[start:end]

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADERS:
            message = f"A part of the form has headers longer than {MAX_HEADERS:,} bytes."
            raise Refusal("invalid_request", message, status=400)

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").strip().lower()] = self._value.decode("utf-8", "replace")
        self._name.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        from python_multipart.multipart import parse_options_header

        kind, options = parse_options_header(self._headers.get("content-disposition", "").encode())
        if kind != b"form-data":
            return
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        filename = options.get(b"filename")
        if self._field == "file":
            if self.received.has_file:
                raise Refusal("invalid_request", "The form holds more than one file.", param="/file")
            self._kind = "file"
            self.received.has_file = True
            self.received.filename = None if filename is None else filename.decode("utf-8", "replace")
            self.received.content_type = self._headers.get("content-type")
        elif filename is None:
            self._kind = "field"

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._kind == "file":
            self.received.size += end - start
            if self.received.size > MAX_FILE:
                raise too_large()
            if self._file is None:
                self._file = _create(self.received.path)
            with memoryview(data)[start:end] as piece:
                self._hash.update(piece)
                written = self._file.write(piece)
                while written < len(piece):  # a disk may take less at a time
                    written += self._file.write(piece[written:])
        elif self._kind == "field":
            self._text += data[start:end]
            if len(self._text) > MAX_FIELD:
                where = f"/{self._field[:40]}"
                raise Refusal("invalid_request", f"{where} is longer than {MAX_FIELD:,} bytes.", param=where)

    def _part_end(self) -> None:
        if self._kind == "field":
            self.received.fields[self._field] = self._text.decode("utf-8", "replace")

    def _finished(self) -> None:
        self._whole = True
