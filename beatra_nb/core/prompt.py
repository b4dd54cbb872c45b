"""A prompt that was built with care: its texts, its examples and its settings, apart from the rows it is used on.

A ``Prompt`` never changes: ``replace`` makes the next version, ``diff`` shows what became of the last one. What it
sends is checked by the same code that sends (``ChatRequest.of``). ``prompt_file`` tells how it is saved, and
``prompt_code`` how it is written as Python.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from beatra_nb.core import seams
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.request import ChatRequest, messages_of
from beatra_nb.core.template import named, template
from beatra_nb.core.typed import Schema, Shape

if TYPE_CHECKING:
    from pathlib import Path

    from beatra_nb.core.async_client import AsyncClient
    from beatra_nb.core.client import Client
    from beatra_nb.core.reply import Reply

Row: TypeAlias = Mapping[str, Any]

DEEPEST = 40  # levels of a schema: no more fit into Python code that Python can read
# Fields of a call that a prompt has under a name of its own, or that belong to one call alone.
OWN = frozenset({
    "prompt", "messages", "system", "model", "temperature", "max_tokens", "schema", "stream", "idempotency_key",
    "self", "cls", "label",
})  # fmt: skip
# What the version of a prompt is made of: all that is sent.
SENT = ("user", "system", "examples", "model", "temperature", "max_tokens", "schema", "options")


@dataclass(frozen=True, slots=True)
class Example:
    """A question and the answer that is wanted, shown to the model before the real one.

    Attributes
    ----------
    user, assistant : str
        The two texts; they are sent as they are, braces and all.
    """

    user: str
    assistant: str

    def __post_init__(self) -> None:
        for name in ("user", "assistant"):
            _set(self, name, _text(name, getattr(self, name), of="An example's"))


@dataclass(frozen=True, slots=True)
class Prompt(seams.Showable):
    r"""A prompt with gaps for the values of a row.

    It can be called: ``prompt(word="cheese")`` asks, and returns the reply.

    Parameters
    ----------
    user : str
        What is asked: a template, such as ``"Translate {word} into French."`` (see below).
    system : str, optional
        How the model shall behave; a template, too.
    examples : list of (str, str), optional
        Questions and the answers wanted, sent before the real question; no templates.
    model : str, default "auto"
        A model's id, or ``"auto"`` to let the service choose.
    temperature : float, optional
        From 0 (steady) to 2 (wild).
    max_tokens : int, optional
        The longest answer, in tokens.
    schema : type or dict, optional
        What the answer shall be; kept as JSON schema. So answers are plain dicts, and what is no object, such as
        ``int``, comes as ``{"value": …}``.
    options : dict, optional
        Any other field of the API (``top_p``, ``seed``, ``stop``, …).
    name, notes : str, optional
        For people; never sent.

    Raises
    ------
    InvalidInput
        If a part is of the wrong type. Whether it can be sent is checked when a request is made of it, so that half
        a prompt can be kept and worked on.

    Notes
    -----
    In a template ``{name}`` stands for a value, also as ``{name!r}`` or ``{price:.2f}``. The name may be a column's:
    ``{First name}``. ``{{name}}`` is the text ``{name}``, and all other braces are plain text.

    Examples
    --------
    >>> prompt = Prompt("Translate {word} into French.", system="One word only.")
    >>> prompt.variables
    ('word',)
    >>> prompt.messages({"word": "cheese"})[-1]
    {'role': 'user', 'content': 'Translate cheese into French.'}
    >>> prompt(word="cheese")  # doctest: +SKIP
    """

    user: str = ""
    _: KW_ONLY
    system: str | None = None
    examples: tuple[Example, ...] = ()
    model: str = "auto"
    temperature: float | None = None
    max_tokens: int | None = None
    schema: dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    notes: str = ""
    _called: str = field(default="", init=False, repr=False, compare=False)  # its name in a directory
    _hash: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("user", "model", "name", "notes"):
            _set(self, name, _text(name, getattr(self, name)))
        # An empty field of a form means that there is no system message, not an empty one.
        _set(self, "system", None if self.system is None else _text("system", self.system) or None)
        _set(self, "examples", _examples(self.examples))
        _set(self, "temperature", _number("temperature", self.temperature))
        _set(self, "max_tokens", _whole("max_tokens", self.max_tokens))
        _set(self, "schema", _schema(self.schema))
        _set(self, "options", _options(self.options))

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the values it needs, each once, in order of appearance: the system text's first."""
        return tuple(dict.fromkeys([*template(self.system or "").names, *template(self.user).names]))

    @property
    def version(self) -> str:
        """A short hash of all that is sent: the same for the same content, whatever its name, notes or layout.

        Examples
        --------
        >>> Prompt("Hi", options={"seed": 1, "top_p": 1}).version
        'd9b2bdc3'
        >>> Prompt("Hi", options={"top_p": 1.0, "seed": 1}, name="Greeting").version
        'd9b2bdc3'
        """
        if not self._hash:
            said = {name: getattr(self, name) for name in SENT}
            said["examples"] = [(each.user, each.assistant) for each in self.examples]
            # What is not said has no part in it: so a setting that prompts will have one day changes no version.
            content = {name: value for name, value in said.items() if value not in (None, [], {})}
            text = json.dumps(_same(content), sort_keys=True, separators=(",", ":"))
            _set(self, "_hash", hashlib.sha256(text.encode()).hexdigest()[:8])
        return self._hash

    @property
    def label(self) -> str:
        """What its calls are known by in the journal: its name and version, ``translate@3f2a91c0``.

        A prompt of a directory goes by its name there, another one by its own.
        """
        name = self._called or " ".join(self.name.split())[:80]
        return f"{name}@{self.version}" if name else self.version

    def __call__(self, row: Row | None = None, /, *, client: Client | None = None, **values: Any) -> Reply:  # noqa: ANN401
        """Ask: fill the gaps, send it, and return the answer.

        Parameters
        ----------
        row : mapping, optional
            Values by name: for names that are no Python identifiers.
        client : Client, optional
            Who sends; else the default client.
        **values
            Values by name; they beat the row's.

        Raises
        ------
        InvalidInput
            If a value is not there or not known to the prompt; nothing was sent.

        Examples
        --------
        >>> Prompt("Translate {word} into French.")(word="cheese")  # doctest: +SKIP
        """
        messages, keywords = self._call(row, values)
        return (client or seams.default_client()).chat(messages, **keywords)

    async def acall(
        self,
        row: Row | None = None,
        /,
        *,
        client: AsyncClient | None = None,
        **values: Any,  # noqa: ANN401
    ) -> Reply:
        """Ask: what calling it does, awaited."""
        messages, keywords = self._call(row, values)
        return await (client or seams.default_async_client()).chat(messages, **keywords)

    def _call(self, row: Row | None, values: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        needed = self.variables
        for name in values:
            if name not in needed:
                near = difflib.get_close_matches(name, needed, n=1)
                what = f"It has {', '.join(f'{{{each}}}' for each in needed)}." if needed else "It has none."
                raise InvalidInput(
                    f"The prompt has no field {{{name}}}.",
                    hint=f"Did you mean {near[0]}=…?" if near else what,
                )
        messages = self.messages({**named({} if row is None else row), **values} if values else row)
        messages_of(messages[-1]["content"])  # an empty question is refused, with examples before it or not
        return messages, {**self.keywords(), "label": self.label}

    def messages(self, row: Row | None = None) -> list[dict[str, Any]]:
        """Return the messages that are sent for a row.

        Parameters
        ----------
        row : mapping, optional
            The values of the variables; not needed where there are none.

        Raises
        ------
        InvalidInput
            If a value is not there, is missing, or does not fit its format.
        """
        if row is None and (needed := self.variables):
            some = ", ".join(f'"{name}": …' for name in needed[:5])
            raise InvalidInput(
                f"The prompt needs a value for {', '.join(f'{{{name}}}' for name in needed)}.",
                hint=f"Pass a row: {{{some}}}.",
            )
        values = named({} if row is None else row)
        messages = []
        if self.system is not None:
            messages.append({"role": "system", "content": template(self.system).render(values)})
        for example in self.examples:
            messages.append({"role": "user", "content": example.user})
            messages.append({"role": "assistant", "content": example.assistant})
        return [*messages, {"role": "user", "content": template(self.user).render(values)}]

    def keywords(self) -> dict[str, Any]:
        """Return what ``bn.chat`` takes beside the messages.

        Examples
        --------
        >>> Prompt("Hi", temperature=0.2, options={"seed": 7}).keywords()
        {'model': 'auto', 'temperature': 0.2, 'seed': 7}
        """
        own = {
            name: getattr(self, name)
            for name in ("model", "temperature", "max_tokens", "schema")
            if getattr(self, name) is not None
        }
        return cast(
            "dict[str, Any]", _json("A prompt", own | self.options)
        )  # copies, to do with as one likes

    def request(self, row: Row | None = None) -> ChatRequest:
        """Make the request for a row, checked as ``bn.chat`` checks it.

        Raises
        ------
        InvalidInput
            If it could not be sent; the message says how to mend it.
        """
        messages = self.messages(row)
        messages_of(messages[-1]["content"])  # an empty question is refused, with examples before it or not
        return ChatRequest.of(messages, label=self.label, **self.keywords())

    def to_code(self, rows: Row | Iterable[Row] | None = None, *, client: str = "bn") -> str:
        """Write Python that sends the same.

        Parameters
        ----------
        rows : mapping or list of mapping, optional
            The row, or rows (also a data frame), to write down in the code; of no use to a prompt without variables.
        client : str, default "bn"
            What ``chat`` is called on: ``"bn"``, or the name of a client.

        Returns
        -------
        str
            Code that needs nothing but this package.

        Raises
        ------
        InvalidInput
            If the prompt could not be sent for one of the rows.

        Examples
        --------
        >>> print(Prompt("Say hi.", system="Be brief.").to_code(), end="")
        import beatra_nb as bn
        <BLANKLINE>
        bn.chat("Say hi.", system="Be brief.")
        """
        from beatra_nb.core import prompt_code

        return prompt_code.write(self, rows, client=client)

    def replace(self, **changes: Any) -> Prompt:  # noqa: ANN401
        """Return a prompt with some parts changed.

        Examples
        --------
        >>> Prompt("Hi").replace(temperature=0).temperature
        0
        """
        known = [each.name for each in dataclasses.fields(self) if each.init]
        for name in changes:
            if name not in known:
                raise InvalidInput(f"A prompt has no {name!r}.", hint=f"It has: {', '.join(known)}.")
        return dataclasses.replace(self, **changes).called(self._called)

    def called(self, name: str) -> Prompt:
        """Return the same prompt under the name that it has in a directory: its ``label`` begins with it."""
        copy = dataclasses.replace(self)
        _set(copy, "_called", name)
        return copy

    def diff(self, other: Prompt) -> str:
        """Return what changes from this prompt to another, as a unified diff of their files; empty if nothing."""
        from beatra_nb.core import prompt_file

        return prompt_file.diff(self, other)

    def to_json(self, rows: Iterable[Row] = ()) -> str:
        """Return the text of the prompt's file, with rows to try it on."""
        from beatra_nb.core.prompt_file import PromptFile

        return PromptFile(self, tuple(rows)).text()

    @classmethod
    def from_json(cls, text: str) -> Prompt:
        """Read a prompt from the text of a prompt's file; its rows are left behind.

        Raises
        ------
        InvalidInput
            If it is none; the message names the field.
        """
        from beatra_nb.core import prompt_file

        return prompt_file.parse(text).prompt

    def save(
        self, path: str | os.PathLike[str], rows: Iterable[Row] = (), *, overwrite: bool = False
    ) -> Path:
        """Write the prompt to a small JSON file that reads and compares well; return its path.

        Parameters
        ----------
        path : str or path
            The file.
        rows : list of mapping, optional
            Rows to try the prompt on, kept in the file beside it.
        overwrite : bool, default False
            Whether a file of that name is replaced.

        Raises
        ------
        InvalidInput
            If the file is there already or cannot be written.
        """
        from beatra_nb.core.prompt_file import PromptFile

        return PromptFile(self, tuple(rows)).save(path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Prompt:
        """Read a prompt that ``save`` wrote; its rows are left behind.

        Raises
        ------
        InvalidInput
            If the file is missing or holds no prompt; the message names the field.
        """
        from beatra_nb.core import prompt_file

        return prompt_file.load(path).prompt


def _set(thing: object, name: str, value: object) -> None:
    object.__setattr__(thing, name, value)  # the one way into a frozen object while it is made


def _text(name: str, value: object, of: str = "A prompt's") -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{of} {name!r} must be text, not {_kind(value)}.")
    return str(value)


def _number(name: str, value: object) -> float | None:
    if value is None or (type(value) in (int, float) and math.isfinite(cast("float", value))):
        return cast("float | None", value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)  # NumPy's, which would be written as np.float64(…)
    raise InvalidInput(
        f"A prompt's {name!r} must be a number, not {_kind(value)}.", hint="Leave it out for none."
    )


def _whole(name: str, value: object) -> int | None:
    if value is None or type(value) is int:
        return value
    raise InvalidInput(
        f"A prompt's {name!r} must be a whole number, not {_kind(value)}.", hint="Leave it out for none."
    )


def _examples(value: object) -> tuple[Example, ...]:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise InvalidInput(
            f"A prompt's 'examples' must be a list, not {_kind(value)}.",
            hint='examples=[("2 + 2", "4"), ("3 + 4", "7")]',
        )
    return tuple(_example(each, number) for number, each in enumerate(value, 1))


def _example(value: object, number: int) -> Example:
    if isinstance(value, Example):
        return value
    if isinstance(value, Mapping) and set(value) == {"user", "assistant"}:
        return Example(value["user"], value["assistant"])
    if isinstance(value, tuple | list) and len(value) == 2:
        return Example(*value)
    raise InvalidInput(
        f"Example {number} must be a pair of texts: what the user says, and the answer.",
        hint='examples=[("2 + 2", "4")], or [{"user": "2 + 2", "assistant": "4"}]',
    )


def _schema(value: Schema | None) -> dict[str, Any] | None:
    if value is None:
        return None
    # A class's own name is in the schema's title: the request is the same as with the class.
    return cast("dict[str, Any]", _json("A prompt's 'schema'", Shape.of(value).json_schema))


def _options(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InvalidInput(
            f"A prompt's 'options' must be a dict of the API's fields, not {_kind(value)}.",
            hint='options={"seed": 7}',
        )
    for name in value:
        if name in OWN:
            where = f"Pass {name}= to the prompt itself." if name in Prompt.__slots__ else "Leave it out."
            raise InvalidInput(f"A prompt's 'options' cannot hold {name!r}.", hint=where)
    given = {name: each for name, each in value.items() if each is not None}
    return cast("dict[str, Any]", _json("A prompt's 'options'", given))


def _json(what: str, value: object) -> Any:  # noqa: ANN401
    """Return a copy of a value that is nothing but JSON."""
    try:
        copy = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error)
        raise InvalidInput(
            f"{what} must be plain JSON: {problem}.", hint="Use dicts, lists, texts and finite numbers."
        ) from None
    if _depth(copy) > DEEPEST:
        raise InvalidInput(f"{what} is nested more than {DEEPEST} levels deep.", hint="Make it flatter.")
    return copy


def _same(value: Any) -> Any:  # noqa: ANN401
    """Return JSON in which equal numbers are written alike: 1.0 as 1."""
    if isinstance(value, dict):
        return {name: _same(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_same(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _depth(value: object) -> int:
    """Return how deeply lists and dicts are nested, without recursion: it may be far too deep for that."""
    level, depth = [value], 0
    while level:
        inside: list[object] = []
        for each in level:
            inside += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        level, depth = inside, depth + 1
    return depth - 1


def _kind(value: object) -> str:
    """Name what was given instead, as people say it."""
    names = {str: "text", type(None): "nothing", dict: "a dict", list: "a list", bool: repr(value)}
    if type(value) in (int, float):
        return repr(value)
    return names.get(type(value), f"a {type(value).__name__}")
