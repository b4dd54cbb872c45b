"""Fetching audio: whole or not at all, without the key, and only from where it may lie."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb.core import download, jobs
from beatra_nb.core.base_client import BaseClient
from beatra_nb.core.task import AsyncTask, Task
from beatra_nb.store.audio import AudioFiles
from beatra_nb.store.journal import Journal
from tests.core.conftest import QUICK
from tests.core.driving import RESET, Served, Step, Watcher, World, no, page, said, state
from tests.core.sounds import encoded
from tests.core.wire import KEY, Wire, http

MP3 = encoded("MP3", seconds=0.5)
URL = "https://cdn.example.com/1.mp3"
KINDS = pytest.mark.parametrize("kind", [bn.Client, bn.AsyncClient], ids=["sync", "async"])


@pytest.fixture
def second() -> Iterator[Wire]:
    """Another server."""
    server = Wire()
    yield server
    server.stop()


def made(url: str = URL, ident: str = "art_1", **more: Any) -> dict[str, Any]:
    """A task that is over, with one clip."""
    return state("succeeded", output={"clips": [{"artifact_id": ident, "audio_url": url, **more}]})


def fetched(world: World, url: str = URL, *, ident: str = "art_1", **more: Any) -> Any:
    """Let a flow fetch a clip, and return the clip."""
    context = world.context(**{"files": AudioFiles.of_user(), **more})
    clip = Task(None, made(url, ident)).clips[0]
    watch = Watcher()
    world.run(jobs.fetch(context, clip, watch))
    assert clip.data is not None
    return clip


def kept(home: Path) -> list[Path]:
    return sorted((home / "audio").iterdir()) if (home / "audio").exists() else []


async def audio(kind: type[BaseClient], base_url: str, url: str, **more: Any) -> Any:
    """Fetch a clip by either client; return it."""
    if kind is bn.Client:

        def work() -> Any:
            with bn.Client(KEY, base_url=base_url, timeout=QUICK, **more) as client:
                clip = Task(client, made(url)).clips[0]
                clip.audio()
                return clip

        return await asyncio.to_thread(work)
    async with bn.AsyncClient(KEY, base_url=base_url, timeout=QUICK, **more) as client:
        clip = AsyncTask(client, made(url)).clips[0]
        await clip.audio()
        return clip


def cdn(wire: Wire, path: str = "/cdn/1.mp3") -> str:
    return wire.base_url[:-3] + path


# ── both clients, over the wire ──


@KINDS
async def test_it_is_fetched_once_and_kept(wire: Wire, kind: type[BaseClient], isolated: Path) -> None:
    wire.say(http(200, MP3, "text/plain"))
    for _ in range(2):
        clip = await audio(kind, wire.base_url, cdn(wire))
        assert (clip.data, clip.media_type, clip.size, clip.problem) == (MP3, "audio/mpeg", len(MP3), "")
    assert len(wire.asked) == 1, "what was paid for still plays when its address has expired"
    assert [path.read_bytes() for path in kept(isolated)] == [MP3]
    entry = Journal.open().view()[0]
    assert (entry.verb, entry.status, entry.task_id, entry.credits) == ("download", "ok", "task_1", None)


@KINDS
async def test_without_a_journal_nothing_is_kept(wire: Wire, kind: type[BaseClient], isolated: Path) -> None:
    wire.say(http(200, MP3))
    for _ in range(2):
        assert (await audio(kind, wire.base_url, cdn(wire), journal=False)).data == MP3
    assert len(wire.asked) == 2
    assert not isolated.exists()


@KINDS
async def test_neither_key_nor_cookie_reaches_another_host(
    wire: Wire, second: Wire, kind: type[BaseClient]
) -> None:
    wire.say(
        http(200, made(cdn(wire)), set_cookie="session=api-secret; Path=/"),
        http(302, b"", location=cdn(second, "/far/1.mp3?sig=1"), set_cookie="session=cdn-secret; Path=/"),
    )
    second.say(http(307, b"", location="/near/1.mp3"), http(200, MP3))

    def work() -> Any:
        with bn.Client(KEY, base_url=wire.base_url, timeout=QUICK) as client:
            return client.task("task_1").clips[0]

    if kind is bn.Client:
        clip = await asyncio.to_thread(work)
    else:
        async with bn.AsyncClient(KEY, base_url=wire.base_url, timeout=QUICK) as client:
            clip = (await client.task("task_1")).clips[0]
    assert clip.data == MP3
    look, *foreign = [*wire.asked, *second.asked]
    assert look.headers["authorization"] == f"Bearer {KEY}"
    assert [asked.path for asked in foreign] == ["/cdn/1.mp3", "/far/1.mp3?sig=1", "/near/1.mp3"]
    for asked in foreign:
        assert "authorization" not in asked.headers
        assert "cookie" not in asked.headers
        assert KEY not in repr(asked)


@KINDS
async def test_two_hosts_in_turn(wire: Wire, second: Wire, kind: type[BaseClient]) -> None:
    wire.say(http(200, MP3))
    second.say(http(200, MP3))
    urls = [cdn(wire, "/1"), cdn(second, "/2"), cdn(wire, "/3"), cdn(second, "/4")]
    clips = [{"artifact_id": f"art_{n}", "url": url} for n, url in enumerate(urls)]
    wires = state("succeeded", output={"clips": clips})
    if kind is bn.Client:

        def work() -> Any:
            with bn.Client(KEY, base_url=wire.base_url, timeout=QUICK) as client:
                return [clip.audio() for clip in Task(client, wires).clips]

        found = await asyncio.to_thread(work)
    else:
        async with bn.AsyncClient(KEY, base_url=wire.base_url, timeout=QUICK) as client:
            found = [await clip.audio() for clip in AsyncTask(client, wires).clips]
    assert found == [MP3] * 4


async def test_clips_of_two_hosts_side_by_side(wire: Wire, second: Wire) -> None:
    half = len(MP3) // 2
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(MP3)}\r\n\r\n".encode()
    for server in (wire, second):
        server.say([head + MP3[:half], 0.1, MP3[half:]])
    clips = [{"artifact_id": f"art_{n}", "url": cdn(server)} for n, server in enumerate((wire, second) * 2)]
    wires = state("succeeded", output={"clips": clips})
    async with bn.AsyncClient(KEY, base_url=wire.base_url, timeout=QUICK) as client:
        found = await asyncio.gather(*[clip.audio() for clip in AsyncTask(client, wires).clips])
    assert found == [MP3] * 4
    with bn.Client(KEY, base_url=wire.base_url, timeout=QUICK, journal=False) as sync:
        found = await asyncio.gather(*[asyncio.to_thread(clip.audio) for clip in Task(sync, wires).clips])
    assert found == [MP3] * 4, "threads that share a client do not close each other's connections"


def cut(at: int, *, length: int | None = None) -> list[bytes | float]:
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {length or len(MP3)}\r\n\r\n".encode()
    return [head + MP3[:at]]


@KINDS
@pytest.mark.parametrize(
    "fault",
    [
        iter([b""]),
        cut(0),
        cut(len(MP3) // 2),
        cut(len(MP3) - 1),
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n" + MP3[:16] + b"\r\n"],
        http(503, b"<html>", "text/html"),
        http(500, {"error": {"code": "x", "message": "x", "retryable": True}}),
        [b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + MP3[:10], 0.8],
    ],
    ids=["closed", "head only", "half", "all but one", "chunk cut", "503", "enveloped", "stalled"],
)
async def test_what_breaks_off_is_fetched_again(
    wire: Wire, kind: type[BaseClient], fault: Any, isolated: Path
) -> None:
    fault = list(fault) if not isinstance(fault, bytes) else fault
    wire.say(fault, fault, http(200, MP3))
    clip = await audio(kind, wire.base_url, cdn(wire))
    assert clip.data == MP3
    assert len(wire.asked) == 3
    assert [path.read_bytes() for path in kept(isolated)] == [MP3]
    assert Journal.open().view()[0].attempts == 3


@KINDS
async def test_what_breaks_off_always_is_given_up(wire: Wire, kind: type[BaseClient], isolated: Path) -> None:
    wire.say(cut(100))
    with pytest.raises(bn.ConnectionFailed) as caught:
        await audio(kind, wire.base_url, cdn(wire))
    assert (caught.value.attempts, len(wire.asked), kept(isolated)) == (4, 4, [])
    entry = Journal.open().view()[0]
    assert (entry.verb, entry.status, entry.attempts) == ("download", "error", 4)


@KINDS
async def test_compressed_in_transit_it_is_audio_all_the_same(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say(http(200, gzip.compress(MP3), "audio/mpeg", content_encoding="gzip"))
    assert (await audio(kind, wire.base_url, cdn(wire))).data == MP3


@KINDS
async def test_broken_compression_is_an_error_of_ours(
    wire: Wire, kind: type[BaseClient], isolated: Path
) -> None:
    wire.say(http(200, b"\x1f\x8b\x08" + MP3, "audio/mpeg", content_encoding="gzip"))
    with pytest.raises(bn.BeatraError):
        await audio(kind, wire.base_url, cdn(wire))
    assert kept(isolated) == []


@KINDS
async def test_without_a_length_it_is_taken_as_it_comes(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say([b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", MP3[:100], MP3[100:]])
    assert (await audio(kind, wire.base_url, cdn(wire))).data == MP3


@KINDS
async def test_an_expired_address_is_renewed(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say(
        http(403, b"<Error>Expired</Error>", "application/xml"),
        http(200, made(cdn(wire, "/new"))),
        http(200, MP3),
    )
    clip = await audio(kind, wire.base_url, cdn(wire, "/old"))
    assert (clip.data, clip.url) == (MP3, cdn(wire, "/new"))
    assert [asked.path for asked in wire.asked] == ["/old", "/v1/tasks/task_1", "/new"]
    assert ["authorization" in asked.headers for asked in wire.asked] == [False, True, False]


@KINDS
async def test_a_pipe_that_drips_is_ended_by_the_total_time(wire: Wire, kind: type[BaseClient]) -> None:
    drip: list[bytes | float] = [b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"]
    for n in range(100):
        drip += [MP3[n : n + 1], 0.05]
    wire.say(drip)
    times = bn.Timeouts(connect=1, read=1, total=0.6)
    if kind is bn.Client:
        with bn.Client(KEY, base_url=wire.base_url, timeout=times) as client, pytest.raises(bn.Timeout):
            await asyncio.to_thread(Task(client, made(cdn(wire))).clips[0].audio)
    else:
        async with bn.AsyncClient(KEY, base_url=wire.base_url, timeout=times) as aclient, asyncio.timeout(4):
            with pytest.raises(bn.Timeout):
                await AsyncTask(aclient, made(cdn(wire))).clips[0].audio()


# ── flows ──


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_an_address_is_renewed_once(status: int, isolated: Path) -> None:
    world = World().say(page(status), said(body=made("https://cdn.example.com/2.mp3")), Served([MP3]))
    assert fetched(world).data == MP3
    assert world.opened == [URL, "https://cdn.example.com/2.mp3"]
    assert world.asked == [("GET", "/tasks/task_1")]
    world = World().say(page(status), said(body=made("https://cdn.example.com/3.mp3", "art_2")), page(status))
    with pytest.raises(bn.APIError, match="has expired or was withdrawn") as caught:
        fetched(world, ident="art_2")
    assert caught.value.status == status
    assert "task.refresh()" in caught.value.hint
    assert len(world.opened) == 2
    assert len(kept(isolated)) == 1


def test_an_address_that_stays_the_same_is_not_asked_again() -> None:
    world = World().say(page(410), said(body=made()))
    with pytest.raises(bn.APIError, match="expired"):
        fetched(world)
    assert world.opened == [URL]


def test_a_task_that_is_gone_says_so() -> None:
    world = World().say(page(404), no(404, "not_found"))
    with pytest.raises(bn.NotFound):
        fetched(world)
    assert world.opened == [URL]


ODD: dict[str, tuple[Step, str]] = {
    "a page": (
        Served([b"<html>please log in</html>"], {"content-type": "text/html; x=y"}),
        r"not audio \(text/html\)",
    ),
    "JSON": (Served([b'{"ok": true}'], {}), "not audio"),
    "nothing": (Served([], {"content-length": "0"}), "empty file"),
    "a picture": (Served([b"\x89PNG\r\n\x1a\n" + bytes(99)], {"content-type": "audio/mpeg"}), "not audio"),
    "a 500 page": (page(500), "without the API's error envelope"),
    "a redirect nowhere": (said(302, b""), "redirect"),
    "not modified": (said(304, b""), "304"),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_not_audio_is_an_error_that_says_what_it_is(odd: str, isolated: Path) -> None:
    step, says = ODD[odd]
    world = World().say(step)
    with pytest.raises(bn.BeatraError, match=says) as caught:
        fetched(world)
    assert caught.value.hint
    assert not caught.value.retryable
    assert len(world.opened) == 1
    assert kept(isolated) == [], "nothing is left behind"


def test_a_length_that_is_wrong_is_noticed(isolated: Path) -> None:
    short = Served([MP3[:-1]], {"content-length": str(len(MP3))})
    with pytest.raises(bn.ConnectionFailed, match="was cut short") as caught:
        fetched(World().say(short))
    assert caught.value.attempts == 4
    assert fetched(World().say(short, Served([MP3], {"content-length": "not a number"}))).data == MP3
    assert fetched(
        World().say(Served([MP3], {"content-length": "5", "content-encoding": "br"})), ident="art_2"
    ).data
    assert len(kept(isolated)) == 2


def test_the_beginning_of_a_broken_attempt_is_forgotten() -> None:
    world = World().say(Served([b"garbage" * 99, RESET]), Served([MP3[:7], MP3[7:]]))
    assert fetched(world).data == MP3


def test_a_server_that_never_stops_is_stopped(monkeypatch: pytest.MonkeyPatch, isolated: Path) -> None:
    monkeypatch.setattr(download, "LARGEST", 10_000_000)
    pieces = (bytes(1 << 20) for _ in iter(int, 1))
    world = World().say(Served([MP3]))
    world.say(Served([]))
    world.steps[0].pieces = pieces  # type: ignore[union-attr, assignment]
    with pytest.raises(bn.UnexpectedResponse, match="More than 10 MB"):
        fetched(world)
    assert kept(isolated) == []


def test_a_service_that_asks_to_wait_is_waited_for() -> None:
    world = World().say(said(503, b"", retry_after="7"), Served([MP3]))
    began = world.clock.now
    assert fetched(world).data == MP3
    assert 7 <= world.clock.now - began < 8


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (no(429, "rate_limited", retryable=True), bn.RateLimited),
        (no(400, "insufficient_balance", retryable=True), bn.InvalidRequest),
        (no(500, "brand_new", retryable=True), bn.ServerError),
    ],
)
def test_a_stranger_s_refusal_counts_by_its_status_alone(refusal: Any, kind: type[bn.APIError]) -> None:
    world = World().say(refusal)
    with pytest.raises(bn.APIError) as caught:
        fetched(world)
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.retryable, len(world.opened)) == (None, False, 1)
    ours = World().say(no(500, "brand_new", retryable=True), Served([MP3]))
    assert fetched(ours, "https://api.example.com/files/1.mp3").data == MP3


@pytest.mark.parametrize("kind", ["MP3", "WAV", "FLAC", "OGG"])
def test_without_a_length_the_file_itself_must_be_whole(kind: str, isolated: Path) -> None:
    whole = encoded(kind, seconds=1.0)
    world = World().say(Served([whole[: len(whole) // 2]]))
    with pytest.raises(bn.ConnectionFailed, match="breaks off") as caught:
        fetched(world)
    assert (caught.value.retryable, caught.value.attempts) == (True, 4)
    assert kept(isolated) == []
    assert fetched(World().say(Served([whole[:99]]), Served([whole]))).data == whole
    chunked = {"transfer-encoding": "chunked"}  # there the end is said
    assert fetched(World().say(Served([whole], chunked)), ident="art_2").data == whole


def test_takes_of_one_artifact_are_kept_apart(isolated: Path) -> None:
    clips = [{"artifact_id": "art_1", "audio_url": f"https://cdn.example.com/{n}.mp3"} for n in (1, 2)]
    other = encoded("MP3", seconds=0.3)
    world = World().say(Served([MP3]), Served([other]))
    task = Task(None, state("succeeded", output={"clips": clips}))
    world.run(jobs.wait(world.context(files=AudioFiles.of_user()), task, Watcher(), None))
    assert [clip.data for clip in task.clips] == [MP3, other]
    assert len(kept(isolated)) == 2
    again = Task(None, state("succeeded", output={"clips": clips}))
    world = World().say(RESET)
    world.run(jobs.wait(world.context(files=AudioFiles.of_user()), again, Watcher(), None))
    assert [clip.data for clip in again.clips] == [MP3, other]
    assert world.wishes == []


def test_how_far_it_is_is_noted() -> None:
    big = MP3 + bytes(1_000_000)
    watch = Watcher()
    clip = Task(None, made()).clips[0]
    world = World().say(
        Served([big[n : n + 65536] for n in range(0, len(big), 65536)], {"content-length": str(len(big))})
    )
    world.run(jobs.fetch(world.context(), clip, watch))
    assert 3 <= len(watch.notes) <= 4
    assert watch.notes[0].startswith("Fetching take 1 · 2")
    assert all(note.endswith("%") for note in watch.notes)


# ── where it may lie ──

ELSEWHERE = [
    "http://cdn.example.com/a.mp3",
    "http://127.0.0.1:8888/api/kernels",
    "http://localhost/a",
    "http://2130706433/",
    "https://127.0.0.1/a",
    "https://[::1]/a",
    "https://[::ffff:127.0.0.1]/a",
    "https://10.0.0.1/a",
    "https://169.254.169.254/latest",
    "https://[fe80::1]/a",
    "https://localhost/a",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "",
    "https://me:pw@cdn.example.com/a",
    "https://[",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_where_no_clip_of_a_live_service_lies_nothing_is_opened(url: str, isolated: Path) -> None:
    for steps in ([Served([MP3])], [said(302, b"", location=url), Served([MP3])]):
        world = World().say(*steps)
        first = url if len(steps) == 1 else URL
        if len(steps) == 2 and not url:
            continue  # a redirect without a target is another matter
        with pytest.raises(bn.ConnectionFailed) as caught:
            fetched(world, first)
        assert not caught.value.retryable
        assert caught.value.hint
        assert world.opened == ([] if len(steps) == 1 else [URL])
    assert kept(isolated) == []


def test_a_sandbox_does_not_lead_into_the_network_either() -> None:
    base_url = "http://127.0.0.1:4242/v1"
    world = World().say(Served([MP3]))
    assert fetched(world, "http://127.0.0.1:4243/cdn/x", base_url=base_url).data == MP3
    assert world.wishes[0].private
    for url in ("http://10.0.0.1/", "http://169.254.169.254/", "https://192.168.0.1/"):
        world = World().say(said(302, b"", location=url))
        with pytest.raises(bn.ConnectionFailed):
            fetched(world, "http://127.0.0.1:4243/cdn/y", ident="art_2", base_url=base_url)
        assert len(world.opened) == 1
    world = World().say(said(302, b"", location=URL), Served([MP3]))
    fetched(world, "http://127.0.0.1:4243/cdn/z", ident="art_3", base_url=base_url)
    assert [wish.private for wish in world.wishes if hasattr(wish, "private")] == [True, False]


def test_redirects_that_go_round_in_circles_end(isolated: Path) -> None:
    world = World().say(said(302, b"", location="/a"))
    with pytest.raises(bn.ConnectionFailed, match="round in circles"):
        fetched(world)
    assert len(world.opened) == download.HOPS + 1


@pytest.mark.parametrize("target", ["/x", "x", "//other.example.com/x", "https://other.example.com/x?y#z"])
def test_redirects_lead_where_they_say(target: str) -> None:
    world = World().say(said(308, b"", location=target), Served([MP3]))
    assert fetched(world).data == MP3
    assert world.opened[1].startswith("https://")
    assert world.opened[1].rpartition("/")[2].startswith("x")


# ── for a view ──


def test_what_cannot_be_fetched_is_said_in_the_clip_and_fetched_later() -> None:
    task = Task(None, made())
    world = World().say(RESET)
    world.run(jobs.wait(world.context(), task, Watcher(), None))
    clip = task.clips[0]
    assert (task.status, clip.data, clip.problem) == ("succeeded", None, "The connection was reset.")
    world.run(jobs.fetch(world.say(Served([MP3])).context(), clip, Watcher()))
    assert (clip.data, clip.problem) == (MP3, "")


def test_one_bad_take_does_not_cost_the_other() -> None:
    task = Task(
        None,
        state(
            "succeeded",
            output={
                "clips": [{"artifact_id": "a", "url": "http://10.0.0.1/"}, {"artifact_id": "b", "url": URL}]
            },
        ),
    )
    world = World().say(Served([MP3]))
    world.run(jobs.wait(world.context(), task, Watcher(), None))
    assert [clip.data for clip in task.clips] == [None, MP3]
    assert "not with https" in task.clips[0].problem


@pytest.mark.parametrize("embed", ["auto", True, False])
def test_audio_is_fetched_whether_or_not_the_output_shall_hold_it(embed: Any) -> None:
    task = Task(None, made(), embed=embed)
    world = World().say(Served([MP3]))
    world.run(jobs.wait(world.context(), task, Watcher(), None))
    assert task.clips[0].data == MP3


@pytest.mark.parametrize("ident", ["../../x", "a/b", "x" * 5000, "\0", "nul", "\ud800", "日本", "."])
def test_a_hostile_id_stays_in_the_folder(isolated: Path, ident: str) -> None:
    assert fetched(World().say(Served([MP3])), ident=ident).data == MP3
    world = World().say(RESET)
    assert fetched(world, ident=ident).data == MP3, "it is found again"
    assert world.wishes == []
    files = [path for path in isolated.parent.rglob("*") if path.is_file() and "journal" not in path.name]
    assert files == kept(isolated)
    assert len(files) == 1


def test_an_id_of_another_place_is_another_clip() -> None:
    fetched(World().say(Served([MP3])))
    other = MP3 + bytes(100)
    world = World().say(Served([other]))
    assert fetched(world, base_url="https://eu.example.com/v1").data == other
    assert fetched(World().say(RESET)).data == MP3


def test_without_an_id_nothing_is_taken_for_it() -> None:
    fetched(World().say(Served([MP3])), ident="")
    other = MP3 + bytes(100)
    assert fetched(World().say(Served([other])), "https://cdn.example.com/2.mp3", ident="").data == other
