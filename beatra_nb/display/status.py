"""The view of ``%beatra``: how things stand, in one card."""

from __future__ import annotations

from typing import Any

from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import Scope, credits_of, figure, get, short_path, words
from beatra_nb.display.view import Badge, Card, Fields, Note, Row, Stack, Text, View


def status(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a Status."""
    troubles = get(obj, "troubles") or {}
    fields: list[tuple[str, View]] = []
    if mode := one_line(get(obj, "mode") or "", 60):
        fields.append(("Mode", Badge(mode, tone="info") if mode == "sandbox" else Text(mode)))
        address = get(obj, "base_url")
        none = "not started yet: the first call starts it"
        fields.append(("Address", Text(one_line(address, 300)) if address else Text(none, quiet=True)))
        fields.append(("Models", _models(obj, troubles)))
    for name, attribute in (("This session", "session"), ("Today, all sessions", "today")):
        if (spent := get(obj, attribute)) is not None:
            fields.append((name, Text(_spent(spent))))
    if (count := get(obj, "unfinished")) is not None:
        fields.append(("Unfinished jobs", Text(_jobs(count, get(obj, "elsewhere")))))
    fields.append(("Journal", _journal(obj, troubles)))
    body: list[View] = [Fields(tuple(fields))]
    if "mode" in troubles:
        body.insert(0, Note(words(troubles["mode"]), "warn"))
    return Card(
        Stack(tuple(body)),
        label="Status",
        title=Text("beatra_nb", strong=True),
        footer=Row((Badge("version", one_line(get(obj, "version"), 40)),)),
    )


def _models(obj: Any, troubles: dict[str, str]) -> View:  # noqa: ANN401
    count = get(obj, "models")
    if isinstance(count, int):
        return Text(f"{count:,} (%beatra models lists them)")
    return Text(f"not known: {one_line(troubles.get('models', 'nobody was asked'), 300)}", quiet=True)


def _spent(spent: object) -> str:
    calls = get(spent, "calls", 0)
    parts = [f"{figure(calls)} {'call' if calls == 1 else 'calls'}"]
    if paid := get(spent, "credits"):
        parts.append(credits_of(paid))
    if played := get(spent, "sandbox_credits"):
        parts.append(f"{credits_of(played)} of the sandbox's play money")
    return " · ".join(parts)


def _jobs(count: int, elsewhere: int | None) -> str:
    told = f"{figure(count)}: bn.pending() goes on with {'it' if count == 1 else 'them'}" if count else "none"
    if elsewhere:
        told += f" (and {figure(elsewhere)} begun with another key or at another address)"
    return told


def _journal(obj: Any, troubles: dict[str, str]) -> View:  # noqa: ANN401
    if "journal" in troubles:
        return Note(words(troubles["journal"]), "warn")
    path, rows = get(obj, "journal_path"), get(obj, "journal_rows", 0)
    told = f"{one_line(short_path(path), 300)}, {figure(rows)} {'call' if rows == 1 else 'calls'}"
    off = "" if get(obj, "journal_on", True) else "off for this client; "
    return Text(off + told)
