"""The folder of a cassette: what is written can be read, and what somebody else wrote is checked."""

from __future__ import annotations

import contextlib
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beatra_nb.core.errors import ConfigurationError
from beatra_nb.store.cassettes.cassette import Cassette
from beatra_nb.store.cassettes.exchange import Asked, Exchange, Trouble, Unreadable
from beatra_nb.store.cassettes.nearest import difference

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HEAD: dict[str, Any] = {
    "cassette": 1,
    "session": "s",
    "source": "live",
    "base_url": "https://api.example.com/v1",
}


def line(**response: Any) -> dict[str, Any]:
    return {
        "session": "s",
        "at": "2026-01-01T12:00:00.000Z",
        "request": {"method": "GET", "path": "/models"},
        "response": {"status": 200, "headers": {}, "took": 0.1, "json": {}, **response},
    }


def folder(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "a.cassette"
    path.mkdir(exist_ok=True)
    rows = [each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in lines]
    (path / "tape.jsonl").write_bytes(b"".join(rows))
    return path


def recorded(path: Path, *exchanges: Exchange) -> Cassette:
    cassette = Cassette(path)
    cassette.begin("https://api.example.com/v1", "live")
    for exchange in exchanges:
        cassette.write(exchange)
    cassette.close()
    return Cassette(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.binary(max_size=60) | VALUES.map(
    lambda value: json.dumps(value).encode("utf-8", "backslashreplace")
)
OFFSETS = st.integers(0, 10_000).map(lambda number: number / 1000)
EXCHANGES = st.one_of(
    st.builds(
        Exchange,
        st.builds(Asked, st.sampled_from(["GET", "POST"]), st.text(min_size=1), st.text(), VALUES),
        st.just(NOON),
        took=OFFSETS,
        status=st.integers(100, 599),
        headers=st.dictionaries(
            st.just("x-request-id"), st.text(st.characters(min_codepoint=32, max_codepoint=255))
        ),
        body=BODIES,
        left=st.booleans(),
    ),
    st.builds(
        Exchange,
        st.builds(Asked, st.just("POST"), st.just("/chat/completions"), body=VALUES),
        st.just(NOON),
        status=st.just(200),
        streamed=st.just(True),
        events=st.lists(st.tuples(OFFSETS, st.binary(max_size=30))).map(tuple),
        trouble=st.none() | st.just(Trouble("ReadError")),
    ),
)


@given(EXCHANGES)
def test_an_exchange_is_read_as_it_was_written(exchange: Exchange) -> None:
    try:
        text = json.dumps(exchange.to_json(), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return  # half a character: no wire can carry it
    assert Exchange.of_json(json.loads(text)) == exchange


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([
                "request", "response", "method", "path", "at", "status", "headers", "events", "media", "failure",
                "error", "json", "text", "base64", "cut", "took", "query", "content-type",
            ]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON, JSON)
def test_a_strange_line_is_refused_or_read(value: Any, response: Any) -> None:
    for each in (value, {**line(), "response": response}, {**line(), "request": value}):
        with contextlib.suppress(Unreadable):
            assert Exchange.of_json(each).asked.digest


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b"{not json}\n"], "Line 1 .*no JSON"),
        ([HEAD, b"[" * 100_000 + b"\n"], "Line 2 .*no JSON"),
        ([{"hello": 1}], "Line 1 .*does not begin with the line of a cassette"),
        ([{**HEAD, "cassette": 99}], "later version"),
        ([{**HEAD, "base_url": "http://evil.example/v1"}], "base_url"),
        ([{**HEAD, "base_url": 3}], "base_url"),
        ([HEAD, line(status=99)], "Line 2 .*status"),
        ([HEAD, line(status=True)], "status"),
        ([HEAD, line(took=-1)], "seconds"),
        ([HEAD, line(took=1e300)], "seconds"),
        ([HEAD, line(headers={"content-type": "a\r\nset-cookie: b"})], "header"),
        ([HEAD, line(headers={"x-request-id": "ключ"})], "header"),
        ([HEAD, line(media="media/../../etc/passwd")], "media"),
        ([HEAD, line(media="/etc/passwd")], "media"),
        ([HEAD, line(events=[["soon", "text"]])], "seconds"),
        ([HEAD, line(cut={"error": "os.system"})], "what failed"),
        ([HEAD, line(), b'{"torn\n', line()], "Line 3 .*no JSON"),
    ],
)
def test_a_tape_that_is_not_sound_names_file_and_line(tmp_path: Path, lines: list[Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        Cassette(folder(tmp_path, *lines))
    assert "tape.jsonl" in caught.value.message


def test_headers_that_a_tape_has_no_place_for_are_dropped(tmp_path: Path) -> None:
    cassette = Cassette(folder(tmp_path, HEAD, line(headers={"set-cookie": "a=b", "retry-after": "1"})))
    exchange = cassette.next(Asked("GET", "/models"))
    assert exchange is not None
    assert exchange.headers == {"retry-after": "1"}


def test_a_recording_that_was_killed_leaves_a_tape(tmp_path: Path) -> None:
    path = folder(tmp_path, HEAD, line(), json.dumps(line())[:40].encode())
    assert len(Cassette(path)) == 1
    cassette = recorded(path, Exchange(Asked("GET", "/health"), NOON, status=200, body=b"{}"))
    assert len(cassette) == 2
    assert len((path / "tape.jsonl").read_text().splitlines()) == 4


def test_a_file_of_sound_is_kept_once_under_its_hash(tmp_path: Path) -> None:
    heads = {"content-type": "audio/mpeg"}
    exchanges = [
        Exchange(Asked("GET", f"https://cdn.example/{name}"), NOON, status=200, headers=heads, body=b"sound")
        for name in "ab"
    ]
    cassette = recorded(tmp_path / "a.cassette", *exchanges)
    (file,) = (tmp_path / "a.cassette" / "media").iterdir()
    assert file.suffix == ".mp3"
    exchange = cassette.next(Asked("GET", "https://cdn.example/b"))
    assert exchange is not None
    assert cassette.media(exchange) == b"sound"
    file.write_bytes(b"other")
    with pytest.raises(ConfigurationError, match="was changed"):
        cassette.media(exchange)
    file.unlink()
    with pytest.raises(ConfigurationError, match="is missing"):
        cassette.media(exchange)
    file.symlink_to("/etc/hostname")
    with pytest.raises(ConfigurationError, match="leads out"):
        cassette.media(exchange)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Asked("POST", "/a", body={"x": 1, "y": [1]}), Asked("POST", "/a", body={"y": [1], "x": 1}), True),
        (Asked("GET", "/a", "b=1&c=2"), Asked("GET", "/a", "c=2&b=1"), True),
        (Asked("GET", "/a", "b=1"), Asked("GET", "/a", "b=2"), False),
        (Asked("POST", "/a", body={"x": 1}), Asked("POST", "/a", body={"x": "1"}), False),
        (Asked("POST", "/a", body={"x": [1, 2]}), Asked("POST", "/a", body={"x": [2, 1]}), False),
        (
            Asked("POST", "/u", body={"form": {}, "file": {"name": "/tmp/a1", "sha256": "0"}}),
            Asked("POST", "/u", body={"form": {}, "file": {"name": "/tmp/b2", "sha256": "0"}}),
            True,
        ),
    ],
)
def test_requests_are_the_same_by_what_they_mean(one: Asked, other: Asked, same: bool) -> None:
    assert (one.digest == other.digest) is same


