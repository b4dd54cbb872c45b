"""Answers of a shape: asked for by schema, in words where no schema is taken, and again where they do not fit.

All of it happens within one logical call: each further request has a key derived from the first one's, so that the
whole is repeated with one key and nothing is paid twice. Each request is charged and has its own row in the journal;
the reply holds the sum.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from beatra_nb.core.errors import APIError, BeatraError, InvalidData
from beatra_nb.core.reply import Usage
from beatra_nb.core.request import CUT
from beatra_nb.core.typed import lines

if TYPE_CHECKING:
    from beatra_nb.core.flow import Context, Flow
    from beatra_nb.core.reply import Reply
    from beatra_nb.core.request import ChatRequest

Once: TypeAlias = "Callable[[Context, ChatRequest], Flow[Reply]]"

FIELD = "response_format"
PAID = "An answer that does not fit had come before, and was charged."


def asked(context: Context, request: ChatRequest, once: Once) -> Flow[Reply]:
    """Ask; where the service does not take the schema, ask with the schema in words.

    Raises
    ------
    BeatraError
        What asking raises.
    """
    try:
        return (yield from once(context, request))
    except APIError as error:
        if not refuses_schema(error, request):
            raise
    return (yield from once(context, in_words(request)))


def repaired(context: Context, request: ChatRequest, misfit: InvalidData, once: Once) -> Flow[Reply]:
    """Ask again for an answer that does not fit, as often as the request allows.

    Parameters
    ----------
    request : ChatRequest
        The request that was answered.
    misfit : InvalidData
        What came of it.
    once : callable
        The flow of one request.

    Returns
    -------
    Reply
        The answer that fits, with the usage of all that were asked for.

    Raises
    ------
    InvalidData
        If none fits; its reply holds the usage of all.
    BeatraError
        If the service could not be asked again.
    """
    before = [misfit.reply]
    error = misfit
    while len(before) <= request.repairs and mendable(error):
        try:
            reply = yield from once(context, again(request, error, len(before)))
        except InvalidData as unfit:
            before.append(unfit.reply)
            error = unfit
        except BeatraError as failure:
            failure.hint = " ".join(part for part in (failure.hint, PAID) if part)
            failure.paid = paid = _total(error.reply, before)
            failure.attempts += paid.attempts
            failure.idempotency_key = request.key  # under which what was paid for lies ready
            raise
        else:
            return _total(reply, [*before, reply])
    error.idempotency_key = request.key
    if len(before) > 1:
        error.reply = _total(error.reply, before)
        error.attempts = error.reply.attempts
        told = f"{len(before)} answers were asked for, and each was charged: the error's .reply is the last."
        error.hint = f"{error.hint} {told}" if error.reply.finish_reason == "length" else told
    raise error


def refuses_schema(error: APIError, request: ChatRequest) -> bool:
    """Whether a failure says that the model does not take the schema, and nothing else."""
    if error.code != "unsupported_option" or FIELD not in request.body:
        return False
    named = error.details.get("unsupported_fields")
    fields = [error.param, *(named if isinstance(named, list) else [named])]
    heads = {_head(each) for each in fields if isinstance(each, str) and each}
    return heads == {FIELD}


def _head(field: str) -> str:
    """Return the first name of a path, which may be a JSON pointer or have dots."""
    return field.lstrip("/").partition("/")[0].partition(".")[0]


def in_words(request: ChatRequest) -> ChatRequest:
    """Return the same request with its schema in the system message instead of the field for it."""
    body = {name: value for name, value in request.body.items() if name != FIELD}
    schema = json.dumps(request.body[FIELD]["json_schema"]["schema"], ensure_ascii=False)
    told = (
        f"Answer with one JSON value that fits this JSON schema, and with nothing else around it:\n{schema}"
    )
    first, *rest = body["messages"]
    if first["role"] not in ("system", "developer"):
        messages = [{"role": "system", "content": told}, first, *rest]
    else:
        content = first["content"]
        if isinstance(content, str):
            content = f"{content}\n\n{told}" if content.strip() else told
        else:
            content = [*content, {"type": "text", "text": told}]
        messages = [{**first, "content": content}, *rest]
    return request.varied({**body, "messages": messages}, "words")


def mendable(error: InvalidData) -> bool:
    """Whether asking again could help: not where the answer was cut off, and not where code of the user's failed."""
    return error.reply.finish_reason not in CUT and error.__cause__ is None


def again(request: ChatRequest, error: InvalidData, number: int) -> ChatRequest:
    """Return the request that asks for a better answer: the same, with the last answer and what is wrong with it."""
    text = error.reply.text
    wrong = f"This answer does not fit what was asked for:\n{lines(error.errors)}"
    said: list[dict[str, Any]] = [{"role": "assistant", "content": text}]
    if not text.strip():  # many services refuse an empty message
        said, wrong = [], "The answer was empty."
    told = f"{wrong}\n\nAnswer again: the whole JSON value, corrected, and nothing else around it."
    # One good answer is enough, and it is read when it is whole.
    body = {name: value for name, value in request.body.items() if name not in ("n", "stream_options")}
    body["messages"] = [*body["messages"], *said, {"role": "user", "content": told}]
    return request.varied(body, f"repair-{number}", fallback=None)


def _total(last: Reply, answers: Iterable[Reply]) -> Reply:
    """Return the last answer with what all of them took."""
    answers = list(answers)
    used = [each.usage for each in answers if each.usage is not None]
    return last.with_(
        usage=sum(used, Usage()) if used else None,
        attempts=sum(each.attempts for each in answers),
        elapsed=sum(each.elapsed for each in answers),
        repairs=len(answers) - 1,
    )
