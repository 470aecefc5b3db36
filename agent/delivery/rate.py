"""The speed limit that all uploads share."""

from __future__ import annotations

import threading

from agent.clock import Clock

LONGEST_BURST = 1.0
"""Seconds of unused allowance that may be caught up, so that pauses do not add up to a flood."""


class RateLimit:
    """Bytes a second over all workers; each waits for its turn before it sends."""

    def __init__(self, bytes_per_second: float, clock: Clock) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock.monotonic()

    def reserve(self, count: int) -> float:
        """Book `count` bytes; return the seconds to wait before sending them."""
        if self._rate <= 0:
            return 0.0
        now = self._clock.monotonic()
        with self._lock:
            begin = max(self._free_at, now - LONGEST_BURST)
            self._free_at = begin + count / self._rate
            return max(0.0, begin - now)
