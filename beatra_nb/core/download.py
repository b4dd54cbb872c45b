"""Fetching a file from the address that the service gave: without the key, whole or not at all."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from beatra_nb.core import policy, seams
from beatra_nb.core.envelope import error_from
from beatra_nb.core.errors import (
    APIError,
    BeatraError,
    ConnectionFailed,
    InvalidInput,
    Timeout,
    UnexpectedResponse,
)
from beatra_nb.core.flow import READ, Answer, Call, Context, Failure, Flow, Open, Pause, Sent, failure_error
from beatra_nb.core.foreign import host_of, refused
from beatra_nb.core.ledger import Ledger
from beatra_nb.core.media_types import CONTAINERS, is_audio, sniff
from beatra_nb.core.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from beatra_nb.core.media import BaseClip
    from beatra_nb.store.audio import Part

LARGEST = 500_000_000  # bytes; no clip is as large, and a server may never stop sending
HOPS = 5  # redirects
REDIRECTS = frozenset({301, 302, 303, 307, 308})
EXPIRED = frozenset({401, 403, 404, 410})
NOTED = 262_144  # bytes between two words about how far it is


def kept_as(clip: BaseClip) -> str:
    """Return the name that a clip's audio is kept under."""
    return f"{clip.artifact_id or clip.url}#{clip.index}"


def download(context: Context, clip: BaseClip, note: Callable[[str], None]) -> Flow[bytes]:
    """Fetch the bytes of a clip.

    Raises
    ------
    BeatraError
        If they cannot be had, or are not audio; says why.
    """
    call = Call("download", "GET", "")
    deadline = context.now() + context.timeouts.total
    part = (context.files or seams.audio_files(keep=False)).part(context.place, kept_as(clip))
    try:
        with Ledger(context, call) as ledger:
            ledger.task = clip.task
            attempt = 0
            while True:
                attempt += 1
                try:
                    answer = yield from _attempt(context, clip, part, note, deadline)
                    break
                except BeatraError as error:
                    error.attempts = attempt
                    # A file is only read: asking twice does nothing twice, as if there were a key.
                    pause = policy.pause_before_retry(
                        error,
                        attempt=attempt,
                        max_attempts=context.max_attempts,
                        keyed=True,
                        asked_for=error.retry_after,
                        remaining=deadline - context.now(),
                        rand=context.rand(),
                    )
                    if pause is None:
                        raise
                yield Pause(pause)
                part.restart()
            ledger.sent(Sent(answer, attempt, deadline))
        return part.finish()
    finally:
        part.drop()


def _attempt(
    context: Context, clip: BaseClip, part: Part, note: Callable[[str], None], deadline: float
) -> Flow[Answer]:
    answer = yield from _opened(context, clip.url, deadline)
    expected = _length(answer)
    noted = 0
    while (piece := (yield READ)) is not None:
        if context.now() > deadline:
            raise Timeout(
                f"The audio was not here within {context.timeouts.total:g} s.",
                hint="Allow more time with timeout=; then clip.audio().",
            )
        if isinstance(piece, Failure):
            raise failure_error(piece)
        assert isinstance(piece, bytes)  # noqa: S101 - READ is answered so
        part.write(piece)
        if part.size > LARGEST:
            raise _odd(answer, f"more than {LARGEST // 1_000_000} MB came from the clip's address")
        if part.size - noted >= NOTED:
            noted = part.size
            far = f"{part.size / expected:.0%}" if expected else f"{part.size / 1e6:.1f} MB"
            note(f"Fetching take {clip.index} · {far}")
    if expected is not None and part.size != expected:
        raise ConnectionFailed(
            f"The audio was cut short: {part.size:,} of {expected:,} bytes came.",
            retryable=True,
            hint="clip.audio() fetches it again.",
        )
    if not part.size:
        raise _odd(answer, "the clip's address holds an empty file")
    found = sniff(part.head)
    if found is None or not (is_audio(found) or found in CONTAINERS):
        kind = answer.headers.get("content-type", "no content type").partition(";")[0]
        raise _odd(answer, f"what lies at the clip's address is not audio ({kind})")
    if expected is None and "transfer-encoding" not in answer.headers and not is_whole(part.data):
        # The end of the connection was the end of the file, and only the file itself can say if it was the right one.
        raise ConnectionFailed(
            "The audio was cut short: the file breaks off.",
            retryable=True,
            hint="clip.audio() fetches it again.",
        )
    return answer


def _opened(context: Context, url: str, deadline: float) -> Flow[Answer]:
    """Follow an address to a successful answer; each hop is checked like the first."""
    home = urlsplit(context.base_url).hostname or ""
    here = is_loopback(home)  # a sandbox's files lie on this machine
    for _ in range(HOPS + 1):
        private = here and is_loopback(host_of(url))
        if (failure := refused(url, local=private)) is not None:
            raise failure_error(failure)
        left = max(deadline - context.now(), 0.001)
        outcome = yield Open(url, context.timeouts, left, private)
        if isinstance(outcome, Failure):
            raise failure_error(outcome)
        assert isinstance(outcome, Answer)  # noqa: S101 - Open is answered so
        if outcome.status in REDIRECTS and (target := outcome.headers.get("location")):
            with suppress(ValueError):  # what cannot be joined is judged as it is
                target = urljoin(url, target)
            url = target
            continue
        if 200 <= outcome.status < 300:
            return outcome
        raise _refusal(context, outcome, ours=host_of(url) == home)
    raise ConnectionFailed(
        "The address of the audio leads round in circles.", hint="task.refresh() gets a new one."
    )


def is_whole(data: bytes) -> bool:
    """Whether a file of sound is all there, as far as it says itself."""
    from beatra_nb.core.audio import examine

    try:
        examine(data)
    except InvalidInput:
        return False
    return True


def _refusal(context: Context, answer: Answer, *, ours: bool) -> APIError:
    answer = answer.without_key(context.scrub)
    # A stranger does not speak for the service: of its refusal the status alone counts.
    body = answer.body if ours else b""
    error = error_from(answer.status, answer.headers, body)
    error.retry_after = policy.retry_after(answer.headers.get("retry-after"), context.wall())
    if answer.status in EXPIRED:
        error.message = f"The address of the audio has expired or was withdrawn ({answer.status})."
        error.args = (error.message,)
        error.hint = "task.refresh() asks the service for a new one; then clip.audio()."
    return error


def _odd(answer: Answer, what: str) -> UnexpectedResponse:
    return UnexpectedResponse(
        f"{what[0].upper()}{what[1:]}.",
        status=answer.status,
        request_id=answer.request_id,
        hint="task.refresh() asks the service for the address anew; then clip.audio().",
    )


def _length(answer: Answer) -> int | None:
    """Return how many bytes are to come, where that can be known."""
    given = answer.headers.get("content-length", "")
    if "content-encoding" in answer.headers or not given.isdecimal():
        return None
    return int(given)
