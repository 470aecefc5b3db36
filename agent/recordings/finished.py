"""Is a recording finished? A decision table, and who still holds files open for writing."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

from agent.recordings.files import Identity
from agent.recordings.verdict import Verdict

PROC = Path("/proc")


class Seen(Struct, frozen=True):
    """What is known of a file when the question is asked."""

    verdict: Verdict
    closed: bool
    """It was closed after writing, or renamed into place, and did not change since."""
    rested: bool
    """It did not change for the configured time."""
    held: bool
    """Some process has it open for writing."""


ENOUGH = MappingProxyType(
    {
        Verdict.GOOD: ("closed", "rested"),
        # A recorder makes its file empty first, and some close it and open it again.
        Verdict.CUT_OFF: ("rested",),
        Verdict.EMPTY: ("rested",),
        Verdict.FOREIGN: ("rested",),
    }
)
"""Which sign is enough for which verdict, where nobody holds the file open for writing."""


def is_finished(seen: Seen) -> bool:
    """Decide by the table; a file that is held open for writing never is."""
    return not seen.held and any(getattr(seen, sign) for sign in ENOUGH[seen.verdict])


def open_for_writing(wanted: Collection[Identity], proc: Path = PROC) -> set[Identity]:
    """Find those files that another process has open for writing, by one walk of /proc.

    Other users' processes are seen by root only: where the agent has no such right, a file in
    their hands is judged by its close and its rest alone.
    """
    held: set[Identity] = set()
    if not wanted:
        return held
    own = str(os.getpid())
    for process in _names(f"{proc}"):
        if process.isdigit() and process != own:
            held |= _written_by(f"{proc}/{process}", wanted)
    return held


# With a Path for each of some thousand descriptors the walk takes three times as long.


def _written_by(process: str, wanted: Collection[Identity]) -> set[Identity]:
    held: set[Identity] = set()
    for descriptor in _names(f"{process}/fd"):
        try:
            found = os.stat(f"{process}/fd/{descriptor}")  # noqa: PTH116
            identity = (found.st_dev, found.st_ino)
            if identity in wanted and _writes(Path(f"{process}/fdinfo/{descriptor}")):
                held.add(identity)
        except PermissionError:
            break  # none of this process's is shown, though their numbers are
        except OSError:
            continue  # closed, or its process gone, in between
    return held


def _writes(fdinfo: Path) -> bool:
    for line in fdinfo.read_text("ascii", "replace").splitlines():
        name, _, value = line.partition(":")
        if name == "flags":
            return int(value, 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208
    except OSError:
        return []
