"""Simulated time: what is due next is done next, and the clock is turned to it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from agent.clock import Stamp

EPOCH = 1_790_000_000.0
"""UNIX seconds at which simulated time begins."""


class Agenda:
    """A clock (`agent.clock.Clock`) and all that is to be done by it, in order."""

    boot = "simulated"

    def __init__(self) -> None:
        self._now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def wall(self) -> float:
        """UNIX seconds."""
        return EPOCH + self._now

    def monotonic(self) -> float:
        """Seconds since the simulation began."""
        return self._now

    def stamp(self) -> Stamp:
        """Both clocks."""
        return Stamp(self.wall(), self._now)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something so many seconds from now."""
        heapq.heappush(self._due, (self._now + seconds, next(self._order), action))

    def run(self, until: float) -> None:
        """Let time pass until a moment, in seconds since the begin."""
        while self._due and self._due[0][0] <= until:
            self._now, _, action = heapq.heappop(self._due)
            action()
        self._now = until
