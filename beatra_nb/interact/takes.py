"""The jobs of a music studio: ordinary tasks, driven beside the kernel, and the cards that a page shows of them."""

from __future__ import annotations

import asyncio
import difflib
import re
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from beatra_nb.core.errors import APIError, BeatraError, ConfigurationError, InvalidInput, TaskFailed
from beatra_nb.core.files import safe_name
from beatra_nb.core.media_types import suffix_of
from beatra_nb.core.policy import new_key
from beatra_nb.display import clips, tasks
from beatra_nb.display.clean import one_line, visible
from beatra_nb.display.media_html import sound_type
from beatra_nb.display.pieces import LESS, credits_of, size
from beatra_nb.display.view import Badge, Note
from beatra_nb.interact import work
from beatra_nb.interact.reference import Reference, picture
from beatra_nb.interact.trouble import trouble

if TYPE_CHECKING:
    from beatra_nb.core.async_client import AsyncClient
    from beatra_nb.core.media import Artifact, BaseClip, Clip
    from beatra_nb.core.music import MusicRequest
    from beatra_nb.core.task import BaseTask, Task

# How a job stands in the studio, beyond what the service says of its task.
MOVING = ("uploading", "sending", "running")
SAME_KEY = "Yes: it is asked again under the same key, so that it is one job and paid once."
GOES_ON = "Yes: the task goes on by itself, and this looks at it again."
PENDING = "bn.pending() finds it as well, also after the kernel has ended."
TOO_OLD = (
    "This was tried a day ago, and nobody knows whether the service took it; it has forgotten the key by now."
)
MOST_WORDS = 4000  # of one text that are compared with another's