@given(VALUES, VALUES)
def test_whatever_differs_can_be_said(one: Any, other: Any) -> None:
    said = difference(Asked("POST", "/a", body=one), [Asked("POST", "/a", body=other)])
    assert len(said) < 1000


def test_other_things_are_not_taken_for_a_cassette(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigurationError, match="no cassette"):
        Cassette(tmp_path)
    with pytest.raises(ConfigurationError, match="no cassette"):
        Cassette(tmp_path, refresh=True)
    with pytest.raises(ConfigurationError, match="is a file"):
        Cassette(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_what_threads_write_stands_in_whole_lines(tmp_path: Path) -> None:
    cassette = Cassette(tmp_path / "a.cassette")
    cassette.begin("https://api.example.com/v1", "live")

    def write(number: int) -> None:
        for each in range(40):
            body = json.dumps({"n": "x" * 3000, "each": each}).encode()
            cassette.write(Exchange(Asked("POST", "/a", body=[number, each]), NOON, status=200, body=body))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cassette.close()
    assert len(Cassette(tmp_path / "a.cassette")) == 240


@pytest.mark.parametrize("tape", [HEAD, "{damaged"])
def test_a_refreshed_cassette_loses_nothing_before_there_is_something_new(tmp_path: Path, tape: Any) -> None:
    path = folder(tmp_path, tape)
    (path / "media").mkdir()
    (path / "README.md").write_text("how this was made")
    before = (path / "tape.jsonl").read_bytes()
    cassette = Cassette(path, refresh=True)
    assert (path / "tape.jsonl").read_bytes() == before
    cassette.begin("https://api.example.com/v1", "live")
    cassette.close()
    assert len((path / "tape.jsonl").read_bytes().splitlines()) == 1
    assert sorted(each.name for each in path.iterdir()) == ["README.md", "tape.jsonl"]


def said(path: Path, *keys: str | None) -> list[object]:
    """What one request is answered under one key after the other."""
    cassette = Cassette(path)
    answers = [cassette.next(Asked("POST", "/chat/completions"), key) for key in keys]
    return [None if each is None else json.loads(each.body) for each in answers]


def call(answer: str, **more: Any) -> dict[str, Any]:
    return {**line(json=answer), "request": {"method": "POST", "path": "/chat/completions"}, **more}


def test_calls_are_answered_in_the_order_in_which_they_were_asked(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        HEAD,
        call("second refused", turn=2),
        call("third", turn=3),
        call("first", turn=1),
        call("second", turn=2),
    )
    assert said(path, "a", "b", "c", "b", "d") == ["first", "second refused", "third", "second", "first"]
    assert said(path, "a", "b", "b", "b") == ["first", "second refused", "second", "second refused"]
    assert said(path, None, None, None, None) == ["first", "second refused", "second", "third"]


def test_a_tape_without_turns_is_answered_line_by_line(tmp_path: Path) -> None:
    path = folder(tmp_path, HEAD, call("refused"), call("first"), call("second"))
    assert said(path, "a", "a", "b", "c") == ["refused", "first", "second", "refused"]


def test_the_attempts_of_a_call_share_its_turn(tmp_path: Path) -> None:
    cassette = Cassette(tmp_path / "a.cassette")
    assert [cassette.turn(key) for key in ("a", "b", "a", None, None, "b")] == [1, 2, 1, 3, 4, 2]


@pytest.mark.parametrize("turn", [-1, 1.5, "1", True, None])
def test_a_turn_is_a_number(tmp_path: Path, turn: object) -> None:
    with pytest.raises(ConfigurationError, match="its turn is no number"):
        Cassette(folder(tmp_path, HEAD, call("first", turn=turn)))


def test_what_an_older_recording_still_adds_does_not_undo_a_newer_one(tmp_path: Path) -> None:
    path = folder(
        tmp_path,
        {**HEAD, "session": "old"},
        call("old 1", session="old", turn=1),
        {**HEAD, "session": "new"},
        call("new 1", session="new", turn=1),
        call("old 2", session="old", turn=2),
        call("new 2", session="new", turn=2),
        call("old 3", session="old", turn=3),
    )
    assert said(path, "a", "b", "c") == ["new 1", "new 2", "new 1"]


def test_two_recorders_of_one_cassette_keep_what_the_newer_one_wrote(tmp_path: Path) -> None:
    old, new = Cassette(tmp_path / "a.cassette"), Cassette(tmp_path / "a.cassette")
    for cassette in (old, new):
        cassette.begin("https://api.example.com/v1", "live")
    asked = Asked("POST", "/chat/completions")
    for number in range(3):
        for name, cassette in (("old", old), ("new", new)):
            body = json.dumps(f"{name} {number}").encode()
            key = f"{name} {number}"
            cassette.write(Exchange(asked, NOON, status=200, body=body, turn=cassette.turn(key)))
    assert said(tmp_path / "a.cassette", "a", "b", "c") == ["new 0", "new 1", "new 2"]
