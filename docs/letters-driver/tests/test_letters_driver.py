"""The driver keeps the contract of smarttel-agent's drivers."""

from __future__ import annotations

from collections.abc import Mapping

from agent.boards.bench import BoardSide
from agent.boards.events import LineState, Peer
from agent.boards.testing import DriverContract

from letters_driver import STATES, LetterDriver

LETTERS = {state: letter for letter, state in STATES.items()}


class Port:
    """One port of the board."""

    state = LineState.ON_HOOK


class LetterBoard:
    """The board's side of the wire."""

    def __init__(self, channels: int) -> None:
        self.ports: Mapping[int, Port] = {channel: Port() for channel in range(1, channels + 1)}

    def change(
        self,
        channel: int,
        now: float,
        state: LineState | None = None,
        peer: Peer | None = None,
        phone: str | None = None,
    ) -> bytes:
        if state is not None:
            self.ports[channel].state = state
        return self.say(channel)

    def feed(self, data: bytes, now: float) -> bytes:
        return b"".join(self.say(channel) for channel in self.ports for byte in data if byte == 63)

    def tick(self, now: float) -> bytes:
        return b""

    def say(self, channel: int) -> bytes:
        return b"%d%b\n" % (channel, LETTERS[self.ports[channel].state])


class TestLetterDriver(DriverContract):
    driver = LetterDriver
    good = (b"1R\n", b"1T\n", b"4H\r\n")
    knows_numbers = False

    def make_board(self, channels: int) -> BoardSide:
        return LetterBoard(channels)
