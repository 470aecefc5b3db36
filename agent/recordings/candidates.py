"""Files that were seen and are not finished, each with the moment of its next look."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from msgspec import Struct

from agent.clock import Stamp
from agent.recordings.names import NameFacts
from agent.recordings.scanning import SeenFile

MOST_CANDIDATES = 5000
"""Files looked after at once, more than 32 boards have ports (3168); the next scan finds more."""


class Candidate(Struct):
    """A file that may still grow."""

    file: SeenFile
    facts: NameFacts
    first_seen: Stamp
    closed: bool
    """It was closed, or renamed into place, and did not change since."""
    unchanged_since: float
    """Monotonic seconds."""
    due: float
    """Monotonic seconds of the next look."""
    looks: int = 0
    """Looks in a row that found it growing or held open."""


class Candidates:
    """All candidates, with one order of deadlines for them all."""

    def __init__(self) -> None:
        self._by_path: dict[str, Candidate] = {}
        self._deadlines: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._by_path)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(tuple(self._by_path.values()))

    @property
    def full(self) -> bool:
        """No more are taken."""
        return len(self._by_path) >= MOST_CANDIDATES

    def get(self, relative: str) -> Candidate | None:
        """Find one by its path."""
        return self._by_path.get(relative)

    def put(self, candidate: Candidate) -> None:
        """Take one in, or note that its deadline has moved."""
        self._by_path[candidate.file.relative] = candidate
        heapq.heappush(self._deadlines, (candidate.due, candidate.file.relative))
        if len(self._deadlines) > 4 * MOST_CANDIDATES:
            # Deadlines that were moved lie about; begin again from those that hold.
            self._deadlines = [(one.due, path) for path, one in self._by_path.items()]
            heapq.heapify(self._deadlines)

    def drop(self, relative: str) -> None:
        """Forget one."""
        self._by_path.pop(relative, None)

    def next_due(self) -> float | None:
        """Monotonic time of the first deadline; None without any."""
        while self._deadlines:
            due, relative = self._deadlines[0]
            candidate = self._by_path.get(relative)
            if candidate is not None and candidate.due == due:
                return due
            heapq.heappop(self._deadlines)
        return None

    def take_due(self, now: float, most: int) -> list[Candidate]:
        """Give those whose deadline is past, at most so many; each must be put back or dropped."""
        due: dict[str, Candidate] = {}
        while len(due) < most:
            moment = self.next_due()
            if moment is None or moment > now:
                break
            _, relative = heapq.heappop(self._deadlines)
            due[relative] = self._by_path[relative]
        return list(due.values())
