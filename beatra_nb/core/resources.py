"""One place per endpoint: how its call is built, and how its answer is read.

Each function here is a flow (see ``flow``); to add an endpoint is to add one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from beatra_nb.core import repair
from beatra_nb.core.assemble import Assembler, BadChunk
from beatra_nb.core.envelope import unexpected
from beatra_nb.core.errors import (
    APIError,
    BeatraError,
    ConnectionFailed,
    IncompleteStream,
    Interrupted,
    InvalidData,
    NotFound,
    Timeout,
)
from beatra_nb.core.flow import DRAIN, READ, Answer, Call, Context, Failure, Flow, Sent, failure_error, send
from beatra_nb.core.ledger import Ledger
from beatra_nb.core.lenient import load
from beatra_nb.core.reply import (
    Capability,
    CapabilityList,
    Health,
    ModelInfo,
    ModelList,
    Reply,
    ToolCall,
    Usage,
)
from beatra_nb.core.request import ChatRequest, encode, parse_data
from beatra_nb.core.scrub import NOTHING
from beatra_nb.core.sse import EventTooLarge, SSEDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from beatra_nb.core.models import UsageWire
    from beatra_nb.core.scrub import Scrubber

CHAT = "/chat/completions"
# The service no longer offers the pinned model: the moment for ``fallback="auto"``.
MODEL_GONE = frozenset({"model_unavailable", "unsupported_model"})


# ── chat ──


def chat(context: Context, request: ChatRequest) -> Flow[Reply]:
    """Ask, and wait for the whole answer."""
    return (yield from _fitting(context, request, _chat_once))


def stream(context: Context, request: ChatRequest, growing: Growing) -> Flow[Reply]:
    """Ask, and hand out the answer while it grows; ``growing`` knows it so far at every moment.

    An answer that does not fit its schema is asked for again in one piece: ``growing`` ends with the better one.
    """

    def once(context: Context, request: ChatRequest) -> Flow[Reply]:
        return _stream_once(context, request, growing)

    try:
        reply = yield from _fitting(context, request, once)
    except InvalidData as error:
        if error.reply.repairs:
            growing.settle(error.reply)
        raise
    return growing.settle(reply) if reply.repairs else reply


def _fitting(context: Context, request: ChatRequest, once: repair.Once) -> Flow[Reply]:
    """Ask for an answer; one of a shape in words if need be, and again if it does not fit."""
    if request.shape is None:
        return (yield from _with_fallback(context, request, once))
    answered = request  # it may be asked of another model, and in words

    def noted(context: Context, request: ChatRequest) -> Flow[Reply]:
        nonlocal answered
        answered = request
        return once(context, request)

    def asked(context: Context, request: ChatRequest) -> Flow[Reply]:
        return repair.asked(context, request, noted)

    try:
        return (yield from _with_fallback(context, request, asked))
    except InvalidData as error:
        misfit = error
    return (yield from repair.repaired(context, answered, misfit, _chat_once))


def _with_fallback(context: Context, request: ChatRequest, once: repair.Once) -> Flow[Reply]:
    if request.fallback is not None and request.model != "auto":
        try:
            return (yield from once(_impatient(context), request))
        except APIError as error:
            if error.code not in MODEL_GONE:
                raise
        request = request.falling_back()
    try:
        return (yield from once(context, request))
    except APIError as error:
        if error.code == "model_unavailable" and request.model == "auto":
            error.hint = "No model could answer just now: try again in a moment."
        raise


def _impatient(context: Context) -> Context:
    """Where another model may answer, a model that is gone is not waited for; all else is tried again."""
    return replace(context, give_up_on=MODEL_GONE)


def _chat_once(context: Context, request: ChatRequest) -> Flow[Reply]:
    call = Call(
        "chat", "POST", CHAT, request.json, request.wire_key, repeat_with=request.key, label=request.label
    )
    with Ledger(context, call, request.model) as ledger:
        sent = yield from send(context, call)
        ledger.sent(sent)
        reply = _reply(sent, read_json(sent.answer), request, ledger.elapsed())
        ledger.reply = reply  # paid for, whatever the parsing finds
        return _with_data(reply, request)


class Growing:
    """A streamed answer while it grows: what a flow and whoever iterates over it share.

    Attributes
    ----------
    final : Reply or None
        The answer once nothing more will come: whole, or cut short and marked so.
    """

    def __init__(self, request: ChatRequest, keep: Callable[[Reply], None] = lambda reply: None) -> None:
        self.request = request
        self._keep = keep
        self.sent: Sent | None = None
        self.assembler = Assembler()
        self.final: Reply | None = None
        self._elapsed: Callable[[], float] = lambda: 0.0
        self._scrub = NOTHING

    def begin(self, sent: Sent, request: ChatRequest, elapsed: Callable[[], float], scrub: Scrubber) -> None:
        """Take note of the answer's head."""
        self.sent, self.request, self._elapsed, self._scrub = sent, request, elapsed, scrub

    def settle(self, reply: Reply) -> Reply:
        """Take the answer as it will stay, and pass it on to whoever keeps it."""
        self.final = reply
        self._keep(reply)
        return reply

    def reply(self, cut_by: str | None = None) -> Reply:
        """Return the answer: whole once it is, else what has arrived, marked."""
        if self.final is not None:
            return self.final
        body = self.assembler.completion(self._scrub)
        if self.sent is None:
            return Reply(
                "",
                complete=False,
                asked_model=self.request.asked,
                idempotency_key=self.request.key,
                cut_by=cut_by or "the answer has not begun",
            )
        reply = _reply(self.sent, body, self.request, self._elapsed())
        if self.assembler.done:
            return reply
        return reply.with_(complete=False, cut_by=cut_by or "it is still growing")


