"""A board that says `1R` when port 1 rings, `1T` when it is taken, `1H` when it is hung up."""

from __future__ import annotations

import re
from typing import ClassVar

from agent.boards.driver import Driver
from agent.boards.events import ChannelState, Event, LineState

STATES = {b"R": LineState.RINGING, b"T": LineState.IN_CALL, b"H": LineState.ON_HOOK}
MOST_BYTES = 16
"""Bytes of an unfinished line that are kept: whatever comes, memory does not grow."""

_LINE = re.compile(rb"([1-9]\d?)([RTH])")


class LetterDriver(Driver):
    """Listens; the board says nothing on its own, and takes no orders."""

    name = "letters"
    baudrate: ClassVar[int] = 9600

    def opened(self) -> None:
        """Forget a half line, and ask for every port's state with `?`."""
        self._rest = b""
        self._asks = True

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes in any pieces; return the changes that they say."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-MOST_BYTES:]
        return [event for line in lines for event in self._event(line.strip())]

    def poll(self) -> bytes:
        """Return the question, once."""
        asks, self._asks = self._asks, False
        return b"?" if asks else b""

    def _event(self, line: bytes) -> list[Event]:
        found = _LINE.fullmatch(line)
        if found is None or int(found[1]) > self.options.channels:
            self.bad_frames += 1
            self.tell_bad(line, "no port and letter")
            return []
        self.frames += 1
        return [ChannelState(int(found[1]), STATES[found[2]])]
