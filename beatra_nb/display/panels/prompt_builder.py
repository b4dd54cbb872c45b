"""What stays of a prompt builder where nothing is touched: the prompt, the rows with their answers, the versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import Scope, as_json, figure, get, plain, seconds, words
from beatra_nb.display.view import Badge, Card, Details, Message, Row, Stack, Table, Text, View

_CELL = 300  # characters of a cell
_ROWS = 40
_COLUMNS = 8
_LOOK = "builder.prompt"


def builder(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a PromptBuilder."""
    prompt = get(obj, "draft")
    rows: Sequence[tuple[Mapping[str, Any], Any]] = get(obj, "table") or ()
    versions = get(obj, "versions") or ()
    body: list[View] = []
    if system := words(get(prompt, "system")):
        body.append(Message("system", plain(system, scope, _LOOK)))
    examples = get(prompt, "examples") or ()
    if examples:
        shown = examples[: scope.rows]
        pairs = tuple((_text(get(each, "user")), _text(get(each, "assistant"))) for each in shown)
        body.append(
            Details(
                _count(len(examples), "example"), Table(("User", "Answer wanted"), pairs, label="Examples")
            )
        )
    user = words(get(prompt, "user"))
    body.append(
        Message("user", plain(user, scope, _LOOK) if user else Text("No prompt yet.", quiet=True), mine=True)
    )
    if schema := get(prompt, "schema"):
        body.append(Details("Schema of the answer", as_json(schema, scope)))
    told = [(values, answer) for values, answer in rows if values or answer is not None]
    body += _results(told, scope, get(obj, "version"))
    answers = [answer for _, answer in rows if answer is not None]
    footer: list[View] = []
    if any(get(get(answer, "reply"), "sandbox") is True for answer in answers):
        footer.append(Badge("sandbox", tone="info"))
    footer.append(Badge("model", one_line(get(prompt, "model") or "auto", 80)))
    for name in ("temperature", "max_tokens"):
        if (value := get(prompt, name)) is not None:
            footer.append(Badge(name, figure(value)))
    if versions:
        footer.append(Badge("", _count(len(versions), "version")))
        if (score := get(versions[-1], "score")) is not None:
            footer.append(Badge(f"score of version {len(versions)}", f"★ {score:.1f}"))
    name = one_line(get(prompt, "name") or "Prompt builder", 120)
    return Card(
        Stack(tuple(body)), label="Prompt builder", title=Text(name, strong=True), footer=Row(tuple(footer))
    )


def results(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of the Results of a run."""
    answers = list(obj)
    failed = sum(get(each, "ok") is not True for each in answers)
    footer: list[View] = [Badge("", _count(len(answers), "row"))]
    if failed:
        footer.append(Badge("", f"{failed:,} failed", tone="bad"))
    if any(get(get(answer, "reply"), "sandbox") is True for answer in answers):
        footer.insert(0, Badge("sandbox", tone="info"))
    body = _results([(get(each, "row") or {}, each) for each in answers], scope)
    return Card(
        Stack(tuple(body or [Text("No answers.", quiet=True)])), label="Results", footer=Row(tuple(footer))
    )


def answer(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of one Answer."""
    return results([obj], scope)


def version(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    """Return the view of a Version: its prompt in short, and what it came to."""
    prompt = get(obj, "prompt")
    body: list[View] = [plain(get(prompt, "user"), scope, "version.prompt")]
    if notes := words(get(obj, "notes")):
        body.append(plain(notes, scope, "version.notes"))
    footer: list[View] = [Badge("", _count(len(get(obj, "answers") or ()), "answer"))]
    if (score := get(obj, "score")) is not None:
        footer.append(Badge("score", f"★ {score:.1f}"))
    title = Text(f"Version {get(obj, 'number')}", strong=True)
    return Card(Stack(tuple(body)), label="Version", title=title, footer=Row(tuple(footer)))


def _results(
    rows: Sequence[tuple[Mapping[str, Any], Any]], scope: Scope, version: int | None = None
) -> list[View]:
    """Return the table of rows and answers; ``version`` is the prompt's above it, if there is one."""
    if not rows:
        return []
    names = list(dict.fromkeys(name for values, _ in rows for name in values))
    more = names[_COLUMNS:]
    names = names[:_COLUMNS]
    most = min(_ROWS, scope.rows)
    scored = any(get(answer, "score") is not None for _, answer in rows)
    answered = any(answer is not None for _, answer in rows)
    head = ["#", *(one_line(name, 60) for name in names)]
    head += ["Answer", "Tokens", "Time"] if answered else []
    head += ["Score"] if scored else []
    lines: list[tuple[View, ...]] = []
    for number, (values, answer) in enumerate(rows[:most], 1):
        cells: list[View] = [Text(f"{number:,}", quiet=True), *(_value(values.get(name)) for name in names)]
        if answered:
            cells += [
                _answer(answer, _marks(values, answer, version)),
                Text(_figure(get(answer, "tokens"))),
                Text(seconds(get(answer, "seconds"))),
            ]
        if scored:
            score = get(answer, "score")
            cells.append(Text(f"★ {score}" if score is not None else ""))
        lines.append(tuple(cells))
    out: list[View] = [Table(tuple(head), tuple(lines), frozenset({0}), "Rows")]
    if len(rows) > most:
        out.append(Text(f"… {len(rows) - most:,} more rows; builder.results holds them all.", quiet=True))
    if more:
        out.append(Text(f"Not shown: {one_line(', '.join(more), 200)}.", quiet=True))
    return out


def _marks(values: Mapping[str, Any], answer: Any, version: int | None) -> tuple[Badge, ...]:  # noqa: ANN401
    """Return what a reader must know: an answer to another prompt, to other values, or not whole."""
    marks = []
    if version is not None and (number := get(answer, "version")) is not None and number != version:
        marks.append(Badge("", f"v{number}", tone="warn"))
    if answer is not None and not answer.fits(values):
        marks.append(Badge("", "the row has changed since", tone="warn"))
    if cut := words(get(answer, "cut")):
        marks.append(Badge("", cut, tone="warn"))
    return tuple(marks)


def _answer(answer: object, marks: tuple[Badge, ...]) -> View:
    if answer is None:
        return Text("not asked yet", quiet=True)
    parts = get(answer, "fields") or {}
    if (error := get(answer, "error")) is not None:
        said = Text(one_line(words(get(error, "message")) or words(error), _CELL))
        marks = (*marks, Badge(type(error).__name__, tone="bad"))
    elif parts:
        said = Text(one_line(" · ".join(f"{name}: {words(value)}" for name, value in parts.items()), _CELL))
    else:
        said = _text(get(get(answer, "reply"), "text"))
    return Row((*marks, said)) if marks else said


def _text(value: object) -> Text:
    return Text(one_line(words(value), _CELL))


def _value(value: object) -> View:
    return Text("—", quiet=True) if value is None else _text(value)


def _figure(value: object) -> str:
    return "" if value is None else figure(value)


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
