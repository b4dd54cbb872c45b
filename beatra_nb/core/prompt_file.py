r"""Prompts as files: JSON that people read and that version control compares line by line.

.. code-block:: json

    {
      "beatra_prompt": 1,
      "name": "Postcards",
      "model": "auto",
      "system": [
        "You write postcards.",
        "You never use more than {words} words."
      ],
      "examples": [
        {
          "user": "Greetings from Rome",
          "assistant": "Pizza for breakfast!"
        }
      ],
      "user": "Greetings from {place}",
      "temperature": 0.7,
      "rows": [
        {
          "place": "Oslo",
          "words": 20
        }
      ]
    }

* ``beatra_prompt`` is the version of the format, 1. A file of a newer version is refused.
* ``model`` and ``user`` are always there. ``name``, ``notes``, ``system``, ``examples``, ``temperature``,
  ``max_tokens``, ``schema`` (a JSON schema), ``options`` (further fields of a chat call) and ``rows`` are left out
  where there is nothing to say. The order is always the same: ``KEYS``.
* A text of more than one line is a list of its lines: so one changed line is one line of a diff. Joined by newlines
  it is the text, to the letter.
* ``rows`` are rows to try the prompt on: names to texts, numbers, true, false or null (a missing value).
* The encoding is UTF-8; the file ends with a newline.

Reading is strict: a key that is not known, a key that stands twice or a value of another type is refused by name,
because a setting that is silently ignored is a setting that does not work. A file of more than 10 MB is no prompt.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beatra_nb.core import archive
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.prompt import Prompt, Row
from beatra_nb.core.template import is_missing, named

VERSION = 1
MARK = "beatra_prompt"
LARGEST = 10_000_000  # bytes
KEYS = (
    MARK, "name", "notes", "model", "system", "examples", "user", "temperature", "max_tokens", "schema", "options",
    "rows",
)  # fmt: skip
_TEXTS = ("name", "notes", "system", "user")
_PAIR = {"user", "assistant"}


@dataclass(frozen=True, slots=True)
class PromptFile:
    """What a prompt's file holds.

    Attributes
    ----------
    prompt : Prompt
        The prompt.
    rows : tuple of dict
        Rows to try it on: names to texts, numbers, true, false or None for a missing value.
    """

    prompt: Prompt
    rows: tuple[Row, ...] = ()

    def __post_init__(self) -> None:
        plain = tuple(_row_to_json(row, number) for number, row in enumerate(self.rows, 1))
        object.__setattr__(self, "rows", plain)

    def text(self) -> str:
        """Return the file's text."""
        prompt = self.prompt
        document: dict[str, Any] = {
            MARK: VERSION,
            "name": _lines(prompt.name) or None,
            "notes": _lines(prompt.notes) or None,
            "model": prompt.model,
            "system": prompt.system and _lines(prompt.system),
            "examples": [
                {"user": _lines(each.user), "assistant": _lines(each.assistant)} for each in prompt.examples
            ]
            or None,
            "user": _lines(prompt.user),
            "temperature": prompt.temperature,
            "max_tokens": prompt.max_tokens,
            "schema": prompt.schema,
            "options": prompt.options or None,
            "rows": [{name: _lines(value) for name, value in row.items()} for row in self.rows] or None,
        }
        said = {name: document[name] for name in KEYS if document[name] is not None}
        try:
            text = json.dumps(said, ensure_ascii=False, allow_nan=False, indent=2)
        except ValueError as error:  # a whole number of thousands of digits
            problem = str(error)
            raise InvalidInput(f"The prompt cannot be saved: {problem}.") from None
        # Half a character has no place in UTF-8; as an escape it survives.
        return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the file, whole or not at all; return its path.

        Raises
        ------
        InvalidInput
            If it is there already or cannot be written.
        """
        where = archive.checked_path(path)
        if where.exists() and not overwrite:
            raise InvalidInput(
                f"{where} is already there and was left as it is.",
                hint="Choose another name, or pass overwrite=True.",
            )
        return archive.write(where, self.text())


def load(path: str | os.PathLike[str]) -> PromptFile:
    """Read a prompt's file.

    Raises
    ------
    InvalidInput
        If it is missing or holds no prompt; the message names file and field.
    """
    where = archive.checked_path(path)
    try:
        # Not what never ends, or waits for a writer: a device, a pipe.
        if where.exists() and not where.is_file():
            raise InvalidInput(f"{where} is no file.", hint="Pass the file that prompt.save(path) wrote.")
        with where.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise InvalidInput(
            f"There is no file {where}.", hint=f"This notebook's folder is {Path.cwd()}."
        ) from None
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise InvalidInput(f"{where} cannot be read: {problem}.") from None
    return parse(data, str(where))


def parse(text: str | bytes, source: str = "The text") -> PromptFile:
    """Read a prompt from a file's text; ``source`` is what messages call it.

    Raises
    ------
    InvalidInput
        If it holds no prompt; the message names the field.
    """
    document = _document(text, source)
    try:
        _check_keys("a prompt", document, KEYS)
        rows = _list(document.pop("rows", []), "rows")
        parts = {name: value for name, value in document.items() if name != MARK}
        for name in _TEXTS:
            if name in parts:
                parts[name] = _joined(parts[name], f"'{name}'")
        parts["examples"] = [
            _example(each, f"Example {number}")
            for number, each in enumerate(_list(parts.get("examples", []), "examples"), 1)
        ]
        if not isinstance(parts.get("schema", {}), dict):
            raise InvalidInput("'schema' must be a JSON schema, in braces.")
        return PromptFile(Prompt(**parts), tuple(_row(row, number) for number, row in enumerate(rows, 1)))
    except InvalidInput as error:
        raise InvalidInput(f"{source} cannot be used as a prompt: {error.message}", hint=error.hint) from None


def diff(old: Prompt, new: Prompt) -> str:
    """Return what changes between two prompts, as a unified diff of their files; empty if nothing."""
    before, after = (prompt.to_json().split("\n")[:-1] for prompt in (old, new))
    names = [prompt.name.partition("\n")[0] for prompt in (old, new)]
    lines = difflib.unified_diff(before, after, names[0] or "before", names[1] or "after", n=2, lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _document(text: str | bytes, source: str) -> dict[str, Any]:
    """Return the JSON object of a prompt's file, of a version that is understood."""
    no_prompt = f"{source} is not a prompt's file"
    hint = "prompt.save(path) writes one."
    if len(text) > LARGEST:
        raise InvalidInput(f"{no_prompt}: it has more than {LARGEST // 1_000_000} MB.", hint=hint)
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except InvalidInput as error:
        raise InvalidInput(f"{source} cannot be used as a prompt: {error.message}", hint=error.hint) from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{no_prompt}: it is not UTF-8.", hint="Save it in that encoding.") from None
    except json.JSONDecodeError as error:
        problem = f"{error.msg}, in line {error.lineno}, column {error.colno}"
        raise InvalidInput(f"{no_prompt}: it is no JSON ({problem}).", hint=hint) from None
    except (ValueError, RecursionError):
        raise InvalidInput(f"{no_prompt}: it is no JSON that can be read.", hint=hint) from None
    if not isinstance(document, dict) or MARK not in document:
        raise InvalidInput(f'{no_prompt}: it has no "{MARK}": {VERSION}.', hint=hint)
    version = document[MARK]
    if type(version) is int and version > VERSION:
        raise InvalidInput(
            f"{source} is a prompt's file of version {version}; this package reads version {VERSION}.",
            hint="Update it: pip install -U beatra-nb.",
        )
    if type(version) is not int or version != VERSION:
        raise InvalidInput(f'{no_prompt}: "{MARK}" must be {VERSION}, not {version!r:.40}.', hint=hint)
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InvalidInput(f"The key {_short(twice)} stands twice in one place.", hint="Keep one of them.")
    return out


