"""Addresses that a service names: which are asked, and which never."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beatra_nb.core import foreign
from beatra_nb.core.flow import Answer, Failure, Open
from beatra_nb.core.settings import Secret
from beatra_nb.core.transport import AsyncTransport, Transport
from tests.core.conftest import QUICK
from tests.core.wire import KEY, Wire, http

GOOD = [
    "https://cdn.example.com/a.mp3",
    "https://cdn.example.com:8443/a.mp3?sig=1&x=%2F",
    "https://8.8.8.8/a.mp3",
    "https://[2606:4700::1111]/a.mp3",
    "https://[::ffff:8.8.8.8]/a.mp3",
    "HTTPS://CDN.EXAMPLE.COM/a.mp3",
]
NO_ADDRESS = [
    "",
    "x",
    "/a.mp3",
    "//",
    "https://",
    "https:///a.mp3",
    "https://[::1",
    "https://h:99999/",
    "https://h:x/",
]
NO_ADDRESS += [
    "https://me@cdn.example.com/",
    "https://me:pw@cdn.example.com/",
    "https://a b/",
    "https://a\n/",
    "https://a\u202e/",
]
NO_HTTPS = [
    "http://cdn.example.com/a",
    "ftp://cdn.example.com/a",
    "file://host/etc/passwd",
    "gopher://h/1",
    "http://2130706433/",
]
NO_HTTPS += [
    "http://127.0.0.1/",
    "http://localhost/",
    "http://[::1]/",
    "http://169.254.169.254/latest/meta-data",
]
PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "localhost",
    "[::1]",
    "0.0.0.0",
    "[::]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "[fe80::1]",
    "[fd00::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::1]",
    "[2002:a00:1::]",
    "printer.local",
    "app.localhost",
    "localhost.",
    "app.localhost.",
    "metadata.google.internal",
    "192.0.2.1",
    "255.255.255.255",
    "240.0.0.1",
]
# What only looking the name up shows.
HIDDEN = ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "１２７.0.0.1", "①27.0.0.1"]


def said(url: str, *, local: bool = False) -> str:
    failure = foreign.refused(url, local=local)
    if failure is None:
        return ""
    assert not failure.retryable
    assert failure.hint
    return failure.what


@pytest.mark.parametrize("url", GOOD)
def test_what_is_asked(url: str) -> None:
    assert said(url) == ""
    assert said(url, local=True) == ""


@pytest.mark.parametrize("url", NO_ADDRESS)
def test_what_is_no_address(url: str) -> None:
    for local in (False, True):
        assert "no usable address" in said(url, local=local) or "not with https" in said(url, local=local)


@pytest.mark.parametrize("url", NO_HTTPS)
def test_what_is_not_https(url: str) -> None:
    assert "not with https" in said(url)


@pytest.mark.parametrize("host", PRIVATE)
def test_what_leads_inside(host: str) -> None:
    assert "private network" in said(f"https://{host}/a.mp3")
    assert "private network" in said(f"https://{host.upper()}:8443/a.mp3")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_sandbox_on_this_machine_may_name_itself_and_no_other(host: str) -> None:
    assert said(f"http://{host}:80/cdn/a", local=True) == ""
    for inside in ("10.0.0.1", "169.254.169.254", "0.0.0.0", "printer.local"):
        assert said(f"http://{inside}/a", local=True)
        assert said(f"https://{inside}/a", local=True)


@given(st.text(), st.booleans())
@example("https://[", False)
@example("https://a..b/", False)
@example("https://\ud800/", False)
@example("https://[::1%25eth0]/", False)
@example("https://[fe80::1%eth0]/", False)
@example("https://" + "a" * 70 + "/", False)
def test_no_text_breaks_it(text: str, local: bool) -> None:
    for url in (text, f"https://{text}", f"https://{text}/a", f"http://[{text}]/"):
        failure = foreign.refused(url, local=local)
        assert failure is None or isinstance(failure, Failure)


def one(url: str) -> Generator[Any, Any, Any]:
    """A flow that asks one address."""
    return (yield Open(url, QUICK, 3.0))


async def ask(base_url: str, url: str, how: str) -> Any:
    """Let a driver ask an address."""
    if how == "sync":
        transport = Transport(base_url, Secret(KEY))
        try:
            return await asyncio.to_thread(transport.run, one(url))
        finally:
            transport.close()
    awaited = AsyncTransport(base_url, Secret(KEY))
    try:
        return await awaited.run(one(url))
    finally:
        await awaited.close()


HOWS = pytest.mark.parametrize("how", ["sync", "async"])


@HOWS
@pytest.mark.parametrize("host", [*HIDDEN, *PRIVATE[:6], "[::ffff:127.0.0.1]"])
async def test_no_connection_is_made_to_what_leads_inside(wire: Wire, how: str, host: str) -> None:
    wire.say(http(200, b"secret"))
    port = wire.base_url.rpartition(":")[2].partition("/")[0]
    outcome = await ask("https://api.example.com/v1", f"https://{host}:{port}/a.mp3", how)
    assert isinstance(outcome, Failure)
    assert "private network" in outcome.what
    assert not outcome.retryable
    assert wire._open == []


@HOWS
@pytest.mark.parametrize("host", ["a..b", "a" * 70, "xn--", "-", "."])
async def test_a_name_that_is_none_fails_in_plain_words(how: str, host: str) -> None:
    outcome = await ask("https://api.example.com/v1", f"https://{host}/a.mp3", how)
    assert isinstance(outcome, Failure)


class Stream:
    """The network beneath a response."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get_extra_info(self, name: str) -> Any:
        return {"server_addr": (self.address, 443)}.get(name)


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        ("8.8.8.8", True),
        ("::ffff:8.8.8.8", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_a_name_that_leads_elsewhere_a_moment_later_is_noticed(address: str, fine: bool) -> None:
    wish = Open("https://cdn.example.com/a.mp3", QUICK, 3.0)
    response = httpx.Response(200, extensions={"network_stream": Stream(address)})
    failure = foreign.check_peer(wish, response)
    assert (failure is None) is fine
    assert foreign.check_peer(Open(wish.url, QUICK, 3.0, private=True), response) is None
    assert foreign.check_peer(wish, httpx.Response(200)) is None


def test_behind_a_proxy_the_proxy_looks_the_name_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    assert foreign.check(Open("https://cdn.nowhere.invalid/a", QUICK, 3.0)) is None
    for host in PRIVATE:
        assert foreign.check(Open(f"https://{host}/a", QUICK, 3.0)) is not None, (
            "letters are enough for these"
        )


@HOWS
async def test_the_key_is_unknown_to_foreign_clients(wire: Wire, how: str) -> None:
    wire.say(http(200, b"x" * 10, "audio/mpeg"))

    def local() -> Generator[Any, Any, Any]:
        return (yield Open(f"{wire.base_url[:-3]}/cdn/a", QUICK, 3.0, private=True))

    if how == "sync":
        transport = Transport(wire.base_url, Secret(KEY))
        answer = await asyncio.to_thread(transport.run, local())
        client: Any = transport.foreign(wire.base_url)
        transport.close()
    else:
        awaited = AsyncTransport(wire.base_url, Secret(KEY))
        answer = await awaited.run(local())
        client = awaited.foreign(wire.base_url)
        await awaited.close()
    assert isinstance(answer, Answer)
    assert KEY not in repr(vars(client))
    assert client.auth is None
    assert set(wire.asked[0].headers) == {"host", "user-agent", "accept", "accept-encoding", "connection"}
    assert wire.asked[0].headers["accept-encoding"] == "identity"
