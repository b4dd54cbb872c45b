"""``bn.PromptBuilder``: a prompt built by hand and eye, tried on rows, version by version.

The kernel holds everything: the prompt, the rows, what came of them. The page shows it and asks for changes, one
field or one cell at a time, and templates are filled in here alone, by the same code that sends. ``prompt_fields``
reads what is typed, ``prompt_rows`` what is pasted, ``prompt_edits`` is what a hand changes, ``prompt_work`` asks,
``prompt_runs`` keeps what came of it, ``prompt_page`` says it to the page.
"""

from __future__ import annotations

import concurrent.futures
import operator
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from beatra_nb.core.errors import Interrupted, InvalidInput
from beatra_nb.core.prompt import Example, Prompt
from beatra_nb.core.prompt_file import PromptFile
from beatra_nb.core.prompt_file import load as load_file
from beatra_nb.display.clean import one_line
from beatra_nb.interact import choices, prompt_fields, prompt_rows, work
from beatra_nb.interact.prompt_edits import Editing
from beatra_nb.interact.prompt_fields import sendable
from beatra_nb.interact.prompt_runs import Answer, Results, Version, frame
from beatra_nb.interact.prompt_work import Row

if TYPE_CHECKING:
    import pandas
    from pydantic import BaseModel

    from beatra_nb.core.client import Client
    from beatra_nb.core.reply import Reply


def _part(name: str, says: str) -> property:
    """Make a property for a part of the prompt: set, it is in the page and in the next run."""

    def get(self: PromptBuilder) -> Any:  # noqa: ANN401
        return getattr(self._prompt, name)

    def put(self: PromptBuilder, value: object) -> None:
        self._put_part(name, value)

    return property(get, put, doc=says)


_OTHER_CLIENT = (
    "# The builder has a client of its own. To ask by that account, call chat on it instead of on bn."
)


