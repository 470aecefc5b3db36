"""Walking the recording directory, in slices, so that nothing waits for a large tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from agent.recordings.files import Identity, open_folder

FileKey = tuple[str, int, int]
"""A recording's name in the ledger: path, size in bytes, modification time in nanoseconds."""

MOST_DEPTH = 32
"""Folders within folders: as many descriptors are open at once."""
SLICE = 100
"""Directory entries looked at before others get their turn; some milliseconds on slow flash."""
UNFINISHED_ENDINGS = (".tmp", ".part")
"""Endings, in any case, of files whose writer will rename them when they are finished."""
LOST_AND_FOUND = "lost+found"


class SeenFile(Struct, frozen=True):
    """One plain file, as its directory entry says."""

    relative: str
    size: int
    modified_ns: int
    identity: Identity

    @property
    def key(self) -> FileKey:
        """What the ledger knows it by."""
        return (self.relative, self.size, self.modified_ns)


def waits_for_rename(relative: str) -> bool:
    """Tell whether a component is hidden or the name says that its writer is not done."""
    components = relative.split("/")
    return any(part.startswith(".") for part in components) or components[-1].lower().endswith(
        UNFINISHED_ENDINGS
    )


def seen_file(relative: str, found: os.stat_result) -> SeenFile | None:
    """Make a SeenFile of a stat that followed no link; None where it is no plain file."""
    if not stat.S_ISREG(found.st_mode):
        return None
    return SeenFile(relative, found.st_size, found.st_mtime_ns, (found.st_dev, found.st_ino))


class _Level(Struct):
    """A folder that is being listed."""

    descriptor: int
    prefix: str
    entries: Iterator[os.DirEntry[str]]

    def close(self) -> None:
        close = getattr(self.entries, "close", None)
        if close is not None:
            close()
        os.close(self.descriptor)


class TreeWalk:
    """One walk over the plain files below `directory`/`below`; links are not followed."""

    def __init__(self, directory: Path, below: str = "") -> None:
        self.directory = directory
        self.below = below
        self.files = 0
        """Files seen so far."""
        self.unreadable = 0
        """Folders so far that could not be read, or lay too deep."""
        self.example = ""
        """The first of them, with the reason."""
        self._levels: list[_Level] = []

    def slices(self) -> Generator[list[SeenFile], None, None]:
        """Yield the files in slices, some of them empty.

        Raises OSError where the directory itself can't be opened; what can't be read inside is
        noted. Closing the generator closes all that it opened.
        """
        try:
            self._enter_top()
            while self._levels:
                yield self._slice()
        finally:
            while self._levels:
                self._levels.pop().close()

    def _enter_top(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for component in filter(None, self.below.split("/")):
                inner = open_folder(component, descriptor)
                os.close(descriptor)
                descriptor = inner
            entries = os.scandir(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._levels.append(_Level(descriptor, self.below + "/" if self.below else "", entries))

    def _slice(self) -> list[SeenFile]:
        found: list[SeenFile] = []
        for _ in range(SLICE):
            if not self._levels:
                break
            level = self._levels[-1]
            try:
                entry = next(level.entries, None)
            except OSError as error:
                self._note(level.prefix, error.strerror)
                entry = None
            if entry is None:
                self._levels.pop().close()
            else:
                self._take(entry, level, found)
        return found

    def _take(self, entry: os.DirEntry[str], level: _Level, found: list[SeenFile]) -> None:
        relative = level.prefix + entry.name
        if entry.name.startswith(".") or relative == LOST_AND_FOUND:
            return
        with suppress(OSError):  # it vanished in between
            if entry.is_dir(follow_symlinks=False):
                self._enter(entry.name, relative, level)
            elif entry.is_file(follow_symlinks=False) and not waits_for_rename(entry.name):
                file = seen_file(relative, entry.stat(follow_symlinks=False))
                if file is not None:
                    self.files += 1
                    found.append(file)

    def _enter(self, name: str, relative: str, level: _Level) -> None:
        if len(self._levels) >= MOST_DEPTH:
            self._note(relative, f"more than {MOST_DEPTH} folders deep")
            return
        try:
            descriptor = open_folder(name, level.descriptor)
        except FileNotFoundError:
            return
        except OSError as error:
            self._note(relative, error.strerror)
            return
        try:
            entries = os.scandir(descriptor)
        except OSError as error:
            os.close(descriptor)
            self._note(relative, error.strerror)
            return
        self._levels.append(_Level(descriptor, relative + "/", entries))

    def _note(self, relative: str, reason: str | None) -> None:
        self.unreadable += 1
        self.example = self.example or f"{relative.rstrip('/')}: {reason}"
