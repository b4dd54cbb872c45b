"""One prompt for all rows → a checked request for each."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import CodeType
from typing import TYPE_CHECKING, Any, TypeAlias

from beatra_nb.core import options
from beatra_nb.core.errors import BeatraError, InvalidInput
from beatra_nb.core.prompt import Prompt
from beatra_nb.core.request import ChatRequest, messages_of
from beatra_nb.core.template import is_missing, lookup, named

if TYPE_CHECKING:
    from beatra_nb.batch.rows import Rows
    from beatra_nb.core.typed import Shape

Asked: TypeAlias = "str | list[dict[str, Any]] | Prompt"


@dataclass(frozen=True)
class Asker:
    """Makes the requests of a batch.

    Attributes
    ----------
    prompt : Prompt or callable
        What is asked of each row.
    base : ChatRequest
        What is the same for all rows: model, schema, options, checked once.
    """

    prompt: Prompt | Callable[[Any], Asked]
    base: ChatRequest
    system: str | None

    @classmethod
    def of(
        cls,
        prompt: str | Prompt | Callable[[Any], Asked],
        *,
        system: str | None = None,
        **keywords: Any,  # noqa: ANN401
    ) -> Asker:
        """Check what the user passed, as far as it can be checked without a row.

        Raises
        ------
        InvalidInput
            If no row could be asked about.
        """
        label = None
        options.check(keywords, also=options.BATCH)
        if isinstance(prompt, str):
            if not prompt.strip():
                raise InvalidInput(
                    "The prompt is empty.", hint='bn.map(rows, "Translate {word} into French.")'
                )
            prompt = Prompt(prompt, system=system)
        elif isinstance(prompt, Prompt):
            label = prompt.label
            if system is not None:
                prompt = prompt.replace(system=system)
            own = prompt.keywords()
            keywords = own | {
                name: value
                for name, value in keywords.items()
                if value is not None and not (name == "model" and value == "auto")
            }
        elif not callable(prompt):
            raise InvalidInput(
                f"The prompt must be a text, a bn.Prompt or a function of a row, not {type(prompt).__name__}.",
                hint='bn.map(rows, "Translate {word} into French.")',
            )
        elif (odd := _odd(prompt)) is not None:
            raise InvalidInput(
                f"The prompt's function {getattr(prompt, '__name__', '')!r} is {odd}; it has to be a plain one.",
                hint="It returns the prompt. What has to be awaited for it goes into the rows beforehand; bn.map "
                "also takes an async iterator of rows.",
            )
        return cls(prompt, ChatRequest.of("Hi", label=label, **keywords), system)

    def check(self, rows: Rows, first: object) -> None:
        """See that the prompt fits the rows, before the first call.

        Parameters
        ----------
        rows : Rows
            All of them; only what is known beforehand is looked at.
        first : object
            The first row.

        Raises
        ------
        InvalidInput
            If a name of the prompt is not there; the hint names the nearest.
        """
        if not isinstance(self.prompt, Prompt):
            return
        needed = self.prompt.variables
        if not needed and "{" in "".join([self.prompt.user, self.prompt.system or ""]):
            raise InvalidInput(
                "The prompt uses nothing of the rows: what stands in its braces is no name.",
                hint="A name stands in single braces, {word}; double ones are braces of the text.",
            )
        names = rows.columns if rows.columns is not None else _names(first)
        if names is not None:
            for name in needed:
                lookup(name, dict.fromkeys(names))
        elif len(needed) > 1:
            wanted = ", ".join(f"{{{name}}}" for name in needed)
            raise InvalidInput(
                f"The prompt needs {wanted}, and the rows are single values.",
                hint="Pass dicts or a data frame, or a prompt with one name: it stands for the value.",
            )

    def request(self, row: object) -> ChatRequest:
        """Make the request for a row.

        Raises
        ------
        BeatraError
            If there is none, such as for want of a value.
        """
        if isinstance(self.prompt, Prompt):
            messages = self.prompt.messages(self._values(self.prompt, row))
            messages_of(messages[-1]["content"])
            return self.base.about(messages)
        try:
            asked = self.prompt(row)
        except BeatraError:
            raise
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise InvalidInput(f"The prompt's function failed for this row ({problem}).") from error
        if inspect.isawaitable(asked):
            if inspect.iscoroutine(asked):
                asked.close()  # or Python complains that nobody awaited it
            raise InvalidInput(
                "The prompt's function returned what has to be awaited, not a prompt.",
                hint="Pass a plain function; what it needs is awaited beforehand, or in an async iterator of rows.",
            )
        if isinstance(asked, Prompt):
            own = asked.keywords()
            model = own.pop("model") if own.get("model") != "auto" else None
            special = ChatRequest.of("Hi", **own, **({"model": model} if model else {}))
            body = {**self.base.body, **{k: v for k, v in special.body.items() if model or k != "model"}}
            messages = asked.messages({} if not asked.variables else self._values(asked, row))
            return replace(self.base, body=body, label=asked.label).about(messages)
        return self.base.about(messages_of(asked, self.system))

    @property
    def templated(self) -> bool:
        """Whether the prompt is a template, which is filled at once."""
        return isinstance(self.prompt, Prompt)

    @property
    def shape(self) -> Shape | None:
        """What the answers are asked to be."""
        return self.base.shape

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What decides about the answers beside the rows themselves, part by part."""
        settings = {name: value for name, value in self.base.body.items() if name != "messages"}
        return {"prompt": _described(self.prompt), "system": self.system, **settings}

    def _values(self, prompt: Prompt, row: object) -> Mapping[str, Any]:
        if isinstance(row, dict):  # mostly, and of a hundred thousand rows each one counts
            return named(row)
        if _names(row) is not None:
            return named(_mapping(row))
        needed = prompt.variables
        if not needed:
            return {}
        # A single value fills the one gap, whatever that is called.
        return {needed[0]: None if is_missing(row) else row}


