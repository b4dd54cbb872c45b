"""Whether a JSON value is valid under a JSON schema: the proof-reader of ``instances``.

The keywords of draft 2020-12 but for the dynamic and "unevaluated" ones, which are refused. Formats are not
asserted, as the specification has it by default.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

Schema = dict[str, Any] | bool

REFUSED = frozenset(
    {"$dynamicRef", "$recursiveRef", "unevaluatedProperties", "unevaluatedItems", "dependencies"}
)


class CannotMake(Exception):
    """The schema asks for something that is not supported, or that cannot be."""


def lookup(root: Schema, ref: object) -> Schema:
    """Follow a ``$ref`` inside a schema.

    Raises
    ------
    CannotMake
        When it leads outside or nowhere.
    """
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        raise CannotMake(f"the reference {ref!r:.80} leads outside it")
    found: Any = root
    for raw in ref[1:].split("/")[1:]:
        part = unquote(raw).replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise CannotMake(f"the reference {ref!r:.80} leads nowhere") from None
    if not isinstance(found, dict | bool):
        raise CannotMake(f"the reference {ref!r:.80} does not lead to a schema")
    return found


def same(a: Any, b: Any) -> bool:  # noqa: ANN401
    """JSON equality: 1 is 1.0, and true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    return bool(a == b)


def is_multiple(value: float, step: float) -> bool:
    """Whether a number is a multiple of another, as floating point has it."""
    try:
        quotient = value / step
    except (ZeroDivisionError, OverflowError):
        return False
    return (
        value % step == 0 if isinstance(value, int) and isinstance(step, int) else quotient == int(quotient)
    )


def is_kind(value: Any, kind: str) -> bool:  # noqa: ANN401
    """Whether a value is of a JSON type."""
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return whole and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
    raise CannotMake(f"the type {kind!r:.40} is unknown")


def fits(value: Any, schema: Schema, root: Schema, depth: int = 0) -> bool:  # noqa: ANN401
    """Whether a value is valid under a schema that stands within a root.

    Raises
    ------
    CannotMake
        For a schema that is not supported here.
    """
    if isinstance(schema, bool):
        return schema
    if depth > 200:
        raise CannotMake("its references run in a circle")
    if found := sorted(REFUSED & schema.keys()):
        raise CannotMake(f"{found[0]!r} is not supported")

    def ok(part: Any, under: Schema) -> bool:  # noqa: ANN401
        return fits(part, under, root, depth + 1)

    if "$ref" in schema and not ok(value, lookup(root, schema["$ref"])):
        return False
    kinds = schema.get("type")
    if kinds is not None and not any(
        is_kind(value, k) for k in ([kinds] if isinstance(kinds, str) else kinds)
    ):
        return False
    if "const" in schema and not same(value, schema["const"]):
        return False
    if "enum" in schema and not any(same(value, item) for item in schema["enum"]):
        return False
    if not all(ok(value, part) for part in schema.get("allOf", ())):
        return False
    if "anyOf" in schema and not any(ok(value, part) for part in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(ok(value, part) for part in schema["oneOf"]) != 1:
        return False
    if "not" in schema and ok(value, schema["not"]):
        return False
    if "if" in schema and not ok(value, schema.get("then" if ok(value, schema["if"]) else "else", True)):
        return False
    if isinstance(value, str):
        return _string(value, schema)
    if isinstance(value, dict):
        return _object(value, schema, ok)
    if isinstance(value, list):
        return _array(value, schema, ok)
    return isinstance(value, bool | None) or _number(value, schema)


def _string(value: str, schema: dict[str, Any]) -> bool:
    return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)) and (
        "pattern" not in schema or searched(schema["pattern"], value)
    )


def searched(pattern: object, text: str) -> bool:
    """Whether a pattern is found in a text.

    Raises
    ------
    CannotMake
        When Python cannot read the pattern.
    """
    try:
        return re.search(str(pattern), text) is not None
    except (re.error, RecursionError, OverflowError):
        raise CannotMake(f"the pattern {pattern!r:.60} cannot be read") from None


def _number(value: float, schema: dict[str, Any]) -> bool:
    return (
        value >= schema.get("minimum", value)
        and value <= schema.get("maximum", value)
        and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
        and ("multipleOf" not in schema or is_multiple(value, schema["multipleOf"]))
    )


def _object(value: dict[str, Any], schema: dict[str, Any], ok: Any) -> bool:  # noqa: ANN401
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        return False
    if any(name not in value for name in schema.get("required", ())):
        return False
    properties, patterned = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = schema.get("additionalProperties", True)
    for name, part in value.items():
        rules = [properties[name]] if name in properties else []
        rules += [rule for pattern, rule in patterned.items() if searched(pattern, name)]
        if not all(ok(part, rule) for rule in rules or [extra]):
            return False
        if not ok(name, schema.get("propertyNames", True)):
            return False
    for name, needed in schema.get("dependentRequired", {}).items():
        if name in value and any(other not in value for other in needed):
            return False
    return all(ok(value, rule) for name, rule in schema.get("dependentSchemas", {}).items() if name in value)


def _array(value: list[Any], schema: dict[str, Any], ok: Any) -> bool:  # noqa: ANN401
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return False
    first, rest = schema.get("prefixItems", []), schema.get("items", True)
    if isinstance(rest, list):
        raise CannotMake("'items' as a list is of an older draft; write 'prefixItems'")
    if not all(ok(item, rule) for item, rule in zip(value, first, strict=False)):
        return False
    if not all(ok(item, rest) for item in value[len(first) :]):
        return False
    if schema.get("uniqueItems") and any(same(a, b) for at, a in enumerate(value) for b in value[:at]):
        return False
    if "contains" in schema:
        found = sum(ok(item, schema["contains"]) for item in value)
        return bool(schema.get("minContains", 1) <= found <= schema.get("maxContains", found))
    return True
