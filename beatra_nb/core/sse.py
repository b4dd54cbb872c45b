"""Server-sent events: bytes in, events out. Pure, and indifferent to where the network cut the bytes."""

from __future__ import annotations

LARGEST_EVENT = 16 * 1024 * 1024  # bytes; an event that never ends must not eat the memory


class EventTooLarge(ValueError):
    """An event grew past every sane size."""


class SSEDecoder:
    r"""Turns pieces of an event stream into the ``data`` of its events.

    Lines may end in LF, CRLF or CR; comments and other fields are passed over; several ``data:`` lines of an
    event are joined by line feeds. Pieces may be cut anywhere, also inside a UTF-8 character or a CRLF: nothing
    is decoded before its event is whole.

    Examples
    --------
    >>> decoder = SSEDecoder()
    >>> decoder.feed(b"data: one\n\nda")
    [b'one']
    >>> decoder.feed(b"ta: two\r\n\r\n")
    [b'two']
    """

    __slots__ = ("_begun", "_tail")

    def __init__(self) -> None:
        self._tail = b""
        self._begun = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next piece; return the data of every event that it completes."""
        buffer = self._tail + piece
        if not self._begun and buffer:
            if len(buffer) < 3 and b"\xef\xbb\xbf".startswith(buffer):
                self._tail = buffer
                return []
            self._begun = True
            buffer = buffer.removeprefix(b"\xef\xbb\xbf")
        held = b""
        if b"\r" in buffer:
            if buffer.endswith(b"\r"):  # perhaps half of a CRLF: decide with the next piece
                buffer, held = buffer[:-1], b"\r"
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        blocks = buffer.split(b"\n\n")
        self._tail = blocks.pop() + held
        if len(self._tail) > LARGEST_EVENT:
            raise EventTooLarge(f"an event of more than {LARGEST_EVENT} bytes")
        return [data for block in blocks if (data := _data(block)) is not None]

    def end(self) -> list[bytes]:
        """Return the data of a last event whose closing empty line never came."""
        data = _data(self._tail.replace(b"\r", b"\n"))
        self._tail = b""
        return [] if data is None else [data]


def _data(block: bytes) -> bytes | None:
    if block.startswith(b"data: ") and b"\n" not in block:  # nearly every event there is
        return block[6:]
    lines = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines) if lines else None
