"""A file of JSON lines: what a simulated part did, for the others to follow and to compare."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

MOST_LINE_BYTES = 64 * 1024
"""Of one line when following; a longer one is no line of ours and is skipped."""


class Journal:
    """Appends lines; safe to use from all threads. Opened for each line, so nothing is to close."""

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._path = path
        self._lock = threading.Lock()
        self._durable = durable

    def write(self, line: dict[str, Any]) -> None:
        """Append one line whole; where durable, it is on the disk when this returns."""
        data = json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with self._lock, self._path.open("ab") as file:
            file.write(data)
            if self._durable:
                file.flush()
                os.fsync(file.fileno())


class JournalFollower:
    """Reads the lines of a journal that another process writes, each once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines that came since the last call; none where there is no file yet."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole, newline, rest = data.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        if len(rest) > MOST_LINE_BYTES:
            self._offset += len(rest)
        return [line for text in whole.split(b"\n") if (line := _parsed(text)) is not None]


def read(path: Path) -> list[dict[str, Any]]:
    """Return all whole lines of a journal, cutting off a last one that was never finished."""
    follower = JournalFollower(path)
    lines = follower.lines()
    if path.exists():
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(path, len(whole))
    return lines


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None