def _odd(function: Callable[..., Any]) -> str | None:
    """Say what is wrong with a kind of function; None of a plain one."""
    for each in (function, getattr(function, "__call__", None)):  # noqa: B004 - of an object, its method
        if inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each):
            return "async"
        if inspect.isgeneratorfunction(each):
            return "a generator"
    return None


def _names(row: object) -> tuple[str, ...] | None:
    """Return the names that a row's values have; None of a single value."""
    mapping = _mapping(row)
    if isinstance(mapping, Mapping):
        return tuple(name for name in mapping if isinstance(name, str))
    return tuple(mapping.keys()) if callable(getattr(mapping, "keys", None)) else None


def _mapping(row: Any) -> Any:  # noqa: ANN401
    """Return a row whose values have names as a mapping: also dataclasses, named tuples and pydantic models."""
    if isinstance(row, Mapping):
        return row
    if hasattr(type(row), "__dataclass_fields__"):
        return {name: getattr(row, name) for name in type(row).__dataclass_fields__}
    if isinstance(row, tuple) and hasattr(row, "_asdict"):
        return row._asdict()
    if hasattr(type(row), "model_fields"):
        return {name: getattr(row, name) for name in type(row).model_fields}
    return row


def _described(prompt: Prompt | Callable[[Any], Any]) -> Any:  # noqa: ANN401
    if isinstance(prompt, Prompt):
        return {
            "user": prompt.user,
            "system": prompt.system,
            "examples": [[each.user, each.assistant] for each in prompt.examples],
        }
    name = getattr(prompt, "__qualname__", type(prompt).__qualname__)
    code = getattr(prompt, "__code__", None)
    if code is None:
        return {"function": name}  # each row's request is compared by itself in any case
    # Not its source: a lambda's would be the whole line that the call stands on, with everything else in it.
    told = hashlib.sha256(repr(_code(code)).encode()).hexdigest()[:16]
    return {"function": name, "code": told}


def _code(code: CodeType) -> list[Any]:
    consts = [_code(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return [code.co_code.hex(), code.co_names, consts]
