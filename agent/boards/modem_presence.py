"""When a modem is asked whether it is there, and when it is set up once more; clocks handed in."""

from __future__ import annotations

PROBE_APART = 15.0
"""Seconds without a word after which the modem is asked whether it is there."""
PROBE_AGAIN = 2.0
"""Seconds after which a question without answer is repeated."""
PROBES_LOST = 3
"""Questions without answer after which a modem that answers again is set up anew."""
BETTER_AFTER = 30.0
"""Seconds until a set-up in which the modem took no caller ID, or no voice mode, is tried again."""
BETTER_SLOWEST = 3600.0
"""Longest such wait, in seconds, for a modem that simply can't; each wait doubles the last one."""


class Presence:
    """Whether the modem is there."""

    def __init__(self) -> None:
        self.unanswered = 0
        """Questions in a row without answer."""
        self.ask_at = 0.0
        """Monotonic time of the next question."""

    def heard(self, now: float) -> bool:
        """It said something; True: after a silence in which it may have been without power."""
        was_away = self.unanswered >= PROBES_LOST
        self.unanswered = 0
        self.ask_at = now + PROBE_APART
        return was_away

    def not_answered(self, now: float) -> None:
        """A question had no answer in its time."""
        self.unanswered += 1
        self.ask_at = now + PROBE_AGAIN


class Improvement:
    """When a set-up that gave less than was asked for is tried again: ever more rarely."""

    def __init__(self) -> None:
        self.at: float | None = None
        """Monotonic time; None: there is nothing to be had."""
        self._wait = BETTER_AFTER

    def plan(self, now: float, *, complete: bool) -> None:
        """A set-up is over; `complete`: it gave all that was asked for."""
        if complete:
            self.at, self._wait = None, BETTER_AFTER
        else:
            self.at = now + self._wait
            self._wait = min(self._wait * 2, BETTER_SLOWEST)

    def falls_due(self, now: float) -> bool:
        """Tell, once, that it is time."""
        if self.at is None or now < self.at:
            return False
        self.at = None
        return True
