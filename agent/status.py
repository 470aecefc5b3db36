"""The status file: what the agent knows of itself, in JSON and, beside it, in words."""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from agent import __version__
from agent.boards.events import LineState
from agent.boards.link import LinkView
from agent.clock import ClockView
from agent.delivery.gate import GateView
from agent.health import Health, Problem
from agent.ledger.rows import DialCounts, Errand, QueueCounts
from agent.recordings.disk import MEBIBYTE, Disk
from agent.recordings.watcher import WatcherView
from agent.switchboard import ChannelView
from agent.text import masked_numbers, masked_phone, printable

STATE_NAMES = {
    LineState.NOT_CONNECTED: "not connected",
    LineState.ON_HOOK: "idle",
    LineState.IN_CALL: "in call",
    LineState.RINGING: "ringing",
    LineState.ANSWERED: "answered",
    LineState.FAULT: "line fault",
}
"""PROTOCOL.md 2.1, in words."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """All that the status file tells."""

    url: str
    satellite: str | None
    started: float
    updated: float
    health: Health
    problems: Sequence[Problem]
    gate: GateView
    clock: ClockView
    links: Sequence[LinkView]
    channels: dict[int, list[ChannelView]]
    disk: Disk
    queue: QueueCounts
    dial: DialCounts
    errands: Sequence[Errand]
    """The latest ones."""
    malformed: int
    """Entries of the platform's lists that could not be understood."""
    watcher: WatcherView | None


def as_json(status: Status) -> dict[str, Any]:
    """The status as INTERFACES.md has it, phone numbers masked."""
    return {
        "version": 1,
        "agent": __version__,
        "satellite": status.satellite,
        "pid": os.getpid(),
        "started": round(status.started, 3),
        "updated": round(status.updated, 3),
        "health": status.health.value,
        "problems": [
            {
                "code": problem.code,
                "since": round(problem.since, 3),
                "message": _foreign(problem.message),
                "hint": problem.hint,
            }
            for problem in status.problems
        ],
        "platform": {
            "url": shown_url(status.url),
            "reachable": status.gate.shut is None and status.gate.last_good is not None,
            "last_ok": _rounded(status.gate.last_good),
            "last_error": _foreign(status.gate.reason) or None,
            "clock_offset": _rounded(status.clock.platform_ahead),
        },
        "clock": {"trusted": status.clock.trusted, "unset": status.clock.unset},
        "boards": [_board(link, status.channels.get(link.serial, [])) for link in status.links],
        "disk": {
            "percent": status.disk.percent,
            "size_mib": status.disk.size_bytes // MEBIBYTE,
            "free_mib": status.disk.free_bytes // MEBIBYTE,
            "status": int(status.disk.status),
        },
        "recordings": {
            "last_scan": _rounded(status.watcher.last_scan) if status.watcher else None,
            "files_seen": status.watcher.files_seen if status.watcher else 0,
            "trouble": (_foreign(status.watcher.trouble or "") or None) if status.watcher else None,
            "kept": status.queue.kept,
            "missing": status.queue.missing,
        },
        "queue": {
            "records_waiting": status.queue.records_waiting,
            "files_waiting": status.queue.files_waiting,
            "bytes_waiting": status.queue.bytes_waiting,
            "oldest_waiting": _rounded(status.queue.oldest_waiting),
            "attention": status.queue.attention,
            "delivered": status.queue.delivered,
            "delivered_bytes": status.queue.delivered_bytes,
        },
        "dial": {
            "waiting": status.dial.waiting,
            "placed": status.dial.placed,
            "expired": status.dial.expired,
            "failed": status.dial.failed,
        },
        "errands": [_errand(errand) for errand in status.errands],
        "errands_malformed": status.malformed,
    }


