"""A small panel to test what all panels share."""

from __future__ import annotations

import asyncio
from typing import Any

from beatra_nb.core.errors import InvalidInput
from beatra_nb.interact.panel import Panel


class Probe(Panel):
    """Counts, refuses and works."""

    modules = ()

    def __init__(self, **options: Any) -> None:
        super().__init__({"text": "", "count": 0}, **options)

    def ask_add(self, text: str) -> int:
        self._doc.grow("text", text=text)
        self._settle()
        return len(self._doc["text"])

    def ask_refuse(self) -> None:
        raise InvalidInput("No.", hint="Ask for something else.")

    def ask_break(self) -> None:
        raise ZeroDivisionError("a defect")

    async def ask_later(self) -> str:
        await asyncio.sleep(0)
        return "done"

    async def ask_forever(self) -> None:
        async def job() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                self._doc.set("text", value="stopped")

        self._begin(job(), "forever")

    def ask_stop(self) -> bool:
        return self._stop("forever")

    def __repr__(self) -> str:
        return f"Probe({self._doc['text']!r})"
