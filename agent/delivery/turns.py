"""Whether a lane's next item may go now: what the gate, the lane's pace and a spread say."""

from __future__ import annotations

from agent.delivery.gate import Gate
from agent.delivery.pace import Pace
from agent.delivery.spread import Spread


class Turns:
    """Of one lane."""

    def __init__(self, gate: Gate, pace: Pace, spread: Spread) -> None:
        self._gate = gate
        self._pace = pace
        self._spread = spread

    @property
    def newest_only(self) -> bool:
        """True: what waited through an outage has no turn yet, only what came after it may go."""
        return self._spread.closed_for() > 0

    def admit(self, since: float) -> float:
        """Ask to send an item that waits `since` a wall time.

        Returns 0, and the gate and the pace must hear what became of it; or the seconds after
        which to ask again.
        """
        waited = since < self._spread.began
        if waited and (wait := self._spread.closed_for()) > 0:
            return wait
        wait = self._pace.admit()
        if wait > 0:
            return wait
        wait = self._gate.admit()
        if wait > 0:
            self._pace.learnt_nothing()
        elif waited:
            self._spread.take()
        return wait
