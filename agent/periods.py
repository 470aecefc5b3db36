"""When something that is done at intervals is due: never in step with the rest of the fleet."""

from __future__ import annotations

import random
from collections.abc import Callable

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
