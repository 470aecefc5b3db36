"""A clock turned by hand."""

from __future__ import annotations

from dataclasses import dataclass

from agent.clock import Stamp

NOON = 1_790_000_000.0
"""September 2026; a round number by which failures are easy to read."""


@dataclass
class HandClock:
    """Stands still until it is turned. Implements `agent.clock.Clock`."""

    wall_time: float = NOON
    monotonic_time: float = 1000.0
    boot: str = "first boot"

    def wall(self) -> float:
        return self.wall_time

    def monotonic(self) -> float:
        return self.monotonic_time

    def stamp(self) -> Stamp:
        return Stamp(self.wall_time, self.monotonic_time)

    def turn(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.wall_time += seconds
        self.monotonic_time += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as NTP or a person does."""
        self.wall_time += seconds

    def start_anew(self, boot: str = "second boot", up: float = 20.0) -> None:
        """Boot the machine: its monotonic clock begins from nothing."""
        self.boot = boot
        self.monotonic_time = up
