"""Who works on tasks: sandboxes of one folder, in one process or in several, and how one is seen to be gone.

Each instance that works has a row with a beat that it moves as long as it does. A row whose process is gone is gone
at once. Where that cannot be told (another machine's, or a process id that has been given to somebody else), a beat
that stood still for ``LEASE`` seconds of the watcher's own clock decides: a laptop that slept, or a clock that was
set, fools nobody.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import time
from collections.abc import Callable

from beatra_nb.sandbox.state import tasks
from beatra_nb.sandbox.state.sql import transaction
from beatra_nb.sandbox.state.tasks import Job

LEASE = 15.0

_here: set[str] = set()  # the instances of this process


def enter(db: sqlite3.Connection, instance: str) -> None:
    """Write an instance's row; again after it was taken for gone."""
    _here.add(instance)
    db.execute(
        "INSERT OR IGNORE INTO instances (id, pid, host, beat) VALUES (?, ?, ?, 0)",
        (instance, os.getpid(), platform.node()),
    )


def claim(db: sqlite3.Connection, instance: str) -> Job | None:
    """Take the task that has waited longest, or None; who takes one is known to live from then on."""
    if not tasks.waiting(db):
        return None  # the usual case takes no lock
    with transaction(db):
        enter(db, instance)
        return tasks.claim(db, instance)


def beat(db: sqlite3.Connection, instance: str) -> None:
    """Show that an instance lives."""
    done = db.execute("UPDATE instances SET beat = beat + 1 WHERE id = ?", (instance,))
    if done.rowcount == 0:
        enter(db, instance)


def leave(db: sqlite3.Connection, instance: str) -> None:
    """Take an instance's row away, and put what it still had back into the queue."""
    with transaction(db):
        tasks.requeue(db, instance)
        db.execute("DELETE FROM instances WHERE id = ?", (instance,))
    _here.discard(instance)


class Watch:
    """Notices other instances that are gone, and requeues what they worked on."""

    def __init__(self, instance: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._instance, self._clock = instance, clock
        self._seen: dict[str, tuple[int, float]] = {}  # beat, and since when it stands

    def look(self, db: sqlite3.Connection) -> int:
        """Requeue the tasks of every instance that is gone; return how many tasks that were."""
        rows = db.execute("SELECT * FROM instances WHERE id != ?", (self._instance,)).fetchall()
        gone = [row["id"] for row in rows if self._is_gone(row)]
        self._seen = {row["id"]: self._seen[row["id"]] for row in rows if row["id"] in self._seen}
        count = 0
        for each in gone:
            with transaction(db):
                count += tasks.requeue(db, each)
                db.execute("DELETE FROM instances WHERE id = ?", (each,))
        return count

    def _is_gone(self, row: sqlite3.Row) -> bool:
        if row["host"] == platform.node():
            if row["pid"] == os.getpid():
                return row["id"] not in _here
            if not alive(row["pid"]):
                return True
        now = self._clock()
        known, since = self._seen.get(row["id"], (None, now))
        if known != row["beat"]:
            known, since = row["beat"], now
        self._seen[row["id"]] = (row["beat"], since)
        return now - since > LEASE


def alive(pid: int) -> bool:
    """Whether a process with this id runs on this machine."""
    if sys.platform == "win32":
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x0010_0000, False, pid)  # SYNCHRONIZE
        if not handle:
            return False
        try:
            # 0x102 is WAIT_TIMEOUT: it has not ended.
            return bool(ctypes.windll.kernel32.WaitForSingleObject(handle, 0) == 0x102)
        finally:
            ctypes.windll.kernel32.CloseHandle(handle)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _after_fork() -> None:
    _here.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
