"""The form of a music studio: its fields as properties, and the reference, from Python or from a page."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from beatra_nb.core.errors import InvalidInput
from beatra_nb.core.music import PRICES, MusicRequest, price_of
from beatra_nb.interact import studio_form
from beatra_nb.interact.panel import Panel
from beatra_nb.interact.reference import Arrival, Reference

if TYPE_CHECKING:
    from beatra_nb.core.client import Client
    from beatra_nb.core.music import Reference as Given


class StudioFields(Panel):
    """What is filled in, by hand or from Python; whoever does it, it goes one way.

    Parameters
    ----------
    form : dict
        What it begins with (``studio_form.empty_form``).
    rest : dict
        Options of models that there are no fields for.
    tree : dict
        What else the document begins with.
    client : Client, optional
        Who sends; else the default client.
    """

    def __init__(
        self,
        form: studio_form.Form,
        rest: dict[str, dict[str, Any]],
        tree: dict[str, Any],
        *,
        client: Client | None,
    ) -> None:
        self._rest = rest
        self._reference: Reference | None = None
        self._arrival: Arrival | None = None
        fields = {
            "form": form,
            "fields": [],
            "models": ["auto", *PRICES],
            "chips": [[label, list(words)] for label, words in studio_form.CHIPS],
            "sections": list(studio_form.SECTIONS),
            "price": "",
            "told": "",
            "problems": {},
            "rest": "",
            "reference": None,
        }
        super().__init__({**fields, **tree}, client=client)

    # ── the form ──

    def _fill(self, values: Mapping[str, Any]) -> None:
        """Fill in some fields; whoever does it, it goes this way."""
        with self._lock:
            form = studio_form.filled(self._doc["form"], values)
            for name, value in form.items():
                self._doc.set("form", name, value=value)
            self._follow_form(*values)

    def _follow_form(self, *changed: str) -> None:
        """Have everything follow that depends on the form: fields, price, what is wrong."""
        form, sandbox = self._doc["form"], self._sandbox_options
        fields = studio_form.fields_of(form["model"], sandbox=sandbox)
        names = ("id", "label", "kind", "hint")
        self._doc.set("fields", value=[{name: getattr(each, name) for name in names} for each in fields])
        self._doc.set("price", value=price_of(form["model"]))
        self._doc.set("told", value=studio_form.price_told(form["model"]))
        self._doc.set("rest", value=", ".join(f"{family}.{name}" for family, name in self._unseen()))
        # What the service found fault with stays said until that field is changed.
        kept = {name: words for name, words in self._doc["problems"].items() if name not in changed}
        own = {field.id for field in fields}
        kept = {name: words for name, words in kept.items() if name not in own and "." not in name}
        self._doc.set("problems", value={**kept, **studio_form.problems(form, sandbox=sandbox, whole=False)})
        if not self._heavy():
            self._settle()

    def _unseen(self) -> list[tuple[str, str]]:
        """Return the options that are sent without a field to show them."""
        sent = studio_form.fitting(self._rest, self._doc["form"]["model"])
        return [(family, name) for family, values in sent.items() for name in values]

    @property
    def _sandbox_options(self) -> bool:
        return studio_form.takes_sandbox_options(self._base)

    def _heavy(self) -> bool:
        """Whether the still is so large that it had better not follow each key press."""
        return False

    def _given(self) -> dict[str, Any]:
        """Return what ``bn.music`` would be called with."""
        return studio_form.arguments(self._doc["form"], self._rest, sandbox=self._sandbox_options)

    @property
    def prompt(self) -> str:
        """How it shall sound."""
        return str(self._doc["form"]["prompt"])

    @prompt.setter
    def prompt(self, text: str) -> None:
        self._fill({"prompt": text})

    @property
    def lyrics(self) -> str:
        """The words, also while nobody shall sing them."""
        return str(self._doc["form"]["lyrics"])

    @lyrics.setter
    def lyrics(self, text: str) -> None:
        self._fill({"lyrics": text})

    @property
    def title(self) -> str:
        """Its title."""
        return str(self._doc["form"]["title"])

    @title.setter
    def title(self, text: str) -> None:
        self._fill({"title": text})

    @property
    def instrumental(self) -> bool | None:
        """Whether nobody shall sing; None to leave it open."""
        value = self._doc["form"]["instrumental"]
        return value if isinstance(value, bool) else None

    @instrumental.setter
    def instrumental(self, value: bool | None) -> None:
        self._fill({"instrumental": value})

    @property
    def model(self) -> str:
        """The model that is asked for."""
        return str(self._doc["form"]["model"])

    @model.setter
    def model(self, name: str) -> None:
        self._fill({"model": name})

    @property
    def model_options(self) -> dict[str, Any]:
        """The options that would be sent, by family."""
        return self._given()["model_options"] or {}

    @model_options.setter
    def model_options(self, options: Mapping[str, Any] | None) -> None:
        MusicRequest.of("check", model=self.model, model_options=options)
        fields, rest = studio_form.split_options(options)
        with self._lock:
            self._rest = rest
            self._doc.set("form", "options", value=fields)
            self._follow_form(*studio_form.BY_ID)

    @property
    def reference(self) -> Reference | None:
        """The audio that it shall follow; set it to what ``bn.music`` takes, or to None."""
        return self._reference

    @reference.setter
    def reference(self, given: Given | Reference | None) -> None:
        self._follow_reference(None if given is None else Reference.of(given))

    def _follow_reference(self, reference: Reference | None) -> None:
        with self._lock:
            if self._arrival is not None:
                self._arrival.drop()
            self._arrival, self._reference = None, reference
            self._doc.set("reference", value=None)
            self._blame("reference", "")
            if reference is not None:
                self._doc.set("reference", value={"name": reference.name, "facts": [], "state": "ready"})
                self._begin(self._draw_reference(reference), "reference")
        self._settle()

    async def _draw_reference(self, reference: Reference) -> None:
        shown = await asyncio.to_thread(reference.shown)
        with self._lock:
            if self._reference is reference:
                self._doc.set("reference", value=shown)

    def _blame(self, field: str, words: str) -> None:
        with self._lock:
            known = {name: said for name, said in self._doc["problems"].items() if name != field}
            self._doc.set("problems", value={**known, field: words} if words else known)

    # ── what the page asks ──

    def ask_change(self, values: dict[str, Any]) -> None:
        """Take what was filled in."""
        if not isinstance(values, dict):
            raise InvalidInput("Fields come as a table of names and values.")
        self._fill(values)

    def ask_reference_part(
        self, upload: str, at: int, size: int, name: str, buffers: list[Any] | None = None
    ) -> None:
        """Take a part of a file that shall be followed."""
        if not (isinstance(upload, str) and isinstance(name, str)) or not all(
            isinstance(each, int) and not isinstance(each, bool) for each in (at, size)
        ):
            raise InvalidInput("A part of a file comes with its place, its name and its size.")
        data = bytes(buffers[0]) if buffers else b""
        try:
            with self._lock:
                if at == 0:
                    self._follow_reference(None)
                    self._arrival = Arrival(upload, name, size)
                    shown = {"name": self._arrival.name or "Audio", "facts": [], "percent": 0}
                    self._doc.set("reference", value={**shown, "state": "arriving", "upload": upload})
                arrival = self._arrival
                if arrival is None or arrival.ident != upload:
                    return  # it was taken away meanwhile
                last = arrival.take(at, data)
                self._doc.set("reference", "percent", value=round(100 * arrival.come / arrival.length))
        except InvalidInput as error:
            self._follow_reference(None)
            self._blame("reference", studio_form.told(error))
            raise
        if last:
            self._doc.set("reference", "state", value="reading")
            self._begin(self._take_arrival(arrival), "reference")

    async def _take_arrival(self, arrival: Arrival) -> None:
        try:
            reference = await asyncio.to_thread(arrival.reference)
            shown = await asyncio.to_thread(reference.shown)
        except InvalidInput as error:
            if self._arrival is arrival:
                self._follow_reference(None)
                self._blame("reference", studio_form.told(error))
            return
        with self._lock:
            if self._arrival is not arrival:
                return
            self._arrival, self._reference = None, reference
            self._doc.set("reference", value={**shown, "upload": arrival.ident})
        self._settle()

    def ask_reference_drop(self) -> None:
        """Take the reference away."""
        self._follow_reference(None)

    def _closing(self) -> None:
        with self._lock:
            if self._arrival is not None:
                self._arrival.drop()
            self._arrival = None
