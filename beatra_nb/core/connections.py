"""How the HTTP library's clients are made: who they are, what they trust, what they record or replay.

The key is written into a request at the last moment, and goes to the service alone: not where a redirect leads, and
not to an address outside the API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from beatra_nb import __version__
from beatra_nb.core import deadline, foreign
from beatra_nb.core.errors import ConfigurationError
from beatra_nb.core.scrub import Scrubber
from beatra_nb.core.settings import Secret, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from beatra_nb.core.taping.tape import Tape


def to_service(factory: type[Any], base_url: str, key: Secret, tape: Tape | None) -> Any:  # noqa: ANN401
    """Make one of httpx's clients for the API, which records or replays where there is a tape."""
    return _made(factory, _options(base_url, key), tape, base_url, key)


def to_stranger(factory: type[Any], url: str, key: Secret, tape: Tape | None) -> Any:  # noqa: ANN401
    """Make one for an address outside the API: it has the key only to take it out of what is recorded."""
    http = _made(factory, foreign.options(url), tape, "", key)
    foreign.no_cookies(http)
    return http


class BearerAuth(httpx.Auth):
    """Writes the key into a request at the last moment; no frame or object of ours ever holds the header."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        yield request


def _options(base_url: str, key: Secret) -> dict[str, Any]:
    """Return what both of httpx's clients are made with."""
    parts = urlsplit(base_url)
    local = is_loopback(parts.hostname or "")
    return {
        "auth": BearerAuth(key),
        "headers": {"User-Agent": f"beatra-nb/{__version__}", "Accept": "application/json"},
        "follow_redirects": False,  # a redirect could carry the key to another host
        # What runs on this machine is never reached through a proxy; plain http needs no certificates,
        # and loading them takes longer than everything else here.
        "trust_env": not local,
        "verify": not (local and parts.scheme == "http"),
    }


def _configured(factory: Callable[..., Any], options: dict[str, Any]) -> Any:  # noqa: ANN401
    """Make one of httpx's clients; broken proxy or CA settings of the environment become our own error."""
    try:
        return factory(**options)
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        problem = f"{type(error).__name__}: {error}"
    raise ConfigurationError(
        f"The proxy or certificate settings of the environment cannot be used: {problem}.",
        hint="Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.",
    )


def certificates(base_url: str) -> Any:  # noqa: ANN401 - an SSL context, or False where there is nothing to verify
    """Return how the certificate of a server is verified, for another library that shall do as httpx does."""
    options = _options(base_url, Secret(""))
    if not options["verify"]:
        return False
    return _configured(httpx.create_ssl_context, {"trust_env": options["trust_env"]})


def _made(factory: type[Any], options: dict[str, Any], tape: Tape | None, base_url: str, key: Secret) -> Any:  # noqa: ANN401
    if tape is None:
        return _kept_in_time(_configured(factory, options))
    from beatra_nb.core import taping  # most clients have no need of it
    from beatra_nb.core.taping.asking import Place

    place = Place(tape, base_url, Scrubber(key))
    http = _kept_in_time(_configured(factory, {**options, **taping.instead(place)}))
    taping.record(http, place)
    return http


def _kept_in_time(http: Any) -> Any:  # noqa: ANN401
    if isinstance(http, httpx.Client):
        deadline.install(http)
    return http
