"""The barest Python on busy lines: the least that a daemon in Python does there, if it keeps its
promise.

It reads the boards' lines and checks them, writes the beginning and the end of each call down
durably, posts its record on a kept connection and writes down durably that the platform has it. It
asks for nothing that it missed, finds no recording, tells no state and tries nothing again. What
the agent takes beyond this is its own.

A program of its own, which imports nothing of the agent but another of these.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sqlite3
import sys
import time
import tty
from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.simulation.bench.bare_idle import MOST, Platform

LINE = re.compile(rb"\$([^*]+)\*([0-9A-F]{4})\r\n")
"""SERIAL.md 1."""
START = 0xFFFF
SYNC = b"$SYNC*%04X\r\n" % crc_hqx(b"SYNC", START)
ON_HOOK = 1
TALKING = {2, 4}
DIRECTIONS = {3: "in", 2: "out"}
"""By the state that a port has when its call begins."""


class Ledger:
    """What is on the disk of each call."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(
            "CREATE TABLE calls (port TEXT, began REAL, ended REAL, sent REAL)"
        )

    def begin(self, port: str, now: float) -> int:
        """Write a beginning down, durably; give the call's number."""
        cursor = self._connection.execute(
            "INSERT INTO calls (port, began) VALUES (?, ?)", (port, now)
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def end(self, number: int, now: float) -> None:
        """Write an end down, durably."""
        self._connection.execute("UPDATE calls SET ended = ? WHERE rowid = ?", (now, number))

    def sent(self, number: int, now: float) -> None:
        """Write down, durably, that the platform has it."""
        self._connection.execute("UPDATE calls SET sent = ? WHERE rowid = ?", (now, number))


@dataclass
class Call:
    """A call that goes on."""

    number: int
    direction: str
    began: float
    answered: float | None
    phone: str = ""


class Board:
    """One board's line and the calls on its ports."""

    def __init__(self, name: str, ledger: Ledger, platform: Platform) -> None:
        self.descriptor = os.open(name, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.descriptor)
        self._name = name
        self._ledger = ledger
        self._platform = platform
        self._pending = b""
        self._calls: dict[bytes, Call] = {}

    def read(self) -> None:
        """Take what the board said."""
        self._pending += os.read(self.descriptor, MOST)
        taken = 0
        while (line := LINE.match(self._pending, taken)) is not None:
            taken = line.end()
            if int(line[2], 16) == crc_hqx(line[1], START) and line[1].startswith(b"CH,"):
                _, _, port, state, _, phone, *_ = line[1].split(b",")
                self._take(port, int(state), phone.decode())
        self._pending = self._pending[taken:]

    def _take(self, port: bytes, state: int, phone: str) -> None:
        now, call = time.time(), self._calls.get(port)
        if call is None:
            if state == ON_HOOK:
                return
            number = self._ledger.begin(f"{self._name} {port!r}", now)
            call = self._calls[port] = Call(number, DIRECTIONS.get(state, "unkown"), now, None)
        if state == ON_HOOK:
            del self._calls[port]
            self._ledger.end(call.number, now)
            self._tell(port, call, now)
            return
        call.phone = phone or call.phone
        if state in TALKING and call.answered is None:
            call.answered = now

    def _tell(self, port: bytes, call: Call, now: float) -> None:
        lasted = int(now - call.answered) if call.answered is not None else 0
        self._platform.ask(
            "upload",
            f"&channel={int(port)}&start_time_secs={int(call.began)}&start_time_hangup={int(now)}"
            f"&direction={call.direction}&callid_dialed={call.phone}&duration_secs={lasted}"
            f"&id={call.number}&recorded=0",
        )
        self._ledger.sent(call.number, time.time())


def main(arguments: Sequence[str]) -> int:
    """Listen to all lines that are named until one of them ends."""
    url, satellite, database, *lines = arguments
    ledger, platform = Ledger(Path(database)), Platform(url, satellite)
    boards = {board.descriptor: board for board in (Board(x, ledger, platform) for x in lines)}
    poll = select.poll()
    for descriptor in boards:
        poll.register(descriptor, select.POLLIN)
    print("ready", flush=True)
    for descriptor in boards:
        os.write(descriptor, SYNC)
    with contextlib.suppress(OSError):  # as a pty's reader learns that the other end is gone
        while True:
            for descriptor, _ in poll.poll():
                boards[descriptor].read()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
