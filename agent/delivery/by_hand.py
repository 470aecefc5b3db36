"""Trying again at once what a person names: a number of the queue, a callid, or everything."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from agent.ledger import Ledger
from agent.ledger.rows import SENDABLE, QueueItem, State

MOST_NAME = 200
"""Characters of a name that is looked for; a callid has some twenty."""


class TriedAgain(Struct, frozen=True):
    """What is due at once."""

    count: int
    """Items; 0 where nothing of it waits for its time."""
    found: Sequence[QueueItem] = ()
    """What bears the name; empty where everything was meant."""

    @property
    def words(self) -> str:
        """How many, for people."""
        return f"{self.count} {'item is' if self.count == 1 else 'items are'} tried again"


def find(ledger: Ledger, name: str) -> list[QueueItem]:
    """Items by a number of the queue or by a callid. Raises LedgerError."""
    if len(name) > MOST_NAME:
        return []
    by_number = ledger.queue.find(int(name)) if _is_number(name) else []
    # No callid holds what UTF-8 can't carry, and SQLite would not take it.
    return by_number or ledger.queue.find_callid(name.encode("utf-8", "replace").decode("utf-8"))


def try_again(ledger: Ledger, name: str | None) -> TriedAgain:
    """Make what bears a name due at once, or with None everything. Raises LedgerError."""
    if name is None:
        return TriedAgain(ledger.deliveries.retry(None))
    found = find(ledger, name)
    waiting = [item for item in found if item.state in SENDABLE]
    # A recording that waits for its record goes when that one went.
    waiting = waiting or [item for item in found if item.state is State.WAITING_FOR_RECORD]
    return TriedAgain(sum(ledger.deliveries.retry(item.id) for item in waiting), found)


def _is_number(name: str) -> bool:
    # A longer one is a callid, and is none of ours: SQLite's integers end here.
    return name.isascii() and name.isdigit() and len(name) < 19
