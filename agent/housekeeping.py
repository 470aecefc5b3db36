"""What is done by the clock alone: calls that fell silent end, items whose wait is over go on."""

from __future__ import annotations

import logging
from collections.abc import Callable

from agent.collection import Collection
from agent.ledger import Ledger, LedgerError
from agent.lines import Lines
from agent.uplink import Uplink

LONGEST_TURN = 5.0
"""Seconds between two rounds: the status file promises no longer."""
WRITE_AGAIN = 1.0
"""Seconds between attempts to write down what the ledger did not take: it is in memory so long."""

log = logging.getLogger(__name__)


class Housekeeping:
    """Goes its rounds in one thread; the parts are asked for anew each time, as they may change."""

    def __init__(
        self,
        ledger: Ledger,
        lines: Callable[[], Lines],
        collection: Callable[[], Collection],
        uplink: Callable[[], Uplink],
    ) -> None:
        self._ledger = ledger
        self._lines = lines
        self._collection = collection
        self._uplink = uplink
        self._quiet: int | None = None
        """What `Ledger.changes` was as nothing in it waited for its time; None: something did."""

    def keep(self) -> float:
        """Do what is due; return the seconds until the next round."""
        try:
            if self._ledger.trouble:
                self._ledger.try_again()
            self._lines().switchboard.tick()
            waits = [self._look_after_ledger(), self._ledger.settle()]
        except LedgerError as error:
            log.error("the ledger can't be used just now: %s", error)
            return WRITE_AGAIN
        if self._ledger.trouble or self._lines().switchboard.unwritten:
            waits.append(WRITE_AGAIN)
        return min(wait for wait in waits if wait is not None)

    def look_again(self) -> None:
        """Look into the ledger at the next round though the agent wrote nothing there."""
        self._quiet = None

    def _look_after_ledger(self) -> float:
        changes = self._ledger.changes
        if changes == self._quiet:
            return LONGEST_TURN
        self._quiet = None
        errands = self._uplink().errands
        waits = [self._collection().intake.match_waiting()]
        errands.pump()
        waits.append(errands.due())
        known = [wait for wait in waits if wait is not None]
        if not known and not self._ledger.trouble:
            self._quiet = changes
        return min([LONGEST_TURN, *known])
