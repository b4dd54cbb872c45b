"""What a user passes to a chat verb → a checked request body. Everything wrong is found here, before it is sent."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from beatra_nb.core import options as free
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.policy import check_key, derived_key, new_key
from beatra_nb.core.typed import Misfit, Schema, Shape

if TYPE_CHECKING:
    from beatra_nb.core.reply import Reply

__all__ = ["REPAIRS", "ChatRequest", "Message", "Prompt", "Schema", "encode", "messages_of", "parse_data"]

Message: TypeAlias = Mapping[str, Any]
Prompt: TypeAlias = "str | Sequence[Message]"

ROLES = ("system", "developer", "user", "assistant", "tool")
OURS = ("messages", "stream")  # fields that the verbs themselves fill
CUT = ("length", "content_filter")  # ends of an answer that may be half of one
REPAIRS = 1  # how often an answer that does not fit its schema is asked for again, unless told otherwise


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat call, checked and ready to be sent as often as need be.

    Attributes
    ----------
    body : dict
        The body without ``stream``.
    json : bytes
        The same, as it is sent.
    schema : object
        What the user passed as the shape of the answer; None for plain text.
    key : str
        The idempotency key of this logical call: the one to repeat it with.
    fallback : str or None
        ``"auto"`` where another model may answer if the asked one is not available.
    wire_key : str
        The key that is sent: another one where another model is asked in the same logical call.
    asked : str
        The model that the user asked for.
    shape : Shape or None
        What the answer is parsed with.
    repairs : int
        How often an answer that does not fit may be asked for again.
    label : str or None
        The prompt that it was made from, for the journal; never sent.
    frame : tuple of str, or None
        What stands before and behind the messages in the JSON, once other messages were put there.
    """

    body: dict[str, Any]
    json: bytes
    schema: Schema | None
    key: str
    fallback: str | None
    wire_key: str
    asked: str
    shape: Shape | None = field(default=None, repr=False)
    repairs: int = REPAIRS
    label: str | None = None
    frame: tuple[str, str] | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        prompt: Prompt,
        *,
        system: str | None = None,
        model: str = "auto",
        schema: Schema | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        idempotency_key: str | None = None,
        fallback: str | None = None,
        repairs: int = REPAIRS,
        label: str | None = None,
        **options: Any,  # noqa: ANN401
    ) -> ChatRequest:
        """Check what the user passed.

        Raises
        ------
        InvalidInput
            If it could not succeed; the message says how to mend it.
        """
        if not isinstance(model, str) or not model.strip():
            raise InvalidInput(
                f"model must be 'auto' or a model's id, not {model!r}.", hint="bn.models() lists them."
            )
        if fallback not in (None, "auto"):
            raise InvalidInput(f"fallback must be None or 'auto', not {fallback!r}.")
        if isinstance(repairs, bool) or not isinstance(repairs, int) or repairs < 0:
            raise InvalidInput(
                f"repairs must be a whole number from 0, not {repairs!r}.",
                hint="It is how often an answer that does not fit its schema may be asked for again; 0 means never.",
            )
        for name in OURS:
            if name in options:
                raise InvalidInput(
                    f"{name!r} cannot be passed as an option.",
                    hint="Pass messages as the prompt, and call bn.stream() or stream=True for streaming.",
                )
        free.check(options)
        body: dict[str, Any] = {"model": model.strip(), "messages": messages_of(prompt, system)}
        if temperature is not None:
            body["temperature"] = _number("temperature", temperature, 0, 2)
        if max_tokens is not None:
            if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
                raise InvalidInput(f"max_tokens must be a whole number of at least 1, not {max_tokens!r}.")
            body["max_tokens"] = max_tokens
        if tools is not None:
            if not isinstance(tools, list | tuple) or not all(isinstance(tool, Mapping) for tool in tools):
                raise InvalidInput("tools must be a list of tool definitions (dicts), as the API takes them.")
            body["tools"] = [dict(tool) for tool in tools]
        shape = None
        if schema is not None:
            if "response_format" in options:
                raise InvalidInput("Pass schema= or response_format=, not both.")
            shape = Shape.of(schema)
            body["response_format"] = shape.response_format
        body.update({name: value for name, value in options.items() if value is not None})
        json_body = encode(body)  # what cannot be sent is refused now, not after a key was used
        key = new_key() if idempotency_key is None else check_key(idempotency_key)
        return cls(body, json_body, schema, key, fallback, key, body["model"], shape, repairs, label)

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.body["model"])

    def falling_back(self) -> ChatRequest:
        """Return the same request to ``"auto"``: another body, so another (but reproducible) key is sent."""
        return self.varied({**self.body, "model": "auto"}, "fallback", fallback=None)

    def about(self, messages: list[dict[str, Any]]) -> ChatRequest:
        """Return the same request with other messages, which are checked already."""
        body = {**self.body, "messages": messages}
        # By position: for a hundred thousand rows, dataclasses.replace would take longer than all the rest.
        return ChatRequest(
            body, self._filled(body), self.schema, self.key, self.fallback, self.wire_key, self.asked, self.shape,
            self.repairs, self.label,
        )  # fmt: skip

    def _filled(self, body: dict[str, Any]) -> bytes:
        """Encode a body that differs in its messages alone: all but those is encoded once for many rows."""
        if self.frame is None:
            # A model's name comes before the messages, and its quotes are escaped: nothing else looks like this.
            head, name, tail = encode({**body, "messages": []}).decode().partition('"messages":[')
            object.__setattr__(self, "frame", (head + name, tail))
        assert self.frame is not None  # noqa: S101 - it was just made
        head, tail = self.frame
        try:
            return f"{head}{','.join(map(_written, body['messages']))}{tail}".encode()
        except (TypeError, ValueError, RecursionError):
            return encode(body)  # which says what is wrong

    def varied(self, body: dict[str, Any], purpose: str, **changes: Any) -> ChatRequest:  # noqa: ANN401
        """Return a further request of the same logical call.

        Parameters
        ----------
        body : dict
            What it asks.
        purpose : str
            Why it is made: its key is derived from this request's and the purpose, the same each time.
        **changes
            What else is different.
        """
        key = derived_key(self.wire_key, purpose)
        return replace(self, body=body, json=encode(body), wire_key=key, **changes)


