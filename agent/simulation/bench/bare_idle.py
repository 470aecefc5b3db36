"""The barest Python at rest: the least that a daemon in Python does who keeps an idle gateway's
appointments.

It reads the board's line as it beats, asks for calls and messages, reports eight ports and writes a
status file, as often as the agent by default does; each with as little as it takes. It knows no
call, keeps no ledger, watches no directory, tells no trouble and asks nothing again. What the agent
takes beyond this is its own.

A program of its own, which imports nothing of the agent.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import select
import socket
import sys
import time
import tty
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

POLLS, REPORTS = 5.0, 30.0
"""Seconds from one time to the next, as configured by default; each comes up to a fifth earlier. Of
the polls each is for calls, and every second for messages too."""
STATUS = 5.0
EARLIER = 0.2
PORTS = 8
MOST = 4096
"""Bytes that are read at once."""
ANSWER = re.compile(rb"HTTP/1\.1 200 .*?\r\nContent-Length: ([0-9]+)(?=\r).*?\r\n\r\n", re.DOTALL)


def read_answer(connection: socket.socket) -> bytes:
    """The answer's body; the server is known to tell its length and to say nothing else."""
    heard = b""
    while (found := ANSWER.match(heard)) is None or len(heard) < found.end() + int(found[1]):
        more = connection.recv(MOST)
        if not more:
            raise RuntimeError("the platform closed the connection")
        heard += more
    return heard[found.end() :]


class Platform:
    """A kept connection to the platform."""

    def __init__(self, url: str, satellite: str) -> None:
        parts = urlsplit(url)
        self._satellite = satellite
        self._connection = socket.create_connection((parts.hostname, parts.port))
        self._head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: "
        )

    def ask(self, command: str, more: str = "") -> None:
        """Post a command, and read its answer."""
        body = f"cmd={command}&satellite={self._satellite}{more}"
        self._connection.sendall(f"{self._head}{len(body)}\r\n\r\n{body}".encode())
        if int(json.loads(read_answer(self._connection))["status"]) != 0:
            raise RuntimeError(f"the platform refused {command}")


@dataclass
class Appointment:
    """Something that is done at intervals."""

    keep: Callable[[], None]
    interval: float
    earlier: float
    due: float = 0.0

    def kept(self, now: float) -> None:
        """Do it, and say when it is due again."""
        self.keep()
        self.due = now + self.interval * (1 - self.earlier * random.random())


class Gateway:
    """All that is known: when the board was last heard."""

    def __init__(self, platform: Platform, status: str) -> None:
        self._platform = platform
        self._status = status
        self._polls = self._reports = 0
        self.heard = 0.0

    def poll(self) -> None:
        """Ask for what is to be done."""
        self._platform.ask("getCallList")
        self._polls += 1
        if self._polls % 2:
            self._platform.ask("getMessageList")

    def report(self) -> None:
        """Tell the platform of eight ports on hook."""
        self._reports += 1
        port = {"state": "1", "phone": "", "timelen": "0", "peer": "0", "serial": "1"}
        told = {
            "diskUsagePercent": "5",
            "diskSize": "1000",
            "diskSurplusSize": "950",
            "diskStatus": 0,
            "ip": "127.0.0.1",
            "channels": [{"ch": str(number + 1), **port} for number in range(PORTS)],
        }
        status = quote(json.dumps(told, separators=(",", ":")), safe="")
        self._platform.ask(
            "channelstatus", f"&id={self._reports}&time={int(time.time() * 1000)}&status={status}"
        )

    def write_status(self) -> None:
        """Write what is known; a reader sees the old file or the new one."""
        told = {
            "version": 1,
            "pid": os.getpid(),
            "updated": time.time(),
            "last_heard": self.heard,
            "channels": [{"ch": number + 1, "state": 1} for number in range(PORTS)],
        }
        with open(f"{self._status}.new", "w") as file:  # noqa: PTH123 - a Path would cost more
            json.dump(told, file)
        os.replace(f"{self._status}.new", self._status)  # noqa: PTH105


def main(arguments: Sequence[str]) -> int:
    """Keep the appointments until the board's line ends."""
    url, satellite, line, status = arguments
    gateway = Gateway(Platform(url, satellite), status)
    board = os.open(line, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(board)
    appointments = (
        Appointment(gateway.write_status, STATUS, 0.0),
        Appointment(gateway.poll, POLLS, EARLIER),
        Appointment(gateway.report, REPORTS, EARLIER),
    )
    with contextlib.suppress(OSError):  # as a pty's reader learns that the other end is gone
        while True:
            now = time.monotonic()
            for each in appointments:
                if now >= each.due:
                    each.kept(now)
            wait = max(0.0, min(each.due for each in appointments) - time.monotonic())
            if select.select([board], [], [], wait)[0]:
                if not os.read(board, MOST):
                    break
                gateway.heard = time.time()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
