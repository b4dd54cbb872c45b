"""Every verb exists three ways, and its awaited twin is the same: by its signature, and by what comes of it."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb.core.task_list import AsyncPendingList, AsyncTaskList, PendingList, TaskList
from beatra_nb.sandbox import Sandbox
from tests.core.sounds import encoded

SHORT = {"model": "minimax-music-2.6", "model_options": {"sandbox": {"seconds": 2, "seed": 7}}}
VERBS = [
    "chat", "stream", "models", "capabilities", "health",
    "map", "music", "upload", "task", "tasks", "pending",
]  # fmt: skip
TWINS: list[tuple[type, type]] = [
    (bn.Client, bn.AsyncClient),
    (bn.Task, bn.AsyncTask),
    (bn.Clip, bn.AsyncClip),
    (TaskList, AsyncTaskList),
    (PendingList, AsyncPendingList),
]
# What one of two twins has alone, and why.
ALONE = {
    "twin",  # the async client of a blocking one
    "__enter__", "__exit__", "__aenter__", "__aexit__", "__iter__", "__aiter__",  # one protocol each
    "__getitem__",  # an index cannot be awaited: pages are fetched by ``more``
}  # fmt: skip
BLOCKING = {  # what costs no exchange is the same in both worlds
    bn.Client: {"stream"},  # its pieces are awaited
    bn.Clip: {"waveform"},  # a property cannot be awaited: it needs the audio to be here
}


# ── by their signatures ──


def public(kind: type) -> dict[str, Any]:
    """What a class has that users may use, below what both twins inherit."""
    shared = {BaseException, object}
    return {
        name: inspect.getattr_static(kind, name)
        for each in kind.__mro__
        if each not in shared
        for name in vars(each)
        if (not name.startswith("_") or name in ALONE) and not name.startswith("__orig")
    }


def keywords(function: Callable[..., Any]) -> list[tuple[str, Any, Any, str]]:
    """A verb's parameters: what they are called, how they are passed, and what they are when nobody says."""
    parameters = [each for each in inspect.signature(function).parameters.values() if each.name != "self"]
    return [(each.name, each.kind, each.default, str(each.annotation)) for each in parameters]


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_exists_three_ways_with_the_same_keywords(name: str) -> None:
    blocking, awaited = getattr(bn, name), getattr(bn, f"a{name}")
    ways = [getattr(bn.Client, name), getattr(bn.AsyncClient, name), blocking, awaited]
    assert all(keywords(way) == keywords(ways[0]) for way in ways)
    assert all(way.__doc__ for way in ways)
    assert inspect.iscoroutinefunction(bn.AsyncClient.__dict__.get(name, getattr(bn.AsyncClient, name))) is (
        name != "stream"
    )
    assert not inspect.iscoroutinefunction(ways[0])
    assert {name, f"a{name}"} <= set(bn.__all__)


def test_no_verb_was_forgotten() -> None:
    verbs = {name for name, thing in public(bn.Client).items() if inspect.isfunction(thing)}
    assert verbs - {"close", "twin"} - ALONE == set(VERBS)
    connections = [bn.connect, bn.Client, bn.AsyncClient]
    assert all(
        [each[:3] for each in keywords(way)] == [each[:3] for each in keywords(bn.Client)]
        for way in connections
    )


@pytest.mark.parametrize(("blocking", "awaited"), TWINS, ids=lambda kind: kind.__name__)
def test_twins_have_the_same_verbs_with_the_same_keywords(blocking: type, awaited: type) -> None:
    ours, theirs = public(blocking), public(awaited)
    assert {*ours} ^ {*theirs} <= ALONE
    for name in {*ours} & {*theirs} - ALONE:
        assert type(ours[name]) is type(theirs[name]), name
        if not inspect.isfunction(ours[name]):
            continue
        assert keywords(ours[name]) == keywords(theirs[name]), name
        inherited = ours[name] is theirs[name]
        alike = inherited or name in BLOCKING.get(blocking, ())
        assert inspect.iscoroutinefunction(theirs[name]) is not alike, name
        assert not inspect.iscoroutinefunction(ours[name]), name


