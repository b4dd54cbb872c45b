"""A batch that is replayed is the one that was recorded: in its answers, their rows, and all that is shown of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb.batch.card import Progress
from beatra_nb.core import seams
from beatra_nb.display import batches, notices
from beatra_nb.sandbox import Sandbox


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return tmp_path / "rows.cassette"


def both(box: Sandbox, tape: Path, data: Any, prompt: str, **more: Any) -> list[bn.BatchResult]:
    """The same batch, recorded and then replayed."""
    with bn.Client(box.api_key, base_url=box.base_url, mode="record", cassette=tape) as client:
        first = client.map(data, prompt, progress=False, **more)
    with bn.Client(mode="replay", cassette=tape, speed=0) as client:
        second = client.map(data, prompt, progress=False, **more)
    return [first, second]


def views(result: bn.BatchResult) -> list[str]:
    """All that is seen of a batch and of its rows."""
    return [
        show(each)
        for each in (result, result.ok, result.failed, *result)
        for show in (seams.to_markdown, seams.to_plain)
    ]


def lines(tape: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tape / "tape.jsonl").read_text("utf-8").splitlines()][1:]


def test_a_replayed_batch_looks_as_the_recorded_one_did(box: Sandbox, tape: Path) -> None:
    live, told = both(box, tape, list("abcdefgh"), "Say {value}.")
    assert list(live) == list(told)
    assert live.totals == told.totals
    assert views(live) == views(told)
    assert live.totals.elapsed == pytest.approx(sum(out.elapsed for out in live))
    assert f"recorded {datetime.now(UTC):%Y-%m-%d}" in seams.to_plain(told).replace("*", "")
    assert "recorded" in seams.to_plain(told[0])
    going = Progress(told.totals)
    assert "recorded 20" in seams.to_plain(going).replace("*", "")
    assert "sandbox, recorded 20" in batches.line(going)


def test_failed_rows_have_the_times_of_the_tape(box: Sandbox, tape: Path) -> None:
    box.inject("invalid_request;status=422", 2)
    box.inject("reset:after", 2)
    live, told = both(box, tape, list("abcdefgh"), "Say {value}.")
    assert len(live.failed) == 2
    assert all(out.recorded is not None for out in live)
    assert list(live) == list(told)
    assert live.totals == told.totals
    assert views(live) == views(told)


def test_an_answer_that_does_not_fit_has_the_times_of_the_tape(box: Sandbox, tape: Path) -> None:
    live, told = both(box, tape, ["a", "b"], "Say {value}.", schema=int, max_active=1)
    assert list(live) == list(told)
    assert live.totals == told.totals
    assert all(out.recorded is not None for out in told)


def test_without_a_tape_the_time_is_that_of_the_clock(talk: bn.Client) -> None:
    result = talk.map(["a"], "Say {value}.", progress=False)
    assert result.totals.recorded is result[0].recorded is None
    assert "recorded" not in seams.to_plain(result)


@pytest.mark.parametrize("active", [3, 8])
def test_identical_rows_get_their_own_answers_again(box: Sandbox, tape: Path, active: int) -> None:
    live, told = both(box, tape, ["the same"] * 12, "Say {value}.", max_active=active)
    assert [out.request_id for out in live] == [out.request_id for out in told]
    assert len({out.request_id for out in told}) == 12
    assert views(live) == views(told)


@pytest.mark.parametrize("active", [3, 8])
def test_identical_rows_get_their_own_answers_after_refusals(box: Sandbox, tape: Path, active: int) -> None:
    box.inject("429;retry_after=0.05", 3)
    live, told = both(box, tape, ["the same"] * 12, "Say {value}.", max_active=active)
    assert sum(out.attempts for out in live) == 15
    assert list(live) == list(told)
    assert views(live) == views(told)
    again = [line["turn"] for line in lines(tape) if line["response"]["status"] == 429]
    assert sorted(set(again)) == sorted(out.position + 1 for out in live if out.attempts > 1)


def test_rows_in_the_order_of_finishing_are_in_that_of_the_tape(box: Sandbox, tape: Path) -> None:
    box.inject("slow:0.05", 3)
    rows = [*"abcdefgh"]
    live, told = both(box, tape, rows, "Say {value}.", order="finished")
    assert list(live) == list(told)
    assert [out.position for out in live] != [*range(8)]
    assert views(live) == views(told)


def test_rows_that_are_asked_again_get_their_later_answers(box: Sandbox, tape: Path) -> None:
    box.inject("invalid_request;status=422", 2)

    def work(client: bn.Client) -> list[bn.BatchResult]:
        first = client.map(["the same"] * 6, "Say {value}.", progress=False)
        return [first, first.retry_failed()]

    with bn.Client(box.api_key, base_url=box.base_url, mode="record", cassette=tape) as client:
        live = work(client)
    with bn.Client(mode="replay", cassette=tape, speed=0) as client:
        told = work(client)
    assert [len(result.failed) for result in live] == [2, 0]
    assert [list(result) for result in live] == [list(result) for result in told]
    assert [views(result) for result in live] == [views(result) for result in told]


def test_two_that_record_at_once_leave_the_newer_ones_answers_whole(box: Sandbox, tape: Path) -> None:
    ids = []
    with (
        bn.Client(box.api_key, base_url=box.base_url, mode="record", cassette=tape) as one,
        bn.Client(box.api_key, base_url=box.base_url, mode="record", cassette=tape) as other,
    ):
        for _ in range(3):
            one.chat("Hi")
            ids.append(other.chat("Hi").request_id)
        only = one.chat("Ho").request_id
    with bn.Client(mode="replay", cassette=tape, speed=0) as client:
        assert [client.chat("Hi").request_id for _ in range(3)] == ids
        assert client.chat("Ho").request_id == only


def test_a_recording_says_which_rows_a_checkpoint_kept_from_it(
    box: Sandbox, tape: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "_said", set())
    rows, file = [*"abcd"], tape.parent / "rows.beatra"
    settings: dict[str, Any] = {"api_key": box.api_key, "base_url": box.base_url}
    work: dict[str, Any] = {"prompt": "Say {value}.", "checkpoint": file, "progress": False}
    with bn.Client(**settings) as client:
        client.map(rows[:2], **work)
    with bn.Client(**settings, mode="record", cassette=tape) as client:
        assert client.map(rows, **work).totals.resumed == 2
        said = capsys.readouterr().err
        assert said.startswith("2 rows came from the checkpoint")
        assert "does not have them, and a replay will miss them" in said
        assert "without one" in said
        client.map(rows, **work)
        assert capsys.readouterr().err == "", "it is told once"
    # What an earlier recording, or an earlier cell of this one, has put there is not missed.
    other, again = tape.parent / "other.beatra", tape.parent / "other.cassette"
    for _ in range(2):
        with bn.Client(**settings, mode="record", cassette=again) as client:
            for _ in range(2):
                client.map(rows, "Spell {value}.", checkpoint=other, progress=False)
    assert capsys.readouterr().err == ""
    with bn.Client(mode="replay", cassette=again, speed=0) as client:
        assert client.map(rows, "Spell {value}.", progress=False).totals.done == 4


def test_rows_from_a_checkpoint_are_marked_as_such_and_not_as_recorded(box: Sandbox, tape: Path) -> None:
    both(box, tape, [*"ab"], "Say {value}.")
    with bn.Client(mode="replay", cassette=tape, speed=0) as client:
        work: dict[str, Any] = {"checkpoint": tape.parent / "rows.beatra", "progress": False}
        assert client.map([*"a"], "Say {value}.", **work)[0].recorded is not None
        first, second = client.map([*"ab"], "Say {value}.", **work)
    assert (first.stored, first.recorded) == (True, None)
    assert (second.stored, second.recorded is None) == (False, False)
