"""The task board: it shows what is there and what was begun here, does what it is asked, and begins nothing."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb import display
from beatra_nb.core.errors import APIError, BeatraError, InvalidInput
from beatra_nb.interact import work
from beatra_nb.interact.task_board import TaskBoard
from beatra_nb.sandbox import Sandbox
from beatra_nb.store.journal import Journal

SHORT = {"sandbox": {"seconds": 2, "format": "mp3"}}
PATIENCE = 60.0


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with bn.sandbox.start(engine="scripted", faults=True) as box:
        yield box


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[bn.Client]:
    made = bn.Client(sandbox.api_key, base_url=sandbox.base_url, max_attempts=1)
    yield made
    work.wait(work.twin(made).close())
    made.close()


@pytest.fixture
def make(client: bn.Client) -> Iterator[Callable[..., TaskBoard]]:
    made: list[TaskBoard] = []

    def new(**options: Any) -> TaskBoard:
        made.append(TaskBoard(client=client, **options))
        return made[-1]

    yield new
    for each in made:
        each.close()


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def row(board: TaskBoard, ident: str) -> dict[str, Any]:
    return next(each for each in board._doc.snapshot()["tree"]["rows"] if each["id"] == ident)


def jobs() -> list[Any]:
    """The journal's jobs, as they lie on the disk."""
    with closing(sqlite3.connect(Journal.open().path)) as file:
        return file.execute("SELECT key, task_id, status FROM jobs ORDER BY id").fetchall()


@pytest.mark.parametrize("limit", [0, 101, "20", True, 1.5])
def test_a_limit_that_no_page_has_is_refused(client: bn.Client, limit: Any) -> None:
    with pytest.raises(InvalidInput, match="limit must be"):
        TaskBoard(limit=limit, client=client)


