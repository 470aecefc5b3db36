"""What a board says, whatever its wire: the events that every driver produces."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct


class LineState(IntEnum):
    """State of one RJ11 port (PROTOCOL.md 2.1, SERIAL.md 1)."""

    NOT_CONNECTED = 0
    ON_HOOK = 1
    IN_CALL = 2
    RINGING = 3
    ANSWERED = 4
    FAULT = 5


class Peer(IntEnum):
    """Which side began the call (PROTOCOL.md 2.1)."""

    UNKNOWN = 0
    OUTGOING = 1
    INCOMING = 2


class BoardHello(Struct, frozen=True):
    """The board introduces itself, after power-up or when asked."""

    serial: int
    """Number of the box, as the board says; the configuration's number is the one that counts."""
    channels: int
    firmware: str


class ChannelState(Struct, frozen=True):
    """A port's state: said on each change, and for every port when the board is asked."""

    channel: int
    """RJ11 port, counted from 1."""
    state: LineState
    peer: Peer = Peer.UNKNOWN
    phone: str = ""
    """The other party's number as known so far: digits, `*`, `#`."""
    timelen: int | None = None
    """Seconds in the present call; None: this board does not say."""
    asked: bool = False
    """True: an answer to a request (after start-up or lost lines), so changes may lie before it."""
    ago: float = 0.0
    """Seconds since the port came into this state, where the board tells of the change late."""
    assumed: bool = False
    """True: the board has not spoken of the port and can't be asked; a call that is known to go on
    there goes on."""


class DialAnswer(Struct, frozen=True):
    """What became of an order to dial."""

    channel: int
    accepted: bool
    reason: str = ""
    """Why not, in words; empty where accepted."""
    busy: bool = False
    """True: nothing was dialled, for the port was taken or the order never left; try it again."""


Event = BoardHello | ChannelState | DialAnswer
