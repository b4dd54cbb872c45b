"""What calls have cost, by the journal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beatra_nb.store.journal import Journal

_ROWS = "SELECT sandbox, credits FROM calls WHERE time >= ?1 AND (?2 IS NULL OR process = ?2)"


@dataclass(frozen=True, slots=True)
class Spent:
    """Calls and credits of a stretch of time.

    Attributes
    ----------
    calls : int
        How many calls there were.
    credits : Decimal
        What they cost.
    sandbox_credits : Decimal
        What those to a sandbox would have cost: play money.
    """

    calls: int = 0
    credits: Decimal = Decimal(0)
    sandbox_credits: Decimal = Decimal(0)


def spent(journal: Journal, since: datetime, process: int | None = None) -> Spent:
    """Return what was spent since then, by every process or by one.

    Raises
    ------
    BeatraError
        If the journal cannot be read.
    """
    rows = journal.read(_ROWS, (since.astimezone(UTC).isoformat(timespec="microseconds"), process))
    sums = {False: Decimal(0), True: Decimal(0)}
    for sandbox, credits in rows:
        sums[bool(sandbox)] += Decimal(credits or 0)
    return Spent(len(rows), sums[False], sums[True])
