"""The program of the composer's own process: orders in, progress and results out, one JSON object a line.

Run as ``python -m beatra_nb.sandbox.music.worker``. It composes one order after another and lives on; whoever
wants to cancel an order ends the process. It ends by itself when its input does, in the middle of a piece too,
so it never outlives the server that started it. What an order and its answers hold: ``order.Order`` and
``compose.compose``.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
import time
import traceback
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TextIO

from beatra_nb.sandbox.music.order import Order, Rejected

LEAST_PAUSE = 0.3  # seconds between two lines of progress within one stage
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
NICENESS = 10  # a notebook's own work comes first


class Lines:
    """Writes JSON lines; ends the process when nobody reads them any more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stage, self._next, self._percent = "", 0.0, 0.0

    def write(self, **fields: object) -> None:
        """Write one line."""
        try:
            self._stream.write(json.dumps(fields) + "\n")
            self._stream.flush()
        except OSError:
            os._exit(0)

    def begin(self) -> None:
        """Start a new order's progress from zero."""
        self._stage, self._next, self._percent = "", 0.0, 0.0

    def progress(self, percent: float, stage: str, message: str) -> None:
        """Write progress: every stage as it begins, and within a stage a few lines a second at most."""
        self._percent = max(self._percent, min(100.0, percent))  # it never runs backwards
        now = time.monotonic()
        if stage == self._stage and now < self._next:
            return
        self._stage, self._next = stage, now + LEAST_PAUSE
        self.write(progress={"percent": round(self._percent, 1), "stage": stage, "message": message})


def main() -> None:
    """Answer orders until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the notebook, which then cancels
    with suppress(OSError, AttributeError):  # Windows has no such call
        os.nice(NICENESS)
    # One job is one core's work; and sums over several threads would not be the same to the last bit.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    lines = Lines(os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n"))
    os.dup2(2, 1)  # whatever a library prints must not mix with our lines
    orders: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in os.fdopen(0, "r", encoding="utf-8", errors="replace", closefd=False):
            if line.strip():
                orders.put(line)
        os._exit(0)  # the server is gone: what is in the making is of no use to anybody

    threading.Thread(target=read, daemon=True).start()
    while True:
        answer(orders.get(), lines)


def answer(line: str, lines: Lines) -> None:
    """Carry out one order; whatever happens, its last line is a result or an error."""
    lines.begin()
    try:
        raw = parse(line)
        from beatra_nb.sandbox.music.compose import compose

        lines.write(done=compose(Order.of(raw), lines.progress))
    except Rejected as refusal:
        lines.write(error={"code": refusal.code, "message": refusal.message, "retryable": refusal.retryable})
    except MemoryError:
        lines.write(
            error={
                "code": "internal_error",
                "message": "The composer ran out of memory. Ask for a shorter piece, or try again later.",
                "retryable": True,
            }
        )
    except OSError as problem:
        traceback.print_exc()
        lines.write(error={"code": "internal_error", "message": unwritten(problem), "retryable": True})
    except Exception as problem:  # whoever waits for the piece must hear of it, and the next order is another
        traceback.print_exc()
        lines.write(
            error={
                "code": "internal_error",
                "message": f"The composer failed ({type(problem).__name__}).",
                "retryable": True,
            }
        )


def unwritten(problem: OSError) -> str:
    """Return what to tell whoever waits for clips that could not be written."""
    if problem.errno in _FULL:
        return "The disk is full, so the composer could not write its clips. Free some space and order again."
    return f"The composer could not write its clips: {problem.strerror or problem}."


def parse(line: str) -> dict[str, Any]:
    """Return the order on a line."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        raise Rejected("The order is not JSON.", code="internal_error") from None
    if not isinstance(raw, dict):
        raise Rejected("The order is not a JSON object.", code="internal_error")
    return raw


if __name__ == "__main__":
    main()
