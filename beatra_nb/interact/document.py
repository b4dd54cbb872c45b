"""A tree of plain values that a page mirrors: what a panel knows, told to the page by its changes.

The tree is what JSON can hold. Python alone changes it, and each change is noted as a patch::

    ["set",  path, value]     a value, new or instead of the one that was there
    ["grow", path, text]      more text at the end of a text
    ["push", path, value]     one more item at the end of a list
    ["drop", path, null]      a key or an item less

Patches wait for each other a moment and travel together, so that an answer that grows by two hundred tokens a second
costs ten messages a second, and bytes in proportion to its text. Messages are counted: a page that has missed one
asks for the whole. A page that comes later, or again, begins with the whole.
"""

from __future__ import annotations

import asyncio
import copy
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from beatra_nb.interact import work

INTERVAL = 0.1  # seconds between two messages in a flood; a message costs ~640 bytes whatever it holds
Path = tuple[str | int, ...]
Message = dict[str, Any]


class Document:
    """A tree of plain values, and the patches that a page has not been told yet.

    Parameters
    ----------
    tree : dict
        What it begins with; it belongs to the document from now on.

    Examples
    --------
    >>> document = Document({"turns": [{"text": "He"}]})
    >>> document.grow("turns", 0, "text", text="llo")
    >>> document.tree["turns"][0]["text"]
    'Hello'
    """

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = _plain(tree)
        self._lock = threading.RLock()
        self._send: Callable[[Message], None] | None = None
        self._waiting: list[list[Any]] = []
        self._count = 0  # of messages sent
        self._timer = False  # whether the waiting patches will be sent
        self._last = 0.0

    # ── changing ──

    def set(self, *path: str | int, value: Any) -> None:  # noqa: ANN401
        """Put a value at a path, unless it stands there already."""
        with self._lock:
            *way, key = path
            place = self._at(way)
            new = _plain(value)
            if isinstance(place, dict) and key in place and _same(place[key], new):
                return
            place[key] = new
            self._note("set", path, new)

    def grow(self, *path: str | int, text: str) -> None:
        """Add text at the end of the text at a path."""
        if not text:
            return
        with self._lock:
            *way, key = path
            new = _plain(text)
            self._at(way)[key] += new
            self._note("grow", path, new)

    def push(self, *path: str | int, value: Any) -> None:  # noqa: ANN401
        """Add an item at the end of the list at a path."""
        with self._lock:
            new = _plain(value)
            self._at(path).append(new)
            self._note("push", path, new)

    def drop(self, *path: str | int) -> None:
        """Take away the key or the item at a path."""
        with self._lock:
            *way, key = path
            place = self._at(way)
            if isinstance(place, dict) and key not in place:
                return
            del place[key]
            self._note("drop", path, None)

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401
        return self.tree[key]

    # ── telling ──

    def attach(self, send: Callable[[Message], None]) -> None:
        """Tell a page from now on; what it begins with is asked for by ``snapshot``."""
        with self._lock:
            self._send = send
            self._waiting.clear()

    def detach(self) -> None:
        """Tell nobody any more."""
        with self._lock:
            self._send = None
            self._waiting.clear()

    def snapshot(self) -> Message:
        """Return the whole tree, and the number of the last message that it contains."""
        with self._lock:
            self.flush()
            return {"n": self._count, "tree": copy.deepcopy(self.tree)}

    def flush(self) -> None:
        """Send what is waiting, now."""
        with self._lock:
            if not self._waiting or self._send is None:
                return
            patches, self._waiting = self._waiting, []
            self._count += 1
            self._last = time.monotonic()
            self._send({"n": self._count, "patch": patches})

    # ── inside ──

    def _at(self, path: Path | list[str | int]) -> Any:  # noqa: ANN401
        place: Any = self.tree
        for key in path:
            place = place[key]
        return place

    def _note(self, what: str, path: Path, value: Any) -> None:  # noqa: ANN401
        if self._send is None:
            return
        value = copy.deepcopy(value)  # a later change inside it is a patch of its own
        if not self._merged(what, list(path), value):
            self._waiting.append([what, list(path), value])
        if not self._timer:
            self._timer = True
            work.loop().call_soon_threadsafe(self._tick)

    def _merged(self, what: str, path: list[str | int], value: Any) -> bool:  # noqa: ANN401
        """Fold a change into one that waits: several answers may grow at once."""
        if what not in ("set", "grow"):
            return False
        for patch in reversed(self._waiting):
            kind, other, before = patch
            if kind in ("push", "drop"):
                return False  # positions may have shifted
            if other == path:
                if what == "set":
                    patch[0], patch[2] = "set", value
                    return True
                if isinstance(before, str):
                    patch[2] = before + value
                    return True
                return False
            shorter = min(len(other), len(path))
            if other[:shorter] == path[:shorter]:
                return False  # one contains the other: the order counts
        return False

    def _tick(self) -> None:
        rest = self._last + INTERVAL - time.monotonic()
        if rest > 0:
            asyncio.get_running_loop().call_later(rest, self._fire)
        else:
            self._fire()

    def _fire(self) -> None:
        with self._lock:
            self._timer = False
            self.flush()


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return a copy of what JSON can hold; half letters, which no message can carry, become question marks."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _plain(str(value))


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401
    # True == 1 in Python, and not in a page.
    return type(one) is type(other) and bool(one == other)
