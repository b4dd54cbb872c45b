"""Which models a picker offers: the account's own, asked for once in a while."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING

from beatra_nb.core.errors import BeatraError
from beatra_nb.display.clean import one_line

if TYPE_CHECKING:
    from beatra_nb.core.async_client import AsyncClient

FRESH = 60.0  # seconds; the list is the account's view and changes

_known: weakref.WeakKeyDictionary[AsyncClient, tuple[float, list[str]]] = weakref.WeakKeyDictionary()


async def chat_models(client: AsyncClient) -> list[str]:
    """Return what may be passed as ``model=`` to chat, ``"auto"`` first.

    A service that cannot be asked, or that lists nothing, leaves ``"auto"``, which always works.
    """
    now = time.monotonic()
    if client in _known and now - _known[client][0] < FRESH:
        return _known[client][1]
    try:
        models = await client.models()
    except BeatraError:
        return ["auto"]
    # The plain list of models does not say what they can do; where the catalog does, the others are left out.
    able = [
        each for each in models if not each.capabilities or any("chat" in can for can in each.capabilities)
    ]
    names = [one_line(each.id, 120) for each in able if each.status != "unavailable"]
    found = ["auto", *dict.fromkeys(name for name in names if name != "auto")]
    _known[client] = now, found
    return found
