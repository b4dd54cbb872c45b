"""The lanes of a comparison: what each sends beside the one prompt, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.request import ChatRequest
from beatra_nb.display.clean import one_line
from beatra_nb.display.pieces import figure

MOST = 8  # lanes side by side: more cannot be read, and each is paid for
_OURS = ("prompt", "idempotency_key", "messages", "stream")
_HINT = (
    'variants={"cold": {"temperature": 0}, "warm": {"temperature": 1.2}} names two lanes and their settings.'
)


@dataclass(frozen=True, slots=True)
class Lane:
    """One side of a comparison.

    Attributes
    ----------
    name : str
        What it is called; empty to call it by its model.
    model : str
        The model that is asked.
    temperature : float or None
        From 0 to 2; None for the service's own.
    options : dict
        Everything else that is sent for this lane alone, ``system`` among them.
    """

    name: str = ""
    model: str = "auto"
    temperature: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InvalidInput(f"A lane's label must be text, not {type(self.name).__name__}.")
        object.__setattr__(self, "name", one_line(self.name, 60))
        for name in _OURS:
            if name in self.options:
                raise InvalidInput(
                    f"{name!r} cannot be set for a lane.",
                    hint="One prompt goes to all lanes, and each call has a key of its own.",
                )
        self.request("a prompt", None, {})

    def request(self, prompt: str, system: str | None, shared: Mapping[str, Any]) -> ChatRequest:
        """Return the call of this lane; what it says itself goes before what is shared."""
        keywords = {"system": system, **shared, "model": self.model, **self.options}
        if self.temperature is not None:
            keywords["temperature"] = self.temperature
        return ChatRequest.of(prompt, **keywords)

    def having(self, **changes: Any) -> Lane:  # noqa: ANN401
        """Return the lane with other settings."""
        return replace(self, **changes)

    @property
    def extra(self) -> str:
        """The further settings in words."""
        return one_line(", ".join(f"{name} {_word(value)}" for name, value in self.options.items()), 200)


def lanes_of(models: object, variants: object, model: str = "auto") -> list[Lane]:
    """Make the lanes from what the user passed; ``model`` is asked by those that name none.

    Raises
    ------
    InvalidInput
        If a lane could not be sent; the message names it.
    """
    if models is not None and variants is not None:
        raise InvalidInput(
            "Pass models= or variants=, not both.", hint='A variant names its own model: {"model": "auto"}.'
        )
    if models is not None:
        if isinstance(models, str) or not isinstance(models, Sequence):
            raise InvalidInput(
                f"models must be a list of models' ids, not {type(models).__name__}.",
                hint='models=["auto", "another-model"]; bn.models() lists them.',
            )
        made = [Lane(model=each) for each in models]
    elif variants is None:
        made = [Lane(model=model, temperature=heat) for heat in (0, 1)]
    elif isinstance(variants, Mapping):
        made = [_lane(each, model, name) for name, each in variants.items()]
    elif isinstance(variants, Sequence) and not isinstance(variants, str | bytes):
        made = [_lane(each, model) for each in variants]
    else:
        raise InvalidInput(f"variants must be a dict or a list, not {type(variants).__name__}.", hint=_HINT)
    if not 1 <= len(made) <= MOST:
        count = "no lane" if not made else f"{len(made)} lanes"
        raise InvalidInput(f"A comparison has 1 to {MOST} lanes, and this would have {count}.", hint=_HINT)
    return made


def _lane(settings: object, model: str, name: Any = None) -> Lane:  # noqa: ANN401
    if not isinstance(settings, Mapping) or not all(isinstance(key, str) for key in settings):
        kind = type(settings).__name__
        raise InvalidInput(f"A variant must be a dict of settings, not {kind}.", hint=_HINT)
    options = dict(settings)
    label = options.pop("label", "") if name is None else name
    model, temperature = options.pop("model", model), options.pop("temperature", None)
    try:
        return Lane(label, model, temperature, options)
    except InvalidInput as error:
        where = f"The variant {label!r:.60}" if label else "A variant"
        raise InvalidInput(f"{where} cannot be sent: {error.message}", hint=error.hint) from None


def labels_of(lanes: Sequence[Lane]) -> list[str]:
    """Return what the lanes are called, no two alike.

    Examples
    --------
    >>> labels_of([Lane(temperature=0), Lane(temperature=1), Lane("warm", temperature=1), Lane(), Lane()])
    ['auto, temperature 0', 'auto, temperature 1', 'warm', 'auto', 'auto (2)']
    """
    plain = [lane.name or one_line(lane.model, 60) for lane in lanes]
    names = [
        f"{name}, temperature {figure(lane.temperature)}"
        if not lane.name and lane.temperature is not None and plain.count(name) > 1
        else name
        for lane, name in zip(lanes, plain, strict=True)
    ]
    taken: set[str] = set()
    for at, name in enumerate(names):
        number = 1
        while names[at] in taken:
            number += 1
            names[at] = f"{name} ({number})"
        taken.add(names[at])
    return names


def _word(value: object) -> str:
    if isinstance(value, str):
        return f"“{one_line(value, 80)}”"
    return figure(value) if isinstance(value, int | float) else one_line(repr(value), 80)
