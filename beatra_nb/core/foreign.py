"""Addresses that a service names and that are not the service: where a clip lies.

They are asked without the key, and never inside this machine or a private network: an address is data from
outside, and following it blindly would let a server reach what only this machine can.
"""

from __future__ import annotations

import ipaddress
import socket
import urllib.request
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from beatra_nb import __version__
from beatra_nb.core.flow import Failure
from beatra_nb.core.settings import is_loopback

if TYPE_CHECKING:
    import httpx

    from beatra_nb.core.flow import Open

PRIVATE = "The address of the audio leads into a private network ({host}), so it was not asked."
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
PRIVATE_HINT = "Only the service's public addresses are fetched: tell its support, with the request id."


def options(url: str) -> dict[str, Any]:
    """Return what httpx's clients for such an address are made with: no key, no redirects by themselves."""
    parts = urlsplit(url)
    local = is_loopback(parts.hostname or "")
    return {
        # Compressed in transit, a file's length could not be checked.
        "headers": {"User-Agent": f"beatra-nb/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"},
        "follow_redirects": False,  # each hop is checked first
        "trust_env": not local,
        "verify": not (local and parts.scheme == "http"),
    }


def kind(url: str) -> str:
    """Return what ``options`` differ by: addresses of one kind are asked by one client."""
    parts = urlsplit(url)
    return f"{parts.scheme} here" if is_loopback(parts.hostname or "") else "elsewhere"


def no_cookies(http: httpx.Client | httpx.AsyncClient) -> None:
    """Have a client neither take cookies nor send any: of those who lend a file, none needs to know it again."""
    http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))


def host_of(url: str) -> str:
    """Return the host of an address; empty where it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def refused(url: str, *, local: bool) -> Failure | None:
    """Return why an address is not asked, judged by its letters; ``local`` when loopback may be.

    Examples
    --------
    >>> refused("https://cdn.example.com/a.mp3", local=False) is None
    True
    >>> refused("http://cdn.example.com/a.mp3", local=False).retryable
    False
    """
    try:
        parts = urlsplit(url if url.isprintable() and " " not in url else "")
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    hint = "task.refresh() asks the service for the addresses anew."
    if not host or parts.username or parts.password:
        return Failure("The service gave no usable address for the audio.", retryable=False, hint=hint)
    if local and is_loopback(host):
        return None
    if parts.scheme != "https":
        what = f"The address of the audio begins with {parts.scheme[:12]}:, not with https:, so it was not asked."
        return Failure(what, retryable=False, hint=hint)
    name = host.rstrip(".")  # localhost. is localhost
    if is_loopback(name) or name.endswith((".localhost", ".local", ".internal")) or _private_literal(name):
        return Failure(PRIVATE.format(host=host[:80]), retryable=False, hint=PRIVATE_HINT)
    return None


def check(wish: Open) -> Failure | None:
    """Return why an address is not asked, judged by what its name resolves to; blocks for the look-up."""
    if (failure := refused(wish.url, local=wish.private)) is not None or wish.private:
        return failure
    parts = urlsplit(wish.url)
    host = parts.hostname or ""
    if _proxied(parts.scheme, host):
        return None  # the proxy looks the name up, where this machine may not be able to
    try:
        found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError:
        return None  # connecting says the same in better words
    if any(_is_private(str(entry[4][0])) for entry in found):
        return Failure(PRIVATE.format(host=host[:80]), retryable=False, hint=PRIVATE_HINT)
    return None


def check_peer(wish: Open, response: httpx.Response) -> Failure | None:
    """Return why an answer is not used: the name led elsewhere a moment later (DNS rebinding)."""
    parts = urlsplit(wish.url)
    if wish.private or _proxied(parts.scheme, parts.hostname or ""):
        return None
    stream = response.extensions.get("network_stream")
    peer = stream.get_extra_info("server_addr") if stream is not None else None
    if peer and _is_private(str(peer[0])):
        return Failure(PRIVATE.format(host=(parts.hostname or "")[:80]), retryable=False, hint=PRIVATE_HINT)
    return None


def _proxied(scheme: str, host: str) -> bool:
    proxies = urllib.request.getproxies()
    return bool(proxies.get(scheme) or proxies.get("all")) and not urllib.request.proxy_bypass(host)


def _private_literal(host: str) -> bool:
    try:
        return _is_private(host)
    except ValueError:
        pass
    try:
        return _is_private(
            socket.inet_ntoa(socket.inet_aton(host))
        )  # 127.1, 2130706433: old ways of writing it
    except (OSError, ValueError):
        return False


def _is_private(address: str) -> bool:
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        # Some hold an address of the old kind: ::ffff:127.0.0.1, 64:ff9b::7f00:1 and 2002:7f00:1:: are 127.0.0.1.
        translated = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in _TRANSLATED else None
        ip = ip.ipv4_mapped or ip.sixtofour or translated or ip
    return not ip.is_global
