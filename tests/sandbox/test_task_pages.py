"""Lists of tasks: filters, order, and pages that hold still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from beatra_nb import sandbox
from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.state import tasks
from beatra_nb.sandbox.state.desk import Desk
from beatra_nb.sandbox.state.sql import transaction
from beatra_nb.sandbox.state.tasks import NewTask
from tests.sandbox.conftest import client_of
from tests.sandbox.jobs import order

MANY = 10_000
SOME = 600
START = 1_700_000_000_000_000  # microseconds; a task every ten of them, some at the very same moment
STATUSES = ("succeeded", "failed", "canceled", "succeeded")


def fill(folder: Path, count: int) -> list[str]:
    """Put finished tasks into a state folder, through the store itself, and return their ids, oldest first."""
    desk = Desk(folder, count * 1000)

    def write(db: Any) -> None:
        with transaction(db):
            for number in range(count):
                tasks.create(
                    db,
                    NewTask(
                        id=f"task_{number:05}",
                        capability=f"music.{('text', 'reference-audio')[number % 2]}-to-music",
                        model="auto",
                        resolved_model="sandbox-composer",
                        title=None,
                        metadata={"number": number},
                        input={"prompt": "x" * 200},
                        spec={},
                        cost=1000,
                        characters=200,
                    ),
                )
                db.execute(
                    "UPDATE tasks SET status = ?, created = ? WHERE id = ?",
                    (STATUSES[number % 4], START + number // 3 * 10, f"task_{number:05}"),
                )

    desk.now(write)
    desk.close()
    return [f"task_{number:05}" for number in range(count)]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("filled")
    return folder, fill(folder, SOME)


@pytest.fixture(scope="module")
def box(filled: tuple[Path, list[str]]) -> Iterator[Sandbox]:
    with sandbox.start(engine="scripted", state=filled[0]) as box:
        yield box


@pytest.fixture
def ids(filled: tuple[Path, list[str]]) -> list[str]:
    return filled[1]


def pages(http: httpx.Client, **query: Any) -> Iterator[list[dict[str, Any]]]:
    while True:
        answer = http.get("/tasks", params=query)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["object"] == "list"
        yield body["data"]
        assert body["has_more"] == (body["next_cursor"] is not None)
        if not body["has_more"]:
            return
        query["cursor"] = body["next_cursor"]


def listed(http: httpx.Client, **query: Any) -> list[str]:
    return [each["task_id"] for page in pages(http, **query) for each in page]


def test_ten_thousand_tasks_come_once_each_in_both_orders(tmp_path: Path) -> None:
    ids = fill(tmp_path, MANY)
    with sandbox.start(engine="scripted", state=tmp_path) as box, client_of(box) as http:
        assert listed(http, limit=100) == ids[::-1]
        assert [len(page) for page in pages(http, limit=100, order="asc")] == [100] * 100


def test_the_last_page_is_what_is_left(http: httpx.Client, ids: list[str]) -> None:
    assert [len(page) for page in pages(http, limit=97)] == [97] * 6 + [18]
    assert listed(http, limit=97, order="asc") == ids


def test_the_usual_page_is_twenty_newest(http: httpx.Client, ids: list[str]) -> None:
    assert [each["task_id"] for each in next(pages(http))] == ids[:-21:-1]


@pytest.mark.parametrize("order_", ["asc", "desc"])
def test_filters(http: httpx.Client, ids: list[str], order_: str) -> None:
    turn = -1 if order_ == "desc" else 1

    def wanted(keep: Any) -> list[str]:
        return [each for number, each in enumerate(ids) if keep(number)][::turn]

    assert listed(http, limit=100, order=order_, status="failed") == wanted(lambda n: n % 4 == 1)
    assert listed(
        http, limit=100, order=order_, capability="music.reference-audio-to-music", status="canceled"
    ) == wanted(lambda n: n % 4 == 2 and n % 2 == 1)
    assert len(listed(http, limit=100, order=order_, capability="music.text-to-music")) == SOME // 2
    assert len(listed(http, limit=100, order=order_, capability="music")) == SOME
    assert listed(http, limit=100, status="queued") == []
    # One that stands at the very time is in neither: after is after and before is before.
    time = START + 100 * 10
    moments = (f"{time / 1e6:.6f}", "2023-11-14T22:13:20.001Z", "2023-11-14T23:13:20.001000+01:00")
    for moment in moments:
        assert listed(http, limit=100, order=order_, created_before=moment) == wanted(lambda n: n // 3 < 100)
        assert listed(http, limit=100, order=order_, created_after=moment, status="succeeded") == wanted(
            lambda n: n // 3 > 100 and n % 4 in (0, 3)
        )


def test_eight_digits_are_a_day(http: httpx.Client, ids: list[str]) -> None:
    # The tasks were made on the 14th of November 2023, and in seconds both would be in 1970.
    assert listed(http, limit=100, created_before="20231114") == []
    assert listed(http, limit=100, created_before="20231115") == ids[::-1]


def test_summaries_and_expansion(http: httpx.Client) -> None:
    parts = {"input", "output", "usage", "billing", "callback"}

    def shown(**query: Any) -> set[str]:
        return parts & http.get("/tasks", params={"limit": 1, **query}).json()["data"][0].keys()

    assert shown() == set()
    assert shown(expand="usage") == {"usage"}
    assert shown(expand="output, billing") == {"output", "billing"}
    assert shown(expand="all") == parts
    (task,) = http.get("/tasks", params={"limit": 1, "expand": "input"}).json()["data"]
    assert task["input"] == {"prompt": "x" * 200}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"status": "done"}, "/status"),
        ({"capability": "chat"}, "/capability"),
        ({"order": "up"}, "/order"),
        ({"limit": "0"}, "/limit"),
        ({"limit": "101"}, "/limit"),
        ({"limit": "ten"}, "/limit"),
        ({"limit": "²"}, "/limit"),
        ({"limit": "9" * 5000}, "/limit"),
        ({"created_after": "yesterday"}, "/created_after"),
        ({"created_after": "nan"}, "/created_after"),
        ({"created_before": "1e400"}, "/created_before"),
        ({"cursor": "x"}, "/cursor"),
        ({"cursor": "WzEsMl0"}, "/cursor"),
        ({"cursor": "W251bGwsbnVsbCwiZCJd"}, "/cursor"),
        ({"cursor": "é"}, "/cursor"),
        ({"expand": "output,secrets"}, "/expand"),
        ({"status": ["queued", "failed"]}, "/status"),
    ],
)
def test_bad_questions_are_named(http: httpx.Client, query: dict[str, Any], param: str) -> None:
    answer = http.get("/tasks", params=query)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (422, "invalid_request", param)
    assert error["details"]["errors"][0]["field"] == param


def test_a_cursor_belongs_to_its_order(http: httpx.Client) -> None:
    cursor = http.get("/tasks").json()["next_cursor"]
    answer = http.get("/tasks", params={"cursor": cursor, "order": "asc"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "/cursor")


def test_new_tasks_do_not_shift_pages(studio: Sandbox, wire: httpx.Client) -> None:
    studio.inject("task:stall")  # nothing is made of the others meanwhile
    old = [order(wire) for _ in range(6)]
    first = wire.get("/tasks", params={"limit": 3}).json()
    fresh = [order(wire) for _ in range(2)]
    second = wire.get("/tasks", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [each["task_id"] for each in first["data"] + second["data"]] == old[::-1]
    assert (second["has_more"], second["next_cursor"]) == (False, None)
    assert [each["task_id"] for each in wire.get("/tasks").json()["data"]] == (old + fresh)[::-1]


def test_a_cursor_outlives_the_sandbox(filled: tuple[Path, list[str]], http: httpx.Client) -> None:
    cursor = http.get("/tasks", params={"limit": 5}).json()["next_cursor"]
    with sandbox.start(engine="scripted", state=filled[0]) as other, client_of(other) as again:
        page = again.get("/tasks", params={"limit": 5, "cursor": cursor}).json()["data"]
    assert [each["task_id"] for each in page] == filled[1][-6:-11:-1]
