"""`smarttel-agent status`: what the status file says, for people and, by exit status, scripts."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agent.clock import Clock, SystemClock
from agent.config_text import Unreadable, read_bounded
from agent.settings import Settings
from agent.text import printable

EXIT_WELL = 0
EXIT_PROBLEMS = 1
EXIT_NO_DAEMON = 3

STALE = 30.0
"""Seconds; the daemon writes its status every 5, so six of them are missing."""
WATCH_INTERVAL = 2.0
"""Seconds between two looks of `--watch`."""
MOST_BYTES = 4 * 1024 * 1024
"""Size of a status file; 32 boards of 99 channels and their problems fill one mebibyte."""

_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


class Problem(msgspec.Struct, frozen=True):
    """Something to see to."""

    code: str
    message: str = ""
    hint: str = ""
    since: float | None = None


class Platform(msgspec.Struct, frozen=True):
    """How the platform answers."""

    url: str = ""
    reachable: bool | None = None
    last_ok: float | None = None
    last_error: str | None = None
    clock_offset: float | None = None


class Channel(msgspec.Struct, frozen=True):
    """One RJ11 port."""

    ch: int
    state: int = 0
    name: str = ""
    phone: str = ""
    peer: int | None = None
    since: float | None = None


class Board(msgspec.Struct, frozen=True):
    """One box."""

    serial: int
    driver: str = ""
    port: str = ""
    link: str = ""
    last_heard: float | None = None
    frames: int = 0
    bad_frames: int = 0
    channels: tuple[Channel, ...] = ()


class Disk(msgspec.Struct, frozen=True):
    """The recordings' disk."""

    percent: float | None = None
    size_mib: float | None = None
    free_mib: float | None = None
    status: int = 0


class Queue(msgspec.Struct, frozen=True):
    """What waits for the platform, and what has arrived there."""

    records_waiting: int = 0
    files_waiting: int = 0
    bytes_waiting: int = 0
    oldest_waiting: float | None = None
    attention: int = 0
    delivered: int = 0
    delivered_bytes: int = 0


class Dial(msgspec.Struct, frozen=True):
    """Calls that the platform asked for."""

    waiting: int = 0
    placed: int = 0
    expired: int = 0
    failed: int = 0


class Status(msgspec.Struct, frozen=True):
    """The status file (INTERFACES.md); keys of later versions are ignored."""

    updated: float
    pid: int
    health: str
    agent: str = ""
    satellite: str | None = None
    started: float | None = None
    problems: tuple[Problem, ...] = ()
    platform: Platform = Platform()
    boards: tuple[Board, ...] = ()
    disk: Disk = Disk()
    queue: Queue = Queue()
    dial: Dial = Dial()


class NoStatus(Exception):
    """The file says nothing usable; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the status file."""

    content: bytes
    status: Status
    absent: str
    """Why no daemon stands behind it; empty where one does."""

    @property
    def exit_status(self) -> int:
        """What the command ends with."""
        if self.absent:
            return EXIT_NO_DAEMON
        well = self.status.health == "ok" and not self.status.problems
        return EXIT_WELL if well else EXIT_PROBLEMS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--json", action="store_true", help="print the status file as it is")
    parser.add_argument(
        "--watch",
        action="store_true",
        help=f"look again every {WATCH_INTERVAL:g} seconds, until Ctrl-C",
    )


def run(
    arguments: argparse.Namespace,
    settings: Settings,
    clock: Clock | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Show the status once, or again and again; return the last look's exit status."""
    path = Path(settings.status_file)
    ticking = clock or SystemClock()
    exit_status = _show(path, arguments.json, ticking.wall(), arguments.watch)
    try:
        while arguments.watch:
            pause(WATCH_INTERVAL)
            exit_status = _show(path, arguments.json, ticking.wall(), arguments.watch)
    except KeyboardInterrupt:
        # The proper end of a watch.
        return exit_status
    return exit_status


def look(path: Path, now: float) -> Seen:
    """Read the status file; `now` is UNIX seconds. Raises NoStatus."""
    try:
        content = read_bounded(path, MOST_BYTES)
    except Unreadable as error:
        raise NoStatus(
            f"no status at {printable(str(path))}: {error}; start the agent (systemctl start"
            " smarttel-agent), or name its configuration with --config"
        ) from None
    try:
        status = msgspec.json.decode(content, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoStatus(
            f"{printable(str(path))} is not a status file of this agent ({printable(str(error))});"
            " the running agent writes it anew within 5 seconds"
        ) from None
    return Seen(content, status, _absence(status, now))


def duration_words(seconds: float) -> str:
    """Write a duration by its largest unit: 45 s, 12 min, 3 h, 2 d."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def _absence(status: Status, now: float) -> str:
    age = duration_words(now - status.updated)
    if not _alive(status.pid):
        return f"no agent runs: its process {status.pid} has ended; its status is {age} old"
    if now - status.updated > STALE:
        return f"the agent has not written its status for {age}; it is stuck or gone"
    return ""


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _show(path: Path, as_json: bool, now: float, clear: bool) -> int:
    try:
        seen = look(path, now)
    except NoStatus as error:
        print(f"smarttel-agent: {error}", file=sys.stderr)
        return EXIT_NO_DAEMON
    if as_json:
        sys.stdout.write(seen.content.decode("utf-8", "replace"))
        sys.stdout.flush()
        if seen.absent:
            print(f"smarttel-agent: {seen.absent}", file=sys.stderr)
        return seen.exit_status
    from agent.commands.status_table import draw  # noqa: PLC0415 - rich is for this alone

    draw(seen.status, seen.absent, now, clear)
    return seen.exit_status
