"""What the bench measures: numbers, each beside what it is to reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

from msgspec import Struct


class Verdict(StrEnum):
    """What became of a figure."""

    REACHED = "reached"
    MISSED = "missed"
    TOLD = "told"
    """There is no target: it explains another figure."""


class Figure(Struct, frozen=True):
    """One measured number beside what it is to reach."""

    name: str
    measured: float
    unit: str
    """As printed: "x curl", "MiB", "s CPU", "a second"."""
    most: float | None = None
    """It is to be at most this."""
    least: float | None = None
    """It is to be at least this."""
    structural: bool = False
    """True: memory, bytes or counts, which hold on any machine; else it is a time or a ratio of
    times, which a busy machine may spoil."""

    @property
    def verdict(self) -> Verdict:
        """Whether it reaches what it is to reach."""
        if self.most is None and self.least is None:
            return Verdict.TOLD
        too_much = self.most is not None and self.measured > self.most
        too_little = self.least is not None and self.measured < self.least
        return Verdict.MISSED if too_much or too_little else Verdict.REACHED


class Bench(Struct, frozen=True):
    """What a row is measured with."""

    folder: Path
    """A folder of its own, empty, removed afterwards."""
    short: bool
    """True: as little as shows the structure: a small file, a small backlog, a few seconds."""
    say: Callable[[str], None]
    """Tells the person who waits what is going on."""


class Row(Struct, frozen=True):
    """A row of the table: what it is called, what it says, and how it is measured."""

    name: str
    """One word or two with a hyphen, as typed on the command line."""
    title: str
    measure: Callable[[Bench], Sequence[Figure]]
    """Raises Unmeasurable where something is missing."""


class Unmeasurable(Exception):
    """A row can't be measured here; says what is missing and how it is had."""
