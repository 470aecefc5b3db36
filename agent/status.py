"""The status file: what the agent knows of itself, in JSON and, beside it, in words."""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from agent import __version__
from agent.boards.events import LineState
from agent.boards.link import LinkView
from agent.clock import ClockView
from agent.delivery.gate import GateView
from agent.files import replace_file
from agent.kept import Kept
from agent.language import ENGLISH, Language, Said, marked
from agent.ledger.rows import DialCounts, Errand, QueueCounts
from agent.problems import Health, Problem
from agent.recordings.disk import MEBIBYTE, Disk
from agent.recordings.watcher import WatcherView
from agent.status_page import StatusPage
from agent.status_words import as_words
from agent.switchboard import NO_CALLS, CallCounts, ChannelView
from agent.text import masked_numbers, masked_phone, printable

STATE_NAMES = {
    LineState.NOT_CONNECTED: marked("not connected"),
    LineState.ON_HOOK: marked("idle"),
    LineState.IN_CALL: marked("in call"),
    LineState.RINGING: marked("ringing"),
    LineState.ANSWERED: marked("answered"),
    LineState.FAULT: marked("line fault"),
}
"""PROTOCOL.md 2.1, in words."""
NOT_KNOWN = marked("not known yet")
"""Of a port of which nothing has been heard."""
log = logging.getLogger(__name__)


class Status(Struct, frozen=True):
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
    calls: CallCounts = NO_CALLS
    bare: bool = False
    """The ledger can't be used: what comes out of it is not known, though it reads as none."""


def as_json(
    status: Status, language: Language = ENGLISH, kept: Kept | None = None
) -> dict[str, Any]:
    """The status as INTERFACES.md has it, phone numbers masked; problems in `language`.

    `kept`: what was told before, by whoever tells again and again; then what is returned may hold
    parts of it, and is not to be changed.
    """
    kept = kept or Kept()
    gate, disk, watcher = status.gate, status.disk, status.watcher
    return {
        "version": 1,
        "agent": __version__,
        "satellite": status.satellite,
        "pid": os.getpid(),
        "started": round(status.started, 3),
        "updated": round(status.updated, 3),
        "health": str(status.health),
        "problems": [_problem(problem, language) for problem in status.problems],
        "platform": {
            "url": shown_url(status.url),
            "reachable": gate.shut is None and gate.last_good is not None,
            "last_ok": _rounded(gate.last_good),
            "last_error": _told(gate.reason, language),
            "clock_offset": _rounded(status.clock.platform_ahead),
        },
        "clock": {"trusted": status.clock.trusted, "unset": status.clock.unset},
        "boards": [
            _board(link, status.channels.get(link.serial, []), language, kept)
            for link in status.links
        ],
        "disk": {
            "percent": disk.percent,
            "size_mib": disk.size_bytes // MEBIBYTE,
            "free_mib": disk.free_bytes // MEBIBYTE,
            "status": int(disk.status),
        },
        "recordings": {
            "last_scan": _rounded(watcher.last_scan) if watcher else None,
            "files_seen": watcher.files_seen if watcher else 0,
            "trouble": _told((watcher and watcher.trouble) or "", language),
            "kept": status.queue.kept,
            "missing": status.queue.missing,
        },
        "queue": kept.of("queue", status.queue, _queue),
        "dial": kept.of("dial", status.dial, _dial),
        "errands": kept.of("errands", status.errands, _errands),
        "errands_malformed": status.malformed,
    }


class StatusFile:
    """Writes the files so that a reader sees an old one or a new one, never half of one."""

    def __init__(self, path: Path, page: StatusPage | None = None) -> None:
        """`page` draws the same for a browser; None: there is no such page."""
        self._path = path
        self._page = page
        # Written every few seconds: a Path would be made a string of each time.
        self._name, self._words = str(path), str(words_beside(path))
        self._kept = Kept()
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Why the file can't be written; empty where it can."""
        return self._trouble

    def write(self, told: dict[str, Any], language: Language = ENGLISH) -> None:
        """Write the status, its words in `language`, or say once in the log that it can't be."""
        try:
            self._put(_indented(told))
            replace_file(self._words, as_words(told, language, self._kept))
            if self._page is not None:
                self._page.take(told, language)
        except OSError as error:
            trouble = f"{self._path}: {error.strerror or error}"
            if trouble != self._trouble:
                log.error("the status can't be written, the rest goes on: %s", trouble)
            self._trouble = trouble
        else:
            self._trouble = ""

    def _put(self, content: bytes) -> None:
        try:
            replace_file(self._name, content)
        except FileNotFoundError:  # where /run is made anew at each boot
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._name, content)


