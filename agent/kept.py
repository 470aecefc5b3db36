"""What was made of something, kept for as long as that is the same: for what is told every 5 s."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Source = TypeVar("Source")
Made = TypeVar("Made")


class Kept:
    """One thing made by each name; as many names as a status has sections and boards."""

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[Any, Any]] = {}

    def of(self, name: Hashable, source: Source, make: Callable[[Source], Made]) -> Made:
        """Return what `make` makes of `source`: the same object while the source is equal.

        `make` must go by its source alone, and nobody may change what it made, nor the source.
        """
        known = self._made.get(name)
        if known is not None and (known[0] is source or known[0] == source):
            kept: Made = known[1]
            return kept
        made = make(source)
        self._made[name] = (source, made)
        return made
