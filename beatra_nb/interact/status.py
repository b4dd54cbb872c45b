"""How things stand: who answers, what it has cost, what is unfinished, where the journal is.

A look starts nothing, spends nothing, leaves no row, and never fails: what cannot be known is said in words.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from beatra_nb import __version__
from beatra_nb.core import seams
from beatra_nb.core.errors import BeatraError
from beatra_nb.core.seams import Showable
from beatra_nb.core.settings import Secret
from beatra_nb.interact.known_models import known_models, running_sandbox
from beatra_nb.interact.spending import Spent, spent

if TYPE_CHECKING:
    from beatra_nb.core.client import Client

PATIENCE = 3.0  # seconds to wait for the list of models
_LOADED = datetime.now().astimezone()


@dataclass(frozen=True, slots=True)
class Status(Showable):
    """How things stand with the default client and with this machine's journal.

    Attributes
    ----------
    version : str
        The package's.
    mode : str
        ``"live"`` or ``"sandbox"``; empty where the settings cannot work.
    base_url : str or None
        Who is called; None for a sandbox that has not been started.
    models : int or None
        How many models the account has.
    session, today : Spent or None
        Calls and credits of this process, and of everybody who shares the journal since midnight.
    unfinished, elsewhere : int or None
        Jobs whose result is not here yet: of this account, and of others.
    journal_on : bool
        Whether calls leave a row.
    journal_path : Path or None
        Where the journal is.
    journal_rows : int or None
        How many calls it holds.
    troubles : dict
        What could not be known, by the name of its attribute, and why.
    """

    version: str
    mode: str
    base_url: str | None
    models: int | None
    session: Spent | None
    today: Spent | None
    unfinished: int | None
    elsewhere: int | None
    journal_on: bool
    journal_path: Path | None
    journal_rows: int | None
    troubles: dict[str, str]


def look() -> Status:
    """Return how things stand."""
    troubles: dict[str, str] = {}
    client: Client | None = None
    try:
        client = seams.default_client()
    except BeatraError as error:
        troubles["mode"] = str(error)
    models: int | None = None
    if client is not None:
        found, why = known_models(client, PATIENCE)
        models = None if found is None else len(found)
        if why:
            troubles["models"] = why
    session = today = rows = unfinished = elsewhere = None
    path: Path | None = None
    try:
        journal = seams.journal()
        path = journal.path
        rows = len(journal)
        now = datetime.now().astimezone()
        session = spent(journal, _began(), os.getpid())
        today = spent(journal, now.replace(hour=0, minute=0, second=0, microsecond=0))
        unfinished, elsewhere = _unfinished(client)
    except BeatraError as error:
        troubles["journal"] = error.message
    return Status(
        version=__version__,
        mode=client.mode if client is not None else "",
        base_url=_address(client),
        models=models,
        session=session,
        today=today,
        unfinished=unfinished,
        elsewhere=elsewhere,
        journal_on=client is None or client.journal_on,
        journal_path=path,
        journal_rows=rows,
        troubles=troubles,
    )


def _address(client: Client | None) -> str | None:
    if client is None:
        return None
    if client._settings.base_url is not None:
        return client._settings.base_url
    box = running_sandbox()
    return None if box is None else box.base_url


def _unfinished(client: Client | None) -> tuple[int, int]:
    """Count the unfinished jobs of a client's account, and the others."""
    jobs = seams.journal().jobs
    everywhere = jobs.elsewhere("")  # no place has an empty name
    if client is None:
        return 0, everywhere
    settings = client._settings
    others = jobs.elsewhere(client._place(settings.base_url or "", settings.key or Secret("")))
    return everywhere - others, others


def _began() -> datetime:
    """Return when this process began: numbers of processes are given again, above all in containers."""
    try:
        # Every Jupyter kernel has it. Elsewhere the session begins when this module is loaded, with the magics.
        seconds = import_module("psutil").Process().create_time()
        return datetime.fromtimestamp(seconds).astimezone() - timedelta(seconds=1)
    except Exception:
        return _LOADED
