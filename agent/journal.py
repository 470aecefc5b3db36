"""What became of errands, into the ledger: at once, or as soon as the ledger takes it."""

from __future__ import annotations

import logging
import threading

from agent.ledger import Ledger, LedgerError
from agent.ledger.rows import ErrandState
from agent.text import printable

log = logging.getLogger(__name__)


class Journal:
    """Writes outcomes down. Each comes only once, so one that is not taken is kept; thread-safe."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._unwritten: dict[int, tuple[ErrandState, str]] = {}
        """One for each errand that was under way."""

    def move(self, number: int, state: ErrandState, outcome: str) -> None:
        """Write an outcome down; where the ledger can't be written, `write` does it later."""
        with self._lock:
            self._unwritten[number] = (state, printable(outcome))
        try:
            self.write()
        except LedgerError as error:
            log.error("what became of an errand can't be written down yet: %s", error)

    def write(self) -> None:
        """Write down what was not yet. Raises LedgerError."""
        with self._lock:
            for number, (state, outcome) in list(self._unwritten.items()):
                self._ledger.errands.move(number, state, outcome)
                del self._unwritten[number]