class Production:
    """One job of a studio.

    Parameters
    ----------
    number : int
        Which of the studio's jobs it is.
    task : Task
        Its task, which becomes one of the service's.
    request : MusicRequest
        What is asked for.
    given : dict
        The same as ``bn.music`` would be given it, for using it again.
    reference : Reference or None
        What it shall follow.
    tell : callable
        Told the card whenever it has changed.
    """

    def __init__(
        self,
        number: int,
        task: Task,
        request: MusicRequest,
        given: dict[str, Any],
        reference: Reference | None,
        tell: Callable[[dict[str, Any]], object],
    ) -> None:
        self.number = number
        self.task = task
        self.given, self.reference = given, reference
        self.request = request
        self.error: BeatraError | None = None
        self.doubtful = False  # whether the service may have begun it without our knowing
        self.phase = self._first_step()
        self.begun = threading.Event()  # that it has a task, or never will
        self._first = time.time()
        self._note = ""
        self._shown: list[dict[str, Any]] = []
        self._tell = tell
        self._cancel = threading.Event()
        self._upload: asyncio.Future[Any] | None = None

    # ── the way of the job ──

    def ready(self) -> None:
        """Be under way from this moment on: nobody shall set it going twice."""
        self.begun.clear()
        self.error, self._note = None, ""
        self._enter("running" if self.task.id else self._first_step())

    def _first_step(self) -> str:
        return "uploading" if self.request.source is not None and not self.doubtful else "sending"

    async def run(self, client: AsyncClient, artifact: Callable[[], Awaitable[Artifact]] | None) -> None:
        """Go from where it stands to its end; ``artifact`` uploads its reference. It raises no error of ours."""
        from beatra_nb.core import jobs

        try:
            if not self.task.id:
                request = await self._asked(artifact)
                if request is None:
                    return
                self._enter("sending")
                await client._run(lambda context: jobs.begin(context, request, self.task, self))
                self.doubtful = False
            self._enter("running")
            self.begun.set()
            await client._run(lambda context: jobs.wait(context, self.task, self, None))
            if self.task.takes:
                self._shown = await asyncio.to_thread(self._takes)  # pictures take a moment each
            if self.task.status == "failed":
                self.error = self.task.error
            self._enter("done" if self.task.status == "succeeded" else self.task.status or "failed")
        except BeatraError as error:
            self._fail(error)
        except Exception as error:  # a defect must not leave the card running for ever
            self._fail(BeatraError(f"{type(error).__name__}: {one_line(error, 400)}"))
        finally:
            self.begun.set()

    async def _asked(self, artifact: Callable[[], Awaitable[Artifact]] | None) -> MusicRequest | None:
        """Return what to send, its reference uploaded; None if it was called off before that."""
        if self.doubtful:
            if time.time() - self._first > 24 * 3600 - 600:
                raise InvalidInput(TOO_OLD, hint="bn.tasks() shows what the service has.")
            # Under its own key again: the service gives back what it may have begun.
            return replace(self.request, chosen=True)
        if self.request.source is not None and artifact is not None:
            self._upload = asyncio.ensure_future(artifact())
            try:
                self.request = self.request.with_artifact(await self._upload)
            except asyncio.CancelledError:
                if not self._cancel.is_set():
                    raise
            finally:
                self._upload = None
        if self._cancel.is_set():
            self._enter("canceled")
            return None
        return self.request

    def _fail(self, error: BeatraError) -> None:
        if not self.task.id:
            told = isinstance(
                error, InvalidInput | ConfigurationError
            )  # by this machine: nothing has left it
            final = isinstance(error, APIError) and error.code is not None and not error.retryable
            # Once in doubt, only the service's own, final no takes the doubt away.
            sent = self.phase == "sending" and not told
            # Of a defect nobody knows how far it had come.
            unsure = error.doubtful or type(error) is BeatraError
            self.doubtful = (self.doubtful and not (final and not error.doubtful)) or (sent and unsure)
            if not self.doubtful:
                self.request = self.request.with_key(new_key())  # an answered key stays answered
        self.error = error
        self._cancel.clear()
        self._enter("stuck" if self.task.id or self.doubtful else "refused")

    # ── being watched: what core.jobs tells ──

    def update(self, task: BaseTask) -> None:
        """Take note of the task's state."""
        self._note = ""
        if task.id:
            self.begun.set()
        self._show()

    def note(self, text: str) -> None:
        """Take note of something in a line."""
        if text != self._note:
            self._note = text
            self._show()

    def cancel_asked(self) -> bool:
        """Whether somebody wants the task cancelled."""
        return self._cancel.is_set()

    def sent(self, count: int) -> None:
        """Take note of how much of the reference has been sent; from any thread."""
        whole = self.request.source.size if self.request.source is not None else 0
        self.note(f"Uploading {size(count)} of {size(whole)}" if whole else "Uploading")

    def cancel(self) -> None:
        """Have it cancelled as soon as may be; from any thread, and at once."""
        self._cancel.set()
        if self.phase == "uploading" and (upload := self._upload) is not None:
            work.loop().call_soon_threadsafe(upload.cancel)
        self._show()

    @property
    def moving(self) -> bool:
        """Whether it is under way."""
        return self.phase in MOVING

    # ── being shown ──

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self._show()

    def _show(self) -> None:
        self._tell(self.card())

    def card(self) -> dict[str, Any]:
        """Return what a page shows of it, as plain values."""
        live = tasks.live_state(self.task)
        shown = {name: live[name] for name in ("title", "sandbox", "percent", "elapsed", "expected")}
        stage = {"uploading": "uploading the reference", "sending": "sending the request"}
        facts = [fact for fact in (tasks.models_of(self.task), self._cost()) if fact]
        return {
            **shown,
            "phase": self.phase,
            # The request id changes with each look, and is told where it matters: in the card of an error.
            "ids": [each for each in live["ids"] if each[0] == "task"],
            "stage": stage.get(self.phase, live["stage"]),
            "message": live["message"],
            "note": one_line(self._note, 200),
            "canceling": self._cancel.is_set() and self.moving,
            "facts": facts,
            "words": self._ending(),
            "prompt": one_line(self.given["prompt"] or self.given["lyrics"] or "", 300),
            "warnings": [one_line(each.message or each.code, 300) for each in self.task.warnings[:6]],
            "trouble": self._trouble(),
            "takes": self._shown,
        }

    def _cost(self) -> str:
        charged, back = self.task.billing.charged, self.task.billing.refunded
        if charged is None or self.phase == "refused":
            return ""
        paid = credits_of(charged)
        return (
            f"{paid}, refunded" if back == charged else f"{paid}, {credits_of(back)} back" if back else paid
        )

    def _ending(self) -> str:
        if self.phase == "canceled":
            back = self.task.billing.refunded
            if not self.task.id:
                return "Stopped before it was sent: nothing was begun or charged."
            return f"Cancelled. {credits_of(back)} refunded." if back else "Cancelled."
        return tasks.ending(self.task) if self.phase in ("done", "failed") else ""

    def _trouble(self) -> dict[str, Any] | None:
        if self.error is None:
            return None
        told = trouble(self.error)
        if self.phase == "stuck":
            told["again"] = GOES_ON if self.task.id else SAME_KEY
            told["todo"] = PENDING
        told["retry"] = self.phase == "stuck" or (self.phase == "refused" and self.error.retryable)
        return told

    def _takes(self) -> list[dict[str, Any]]:
        return [self._take(clip) for clip in self.task.clips[:40]]

    def _take(self, clip: Clip) -> dict[str, Any]:
        seen = clips.player(clip, LESS, clips.Room())
        kind = sound_type(clip.media_type)
        playable = bool(clip.data) and bool(kind)
        said = [part.text for part in seen.body if isinstance(part, Note)]
        return {
            "id": f"{self.number}.{clip.index}",
            "title": seen.title,
            "time": seen.time,
            "facts": [f"{fact.label} {fact.value}".strip() for fact in seen.facts if isinstance(fact, Badge)],
            "wave": picture(seen.wave),
            "kind": kind,
            "size": size(clip.size),
            "name": f"{safe_name(seen.title)}-{clip.index}{suffix_of(clip.media_type)}",
            "here": clip.data is not None,
            "problem": "" if playable else one_line(clip.problem or " ".join(said), 400),
        }

    def redraw(self) -> None:
        """Show its takes as they are now: one was fetched or saved."""
        self._shown = self._takes()
        self._show()

    def failure(self) -> BeatraError | None:
        """Return why a call that waited for it shall fail, or None."""
        if isinstance(self.error, TaskFailed):
            return self.error.with_traceback(None)
        return self.error


