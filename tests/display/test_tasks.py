"""What a reader finds in the views of tasks, clips, artifacts and their lists; and that what plays stays small."""

from __future__ import annotations

import base64
import dataclasses
import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb import display
from beatra_nb.core import errors
from beatra_nb.core.media import Artifact
from beatra_nb.core.task import AsyncTask, Billing, Progress, TaskWarning
from beatra_nb.core.task_list import LostJob, PendingList, TaskList
from beatra_nb.display import html, markdown, media_html, pieces, plain, task_lists, tasks
from beatra_nb.display.view import Audio, Columns, Image, Meter, Player, Stack, Text
from beatra_nb.display.waveform import waveform
from tests.display.audit import audit
from tests.display.gallery import MADE, REQUEST_ID, TASK_ID, sound, task, task_wire
from tests.display.test_views import says, silent


def players(thing: object) -> list[bytes]:
    """The sounds that a thing's html holds."""
    found = audit(display.to_html(thing)).sources
    return [base64.b64decode(each.partition(",")[2]) for each in found if each.startswith("data:audio")]


def pictures(thing: object) -> int:
    """How many pictures a thing's html holds."""
    return sum(each.startswith("data:image") for each in audit(display.to_html(thing)).sources)


class TestSucceeded:
    def test_two_takes_are_told_apart(self) -> None:
        made = task()
        says(made, "City Lights", "succeeded", "auto → suno-5.5", "80 credits", "9.0 s", TASK_ID, REQUEST_ID)
        says(made, "3:05", "3:06", "A minor", "C major", "92 bpm", "100 bpm", "4711", "4712")
        says(made, "A / B differ: key A minor / C major · tempo 92 / 100 bpm · seed 4711 / 4712")
        says(made, "Prompt", "dream pop, warm analog drums", "Lyrics", "Waking")
        assert players(made) == [clip.data for clip in made.clips]
        assert pictures(made) == 2

    def test_the_ids_can_be_copied(self) -> None:
        found = display.to_html(task())
        assert re.findall(r'class="bnb-id" title="([^"]*)"[^>]*>([^<]*)<', found) == [
            ("task", TASK_ID),
            ("request id", REQUEST_ID),
        ]

    def test_one_take_needs_no_letter(self) -> None:
        made = task(clips=1)
        silent(made, "differ", "A ·")
        assert len(players(made)) == 1

    def test_only_what_is_known_and_different_is_compared(self) -> None:
        made = task()
        made.clips[1].seed, made.clips[1].key, made.clips[1].tempo = None, "A minor", 92.0
        silent(made, "differ")
        made.clips[1].tempo = 97.25
        says(made, "A / B differ: tempo 92 / 97.2 bpm")

    def test_lyrics_that_are_the_same_are_told_once(self) -> None:
        made = task()
        assert display.to_plain(made).count("Waking") == 1
        made.clips[1].lyrics = "[Verse]\nSleeping"
        says(made, "Lyrics of take A", "Waking", "Lyrics of take B", "Sleeping")

    def test_sections_are_shown_where_they_begin(self) -> None:
        made = task(clips=1)
        made.clips[0].facts["sections"] = [
            {"name": "Intro", "start_seconds": 0},
            {"name": "Verse", "start_seconds": 8.2},
            {"name": "Ending"},
            "odd",
        ]
        says(made, "Intro 0:00 · Verse 0:08 · Ending")

    def test_warnings_are_told(self) -> None:
        made = task(
            warnings=[{"code": "x", "message": "Composed by a machine.", "field": "lyrics"}, {"code": "bare"}]
        )
        says(made, "Composed by a machine.", "bare")

    def test_a_task_without_its_output_says_how_to_get_it(self) -> None:
        says(task(output={}), "task.refresh() gets it")
        other = task(capability="text-to-image", output={"image_url": "https://x.example/y.png"}, input={})
        says(other, "text-to-image", "Output", "https://x.example/y.png")
        silent(other, "task.refresh")

    @pytest.mark.parametrize("way", ["rerun", "key", "pending"])
    def test_a_job_that_was_there_already_says_so(self, way: str) -> None:
        made = task()
        silent(made, "already")
        made.attached = way
        says(made, "already", "nothing new was created or charged")

    def test_many_takes_stay_within_bounds_and_all_play(self) -> None:
        made = task(clips=30, here=False)
        for clip in made.clips:
            clip.keep(sound(0.05, 100.0 + clip.index))
        assert len(players(made)) == 30
        assert pictures(made) == 0
        says(made, "Z", "27")


