"""The disk under a directory, for whoever asks every few seconds."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from agent.clock import Clock
from agent.recordings.disk import Disk, DiskStatus, look, measured, room_left

LOOK_AGAIN = 60.0
"""Seconds between two whole looks at a disk that seems the same and sound: what a glance can't see,
such as an entry of fstab for a mount that is not there, is seen so late at most."""


class _Seen(Struct, frozen=True):
    """A directory whose disk was looked at in full, and found sound."""

    marks: tuple[int, ...]
    at: float
    """Monotonic seconds."""


class DiskWatch:
    """Looks in full where something may have changed, else at what moves; from any thread.

    A directory on the same device, with the same number and permissions, on a file system with the
    same options, is on the mount that was found there: two system calls tell, where a whole look
    reads two tables and a directory.
    """

    def __init__(self, directory: Path, mount_point: str | None, clock: Clock) -> None:
        """`mount_point` as in `agent.recordings.disk.look`."""
        self._directory = directory
        self._name = str(directory)
        self._mount_point = mount_point
        self._clock = clock
        self._seen: _Seen | None = None

    def look(self) -> Disk:
        """How the disk is now; raises nothing."""
        seen, now = self._seen, self._clock.monotonic()
        if seen is not None and now - seen.at < LOOK_AGAIN:
            disk = self._glance(seen)
            if disk is not None:
                return disk
        # The marks first: what changes in between shows at the next glance.
        marks = self._marks()
        disk = look(self._directory, self._mount_point)
        sound = disk.status is DiskStatus.NORMAL
        self._seen = _Seen(marks, now) if sound and marks is not None else None
        return disk

    def _glance(self, seen: _Seen) -> Disk | None:
        """The disk as it moved since; None: it takes a whole look to tell."""
        try:
            found = os.statvfs(self._name)
        except OSError:
            return None
        if self._marks(found) != seen.marks or not room_left(found):
            return None
        return measured(found, DiskStatus.NORMAL, "")

    def _marks(self, found: os.statvfs_result | None = None) -> tuple[int, ...] | None:
        """What tells one mounted directory, and what may be done in it, from another."""
        try:
            place = os.stat(self._name)  # noqa: PTH116 - every 5 s, and a Path costs as much again
            flags = (found or os.statvfs(self._name)).f_flag
        except OSError:
            return None
        return (place.st_dev, place.st_ino, place.st_mode, place.st_uid, place.st_gid, flags)
