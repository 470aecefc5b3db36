"""What waited through an outage goes out spread over a time, not all at once.

A platform that comes back meets every gateway at once, each with the calls of the whole outage.
Each gateway takes for its own backlog the time in which its usual traffic makes as many requests
as the outage usually leaves behind: then the whole fleet asks for at most twice what it asks for on
any day, and nobody needs to know of anybody else.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from msgspec import Struct

from agent.clock import Clock

LOOK_BACK = 4 * 3600.0
"""Seconds before an outage that tell, with the outage itself, how many calls are usual: enough for
chance to even out, and not so many that a night hides a morning."""
ITEMS_OF_A_CALL = 2
"""A record and, of nearly every call, a recording."""
REQUESTS_OF_A_CALL = 2.5
"""These two, and some of the reports as the port changes: most take the place of one that would
have gone at the interval."""
MARGIN = 1.1
"""Times longer than the least: chance heaps requests up now and then."""
LONGEST = 3600.0
"""Seconds: after days without a network a box has all of it out within the hour, if its line
carries it."""


class Usual(Struct, frozen=True):
    """What a gateway asks of the platform on any day."""

    periodic: float
    """Requests a second without any call: reports and polls."""
    learns_within: float
    """Seconds from the end of an outage within which a report finds it, at a random moment: what
    takes no longer than that is spread over the fleet already."""
    calls_since: Callable[[float], int]
    """How many calls ended within the last so many seconds."""
    waiting: Callable[[], int]
    """Records and recordings that wait now."""


class Spread:
    """Turns for what waited; safe from any thread. Without an outage there is nothing to wait for.

    What came after the outage needs no turn, see `agent/delivery/turns.py`.
    """

    def __init__(
        self, usual: Usual, clock: Clock, draw: Callable[[], float] = random.random
    ) -> None:
        """`draw` gives numbers from 0 to 1."""
        self._usual = usual
        self._clock = clock
        self._draw = draw
        self._lock = threading.Lock()
        self._outage = 0.0
        """Seconds of an outage whose backlog is not counted yet; 0: there is none."""
        self._gap = 0.0
        self._left = 0
        self._turn = 0.0
        """Monotonic seconds at which the part of the time begins in which the next turn lies."""
        self._next = 0.0
        self._began = 0.0

    def begin(self, outage: float) -> None:
        """The platform is back after so many seconds."""
        with self._lock:
            self._outage, self._left = outage, 0
            self._began = self._clock.wall()

    def end(self) -> None:
        """Let all go at once: somebody asked for it."""
        with self._lock:
            self._outage, self._left = 0.0, 0

    @property
    def began(self) -> float:
        """Wall time at which the platform came back; what is younger did not wait for it."""
        return self._began

    @property
    def goes_on(self) -> bool:
        """Tell whether turns are being given."""
        return self._left > 0 or self._outage > 0

    def closed_for(self) -> float:
        """Seconds until the next turn; 0: it is there, and `take` takes it."""
        with self._lock:
            if self._outage > 0:
                self._plan()
            return max(0.0, self._next - self._clock.monotonic()) if self._left else 0.0

    def take(self) -> None:
        """Use a turn."""
        with self._lock:
            if self._left:
                self._left -= 1
                # Not counted from now: a turn that was late would make all the others late.
                self._turn += self._gap
                self._next = self._turn + self._gap * self._draw()

    def _plan(self) -> None:
        """Count what waits, and share the time out. Raises what the counting raises."""
        window = self._outage + LOOK_BACK
        calls = self._usual.calls_since(window) / window
        items = self._usual.waiting()
        usual = self._usual.periodic + REQUESTS_OF_A_CALL * calls
        left_behind = ITEMS_OF_A_CALL * calls * self._outage
        seconds = min(MARGIN * left_behind / usual, LONGEST) if left_behind else 0.0
        self._outage = 0.0
        if items and seconds > self._usual.learns_within:
            self._left, self._gap = items, seconds / items
            self._turn = self._clock.monotonic()
            self._next = self._turn + self._gap * self._draw()