class TestUnfinished:
    def test_running(self) -> None:
        made = task("running", progress={"percent": 42.4, "stage": "composing", "message": "Take 1: drums"})
        made.created_at = datetime.now(UTC) - timedelta(seconds=65)
        made.expected = 90.0
        says(
            made,
            "running",
            "42 %",
            "composing · Take 1: drums",
            "1:05 so far; such jobs lately took about 1:30",
        )
        says(made, "task.wait()", f'bn.task("{TASK_ID}")')

    def test_queued_tells_the_price_before_it_is_spent(self) -> None:
        made = task("queued", billing={}, resolved_model="")
        made.price = "50 or 80 credits"
        says(made, "queued", "price 50 or 80 credits", "auto")
        silent(made, "%", "→")

    def test_async_tasks_are_awaited(self) -> None:
        says(AsyncTask(None, task_wire("running")), "await task.wait()")

    def test_cancelling_was_asked_for(self) -> None:
        says(task("running", cancel_requested_at=MADE.isoformat()), "Cancelling has been asked for.")

    @pytest.mark.parametrize("percent", [None, "half", float("nan"), -1, 101, True])
    def test_a_percent_that_is_none(self, percent: Any) -> None:
        made = task("running")
        made.progress = Progress(percent, "composing")
        says(made, "composing")
        silent(made, "%")


class TestOver:
    def test_failed(self) -> None:
        made = task(
            "failed",
            error={"code": "model_unavailable", "message": "It is not there.", "retryable": True},
            billing={"charged_credits": "80", "refunded_credits": "80"},
        )
        says(made, "failed", "It is not there.", "model_unavailable", "Yes, the same call", "What to do")
        says(made, "80 credits were refunded", "80 credits charged, 80 credits refunded")
        assert display.to_plain(made).count("were refunded") == 1

    def test_failed_without_a_refund(self) -> None:
        says(
            task("failed", error={"code": "x", "message": "y"}),
            "80 credits charged; nothing has been refunded so far",
        )

    def test_failed_without_a_reason(self) -> None:
        made = task("failed", billing={"refunded_credits": "1"})
        made.error = None
        says(made, "does not say why", "1 credit was refunded")

    def test_canceled(self) -> None:
        made = task("canceled", billing={"charged_credits": "80", "refunded_credits": "80"})
        says(made, "canceled", "It was cancelled", "80 credits were refunded.")
        silent(task("canceled", billing={}), "refunded", "charged")

    def test_a_status_of_the_future(self) -> None:
        says(task("archived"), "archived", "this version does not know", "80 credits")
        made = task("")
        made.status = ""
        says(made, "does not tell its status")

    def test_errors_lead_back_to_their_task(self) -> None:
        made = task("running")
        says(
            errors.TaskTimeout("Not over after 60 s.", task=made),
            "not over yet",
            "goes on by itself",
            TASK_ID,
        )
        says(errors.Interrupted("You stopped the waiting.", task=made), "goes on by itself", TASK_ID)
        silent(errors.Interrupted("x", task=made, idempotency_key="k"), "key named below")


