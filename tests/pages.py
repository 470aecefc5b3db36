"""Statuses to draw pages of: a box at its best, at its worst, its largest and its smallest."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from agent.boards.events import LineState, Peer
from agent.boards.link import LinkView
from agent.clock import ClockView, Stamp
from agent.delivery.gate import GateView, Shut
from agent.history import DAY, SLOT, Sample
from agent.ledger.rows import DialCounts, QueueCounts
from agent.problems import Health, Problem
from agent.recordings.disk import Disk, DiskStatus
from agent.recordings.watcher import WatcherView
from agent.status import Status, as_json
from agent.switchboard import ChannelView
from tests.clocks import NOON

GIBIBYTE = 1024**3
STATES: tuple[tuple[LineState | None, Peer, str], ...] = (
    (LineState.ON_HOOK, Peer.UNKNOWN, ""),
    (LineState.IN_CALL, Peer.INCOMING, "13800138000"),
    (LineState.ON_HOOK, Peer.UNKNOWN, ""),
    (LineState.RINGING, Peer.INCOMING, "02168881234"),
    (LineState.ON_HOOK, Peer.UNKNOWN, ""),
    (LineState.IN_CALL, Peer.OUTGOING, "4008123123"),
    (LineState.ON_HOOK, Peer.UNKNOWN, ""),
    (LineState.NOT_CONNECTED, Peer.UNKNOWN, ""),
)
"""Of eight ports on an ordinary morning."""
EVERY_STATE = (
    *((state, Peer.INCOMING, "13800138000") for state in LineState),
    (None, Peer.UNKNOWN, ""),
)


def ports(
    states: Sequence[tuple[LineState | None, Peer, str]] = STATES, now: float = NOON
) -> list[ChannelView]:
    """Ports in these states, numbered from 1."""
    views = []
    for number, (state, peer, phone) in enumerate(states, start=1):
        since = now - (47.0 if phone else 1400.0) * number
        stamp = None if state is None else Stamp(since, since - now + 100_000)
        views.append(ChannelView(number, state, peer, phone, stamp, stamp))
    return views


def well(now: float = NOON, boards: int = 1) -> Status:
    """A box on which all is well."""
    return Status(
        url="https://platform.example:8080/voip/api/upload_record",
        satellite="02:4A:7C:00:00:01",
        started=now - 11 * 86_400,
        updated=now,
        health=Health.OK,
        problems=(),
        gate=GateView(None, 0.0, "", now - 3),
        clock=ClockView(trusted=True, unset=False, platform_ahead=0.23),
        links=tuple(
            LinkView(serial, "native", f"/dev/ttyS{serial}", True, now - 2, 41_270, 3)
            for serial in range(1, boards + 1)
        ),
        channels={serial: ports(now=now) for serial in range(1, boards + 1)},
        disk=Disk(38, 29 * GIBIBYTE, 18 * GIBIBYTE, DiskStatus.NORMAL, ""),
        queue=QueueCounts(0, 0, 0, None, 0, 48_211, 17 * GIBIBYTE, 2, 0),
        dial=DialCounts(0, 184, 3, 1),
        errands=(),
        malformed=0,
        watcher=WatcherView("/var/spool/smarttel/recordings", None, now - 40, 3120),
    )


def at_work(now: float = NOON) -> Status:
    """A box in use: one line is cut, a little waits."""
    fault = (LineState.FAULT, Peer.UNKNOWN, "")
    return replace(
        well(now),
        health=Health.DEGRADED,
        problems=[
            Problem(
                "channel-fault",
                now - 7000,
                "port 5 of board 1 reports a line fault",
                "Check the telephone line and its plug at this RJ11 socket.",
            )
        ],
        channels={1: ports([*STATES[:4], fault, *STATES[5:]], now)},
        queue=QueueCounts(1, 2, 3_400_000, now - 40, 0, 48_211, 17 * GIBIBYTE, 2, 0),
    )


def many_problems(now: float = NOON) -> Status:
    """A box whose platform refuses, whose disk is full, with a dead board and cut lines."""
    box = well(now, boards=2)
    fault = (LineState.FAULT, Peer.UNKNOWN, "")
    problems = [
        Problem(
            "board-down",
            now - 4000,
            "board 2 on /dev/ttyS2: nothing is heard",
            "Check the board's power, its cable and boards[].port; see `smarttel-agent check`.",
        ),
        *(
            Problem(
                "channel-fault",
                now - 600 * port,
                f"port {port} of board 1 reports a line fault",
                "Check the telephone line and its plug at this RJ11 socket.",
            )
            for port in (3, 5, 6, 8)
        ),
        Problem(
            "platform-refuses",
            now - 90_000,
            "upload_record: HTTP 401, the platform does not accept the account",
            "Check platform.account, platform.url and identity.satellite; sending goes on when the"
            " platform accepts them.",
        ),
        Problem(
            "disk-fault",
            now - 1200,
            "/var/spool/smarttel/recordings: no room is left",
            "Check the recordings' disk: is it plugged in, mounted, writable, with room left?",
        ),
    ]
    return replace(
        box,
        health=Health.FAILING,
        problems=problems,
        gate=GateView(Shut.CONFIGURATION, now - 90_000, "HTTP 401 Unauthorized", now - 90_100),
        clock=ClockView(trusted=False, unset=False, platform_ahead=None),
        links=(box.links[0], replace(box.links[1], up=False, last_heard=now - 4000)),
        channels={
            1: ports(
                [fault if port in (3, 5, 6, 8) else STATES[port - 1] for port in range(1, 9)], now
            ),
            2: ports(now=now),
        },
        disk=Disk(100, 29 * GIBIBYTE, 0, DiskStatus.FULL, "no room"),
        queue=QueueCounts(1204, 3377, 2 * GIBIBYTE, now - 90_000, 12, 48_211, 17 * GIBIBYTE, 2, 4),
    )


def backlog(now: float = NOON) -> Status:
    """A box whose platform was away for so long that 100,000 recordings wait."""
    return replace(
        well(now),
        health=Health.DEGRADED,
        problems=[
            Problem(
                "platform-unreachable",
                now - 500_000,
                "no connection to platform.example:8080: Connection refused",
                "Check the network and platform.url; everything waits and goes out by itself"
                " afterwards.",
            )
        ],
        gate=GateView(Shut.OUTAGE, now - 500_000, "Connection refused", now - 500_000),
        queue=QueueCounts(2, 100_000, 61 * GIBIBYTE, now - 500_000, 0, 48_211, 17 * GIBIBYTE, 2, 0),
    )


def large(now: float = NOON) -> Status:
    """Eight boards with eight ports each, in every state."""
    box = well(now, boards=8)
    turned = {
        serial: ports((STATES * 2)[serial % 8 : serial % 8 + 8], now) for serial in box.channels
    }
    return replace(box, channels=turned)


def every_state(now: float = NOON) -> Status:
    """One board whose ports are each in another state."""
    return replace(well(now), channels={1: ports(EVERY_STATE, now)})


def without_ledger(now: float = NOON) -> Status:
    """A box whose state directory can't be used: nothing is known but that."""
    return replace(
        well(now),
        satellite=None,
        health=Health.FAILING,
        problems=[
            Problem(
                "state-unusable",
                now,
                "the state directory can't be used: no room is left",
                "Check that state_directory exists, is writable and has room; the agent goes on by"
                " itself.",
            )
        ],
        gate=GateView(None, 0.0, "", None),
        clock=ClockView(trusted=False, unset=False, platform_ahead=None),
        links=(),
        channels={},
        queue=QueueCounts(0, 0, 0, None, 0, 0, 0, 0, 0),
        dial=DialCounts(0, 0, 0, 0),
        watcher=None,
    )