def test_a_task_from_its_beginning_to_its_file(
    make: Callable[..., TaskBoard], client: bn.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = client.music("slow blues", model_options=SHORT, wait=False)
    board = make()
    shown = board.tasks[0]
    assert isinstance(shown, bn.Task)
    assert shown.id == task.id
    assert row(board, task.id)["cost"] == "80 credits"
    with pytest.raises(InvalidInput, match="not over yet"):
        board.download(task.id)
    assert "not over yet" in row(board, task.id)["error"]["message"]

    assert board.attach(task.id) is shown
    until(lambda: shown.done and not row(board, task.id)["attached"])
    assert all(clip.data for clip in shown.clips)
    assert jobs()[0][2] == "delivered", "the journal knows that its result is here"

    name = f"{shown.clips[0].title}-1.mp3"
    (tmp_path / name).write_bytes(b"mine")
    paths = board.download(task.id)
    assert (tmp_path / name).read_bytes() == b"mine", "nothing is overwritten"
    assert [path.parent for path in paths] == [tmp_path.resolve()] * len(shown.clips)
    assert [path.read_bytes() for path in paths] == [clip.data for clip in shown.clips]
    assert row(board, task.id)["saved"] == [os.fspath(path) for path in paths]
    assert board.download(task.id) == paths, "what is saved is not saved twice"
    assert len(list(tmp_path.glob("*.mp3"))) == len(paths) + 1


def test_looking_leaves_no_rows_and_begins_nothing(make: Callable[..., TaskBoard], client: bn.Client) -> None:
    before = [task.id for task in client.tasks().items]
    rows = len(bn.journal())
    board = make()
    for _ in range(3):
        board.refresh()
    assert len(bn.journal()) == rows
    assert [task.id for task in board.tasks] == before


def test_a_job_without_an_answer_is_left_to_pending(
    make: Callable[..., TaskBoard], client: bn.Client, sandbox: Sandbox
) -> None:
    sandbox.inject("reset:before;on=music")
    with pytest.raises(BeatraError):
        client.music("never heard of again", model_options=SHORT, wait=False, title="Lost song")
    (key, ident, status) = jobs()[0]
    assert (ident, status) == (None, "sending")
    board = make()
    assert board.unheard == (), "it may still be on its way"
    with closing(sqlite3.connect(Journal.open().path)) as file:
        file.execute("UPDATE jobs SET started = datetime('now', '-1 hour') || '+00:00'")
        file.commit()
    known = len(board.tasks)
    board.refresh()
    assert [job.idempotency_key for job in board.unheard] == [key]
    assert "bn.pending()" in board.unheard[0].reason
    assert board._doc.snapshot()["tree"]["lost"][0]["title"] == "Lost song"
    assert "Lost song" in display.to_plain(board)
    assert jobs() == [(key, None, "sending")], "the board sends nothing"
    assert len(board.tasks) == known
    found = client.pending()
    board.refresh()
    assert board.unheard == ()
    assert found[0].id in [task.id for task in board.tasks]
    board.cancel(found[0].id)


def test_a_task_is_cancelled_and_the_journal_learns_of_the_refund(
    make: Callable[..., TaskBoard], client: bn.Client, sandbox: Sandbox
) -> None:
    sandbox.inject("task:stall")
    task = client.music("too long", model_options=SHORT, wait=False)
    board = make()
    sandbox.inject("500:retryable=false;on=cancel")
    with pytest.raises(APIError):
        board.cancel(task.id)
    assert row(board, task.id)["error"]["code"].startswith("500")
    assert board.cancel(task.id).status == "canceled"
    assert row(board, task.id) | {"error": None} == row(board, task.id)
    assert row(board, task.id)["refunded"] == "80 refunded"
    assert jobs()[-1][2] == "delivered"
    assert sum(entry.credits or 0 for entry in Journal.open()) == 0


def test_a_look_that_fails_at_an_end_is_made_again(
    make: Callable[..., TaskBoard], client: bn.Client, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.inject("task:stall")
    task = client.music("stopped elsewhere", model_options=SHORT, wait=False)
    board = make()
    with bn.Client(sandbox.api_key, base_url=sandbox.base_url, journal=False) as other:
        other.task(task.id).cancel()

    def broken(*args: Any) -> None:
        raise OSError("a full disk")

    with monkeypatch.context() as patch:
        patch.setattr("beatra_nb.core.jobs.look", broken)
        with pytest.raises(OSError, match="a full disk"):
            board.refresh()
    assert board.note == "The look failed: OSError: a full disk"
    assert jobs()[-1][2] != "delivered"
    board.refresh()
    assert jobs()[-1][2] == "delivered"


def test_a_defect_is_said_and_ends_neither_the_pulse_nor_a_row(
    make: Callable[..., TaskBoard], client: bn.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = client.music("odd", model_options=SHORT, wait=False)
    board = make()

    def broken(*args: Any) -> None:
        raise OSError("a full disk")

    with monkeypatch.context() as patch:
        patch.setattr("beatra_nb.core.jobs.wait", broken)
        board.attach(task.id)
        until(lambda: row(board, task.id)["error"] and not row(board, task.id)["attached"])
        assert "a full disk" in row(board, task.id)["error"]["message"]
        patch.setattr("beatra_nb.core.jobs.page", broken)
        board._shown()
        until(lambda: board.note == "The look failed: OSError: a full disk")
    until(lambda: board.note == "")
    assert board._busy("pulse")
    task.cancel()


def test_cancelling_is_heard_while_a_cell_runs(make: Callable[..., TaskBoard]) -> None:
    assert "cancel" in make().urgent


def test_a_task_that_failed_elsewhere_is_settled_once(
    make: Callable[..., TaskBoard], client: bn.Client, sandbox: Sandbox
) -> None:
    sandbox.inject("task:model_unavailable")
    task = client.music("fails", model_options=SHORT, wait=False)
    board = make()
    until(lambda: board.refresh().tasks[0].id == task.id and board.tasks[0].done)
    board.refresh().refresh()
    assert jobs()[-1][2] == "delivered"
    assert sum(entry.credits or 0 for entry in Journal.open()) == 0
    assert [entry.verb for entry in Journal.open()].count("task") == 1


def test_pages_come_when_they_are_asked_for(make: Callable[..., TaskBoard], client: bn.Client) -> None:
    made = [client.music(f"number {at}", model_options=SHORT, wait=False) for at in range(3)]
    for task in made:
        task.cancel()
    board = make(limit=1)
    assert [task.id for task in board.tasks][:1] == [made[2].id]
    assert board.has_more
    assert "board.more()" in display.to_plain(board)
    assert board.more()
    assert board.more()
    assert [task.id for task in board.tasks][:3] == [task.id for task in reversed(made)]
    while board.more():
        pass
    assert not board.has_more
    ids = [task.id for task in board.tasks]
    assert len(ids) == len(set(ids))
    assert sorted(board.tasks, key=lambda task: task.created_at, reverse=True) == list(board.tasks)


def test_a_look_that_fails_is_said_quietly_and_the_next_one_mends_it(
    make: Callable[..., TaskBoard], client: bn.Client, sandbox: Sandbox
) -> None:
    sandbox.inject("html:502;on=tasks")
    board = make()
    assert board.note.startswith("No word from the service")
    assert board.note.endswith("Looking again.")
    assert "No word from the service" in display.to_markdown(board)
    board.refresh()
    assert board.note == ""


def test_the_pulse_follows_a_task_to_its_end_and_stops_with_the_board(
    make: Callable[..., TaskBoard], client: bn.Client
) -> None:
    task = client.music("ambient", model_options=SHORT, wait=False)
    board = make()
    board._shown()  # what a page does when it shows the board
    until(lambda: row(board, task.id)["done"])
    board.close()
    until(lambda: not board._busy("pulse"))


def test_the_pulse_finds_what_another_cell_has_begun(
    make: Callable[..., TaskBoard], client: bn.Client
) -> None:
    board = make()
    board._shown()
    until(lambda: not board._doc["loading"])
    task = client.music("ambient", model_options=SHORT, wait=False)
    until(lambda: task.id in [each.id for each in board.tasks])  # long before the next look that is due
    task.cancel()


def test_a_filter_is_one_of_them(make: Callable[..., TaskBoard]) -> None:
    board = make()
    board.ask_filter("failed")
    assert board.filter == "failed"
    with pytest.raises(InvalidInput, match="filter must be one of"):
        board.filter = "odd"


def test_a_task_that_is_not_there_is_not_acted_on(make: Callable[..., TaskBoard]) -> None:
    board = make()
    for act in (board.cancel, board.attach, board.download, board.ask_attach):
        with pytest.raises(InvalidInput, match="There is no task 'task_x'"):
            act("task_x")


def test_hostile_titles_are_text(make: Callable[..., TaskBoard], client: bn.Client) -> None:
    bad = "<img src=x onerror=alert(1)>\u202e"
    client.music("x", title=bad, model_options=SHORT, wait=False).cancel()
    board = make()
    assert "\u202e" not in board._doc.snapshot()["tree"]["rows"][0]["title"]
    assert "<img" not in display.to_html(board)
