"""A chat request's body, checked field by field: every complaint carries a JSON Pointer."""

from __future__ import annotations

from typing import Any

from beatra_nb.sandbox.checks import Checker, well_formed
from beatra_nb.sandbox.contract import pointer
from beatra_nb.sandbox.engines.base import MAX_CHOICES, ChatRequest, Message, Tool

ROLES = ("system", "developer", "user", "assistant", "tool")
MAX_MESSAGES = 10_000
MAX_PACE = 5.0

# What neither engine can do: refused by name instead of being silently dropped.
UNSUPPORTED = ("logprobs", "top_logprobs", "logit_bias", "reasoning_effort", "audio")


def chat_request(body: dict[str, Any]) -> ChatRequest:
    """Check a chat body and fill in its defaults; fields that are not known are ignored.

    Raises
    ------
    Refusal
        ``invalid_request`` naming every bad field, or ``unsupported_option`` naming every one not taken.
    """
    check = _ChatChecker(body)
    tools = check.tools()
    schema, json_object = check.response_format()
    stream_options = check.mapping("stream_options")
    model_options = check.mapping("model_options")
    check.mapping("metadata")
    check.boolean("parallel_tool_calls")
    check.text("user")
    request = ChatRequest(
        model=check.text("model", required=True) or "",
        messages=check.messages(),
        stream=check.boolean("stream"),
        include_usage=check.boolean("include_usage", stream_options, "stream_options"),
        max_tokens=check.max_tokens(),
        n=check.whole("n", 1, MAX_CHOICES) or 1,
        seed=check.whole("seed", -(2**63), 2**63 - 1),
        stop=check.stop(),
        temperature=check.number("temperature", 0, 2),
        top_p=check.number("top_p", 0, 1),
        frequency_penalty=check.number("frequency_penalty", -2, 2),
        presence_penalty=check.number("presence_penalty", -2, 2),
        schema=schema,
        json_object=json_object,
        tools=tools,
        choice=check.tool_choice(tools),
        pace=check.number("pace", 0, MAX_PACE, model_options, "model_options") or 0.0,
        wire=body,
    )
    check.finish()
    return request


class _ChatChecker(Checker):
    """Reads a chat body."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body)
        self.unsupported = [name for name in UNSUPPORTED if body.get(name) not in (None, False, {}, [])]
        if body.get("modalities") not in (None, ["text"]):
            self.unsupported.append("modalities")

    def max_tokens(self) -> int | None:
        newer = self.whole("max_completion_tokens", 1, 1_000_000)
        legacy = self.whole("max_tokens", 1, 1_000_000)
        return legacy if newer is None else newer

    def stop(self) -> tuple[str, ...]:
        value = self.body.get("stop")
        if value is None:
            return ()
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            self.bad(pointer("stop"), "must be a non-empty string or a list of them")
            return ()
        if len(value) > 4:
            self.bad(pointer("stop"), "may hold at most 4 strings")
        return tuple(value)

    def messages(self) -> tuple[Message, ...]:
        value = self.body.get("messages")
        if value is None:
            self.bad("/messages", "is required")
            return ()
        if not isinstance(value, list) or not value:
            self.bad("/messages", "must be a list with at least one message")
            return ()
        if len(value) > MAX_MESSAGES:
            self.bad("/messages", f"may hold at most {MAX_MESSAGES} messages")
            return ()
        found = [self.message(item, at) for at, item in enumerate(value)]
        return tuple(item for item in found if item is not None)

    def message(self, item: object, at: int) -> Message | None:
        where = pointer("messages", at)
        if not isinstance(item, dict):
            self.bad(where, "must be an object with role and content")
            return None
        role = item.get("role")
        if role is None:
            self.bad(where + "/role", "is required")
        elif role not in ROLES:
            self.bad(where + "/role", f"must be one of {', '.join(ROLES)}")
        calls = item.get("tool_calls")
        if calls is not None and not (isinstance(calls, list) and all(isinstance(c, dict) for c in calls)):
            self.bad(where + "/tool_calls", "must be a list of objects")
            calls = None
        content = item.get("content")
        if content is None:
            if not (role == "assistant" and calls):
                self.bad(where + "/content", "is required")
            content = ""
        text = self.content(content, where + "/content")
        if text is None or not isinstance(role, str):
            return None
        return Message("system" if role == "developer" else role, text, tuple(calls or ()))

    def content(self, content: object, where: str) -> str | None:
        if isinstance(content, str):
            return well_formed(content)
        if not isinstance(content, list):
            self.bad(where, "must be a string or a list of parts")
            return None
        texts = []
        for at, part in enumerate(content):
            kind = part.get("type") if isinstance(part, dict) else None
            if not isinstance(part, dict) or not isinstance(kind, str):
                self.bad(f"{where}/{at}", "must be an object with a type")
            elif kind != "text":
                self.unsupported.append(f"{where}/{at}"[1:])
            elif not isinstance(part.get("text"), str):
                self.bad(f"{where}/{at}/text", "must be a string")
            else:
                texts.append(part["text"])
        return well_formed("".join(texts))

    def tools(self) -> tuple[Tool, ...]:
        value = self.body.get("tools")
        if value is None:
            return ()
        if not isinstance(value, list):
            self.bad("/tools", "must be a list")
            return ()
        found = []
        for at, item in enumerate(value):
            where = pointer("tools", at)
            function = item.get("function") if isinstance(item, dict) else None
            if not isinstance(item, dict) or item.get("type") != "function" or not isinstance(function, dict):
                self.bad(where, 'must be an object with type "function" and a function')
                continue
            name, parameters = function.get("name"), function.get("parameters")
            if not isinstance(name, str) or not name:
                self.bad(where + "/function/name", "must be a non-empty string")
            elif parameters is not None and not isinstance(parameters, dict):
                self.bad(where + "/function/parameters", "must be a JSON schema (an object)")
            else:
                description = function.get("description")
                found.append(
                    Tool(name, description if isinstance(description, str) else "", parameters or {})
                )
        return tuple(found)

    def tool_choice(self, tools: tuple[Tool, ...]) -> str:
        value = self.body.get("tool_choice")
        if value is None or value == "auto":
            return "auto"
        if value == "none":
            return "none"
        if value == "required":
            if not tools:
                self.bad("/tool_choice", "is 'required', but there are no tools")
            return "required"
        function = value.get("function") if isinstance(value, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            self.bad("/tool_choice", "must be 'none', 'auto', 'required' or a function by name")
        elif name not in {tool.name for tool in tools}:
            self.bad("/tool_choice/function/name", "names a tool that is not in /tools")
        else:
            return name
        return "auto"

    def response_format(self) -> tuple[dict[str, Any] | None, bool]:
        value = self.mapping("response_format")
        kind = value.get("type")
        if not value or kind == "text":
            return None, False
        if kind == "json_object":
            return None, True
        if kind != "json_schema":
            self.bad("/response_format/type", "must be 'text', 'json_object' or 'json_schema'")
            return None, False
        holder = value.get("json_schema")
        schema = holder.get("schema") if isinstance(holder, dict) else None
        if not isinstance(schema, dict):
            self.bad("/response_format/json_schema/schema", "must be a JSON schema (an object)")
            return None, False
        return schema, False
