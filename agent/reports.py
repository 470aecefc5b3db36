"""Reports of the box's state to the platform: at the interval, and at once when a port changes."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable

from msgspec import Struct

from agent.boards.events import LineState
from agent.clock import Clock, TrustedClock
from agent.delivery.gate import Gate
from agent.delivery.outcomes import learn_from
from agent.kept import Kept
from agent.parts import Alive, Bell
from agent.periods import Period
from agent.platform.client import PlatformClient
from agent.platform.failures import PlatformFailure
from agent.recordings.disk import Disk
from agent.settings import Reports
from agent.switchboard import ChannelView, Switchboard

SHORTEST_GAP = 1.0
"""Seconds between two reports, however often ports change."""
SETTLE = 0.05
"""Seconds for which changes gather: two ports that change in one read make one report."""
UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
"""Bytes in a unit of `diskSize`; which the platform means is open (PROTOCOL.md 2.1)."""

log = logging.getLogger(__name__)


class Reporter:
    """Sends `channelstatus` (PROTOCOL.md 2.1)."""

    def __init__(
        self,
        settings: Reports,
        switchboard: Switchboard,
        gate: Gate,
        clock: Clock,
        time: TrustedClock,
        draw: Callable[[], float] = random.random,
        *,
        disk: Callable[[], Disk],
        lan_address: Callable[[], str],
        read_identity: Callable[[], object],
    ) -> None:
        """`read_identity` is called where the platform misses the gateway's MAC address."""
        self._settings = settings
        self._period = Period(settings.interval, draw)
        self._switchboard = switchboard
        self._gate = gate
        self._clock = clock
        self._time = time
        self._disk = disk
        self._lan_address = lan_address
        self._read_identity = read_identity
        self._kept = Kept()
        self._number = 0
        self.bell = Bell()
        """Rung when a report is wanted at once."""
        self._wanted = False
        """True: the bell was rung for the report that is made next."""

    def changed(self) -> None:
        """A port changed: a report is wanted, soon. From any thread.

        Ports change far more often than they are reported, and then only the first one rings.
        """
        if not self._wanted:
            self._wanted = True
            self.bell.ring()

    def run(
        self, client: PlatformClient, longest_request: float, stop: threading.Event, alive: Alive
    ) -> None:
        """Report until told to stop."""
        first = self._period.first()
        alive(first + longest_request)
        if stop.wait(first):
            return
        while not stop.is_set():
            heard = self.bell.rings
            # After that: a ring that was not counted must find it set no more. And before the
            # report is made: what changes from here on may not be in it.
            self._wanted = False
            begun = self._clock.monotonic()
            alive(longest_request)
            if self._gate.allows_report() or self._gate.admit() == 0:
                self.report(client)
            alive(self._settings.interval + longest_request)
            self.bell.wait(heard, begun + self._period.next() - self._clock.monotonic())
            if self.bell.rings != heard:
                stop.wait(max(SETTLE, begun + SHORTEST_GAP - self._clock.monotonic()))

    def report(self, client: PlatformClient) -> bool:
        """Send one report; tell whether the platform took it."""
        self._number += 1
        try:
            client.report(self._number, int(self._time.now() * 1000), self.status())
        except PlatformFailure as failure:
            learn_from(failure, self._gate, f"report {self._number}", self._read_identity)
            log.warning("report not taken: %s", failure.message)
            return False
        except BaseException:
            # It may have been the gate's probe, and nobody else would be let through.
            self._gate.gave_up()
            raise
        self._gate.answered()
        return True

    def status(self) -> str:
        """The field `status`: a JSON object, its figures as text as in the document's example."""
        disk = self._disk()
        unit = UNITS[self._settings.disk_unit]
        state = _State(
            percent=round(disk.percent),
            size=disk.size_bytes // unit,
            free=disk.free_bytes // unit,
            disk=int(disk.status),
            address=self._lan_address(),
            ports=[
                (board, view, self._switchboard.is_up(board, view.channel), self._talked(view))
                for board in self._switchboard.boards
                for view in self._switchboard.channels(board)
            ],
        )
        return self._kept.of("status", state, _written)

    def _talked(self, view: ChannelView) -> int:
        """Whole seconds of the present call since its answer."""
        if view.talking_since is None:
            return 0
        return max(0, int(self._clock.monotonic() - view.talking_since.monotonic))


class _State(Struct, frozen=True):
    """What a report tells."""

    percent: int
    size: int
    free: int
    disk: int
    address: str
    ports: list[tuple[int, ChannelView, bool, int]]
    """The box's number, the port, whether its link is up, and seconds talked."""


def _written(state: _State) -> str:
    told = {
        "diskUsagePercent": str(state.percent),
        "diskSize": str(state.size),
        "diskSurplusSize": str(state.free),
        "diskStatus": state.disk,
        "ip": state.address,
        "channels": [_channel(*port) for port in state.ports],
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def _channel(board: int, view: ChannelView, up: bool, talked: int) -> dict[str, str]:
    known = view.state if up and view.state is not None else LineState.NOT_CONNECTED
    return {
        "ch": str(view.channel),
        "state": str(int(known)),
        "phone": view.phone,
        "timelen": str(talked),
        "peer": str(int(view.peer)),
        "serial": str(board),
    }
