"""Lists of tasks: pages as they are asked for, and what is unfinished."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.core.base_client import BaseClient
from beatra_nb.core.task import Task
from beatra_nb.core.task_list import (
    AsyncPendingList,
    BaseTaskList,
    LostJob,
    PendingList,
    TaskList,
    checked_filters,
)
from beatra_nb.store.journal import Journal
from tests.core.conftest import QUICK
from tests.core.driving import billing, state
from tests.core.wire import KEY, Wire, http

KINDS = pytest.mark.parametrize("kind", [bn.Client, bn.AsyncClient], ids=["sync", "async"])


def a_page(*idents: str, **more: Any) -> bytes:
    return http(
        200,
        {"object": "list", "data": [state("succeeded", ident) for ident in idents], **more},
        x_request_id="req_1",
    )


class Talk:
    """The verbs of either client, awaited."""

    def __init__(self, kind: type[BaseClient], base_url: str) -> None:
        self.client: Any = kind(KEY, base_url=base_url, timeout=QUICK)

    async def __aenter__(self) -> Talk:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self(self.client.close)

    async def __call__(self, verb: Any, *args: Any, **more: Any) -> Any:
        if isinstance(self.client, bn.Client):
            return await asyncio.to_thread(verb, *args, **more)
        return await verb(*args, **more)

    async def all(self, listing: Any) -> list[Any]:
        if isinstance(listing, AsyncIterator) or hasattr(listing, "__aiter__"):
            return [task async for task in listing]
        return await asyncio.to_thread(list, listing)


def filters(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "status": None,
        "capability": None,
        "limit": 20,
        "created_after": None,
        "created_before": None,
        "order": "desc",
        "expand": None,
        "cursor": None,
    }
    return checked_filters(**given | more)


# ── filters ──


def test_filters_as_they_are_sent() -> None:
    assert filters() == {"limit": 20, "order": "desc"}
    assert filters(
        status="failed",
        capability="text_to_music",
        limit=100,
        order="asc",
        cursor="c1",
        expand=["output", "usage, billing"],
    ) == {
        "limit": 100,
        "order": "asc",
        "status": "failed",
        "capability": "text_to_music",
        "cursor": "c1",
        "expand": "output,usage,billing",
    }
    assert filters(expand="all")["expand"] == "all"
    assert "expand" not in filters(expand=[])


def test_times_are_sent_in_utc() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))
    assert filters(created_after=noon)["created_after"] == "2026-01-31T10:00:00Z"
    assert filters(created_before="2026-01-31T12:00:00+02:00")["created_before"] == "2026-01-31T10:00:00Z"
    naive = datetime(2026, 1, 31, 12)
    assert filters(created_after=naive)["created_after"] == naive.astimezone(UTC).isoformat().replace(
        "+00:00", "Z"
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"status": "done"}, "status must be one of queued"),
        ({"status": ["failed"]}, "status must be one of"),
        ({"limit": 0}, "limit must be a whole number from 1 to 100"),
        ({"limit": 101}, "limit must be"),
        ({"limit": True}, "limit must be"),
        ({"limit": 5.0}, "limit must be"),
        ({"order": "up"}, "order must be"),
        ({"expand": "everything"}, "expand can be"),
        ({"expand": ["output", 5]}, "expand can be"),
        ({"created_after": "yesterday"}, "created_after must be a datetime"),
        ({"created_before": 5}, "created_before must be"),
        ({"created_before": date(2026, 1, 1)}, "created_before must be"),
        ({"created_after": datetime.min}, "created_after must be"),
        (
            {"created_after": datetime.max.replace(tzinfo=timezone(-timedelta(hours=5)))},
            "created_after must be",
        ),
        ({"capability": 5}, "capability must be text"),
        ({"capability": "half \ud83d"}, "half a character"),
        ({"cursor": b"x"}, "cursor must be text"),
    ],
)
def test_filters_that_would_be_refused(more: Any, says: str, wire: Wire, client: bn.Client) -> None:
    with pytest.raises(bn.InvalidInput, match=says):
        client.tasks(**more)
    assert wire._open == []


@KINDS
async def test_filters_arrive(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say(a_page())
    async with Talk(kind, wire.base_url) as talk:
        await talk(talk.client.tasks, status="failed", capability="a&b=c #é", expand=["output"], limit=5)
    parts = urlsplit(wire.asked[0].path)
    assert parts.path == "/v1/tasks"
    assert parse_qs(parts.query) == {
        "limit": ["5"],
        "order": ["desc"],
        "status": ["failed"],
        "capability": ["a&b=c #é"],
        "expand": ["output"],
    }


# ── pages ──


@KINDS
async def test_pages_are_fetched_as_they_are_needed(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say(
        a_page("t1", "t2", has_more=True, next_cursor="c/1&"),
        a_page("t3", "t4", has_more=True, next_cursor="c2"),
        a_page("t5", has_more=False, next_cursor=None),
    )
    async with Talk(kind, wire.base_url) as talk:
        tasks = await talk(talk.client.tasks, status="succeeded", limit=2)
        assert (len(wire.asked), len(tasks.items), tasks.has_more, tasks.request_id) == (1, 2, True, "req_1")
        assert "2 tasks, more on the service" in repr(tasks)
        assert await talk(tasks.more) is True
        assert [task.id for task in tasks.items] == ["t1", "t2", "t3", "t4"]
        assert [task.id for task in await talk.all(tasks)] == ["t1", "t2", "t3", "t4", "t5"]
        assert [task.id for task in await talk.all(tasks)] == ["t1", "t2", "t3", "t4", "t5"]
        assert await talk(tasks.more) is False
        assert tasks.items[0].client is talk.client
    queries = [parse_qs(urlsplit(asked.path).query) for asked in wire.asked]
    assert [query.get("cursor") for query in queries] == [None, ["c/1&"], ["c2"]]
    assert all(query["status"] == ["succeeded"] and query["limit"] == ["2"] for query in queries)
    assert [entry.verb for entry in Journal.open()] == ["tasks"] * 3


def test_an_index_fetches_up_to_it(wire: Wire, client: bn.Client) -> None:
    wire.say(
        a_page("t1", "t2", has_more=True, next_cursor="c1"),
        a_page("t3", "t4", has_more=True, next_cursor="c2"),
        a_page("t5"),
    )
    tasks = client.tasks()
    assert tasks[1].id == "t2"
    assert [task.id for task in tasks[:2]] == ["t1", "t2"]
    assert len(wire.asked) == 1
    assert [task.id for task in tasks[1:3]] == ["t2", "t3"]
    assert len(wire.asked) == 2
    assert tasks[-1].id == "t5"
    assert [task.id for task in tasks[3:]] == ["t4", "t5"]
    assert [task.id for task in tasks[::-2]] == ["t5", "t3", "t1"]
    with pytest.raises(IndexError):
        tasks[5]
    assert len(wire.asked) == 3


@KINDS
@pytest.mark.parametrize(
    "second",
    [
        {"idents": ("t1",), "has_more": True, "next_cursor": "c1"},
        {"idents": ("t1",), "has_more": True, "next_cursor": "c9"},
        {"idents": ("t2",), "has_more": True, "next_cursor": None},
        {"idents": (), "has_more": True, "next_cursor": "c1"},
        {"idents": (), "has_more": True, "next_cursor": 7},
    ],
    ids=["the same page", "the same tasks", "no cursor", "the same cursor", "an odd cursor"],
)
async def test_a_service_that_is_stuck_is_not_asked_for_ever(
    wire: Wire, kind: type[BaseClient], second: Any
) -> None:
    more = {name: value for name, value in second.items() if name != "idents"}
    wire.say(a_page("t1", has_more=True, next_cursor="c1"), a_page(*second["idents"], **more))
    async with Talk(kind, wire.base_url) as talk:
        tasks = await talk(talk.client.tasks)
        found = [task.id for task in await talk.all(tasks)]
    assert found == list(dict.fromkeys(["t1", *second["idents"]]))
    assert len(wire.asked) == 2
    assert not tasks.has_more


@KINDS
async def test_a_page_without_has_more_goes_by_its_cursor(wire: Wire, kind: type[BaseClient]) -> None:
    wire.say(a_page("t1", next_cursor="c1"), a_page("t2"))
    async with Talk(kind, wire.base_url) as talk:
        assert [task.id for task in await talk.all(await talk(talk.client.tasks))] == ["t1", "t2"]


@KINDS
async def test_a_page_that_fails_loses_nothing(wire: Wire, kind: type[BaseClient]) -> None:
    refusal = http(500, {"error": {"code": "x", "message": "x", "retryable": False}})
    wire.say(a_page("t1", has_more=True, next_cursor="c1"), refusal, a_page("t2"))
    async with Talk(kind, wire.base_url) as talk:
        tasks = await talk(talk.client.tasks)
        with pytest.raises(bn.ServerError):
            await talk(tasks.more)
        assert (len(tasks.items), tasks.has_more, tasks.cursor) == (1, True, "c1")
        assert [task.id for task in await talk.all(tasks)] == ["t1", "t2"]


@KINDS
@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {"a": 1}}, [], {"data": "x"}])
async def test_what_is_no_list_is_none(wire: Wire, kind: type[BaseClient], body: Any) -> None:
    wire.say(http(200, body))
    async with Talk(kind, wire.base_url) as talk:
        with pytest.raises(bn.UnexpectedResponse):
            await talk(talk.client.tasks)


def test_odd_rows_are_passed_over(wire: Wire, client: bn.Client) -> None:
    rows = [
        None,
        5,
        [],
        {},
        {"task_id": 7},
        {"task_id": ""},
        {"task_id": "t1", "status": None, "output": "x", "billing": []},
    ]
    wire.say(http(200, {"data": rows, "has_more": "yes"}))
    tasks = client.tasks()
    assert [(task.id, task.status) for task in tasks] == [("t1", "")]
    assert repr(tasks) == "TaskList(1 tasks)"


def test_a_pickled_list_finds_the_default_client(wire: Wire) -> None:
    wire.say(a_page("t1", has_more=True, next_cursor="c1"), a_page("t2"))
    with bn.Client(KEY, base_url=wire.base_url, timeout=QUICK) as client:
        data = pickle.dumps(client.tasks())
    assert KEY.encode() not in data
    tasks = pickle.loads(data)
    with bn.connect(KEY, base_url=wire.base_url, timeout=QUICK):
        assert [task.id for task in tasks] == ["t1", "t2"]


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 9), max_size=3), st.sampled_from([None, "a", "b", "c"]), st.booleans()
        ),
        max_size=30,
    )
)
def test_a_list_has_each_task_once_in_order_of_arrival(
    pages: list[tuple[list[int], str | None, bool]],
) -> None:
    listing: BaseTaskList[Task] = BaseTaskList({})
    arrived: list[str] = []
    for idents, cursor, more in pages:
        fresh = list(dict.fromkeys(f"t{ident}" for ident in idents))
        listing.add([Task(None, state(ident=ident)) for ident in fresh], cursor, more)
        arrived += fresh
        assert not (listing.has_more and cursor is None)
    assert [task.id for task in listing.items] == list(dict.fromkeys(arrived))


# ── frames ──


@KINDS
async def test_a_frame_has_types_that_know_what_is_missing(wire: Wire, kind: type[BaseClient]) -> None:
    whole = state(
        "succeeded",
        "t1",
        created_at="2026-11-23T12:00:00Z",
        completed_at="2026-11-23T12:01:00Z",
        billing=billing("80.5", None),
        title="=SUM(A1)",
    )
    wire.say(
        http(200, {"data": [whole], "has_more": True, "next_cursor": "c1"}),
        http(200, {"data": [{"task_id": "t2"}, state(ident="t3")], "has_more": True, "next_cursor": "c2"}),
        a_page("t4"),
    )
    async with Talk(kind, wire.base_url) as talk:
        tasks = await talk(talk.client.tasks)
        frame = await talk(tasks.to_frame, limit=2)
        assert (list(frame["id"]), len(wire.asked)) == (["t1", "t2"], 2)
        frame = await talk(tasks.to_frame)
        assert (
            list((await talk(tasks.to_frame, limit=None))["id"])
            == list(frame["id"])
            == ["t1", "t2", "t3", "t4"]
        )
    assert frame["elapsed"][0] == 60.0
    assert frame["charged"][0] == 80.5
    assert frame["refunded"].isna().all()
    assert str(frame["created_at"].dtype) == "datetime64[us, UTC]"
    assert frame["status"].isna().tolist() == [False, True, False, False]
    assert len(wire.asked) == 3


def test_a_frame_of_nothing_has_its_columns(wire: Wire, client: bn.Client) -> None:
    wire.say(a_page())
    frame = client.tasks().to_frame()
    assert len(frame) == 0
    assert {"id", "status", "created_at", "charged"} <= set(frame.columns)


def test_times_at_the_end_of_the_world_fit_into_a_frame(wire: Wire, client: bn.Client) -> None:
    wire.say(
        http(
            200,
            {
                "data": [
                    state(
                        ident="t1",
                        created_at="0001-01-01T00:00:00+14:00",
                        completed_at="9999-12-31T23:59:59-14:00",
                    )
                ]
            },
        )
    )
    assert len(client.tasks().to_frame()) == 1


# ── pending ──


def test_what_is_pending_is_a_sequence() -> None:
    tasks = [Task(None, state(ident=f"t{n}")) for n in range(3)]
    lost = LostJob("k", datetime(2026, 1, 1, tzinfo=UTC), "music", "Gone.")
    pending = PendingList(tasks, [lost])
    assert (len(pending), pending[0], pending[-1], pending[1:]) == (3, tasks[0], tasks[2], tuple(tasks[1:]))
    assert list(pending) == tasks
    assert pending.lost == (lost,)
    assert repr(pending).endswith(", 1 lost)")
    assert not PendingList([])
    assert len(pickle.loads(pickle.dumps(pending))) == 3


@KINDS
async def test_a_failed_one_does_not_hold_up_the_others(wire: Wire, kind: type[BaseClient]) -> None:
    async with Talk(kind, wire.base_url) as talk:
        made = [
            (Task if kind is bn.Client else bn.AsyncTask)(talk.client, wire_state, embed=False)
            for wire_state in (
                state("failed", "t1", error={"code": "x", "message": "No."}),
                state("canceled", "t2"),
                state("succeeded", "t3"),
            )
        ]
        pending: Any = (PendingList if kind is bn.Client else AsyncPendingList)(made)
        found = await talk(pending.wait)
    assert [task.status for task in found] == ["failed", "canceled", "succeeded"]
    assert found[0].error.code == "x"
    assert wire.asked == []


def test_the_lists_are_those_of_their_client(wire: Wire, client: bn.Client) -> None:
    wire.say(a_page("t1"))
    assert isinstance(client.tasks(), TaskList)
    assert isinstance(client.pending(), PendingList)
