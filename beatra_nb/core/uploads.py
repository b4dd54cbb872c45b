"""Sending a file: once, hashed on the way, and not again when the service has the very same bytes already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from beatra_nb.core.envelope import unexpected
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.flow import Call, Context, Flow, Form, send
from beatra_nb.core.ledger import Ledger
from beatra_nb.core.media import Artifact
from beatra_nb.core.music import MusicRequest, checked_metadata
from beatra_nb.core.policy import check_key, derived_key, new_key
from beatra_nb.core.request import encode
from beatra_nb.core.resources import read_json

if TYPE_CHECKING:
    from beatra_nb.core.sources import Source

UPLOADS = "/uploads"
PIECE = 524_288  # bytes
SLOWEST = 16_384  # bytes a second that an upload is waited for


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """An upload, checked."""

    source: Source
    purpose: str
    metadata: dict[str, Any]
    key: str
    fresh: bool

    @classmethod
    def of(
        cls,
        source: object,
        *,
        purpose: str = "media_input",
        media_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        fresh: bool = False,
        idempotency_key: str | None = None,
    ) -> UploadRequest:
        """Check what the user passed.

        Raises
        ------
        InvalidInput
            If it could not succeed; the message says how to mend it.
        """
        from beatra_nb.core.sources import source_of

        if not isinstance(purpose, str) or not purpose.strip():
            raise InvalidInput(
                f"purpose must be 'media_input' or 'reference_audio', not {purpose!r:.60}.",
                hint="'reference_audio' is for music that shall follow it.",
            )
        said = {} if metadata is None else checked_metadata(metadata)
        # As it is on the wire: a name that is no text is a text there.
        said = json.loads(encode({"purpose": purpose, "metadata": said}))["metadata"]
        key = new_key() if idempotency_key is None else check_key(idempotency_key)
        checked = source_of(source, purpose=purpose, media_type=media_type)  # type: ignore[arg-type]
        return cls(checked, purpose.strip(), said, key, fresh)

    @classmethod
    def of_reference(cls, request: MusicRequest, *, fresh: bool = False) -> UploadRequest:
        """Return the upload of a music request's reference; its key follows from the request's."""
        assert request.source is not None  # noqa: S101 - asked only then
        key = derived_key(request.key, "fresh reference" if fresh else "reference")
        return cls(request.source, "reference_audio", {}, key, fresh)


class Metered:
    """A reader that hashes what is read, in a thread of its own, and tells how much it was."""

    def __init__(self, reader: BinaryIO, progress: Callable[[int], None]) -> None:
        self._reader = reader
        self._progress = progress
        # Hashing takes a third of the time of a fast connection; the interpreter's lock is free meanwhile.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="beatra-hash")
        self._restart()

    def _restart(self) -> None:
        self._hash = hashlib.sha256()
        self._hashing: Future[None] | None = None
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, more than were asked for: few large pieces go faster than many small ones."""
        data = self._reader.read(max(size, PIECE))
        if self._hashing is not None:
            self._hashing.result()  # no more than one piece waits
        self._hashing = self._thread.submit(self._hash.update, data)
        self._read += len(data)
        self._progress(self._read)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move; whoever goes back to the beginning reads, and hashes, anew."""
        self._finish()
        self._restart()
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        """Return where the reader stands."""
        return self._reader.tell()

    def close(self) -> None:
        """Close the file."""
        self._finish()
        self._thread.shutdown()
        self._reader.close()

    def _finish(self) -> None:
        if self._hashing is not None:
            self._hashing.result()

    @property
    def count(self) -> int:
        """How many bytes were read."""
        return self._read

    @property
    def sha256(self) -> str:
        """The hash of what was read."""
        self._finish()
        return self._hash.hexdigest()


def upload(context: Context, request: UploadRequest, progress: Callable[[int], None]) -> Flow[Artifact]:
    """Send a file, or find that the service has it."""
    source = request.source
    if (known := _known(context, request)) is not None:
        return known
    readers: list[Metered] = []

    def reader() -> Any:  # noqa: ANN401 - as much of a file as is needed
        readers.append(Metered(source.open(), progress))
        return readers[-1]

    fields = {"purpose": request.purpose, "media_type": source.media_type}
    if request.metadata:
        fields["metadata"] = json.dumps(request.metadata, ensure_ascii=False)
    form = Form(fields, source.name, source.media_type, reader, patience=source.size / SLOWEST)
    call = Call("upload", "POST", UPLOADS, key=request.key, form=form)
    with Ledger(context, call) as ledger:
        sent = yield from send(context, call)
        ledger.sent(sent)
        body = read_json(sent.answer)
        from beatra_nb.core.models import UploadWire

        wire = UploadWire.model_validate(body)
        ident = wire.artifact_id or wire.id
        if not ident:
            answer = sent.answer
            raise unexpected(answer.status, answer.headers, answer.body, "without an artifact id in its body")
    artifact = Artifact(
        id=ident,
        url=wire.url or wire.cdn_url,
        media_type=wire.media_type or source.media_type,
        purpose=wire.purpose or request.purpose,
        size=source.size,
        # A service may answer before it has read everything.
        sha256=readers[-1].sha256 if readers[-1].count == source.size else source.sha256(),
        name=source.name,
        duration=source.duration,
        request_id=sent.answer.request_id,
        sandbox=sent.answer.sandbox,
        recorded=sent.answer.recorded,
        metadata=request.metadata,
        elapsed=ledger.elapsed(),
        raw=body,
    )
    if context.jobs is not None:
        context.jobs.keep_upload(
            context.place,
            size=artifact.size,
            metadata=request.metadata,
            time=context.wall(),
            sandbox=artifact.sandbox,
            sha256=artifact.sha256,
            purpose=request.purpose,
            artifact_id=artifact.id,
            url=artifact.url,
            media_type=source.media_type,
        )
    return artifact


def _known(context: Context, request: UploadRequest) -> Artifact | None:
    """Return the artifact of the very same bytes. The hash is made first only where the size says it may be."""
    source = request.source
    if request.fresh or context.jobs is None:
        return None
    same = [
        known
        for known in context.jobs.uploaded(context.place, source.size)
        if (known.purpose, known.media_type, known.metadata)
        == (request.purpose, source.media_type, request.metadata)
    ]
    if not same:
        return None
    digest = source.sha256()
    for known in same:
        if known.sha256 == digest:
            return Artifact(
                id=known.artifact_id,
                url=known.url,
                media_type=known.media_type,
                purpose=known.purpose,
                size=source.size,
                sha256=digest,
                name=source.name,
                duration=source.duration,
                reused=True,
                sandbox=known.sandbox,
                metadata=request.metadata,
            )
    return None
