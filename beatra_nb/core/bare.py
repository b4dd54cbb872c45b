"""What a bare answer says: the number, the word or the text itself, without the JSON that was asked for.

Many models answer ``42`` or ``Positive.`` where ``{"value": …}`` was wanted. Where that can mean one thing only, it
is taken: the answer is paid for, and another one would cost as much and say the same. Where an object or a list could
be meant, or the answer may be a half, nothing is guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from beatra_nb.core.kinds import choices

VALUE = "value"  # the field that holds what is no object itself
FREE, FORMATTED = "string", "formatted"  # any text; a text of a form, such as a date

_QUOTES = "\"'`*“”‘’„"
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_TRUTHS = {"true": "true", "yes": "true", "false": "false", "no": "false"}
_NOTHING = ("null", "none")
_FORMS = ("format", "pattern", "contentMediaType")
_SCALARS = {"string", "integer", "number", "boolean", "null"}


@dataclass(frozen=True, slots=True)
class Bare:
    """What may stand alone in an answer.

    Attributes
    ----------
    words : tuple of str
        The words to choose from.
    kinds : frozenset of str
        JSON's types of everything else: ``string`` where any text is right, ``formatted`` where some are.
    """

    words: tuple[str, ...]
    kinds: frozenset[str]

    @classmethod
    def of(cls, schema: object, definitions: Mapping[str, Any]) -> Bare | None:
        """Look at a JSON schema; None where the answer may be an object or a list, or anything at all.

        Examples
        --------
        >>> Bare.of({"type": "string"}, {})
        Bare(words=(), kinds=frozenset({'string'}))
        >>> Bare.of({"type": ["string", "array"]}, {})
        """
        words: dict[str, None] = {}
        kinds: set[str] = set()
        for each in _ends(schema, definitions, frozenset()):
            if each is None:
                return None
            if found := choices(each):
                words |= dict.fromkeys(word for word in found if isinstance(word, str))
                kinds |= {_kind(word) for word in found if not isinstance(word, str)}
                continue
            named = each.get("type")
            types: list[Any] = named if isinstance(named, list) else [named]
            scalar = all(isinstance(kind, str) and kind in _SCALARS for kind in types)
            if not scalar or "enum" in each or "const" in each:
                return None
            formed = any(name in each for name in _FORMS)
            kinds |= {FORMATTED if kind == FREE and formed else kind for kind in types}
        return cls(tuple(words), frozenset(kinds))

    @property
    def free(self) -> bool:
        """Whether any text is right."""
        return FREE in self.kinds

    def read(self, text: str) -> Iterator[str]:
        """Yield what a text that is no JSON may say, as JSON, the likeliest first.

        Examples
        --------
        >>> list(Bare.of({"enum": ["good", "bad"]}, {}).read(" Good. "))
        ['"good"']
        """
        word = text.strip()
        if word in self.words:
            yield json.dumps(word)
            return
        tidied = _tidied(word)
        folded = tidied.casefold()
        if "null" in self.kinds and folded in _NOTHING:
            yield "null"
            return
        if self.free:
            # Its own words, to the letter; but not what was to be JSON, and is cut off or spoilt.
            if word and not (word[0] == "{" or f'"{VALUE}"' in word or _is_half(word)):
                yield json.dumps(text)
            return
        if near := [each for each in self.words if each == tidied] or [
            each for each in self.words if each.casefold() == folded
        ]:
            if len(near) == 1:
                yield json.dumps(near[0])
            return
        if self.kinds & {"integer", "number"} and _NUMBER.fullmatch(tidied):
            yield tidied
        if "boolean" in self.kinds and folded in _TRUTHS:
            yield _TRUTHS[folded]
        if FORMATTED in self.kinds:
            yield json.dumps(word)


def meant(text: str, inside: str, bare: Bare | None, *, whole: bool) -> Iterator[str]:
    """Yield what an answer may say that is not the object asked for: the value's JSON, the likeliest first.

    Parameters
    ----------
    text : str
        The answer, to the letter.
    inside : str
        The same without a fence around it.
    bare : Bare or None
        What may stand alone, beside a value in JSON.
    whole : bool
        Whether it was not cut off: half a number is a number, too.
    """
    from pydantic_core import from_json

    try:
        found = from_json(inside)
    except ValueError:
        if bare is not None and (whole or inside.strip() in bare.words):
            if bare.free and inside.lstrip()[:1] in ("{", "["):
                text = inside  # a fence around what was to be JSON
            yield from bare.read(text if bare.free else inside)
        return
    boxed = isinstance(found, dict) and found.keys() == {VALUE}
    if not boxed and (whole or inside.rstrip()[-1:] in ('"', "]", "}")):
        yield inside
    said = found[VALUE] if boxed else found
    if bare is None:
        return
    if bare.free:
        if whole and isinstance(found, int | float):
            yield json.dumps(inside.strip())
    elif isinstance(said, str):
        yield from bare.read(said)


def _ends(
    schema: object, root: Mapping[str, Any], followed: frozenset[str]
) -> Iterator[Mapping[str, Any] | None]:
    """Yield the schemas that an answer may follow; None for one that is not known."""
    if not isinstance(schema, Mapping):
        yield None
        return
    if isinstance(ref := schema.get("$ref"), str):
        name = ref.removeprefix("#/$defs/")
        yield from _ends(root.get(name) if name not in followed else None, root, followed | {name})
        return
    several = schema.get("anyOf", schema.get("oneOf"))
    if several is None:
        yield None if "allOf" in schema else schema
        return
    for each in several if isinstance(several, list) else [None]:
        yield from _ends(each, root, followed)


def _tidied(word: str) -> str:
    """Return a word without quotes around it and the end of a sentence behind it; dots that trail off stay."""
    word = word.strip(_QUOTES)
    if word[-1:] in (".", "!") and word[-2:-1] not in (".", "!"):
        word = word[:-1].rstrip(_QUOTES)
    return word.strip()


def _kind(value: object) -> str:
    return "null" if value is None else "boolean" if isinstance(value, bool) else "integer"


def _is_half(text: str) -> bool:
    """Whether a text begins as a list or a quoted text of JSON, and breaks off."""
    from pydantic_core import from_json

    try:
        if text[0] == '"':
            from_json(text + '"')
        else:
            from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return False
    return text[0] in '["'
