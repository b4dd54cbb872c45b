"""A real kernel, and everything it says on its output channel: what a page would get, byte by byte."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jupyter_client.manager import KernelManager

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
        self._manager = KernelManager(kernel_name="python3")
        marks = {"JPY_SESSION_NAME": "work.ipynb"} if watched else {}
        self._manager.start_kernel(env={**os.environ, **marks, **(env or {})})
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE)

    def run(self, code: str, *, fails: bool = False) -> list[Message]:
        """Run a cell; returns what it said, and raises if it failed unexpectedly."""
        asked = self._client.execute(code)
        socket = self._client.iopub_channel.socket
        said: list[Message] = []
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if not socket.poll(1000):
                continue
            frames = socket.recv_multipart()
            _, parts = self._client.session.feed_identities(frames)
            message = self._client.session.deserialize(parts)
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                if not fails and any(one.kind == "error" for one in said):
                    raise AssertionError(f"the cell failed: {[o.content for o in said if o.kind == 'error']}")
                return said
            if kind not in ("status", "execute_input"):
                said.append(Message(kind, content, sum(map(len, frames))))
        raise TimeoutError("the kernel did not come to rest")

    def interrupt(self) -> None:
        """Interrupt the running cell, as a front end does."""
        self._manager.interrupt_kernel()

    def stop(self) -> None:
        """End the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()
