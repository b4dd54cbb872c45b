"""How a press of *Cancel* or *Stop* reaches a kernel whose cell is running.

While a cell runs, a kernel does not read what widgets send. Its control channel is read by a thread of its own:
``ipykernel`` keeps a table of what may be asked there, and one more entry in it hands the message to whom it names.
The page's half (``assets/server.js``) sends the message over the notebook server.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from beatra_nb.display.watching import ipython_shell

MESSAGE = "beatra_cancel_request"

_hearers: dict[str, Callable[[dict[str, Any]], object]] = {}


def listen(hear: Callable[[dict[str, Any]], object]) -> str:
    """Have a function called with what the page says on the control channel.

    Parameters
    ----------
    hear : callable
        Called with the content of each message, on the control channel's thread; it must be quick.

    Returns
    -------
    str
        The token that the page has to name, to be given to ``forget`` at the end; empty where the kernel has no
        control channel to listen on.
    """
    handlers = getattr(getattr(ipython_shell(), "kernel", None), "control_handlers", None)
    if not isinstance(handlers, dict):
        return ""
    handlers[MESSAGE] = _hear
    token = secrets.token_hex(16)
    _hearers[token] = hear
    return token


def forget(token: str) -> None:
    """Listen no longer."""
    _hearers.pop(token, None)


def _hear(stream: object, idents: object, message: Any) -> None:  # noqa: ANN401 - ipykernel's own shape
    """Handle one message, on the control channel's thread; the kernel reports by itself that it has heard."""
    content = message.get("content") if isinstance(message, dict) else None
    token = content.get("token") if isinstance(content, dict) else None
    hear = _hearers.get(token) if isinstance(token, str) else None
    if hear is not None and isinstance(content, dict):
        hear(content)
