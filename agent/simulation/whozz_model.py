"""A Whozz Calling box's side of its wire (BOARDS.md 1), sans-I/O: bytes in, bytes out."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from msgspec import Struct

from agent.boards.events import LineState, Peer
from agent.simulation.port_model import TALKING, OnChange, Port, PortModel, unheard

FACTORY = "ECXUDASOBKT"
TWO_LINE_UNIT = "CDASOT"
"""The options that a unit of two lines knows."""
FIRMWARE = "3.1"
SWALLOWS = 0.1
"""Seconds after its answer to `V` in which a unit of eight lines takes no option."""
DIALLING_ENDS = 2.0
"""Seconds after the last digit at which a call out is said; later digits come with its end."""
MOST_COMMAND = 16
"""Characters of a command with digits; a longer one is none."""

_UNSET = datetime(2000, 1, 1)
_CLOCK = re.compile(r"Z(\d\d)(\d\d)(\d\d)(\d\d)")


class _Course(Struct):
    """How far a line's call has come in what was said of it."""

    began: datetime = _UNSET
    lifted_at: float | None = None
    last_digit_at: float | None = None
    number: str | None = None
    """As said at the start; None: that was not said yet."""
    peer: Peer = Peer.UNKNOWN
    phone: str = ""


class WhozzModel(PortModel):
    """One unit, set as at the factory until the host sets it up. Times are monotonic seconds."""

    def __init__(
        self,
        serial: int = 1,
        channels: int = 8,
        on_change: OnChange = unheard,
        *,
        details: bool = True,
    ) -> None:
        """`details`: False for a basic unit that knows neither ring, nor off hook, nor on hook."""
        super().__init__(serial, channels, on_change)
        known = TWO_LINE_UNIT if channels <= 2 else FACTORY
        self.options = known if details else known.replace("D", "")
        self._courses = {channel: _Course() for channel in self.ports}
        self._command = ""
        self._deaf_until = float("-inf")
        self._clock = (_UNSET, 0.0)

    def hello(self) -> bytes:
        """Return nothing: the box waits to be spoken to."""
        return b""

    def feed(self, data: bytes, now: float) -> bytes:
        """Take what the host sent; return what the box answers."""
        return b"".join(self._hear(chr(byte), now) for byte in data)

    def tick(self, now: float) -> bytes:
        """Return the start records of calls out whose number is complete."""
        return b"".join(
            self._start(channel, course)
            for channel, course in self._courses.items()
            if self._starts_at(course) <= now
        )

    def due(self) -> float | None:
        """Return when the next start record of a call out is to be said."""
        due = min(map(self._starts_at, self._courses.values()), default=float("inf"))
        return None if due == float("inf") else due

    @staticmethod
    def _starts_at(course: _Course) -> float:
        waits = course.number is None and course.last_digit_at is not None
        return (course.last_digit_at or 0.0) + DIALLING_ENDS if waits else float("inf")

    def _hear(self, character: str, now: float) -> bytes:
        if self._command:
            return self._hear_digits(character, now)
        if character in "ZN":
            self._command = character
            return b""
        if character == "@":
            return b"#\r\n"
        if character == "V":
            self._deaf_until = now + SWALLOWS if len(self.ports) >= 8 else now
            when = f"{self._time(now):%m/%d %H:%M:%S}"
            return f"V{FIRMWARE} {self.options} L=01 {when}\r\n".encode("ascii")
        if character not in self.options + self.options.swapcase():
            return b"?\r\n"
        if now >= self._deaf_until:
            self.options = self.options.replace(character.swapcase(), character)
        return b""

    def _hear_digits(self, character: str, now: float) -> bytes:
        if character != "\r":
            self._command += character
            if len(self._command) <= MOST_COMMAND:
                return b""
        command, self._command = self._command, ""
        found = _CLOCK.fullmatch(command)
        if found is None:
            return b"?\r\n"
        try:
            month, day, hour, minute = map(int, found.groups())
            self._clock = (datetime(_UNSET.year, month, day, hour, minute), now)
        except ValueError:
            return b"?\r\n"
        self.syncs += 1  # the clock is what the host sets last
        return b""

    def _told(self, before: Port, after: Port, now: float) -> bytes:
        course = self._courses[after.channel]
        was, now_is = _phase(before), _phase(after)
        if was == "free" and now_is != "free":
            course = self._courses[after.channel] = _Course(self._time(now))
        course.peer, course.phone = after.peer or course.peer, after.phone or course.phone
        if after.phone != before.phone and now_is == "talks" and after.peer is Peer.OUTGOING:
            course.last_digit_at = now
        said = b""
        if (was, now_is) == ("free", "rings"):
            said += self._detail(after.channel, "R", now)
        if was != "talks" and now_is == "talks":
            course.lifted_at = now
            said += self._detail(after.channel, "F", now)
        if was == now_is == "talks" and before.state != after.state:
            said += self._detail(after.channel, "H", now)
        if course.number is None and after.phone and after.peer is Peer.INCOMING:
            said += self._start(after.channel, course)
        if was != "free" and now_is == "free":
            said += self._end(after.channel, course, now)
        return said

    def _start(self, channel: int, course: _Course) -> bytes:
        course.number = course.phone
        return self._record(channel, course, "S", 0)

    def _end(self, channel: int, course: _Course, now: float) -> bytes:
        said = b""
        outgoing = course.peer is Peer.OUTGOING
        is_call = bool(course.phone) or not outgoing
        if course.number is None and is_call:
            said += self._start(channel, course)
        seconds = 0
        if course.lifted_at is not None:
            said += self._detail(channel, "N", now)
            seconds = int(now - course.lifted_at)
        if is_call:
            said += self._record(channel, course, "E", seconds)
        self._courses[channel] = _Course()
        return said

    def _detail(self, channel: int, kind: str, now: float) -> bytes:
        if "d" not in self.options:
            return b""
        when = f"{self._time(now):%m/%d %H:%M:%S}"
        return self._line(f"{channel:02} {kind}             {when}")

    def _record(self, channel: int, course: _Course, kind: str, seconds: int) -> bytes:
        outgoing = course.peer is Peer.OUTGOING
        if outgoing and "o" not in self.options:
            return b""
        number = course.number or ""
        later = course.phone.removeprefix(number) if outgoing and kind == "E" else ""
        shown = self._dashed(number) or "No-CallerID"
        rings = "A0" if outgoing else "A2"
        when = f"{course.began:%m/%d %I:%M %p}"
        return self._line(
            f"{channel:02} {'O' if outgoing else 'I'} {kind} {seconds:04} G {rings} {when}"
            f" {shown:<14} {later:<15}"
        )

    def _dashed(self, number: str) -> str:
        if "C" not in self.options or len(number) != 10 or not number.isdigit():
            return number
        return f"{number[:3]}-{number[3:6]}-{number[6:]}"

    def _line(self, text: str) -> bytes:
        prefix = "$" if "c" in self.options else ""
        return f"{prefix}{text}\r\n".encode("ascii")

    def _time(self, now: float) -> datetime:
        then, at = self._clock
        return then + timedelta(seconds=now - at)


def _phase(port: Port) -> str:
    if port.state in TALKING:
        return "talks"
    return "rings" if port.state is LineState.RINGING else "free"
