"""A real kernel, and everything it says on its output channel: what a page would get, byte by byte."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from jupyter_client.manager import AsyncKernelManager

T = TypeVar("T")
PATIENCE = 60.0


@dataclass(frozen=True)
class Message:
    """One message of the output channel."""

    kind: str
    content: dict[str, Any]
    size: int  # bytes on the wire

    @property
    def data(self) -> dict[str, Any]:
        """What a display shows, or what a comm carries."""
        return self.content.get("data", {})


class Kernel:
    """A running kernel; ``watched`` as by a notebook server's page."""

    def __init__(self, *, watched: bool, env: Mapping[str, str] | None = None) -> None:
        # An event loop of its own, closed at the end: jupyter_client's synchronous side leaves one behind.
        self._loop = asyncio.new_event_loop()
        self._manager = AsyncKernelManager(kernel_name="python3")
        marks = {"JPY_SESSION_NAME": "work.ipynb"} if watched else {}
        self._do(self._manager.start_kernel(env={**os.environ, **marks, **(env or {})}))
        self._client = self._manager.client()
        self._client.start_channels()
        self._do(self._client.wait_for_ready(timeout=PATIENCE))

    def run(
        self, code: str, *, fails: bool = False, heard: Callable[[Message], None] | None = None
    ) -> list[Message]:
        """Run a cell; returns what it said, and raises if it failed unexpectedly.

        ``heard`` is called with each message while the cell runs, and may answer with ``tell``.
        """
        said = self._do(asyncio.wait_for(self._run(code, heard), PATIENCE))
        errors = [one.content for one in said if one.kind == "error"]
        if errors and not fails:
            raise AssertionError(f"the cell failed: {errors}")
        return said

    def tell(self, kind: str, content: object) -> None:
        """Send a message on the control channel, as a page does by way of its server; only from ``heard``."""
        self._client.session.send(self._client.control_channel.socket, kind, content)

    def interrupt(self) -> None:
        """Interrupt the running cell, as a front end does; from any thread."""
        asyncio.run_coroutine_threadsafe(self._manager.interrupt_kernel(), self._loop).result(PATIENCE)

    def stop(self) -> None:
        """End the kernel."""
        self._client.stop_channels()
        self._do(self._manager.shutdown_kernel(now=True))
        self._loop.close()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *caught: object) -> None:
        self.stop()

    async def _run(self, code: str, heard: Callable[[Message], None] | None) -> list[Message]:
        asked = self._client.execute(code)
        channel = self._client.iopub_channel.socket
        said: list[Message] = []
        while True:
            frames = await channel.recv_multipart()
            _, parts = self._client.session.feed_identities(frames)
            message = self._client.session.deserialize(parts)
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return said
            if kind not in ("status", "execute_input"):
                said.append(Message(kind, content, sum(map(len, frames))))
                if heard is not None:
                    heard(said[-1])

    def _do(self, work: Awaitable[T]) -> T:
        return self._loop.run_until_complete(work)
