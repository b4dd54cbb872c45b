"""What a hand changes in a prompt builder, and what follows from it: the variables, the columns, the messages."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from beatra_nb.core.errors import BeatraError, InvalidInput
from beatra_nb.core.prompt import Example, Prompt
from beatra_nb.core.template import is_missing, lookup
from beatra_nb.display.clean import one_line
from beatra_nb.interact import prompt_fields, prompt_page, prompt_rows
from beatra_nb.interact.prompt_runs import check_score, same
from beatra_nb.interact.prompt_work import Asking, Row
from beatra_nb.interact.trouble import trouble

MOST_EXAMPLES = 100


class Editing(Asking):
    """The part of a prompt builder that is changed by hand."""

    def __init__(self, prompt: Prompt, rows: list[dict[str, Any]], **more: Any) -> None:  # noqa: ANN401
        super().__init__(
            {
                "fields": prompt_fields.texts_of(prompt),
                "invalid": {},
                "more": prompt_page.more_of(prompt),
                "examples": [],
                "models": list(dict.fromkeys(["auto", prompt.model])),
                "variables": [],
                "columns": [],
                "rows": [],
                "selected": 0,
                "preview": {},
                "answer": None,
                "run": {"on": False, "done": 0, "of": 0, "failed": 0, "note": ""},
                "versions": [],
                "version": 0,
                "sandbox": False,
            },
            **more,
        )
        self._prompt = prompt
        self._invalid: dict[str, InvalidInput] = {}
        self._columns: list[str] = []
        self._example_ids: list[int] = []
        self._tell_examples()
        self._put_rows(rows)

    def _whole(self) -> Prompt:
        for name, error in self._invalid.items():
            raise InvalidInput(f"The field {name!r} cannot be used: {error.message}", hint=error.hint)
        return self._prompt

    # ── what the page asks: the prompt ──

    def ask_edit(self, field: str, value: str) -> None:
        """Take what stands in a field."""
        if field not in prompt_fields.FIELDS:
            raise InvalidInput(f"There is no field {field!r:.60}.")
        _check_text(value, prompt_fields.LONGEST)
        with self._lock:
            self._doc.set("fields", field, value=value)
            try:
                part = prompt_fields.part_of(field, value)
            except InvalidInput as error:
                self._invalid[field] = error
            else:
                self._invalid.pop(field, None)
                self._prompt = self._prompt.replace(**{field: part})
            self._refresh()

    def ask_example_add(self) -> None:
        """Add an empty example at the end."""
        if len(self._prompt.examples) >= MOST_EXAMPLES:
            raise InvalidInput(
                f"A prompt has up to {MOST_EXAMPLES} examples here.", hint="Fewer teach as much."
            )
        self._set_examples([*self._prompt.examples, Example("", "")], [*self._example_ids, self._next_id()])

    def ask_example_edit(self, id: int, part: str, value: str) -> None:
        """Take one text of an example."""
        _check_text(value, prompt_fields.LONGEST)
        if part not in ("user", "assistant"):
            raise InvalidInput(f"An example has no {part!r:.60}.")
        with self._lock:
            at = self._example_at(id)
            examples = list(self._prompt.examples)
            pair = {"user": examples[at].user, "assistant": examples[at].assistant, part: value}
            examples[at] = Example(**pair)
            self._prompt = self._prompt.replace(examples=examples)
            self._doc.set("examples", at, part, value=value)
            self._refresh()

    def ask_example_move(self, id: int, by: int) -> None:
        """Move an example up (-1) or down (1)."""
        with self._lock:
            at = self._example_at(id)
            to = at + (1 if by > 0 else -1)
            if 0 <= to < len(self._example_ids):
                examples, ids = list(self._prompt.examples), list(self._example_ids)
                examples[at], examples[to] = examples[to], examples[at]
                ids[at], ids[to] = ids[to], ids[at]
                self._set_examples(examples, ids)

    def ask_example_drop(self, id: int) -> None:
        """Take an example away."""
        with self._lock:
            at = self._example_at(id)
            examples, ids = list(self._prompt.examples), list(self._example_ids)
            del examples[at], ids[at]
            self._set_examples(examples, ids)

    # ── what the page asks: rows ──

    def ask_cell(self, row: int, column: str, value: str) -> None:
        """Take what stands in a cell."""
        _check_text(value, prompt_rows.LONGEST_CELL)
        with self._lock:
            at = self._place_of(row)
            if column not in self._doc["columns"]:
                raise InvalidInput(f"There is no column {one_line(column, 60)!r}.")
            if column not in self._columns:
                self._columns.append(column)
            others = (each.values.get(column) for each in self._rows if each.id != row)
            new = prompt_rows.value_of(value, others)
            self._rows[at].values[column] = new
            self._doc.set("rows", at, "v", column, value=prompt_rows.shown(new))
            self._tell_state(self._rows[at], at)  # its answer may be one to other values now
            self._refresh()

    def ask_row_add(self) -> int:
        """Add an empty row at the end, and look at it; return its id."""
        with self._lock:
            if len(self._rows) >= prompt_rows.MOST_ROWS:
                raise InvalidInput(f"The builder has up to {prompt_rows.MOST_ROWS:,} rows.")
            row = Row(self._next_id(), {})
            self._rows.append(row)
            self._doc.push("rows", value=self._told(row))
            self._select(row.id)
            return row.id

    def ask_row_drop(self, row: int) -> None:
        """Take a row away; the last one is emptied instead. Its answers stay in the history."""
        with self._lock:
            at = self._place_of(row)
            if len(self._rows) == 1:
                self._put_rows([])
                return
            del self._rows[at]
            self._doc.drop("rows", at)
            self._select(
                self._rows[min(at, len(self._rows) - 1)].id if self._doc["selected"] == row else None
            )

    def ask_select(self, row: int) -> None:
        """Look at a row."""
        with self._lock:
            self._place_of(row)
            self._select(row)

    def ask_read(self, text: str, header: bool | None = None) -> dict[str, Any]:
        """Say what a pasted text would be as rows."""
        pasted = self._read(text, header)
        return {
            "columns": pasted.columns,
            "count": len(pasted.rows),
            "header": pasted.header,
            "first": [prompt_page.row_texts(row) for row in pasted.rows[:3]],
        }

    def ask_paste(self, text: str, header: bool | None = None, add: bool = False) -> int:
        """Take a pasted text as rows: in place of those there are, or after them."""
        rows = self._read(text, header).rows
        with self._lock:
            kept = self._plain_rows() if add else []
            self._put_rows(prompt_rows.records([*kept, *rows]), keep=len(kept))
        return len(rows)

    # ── what the page asks: history and code ──

    def ask_score(self, row: int, score: int | None) -> None:
        """Score the answer of a row."""
        score = check_score(score)
        with self._lock:
            at = self._place_of(row)
            answer = self._rows[at].answer
            if answer is None:
                raise InvalidInput("There is no answer to score yet.", hint="Run the row first.")
            self._version_at(answer.version).rate(answer, score)
            self._answered(at)

    def ask_note(self, version: int, text: str) -> None:
        """Note something about a version."""
        _check_text(text, prompt_fields.LONGEST)
        with self._lock:
            self._version_at(version).notes = text
            self._doc.set("versions", version - 1, "notes", value=text)
            self._settle()

    def ask_diff(self, version: int) -> str:
        """Return what has changed since a version."""
        return self._version_at(version).prompt.diff(self._prompt)

    def ask_restore(self, version: int) -> None:
        """Bring back a version, with its answers beside the rows."""
        with self._lock:
            found = self._version_at(version)
            self._put_prompt(found.prompt)
            for row in self._rows:
                row.answer = found.latest(row.id)
            self._doc.set("rows", value=[self._told(row) for row in self._rows])
            self._refresh()

    # ── inside ──

    def _put_part(self, name: str, value: object) -> None:
        """Take a part of the prompt from Python; what stands in the other fields stays."""
        with self._lock:
            prompt = self._prompt.replace(**{name: value})
            prompt_fields.check(prompt)
            self._prompt = prompt
            self._invalid.pop(name, None)
            if name == "examples":
                self._tell_examples()
            else:
                self._doc.set("fields", name, value=prompt_fields.texts_of(prompt)[name])
            self._doc.set("models", value=list(dict.fromkeys([*self._doc["models"], prompt.model])))
            self._refresh()

    def _put_prompt(self, prompt: Prompt) -> None:
        """Take a prompt in place of the one there is."""
        prompt_fields.check(prompt)
        with self._lock:
            self._invalid.clear()
            self._prompt = prompt
            self._doc.set("fields", value=prompt_fields.texts_of(prompt))
            self._doc.set("more", value=prompt_page.more_of(prompt))
            self._doc.set("models", value=list(dict.fromkeys([*self._doc["models"], prompt.model])))
            self._tell_examples()
            self._refresh()

    def _example_at(self, id: int) -> int:
        if id not in self._example_ids:
            raise InvalidInput("This example is not there any more.")
        return self._example_ids.index(id)

    def _set_examples(self, examples: Sequence[Example], ids: list[int]) -> None:
        with self._lock:
            self._prompt = self._prompt.replace(examples=tuple(examples))
            self._tell_examples(ids)
            self._refresh()

    def _tell_examples(self, ids: list[int] | None = None) -> None:
        examples = self._prompt.examples
        self._example_ids = [self._next_id() for _ in examples] if ids is None else ids
        told = [
            {"id": id, "user": each.user, "assistant": each.assistant}
            for id, each in zip(self._example_ids, examples, strict=True)
        ]
        self._doc.set("examples", value=told)

    def _read(self, text: str, header: bool | None) -> prompt_rows.Pasted:
        if not isinstance(text, str) or header not in (None, True, False):
            raise InvalidInput("What was pasted is no text.")
        return prompt_rows.read_table(text, self._doc["columns"], header)

    def _put_rows(self, rows: list[dict[str, Any]], keep: int = 0) -> None:
        """Take rows in place of those there are; the first ``keep`` of them are those there are."""
        kept = self._rows[:keep]
        new = [Row(self._next_id(), values) for values in rows[len(kept) :]]
        self._rows = [*kept, *new] or [Row(self._next_id(), {})]
        self._columns = prompt_rows.columns_of(row.values for row in self._rows)
        self._doc.set("rows", value=[self._told(row) for row in self._rows])
        self._select(new[0].id if new else self._rows[0].id)

    def _plain_rows(self) -> list[dict[str, Any]]:
        return [dict(row.values) for row in self._kept_rows()]

    def _kept_rows(self) -> list[Row]:
        """Return the rows; a builder that was given none has an empty one, which does not count."""
        only = self._rows[0] if len(self._rows) == 1 else None
        return [] if only is not None and all(value is None for value in only.values.values()) else self._rows

    def _select(self, row: int | None) -> None:
        if row is not None:
            self._doc.set("selected", value=row)
        self._refresh()

    def _refresh(self) -> None:
        """Say what follows from the prompt and the rows: the variables, the columns, the messages."""
        doc, prompt = self._doc, self._prompt
        row = self._rows[self._place_of(doc["selected"])]
        doc.set("invalid", value={name: error.message for name, error in self._invalid.items()})
        doc.set("columns", value=self._columns_now())
        doc.set(
            "variables",
            value=[{"name": name, "there": _there(name, row.values)} for name in prompt.variables],
        )
        doc.set("preview", value=self._preview(row))
        doc.set(
            "version", value=next((each.number for each in self._versions if same(each.prompt, prompt)), 0)
        )
        self._tell_answer()
        self._settle()

    def _columns_now(self) -> list[str]:
        """Return the columns: of the rows, as long as there is a value or a use, then of the variables."""
        used = {_composed(name) for name in self._prompt.variables}
        columns = [
            name
            for name in self._columns
            if _composed(name) in used or any(row.values.get(name) is not None for row in self._rows)
        ]
        there = {_composed(name) for name in columns}
        return [*columns, *(name for name in self._prompt.variables if _composed(name) not in there)]

    def _preview(self, row: Row) -> dict[str, Any]:
        if not self._prompt.user.strip():
            return {"empty": True}
        try:
            request = self._whole().request(row.values)
        except BeatraError as error:
            return {"trouble": trouble(error)}
        messages = request.body["messages"]
        expected = self._prices.expected(self._base, self._prompt, [messages])
        return {"messages": prompt_page.messages_of(messages), **expected}


def _check_text(value: object, room: int) -> None:
    if not isinstance(value, str):
        raise InvalidInput("This must be text.")
    if len(value) > room:
        raise InvalidInput(f"The text has more than {room:,} characters.", hint="Shorten it.")


def _there(name: str, values: Mapping[str, Any]) -> bool:
    try:
        return not is_missing(lookup(name, values))
    except InvalidInput:
        return False


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
