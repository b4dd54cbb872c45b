"""What is not kept for ever: files beyond a size or an age, oldest first, and what crashes left lying about."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import time
from contextlib import suppress
from pathlib import Path

from beatra_nb.sandbox.state import answers
from beatra_nb.sandbox.state.sql import now

KEEP_BYTES = 1024**3
KEEP_DAYS = 30
ORPHAN_SECONDS = (
    3600  # a file that no row names may be an upload in progress; not after that time without a byte
)

# Exactly the names that uploads and tasks make: whatever else lies in the folder is somebody else's.
_ULID = "[0-9A-HJKMNP-TV-Z]{26}"
_FILE = re.compile(rf"art_{_ULID}\.upload|upload\.[0-9a-f]{{16}}\.part")
_ATTEMPT = re.compile(rf"task_{_ULID}\.[0-9a-f]{{8}}")
_CLIP = re.compile(r"[0-9]{1,2}\.[a-z0-9]{1,5}(\.part)?")
_DAY = 24 * 3600 * 1_000_000


def tidy(
    db: sqlite3.Connection, files: Path, *, keep_bytes: int = KEEP_BYTES, keep_days: float = KEEP_DAYS
) -> None:
    """Remove what has had its time; rows stay, and say that their file has expired."""
    answers.forget_old(db)
    _expire(db, files, keep_bytes, now() - int(keep_days * _DAY))
    _sweep(db, files)


def _expire(db: sqlite3.Connection, files: Path, keep_bytes: int, oldest: int) -> None:
    kept = 0
    # Newest first: what fits stays. A file that an unfinished task refers to stays in any case.
    rows = db.execute(
        "SELECT id, path, bytes, created, EXISTS (SELECT 1 FROM tasks WHERE reference = artifacts.id "
        "AND status IN ('queued', 'running')) AS needed "
        "FROM artifacts WHERE expired IS NULL ORDER BY created DESC, id DESC"
    ).fetchall()
    for row in rows:
        kept += row["bytes"]
        if row["needed"] or (kept <= keep_bytes and row["created"] >= oldest):
            continue
        db.execute("UPDATE artifacts SET expired = ? WHERE id = ?", (now(), row["id"]))
        path = files / row["path"]
        with suppress(OSError):
            path.unlink()
        if path.parent != files:
            with suppress(OSError):
                path.parent.rmdir()  # not while another take lies in it


def _sweep(db: sqlite3.Connection, files: Path) -> None:
    """Remove what no row names: the leavings of processes that were killed."""
    old = time.time() - ORPHAN_SECONDS
    named = {
        row[0].partition("/")[0] for row in db.execute("SELECT path FROM artifacts WHERE expired IS NULL")
    }
    running = {row[0] for row in db.execute("SELECT id FROM tasks WHERE status = 'running'")}
    for path in files.iterdir():
        if path.name in named or path.name.partition(".")[0] in running:
            continue
        with suppress(OSError):
            about = os.lstat(path)
            if about.st_mtime > old:
                continue
            if stat.S_ISREG(about.st_mode) and _FILE.fullmatch(path.name):
                path.unlink()
            elif stat.S_ISDIR(about.st_mode) and _ATTEMPT.fullmatch(path.name):
                for clip in path.iterdir():
                    if _CLIP.fullmatch(clip.name):
                        clip.unlink()
                path.rmdir()  # not while anything else lies in it
