"""What a task takes from what the service says, whatever that is."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb import verbs
from beatra_nb.core.task import AsyncTask, Task
from tests.core.conftest import QUICK
from tests.core.driving import billing, state
from tests.core.sounds import encoded
from tests.core.wire import KEY, Wire, http

MP3 = encoded("MP3", seconds=0.2)
CLIP = {
    "artifact_id": "art_1",
    "audio_url": "https://cdn.example.com/1.mp3",
    "title": "Night Drive",
    "duration_seconds": 61.5,
    "lyrics": "[Verse]\nx",
    "media_type": "audio/mpeg",
    "seed": 7,
    "tempo_bpm": 118,
    "key": "A minor",
    "genre": "dream pop",
    "sections": [{"name": "intro"}],
}
WHOLE = state(
    "succeeded",
    capability="text_to_music",
    resolved_model="suno-5.5-turbo",
    metadata={"project": "demo"},
    input={"prompt": "dream pop", "lyrics": "[Verse]\nx", "title": "Night Drive"},
    progress={"percent": 100, "stage": "done", "message": "Done."},
    output={"clips": [CLIP, CLIP | {"artifact_id": "art_2", "title": "Night Drive (2)"}]},
    warnings=[{"code": "w", "message": "Careful.", "field": "/lyrics"}],
    error=None,
    usage={"credits": "80"},
    billing=billing(),
    created_at="2026-11-23T12:00:00Z",
    started_at="2026-11-23T12:00:01Z",
    completed_at="2026-11-23T12:01:00+00:00",
    cancel_requested_at=None,
    links={"self": "/v1/tasks/task_1"},
    something={"new": 1},
)
KINDS = pytest.mark.parametrize("kind", [Task, AsyncTask], ids=["sync", "async"])


def told(*wires: dict[str, Any], kind: type[Any] = Task) -> Any:
    task = kind(None)
    for number, wire in enumerate(wires, 1):
        task.take(wire, request_id=f"req_{number}", sandbox=False)
    return task


@KINDS
def test_all_that_is_said_is_taken(kind: type[Any]) -> None:
    task = told(WHOLE, kind=kind)
    assert (task.id, task.status, task.done, task.request_id) == ("task_1", "succeeded", True, "req_1")
    assert (task.model, task.resolved_model, task.capability) == (
        "suno-5.5",
        "suno-5.5-turbo",
        "text_to_music",
    )
    assert (task.title, task.prompt, task.lyrics) == ("Night Drive", "dream pop", "[Verse]\nx")
    assert (task.progress.percent, task.progress.stage, task.progress.message) == (100.0, "done", "Done.")
    assert (task.billing.charged, task.billing.refunded) == (Decimal(80), Decimal(0))
    assert [(w.code, w.message, w.field) for w in task.warnings] == [("w", "Careful.", "/lyrics")]
    assert task.elapsed == 60.0
    assert (task.error, task.metadata, task.raw["something"]) == (None, {"project": "demo"}, {"new": 1})
    one, two = task.clips
    assert (one.index, two.index, two.title) == (1, 2, "Night Drive (2)")
    assert (one.artifact_id, one.url, one.duration) == ("art_1", "https://cdn.example.com/1.mp3", 61.5)
    assert (one.seed, one.tempo, one.key, one.genre) == (7, 118.0, "A minor", "dream pop")
    assert (one.media_type, one.lyrics, one.facts) == (
        "audio/mpeg",
        "[Verse]\nx",
        {"sections": [{"name": "intro"}]},
    )
    assert (one.credits, one.model, one.task_id) == (Decimal(40), "suno-5.5-turbo", "task_1")
    assert (one.data, one.problem, one.saved) == (None, "", None)


SUMMARY = {"task_id": "task_1", "status": "succeeded"}
NULLS = {name: None for name in WHOLE if name not in ("task_id", "status")}


@pytest.mark.parametrize("later", [SUMMARY, {**SUMMARY, **NULLS}], ids=["missing", "null"])
def test_what_a_summary_leaves_out_stays(later: dict[str, Any]) -> None:
    task = told(WHOLE, later)
    before = told(WHOLE)
    for name in (
        "id",
        "status",
        "model",
        "resolved_model",
        "capability",
        "title",
        "prompt",
        "lyrics",
        "metadata",
        "progress",
        "billing",
        "warnings",
        "created_at",
        "started_at",
        "completed_at",
    ):
        assert getattr(task, name) == getattr(before, name), name
    assert [clip.raw for clip in task.clips] == [clip.raw for clip in before.clips]
    assert task.request_id == "req_2"


def test_a_summary_may_tell_the_title() -> None:
    assert told({**SUMMARY, "title": "Night Drive"}).title == "Night Drive"
    assert told({**SUMMARY, "title": ["odd"]}).title == ""
    assert told({**SUMMARY, "title": "x", "input": {"title": "Night Drive"}}).title == "Night Drive"
    assert told({**SUMMARY, "output": {"clips": [CLIP]}}).title == "Night Drive", "or its first take"


def test_why_it_failed_stays_known() -> None:
    failed = state("failed", error={"code": "moderated", "message": "No."}, billing=billing("80", "80"))
    task = told(failed, {"task_id": "task_1", "status": "failed"})
    assert task.error.code == "moderated"
    assert told({"task_id": "task_1", "status": "failed"}, failed).error.code == "moderated"


def test_clips_keep_their_audio_over_a_refresh() -> None:
    task = told(WHOLE)
    one, two = task.clips
    one.keep(MP3)
    one.embed = False
    fresh = CLIP | {"audio_url": "https://cdn.example.com/new.mp3"}
    task.take(
        WHOLE | {"output": {"clips": [fresh, WHOLE["output"]["clips"][1]]}}, request_id=None, sandbox=False
    )
    assert task.clips == (one, two)
    assert (one.data, one.url, one.embed) == (MP3, "https://cdn.example.com/new.mp3", False)
    assert task.request_id == "req_1", "an exchange without an id does not take the last one away"
    task.take(
        state("succeeded", output={"clips": [CLIP | {"artifact_id": "art_9"}]}),
        request_id=None,
        sandbox=False,
    )
    assert (len(task.clips), task.clips[0].data) == (1, None), "another artifact is other audio"


def test_takes_of_one_artifact_stay_apart() -> None:
    same = state("succeeded", output={"clips": [CLIP, CLIP]})
    task = told(same)
    task.clips[1].keep(MP3)
    task.take(same, request_id=None, sandbox=False)
    assert [clip.data is None for clip in task.clips] == [True, False]


@pytest.mark.parametrize(
    ("odd", "percent"),
    [(None, None), ("41", 41.0), (-5, 0.0), (900, 100.0), (True, None), ([], None), ("NaN", None)],
)
def test_percent_is_from_0_to_100(odd: object, percent: float | None) -> None:
    assert told(state(progress={"percent": odd})).progress.percent == percent


def test_a_status_of_tomorrow_is_not_the_end() -> None:
    task = told(state("paused", progress={"percent": 30.4}))
    assert (task.status, task.done, task.error) == ("paused", False, None)
    assert repr(task) == "Task(id='task_1', status='paused', 30 %, clips=0)"


def test_its_repr_says_what_matters() -> None:
    assert repr(told(WHOLE)) == "Task(id='task_1', status='succeeded', clips=2)"
    assert repr(told(WHOLE).clips[0]) == "Clip('Night Drive', 61.5 s, artifact_id='art_1')"
    assert repr(Task(None)) == "Task(id='', status='', clips=0)"


def test_a_failure_says_why_and_what_came_back() -> None:
    error = {
        "code": "insufficient_balance",
        "message": "Too few credits",
        "retryable": False,
        "param": "/model",
    }
    task = told(state("failed", error=error, billing=billing("80", "80.00")))
    failure = task.error
    assert isinstance(failure, bn.TaskFailed)
    assert failure.message == "The task failed: Too few credits."
    assert (failure.code, failure.param, failure.retryable) == ("insufficient_balance", "/model", False)
    assert (failure.task, failure.request_id) == (task, "req_1")
    assert (
        failure.hint == "Top up the account's credits, then run the cell again. 80.00 credits were refunded."
    )


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (None, "The task failed: the service does not say why.", "Change the request"),
        ({}, "The task failed: the service does not say why.", "Change the request"),
        ("boom", "The task failed: the service does not say why.", "Change the request"),
        ({"code": "odd"}, "The task failed: odd.", "Change the request"),
        (
            {"code": "busy", "message": "Busy.", "retryable": True},
            "The task failed: Busy.",
            "may be made again",
        ),
        (
            {"code": 5, "message": ["x"], "retryable": "yes"},
            "The task failed: the service does not",
            "Change",
        ),
    ],
)
def test_a_failure_that_says_little(error: object, message: str, hint: str) -> None:
    failure = told(state("failed", error=error)).error
    assert failure.message.startswith(message)
    assert hint in failure.hint
    assert "refunded" not in failure.hint


def test_a_task_that_works_has_no_error() -> None:
    assert told(state("running", error=None)).error is None
    assert told(state("canceled", billing=billing("80", "80"))).error is None


# ── anything at all ──

ATOM = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
JSON = ATOM | st.lists(ATOM, max_size=2) | st.dictionaries(st.text(max_size=3), ATOM, max_size=2)
NAMES = st.sampled_from([*WHOLE, "id", "title", "clips", "model_config", "__class__", ""])
CLIP_NAMES = st.sampled_from([*CLIP, "url", "bpm", "tempo"])
CLIPS = st.lists(st.dictionaries(CLIP_NAMES, JSON, max_size=3) | ATOM, max_size=2)
PARTS = st.sampled_from([*WHOLE["progress"], *WHOLE["billing"], "code", "retryable"])
WIRES = st.dictionaries(
    NAMES,
    JSON | st.fixed_dictionaries({"clips": CLIPS}) | st.dictionaries(PARTS, JSON, max_size=3),
    max_size=4,
)
HUGE = 10**400


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(WIRES, min_size=1, max_size=2), st.sampled_from(["succeeded", "failed", "running", 5]))
@example([{"output": {"clips": [{"tempo_bpm": HUGE, "duration_seconds": HUGE, "seed": HUGE}]}}], "succeeded")
@example([{"output": {"clips": [{"tempo_bpm": float("inf"), "bpm": float("nan")}]}}], "succeeded")
@example([{"billing": billing("1e999999999999", "1e999999999999"), "error": {}}], "failed")
@example([{"billing": billing(HUGE, -HUGE), "output": {"clips": [{}, {}]}}], "failed")
@example(
    [{"billing": billing("Infinity", "sNaN"), "created_at": HUGE, "completed_at": "0001-01-01"}], "failed"
)
@example([{"created_at": "0001-01-01T00:00:00+14:00", "completed_at": "9999-12-31T23:59:59-12:00"}], "failed")
@example(
    [{"created_at": float("nan"), "started_at": -1e300, "progress": {"percent": float("inf")}}], "running"
)
@example([{"created_at": "9999-12-31T23:59:59-12:00"}], "running")
def test_nothing_that_is_json_breaks_a_task(wires: list[dict[str, Any]], status: object) -> None:
    task = told(*[{"status": status, **wire} for wire in wires])
    assert isinstance(task.status, str)
    assert isinstance(task.id, str)
    assert task.progress.percent is None or 0 <= task.progress.percent <= 100
    assert task.elapsed is None or task.elapsed >= 0
    assert len(repr(task)) < 100_000
    for clip in task.clips:
        assert isinstance(clip.title, str)
        assert clip.tempo is None or abs(clip.tempo) < float("inf")
        assert clip.duration is None or abs(clip.duration) < float("inf")
        assert clip.credits is None or clip.credits.is_finite()
        assert repr(clip)
    if task.error is not None:
        assert len(str(task.error)) < 100_000
    assert pickle.loads(pickle.dumps(task)).raw.keys() == task.raw.keys()


# ── pickling ──


@KINDS
def test_a_pickled_task_leaves_its_client_behind(wire: Wire, kind: type[Any]) -> None:
    with bn.Client(KEY, base_url=wire.base_url, timeout=QUICK) as client:
        task = kind(client, WHOLE, request_id="req_1")
        task.clips[0].keep(MP3)
        data = pickle.dumps(task)
        assert KEY.encode() not in data
        copied = pickle.loads(data)
        assert copied._client is None
        assert task.client is client
        assert (copied.id, copied.title, copied.clips[0].data) == ("task_1", "Night Drive", MP3)
        assert copied.clips[0].task is copied
        assert pickle.loads(pickle.dumps(task.clips[0])).task.id == "task_1"
        assert copy.deepcopy(task)._client is None


def test_a_pickled_task_finds_the_default_client(wire: Wire) -> None:
    task = pickle.loads(pickle.dumps(Task(None, state("running"))))
    wire.say(http(200, state("canceled"), x_request_id="req_7"))
    with bn.connect(KEY, base_url=wire.base_url, timeout=QUICK):
        assert task.client is verbs.default_client()
        task.refresh()
    assert (task.status, task.request_id, wire.asked[0].path) == ("canceled", "req_7", "/v1/tasks/task_1")


@pytest.mark.parametrize("made", ["failed", "timeout", "interrupted"])
def test_errors_that_hold_a_task_can_be_pickled(made: str) -> None:
    task = told(state("failed", error={"code": "x", "message": "No."}))
    error: Any = {
        "failed": lambda: task.error,
        "timeout": lambda: bn.TaskTimeout("Late.", task=task, hint="Later."),
        "interrupted": lambda: bn.Interrupted("Stopped.", task=task),
    }[made]()
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.task.id) == (type(error), str(error), "task_1")
    assert again.task.error.task is again.task
    if made == "failed":
        assert again.task.error is again
    assert copy.copy(error).task is task
    assert copy.deepcopy(error).task.id == "task_1"


def test_time_that_has_passed_never_runs_backwards() -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert told(state(created_at=ahead)).elapsed == 0.0, "the service's clock may be ahead of this one"
    assert told(state("succeeded", created_at="2026-11-23T12:00:00Z")).elapsed is None, (
        "nobody says when it ended"
    )
    assert told(state("running")).elapsed is None


def test_to_be_no_job_again() -> None:
    task = told(WHOLE)
    task.forget()
    assert (task.id, task.status, task.clips, task.error, task.done) == ("", "", (), None, False)
    assert (task.title, task.prompt) == ("Night Drive", "dream pop"), "what was asked for stays"
