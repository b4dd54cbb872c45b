"""The rows of a prompt builder: from Python's tables, from pasted text, and from what a hand types.

Rows are dicts of values by column. A hand types text, but ``{n:d}`` needs a number: so what reads as a number is one,
as long as its column holds numbers only. Such a number is written exactly as it was typed; ``007`` stays text.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.template import is_missing
from beatra_nb.display.clean import one_line, safe_str, visible

MOST_ROWS = 10_000
MOST_COLUMNS = 50
LONGEST_CELL = 100_000  # characters
LARGEST_TABLE = 4_000_000  # characters of all cells: a page holds them as well
LONGEST_NAME = 100  # characters of a column's name

_DELIMITERS = "\t,;|"
_SAMPLE = 20  # lines that are looked at to find the delimiter
_LONGEST_NUMBER = 15  # digits that every program keeps


@dataclass(frozen=True, slots=True)
class Pasted:
    """A table that was read from text.

    Attributes
    ----------
    columns : list of str
        The names of its columns.
    rows : list of dict
        Its rows; what is empty is None.
    header : bool
        Whether the first line was taken as the names.
    """

    columns: list[str]
    rows: list[dict[str, Any]]
    header: bool


def records(data: object, variables: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return rows from whatever holds some.

    Parameters
    ----------
    data : DataFrame, Series, mapping, or iterable of mappings or texts
        The rows. One mapping is one row. Plain values fill the prompt's only variable.
    variables : list of str
        The variables of the prompt.

    Raises
    ------
    InvalidInput
        If it holds no rows, or too many.

    Examples
    --------
    >>> records(["Oslo", "Rome"], ["city"])
    [{'city': 'Oslo'}, {'city': 'Rome'}]
    """
    if data is None:
        return []
    if isinstance(data, Mapping):
        if data and all(isinstance(each, list | tuple) for each in data.values()):
            raise InvalidInput(
                "rows is a dict of columns, and one dict is one row.",
                hint="rows=pandas.DataFrame(columns); or rows=[row], if each of its values shall be a whole list.",
            )
        return _bounded([_row(data)])
    if isinstance(data, str | bytes):
        raise InvalidInput(
            f"rows must be a table or a list, not {'bytes' if isinstance(data, bytes) else 'text'}.",
            hint='rows=["Oslo", "Rome"], rows=[{"city": "Oslo"}], or a DataFrame.',
        )
    if hasattr(data, "columns") and hasattr(data, "to_dicts"):  # polars
        return _bounded([_row(each) for each in data.to_dicts()])
    if hasattr(data, "columns") and hasattr(data, "to_dict"):  # pandas
        if len(data) > MOST_ROWS:  # type: ignore[arg-type]
            raise _too_many()
        if len(set(map(str, data.columns))) < len(list(data.columns)):
            raise InvalidInput("Two columns have the same name.", hint="Rename one of them.")
        return _bounded([_row(each) for each in data.to_dict("records")])
    if not isinstance(data, Iterable):
        raise InvalidInput(
            f"rows must be a table or a list, not {type(data).__name__}.",
            hint='rows=[{"city": "Oslo"}], or a DataFrame.',
        )
    given = list(islice(data, MOST_ROWS + 1))
    named = getattr(data, "name", None)  # of a Series
    name = named if isinstance(named, str) and named in variables else variables[0] if variables else named
    rows = []
    for number, each in enumerate(given, 1):
        if isinstance(each, Mapping):
            rows.append(_row(each))
        elif isinstance(each, str | int | float) or is_missing(each):
            if len(variables) > 1:
                raise InvalidInput(
                    f"Row {number} is a plain value, and the prompt has {len(variables)} variables.",
                    hint="Pass rows as dicts: {" + ", ".join(f'"{one}": …' for one in variables[:5]) + "}.",
                )
            rows.append(_row({name if isinstance(name, str) else "text": each}))
        else:
            raise InvalidInput(
                f"Row {number} must be a dict or a text, not {type(each).__name__}.",
                hint='rows=[{"city": "Oslo"}, {"city": "Rome"}]',
            )
    return _bounded(rows)


def read_table(text: str, known: Sequence[str] = (), header: bool | None = None) -> Pasted:
    r"""Read a pasted table: comma-, semicolon-, tab- or bar-separated.

    Parameters
    ----------
    text : str
        What was pasted.
    known : list of str
        The columns there are; a table without a header takes their names in order.
    header : bool, optional
        Whether the first line holds the names; else it is guessed.

    Raises
    ------
    InvalidInput
        If it is no table, or too large a one.

    Examples
    --------
    >>> read_table("city,year\nOslo,1048")
    Pasted(columns=['city', 'year'], rows=[{'city': 'Oslo', 'year': 1048}], header=True)
    """
    if len(text) > LARGEST_TABLE:
        raise InvalidInput(
            f"The pasted text is too long: {len(text):,} characters.",
            hint=f"Up to {LARGEST_TABLE:,} fit. Give larger tables from Python, in parts.",
        )
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    lines = _cells(text, _delimiter(text))
    if not lines:
        raise InvalidInput("There is nothing in the pasted text.", hint="Copy some rows of a table first.")
    width = max(map(len, lines))
    if width > MOST_COLUMNS:
        raise InvalidInput(
            f"The pasted table has {width} columns.",
            hint=f"Up to {MOST_COLUMNS} fit: copy those that the prompt needs.",
        )
    named = _is_header(lines, known) if header is None else header
    names = _names(lines[0] if named else [], width, known if not named else ())
    body = lines[1:] if named else lines
    texts = [
        [cell if cell.strip() else None for cell in line] + [None] * (width - len(line)) for line in body
    ]
    columns = [_typed(column) for column in zip(*texts, strict=True)] if texts else []
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    return Pasted(names, _bounded(rows), named)


