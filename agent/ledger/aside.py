"""Damaged ledgers set aside, and the mark that tells of damage seen in use."""

from __future__ import annotations

import re
from pathlib import Path

from agent.clock import Clock
from agent.ledger.errors import translated

MOST_SET_ASIDE = 3
"""Damaged ledgers kept for inspection; an older one makes room, or they would fill the disk."""
SIDECARS = ("-wal", "-shm")
"""What lies beside a ledger in use, by the ending of its name."""


def damaged_ledgers(directory: Path) -> list[Path]:
    """Damaged ledgers that lie set aside, oldest first."""
    found = [(_number_aside(path), path) for path in directory.glob("ledger-damaged-*.sqlite")]
    return [path for number, path in sorted(found) if number >= 0]


def put_aside(path: Path, clock: Clock) -> Path:
    """Move a damaged ledger out of the way; return where it lies. Raises LedgerError."""
    earlier = damaged_ledgers(path.parent)
    # The names stand in order, whatever the clock does: the oldest goes first.
    newest = _number_aside(earlier[-1]) if earlier else 0
    aside = path.with_name(f"ledger-damaged-{max(int(clock.wall()), newest + 1)}.sqlite")
    with translated(path):
        # The file goes first: a log without it is dropped by SQLite, while the file without its
        # log would look like a ledger that was closed well.
        path.rename(aside)
        for suffix in SIDECARS:
            beside = sidecar(path, suffix)
            if beside.exists():
                beside.rename(sidecar(aside, suffix))
        for old in damaged_ledgers(path.parent)[:-MOST_SET_ASIDE]:
            for suffix in ("", *SIDECARS):
                sidecar(old, suffix).unlink(missing_ok=True)
    return aside


def _number_aside(path: Path) -> int:
    """Read the number in the name of a ledger set aside; -1: the name is another one."""
    found = re.fullmatch(r"ledger-damaged-(\d+)\.sqlite", path.name, re.ASCII)
    return int(found[1]) if found else -1


def sidecar(path: Path, suffix: str) -> Path:
    """The file beside a ledger with that ending."""
    return path.with_name(path.name + suffix)


def suspected(path: Path) -> bool:
    """Tell whether damage showed itself while the ledger was last in use."""
    return suspicion(path).exists()


def suspect(path: Path) -> None:
    """Have the ledger checked thoroughly when it is next opened. Raises OSError."""
    suspicion(path).touch()


def suspicion(path: Path) -> Path:
    """The mark, there or not."""
    return sidecar(path, "-suspected")
