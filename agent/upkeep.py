"""Makes room: delivered recordings go by age and space; the ledger forgets what is long done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.clock import Clock, TrustedClock
from agent.ledger import Ledger
from agent.ledger.rows import RecordingToSend
from agent.parts import Alive
from agent.recordings.disk import Disk, DiskStatus
from agent.recordings.retention import DAY, DeliveredFile, Space, remove, retire
from agent.settings import Recordings

INTERVAL = 60.0
"""Seconds between looks at the disk."""
PAGE = 100
"""Delivered recordings read at once; more are read only as far as files go."""
HISTORY_DAYS = 30.0
"""Days for which calls without a file are remembered, if `keep_days` is not longer."""
FORGET_AT_ONCE = 500
"""Calls forgotten in one transaction."""

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

    def run(self, stop: threading.Event, alive: Alive) -> None:
        """Look after the disk until told to stop."""
        while not stop.is_set():
            alive(INTERVAL * 5)
            self.tidy()
            stop.wait(INTERVAL)

    def after_delivery(self, item: RecordingToSend) -> None:
        """A recording was delivered, durably: it goes now if configuration says so."""
        if self._settings.after_upload == "delete":
            self._remove(DeliveredFile(item.relative, item.size, item.modified_ns, 0.0, item.id))

    def tidy(self) -> None:
        """Remove the delivered files that are due, and forget what is long done."""
        disk = self._disk()
        space = None
        if disk.status in {DiskStatus.NORMAL, DiskStatus.FULL}:
            space = Space(disk.free_bytes, disk.size_bytes)
        trusted = self._time.trusted
        now = self._clock.wall()
        for file in retire(
            self._delivered(),
            space,
            self._settings.keep_days,
            self._settings.keep_free_percent,
            now,
            trusted,
        ):
            if not self._remove(file):
                break
        if trusted:
            days = max(self._settings.keep_days, HISTORY_DAYS)
            self._ledger.recordings.forget(now - days * DAY, FORGET_AT_ONCE)

    def _delivered(self) -> Iterator[DeliveredFile]:
        after = (0.0, 0)
        while page := self._ledger.recordings.delivered(PAGE, after):
            for one in page:
                yield DeliveredFile(one.relative, one.size, one.modified_ns, one.delivered, one.id)
            after = (page[-1].delivered, page[-1].id)

    def _remove(self, file: DeliveredFile) -> bool:
        """Remove a file; return False where the disk does not let any go just now."""
        shown = self._shown(file.relative)
        try:
            outcome = remove(self._directory, file)
        except OSError as error:
            log.warning("%s can't be removed: %s; it is tried later", shown, error.strerror)
            return False
        # Whatever was found there, the delivered file is not any more.
        self._ledger.recordings.removed([file.recording_id])
        log.info("recording %d (%s): %s", file.recording_id, shown, outcome.value)
        return True
