"""What the magics do: a line and a cell → one call of a verb.

Everything that a user wrote is read and checked before anything is sent; values are judged by the same code that
judges the verbs' arguments. The result is returned, so that it is the value of its cell; it has been shown while it
came, and is not shown again. What goes wrong is raised.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from beatra_nb.core import seams
from beatra_nb.core.errors import InvalidInput
from beatra_nb.interact.magic_names import Names
from beatra_nb.interact.magic_options import CHAT, MUSIC, Magic, Parsed, parse

if TYPE_CHECKING:
    from beatra_nb.core.client import Client
    from beatra_nb.core.reply import Reply
    from beatra_nb.core.task import Task

# A line that is nothing but a section's tag: [Verse], [Chorus 2], [Bridge: soft]:
_TAG = re.compile(r"^[^\S\n]*\[(?=[^\]\n]*[^\W\d_])[^\[\]\n]{1,60}\][^\S\n]*:?[^\S\n]*$", re.MULTILINE)


def chat(names: Names, line: str, cell: str | None = None) -> Reply:
    """Ask a model: ``%chat`` and ``%%chat``."""
    parsed = parse(CHAT, line)
    text = _text_of(CHAT, parsed, cell)
    given = _Given(names, parsed)
    prompt = given.fill(text)
    into = names.target("--into", given.text("into"))
    client = _client(names, given)
    call: dict[str, Any] = {
        "model": given.text("model"),
        "temperature": given.number("temperature"),
        "max_tokens": given.number("max_tokens"),
        "schema": given.variable("schema"),
        "idempotency_key": given.text("idempotency_key"),
    }
    call = {name: value for name, value in call.items() if value is not None}
    stream, system, talk = not given.flag("no_stream"), given.text("system"), given.text("chat")
    if talk is None:
        reply = (client or seams.default_client()).chat(prompt, system=system, stream=stream, **call)
    else:
        names.checked("--chat", talk)
        if talk == into:
            raise InvalidInput(
                f"--into {into} would put the answer in the conversation's place.",
                hint="Choose another name for one of the two.",
            )
        reply = _turn(names, talk, prompt, system, client, stream, call)
    names.bind(into, reply)
    return reply


def _turn(
    names: Names,
    name: str,
    prompt: str,
    system: str | None,
    client: Client | None,
    stream: bool,
    call: dict[str, Any],
) -> Reply:
    """Say something in the conversation of a name, which is made if there is none."""
    from beatra_nb.core.conversation import Chat

    talk = names.find(name)
    new = talk is None
    if new:
        talk = Chat(system, model=call.pop("model", "auto"), client=client)
    elif not isinstance(talk, Chat):
        raise InvalidInput(
            f"--chat: {name} is a {type(talk).__name__}, not a bn.Chat.",
            hint="Choose a name that is free: the conversation is made by it.",
        )
    if client is not None and talk._client is not client:
        raise InvalidInput(
            f"The conversation {name} is held with another client.",
            hint="Leave --client out, or begin another conversation.",
        )
    before = talk.system
    if system is not None and system != before:
        if len(talk):
            raise InvalidInput(
                f"The conversation {name} has turns under another system text.",
                hint=f"Leave --system out, set {name}.system, or begin another conversation.",
            )
        talk.system = system
    try:
        reply = talk.send(prompt, stream=stream, **call)
    except InvalidInput:
        talk.system = before
        raise
    except BaseException:
        # It knows the key that the same words must be sent with again, lest they be paid for twice.
        names.bind(name if new else None, talk)
        raise
    names.bind(name if new else None, talk)
    return reply


def music(names: Names, line: str, cell: str | None = None) -> Task:
    """Make music: ``%music`` and ``%%music``."""
    parsed = parse(MUSIC, line)
    text = _text_of(MUSIC, parsed, cell, needed="lyrics" not in parsed.options)
    given = _Given(names, parsed)
    # What stands in the cell decides where the lyrics begin, not what a variable may bring along.
    tag = _TAG.search(text)
    prompt, words = (text, None) if tag is None else (text[: tag.start()].rstrip(), text[tag.start() :])
    lyrics = given.variable("lyrics")
    if words is not None and lyrics is not None:
        raise InvalidInput(
            "There are two lyrics: in the cell, and in the variable of --lyrics.",
            hint="Leave one of the two out.",
        )
    into = names.target("--into", given.text("into"))
    client = _client(names, given)
    call: dict[str, Any] = {
        "lyrics": given.fill(words) if words is not None else lyrics,
        "instrumental": given.flag("instrumental") or None,
        "title": given.text("title"),
        "model": given.text("model"),
        "reference": _reference(names, given),
        "model_options": _seconds(given),
        "rerun": "reuse" if given.flag("reuse") else None,
        "idempotency_key": given.text("idempotency_key"),
    }
    call = {name: value for name, value in call.items() if value is not None}
    wait = not given.flag("no_wait")
    task = (client or seams.default_client()).music(given.fill(prompt), wait=wait, **call)
    names.bind(into, task)
    return task


def _reference(names: Names, given: _Given) -> Any:  # noqa: ANN401
    """Return a variable of this name; else the text itself, which is a path, an address or an artifact's id."""
    written = given.text("reference")
    found = None if written is None else names.find(written)
    if found is not None or written is None:
        return found
    return os.path.expanduser(written) if written.startswith("~") else written