def test_what_comes_back_is_of_the_same_world() -> None:
    names = "|".join([*(blocking.__name__ for blocking, _ in TWINS[1:]), "TextStream"])
    for blocking, awaited in TWINS:
        for name in {*public(blocking)} & {*public(awaited)} - ALONE:
            first, second = (inspect.getattr_static(kind, name) for kind in (blocking, awaited))
            if first is not second and inspect.isfunction(first):
                returned = [str(inspect.signature(each).return_annotation) for each in (first, second)]
                assert re.sub(rf"\b({names})\b", r"Async\1", returned[0]) == returned[1], name


# ── by what comes of them ──


@dataclass
class Way:
    """One of the four ways to say a verb."""

    name: str
    verbs: Callable[[str], Callable[..., Any]]
    awaited: bool

    async def __call__(self, verb: str, *args: Any, **more: Any) -> Any:
        return await self.done(self.verbs(verb)(*args, **more))

    async def done(self, result: Any) -> Any:
        """What a verb gives, awaited in the awaited world and only there."""
        assert inspect.isawaitable(result) is self.awaited
        return await result if self.awaited else result

    async def all_of(self, listing: Any) -> list[Any]:
        return [each async for each in listing] if self.awaited else list(listing)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox of the test's own: nobody else's tasks are in it."""
    with bn.sandbox.start(engine="scripted", faults=True, state=tmp_path / "state") as sandbox:
        yield sandbox


WAYS = ["Client", "AsyncClient", "bn", "bn, awaited"]


@pytest.fixture(params=WAYS)
async def way(request: pytest.FixtureRequest, box: Sandbox) -> AsyncIterator[Way]:
    match request.param:
        case "Client":
            with bn.Client(box.api_key, base_url=box.base_url) as client:
                yield Way("Client", lambda verb: getattr(client, verb), awaited=False)
        case "AsyncClient":
            async with bn.AsyncClient(box.api_key, base_url=box.base_url) as twin:
                yield Way("AsyncClient", lambda verb: getattr(twin, verb), awaited=True)
        case "bn":
            with bn.connect(box.api_key, base_url=box.base_url):
                yield Way("bn", lambda verb: getattr(bn, verb), awaited=False)
        case _:
            with bn.connect(box.api_key, base_url=box.base_url):
                yield Way("bn, awaited", lambda verb: getattr(bn, f"a{verb}"), awaited=True)
                from beatra_nb import verbs

                await verbs.default_async_client().close()


async def test_music(way: Way, box: Sandbox, tmp_path: Path) -> None:
    task = await way("music", "slow blues", title="Rain", idempotency_key="mine", **SHORT)
    assert type(task) is (bn.AsyncTask if way.awaited else bn.Task)
    assert (task.status, task.done, task.title, task.prompt) == ("succeeded", True, "Rain", "slow blues")
    assert (task.billing.charged, task.attached, task.sandbox) == (Decimal(50), "", True)
    [clip] = task.clips
    assert type(clip) is (bn.AsyncClip if way.awaited else bn.Clip)
    audio = await way.done(clip.audio())
    assert audio == clip.data
    assert clip.media_type == "audio/mpeg"
    samples, rate = await way.done(clip.to_numpy())
    assert samples.shape[0] / rate == pytest.approx(2, abs=1.5)
    assert clip.waveform.shape == (400,)
    where = await way.done(clip.save(tmp_path / "song"))
    assert where == tmp_path / "song.mp3" == clip.saved
    assert where.read_bytes() == audio
    with pytest.raises(bn.InvalidInput, match="already there"):
        await way.done(clip.save(where))
    assert await way.done(clip.save(where, overwrite=True)) == where

    assert await way.done(task.refresh()) is task
    assert await way.done(task.wait()) is task
    assert await way.done(task.wait(timeout=5)) is task
    assert await way.done(task.cancel("too late")) is task
    assert task.status == "succeeded", "what is over comes back unchanged"
    assert task.clips == (clip,), "and its audio stays"

    again = await way("music", "slow blues", title="Rain", idempotency_key="mine", **SHORT)
    assert (again.id, again.attached, again.clips[0].data) == (task.id, "key", audio)
    reused = await way("music", "slow blues", title="Rain", rerun="reuse", **SHORT)
    assert (reused.id, reused.attached) == (task.id, "rerun")
    new = await way("music", "slow blues", title="Rain", **SHORT)
    assert (new.id != task.id, new.attached) == (True, "")
    assert box.balance == 10_000 - 2 * 50


async def test_tasks(way: Way, box: Sandbox) -> None:
    begun = [await way("music", f"number {n}", wait=False, **SHORT) for n in range(3)]
    assert all(task.id for task in begun)
    pending = await way("pending")
    assert type(pending) is (AsyncPendingList if way.awaited else PendingList)
    assert [task.id for task in pending] == [task.id for task in begun]
    assert {task.attached for task in pending} == {"pending"}
    finished = await way.done(pending.wait(60))
    assert [task.status for task in finished] == ["succeeded"] * 3
    assert all(clip.data for task in finished for clip in task.clips)
    assert not await way("pending")

    listing = await way("tasks", status="succeeded", limit=2, order="asc", expand=["output", "billing"])
    assert type(listing) is (AsyncTaskList if way.awaited else TaskList)
    assert ([task.id for task in listing.items], listing.has_more) == ([t.id for t in begun[:2]], True)
    assert [task.id for task in await way.all_of(listing)] == [task.id for task in begun]
    assert await way.done(listing.more()) is False
    frame = await way.done(listing.to_frame())
    assert [*frame["id"]] == [task.id for task in begun]

    found = await way("task", begun[0].id)
    assert type(found) is type(begun[0])
    assert (found.status, found.clips[0].data) == ("succeeded", finished[0].clips[0].data)
    bare = await way("task", begun[0].id, audio=False, embed=False)
    assert (bare.clips[0].data, bare.embed) == (None, False)
    assert await way.done(bare.clips[0].audio()) == found.clips[0].data
    with pytest.raises(bn.NotFound):
        await way("task", "task_unheard_of")
    assert box.balance == 10_000 - 3 * 50


async def test_cancelling(way: Way, box: Sandbox) -> None:
    box.inject("task:stall")
    task = await way("music", "for ever", wait=False, **SHORT)
    with pytest.raises(bn.TaskTimeout) as caught:
        await way.done(task.wait(0.5))
    assert caught.value.task is task
    assert box.balance == 10_000 - 50
    assert await way.done(task.cancel(reason="enough")) is task
    assert (task.status, task.billing.refunded) == ("canceled", Decimal(50))
    assert await way.done(task.wait()) is task, "a canceled task is over, and no error"
    assert box.balance == 10_000


async def test_failing(way: Way, box: Sandbox) -> None:
    box.inject("task:model_unavailable")
    with pytest.raises(bn.TaskFailed) as caught:
        await way("music", "bad luck", **SHORT)
    assert (caught.value.code, caught.value.retryable) == ("model_unavailable", True)
    assert type(caught.value.task) is (bn.AsyncTask if way.awaited else bn.Task)
    assert box.balance == 10_000


async def test_uploads(way: Way, box: Sandbox, tmp_path: Path) -> None:
    song = encoded("MP3")
    (tmp_path / "riff.mp3").write_bytes(song)
    first = await way("upload", tmp_path / "riff.mp3", purpose="reference_audio", metadata={"mine": 1})
    assert (first.name, first.size, first.media_type) == ("riff.mp3", len(song), "audio/mpeg")
    assert (first.purpose, first.metadata, first.reused) == ("reference_audio", {"mine": 1}, False)
    again = await way(
        "upload", io.BytesIO(song), purpose="reference_audio", media_type="audio/mp3", metadata={"mine": 1}
    )
    assert (again.id, again.reused, again.sha256) == (first.id, True, first.sha256)
    fresh = await way("upload", song, purpose="reference_audio", fresh=True, idempotency_key="mine")
    assert (fresh.id != first.id, fresh.reused) == (True, False)
    for reference in (first, first.id, tmp_path / "riff.mp3"):
        task = await way("music", "in this manner", reference=reference, **SHORT)
        assert (task.status, task.capability) == ("succeeded", "music.reference-audio-to-music")
    uploads = [each for each in box.seen if each.path == "/v1/uploads"]
    assert len(uploads) == 2, "as a reference it is found among what was uploaded"
