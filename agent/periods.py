"""When something that is done at intervals is due: never in step with the rest of the fleet."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from msgspec import Struct

JITTER = 0.2
"""Part of the interval by which it may come earlier, drawn anew each time: whatever brought many
gateways into step, a power cut or a restarted platform, they fall out of it again."""
FIRST_WITHIN = 5.0
"""Seconds after the start within which it is due for the first time: the gateways of a whole town
start together when its power comes back."""


class Period:
    """Seconds from one time to the next. `draw` gives numbers from 0 to 1."""

    def __init__(self, interval: float, draw: Callable[[], float] = random.random) -> None:
        self.interval = interval
        """Seconds; the longest."""
        self._draw = draw

    def first(self) -> float:
        """Seconds from the start to the first time."""
        return min(self.interval, FIRST_WITHIN) * self._draw()

    def next(self) -> float:
        """Seconds from one time to the next."""
        return self.interval * (1 - JITTER * self._draw())


class _Due(Struct):
    """When one of several is next due; monotonic seconds."""

    period: Period
    earliest: float
    drawn: float
    """When it would come alone."""
    latest: float


class Together:
    """Several things at intervals of their own, in as few turns as their periods allow.

    Each may come earlier by JITTER and never later than its interval, as if it were alone; within
    that it waits for another, or is taken along. A turn of two costs little more than one of one:
    what costs an idle gateway is to wake up.
    """

    def __init__(
        self, intervals: Mapping[str, float], now: float, draw: Callable[[], float] = random.random
    ) -> None:
        """`intervals`: seconds by name; 0 for what is not done. `now`: monotonic seconds."""
        self._all: dict[str, _Due] = {}
        for name, interval in intervals.items():
            if interval > 0:
                period = Period(interval, draw)
                first = now + period.first()
                self._all[name] = _Due(period, first, first, first)

        self.next_turn = self._turn()
        """Monotonic seconds at which something is to be done; infinite where there is nothing."""

    def ripe(self, now: float) -> list[str]:
        """Names of what is to be done now, in order; none before the turn."""
        if now < self.next_turn:
            return []
        return [name for name, one in self._all.items() if now >= one.earliest]

    def done(self, name: str, now: float) -> None:
        """Take it that one of them was done."""
        one = self._all[name]
        interval = one.period.interval
        one.earliest, one.latest = now + interval * (1 - JITTER), now + interval
        one.drawn = now + one.period.next()
        self.next_turn = self._turn()

    def _turn(self) -> float:
        """The last moment drawn that makes none of them late."""
        latest = min((one.latest for one in self._all.values()), default=float("inf"))
        return max((one.drawn for one in self._all.values() if one.drawn <= latest), default=latest)
