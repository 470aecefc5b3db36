"""Makes room: delivered recordings go by age and space; the ledger forgets what is long done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Container, Iterator
from pathlib import Path

from agent.clock import Clock, TrustedClock
from agent.ledger import Ledger, LedgerError
from agent.ledger.rows import RecordingToSend
from agent.parts import Alive
from agent.recordings.disk import Disk, DiskStatus
from agent.recordings.files import is_gone
from agent.recordings.retention import DAY, DeliveredFile, Space, remove, retire
from agent.settings import Recordings

INTERVAL = 60.0
"""Seconds between looks at the disk."""
LOOK_AGAIN = 600.0
"""Seconds after which the ledger is looked at though there was nothing to do, nothing was written
to it since, and there is room: files and calls grow old by the day."""
PAGE = 100
"""Delivered recordings read at once; more are read only as far as files go."""
HISTORY_DAYS = 30.0
"""Days for which calls without a file are remembered, if `keep_days` is not longer."""
FORGET_AT_ONCE = 500
"""Calls forgotten in one transaction."""
MOST_ROUNDS = 4
"""Choices made at one look: files that can't be removed must not keep those behind them here."""

log = logging.getLogger(__name__)


class Upkeep:
    """Deletes files, and only such as the platform confirmed and the ledger says so durably."""

    def __init__(
        self,
        settings: Recordings,
        ledger: Ledger,
        clock: Clock,
        time: TrustedClock,
        *,
        disk: Callable[[], Disk],
        shown: Callable[[str], str],
    ) -> None:
        self._settings = settings
        self._directory = Path(settings.directory)
        self._ledger = ledger
        self._clock = clock
        self._time = time
        self._disk = disk
        self._shown = shown
        self._last_kept = 0
        self._quiet: tuple[int, bool] | None = None
        """What the ledger and the clock were as nothing was to be done; None: something was."""
        self._looked = 0.0

    def run(self, stop: threading.Event, alive: Alive) -> None:
        """Look after the disk until told to stop."""
        while not stop.is_set():
            alive(INTERVAL * 5)
            try:
                self.look()
            except LedgerError as error:
                log.error("nothing is tidied, the ledger can't be used: %s", error)
            stop.wait(INTERVAL)

    def look(self) -> None:
        """Tidy, unless it would be as the last time, when there was nothing to do.

        Raises LedgerError.
        """
        now, seen = self._clock.monotonic(), self._seen()
        rests = seen == self._quiet and now - self._looked < LOOK_AGAIN
        if rests and self._has_room():
            return
        self._quiet = None
        done = self.tidy()
        if done and self._seen() == seen and not self._last_kept:
            self._quiet, self._looked = seen, now

    def _seen(self) -> tuple[int, bool]:
        return self._ledger.changes, self._time.trusted

    def _has_room(self) -> bool:
        disk = self._disk()
        least = disk.size_bytes * self._settings.keep_free_percent / 100
        return disk.status is DiskStatus.NORMAL and disk.free_bytes >= least

    def after_delivery(self, item: RecordingToSend) -> None:
        """A recording was delivered, durably: it goes now if configuration says so."""
        if self._settings.after_upload != "delete":
            return
        file = DeliveredFile(item.relative, item.size, item.modified_ns, 0.0, item.id)
        try:
            self._remove(file)
        except (OSError, LedgerError) as error:
            self._say_stuck(1, file, error)

    def tidy(self) -> bool:
        """Remove the delivered files that are due, and forget what is long done; tell whether all
        that was due could be removed.

        Raises LedgerError.
        """
        if self._disk().status in {DiskStatus.NO_DISK, DiskStatus.NOT_MOUNTED}:
            # Nothing is there to be removed, and to take that for "gone" would be wrong for ever.
            return False
        if self._time.trusted:
            self._ledger.recordings.date_anew()
        stuck: set[int] = set()
        for _ in range(MOST_ROUNDS):
            before = len(stuck)
            first: tuple[DeliveredFile, OSError] | None = None
            for file in self._due(stuck):
                try:
                    self._remove(file)
                except OSError as error:
                    stuck.add(file.recording_id)
                    first = first or (file, error)
            if first is None:
                break
            self._say_stuck(len(stuck) - before, *first)
        if self._time.trusted:
            days = max(self._settings.keep_days, HISTORY_DAYS)
            self._ledger.recordings.forget(self._clock.wall() - days * DAY, FORGET_AT_ONCE)
            self._forget_kept()
        return not stuck

    def _forget_kept(self) -> None:
        """Forget files that could not be sent and that somebody cleared away since."""
        if self._disk().status is not DiskStatus.NORMAL:
            return
        before = self._clock.wall() - HISTORY_DAYS * DAY
        page = self._ledger.recordings.kept(before, self._last_kept, PAGE)
        gone = [number for number, relative in page if is_gone(self._directory, relative)]
        if gone:
            self._ledger.recordings.forget_kept(gone)
        # A page a minute, round and round.
        self._last_kept = page[-1][0] if len(page) == PAGE else 0

    def _due(self, stuck: Container[int]) -> list[DeliveredFile]:
        disk = self._disk()
        space = None
        if disk.status in {DiskStatus.NORMAL, DiskStatus.FULL}:
            space = Space(disk.free_bytes, disk.size_bytes)
        # Where a file is to go with its delivery, one that is still here was left by a power cut.
        keep_days = 0.0 if self._settings.after_upload == "delete" else self._settings.keep_days
        return retire(
            self._delivered(stuck),
            space,
            keep_days,
            self._settings.keep_free_percent,
            self._clock.wall(),
            self._time.trusted,
        )

    def _delivered(self, stuck: Container[int]) -> Iterator[DeliveredFile]:
        after = (0.0, 0)
        while page := self._ledger.recordings.delivered(PAGE, after):
            for one in page:
                if one.id not in stuck:
                    yield DeliveredFile(
                        one.relative, one.size, one.modified_ns, one.delivered, one.id
                    )
            after = (page[-1].delivered, page[-1].id)

    def _remove(self, file: DeliveredFile) -> None:
        """Remove a file. Raises OSError where the disk does not let it go, and LedgerError."""
        outcome = remove(self._directory, file)
        # Whatever was found there, the delivered file is not any more.
        self._ledger.recordings.removed([file.recording_id])
        shown = self._shown(file.relative)
        log.info("recording %d (%s): %s", file.recording_id, shown, outcome.value)

    def _say_stuck(self, count: int, first: DeliveredFile, error: OSError | LedgerError) -> None:
        files = "1 delivered file" if count == 1 else f"{count} delivered files"
        shown = self._shown(first.relative)
        reason = getattr(error, "strerror", None) or error
        log.warning("%s can't be removed, first %s: %s; it is tried later", files, shown, reason)
