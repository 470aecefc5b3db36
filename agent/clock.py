"""The two clocks: one that only goes forward, one that people read.

Durations, waits and retries use the monotonic clock. Wall time may jump: a gateway without a
battery wakes in 1970 and learns the time minutes later. So a moment is always read from both
clocks at once, as a `Stamp`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Stamp:
    """One moment, read from both clocks."""

    wall: float
    """UNIX seconds, as the system's clock said then, right or wrong."""
    monotonic: float
    """Seconds of the monotonic clock of this boot."""


class Clock(Protocol):
    """Where every part takes its time from; tests hand in one that they turn by hand."""

    @property
    def boot(self) -> str:
        """Name of this boot: monotonic readings are comparable within one boot only."""

    def wall(self) -> float:
        """UNIX seconds."""

    def monotonic(self) -> float:
        """Seconds since some moment of this boot; never goes back, the same in all processes."""

    def stamp(self) -> Stamp:
        """Both clocks at one moment."""


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        self._boot = _boot_id()

    @property
    def boot(self) -> str:
        """The kernel's name of this boot."""
        return self._boot

    def wall(self) -> float:
        """UNIX seconds, as the system says."""
        return time.time()

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC: one for all processes of this boot."""
        return time.monotonic()

    def stamp(self) -> Stamp:
        """Both clocks, read one straight after the other."""
        return Stamp(time.time(), time.monotonic())


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        # Without it each start counts as a boot of its own: retries start at once, nothing is lost.
        return f"started-{time.time_ns()}"
