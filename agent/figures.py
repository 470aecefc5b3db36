"""What costs to find out and seldom changes, for the status: looked up only where it may differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from agent.clock import Clock
from agent.ledger import Ledger, damaged_ledgers
from agent.ledger.rows import DialCounts, Errand, QueueCounts
from agent.recordings.disk_watch import DiskWatch

LOOK_BACK = 86_400.0
"""Seconds for which a file that can't be sent, or went missing, is shown as a problem."""
ERRANDS_SHOWN = 10
"""Latest errands in the status file."""
OLDEST = 300.0
"""Seconds for which figures hold though nothing was written: a day's LOOK_BACK moves on. Commands
that write to the ledger beside the agent tell it so."""

STATE_LOOK = 15.0
"""Seconds between looks at the state directory: where it can't be written, the ledger says so at
once."""


class Figures(Struct, frozen=True):
    """The ledger at one moment."""

    queue: QueueCounts
    unusable: int
    """Files found lately that are empty or not audio."""
    lost: int
    """Recordings whose file went missing lately."""
    dial: DialCounts
    errands: Sequence[Errand]
    """The latest ones."""


class LedgerFigures:
    """Counts for one thread; an idle gateway's ledger is asked once a minute."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._last: Figures | None = None
        self._changes = 0
        self._counted = 0.0

    def now(self, attention_after: int) -> Figures:
        """Give the figures; `attention_after` as in `QueueView.counts`. Raises LedgerError."""
        changes, now = self._ledger.changes, self._clock.monotonic()
        if self._last is None or changes != self._changes or now - self._counted >= OLDEST:
            self._last = None  # where it can't be counted, the next call tries again
            self._last = self._count(attention_after)
            self._changes, self._counted = changes, now
        return self._last

    def forget(self) -> None:
        """Count anew at the next call, whatever there is to see."""
        self._last = None

    def _count(self, attention_after: int) -> Figures:
        queue = self._ledger.queue
        since = self._clock.wall() - LOOK_BACK
        return Figures(
            queue=queue.counts(attention_after),
            unusable=queue.kept_since(since),
            lost=queue.missing_since(since),
            dial=self._ledger.errands.counts(),
            errands=self._ledger.errands.recent(ERRANDS_SHOWN),
        )


class StateView(Struct, frozen=True):
    """The state directory at one moment."""

    damaged: tuple[str, ...]
    """Names of ledgers that were set aside."""
    trouble: str
    """What is wrong with the disk under it, in words; empty where nothing is."""


class StateDirectory:
    """Looks at the directory that holds the ledger."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._disk = DiskWatch(directory, None, clock)
        self._clock = clock
        self._view: StateView | None = None
        self._looked = 0.0
        self._damaged: tuple[str, ...] = ()
        self._listed = 0

    def view(self) -> StateView:
        """How it is, or was STATE_LOOK seconds ago."""
        now = self._clock.monotonic()
        if self._view is None or self._view.trouble or now - self._looked >= STATE_LOOK:
            self._view = StateView(self._set_aside(), self._disk.look().reason)
            self._looked = now
        return self._view

    def _set_aside(self) -> tuple[str, ...]:
        """Names of damaged ledgers; listed anew only where the directory has other names."""
        try:
            changed = self._directory.stat().st_mtime_ns
        except OSError:
            changed = 0
        if not changed or changed != self._listed:
            self._damaged = tuple(path.name for path in damaged_ledgers(self._directory))
            self._listed = changed
        return self._damaged
