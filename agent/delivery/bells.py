"""What wakes the lanes."""

from __future__ import annotations

from agent.parts import Bell


class Bells:
    """A bell for each lane: a call that ended is nothing to those who carry recordings."""

    def __init__(self) -> None:
        self.records = Bell()
        """Rung when there may be a record to send."""
        self.recordings = Bell()

    def ring(self) -> None:
        """Wake all: anything may be due, or may go again."""
        self.records.ring()
        self.recordings.ring()
