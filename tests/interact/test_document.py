"""The document: what a page mirrors is what Python holds, whatever is done and in whatever pieces it is told."""

from __future__ import annotations

import copy
import json
import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.interact import work
from beatra_nb.interact.document import Document, Message


class PageOf:
    """Applies what a document tells, as panel.js does."""

    def __init__(self, document: Document) -> None:
        self.messages: list[Message] = []
        document.attach(self.hear)
        start = document.snapshot()
        self.n, self.tree = start["n"], start["tree"]

    def hear(self, message: Message) -> None:
        message = json.loads(json.dumps(message))  # the way over the wire
        self.messages.append(message)
        assert message["n"] == self.n + 1
        self.n += 1
        for kind, path, value in message["patch"]:
            way, key = (path, None) if kind == "push" else (path[:-1], path[-1])
            place = self.tree
            for step in way:
                place = place[step]
            if kind == "push":
                place.append(value)
            elif kind == "set":
                place[key] = value
            elif kind == "grow":
                place[key] += value
            else:
                del place[key]


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("set"), st.sampled_from(["a", "b"]), st.text(max_size=3) | st.integers() | st.none()
        ),
        st.tuples(st.just("push"), st.text(max_size=3), st.none()),
        st.tuples(st.just("grow"), st.integers(0, 5), st.text(max_size=3)),
        st.tuples(st.just("item"), st.integers(0, 5), st.text(max_size=3)),
        st.tuples(st.just("drop"), st.integers(0, 5), st.none()),
        st.tuples(st.just("all"), st.lists(st.text(max_size=2), max_size=3), st.none()),
        st.tuples(st.just("flush"), st.none(), st.none()),
    ),
    max_size=40,
)


@given(STEPS)
def test_a_page_that_applies_every_patch_has_the_same_tree(steps: list[tuple[str, Any, Any]]) -> None:
    document = Document({"a": "", "b": 0, "list": []})
    page = PageOf(document)
    for what, first, second in steps:
        size = len(document["list"])
        if what == "set":
            document.set(first, value=second)
        elif what == "push":
            document.push("list", value={"text": first})
        elif what == "all":
            document.set("list", value=[{"text": each} for each in first])
        elif what == "flush":
            document.flush()
        elif size and what == "grow":
            document.grow("list", first % size, "text", text=second)
        elif size and what == "item":
            document.set("list", first % size, "text", value=second)
        elif size:
            document.drop("list", first % size)
    document.flush()
    assert page.tree == document.tree
    document.detach()


def test_four_answers_that_grow_at_once_travel_together() -> None:
    document = Document({"lanes": [{"text": ""} for _ in range(4)]})
    page = PageOf(document)
    document._timer = True  # nothing is sent by the clock
    for n in range(100):
        document.grow("lanes", n % 4, "text", text=f"{n} ")
    document.flush()
    assert len(page.messages) == 1
    assert len(page.messages[0]["patch"]) == 4
    assert page.tree == document.tree


def test_what_has_not_changed_is_not_told() -> None:
    document = Document({"a": 1, "b": {"c": [1, 2]}})
    page = PageOf(document)
    document.set("a", value=1)
    document.set("b", value={"c": [1, 2]})
    document.drop("nothing")
    document.grow("a", text="")
    document.flush()
    assert page.messages == []
    document.set("a", value=True)  # equal in Python, another thing in a page
    document.flush()
    assert page.messages[0]["patch"] == [["set", ["a"], True]]


def test_a_page_that_comes_later_begins_with_the_whole_and_goes_on() -> None:
    document = Document({"text": "a"})
    first = PageOf(document)
    document.grow("text", text="b")
    start = document.snapshot()
    assert start == {"n": 1, "tree": {"text": "ab"}}
    assert first.tree == {"text": "ab"}  # nothing was kept back from the earlier page


def test_changes_travel_by_themselves_from_any_thread() -> None:
    document = Document({"text": ""})
    heard = threading.Event()
    page = PageOf(document)
    hear = page.hear
    document.attach(lambda message: (hear(message), heard.set()))
    document.grow("text", text="hello")
    assert heard.wait(10)
    assert page.tree == {"text": "hello"}


@given(
    st.recursive(
        st.text() | st.floats() | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3)
    )
)
def test_every_value_can_be_sent(value: Any) -> None:
    document = Document({"a": None})
    page = PageOf(document)
    before = copy.deepcopy(value)
    document.set("a", value=value)
    document.set("a", value={"\ud800": (value, object())})
    document.flush()
    assert repr(value) == repr(before)
    json.dumps(page.tree).encode("utf-8")


def test_the_loop_runs_on_a_thread_that_keeps_nothing_alive() -> None:
    work.begin(_nothing()).result(10)
    threads = [each for each in threading.enumerate() if each.name == "beatra-work"]
    assert len(threads) == 1
    assert threads[0].daemon


async def _nothing() -> None:
    pass