def small(now: float = NOON) -> Status:
    """One board with one port."""
    return replace(well(now), channels={1: ports(STATES[3:4], now)})


def told(status: Status) -> dict[str, Any]:
    """The status as the daemon has it when it draws the page."""
    return as_json(status)


def day(
    status: Status, waiting: int = 0, delivered: int = 0, missing: range = range(0)
) -> list[Sample]:
    """A day's samples that end with a status: a working day with a busy morning.

    `waiting` is about the most that waited, `delivered` what left on the day; `missing` are slots,
    counted from a day ago, in which no agent ran.
    """
    dice = random.Random(7)
    last = int(status.updated) // SLOT * SLOT
    shares = [
        max(0.0, 1 - abs(place - 96) / 44) * dice.uniform(0.6, 1.0) + 0.02 for place in range(DAY)
    ]
    total, whole = float(status.queue.delivered - delivered), sum(shares)
    samples = []
    for place, share in enumerate(shares):
        if place not in missing:
            samples.append(
                Sample(
                    last - (DAY - 1 - place) * SLOT,
                    int(waiting * share / 4),
                    int(waiting * share),
                    int(waiting * share) * 480_000,
                    int(total),
                )
            )
        total += delivered * share / whole
    return samples


def rising(status: Status) -> list[Sample]:
    """A day on which nothing left and the backlog grew to what the status has."""
    last = int(status.updated) // SLOT * SLOT
    queue = status.queue
    return [
        Sample(
            last - (DAY - 1 - place) * SLOT,
            queue.records_waiting,
            queue.files_waiting - (DAY - 1 - place) * 120,
            queue.bytes_waiting,
            queue.delivered,
        )
        for place in range(DAY)
    ]
