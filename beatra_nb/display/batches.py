"""Views of batches: how far one is, what one came to, and one row of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from beatra_nb.display.clean import one_line
from beatra_nb.display.data import parsed
from beatra_nb.display.pieces import (
    Scope,
    credits_of,
    figure,
    get,
    id_badge,
    marks,
    prose,
    sandbox_badge,
    seconds,
    words,
)
from beatra_nb.display.view import Badge, Card, Fields, Meter, Note, Row, Stack, Table, Text, View

BARS = "▁▂▃▄▅▆▇█"
SAMPLE = 5  # rows of a result that are shown
EXCERPT = 160  # characters of an answer in a table
CODES = 6  # reasons of failures that are told apart


def progress(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a batch under way."""
    totals = get(obj, "totals")
    done, total = _count(totals), get(totals, "total")
    body: list[View] = []
    if total:
        body.append(Meter(100 * done / total, f"{figure(done)} of {figure(total)} rows"))
    else:
        body.append(Text(f"{figure(done)} rows"))
    facts = [words(get(obj, "state"))]
    if rate := get(obj, "rate"):
        facts.append(f"{rate:,.1f} rows a second" if rate < 100 else f"{rate:,.0f} rows a second")
    if (left := get(obj, "left")) is not None:
        facts.append(f"{seconds(max(left, 0.001))} left")
    if active := get(obj, "active"):
        facts.append(f"{figure(active)} under way")
    body.append(Text(" · ".join(fact for fact in facts if fact), quiet=True))
    body += _failures(totals)
    return Card(
        Stack(tuple(body)),
        label="Batch under way",
        title=Text("Batch", strong=True),
        footer=Row(tuple(_footer(totals))),
    )