def as_words(told: dict[str, Any]) -> str:
    """The same in words, for `cat`: what is wrong first, then the figures."""
    queue, disk, dial, platform = (told[key] for key in ("queue", "disk", "dial", "platform"))
    lines = [
        f"smarttel-agent {told['agent']}: {told['health']}   {_moment(told['updated'])}",
        f"gateway {told['satellite'] or 'without a MAC address'}, process {told['pid']},"
        f" since {_moment(told['started'])}",
        "",
    ]
    for problem in told["problems"]:
        lines += [
            f"!! {problem['code']} since {_moment(problem['since'])}: {problem['message']}",
            f"   {problem['hint']}",
        ]
    reached = "reached" if platform["reachable"] else "not reached"
    lines += [
        f"platform  {platform['url']}: {reached}, last answer {_moment(platform['last_ok'])}",
        f"queue     {queue['records_waiting']} records and {queue['files_waiting']} recordings"
        f" wait ({queue['bytes_waiting'] // MEBIBYTE} MiB), {queue['attention']} need attention,"
        f" {queue['delivered']} recordings delivered",
        f"dial      {dial['waiting']} wait, {dial['placed']} placed, {dial['expired']} expired,"
        f" {dial['failed']} failed",
        f"disk      {disk['percent']} % used, {disk['free_mib']} of {disk['size_mib']} MiB free",
    ]
    for board in told["boards"]:
        lines.append(
            f"board {board['serial']}   {board['driver']} on {board['port']}: link"
            f" {board['link']}, {board['frames']} lines heard, {board['bad_frames']} bad"
        )
        lines += [
            f"   port {channel['ch']:>2}  {channel['name']:<14} {channel['phone']}".rstrip()
            for channel in board["channels"]
        ]
    return "\n".join(lines) + "\n"


class StatusFile:
    """Writes both files so that a reader sees an old one or a new one, never half of one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Where the JSON itself is called .txt, the words need another name.
        taken = path.suffix == ".txt"
        self._words = path.with_name(f"{path.name}.txt") if taken else path.with_suffix(".txt")
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Why the file can't be written; empty where it can."""
        return self._trouble

    def write(self, told: dict[str, Any]) -> None:
        """Write the status, or say once in the log that it can't be."""
        try:
            _replace(self._path, _indented(told))
            _replace(self._words, as_words(told).encode("utf-8", "replace"))
        except OSError as error:
            trouble = f"{self._path}: {error.strerror or error}"
            if trouble != self._trouble:
                log.error("the status can't be written, the rest goes on: %s", trouble)
            self._trouble = trouble
        else:
            self._trouble = ""


@functools.lru_cache(maxsize=4)
def shown_url(url: str) -> str:
    """A URL without what may be secret in it: account, password, query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    place = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port else ""
    return printable(f"{parts.scheme}://{place}{port}{parts.path}")


def _indented(told: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n"
    except UnicodeEncodeError:
        # Half a character that no encoding knows, which JSON must not hold as it is.
        return json.dumps(told, indent=1).encode() + b"\n"


def _replace(path: Path, content: bytes) -> None:
    # Every few seconds, so in as few system calls as it takes.
    fresh = f"{path.parent}/.{path.name}.new"
    descriptor = _new_file(fresh, path.parent)
    try:
        os.fchmod(descriptor, 0o644)
        while content:
            content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)
    os.rename(fresh, path)  # noqa: PTH104


def _new_file(fresh: str, folder: Path) -> int:
    # Not through a link that somebody left there: the folder may be open to others.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(fresh, flags, 0o644)
    except FileExistsError:
        os.unlink(fresh)  # noqa: PTH108
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
    return os.open(fresh, flags, 0o644)


def _board(link: LinkView, channels: Sequence[ChannelView]) -> dict[str, Any]:
    return {
        "serial": link.serial,
        "driver": printable(link.driver),
        "port": printable(link.port),
        "link": "up" if link.up else "down",
        "last_heard": _rounded(link.last_heard),
        "frames": link.frames,
        "bad_frames": link.bad_frames,
        "trouble": _foreign(link.trouble) or None,
        "channels": [_channel(view) for view in channels],
    }


def _channel(view: ChannelView) -> dict[str, Any]:
    return {
        "ch": view.channel,
        "state": int(view.state) if view.state is not None else 0,
        "name": STATE_NAMES[view.state] if view.state is not None else "not known yet",
        "phone": printable(masked_phone(view.phone)),
        "peer": int(view.peer),
        "since": _rounded(view.since.wall) if view.since else 0,
    }


def _errand(errand: Errand) -> dict[str, Any]:
    return {
        "id": errand.id,
        "kind": errand.kind,
        "serial": errand.board,
        "ch": errand.channel,
        "phone": printable(masked_phone(errand.phone)),
        "function": _foreign(errand.name),
        "state": errand.state.value,
        "outcome": _foreign(errand.outcome),
        "created": round(errand.created, 3),
    }


def _foreign(text: str) -> str:
    """Words that others had a hand in, without control characters and whole numbers."""
    return printable(masked_numbers(text))


def _rounded(moment: float | None) -> float | None:
    return None if moment is None else round(moment, 3)


def _moment(moment: float | None) -> str:
    if moment is None:
        return "never"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    except (OverflowError, ValueError, OSError):
        return "at an unknown time"
