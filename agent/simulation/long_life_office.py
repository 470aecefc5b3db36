"""The long life's office: a clock that leaps, a board's lines, and the recordings of its calls."""

from __future__ import annotations

import os
import random
import time
from datetime import datetime
from pathlib import Path

from agent.boards.driver import BoardOptions
from agent.boards.events import LineState, Peer
from agent.boards.native import NativeDriver
from agent.clock import Stamp
from agent.simulation.board_model import BEAT, BoardModel
from agent.simulation.recorder import DEFAULT_PATTERN, write_wav
from agent.switchboard import Switchboard

ANSWERED, OUTGOING = 0.7, 0.1
"""Shares of calls that are answered, and that are made here; the others are missed."""
RECORDED = 2.0
"""Seconds of audio of each call: its length is not what is tried here."""


class LeapingClock:
    """Stands still but for its leaps. Implements `agent.clock.Clock`; safe from all threads."""

    boot = "the long life"

    def __init__(self) -> None:
        self._began = time.time()
        self.age = 0.0
        """Seconds since the beginning."""

    def wall(self) -> float:
        """UNIX seconds."""
        return self._began + self.age

    def monotonic(self) -> float:
        """Seconds; it does not begin with 0, which means at once in the ledger."""
        return 1000.0 + self.age

    def stamp(self) -> Stamp:
        """Both clocks at one moment."""
        age = self.age
        return Stamp(self._began + age, 1000.0 + age)

    def leap(self, seconds: float) -> None:
        """Let time pass; by one thread only."""
        self.age += seconds


class Office:
    """Makes calls on all ports, over the wire format's bytes, and writes their recordings."""

    def __init__(self, clock: LeapingClock, ports: int, recordings: Path, seed: int) -> None:
        self.calls = 0
        """Ended so far."""
        self.recorded = 0
        self._clock = clock
        self._recordings = recordings
        self._random = random.Random(seed)
        self._model = BoardModel(1, ports)
        self._driver = NativeDriver(BoardOptions(1, ports), clock.monotonic)
        self._switchboard: Switchboard | None = None

    def open(self, switchboard: Switchboard) -> None:
        """Switch the board on."""
        self._switchboard = switchboard
        self._driver.opened()
        self._say(self._model.hello())
        switchboard.link(1, True, self._clock.stamp())

    def make_calls(self, count: int) -> None:
        """Make a call on each of so many ports, side by side, to its end."""
        kinds = [self._random.random() for _ in range(count)]
        answered = [port for port, kind in enumerate(kinds, 1) if kind < ANSWERED]
        made = [port for port, kind in enumerate(kinds, 1) if kind >= 1 - OUTGOING]
        missed = [port for port in range(1, count + 1) if port not in answered + made]
        phones = {port: f"1{self._random.randrange(10**9, 10**10)}" for port in range(1, count + 1)}
        for port in answered + missed:
            self._change(port, LineState.RINGING, Peer.INCOMING)
        self._pass(0.5)
        for port in answered + missed:
            self._change(port, phone=phones[port])
        for port in made:
            self._change(port, LineState.IN_CALL, Peer.OUTGOING, phones[port])
        self._pass(self._random.uniform(2, 20))
        for port in missed:
            self._change(port, LineState.ON_HOOK)
        for port in answered:
            self._change(port, LineState.IN_CALL)
        talking = {port: self._clock.wall() for port in answered + made}
        self._pass(self._random.uniform(10, 120))
        for port, began in talking.items():
            self._change(port, LineState.ON_HOOK)
            self._record(port, "out" if port in made else "in", phones[port], began)
        self.calls += count

    def _record(self, port: int, direction: str, phone: str, began: float) -> None:
        name = DEFAULT_PATTERN.format(
            start=datetime.fromtimestamp(began), channel=port, direction=direction, phone=phone
        )
        unfinished = self._recordings / f".{name}.part"
        write_wav(unfinished, RECORDED, name, "gsm")
        os.utime(unfinished, (self._clock.wall(), self._clock.wall()))
        unfinished.rename(self._recordings / f"{name}.wav")
        self.recorded += 1

    def _pass(self, seconds: float) -> None:
        """Let time pass, with the beats of the board in it."""
        while seconds > 0:
            self._clock.leap(min(seconds, BEAT))
            seconds -= BEAT
            self._say(self._model.tick(self._clock.monotonic()))

    def _change(
        self,
        port: int,
        state: LineState | None = None,
        peer: Peer | None = None,
        phone: str | None = None,
    ) -> None:
        self._say(self._model.change(port, self._clock.monotonic(), state, peer, phone))

    def _say(self, data: bytes) -> None:
        """Let the driver hear the board, and the board what the driver asks of it."""
        while data:
            at = self._clock.stamp()
            events = self._driver.feed(data)
            assert self._switchboard is not None
            self._switchboard.hear(1, events, at)
            if self._driver.in_step:
                self._switchboard.heard(1, at)
            data = self._model.feed(self._driver.poll(), at.monotonic)
