"""What the long life measures, and what it calls flat."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psutil
from msgspec import Struct

from agent.ledger import FILE_NAME

MIB = 1024 * 1024
POINTS = 10
WARM = 4
"""Points that count as warming up: history is kept for a month, which the third one has passed."""
MOST_MEMORY_GROWTH = 4 * MIB
"""Bytes of resident memory after the warm-up: caches of SQLite and the allocator go up and down."""
MOST_DESCRIPTOR_GROWTH = 2
"""A connection, or a file, may just be open."""
MOST_THREAD_GROWTH = 0
MOST_HISTORY_GROWTH, MOST_MORE = 0.1, 50
"""Share, and number of calls or recordings: they come unevenly, and go a few hours late."""


class Measure(Struct, frozen=True):
    """One look at the gateway's process and its state."""

    calls: int
    """Made so far."""
    day: float
    """Of the gateway's life."""
    memory: int
    """Bytes, resident."""
    descriptors: int
    threads: int
    ledger: int
    """Bytes, with its write-ahead log."""
    remembered: int
    """Calls in the ledger."""
    files: int
    """Recordings in the directory."""

    def line(self) -> str:
        """Return it as a line of the table."""
        return (
            f"{self.calls:>8}{self.day:>7.0f}{self.memory / MIB:>9.1f}{self.descriptors:>13}"
            f"{self.threads:>9}{self.ledger / MIB:>12.2f}{self.remembered:>17}{self.files:>12}"
        )


HEADING = (
    f"{'calls':>8}{'day':>7}{'RSS MiB':>9}{'descriptors':>13}{'threads':>9}{'ledger MiB':>12}"
    f"{'calls in ledger':>17}{'recordings':>12}"
)


def measure(calls: int, day: float, state: Path, recordings: Path) -> Measure:
    """Look at this process, the ledger in `state`, and the recordings' directory."""
    process = psutil.Process()
    with closing(sqlite3.connect(f"file:{state / FILE_NAME}?mode=ro", uri=True)) as ledger:
        (remembered,) = ledger.execute("SELECT COUNT(*) FROM calls").fetchone()
    return Measure(
        calls=calls,
        day=day,
        memory=process.memory_info().rss,
        descriptors=process.num_fds(),
        threads=process.num_threads(),
        ledger=sum(path.stat().st_size for path in state.glob(f"{FILE_NAME}*")),
        remembered=remembered,
        files=sum(1 for path in recordings.iterdir() if not path.name.startswith(".")),
    )


def growth(measures: Sequence[Measure]) -> list[str]:
    """Name what grew after the warm-up; empty: all is flat."""
    warm, later = measures[WARM - 1], measures[WARM:]

    def history(count: int) -> float:
        return count * (1 + MOST_HISTORY_GROWTH) + MOST_MORE

    limits = {
        "memory": warm.memory + MOST_MEMORY_GROWTH,
        "descriptors": warm.descriptors + MOST_DESCRIPTOR_GROWTH,
        "threads": warm.threads + MOST_THREAD_GROWTH,
        "ledger": warm.ledger * (1 + MOST_HISTORY_GROWTH),
        "remembered": history(warm.remembered),
        "files": history(warm.files),
    }
    most = {name: max(getattr(one, name) for one in later) for name in limits}
    return [
        f"{name} grew to {most[name]:,}; at most {allowed:,.0f} after the warm-up would be flat"
        for name, allowed in limits.items()
        if most[name] > allowed
    ]
