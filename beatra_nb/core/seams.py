"""The only places where the core reaches out of its room, each by an import made when it is needed.

``core`` knows the API and no screen, disk or server. A few things cross that line, lazily, so that the first
line of a notebook stays fast and the import arrows stay one-way:

* a front end asks an object for a picture      → ``beatra_nb.display``
* a stream wants to be watched while it grows   → ``beatra_nb.display.live``
* a task or an upload wants to be watched        → ``beatra_nb.display.live_task``
* a budget wants to be watched                   → ``beatra_nb.display.live_budget``
* there is no key, so the sandbox answers       → ``beatra_nb.sandbox``
* a call leaves a row, a clip its bytes          → ``beatra_nb.store``
* exchanges are recorded or replayed             → ``beatra_nb.store.cassettes``
* many rows are asked about                      → ``beatra_nb.batch``
* a conversation has no client of its own        → ``beatra_nb.verbs``
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from beatra_nb.batch.batch import Batch
    from beatra_nb.core.async_client import AsyncClient
    from beatra_nb.core.base_client import BaseClient
    from beatra_nb.core.budget import Budget
    from beatra_nb.core.client import Client
    from beatra_nb.core.settings import Secret
    from beatra_nb.core.taping.tape import Tape
    from beatra_nb.display.live import Painter
    from beatra_nb.display.live_budget import BudgetPainter
    from beatra_nb.display.live_task import TaskPainter, UploadPainter
    from beatra_nb.sandbox import Sandbox
    from beatra_nb.store.audio import AudioFiles
    from beatra_nb.store.cassettes.exchange import Asked, Exchange
    from beatra_nb.store.entry import Entry
    from beatra_nb.store.jobs import Jobs
    from beatra_nb.store.journal import Journal


class Showable:
    """Mixin: an object that front ends can draw. It holds no markup; ``display`` makes it when asked."""

    __slots__ = ()

    def _ipython_display_(self) -> None:
        # A reply that has just been shown while it grew is not shown again as the value of the same cell.
        from beatra_nb import display

        if not display.already_shown(self):
            raise NotImplementedError  # IPython's word for: ask the other methods

    def _repr_mimebundle_(
        self,
        include: object = None,
        exclude: object = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        from beatra_nb import display

        return display.bundle(self)

    def _repr_html_(self) -> str:
        from beatra_nb import display

        return display.to_html(self)

    def _repr_markdown_(self) -> str:
        from beatra_nb import display

        return display.to_markdown(self)


def error_card(error: BaseException) -> list[str]:
    """The lines IPython prints in place of a traceback."""
    from beatra_nb import display

    return display.error_card(error)


def to_markdown(thing: object) -> str:
    """An object as Markdown that is safe to render, nothing folded."""
    from beatra_nb import display

    return display.to_markdown(thing, whole=True)


def to_plain(thing: object) -> str:
    """An object as text."""
    from beatra_nb import display

    return display.to_plain(thing)


def to_page(thing: object, title: str) -> str:
    """An object as a page of its own that needs nothing from outside."""
    from beatra_nb import display

    return display.to_page(thing, title)


def plain_words(text: str) -> str:
    """A text as Markdown that shows it to the letter."""
    from beatra_nb import display

    return display.escape_markdown(text)


def default_client() -> Client:
    """The client that the verbs of the package use."""
    from beatra_nb import verbs

    return verbs.default_client()


def default_async_client() -> AsyncClient:
    """Its async twin."""
    from beatra_nb import verbs

    return verbs.default_async_client()


def painter(*, sandbox: bool) -> Painter:
    """What shows a stream while it grows, fitted to whoever is watching."""
    from beatra_nb.display import live

    return live.painter(sandbox=sandbox)


def say_once(key: str, text: str) -> None:
    """Tell the user something once per process, without an exception or a return value."""
    from beatra_nb import display

    display.say_once(key, text)


def shared_sandbox() -> Sandbox:
    """The process's own sandbox, started on first use."""
    from beatra_nb import sandbox

    return sandbox.shared()


def journal() -> Journal:
    """The user's journal."""
    from beatra_nb.store.journal import Journal

    return Journal.open()


def account(key: Secret) -> str:
    """A name for the account of a key that tells nothing about the key."""
    from beatra_nb.store.accounts import tag

    return tag(key)


def audio_files(*, keep: bool) -> AudioFiles:
    """Where audio that was fetched stays; nowhere, unless it shall be kept."""
    from beatra_nb.store.audio import AudioFiles

    return AudioFiles.of_user() if keep else AudioFiles(None)


def task_painter(*, sandbox: bool) -> TaskPainter:
    """What shows a task while it is waited for, fitted to whoever is watching."""
    from beatra_nb.display import live_task

    return live_task.task_painter(sandbox=sandbox)


def upload_painter(name: str, size: int) -> UploadPainter:
    """What shows an upload while it goes on."""
    from beatra_nb.display import live_task

    return live_task.upload_painter(name, size)


def budget_painter(budget: Budget) -> BudgetPainter:
    """What shows a budget while it holds."""
    from beatra_nb.display import live_budget

    return live_budget.budget_painter(budget)


def batch(client: BaseClient, data: Any, prompt: Any, **settings: Any) -> Batch:  # noqa: ANN401
    """A batch, checked and ready to be run."""
    from beatra_nb.batch.batch import Batch

    return Batch.of(client, data, prompt, **settings)


def tape(path: Path, *, replays: bool, refresh: bool, speed: float, jobs: bool, real: Jobs | None) -> Tape:
    """What a client records to or replays from."""
    from beatra_nb.core.taping.tape import Tape
    from beatra_nb.store.cassettes.cassette import Cassette
    from beatra_nb.store.cassettes.session import SessionJobs

    return Tape(Cassette(path, refresh=refresh), replays, speed, SessionJobs(real) if jobs else None)


def asked(method: str, path: str, query: str, body: Any) -> Asked:  # noqa: ANN401
    """A request, as a tape has it."""
    from beatra_nb.store.cassettes.exchange import Asked

    return Asked(method, path, query, body)


def exchange(
    asked: Asked,
    at: datetime,
    *,
    headers: dict[str, str],
    trouble: tuple[str, str] | None,
    **fields: Any,  # noqa: ANN401
) -> Exchange:
    """An exchange, as a tape has it: of the headers, only what it has a place for."""
    from beatra_nb.store.cassettes.exchange import HEADERS, Exchange, Trouble

    kept = {name: headers[name].replace("\t", " ") for name in HEADERS if name in headers}
    return Exchange(asked, at, headers=kept, trouble=Trouble(*trouble) if trouble else None, **fields)


def entry(started: float, **fields: Any) -> Entry:  # noqa: ANN401
    """Make a row for the journal; ``started`` in seconds since the epoch."""
    from datetime import UTC, datetime

    from beatra_nb.store.entry import Entry

    return Entry(time=datetime.fromtimestamp(started, UTC), **fields)