def words_beside(path: Path) -> Path:
    """Where the words stand whose JSON stands at `path`."""
    # Where the JSON itself is called .txt, the words need another name.
    taken = path.suffix == ".txt"
    return path.with_name(f"{path.name}.txt") if taken else path.with_suffix(".txt")


@functools.lru_cache(maxsize=4)
def shown_url(url: str) -> str:
    """A URL without what may be secret in it: account, password, query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    place = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port else ""
    return printable(f"{parts.scheme}://{place}{port}{parts.path}")


def _problem(problem: Problem, language: Language) -> dict[str, Any]:
    return {
        "code": problem.code,
        "since": round(problem.since, 3),
        "message": _foreign(language.tell(problem.message)),
        "hint": language.say(problem.hint),
        **_retold(problem.message),
    }


def _indented(told: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n"
    except UnicodeEncodeError:
        # Half a character that no encoding knows, which JSON must not hold as it is.
        return json.dumps(told, indent=1).encode() + b"\n"


def _retold(message: str) -> dict[str, Any]:
    """What is needed to tell a message in another language than the agent's."""
    if not isinstance(message, Said):
        return {"template": "{message}", "values": {"message": _foreign(message)}}
    values = {
        name: _retold(value)
        if isinstance(value, Said)
        else (_foreign(value) if isinstance(value, str) else value)
        for name, value in message.values.items()
    }
    plural = {"plural": message.plural} if message.plural else {}
    return {"template": message.template, **plural, "values": values}


def _board(
    link: LinkView, channels: Sequence[ChannelView], language: Language, kept: Kept
) -> dict[str, Any]:
    settled = (channels, link.driver, link.port, link.up, link.trouble, link.channels_up, language)
    return {
        **kept.of(link.serial, settled, lambda _: _settled_board(link, channels, language)),
        "last_heard": _rounded(link.last_heard),
        "frames": link.frames,
        "bad_frames": link.bad_frames,
    }


def _settled_board(
    link: LinkView, channels: Sequence[ChannelView], language: Language
) -> dict[str, Any]:
    """Return what changes only when something happens, and room for what moves by itself."""
    return {
        "serial": link.serial,
        "driver": printable(link.driver),
        "port": printable(link.port),
        "link": "up" if link.up else "down",
        "last_heard": None,
        "frames": 0,
        "bad_frames": 0,
        "trouble": _told(link.trouble, language),
        "channels": [_channel(view, link.hears(view.channel)) for view in channels],
    }


def _channel(view: ChannelView, heard: bool) -> dict[str, Any]:
    return {
        "ch": view.channel,
        "state": int(view.state) if view.state is not None else 0,
        "name": STATE_NAMES[view.state] if view.state is not None else NOT_KNOWN,
        "phone": printable(masked_phone(view.phone)),
        "peer": int(view.peer),
        "since": _rounded(view.since.wall) if view.since else 0,
        "heard": heard,
    }


def _queue(queue: QueueCounts) -> dict[str, Any]:
    return {
        "records_waiting": queue.records_waiting,
        "files_waiting": queue.files_waiting,
        "bytes_waiting": queue.bytes_waiting,
        "oldest_waiting": _rounded(queue.oldest_waiting),
        "attention": queue.attention,
        "delivered": queue.delivered,
        "delivered_bytes": queue.delivered_bytes,
    }


def _dial(dial: DialCounts) -> dict[str, Any]:
    return {
        "waiting": dial.waiting,
        "placed": dial.placed,
        "expired": dial.expired,
        "failed": dial.failed,
    }


def _errands(errands: Sequence[Errand]) -> list[dict[str, Any]]:
    return [_errand(errand) for errand in errands]


def _errand(errand: Errand) -> dict[str, Any]:
    return {
        "id": errand.id,
        "kind": errand.kind,
        "serial": errand.board,
        "ch": errand.channel,
        "phone": printable(masked_phone(errand.phone)),
        "function": _foreign(errand.name),
        "state": errand.standing,
        "outcome": _foreign(errand.outcome),
        "created": round(errand.created, 3),
    }


def _told(text: str, language: Language) -> str | None:
    return _foreign(language.tell(text)) or None if text else None


def _foreign(text: str) -> str:
    """Words that others had a hand in, without control characters and whole numbers."""
    return printable(masked_numbers(text)) if text else ""


def _rounded(moment: float | None) -> float | None:
    return None if moment is None else round(moment, 3)
