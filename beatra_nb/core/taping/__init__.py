"""Recording and replaying, as transports of the HTTP library: the client above cannot tell.

``Recording`` stands before a real transport, and writes down what passes. ``Replaying`` stands in place of one, and
opens no connection. Both hand out a ``Reel`` with each answer: the moment of the exchange and how long it took, as
the tape has them. Whatever is shown of an answer is taken from there in both, so that a notebook shows the same to
the byte, recorded or replayed.

    tape.py        what a client records to or replays from: the cassette, the pace, a clock of its own
    asking.py      what a request asks, as a tape has it
    recording.py   a transport that writes down what passes
    replaying.py   a transport that answers from the tape
    troubles.py    what kept an answer from coming, on its way to the tape and back
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from beatra_nb.core.taping.recording import AsyncRecording, Recording
from beatra_nb.core.taping.replaying import Replaying

if TYPE_CHECKING:
    from beatra_nb.core.taping.asking import Place


def instead(place: Place) -> dict[str, Any]:
    """Return the options with which one of httpx's clients replays; none where it does not."""
    return {"transport": Replaying(place), "trust_env": False} if place.tape.replays else {}


def record(http: httpx.Client | httpx.AsyncClient, place: Place) -> None:
    """Have one of httpx's clients record what it does, also through proxies."""
    if place.tape.replays:
        return
    wrap: Any = AsyncRecording if isinstance(http, httpx.AsyncClient) else Recording
    # Passed as an argument, a transport would keep httpx from looking for proxies; so it is put before those made.
    http._transport = wrap(http._transport, place)
    for pattern, inner in http._mounts.items():
        if inner is not None:
            http._mounts[pattern] = wrap(inner, place)