def _stream_once(context: Context, request: ChatRequest, growing: Growing) -> Flow[Reply]:
    body = {"stream_options": {"include_usage": True}, **request.body, "stream": True}
    call = Call(
        "stream",
        "POST",
        CHAT,
        encode(body),
        request.wire_key,
        stream=True,
        repeat_with=request.key,
        label=request.label,
    )
    with Ledger(context, call, request.model) as ledger:
        sent = yield from send(context, call)
        ledger.sent(sent)
        growing.begin(sent, request, ledger.elapsed, context.scrub)
        if not sent.answer.open:
            ledger.reply = reply = growing.settle(_whole_instead(sent, request, ledger.elapsed()))
            yield reply.text
            return growing.settle(_with_data(reply, request))
        try:
            cause = yield from _read_stream(context, sent, growing.assembler)
        except (KeyboardInterrupt, GeneratorExit) as stop:
            ledger.reply = partial = growing.settle(growing.reply("you stopped it"))
            if isinstance(stop, Interrupted):
                stop.reply = partial
            raise
        except BaseException:  # a cancelled coroutine: the partial answer still goes to the journal
            ledger.reply = growing.settle(growing.reply("it was cancelled"))
            raise
        if cause is not None:
            cut_by = cause.message.rstrip(".")
            ledger.reply = partial = growing.settle(growing.reply(cut_by))
            raise IncompleteStream(
                f"The answer was cut short: {cut_by}.",
                reply=partial,
                cause=cause,
                request_id=sent.answer.request_id,
                retryable=cause.retryable,
                attempts=sent.attempts,
                idempotency_key=request.key,
                hint="What had arrived is in the error's .reply; do not act on it as if it were whole.",
            ) from (cause if isinstance(cause, APIError) else None)
        ledger.reply = reply = growing.settle(growing.reply())
        return growing.settle(_with_data(reply, request))


def _whole_instead(sent: Sent, request: ChatRequest, elapsed: float) -> Reply:
    """Read what came in place of a stream: a whole answer was paid for, and is as good; all else is an error."""
    answer = sent.answer
    kind = answer.headers.get("content-type", "no content type")
    if "json" not in kind:
        what = f"not with the event stream that was asked for ({kind})"
        raise unexpected(answer.status, answer.headers, answer.body, what)
    return _reply(sent, read_json(answer), request, elapsed)


def _with_data(reply: Reply, request: ChatRequest) -> Reply:
    """Return the reply with what its text says, where a schema was asked for (and no tool in place of a text)."""
    if request.shape is None or reply.tool_calls:
        return reply
    return reply.with_(data=parse_data(reply, request.shape))


def _read_stream(context: Context, sent: Sent, assembler: Assembler) -> Flow[BeatraError | None]:
    """Read until ``[DONE]``; return what cut the stream short, or None."""
    decoder = SSEDecoder()
    while True:
        if context.now() > sent.deadline:
            return Timeout(f"the answer was not whole within {context.timeouts.total:g} s", retryable=True)
        piece = yield READ
        if isinstance(piece, Failure):
            return failure_error(piece)
        try:
            for data in decoder.feed(piece) if isinstance(piece, bytes) else decoder.end():
                if text := assembler.take(context.scrub(data)):
                    yield text
                if assembler.done:
                    yield DRAIN
                    return None
        except APIError as error:
            error.request_id = error.request_id or sent.answer.request_id
            return error
        except (BadChunk, EventTooLarge) as error:
            if piece is None:
                break  # the end of the stream cut its last event in two
            return ConnectionFailed(f"an event of the stream could not be read ({str(error)[:120]!r})")
        if piece is None:
            break
    return ConnectionFailed("the connection ended before the service said [DONE]", retryable=True)


