"""A bench for drivers: the driver, a clock turned by hand, wires good and bad, and a board.

No input or output; a minute passes in milliseconds.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Protocol

from agent.boards.driver import BoardOptions, Driver
from agent.boards.events import ChannelState, Event, LineState, Peer

TURN = 0.05
"""Seconds between two turns of a tried conversation."""


class PortView(Protocol):
    """A port of a board under test, as it truly is."""

    @property
    def state(self) -> LineState:
        """Its true state."""


class BoardSide(Protocol):
    """The board's side of the wire, sans-I/O, its port numbers counted from 1."""

    @property
    def ports(self) -> Mapping[int, PortView]:
        """All ports."""

    def change(
        self,
        channel: int,
        now: float,
        state: LineState | None = None,
        peer: Peer | None = None,
        phone: str | None = None,
    ) -> bytes:
        """Change a port, what is None staying as it is; return what is said of it at once."""

    def feed(self, data: bytes, now: float) -> bytes:
        """Take what the driver sent; return the answer."""

    def tick(self, now: float) -> bytes:
        """Return what is due by the clock."""


class BadWire:
    """A wire that loses, doubles and delays a share of its bytes, the same ones for each seed."""

    def __init__(self, seed: int, share: float) -> None:
        self.share = share
        self._random = random.Random(seed)
        self._late = b""

    def carry(self, data: bytes) -> bytes:
        """Return what comes out at the other end now; the rest comes later, in order."""
        out = bytearray(self._late)
        self._late = b""
        for at, byte in enumerate(data):
            if self._random.random() >= self.share:
                out.append(byte)
                continue
            fate = self._random.choice(("lost", "doubled", "late"))
            if fate == "doubled":
                out += bytes((byte, byte))
            elif fate == "late":
                self._late = data[at:]
                break
        return bytes(out)


class Bench:
    """A driver under test, a clock turned by hand, and a board where there is one."""

    def __init__(
        self, driver: type[Driver], options: BoardOptions, board: BoardSide | None
    ) -> None:
        self.now = 1000.0
        self.board = board
        self.driver = driver(options, lambda: self.now)
        self.driver.opened()
        self.said: list[Event] = []
        self.to_host = BadWire(0, 0.0)
        self.to_board = BadWire(0, 0.0)
        self.one_at_a_time = False

    def hear(self, data: bytes) -> list[Event]:
        """Feed the driver; return what it says."""
        pieces = [data[at : at + 1] for at in range(len(data))] if self.one_at_a_time else [data]
        events = [event for piece in pieces or [b""] for event in self.driver.feed(piece)]
        self.said += events
        return events

    def run(self, seconds: float, data: bytes = b"") -> None:
        """Let time pass; `data` is what the board says first."""
        for _ in range(round(seconds / TURN)):
            self.now += TURN
            sent = self.to_board.carry(self.driver.poll())
            if self.board is not None:
                data += self.board.feed(sent, self.now) + self.board.tick(self.now)
            self.hear(self.to_host.carry(data))
            data = b""

    def change(
        self,
        channel: int,
        state: LineState | None = None,
        peer: Peer | None = None,
        phone: str | None = None,
        *,
        then: float,
    ) -> None:
        """Change a port of the board and let time pass."""
        assert self.board is not None
        self.run(then, self.board.change(channel, self.now, state, peer, phone))

    def states(self, since: int = 0) -> dict[int, LineState]:
        """Return each port's last said state."""
        return {
            one.channel: one.state for one in self.said[since:] if isinstance(one, ChannelState)
        }
