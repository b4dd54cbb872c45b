"""A valid instance of a JSON schema, made by rule: what the scripted engine answers to ``response_format``.

Where the prompt holds fitting words or numbers they are used, so that a tutorial's extraction looks right.
What was made is proof-read (``fits``): a schema outside the supported part is refused rather than answered
with something that does not fit.
"""

from __future__ import annotations

import math
import random
import re
import string
from collections.abc import Sequence
from typing import Any

from beatra_nb.sandbox.engines import patterns
from beatra_nb.sandbox.engines.fits import CannotMake, Schema, fits, is_multiple, lookup, same, searched

__all__ = ["CannotMake", "make"]

TRIES = 30
MAX_DEPTH = 60
DEEP = 5  # from here on only what is required: recursive schemas must come to an end
WIDE = 400  # values after which only what is required is made
MAX_VALUES = 20_000

_FORMATS = {
    "email": "ada@example.com",
    "date": "2026-01-31",
    "time": "12:30:00Z",
    "date-time": "2026-01-31T12:30:00Z",
    "duration": "P1DT2H",
    "uri": "https://example.com/page",
    "url": "https://example.com/page",
    "uri-reference": "/page",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "12345678-1234-4234-8234-123456789abc",
    "byte": "ZGF0YQ==",
}
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbour", "iris", "juniper")
# Capitalised only because they begin a sentence; never anybody's name.
_COMMON = (
    "a an and are as at be by can describe do extract find for from get give he her his how i if in is it its make "
    "me my of on or please read return she tell that the their there these they this to was we what when where "
    "which who with write you your"
)
_COMMON_WORDS = frozenset(_COMMON.split())
_PROPER = re.compile(
    r"name|city|town|place|country|person|company|author|title|product|capital|who|where", re.I
)
_BY_KEYWORD = (
    ("object", ("properties", "required", "additionalProperties", "minProperties", "patternProperties")),
    ("array", ("items", "prefixItems", "minItems", "contains", "uniqueItems")),
    ("string", ("minLength", "maxLength", "pattern", "format")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)


def make(schema: Schema, *, prompt: str, chance: random.Random) -> Any:  # noqa: ANN401
    """Return a JSON value that is valid under a schema.

    Raises
    ------
    CannotMake
        When no such value can be made here.
    """
    trouble = CannotMake("no value that fits was found")
    try:
        for attempt in range(TRIES):
            try:
                made = _Maker(schema, prompt, chance, bare=attempt % 3 == 2).value(schema, "", 0)
                if fits(made, schema, schema):
                    return made
            except CannotMake as problem:
                trouble = problem
    except (TypeError, ValueError, AttributeError, LookupError, OverflowError, RecursionError):
        raise CannotMake("it is not a well-formed schema") from None
    raise trouble


class _Maker:
    """One attempt. A ``bare`` one leaves out everything that is optional."""

    def __init__(self, root: Schema, prompt: str, chance: random.Random, *, bare: bool) -> None:
        self.root, self.prompt, self.chance, self.bare = root, prompt.casefold(), chance, bare
        self.numbers = [float(n) for n in re.findall(r"(?<![\w.])-?\d{1,12}(?:\.\d{1,6})?(?!\w)", prompt)]
        self.names = _proper_names(prompt)
        self.made = 0
        self.variety = 0  # above 0 while an item must differ from its neighbours

    def value(self, schema: Schema, name: str, depth: int) -> Any:  # noqa: ANN401
        self.made += 1
        if depth > MAX_DEPTH or self.made > MAX_VALUES:
            raise CannotMake("it is nested too deeply, or without end")
        if schema is False:
            raise CannotMake("it allows no value")
        schema = self.resolved({} if schema is True else schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.from_enum(schema)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self.alternative(schema, keyword, name, depth)
        kinds = schema.get("type") or _implied(schema)
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        if len(kinds) > 1 and "null" in kinds:
            kinds = ["null"] if self.short_of_room(depth) else [kind for kind in kinds if kind != "null"]
        return self.of_kind(self.chance.choice(kinds), schema, name, depth)

    def of_kind(self, kind: str, schema: dict[str, Any], name: str, depth: int) -> Any:  # noqa: ANN401
        match kind:
            case "object":
                return self.object(schema, depth)
            case "array":
                return self.array(schema, name, depth)
            case "string":
                return self.string(schema, name)
            case "integer" | "number":
                return self.number(schema, whole=kind == "integer")
            case "boolean":
                return self.chance.random() < 0.5
            case "null":
                return None
        raise CannotMake(f"the type {kind!r:.40} is unknown")

    def short_of_room(self, depth: int) -> bool:
        return self.bare or depth > DEEP or self.made > WIDE

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Follow ``$ref`` and merge ``allOf`` until neither is left."""
        for _ in range(MAX_DEPTH):
            if "$ref" in schema:
                target = lookup(self.root, schema["$ref"])
                schema = _merged({key: part for key, part in schema.items() if key != "$ref"}, target)
            elif "allOf" in schema:
                rest = {key: part for key, part in schema.items() if key != "allOf"}
                for part in schema["allOf"]:
                    rest = _merged(rest, self.resolved(part) if isinstance(part, dict) else part)
                schema = rest
            else:
                return schema
        raise CannotMake("its references run in a circle")

    def from_enum(self, schema: dict[str, Any]) -> Any:  # noqa: ANN401
        plain = {key: part for key, part in schema.items() if key not in ("enum", "anyOf", "oneOf")}
        allowed = [item for item in schema["enum"] if fits(item, plain, self.root)]
        if not allowed:
            raise CannotMake("none of an enum's values fits")
        told = [item for item in allowed if isinstance(item, str) and item and item.casefold() in self.prompt]
        return told[0] if told and not self.variety else self.chance.choice(allowed)

    def alternative(self, schema: dict[str, Any], keyword: str, name: str, depth: int) -> Any:  # noqa: ANN401
        rest = {key: part for key, part in schema.items() if key != keyword}
        options = list(schema[keyword])
        self.chance.shuffle(options)
        # Something rather than null while there is room; the simplest first when there is none.
        simplicity = {"null": 0, "boolean": 1, "integer": 1, "number": 1, "string": 1, "array": 2}
        short = self.short_of_room(depth)

        def rank(option: Schema) -> int:
            kind = option.get("type") if isinstance(option, dict) else None
            simple = simplicity.get(kind, 3) if isinstance(kind, str) else 3
            return simple if short else int(kind == "null")

        trouble = CannotMake(f"{keyword} allows no value")
        for option in sorted(options, key=rank):
            try:
                return self.value(_merged(rest, option), name, depth + 1)
            except CannotMake as problem:
                trouble = problem
        raise trouble

    def object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties: dict[str, Schema] = schema.get("properties", {})
        required = list(schema.get("required", ()))
        most = schema.get("maxProperties", math.inf)
        least = schema.get("minProperties", 0)
        patterned: dict[str, Schema] = schema.get("patternProperties", {})
        extra: Schema = schema.get("additionalProperties", True)
        found: dict[str, Any] = {}

        def rule(name: str) -> Schema:
            rules = [properties[name]] if name in properties else []
            rules += [part for pattern, part in patterned.items() if searched(pattern, name)]
            return rules[0] if len(rules) == 1 else {"allOf": rules} if rules else extra

        room = most - len(required)
        for name in [*properties, *(name for name in required if name not in properties)]:
            if name in required:
                found[name] = self.value(rule(name), name, depth + 1)
            elif room > 0 and not self.short_of_room(depth):
                try:
                    found[name] = self.value(rule(name), name, depth + 1)
                    room -= 1
                except CannotMake:
                    continue  # an optional part that cannot be is left out
        if extra not in (True, False) and not properties and not self.short_of_room(depth):
            least = max(least, min(2, most))  # a mapping: show an entry or two
        for name in [name for name in properties if name not in found][: max(0, least - len(found))]:
            found[name] = self.value(rule(name), name, depth + 1)
        for _ in range(TRIES * 2 + least):
            if len(found) >= least:
                break
            name = self.new_name(schema.get("propertyNames", True), patterned, allowed=extra is not False)
            if name not in found:
                found[name] = self.value(rule(name), name, depth + 1)
        return found

    def new_name(self, rule: Schema, patterned: dict[str, Schema], *, allowed: bool) -> str:
        if not allowed:
            if not patterned:
                raise CannotMake("an object may not have as many properties as it must")
            return patterns.make(self.chance.choice(list(patterned)), self.chance)
        if rule is True:
            return self.word() + str(self.chance.randint(0, 999)) * (self.chance.random() < 0.5)
        return str(self.value({"type": "string", **rule} if isinstance(rule, dict) else rule, "", 0))

    def array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        first = list(schema.get("prefixItems", ()))
        rest: Schema = schema.get("items", True)
        if isinstance(rest, list):
            raise CannotMake("'items' as a list is of an older draft; write 'prefixItems'")
        least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
        contains = schema.get("contains")
        if contains is not None:
            least = max(least, schema.get("minContains", 1))
        wanted = max(least, 0 if self.short_of_room(depth) else min(most, max(2, len(first)), least + 2))
        if rest is False:
            wanted = min(wanted, len(first))
        if wanted > MAX_VALUES:
            raise CannotMake("an array is too long")
        found: list[Any] = []
        holds = 0
        for at in range(int(wanted)):
            rule = first[at] if at < len(first) else rest
            if contains is not None and holds < schema.get("minContains", 1):
                rule, holds = {"allOf": [rule, contains]}, holds + 1
            item = self.item(rule, name, depth, found if schema.get("uniqueItems") else [])
            if item is _NOTHING:
                break
            found.append(item)
        return found

    def item(self, rule: Schema, name: str, depth: int, others: list[Any]) -> Any:  # noqa: ANN401
        before = self.variety
        try:
            for _ in range(TRIES):
                item = self.value(rule, name, depth + 1)
                if not any(same(item, other) for other in others):
                    return item
                self.variety += 1
        finally:
            self.variety = before
        return _NOTHING

    def word(self) -> str:
        return self.chance.choice(_WORDS) + (str(self.chance.randint(0, 9999)) if self.variety else "")

    def string(self, schema: dict[str, Any], name: str) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
        if least > 100_000:
            raise CannotMake("a string is too long")
        if "pattern" in schema:
            for attempt in range(TRIES):
                text = patterns.make(
                    str(schema["pattern"]), self.chance, at_least=least if attempt % 2 else 0
                )
                if fits(text, {**schema, "type": "string"}, self.root):
                    return text
            raise CannotMake(f"nothing was found for the pattern {schema['pattern']!r:.60}")
        text = _FORMATS.get(str(schema.get("format")), "")
        if text and self.variety:
            text = str(self.chance.randint(0, 9)) + text[1:]
        if not text and _PROPER.search(name) and self.names:
            text = self.names.pop(0)
        if not text:
            text = (
                self.word()
                if most >= 12
                else "".join(self.chance.choices(string.ascii_lowercase, k=int(min(most, 5))))
            )
        while len(text) < least:
            text += " " + self.word()
        return text if len(text) <= most else text[: int(most)]

    def number(self, schema: dict[str, Any], *, whole: bool) -> float:
        low = schema.get("minimum", -math.inf)
        high = schema.get("maximum", math.inf)
        above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
        step = schema.get("multipleOf")
        rule = {**schema, "type": "integer" if whole else "number"}
        for told in self.numbers:
            value: float = int(told) if told.is_integer() else told
            if not self.variety and fits(value, rule, self.root):
                self.numbers.remove(told)
                return value
        low, high = max(low, above), min(high, below)
        if not math.isfinite(low):
            low = min(0, high - 100) if math.isfinite(high) else 0
        if not math.isfinite(high):
            high = max(100, low + 100)
        candidates = (
            _multiples(low, high, step, self.chance) if step else self._between(low, high, whole=whole)
        )
        for value in candidates:
            if fits(value, rule, self.root):
                return value
        raise CannotMake("no number fits its bounds")

    def _between(self, low: float, high: float, *, whole: bool) -> Sequence[float]:
        if whole:
            first, last = math.ceil(low), math.floor(high)
            if first > last:
                raise CannotMake("no whole number fits its bounds")
            return [self.chance.randint(first, last) for _ in range(TRIES)] + [
                first,
                first + 1,
                last,
                last - 1,
            ]
        tries = [low + (high - low) * self.chance.random() for _ in range(TRIES)]
        rounded = [round(value, 2) for value in tries]
        return [*rounded, *tries, (low + high) / 2, math.nextafter(low, high), low, high]


_NOTHING = object()


def _proper_names(prompt: str) -> list[str]:
    """The capitalised words of a text, neighbours together, without those that only begin a sentence."""
    found = []
    for run in re.findall(r"(?<!\w)[^\Wa-z\d_][\w'’-]*(?: [^\Wa-z\d_][\w'’-]*)*", prompt):
        words = run.split(" ")
        while words and words[0].casefold() in _COMMON_WORDS:
            words.pop(0)
        if words and words[0][0].isupper():
            found.append(" ".join(words))
    return found


def _multiples(low: float, high: float, step: float, chance: random.Random) -> list[float]:
    first, last = math.ceil(low / step), math.floor(high / step)
    if first > last:
        raise CannotMake("no multiple fits its bounds")
    factors = [chance.randint(first, last) for _ in range(TRIES * 4)] + [first, last]
    return [value for factor in factors if is_multiple(value := factor * step, step)]


def _implied(schema: dict[str, Any]) -> str:
    return next(
        (kind for kind, keywords in _BY_KEYWORD if any(word in schema for word in keywords)), "string"
    )


def _merged(a: dict[str, Any], b: Schema) -> dict[str, Any]:
    """Two schemas that both hold, as one; what cannot be merged keeps the second's word, and is proof-read."""
    if b is True:
        return a
    if b is False:
        raise CannotMake("it allows no value")
    both = {**a, **b}
    for key in a.keys() & b.keys():
        x, y = a[key], b[key]
        if key == "properties":
            both[key] = {**x, **{n: {"allOf": [x[n], part]} if n in x else part for n, part in y.items()}}
        elif key == "required":
            both[key] = [*x, *(name for name in y if name not in x)]
        elif key == "type":
            both[key] = _common_kinds(x, y)
        elif key == "enum":
            both[key] = [item for item in x if any(same(item, other) for other in y)]
        elif key in ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"):
            both[key] = max(x, y)
        elif key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"):
            both[key] = min(x, y)
        elif key in ("items", "additionalProperties", "propertyNames", "contains"):
            both[key] = False if False in (x, y) else {"allOf": [x, y]}
        elif key == "allOf":
            both[key] = [*x, *y]
        elif key in ("anyOf", "oneOf") and x != y:
            both[key] = y
            both["allOf"] = [*both.get("allOf", ()), {key: x}]
    return both


def _common_kinds(x: str | list[str], y: str | list[str]) -> list[str]:
    first, second = ([kinds] if isinstance(kinds, str) else kinds for kinds in (x, y))
    common = [kind for kind in first if kind in second]
    if "integer" not in common and ("integer" in first) != ("integer" in second):
        common += ["integer"] if "number" in first or "number" in second else []
    if not common:
        raise CannotMake("it asks for two types at once")
    return common
