"""``Task``: a job of the service, from the queue to its clips.

A task is the one object of the package that changes: ``refresh`` and ``wait`` let it take what the service says
now, so that a variable in a notebook stays the same job however long it takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beatra_nb.core import seams
from beatra_nb.core.errors import HINTS, TaskFailed
from beatra_nb.core.media import AsyncClip, BaseClip, Clip, Embed
from beatra_nb.core.policy import WAIT
from beatra_nb.core.seams import Showable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from beatra_nb.core.async_client import AsyncClient
    from beatra_nb.core.base_client import BaseClient
    from beatra_nb.core.client import Client

TERMINAL = frozenset({"succeeded", "failed", "canceled"})


@dataclass(frozen=True, slots=True)
class Progress(Showable):
    """How far a task is.

    Attributes
    ----------
    percent : float or None
        From 0 to 100.
    stage : str
        What is being done.
    message : str
        The same in a sentence.
    """

    percent: float | None = None
    stage: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Billing(Showable):
    """What a task cost.

    Attributes
    ----------
    charged, refunded : Decimal or None
        Credits; None where the service did not say.
    currency : str
        The currency of the service's reference figures.
    """

    charged: Decimal | None = None
    refunded: Decimal | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class TaskWarning(Showable):
    """Something the service wants to be known about a result.

    Attributes
    ----------
    code, message, field : str
        What it is, in a word and in a sentence, and the field of the request it is about.
    """

    code: str = ""
    message: str = ""
    field: str = ""


class BaseTask(Showable):
    """A job of the service.

    Attributes
    ----------
    id : str
        Its id; ``bn.task(id)`` finds it again, also tomorrow and elsewhere.
    status : str
        ``"queued"``, ``"running"``, ``"succeeded"``, ``"failed"`` or ``"canceled"``.
    progress : Progress
        How far it is.
    clips : tuple of Clip
        What it made.
    capability : str
        What kind of job it is.
    model, resolved_model : str
        The model that was asked for, and the one that works.
    billing : Billing
        Credits charged and refunded.
    price : str
        What it costs, where that is known before it is spent.
    warnings : tuple of TaskWarning
        What the service wants to be known.
    error : TaskFailed or None
        Why it failed; ``wait`` raises it.
    title, prompt, lyrics : str
        What was asked for.
    request_id : str or None
        The id of the exchange that told its present state.
    idempotency_key : str or None
        The key that made it, where this machine did.
    created_at, started_at, completed_at, cancel_requested_at : datetime or None
        When, in UTC.
    attached : str
        How this object came to a job that was begun before: ``"rerun"``, ``"key"`` or ``"pending"``;
        ``"resent"`` where its request was sent again under its key; else empty.
    expected : float or None
        Seconds that such jobs took lately on this machine.
    sandbox : bool
        True when the sandbox does it.
    recorded : datetime or None
        When the exchange that told its present state was recorded, where it is on a cassette.
    raw : dict
        The state as it came.
    """

    _clip: type[BaseClip] = BaseClip

    def __init__(
        self,
        client: BaseClient | None,
        wire: Mapping[str, Any] | None = None,
        *,
        request_id: str | None = None,
        sandbox: bool = False,
        embed: Embed = "auto",
    ) -> None:
        self._client = client
        self.embed = embed
        self.id = self.status = self.capability = self.model = self.resolved_model = ""
        self.title = self.prompt = self.lyrics = self.price = self.attached = ""
        self.metadata: dict[str, Any] = {}
        self.progress, self.billing = Progress(), Billing()
        self.warnings: tuple[TaskWarning, ...] = ()
        self.error: TaskFailed | None = None
        self.created_at: datetime | None = None
        self.started_at: datetime | None = None
        self.completed_at: datetime | None = None
        self.cancel_requested_at: datetime | None = None
        self.request_id: str | None = None
        self.idempotency_key: str | None = None
        self.expected: float | None = None
        self.chosen_key = False  # whether the user chose the key: the same call is then the same job for ever
        self.unwritten = False  # whether this machine could not write the job down
        self.sandbox = sandbox
        self.recorded: datetime | None = None
        self.raw: dict[str, Any] = {}
        self._clips: tuple[BaseClip, ...] = ()
        if wire is not None:
            self.take(wire, request_id=request_id, sandbox=sandbox)

    @property
    def takes(self) -> tuple[BaseClip, ...]:
        """The clips, of whichever kind."""
        return self._clips

    def forget(self) -> None:
        """Be no job yet, again: what was asked for stays."""
        self.id = self.status = self.resolved_model = self.attached = ""
        self.progress, self.billing = Progress(), Billing()
        self.warnings, self._clips, self.error = (), (), None
        self.created_at = self.started_at = self.completed_at = self.cancel_requested_at = None
        self.raw = {}

    def take(
        self,
        wire: Mapping[str, Any],
        *,
        request_id: str | None,
        sandbox: bool,
        recorded: datetime | None = None,
    ) -> None:
        """Take what the service says now. A summary leaves out much: what was known stays."""
        from beatra_nb.core.models import TaskWire

        new = TaskWire.model_validate(dict(wire))
        self.id = new.task_id or self.id
        self.request_id, self.sandbox = request_id or self.request_id, sandbox or self.sandbox
        self.recorded = recorded or self.recorded
        for name in ("status", "capability", "model", "resolved_model"):
            setattr(self, name, getattr(new, name) or getattr(self, name))
        for name in ("created_at", "started_at", "completed_at", "cancel_requested_at"):
            setattr(self, name, getattr(new, name) or getattr(self, name))
        for name in ("title", "prompt", "lyrics"):
            given = new.input.get(name) or (
                wire.get(name) if name == "title" else None
            )  # a summary has no input
            setattr(self, name, given if isinstance(given, str) and given else getattr(self, name))
        self.metadata = new.metadata or self.metadata
        if isinstance(wire.get("progress"), dict):
            self.progress = Progress(_percent(new.progress.percent), new.progress.stage, new.progress.message)
        if isinstance(wire.get("billing"), dict):
            billing = new.billing
            self.billing = Billing(billing.charged_credits, billing.refunded_credits, billing.currency)
        if isinstance(wire.get("warnings"), list):
            self.warnings = tuple(
                TaskWarning(*(text if isinstance(text := item.get(name), str) else "" for name in _WARNING))
                for item in new.warnings
            )
        if new.error is not None or (self.status == "failed" and self.error is None):
            self.error = self._failure(new.error or {})
        clips = new.output.get("clips")
        if isinstance(clips, list):
            self._take_clips([clip for clip in clips if isinstance(clip, dict)])
        self.raw = dict(wire)

    def _take_clips(self, wires: list[dict[str, Any]]) -> None:
        """Take the clips; one that is known already keeps the audio that it has fetched."""
        known = {(clip.artifact_id, clip.index): clip for clip in self._clips}
        clips = []
        for index, wire in enumerate(wires, 1):
            ident = wire.get("artifact_id")
            clip = known.get((ident if isinstance(ident, str) else "", index))
            if clip is None:
                clip = self._clip(self, index, wire)
            else:
                clip.take(wire)
            clips.append(clip)
        self._clips = tuple(clips)
        self.title = self.title or next((clip.title for clip in clips if clip.title), "")

    def _failure(self, wire: Mapping[str, Any]) -> TaskFailed:
        from beatra_nb.core.models import ErrorWire

        error = ErrorWire.model_validate(dict(wire))
        refunded = self.billing.refunded
        told = f" {refunded:f} credits were refunded." if refunded else ""
        advice = "The same call may be made again." if error.retryable else HINTS.get(error.code or "", "")
        if self.chosen_key:
            advice = "With this idempotency_key it stays this job: pass another one to try again."
        failure = TaskFailed(
            f"The task failed: {error.message or error.code or 'the service does not say why'}".rstrip(".")
            + ".",
            code=error.code,
            retryable=error.retryable and not self.chosen_key,
            request_id=self.request_id,
            param=error.param,
            details=error.details,
            idempotency_key=self.idempotency_key,
            hint=f"{advice or 'Change the request before trying again.'}{told}",
        )
        failure.task = self
        return failure

    @property
    def found_by(self) -> str:
        """The code that finds it again."""
        return f"bn.task({self.id!r})"

    @property
    def done(self) -> bool:
        """Whether it is over, in whatever way."""
        return self.status in TERMINAL

    @property
    def elapsed(self) -> float | None:
        """Seconds from its making to its end, or to this moment, by the service's clock and this machine's."""
        if self.created_at is None:
            return None
        from datetime import UTC, datetime

        # On a cassette, this moment is the one that was recorded.
        end = self.completed_at or (None if self.done else self.recorded or datetime.now(UTC))
        # Two clocks may disagree, and one may jump: a time is never negative.
        return None if end is None else max(0.0, (end - self.created_at).total_seconds())

    def __getstate__(self) -> dict[str, Any]:
        # A client is never pickled: it holds a key. A task that was pickled uses the default one.
        return {**self.__dict__, "_client": None}

    def __repr__(self) -> str:
        far = self.progress.percent
        percent = "" if self.done or far is None else f", {far:.0f} %"
        return f"{type(self).__name__}(id={self.id!r}, status={self.status!r}{percent}, clips={len(self._clips)})"


_WARNING = ("code", "message", "field")


class Task(BaseTask):
    """A job of the service, whose verbs block.

    Examples
    --------
    >>> task = bn.music("slow blues", wait=False)  # doctest: +SKIP
    >>> task.wait().clips[0]  # doctest: +SKIP
    """

    __doc__ = f"{__doc__}\n{BaseTask.__doc__}"

    _clip = Clip

    @property
    def clips(self) -> tuple[Clip, ...]:
        """What it made."""
        return self._clips  # type: ignore[return-value]

    @property
    def client(self) -> Client:
        """The client it belongs to; of a task that was pickled, the default one."""
        return self._client or seams.default_client()  # type: ignore[return-value]

    def refresh(self) -> Task:
        """Ask how it is now (``GET /tasks/{id}``), and return it.

        Raises
        ------
        APIError, ConnectionFailed, Timeout
            If the service does not say; nothing is lost.
        """
        self.client._refresh(self)
        return self

    def wait(self, timeout: float | None = WAIT) -> Task:
        """Wait until it is over and its audio is here; show how far it is.

        Parameters
        ----------
        timeout : float or None, default 1800
            Seconds to wait; None for as long as it takes.

        Returns
        -------
        Task
            The task itself, succeeded or canceled.

        Raises
        ------
        TaskFailed
            If it failed; the error says why, and what was refunded.
        TaskTimeout
            If it is not over in time. It goes on: wait again.
        Interrupted
            If the kernel is interrupted. It goes on: wait again, or ``cancel``.
        """
        return self.client._wait(self, timeout)

    def cancel(self, reason: str | None = None) -> Task:
        """Ask the service to stop it (best effort), and return it.

        A task that is over comes back unchanged. What was prepaid is refunded when it is canceled.

        Parameters
        ----------
        reason : str, optional
            Why, for the service's records.
        """
        self.client._cancel(self, reason)
        return self

    def fetch(self, clip: BaseClip) -> None:
        """Fetch the audio of one of its clips."""
        self.client._fetch(self, clip)


class AsyncTask(BaseTask):
    """A job of the service, whose verbs are awaited."""

    _clip = AsyncClip

    @property
    def found_by(self) -> str:
        """The code that finds it again."""
        return f"(await bn.atask({self.id!r}))"

    @property
    def clips(self) -> tuple[AsyncClip, ...]:
        """What it made."""
        return self._clips  # type: ignore[return-value]

    @property
    def client(self) -> AsyncClient:
        """The client it belongs to; of a task that was pickled, the default one."""
        return self._client or seams.default_async_client()  # type: ignore[return-value]

    async def refresh(self) -> AsyncTask:
        """Ask how it is now: ``Task.refresh``, awaited."""
        await self.client._refresh(self)
        return self

    async def wait(self, timeout: float | None = WAIT) -> AsyncTask:
        """Wait until it is over: ``Task.wait``, awaited."""
        return await self.client._wait(self, timeout)

    async def cancel(self, reason: str | None = None) -> AsyncTask:
        """Ask the service to stop it: ``Task.cancel``, awaited."""
        await self.client._cancel(self, reason)
        return self

    async def fetch(self, clip: BaseClip) -> None:
        """Fetch the audio of one of its clips."""
        await self.client._fetch(self, clip)


def _percent(value: float | None) -> float | None:
    return None if value is None else min(100.0, max(0.0, value))