def messages_of(prompt: Prompt, system: str | None = None) -> list[dict[str, Any]]:
    """Make the list of messages from a text or a list of messages.

    Raises
    ------
    InvalidInput
        If a message could not be sent.
    """
    messages: list[dict[str, Any]] = []
    if system is not None:
        if not isinstance(system, str):
            raise InvalidInput(f"system must be text, not {type(system).__name__}.")
        messages.append({"role": "system", "content": system})
    if isinstance(prompt, str):
        if not prompt.strip():
            raise InvalidInput("The prompt is empty.", hint="Pass a text with something in it.")
        return [*messages, {"role": "user", "content": prompt}]
    if isinstance(prompt, Mapping) or not isinstance(prompt, Sequence) or isinstance(prompt, bytes):
        raise InvalidInput(
            f"The prompt must be text or a list of messages, not {type(prompt).__name__}.",
            hint="A message looks like {'role': 'user', 'content': 'Hello'}.",
        )
    if not prompt:
        raise InvalidInput("The list of messages is empty.", hint="Pass at least one user message.")
    for position, message in enumerate(prompt):
        messages.append(_message(message, position))
    return messages


def _message(message: object, position: int) -> dict[str, Any]:
    where = f"Message {position}"
    if not isinstance(message, Mapping):
        raise InvalidInput(f"{where} must be a dict with 'role' and 'content', not {type(message).__name__}.")
    role = message.get("role")
    if role not in ROLES:
        raise InvalidInput(f"{where} has the role {role!r}; roles are {', '.join(ROLES)}.")
    content = message.get("content")
    silent = role == "assistant" and content is None and message.get("tool_calls")
    if not silent and not isinstance(content, str | list):
        raise InvalidInput(f"{where} needs text as its 'content', not {type(content).__name__}.")
    return dict(message)


_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _written(message: Mapping[str, Any]) -> str:
    """Encode a message; most are plain text, and need no look at every part."""
    if tuple(message) == ("role", "content"):
        role, content = message.values()
        if type(role) is type(content) is str:
            return f'{{"role":{_json(role)},"content":{_json(content)}}}'
    return _json(message)


def encode(body: Mapping[str, Any]) -> bytes:
    """Encode a body as JSON.

    Raises
    ------
    InvalidInput
        If a value has no place in JSON; the message names the field.
    """
    try:
        return _json(body).encode()
    except UnicodeEncodeError:
        what = "holds a lone surrogate (half a character), which cannot be sent"
        hint = "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace') mends such text."
    except (TypeError, ValueError, RecursionError) as error:
        what, hint = f"cannot be sent as JSON: {error}", "Use plain dicts, lists, texts and finite numbers."
    raise InvalidInput(f"{_culprit(body)} {what}.", hint=hint)


def _culprit(body: Mapping[str, Any]) -> str:
    for name, value in body.items():
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):
            return f"The field {name!r}"
    return "The request"


def _number(name: str, value: float, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInput(f"{name} must be a number from {low} to {high}, not {value!r}.")
    if not low <= value <= high:
        raise InvalidInput(f"{name} must be from {low} to {high}, not {value!r}.")
    return value


def parse_data(reply: Reply, schema: Schema) -> Any:  # noqa: ANN401
    """Parse an answer's text with the schema it was asked for.

    Raises
    ------
    InvalidData
        If it does not fit; the error holds the reply.
    """
    from beatra_nb.core.errors import InvalidData

    shape = Shape.of(schema)
    try:
        return shape.parse(reply.text, whole=reply.complete and reply.finish_reason not in CUT)
    except Misfit as misfit:
        errors, told, cause = misfit.errors, str(misfit), misfit.cause
    cut = reply.finish_reason == "length"
    raise InvalidData(
        f"The answer does not fit {shape.name}: {told}.",
        reply=reply,
        errors=errors,
        request_id=reply.request_id,
        attempts=reply.attempts,
        hint="It was cut off at max_tokens: allow more of them."
        if cut
        else "The whole answer is in the error's .reply.",
    ) from cause
