"""Which delivered recordings go from the disk, and removing them: those and nothing else.

What was not delivered is never handed in here, whatever the disk says.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from agent.recordings.files import NotARecording, folder_of

DAY = 86_400.0
MOST_AT_ONCE = 500
"""Files in one answer; what remains is due at the next question."""


class DeliveredFile(Struct, frozen=True):
    """A recording whose delivery is durable in the ledger."""

    relative: str
    size: int
    modified_ns: int
    delivered_at: float
    """UNIX seconds."""
    recording_id: int


class Space(Struct, frozen=True):
    """Room on the recordings' file system, in bytes."""

    free: int
    total: int


class Removal(StrEnum):
    """What became of a file that was to go."""

    REMOVED = "removed"
    GONE = "gone already"
    CHANGED = "changed since it was delivered, so it stays"
    REFUSED = "no plain file of the recording directory, so it stays"


def retire(
    delivered: Iterable[DeliveredFile],
    space: Space | None,
    keep_days: float,
    keep_free_percent: float,
    now: float,
    clock_trusted: bool,
) -> list[DeliveredFile]:
    """Choose which of the delivered files, given oldest first, go; no more than MOST_AT_ONCE.

    A file goes when it was delivered `keep_days` ago (only while the clock is trusted: one that
    wakes in the wrong year would clear the disk), or while less than `keep_free_percent` of the
    disk is free. The iterable is read only as far as files go. `space` None: not known.
    """
    lacking = _lacking(space, keep_free_percent)
    going: list[DeliveredFile] = []
    for file in delivered:
        aged = clock_trusted and now - file.delivered_at >= keep_days * DAY
        if len(going) >= MOST_AT_ONCE or not (aged or lacking > 0):
            break
        lacking -= file.size
        going.append(file)
    return going


def _lacking(space: Space | None, keep_free_percent: float) -> float:
    if space is None:
        return 0.0
    return space.total * keep_free_percent / 100 - space.free


def remove(directory: Path, file: DeliveredFile) -> Removal:
    """Remove a file if it is still exactly the one that was delivered.

    Raises OSError where the system does not let it go (read-only, not permitted).
    """
    try:
        with folder_of(directory, file.relative) as (folder, name):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                return Removal.REFUSED
            if (found.st_size, found.st_mtime_ns) != (file.size, file.modified_ns):
                return Removal.CHANGED
            os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return Removal.GONE
    except NotARecording:
        return Removal.REFUSED
    return Removal.REMOVED
