"""The verbs at the top of the package: the default client's, made at the first use.

``bn.chat`` is ``Client.chat`` of the default client; ``bn.achat`` is ``AsyncClient.chat`` of its async twin.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from beatra_nb.core.async_client import AsyncClient
from beatra_nb.core.client import Client
from beatra_nb.core.settings import MAX_ATTEMPTS, READ_TIMEOUT, Timeouts, hide_key

if TYPE_CHECKING:
    import os

    from beatra_nb.core.reply import Reply
    from beatra_nb.display.cards import Traceback
    from beatra_nb.store.view import JournalView

P = ParamSpec("P")
R = TypeVar("R")

Clients: TypeAlias = tuple[Client | None, AsyncClient | None]  # a client, and its async twin

_lock = threading.RLock()
_client: Client | None = None
_async_client: AsyncClient | None = None


def connect(
    api_key: str | None = None,
    *,
    base_url: str | None = None,
    mode: str | None = None,
    timeout: float | Timeouts = READ_TIMEOUT,
    max_attempts: int = MAX_ATTEMPTS,
    journal: bool = True,
    cassette: str | os.PathLike[str] | None = None,
    speed: float | None = None,
) -> Client:
    """Make the client that all verbs of this module use, and return it.

    Takes what ``Client`` takes; an argument beats the environment. Without ``connect``, the first verb makes it.

    Returns
    -------
    Client
        The default client.

    Raises
    ------
    ConfigurationError
        If these settings cannot work; the client that was there before stays.

    Examples
    --------
    >>> bn.connect(mode="sandbox")  # doctest: +SKIP
    """
    global _client, _async_client
    hidden, api_key = hide_key(api_key), None
    client = Client(
        hidden,
        base_url=base_url,
        mode=mode,
        timeout=timeout,
        max_attempts=max_attempts,
        journal=journal,
        cassette=cassette,
        speed=speed,
    )
    with _lock:
        # The old client is left open: a conversation or a stream may still hold it.
        _client, _async_client = client, None
    return client


def default_client() -> Client:
    """Return the default client, made now if need be."""
    with _lock:
        return _client or connect()


def exchange(clients: Clients) -> Clients:
    """Make others the default clients; return those that were."""
    global _client, _async_client
    with _lock:
        before = _client, _async_client
        _client, _async_client = clients
    return before


def default_async_client() -> AsyncClient:
    """Return the default client's async twin, made now if need be."""
    global _async_client
    with _lock:
        if _async_client is None:
            _async_client = default_client().twin()
        return _async_client


def _bound(function: Callable[..., Any], method: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Give a verb its method's help and signature, without ``self``."""
    functools.update_wrapper(function, method)
    function.__name__ = function.__qualname__ = name
    function.__module__ = "beatra_nb"
    signature = inspect.signature(method)
    function.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return function


def _verb(method: Callable[Concatenate[Client, P], R]) -> Callable[P, R]:
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(default_client(), *args, **kwargs)

    return _bound(call, method, method.__name__)


def _async_verb(method: Callable[Concatenate[AsyncClient, P], R]) -> Callable[P, R]:
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return method(default_async_client(), *args, **kwargs)

    return _bound(call, method, f"a{method.__name__}")


chat = _verb(Client.chat)
stream = _verb(Client.stream)
models = _verb(Client.models)
capabilities = _verb(Client.capabilities)
health = _verb(Client.health)
map = _verb(Client.map)
music = _verb(Client.music)
upload = _verb(Client.upload)
task = _verb(Client.task)
tasks = _verb(Client.tasks)
pending = _verb(Client.pending)

achat = _async_verb(AsyncClient.chat)
astream = _async_verb(AsyncClient.stream)
amodels = _async_verb(AsyncClient.models)
acapabilities = _async_verb(AsyncClient.capabilities)
ahealth = _async_verb(AsyncClient.health)
amap = _async_verb(AsyncClient.map)
amusic = _async_verb(AsyncClient.music)
aupload = _async_verb(AsyncClient.upload)
atask = _async_verb(AsyncClient.task)
atasks = _async_verb(AsyncClient.tasks)
apending = _async_verb(AsyncClient.pending)


def last() -> Reply | None:
    """Return the last answer of the default client, whole or cut short.

    Examples
    --------
    >>> bn.last().text  # after an interrupt: what had arrived  # doctest: +SKIP
    """
    clients = [client for client in (_client, _async_client) if client is not None]
    return max(clients, key=lambda client: client.last_at).last if clients else None


def journal(limit: int | None = 50) -> JournalView:
    """Show the journal: a row for every call, newest first; no prompt text, no key.

    Parameters
    ----------
    limit : int or None, default 50
        How many rows to show.

    Returns
    -------
    JournalView
        Rows, with ``.search()``, ``.to_frame()`` and ``.support_bundle()``.
    """
    from beatra_nb.store.journal import Journal

    return Journal.open().view(limit)


def traceback() -> Traceback:
    """Show the full Python traceback of the last error; it holds no key."""
    from beatra_nb import display

    return display.full_traceback()
