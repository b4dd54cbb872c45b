r"""The options of the magics: one table, from which they are read, completed and explained.

A line is ``[options] text``. An option is ``--name value``, ``--name=value`` or, where it has one, its short form
(``-m value``). A value with spaces stands in quotes, ``"…"`` or ``'…'``; inside them ``\"`` is a quote. The first
word that is no option begins the text, which is taken as it stands, quotes and all; ``--`` says so for a text that
begins with a dash.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from beatra_nb.core.errors import InvalidInput

# What an option's value is: "name" is the name of a variable, "reference" a variable's name or where audio is.
Kind = Literal["flag", "text", "model", "number", "whole", "name", "reference"]

_WORD = re.compile(r"(-[^\s=]*)(=|\s+|$)")
_QUOTED = {sign: re.compile(rf"{sign}((?:[^{sign}\\]|\\.)*){sign}") for sign in "\"'"}
_BARE = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a magic.

    Attributes
    ----------
    name : str
        As it is written, without its dashes.
    about : str
        What it does, in one line.
    kind : str
        What its value is; a ``"flag"`` has none.
    value : str
        What stands for the value in the help.
    example : str
        A value to show.
    short : str
        Its one letter, or nothing.
    """

    name: str
    about: str
    kind: Kind = "flag"
    value: str = ""
    example: str = ""
    short: str = ""

    @property
    def long(self) -> str:
        """The option as it is written."""
        return f"--{self.name}"

    @property
    def keyword(self) -> str:
        """The option as a Python name."""
        return self.name.replace("-", "_")

    @property
    def forms(self) -> tuple[str, ...]:
        """Every way to write it."""
        return (self.long, f"-{self.short}") if self.short else (self.long,)


