"""The jobs of one recording or replay: what this machine remembers of others is not on the tape.

A recording's jobs are real: they are written down in the journal too, so that none is lost if the kernel dies.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beatra_nb.store.jobs import Jobs
from beatra_nb.store.journal import Journal

if TYPE_CHECKING:
    from decimal import Decimal


class SessionJobs(Jobs):
    """Jobs that begin empty, in a file that goes with them.

    Parameters
    ----------
    real : Jobs or None
        Where they are written down as well; None for a replay, whose jobs were all done when it was recorded.
    """

    def __init__(self, real: Jobs | None) -> None:
        folder = tempfile.mkdtemp(prefix="beatra-nb-session-")
        journal = Journal(Path(folder) / "jobs.sqlite3")
        super().__init__(journal)
        self._real = real
        weakref.finalize(self, _remove, journal, folder)

    def begin(self, place: str, key: str, *, started: float, body: bytes, **said: str) -> bool:
        """Write a job down before it is sent; return whether it is on disk."""
        kept = super().begin(place, key, started=started, body=body, **said)
        return (
            kept if self._real is None else self._real.begin(place, key, started=started, body=body, **said)
        )

    def claim(self, place: str, key: str, *, started: float, body: bytes, **said: str) -> bool | None:
        """Write a job down unless the same request has one already in this session."""
        mine = super().claim(place, key, started=started, body=body, **said)
        if mine and self._real is not None:
            self._real.begin(place, key, started=started, body=body, **said)
        return mine

    def attach(self, place: str, key: str, task_id: str) -> bool:
        """Write down which task a job became."""
        news = super().attach(place, key, task_id)
        if self._real is not None:
            self._real.attach(place, key, task_id)
        return news

    def close(self, place: str, key: str, status: str) -> None:
        """Write down that there is nothing more to do for a job."""
        super().close(place, key, status)
        if self._real is not None:
            self._real.close(place, key, status)

    def deliver(self, place: str, task_id: str, seconds: float | None) -> None:
        """Write down that a task is over and its result is here."""
        super().deliver(place, task_id, seconds)
        if self._real is not None:
            self._real.deliver(place, task_id, seconds)

    def settle(self, place: str, task_id: str, refunded: Decimal) -> Decimal:
        """Note what was refunded of a job; return how much of it is new."""
        news = super().settle(place, task_id, refunded)
        if self._real is not None:
            self._real.settle(place, task_id, refunded)
        return news

    def keep_upload(self, place: str, **said: Any) -> None:  # noqa: ANN401
        """Remember a file that the service has."""
        super().keep_upload(place, **said)
        if self._real is not None:
            self._real.keep_upload(place, **said)

    def forget_upload(self, place: str, artifact_id: str) -> None:
        """Forget a file that the service does not have any more."""
        super().forget_upload(place, artifact_id)
        if self._real is not None:
            self._real.forget_upload(place, artifact_id)


def _remove(journal: Journal, folder: str) -> None:
    journal.close()
    shutil.rmtree(folder, ignore_errors=True)
