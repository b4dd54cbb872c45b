"""A cassette: a folder with ``tape.jsonl``, one exchange a line, and ``media`` with the files of sound.

A tape only grows: each recording adds a line that says who answered, then its exchanges, each in one write. A
recording that is killed half-way leaves a tape that can be read. Of the same request, the newest recording counts
alone, so that recording again mends a cassette; what an older one still adds, in another kernel, does not undo it.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import secrets
import shutil
import threading
import weakref
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatra_nb import __version__
from beatra_nb.core.errors import ConfigurationError
from beatra_nb.core.scrub import NOTHING
from beatra_nb.core.settings import BASE_URL, clean_url
from beatra_nb.store.cassettes.answers import Answers
from beatra_nb.store.cassettes.clean import without_key
from beatra_nb.store.cassettes.exchange import Exchange, Unreadable, compact, stamp
from beatra_nb.store.database import short

if TYPE_CHECKING:
    from beatra_nb.core.scrub import Scrubber
    from beatra_nb.store.cassettes.exchange import Asked

FORMAT = 1
TAPE = "tape.jsonl"
LONGEST_LINE = 64_000_000  # bytes
LONGEST_BODY = 5_000_000  # bytes that stand in a line
LARGEST_MEDIA = 500_000_000  # bytes
_ENDINGS = {
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/ogg": ".ogg",
    "audio/flac": ".flac",
}


class Cassette:
    """Recorded exchanges in a folder. Every method may be called from any thread.

    Parameters
    ----------
    path : path
        The folder; it need not be there before something is recorded.
    refresh : bool
        Whether the first exchange that is recorded takes the place of all that is there.

    Attributes
    ----------
    base_url : str
        Where the recorded calls went.
    source : str
        Who answered: ``"live"`` or ``"sandbox"``; empty for a tape with nothing on it.
    """

    def __init__(self, path: str | os.PathLike[str], *, refresh: bool = False) -> None:
        self.path = Path(path).expanduser().absolute()
        self.base_url, self.source = BASE_URL, ""
        self._lock = threading.RLock()
        self._answers = Answers()
        self._turns: dict[str, int] = {}
        self._asked = 0
        self._written: set[str] = set()  # the ids of what was recorded just now
        self._session = ""
        self._refresh = refresh
        self._handle: int | None = None
        if self.path.exists() and not self.path.is_dir():
            raise ConfigurationError(f"{self.name} is a file; a cassette is a folder.", hint=_ELSEWHERE)
        if self.exists and not refresh:
            self._read()
        elif not self.exists and self.path.is_dir() and any(self.path.iterdir()):
            raise ConfigurationError(
                f"{self.name} is a folder with other things in it, and no cassette.", hint=_ELSEWHERE
            )

    @property
    def name(self) -> str:
        """The folder, for people: where this process works, as it would be written there."""
        here = Path.cwd()
        return str(self.path.relative_to(here)) if self.path.is_relative_to(here) else short(self.path)

    @property
    def exists(self) -> bool:
        """Whether there is a tape."""
        return (self.path / TAPE).is_file()

    def __len__(self) -> int:
        return len(self._answers)

    def __repr__(self) -> str:
        return f"Cassette({self.name!r}, exchanges={len(self)})"

    # Answering

    def next(self, asked: Asked, key: str | None = None) -> Exchange | None:
        """Return what answers a request now, of the call with an idempotency key; None where nothing was recorded."""
        return self._answers.next(asked, key)

    def unlike(self, asked: Asked) -> str:
        """Say how a request differs from the nearest that was recorded."""
        return self._answers.unlike(asked)

    @property
    def request_ids(self) -> set[str]:
        """Of which requests the tape has the answers: the service's ids, also of those recorded just now."""
        with self._lock:
            return self._answers.request_ids | self._written

    def media(self, exchange: Exchange) -> bytes:
        """Return the bytes of a file of the cassette.

        Raises
        ------
        ConfigurationError
            If it is not there, or not what its name says.
        """
        path = self.path / exchange.media
        trouble = "is missing"
        try:
            if not path.resolve().is_relative_to(self.path.resolve()) or path.is_symlink():
                trouble = "leads out of the cassette"
            elif path.stat().st_size > LARGEST_MEDIA:
                trouble = "is too large"
            else:
                data = path.read_bytes()
                if hashlib.sha256(data).hexdigest() == path.stem:
                    return data
                trouble = "was changed: it is not the file that its name says"
        except OSError:
            pass
        raise ConfigurationError(
            f"{exchange.media} of the cassette {self.name} {trouble}.",
            hint="Copy it anew, or record it again.",
        )

    # Recording

    @property
    def at_stake(self) -> bool:
        """Whether the next exchange that is written takes the place of all that is there."""
        return self._refresh and not self._session and self.exists

    def begin(self, base_url: str, source: str) -> None:
        """Begin a recording: what is written from now on replaces what was recorded of the same requests."""
        with self._lock:
            if self._session:
                return
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                if self._refresh:  # not before: what was recorded has cost something, and the call may fail
                    self._erase()
                self._handle = handle = os.open(self.path / TAPE, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                self._ends = weakref.finalize(self, os.close, handle)  # mostly, nobody closes a cassette
                _cut_torn_line(handle)
            except OSError as problem:
                raise ConfigurationError(
                    f"The cassette {self.name} cannot be written ({problem.strerror}).", hint=_ELSEWHERE
                ) from None
            self._session, self.base_url, self.source = secrets.token_hex(3), base_url, source
            self._append({
                "cassette": FORMAT,
                "session": self._session,
                "recorded": stamp(datetime.now(UTC)),
                "source": source,
                "base_url": base_url,
                "by": f"beatra_nb {__version__}",
            })  # fmt: skip

    def turn(self, key: str | None = None) -> int:
        """Return the place of a request that is made now among the calls; the attempts of one call share its own."""
        with self._lock:
            if key is not None and (known := self._turns.get(key)):
                return known
            self._asked += 1
            if key is not None:
                self._turns[key] = self._asked
            return self._asked

    def _erase(self) -> None:
        """Take away what was recorded before; nothing else that is in the folder is touched."""
        (self.path / TAPE).unlink(missing_ok=True)
        if (self.path / "media").is_dir() and not (self.path / "media").is_symlink():
            shutil.rmtree(self.path / "media")

    def write(self, exchange: Exchange, scrub: Scrubber = NOTHING) -> None:
        """Add an exchange; a body that is a file goes to a file of its own."""
        exchange = without_key(exchange, scrub)
        kind = exchange.headers.get("content-type", "").partition(";")[0].strip().lower()
        sound = kind.startswith(("audio/", "video/", "image/", "application/octet-stream"))
        if exchange.body and (sound or len(exchange.body) > LONGEST_BODY):
            exchange = replace(exchange, media=self._keep(exchange.body, kind), body=b"")
        self._append(replace(exchange, session=self._session).to_json(), scrub)
        if (request_id := exchange.headers.get("x-request-id")) is not None:
            with self._lock:
                self._written.add(request_id)

    def _keep(self, data: bytes, kind: str) -> str:
        name = f"media/{hashlib.sha256(data).hexdigest()}{_ENDINGS.get(kind) or _ending(kind)}"
        path = self.path / name
        try:
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                temporary = path.with_name(f"{secrets.token_hex(8)}.part")
                temporary.write_bytes(data)
                os.replace(temporary, path)  # a name is there only with all of its bytes
        except OSError as problem:
            raise self._cannot_be_written(problem) from None
        return name

    def _append(self, line: dict[str, Any], scrub: Scrubber = NOTHING) -> None:
        try:
            data = scrub(compact(line).encode("utf-8", "backslashreplace")) + b"\n"
        except (ValueError, RecursionError):
            return  # nothing that JSON can hold, so nothing that can be told again
        with self._lock:
            if self._handle is None:
                return
            try:
                while data:  # one write, but for a disk that is nearly full
                    data = data[os.write(self._handle, data) :]
            except OSError as problem:
                raise self._cannot_be_written(problem) from None

    def _cannot_be_written(self, problem: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"The cassette {self.name} cannot be written ({problem.strerror}).",
            hint="The call itself was made. Free some space, and record again.",
        )

    def close(self) -> None:
        """Close the file; what was recorded is on disk already."""
        with self._lock:
            if self._handle is not None:
                self._handle = None
                self._ends()

    # Reading

    def _read(self) -> None:
        self._read_lines()
        self._answers.sort()

    def _read_lines(self) -> None:
        sessions: dict[str, int] = {}
        with (self.path / TAPE).open("rb") as file:
            number = 0
            while data := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(data) > LONGEST_LINE:
                    raise self._unreadable(number, "it is too long")
                if not data.strip():
                    continue
                try:
                    self._take(_value(data), sessions, first=number == 1)
                except Unreadable as problem:
                    if not data.endswith(b"\n"):
                        return  # the recording was killed in the middle of it
                    raise self._unreadable(number, str(problem)) from None

    def _take(self, line: Any, sessions: dict[str, int], *, first: bool) -> None:  # noqa: ANN401
        if first or (isinstance(line, dict) and "cassette" in line):
            self._take_head(line)
            sessions.setdefault(str(line.get("session", "")), len(sessions))
            return
        exchange = Exchange.of_json(line)
        self._answers.add(exchange, sessions.setdefault(exchange.session, len(sessions)))

    def _take_head(self, line: Any) -> None:  # noqa: ANN401
        if not isinstance(line, dict) or "cassette" not in line:
            raise Unreadable("the tape does not begin with the line of a cassette")
        if line["cassette"] != FORMAT:
            raise Unreadable("it was written by a later version of beatra_nb; upgrade it")
        try:
            self.base_url = clean_url(line.get("base_url") or BASE_URL)
        except ConfigurationError:
            raise Unreadable("its base_url is no address") from None
        self.source = "sandbox" if line.get("source") == "sandbox" else "live"

    def _unreadable(self, number: int, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"Line {number} of {short(self.path / TAPE)} cannot be read: {what}.",
            hint="Mend or remove the line, or record the cassette again with refresh=True.",
        )


_ELSEWHERE = "Choose another folder for it: bn.record('name.cassette'), or BEATRA_CASSETTE."


def _value(data: bytes) -> Any:  # noqa: ANN401
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Unreadable("it is no JSON") from None


def _cut_torn_line(handle: int) -> None:
    """Remove the half of a line that a killed recording left."""
    end = size = os.lseek(handle, 0, os.SEEK_END)
    while end > 0:
        start = max(end - 65_536, 0)
        os.lseek(handle, start, os.SEEK_SET)
        piece = os.read(handle, end - start)
        if (found := piece.rfind(b"\n")) >= 0:
            end = start + found + 1
            break
        end = start
    if end != size:
        os.ftruncate(handle, end)


def _ending(kind: str) -> str:
    found = mimetypes.guess_extension(kind) or ""
    return found if 2 <= len(found) <= 6 and found[1:].isalnum() and found.islower() else ".bin"
