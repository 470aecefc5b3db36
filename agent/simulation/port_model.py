"""What every simulated board has: ports that are moved, and somebody who hears of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from agent.boards.events import LineState, Peer

TALKING = (LineState.IN_CALL, LineState.ANSWERED)
WITHOUT_LINE = (LineState.NOT_CONNECTED, LineState.FAULT)


class Port(Struct, frozen=True):
    """One RJ11 port."""

    channel: int
    state: LineState = LineState.ON_HOOK
    peer: Peer = Peer.UNKNOWN
    phone: str = ""
    """With `*` and `#`, as a person would say it."""
    since: float | None = None
    """Monotonic time of the call's beginning: the first ring or the going off hook."""


class Dial(Struct, frozen=True):
    """An order to dial that was obeyed."""

    channel: int
    phone: str
    ref: int


def moved(
    before: Port,
    now: float,
    state: LineState | None = None,
    peer: Peer | None = None,
    phone: str | None = None,
) -> Port:
    """Return a port after a change; what is None stays as it is. `now` in monotonic seconds."""
    after = replace(
        before,
        state=before.state if state is None else state,
        peer=before.peer if peer is None else peer,
        phone=before.phone if phone is None else phone,
    )
    if after.state in (*WITHOUT_LINE, LineState.ON_HOOK):
        return replace(after, peer=Peer.UNKNOWN, phone="", since=None)
    if before.state in (*WITHOUT_LINE, LineState.ON_HOOK):
        return replace(after, since=now)
    return after


OnChange = Callable[[Port, Port], None]
"""Hears of a port before and after each change."""


def unheard(before: Port, after: Port) -> None:
    """Where nobody wants to hear of changes."""


class PortModel(ABC):
    """The board's side of one wire, sans-I/O: what a simulated board is made of.

    All times are monotonic seconds, handed in.
    """

    def __init__(self, serial: int, channels: int, on_change: OnChange) -> None:
        """`serial`: the number of the box; `channels`: its ports, all on hook.

        `on_change` hears of every change, also of those that an order from the host brought.
        """
        self.serial = serial
        self.ports = {channel: Port(channel) for channel in range(1, channels + 1)}
        self.dials: list[Dial] = []
        """Orders to dial that were obeyed; always empty where the board cannot dial."""
        self.syncs = 0
        """How often the host has asked for everything, or set the board up."""
        self._on_change = on_change

    def change(
        self,
        channel: int,
        now: float,
        state: LineState | None = None,
        peer: Peer | None = None,
        phone: str | None = None,
    ) -> bytes:
        """Change a port, what is None staying as it is; return what is said of it at once."""
        before = self.ports[channel]
        after = moved(before, now, state, peer, phone)
        self._put(after)
        return self._told(before, after, now)

    @abstractmethod
    def hello(self) -> bytes:
        """Return what the board says when it is switched on."""

    @abstractmethod
    def feed(self, data: bytes, now: float) -> bytes:
        """Take what the host sent; return what the board answers."""

    @abstractmethod
    def tick(self, now: float) -> bytes:
        """Return what is due by the clock."""

    @abstractmethod
    def due(self) -> float | None:
        """Return when `tick` has something to say; None: nothing is to come."""

    @abstractmethod
    def _told(self, before: Port, after: Port, now: float) -> bytes:
        """Return what the board says of a change."""

    def _put(self, after: Port) -> None:
        """Set a port as it is from here on."""
        before = self.ports[after.channel]
        self.ports[after.channel] = after
        self._on_change(before, after)
