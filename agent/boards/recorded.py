"""A line's bytes in a file, as `monitor --record` writes it and `simulate board --replay` plays it.

JSON lines. The first one says what was recorded, each further one holds the bytes of one read::

    {"recording": 1, "driver": "native", "port": "/dev/ttyS1", "baudrate": 115200, "started": 1.7e9}
    {"at": 0.301, "hex": "24424541542C302A…0d0a"}

`started` is UNIX seconds, `at` seconds since then by the monotonic clock. Telephone numbers stand
in the file as they crossed the line, so it is readable to its owner only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from msgspec import Struct

VERSION = 1
MOST_LINE = 64 * 1024
"""Characters of a line; a read has 4096 bytes, 8192 digits, at most."""


class BadRecording(Exception):
    """The file can't be played; the message says why, and on which line."""


class Heard(Struct, frozen=True):
    """The bytes of one read."""

    at: float
    """Seconds since the recording began."""
    data: bytes


class LineRecorder:
    """Writes a recording. A context manager."""

    def __init__(
        self, path: Path, driver: str, port: str, baudrate: int, wall: float, monotonic: float
    ) -> None:
        """Begin it at this moment of both clocks. Raises OSError, also where the file exists."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file: TextIO = os.fdopen(descriptor, "w", encoding="ascii")
        self._began = monotonic
        self._write(
            {
                "recording": VERSION,
                "driver": driver,
                "port": port,
                "baudrate": baudrate,
                "started": round(wall, 3),
            }
        )

    def __enter__(self) -> LineRecorder:
        return self

    def __exit__(self, *_reason: object) -> None:
        self._file.close()

    def take(self, data: bytes, monotonic: float) -> None:
        """Write down the bytes of one read, at once. Raises OSError."""
        self._write({"at": round(monotonic - self._began, 6), "hex": data.hex()})

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def read(path: Path) -> Iterator[Heard]:
    """Yield what was heard, in order, reading as it goes. Raises BadRecording and OSError."""
    with path.open(encoding="utf-8", errors="replace") as file:
        number = 0
        before = 0.0
        while line := file.readline(MOST_LINE + 1):
            number += 1
            if len(line) > MOST_LINE:
                raise BadRecording(f"line {number}: longer than {MOST_LINE} characters")
            told = _told(line, number)
            if number == 1:
                _check_version(told)
                continue
            heard = _heard(told, number)
            if heard.at < before:
                raise BadRecording(f"line {number}: its time lies before that of the line above")
            before = heard.at
            yield heard
        if not number:
            raise BadRecording("it is empty")


def _told(line: str, number: int) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise BadRecording(f"line {number}: not a JSON object")
    return told


def _check_version(told: dict[str, Any]) -> None:
    version = told.get("recording")
    if version is None:
        raise BadRecording("line 1: not a recording of `smarttel-agent monitor --record`")
    if version != VERSION:
        raise BadRecording(f"line 1: a recording of version {version!r}, known is {VERSION}")


def _heard(told: dict[str, Any], number: int) -> Heard:
    at, digits = told.get("at"), told.get("hex")
    try:
        if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < float("inf"):
            raise ValueError("no time")
        if not isinstance(digits, str):
            raise TypeError("no bytes")
        return Heard(float(at), bytes.fromhex(digits))
    except (ValueError, TypeError, OverflowError):
        raise BadRecording(
            f"line {number}: `at` must be seconds and `hex` bytes in hexadecimal digits"
        ) from None
