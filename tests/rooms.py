"""What the tests of the rooms share: a ledger that fails, files, waits that turn a clock."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from agent.clock import Clock
from agent.delivery.spread import Spread, Usual
from agent.ledger import FILE_NAME
from agent.parts import Bell
from agent.recordings.audio import inspect
from agent.recordings.disk import Disk, DiskStatus
from agent.recordings.files import open_recording
from agent.recordings.judging import FinishedFile
from agent.recordings.names import RecordingNames
from tests.clocks import HandClock

SOUND_DISK = Disk(20, 100 * 1024**2, 80 * 1024**2, DiskStatus.NORMAL, "")


@contextmanager
def unwritable(directory: Path) -> Iterator[None]:
    """Let the ledger in a state directory be read and not written, as on a full disk.

    The refusal is SQLite's own: triggers made by another connection raise it.
    """
    path = directory / FILE_NAME
    made: list[str] = []
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not name.startswith("sqlite_")
        ]
        for table in tables:
            for change in ("INSERT", "UPDATE", "DELETE"):
                made.append(f"fault_{table}_{change}")
                connection.execute(
                    f"CREATE TRIGGER {made[-1]} BEFORE {change} ON {table}"
                    " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
                )
        connection.commit()
    try:
        yield
    finally:
        with closing(sqlite3.connect(path)) as connection:
            for name in made:
                connection.execute(f"DROP TRIGGER {name}")
            connection.commit()


def finished(directory: Path, relative: str, names: RecordingNames) -> FinishedFile:
    """Look at a real file as the watcher does once nobody writes to it any more."""
    with open_recording(directory, relative) as file:
        found = os.fstat(file.fileno())
        audio = inspect(file, found.st_size, relative)
    return FinishedFile(relative, found.st_size, found.st_mtime_ns, audio, names.facts(relative))


class TurningBell(Bell):
    """A bell whose waits turn the clock instead of passing: for so many rounds, then it is over."""

    def __init__(self, clock: HandClock, stop: threading.Event, rounds: int) -> None:
        super().__init__()
        self.waits: list[float] = []
        """Seconds of each wait as it was asked for."""
        self.between: list[Callable[[], None]] = []
        """What happens after each wait, one a wait."""
        self._clock = clock
        self._stop = stop
        self._rounds = rounds

    def wait(self, heard: int, seconds: float) -> None:
        self.waits.append(seconds)
        if self.rings == heard:
            self._clock.turn(max(0.0, seconds))
        if len(self.waits) <= len(self.between):
            self.between[len(self.waits) - 1]()
        if len(self.waits) >= self._rounds:
            self._stop.set()


class TurningStop(threading.Event):
    """A stop whose waits turn the clock instead of passing."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            self._clock.turn(timeout or 0.0)
        return self.is_set()


def unspread(clock: Clock) -> Spread:
    """No backlog is ever spread: all goes at once."""
    return Spread(Usual(1.0, 30.0, lambda seconds: 0, lambda: 0), clock)
