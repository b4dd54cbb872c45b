"""What kept an answer from coming, or from ending: on its way to the tape, and from there back to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from beatra_nb.core.flow import Reel
    from beatra_nb.core.scrub import Scrubber
    from beatra_nb.store.cassettes.exchange import Exchange


class TooSlow(httpx.TimeoutException):
    """The total time of a call was over."""


KINDS: dict[str, type[httpx.TransportError] | type[httpx.DecodingError]] = {
    kind.__name__: kind
    for kind in (
        TooSlow,
        httpx.ConnectTimeout,
        httpx.ReadTimeout,
        httpx.WriteTimeout,
        httpx.PoolTimeout,
        httpx.ConnectError,
        httpx.ReadError,
        httpx.WriteError,
        httpx.CloseError,
        httpx.ProxyError,
        httpx.RemoteProtocolError,
        httpx.LocalProtocolError,
        httpx.UnsupportedProtocol,
    )
}
# Of these alone the words are shown; others may quote a header.
QUOTED = (httpx.ConnectError, httpx.RemoteProtocolError)


def written(error: httpx.TransportError, scrub: Scrubber) -> tuple[str, str]:
    """Return what a tape keeps of an error: its kind, and its words."""
    kind = type(error).__name__ if type(error).__name__ in KINDS else "TransportError"
    return kind, scrub.text(str(error))[:200] if isinstance(error, QUOTED) else ""


def told(exchange: Exchange, reel: Reel) -> Exception:
    """Return the error that a tape has in an answer's place."""
    trouble = exchange.trouble
    assert trouble is not None  # noqa: S101 - asked only then
    error = KINDS.get(trouble.kind, httpx.TransportError)(trouble.text)
    reel.late = trouble.kind == TooSlow.__name__
    error.reel = reel  # type: ignore[union-attr]
    return error