def result(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a BatchResult."""
    body = _summary(obj)
    outcomes = get(obj, "outcomes") or ()
    if outcomes:
        body.append(_sample(outcomes))
        if len(outcomes) > SAMPLE:
            more = len(outcomes) - SAMPLE
            body.append(Text(f"… {figure(more)} more rows; .to_frame() holds all of them.", quiet=True))
    return _card(obj, body)


def summary(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a batch that has ended, without its answers: these are in the frame that came back."""
    return _card(obj, _summary(obj))


def outcome(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of one row."""
    error = get(obj, "error")
    body: list[View] = []
    if error is not None:
        body.append(Note(_trouble(error), "bad"))
    elif get(obj, "data") is not None:
        body.append(parsed(get(obj, "data"), scope))
    else:
        body.append(prose(get(obj, "text"), scope, ".text"))
    footer = [*sandbox_badge(obj), Badge("row", figure(get(obj, "position")))]
    if model := one_line(get(obj, "model") or "", 80):
        footer.append(Badge("", model))
    if get(obj, "deduped") is True:
        footer.append(Badge("", "the answer of an identical row"))
    if get(obj, "stored") is True:
        footer.append(Badge("", "from the checkpoint"))
    if get(obj, "cut") is True:
        footer.append(Badge("", "cut off at max_tokens", tone="warn"))
    if (attempts := get(obj, "attempts")) and attempts > 1:
        footer.append(Badge("attempts", figure(attempts)))
    return Card(
        Stack(tuple(body)), label="Row of a batch", footer=Row((*footer, *id_badge(obj))), tone="plain"
    )


def line(obj: Any) -> str:  # noqa: ANN401
    """Return a batch under way as one line for a terminal."""
    totals = get(obj, "totals")
    done, total = _count(totals), get(totals, "total")
    text = f"{figure(done)}/{figure(total)}" if total else f"{figure(done)} rows"
    if total:
        cells = 20 * done // total
        text = f"{100 * done // total:3d}% |{'█' * cells}{' ' * (20 - cells)}| {text}"
    parts = [text]
    if rate := get(obj, "rate"):
        parts.append(f"{rate:,.1f} rows/s")
    if (left := get(obj, "left")) is not None:
        parts.append(f"{seconds(max(left, 0.001))} left")
    if failed := get(totals, "failed"):
        parts.append(f"{figure(failed)} failed")
    if (paid := get(totals, "credits")) is not None:
        parts.append(credits_of(paid))
    parts += marks(sandbox_badge(totals))
    if state := words(get(obj, "state")):
        parts.append(state)
    return ", ".join(parts)


def stopped(obj: Any) -> str:  # noqa: ANN401
    """Return why a batch ended before its end, as one line; nothing where it did not."""
    return one_line(get(obj, "stopped") or "", 500)


def _card(obj: Any, body: Sequence[View]) -> View:  # noqa: ANN401
    totals = get(obj, "totals")
    early = bool(get(obj, "stopped"))
    title = Row((
        Text("Batch", strong=True),
        Badge("stopped", tone="warn") if early else Badge("done", tone="good"),
    ))  # fmt: skip
    return Card(Stack(tuple(body)), label="Batch", title=title, footer=Row(tuple(_footer(totals))))


def _summary(obj: Any) -> list[View]:  # noqa: ANN401
    totals = get(obj, "totals")
    body: list[View] = []
    if why := words(get(obj, "stopped")):
        body.append(Note(why, "warn"))
    answered = figure(get(totals, "done") or 0)
    if (total := get(totals, "total")) is not None and total != get(totals, "done"):
        answered += f" of {figure(total)}"
    fields: list[tuple[str, View]] = [("Answered", Text(answered))]
    if resumed := get(totals, "resumed"):
        fields.append(("In an earlier run", Text(figure(resumed))))
    if deduped := get(totals, "deduped"):
        fields.append(
            ("Asked once for all", Text(f"{figure(deduped)} rows had the answer of an identical one"))
        )
    if cut := get(totals, "cut"):
        fields.append(("Cut off", Text(f"{figure(cut)} {'answer' if cut == 1 else 'answers'} at max_tokens")))
    tokens = get(totals, "prompt_tokens"), get(totals, "completion_tokens")
    if any(tokens):
        fields.append(("Tokens", Text(f"{figure(tokens[0])} in, {figure(tokens[1])} out")))
    if (times := _times(totals)) is not None:
        fields.append(("Time of an answer", Text(times)))
    return [*body, Fields(tuple(fields)), *_failures(totals)]


def _failures(totals: object) -> list[View]:
    codes = list(get(totals, "codes") or ())
    if not codes:
        return []
    told = [f"{one_line(code, 60)}: {figure(count)}" for code, count in codes[:CODES]]
    if len(codes) > CODES:
        told.append(f"others: {figure(sum(count for _, count in codes[CODES:]))}")
    failed = get(totals, "failed") or 0
    return [Note(f"{figure(failed)} {'row' if failed == 1 else 'rows'} failed — {', '.join(told)}", "warn")]


def _footer(totals: object) -> list[View]:
    footer: list[View] = [*sandbox_badge(totals)]
    if time := seconds(get(totals, "elapsed")):
        # What is on a tape has its rows' own times alone.
        footer.append(Badge("rows together" if get(totals, "recorded") is not None else "", time))
    if (paid := get(totals, "credits")) is not None:
        footer.append(Badge("", credits_of(paid)))
    return footer


def _times(totals: Any) -> str | None:  # noqa: ANN401
    """Return the median, the 95th percentile and a small histogram, as text that every format can show."""
    middle, late = totals.at(0.5), totals.at(0.95)
    if middle is None:
        return None
    text = f"median {_short(middle)}, 95 % within {_short(late)}"
    if len(bars := totals.histogram()) > 1:
        highest = max(count for _, _, count in bars)
        drawn = "".join(BARS[-(-count * (len(BARS) - 1) // highest)] for _, _, count in bars)
        text += f"   {_short(bars[0][0])} {drawn} {_short(bars[-1][1])}"
    return text


def _short(value: float) -> str:
    return seconds(value) or "0 ms"


def _sample(outcomes: Sequence[Any]) -> View:
    rows = []
    for each in outcomes[:SAMPLE]:
        error = get(each, "error")
        if error is not None:
            said: View = Badge(one_line(get(error, "code") or get(error, "type"), 60), tone="bad")
        elif get(each, "data") is not None:
            said = Text(one_line(_brief(get(each, "data")), EXCERPT))
        else:
            said = Text(one_line(get(each, "text"), EXCERPT))
        rows.append((Text(figure(get(each, "position"))), said))
    return Table(("Row", "Answer"), tuple(rows), frozenset({0}), "Answers")


def _brief(data: Any) -> str:  # noqa: ANN401
    if hasattr(type(data), "model_fields"):
        return ", ".join(f"{name}: {_brief(get(data, name))}" for name in type(data).model_fields)
    if isinstance(data, dict):
        return ", ".join(f"{words(name)}: {_brief(each)}" for name, each in data.items())
    if isinstance(data, list | tuple):
        return "[" + ", ".join(_brief(each) for each in data[:20]) + "]"
    return words(get(data, "value", data))


def _trouble(error: object) -> str:
    parts = [one_line(get(error, "message"), 400), one_line(get(error, "hint") or "", 300)]
    return "\n".join(part for part in parts if part)


def _count(totals: object) -> int:
    return (get(totals, "done") or 0) + (get(totals, "failed") or 0)
