"""The log: one sanitised line after another, for the journal, a terminal or a program.

Text in a log line comes from wires, files and servers, so every line is made printable before it
leaves: nothing that a caller, a file name or a platform says can forge a line or reach a terminal
as an escape. A failure that repeats is said once and then counted, so that an outage of a week does
not fill the flash.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, TextIO

from msgspec import Struct
from msgspec.structs import replace

from agent.log_lines import Format, JsonFormat, Line, TextFormat
from agent.text import masked_phone, printable

MOST_LINE = 2000
"""Characters of one line; a platform's answer may be a mebibyte, a line of it is enough."""
MOST_TRACEBACK_LINES = 60
"""Lines of a traceback: its beginning and its end; endless recursion has a thousand."""
MOST_REPEATS = 256
"""Different messages that are counted at a time; half a mebibyte at the longest lines."""
WINDOW = 600.0
"""Seconds over which a repeated message is counted before its sum is said."""

JOURNAL_VARIABLE = "JOURNAL_STREAM"
FORMATS: Mapping[str, Callable[[bool], Format]] = MappingProxyType(
    {"text": TextFormat, "json": JsonFormat}
)
"""By `log.format`; each is told whether it writes to the journal."""


class Phones(Struct, frozen=True):
    """How phone numbers are written where people read them; handed to the parts that name some."""

    full: bool = False

    def shown(self, phone: str) -> str:
        """Return the number as the log may show it: 138****8000 unless full ones are configured."""
        return printable(phone if self.full else masked_phone(phone))


class Said(Struct, frozen=True):
    """What a failure said again while its window lasted."""

    logger: str
    level: int
    message: str
    times: int
    seconds: float
    """How long the window lasted."""


class _Heard(Struct):
    began: float
    times: int = 0


class Repeats:
    """Counts identical messages: the first is said, the rest are summed up by window.

    Pure: the caller says the time. Not thread-safe; the handler's lock is held around it.
    """

    def __init__(self, window: float = WINDOW, most: int = MOST_REPEATS) -> None:
        self._window = window
        self._most = most
        self._heard: dict[tuple[str, int, str], _Heard] = {}

    def hear(self, logger: str, level: int, message: str, now: float) -> bool:
        """Take note of a message; True: it is new and has to be said. Call `ended` first."""
        key = (logger, level, message)
        known = self._heard.get(key)
        if known is not None:
            known.times += 1
            return False
        self._heard[key] = _Heard(now)
        return True

    def __bool__(self) -> bool:
        """True: lines were heard lately, and sums may be due."""
        return bool(self._heard)

    def ended(self, now: float) -> Iterator[Said]:
        """Yield the sums that are due: of ended windows, and of the oldest beyond the limit."""
        for key, heard in list(self._heard.items()):
            lasted = now - heard.began
            if lasted < self._window and len(self._heard) < self._most:
                continue
            del self._heard[key]
            if heard.times:
                yield Said(*key, heard.times, lasted)
                if self._window <= lasted < 2 * self._window:
                    # It goes on: from here only sums, one a window.
                    self._heard[key] = _Heard(now)

    def close(self, now: float) -> Iterator[Said]:
        """Yield all that was counted and not yet said; forget everything."""
        remaining, self._heard = self._heard, {}
        for key, heard in remaining.items():
            if heard.times:
                yield Said(*key, heard.times, now - heard.began)


class LineHandler(logging.Handler):
    """Writes each record as sanitised lines; a stream that fails never stops the agent."""

    def __init__(self, stream: TextIO, line_format: Format, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._stream = stream
        self._format = line_format
        self._monotonic = monotonic
        self._repeats = Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, or count it where it repeats a failure."""
        try:
            now = self._monotonic()
            self._write_sums(self._repeats.ended(now))
            message = _message(record)
            # Only failures are counted. Two calls that ring alike are two events: each is said.
            if record.levelno < logging.WARNING or self._repeats.hear(
                record.name, record.levelno, message, now
            ):
                self._write(_line(record, message))
        except Exception:
            self.handleError(record)

    def say_sums(self) -> None:
        """Write the sums that are due: done with each record, to be called every few seconds."""
        if not self._repeats:
            return
        with contextlib.suppress(Exception), self._locked():
            self._write_sums(self._repeats.ended(self._monotonic()))

    def close(self) -> None:
        """Write what was counted and not yet said."""
        with contextlib.suppress(Exception), self._locked():
            self._write_sums(self._repeats.close(self._monotonic()))
        super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Lose the line: a log that cannot be written (full disk, closed pipe) stops nothing."""

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _write_sums(self, sums: Iterator[Said]) -> None:
        for said in sums:
            # Whichever thread says the sum, what it sums up may have been said by others.
            summed = Line(time.time(), said.level, said.logger, "", said.message)
            self._write(replace(summed, repeated=said.times, seconds=said.seconds))

    def _write(self, line: Line) -> None:
        text = self._format.written(line)
        if not text.isascii():
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        self._stream.write(text)
        self._stream.flush()


class Log(Struct, frozen=True):
    """The log as it was set up."""

    phones: Phones
    handler: LineHandler


def set_up(
    level: Literal["debug", "info", "warning", "error"],
    phones: Literal["masked", "full"],
    stream: TextIO,
    journal: bool,
    monotonic: Callable[[], float] = time.monotonic,
    line_format: Literal["text", "json"] = "text",
) -> Log:
    """Send the process's log to `stream`; called again, it takes the place of what was set up.

    `level` is for the agent's own rooms. Other packages are heard from warnings on: their debug
    lines hold what must not be logged, such as urllib3's URLs with the account's password hash.
    """
    root = logging.getLogger()
    handler = LineHandler(stream, FORMATS[line_format](journal), monotonic)
    for old in [each for each in root.handlers if isinstance(each, LineHandler)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    own = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(own, logging.WARNING))
    logging.getLogger("agent").setLevel(own)
    # What no line tells need not be found out for each: the place in the code, the process.
    logging._srcfile = None
    logging.logProcesses = logging.logMultiprocessing = False
    # Its warnings say what the platform client says too, and name the URL with its query.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return Log(Phones(full=phones == "full"), handler)


def goes_to_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Tell whether `stream` is the journal's own socket, by systemd.exec(5)'s JOURNAL_STREAM."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get(JOURNAL_VARIABLE) == f"{status.st_dev}:{status.st_ino}"


def _message(record: logging.LogRecord) -> str:
    try:
        return printable(record.getMessage(), MOST_LINE)
    except Exception:
        # A line whose arguments do not fit its text still says where it came from.
        return printable(f"{record.msg} (with {record.args!r})", MOST_LINE)


def _line(record: logging.LogRecord, message: str) -> Line:
    return Line(
        record.created,
        record.levelno,
        printable(record.name),
        printable(record.threadName or ""),
        message,
        _traceback_lines(record),
    )


def _traceback_lines(record: logging.LogRecord) -> list[str]:
    if not record.exc_info or record.exc_info[1] is None:
        return []
    text = "".join(traceback.format_exception(record.exc_info[1]))
    lines = [printable(line, MOST_LINE) for line in text.splitlines()]
    if len(lines) > MOST_TRACEBACK_LINES:
        half = MOST_TRACEBACK_LINES // 2
        lines = [*lines[:half], f"… {len(lines) - 2 * half} lines left out …", *lines[-half:]]
    return lines