# ── what takes differ in ──


def word_diff(before: str, after: str) -> list[list[str]]:
    """Return how one text becomes another, word by word: ``["same" | "less" | "more", text]``.

    Examples
    --------
    >>> word_diff("slow blues", "slow jazz")
    [['same', 'slow '], ['less', 'blues'], ['more', 'jazz']]
    """
    old, new = (re.findall(r"\w+|\s+|[^\w\s]+", text)[:MOST_WORDS] for text in (before, after))
    told: list[list[str]] = []
    for kind, at, to, start, end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            told.append(["same", "".join(old[at:to])])
            continue
        for name, piece in (("less", old[at:to]), ("more", new[start:end])):
            if piece:
                told.append([name, "".join(piece)])
    return told


def difference(one: Production, other: Production, takes: tuple[BaseClip, BaseClip]) -> dict[str, Any]:
    """Return what two takes differ in: the words that were asked with, the settings, and how they sound."""
    texts = []
    for name in ("prompt", "lyrics"):
        before, after = (visible(each.given[name] or "") for each in (one, other))
        if before != after:
            texts.append([name, word_diff(before, after)])
    settings = []
    old, new = _settings(one), _settings(other)
    for name in dict.fromkeys([*old, *new]):
        if old.get(name, "–") != new.get(name, "–"):
            settings.append(f"{name}: {old.get(name, '–')} → {new.get(name, '–')}")
    return {"texts": texts, "settings": settings, "sound": clips.differences(takes)}


def _settings(production: Production) -> dict[str, str]:
    """Return what was asked for besides texts, in words."""
    given = production.given
    told = {name: given[name] for name in ("title", "model") if given[name]}
    if given["instrumental"] is not None:
        told["instrumental"] = "yes" if given["instrumental"] else "no"
    if production.reference is not None:
        told["reference"] = production.reference.name
    for values in (given["model_options"] or {}).values():
        for name, value in values.items():
            told[name.replace("_", " ")] = f"{value:g}" if isinstance(value, float | Decimal) else value
    return {one_line(name, 60): one_line(value, 120) for name, value in told.items()}
