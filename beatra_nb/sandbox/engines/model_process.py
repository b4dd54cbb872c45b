"""The model's own process, and the thread that listens to it.

llama.cpp lives in a process of its own, not in the user's kernel: a crash there costs an answer and not a
notebook's variables, a fork of the kernel cannot hang on its locks, and stopping the sandbox gives all of its
memory back. One process serves every sandbox of this Python process; the last one to stop ends it. If it dies
it is started again by the next job.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from beatra_nb.sandbox import weights
from beatra_nb.sandbox.contract import Refusal

MAX_WAITING = 1024
STOP_TIMEOUT = 5.0

_WINDOWS_FLAGS: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(
    subprocess, "CREATE_NO_WINDOW", 0
)

# On a busy machine threads that spin while they wait for each other make an answer ten times slower.
_PATIENT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}

log = logging.getLogger("beatra_nb.sandbox")


@dataclass(frozen=True, slots=True)
class Refused:
    """The model's word that it cannot follow a request."""

    reason: str


Item = dict[str, Any] | Refused | Refusal | None
Put = Callable[[Item], None]


class ModelProcess:
    """One process that answers one job at a time, first come, first served."""

    _current: ModelProcess | None = None
    _lock = threading.Lock()

    def __init__(self, alias: str, context: int) -> None:
        self._alias, self._context = alias, context
        self._users = 0
        self._guard = threading.Lock()
        self._jobs: dict[int, Put] = {}
        self._last = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None
        self.broken = False  # it ended before it could answer: it would not fare better the next time

    @classmethod
    def acquire(cls, alias: str, context: int) -> ModelProcess:
        """Return this Python process's one, made at the first call."""
        with cls._lock:
            if cls._current is None:
                cls._current = cls(alias, context)
            cls._current._users += 1
            return cls._current

    def release(self) -> None:
        """Give it back; the last to do so ends it."""
        cls = type(self)
        with cls._lock:
            self._users -= 1
            if self._users > 0:
                return
            if cls._current is self:
                cls._current = None
        with self._guard:
            process, listener = self._process, self._listener
            self._process = self._listener = None
        if process is not None and process.stdin is not None:
            process.stdin.close()  # it ends by itself
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if listener is not None:
            listener.join(STOP_TIMEOUT)

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def submit(self, body: dict[str, Any], put: Put) -> int:
        """Queue a job; its chunks, and at the end None or what went wrong, are put from another thread.

        Raises
        ------
        Refusal
            When too many are waiting, or the process cannot be started.
        """
        with self._guard:
            if len(self._jobs) >= MAX_WAITING:
                many = "Too many answers are waiting for the model."
                raise Refusal("rate_limited", many, headers={"retry-after": "1"})
            if self._process is None or self._process.poll() is not None:
                self._fail_all()
                self._start()
            self._last += 1
            self._jobs[self._last] = put
            self._send({"job": self._last, "body": body})
            return self._last

    def cancel(self, job: int) -> None:
        """Let a job end at its next token; nothing more of it is put."""
        with self._guard:
            if self._jobs.pop(job, None) is not None:
                self._send({"cancel": job})

    def _send(self, order: dict[str, Any]) -> None:
        assert self._process is not None  # noqa: S101 - both callers have a process
        with suppress(OSError, ValueError):  # it has just died: the listener tells whoever waits
            cast("IO[bytes]", self._process.stdin).write(json.dumps(order).encode() + b"\n")

    def _start(self) -> None:
        path = weights.installed()
        if path is None:
            gone = "The model's weights are gone. Run 'beatra-nb fetch'."
            raise Refusal("model_unavailable", gone, retryable=False)
        worker = Path(__file__).with_name("model_worker.py")
        command = [sys.executable, "-P", str(worker), str(path), self._alias, str(self._context)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                # Interrupts of the notebook or terminal reach whole process groups: not this one.
                start_new_session=True,
                creationflags=_WINDOWS_FLAGS,
                env={**os.environ, **_PATIENT},
            )
        except OSError as problem:
            why = f"The model's process could not be started: {problem.strerror}."
            raise Refusal("model_unavailable", why) from None
        self._listener = threading.Thread(
            target=self._listen, args=(self._process,), name="beatra-smollm2", daemon=True
        )
        self._listener.start()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        broken, ready = "its process ended", False
        with os.fdopen(os.dup(cast("IO[bytes]", process.stdout).fileno()), "rb") as lines:
            cast("IO[bytes]", process.stdout).close()
            for line in lines:
                told = json.loads(line)
                if "job" in told:
                    self._hand_over(told)
                elif "ready" in told:
                    ready, self.broken = True, False
                    log.debug("Loaded %s in %s s.", self._alias, told["ready"])
                else:
                    broken = str(told.get("broken"))
        process.wait()
        with suppress(OSError):
            cast("IO[bytes]", process.stdin).close()
        with self._guard:
            if self._process is process or self._process is None:  # else a later one is at work already
                self.broken = not ready and self._process is process
                self._fail_all(broken)

    def _fail_all(self, why: str = "its process ended") -> None:
        left, self._jobs = self._jobs, {}
        for put in left.values():
            _put(put, Refusal("model_unavailable", f"The model failed: {why[:300]}."))

    def _hand_over(self, told: dict[str, Any]) -> None:
        number = told["job"]
        item: Item = told.get("chunk")
        if item is not None:
            put = self._jobs.get(number)
        else:
            with self._guard:
                put = self._jobs.pop(number, None)
            if "refused" in told:
                item = Refused(str(told["refused"]))
            elif "failed" in told:
                item = Refusal("model_unavailable", f"The model failed: {told['failed'][:300]}.")
        if put is not None:
            _put(put, item)

    @classmethod
    def _after_fork(cls) -> None:
        """Let go of the parent's process in a forked child, which starts one of its own when it needs one."""
        current, cls._current, cls._lock = cls._current, None, threading.Lock()
        process = current._process if current is not None else None
        if process is not None:
            process.returncode = 0  # not the child's to wait for
            if process.stdin is not None:
                process.stdin.close()  # else it would not end with the parent


def _put(put: Put, item: Item) -> None:
    with suppress(RuntimeError):  # the server's loop is closed: nobody listens any more
        put(item)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ModelProcess._after_fork)
