"""How a batch is told to stop: from any thread, from a signal handler, by the batch itself."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Stop:
    """A word to a batch: once for "no more rows", twice for "at once". What is finished stays in any case.

    Attributes
    ----------
    level : int
        How often it was said.
    reason : str or None
        Why, in the words of who said it first.
    """

    def __init__(self) -> None:
        # Re-entrant: a signal handler may say it again while it is being said.
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        self.level = 0
        self.reason: str | None = None

    def stop(self, reason: str = "interrupted") -> None:
        """Say it."""
        with self._lock:
            self.level += 1
            self.reason = self.reason or reason
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have something called when it is said; gives what ends that."""
        with self._lock:
            self._listeners.append(listener)

        def leave() -> None:
            with self._lock:
                self._listeners.remove(listener)

        return leave
