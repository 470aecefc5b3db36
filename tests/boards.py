"""Boards for tests: a native one that behaves, wires that do not, and a real pseudo-terminal."""

from __future__ import annotations

import os
import select
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from agent.boards.bench import BadWire
from agent.boards.events import LineState, Peer
from agent.boards.frames import Frame, FrameReader, frame
from agent.clock import Stamp

__all__ = ["PATIENCE", "BadWire", "HandClock", "NativeBoard", "PortState", "PtyBoard", "until"]

PATIENCE = 20.0
"""Seconds that a test waits for what should come at once."""


class HandClock:
    """A clock that a test turns by hand."""

    boot = "test"

    def __init__(self, monotonic: float = 1000.0, wall: float = 1_700_000_000.0) -> None:
        self.now = monotonic
        self._ahead = wall - monotonic

    def wall(self) -> float:
        return self.now + self._ahead

    def monotonic(self) -> float:
        return self.now

    def stamp(self) -> Stamp:
        return Stamp(self.wall(), self.now)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition that another thread brings about; fail loudly after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE:g} s in vain for {what}")
        time.sleep(0.005)


@dataclass
class PortState:
    state: LineState = LineState.ON_HOOK
    peer: Peer = Peer.UNKNOWN
    phone: str = ""
    timelen: int = 0


class NativeBoard:
    """The board's side of SERIAL.md 1, no input or output: orders in, lines out."""

    def __init__(self, serial: int = 1, channels: int = 8) -> None:
        self.serial = serial
        self.ports = {channel: PortState() for channel in range(1, channels + 1)}
        self.orders: list[Frame] = []
        """What the host sent, repeats too."""
        self.obeyed: list[Frame] = []
        """Orders carried out."""
        self.refuse_with: int | None = None
        self.deaf = False
        self._sequence = 255
        self._answers: dict[str, bytes] = {}
        self._reader = FrameReader()

    def power_up(self) -> bytes:
        """Forget what a power cut makes a board forget, and say HELLO."""
        self._sequence = 255
        self._answers.clear()
        return self.hello()

    def hello(self) -> bytes:
        return frame("HELLO", 1, self.serial, len(self.ports), "test")

    def beat(self) -> bytes:
        return frame("BEAT", self._sequence)

    def change(
        self,
        channel: int,
        state: LineState,
        phone: str = "",
        peer: Peer = Peer.UNKNOWN,
        timelen: int = 0,
    ) -> bytes:
        self.ports[channel] = PortState(state, peer, phone, timelen)
        return self.say(channel)

    def say(self, channel: int) -> bytes:
        port = self.ports[channel]
        self._sequence = (self._sequence + 1) % 256
        phone = port.phone.replace("*", "A").replace("#", "B")
        return frame(
            "CH", self._sequence, channel, int(port.state), int(port.peer), phone, port.timelen
        )

    def hear(self, data: bytes) -> bytes:
        """Take bytes from the host, return the answer."""
        return b"".join(self._obey(order) for order in self._reader.feed(data))

    def _obey(self, order: Frame) -> bytes:
        self.orders.append(order)
        if self.deaf:
            return b""
        if order.type == "SYNC":
            return self.hello() + b"".join(self.say(channel) for channel in self.ports)
        reference = order.fields[0]
        if reference not in self._answers:
            self.obeyed.append(order)
            refused = self.refuse_with is not None
            self._answers[reference] = (
                frame("ERR", reference, self.refuse_with or 9)
                if refused
                else frame("OK", reference)
            )
        return self._answers[reference]


class PtyBoard:
    """A native board behind a real pseudo-terminal, at a path that stays (a symbolic link).

    A context manager. `say` sends bytes; a thread answers what the host orders.
    """

    def __init__(self, path: Path, board: NativeBoard | None = None) -> None:
        self.path = path
        self.board = board or NativeBoard()
        self._lock = threading.Lock()
        self._controller: int | None = None
        self._thread: threading.Thread | None = None
        self._stop_reader, self._stop_writer = os.pipe()

    def __enter__(self) -> PtyBoard:
        self.plug()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unplug()
        os.close(self._stop_reader)
        os.close(self._stop_writer)

    def plug(self) -> None:
        """Make a new terminal appear at the path."""
        controller, terminal = os.openpty()
        tty.setraw(terminal)
        # The path is swapped in one step, ready to be opened; only then is our own end let go.
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.symlink_to(os.ttyname(terminal))
        fresh.replace(self.path)
        self._controller = controller
        self._thread = threading.Thread(target=self._answer, args=(controller, terminal))
        self._thread.start()

    def unplug(self) -> None:
        """Make it vanish, as an adapter that is pulled out does."""
        if self._thread is None or self._controller is None:
            return
        self.path.unlink()
        os.write(self._stop_writer, b"\0")
        self._thread.join()
        os.close(self._controller)
        self._controller = self._thread = None

    def say(self, data: bytes) -> None:
        """Send bytes to the host."""
        with self._lock:
            assert self._controller is not None
            os.write(self._controller, data)

    def types_heard(self) -> list[str]:
        """Types of the orders that came from the host."""
        return [order.type for order in self.board.orders]

    def _answer(self, controller: int, terminal: int) -> None:
        # The terminal's own end stays open here, or reading would fail until the host opens it.
        try:
            while True:
                ready, _, _ = select.select([controller, self._stop_reader], [], [])
                if self._stop_reader in ready:
                    os.read(self._stop_reader, 1)
                    return
                answer = self.board.hear(os.read(controller, 4096))
                if answer:
                    self.say(answer)
        finally:
            os.close(terminal)