def value_of(text: str, others: Iterable[object]) -> Any:  # noqa: ANN401
    """Return what a hand typed into a cell, beside the other values of its column; nothing typed is None.

    Examples
    --------
    >>> value_of("12", [3, None]), value_of("12", ["A3"]), value_of("007", []), value_of("", [])
    (12, '12', '007', None)
    """
    if not text:
        return None
    number = _number(text)
    return text if number is None or any(isinstance(each, str) for each in others) else number


def shown(value: object) -> str | None:
    """Return a value as a cell shows it; None where it is missing."""
    if is_missing(value):
        return None
    return value if isinstance(value, str) else safe_str(value)


def column_name(text: object) -> str:
    """Return a column's name, fit to stand in a template.

    Raises
    ------
    InvalidInput
        If there is nothing of it.
    """
    name = " ".join(visible(text).replace("{", "(").replace("}", ")").split())
    if not name:
        raise InvalidInput("The column needs a name.", hint="Write one, such as city.")
    if len(name) > LONGEST_NAME:
        raise InvalidInput(f"The column's name has more than {LONGEST_NAME} characters.", hint="Shorten it.")
    return name


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of all values, each once, in order of appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _row(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return NumPy's values as Python's, and everything else as it is."""
    return value.tolist() if type(value).__module__ == "numpy" and hasattr(value, "tolist") else value


def _bounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(rows) > MOST_ROWS:
        raise _too_many()
    if len(columns_of(rows)) > MOST_COLUMNS:
        raise InvalidInput(
            f"The rows have more than {MOST_COLUMNS} columns.", hint="Pass those that the prompt needs."
        )
    room = LARGEST_TABLE
    for number, row in enumerate(rows, 1):
        for name, value in row.items():
            size = len(shown(value) or "")
            room -= size
            if size > LONGEST_CELL or room < 0:
                what = f"{one_line(name, 60)} of row {number} is" if size > LONGEST_CELL else "The rows are"
                raise InvalidInput(
                    f"{what} too long for the builder.",
                    hint=f"A cell may have {LONGEST_CELL:,} characters, all rows {LARGEST_TABLE:,}.",
                )
    return rows


def _too_many() -> InvalidInput:
    return InvalidInput(
        f"There are more than {MOST_ROWS:,} rows.",
        hint="The builder is for trying a prompt: pass some of them, such as frame.sample(100).",
    )


def _number(text: str) -> int | float | None:
    """Return the number that a text is, if it would be written the same again."""
    if len(text) > _LONGEST_NUMBER + 2 or not text.isascii():
        return None
    for kind in (int, float):
        try:
            number: int | float = kind(text)
        except ValueError:
            continue
        if str(number) == text and math.isfinite(number):
            return number
    return None


def _typed(column: Sequence[str | None]) -> list[Any]:
    numbers = [None if text is None else _number(text.strip()) for text in column]
    whole = all(text is None or number is not None for text, number in zip(column, numbers, strict=True))
    return numbers if whole else list(column)


def _delimiter(text: str) -> str:
    """Return what stands between the cells; a comma where nothing does."""
    sample = "\n".join(islice((line for line in text.splitlines() if line.strip()), _SAMPLE))[:20_000]
    if "\t" in sample:  # what spreadsheets put on the clipboard
        return "\t"
    try:
        guess = csv.Sniffer().sniff(sample, _DELIMITERS).delimiter
        if min(map(len, _cells(sample, guess)), default=1) > 1:
            return guess
    except csv.Error:
        pass
    # The sniffer is easily misled by sentences: what cuts every line into the same number of cells is better.
    for sign in _DELIMITERS:
        widths = {len(line) for line in _cells(sample, sign)}
        if len(widths) == 1 and widths != {1}:
            return sign
    # One column of texts, whose commas are their own; a line can begin with a quotation mark all the same.
    return "\0" if "," not in sample or '"' not in sample else ","


def _cells(text: str, delimiter: str) -> list[list[str]]:
    """Cut a text into lines of cells; empty lines are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter if delimiter != "\0" else "\x1f")
    lines: list[list[str]] = []
    try:
        for line in reader:
            if any(cell.strip() for cell in line):
                lines.append(line)
            if len(lines) > MOST_ROWS + 1:
                raise _too_many()
    except csv.Error as problem:
        words = str(problem)
        raise InvalidInput(
            f"The pasted text cannot be read as a table: {words}.",
            hint="Copy it from a spreadsheet, or give it from Python: builder.rows = frame.",
        ) from None
    return lines


def _is_header(lines: list[list[str]], known: Sequence[str]) -> bool:
    """Guess whether the first line holds names: known ones, or short and different texts above others."""
    first = [cell.strip() for cell in lines[0]]
    if set(first) & set(known):
        return True
    if len(lines) == 1 or len(first) < max(map(len, lines)) or len(first) == 1:
        return False
    if len(first) <= len(known):
        return False  # values for the columns there are
    if not all(first) or len(set(first)) < len(first) or any(len(cell) > 40 for cell in first):
        return False
    return all(_number(cell) is None for cell in first)


def _names(given: Sequence[str], width: int, known: Sequence[str]) -> list[str]:
    names: list[str] = []
    for at in range(width):
        said = given[at] if at < len(given) else known[at] if at < len(known) else ""
        name = column_name(said[:LONGEST_NAME]) if said.strip() else f"column {at + 1}"
        count, unique = 1, name
        while unique in names:
            count += 1
            unique = f"{name} {count}"
        names.append(unique)
    return names


def as_text(value: object) -> str:
    """Return a value as a page shows it: texts as they are, data as JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=safe_str)
    except (TypeError, ValueError, RecursionError):
        return safe_str(value)