@dataclass(frozen=True, slots=True)
class Magic:
    """A magic that takes options and a text.

    Attributes
    ----------
    name : str
        Its name, without percent signs.
    options : tuple of Option
        What it takes.
    purpose : str
        What it does, in one line.
    cell, line : str
        How it looks, as a cell and as a line.
    notes : str
        What else there is to know.
    """

    name: str
    options: tuple[Option, ...]
    purpose: str
    cell: str
    line: str
    notes: str

    def find(self, word: str) -> Option | None:
        """Return the option that a word is."""
        return next((option for option in self.options if word in option.forms), None)

    def help(self) -> str:
        """Return the text that ``%%name?`` shows."""
        forms = {option: _usage(option) for option in self.options}
        room = max(map(len, forms.values()))
        indent = " " * (room + 6)
        told = []
        for option, form in forms.items():
            told.append(f"    {form:{room}}  {option.about}")
            if option.example:
                told.append(f"{indent}{option.long} {option.example}")
        parts = [
            self.purpose,
            _indented(self.cell),
            f"As a line:\n\n{_indented(self.line)}",
            self.notes,
            "Options, in any order, before the text:",
            "\n".join(told),
        ]
        return "\n\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A magic's line, taken apart.

    Attributes
    ----------
    options : dict
        Keyword → its value as it was written; True for a flag.
    text : str
        What follows the options.
    """

    options: dict[str, str | bool]
    text: str


def parse(magic: Magic, line: str) -> Parsed:
    """Take a magic's line apart; values are still as they were written.

    Raises
    ------
    InvalidInput
        For an option that there is not, stands twice, or lacks its value.

    Examples
    --------
    >>> parse(CHAT, "-m tiny --raw What's new?")
    Parsed(options={'model': 'tiny', 'raw': True}, text="What's new?")
    """
    options: dict[str, str | bool] = {}
    rest = line.strip()
    while word := _WORD.match(rest):
        written, sign = word.groups()
        rest = rest[word.end() :]
        if written == "--" and sign != "=":
            break
        option = magic.find(written)
        if option is None:
            raise _unknown(magic, written)
        if option.keyword in options:
            raise InvalidInput(f"{option.long} stands twice.", hint="Leave one of the two out.")
        if option.kind != "flag":
            options[option.keyword], rest = _value(magic, option, rest)
        elif sign == "=":
            raise InvalidInput(f"{option.long} takes no value.", hint=f"Write {option.long} alone.")
        else:
            options[option.keyword] = True
    return Parsed(options, rest)


def words_of(line: str) -> Iterator[str]:
    """Yield the words of an unfinished line, a quoted value (closed or not) in one piece: for completion."""
    yield from re.findall(r"""(?:[^\s"']+|"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)+""", line)


def _value(magic: Magic, option: Option, rest: str) -> tuple[str, str]:
    """Take a value off the beginning of a line."""
    needs = f"{option.long} needs a value."
    hint = f"Such as {option.long} {option.example}." if option.example else None
    if rest[:1] in _QUOTED:
        sign = rest[0]
        quoted = _QUOTED[sign].match(rest)
        if quoted is None:
            raise InvalidInput(f"The value of {option.long} has no closing {sign}.", hint=hint)
        after = rest[quoted.end() :]
        if after[:1].strip():
            raise InvalidInput(
                f"A space is missing behind the value of {option.long}.",
                hint=rf"A quote inside quotes is written \{sign}.",
            )
        return re.sub(rf"\\([{sign}\\])", r"\1", quoted[1]), after.lstrip()
    bare = _BARE.match(rest)
    if bare is None or bare[0].startswith("--") or magic.find(bare[0]) is not None:
        raise InvalidInput(needs, hint=hint)
    return bare[0], rest[bare.end() :].lstrip()


def _unknown(magic: Magic, written: str) -> InvalidInput:
    # --max_tokens, --Model and -model are as near as a mistyped letter.
    forms = [form for option in magic.options for form in option.forms]
    asked = "--" + written.lower().replace("_", "-").lstrip("-")
    near = get_close_matches(asked, [form for form in forms if form.startswith("--")], n=1)
    told = [f"Did you mean {near[0]}?"] if near else [f"There are: {', '.join(forms)}."]
    told.append(f"%%{magic.name}? explains them; -- stands before a text that begins with a dash.")
    return InvalidInput(f"%%{magic.name} has no option {written[:60]!r}.", hint=" ".join(told))


def _usage(option: Option) -> str:
    short = f"-{option.short}, " if option.short else ""
    return f"{short}{option.long}{' ' + option.value if option.value else ''}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.split("\n"))


_FIELDS = """\
{name}, {name!r} and {price:.2f} put a variable of the notebook in, in the text and in the options.
Every other brace stays as it is; {{name}} writes {name}."""
_ENDING = "What goes wrong is raised, and leaves the variables as they were."
_INTO = Option("into", "keep the result in this variable, too", "name", "NAME", "answer")
_CLIENT = Option("client", "the bn.Client that sends; else the default one", "name", "NAME", "client")
_RAW = Option("raw", "leave all braces as they are: nothing is put in")

CHAT = Magic(
    "chat",
    (
        Option("model", "which model answers; else auto", "model", "ID", "auto", "m"),
        Option(
            "system", "how the model shall behave", "text", "TEXT", '"You answer in one sentence."', short="s"
        ),
        Option("schema", "a type or a JSON schema that the answer shall fit", "name", "NAME", "City"),
        Option("chat", "go on with this bn.Chat; it is made where there is none", "name", "NAME", "tutor"),
        _INTO,
        Option("temperature", "from 0 (steady) to 2 (wild)", "number", "NUMBER", "0.2", "t"),
        Option("max-tokens", "the longest answer, in tokens", "whole", "NUMBER", "200"),
        Option("no-stream", "show the answer when it is whole, not while it grows"),
        _RAW,
        _CLIENT,
        Option(
            "idempotency-key",
            "a key of your own: the same call is paid once",
            "text",
            "KEY",
            "lesson-3-question-1",
        ),
    ),
    "Ask a model: the cell is the prompt, and the answer is shown while it grows.",
    "%%chat --system {role!r} --into answer\nSay hello to {name} in five words.",
    "%chat Say hello to {name} in five words.",
    f"""{_FIELDS}

The Reply is the value of the cell: _ and Out[n] hold it, as after bn.chat(…).
{_ENDING}

A question mark may end a line of %chat, but not in the very cell that runs %load_ext beatra_nb: IPython
has read that cell by then, and takes such a line for a question to itself.

With --chat, --model holds for this turn, or for the whole of a conversation that is made by it;
--system belongs to a conversation that has no turn yet.""",
)

MUSIC = Magic(
    "music",
    (
        Option("title", "its title", "text", "TEXT", '"City lights"'),
        Option("model", "which model plays; else auto", "model", "ID", "suno-5.5", "m"),
        Option("lyrics", "a variable that holds the words", "name", "NAME", "words"),
        Option("instrumental", "nobody sings"),
        Option(
            "reference",
            "audio to follow: a variable, a file, an https address or an artifact's id",
            "reference",
            "PATH",
            "hum.wav",
        ),
        Option(
            "seconds",
            "how long; for the sandbox alone, sent nowhere else",
            "number",
            "NUMBER",
            "12",
        ),
        _INTO,
        Option("no-wait", "begin it and go on: _.wait() or bn.pending() comes back to it"),
        Option("reuse", "come back to the job that this very cell began before"),
        _RAW,
        _CLIENT,
        Option("idempotency-key", "a key of your own: the same job is paid once", "text", "KEY", "song-1"),
    ),
    "Make music: the cell says how it shall sound; lines from the first [Verse] on are the lyrics.",
    '%%music --title "City lights"\ndream pop, warm analog drums\n\n[Verse]\nCity lights are waking',
    "%music --instrumental dream pop, warm analog drums",
    f"""{_FIELDS}

The Task is the value of the cell: _ and Out[n] hold it, as after bn.music(…). Interrupting stops
the waiting, not the task; bn.pending() finds it again.
{_ENDING}""",
)
