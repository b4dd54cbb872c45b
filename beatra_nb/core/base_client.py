"""What both clients share: settings, where they lead, and what is kept of a call that fails."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from beatra_nb.core import seams
from beatra_nb.core.errors import BeatraError, ConfigurationError, Interrupted, spoken
from beatra_nb.core.flow import Context
from beatra_nb.core.scrub import Scrubber
from beatra_nb.core.settings import (
    BASE_URL,
    MAX_ATTEMPTS,
    READ_TIMEOUT,
    Secret,
    Settings,
    Timeouts,
    hide_key,
    is_loopback,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    from beatra_nb.core.budget import Budget, Number
    from beatra_nb.core.music import MusicRequest
    from beatra_nb.core.reply import Reply
    from beatra_nb.core.request import ChatRequest
    from beatra_nb.core.taping.tape import Tape
    from beatra_nb.core.task import BaseTask
    from beatra_nb.core.transport import AsyncTransport
    from beatra_nb.display.live import Painter
    from beatra_nb.display.live_task import TaskPainter

TOLD = (
    "No API key is set, so the sandbox inside this package answers: a small model on this machine. "
    "Set BEATRA_API_KEY, or pass api_key= to bn.connect(), to reach the live service."
)


class BaseClient(seams.Showable, abc.ABC):
    """Settings, and where they lead."""

    _transport: object | None = None

    def __init__(
        self,
        api_key: str | Secret | None = None,
        *,
        base_url: str | None = None,
        mode: str | None = None,
        timeout: float | Timeouts = READ_TIMEOUT,
        max_attempts: int = MAX_ATTEMPTS,
        journal: bool = True,
        cassette: str | os.PathLike[str] | None = None,
        speed: float | None = None,
    ) -> None:
        api_key = hide_key(api_key)
        self._settings = Settings.resolve(
            api_key,
            base_url=base_url,
            mode=mode,
            timeout=timeout,
            max_attempts=max_attempts,
            journal=journal,
            cassette=cassette,
            speed=speed,
        )
        self._tape = self._taped()
        self._lock = threading.Lock()
        self._closed = False
        self._made: Context | None = None
        self._last: Reply | None = None
        self.last_at = 0.0  # when the last answer came, by the monotonic clock
        if self._settings.key is not None:
            self._connected()  # broken proxy or CA settings show here, not at the first call

    @abc.abstractmethod
    def _connected(self) -> object:
        """Return the transport, made now if need be."""

    @property
    def mode(self) -> str:
        """``"live"``, ``"sandbox"``, ``"record"`` or ``"replay"``."""
        return self._settings.mode

    @property
    def base_url(self) -> str:
        """Where the calls go; asking starts the sandbox in sandbox mode."""
        return self._endpoint()[0]

    @property
    def cassette(self) -> Path | None:
        """The folder that is recorded to or replayed from; None where neither is done."""
        return self._settings.cassette

    @property
    def uses_sandbox(self) -> bool:
        """Whether the sandbox of this process answers."""
        return self._settings.base_url is None and self.mode != "replay"

    @property
    def takes_sandbox_options(self) -> bool:
        """Whether a sandbox may answer: it has options of its own, which a live service would refuse."""
        replays = self._tape is not None and self._tape.replays
        url = self.base_url if replays else self._settings.base_url
        return url is None or is_loopback(urlsplit(url).hostname or "")

    @property
    def journal_on(self) -> bool:
        """Whether calls leave a row in the journal."""
        return self._settings.journal

    @property
    def last(self) -> Reply | None:
        """The last answer of this client, whole or cut short; None before the first."""
        return self._last

    def _taped(self) -> Tape | None:
        """Return what is recorded to or replayed from; a cassette that cannot be read is told now."""
        settings = self._settings
        if settings.cassette is None:
            return None
        replays = settings.mode == "replay"
        real = seams.journal().jobs if settings.journal and not replays else None
        return seams.tape(
            settings.cassette,
            replays=replays,
            refresh=settings.refresh,
            speed=settings.speed,
            jobs=settings.journal,
            real=real,
        )

    def _check_tape(self) -> None:
        """Raise now if this client is to replay a cassette that is not there.

        Raises
        ------
        NotRecorded
            Which tells how to record it.
        """
        if self._tape is not None:
            self._tape.check()

    def _share(self, other: BaseClient) -> None:
        """Record to, or replay from, the same tape as another client: together they are one session."""
        if other._tape is not None:
            self._tape, self._transport = other._tape, None

    def _endpoint(self) -> tuple[str, Secret]:
        if self._closed:
            raise ConfigurationError(
                "This client is closed.", hint="Make a new one with bn.connect() or bn.Client()."
            )
        settings = self._settings
        if self._tape is not None and self._tape.replays:
            return self._tape.cassette.base_url, Secret("none")
        if settings.base_url is not None and settings.key is not None:
            return settings.base_url, settings.key
        sandbox = seams.shared_sandbox()
        return sandbox.base_url, Secret(sandbox.api_key)

    def _tell_sandbox(self) -> None:
        if not self._settings.told:
            seams.say_once("sandbox", TOLD)

    def _context(self, base_url: str, key: Secret) -> Context:
        if self._made is None or self._made.base_url != base_url:
            settings = self._settings
            self._made = Context(
                base_url=base_url,
                timeouts=settings.timeouts,
                max_attempts=settings.max_attempts,
                # Looked up once: finding the user's folder takes longer than writing a row.
                journal=(journal := seams.journal() if settings.journal else None),
                jobs=journal.jobs if journal else None,
                files=seams.audio_files(keep=True) if journal else None,
                # Jobs belong to an account: another key at the same address must neither pay for nor close them.
                place=self._place(base_url, key) if journal else base_url,
                scrub=Scrubber(key),
            )
            if self._tape is not None:
                self._made = self._tape.context(self._made)
        return self._made

    @property
    def answered_by(self) -> str:
        """Who answers, in a word or an address: ``sandbox``, ``a recording``, ``live`` or where that is."""
        settings = self._settings
        if self._tape is not None and self._tape.replays:
            return "a recording"
        if settings.base_url is None:
            return "sandbox"
        if settings.base_url == BASE_URL:
            return "live"
        host = urlsplit(settings.base_url).hostname or ""
        return "this machine" if is_loopback(host) else settings.base_url

    def _many(self, active: int) -> tuple[AsyncTransport, Context]:
        """Return what carries many calls at once in the running loop, and what their flows look at."""
        from beatra_nb.core.many import ManyTransport

        self._tell_sandbox()
        base_url, key = self._endpoint()
        return ManyTransport(base_url, key, active=active, tape=self._tape), self._context(base_url, key)

    def _place(self, base_url: str, key: Secret) -> str:
        """Return where jobs live, as the journal knows it."""
        if self.mode == "replay":
            return "replay"
        return "sandbox" if self._settings.base_url is None else f"{base_url} {seams.account(key)}"

    @contextlib.contextmanager
    def _remember(self, request: ChatRequest) -> Iterator[None]:
        """Keep the reply that an error carries, and make interrupts speak."""
        from beatra_nb.core.streams import interrupted

        try:
            yield
        except BeatraError as error:
            self._keep(getattr(error, "reply", None) or error.paid)
            raise
        except (KeyboardInterrupt, asyncio.CancelledError) as stop:
            # It may have come between two pieces; the stream has kept what it had all the same.
            last = self._last
            partial = last if last is not None and last.idempotency_key == request.key else None
            raise spoken(stop, interrupted(partial, request.key)) from None

    def _within(self, budget: Budget | Number | None) -> contextlib.AbstractContextManager[object]:
        """Let a budget hold for a block, if there is one."""
        if budget is None:
            return contextlib.nullcontext()
        from beatra_nb.core.budget import within

        return within(budget)

    def _task_painter(self) -> TaskPainter:
        self._tell_sandbox()
        return seams.task_painter(sandbox=self.uses_sandbox)

    def _music(self, task: BaseTask, prompt: str, options: dict[str, Any]) -> MusicRequest:
        """Check what was asked for, and let the task show it before the service has said a word."""
        from beatra_nb.core.music import MusicRequest, price_of

        request = MusicRequest.of(prompt, own_options=self.takes_sandbox_options, **options)
        body = request.body
        task.model, task.price = request.model, price_of(request.model)
        task.prompt, task.lyrics, task.title = (body.get(name, "") for name in ("prompt", "lyrics", "title"))
        task.idempotency_key, task.chosen_key = request.key, request.chosen
        return request

    def _keep(self, reply: Reply | None) -> None:
        if reply is not None and (reply.complete or reply.text):
            self._last, self.last_at = reply, time.monotonic()

    def __repr__(self) -> str:
        if not hasattr(self, "_settings"):  # shown by a traceback of its own making
            return f"{type(self).__name__}(not ready)"
        where = self._settings.base_url or "the sandbox of this process"
        return f"{type(self).__name__}(mode={self.mode!r}, base_url={where!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A client is never pickled: it holds a key. Make one where it is needed.")


@contextlib.contextmanager
def watching(painter: TaskPainter, task: BaseTask) -> Iterator[None]:
    """Show a task while it is waited for, and how it ended; an interrupt says how to come back to it."""
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError) as stop:
        _leave_task(painter, task)
        raise spoken(stop, interrupted_task(task)) from None
    except BaseException:
        _leave_task(painter, task)
        raise
    if task.error is not None and task.status == "failed":
        painter.drop()  # the error's own card says it all
        raise task.error.with_traceback(None)  # the same object each time: its frames would pile up
    painter.finish(task)


def _leave_task(painter: TaskPainter, task: BaseTask) -> None:
    if task.id:
        painter.finish(task)
    else:
        painter.drop()


def interrupted_task(task: BaseTask) -> Interrupted:
    """Make the interrupt of a call about a task: what goes on, and how to come back to it."""
    if not task.id:
        return Interrupted(
            "Interrupted before the service had answered: it may have begun the job.",
            hint="bn.pending() goes on with it under its key, so that it is one job and paid once.",
            idempotency_key=task.idempotency_key,
        )
    if task.done:
        return Interrupted(
            "Interrupted while the audio was being fetched.",
            task=task,
            hint=f"bn.task({task.id!r}).wait() fetches it.",
            idempotency_key=task.idempotency_key,
        )
    return Interrupted(
        "Interrupted: the waiting has stopped, the task goes on.",
        task=task,
        hint=f"bn.task({task.id!r}).wait() comes back to it; .cancel() stops it.",
        idempotency_key=task.idempotency_key,
    )


def leave(painter: Painter, partial: Reply) -> None:
    """Take down the live display of a call that failed: what had arrived stays to be seen, marked."""
    if partial.text:
        painter.finish(partial)
    else:
        painter.drop()
