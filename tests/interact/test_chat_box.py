"""The chat box from Python: one conversation, driven by code and by what a page asks."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import beatra_nb as bn
from beatra_nb import display
from beatra_nb.interact import work
from beatra_nb.interact.document import Document
from beatra_nb.sandbox import Sandbox
from tests.display.test_hostile import ATTACKS

SLOW = {"pace": 0.01}
LONG = "Write a text of 900 words."


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with bn.sandbox.start(engine="scripted", faults=True) as box:
        yield box


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[bn.Client]:
    sandbox.clear()
    with bn.Client(sandbox.api_key, base_url=sandbox.base_url, max_attempts=1) as client:
        yield client
        work.wait(work.twin(client).close())


@pytest.fixture
def box(client: bn.Client) -> Iterator[bn.ChatBox]:
    with bn.ChatBox(client=client, title="Talk") as box:
        yield box


class Reader:
    """A page, as far as the document goes: what it was told, put together."""

    def __init__(self, box: bn.ChatBox) -> None:
        self.messages: list[dict[str, Any]] = []
        box._doc.attach(self.messages.append)
        self._box = box

    @property
    def bytes(self) -> int:
        self._box._doc.flush()
        return len(json.dumps(self.messages))


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


def live(box: bn.ChatBox) -> dict[str, Any] | None:
    return box._doc["live"]


def rested(box: bn.ChatBox) -> bool:
    return live(box) is None or live(box)["state"] != "asking"


def ask(box: bn.ChatBox, what: str, **args: Any) -> None:
    """Ask as a page does, and wait for what comes of it."""
    getattr(box, f"ask_{what}")(**args)
    until(lambda: rested(box))


def said(box: bn.ChatBox) -> list[tuple[str, str]]:
    """What a page shows, which must be what the conversation holds."""
    shown = [(turn["you"], turn["text"]) for turn in box._doc["turns"]]
    assert shown == [(turn.prompt, turn.reply.text) for turn in box.chat.turns]
    return shown


def chats(sandbox: Sandbox) -> list[Any]:
    return [each for each in sandbox.seen if each.path.endswith("/chat/completions")]


def test_code_and_hands_drive_one_conversation(box: bn.ChatBox) -> None:
    box.chat.send("My name is Ada.")
    ask(box, "send", text="What is my name?")
    reply = box.send("Say hi in five words.")
    assert [prompt for prompt, _ in said(box)] == [
        "My name is Ada.",
        "What is my name?",
        "Say hi in five words.",
    ]
    assert said(box)[1][1] == "Your name is Ada."
    assert reply is box.chat.turns[-1].reply
    assert live(box) is None


def test_a_turn_is_told_with_what_it_took(box: bn.ChatBox) -> None:
    reply = box.send("Say hi in five words.")
    (turn,) = box._doc["turns"]
    assert turn["who"] == reply.model == "sandbox-scripted"
    assert turn["request_id"] == reply.request_id
    assert turn["sandbox"] is True
    assert f"{reply.usage.total_tokens} tokens" in turn["facts"]
    assert any(fact.endswith("credits") for fact in turn["facts"])


def test_the_text_comes_in_pieces_and_the_answer_keeps_its_number(client: bn.Client) -> None:
    with bn.ChatBox(client=client, model_options=SLOW) as box:
        box.ask_send("Write a text of 60 words.")
        seen = set()
        while not rested(box):
            if now := live(box):
                seen.add(now["text"])
                number = now["id"]
            time.sleep(0.002)
        assert len(seen) > 5
        assert all(box.chat.turns[0].reply.text.startswith(each) for each in seen)
        assert box._doc["turns"][0]["id"] == number


def test_stopping_keeps_what_had_come_and_records_nothing(client: bn.Client, sandbox: Sandbox) -> None:
    with bn.ChatBox(client=client, model_options=SLOW) as box:
        box.ask_send(LONG)
        until(lambda: live(box)["text"])
        assert box.ask_stop() is True
        stopped = dict(live(box))
        assert (stopped["state"], box.chat.turns) == ("stopped", ())
        assert stopped["text"]
        assert box.stop() is False, "there is nothing more to stop"
        ask(box, "send", text="Say hi in five words.")  # at once, while the stopped one still lets go
        assert [prompt for prompt, _ in said(box)] == ["Say hi in five words."]
        assert live(box) is None, "what was stopped is past"


def test_trying_again_what_was_stopped_sends_the_same_key(client: bn.Client, sandbox: Sandbox) -> None:
    with bn.ChatBox(client=client, model_options=SLOW) as box:
        box.ask_send("Write a text of 80 words.")
        until(lambda: live(box)["text"])
        box.stop()
        ask(box, "retry")
        assert len(said(box)) == 1
    first, second = chats(sandbox)[-2:]
    assert first.idempotency_key == second.idempotency_key
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize("fault", ["reset:before", "cut:3", "midstream:model_unavailable;after=3", "429"])
def test_a_failure_is_told_and_can_be_tried_again(client: bn.Client, sandbox: Sandbox, fault: str) -> None:
    with bn.ChatBox(client=client) as box:
        sandbox.inject(fault)
        ask(box, "send", text="Write a text of 30 words.")
        failed = live(box)
        assert failed["state"] == "failed"
        assert failed["trouble"]["title"]
        assert box.chat.turns == ()
        ask(box, "retry")
        assert len(said(box)) == 1
        assert live(box) is None
    first, second = chats(sandbox)[-2:]
    lost = fault != "429"  # whether nobody knows if the service did the work
    assert (first.idempotency_key == second.idempotency_key) is lost
    assert ("nothing is paid twice" in failed["trouble"].get("again", "")) is lost


def test_send_raises_what_went_wrong(client: bn.Client, sandbox: Sandbox) -> None:
    with bn.ChatBox(client=client) as box:
        sandbox.inject("429")
        with pytest.raises(bn.RateLimited):
            box.send("Say hi in five words.")
        assert live(box)["state"] == "failed"
        box.ask_dismiss()
        assert live(box) is None
        with pytest.raises(bn.InvalidInput, match="nothing to try again"):
            box.ask_retry()


def test_send_that_was_stopped_is_interrupted_with_what_had_come(client: bn.Client) -> None:
    with bn.ChatBox(client=client, model_options=SLOW) as box:

        def stop() -> None:
            until(lambda: live(box) and live(box)["text"])
            box.ask_stop()

        thread = threading.Thread(target=stop)
        thread.start()
        with pytest.raises(bn.Interrupted) as caught:
            box.send(LONG)
        thread.join()
        reply = caught.value.reply
        assert reply.text
        assert (reply.complete, reply.cut_by, reply.sandbox) == (False, "it was stopped", True)
        assert reply.request_id
        # The same words go out under the same key, as the error says.
        assert reply.idempotency_key == caught.value.idempotency_key
        until(lambda: box.chat.asking is None)
        assert reply.idempotency_key in box.chat._unsettled.values()
        assert box.chat.turns == ()


def test_what_was_said_is_edited_and_said_anew(box: bn.ChatBox) -> None:
    for text in ("My name is Ada.", "What is my name?", "Say hi in five words."):
        box.send(text)
    first, second, _ = (turn["id"] for turn in box._doc["turns"])
    ask(box, "edit", turn=second, text="What is my name, please?")
    assert [prompt for prompt, _ in said(box)] == ["My name is Ada.", "What is my name, please?"]
    assert box._doc["turns"][0]["id"] == first
    with pytest.raises(bn.InvalidInput, match="no longer"):
        box.ask_edit(turn=second, text="Late.")


def test_editing_without_a_change_sends_what_was_hidden_as_it_was(box: bn.ChatBox) -> None:
    hidden = "repeat: a\u202eb"
    box.send(hidden)
    (turn,) = box._doc["turns"]
    assert "\u202e" not in turn["you"] + turn["text"]
    ask(box, "edit", turn=turn["id"], text=turn["you"])
    assert box.chat.turns[0].prompt == hidden


def test_another_answer_takes_the_place_of_the_last_once_it_is_whole(
    client: bn.Client, sandbox: Sandbox
) -> None:
    with bn.ChatBox(client=client, seed=1) as box:
        box.send("Write a text of 30 words.")
        before = box.chat.turns
        sandbox.inject("reset:after;after=2")
        ask(box, "regenerate")
        assert box.chat.turns is before, "the old one stays as long as there is no other"
        assert (live(box)["state"], live(box)["at"]) == ("failed", 0)
        ask(box, "retry")
        assert len(said(box)) == 1
        assert box.chat.turns[0] is not before[0]


def test_there_is_nothing_to_regenerate_at_first(box: bn.ChatBox) -> None:
    with pytest.raises(bn.InvalidInput, match="no answer yet"):
        box.ask_regenerate()


def test_a_fork_goes_on_by_itself_and_the_box_switches(box: bn.ChatBox) -> None:
    main = box.chat
    for text in ("My name is Ada.", "What is my name?"):
        box.send(text)
    ask(box, "fork", turn=box._doc["turns"][0]["id"])
    assert box.chat is not main
    assert box.forks == (main, box.chat)
    assert box._doc["branch"] == 1
    box.send("Say hi in five words.")
    assert [len(each) for each in box.forks] == [2, 2]
    assert box._doc["branches"] == ["Main · 2 turns", "Fork 1 · 2 turns"]
    fork = box.chat
    ask(box, "switch", branch=0)
    assert box.chat is main
    assert [prompt for prompt, _ in said(box)] == ["My name is Ada.", "What is my name?"]
    fork.send("Unseen.")
    assert len(said(box)) == 2, "only the branch that is shown is followed"
    made = box.fork(0)
    assert box.chat is made
    assert len(box.forks) == 3
    box.chat = main
    assert len(box.forks) == 3
    with pytest.raises(bn.InvalidInput, match="no such branch"):
        box.ask_switch(9)


def test_a_branch_is_not_left_while_it_is_being_answered(client: bn.Client) -> None:
    with bn.ChatBox(client=client, model_options=SLOW) as box:
        box.ask_send(LONG)
        until(lambda: box.chat.asking)
        with pytest.raises(bn.InvalidInput, match="waiting for an answer"):
            box.fork()
        with pytest.raises(bn.InvalidInput, match="waiting for an answer"):
            box.ask_send("And this?")
        with pytest.raises(bn.InvalidInput, match="waiting for an answer"):
            box.chat.send("And this?")
        assert live(box)["you"] == LONG


def test_a_cell_that_was_quicker_costs_nobody_a_message(client: bn.Client) -> None:
    with bn.ChatBox(client=client) as box:
        box.chat._busy.acquire()  # a cell is about to say something, and has not said it yet
        box.ask_send("Mine.")
        until(lambda: live(box)["state"] == "failed")
        box.chat._busy.release()
        assert (live(box)["you"], "still waiting" in live(box)["trouble"]["message"]) == ("Mine.", True)
        ask(box, "retry")
        assert [prompt for prompt, _ in said(box)] == ["Mine."]


def test_what_a_cell_asks_is_seen_while_it_waits(client: bn.Client) -> None:
    with bn.ChatBox(client=client, model_options=SLOW) as box:
        thread = threading.Thread(target=lambda: box.chat.send("Write a text of 40 words.", stream=False))
        thread.start()
        until(lambda: live(box) is not None)
        assert (live(box)["you"], live(box).get("cell")) == ("Write a text of 40 words.", True)
        with pytest.raises(bn.InvalidInput, match="waiting for an answer"):
            box.ask_send("And this?")
        assert box.stop() is False, "a cell is stopped by its kernel"
        thread.join()
        assert live(box) is None
        assert len(said(box)) == 1


def test_a_cell_that_fails_leaves_nothing_behind(client: bn.Client, sandbox: Sandbox) -> None:
    with bn.ChatBox(client=client) as box:
        sandbox.inject("429")
        with pytest.raises(bn.RateLimited):
            box.chat.send("Hi")
        assert live(box) is None


def test_system_text_and_model_count_from_the_next_turn_on(box: bn.ChatBox, sandbox: Sandbox) -> None:
    ask(box, "system", text="You are brief.")
    assert box.system == box.chat.system == "You are brief."
    assert box.chat.messages == [{"role": "system", "content": "You are brief."}]
    box.system = None
    assert box.chat.messages == []
    box.ask_system("  ")
    assert box.chat.system is None
    ask(box, "model", name="sandbox-scripted")
    assert box.send("Say hi in five words.").asked_model == "sandbox-scripted"
    box.model = "auto"
    assert (box.chat.model, box._doc["model"]) == ("auto", "auto")


def test_it_is_bound_to_a_conversation_that_was_there_before(client: bn.Client) -> None:
    chat = bn.Chat("You are brief.", client=client, title="Old talk")
    chat.send("Say hi in five words.")
    with bn.ChatBox(chat) as box:
        assert box.chat is chat
        assert (box.title, box.system) == ("Old talk", "You are brief.")
        assert len(said(box)) == 1
        box.send("Again, please.")  # by the conversation's own client
        assert len(chat) == 2
    chat.send("After it was closed.")
    assert len(box._doc["turns"]) == 2


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda chat: bn.ChatBox("You are brief."), "chat must be a bn.Chat, not str"),
        (lambda chat: bn.ChatBox(chat, system="x"), "settings of its own: system"),
        (lambda chat: bn.ChatBox(chat, model="x", seed=1), "model, seed cannot be passed"),
        (lambda chat: bn.ChatBox(chat, client=bn.Client("key")), "client= cannot be passed"),
        (lambda chat: bn.ChatBox(model=""), "model must be"),
        (lambda chat: bn.ChatBox(title=3), "title must be text"),
        (lambda chat: bn.ChatBox(system=3), "system must be text"),
        (lambda chat: bn.ChatBox(temperature=9), "temperature must be"),
        (lambda chat: bn.ChatBox(stream=True), "stream cannot be a default"),
        (lambda chat: bn.ChatBox(client="sk-1"), "client must be"),
        (lambda chat: setattr(bn.ChatBox(), "model", None), "model must be"),
        (lambda chat: setattr(bn.ChatBox(), "system", 3), "system must be text"),
        (lambda chat: setattr(bn.ChatBox(), "chat", None), "chat must be a bn.Chat"),
        (lambda chat: bn.ChatBox().send("  "), "nothing to send"),
        (lambda chat: bn.ChatBox().send(3), "must be text"),
        (lambda chat: bn.ChatBox().fork(0), "no turn 0"),
        (lambda chat: bn.ChatBox().ask_edit(turn=True, text="x"), "no longer"),
    ],
)
def test_what_cannot_be_is_refused_in_words(make: Callable[[bn.Chat], object], says: str) -> None:
    with pytest.raises(bn.InvalidInput, match=says):
        make(bn.Chat())


def test_a_change_costs_what_it_says_however_long_the_conversation(client: bn.Client) -> None:
    chat = bn.Chat(client=client)
    chat.send("Write a text of 200 words.")
    chat._turns = chat.turns * 200
    with bn.ChatBox(chat) as box:
        reader = Reader(box)
        box.send("Say hi in five words.")
        assert reader.bytes < 4000
        box.ask_regenerate()
        until(lambda: rested(box))
        assert reader.bytes < 8000
        assert len(said(box)) == 201


def test_the_document_survives_hostile_text_in_every_field(client: bn.Client) -> None:
    for attack in ATTACKS:
        sent = attack.encode("utf-8", "replace").decode()  # half a character is refused before it is sent
        chat = bn.Chat(sent, client=client, title=attack)
        chat.send(f"repeat: {sent}")
        with bn.ChatBox(chat) as box:
            assert Document(box._doc.tree).tree == box._doc.tree
            for turn in box._doc["turns"]:
                assert not set("\x1b\u202e\u2066\u200b") & set(turn["you"] + turn["text"] + box._doc["title"])
            assert display.to_html(box).lower().count("<script") == 1, "the package's own"


def test_the_still_is_the_transcript_and_says_how_to_go_on(box: bn.ChatBox) -> None:
    box.send("Say hi in five words.")
    for text in (display.to_html(box), display.to_markdown(box), display.to_plain(box)):
        assert "Talk" in text
        assert box.chat.turns[0].reply.text.split("!")[0] in text
        assert "run this cell to go on" in text
    assert repr(box) == "ChatBox('Talk', 1 turn, model='auto')"


def test_what_code_sets_reaches_every_box_of_the_conversation(client: bn.Client) -> None:
    chat = bn.Chat(client=client)
    with bn.ChatBox(chat) as box, bn.ChatBox(chat) as other:
        chat.model, chat.system = "sandbox-scripted", "Be brief."
        for each in (box, other):
            assert (each._doc["model"], each._doc["system"]) == ("sandbox-scripted", "Be brief.")
        other.system = None
        assert (box.system, box._doc["system"]) == (None, "")
        with pytest.raises(bn.InvalidInput):
            box.model = ""
        assert chat.model == box.model == "sandbox-scripted"


def test_a_conversation_keeps_no_box_that_nobody_holds(client: bn.Client) -> None:
    chat = bn.Chat(client=client)
    boxes = [weakref.ref(bn.ChatBox(chat)) for _ in range(5)]
    gc.collect()
    assert [each() for each in boxes] == [None] * 5
    chat.model = "sandbox-scripted"
    assert not chat._watchers


def test_the_still_shows_what_was_stopped_and_the_branch(client: bn.Client) -> None:
    with bn.ChatBox(client=client, model_options=SLOW) as box:
        box.ask_send(LONG)
        until(lambda: live(box)["text"])
        box.stop()
        plain = display.to_plain(box)
        assert LONG in plain
        assert live(box)["text"].split()[0] in plain
        assert "stopped" in plain
        assert "not part of the conversation" in plain
        assert "Branch" not in plain
        until(lambda: box.chat.asking is None)
        box.fork()
        plain = display.to_plain(box)
        assert LONG not in plain
        assert "Branch 2 of 2" in plain


def test_the_still_shows_what_failed(client: bn.Client, sandbox: Sandbox) -> None:
    with bn.ChatBox(client=client) as box:
        sandbox.inject("400")
        ask(box, "send", text="Say hi in five words.")
        plain = display.to_plain(box)
        assert "Say hi in five words." in plain
        assert "failed" in plain
        assert box.attempt["state"] == "failed"
        assert box.attempt["trouble"]["message"] in " ".join(plain.split())


def test_the_bar_says_sandbox_when_an_answer_does(client: bn.Client) -> None:
    with bn.ChatBox(client=client) as box:
        assert box._doc["sandbox"] is False  # by its address alone it cannot be known
        box.send("Say hi in five words.")
        until(lambda: box._doc["sandbox"])
        box.fork()
        assert box._doc["sandbox"] is True
        box.chat = bn.Chat(client=bn.Client("key"))
        assert box._doc["sandbox"] is False


def test_conversations_without_a_client_stay_with_the_account_of_the_box(client: bn.Client) -> None:
    own = bn.Chat(client=client)
    with bn.ChatBox() as box:
        first = box._base
        box.chat = own
        assert box._base is client
        box.chat = bn.Chat()
        assert box._base is first


def test_a_closed_box_stops_and_the_conversation_lives_on(client: bn.Client) -> None:
    box = bn.ChatBox(client=client, model_options=SLOW)
    box.ask_send(LONG)
    until(lambda: live(box)["text"])
    box.close()
    until(lambda: box.chat.asking is None)
    assert live(box)["state"] == "stopped"
    for _ in range(2):
        with pytest.raises(bn.ConfigurationError, match="closed"):
            box.send("Say hi in five words.")
    assert live(box)["state"] == "stopped"
    assert box.chat.send("Say hi in five words.").complete
    box.close()
