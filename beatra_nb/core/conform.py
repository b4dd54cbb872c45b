"""What in a JSON value does not fit a JSON schema: the plain rules alone, so that nothing good is ever turned away.

Types, choices, fields, items, sizes and bounds are checked. Patterns and formats are not, because dialects differ;
what is not known here, or is odd in the schema itself, asks for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, TypeGuard

from beatra_nb.core.kinds import same

Place: TypeAlias = tuple[str | int, ...]

DEEPEST = 100  # values within values that are looked into

_KINDS: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and value % 1 == 0,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_BOUNDS: tuple[tuple[str, str, Callable[[Any, Any], bool]], ...] = (
    ("minimum", "at least", lambda value, bound: value >= bound),
    ("maximum", "at most", lambda value, bound: value <= bound),
    ("exclusiveMinimum", "above", lambda value, bound: value > bound),
    ("exclusiveMaximum", "below", lambda value, bound: value < bound),
)
_SIZES: tuple[tuple[type, str, str, str], ...] = (
    (str, "minLength", "maxLength", "characters"),
    (list, "minItems", "maxItems", "items"),
    (dict, "minProperties", "maxProperties", "fields"),
)


def unfit(value: object, schema: object, root: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what does not fit, in the form of pydantic's errors; an empty list where all does.

    Parameters
    ----------
    value : object
        The value, as JSON has it.
    schema : object
        The schema it shall fit.
    root : mapping
        The schema that references are looked up in.

    Examples
    --------
    >>> unfit({"a": "x"}, {"properties": {"a": {"type": "integer"}}}, {})
    [{'type': 'integer_type', 'loc': ('a',), 'msg': 'Input should be an integer', 'input': 'x'}]
    """
    return list(_Check(root).errors(value, schema, ()))


class _Check:
    """One look at one value."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root

    def errors(
        self,
        value: Any,  # noqa: ANN401
        schema: object,
        where: Place,
        followed: frozenset[str] = frozenset(),
    ) -> Iterator[dict[str, Any]]:
        """Yield what does not fit; ``followed`` are the references that led here, for this very value."""
        if schema is False:
            yield _error("unexpected", where, "Nothing is expected here", value)
        if not isinstance(schema, Mapping) or len(where) > DEEPEST:
            return
        ref = schema.get("$ref")
        if isinstance(ref, str) and ref not in followed:  # one that comes again runs in a circle
            followed |= {ref}
            yield from self.errors(value, _lookup(ref, self.root), where, followed)
        kinds = _list(schema.get("type"))
        if kinds and all(kind in _KINDS for kind in kinds) and not any(_KINDS[kind](value) for kind in kinds):
            told = " or ".join(f"{'an' if kind[0] in 'aio' else 'a'} {kind}" for kind in kinds)
            yield _error(
                f"{kinds[0]}_type", where, f"Input should be {told.replace('a null', 'null')}", value
            )
            return  # all else would only say the same in other words
        choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if isinstance(choices, list) and not any(same(value, each) for each in choices):
            told = ", ".join(map(repr, choices[:20]))
            yield _error("literal_error", where, f"Input should be one of {told}", value)
        yield from _measured(value, schema, where)
        for each in _list(schema.get("allOf")):
            yield from self.errors(value, each, where, followed)
        for name in ("anyOf", "oneOf"):
            if isinstance(several := schema.get(name), list) and several:
                yield from self.either(value, several, where, followed)
        if isinstance(value, dict):
            yield from self.fields(value, schema, where)
        if isinstance(value, list):
            first = schema.get("prefixItems")
            rules = first if isinstance(first, list) else []
            for at, item in enumerate(value):
                yield from self.errors(
                    item, rules[at] if at < len(rules) else schema.get("items"), (*where, at)
                )

    def fields(
        self, value: dict[str, Any], schema: Mapping[str, Any], where: Place
    ) -> Iterator[dict[str, Any]]:
        """Yield what is wrong with an object's fields."""
        for name in _list(schema.get("required")):
            if isinstance(name, str) and name not in value:
                yield _error("missing", (*where, name), "Field required", value)
        known = schema.get("properties")
        known = known if isinstance(known, Mapping) else {}
        other = None if schema.get("patternProperties") else schema.get("additionalProperties")
        for name, part in value.items():
            yield from self.errors(part, known.get(name, other), (*where, name))

    def either(
        self, value: object, several: list[Any], where: Place, followed: frozenset[str]
    ) -> Iterator[dict[str, Any]]:
        """Yield what is wrong by the rule that comes nearest, where none fits."""
        nearest: list[dict[str, Any]] | None = None
        for rule in several:
            found = list(self.errors(value, rule, where, followed))
            if not found:
                return
            # A rule that fails further inside has more in common with the value.
            if nearest is None or len(found[0]["loc"]) > len(nearest[0]["loc"]):
                nearest = found
        yield from nearest or ()


def _measured(
    value: Any,  # noqa: ANN401
    schema: Mapping[str, Any],
    where: Place,
) -> Iterator[dict[str, Any]]:
    if _is_number(value):
        for name, told, holds in _BOUNDS:
            if _is_number(bound := schema.get(name)) and not holds(value, bound):
                yield _error(name, where, f"Input should be {told} {bound}", value)
    for kind, least, most, noun in _SIZES:
        if not isinstance(value, kind):
            continue
        size = len(value)  # type: ignore[arg-type]
        if _is_number(bound := schema.get(least)) and size < bound:
            yield _error("too_short", where, f"Input should have at least {bound} {noun}", value)
        if _is_number(bound := schema.get(most)) and size > bound:
            yield _error("too_long", where, f"Input should have at most {bound} {noun}", value)


def _lookup(ref: str, root: Mapping[str, Any]) -> object:
    """Follow a reference within the schema; None where it leads elsewhere."""
    if not (ref == "#" or ref.startswith("#/")):
        return None
    found: Any = root
    for raw in ref[1:].split("/")[1:]:
        name = raw.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


def _is_number(value: object) -> TypeGuard[float]:
    return _KINDS["number"](value)


def _error(kind: str, where: Place, told: str, value: object) -> dict[str, Any]:
    return {"type": kind, "loc": where, "msg": told, "input": value}
