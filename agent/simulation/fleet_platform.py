"""The platform as a fleet meets it: it answers, or it does not, and every request is counted."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from msgspec import Struct, field

from agent.clock import Clock

ANSWERS_AFTER = 0.05
"""Seconds that a request and its answer take."""


class Outage(StrEnum):
    """What an outage looks like from a gateway."""

    REFUSED = "refused"
    """The connection is refused at once."""
    SILENT = "silent"
    """Nothing answers; the gateway's connect time-out ends the attempt."""
    BUSY = "busy"
    """Something answers 503."""


class Reply(Struct, frozen=True):
    """What becomes of a request."""

    good: bool
    after: float
    """Seconds until the gateway knows."""


class FleetPlatform(Struct):
    """Counts requests by the second."""

    clock: Clock
    outage: Outage
    connect_timeout: float
    capacity: float
    """Requests a second that it answers; more get a 503. 0: any number."""
    down: bool = False
    asked: Counter[int] = field(default_factory=Counter)
    """Attempts by second, those on a dead platform too."""

    def ask(self) -> Reply:
        """Take a request."""
        second = int(self.clock.monotonic())
        self.asked[second] += 1
        if self.down:
            return Reply(False, self.connect_timeout if self.outage is Outage.SILENT else 0.0)
        busy = 0 < self.capacity < self.asked[second]
        return Reply(not busy, ANSWERS_AFTER)