def _reply(sent: Sent, body: dict[str, Any], request: ChatRequest, elapsed: float) -> Reply:
    from pydantic import ValidationError

    from beatra_nb.core.models import CompletionWire

    answer = sent.answer
    try:
        wire = CompletionWire.model_validate(body)
        first = wire.choices[0]
    except (ValidationError, IndexError):
        raise unexpected(
            answer.status, answer.headers, answer.body, "without a chat answer in its body"
        ) from None
    return Reply(
        text=first.message.content,
        model=wire.model,
        request_id=answer.request_id,
        usage=_usage(wire.usage),
        finish_reason=first.finish_reason,
        elapsed=elapsed,
        attempts=sent.attempts,
        tool_calls=tuple(_tool_call(call) for call in first.message.tool_calls),
        choices=tuple(choice.message.content for choice in wire.choices),
        asked_model=request.asked,
        fallback=request.model != request.asked,
        sandbox=answer.sandbox,
        recorded=answer.recorded,
        idempotency_key=request.key,
        raw=body,
    )


def _usage(wire: UsageWire | None) -> Usage | None:
    if wire is None:
        return None
    return Usage(
        wire.prompt_tokens,
        wire.completion_tokens,
        wire.total_tokens or wire.prompt_tokens + wire.completion_tokens,
        wire.credits,
        wire.credits_usd_reference,
    )


def _tool_call(call: dict[str, Any]) -> ToolCall:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    return ToolCall(
        str(call.get("id") or ""), str(function.get("name") or ""), str(function.get("arguments") or "")
    )


def read_json(answer: Answer) -> dict[str, Any]:
    """Return an answer's body as a JSON object.

    Raises
    ------
    UnexpectedResponse
        If it is something else: a proxy's page, cut JSON, nothing at all.
    """
    if not answer.body.strip():
        raise unexpected(answer.status, answer.headers, answer.body, "with an empty body")
    try:
        body = load(answer.body)
    except (ValueError, RecursionError):
        kind = answer.headers.get("content-type", "").partition(";")[0]
        what = (
            "with broken JSON"
            if kind == "application/json"
            else f"not with JSON ({kind or 'no content type'})"
        )
        raise unexpected(answer.status, answer.headers, answer.body, what) from None
    if not isinstance(body, dict):
        raise unexpected(answer.status, answer.headers, answer.body, "with JSON that is no object")
    return body


# ── catalog and health ──


def models(context: Context) -> Flow[ModelList]:
    """List the account's models, with what the catalog knows of them where it is served."""
    try:
        sent, entries = yield from _listing(context, "models", "/catalog/models")
    except NotFound:
        sent, entries = yield from _listing(context, "models", "/models")
    items = [
        ModelInfo(
            id=entry["id"],
            owned_by=_word(entry.get("owned_by")),
            status=_word(entry.get("status")),
            capabilities=_words(entry.get("capabilities")),
            modalities=_words(entry.get("modalities")),
            raw=entry,
        )
        for entry in entries
        if isinstance(entry.get("id"), str)
    ]
    answer = sent.answer
    return ModelList(items, request_id=answer.request_id, sandbox=answer.sandbox, recorded=answer.recorded)


def capabilities(context: Context) -> Flow[CapabilityList]:
    """List what the API can do."""
    sent, entries = yield from _listing(context, "capabilities", "/catalog/capabilities")
    items = [
        Capability(
            id=_word(entry.get("id") or entry.get("capability") or entry.get("name")),
            status=_word(entry.get("status") or entry.get("release_status")).capitalize(),
            description=_word(entry.get("description")),
            raw=entry,
        )
        for entry in entries
    ]
    answer = sent.answer
    return CapabilityList(
        items, request_id=answer.request_id, sandbox=answer.sandbox, recorded=answer.recorded
    )


def health(context: Context) -> Flow[Health]:
    """Ask whether the service is well; whatever it answers but ``ok`` means it is not."""
    call = Call("health", "GET", "/health")
    with Ledger(context, call) as ledger:
        try:
            sent = yield from send(context, call)
            ledger.sent(sent)
            status = _word(read_json(sent.answer).get("status"))
            request_id, sandbox = sent.answer.request_id, sent.answer.sandbox
            recorded = sent.answer.recorded
        except APIError as error:
            ledger.failed(error)
            status, request_id, sandbox = error.code or f"HTTP {error.status}", error.request_id, False
            recorded = None
    return Health(
        ok=status == "ok",
        status=status or "unknown",
        base_url=context.base_url,
        elapsed=ledger.elapsed(),
        request_id=request_id,
        sandbox=sandbox,
        recorded=recorded,
    )


def _listing(context: Context, verb: str, path: str) -> Flow[tuple[Sent, list[dict[str, Any]]]]:
    call = Call(verb, "GET", path)
    with Ledger(context, call) as ledger:
        sent = yield from send(context, call)
        ledger.sent(sent)
        data = read_json(sent.answer).get("data")
        if not isinstance(data, list):
            what = "without the list that was asked for"
            raise unexpected(sent.answer.status, sent.answer.headers, sent.answer.body, what)
    return sent, [entry for entry in data if isinstance(entry, dict)]


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


def _words(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
