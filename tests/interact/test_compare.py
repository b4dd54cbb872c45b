"""Compare: one prompt and several lanes, what came of each, and a blind round that tells nobody who is who."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb import display
from beatra_nb.core.errors import InvalidInput
from beatra_nb.interact import work
from beatra_nb.interact.compare import Compare
from beatra_nb.interact.lanes import Lane, labels_of, lanes_of
from beatra_nb.sandbox import Sandbox

MODEL = "sandbox-scripted"
LONG = "Write a text of 2000 words."
SLOW = {"model_options": {"pace": 0.01}}
PATIENCE = 20.0


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with bn.sandbox.start(engine="scripted", faults=True) as box:
        yield box


@pytest.fixture
def make(sandbox: Sandbox) -> Iterator[Callable[..., Compare]]:
    """Make comparisons that talk to the sandbox, and close them."""
    client = bn.Client(sandbox.api_key, base_url=sandbox.base_url, max_attempts=1)
    made: list[Compare] = []

    def new(*args: Any, **options: Any) -> Compare:
        made.append(Compare(*args, client=client, **options))
        return made[-1]

    yield new
    for each in made:
        each.close()
    work.wait(work.twin(client).close())
    client.close()


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.005)


def page(compare: Compare) -> str:
    """Everything that a page, its still and its texts can hold."""
    bundle = display.bundle(compare)
    return json.dumps([compare.picture, compare._doc.snapshot(), bundle, repr(compare)], ensure_ascii=False)


# ── lanes ──


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"models": "auto"}, "list of models"),
        ({"models": []}, "no lane"),
        ({"models": ["auto"] * 9}, "9 lanes"),
        ({"models": ["auto", ""]}, "model must be"),
        ({"models": ["auto"], "variants": {}}, "not both"),
        ({"variants": 3}, "a dict or a list"),
        ({"variants": ["auto"]}, "dict of settings"),
        ({"variants": {"hot": {"temperature": 3}}}, "'hot' cannot be sent: temperature must be from 0 to 2"),
        ({"variants": [{"label": "x", "prompt": "y"}]}, "'prompt' cannot be set"),
        ({"variants": [{"idempotency_key": "k"}]}, "'idempotency_key' cannot be set"),
        ({"idempotency_key": "k"}, "several calls"),
        ({"temperature": 9}, "temperature must be"),
        ({"prompt": 3}, "prompt must be text"),
        ({"system": 3}, "system must be text"),
        ({"blind": 1}, "blind must be True or False"),
    ],
)
def test_what_cannot_be_sent_is_refused_when_it_is_made(
    make: Callable[..., Compare], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        make(**given)


def test_lanes_have_names_that_tell_them_apart() -> None:
    variants = {
        "cold": {"temperature": 0},
        "warm": {"temperature": 1.2, "system": "Be brief.", "max_tokens": 9},
    }
    lanes = lanes_of(None, variants)
    assert lanes[1] == Lane("warm", "auto", 1.2, {"system": "Be brief.", "max_tokens": 9})
    assert lanes[1].extra == "system “Be brief.”, max_tokens 9"
    assert labels_of(lanes_of(["x", "auto", "x"], None)) == ["x", "auto", "x (2)"]
    assert labels_of(lanes_of(None, None)) == ["auto, temperature 0", "auto, temperature 1"]


def test_a_lane_says_its_own_before_what_all_share() -> None:
    lane = Lane("x", "m", None, {"system": "mine", "top_p": 0.5})
    body = lane.request("Hi.", "shared", {"top_p": 1, "max_tokens": 3}).body
    assert body["messages"] == [{"role": "system", "content": "mine"}, {"role": "user", "content": "Hi."}]
    assert (body["model"], body["top_p"], body["max_tokens"]) == ("m", 0.5, 3)


# ── rounds ──


def test_all_lanes_are_answered_and_stand_in_a_frame(make: Callable[..., Compare]) -> None:
    compare = make("Say hi in five words.", variants={"free": {}, "short": {"model": MODEL, "max_tokens": 2}})
    table = compare.run().results
    assert list(table["label"]) == ["free", "short"]
    assert list(table["asked"]) == ["auto", MODEL]
    assert list(table["answered"]) == [MODEL, MODEL]
    assert list(table["finish_reason"]) == ["stop", "length"]
    assert list(table["tokens"]) == [5, 2]
    assert (table["first_seconds"] <= table["seconds"]).all()
    assert table["request_id"].str.startswith("req_").all()
    assert table["error"].isna().all()
    free, short = compare.replies
    assert free is not None
    assert free.complete
    assert free.text == compare.picture["lanes"][0]["text"]
    assert short is not None
    assert short.finish_reason == "length"
    assert compare.picture["lanes"][0]["answered"] == f"auto → {MODEL}"
    compare.run("Say it again.")
    assert [each.prompt for each in compare.history] == ["Say hi in five words.", "Say it again."]
    assert len(compare.history[0].to_frame()) == 2


def test_nothing_is_sent_where_one_lane_could_not_be(make: Callable[..., Compare]) -> None:
    compare = make()
    with pytest.raises(InvalidInput, match="prompt is empty"):
        compare.run()
    assert compare.history == ()
    assert compare.replies == []
    assert len(compare.results) == 0
    assert len(bn.journal()) == 0


def test_a_lane_that_fails_is_tried_again_alone(make: Callable[..., Compare], sandbox: Sandbox) -> None:
    compare = make("Say hi in five words.", models=["auto", MODEL])
    sandbox.inject("model_unavailable")
    compare.run()
    failed = [each for each in compare.history[0].outcomes if each.state == "failed"]
    assert len(failed) == 1
    assert failed[0].error is not None
    assert failed[0].error.code == "model_unavailable"
    shown = next(lane for lane in compare.picture["lanes"] if lane["state"] == "failed")
    assert shown["error"]["code"] == "503 model_unavailable"
    other = next(each for each in compare.history[0].outcomes if each.state == "done")
    compare.retry(failed[0].label)
    again = compare.history[0].outcomes
    assert [each.state for each in again] == ["done", "done"]
    assert other in again, "the other lane was not asked again"
    assert (
        next(lane for lane in compare.picture["lanes"] if lane["label"] == failed[0].label)["error"] is None
    )


@pytest.mark.parametrize(
    ("fault", "same"), [("cut:3", True), ("midstream:model_unavailable", True), ("402", False)]
)
def test_a_lane_tried_again_is_the_same_call_where_it_may_have_been_done(
    make: Callable[..., Compare], sandbox: Sandbox, fault: str, same: bool
) -> None:
    compare = make("Write a text of 40 words.", models=["auto"])
    sandbox.inject(fault)
    compare.run()
    before = compare._rounds[0].requests[0].key
    outcome = compare.history[0].outcomes[0]
    assert outcome.state == "failed"
    assert (outcome.reply is not None and not outcome.reply.complete) == (fault != "402")
    compare.retry(1)
    assert (compare._rounds[0].requests[0].key == before) == same
    reply = compare.replies[0]
    assert reply is not None
    assert reply.complete
    assert len(reply.text.split()) == 40


def test_one_lane_is_stopped_and_the_others_go_on(make: Callable[..., Compare]) -> None:
    compare = make("Write a text of 120 words.", variants={"a": SLOW, "b": SLOW})
    thread = threading.Thread(target=compare.run)
    thread.start()
    until(lambda: compare.running and compare.picture["lanes"][0]["text"])
    with pytest.raises(InvalidInput, match="under way"):
        compare.run()
    with pytest.raises(InvalidInput, match="under way"):
        compare.add()
    assert compare.stop("a") is True
    thread.join(PATIENCE)
    stopped, whole = compare.history[0].outcomes
    assert stopped.state == "stopped"
    assert stopped.reply is not None
    assert not stopped.reply.complete
    assert whole.reply is not None
    assert whole.reply.complete
    assert compare.picture["lanes"][0]["note"].startswith("Stopped")
    assert compare.picture["running"] is False
    assert compare.stop() is False


def test_stop_ends_all_of_them_at_once_and_at_any_moment(make: Callable[..., Compare]) -> None:
    compare = make(LONG, variants={"a": SLOW, "b": SLOW, "c": SLOW})
    for text in (False, True):
        compare.ask_run(LONG, "")
        until(lambda text=text: not text or all(lane["text"] for lane in compare.picture["lanes"]))
        assert compare.ask_stop() is True
        until(lambda: not compare.picture["running"])
        assert {each.state for each in compare.history[-1].outcomes} == {"stopped"}


def test_what_is_stopped_may_be_asked_again_at_once(make: Callable[..., Compare]) -> None:
    compare = make(LONG, variants={"a": SLOW, "b": SLOW})
    for _ in range(3):
        compare.ask_run()
        assert compare.stop() is True
        assert not compare.running
        assert compare.picture["running"] is False
        assert {each.state for each in compare.history[-1].outcomes} == {"stopped"}
    compare.ask_run()
    assert compare.stop(1) is True
    assert compare.history[-1].outcomes[0].state == "stopped"
    assert compare.running, "the other one goes on"
    compare.stop()
    assert compare.run("Say hi in five words.").results["error"].isna().all()


def test_an_interrupt_keeps_what_had_come(make: Callable[..., Compare]) -> None:
    compare = make(LONG, variants={"a": SLOW, "b": SLOW})

    def interrupt() -> None:
        until(lambda: compare.running and all(lane["text"] for lane in compare.picture["lanes"]))
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(bn.Interrupted, match="Interrupted during a comparison"):
        compare.run()
    thread.join()
    assert [each.state for each in compare.history[0].outcomes] == ["stopped", "stopped"]
    assert compare.results["text"].str.len().gt(0).all()
    assert not compare.running


def test_a_closed_comparison_asks_nothing(make: Callable[..., Compare]) -> None:
    compare = make("Say hi in five words.", models=["auto"])
    compare.run()
    compare.close()
    rows = len(bn.journal())
    for ask in (compare.run, lambda: compare.retry(1), compare.ask_run):
        with pytest.raises(bn.ConfigurationError, match="is closed"):
            ask()
    assert len(bn.journal()) == rows
    assert not compare.running
    assert len(compare.history) == 1


def test_what_was_asked_stands_with_its_answers(make: Callable[..., Compare]) -> None:
    compare = make("Say hi in five words.", ["auto"], system="Be kind.").run()
    assert "changed since" not in display.to_plain(compare)
    assert "Be kind." in display.to_plain(compare)
    compare.ask_edit(prompt="Something else.")
    compare.system = None
    assert compare.picture["asked"] == {"prompt": "Say hi in five words.", "system": "Be kind."}
    still = display.to_plain(compare)
    assert "Say hi in five words." in still
    assert "Something else." not in still
    assert "changed since" in still
    assert (compare.history[0].prompt, compare.history[0].system) == ("Say hi in five words.", "Be kind.")


def test_the_page_may_leave_the_prompt_to_python(make: Callable[..., Compare]) -> None:
    compare = make("Say hi in five words.", models=["auto"], system="Be kind.")
    compare.ask_run()
    until(lambda: not compare.running)
    compare.ask_run(prompt="Say hi in two words.")
    until(lambda: not compare.running)
    assert [(each.prompt, each.system) for each in compare.history] == [
        ("Say hi in five words.", "Be kind."),
        ("Say hi in two words.", "Be kind."),
    ]


def test_closing_ends_what_is_under_way(make: Callable[..., Compare]) -> None:
    compare = make(LONG, models=["auto"], **SLOW)
    compare.ask_run(LONG, "")
    until(lambda: compare.picture["lanes"][0]["text"])
    compare.close()
    until(lambda: not compare.running)


def test_four_long_answers_cost_bytes_like_one_each(make: Callable[..., Compare]) -> None:
    compare = make("Write a text of 800 words.", models=[MODEL] * 4, model_options={"pace": 0.001})
    sizes: list[int] = []
    compare._doc.attach(lambda message: sizes.append(640 + len(json.dumps(message))))
    compare.run()
    text = sum(len(lane["text"]) for lane in compare.picture["lanes"])
    assert text > 16_000
    # What a message costs beside its text is measured in lessons of the live display: ~640 bytes.
    assert sum(sizes) <= 5 * text


# ── lanes by hand ──


def test_lanes_come_go_and_change(make: Callable[..., Compare]) -> None:
    compare = make("Say hi in five words.", models=["auto"])
    compare.add(MODEL, temperature=0.5).run()
    key = compare.picture["lanes"][1]["key"]
    compare.ask_lane(key, "mine", "auto", 1.5)
    assert compare.lanes[1] == Lane("mine", "auto", 1.5)
    assert compare.picture["lanes"][1]["label"] == "mine"
    shown = compare.picture["lanes"][1]
    assert shown["text"], "its answer stays"
    assert shown["asked"] == {"label": MODEL, "model": MODEL, "temperature": 0.5, "extra": ""}, (
        "as it was asked"
    )
    still = display.to_plain(compare)
    assert "0.5" in still
    assert "1.5" not in still, "no answer stands under settings that it was not given"
    assert list(compare.results["label"]) == ["auto", MODEL]
    with pytest.raises(InvalidInput, match="temperature"):
        compare.ask_lane(key, "mine", "auto", 7)
    with pytest.raises(InvalidInput, match="There is no lane 'x'"):
        compare.remove("x")
    compare.remove("auto")
    with pytest.raises(InvalidInput, match="The last lane stays"):
        compare.remove(1)
    with pytest.raises(InvalidInput, match="was removed"):
        compare.retry("auto")
    with pytest.raises(InvalidInput, match="not there any more"):
        compare.ask_remove("nothing")
    for _ in range(7):
        compare.ask_add()
    with pytest.raises(InvalidInput, match="at most 8"):
        compare.ask_add()


# ── blind ──


def test_a_blind_round_tells_the_page_nothing_until_it_is_revealed(
    make: Callable[..., Compare], sandbox: Sandbox
) -> None:
    variants = {
        "cold": {"temperature": 0.25, "model": MODEL, "max_tokens": 4},
        "warm": {"temperature": 1.75, "system": "Be brief."},
    }
    compare = make("Say hi in five words.", variants=variants, blind=True)
    secrets = [
        MODEL,
        "cold",
        "warm",
        "0.25",
        "1.75",
        "Be brief",
        "max_tokens",
        "req_",
        "first words",
        "credits",
    ]
    assert not [word for word in secrets if word in page(compare)]
    compare.run()
    hidden = page(compare)
    assert not [word for word in secrets if word in hidden], "who is who is nowhere"
    assert not [key for key in compare._lanes if key in hidden]
    table = compare.results
    assert list(table["label"]) == ["A", "B"]
    assert table[["asked", "answered", "seconds", "tokens", "request_id"]].isna().all(axis=None)
    assert [reply.model for reply in compare.replies if reply] == ["", ""]
    assert [each.lane for each in compare.history[0].outcomes] == [None, None]

    compare.vote("A", 2).vote("b")
    assert compare.votes == {"A": 2, "B": 1}
    with pytest.raises(InvalidInput, match="There is no answer 'cold'"):
        compare.vote("cold")
    compare.reveal()
    shown = page(compare)
    assert all(word in shown for word in (MODEL, "cold", "warm", "req_"))
    first = compare.history[0].outcomes[0].label
    assert compare.votes[first] == 2
    assert sum(compare.votes.values()) == 3
    with pytest.raises(InvalidInput, match="has been revealed"):
        compare.vote("A")


def test_an_error_does_not_give_a_blind_lane_away(make: Callable[..., Compare], sandbox: Sandbox) -> None:
    compare = make("Say hi in five words.", models=["auto", MODEL], blind=True)
    sandbox.inject(f"model_unavailable;message=The model {MODEL} is gone")
    compare.run()
    assert "failed" in [lane["state"] for lane in compare.picture["lanes"]]
    assert MODEL not in page(compare)
    assert compare.results["error"].isna().all()
    compare.reveal()
    assert MODEL in page(compare)
    assert compare.results["error"].notna().sum() == 1


def test_votes_are_counted_over_rounds_whatever_their_order(make: Callable[..., Compare]) -> None:
    compare = make("Say hi in five words.", variants={"x": {}, "y": {}, "z": {}}, blind=True)
    for _ in range(4):
        compare.run()
        by_key = dict(compare._columns)
        wanted = list(compare._lanes)[1]  # always for "y", wherever it stands
        compare.ask_vote(next(key for key, of in by_key.items() if of == wanted))
        keys = {lane["key"] for lane in compare.picture["lanes"]}
        assert len(keys) == 3
        assert compare.votes.keys() == {"A", "B", "C"}
    compare.reveal()
    assert compare.votes == {"y": 4, "x": 0, "z": 0}
    assert compare.picture["score"][0] == {"label": "y", "votes": 4}


def test_letters_mean_the_same_everywhere_while_lanes_come_and_go(make: Callable[..., Compare]) -> None:
    compare = make("Say hi in five words.", variants={name: {} for name in "uvwxyz"}, blind=True)
    compare.run()
    compare.vote("B", 2).vote("E")
    for change in (compare.add, lambda: compare.remove("v")):
        with pytest.raises(InvalidInput, match="that would tell who is who"):
            change()
    table = compare.results
    assert compare.votes == dict(zip(table["label"], table["votes"], strict=True))
    texts = [lane["text"] for lane in compare.picture["lanes"]]
    compare.reveal()
    order = [lane["label"] for lane in compare.picture["lanes"]]
    compare.add(label="new")
    shown = compare.picture
    assert shown["hidden"] is False, "what has been revealed stays so"
    assert [lane["label"] for lane in shown["lanes"]] == [*order, "new"]
    assert [lane["letter"] for lane in shown["lanes"]] == [*"ABCDEF", ""]
    assert [lane["text"] for lane in shown["lanes"]] == [*texts, ""]
    compare.remove(1)
    first = compare.picture["lanes"][0]
    assert (first["label"], first["letter"]) == (order[1], "B")
    assert compare.votes[order[1]] == 2
    compare.run()
    assert compare.votes == dict.fromkeys("ABCDEF", 0)


def test_lanes_are_shuffled_anew_in_each_round(make: Callable[..., Compare]) -> None:
    compare = make("x", models=[f"model-{at}" for at in range(8)], blind=True)
    orders = set()
    for _ in range(6):
        compare._arrange(blind=True)
        orders.add(tuple(of for _, of in compare._columns))
    assert len(orders) > 1


def test_leaving_blind_mode_reveals(make: Callable[..., Compare]) -> None:
    compare = make("Say hi in five words.", models=["auto", MODEL], blind=True).run()
    compare.blind = False
    assert [lane["label"] for lane in compare.picture["lanes"]] == ["auto", MODEL]
    assert all(lane["text"] for lane in compare.picture["lanes"])
    compare.blind = True
    assert MODEL not in page(compare)
    assert not any(lane["text"] for lane in compare.picture["lanes"]), "what was seen open is not shown blind"


# ── hostile ──


def test_hostile_text_is_text(make: Callable[..., Compare]) -> None:
    bad = "<img src=x onerror=alert(1)>\u202e"
    compare = make(f"Repeat after me: {bad}", variants={bad: {"system": bad}}).run()
    html = display.to_html(compare)
    assert "<img" not in html
    assert "\u202e" not in html
    assert "\u202e" not in compare.picture["lanes"][0]["text"] + compare.picture["lanes"][0]["label"]


def test_run_at_once_and_show_without_a_page(make: Callable[..., Compare]) -> None:
    compare = make("Say hi in five words.", models=["auto"], run=True)
    assert compare.replies[0] is not None
    markdown = display.to_markdown(compare)
    assert "Say hi in five words." in markdown
    assert compare.replies[0].text in markdown
    assert "sandbox" in markdown