class TestClip:
    def test_a_player_says_what_it_plays(self) -> None:
        clip = task().clips[0]
        says(clip, "City Lights", "3:05", "dream pop", "A minor", "92 bpm", "4711", "suno-5.5", "40 credits")
        says(clip, TASK_ID, REQUEST_ID, "Lyrics", "Waking", "WAV, 3 kB")
        silent(clip, "sandbox", "saved")
        assert players(clip) == [clip.data]
        found = display.to_html(clip)
        assert re.search(
            r'<audio controls preload="auto" title="City Lights, 3:05" style="[^"]*" src="data:audio/wav;base64,',
            found,
        )
        assert 'alt="Waveform, 3:05"' in found
        assert "<source" not in found
        assert "<svg" not in found

    def test_what_came_from_the_sandbox_says_so(self) -> None:
        made = task()
        made.sandbox = True
        says(made.clips[0], "sandbox")
        says(made, "sandbox")

    def test_where_it_was_saved(self) -> None:
        clip = task().clips[0]
        clip.saved = Path.home() / "music" / "lights.mp3"
        says(clip, "saved in", "lights.mp3")
        silent(clip, str(Path.home()))

    def test_bytes_are_only_in_html(self) -> None:
        clip = task().clips[0]
        assert clip.data is not None
        start = base64.b64encode(clip.data).decode()[:40]
        assert start in display.to_html(clip)
        for text in (display.to_markdown(clip), display.to_plain(clip)):
            assert start not in text
            assert "data:" not in text

    def test_audio_that_is_not_here_says_why_and_what_to_do(self) -> None:
        made = task(here=False)
        says(made.clips[0], "not been fetched yet: clip.audio()")
        says(made, "task.clips[1].audio()")
        made.clips[0].problem = "The address has expired."
        says(made.clips[0], "The audio is not here: The address has expired.", "clip.audio() tries again")
        says(AsyncTask(None, task_wire()).clips[0], "await clip.audio()")
        assert players(made) == []

    def test_what_is_no_sound_is_not_played(self) -> None:
        clip = task(here=False).clips[0]
        clip.keep(b"<html>no sound</html>")
        clip._said_type = "text/html"
        says(clip, "media type (text/html) is none that plays here", "clip.save()")
        assert players(clip) == []
        assert pictures(clip) == 0

    def test_embedding_can_be_refused_and_forced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = task()
        made.clips[0].embed = False
        says(made, "is not embedded here", "task.clips[0].save()", "task.clips[0].embed = True")
        assert players(made) == [made.clips[1].data]
        monkeypatch.setenv("BEATRA_EMBED_MB", "0")
        made.clips[1].embed = True
        assert players(made) == [made.clips[1].data]

    def test_embedding_stops_at_the_limit_of_one_output(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = task(clips=3)
        length = len(sound())
        monkeypatch.setenv("BEATRA_EMBED_MB", str(2 * length / 1e6))
        assert players(made) == [clip.data for clip in made.clips[:2]]
        says(made, "larger than it may be (6 kB of sound): task.clips[2].save()")
        assert players(made.clips[2]) == [made.clips[2].data], "alone it fits"

    def test_a_setting_that_cannot_be_read_costs_no_picture(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BEATRA_EMBED_MB", "plenty")
        assert len(players(task())) == 2

    def test_the_same_bytes_are_never_in_one_output_twice(self) -> None:
        made = task()
        assert made.clips[0].data is not None
        made.clips[1].keep(bytes(bytearray(made.clips[0].data)))
        assert players(made) == [made.clips[0].data]
        assert "the same sound as above" in display.to_html(made)


class TestSize:
    @pytest.mark.parametrize("seconds", [0.5, 20.0])
    def test_a_player_costs_little_more_than_its_sound(self, seconds: float) -> None:
        clip = task(here=False).clips[0]
        clip.keep(sound(seconds))
        assert len(display.to_html(clip).encode()) <= 1.34 * len(sound(seconds)) + 12_000

    def test_a_long_sound_is_neither_counted_nor_dropped(self) -> None:
        made = task(here=False)
        data = sound(0.5) + bytes(3_000_000)
        made.clips[0].keep(data)
        made.clips[1].keep(data + b"1")
        for clip in made.clips:
            clip._waveform = []  # type: ignore[assignment] - zeros at the end are no sound
        made.prompt = made.lyrics = "<" * 200_000
        assert players(made) == [data, data + b"1"]
        found = display.to_html(made)
        assert len(found) - 2 * (4 * math.ceil(len(data) / 3)) <= display.LARGEST

    def test_bytes_are_encoded_once_and_never_copied_about(self, monkeypatch: pytest.MonkeyPatch) -> None:
        encoded: list[int] = []
        kept = base64.b64encode

        def count(data: bytes) -> bytes:
            encoded.append(len(data))
            return kept(data)

        monkeypatch.setattr(media_html.base64, "b64encode", count)
        made = task()
        made.prompt = "<" * 200_000  # too long at first: the view is drawn again, more briefly
        display.bundle(made)
        lengths = [len(clip.data or b"") for clip in made.clips]
        assert [length for length in encoded if length in lengths] == lengths

    def test_a_waveform_is_small(self) -> None:
        loud = waveform([1.0] * 400, "x")
        assert loud is not None
        assert len(loud.data) <= 6_000
        assert len(html.render(loud)) <= 6_000


class TestWaveform:
    def test_nothing_known_is_no_picture(self) -> None:
        for nothing in (None, [], 3, "", object()):
            assert waveform(nothing, "x") is None

    @given(st.lists(st.one_of(st.floats(), st.integers(), st.none(), st.booleans(), st.text()), min_size=1))
    def test_whatever_the_peaks_the_picture_is_a_drawing(self, peaks: list[Any]) -> None:
        made = waveform(peaks, "x")
        assert made is not None
        audit(html.render(made))
        heights = [float(each) for each in re.findall(r"v([\d.]+)", made.data.decode())]
        assert len(heights) == 110
        assert all(1 <= height <= 52 for height in heights)

    def test_loud_is_tall(self) -> None:
        made = waveform([0.0] * 200 + [1.0] * 200, "x")
        assert made is not None
        heights = [float(each) for each in re.findall(r"v([\d.]+)", made.data.decode())]
        assert heights == [1.0] * 55 + [52.0] * 55

    def test_a_quiet_sound_fills_its_picture_and_silence_does_not(self) -> None:
        for peaks, height in (([0.2] * 400, 52.0), ([0.0] * 400, 1.0)):
            made = waveform(peaks, "x")
            assert made is not None
            assert {float(each) for each in re.findall(r"v([\d.]+)", made.data.decode())} == {height}


class TestArtifact:
    def test_says_what_was_uploaded(self) -> None:
        made = Artifact(
            "art_1",
            "https://cdn.example/x",
            "audio/mpeg",
            "reference_audio",
            3_456_789,
            "ab" * 32,
            "humming.mp3",
            62.4,
            request_id=REQUEST_ID,
            elapsed=1.5,
        )
        says(made, "humming.mp3", "art_1", "audio/mpeg", "3.5 MB", "1:02", "reference_audio", "abababab")
        says(made, "sent in 1.5 s (2.3 MB/s)", REQUEST_ID)
        silent(made, "sandbox", "nothing was sent")
        again = dataclasses.replace(made, reused=True, sandbox=True)
        says(again, "nothing was sent", "sandbox")
        silent(again, "sent in")

    def test_little_known(self) -> None:
        says(Artifact("art_1"), "Uploaded file", "art_1")
        silent(Artifact("art_1"), "Type", "Size", "Length", "None")


class TestLists:
    def test_a_page_of_tasks(self) -> None:
        found = TaskList(None, {"status": "succeeded", "limit": 20})  # type: ignore[arg-type]
        back = {"charged_credits": "80", "refunded_credits": "80"}
        young, old = (datetime.now(UTC) - timedelta(minutes=3)), (datetime.now(UTC) - timedelta(days=3))
        found.add(
            [
                task(here=False, task_id="task_1", created_at=young.isoformat()),
                task("canceled", task_id="task_2", created_at=old.isoformat(), billing=back),
            ],
            "next",
            True,
        )
        says(
            found,
            "Tasks",
            "City Lights",
            "succeeded",
            "canceled",
            "auto → suno-5.5",
            "3 min",
            "3 d",
            "task_1",
        )
        says(found, "80 − 80", "more pages", ".more()", "2 tasks so far", "status succeeded")
        says(found, "Credits")
        found.has_more = False
        silent(found, "more", "so far")
        bare = TaskList(None, {})  # type: ignore[arg-type]
        bare.add([task(here=False, billing={})], None, False)
        silent(bare, "Credits")

    def test_nothing(self) -> None:
        found = TaskList(None, {})  # type: ignore[arg-type]
        says(found, "Nothing is loaded yet.")
        found.has_more = False
        says(found, "No tasks.", "0 tasks")

    def test_long_lists_say_what_is_left_out(self) -> None:
        found = TaskList(None, {})  # type: ignore[arg-type]
        found.add([task(here=False, task_id=f"task_{n}") for n in range(1000)], None, False)
        says(found, "800 more rows", "1,000 tasks")

    def test_pending(self) -> None:
        lost = LostJob("key-1", MADE, "music", "The service forgot its key after 24 h.", "Old song")
        found = PendingList([task("running")], [lost])
        says(found, "running", TASK_ID, ".wait() finishes them", "1 found again", "1 lost")
        says(found, "music “Old song”, begun 2026-11-23 00:00 UTC: The service forgot", "key-1")
        says(lost, "Old song", "key-1")
        says(PendingList([]), "is unfinished")
        silent(PendingList([], [lost]), "is unfinished", ".wait()")

    @pytest.mark.parametrize(
        ("passed", "words"),
        [(-5, "0 s"), (59, "59 s"), (61, "1 min"), (7300, "2 h"), (86_400 * 3, "3 d"), (86_400 * 800, "2 y")],
    )
    def test_ages(self, passed: float, words: str) -> None:
        assert task_lists.age(MADE, MADE + timedelta(seconds=passed)) == words
        assert task_lists.age(MADE.replace(tzinfo=None), MADE + timedelta(seconds=passed)) == words

    def test_no_age(self) -> None:
        for odd in (None, 3, "now"):
            assert task_lists.age(odd, MADE) == ""


class TestSmallParts:
    def test_progress_billing_and_warnings_alone(self) -> None:
        says(Progress(50, "mixing"), "50 %", "mixing")
        says(Progress(), "Nothing is known yet.")
        says(Billing(Decimal(1)), "1 credit")
        says(Billing(), "Nothing is known")
        says(TaskWarning("code", "", "lyrics"), "code (field lyrics)")
        says(TaskWarning(), "without words")

    @pytest.mark.parametrize(
        ("value", "words"),
        [(0, "0:00"), (0.3, "0:01"), (59.6, "1:00"), (185, "3:05"), (3725, "1:02:05")]
        + [(odd, "") for odd in (None, -1, True, "6", math.nan, math.inf)],
    )
    def test_clock(self, value: Any, words: str) -> None:
        assert pieces.clock(value) == words

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (0, "0 B"),
            (999, "999 B"),
            (94_300, "94 kB"),
            (999_600, "1.0 MB"),
            (100_000_000, "100.0 MB"),
            (2e9, "2.0 GB"),
        ]
        + [(odd, "") for odd in (None, -1, True, "6", math.nan, math.inf)],
    )
    def test_size(self, value: Any, words: str) -> None:
        assert pieces.size(value) == words

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ("audio/mpeg", "audio/mpeg"),
            (" Audio/MP3 ; charset=x", "audio/mpeg"),
            ("audio/x-wav", "audio/wav"),
            ("text/html", ""),
            ("audio/", ""),
            ("image/svg+xml", ""),
            ('audio/mpeg"onerror="x', ""),
            ("", ""),
            (None, ""),
            (b"audio/mpeg", ""),
        ],
    )
    def test_only_known_media_types_enter_a_page(self, given: Any, told: str) -> None:
        assert media_html.sound_type(given) == told

    def test_titles(self) -> None:
        made = task()
        assert tasks.title_of(made) == "City Lights"
        made.title = ""
        assert tasks.title_of(made) == "dream pop, warm analog drums"
        made.prompt = ""
        assert tasks.title_of(made) == "Music"

    def test_a_line_about_a_task(self) -> None:
        made = task()
        made.sandbox = True
        assert (
            tasks.footer(made)
            == f"succeeded · 2 takes · auto → suno-5.5 · sandbox · 80 credits · task {TASK_ID}"
        )
        made = task("queued", billing={})
        made.id, made.model, made.resolved_model, made.price = "", "", "", "50 credits"
        assert tasks.footer(made) == "queued · 50 credits"

    @pytest.mark.parametrize(
        ("status", "clips", "words"),
        [
            ("succeeded", 2, "The music is ready: 2 takes."),
            ("succeeded", 1, "The music is ready: 1 take."),
            ("succeeded", 0, "The task is done."),
            ("failed", 0, "The task failed."),
            ("canceled", 0, "The task was cancelled."),
            ("running", 0, "The task goes on."),
        ],
    )
    def test_how_it_ended_for_those_who_listen(self, status: str, clips: int, words: str) -> None:
        assert tasks.ending(task(status, clips)) == words


