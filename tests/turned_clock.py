"""A clock that a test turns by hand: either reading alone, or both; and the boot."""

from __future__ import annotations

from agent.clock import Stamp

NOON = 1_780_000_000.0
"""Some moment of 2026; UNIX seconds."""


class TurnedClock:
    """Implements `agent.clock.Clock`."""

    def __init__(self, wall: float = NOON, monotonic: float = 1000.0, boot: str = "boot 1") -> None:
        self.boot = boot
        self.wall_now = wall
        self.monotonic_now = monotonic

    def wall(self) -> float:
        return self.wall_now

    def monotonic(self) -> float:
        return self.monotonic_now

    def stamp(self) -> Stamp:
        return Stamp(self.wall_now, self.monotonic_now)

    def turn(self, seconds: float) -> None:
        """Let so much time pass."""
        self.wall_now += seconds
        self.monotonic_now += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as NTP does."""
        self.wall_now += seconds

    def start_anew(self, seconds_later: float, boot: str = "boot 2") -> None:
        """Be the clock of a gateway whose power failed, so many seconds later."""
        self.wall_now += seconds_later
        self.monotonic_now = 10.0
        self.boot = boot
