"""What a line of the log looks like: as text for people, or as one JSON object for programs.

Both are told the same, already sanitised words; they differ only in how these are written.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from msgspec import Struct

MOST_EXCEPTION = 16 * 1024
"""Bytes of a traceback in JSON. journald cuts what is longer than LineMax=, 48 KiB, into several
entries, and half an object is none: a message of the longest kind takes 24 KiB beside it."""
_MOST_ESCAPED = 12
"""Bytes that JSON in ASCII takes for one character at most: two escapes."""
LEFT_OUT = "…"
"""Stands where lines of a traceback were left out."""

_ROOM = "agent."
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
"""syslog's numbers, as sd-daemon(3) gives them, by the lowest level that each stands for."""


class Line(Struct, frozen=True):
    """One thing to be said; every text in it is printable and bounded."""

    moment: float
    """UNIX seconds."""
    level: int
    logger: str
    thread: str
    """Empty: of no one thread."""
    message: str
    traceback: Sequence[str] = ()
    """The exception's lines, where there is one."""
    repeated: int = 0
    """How often the message came again and was not said; 0: this is the message itself."""
    seconds: float = 0.0
    """Over which it came again."""


class Format(Protocol):
    """How a line is written."""

    def written(self, line: Line) -> str:
        """Return the line, or lines, each with its line feed."""


class TextFormat(Struct, frozen=True):
    """For people: a traceback has lines of its own."""

    journal: bool
    """The journal knows time and level by itself: lines begin with their priority alone."""

    def written(self, line: Line) -> str:
        """Return each line with the same beginning."""
        start = f"{self._start(line)}{_room(line.logger)}: "
        message = line.message + (_sum_words(line) if line.repeated else "")
        return "".join(f"{start}{each}\n" for each in (message, *map(_indented, line.traceback)))

    def _start(self, line: Line) -> str:
        if self.journal:
            return _priority(line.level)
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line.moment))
        return f"{now} {_level_name(line.level):7} "


class JsonFormat(Struct, frozen=True):
    """For programs: one object a line, in ASCII, so that no stream's encoding can break it."""

    journal: bool
    """The priority stands before the object; journald takes it off."""

    def written(self, line: Line) -> str:
        """Return one line; keys that have nothing to say are left out."""
        told: dict[str, object] = {"time": _utc(line.moment), "level": _level_name(line.level)}
        if line.thread:
            told["thread"] = line.thread
        told |= {"logger": _room(line.logger), "message": line.message}
        if line.traceback:
            told["exception"] = "\n".join(_fitting(line.traceback))
        if line.repeated:
            told |= {"repeated": line.repeated, "seconds": round(line.seconds, 3)}
        start = _priority(line.level) if self.journal else ""
        return f"{start}{json.dumps(told)}\n"


def _fitting(lines: Sequence[str]) -> list[str]:
    """Leave lines out in the middle until the rest fits; the last line names the exception."""
    *before, named = lines
    named = named[: MOST_EXCEPTION // _MOST_ESCAPED]
    room = MOST_EXCEPTION - _size(named)
    first: list[str] = []
    last = [named]
    while before:
        end = before.pop() if len(last) <= len(first) else None
        line = before.pop(0) if end is None else end
        room -= _size(line)
        if room < 0:
            return [*first, LEFT_OUT, *last]
        if end is None:
            first.append(line)
        else:
            last.insert(0, line)
    return [*first, *last]


def _size(line: str) -> int:
    return len(json.dumps(line))


def _utc(moment: float) -> str:
    """ISO 8601 with milliseconds, such as 2026-09-21T13:33:20.250Z."""
    written = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return written.removesuffix("+00:00") + "Z"


def _room(logger: str) -> str:
    return logger.removeprefix(_ROOM)


def _level_name(level: int) -> str:
    return logging.getLevelName(level).lower()


def _priority(level: int) -> str:
    return f"<{next(number for lowest, number in _PRIORITIES if level >= lowest)}>"


def _indented(line: str) -> str:
    return f"  {line}"


def _sum_words(line: Line) -> str:
    times = "once" if line.repeated == 1 else f"{line.repeated} times"
    minutes = max(1, round(line.seconds / 60))
    span = "minute" if minutes == 1 else f"{minutes} minutes"
    return f" (said again {times} in the last {span})"
