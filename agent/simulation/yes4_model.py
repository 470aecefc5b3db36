"""A YES Tele monitor's side of its wire (BOARDS.md 3), sans-I/O: bytes in, bytes out."""

from __future__ import annotations

import re

from agent.boards.events import LineState, Peer
from agent.simulation.port_model import TALKING, OnChange, Port, PortModel, unheard

RING = 2.0
"""Seconds of a ring."""
CADENCE = 6.0
"""Seconds from one ring's beginning to the next one's, as in North America."""
MOST_COMMAND = 16

_QUESTION = re.compile(rb"ATS(\d{1,2})", re.I)
_EVENT_MODE = re.compile(rb"AT(?:SN)?", re.I)


class Yes4Model(PortModel):
    """The box; it says nothing of its lines until it is in event mode. Times are monotonic."""

    def __init__(self, serial: int = 1, channels: int = 4, on_change: OnChange = unheard) -> None:
        super().__init__(serial, channels, on_change)
        self._event_mode = False
        self._command = b""
        self._next_ring: dict[int, tuple[float, bool]] = {}
        """When each ringing line's next ring begins (True) or stops."""

    def hello(self) -> bytes:
        """Return nothing: the box waits to be spoken to."""
        return b""

    def feed(self, data: bytes, now: float) -> bytes:
        """Take what the host sent; return what the box answers."""
        *commands, rest = (self._command + data).split(b"\r")
        self._command = rest[-MOST_COMMAND:]
        return b"".join(self._obey(command.strip()) for command in commands)

    def tick(self, now: float) -> bytes:
        """Return the rings that begin and stop."""
        said = b""
        for channel, (at, begins) in list(self._next_ring.items()):
            if at <= now:
                pause = RING if begins else CADENCE - RING
                self._next_ring[channel] = (at + pause, not begins)
                said += _event("2", "1" if begins else "2", channel)
        return said if self._event_mode else b""

    def due(self) -> float | None:
        """Return when the next ring begins or stops."""
        return min((at for at, _ in self._next_ring.values()), default=None)

    def _obey(self, command: bytes) -> bytes:
        question = _QUESTION.fullmatch(command)
        if question is not None:
            channel = int(question[1])
            self.syncs += channel == max(self.ports)  # the last line is what it asks for last
            return _event("7", self._code(channel), channel) if channel in self.ports else b""
        if _EVENT_MODE.fullmatch(command):
            self._event_mode = True
        return b""

    def _code(self, channel: int) -> str:
        port = self.ports[channel]
        if port.state in TALKING:
            return "4" if port.peer is Peer.OUTGOING else "3"
        ring = self._next_ring.get(channel)
        if ring is None:
            return "0"
        return "2" if ring[1] else "1"

    def _told(self, before: Port, after: Port, now: float) -> bytes:
        said = b"".join(self._events(before, after, now))
        return said if self._event_mode else b""

    def _events(self, before: Port, after: Port, now: float) -> list[bytes]:
        said = []
        channel = after.channel
        talked, talks = before.state in TALKING, after.state in TALKING
        rang, rings = before.state is LineState.RINGING, after.state is LineState.RINGING
        if rings and not rang:
            said.append(_event("2", "1", channel))
            self._next_ring[channel] = (now + RING, False)
        if rang and not rings:
            _, begins = self._next_ring.pop(channel)
            said += [] if begins else [_event("2", "2", channel)]
        if after.peer is Peer.INCOMING and after.phone and after.phone != before.phone:
            said.append(_event("1", f"{after.phone},SIMULATED      ", channel))
        if talks and not talked:
            outgoing = after.peer is Peer.OUTGOING
            said.append(_event("2", "4" if outgoing else "3", channel))
        if talks and after.peer is Peer.OUTGOING:
            dialled = after.phone.removeprefix(before.phone if talked else "")
            said += [_event("5", digit, channel) for digit in dialled]
        if talked and not talks:
            said.append(_event("2", "0", channel))
        return said


def _event(code: str, data: str, channel: int) -> bytes:
    return f"+{code},{data},{channel:03}\r\n".encode("ascii")
