"""Types in the wide sense, looked at: what to call them, and which fields they have."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, NewType, Union, get_args, get_origin

_JSON_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": None,
}


def is_type(schema: object) -> bool:
    """Whether a value is a type in the wide sense; whether it has a JSON schema shows when a ``Shape`` is made."""
    return (
        isinstance(schema, type | NewType)
        or get_origin(schema) is not None
        or schema is Any
        or (type(schema).__name__ == "TypeAliasType" and hasattr(schema, "__value__"))
    )


def type_name(schema: Any) -> str:  # noqa: ANN401
    """Return a type as people write it.

    Examples
    --------
    >>> type_name(dict[str, list[int]]), type_name(int | None)
    ('dict[str, list[int]]', 'int | None')
    """
    origin: Any = get_origin(schema)
    args = get_args(schema)
    if schema is None or schema is type(None):
        return "None"
    if origin is typing.Annotated:
        return type_name(args[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if origin in (Union, types.UnionType):
        return " | ".join(map(type_name, args))
    if origin is not None and args and not isinstance(schema, type):
        inside = ", ".join("..." if arg is ... else _arguments(arg) for arg in args)
        return f"{getattr(origin, '__name__', None) or origin}[{inside}]"
    return str(getattr(schema, "__name__", None) or schema)


def _arguments(arg: Any) -> str:  # noqa: ANN401
    return f"[{', '.join(map(type_name, arg))}]" if isinstance(arg, list) else type_name(arg)


def plain(schema: Any) -> Any:  # noqa: ANN401
    """Return the type behind names and notes; of a JSON schema, Python's word for its type.

    Examples
    --------
    >>> plain(typing.Annotated[int, "above 0"])
    <class 'int'>
    """
    if isinstance(schema, Mapping):
        return json_type(schema)
    while True:
        origin: Any = get_origin(schema)
        if origin is typing.Annotated:
            schema = get_args(schema)[0]
        elif isinstance(schema, NewType):
            schema = schema.__supertype__
        elif type(schema).__name__ == "TypeAliasType":
            schema = schema.__value__
        else:
            return schema


def members(schema: Any) -> dict[str, Any] | None:  # noqa: ANN401
    """Return name → type of a class with known fields; None for anything else."""
    from pydantic import BaseModel, RootModel
    from typing_extensions import is_typeddict

    kind = plain(schema)
    kind = kind if isinstance(kind, type) and not isinstance(kind, types.GenericAlias) else get_origin(kind)
    if not isinstance(kind, type) or issubclass(kind, RootModel):
        return None
    if issubclass(kind, BaseModel):
        return {name: plain(each.annotation) for name, each in kind.model_fields.items()}
    if dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return {each.name: plain(hints.get(each.name, Any)) for each in dataclasses.fields(kind) if each.init}
    return {name: plain(each) for name, each in _hints(kind).items()} if is_typeddict(kind) else None


def _hints(kind: type) -> dict[str, Any]:
    from typing_extensions import get_type_hints

    try:
        return get_type_hints(kind)
    except (
        NameError,
        TypeError,
    ):  # pydantic has found what it needed elsewhere; a name is known all the same
        return dict.fromkeys(kind.__annotations__, Any)


def json_members(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return name → Python's type of a JSON schema with known fields; None for any other."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return None
    return {str(name): json_type(each) for name, each in properties.items()}


def json_type(schema: Any) -> Any:  # noqa: ANN401
    """Return Python's type for a part of a JSON schema; Any where it cannot be told."""
    if not isinstance(schema, Mapping):
        return Any
    if words := choices(schema):
        return Literal[words]
    named = schema.get("type")
    parts = [each for each in named if isinstance(each, str)] if isinstance(named, list) else [named]
    kinds = [_JSON_TYPES.get(each, Any) if isinstance(each, str) else Any for each in parts]
    if list in kinds and (item := json_type(schema.get("items"))) is not Any:
        kinds[kinds.index(list)] = list[item]  # type: ignore[valid-type]
    if named is None and isinstance(several := schema.get("anyOf"), list):
        kinds = [json_type(each) for each in several]
    if not kinds or Any in kinds:
        return Any
    return Union[tuple(kinds)]  # noqa: UP007 - there may be one, or many


def choices(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values that a JSON schema leaves to choose from; nothing where it leaves more."""
    found = schema.get("enum", [schema["const"]] if "const" in schema else ())
    if not isinstance(found, list | tuple) or not all(
        isinstance(each, str | int | bool | None) for each in found
    ):
        return ()
    return tuple(found)


def same(one: object, other: object) -> bool:
    """Whether two JSON values are equal as JSON has it: 1 is 1.0, and true is not 1.

    Examples
    --------
    >>> same([1, {"a": 2.0}], [1.0, {"a": 2}]), same(True, 1)
    (True, False)
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return one == other
