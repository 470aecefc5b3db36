"""What the tests of the rooms share: a ledger that fails for a while, recordings, a disk."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from agent.ledger import FILE_NAME
from agent.recordings.audio import inspect
from agent.recordings.disk import Disk, DiskStatus
from agent.recordings.files import open_recording
from agent.recordings.judging import FinishedFile
from agent.recordings.names import RecordingNames

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
