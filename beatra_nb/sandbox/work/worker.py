"""One worker process: takes an order, tells how far it is, and gives back what it made.

The process lives in a session of its own, so that an interrupt of the notebook does not reach it, and it ends by
itself when its stdin does: also when this process is killed and has no time to say goodbye.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from beatra_nb.core.settings import bare_environment

PROGRAM = "beatra_nb.sandbox.music.worker"
STOP_TIMEOUT = 2.0

_ROOT = str(Path(__file__).parents[3])

# -P keeps the folder that a notebook lies in off the path: a numpy.py there is no concern of ours. This package is
# found where this very process found it.
_START = """
import runpy, sys
sys.path.append(sys.argv.pop(1))
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
_WINDOWS_FLAGS: int = (
    getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    | getattr(subprocess, "CREATE_NO_WINDOW", 0)
    | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
)


class WorkerDied(Exception):
    """The process ended in the middle of an order, or said something that cannot be read."""


class Worker:
    """A process that does one order at a time."""

    def __init__(self, program: str = PROGRAM) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            [sys.executable, "-P", "-c", _START, _ROOT, program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
            # No key of the user's, and nothing else that is not the composer's business.
            env=bare_environment(),
            creationflags=_WINDOWS_FLAGS,
        )
        self._lines = io.BufferedReader(cast("io.FileIO", self._process.stdout))
        self._ending = threading.Lock()
        self.heard = time.monotonic()
        _workers.add(self)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def work(self, order: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Give an order and yield what the process tells; the last has ``done`` or ``error``.

        Raises
        ------
        WorkerDied
            When it ends before that.
        """
        self.heard = time.monotonic()
        try:
            left = memoryview(json.dumps(order).encode() + b"\n")
            while left:  # a pipe takes what fits
                left = left[cast("io.FileIO", self._process.stdin).write(left) or 0 :]
            for line in self._lines:
                self.heard = time.monotonic()
                told = json.loads(line)
                yield told
                if "done" in told or "error" in told:
                    return
        except (OSError, ValueError) as problem:
            raise WorkerDied(f"{type(problem).__name__}: {problem}") from None
        raise WorkerDied("its process ended")

    def kill(self) -> None:
        """End the process now, in the middle of whatever it does; from any thread."""
        with suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """Let an idle process end; kill it if it does not."""
        with self._ending:
            with suppress(OSError, ValueError):
                cast("io.FileIO", self._process.stdin).close()
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.kill()
                self._process.wait()
            with suppress(OSError, ValueError):
                self._lines.close()


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


def _after_fork() -> None:
    """Let go of the parent's workers in a forked child: else they would not notice the parent's end."""
    for worker in list(_workers):
        process = worker._process
        process.returncode = 0  # not the child's to wait for
        with suppress(OSError):
            cast("io.FileIO", process.stdin).close()
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
