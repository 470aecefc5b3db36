"""What truly happened on the lines: finished calls, told from the board's own changes.

Written apart from the agent's own call tracking, so that a mistake there does not hide here.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from agent.boards.events import LineState, Peer
from agent.simulation.port_model import Port

_TALKING = (LineState.IN_CALL, LineState.ANSWERED)


class TrueCall(Struct, frozen=True):
    """A call as the line saw it; times in UNIX seconds."""

    channel: int
    direction: str
    """`in`, `out`, or `unkown` for a call that nobody answered (SERIAL.md 1)."""
    phone: str
    started: float
    answered: float | None
    ended: float

    @property
    def duration(self) -> float:
        """Seconds in the call."""
        return 0.0 if self.answered is None else self.ended - self.answered


class CallBook:
    """Makes finished calls of a board's changes."""

    def __init__(self) -> None:
        self._open: dict[int, TrueCall] = {}

    def changed(self, before: Port, after: Port, wall: float) -> TrueCall | None:
        """Note a change; return the call that it ended."""
        call = self._open.get(after.channel)
        active = after.state in (*_TALKING, LineState.RINGING)
        if call is None:
            if not active:
                return None
            call = TrueCall(after.channel, "unkown", "", wall, None, wall)
        if not active:
            del self._open[after.channel]
            return replace(call, ended=wall)
        if call.answered is None and after.state in _TALKING:
            direction = "in" if after.peer == Peer.INCOMING else "out"
            call = replace(call, answered=wall, direction=direction)
        self._open[after.channel] = replace(call, phone=after.phone)
        return None


def state_line(after: Port, wall: float) -> dict[str, Any]:
    """Return the journal's line for a change; `wall` in UNIX seconds."""
    return {
        "event": "state",
        "at": wall,
        "channel": after.channel,
        "state": int(after.state),
        "peer": int(after.peer),
        "phone": after.phone,
    }


def sync_line(wall: float) -> dict[str, Any]:
    """Return the journal's line for the host's asking for everything; `wall` in UNIX seconds."""
    return {"event": "sync", "at": wall}


def damage_line(line: bytes, wall: float) -> dict[str, Any]:
    """Return the journal's line for a line that the cable damages, with the port it speaks of."""
    words = line.split(b",")
    channel = int(words[2]) if words[0] == b"$CH" else None
    return {"event": "damaged", "at": wall, "channel": channel}


def call_line(call: TrueCall) -> dict[str, Any]:
    """Return the journal's line for a finished call."""
    return {"event": "call", **asdict(call)}


def read_call(line: dict[str, Any]) -> TrueCall:
    """Return the call that a journal's line tells of."""
    return TrueCall(**{name: value for name, value in line.items() if name != "event"})