def _seconds(given: _Given) -> dict[str, Any] | None:
    seconds = given.number("seconds")
    if isinstance(seconds, str):
        raise InvalidInput(
            f"--seconds must be a number, not {seconds!r:.60}.", hint="--seconds 12 makes twelve seconds."
        )
    return None if seconds is None else {"sandbox": {"seconds": seconds}}


def _status(words: str) -> object:
    from beatra_nb.interact.status import look

    return look()


def _models(words: str) -> object:
    return seams.default_client().models()


def _journal(words: str) -> object:
    return seams.journal().search(words) if words else seams.journal().view()


def _pending(words: str) -> object:
    return seams.default_client().pending()


# What %beatra can show: its name → what it does, and who does it.
SUBCOMMANDS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "status": ("who answers, what it has cost, what is unfinished (also without a word)", _status),
    "models": ("the models of this account, as bn.models()", _models),
    "journal": ("the newest calls, as bn.journal(); with a word, those that it is found in", _journal),
    "pending": ("this machine's unfinished jobs, as bn.pending()", _pending),
}


def beatra_help() -> str:
    """Return the text that ``%beatra?`` shows."""
    told = "\n".join(f"    %beatra {name:8}  {about}" for name, (about, _) in SUBCOMMANDS.items())
    return (
        f"Show how things stand: who answers, what it has cost, what is unfinished.\n\n    %beatra\n\n{told}\n\n"
        "Each is the value of its cell. Looking at the status starts nothing and is not written to the journal.\n"
    )


def beatra(names: Names, line: str) -> object:
    """Show how things stand: ``%beatra``."""
    word, _, rest = line.strip().partition(" ")
    word, rest = word or "status", rest.strip()
    if word not in SUBCOMMANDS:
        near = get_close_matches(word.lstrip("-").lower(), SUBCOMMANDS, n=1)
        told = f"Did you mean %beatra {near[0]}? " if near else ""
        raise InvalidInput(
            f"%beatra cannot show {word[:60]!r}.", hint=f"{told}There are: {', '.join(SUBCOMMANDS)}."
        )
    if rest and word != "journal":
        raise InvalidInput(f"%beatra {word} takes nothing more.", hint=f"Leave {rest[:60]!r} out.")
    return SUBCOMMANDS[word][1](rest)


class _Given:
    """The options that were given, their variables put in."""

    def __init__(self, names: Names, parsed: Parsed) -> None:
        self._names = names
        self._raw = bool(parsed.options.get("raw"))
        self._options = {
            name: self.fill(value) if isinstance(value, str) else value
            for name, value in parsed.options.items()
        }

    def fill(self, text: str) -> str:
        """Put variables into a text, unless braces shall stay as they are."""
        return text if self._raw else self._names.fill(text)

    def flag(self, name: str) -> bool:
        """Whether a flag stands there."""
        return name in self._options

    def text(self, name: str) -> str | None:
        """Return an option's value."""
        value = self._options.get(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> float | str | None:
        """Return an option's value as a number, or as it stands: then the verb says what it should be."""
        value = self.text(name)
        for kind in (int, float):
            try:
                return None if value is None else kind(value)
            except ValueError:
                continue
        return value

    def variable(self, name: str) -> Any:  # noqa: ANN401
        """Return the variable that an option names, or None where it is not given."""
        value = self.text(name)
        if value is None:
            return None
        found = self._names.get(f"--{name}", value)
        if found is None:
            raise InvalidInput(f"--{name}: {value} is None.", hint="Run the cell that makes it first.")
        return found


def _text_of(magic: Magic, parsed: Parsed, cell: str | None, *, needed: bool = True) -> str:
    """Return what a magic was given as its text: the cell, or the rest of the line."""
    if cell is not None and parsed.text:
        raise InvalidInput(
            f"{parsed.text[:60]!r} in the line of %%{magic.name} belongs to no option.",
            hint='A value with spaces stands in quotes: --title "Two words". The text itself stands below the line.',
        )
    text = parsed.text if cell is None else cell.strip("\r\n").rstrip()
    if text.strip() or not needed:
        return text
    if cell is None:
        raise InvalidInput(
            f"%{magic.name} has no text.",
            hint=f"Write it behind the options, or below %%{magic.name}; %%{magic.name}? shows how.",
        )
    raise InvalidInput(
        f"The cell has no text below %%{magic.name}.", hint=f"Write it there; %%{magic.name}? shows how."
    )


def _client(names: Names, given: _Given) -> Client | None:
    from beatra_nb.core.client import Client

    client = given.variable("client")
    if client is None or isinstance(client, Client):
        return client
    raise InvalidInput(
        f"--client: {given.text('client')} is a {type(client).__name__}, not a bn.Client.",
        hint="Make one with client = bn.Client(…).",
    )
