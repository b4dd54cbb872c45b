"""What an answer shall be: any type that pydantic knows, or a JSON schema, as one thing that asks and reads.

A ``Shape`` is made once from what a user passes as ``schema=``. It knows the JSON schema to send, and turns the text
that comes back into an object of the type. APIs want an object at the root, so any other type travels inside one, as
``{"value": …}``, and is taken out again when it is read.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from beatra_nb.core.bare import FORMATTED, VALUE, Bare, meant
from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.kinds import is_type, json_members, members, plain, type_name

if TYPE_CHECKING:
    from pydantic import BaseModel, TypeAdapter

# A type in the wide sense (City, int, list[City], Literal["good", "bad"], City | None), a JSON schema, or a Shape.
Schema: TypeAlias = Any
Errors: TypeAlias = list[dict[str, Any]]

ANSWER = "answer"  # what a schema without a title is called on the wire
KINDS = (
    'a class such as class City(pydantic.BaseModel): name: str, or int, Literal["good", "bad"], list[City], …'
)
KEPT = 128  # shapes that are remembered; a notebook that defines its class anew leaves the old ones behind

_FENCED = re.compile(r"\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
_FENCES = re.compile(r"^[ \t]*```[a-zA-Z]*[ \t]*\n(.*?)\n?^[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)


class Misfit(ValueError):
    """A text that does not fit a shape.

    Attributes
    ----------
    errors : list of dict
        What does not fit, as pydantic reports it.
    cause : Exception or None
        What code of the user's raised, where it was not the answer's fault.
    """

    def __init__(self, errors: Errors, cause: Exception | None = None) -> None:
        super().__init__(sentence(errors))
        self.errors = errors
        self.cause = cause


class Shape:
    """What an answer shall be.

    Attributes
    ----------
    schema : object
        What it was made from.
    name : str
        What to call it in a sentence: ``City``, ``list[City]``, ``Literal['good', 'bad']``.
    wrapped : bool
        Whether the answer travels inside an object, as ``{"value": …}``.
    fields : dict
        Name → type of each field of an answer that is an object of known fields; else ``value`` → the whole type.

    Examples
    --------
    >>> from typing import Literal
    >>> shape = Shape.of(Literal["good", "bad"])
    >>> shape.parse('{"value": "good"}')
    'good'
    >>> Shape.of(list[int]).json_schema["properties"]
    {'value': {'items': {'type': 'integer'}, 'type': 'array'}}
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._adapter: TypeAdapter[Any] | None = None
        self._holder: type[BaseModel] | None = None
        self._bare: Bare | None = None
        self._boxed = False  # a JSON schema that is what a prompt has kept of a plain type
        if isinstance(schema, Mapping):
            self._sent = dict(schema)  # to the letter: whoever writes one knows what it shall be
            self.name = "the schema"
            self._boxed = _is_box(schema)
            root = schema["properties"][VALUE] if self._boxed else schema
            found = Bare.of(root, _definitions(schema))
            # What a form allows is not checked by hand, so no text may be taken for one.
            self._bare = None if found is None or FORMATTED in found.kinds else found
        else:
            self.name = type_name(schema)
            self._adapter, made = _adapted(schema, self.name)
            self._sent = self._rooted(made)
        self.wrapped = self._holder is not None
        known = self._members()
        self._named = known is not None
        self.fields: dict[str, Any] = {VALUE: plain(schema)} if known is None else known

    @classmethod
    def of(cls, schema: Schema) -> Shape:
        """Return the shape for what a user passed.

        Parameters
        ----------
        schema : type, mapping or Shape
            Whatever pydantic's ``TypeAdapter`` takes, or a JSON schema: it is sent as it is, and answers are held
            against its plain rules (types, choices, fields, sizes; not patterns and formats).

        Raises
        ------
        InvalidInput
            If it is neither, or has no JSON schema; the message says how to mend it.
        """
        if isinstance(schema, Shape):
            return schema
        if isinstance(schema, Mapping):
            return cls(schema)
        if not is_type(schema):
            raise InvalidInput(
                f"schema must be a type or a JSON schema, not {_shown(schema)}.", hint=_hint(schema)
            )
        try:
            # int | str equals str | int, but they are not the same schema: the repr tells them apart.
            return _remembered(schema, repr(schema))
        except TypeError:  # it holds what has no hash, such as Annotated[int, {...}]
            return cls(schema)

    @property
    def json_schema(self) -> dict[str, Any]:
        """The JSON schema that is sent: a copy, to do with as one likes."""
        return copy.deepcopy(self._sent)

    @property
    def fingerprint(self) -> str:
        """A hash over the JSON schema, the same in every process."""
        import hashlib  # an answer does not need it

        return hashlib.sha256(_canonical(self._sent).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def response_format(self) -> dict[str, Any]:
        """The request's field of that name; what it holds is shared, and not to be changed."""
        # The name travels as an identifier; a generic model is called Page[int].
        name = str(self._sent.get("title") or ANSWER)
        safe = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:64] or ANSWER
        return {"type": "json_schema", "json_schema": {"name": safe, "schema": self._sent}}

    def parse(self, text: str, *, whole: bool = True) -> Any:  # noqa: ANN401
        """Return the object that a text says.

        Parameters
        ----------
        text : str
            The answer: JSON, or the bare value where nothing else can be meant.
        whole : bool, default True
            Whether it was not cut off: half a bare text or number is a whole one to look at.

        Raises
        ------
        Misfit
            If it does not fit.
        """
        from pydantic import ValidationError

        inside = unfenced(text)
        try:
            if self._adapter is None:
                return self._conforming(text, inside, whole)
            if self._holder is None:
                return self._adapter.validate_json(inside)
            return self._unwrapped(text, inside, whole)
        except ValidationError as error:
            errors = [dict(item) for item in error.errors(include_url=False, include_context=False)]
            raise Misfit(errors) from None
        except Misfit:
            raise
        except (ValueError, RecursionError) as error:
            raise Misfit([{"type": "json_invalid", "loc": (), "msg": str(error)}]) from None
        except Exception as error:  # a validator of the user's own: the answer was paid for all the same
            told = f"a validator raised {type(error).__name__}: {error}"
            raise Misfit([{"type": "validator_failed", "loc": (), "msg": told}], error) from error

    def values(self, data: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return what a parsed object holds, under the names of ``fields``; what is not there is None.

        Examples
        --------
        >>> Shape.of(int).values(4)
        {'value': 4}
        """
        if not self._named:
            return {VALUE: data}
        if isinstance(data, Mapping):
            return {name: data.get(name) for name in self.fields}
        return {name: getattr(data, name, None) for name in self.fields}

    def __repr__(self) -> str:
        return f"Shape({self.name})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shape) and (self.name, self._sent) == (other.name, other._sent)

    def __hash__(self) -> int:
        return hash((self.name, *self._sent))

    def __reduce__(self) -> tuple[Any, ...]:
        return Shape.of, (self.schema,)  # validators do not travel; what they were made from does

    def _members(self) -> dict[str, Any] | None:
        if self.wrapped:
            return None
        return json_members(self._sent) if self._adapter is None else members(self.schema)

    def _rooted(self, made: dict[str, Any]) -> dict[str, Any]:
        """Return a schema with an object at its root, and take note of how to read what comes back."""
        definitions = made.pop("$defs", {})
        root = made
        while isinstance(ref := root.get("$ref"), str) and (name := ref.rpartition("/")[2]) in definitions:
            # A recursive class is a reference at the root, which services refuse: its definition takes the place.
            root = {**definitions[name], **{key: value for key, value in root.items() if key != "$ref"}}
        if root.get("type") != "object":
            from pydantic import ConfigDict, create_model

            self._holder = create_model(
                "Value", __config__=ConfigDict(extra="forbid"), value=(self.schema, ...)
            )
            self._bare = Bare.of(made, definitions)
            root = {
                "type": "object",
                "properties": {VALUE: made},
                "required": [VALUE],
                "additionalProperties": False,
            }
        return {**root, "$defs": definitions} if definitions else root

    def _conforming(self, text: str, inside: str, whole: bool) -> Any:  # noqa: ANN401
        """Hold JSON against the schema; else the bare value, where it cannot be taken for anything else."""
        from beatra_nb.core.conform import unfit

        try:
            data = json.loads(inside)
            errors = unfit(data, self._sent, self._sent)
            if not errors:
                return data
            problem = Misfit(errors)
        except (ValueError, RecursionError) as error:
            problem = Misfit([{"type": "json_invalid", "loc": (), "msg": str(error)}])
        if self._boxed or self._bare is not None:
            for value in meant(text, inside, self._bare, whole=whole):
                data = {VALUE: json.loads(value)} if self._boxed else json.loads(value)
                if not unfit(data, self._sent, self._sent):
                    return data
        raise problem

    def _unwrapped(self, text: str, inside: str, whole: bool) -> Any:  # noqa: ANN401
        """Read ``{"value": …}``, or the bare value where it cannot be taken for anything else."""
        from pydantic import ValidationError

        assert self._adapter is not None and self._holder is not None  # noqa: S101, PT018 - it is wrapped
        try:
            return self._holder.model_validate_json(inside).value  # type: ignore[attr-defined]
        except ValidationError:
            for value in meant(text, inside, self._bare, whole=whole):
                with contextlib.suppress(ValidationError):
                    return self._adapter.validate_json(value)
            raise


@functools.lru_cache(maxsize=KEPT)
def _remembered(schema: Schema, shown: str) -> Shape:
    return Shape(schema)


def _adapted(schema: Schema, name: str) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    from pydantic import PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema

    class Quiet(GenerateJsonSchema):
        """Leaves out a default that is no JSON without a warning: the model need not know it."""

        ignored_warning_kinds: set[Any] = {  # noqa: RUF012 - as its base has it
            "skipped-choice",
            "non-serializable-default",
        }

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(schema)
        return adapter, adapter.json_schema(schema_generator=Quiet)
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        problem = error.message.partition("\n")[0].partition(". ")[0].rstrip(".")
    except (TypeError, ValueError, AttributeError, LookupError, RecursionError, NotImplementedError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise InvalidInput(
        f"{name} has no JSON schema: {problem}.",
        hint="Use plain types, enums, lists, dicts, dataclasses and pydantic models, and whatever is made of these.",
    )


def _definitions(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = schema.get("$defs")
    return found if isinstance(found, Mapping) else {}


def _is_box(schema: Mapping[str, Any]) -> bool:
    """Whether a JSON schema is what ``Shape`` makes of a type that is no object."""
    inside = schema.get("properties")
    return (
        schema.get("type") == "object"
        and schema.get("required") == [VALUE]
        and schema.get("additionalProperties") is False
        and isinstance(inside, Mapping)
        and inside.keys() == {VALUE}
    )


def unfenced(text: str) -> str:
    """Return the inside of a Markdown fence where one holds the whole answer: a habit of many models."""
    if match := _FENCED.fullmatch(text):
        return match.group(1)
    if text.lstrip()[:1] in ("{", "[", '"'):
        return text
    found: list[str] = _FENCES.findall(text)
    return found[0] if len(found) == 1 else text


def sentence(errors: Errors) -> str:
    """Return the first thing that does not fit, in words."""
    first = errors[0] if errors else {}
    return f"{_place(first)}: {first.get('msg') or 'unreadable'}"


def lines(errors: Errors, most: int = 10) -> str:
    """Return what does not fit, a line each."""
    told = [f"- {_place(each)}: {each.get('msg')}"[:400] for each in errors[:most]]
    return "\n".join([*told, *([f"- and {len(errors) - most} more"] if len(errors) > most else [])])


def _place(error: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in error.get("loc") or ()) or "the answer"


def _canonical(schema: Mapping[str, Any]) -> str:
    try:
        return json.dumps(schema, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return repr(schema)  # it cannot be sent either, which the request says better


def _shown(value: object) -> str:
    try:
        told = repr(value)
    except Exception:
        told = f"a {type(value).__name__}"
    return told if len(told) <= 80 else told[:79] + "…"


def _hint(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value) == 1:
        inner = type_name(value[0]) if is_type(value[0]) else "City"
        return f"Did you mean list[{inner}]?"
    if hasattr(type(value), "model_fields") or dataclasses.is_dataclass(value):
        return f"Pass the class itself: schema={type(value).__name__}."
    return f"Pass {KINDS}"
