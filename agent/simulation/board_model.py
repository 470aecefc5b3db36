"""The board's side of the native protocol (SERIAL.md 1), sans-I/O: bytes in, bytes out."""

from __future__ import annotations

import re
from collections import OrderedDict

from msgspec import Struct

from agent.boards.events import LineState, Peer
from agent.boards.frames import Frame, FrameReader, frame
from agent.simulation.port_model import (
    TALKING,
    WITHOUT_LINE,
    Dial,
    OnChange,
    Port,
    PortModel,
    unheard,
)

BEAT = 5.0
"""Seconds between two BEAT lines (SERIAL.md 1)."""
REF_KEPT = 30.0
"""Seconds for which an order's REF is remembered: longer than the host repeats it (6 s), shorter
than a host needs to start anew and count from 1 again."""
MOST_REFS = 64
FIRMWARE = "simulated-1"
BUSY, NO_SUCH_PORT, NO_LINE, BAD_NUMBER, OTHER = 1, 2, 3, 4, 9

_NUMBER = re.compile(r"[0-9AB]{1,32}")


class _Answered(Struct):
    order: Frame
    answer: bytes
    at: float


class BoardModel(PortModel):
    """A native board; the host asks for everything with SYNC."""

    def __init__(self, serial: int = 1, channels: int = 8, on_change: OnChange = unheard) -> None:
        super().__init__(serial, channels, on_change)
        self._reader = FrameReader()
        self._sequence = 255
        self._beat_at = 0.0
        self._answered: OrderedDict[int, _Answered] = OrderedDict()

    def feed(self, data: bytes, now: float) -> bytes:
        """Take what the host sent; return what the board answers."""
        return b"".join(self._obey(order, now) for order in self._reader.feed(data))

    def hello(self) -> bytes:
        """Return the line with which the board introduces itself."""
        return frame("HELLO", 1, self.serial, len(self.ports), FIRMWARE)

    def tick(self, now: float) -> bytes:
        """Return a BEAT where one is due."""
        if now < self._beat_at:
            return b""
        self._beat_at = now + BEAT
        return frame("BEAT", self._sequence)

    def due(self) -> float | None:
        """Return when `tick` has something to say."""
        return self._beat_at

    def _told(self, before: Port, after: Port, now: float) -> bytes:
        return self._line(after, now)

    def _obey(self, order: Frame, now: float) -> bytes:
        if order.type == "SYNC":
            self.syncs += 1
            return self.hello() + b"".join(self._line(port, now) for port in self.ports.values())
        if order.type not in ("DIAL", "HANG") or not order.fields or not order.fields[0].isdigit():
            return b""
        ref = int(order.fields[0])
        known = self._answered.get(ref)
        if known is not None and known.order == order and now - known.at < REF_KEPT:
            return known.answer
        code, effect = self._carry_out(order, ref, now)
        answer = frame("ERR", ref, code) if code else frame("OK", ref)
        self._answered[ref] = _Answered(order, answer, now)
        self._answered.move_to_end(ref)
        while len(self._answered) > MOST_REFS:
            self._answered.popitem(last=False)
        return answer + effect

    def _carry_out(self, order: Frame, ref: int, now: float) -> tuple[int, bytes]:
        """Return the error code, 0 for none, and the lines that the order brought about."""
        channel = int(order.fields[1]) if order.fields[1:] and order.fields[1].isdigit() else 0
        port = self.ports.get(channel)
        if port is None:
            return NO_SUCH_PORT, b""
        if port.state in WITHOUT_LINE:
            return NO_LINE, b""
        if order.type == "HANG":
            return self._hang(port, now)
        return self._dial(port, order.fields[2] if len(order.fields) > 2 else "", ref, now)

    def _hang(self, port: Port, now: float) -> tuple[int, bytes]:
        if port.state not in TALKING:
            return OTHER, b""
        return 0, self.change(port.channel, now, LineState.ON_HOOK)

    def _dial(self, port: Port, number: str, ref: int, now: float) -> tuple[int, bytes]:
        if not _NUMBER.fullmatch(number):
            return BAD_NUMBER, b""
        if port.state != LineState.ON_HOOK:
            return BUSY, b""
        phone = number.replace("A", "*").replace("B", "#")
        self.dials.append(Dial(port.channel, phone, ref))
        return 0, self.change(port.channel, now, LineState.IN_CALL, Peer.OUTGOING, phone)

    def _line(self, port: Port, now: float) -> bytes:
        self._sequence = (self._sequence + 1) % 256
        timelen = 0 if port.since is None else int(now - port.since)
        phone = port.phone.replace("*", "A").replace("#", "B")
        state, peer = int(port.state), int(port.peer)
        return frame("CH", self._sequence, port.channel, state, peer, phone, timelen)
