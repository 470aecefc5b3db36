"""The driver of CallerID.com's Whozz Calling boxes: 2, 4 or 8 lines, or a chain of them.

The wire is described in BOARDS.md 1, its records in `agent.boards.whozz_records`, what they mean
for a line in `agent.boards.whozz_line`, and how the box is set up in `agent.boards.whozz_setup`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ClassVar

from agent.boards.driver import BoardOptions, Driver
from agent.boards.events import BoardHello, ChannelState, Event, LineState
from agent.boards.text_lines import LineReader
from agent.boards.whozz_line import WhozzLine
from agent.boards.whozz_records import CallRecord, Detail, Version, parse
from agent.boards.whozz_setup import AWAY, WhozzSetup
from agent.language import said

log = logging.getLogger(__name__)

ALIVE, ERROR, ECHO = b"#", b"?", b"@"


class WhozzDriver(Driver):
    """Listens; it can neither dial nor ask a line's state.

    A record that is cut short or shifted counts as damaged, and what it says is taken all the same.
    A port is taken to be on hook until its first record: nobody can know.
    """

    name = "whozz"
    silence_limit: ClassVar[float | None] = AWAY
    baudrate: ClassVar[int] = 9600

    def __init__(self, options: BoardOptions, monotonic: Callable[[], float]) -> None:
        super().__init__(options, monotonic)
        self._reader = LineReader(self._damaged, ALIVE + ERROR + ECHO)
        self._lines = {number: WhozzLine(number) for number in range(1, options.channels + 1)}
        self._setup = WhozzSetup(options.now)
        self._assumed = False
        self._greeted = False
        self._awaited = False
        """A command was sent since the last `#` or `?`: the next one is an answer, not noise."""

    def opened(self) -> None:
        """Set the box up, which is unseen where it is set up already."""
        self._reader.reset()
        for line in self._lines.values():
            line.reopened()
        self._setup.begin(self.monotonic())
        self._greeted = False

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes, return what became of the lines."""
        now = self.monotonic()
        events: list[Event] = []
        for line in self._lines.values():
            events += line.expire(now)
        events += self._introduction()
        for text in self._reader.feed(data):
            events += self._understand(text, now)
            events += self._introduction()
        return events

    def poll(self) -> bytes:
        """Return the next byte of the set-up, or the question whether the box is there."""
        command = self._setup.poll(self.monotonic())
        self._awaited |= bool(command)
        return command

    def due(self) -> float | None:
        """When the box is to be told or asked something, or a call's end is to be told."""
        ends = [due for line in self._lines.values() if (due := line.due()) is not None]
        return min([self._setup.due(), *ends])

    def findings(self) -> list[str]:
        """Which switches were off, which still are, and that it can't dial."""
        return [
            *self._setup.findings(),
            said("it never goes off hook, so calls that the platform asks for fail"),
        ]

    def _introduction(self) -> list[Event]:
        if not self._setup.done or self._greeted:
            return []
        self._greeted = True
        units = self._setup.units
        firmware = ", ".join(f"{unit.firmware} {unit.options}" for unit in units) or "unknown"
        for finding in self._setup.findings():
            log.info("board %d: %s", self.options.serial, finding)
        return [BoardHello(self.options.serial, self.options.channels, firmware)]

    def _assumptions(self) -> list[Event]:
        """Before the first thing that is said of any line: all are taken to be on hook."""
        if self._assumed:
            return []
        self._assumed = True
        return [ChannelState(port, LineState.ON_HOOK, assumed=True) for port in self._lines]

    def _understand(self, text: bytes, now: float) -> list[Event]:
        if text in {ALIVE, ERROR, ECHO}:
            return self._answer(text, now)
        record = parse(text.decode("ascii", "replace"))
        if record is None:
            self._damaged(text, "no record of a whozz box")
            return []
        if isinstance(record, Version):
            self._good(now)
            self._setup.version(record, now)
            return self._assumptions()
        return self._take(record, text, now)

    def _answer(self, text: bytes, now: float) -> list[Event]:
        if text == ECHO:
            return []
        if not self._awaited:
            self._damaged(text, "an answer to no question")
            return []
        self._awaited = False
        self._good(now)
        if text == ALIVE:
            self._setup.alive(now)
        else:
            self._setup.refused += 1
        return self._assumptions()

    def _take(self, record: CallRecord | Detail, text: bytes, now: float) -> list[Event]:
        line = self._lines.get(record.line)
        if line is None:
            self._damaged(text, f"line {record.line}, where {len(self._lines)} are configured")
            return []
        if record.whole:
            self._good(now)
        else:
            self._damaged(text, "a record that is cut short or shifted")
        return [*self._assumptions(), *line.take(record, now)]

    def _good(self, now: float) -> None:
        self.frames += 1
        self._setup.heard(now)

    def _damaged(self, piece: bytes, reason: str) -> None:
        self.bad_frames += 1
        self.tell_bad(piece, reason)
