"""Wishes as the HTTP library's requests, and its answers and exceptions as plain words.

Its exceptions hold the request, and the request holds the key: nothing of them goes on from here but a sentence.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import httpx

from beatra_nb.core.flow import Answer, Failure, Open, Reel, Send

if TYPE_CHECKING:
    from beatra_nb.core.scrub import Scrubber
    from beatra_nb.core.settings import Timeouts

TOO_SLOW = Failure("The answer was not whole in the time there was for the whole call.", timeout=True)


def request(
    http: httpx.Client | httpx.AsyncClient, base_url: str, wish: Send, file: BinaryIO | None, over: float
) -> httpx.Request:
    """Return the request for a call, whose time is over at a moment of the monotonic clock."""
    call, times = wish.call, wish.timeouts
    headers = {}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    if call.key is not None:
        headers["Idempotency-Key"] = call.key
    if call.stream:
        headers["Accept"] = "text/event-stream, application/json"
    body: dict[str, Any] = {"content": call.body}
    if call.form is not None:
        part = (call.form.name, file, call.form.media_type)
        body = {"data": call.form.fields, "files": {"file": part}}
    return http.build_request(
        call.method,
        _url(base_url + call.path),
        headers=headers,
        timeout=_timeout(times),
        extensions={"over": over},  # a recording says why an answer did not come
        **body,
    )


def file_of(wish: Send) -> contextlib.AbstractContextManager[BinaryIO | None]:
    """Open the file that is to be sent, anew for each attempt."""
    form = wish.call.form
    return contextlib.closing(form.open()) if form is not None else contextlib.nullcontext()


def foreign_request(http: httpx.Client | httpx.AsyncClient, wish: Open, over: float) -> httpx.Request:
    """Return the request for an address outside the API."""
    return http.build_request("GET", wish.url, timeout=_timeout(wish.timeouts), extensions={"over": over})


@functools.lru_cache(maxsize=64)
def _url(address: str) -> httpx.URL:
    return httpx.URL(address)  # taking an address apart is a tenth of a quick call


@functools.lru_cache(maxsize=64)
def _timeout(times: Timeouts) -> httpx.Timeout:
    return httpx.Timeout(times.read, connect=times.connect, pool=times.connect)


def stays_open(response: httpx.Response, wish: Send | Open) -> bool:
    """Whether an answer is to be read piece by piece."""
    if isinstance(wish, Open):
        return response.is_success
    kind = response.headers.get("content-type", "")
    return wish.call.stream and response.is_success and kind.lower().startswith("text/event-stream")


def answer(response: httpx.Response, body: bytes = b"", *, stays_open: bool = False) -> Answer:
    """Return an answer without the HTTP library's objects."""
    # httpx looks each name up by a walk over all of them; the raw pairs are read once.
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw
    }
    return Answer(response.status_code, headers, body, stays_open, response.extensions.get("reel"))


def failure(error: Exception, scrub: Scrubber) -> Failure:
    """Put an exception of the client library into plain words."""
    reel = reel_of(error)
    if reel is None:
        return _in_words(error, scrub)
    return replace(TOO_SLOW if reel.late else _in_words(error, scrub), reel=reel)


def reel_of(error: Exception) -> Reel | None:
    """Return what a tape knows of an exchange that failed."""
    reel = getattr(error, "reel", None)
    return reel if isinstance(reel, Reel) else None


def _in_words(error: Exception, scrub: Scrubber) -> Failure:
    text = scrub.text(str(error))  # before it is cut, or half of a key would stay
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return Failure("No connection could be made in time.", timeout=True, sent=False)
        case httpx.TimeoutException():
            return Failure("The service fell silent and did not answer in time.", timeout=True)
        case httpx.ConnectError() if "CERTIFICATE_VERIFY_FAILED" in text:
            return Failure(
                "The service's certificate could not be verified.",
                retryable=False,
                hint="Behind a company proxy, set SSL_CERT_FILE to its CA bundle.",
                sent=False,
            )
        case httpx.ProxyError():
            hint = "Check HTTPS_PROXY and NO_PROXY."
            return Failure("The proxy refused the connection.", hint=hint, sent=False)
        case httpx.ConnectError():
            return Failure(f"No connection could be made ({text[:160] or 'refused'}).", sent=False)
        case httpx.RemoteProtocolError():
            return Failure(f"The connection was cut off ({text[:160]}).")
        case httpx.DecodingError():
            return Failure("The answer could not be decoded (its compression is broken).", retryable=False)
        case httpx.NetworkError():
            return Failure("The connection was reset.")
        case _:
            # Never str(error) here: an illegal header's message quotes the header.
            return Failure(f"The request could not be sent ({type(error).__name__}).", retryable=False)