def _no_constant(name: str) -> float:
    raise InvalidInput(f"{name} is no number of JSON.", hint="Write null where a value is missing.")


def _check_keys(what: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name[:40], known, n=1)
            raise InvalidInput(
                f"{_short(name)} is no key of {what}.",
                hint=f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}.",
            )


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidInput(f"{name!r} must be a list, in brackets.")
    return value


def _example(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} must be an object with 'user' and 'assistant'.")
    _check_keys("an example", value, sorted(_PAIR, reverse=True))
    for name in sorted(_PAIR - set(value)):
        raise InvalidInput(f"{where} has no {name!r}.", hint="Each has what the user says, and the answer.")
    return {name: _joined(text, f"{where}'s {name!r}") for name, text in value.items()}


def _row(value: object, number: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"Row {number} must be an object of names and values.")
    return {
        name: _joined(each, f"{_short(name)} of row {number}") if isinstance(each, list) else each
        for name, each in value.items()
    }


def _joined(value: object, where: str) -> str:
    """Return a text from a text or the list of its lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    raise InvalidInput(f"{where} must be text, or a list of lines.")


def _lines(value: Any) -> Any:  # noqa: ANN401
    """Return a text of several lines as their list, and everything else as it is."""
    return value.split("\n") if isinstance(value, str) and "\n" in value else value


def _row_to_json(row: Row, number: int) -> dict[str, Any]:
    out = {}
    for name, value in named(row).items():
        if not isinstance(name, str):
            raise InvalidInput(
                f"Row {number} has the name {name!r:.40}, which is no text.", hint="Rename it."
            )
        out[name] = _scalar(value, f"{_short(name)} of row {number}")
    return out


def _scalar(value: Any, where: str) -> Any:  # noqa: ANN401
    if is_missing(value):
        return None
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise InvalidInput(
        f"{where} is {value!r:.40}, of type {type(value).__name__}: a prompt's file holds texts and finite numbers.",
        hint="Make it text first: str(value).",
    )


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:60]}…")
