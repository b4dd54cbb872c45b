"""The key is found however JSON writes it, wherever it is cut, and is in nothing that is kept."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import beatra_nb as bn
from beatra_nb.core.scrub import NOTHING, Scrubber
from beatra_nb.core.settings import Secret
from tests.core.wire import KEY, Wire, completion, delta, event, http, sse

KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=40)
AROUND = st.text(max_size=12)


@st.composite
def quoted(draw: st.DrawFn, key: str, depth: int = 0) -> str:
    """A key in a JSON text, each sign in one of the ways to write it; JSON in JSON, where it is deeper."""
    signs = []
    for sign in key:
        code = f"{ord(sign):04x}"
        ways = [f"\\u{code}", f"\\u{code.upper()}"]
        ways += [f"\\{sign}"] if sign in '"\\/' else []
        ways += [sign] if sign not in '"\\' else []
        signs.append(draw(st.sampled_from(ways)))
    text = f"{json.dumps(draw(AROUND))[:-1]}{''.join(signs)}{json.dumps(draw(AROUND))[1:]}"
    for _ in range(depth):
        text = json.dumps(text)
    return text


@given(st.data(), KEYS, st.integers(0, 2))
def test_a_key_is_found_in_whatever_way_it_is_written(data: st.DataObject, key: str, depth: int) -> None:
    text = data.draw(quoted(key, depth))
    scrub = Scrubber(Secret(key))
    clean = scrub.text(text)
    for _ in range(depth + 1):
        assert key not in clean
        clean = json.loads(clean)
    assert key not in clean
    assert "[the key]" in clean


@given(st.data(), KEYS)
def test_a_key_is_found_across_pieces(data: st.DataObject, key: str) -> None:
    whole = " ".join(data.draw(st.lists(quoted(key), max_size=3))).encode("utf-8", "surrogatepass")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    scrub = Scrubber(Secret(key))
    clean = scrub.pieces(pieces)
    assert len(clean) == len(pieces)
    assert b"".join(clean) == scrub(whole)
    assert all(each == piece or b"[the" in b"".join(clean) for each, piece in zip(clean, pieces, strict=True))


@given(st.text(max_size=40), KEYS)
def test_what_does_not_hold_the_key_is_not_touched(text: str, key: str) -> None:
    scrub = Scrubber(Secret(key))
    if key not in text:
        data = text.encode("utf-8", "surrogatepass")
        if "\\" not in text:
            assert scrub(data) is data
            assert scrub.text(text) is text
    assert NOTHING.text(text) is text


def test_what_looks_like_half_an_escape_does_not_break_the_rest() -> None:
    scrub = Scrubber(Secret("n-12345678"))
    assert json.loads(scrub(rb'{"text": "line\n-12345678"}')) == {"text": "line[the key]"}
    assert json.loads(scrub(b'{"text": "' + b"\\" * 10 + rb'\u006e-12345678"}')) == {"text": "[the key]"}


@pytest.mark.parametrize("events", ["word by word", "in the middle of one"])
def test_a_stream_that_was_left_ends_before_the_key(wire: Wire, tmp_path: Path, events: str) -> None:
    said = word_by_word()[:3] if events == "word by word" else [event(delta("It")), event(delta(KEY))[:-30]]
    wire.say(sse(*said))
    with bn.Client(KEY, base_url=wire.base_url, mode="record", cassette=tmp_path / "a.cassette") as client:
        with pytest.raises(bn.IncompleteStream), client.stream("Hi") as stream:
            list(stream)
        wire.say(sse(*said, 0.2))
        with client.stream("Ho") as stream:
            next(stream)
    assert search(tmp_path / "a.cassette", part=8) == 1


def test_a_flood_of_backslashes_is_read_once() -> None:
    flood = b'"' + b"\\" * 2_000_000 + b"\\u00"
    assert Scrubber(Secret("sk-12345678"))(flood) is flood


def test_a_short_key_may_stand_anywhere() -> None:
    data = b"none of it"
    assert Scrubber(Secret("none"))(data) is data


def test_it_shows_the_key_nowhere() -> None:
    scrub = Scrubber(Secret(KEY))
    scrub(rb"\u0073" + KEY.encode())
    seen = f"{scrub!r} {scrub} {[getattr(scrub, name) for name in scrub.__slots__]}"
    assert KEY[5:11] not in seen
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(scrub)


# ── all that is kept ──


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.stop()


def escaped(value: Any) -> bytes:
    """A body in which the key stands in escapes alone."""
    return json.dumps(value).replace(KEY, "".join(f"\\u{ord(sign):04x}" for sign in KEY)).encode()


def word_by_word(*, tool: bool = False) -> list[bytes]:
    """Events that quote the key a few signs at a time."""
    parts = ["It is ", KEY[:4], KEY[4:9], KEY[9:], "."]
    if not tool:
        return [event(delta(part)) for part in parts]
    calls = [[{"index": 0, "id": "c", "function": {"name": "f", "arguments": part}}] for part in parts]
    return [
        event({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"tool_calls": call}}]})
        for call in calls
    ]


def search(folder: Path, part: int = 12) -> int:
    """Look for the key in all files of a folder, as it is and in its escapes; return how many there are."""
    count = 0
    for path in folder.rglob("*"):
        if path.is_file():
            count += 1
            data = path.read_bytes()
            for at in range(len(KEY) - part):
                piece = KEY[at : at + part]
                assert piece.encode() not in data, path
                assert "".join(f"\\u{ord(sign):04x}" for sign in piece).encode() not in data, path
    return count


def test_no_file_holds_a_key_that_a_service_quotes(wire: Wire, tmp_path: Path, isolated: Path) -> None:
    refusal = {"error": {"code": "invalid_request", "message": f"{KEY} is no key.", "retryable": False}}
    wire.say(
        http(200, escaped(completion(f"You sent {KEY}.")), x_request_id=f"req-{KEY}"),
        http(422, escaped(refusal), x_request_id=f"req-{KEY}"),
        sse(*word_by_word(), event(delta("", finish_reason="stop")), b"data: [DONE]\n\n"),
        sse(*word_by_word(tool=True), event(delta("", finish_reason="tool_calls")), b"data: [DONE]\n\n"),
        iter([f"HTTP/1.1 200 OK\r\nbad {KEY}\x00\r\n\r\n".encode()]),
    )
    cassette = tmp_path / "a.cassette"
    with bn.Client(KEY, base_url=wire.base_url, mode="record", cassette=cassette, max_attempts=1) as client:
        rows = client.map(
            ["a", "b"], "{value}", checkpoint=tmp_path / "a.beatra", max_active=1, progress=False
        )
        assert rows[0].text == "You sent [the key]."
        assert rows[0].request_id == "req-[the key]"
        assert rows[1].error is not None
        assert rows[1].error.message == "[the key] is no key."
        with client.stream("c") as stream:
            list(stream)
        assert stream.reply.text == "It is [the key]."
        with client.stream("d") as tools:
            list(tools)
        assert tools.reply.tool_calls[0].arguments == "It is [the key]."
        with pytest.raises(bn.ConnectionFailed) as caught:
            client.chat("e")
        assert KEY[:6] not in str(caught.value)
    assert search(tmp_path) >= 3
    assert search(isolated) >= 1
    with bn.Client(mode="replay", cassette=cassette, speed=0) as client:
        with client.stream("c") as told:
            list(told)
        assert told.reply.with_(idempotency_key=None) == stream.reply.with_(idempotency_key=None)
