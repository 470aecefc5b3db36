"""One line of a Whozz Calling box: its records become the port's states (BOARDS.md 1, "Order").

What each record means, where the line is free, rings, is lifted (off hook, nobody knows yet what
for) or talks:

======  ===================  ====================  ===================  ==========================
record  free                 rings                 lifted               talks
======  ===================  ====================  ===================  ==========================
R       rings                that call was missed  rings                that call's end was lost
F       lifted               talks, incoming       lifted               that call's end was lost
I S     rings                the number            talks, incoming      the number
O S     talks, outgoing      missed, then talks    talks, outgoing      the number
N       wait for E           wait for E            wait for E           wait for E
E       a call nobody saw    missed or answered    a call after all     over
H       nothing              nothing               nothing              nothing
======  ===================  ====================  ===================  ==========================

A call ends when its N came (its E, where N was lost), and is told when its E came, END_WITHIN
seconds later at most: E has the digits dialled last. A call's length is what the gateway's clock
measured from F to N; the record's own duration counts only where F was not heard. Off and on hook
without a number dialled leaves no E and is no call.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from agent.boards.events import ChannelState, LineState, Peer
from agent.boards.whozz_records import CallRecord, Detail

END_WITHIN = 3.0
"""Seconds between on hook and the end record at most; the box sends them one after the other."""


class _Phase(Enum):
    FREE = auto()
    RINGING = auto()
    LIFTED = auto()
    TALKING = auto()


class WhozzLine:
    """Follows one line; all times are monotonic seconds, handed in."""

    def __init__(self, channel: int) -> None:
        self.channel = channel
        self._phase = _Phase.FREE
        self._peer = Peer.UNKNOWN
        self._phone = ""
        self._lifted_at = 0.0
        self._hung_at: float | None = None
        self._end_is_to_come = False
        """The last call was told as over without its end record."""
        self._last: CallRecord | Detail | None = None
        self._details: dict[str, Callable[[float], list[ChannelState]]] = {
            "R": self._rings,
            "F": self._is_lifted,
            "N": self._is_hung_up,
            "H": lambda _now: [],
        }

    def take(self, record: CallRecord | Detail, now: float) -> list[ChannelState]:
        """Take a record; return what is new of the port."""
        if record == self._last and record.whole:
            return []  # doubled on the wire: no line does the same thing twice in one second
        self._last = record
        if isinstance(record, Detail):
            return self._details[record.kind](now)
        if record.is_end:
            return self._ends(record, now)
        return self._starts(record, now)

    def expire(self, now: float) -> list[ChannelState]:
        """Tell the end of a call whose end record did not come."""
        due = self.due()
        return self._without_end_record(now) if due is not None and due <= now else []

    def due(self) -> float | None:
        """When `expire` has something to tell."""
        return None if self._hung_at is None else self._hung_at + END_WITHIN

    def reopened(self) -> None:
        """Records may be missing: what a lifted handset was for can't be known any more."""
        if self._phase is _Phase.LIFTED:
            self._reset()

    def _rings(self, now: float) -> list[ChannelState]:
        events = self._ended_unheard(now)
        self._enter(_Phase.RINGING, Peer.INCOMING)
        return [*events, self._state(LineState.RINGING)]

    def _is_lifted(self, now: float) -> list[ChannelState]:
        if self._phase is _Phase.RINGING and self._hung_at is None:
            self._enter(_Phase.TALKING, Peer.INCOMING, self._phone)
            return [self._state(LineState.IN_CALL)]
        events = self._ended_unheard(now)
        self._enter(_Phase.LIFTED, Peer.UNKNOWN)
        self._lifted_at = now
        return events

    def _is_hung_up(self, now: float) -> list[ChannelState]:
        if self._hung_at is None:
            self._hung_at = now
        return []

    def _starts(self, record: CallRecord, now: float) -> list[ChannelState]:
        if self._phase is _Phase.TALKING:
            return self._number_comes(record, LineState.IN_CALL)
        if self._phase is _Phase.LIFTED:
            self._enter(_Phase.TALKING, record.peer, record.phone, keep_hung=True)
            return [self._state(LineState.IN_CALL, now - self._lifted_at)]
        if record.peer is Peer.INCOMING and self._phase is _Phase.RINGING:
            return self._number_comes(record, LineState.RINGING)
        events = self._ended_unheard(now)
        if record.peer is Peer.INCOMING:
            self._enter(_Phase.RINGING, Peer.INCOMING, record.phone)
            return [*events, self._state(LineState.RINGING)]
        self._enter(_Phase.TALKING, Peer.OUTGOING, record.phone)
        return [*events, self._state(LineState.IN_CALL)]

    def _number_comes(self, record: CallRecord, state: LineState) -> list[ChannelState]:
        if record.peer is not self._peer or record.phone == self._phone:
            return []
        self._phone = self._longer(record.phone)
        return [self._state(state)]

    def _ends(self, record: CallRecord, now: float) -> list[ChannelState]:
        ended = now if self._hung_at is None else self._hung_at
        if self._phase is _Phase.FREE:
            events = self._unseen_call(record, ended, now)
        elif self._phase is _Phase.RINGING:
            events = self._ringing_ends(record, ended, now)
        elif self._phase is _Phase.LIFTED:
            self._peer, self._phone = record.peer, record.phone
            events = [self._state(LineState.IN_CALL, now - self._lifted_at)]
        else:
            events = self._number_comes(record, LineState.IN_CALL)
        if events or self._phase is not _Phase.FREE:
            events.append(self._on_hook(now - ended))
        self._reset()
        return events

    def _unseen_call(self, record: CallRecord, ended: float, now: float) -> list[ChannelState]:
        if self._end_is_to_come:
            return []
        if not record.whole:
            return [] if self._hung_at is None else [self._on_hook(now - ended)]
        return self._told_by_the_end_alone(record, ended, now)

    def _ringing_ends(self, record: CallRecord, ended: float, now: float) -> list[ChannelState]:
        if record.peer is not Peer.INCOMING:
            self._phone = ""
            return [self._on_hook(), *self._told_by_the_end_alone(record, ended, now)]
        return self._told_by_the_end_alone(record, ended, now)

    def _told_by_the_end_alone(
        self, record: CallRecord, ended: float, now: float
    ) -> list[ChannelState]:
        self._peer, self._phone = record.peer, self._longer(record.phone)
        missed = record.peer is Peer.INCOMING and not record.duration and self._hung_at is None
        if missed:
            return [self._state(LineState.RINGING)]
        return [self._state(LineState.IN_CALL, now - (ended - record.duration))]

    def _without_end_record(self, now: float) -> list[ChannelState]:
        assert self._hung_at is not None
        ago = now - self._hung_at
        events = [] if self._phase is _Phase.LIFTED else [self._on_hook(ago)]
        if self._phase is _Phase.RINGING:
            events.insert(0, self._state(LineState.IN_CALL, ago))
        self._reset()
        self._end_is_to_come = bool(events)
        return events

    def _ended_unheard(self, now: float) -> list[ChannelState]:
        if self._hung_at is not None:
            return self._without_end_record(now)
        known = self._phase in {_Phase.RINGING, _Phase.TALKING}
        return [self._on_hook()] if known else []

    def _enter(
        self, phase: _Phase, peer: Peer, phone: str = "", *, keep_hung: bool = False
    ) -> None:
        self._phase, self._peer, self._phone = phase, peer, phone
        self._end_is_to_come = False
        if not keep_hung:
            self._hung_at = None

    def _reset(self) -> None:
        self._enter(_Phase.FREE, Peer.UNKNOWN)

    def _longer(self, phone: str) -> str:
        return phone if len(phone) >= len(self._phone) else self._phone

    def _state(self, state: LineState, ago: float = 0.0) -> ChannelState:
        return ChannelState(self.channel, state, self._peer, self._phone, ago=ago)

    def _on_hook(self, ago: float = 0.0) -> ChannelState:
        return ChannelState(self.channel, LineState.ON_HOOK, ago=ago)
