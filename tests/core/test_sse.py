"""Server-sent events, however the network cuts them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beatra_nb.core import sse
from beatra_nb.core.sse import EventTooLarge, SSEDecoder


def decode(*pieces: bytes) -> list[bytes]:
    decoder = SSEDecoder()
    events = [data for piece in pieces for data in decoder.feed(piece)]
    return events + decoder.end()


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(i, len(data)) for i in at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=12)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream as a server may write it, and the events that are in it."""
    end = draw(ENDS)
    out, events = [b"\xef\xbb\xbf"] if draw(st.booleans()) else [], []
    for _ in range(draw(st.integers(0, 4))):
        lines: list[bytes] = []
        data: list[bytes] = []
        for kind in draw(
            st.lists(st.sampled_from(["data", "tight", "comment", "id", "bare", "event"]), max_size=4)
        ):
            text = draw(TEXT).encode()
            if kind == "data":
                lines.append(b"data: " + text)
                data.append(text)
            elif kind == "tight":
                lines.append(b"data:" + text)
                data.append(text.removeprefix(b" "))
            elif kind == "comment":
                lines.append(b":" + text)
            elif kind == "bare":
                lines.append(b"data")
                data.append(b"")
            else:
                lines.append(kind.encode() + b": " + text)
        out.append(end.join([*lines, b"", b""]) if lines else end)
        if data:
            events.append(b"\n".join(data))
    return b"".join(out), events


@given(made=streams(), at=st.lists(st.integers(0, 200), max_size=12))
def test_any_cut_of_the_bytes_gives_the_same_events(made: tuple[bytes, list[bytes]], at: list[int]) -> None:
    stream, events = made
    assert decode(stream) == events
    assert decode(*cut(stream, at)) == events


@given(made=streams())
def test_byte_by_byte(made: tuple[bytes, list[bytes]]) -> None:
    stream, events = made
    assert decode(*(stream[i : i + 1] for i in range(len(stream)))) == events


@given(data=st.binary(max_size=200), at=st.lists(st.integers(0, 200), max_size=8))
@example(data=b"\r\r\n\r", at=[1, 2])
@example(data=b"\xef\xbb", at=[1])
def test_no_bytes_break_it_and_no_cut_changes_them(data: bytes, at: list[int]) -> None:
    assert decode(*cut(data, at)) == decode(data)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_a_multibyte_character_may_be_cut_anywhere(end: bytes) -> None:
    stream = "data: naïve 😀 日本".encode() + end + end
    for i in range(len(stream) + 1):
        assert [event.decode() for event in decode(stream[:i], stream[i:])] == ["naïve 😀 日本"]


def test_an_event_is_out_as_soon_as_its_empty_line_is() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\n") == [b"a"]
    assert decoder.feed(b"data: b\r\n\r\n") == [b"b"]


def test_only_one_space_is_taken_and_only_data_counts() -> None:
    assert decode(b"data:  two\nretry: 5\nid: 7\nDATA: no\n: data: no\n\n") == [b" two"]


def test_a_byte_order_mark_counts_at_the_very_beginning_alone() -> None:
    assert decode(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == [b"a"]


def test_an_event_without_end_does_not_eat_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LARGEST_EVENT", 1000)
    decoder = SSEDecoder()
    for _ in range(19):
        decoder.feed(b"data: " + b"x" * 44)
    with pytest.raises(EventTooLarge):
        decoder.feed(b"x" * 51)


def test_a_last_event_without_its_empty_line_is_given_at_the_end() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: [DONE]") == []
    assert decoder.end() == [b"[DONE]"]
    assert decoder.end() == []
