"""What is wrong, in words for the one who can act: judged by views of the parts, remembered."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from msgspec import Struct

from agent.boards.events import LineState
from agent.boards.link import LinkView
from agent.clock import ClockView
from agent.delivery.gate import GateView, Shut
from agent.language import counted, joined, said
from agent.ledger.rows import QueueCounts
from agent.parts import PartView
from agent.problems import KINDS, Finding, Problem
from agent.recordings.disk import Disk, DiskStatus
from agent.switchboard import ChannelView

CLOCK_DIFFERENCE = 60.0
"""Seconds between the platform's clock and ours that are worth a technician's look."""
LOW = 0.8
"""Part of `keep_free_percent` below which the disk counts as low: delivered files are removed by
the minute, so on a disk that has filled up once the room always moves a little about that mark."""

log = logging.getLogger(__name__)


class Situation(Struct, frozen=True):
    """All that health is judged by; read-only views of the parts."""

    links: tuple[LinkView, ...]
    channels: dict[int, list[ChannelView]]
    gate: GateView
    queue: QueueCounts
    unusable: int
    """Files found lately that are empty or not audio."""
    lost: int
    """Recordings whose file went missing lately."""
    disk: Disk
    keep_free_percent: float
    clock: ClockView
    satellite: str | None
    recordings_trouble: str | None
    damaged: tuple[str, ...]
    """Names of ledgers that were set aside."""
    unwritten: int
    """Beginnings and ends of calls that the ledger has not taken yet."""
    dropped: int
    """Calls that were lost because it could not take them for too long."""
    state_trouble: str
    parts: tuple[PartView, ...]


def assess(now: Situation) -> list[Finding]:
    """Find all that is wrong, in the order of the table."""
    judges = (_boards, _channels, _platform, _queue, _disk, _time, _state, _parts)
    findings = [finding for judge in judges for finding in judge(now)]
    if not findings:
        return findings
    order = list(KINDS)
    return sorted(findings, key=lambda finding: order.index(finding.code))


class ProblemBook:
    """Remembers since when each problem stands, and logs its coming and going."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], float] = {}

    def update(self, findings: list[Finding], wall: float) -> list[Problem]:
        """Take what is wrong now, at UNIX time `wall`; give it back with its times."""
        if not findings and not self._since:
            return []
        keys = {(finding.code, finding.subject): finding for finding in findings}
        for key in [key for key in self._since if key not in keys]:
            log.info("solved: %s", " ".join(part for part in key if part))
            del self._since[key]
        for key, finding in keys.items():
            if key not in self._since:
                self._since[key] = wall
                log.warning("problem %s: %s", finding.code, finding.message)
        return [
            Problem(finding.code, self._since[key], finding.message, KINDS[finding.code].hint)
            for key, finding in keys.items()
        ]


def _boards(now: Situation) -> Iterator[Finding]:
    for link in now.links:
        if not link.up:
            trouble = link.trouble or said("nothing is heard")
            if link.port in trouble:
                words = said("board {serial}: {trouble}", serial=link.serial, trouble=trouble)
            else:
                words = said(
                    "board {serial} on {port}: {trouble}",
                    serial=link.serial,
                    port=link.port,
                    trouble=trouble,
                )
            yield Finding("board-down", str(link.serial), words)


def _channels(now: Situation) -> Iterator[Finding]:
    for board, channels in now.channels.items():
        for view in channels:
            if view.state is LineState.FAULT and _is_heard(now.links, board, view.channel):
                words = said(
                    "port {channel} of board {board} reports a line fault",
                    channel=view.channel,
                    board=board,
                )
                where = f"port {view.channel} of board {board}"
                yield Finding("channel-fault", where, words)


def _is_heard(links: Sequence[LinkView], board: int, channel: int) -> bool:
    return any(link.serial == board and link.hears(channel) for link in links)


def _platform(now: Situation) -> Iterator[Finding]:
    if now.satellite is None:
        yield Finding("identity-unknown", "", said("the gateway's MAC address is not known"))
    elif now.gate.shut is Shut.OUTAGE:
        yield Finding("platform-unreachable", "", now.gate.reason)
    elif now.gate.shut is Shut.CONFIGURATION:
        yield Finding("platform-refuses", "", now.gate.reason)
    elif now.gate.refusing:
        yield Finding("platform-refuses", "", now.gate.refusing)


def _queue(now: Situation) -> Iterator[Finding]:
    if attention := now.queue.attention:
        words = counted(
            "{number} item refused again and again by the platform",
            "{number} items refused again and again by the platform",
            attention,
        )
        yield Finding("queue-attention", "", words)
    if now.unusable:
        words = counted(
            "{number} file found that can't be sent: empty, or not audio",
            "{number} files found that can't be sent: empty, or not audio",
            now.unusable,
        )
        yield Finding("recording-unusable", "", words)
    if now.lost:
        words = counted(
            "{number} recording gone before it could be sent",
            "{number} recordings gone before they could be sent",
            now.lost,
        )
        yield Finding("recording-missing", "", words)
    if now.recordings_trouble and now.disk.status is DiskStatus.NORMAL:
        yield Finding("recordings-trouble", "", now.recordings_trouble)


def _disk(now: Situation) -> Iterator[Finding]:
    if now.disk.status is not DiskStatus.NORMAL:
        yield Finding("disk-fault", "", now.disk.reason)
    elif 100 - now.disk.percent < now.keep_free_percent * LOW:
        words = said(
            "only {percent} % of the recordings' disk is free",
            percent=round(100 - now.disk.percent),
        )
        yield Finding("disk-low", "", words)


def _time(now: Situation) -> Iterator[Finding]:
    ahead = now.clock.platform_ahead
    if now.clock.unset:
        words = said("the clock shows a time long past, and nobody told it")
        yield Finding("clock-unset", "", words)
    elif ahead is not None and abs(ahead) > CLOCK_DIFFERENCE:
        seconds = round(abs(ahead))
        if ahead > 0:
            words = said(
                "the platform's clock is {seconds} s ahead of the gateway's", seconds=seconds
            )
        else:
            words = said(
                "the platform's clock is {seconds} s behind the gateway's", seconds=seconds
            )
        yield Finding("clock-differs", "", words)


def _state(now: Situation) -> Iterator[Finding]:
    for name in now.damaged:
        words = said("the ledger was damaged; it lies in {name}", name=name)
        yield Finding("state-damaged", name, words)
    if now.state_trouble:
        yield Finding("state-unusable", "", now.state_trouble)
    if now.dropped:
        words = counted(
            "{number} call lost: the ledger could not be written",
            "{number} calls lost: the ledger could not be written",
            now.dropped,
        )
        yield Finding("state-unusable", "lost", words)
    elif now.unwritten:
        words = counted(
            "{number} step of calls not written down yet",
            "{number} steps of calls not written down yet",
            now.unwritten,
        )
        yield Finding("state-unusable", "memory", words)


def _parts(now: Situation) -> Iterator[Finding]:
    for part in now.parts:
        if part.alive and not part.failing:
            continue
        if part.alive:
            words = said("the part {name} began anew", name=part.name)
        else:
            words = said("the part {name} does not answer", name=part.name)
        failed = part.last_failure and said("it failed with {failure}", failure=part.last_failure)
        yield Finding("part-failed", part.name, joined([words, failed]))
