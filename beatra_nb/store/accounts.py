"""Telling accounts apart without keeping anything of their keys.

A job belongs to the key that began it. What is written beside it is a keyed hash of that key under a random salt
that never leaves this machine's folder: equal for equal keys here, and of no use anywhere else.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from beatra_nb.core import settings
from beatra_nb.core.settings import Secret

FILE = "salt"
SIZE = 32  # bytes
_salts: dict[Path, bytes] = {}


def tag(key: Secret) -> str:
    """Return a short name for a key's account, the same for every process of this user."""
    return hmac.new(_salt(settings.home() / FILE), key.reveal().encode(), hashlib.sha256).hexdigest()[:16]


def _salt(path: Path) -> bytes:
    if path not in _salts:
        _salts[path] = _read(path) or _made(path)
    return _salts[path]


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        salt = path.read_bytes()
        return salt if len(salt) == SIZE else b""
    return b""


def _made(path: Path) -> bytes:
    """Make the salt; of several kernels that try at once, one wins."""
    salt = secrets.token_bytes(SIZE)
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix="salt-", dir=path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(salt)
            try:
                os.link(temporary, path)  # it is whole when it has its name, and it never takes another's
            except OSError:
                if not _read(path):  # what is there was cut short, or this file system has no links
                    os.replace(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
    return _read(path) or salt
