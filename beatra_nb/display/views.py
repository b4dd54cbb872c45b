"""Object → neutral view.

Objects are found by the names of their classes, so that showing a reply imports neither the client nor the
sandbox. A view never raises: what cannot be read is shown as text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beatra_nb.display import batches, budgets, clips, failures, prompts, replies, status, task_lists, tasks
from beatra_nb.display.clean import one_line, safe_repr
from beatra_nb.display.panels import chat_box, compare, music_studio, prompt_builder, task_board
from beatra_nb.display.pieces import (
    NORMAL,
    Scope,
    as_json,
    figure,
    get,
    id_badge,
    sandbox_badge,
    seconds,
    short_path,
    words,
)
from beatra_nb.display.view import Badge, Card, Code, Fields, Note, Row, Stack, Table, Text, Tone, View

_RELEASE: dict[str, tuple[Tone, str]] = {
    "available": ("good", "a contract: build on it"),
    "preview": ("warn", "works, may change: keep a fallback"),
    "planned": ("plain", "do not call it yet"),
}
_FIGURES = {
    "total_tokens",
    "prompt_tokens",
    "completion_tokens",
    "credits",
    "duration",
    "attempts",
    "http_status",
}
_HEADS = {"time": "Time (UTC)", "total_tokens": "Tokens", "request_id": "Request id", "http_status": "HTTP"}


def view(obj: object, scope: Scope = NORMAL) -> View:
    """Return the view of any object; of one that is not known here, its repr."""
    for kind in type(obj).__mro__:
        make = _MAKERS.get(f"{kind.__module__}:{kind.__qualname__}")
        if make is not None:
            try:
                return make(obj, scope)
            except Exception:
                break
    return Text(safe_repr(obj, min(scope.room, 20_000)))


def _models(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    items = list(obj)
    # A column that nothing is known about is left out: the plain list of models knows only names.
    known = [name for name in _MODEL if name == "id" or any(get(item, name) for item in items)]
    rows = tuple(tuple(_MODEL[name][1](get(item, name)) for name in known) for item in items[: scope.rows])
    table = Table(tuple(_MODEL[name][0] for name in known), rows, label="Models")
    return _listing(obj, table, len(items), "model", scope)


def _model(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    told = [(*_MODEL[name], value) for name in _MODEL if (value := get(obj, name)) or name == "id"]
    return Card(Fields(tuple((head, make(value)) for head, make, value in told)), label="Model")


def _capabilities(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    items = list(obj)
    rows = tuple(
        (
            Text(one_line(get(item, "id"), 120), strong=True),
            _release(get(item, "status")),
            Text(_RELEASE.get(words(get(item, "status")).lower(), ("plain", ""))[1], quiet=True),
            Text(one_line(get(item, "description"), 300)),
        )
        for item in items[: scope.rows]
    )
    table = Table(("Capability", "Release", "Which means", "What it is"), rows, label="Capabilities")
    return _listing(obj, table, len(items), "capability", scope)


def _capability(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    status, about = get(obj, "status"), get(obj, "description")
    fields: list[tuple[str, View]] = [("Capability", Text(one_line(get(obj, "id"), 120), strong=True))]
    if status:
        fields.append(("Release", _release(status)))
    if meaning := _RELEASE.get(words(status).lower(), ("plain", ""))[1]:
        fields.append(("Which means", Text(meaning)))
    if about:
        fields.append(("What it is", Text(one_line(about, 300))))
    return Card(Fields(tuple(fields)), label="Capability")


def _tool_call(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    fields: list[tuple[str, View]] = [("Tool", Text(one_line(get(obj, "name"), 120), strong=True))]
    if ident := words(get(obj, "id")):
        fields.append(("Id", Badge("", one_line(ident, 120), copy=True)))
    arguments = as_json(words(get(obj, "arguments")), scope, "Arguments, as the model wrote them")
    return Card(Stack((Fields(tuple(fields)), arguments)), label="Tool call")


def _listing(obj: Any, table: Table, count: int, noun: str, scope: Scope) -> View:  # noqa: ANN401
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    body: list[View] = [table] if count else [Text(f"No {plural}.", quiet=True)]
    if count > scope.rows:
        body.append(Text(f"… {count - scope.rows:,} more rows; iterate the list to see them.", quiet=True))
    footer = (*sandbox_badge(obj), Badge("", f"{count:,} {noun if count == 1 else plural}"), *id_badge(obj))
    return Card(Stack(tuple(body)), label=plural.capitalize(), footer=Row(footer))


def _release(status: object) -> View:
    name = one_line(status, 60)
    tone = _RELEASE.get(name.lower(), ("plain", ""))[0]
    return Badge(name, tone=tone) if tone != "plain" else Text(name)


def _status(status: object) -> View:
    name = one_line(status, 60)
    tones: dict[str, Tone] = {"available": "good", "unavailable": "bad"}
    return Badge(name, tone=tones[name.lower()]) if name.lower() in tones else Text(name)


def _comma(values: object) -> str:
    if isinstance(values, str) or values is None:
        return one_line(values or "", 200)
    return one_line(", ".join(words(value) for value in values), 200)  # type: ignore[attr-defined]


# What is told of a model: the column's head, and how its cell is made.
_MODEL: dict[str, tuple[str, Callable[[object], View]]] = {
    "id": ("Model", lambda value: Text(one_line(value, 120), strong=True)),
    "owned_by": ("Run by", lambda value: Text(one_line(value, 120))),
    "status": ("Status", _status),
    "capabilities": ("Can do", lambda value: Text(_comma(value))),
    "modalities": ("Takes and gives", lambda value: Text(_comma(value))),
}


def _health(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    well = get(obj, "ok") is True
    says = one_line(get(obj, "status"), 200)
    head: tuple[View, ...] = (
        Badge("well" if well else "not well", tone="good" if well else "bad"),
        Text(f"The service says “{says}”." if says else "The service says nothing."),
    )
    time = seconds(get(obj, "elapsed"))
    footer = (
        *sandbox_badge(obj),
        Badge("", one_line(get(obj, "base_url"), 200)),
        *([Badge("", time)] if time else []),
        *id_badge(obj),
    )
    return Card(Row(head), label="Health", footer=Row(footer), tone="plain" if well else "bad")


def _client(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    sandbox, cassette = get(obj, "mode") == "sandbox", get(obj, "cassette")
    # Asking a client in sandbox mode for its address would start the sandbox: a look must not do that.
    started = sandbox or get(obj, "uses_sandbox") is True
    where = "the sandbox of this process" if started else one_line(get(obj, "base_url"), 300)
    fields: list[tuple[str, View]] = [
        ("Mode", Badge("sandbox", tone="info") if sandbox else Text(one_line(get(obj, "mode"), 60))),
        ("Address", Text(where)),
    ]
    if cassette is not None:
        fields.append(("Cassette", Text(one_line(short_path(cassette), 300))))
    if isinstance(journal := get(obj, "journal_on"), bool):
        fields.append(("Journal", Text("on" if journal else "off")))
    return Card(Fields(tuple(fields)), label="Client", title=Text(type(obj).__name__, strong=True))


def _sandbox(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    running = get(obj, "running") is True
    fields: list[tuple[str, View]] = [
        ("State", Badge("running" if running else "stopped", tone="good" if running else "warn")),
        ("Address", Text(one_line(get(obj, "base_url"), 300))),
        ("Engine", Text(one_line(get(obj, "engine"), 100))),
        ("Key", Text("in .api_key, not shown")),
    ]
    if get(obj, "faults"):
        fields.append(("Faults", Text("on: a request may ask for one with X-Sandbox-Fault")))
    return Card(Fields(tuple(fields)), label="Sandbox", title=Text("Sandbox", strong=True))


def _journal(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    rows = list(obj.rows)
    columns = [name for name in map(words, obj.columns) if _telling(name, rows)]
    total = get(obj, "total", len(rows))
    shown = rows[: scope.rows]
    cells = tuple(tuple(_cell(name, row) for name in columns) for row in shown)
    figures = frozenset(at for at, name in enumerate(columns) if name in _FIGURES)
    heads = tuple(map(_head, columns))
    searched = one_line(get(obj, "text") or "", 100)
    none = (
        f"No call matches “{searched}”."
        if searched
        else "The journal is empty: every call leaves a row in it."
    )
    body: list[View] = [Table(heads, cells, figures, "Journal") if rows else Text(none, quiet=True)]
    if isinstance(total, int) and total > len(shown):
        rest = f"The newest {len(shown):,} of {total:,} calls; .search(…) and .to_frame() reach all of them."
        body.append(Text(rest, quiet=True))
    footer = [Badge("", f"{figure(total)} {'call' if total == 1 else 'calls'}")]
    footer += [Badge("found for", searched)] if searched else []
    footer += [Badge("", one_line(short_path(path), 300))] if (path := get(obj, "path")) else []
    title = Text("Journal", strong=True)
    return Card(Stack(tuple(body)), label="Journal", title=title, footer=Row(tuple(footer)))


def _entry(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    row = obj.as_dict()
    # The sandbox has its mark below; a call that took no time at all was not timed.
    left_out = {"sandbox", *([] if seconds(row["duration"]) else ["duration"])}
    known = [name for name, value in row.items() if value not in (None, "") and name not in left_out]
    fields = tuple((_head(name), _cell(name, row)) for name in known)
    marks = tuple(sandbox_badge(obj))
    return Card(Fields(fields), label="Call", footer=Row(marks) if marks else None)


def _head(name: str) -> str:
    return _HEADS.get(name, name.replace("_", " ").capitalize())


def _telling(name: str, rows: list[dict[str, Any]]) -> bool:
    """Whether a column is worth its room: one that is empty, or counts single attempts only, is not."""
    if name == "attempts":
        return any((row.get(name) or 0) != 1 for row in rows)
    return name not in ("credits", "total_tokens", "prompt") or any(row.get(name) is not None for row in rows)


def _cell(name: str, row: dict[str, Any]) -> View:
    value = row.get(name)
    if name == "status":
        return _ending(value, row.get("error_code") or row.get("error_type"))
    if value is None or value == "":
        return Text("")
    if name == "request_id":
        return Badge("", one_line(value, 80), copy=True)
    if name == "time":
        return Text(one_line(words(value)[:19].replace("T", " "), 40))
    if name == "duration":
        return Text(seconds(value))
    return Text(figure(value) if name in _FIGURES else one_line(value, 120))


def _ending(status: object, code: object) -> View:
    name = one_line(status or "", 60)
    tones: dict[str, Tone] = {"error": "bad", "incomplete": "warn", "interrupted": "warn"}
    if name not in tones:
        return Text(name)
    return Badge(f"{name}: {one_line(code, 80)}" if code else name, tone=tones[name])


def _bundle(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    return Card(
        as_json(obj.as_dict(), scope), label="Support bundle", title=Text("Support bundle", strong=True)
    )


def _notice(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    return Note(words(obj.text))


def _traceback(obj: Any, scope: Scope) -> View:  # noqa: ANN401
    text = words(obj.text)
    # The end of a traceback says what went wrong: if anything is left out, it is the beginning.
    cut = f"… {len(text) - scope.room:,} characters left out\n" if len(text) > scope.room else ""
    return Code(cut + text[-scope.room :], label="Full traceback")


_MAKERS: dict[str, Callable[[Any, Scope], View]] = {
    "beatra_nb.core.reply:Reply": replies.reply,
    "beatra_nb.core.reply:Usage": replies.usage,
    "beatra_nb.core.reply:ModelList": _models,
    "beatra_nb.core.reply:CapabilityList": _capabilities,
    "beatra_nb.core.reply:ModelInfo": _model,
    "beatra_nb.core.reply:Capability": _capability,
    "beatra_nb.core.reply:ToolCall": _tool_call,
    "beatra_nb.core.reply:Health": _health,
    "beatra_nb.core.conversation:Chat": replies.chat,
    "beatra_nb.core.conversation:Turn": replies.turn,
    "beatra_nb.core.errors:BeatraError": failures.error,
    "beatra_nb.core.errors:Interrupted": failures.error,
    "beatra_nb.batch.card:Progress": batches.progress,
    "beatra_nb.batch.result:BatchResult": batches.result,
    "beatra_nb.batch.result:Summary": batches.summary,
    "beatra_nb.batch.outcome:Outcome": batches.outcome,
    "beatra_nb.core.budget:Budget": budgets.budget,
    "beatra_nb.core.purse:Spent": budgets.spent,
    "beatra_nb.core.purse:Left": budgets.spent,
    "beatra_nb.core.prompt:Prompt": prompts.prompt,
    "beatra_nb.core.prompt_dir:PromptLibrary": prompts.library,
    "beatra_nb.core.client:Client": _client,
    "beatra_nb.core.client:AsyncClient": _client,
    "beatra_nb.sandbox:Sandbox": _sandbox,
    "beatra_nb.store.view:JournalView": _journal,
    "beatra_nb.store.entry:Entry": _entry,
    "beatra_nb.store.bundle:SupportBundle": _bundle,
    "beatra_nb.core.task:BaseTask": tasks.task,
    "beatra_nb.core.task:Progress": tasks.progress,
    "beatra_nb.core.task:Billing": tasks.billing,
    "beatra_nb.core.task:TaskWarning": tasks.warning,
    "beatra_nb.core.task_list:BaseTaskList": task_lists.task_list,
    "beatra_nb.core.task_list:BasePendingList": task_lists.pending_list,
    "beatra_nb.core.task_list:LostJob": task_lists.lost_job,
    "beatra_nb.core.media:BaseClip": clips.clip,
    "beatra_nb.core.media:Artifact": clips.artifact,
    "beatra_nb.interact.chat_box:ChatBox": chat_box.chat_box,
    "beatra_nb.interact.compare:Compare": compare.compare,
    "beatra_nb.interact.task_board:TaskBoard": task_board.task_board,
    "beatra_nb.interact.music_studio:MusicStudio": music_studio.music_studio,
    "beatra_nb.interact.prompt_builder:PromptBuilder": prompt_builder.builder,
    "beatra_nb.interact.prompt_runs:Results": prompt_builder.results,
    "beatra_nb.interact.prompt_runs:Answer": prompt_builder.answer,
    "beatra_nb.interact.prompt_runs:Version": prompt_builder.version,
    "beatra_nb.interact.status:Status": status.status,
    "beatra_nb.display.notices:Notice": _notice,
    "beatra_nb.display.cards:Traceback": _traceback,
}
