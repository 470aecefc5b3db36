"""A board on a pseudo-terminal, speaking the protocol of any of our drivers."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent.boards.events import LineState, Peer
from agent.clock import Clock, SystemClock
from agent.simulation import replay
from agent.simulation.command import say, signals_held, wait_for_signal
from agent.simulation.journal import Journal
from agent.simulation.models import MODELS, PORTS, RESTS
from agent.simulation.noise import Noise
from agent.simulation.port_model import Dial, Port
from agent.simulation.pty_link import PtyLink
from agent.simulation.traffic import GAP, Traffic
from agent.simulation.truth import (
    CallBook,
    TrueCall,
    call_line,
    damage_line,
    state_line,
    sync_line,
)
from agent.text import masked_phone

IDLE_LONGEST = 1.0
"""Seconds of one wait at most."""

TrafficMaker = Callable[["SimulatedBoard", float], Traffic]
"""Builds the traffic when it begins: from the board and the monotonic time."""


class SimulatedBoard:
    """The board in this process: `start()`, move its lines, `stop()`; safe from all threads."""

    def __init__(
        self,
        link: Path,
        channels: int | None = None,
        serial: int = 1,
        *,
        driver: str = "native",
        journal: Path | None = None,
        traffic: TrafficMaker | None = None,
        noise: float = 0.0,
        seed: int = 1,
        clock: Clock | None = None,
        announce: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`driver`: whose wire it speaks; `channels`: None for as many as such a board has.

        `noise`: probability that a line is damaged. Traffic begins once the host has asked for
        everything, or has set the board up.
        """
        self.calls: list[TrueCall] = []
        """Finished calls, as they truly were."""
        self._link = PtyLink(link)
        ports = channels or PORTS[driver]
        self._model = MODELS[driver](serial, ports, self._changed)
        self._clock = clock or SystemClock()
        self._journal = Journal(journal) if journal is not None else None
        self._book = CallBook()
        self._make_traffic = traffic
        self._traffic: Traffic | None = None
        self._noise = Noise(noise, seed, self._damaged)
        self._announce = announce
        self._condition = threading.Condition(threading.RLock())
        self._collecting: list[bytes] | None = None
        self._wake_read, self._wake_write = -1, -1
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Make the pty and say HELLO. Raises OSError."""
        self._link.plug_in()
        self._wake_read, self._wake_write = os.pipe()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="board")
        self._thread.start()
        self.write(self._model.hello())

    def stop(self) -> None:
        """Hang up and end; harmless where it does not run."""
        if self._thread is None:
            return
        self._stopping = True
        self._wake()
        self._thread.join()
        self._thread = None
        self._link.unplug()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def __enter__(self) -> SimulatedBoard:
        self.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    @property
    def port(self) -> str:
        """What a gateway's `boards[].port` must be."""
        return str(self._link.path)

    @property
    def channels(self) -> int:
        """Number of ports."""
        return len(self._model.ports)

    @property
    def dials(self) -> list[Dial]:
        """The orders to dial that were obeyed."""
        with self._condition:
            return list(self._model.dials)

    @property
    def lost_bytes(self) -> int:
        """Bytes that nobody was there to read."""
        return self._link.lost_bytes

    def look(self, channel: int) -> Port:
        """Return a port as it is."""
        with self._condition:
            return self._model.ports[channel]

    def idle(self, channel: int) -> bool:
        """Whether the port is on hook."""
        return self.look(channel).state == LineState.ON_HOOK

    def ring(self, channel: int, phone: str = "") -> None:
        """Ring, with the number or before it is known."""
        self.state(channel, LineState.RINGING, Peer.INCOMING, phone)

    def number(self, channel: int, phone: str) -> None:
        """Say the call's number, the state staying as it is."""
        self.state(channel, phone=phone)

    def answer(self, channel: int, state: LineState = LineState.IN_CALL) -> None:
        """Take a ringing line, or change between in call (2) and answered (4)."""
        self.state(channel, state)

    def off_hook(self, channel: int) -> None:
        """Take an idle line: an outgoing call begins."""
        self.state(channel, LineState.IN_CALL, Peer.OUTGOING, "")

    def digits(self, channel: int, more: str) -> None:
        """Dial more digits."""
        with self._condition:
            self.number(channel, self.look(channel).phone + more)

    def hang_up(self, channel: int) -> None:
        """Put the handset back, or let the caller give up."""
        self.state(channel, LineState.ON_HOOK)

    def fault(self, channel: int) -> None:
        """Let the line fail."""
        self.state(channel, LineState.FAULT)

    def state(
        self,
        channel: int,
        state: LineState | int | None = None,
        peer: Peer | int | None = None,
        phone: str | None = None,
    ) -> None:
        """Set what is given of a port and say so."""
        with self._condition:
            self.write(
                self._model.change(
                    channel,
                    self._clock.monotonic(),
                    None if state is None else LineState(state),
                    None if peer is None else Peer(peer),
                    phone,
                )
            )

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Let all lines said inside go out in one write."""
        with self._condition:
            outer, self._collecting = self._collecting, []
            try:
                yield
            finally:
                data, self._collecting = b"".join(self._collecting), outer
                self.write(data)

    def write(self, data: bytes) -> None:
        """Send raw bytes, whatever they are."""
        with self._condition:
            if self._collecting is not None:
                self._collecting.append(data)
            else:
                self._link.write(self._noise.over(data))

    def unplug(self) -> None:
        """Pull the cable: the pty and the link are gone; the lines live on unheard."""
        with self._condition:
            self._link.unplug()
        self._wake()

    def plug_in(self) -> None:
        """Put the cable back: a new pty under the same link."""
        with self._condition:
            self._model.syncs = 0
            self._link.plug_in()
        self._wake()

    def wait_for(self, predicate: Callable[[], bool], seconds: float) -> bool:
        """Wait until the predicate holds, looking after each change; False: it did not in time."""
        with self._condition:
            return self._condition.wait_for(predicate, seconds)

    def wait_for_sync(self, seconds: float) -> bool:
        """Wait until the host has asked for everything since the cable was put in."""
        return self.wait_for(lambda: self._model.syncs > 0, seconds)

    def wait_for_dial(self, seconds: float, count: int = 1) -> bool:
        """Wait until so many orders to dial were obeyed."""
        return self.wait_for(lambda: len(self._model.dials) >= count, seconds)

    def _run(self) -> None:
        while not self._stopping:
            with self._condition:
                descriptor = self._link.descriptor
                pause = self._pause()
            watched = [self._wake_read, *([] if descriptor is None else [descriptor])]
            try:
                ready, _, _ = select.select(watched, [], [], pause)
            except OSError:
                continue  # the cable was pulled since the look at it
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            with self._condition:
                if descriptor in ready and descriptor == self._link.descriptor:
                    self._hear(self._link.read())
                self._work()

    def _hear(self, data: bytes) -> None:
        dials, syncs = len(self._model.dials), self._model.syncs
        now = self._clock.monotonic()
        answer = self._model.feed(data, now)
        if self._model.syncs > syncs:
            self._note(sync_line(self._clock.wall()))
        self.write(answer)
        if self._make_traffic is not None and self._traffic is None and self._model.syncs:
            self._traffic = self._make_traffic(self, now)
        for dial in self._model.dials[dials:]:
            self._announce(f"port {dial.channel} dials {masked_phone(dial.phone)}")
            if self._traffic is not None:
                self._traffic.dialled(dial.channel, now)
        self._condition.notify_all()

    def _work(self) -> None:
        now = self._clock.monotonic()
        self.write(self._model.tick(now))
        if self._traffic is not None:
            self._traffic.act(now)

    def _pause(self) -> float:
        dues = [self._model.due(), self._traffic.due() if self._traffic is not None else None]
        now = self._clock.monotonic()
        waits = [max(0.0, due - now) for due in dues if due is not None]
        return min([IDLE_LONGEST, *waits])

    def _changed(self, before: Port, after: Port) -> None:
        wall = self._clock.wall()
        call = self._book.changed(before, after, wall)
        self._note(state_line(after, wall))
        if call is not None:
            self.calls.append(call)
            self._note(call_line(call))
            phone = masked_phone(call.phone) or "no number"
            ended = "hung up" if call.answered is not None else "unanswered"
            self._announce(f"port {call.channel}: {ended} after {call.duration:.0f} s, {phone}")
        self._condition.notify_all()

    def _damaged(self, line: bytes) -> None:
        self._note(damage_line(line, self._clock.wall()))

    def _note(self, line: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.write(line)

    def _wake(self) -> None:
        if self._thread is not None:
            os.write(self._wake_write, b"!")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line of `simulate board`."""
    parser.add_argument("--link", required=True, type=Path, help="name of the serial port to make")
    parser.add_argument(
        "--driver", choices=MODELS, default="native", help="whose protocol (default native)"
    )
    parser.add_argument("--channels", type=int, help="RJ11 ports (default: as such boards have)")
    parser.add_argument("--serial", type=int, default=1, help="number of the box (default 1)")
    parser.add_argument("--calls-per-minute", type=float, default=12, help="0: none (default 12)")
    parser.add_argument("--longest", type=float, default=30, help="seconds of a talk (default 30)")
    parser.add_argument("--answered", type=float, default=0.75, help="share of incoming calls")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other calls")
    parser.add_argument(
        "--seconds",
        type=float,
        help="how long new calls begin, once the host has asked for all; the board itself stays",
    )
    parser.add_argument("--journal", type=Path, help="JSON lines: what truly happened")
    parser.add_argument("--noise", type=float, default=0.0, help="share of damaged lines")
    parser.add_argument(
        "--replay",
        type=Path,
        metavar="FILE",
        help="play what `monitor --record` wrote instead, once a host opens the port",
    )
    parser.add_argument("--speed", type=float, default=1.0, help="of a replay (default 1)")


def run(arguments: argparse.Namespace) -> int:
    """Be a board until SIGINT or SIGTERM."""
    if arguments.replay is not None:
        return replay.run(arguments.replay, arguments.link, arguments.speed)

    def traffic(board: SimulatedBoard, now: float) -> Traffic:
        return Traffic(
            board,
            board.channels,
            calls_per_minute=arguments.calls_per_minute,
            seed=arguments.seed,
            now=now,
            seconds=arguments.seconds,
            longest=arguments.longest,
            answered=arguments.answered,
            rest=RESTS.get(arguments.driver, GAP),
        )

    try:
        board = SimulatedBoard(
            arguments.link,
            arguments.channels,
            arguments.serial,
            driver=arguments.driver,
            journal=arguments.journal,
            traffic=traffic,
            noise=arguments.noise,
            seed=arguments.seed,
            announce=say,
        )
    except ValueError as error:
        say(f"There is no such board: {error}")
        return 1
    with signals_held():
        try:
            board.start()
        except OSError as error:
            say(f"The board cannot make its port {arguments.link}: {error}")
            return 1
        try:
            say(f"a board of {board.channels} ports at {board.port}")
            wait_for_signal()
        finally:
            board.stop()
    return 0
