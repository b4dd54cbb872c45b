"""A multipart body, read as it passes: what a request says, without the letters that differ each time it is made."""

from __future__ import annotations

import hashlib
import re
from typing import Any


class Splitter:
    r"""Takes the multipart bodies apart that httpx makes: fields, then one file, which is hashed and not kept.

    Examples
    --------
    >>> splitter = Splitter.of("multipart/form-data; boundary=x")
    >>> splitter.feed(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n')
    >>> splitter.feed(b'--x\r\nContent-Disposition: form-data; name="file"; filename="b.wav"\r\n\r\nhello')
    >>> splitter.feed(b"\r\n--x--\r\n")
    >>> splitter.form()["form"], splitter.form()["file"]["size"]
    ({'a': '1'}, 5)
    """

    def __init__(self, boundary: str) -> None:
        self._boundary = boundary.encode("latin-1", "replace")
        self._head = bytearray()
        self._fields: dict[str, str] = {}
        self._file: dict[str, Any] | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        self._held = b""

    @classmethod
    def of(cls, content_type: str) -> Splitter | None:
        """Return one for a content type; None where it is no multipart body."""
        match = re.fullmatch(r'multipart/form-data;\s*boundary="?([^"\s;]{1,200})"?', content_type)
        return cls(match[1]) if match else None

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        if self._file is None:
            self._head += data
            data = self._part()
            if self._file is None:
                return
        held = self._held + data
        keep = len(self._boundary) + 8  # the end of the body is no part of the file
        self._held = held[-keep:]
        passed = held[: len(held) - len(self._held)]
        self._hash.update(passed)
        self._size += len(passed)

    def _part(self) -> bytes:
        """Read the parts that are whole; of the file's, return what has come of it."""
        while True:
            head, gap, rest = bytes(self._head).partition(b"\r\n\r\n")
            if not gap:
                return b""
            said = head.decode("utf-8", "replace")
            name = re.search(r'[; ]name="([^"]*)"', said)
            filename = re.search(r'filename="([^"]*)"', said)
            if filename is not None:
                kind = re.search(r"(?im)^content-type: *(.+?)\r?$", said)
                self._file = {"name": filename[1], "type": kind[1].strip() if kind else ""}
                return rest
            value, end, _ = rest.partition(b"\r\n--" + self._boundary)
            if not end:
                return b""
            self._fields[name[1] if name else ""] = value.decode("utf-8", "replace")
            self._head = self._head[len(head) + 4 + len(value) + 2 :]

    def form(self) -> dict[str, Any]:
        """Return what was asked, once all of it has passed."""
        file = dict(self._file or {})
        if self._file is not None:
            file.update(size=self._size, sha256=self._hash.hexdigest())
        return {"form": dict(self._fields), "file": file}
