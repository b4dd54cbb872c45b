"""Who answers: the engines of one sandbox, and which of them a request gets."""

from __future__ import annotations

from beatra_nb.core.errors import InvalidInput, SandboxUnavailable
from beatra_nb.sandbox.contract import Refusal
from beatra_nb.sandbox.engines.base import ChatRequest, Engine

CHOICES = ("auto", "smollm2", "scripted")


class Engines:
    """The engines that a choice (``auto``, ``smollm2``, ``scripted``) stands for.

    ``auto`` takes the real model where xllamacpp and the weights are there, else the scripted engine.
    ``smollm2`` insists on the real one. ``scripted`` never loads it.
    """

    def __init__(self, choice: str) -> None:
        from beatra_nb.sandbox.engines.scripted import Scripted

        if choice not in CHOICES:
            raise InvalidInput(
                f"engine must be one of {', '.join(CHOICES)}, not {choice!r:.60}.",
                hint="Pass engine= to sandbox.start(), or set BEATRA_SANDBOX_ENGINE.",
            )
        self._insist = choice == "smollm2"
        self._all: dict[str, Engine] = {}
        if choice != "scripted":
            self._add_real(insist=self._insist)
        scripted = Scripted()
        self._all[scripted.model] = scripted

    def _add_real(self, *, insist: bool) -> None:
        from beatra_nb.sandbox.engines import smollm2

        missing = smollm2.missing()
        if missing is None:
            engine = smollm2.SmolLM2()
            self._all[engine.model] = engine
        elif insist:
            raise SandboxUnavailable(
                f"The sandbox's real engine cannot start: {missing.what}.", hint=missing.mend
            )

    def warm(self) -> None:
        """Let every engine begin to load what it needs."""
        for engine in self._all.values():
            engine.warm()

    def close(self) -> None:
        """Free what the engines hold."""
        for engine in self._all.values():
            engine.close()

    @property
    def models(self) -> list[str]:
        """The ids of the models that are served."""
        return list(self._all)

    @property
    def default(self) -> Engine:
        """The engine behind ``"auto"``: the real one, or the scripted where that has turned out to be broken."""
        engines = list(self._all.values())
        return next((engine for engine in engines if self._insist or engine.usable), engines[-1])

    def pick(self, request: ChatRequest) -> Engine:
        """Return the engine for a request's model."""
        if request.model == "auto":
            return self.default
        engine = self._all.get(request.model)
        if engine is None:
            known = ", ".join(["auto", *self._all])
            hint = " Get its weights with 'beatra-nb fetch'." if request.model == "sandbox-smollm2" else ""
            raise Refusal(
                "unsupported_model",
                f"There is no model {request.model[:80]!r} here; there is: {known}.{hint}",
                param="/model",
            )
        return engine
