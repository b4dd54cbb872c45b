"""The names of rows: what a body is known by, and under which idempotency key it is sent.

A key follows from the run, the row and the body, so that nothing has to be written before a row is sent: a run
that was killed and goes on finds the same key again, and the service gives the answer that it has already made.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beatra_nb.core.request import ChatRequest

DIGEST = 16  # bytes: two bodies that share one are not to be expected in the life of a service


def new_run() -> str:
    """Return the name of a run that has just begun."""
    return uuid.uuid4().hex


def body_digest(request: ChatRequest) -> bytes:
    """Return what tells a row's request from others: a digest of the bytes that are sent."""
    return hashlib.blake2b(request.json, digest_size=DIGEST).digest()


def row_key(run: str, number: int, body: bytes, generation: int = 0) -> str:
    """Return the idempotency key of a row: the same each time for the same row of the same run.

    Parameters
    ----------
    run : str
        The run's name.
    number : int
        Which row it is of those that ask the same: so rows may be found in another order of the data. Where nothing
        is kept, its place in the data will do.
    body : bytes
        The digest of what is sent: another body must never come under the same key.
    generation : int
        How often the row was asked anew after a final no; such a question is a new one.

    Examples
    --------
    >>> row_key("run", 7, b"body") == row_key("run", 7, b"body")
    True
    >>> row_key("run", 7, b"body") == row_key("run", 7, b"body", generation=1)
    False
    """
    name = f"{run}/{number}/{generation}/".encode() + body
    word = hashlib.blake2b(name, digest_size=16, person=b"beatra_nb row").hexdigest()
    return f"{word[:8]}-{word[8:12]}-{word[12:16]}-{word[16:20]}-{word[20:]}"  # as all keys look


def keyed(request: ChatRequest, key: str) -> ChatRequest:
    """Return a row's request under its key."""
    return replace(request, key=key, wire_key=key)
