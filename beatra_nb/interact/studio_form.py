"""What a music studio asks for: its chips and fields, what they become in a request, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beatra_nb.core.errors import APIError, BeatraError, InvalidInput
from beatra_nb.core.music import FAMILIES, PRICES, MusicRequest, price_of
from beatra_nb.display.clean import one_line, visible

if TYPE_CHECKING:
    from beatra_nb.core.base_client import BaseClient
    from beatra_nb.core.reply import ModelInfo

Form = dict[str, Any]

# Words that every service understands, and that the sandbox's composer plays.
CHIPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Style",
        (
            *("pop", "dream pop", "rock", "metal", "folk", "country", "blues", "jazz"),
            *("classical", "ambient", "lo-fi", "hip-hop", "house", "techno", "synthwave", "reggae"),
        ),
    ),
    ("Mood", ("happy", "sad", "calm", "energetic", "dark", "epic", "romantic", "mysterious")),
    (
        "Instruments",
        ("piano", "acoustic guitar", "electric guitar", "strings", "saxophone", "choir", "synth"),
    ),
)
SECTIONS = ("Intro", "Verse", "Chorus", "Bridge", "Outro")
TEXTS = ("prompt", "lyrics", "title")
LONGEST_TEXT = 100_000  # characters of one field; a page that sends more has gone wrong
_TAKES = {
    "prompt": "It takes text.",
    "instrumental": "It takes True, False, or None to leave it open.",
    "suno.custom_mode": "It is on or off.",
}
_NUMBERS = ("one", "two", "three", "four")


@dataclass(frozen=True, slots=True)
class Option:
    """A field for one of a model family's options.

    Attributes
    ----------
    family, name : str
        Where it stands in ``model_options``.
    label, hint : str
        What the page calls it, and what it says below.
    kind : {"number", "whole", "switch"}
        What is filled in.
    """

    family: str
    name: str
    label: str
    kind: str
    hint: str = ""

    @property
    def id(self) -> str:
        """Its name in the form."""
        return f"{self.family}.{self.name}"

    def read(self, given: object) -> Any:  # noqa: ANN401 - whatever the option takes
        """Return what is sent for what was filled in; None where nothing was.

        Raises
        ------
        InvalidInput
            If it cannot be read as what the option takes.
        """
        if self.kind == "switch":
            return given if isinstance(given, bool) else None
        text = given.strip().replace(",", ".") if isinstance(given, str) else ""
        if not text:
            return None
        try:
            return int(text)  # a whole number is sent as one, as whoever writes 2 in Python sends it
        except ValueError:
            pass
        try:
            if self.kind == "number":
                return float(text)
        except ValueError:
            pass
        what = "a whole number" if self.kind == "whole" else "a number"
        raise InvalidInput(f"{self.label} must be {what}, not {text!r:.40}.")


OPTIONS = (
    Option("suno", "style_weight", "Style weight", "number", "0 to 1: how closely the style is kept to"),
    Option("suno", "weirdness_constraint", "Weirdness", "number", "0 to 1: how far it may stray"),
    Option("suno", "custom_mode", "Custom mode", "switch"),
    Option("sandbox", "seconds", "Length in seconds", "number", "2 to 240; sandbox only"),
    Option("sandbox", "seed", "Seed", "whole", "same seed, same music; sandbox only"),
)
BY_ID = {option.id: option for option in OPTIONS}


def family_of(model: str) -> str:
    """Return the family whose options a model takes; empty for ``"auto"`` and where that is not known.

    Examples
    --------
    >>> family_of("suno-5.5"), family_of("auto")
    ('suno', '')
    """
    return next((family for family, start in FAMILIES.items() if model.startswith(start)), "")


def takes_sandbox_options(client: BaseClient) -> bool:
    """Whether a client may be talking to a sandbox, which has options of its own."""
    return client.takes_sandbox_options


def fields_of(model: str, *, sandbox: bool) -> tuple[Option, ...]:
    """Return the options that there are fields for: those of the model's family, and perhaps the sandbox's."""
    wanted = (family_of(model), "sandbox" if sandbox else "")
    return tuple(option for option in OPTIONS if option.family in wanted)


def price_told(model: str) -> str:
    """Return a task's price and what comes of it, in words; empty where that is not known.

    Examples
    --------
    >>> price_told("suno-5.5"), price_told("auto")
    ('80 credits, two takes', '50 or 80 credits, one or two takes')
    """
    price = price_of(model)
    counts = sorted({count for name, (_, count) in PRICES.items() if model in (name, "auto")})
    if not price or not counts:
        return price
    many = " or ".join(_NUMBERS[count - 1] if count <= len(_NUMBERS) else str(count) for count in counts)
    return f"{price}, {many} {'take' if counts == [1] else 'takes'}"


def empty_form() -> Form:
    """Return a form with nothing filled in."""
    return {"prompt": "", "lyrics": "", "title": "", "instrumental": None, "model": "auto", "options": {}}


def filled(form: Form, values: Mapping[str, Any]) -> Form:
    """Return a form with some of its fields filled in anew.

    Raises
    ------
    InvalidInput
        If a field is not known, or takes something else.
    """
    new = {**form, "options": dict(form["options"])}
    for name, value in values.items():
        option = BY_ID.get(name)
        if option is not None:
            fits = value is None or isinstance(value, bool if option.kind == "switch" else str)
        elif name == "instrumental":
            fits = value is None or isinstance(value, bool)
        else:
            fits = name in (*TEXTS, "model") and isinstance(value, str)
        if not fits:
            raise InvalidInput(
                f"{name!s:.60} cannot be {value!r:.60}.", hint=_TAKES.get(name, _TAKES["prompt"])
            )
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            raise InvalidInput(f"{name} is too long: {len(value):,} characters, and {LONGEST_TEXT:,} fit.")
        if option is None:
            new[name] = value
        elif value in (None, ""):
            new["options"].pop(name, None)
        else:
            new["options"][name] = value
    return new


def split_options(given: Mapping[str, Any] | None) -> tuple[Form, dict[str, dict[str, Any]]]:
    """Return what there are fields for in ``model_options``, as it is filled in, and the rest."""
    fields: Form = {}
    rest: dict[str, dict[str, Any]] = {}
    for family, values in (given or {}).items():
        for name, value in values.items():
            option = BY_ID.get(f"{family}.{name}")
            known = option is not None and (isinstance(value, bool) == (option.kind == "switch"))
            if known and isinstance(value, bool | int | float):
                fields[f"{family}.{name}"] = value if isinstance(value, bool) else f"{value!r}"
            else:
                rest.setdefault(family, {})[name] = value
    return fields, rest


def fitting(rest: Mapping[str, Mapping[str, Any]], model: str) -> dict[str, dict[str, Any]]:
    """Return those options, of those without fields, that go with a model."""
    family = family_of(model)
    return {name: dict(values) for name, values in rest.items() if name not in FAMILIES or name == family}


def arguments(form: Form, rest: Mapping[str, Mapping[str, Any]], *, sandbox: bool) -> dict[str, Any]:
    """Return what ``bn.music`` would be called with for what a form says.

    Raises
    ------
    InvalidInput
        If an option cannot be read.
    """
    options = fitting(rest, form["model"])
    for option in fields_of(form["model"], sandbox=sandbox):
        if (value := option.read(form["options"].get(option.id))) is not None:
            options.setdefault(option.family, {})[option.name] = value
    return {
        "prompt": form["prompt"],
        # Where nobody sings, the words stay in the form and are not sent.
        "lyrics": form["lyrics"] if form["lyrics"].strip() and not form["instrumental"] else None,
        "instrumental": form["instrumental"],
        "title": form["title"] if form["title"].strip() else None,
        "model": form["model"],
        "model_options": options or None,
    }


def problems(form: Form, *, sandbox: bool, whole: bool) -> dict[str, str]:
    """Return what is wrong with a form, by its fields, in words; ``whole`` looks for what is missing too."""
    found: dict[str, str] = {}
    for option in fields_of(form["model"], sandbox=sandbox):
        try:
            if (value := option.read(form["options"].get(option.id))) is not None:
                MusicRequest.of(
                    "check", model=form["model"], model_options={option.family: {option.name: value}}
                )
        except InvalidInput as error:
            found[option.id] = told(error)
    if not form["model"].strip():
        found["model"] = "Choose a model, or auto."
    if whole and not form["prompt"].strip() and (form["instrumental"] or not form["lyrics"].strip()):
        found["prompt"] = "Say how it shall sound, in a few words: a style, a mood, an instrument."
    return found


def refused_fields(error: BeatraError) -> dict[str, str]:
    """Return the fields that the service found fault with, and its words for each."""
    if not isinstance(error, APIError):
        return {}
    listed = error.details.get("errors")
    entries = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    named = error.details.get("unsupported_fields")
    found: dict[str, str] = {}
    places = [(error.param, error.message), *((each.get("param"), each.get("message")) for each in entries)]
    places += [(each, error.message) for each in (named if isinstance(named, list) else [])]
    for place, words in places:
        name = str(place or "").strip("/").removeprefix("model_options/").replace("/", ".")
        field = "reference" if name.startswith("reference_audio") else name
        if field in (*TEXTS, "model", "instrumental", "reference", *BY_ID):
            found[field] = visible(words if isinstance(words, str) and words else error.message)[:400]
    return found


def told(error: BeatraError) -> str:
    """Return an error in the words that stand below a field."""
    return visible(" ".join(part for part in (error.message, error.hint) if part))[:600]


def music_models(models: Iterable[ModelInfo] | None) -> list[str]:
    """Return what may be passed as ``model=`` to music, ``"auto"`` first; what is known where nobody can be asked."""
    able = [
        one_line(each.id, 120)
        for each in models or ()
        if each.status != "unavailable" and any("music" in can for can in each.capabilities)
    ]
    return ["auto", *dict.fromkeys(name for name in able or PRICES if name not in ("", "auto"))]
