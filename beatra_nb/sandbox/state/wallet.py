"""The sandbox's wallet: a ledger of charges and refunds that adds up, and a balance that is never negative."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from beatra_nb.core.errors import InvalidInput
from beatra_nb.sandbox.contract import Refusal
from beatra_nb.sandbox.state.sql import now, transaction

OPENING_CREDITS = 10_000
MOST_CREDITS = 1_000_000_000
UNIT = 1000  # the ledger counts thousandths of a credit


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One movement of the sandbox's wallet.

    Attributes
    ----------
    time : datetime
        When, in UTC.
    kind : {"opening", "charge", "refund", "refill"}
        What moved it.
    credits : Decimal
        By how much: negative for a charge.
    balance : Decimal
        What the wallet held after it.
    task_id : str or None
        The task that it was for.
    """

    time: datetime
    kind: str
    credits: Decimal
    balance: Decimal
    task_id: str | None


def amount(credits: object, name: str = "credits") -> int:
    """Return credits as whole thousandths.

    Raises
    ------
    InvalidInput
        For what is no amount from 0 up, with at most three decimals.
    """
    try:
        if isinstance(credits, bool) or not isinstance(credits, int | float | str | Decimal):
            raise InvalidOperation
        exact = Decimal(str(credits)) * UNIT
        if not 0 <= exact <= MOST_CREDITS * UNIT or exact != exact.to_integral_value():
            raise InvalidOperation
    except InvalidOperation:
        raise InvalidInput(
            f"{name} must be a number from 0 to {MOST_CREDITS:,} with at most three decimals, not {credits!r:.60}.",
            hint=f"Pass {name}=10_000, for example.",
        ) from None
    return int(exact)


def in_credits(thousandths: int) -> Decimal:
    """Return thousandths as credits."""
    return Decimal(thousandths) / UNIT


def as_text(thousandths: int) -> str:
    """Return thousandths as a decimal string of credits, without needless zeros."""
    text = f"{in_credits(thousandths):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def open_account(db: sqlite3.Connection, opening: int) -> None:
    """Write the first row, unless there is one."""
    if _is_empty(db):
        with transaction(db):
            if _is_empty(db):  # still, now that no other process can write
                _move(db, "opening", opening, None)


def _is_empty(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM ledger LIMIT 1").fetchone() is None


def balance(db: sqlite3.Connection) -> int:
    """Return what the wallet holds, in thousandths."""
    row = db.execute("SELECT balance FROM ledger ORDER BY id DESC LIMIT 1").fetchone()
    return int(row[0]) if row is not None else 0


def charge(db: sqlite3.Connection, task_id: str, cost: int) -> None:
    """Take a task's price; inside a transaction.

    Raises
    ------
    Refusal
        ``insufficient_balance``, with how to refill.
    """
    held = balance(db)
    if held < cost:
        raise Refusal(
            "insufficient_balance",
            f"This task costs {as_text(cost)} credits and the sandbox's wallet holds {as_text(held)}. "
            "The credits are play money: refill it with bn.sandbox.shared().refill(1000), or run "
            "'beatra-nb sandbox --refill 1000'.",
        )
    _move(db, "charge", -cost, task_id)


def refund(db: sqlite3.Connection, task_id: str, sum_: int) -> None:
    """Give a task's price back; inside the transaction that ends the task."""
    if sum_:
        _move(db, "refund", sum_, task_id)


def refill(db: sqlite3.Connection, sum_: int) -> int:
    """Add to the wallet and return the new balance; a transaction of its own."""
    with transaction(db):
        _move(db, "refill", sum_, None)
    return balance(db)


def rows(db: sqlite3.Connection) -> list[LedgerRow]:
    """Return every movement, oldest first."""
    return [_row(row) for row in db.execute("SELECT * FROM ledger ORDER BY id")]


def _row(row: Any) -> LedgerRow:  # noqa: ANN401 - a sqlite3.Row
    return LedgerRow(
        time=datetime.fromtimestamp(row["time"] / 1e6, UTC),
        kind=row["kind"],
        credits=in_credits(row["amount"]),
        balance=in_credits(row["balance"]),
        task_id=row["task_id"],
    )


def _move(db: sqlite3.Connection, kind: str, sum_: int, task_id: str | None) -> None:
    db.execute(
        "INSERT INTO ledger (time, kind, amount, balance, task_id) VALUES (?, ?, ?, ?, ?)",
        (now(), kind, sum_, balance(db) + sum_, task_id),
    )