class PromptBuilder(Editing):
    """Build a prompt, try it on rows, compare its versions.

    What the widget does, this object does, and each shows what the other has done.

    Parameters
    ----------
    user : str
        What is asked: a template with ``{variables}``.
    system : str, optional
        How the model shall behave; a template, too.
    rows : DataFrame, list of dict, or list of str, optional
        Rows to try the prompt on. Plain texts fill the prompt's only variable.
    examples : list of (str, str), optional
        Questions and the answers wanted, sent before the real question.
    model, temperature, max_tokens, schema
        As for ``bn.chat``.
    client : Client, optional
        Who sends; else the default client.
    prompt : Prompt, optional
        A prompt to begin with, in place of its parts.
    name : str
        What the prompt is called.

    Examples
    --------
    >>> builder = bn.PromptBuilder("Name a dish from {city}.", rows=["Oslo", "Rome"])  # doctest: +SKIP
    >>> builder.run().to_frame()  # doctest: +SKIP
    """

    modules: ClassVar[tuple[str, ...]] = ("prompt_table.js", "prompt_history.js", "prompt_builder.js")
    styles: ClassVar[tuple[str, ...]] = ("prompt_builder.css",)

    def __init__(
        self,
        user: str = "",
        *,
        system: str | None = None,
        rows: object = None,
        examples: Iterable[Example | tuple[str, str] | Mapping[str, str]] = (),
        model: str = "auto",
        temperature: float | None = None,
        max_tokens: int | None = None,
        schema: type[BaseModel] | Mapping[str, Any] | None = None,
        client: Client | None = None,
        prompt: Prompt | None = None,
        name: str = "",
    ) -> None:
        if prompt is None:
            made: dict[str, Any] = {
                "system": system,
                "examples": tuple(examples),
                "model": model,
                "schema": schema,
            }
            prompt = Prompt(user, temperature=temperature, max_tokens=max_tokens, name=name, **made)
        elif (
            user
            or system
            or tuple(examples)
            or model != "auto"
            or (temperature, max_tokens, schema) != (None,) * 3
        ):
            raise InvalidInput(
                "Pass prompt= or its parts, not both.",
                hint="PromptBuilder(prompt=prompt.replace(temperature=0.2)) changes a part of it.",
            )
        else:
            prompt = _checked(prompt)
            prompt = prompt.replace(name=name) if name else prompt
        prompt_fields.check(prompt)
        super().__init__(prompt, prompt_rows.records(rows, prompt.variables), client=client)
        self._by_default = client is None

    def _shown(self) -> None:
        self._begin(self._fetch_models(), "models")

    async def _fetch_models(self) -> None:
        names = await choices.chat_models(self._twin)
        self._doc.set("models", value=list(dict.fromkeys([*names, self._prompt.model])))

    # ── the prompt ──

    @property
    def prompt(self) -> Prompt:
        """The prompt as it stands in the fields; set it to replace it.

        Raises
        ------
        InvalidInput
            While a field holds what cannot be sent.
        """
        return self._whole()

    @prompt.setter
    def prompt(self, prompt: Prompt | str) -> None:
        self._put_prompt(_checked(Prompt(prompt) if isinstance(prompt, str) else prompt))

    name = _part("name", "What the prompt is called; for people.")
    notes = _part("notes", "What is noted about it; for people.")
    user = _part("user", "What is asked: a template.")
    system = _part("system", "How the model shall behave: a template, or None.")
    examples = _part("examples", "Questions and the answers wanted, sent before the real question.")
    model = _part("model", "Which model is asked.")
    temperature = _part("temperature", "From 0 to 2; None for the model's own.")
    max_tokens = _part("max_tokens", "The longest answer, in tokens; None for the model's own.")
    schema = _part("schema", "What the answer shall be, as JSON schema; a pydantic model class may be set.")

    @property
    def draft(self) -> Prompt:
        """The prompt as far as its fields can be used."""
        return self._prompt

    def __repr__(self) -> str:
        rows = len(self._kept_rows())
        return (
            f"PromptBuilder({one_line(self._prompt.user, 60)!r}, {rows:,} {'row' if rows == 1 else 'rows'})"
        )

    def messages(self, row: int | Mapping[str, Any] = 0) -> list[dict[str, Any]]:
        """Return exactly the messages that are sent for a row, by its place or as a dict.

        Raises
        ------
        InvalidInput
            If a value is missing, or a field cannot be used.
        """
        values = row if isinstance(row, Mapping) else self._row_at(row).values
        return self.prompt.messages(values)

    def to_code(self) -> str:
        """Return Python that sends the same, for the rows that have all their values."""
        prompt = self.prompt
        rows = [row.values for row in self._rows if sendable(prompt, row.values)]
        if not prompt.variables or not rows:
            code = prompt.to_code()
        else:
            code = prompt.to_code(rows[0] if len(self._rows) == 1 else rows)
        return code if self._by_default else f"{_OTHER_CLIENT}\n{code}"

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the prompt and its rows to a small JSON file (see ``Prompt.save``); return its path."""
        return PromptFile(self.prompt, tuple(self._plain_rows())).save(path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str], client: Client | None = None) -> PromptBuilder:
        """Open a prompt that ``save`` wrote, with its rows."""
        file = load_file(path)
        return cls(prompt=file.prompt, rows=list(file.rows), client=client)

    # ── rows and what came of them ──

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows; set it to replace them, by what ``rows=`` takes."""
        return [{name: row.values.get(name) for name in self._doc["columns"]} for row in self._kept_rows()]

    @rows.setter
    def rows(self, rows: object) -> None:
        given = prompt_rows.records(rows, self._prompt.variables)
        with self._lock:
            self._put_rows(given)

    @property
    def answers(self) -> list[Reply | BaseException | None]:
        """What came of each row as it is now: a ``Reply``, an error, or None. ``versions`` hold all that came."""
        found = [
            answer if answer is not None and answer.fits(values) else None for values, answer in self.table
        ]
        return [None if each is None else each.reply if each.ok else each.error for each in found]

    @property
    def table(self) -> list[tuple[dict[str, Any], Answer | None]]:
        """The rows, each with what came of it."""
        return [(dict(row.values), row.answer) for row in self._rows]

    @property
    def results(self) -> pandas.DataFrame:
        """The rows and what came of them, as a DataFrame.

        After the row's columns come the answer's ``text`` (or the fields of its schema), ``model``, ``request_id``,
        ``tokens``, ``credits``, ``seconds``, ``finish_reason`` (``"length"`` for an answer that was cut off),
        ``error``, ``score`` and ``version``; with ``answer_`` before a name that a column of the rows has. An answer
        to other values than the row has now is left out: ``versions`` hold all that ever came.

        Raises
        ------
        ConfigurationError
            If pandas is not installed.
        """
        rows = self.rows or [{}]
        found = [row.answer if row.answer and row.answer.fits(row.values) else None for row in self._rows]
        return frame(list(zip(rows, found, strict=True)))

    @property
    def versions(self) -> tuple[Version, ...]:
        """Every prompt that was run, oldest first, with all its answers."""
        return tuple(self._versions)

    @property
    def version(self) -> int:
        """The number of the version that the prompt is as it stands; 0 before it is run."""
        number: int = self._doc["version"]
        return number

    def run(self, rows: int | Iterable[int] | None = None) -> Results:
        """Ask for every row, or for some, and wait for the answers.

        Parameters
        ----------
        rows : int or list of int, optional
            The places of the rows, from 0; all of them by default.

        Returns
        -------
        Results
            An answer for each row, in order. What went wrong is in its ``error``; nothing is raised for a row.

        Raises
        ------
        InvalidInput
            If nothing can be sent as it is.
        """
        places = range(len(self._rows)) if rows is None else rows if isinstance(rows, Iterable) else [rows]
        chosen = [self._row_at(each) for each in places]
        prompt = self.prompt
        try:
            return Results(work.wait(self._wait_for_rows(prompt, chosen)))
        except (KeyboardInterrupt, concurrent.futures.CancelledError):
            raise Interrupted(
                "Stopped before every row had its answer.",
                hint="builder.answers holds what has come. In the widget, Run all… offers what is left.",
            ) from None

    def stop(self) -> None:
        """Stop asking; answers that have come stay."""
        self.ask_stop()

    def score(self, row: int, score: int | None) -> None:
        """Give a row's answer a score from 1 to 5; None takes it back."""
        self.ask_score(self._row_at(row).id, score)

    def restore(self, version: int) -> None:
        """Bring back the prompt of a version, with the answers that it got."""
        self.ask_restore(version)

    def ask_code(self) -> str:
        """Return the Python that sends the same."""
        return self.to_code()

    def _row_at(self, place: int) -> Row:
        if hasattr(place, "__index__") and not isinstance(place, bool):
            place = operator.index(place)  # NumPy's numbers as well
        if type(place) is not int or not -len(self._rows) <= place < len(self._rows):
            raise InvalidInput(
                f"There is no row {place!r:.40}.", hint=f"There are {len(self._rows)}, counted from 0."
            )
        return self._rows[place]


def _checked(prompt: object) -> Prompt:
    if not isinstance(prompt, Prompt):
        raise InvalidInput(
            f"prompt must be a bn.Prompt, not {type(prompt).__name__}.", hint='bn.Prompt("Translate {word}.")'
        )
    return prompt
