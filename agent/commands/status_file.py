"""The status file as a reader finds it: looked at, understood, told in the reader's language."""

from __future__ import annotations

import os
import re
from pathlib import Path
from string import Formatter

import msgspec
from msgspec import Struct

from agent.config_text import Unreadable, read_bounded
from agent.language import Language, Said, marked, said, text_of
from agent.problems import KINDS

EXIT_WELL = 0
EXIT_PROBLEMS = 1
EXIT_NO_DAEMON = 3

STALE = 30.0
"""Seconds; the daemon writes its status every 5, so six of them are missing."""
MOST_BYTES = 4 * 1024 * 1024
"""Size of a status file; 32 boards of 99 channels and their problems fill one mebibyte."""

_UNITS = (
    (86_400.0, marked("{number} d")),
    (3_600.0, marked("{number} h")),
    (60.0, marked("{number} min")),
    (1.0, marked("{number} s")),
)
_PLAIN_FIELD = re.compile(r"[a-z_]+")


class Template(msgspec.Struct, frozen=True):
    """A text that the agent can tell in any language: a message of its code and what fills it."""

    template: str
    values: dict[str, str | int | float | Template] = {}
    plural: str = ""

    def said(self) -> Said:
        """Return the text. Raises LookupError or ValueError where the values don't fit."""
        for form in (self.template, self.plural):
            for _, name, layout, conversion in Formatter().parse(form):
                # A file may be anybody's: names are looked up and no more.
                plain = name is None or _PLAIN_FIELD.fullmatch(name)
                if not plain or layout or conversion:
                    raise ValueError(name)
        values = {
            name: value.said() if isinstance(value, Template) else value
            for name, value in self.values.items()
        }
        return Said(self.template, values, self.plural)


class Problem(msgspec.Struct, frozen=True):
    """Something to see to."""

    code: str
    message: str = ""
    hint: str = ""
    since: float | None = None
    template: str = ""
    values: dict[str, str | int | float | Template] = {}
    plural: str = ""

    def said(self) -> str:
        """What is so; a `Said` where the agent left what that needs."""
        if not self.template:
            return self.message
        try:
            return Template(self.template, self.values, self.plural).said()
        except (LookupError, ValueError, TypeError):
            return self.message

    def told(self, language: Language) -> str:
        """What is so, in the reader's language."""
        return language.tell(self.said())

    def told_hint(self, language: Language) -> str:
        """What to do, in the reader's language, where this agent knows the problem."""
        kind = KINDS.get(self.code)
        return language.say(kind.hint) if kind else self.hint


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
    """The file says nothing usable."""

    def __init__(self, why: Said, advice: Said) -> None:
        self.why = why
        self.advice = advice
        """What to do."""
        super().__init__(f"{why}; {advice}")

    exit_status = EXIT_NO_DAEMON


class Seen(Struct, frozen=True):
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


def look(path: Path, now: float) -> Seen:
    """Read the status file; `now` is UNIX seconds. Raises NoStatus."""
    try:
        content = read_bounded(path, MOST_BYTES)
    except Unreadable as error:
        raise NoStatus(
            said("no status at {path}: {why}", path=str(path), why=text_of(error)),
            said(
                "start the agent (systemctl start smarttel-agent), or name its configuration with"
                " --config"
            ),
        ) from None
    try:
        status = msgspec.json.decode(content, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoStatus(
            said(
                "{path} is not a status file of this agent ({why})", path=str(path), why=str(error)
            ),
            said("the running agent writes it anew within 5 seconds"),
        ) from None
    return Seen(content, status, _absence(status, now))


def duration(seconds: float) -> Said:
    """Write a duration by its largest unit: 45 s, 12 min, 3 h, 2 d."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return said(unit, number=int(seconds // size))
    return said(_UNITS[-1][1], number=max(0, int(seconds)))


def _absence(status: Status, now: float) -> str:
    age = duration(now - status.updated)
    if not _alive(status.pid):
        return said(
            "no agent runs: its process {pid} has ended; its status is {age} old",
            pid=status.pid,
            age=age,
        )
    if now - status.updated > STALE:
        return said("the agent has not written its status for {age}; it is stuck or gone", age=age)
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
