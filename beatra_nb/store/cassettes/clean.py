"""An exchange without the key: no field of it is for one, but a server may quote what it was sent."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from beatra_nb.core.lenient import load
from beatra_nb.core.sse import EventTooLarge, SSEDecoder
from beatra_nb.store.cassettes.exchange import Exchange, compact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beatra_nb.core.scrub import Scrubber

Events: TypeAlias = tuple[tuple[float, bytes], ...]
DEEPEST = 20  # levels of an event that are looked into


def without_key(exchange: Exchange, scrub: Scrubber) -> Exchange:
    """Return an exchange in whose answer the key is nowhere: in no body, and across no pieces of a stream."""
    # Without its mark at the end, a stream may have ended within the key.
    cut = not any(piece.rstrip().endswith(b"[DONE]") for _, piece in exchange.events[-2:])
    pieces = scrub.pieces([piece for _, piece in exchange.events], cut=cut)
    events = tuple((offset, piece) for (offset, _), piece in zip(exchange.events, pieces, strict=True))
    [body] = scrub.pieces([exchange.body], cut=cut)
    return replace(exchange, body=body, events=_word_by_word(events, scrub, cut=cut))


def _word_by_word(events: Events, scrub: Scrubber, *, cut: bool) -> Events:
    """Take out a key that is quoted word by word, each in an event of its own."""
    said = [(offset, _value(data)) for offset, data in _decoded(events)]
    leaves: dict[tuple[object, ...], list[tuple[Any, Any]]] = defaultdict(list)
    for _, value in said:
        for path, holder, name in _texts(value):
            leaves[path].append((holder, name))
    found = False
    for places in leaves.values():
        texts = [holder[name] for holder, name in places]
        clean = scrub.texts(texts, cut=cut)
        if clean is not texts:
            found = True
            for (holder, name), text in zip(places, clean, strict=True):
                holder[name] = text
    if not found:
        return events
    return tuple((offset, b"data: %s\n\n" % _written(value)) for offset, value in said)


def _decoded(events: Events) -> Iterator[tuple[float, bytes]]:
    """Yield the data of each event, with the moment at which it was whole."""
    decoder = SSEDecoder()
    try:
        for offset, piece in events:
            for data in decoder.feed(piece):
                yield offset, data
    except EventTooLarge:
        return
    for data in decoder.end():
        yield events[-1][0], data


def _value(data: bytes) -> Any:  # noqa: ANN401
    try:
        value = load(data, mend=False)
    except (ValueError, RecursionError):
        return data
    return value if isinstance(value, dict) else data


def _written(value: Any) -> bytes:  # noqa: ANN401
    return value if isinstance(value, bytes) else compact(value).encode("utf-8", "backslashreplace")


def _texts(value: Any, path: tuple[object, ...] = ()) -> Iterator[tuple[tuple[object, ...], Any, Any]]:  # noqa: ANN401
    """Yield where the texts of an event are: the way to each, what holds it, and under which name."""
    if len(path) > DEEPEST or not isinstance(value, dict | list):
        return
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        # Of several answers at once, those that have the same number belong together.
        number = inner.get("index", name) if isinstance(inner, dict) and isinstance(value, list) else name
        if isinstance(inner, str):
            yield (*path, number), value, name
        else:
            yield from _texts(inner, (*path, str(number)))
