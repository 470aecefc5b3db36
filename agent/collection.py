"""The side of the recordings: the watcher, the intake, and making room."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import tzinfo
from pathlib import Path

from agent.clock import Clock, TrustedClock
from agent.intake import Intake
from agent.ledger import Ledger
from agent.ledger.rows import RecordingToSend, StoredCall
from agent.parts import Alive, Part
from agent.recordings.disk import Disk, DiskStatus
from agent.recordings.disk_watch import DiskWatch
from agent.recordings.matching import Recorded
from agent.recordings.names import RecordingNames, display_name
from agent.recordings.watcher import RecordingWatcher, WatcherView
from agent.settings import Recordings
from agent.upkeep import Upkeep

WATCHER_TURN_LONGEST = 120.0
"""Seconds that one turn of the watcher may take: a batch of files on a slow disk."""


class Collection:
    """The recording directory."""

    def __init__(
        self,
        settings: Recordings,
        boards: Sequence[int],
        ledger: Ledger,
        clock: Clock,
        time: TrustedClock,
        *,
        masked: bool,
        on_new: Callable[[], None],
    ) -> None:
        """`masked`: telephone numbers in file names are not shown in the log."""
        self._settings = settings
        self._masked = masked
        self._names = RecordingNames(settings.patterns, _zone(settings.timezone))
        self._disk = DiskWatch(Path(settings.directory), settings.mount_point, clock)
        self.intake = Intake(
            settings,
            self._names,
            ledger,
            clock,
            time,
            boards,
            shown=self.shown,
            on_new=on_new,
            alive=lambda: watching.beat(WATCHER_TURN_LONGEST),
        )
        self.upkeep = Upkeep(settings, ledger, clock, time, disk=self.disk, shown=self.shown)
        self._watcher = RecordingWatcher(
            Path(settings.directory),
            self._names,
            settings.settle,
            settings.scan,
            clock,
            self.intake.known,
            self.intake.take,
            on_alive=lambda _now: watching.beat(WATCHER_TURN_LONGEST),
        )

        def watch(stop: threading.Event, _alive: Alive) -> None:
            self._watcher.run(stop)

        watching = Part("recordings", watch, clock)
        self.parts = [watching, Part("upkeep", self.upkeep.run, clock)]

    @property
    def directory(self) -> Path:
        """Where the recorder leaves its files."""
        return Path(self._settings.directory)

    def disk(self) -> Disk:
        """How the disk under the recordings is now."""
        return self._disk.look()

    def shown(self, relative: str) -> str:
        """A file's name, fit for the log."""
        return display_name(relative, self._names.places(relative), masked=self._masked)

    def sound(self) -> bool:
        """Tell whether the directory is there, with its disk, and was looked through once.

        What is not found in it otherwise is not gone.
        """
        away = {DiskStatus.NO_DISK, DiskStatus.NOT_MOUNTED}
        return self._watcher.first_scan_done.is_set() and self.disk().status not in away

    def rescan(self) -> None:
        """Look at all files anew, soon."""
        self._watcher.rescan()

    def view(self) -> WatcherView:
        """How the watching goes."""
        return self._watcher.view()

    def being_recorded(self, stored: StoredCall) -> bool:
        """Tell whether a file of this call is still being written."""
        return self.intake.being_recorded(stored, self._watcher.growing())

    def recordings_of(self, stored: StoredCall) -> list[Recorded]:
        """What a call's recordings tell of it."""
        return self.intake.recordings_of(stored)

    def after_delivery(self, item: RecordingToSend) -> None:
        """A recording was delivered, durably."""
        self.upkeep.after_delivery(item)


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - needed where one is named

    return ZoneInfo(name)
