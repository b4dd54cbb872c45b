"""How a chat box listens: to its conversation, whoever drives it, and to the answer that it asked for itself."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beatra_nb.core.async_client import AsyncClient
    from beatra_nb.core.conversation import Chat
    from beatra_nb.core.streams import AsyncTextStream


class Kept:
    """An async client as a conversation uses it, that keeps its answer in reach while it grows.

    What is stopped raises no error that could hold what had come, with its request id, its key and its figures.
    """

    def __init__(self, number: int, client: AsyncClient) -> None:
        self.number = number  # of the turn that it is used for
        self.growing: AsyncTextStream | None = None
        self._client = client

    def stream(self, messages: Any, **options: Any) -> AsyncTextStream:  # noqa: ANN401
        """Begin a streamed answer, and keep it."""
        self.growing = self._client.stream(messages, **options)
        return self.growing


def follow(chat: Chat, hear: Callable[[], object]) -> Callable[[], None]:
    """Call a method whenever a conversation changes, without keeping the object that it is a method of.

    A conversation may live longer than any box that showed it: boxes that nobody holds any more must go.
    """
    method = weakref.WeakMethod(hear)

    def changed() -> None:
        there = method()
        if there is None:
            unwatch()
        else:
            there()

    unwatch = chat.watch(changed)
    return unwatch
