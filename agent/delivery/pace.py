"""How fast one lane goes: as fast as it can, until the platform refuses whatever it sends.

One refused item waits alone. A platform that refuses every one of thousands would still hear from
each of them, again and again, so after some in a row the lane slows to one at a time.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import msgspec

from agent.clock import Clock
from agent.delivery.gate import Gate, Shut
from agent.settings import Retry

SLOW_AFTER = 20
"""Different items refused in a row, none accepted between: where one in two is refused, once in a
million items."""
LONGEST_PACE = 60.0
"""Seconds between two items of a slow lane: no storm, and a new call's record, which the platform
may well take, is held up no longer."""


class Pace:
    """Of one lane; safe from any thread.

    What is accepted makes it fast again.
    """

    def __init__(
        self,
        retry: Retry,
        clock: Clock,
        on_change: Callable[[], None],
        draw: Callable[[], float] = random.random,
    ) -> None:
        longest = max(retry.first, min(retry.longest, LONGEST_PACE))
        slower = msgspec.structs.replace(retry, longest=longest)
        self._gate = Gate(slower, clock, on_change, draw)
        self._lock = threading.Lock()
        self._refused: set[int] = set()
        """Numbers of items; at most `SLOW_AFTER`."""

    @property
    def slow(self) -> bool:
        """True: one at a time, with growing waits between."""
        return self._gate.is_shut

    def admit(self) -> float:
        """Ask to send, as `Gate.admit`: 0, or the seconds after which to ask again."""
        return self._gate.admit()

    def accepted(self) -> bool:
        """The platform took an item; tell whether that ends a slow time."""
        with self._lock:
            self._refused.clear()
        ended = self.slow
        self._gate.answered()
        return ended

    def refused(self, number: int, reason: str) -> bool:
        """The platform refused an item; tell whether a slow time begins with it."""
        with self._lock:
            self._refused.add(number)
            many = len(self._refused) >= SLOW_AFTER
            if many:
                self._refused.clear()
        begins = many and not self.slow
        if begins or self.slow:
            self._gate.failed(Shut.REFUSALS, reason, None)
        return begins

    def learnt_nothing(self) -> None:
        """An item that was admitted was neither accepted nor refused."""
        self._gate.gave_up()
