"""One line of a YES Tele monitor: what its events and answers mean for the port (BOARDS.md 3).

Ringing has no end of its own: the box says when each ring begins and stops. A line whose next ring
is overdue rings no more, and stopped when it was last heard to.
"""

from __future__ import annotations

import re

from agent.boards.events import ChannelState, LineState, Peer

NEXT_RING = 7.5
"""Seconds after a ring began in which the next one begins: 6 in North America, 5 in China, and a
margin."""
NEXT_RING_AFTER_STOP = 5.5
"""The same after it stopped: 4 in either country, and a margin."""
MOST_PHONE = 32
"""Digits of a number kept: twice what E.164 allows."""

ON_HOOK, RING, RING_STOPS, TAKEN, LIFTED, RING_STOPS_TOO = range(6)
"""The codes of `+2` and `+7`."""

_NOT_PHONE = re.compile(r"[^0-9*#+]")
_PEERS = {TAKEN: Peer.INCOMING, LIFTED: Peer.OUTGOING}


class Yes4Line:
    """Follows one line; all times are monotonic seconds, handed in."""

    def __init__(self, channel: int) -> None:
        self.channel = channel
        self._state: LineState | None = None
        self._peer = Peer.UNKNOWN
        self._phone = ""
        self._rang_at = 0.0
        """When it was last heard to ring."""
        self._overdue_at = 0.0
        """When the next ring must have begun, if there is to be one."""
        self._ring_began = 0.0
        self._rang_before = 0.0
        """When it was last heard before this ring."""

    def event(self, code: int, now: float) -> list[ChannelState]:
        """Take a `+2`: something changed."""
        if code == ON_HOOK:
            return self._enter(LineState.ON_HOOK)
        if code in _PEERS:
            return self._taken(_PEERS[code], now)
        if code != RING and self._state is LineState.IN_CALL:
            return []
        if code != RING:
            return self._rings(now, NEXT_RING_AFTER_STOP)
        self._rang_before, self._ring_began = self._rang_at, now
        return self._rings(now, NEXT_RING)

    def answer(self, code: int, now: float) -> list[ChannelState]:
        """Take a `+7`: how the line is, so changes may lie before it."""
        if code in _PEERS:
            return self._taken(_PEERS[code], now, asked=True)
        if code == RING:
            return self._rings(now, NEXT_RING, asked=True)
        if self._state is LineState.RINGING:
            return []  # between two rings; what goes on is told by the next, or by its absence
        if code != ON_HOOK and self._state is None:
            # The last thing was a ring, just now or hours ago: the next one would tell.
            self._state = LineState.ON_HOOK
            return [ChannelState(self.channel, LineState.ON_HOOK, assumed=True)]
        return self._enter(LineState.ON_HOOK, asked=True)

    def digit(self, digit: str) -> list[ChannelState]:
        """Take a `+5`: what is dialled in a call made here belongs to its number."""
        if self._peer is not Peer.OUTGOING or len(self._phone) >= MOST_PHONE:
            return []
        return self._number(self._phone + _NOT_PHONE.sub("", digit))

    def caller(self, number: str, now: float) -> list[ChannelState]:
        """Take a `+1`: who calls, which also says that it rings."""
        if self._peer is Peer.OUTGOING:
            return []
        phone = _NOT_PHONE.sub("", number)[:MOST_PHONE]
        events = [] if self._state is LineState.IN_CALL else self._rings(now, NEXT_RING)
        if self._state is LineState.RINGING and self._phone not in {"", phone}:
            events += self._next_caller(now)
        return [*events, *self._number(phone)]

    def detail(self, number: str) -> list[ChannelState]:
        """Take a `+6`: the number of a line in use, where it was not heard of before."""
        if self._phone or self._state not in {LineState.RINGING, LineState.IN_CALL}:
            return []
        return self._number(_NOT_PHONE.sub("", number)[:MOST_PHONE])

    def expire(self, now: float) -> list[ChannelState]:
        """End what does not ring any more."""
        due = self.due()
        if due is None or now < due:
            return []
        return self._enter(LineState.ON_HOOK, ago=now - self._rang_at)

    def due(self) -> float | None:
        """When `expire` has something to tell."""
        return self._overdue_at if self._state is LineState.RINGING else None

    def _next_caller(self, now: float) -> list[ChannelState]:
        """Go on to another caller: a call has one caller ID, so the one before gave up."""
        gone = self._enter(LineState.ON_HOOK, ago=now - self._rang_before)
        return gone + self._enter(LineState.RINGING, Peer.INCOMING, ago=now - self._ring_began)

    def _taken(self, peer: Peer, now: float, *, asked: bool = False) -> list[ChannelState]:
        before: list[ChannelState] = []
        if self._peer not in {Peer.UNKNOWN, peer}:
            # The other way round is another call, so the end of the one before was not heard.
            rings = self._state is LineState.RINGING
            before = self._enter(LineState.ON_HOOK, ago=now - self._rang_at if rings else 0.0)
        return before + self._enter(LineState.IN_CALL, peer, asked=asked)

    def _rings(self, now: float, wait: float, *, asked: bool = False) -> list[ChannelState]:
        known = self._state is LineState.RINGING
        self._rang_at, self._overdue_at = now, now + wait
        if known and not asked:
            return []
        return self._enter(LineState.RINGING, Peer.INCOMING, asked=asked)

    def _number(self, phone: str) -> list[ChannelState]:
        if not phone or phone == self._phone:
            return []
        self._phone = phone
        return [self._said()]

    def _enter(
        self,
        state: LineState,
        peer: Peer = Peer.UNKNOWN,
        *,
        asked: bool = False,
        ago: float = 0.0,
    ) -> list[ChannelState]:
        answered = (self._state, state) == (LineState.RINGING, LineState.IN_CALL)
        if state is not self._state and not answered:
            self._phone = ""
        self._state, self._peer = state, peer
        return [self._said(asked=asked, ago=ago)]

    def _said(self, *, asked: bool = False, ago: float = 0.0) -> ChannelState:
        state = self._state or LineState.ON_HOOK
        return ChannelState(self.channel, state, self._peer, self._phone, asked=asked, ago=ago)