class TestNodes:
    """The new nodes of the neutral view, in each renderer."""

    def test_sound_without_a_player_around_it(self) -> None:
        view = Audio(b"abc", "audio/ogg", "A <short> sound")
        assert 'src="data:audio/ogg;base64,YWJj"' in html.render(view)
        assert plain.render(view) == "A <short> sound"
        assert markdown.render(view) == "A &lt;short&gt; sound\n"

    def test_a_picture_of_an_odd_kind_is_its_words(self) -> None:
        view = Image(b"<html>", "text/html", "A picture", 10, 10)
        assert audit(html.render(view)).sources == []
        assert "A picture" in html.render(view)

    @pytest.mark.parametrize(("percent", "words"), [(-3, "0 %"), (42.4, "42 %"), (1000, "100 %")])
    def test_a_meter_stays_within_its_bounds(self, percent: float, words: str) -> None:
        view = Meter(percent, "so far")
        width = re.search(r"width:([\d.]+)%", html.render(view))
        assert width
        assert 0 <= float(width[1]) <= 100
        for text in (html.render(view), markdown.render(view), plain.render(view)):
            assert words in text
            assert "so far" in text

    def test_columns_and_players(self) -> None:
        view = Columns(
            (Player("One", "A", "0:06", body=(Text("x"),)), Player("Two", "B", facts=(Text("y"),)))
        )
        assert plain.render(view) == "A · One · 0:06\n  x\n\nB · Two\n  y"
        assert markdown.render(view) == "**A · One** (0:06)\n\nx\n\n**B · Two**\n\ny\n"
        audit(html.render(view))

    @given(st.lists(st.tuples(st.text(st.characters()), st.binary(min_size=1, max_size=9)), max_size=6))
    def test_every_sound_is_put_where_it_belongs(self, sounds: list[tuple[str, bytes]]) -> None:
        view = Stack(tuple(Audio(data, "audio/wav", text) for text, data in sounds))
        found = [base64.b64decode(each.partition(",")[2]) for each in audit(html.render(view)).sources]
        assert found == list(dict.fromkeys(data for _, data in sounds))


def test_a_page_of_its_own_plays_too() -> None:
    made = task()
    page = display.to_page(made, "Takes")
    assert page.count("<audio controls") == 2
    assert "media-src data:" in page
    assert "img-src data:" in page
