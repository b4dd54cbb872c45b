"""What a chat box is given: checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from beatra_nb.core.conversation import Chat
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.request import ChatRequest

if TYPE_CHECKING:
    from beatra_nb.core.client import Client


def words(text: object) -> str:
    """Return what is said, or say why it cannot be."""
    if not isinstance(text, str):
        raise InvalidInput(f"What is said must be text, not {type(text).__name__}.")
    if not text.strip():
        raise InvalidInput("There is nothing to send.", hint="Write something first.")
    return text


def model_id(name: object) -> str:
    """Return a model's id, or say why it cannot be one."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput(f"model must be a model's id, not {name!r:.60}.", hint="bn.models() lists them.")
    return name.strip()


def new_chat(
    system: str | None, model: str, client: Client | None, title: str | None, defaults: dict[str, Any]
) -> Chat:
    """Make a conversation whose settings can be sent."""
    chat = Chat(system, model=model_id(model), client=client, title=title, **defaults)
    ChatRequest.of("a prompt", model=chat.model, **defaults)  # what cannot be sent is refused here and now
    return chat


def check_given(
    chat: object,
    system: str | None = None,
    model: str = "auto",
    client: Client | None = None,
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Refuse what is no conversation to talk in, or settings beside one that has its own."""
    if not isinstance(chat, Chat):
        hint = (
            "bn.ChatBox(chat) takes the conversation first; system= is a keyword."
            if chat is not None
            else None
        )
        raise InvalidInput(f"chat must be a bn.Chat, not {type(chat).__name__}.", hint=hint)
    told_twice = [name for name, given in (("system", system), ("model", model != "auto")) if given]
    if told_twice or defaults:
        names = ", ".join([*told_twice, *defaults])
        raise InvalidInput(
            f"The conversation that was given has settings of its own: {names} cannot be passed as well.",
            hint="Make it so: bn.Chat(…, model=…), or set box.model and box.system.",
        )
    if client is not None and client is not chat._client:
        # By the box it would be one account, and by chat.send() another.
        raise InvalidInput(
            "The conversation that was given sends by a client of its own: client= cannot be passed as well.",
            hint="Make it so: bn.Chat(…, client=…).",
        )
    if chat._client is None and chat._async_client is not None:
        raise InvalidInput(
            "This conversation has an async client only.", hint="Make it with client=bn.Client(…)."
        )
