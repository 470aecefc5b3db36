"""The walks that are under way: a full scan, and new folders before it, a slice at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from pathlib import Path

from msgspec import Struct, field

from agent.recordings.scanning import SeenFile, TreeWalk

BATCH = 500
"""Files given out, and asked of the ledger, at once."""
MOST_WALKS = 32
"""New folders waiting to be walked; more make one full scan."""


class Piece(Struct, frozen=True):
    """What one turn of walking brought."""

    files: list[SeenFile]
    """Often empty: they come in batches."""
    moved: bool
    """They lie in a folder that was renamed into place."""
    ended: TreeWalk | None
    """The full scan that ends with these files."""


class _Walk(Struct):
    tree: TreeWalk
    slices: Generator[list[SeenFile], None, None]
    full: bool
    moved: bool
    batch: list[SeenFile] = field(default_factory=list)


class Walks:
    """Walks below one directory, new folders first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._walks: deque[_Walk] = deque()

    def __bool__(self) -> bool:
        return bool(self._walks)

    def scan(self) -> None:
        """Begin a full scan, where none is under way."""
        if not any(walk.full for walk in self._walks):
            self._walks.append(self._walk("", full=True, moved=False))

    def folder(self, below: str, moved: bool) -> bool:
        """Walk a new folder soon; False where too many wait already."""
        if len(self._walks) >= MOST_WALKS:
            return False
        self._walks.appendleft(self._walk(below, full=False, moved=moved))
        return True

    def take(self) -> Piece | None:
        """Go on for a slice; None without any walk.

        Raises OSError where a full scan can't begin; it is given up then.
        """
        if not self._walks:
            return None
        walk = self._walks[0]
        try:
            found = next(walk.slices, None)
        except OSError:
            self._walks.popleft()
            if walk.full:
                raise
            return None  # the folder is gone again
        if found is None:
            self._walks.popleft()
            return Piece(walk.batch, walk.moved, walk.tree if walk.full else None)
        walk.batch.extend(found)
        if len(walk.batch) < BATCH:
            return Piece([], walk.moved, None)
        files, walk.batch = walk.batch[:BATCH], walk.batch[BATCH:]
        return Piece(files, walk.moved, None)

    def forget(self) -> None:
        """Give up all walks and close what they opened."""
        while self._walks:
            self._walks.pop().slices.close()

    def _walk(self, below: str, full: bool, moved: bool) -> _Walk:
        tree = TreeWalk(self._directory, below)
        return _Walk(tree, tree.slices(), full, moved)
