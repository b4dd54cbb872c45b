"""A music studio: its form, its jobs and its takes, against the real sandbox."""

from __future__ import annotations

import _thread
import base64
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.core import jobs, policy
from beatra_nb.core.music import MusicRequest
from beatra_nb.display import clips
from beatra_nb.interact import studio_form, work
from beatra_nb.interact.reference import PART
from beatra_nb.interact.takes import word_diff
from beatra_nb.sandbox import Sandbox
from tests.core.sounds import encoded

SHORT = {"sandbox": {"seconds": 2.0, "seed": 7}}
WAV = encoded("WAV", seconds=1.0)
HOSTILE = "<img src=x onerror=alert(1)>\u202e../../\n\0'\""


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses as the policy makes them, only shorter."""
    monkeypatch.setattr(policy, "BACKOFF_BASE", 0.005)
    monkeypatch.setattr(policy, "POLL_FIRST", 0.05)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    """A real sandbox that may be asked to fail."""
    with bn.sandbox.start(engine="scripted", faults=True) as sandbox:
        yield sandbox


@pytest.fixture
def client(box: Sandbox) -> Iterator[bn.Client]:
    """A client of it."""
    quick = bn.Timeouts(connect=2, read=2, total=20)
    with bn.Client(box.api_key, base_url=box.base_url, timeout=quick, max_attempts=2) as made:
        yield made
        box.clear()
        work.wait(work.twin(made).close())


Make = Callable[..., bn.MusicStudio]


@pytest.fixture
def studio(client: bn.Client) -> Iterator[Make]:
    """Make studios; they are closed at the end."""
    made: list[bn.MusicStudio] = []

    def make(prompt: str = "slow blues", **more: Any) -> bn.MusicStudio:
        made.append(bn.MusicStudio(prompt, client=client, **{"model_options": SHORT, **more}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def until(what: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait for something that comes about on another thread."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
    return found


def tree(panel: bn.MusicStudio) -> dict[str, Any]:
    whole: dict[str, Any] = panel.ask_whole()["tree"]
    return whole


def card(panel: bn.MusicStudio, number: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = tree(panel)["cards"][str(number)]
    return found


def over(panel: bn.MusicStudio, number: int = 1) -> dict[str, Any]:
    """Wait until a job is neither on its way nor running, and return its card."""
    still = ("uploading", "sending", "running")
    return until(lambda: None if (now := card(panel, number))["phase"] in still else now)  # type: ignore[no-any-return]


def press(panel: bn.MusicStudio) -> str:
    """Press *Create*, as a page does."""
    ident = uuid.uuid4().hex
    panel.ask_create(ident)
    return ident


def created(box: Sandbox, since: int) -> list[Any]:
    """The requests for music."""
    return [each for each in box.seen[since:] if each.path.startswith("/v1/music/") and each.method == "POST"]


def bring(panel: bn.MusicStudio, data: bytes, name: str = "riff.wav", size: int = PART) -> None:
    """Drop a file, as a page does: part by part."""
    for at in range(0, len(data), size):
        panel.ask_reference_part("u1", at, len(data), name, [memoryview(data[at : at + size])])


# ── the same as bn.music ──


def test_create_sends_what_music_sends(box: Sandbox, client: bn.Client, studio: Make) -> None:
    asked: dict[str, Any] = {
        "lyrics": "[Verse]\nRain",
        "title": "Rain",
        "model": "suno-5.5",
        "model_options": {"suno": {"style_weight": 0.7, "custom_mode": True}, **SHORT},
    }
    since = len(box.seen)
    client.music("slow blues", wait=False, **asked).cancel()
    panel = studio(**asked)
    panel.create(wait=False).cancel()
    over(panel)
    first, second = created(box, since)
    assert first.fingerprint == second.fingerprint
    assert first.idempotency_key != second.idempotency_key
    assert panel.request == MusicRequest.of("slow blues", **asked).body


def test_what_the_page_fills_in_is_what_python_sees(studio: Make) -> None:
    panel = studio("", model_options=None)
    panel.ask_change({"prompt": "jazz", "title": "Blue", "model": "suno-5.5", "suno.style_weight": "0,25"})
    panel.ask_change({"lyrics": "la la", "instrumental": True, "sandbox.seed": "12"})
    assert (panel.prompt, panel.title, panel.lyrics, panel.instrumental) == ("jazz", "Blue", "la la", True)
    assert panel.model_options == {"suno": {"style_weight": 0.25}, "sandbox": {"seed": 12}}
    assert "lyrics" not in panel.request  # nobody sings them
    panel.instrumental = None
    assert panel.request["lyrics"] == "la la"
    panel.prompt = "ska"
    assert tree(panel)["form"]["prompt"] == "ska"
    panel.model_options = {"suno": {"weirdness_constraint": 1}, "other": {"x": 1}}
    assert tree(panel)["form"]["options"] == {"suno.weirdness_constraint": "1"}
    assert tree(panel)["rest"] == "other.x"
    assert panel.request["model_options"] == {"suno": {"weirdness_constraint": 1.0}, "other": {"x": 1}}


def test_only_the_options_of_the_chosen_family_are_shown_and_sent(studio: Make) -> None:
    panel = studio(model="suno-5.5", model_options={"suno": {"style_weight": 0.5}})
    assert [each["id"] for each in tree(panel)["fields"]][:3] == [
        "suno.style_weight",
        "suno.weirdness_constraint",
        "suno.custom_mode",
    ]
    panel.model = "minimax-music-2.6"
    assert [each["id"] for each in tree(panel)["fields"]] == ["sandbox.seconds", "sandbox.seed"]
    assert "model_options" not in panel.request
    panel.model = "suno-5.5"
    assert panel.model_options == {"suno": {"style_weight": 0.5}}  # it was kept


@pytest.mark.parametrize(
    ("model", "price", "told"),
    [
        ("auto", "50 or 80 credits", "50 or 80 credits, one or two takes"),
        ("suno-5.5", "80 credits", "80 credits, two takes"),
        ("minimax-music-2.6", "50 credits", "50 credits, one take"),
        ("suno-9", "", ""),
    ],
)
def test_the_price_is_said_before_anything_is_spent(studio: Make, model: str, price: str, told: str) -> None:
    now = tree(studio(model=model, model_options=None))
    assert (now["price"], now["told"]) == (price, told)


# ── what is wrong is said at its field, before anything is sent ──


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("suno.style_weight", "1.5", "style_weight must be a number from 0 to 1"),
        ("suno.weirdness_constraint", "-1", "weirdness_constraint must be a number from 0 to 1"),
        ("suno.style_weight", "much", "Style weight must be a number, not 'much'"),
        ("sandbox.seed", "1.5", "Seed must be a whole number"),
        ("suno.style_weight", "nan", "from 0 to 1"),
    ],
)
def test_a_field_says_what_is_wrong_with_it(
    box: Sandbox, studio: Make, field: str, value: str, words: str
) -> None:
    panel = studio(model="suno-5.5")
    panel.ask_change({field: value})
    assert words in tree(panel)["problems"][field]
    since = len(box.seen)
    with pytest.raises(bn.InvalidInput):
        press(panel)
    assert created(box, since) == []
    panel.ask_change({field: ""})
    assert tree(panel)["problems"] == {}


def test_nothing_asked_for_is_said_at_the_prompt(box: Sandbox, studio: Make) -> None:
    panel = studio("")
    assert tree(panel)["problems"] == {}  # an empty form is no mistake yet
    since = len(box.seen)
    with pytest.raises(bn.InvalidInput, match="how it shall sound"):
        press(panel)
    assert "prompt" in tree(panel)["problems"]
    panel.ask_change({"prompt": "ska"})
    assert tree(panel)["problems"] == {}
    with pytest.raises(bn.InvalidInput, match="empty"):
        panel.create(prompt=" ")
    assert created(box, since) == []


def test_what_the_service_refuses_is_said_at_its_field(studio: Make) -> None:
    panel = studio(model_options={"sandbox": {"seconds": 900}})
    press(panel)
    refused = over(panel)
    assert refused["phase"] == "refused"
    assert "seconds" in until(lambda: tree(panel)["problems"].get("sandbox.seconds"))
    assert refused["trouble"]["retry"] is False
    assert panel.tasks == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": ""},
        {"model": 3},
        {"prompt": 3},
        {"lyrics": 3},
        {"instrumental": "yes"},
        {"model": "minimax-music-2.6", "model_options": {"suno": {"style_weight": 0.5}}},
        {"model_options": {"suno": {"style_weight": 2}}},
        {"model_options": [1]},
        {"reference": b"no sound"},
        {"reference": "http://example.com/a.mp3"},
        {"embed": "perhaps"},
        {"client": "me"},
    ],
    ids=str,
)
def test_bad_arguments_are_refused_at_once(studio: Make, wrong: dict[str, Any], client: bn.Client) -> None:
    with pytest.raises(bn.InvalidInput):
        bn.MusicStudio(**{"client": client, **wrong})


def test_create_knows_what_may_differ(studio: Make) -> None:
    with pytest.raises(bn.InvalidInput, match="does not know loud"):
        studio().create(loud=True)
    with pytest.raises(bn.InvalidInput, match="timeout"):
        studio().create(timeout=-1)


@given(
    st.dictionaries(
        st.sampled_from([*studio_form.BY_ID, "prompt", "model", "x"]),
        st.none() | st.booleans() | st.text() | st.floats(),
    )
)
def test_whatever_a_page_fills_in_is_taken_or_refused(values: dict[str, Any]) -> None:
    try:
        form = studio_form.filled(studio_form.empty_form(), values)
    except bn.InvalidInput:
        return
    wrong = studio_form.problems(form, sandbox=True, whole=True)
    if not wrong:
        made = studio_form.arguments(form, {}, sandbox=True)
        MusicRequest.of(made.pop("prompt"), **made)


# ── jobs ──


def test_a_press_makes_one_task_with_takes_that_can_be_heard(
    box: Sandbox, client: bn.Client, studio: Make
) -> None:
    panel = studio(model="suno-5.5", title="Rain")
    since, before = len(box.seen), box.balance
    ident = press(panel)
    press(panel)  # while the first is being sent
    panel.ask_create(ident)
    done = over(panel)
    panel.ask_create(ident)  # the same press, told late
    assert len(created(box, since)) == 1
    assert box.balance == before - 80
    assert (done["phase"], done["facts"][-1]) == ("done", "80 credits")
    (task,) = panel.tasks
    assert isinstance(task, bn.Task)
    assert (task.status, len(task.clips), panel.takes) == ("succeeded", 2, task.clips)
    for shown, clip in zip(done["takes"], task.clips, strict=True):
        assert clip.data is not None
        assert (shown["kind"], shown["here"], shown["problem"]) == ("audio/mpeg", True, "")
        assert base64.b64decode(shown["wave"].partition(",")[2]).startswith(b"<svg")
        assert shown["name"] == f"Rain-{clip.index}.mp3"
    assert list(client.pending()) == []
    assert box.seen[-1].path != "/v1/uploads"


def test_create_from_a_cell_is_the_same_way(studio: Make) -> None:
    panel = studio()
    task = panel.create(title="Mine", model="minimax-music-2.6")
    assert (task.status, task.title, len(task.clips)) == ("succeeded", "Mine", 1)
    assert panel.tasks == (task,)
    assert panel.title == ""  # what differs, differs once
    assert card(panel)["title"] == "Mine"
    second = panel.create(wait=False)
    assert second.id
    assert panel.tasks == (task, second)


def test_cancel_refunds(box: Sandbox, studio: Make) -> None:
    panel = studio(model_options={"sandbox": {"seconds": 240}}, model="suno-5.5")
    before = box.balance
    press(panel)
    until(lambda: panel.tasks)
    panel.ask_cancel(1)
    assert card(panel)["canceling"] is True or card(panel)["phase"] == "canceled"
    done = over(panel)
    assert (done["phase"], done["words"]) == ("canceled", "Cancelled. 80 credits refunded.")
    assert done["facts"][-1] == "80 credits, refunded"
    assert box.balance == before
    assert panel.tasks[0].billing.refunded == Decimal(80)


def test_a_task_that_fails_says_why_and_can_be_asked_again(box: Sandbox, studio: Make) -> None:
    panel = studio()
    box.inject("task:model_unavailable;retryable=true")
    with pytest.raises(bn.TaskFailed) as caught:
        panel.create()
    failed = card(panel)
    assert failed["phase"] == "failed"
    assert failed["trouble"]["message"] == caught.value.message
    assert "refunded" in failed["trouble"]["todo"]
    panel.ask_change({"prompt": "other"})
    panel.ask_use(1)
    assert panel.prompt == "slow blues"
    panel.ask_dismiss(1)
    assert tree(panel)["cards"] == {}
    assert panel.tasks == ()


@pytest.mark.parametrize("again", ["again", "create", "cell"])
def test_what_may_have_been_begun_is_asked_under_its_own_key(
    box: Sandbox, client: bn.Client, studio: Make, again: str
) -> None:
    panel = studio(model="suno-5.5")
    since, before = len(box.seen), box.balance
    box.inject("reset:headers;on=music", times=2)  # as often as it is sent
    press(panel)
    stuck = over(panel)
    assert (stuck["phase"], stuck["trouble"]["retry"]) == ("stuck", True)
    assert "same key" in stuck["trouble"]["again"]
    assert len(panel.unsent) == 1
    if again == "again":
        panel.ask_again(1)
    elif again == "create":
        until(lambda: not tree(panel)["sending"])
        press(panel)
    else:
        panel.create()
    done = over(panel)
    assert (done["phase"], list(tree(panel)["cards"])) == ("done", ["1"])
    assert len({each.idempotency_key for each in created(box, since)}) == 1
    assert box.balance == before - 80
    assert panel.unsent == ()
    assert list(client.pending()) == []


def test_what_was_refused_is_asked_under_a_new_key(box: Sandbox, studio: Make) -> None:
    panel = studio()
    since = len(box.seen)
    box.inject("rate_limited;on=music;retryable=true", times=2)
    press(panel)
    refused = over(panel)
    assert (refused["phase"], refused["trouble"]["retry"]) == ("refused", True)
    panel.ask_again(1)
    assert over(panel)["phase"] == "done"
    assert len({each.idempotency_key for each in created(box, since)}) == 2


def test_another_account_is_not_asked_to_go_on(box: Sandbox, client: bn.Client) -> None:
    bn.connect(box.api_key, base_url=box.base_url, max_attempts=1)
    panel = bn.MusicStudio("ska", model="suno-5.5", model_options=SHORT)
    with bn.sandbox.start(engine="scripted") as other, panel:
        box.inject("reset:headers;on=music")
        since, before = len(box.seen), box.balance
        press(panel)
        assert over(panel)["phase"] == "stuck"
        bn.connect(other.api_key, base_url=other.base_url)
        panel.ask_again(1)
        assert over(panel)["phase"] == "done"
        panel.create()
        assert len({each.idempotency_key for each in created(box, since)}) == 2
        assert box.balance == before - 160
        assert other.seen == []
        assert list(client.pending()) == []


def test_a_closed_studio_spends_nothing(box: Sandbox, studio: Make) -> None:
    panel = studio()
    panel.close()
    since = len(box.seen)
    with pytest.raises(bn.ConfigurationError, match="closed"):
        panel.create()
    assert created(box, since) == []
    assert tree(panel)["cards"] == {}


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_defect_is_told_and_leaves_no_card_running(
    studio: Make, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect")

    panel = studio(model="minimax-music-2.6")
    with monkeypatch.context() as patch:
        if where == "before":
            patch.setattr(jobs, "begin", broken)
        else:
            patch.setattr(clips, "player", broken)
        with pytest.raises(bn.BeatraError, match="a defect"):
            panel.create()
    stuck = card(panel)
    assert (stuck["phase"], stuck["trouble"]["retry"]) == ("stuck", True)
    panel.ask_again(1)  # under the same key, or with the task that there is
    assert over(panel)["phase"] == "done"
    assert len(panel.takes) == 1
    panel.ask_dismiss(1)


def test_closing_leaves_the_task_to_be_found(client: bn.Client, studio: Make) -> None:
    panel = studio(model_options={"sandbox": {"seconds": 240}})
    press(panel)
    (task,) = until(lambda: panel.tasks)
    panel.close()
    (found,) = client.pending()
    assert found.id == task.id
    found.cancel()
    panel.close()


def test_several_jobs_run_at_once(studio: Make) -> None:
    panel = studio()
    first, second = panel.create(wait=False, title="One"), panel.create(wait=False, title="Two")
    assert over(panel, 1)["title"] == "One"
    assert over(panel, 2)["title"] == "Two"
    assert panel.tasks == (first, second)


def test_a_wait_that_is_too_short_leaves_the_task_going(studio: Make) -> None:
    panel = studio(model_options={"sandbox": {"seconds": 240}})
    with pytest.raises(bn.TaskTimeout) as caught:
        panel.create(timeout=0.2)
    assert caught.value.task is not None
    until(lambda: panel.tasks)
    assert card(panel)["phase"] == "running"
    panel.ask_cancel(1)
    over(panel)


def test_an_interrupt_stops_the_waiting_and_not_the_task(studio: Make) -> None:
    panel = studio(model_options={"sandbox": {"seconds": 240}})
    begun = threading.Thread(target=lambda: (until(lambda: panel.tasks), _thread.interrupt_main()))
    begun.start()
    with pytest.raises(KeyboardInterrupt, match="goes on"):
        panel.create()
    begun.join()
    assert card(panel)["phase"] == "running"
    panel.ask_cancel(1)
    assert over(panel)["phase"] == "canceled"


def test_closing_ends_a_wait_in_a_cell(studio: Make) -> None:
    panel = studio(model_options={"sandbox": {"seconds": 240}})
    closed = threading.Thread(target=lambda: (until(lambda: panel.tasks), panel.close()))
    closed.start()
    with pytest.raises(KeyboardInterrupt, match="goes on"):
        panel.create()
    closed.join()
    panel.tasks[0].cancel()


# ── the reference ──


def test_a_dropped_file_is_uploaded_when_it_is_used_and_once(box: Sandbox, studio: Make) -> None:
    panel = studio(model="minimax-music-2.6")
    since = len(box.seen)
    bring(panel, WAV, size=50_000)
    ready = until(lambda: (now := tree(panel)["reference"])["state"] == "ready" and now)
    assert (ready["name"], ready["facts"], ready["kind"]) == (
        "riff.wav",
        ["0:01", "176 kB", "audio/wav"],
        "audio/wav",
    )
    assert ready["wave"].startswith("data:image/svg+xml;base64,")
    assert not [each for each in box.seen[since:] if each.path == "/v1/uploads"]
    assert panel.reference is not None
    assert panel.reference.audio() == WAV
    first = panel.create()
    second = panel.create()
    assert first.capability == second.capability == "music.reference-audio-to-music"
    assert len([each for each in box.seen[since:] if each.path == "/v1/uploads"]) == 1
    panel.ask_reference_drop()
    assert panel.reference is None
    assert tree(panel)["reference"] is None
    panel.ask_use(1)
    assert panel.reference is not None


def test_without_a_journal_too_a_reference_is_uploaded_once(box: Sandbox) -> None:
    sound = encoded("WAV", seconds=0.7)
    with (
        bn.Client(box.api_key, base_url=box.base_url, journal=False) as client,
        bn.MusicStudio("ska", reference=sound, model_options=SHORT, client=client) as panel,
    ):
        since = len(box.seen)
        panel.create(model="minimax-music-2.6")
        panel.create(model="minimax-music-2.6")
        assert len([each for each in box.seen[since:] if each.path == "/v1/uploads"]) == 1
        work.wait(work.twin(client).close())


@pytest.mark.parametrize("kind", ["path", "bytes", "artifact", "id", "clip", "url"])
def test_a_reference_from_python_goes_as_with_music(
    client: bn.Client, studio: Make, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "riff.wav"
    path.write_bytes(WAV)
    artifact = client.upload(path, purpose="reference_audio") if kind in ("artifact", "id") else None
    given: Any = {
        "path": lambda: path,
        "bytes": lambda: WAV,
        "artifact": lambda: artifact,
        "id": lambda: artifact.id if artifact else "",
        "clip": lambda: client.music("ska", model_options=SHORT, model="minimax-music-2.6").clips[0],
        "url": lambda: "https://example.com/a.mp3",
    }[kind]()
    panel = studio(reference=given)
    shown = until(lambda: (now := tree(panel)["reference"])["facts"] and now)
    assert shown["state"] == "ready"
    expected = MusicRequest.of("slow blues", reference=given, model_options=SHORT).body.get("reference_audio")
    assert panel.request.get("reference_audio") == expected
    panel.reference = None
    assert tree(panel)["reference"] is None


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([(0, 10, b"0123456789")], "not audio"),
        ([(0, 0, b"")], "empty"),
        ([(0, 200 * 2**20, b"x")], "100 MB"),
        ([(0, 9, b"012"), (6, 9, b"678")], "in order"),
        ([(0, 3, b"01234")], "in order"),
        ([(0, 9, b"")], "in order"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_at_its_field(
    studio: Make, parts: list[tuple[int, int, bytes]], words: str
) -> None:
    panel = studio()
    try:
        for at, size, data in parts:
            panel.ask_reference_part("u", at, size, "x.wav", [data])
    except bn.InvalidInput:
        pass
    assert words in until(lambda: tree(panel)["problems"].get("reference"))
    assert (panel.reference, tree(panel)["reference"]) == (None, None)


def test_create_waits_for_a_file_that_is_on_its_way(box: Sandbox, studio: Make) -> None:
    panel = studio()
    panel.ask_reference_part("u", 0, len(WAV), "x.wav", [WAV[:1000]])
    assert tree(panel)["reference"]["state"] == "arriving"
    since = len(box.seen)
    with pytest.raises(bn.InvalidInput, match="on its way"):
        press(panel)
    assert created(box, since) == []
    panel.ask_reference_drop()
    panel.ask_reference_part("u", 1000, len(WAV), "x.wav", [WAV[1000:]])  # comes late, and is nobody's
    assert panel.reference is None


def test_the_upload_can_be_called_off_before_anything_is_paid(box: Sandbox, studio: Make) -> None:
    panel = studio(reference=encoded("WAV", seconds=1.3))
    since, before = len(box.seen), box.balance
    box.inject("slow:5;on=uploads")
    press(panel)
    until(lambda: card(panel)["phase"] == "uploading" and "Uploading" in card(panel)["note"])
    panel.ask_cancel(1)
    done = over(panel)
    assert (done["phase"], "nothing was begun" in done["words"]) == ("canceled", True)
    assert created(box, since) == []
    assert box.balance == before


# ── takes ──


def test_two_takes_are_compared(studio: Make) -> None:
    panel = studio(model="minimax-music-2.6")
    panel.create()
    panel.create(prompt="slow jazz", title="Other", instrumental=True)
    panel.ask_mark("1.1", "a")
    assert tree(panel)["diff"] is None
    panel.ask_mark("2.1", "b")
    told = tree(panel)["diff"]
    assert told["texts"] == [["prompt", [["same", "slow "], ["less", "blues"], ["more", "jazz"]]]]
    assert told["settings"] == ["title: – → Other", "instrumental: – → yes"]
    assert panel.marks == {"A": "1.1", "B": "2.1"}
    panel.ask_mark("2.1", "a")
    assert panel.marks == {"A": "2.1"}
    panel.ask_mark("1.1", "b")
    panel.ask_dismiss(2)
    assert panel.marks == {"B": "1.1"}
    assert tree(panel)["diff"] is None


def test_a_take_is_saved_and_used_again(
    studio: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    panel = studio(model="minimax-music-2.6", title="Rain")
    task = panel.create()
    assert work.wait(panel.ask_save("1.1")) == "Rain-1.mp3"
    assert (tmp_path / "Rain-1.mp3").read_bytes() == task.clips[0].data
    assert any(fact.startswith("saved in") for fact in card(panel)["takes"][0]["facts"])
    with pytest.raises(bn.InvalidInput, match="already there"):
        work.wait(panel.ask_save("1.1"))


def test_audio_that_could_not_be_fetched_is_fetched_again(box: Sandbox, studio: Make) -> None:
    panel = studio(model="minimax-music-2.6", title="Late")
    box.inject("500:retryable=false;on=cdn", times=3)
    panel.create()
    (take,) = card(panel)["takes"]
    assert (take["here"], bool(take["problem"])) == (False, True)
    with pytest.raises(bn.InvalidInput, match="not here"):
        panel.ask_audio("1.1", "me")
    box.clear()
    work.wait(panel.ask_fetch("1.1"))
    (take,) = card(panel)["takes"]
    assert (take["here"], take["problem"]) == (True, "")


@pytest.mark.parametrize("take", ["", "1", "1.9", "9.1", "x.y", 3, None, "1.1.1", "-1.1"])
def test_odd_names_of_takes_are_refused(studio: Make, take: Any) -> None:
    panel = studio()
    for ask in (
        lambda: panel.ask_mark(take, "a"),
        lambda: panel.ask_audio(take, "me"),
        lambda: panel.ask_cancel(take),
        lambda: panel.take(take),
    ):
        with pytest.raises(bn.InvalidInput):
            ask()


# ── what is seen ──


def test_the_still_holds_the_settings_and_the_players(studio: Make) -> None:
    panel = studio(model="suno-5.5", title="Rain", model_options={"sandbox": {"seconds": 2}})
    assert "slow blues" in panel._repr_html_()
    panel.create()
    panel.create(title="More")
    html = panel._repr_html_()
    assert html.count("<audio controls") == 4
    assert html.index("More") < html.index("80 credits")  # newest first
    assert "Rain" in panel._repr_markdown_()


def test_takes_are_called_the_same_in_the_still(studio: Make) -> None:
    panel = studio(model="suno-5.5", model_options={"sandbox": {"seconds": 2}})
    panel.create()
    panel.create()
    panel.ask_mark("2.1", "b")
    panel.ask_dismiss(1)
    assert panel.take("2.2") is panel.tasks[0].clips[1]
    assert panel.jobs == {2: panel.tasks[0]}
    text = panel._repr_markdown_()
    assert re.findall(r"2\\?\.[12]", text) == ["2.1", "2.2"], text
    assert text.count("marked B") == 1
    assert text.index("2.1") < text.index("marked B") < text.index("2.2")


def test_a_sandbox_is_named_wherever_it_answers(studio: Make) -> None:
    panel = studio(model="minimax-music-2.6")  # by its address alone, nobody could know
    assert tree(panel)["sandbox"] is False
    panel.create()
    assert tree(panel)["sandbox"] is True
    other = studio()
    until(lambda: other.widget and tree(other)["sandbox"])
    assert tree(other)["models"] == ["auto", "suno-5.5", "minimax-music-2.6"]


def test_a_studio_that_is_shown_leaves_no_row(client: bn.Client, studio: Make) -> None:
    panel = studio()
    before = len(bn.journal())
    until(lambda: panel.widget and tree(panel)["sandbox"])
    assert len(bn.journal()) == before


def test_the_still_keeps_to_the_limit_for_sound(studio: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = studio(model="suno-5.5", model_options={"sandbox": {"seconds": 2}})
    panel.create()
    panel.create()
    one = max(clip.size or 0 for clip in panel.takes)
    monkeypatch.setenv("BEATRA_EMBED_MB", f"{3.2 * one / 1e6:.4f}")  # of four takes, three
    assert panel._repr_html_().count("<audio controls") == 3


def test_hostile_words_stay_words(studio: Make) -> None:
    panel = studio(HOSTILE, title=HOSTILE.replace("\0", ""), lyrics=HOSTILE, model="minimax-music-2.6")
    bring(panel, WAV, name=HOSTILE)
    shown = until(lambda: (now := tree(panel)["reference"])["state"] == "ready" and now)
    assert not re.search(r"[/\\\u202e\0\n]", shown["name"])
    panel.create()
    (take,) = card(panel)["takes"]
    assert not re.search(r"[\u202e\0\n]", take["title"] + card(panel)["prompt"])
    assert re.fullmatch(r"[^/\\<>\0\u202e]+\.mp3", take["name"])
    html = panel._repr_html_()
    assert "<img src=x" not in html
    assert "\u202e" not in html


def test_what_comes_to_words_of_a_diff_is_both_texts() -> None:
    told = word_diff("a b, c", "a x, c d")
    assert "".join(text for kind, text in told if kind != "more") == "a b, c"
    assert "".join(text for kind, text in told if kind != "less") == "a x, c d"


def test_its_repr_says_what_it_holds(studio: Make) -> None:
    assert repr(studio()) == "MusicStudio(model='auto', 0 tasks)"
