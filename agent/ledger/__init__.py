"""The ledger: everything that must survive a power cut, in one SQLite file.

The only room with SQL. Each book holds one kind of thing; all share one connection, so that a
step that touches several is one durable transaction.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from agent.clock import Clock
from agent.ledger.aside import damaged_ledgers as _damaged_ledgers
from agent.ledger.aside import suspect as _suspect
from agent.ledger.calls import CallBook
from agent.ledger.deliveries import DeliveryBook
from agent.ledger.errands import ErrandBook
from agent.ledger.errors import LedgerDamaged, LedgerError, LedgerTooNew
from agent.ledger.opening import open_beside, open_store
from agent.ledger.queue import QueueView
from agent.ledger.recordings import RecordingBook
from agent.ledger.store import Store

FILE_NAME = "ledger.sqlite"

__all__ = [
    "FILE_NAME",
    "Ledger",
    "LedgerDamaged",
    "LedgerError",
    "LedgerTooNew",
    "damaged_ledgers",
    "open_existing",
    "open_ledger",
    "suspect",
]


class Ledger:
    """The books, side by side. Safe to use from any thread."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.deliveries = DeliveryBook(store, clock)
        self.calls = CallBook(store, clock, self.deliveries)
        self.recordings = RecordingBook(store, clock, self.deliveries)
        self.errands = ErrandBook(store, clock)
        self.queue = QueueView(store)
        self._store = store
        self.new_boot = store.meta("boot", "") != clock.boot
        """True: monotonic times in the ledger are of an earlier boot."""
        self.set_aside: Path | None = None
        """Where a damaged predecessor was put when this ledger was opened."""
        self.damage = ""

    @property
    def damaged(self) -> bool:
        """True: damage showed itself; close the ledger, call `suspect` and open it anew."""
        return self._store.damaged

    @property
    def displaced(self) -> bool:
        """True: somebody removed or replaced the file; `rescue`, close and open the ledger anew."""
        return self._store.displaced

    def rescue(self) -> None:
        """Close, and put all that the ledger holds back where its file lay. Raises LedgerError."""
        self._store.rescue()

    @property
    def commits(self) -> int:
        """Durable transactions so far."""
        return self._store.commits

    @property
    def changes(self) -> int:
        """Rows written so far: the same number, the same content, but for other processes."""
        return self._store.changes

    @property
    def soft_commits(self) -> int:
        """Transactions so far that waited for no disk."""
        return self._store.soft_commits

    @property
    def trouble(self) -> str:
        """Why the ledger could not be used when it last was to be; empty: it could."""
        return self._store.trouble

    def try_again(self) -> None:
        """Write what is there already, to find out whether that can be done. Raises LedgerError."""
        self._store.set_meta("boot", self._store.meta("boot", ""))

    def transaction(self, *, soft: bool = False) -> AbstractContextManager[None]:
        """Make several steps one: all durable together, or none.

        `soft`: a power cut may undo them, see `Store`; for what is found anew after one.
        """
        return self._store.transaction(soft=soft)

    def settle(self) -> float | None:
        """Make durable what has been soft for long; return the seconds until something will have.

        None: nothing is soft. Raises LedgerError.
        """
        return self._store.settle()

    def close(self) -> None:
        """Close the file."""
        self._store.close()


def open_ledger(directory: Path, clock: Clock) -> Ledger:
    """Open the ledger in a state directory, or begin one.

    Raises LedgerError where the storage fails and LedgerTooNew where a newer agent wrote it.
    A damaged one is set aside: see `Ledger.set_aside`.
    """
    opened = open_store(directory / FILE_NAME, clock)
    ledger = Ledger(opened.store, clock)
    ledger.set_aside, ledger.damage = opened.set_aside, opened.reason
    return ledger


def open_existing(directory: Path, clock: Clock) -> Ledger:
    """Open a ledger that may be in use by the daemon, for a command.

    Raises LedgerError; a damaged one is left where it is.
    """
    return Ledger(open_beside(directory / FILE_NAME, clock), clock)


def damaged_ledgers(directory: Path) -> list[Path]:
    """Damaged ledgers that lie set aside in a state directory, oldest first."""
    return _damaged_ledgers(directory)


def suspect(directory: Path) -> None:
    """Have the ledger checked thoroughly when it is next opened. Raises OSError."""
    _suspect(directory / FILE_NAME)
