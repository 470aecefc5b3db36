"""inotify's events as hints: what to look at next. They may be lost; the scan is the truth."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct, field
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver

from agent.recordings.files import Identity

MOST_HINTS = 5000
"""Paths waiting to be looked at; what comes beyond makes one full scan, which finds them all."""
JOIN_SECONDS = 5.0
"""How long the observer's threads may take to end; they are daemons, so none holds up the exit."""
EVENTS: list[type[FileSystemEvent]] = [
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]
"""Modifications are left out: a recorder makes fifty a second, and closes the file at the end."""


class Hints(Struct):
    """What was hinted since the last look."""

    files: dict[str, bool] = field(default_factory=dict)
    """Path, and whether it was closed after writing or renamed into place."""
    folders: dict[str, bool] = field(default_factory=dict)
    """New folder, and whether it was renamed into place with all that is in it."""
    everything: bool = False
    """There was more than could be kept, or somebody asked: scan everything."""

    def __bool__(self) -> bool:
        return bool(self.files or self.folders or self.everything)


class HintBox:
    """Takes hints from the observer's threads; one thread waits for them."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._hints = Hints()
        self._woken = False

    def file(self, relative: str, closed: bool) -> None:
        """Hint at a file; a close is never forgotten by a later hint."""
        self._add(self._hints_files, relative, closed)

    def folder(self, relative: str, moved: bool) -> None:
        """Hint at a folder that is new here."""
        self._add(self._hints_folders, relative, moved)

    def everything(self) -> None:
        """Ask for a full scan."""
        with self._wake:
            self._hints.everything = True
            self._wake.notify()

    def wake(self) -> None:
        """Make the waiting thread look around, with or without hints."""
        with self._wake:
            self._woken = True
            self._wake.notify()

    def take(self, seconds: float) -> Hints:
        """Wait up to `seconds` for a hint or a wake, then take all there are."""
        with self._wake:
            if seconds > 0:
                self._wake.wait_for(lambda: self._woken or bool(self._hints), seconds)
            taken, self._hints, self._woken = self._hints, Hints(), False
        return taken

    def _add(self, kind: Callable[[], dict[str, bool]], relative: str, sure: bool) -> None:
        with self._wake:
            kept = kind()
            if relative in kept or len(kept) < MOST_HINTS:
                kept[relative] = sure or kept.get(relative, False)
            else:
                self._hints.everything = True
            self._wake.notify()

    def _hints_files(self) -> dict[str, bool]:
        return self._hints.files

    def _hints_folders(self) -> dict[str, bool]:
        return self._hints.folders


class _Handler(FileSystemEventHandler):
    """Makes hints of watchdog's events."""

    def __init__(self, root: str, box: HintBox) -> None:
        self._prefix = root.rstrip("/") + "/"
        self._box = box
        self.folders = False
        """A folder came into the directory, or into one in it."""

    def on_created(self, event: FileSystemEvent) -> None:
        self._hint(event.src_path, event.is_directory, sure=False)

    def on_closed(self, event: FileSystemEvent) -> None:
        self._hint(event.src_path, event.is_directory, sure=True)

    def on_moved(self, event: FileSystemEvent) -> None:
        self._hint(event.dest_path, event.is_directory, sure=True)

    def on_deleted(self, event: FileSystemEvent) -> None:
        if os.fsdecode(event.src_path) + "/" == self._prefix:
            self._box.wake()

    def _hint(self, path: bytes | str, is_directory: bool, sure: bool) -> None:
        name = os.fsdecode(path)
        if name.startswith(self._prefix):
            self.folders |= is_directory
            hint = self._box.folder if is_directory else self._box.file
            hint(name[len(self._prefix) :], sure)


class TreeWatch:
    """One inotify watch over a directory and its folders, for as long as it is the same one."""

    def __init__(self, directory: Path, box: HintBox) -> None:
        """Begin to watch. Raises OSError where it can't be watched (no such directory, limits)."""
        # The configured directory may be a link; inotify must watch what it leads to.
        root = os.path.realpath(directory)
        self.identity = identity_of(directory)
        self._observer = InotifyObserver(generate_full_events=True)
        self._handler = _Handler(root, box)
        # To watch what is below, watchdog reads all names into a list: 9 MiB for a backlog of
        # 100,000. Most directories have no folders; one that gets its first is watched anew.
        self._below = _has_folders(root)
        try:
            self._observer.start()
            self._observer.schedule(self._handler, root, recursive=self._below, event_filter=EVENTS)
            self._handler.folders |= not self._below and _has_folders(root)  # in between
        except BaseException:
            self.close()
            raise

    def watches(self, identity: Identity) -> bool:
        """Tell whether the directory of this identity is still the one that is watched, and all of
        its folders are."""
        emitters = self._observer.emitters
        alive = bool(emitters) and all(emitter.is_alive() for emitter in emitters)
        outgrown = self._handler.folders and not self._below
        return alive and identity == self.identity and not outgrown

    def close(self) -> None:
        """Stop watching and wait for the threads to end."""
        with suppress(OSError, KeyError):  # its directory may be gone already
            self._observer.stop()
        if self._observer.is_alive():
            self._observer.join(JOIN_SECONDS)


def _has_folders(directory: str) -> bool:
    with os.scandir(directory) as entries:
        return any(entry.is_dir(follow_symlinks=False) for entry in entries)


def identity_of(directory: Path) -> Identity:
    """Device and inode of the directory; raises OSError."""
    found = directory.stat()
    return (found.st_dev, found.st_ino)
