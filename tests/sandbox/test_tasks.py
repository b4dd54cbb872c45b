"""The life of a task: queued, running, an end; looked up, listed, cancelled, paid and paid back."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from beatra_nb import sandbox
from beatra_nb.core.errors import InvalidInput
from beatra_nb.sandbox import Sandbox
from beatra_nb.sandbox.state.desk import FILES
from tests.sandbox.conftest import chat, client_of
from tests.sandbox.jobs import QUICK, adds_up, order, over, post, task, until, wait_for


def stalled(studio: Sandbox, http: httpx.Client) -> str:
    """Give the only worker something that never ends."""
    studio.inject("task:stall")
    task_id = order(http)
    until(http, task_id, "running")
    return task_id


def cancel(http: httpx.Client, task_id: str, **body: Any) -> httpx.Response:
    return http.post(f"/tasks/{task_id}/cancel", **({"json": body} if body else {}))


# --- one task


def test_from_order_to_audio(studio: Sandbox, wire: httpx.Client) -> None:
    answer = post(wire, model="suno-5.5", title="Tide", lyrics="[Verse]\nla la", metadata={"cell": 3})
    created = answer.json()
    assert (answer.status_code, created["object"], created["status"]) == (202, "task", "queued")
    assert re.fullmatch(r"task_01[0-9A-HJKMNP-TV-Z]{24}", created["task_id"])
    assert (created["model"], created["resolved_model"]) == ("suno-5.5", "sandbox-composer")
    assert created["capability"] == "music.text-to-music"
    assert (created["metadata"], created["title"]) == ({"cell": 3}, "Tide")
    assert created["input"]["lyrics"] == "[Verse]\nla la"
    assert created["progress"] == {"percent": 0, "stage": "queued", "message": "1st in line"}
    assert (created["output"], created["error"], created["started_at"], created["completed_at"]) == (
        None,
    ) * 4
    assert created["warnings"][0]["code"] == "sandbox_model"
    assert created["billing"] == {
        "charged_credits": "80",
        "refunded_credits": "0",
        "charged_credits_usd_reference": "0.08",
        "refunded_credits_usd_reference": "0",
        "currency": "credits",
    }

    done = over(wire, created["task_id"])
    assert (done["status"], done["error"], done["progress"]["percent"]) == ("succeeded", None, 100)
    times = [datetime.fromisoformat(done[f"{name}_at"]) for name in ("created", "started", "completed")]
    assert times == sorted(times)
    assert len(done["warnings"]) > len(created["warnings"])
    clips = done["output"]["clips"]
    assert len(clips) == 2
    assert done["usage"]["audio_seconds"] == pytest.approx(
        sum(clip["duration_seconds"] for clip in clips), abs=0.01
    )
    assert done["usage"]["characters"] == len("solo piano" + "[Verse]\nla la")
    assert done["usage"]["credits"] == done["usage"]["lines"][0]["credits"] == "80"
    for clip in clips:
        assert clip["audio_url"].startswith(studio.base_url.removesuffix("/v1") + "/cdn/")
        assert {
            "artifact_id",
            "title",
            "duration_seconds",
            "lyrics",
            "media_type",
            "seed",
            "tempo_bpm",
        } <= clip.keys()
        audio = httpx.get(clip["audio_url"], trust_env=False)
        assert (audio.status_code, audio.headers["content-type"]) == (200, "audio/mpeg")
        assert len(audio.content) == clip["bytes"]
    assert [seen.effect for seen in studio.seen if seen.method == "POST"] == [True]


def test_ogg_and_a_length(wire: httpx.Client) -> None:
    sandbox_options = {"sandbox": {"seconds": 3, "format": "ogg", "seed": 1}}
    (clip,) = over(wire, order(wire, model_options=sandbox_options))["output"]["clips"]
    assert clip["media_type"] == "audio/ogg"
    assert clip["audio_url"].endswith(".ogg")
    assert clip["duration_seconds"] == pytest.approx(3, abs=0.1)
    assert httpx.get(clip["audio_url"], trust_env=False).content.startswith(b"OggS")


def test_the_same_seed_is_the_same_music(wire: httpx.Client) -> None:
    def heard() -> bytes:
        done = over(wire, order(wire))
        return httpx.get(done["output"]["clips"][0]["audio_url"], trust_env=False).content

    assert heard() == heard()


def test_a_reference_is_followed(studio: Sandbox, wire: httpx.Client) -> None:
    clip = over(wire, order(wire))["output"]["clips"][0]
    for reference in ({"artifact_id": clip["artifact_id"]}, {"url": clip["audio_url"]}):
        body = {**QUICK, "reference_audio": reference}
        answer = wire.post("/music/reference-audio-to-music", json=body)
        assert answer.status_code == 202, answer.text
        done = over(wire, answer.json()["task_id"])
        assert (done["status"], done["capability"]) == ("succeeded", "music.reference-audio-to-music")


def test_progress_never_goes_backwards_and_is_real(wire: httpx.Client) -> None:
    task_id = order(wire, model_options={"sandbox": {"seconds": 30, "seed": 1}})
    seen: list[tuple[float, str]] = []

    def ended() -> bool:
        body = task(wire, task_id)
        seen.append((body["progress"]["percent"], body["progress"]["stage"]))
        return body["status"] not in ("queued", "running")

    wait_for(ended)
    percents = [percent for percent, _ in seen]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert len({percent for percent in percents if 0 < percent < 100}) >= 2
    assert {stage for _, stage in seen} & {"planning", "composing", "rendering", "mixing", "encoding"}


def test_an_unknown_task(http: httpx.Client) -> None:
    for answer in (http.get("/tasks/task_nope"), cancel(http, "task_nope"), http.get("/tasks/%00'")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_the_place_in_line_is_told(studio: Sandbox, wire: httpx.Client) -> None:
    first = stalled(studio, wire)
    waiting = [order(wire) for _ in range(3)]
    told = [task(wire, each)["progress"]["message"] for each in waiting]
    assert told == ["1st in line", "2nd in line", "3rd in line"]
    assert cancel(wire, waiting[0]).json()["status"] == "canceled"
    assert task(wire, waiting[2])["progress"]["message"] == "2nd in line"
    cancel(wire, first)
    assert {over(wire, each)["status"] for each in waiting[1:]} == {"succeeded"}


# --- cancelling


def test_a_queued_task_is_cancelled_at_once_and_paid_back(studio: Sandbox, wire: httpx.Client) -> None:
    stalled(studio, wire)
    task_id = order(wire, model="suno-5.5")
    assert studio.balance == 10_000 - 50 - 80
    answer = cancel(wire, task_id, reason="changed my mind")
    body = answer.json()
    assert (answer.status_code, body["status"], body["output"]) == (200, "canceled", None)
    assert (body["billing"]["charged_credits"], body["billing"]["refunded_credits"]) == ("80", "80")
    assert body["usage"]["credits"] == "0"
    assert body["cancel_requested_at"] == body["completed_at"] is not None
    assert studio.balance == 10_000 - 50
    assert adds_up(studio) == 10_000 - 50


def test_a_running_task_is_cancelled_and_its_work_ends(studio: Sandbox, wire: httpx.Client) -> None:
    task_id = order(wire, model="suno-5.5", model_options={"sandbox": {"seconds": 240}})
    wait_for(lambda: task(wire, task_id)["progress"]["percent"] > 0)
    (worker,) = studio._server.studio.crew.pids
    assert cancel(wire, task_id).json()["status"] == "canceled"
    wait_for(lambda: not alive(worker))
    wait_for(lambda: not list((studio.state / FILES).iterdir()))
    assert studio.balance == 10_000
    assert over(wire, order(wire))["status"] == "succeeded"  # another worker goes on
    assert task(wire, task_id)["status"] == "canceled"


def test_a_task_that_is_over_is_returned_unchanged(studio: Sandbox, wire: httpx.Client) -> None:
    done = over(wire, order(wire))
    assert cancel(wire, done["task_id"]).json() == done
    studio.inject("task:stall")
    canceled = cancel(wire, order(wire)).json()
    assert cancel(wire, canceled["task_id"], reason="again").json() == canceled
    assert [row.kind for row in studio.wallet()] == ["opening", "charge", "charge", "refund"]
    assert [seen.effect for seen in studio.seen if seen.path.endswith("/cancel")] == [False, True, False]


@pytest.mark.parametrize(
    ("content", "status"), [(b"{", 400), (b"[]", 400), (b'{"reason": 5}', 422), (b'{"reason": null}', 404)]
)
def test_what_a_cancel_may_say(http: httpx.Client, content: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    assert http.post("/tasks/nope/cancel", content=content, headers=headers).status_code == status


def test_half_a_character_in_a_reason_is_no_trouble(studio: Sandbox, wire: httpx.Client) -> None:
    task_id = stalled(studio, wire)
    headers = {"Content-Type": "application/json"}
    answer = wire.post(f"/tasks/{task_id}/cancel", content=b'{"reason": "\\ud800"}', headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")


def test_a_cancel_whose_empty_body_has_no_type_is_taken(studio: Sandbox, wire: httpx.Client) -> None:
    task_id = stalled(studio, wire)
    answer = wire.post(f"/tasks/{task_id}/cancel", content=iter([b""]))  # chunked, and nothing in it
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert wire.post(f"/tasks/{task_id}/cancel", content=iter([b"{}"])).status_code == 415


# --- the wallet


def test_an_empty_wallet_says_how_to_fill_it(tmp_path: Path) -> None:
    with (
        sandbox.start(engine="scripted", state=tmp_path, credits=Decimal("129.5"), music_workers=1) as box,
        client_of(box) as http,
    ):
        order(http, model="suno-5.5")
        answer = post(http, key="k")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["retryable"]) == (402, "insufficient_balance", False)
        assert "50 credits" in error["message"]
        assert "49.5" in error["message"]
        assert "refill" in error["message"]
        assert sum(box.tasks.values()) == 1
        assert chat(http).status_code == 200  # chat is nominal and goes on
        assert box.refill(Decimal("0.5")) == 50
        assert post(http, key="k").status_code == 202  # the key was not used up by the refusal
        assert adds_up(box) == 0
    with sandbox.start(engine="scripted", state=tmp_path, credits=5000) as again:
        assert again.balance == 0  # credits= is for a new folder
        assert [row.kind for row in again.wallet()] == ["opening", "charge", "refill", "charge"]


def test_a_failed_task_is_paid_back(studio: Sandbox, wire: httpx.Client) -> None:
    studio.inject("task:model_unavailable")
    failed = over(wire, order(wire))
    assert failed["status"] == "failed"
    assert failed["billing"]["refunded_credits"] == "50"
    assert adds_up(studio) == 10_000


@pytest.mark.parametrize("credits", [-1, "x", float("nan"), float("inf"), True, 0.0001, None, [], 10**10])
def test_amounts_that_cannot_be(box: Sandbox, credits: Any) -> None:
    with pytest.raises(InvalidInput, match="credits must be a number"):
        box.refill(credits)


def test_the_ledger_cannot_be_rewritten(studio: Sandbox) -> None:
    studio.refill(1)
    with sqlite3.connect(studio.state / "state.sqlite3", isolation_level=None) as db:
        for statement in ("UPDATE ledger SET amount = 0", "DELETE FROM ledger"):
            with pytest.raises(sqlite3.IntegrityError, match="new rows alone"):
                db.execute(statement)
    db.close()
    assert adds_up(studio) == 10_001


# --- the workers


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_worker_that_dies_is_replaced_once(studio: Sandbox, wire: httpx.Client) -> None:
    task_id = order(wire, model="suno-5.5", model_options={"sandbox": {"seconds": 240, "seed": 1}})
    killed: list[int] = []
    seen: list[float] = []

    def kill() -> bool:
        seen.append(task(wire, task_id)["progress"]["percent"])
        for pid in studio._server.studio.crew.pids:
            if pid not in killed and seen[-1] > 0:
                os.kill(pid, 9)
                killed.append(pid)
        return task(wire, task_id)["status"] == "failed"

    wait_for(kill)
    failed = task(wire, task_id)
    assert len(killed) == 2
    assert seen == sorted(seen)
    assert (failed["error"]["code"], failed["error"]["retryable"]) == ("model_unavailable", True)
    assert "twice" in failed["error"]["message"]
    assert adds_up(studio) == 10_000
    assert over(wire, order(wire))["status"] == "succeeded"


def test_stopping_ends_every_worker(tmp_path: Path) -> None:
    with (
        sandbox.start(engine="scripted", state=tmp_path, music_workers=2) as box,
        client_of(box) as http,
    ):
        for _ in range(3):
            order(http, model_options={"sandbox": {"seconds": 240}})
        crew = box._server.studio.crew
        wait_for(lambda: len(crew.pids) == 2)
        pids = crew.pids
        began = time.perf_counter()
        box.stop()
        assert time.perf_counter() - began < 5
    assert not any(alive(pid) for pid in pids)
    assert not list((tmp_path / FILES).iterdir())


def test_chat_goes_on_while_music_is_made(studio: Sandbox, wire: httpx.Client) -> None:
    task_id = order(wire, model="suno-5.5", model_options={"sandbox": {"seconds": 120, "seed": 1}})
    until(wire, task_id, "running")
    answered = 0
    while task(wire, task_id)["status"] == "running" and answered < 20:
        assert chat(wire).status_code == 200
        answered += 1
    assert answered > 5


def test_the_count_of_workers_is_bounded(tmp_path: Path) -> None:
    for wrong in (0, -1, 65, 1.5, "2", True):
        with pytest.raises(InvalidInput, match="music_workers"):
            sandbox.start(engine="scripted", state=tmp_path, music_workers=wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "state.sqlite3").exists()
