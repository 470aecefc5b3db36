"""The driver of a Hayes or V.253 voice modem: a board with one port (BOARDS.md 2).

What crosses the wire::

    host    ATZ    ATE0V1Q0S0=0    AT+VCID=1 …           the set-up, see modem_setup
            AT                                          now and then: is it there, is it as set up
            ATDT13800138000;    ATH                     dial and stay in command mode; hang up
    modem   OK    ERROR    NO CARRIER …                 results, one for each command
            RING    DATE = 0504    NMBR = 4075551212 …  a call, see modem_line and caller_id
            0x10 H …                                    DLE codes in voice mode, see modem_line

One command is under way at a time; a modem breaks one off when it gets the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import ClassVar

from msgspec import Struct

from agent.boards.caller_id import MOST_PHONE, BadPacket, is_packet, packet_number
from agent.boards.driver import BoardOptions, DialRefused, Driver, OptionValue
from agent.boards.events import BoardHello, DialAnswer, Event
from agent.boards.modem_line import CHANNEL, ModemLine
from agent.boards.modem_lines import Code, Line, ModemReader
from agent.boards.modem_options import ModemOptions
from agent.boards.modem_presence import Improvement, Presence
from agent.boards.modem_results import (
    DIALLED,
    DIALLED_WITHIN,
    NO_DIAL_TONE,
    NOT_DIALLED,
    OVER,
    result_of,
)
from agent.boards.modem_setup import Progress, SetUp

ANSWER_WITHIN = 3.0
"""Seconds in which a command is answered; ATZ takes the longest, about one."""
PAUSE = 0.1
"""Seconds between an answer and the next command: many modems lose one that comes at once."""
SET_UP_AGAIN = 5.0
"""Seconds until a set-up that failed is tried again."""

_RING = re.compile(r"RING(?: .*)?")
_TO_DIAL = re.compile(rf"[0-9*#]{{1,{MOST_PHONE}}}")


class _Kind(Enum):
    SET_UP = auto()
    PROBE = auto()
    DIAL = auto()
    HANG_UP = auto()


class _Command(Struct, frozen=True):
    """The command that is under way."""

    kind: _Kind
    text: str
    sent_at: float
    give_up_at: float


class ModemDriver(Driver):
    """One modem. Its one port is 1; a pool of modems is several boards of one port each."""

    name = "modem"
    silence_limit: ClassVar[float | None] = 45.0
    can_dial = True

    def __init__(self, options: BoardOptions, monotonic: Callable[[], float]) -> None:
        super().__init__(options, monotonic)
        self._settings = ModemOptions.read(options.options)
        self._reader = ModemReader(self._bad)
        self._said: list[Event] = []
        self._command: _Command | None = None
        self._next_at = 0.0
        """Monotonic time before which no command is sent."""
        self._presence = Presence()
        self._improvement = Improvement()
        self._to_dial = ""
        self._hang_up_at: float | None = None
        self._ready = self._wants_set_up = False
        self._echoes = False
        """Whether it repeats what it is told even after it was told not to."""
        self._begin()

    @classmethod
    def check_options(cls, options: Mapping[str, OptionValue]) -> None:
        """Raise BadOption where a key or its value is none of `ModemOptions`."""
        ModemOptions.read(options)

    @property
    def in_step(self) -> bool:
        """True while the modem is set up and answers."""
        return self._ready and not self._presence.unanswered

    def opened(self) -> None:
        """Set the modem up; whatever it was doing is over."""
        self._reader.reset()
        reason = "the port was opened anew before the modem answered"
        sent = self._command is not None and self._command.kind is _Kind.DIAL
        self._refuse_to_dial(reason, busy=not sent)
        self._begin()

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes, return what they say and what fell due."""
        now = self.monotonic()
        for piece in self._reader.feed(data):
            if isinstance(piece, Code):
                self._good()
                self._say(self._line.code(piece.letter, now))
                self._follow_hook(piece.letter, now)
            else:
                self._hear(piece, now)
        if self._command is not None and now >= self._command.give_up_at:
            self._result(None, now)
        self._say(self._line.tick(now))
        said, self._said = self._said, []
        return said

    def poll(self) -> bytes:
        """Return the next command where none is under way and one is due."""
        now = self.monotonic()
        if self._command is not None or now < self._next_at:
            return b""
        found = self._next_command(now)
        if found is None:
            return b""
        kind, text = found
        within = DIALLED_WITHIN if kind is _Kind.DIAL else ANSWER_WITHIN
        self._command = _Command(kind, text, now, now + within)
        return f"{text}\r".encode("ascii")

    def due(self) -> float | None:
        """When an answer is overdue, a command is to be sent, or the line's state changes."""
        now = self.monotonic()
        if self._said:
            return now
        times = [self._line.due()]
        if self._command is not None:
            times.append(self._command.give_up_at)
        else:
            times.append(self._next_command_at(now))
        return min((time for time in times if time is not None), default=None)

    def dial(self, channel: int, phone: str) -> bytes:
        """Dial digits, `*` and `#`; refused for now, as busy, while the line is not free."""
        if channel != CHANNEL:
            raise DialRefused(f"there is no port {channel}: a modem has one")
        if not _TO_DIAL.fullmatch(phone):
            raise DialRefused(f"a number to dial has 1 to {MOST_PHONE} digits, * or #")
        if self._to_dial:
            raise DialRefused(f"port {channel} has not answered the last order to dial yet")
        if not self._ready:
            self._say([DialAnswer(CHANNEL, False, "the modem is being set up", busy=True)])
            return b""
        self._to_dial = phone
        return self.poll()

    def findings(self) -> list[str]:
        """Say what this modem does not tell."""
        return self._set_up.shortcomings() if self._ready else []

    def _begin(self) -> None:
        """Know nothing, and begin with a set-up."""
        self._line = ModemLine(self._settings)
        self._hang_up_at = None
        self._begin_set_up(self.monotonic())
        self._presence = Presence()
        self._echoes = False

    def _begin_set_up(self, at: float) -> None:
        self._set_up = SetUp(raw=self._settings.raw, handset=self._settings.handset)
        self._ready = self._wants_set_up = False
        self._command = None
        self._next_at = at

    # What the modem says.

    def _hear(self, line: Line, now: float) -> None:
        text = line.text
        result = result_of(text)
        if result is not None:
            self._good()
            self._result(result, now)
        elif _RING.fullmatch(text):
            self._good()
            self._say(self._line.ring(now))
        elif text.upper().startswith("AT"):
            self._good()
            self._echo()
        elif is_packet(text):
            self._packet(line, now)
        else:
            events = self._line.caller_id(text, now)
            if events is None:
                self._bad(line.raw, "a line that no modem is known to say")
                return
            self._good()
            self._say(events)

    def _packet(self, line: Line, now: float) -> None:
        try:
            phone = packet_number(line.text)
        except BadPacket as error:
            self._bad(line.raw, str(error))
            return
        self._good()
        self._say(self._line.number(phone, now))

    def _good(self) -> None:
        self.frames += 1
        if self._presence.heard(self.monotonic()):
            self._wants_set_up = True

    def _echo(self) -> None:
        """It repeats what it is told: it has just not been told yet, or has lost its power."""
        if self._ready:
            self._wants_set_up = self._wants_set_up or not self._echoes
        elif self._set_up.mannered:
            # Told so and yet echoing, this one always does.
            self._echoes = True

    def _follow_hook(self, letter: str, now: float) -> None:
        """The modem lets go once somebody lifted a telephone, or the exchange ended the call."""
        if self._line.modem_off_hook and (self._line.lifted or letter == "l"):
            self._hang_up_at = now

    def _result(self, result: str | None, now: float) -> None:
        """Take a result code; None: the command under way had none in its time."""
        command = self._command
        if result in OVER and (command is None or command.kind is not _Kind.DIAL):
            if self._line.modem_off_hook:
                self._hang_up_at = now
            return
        self._command = None
        self._next_at = now + PAUSE
        if command is None:
            return
        if command.kind is _Kind.SET_UP:
            self._set_up_answered(result, now)
        elif command.kind is _Kind.DIAL:
            self._dial_answered(result, now, now - command.sent_at)
        elif command.kind is _Kind.HANG_UP:
            self._say(self._line.let_go())
        elif result is None:
            self._presence.not_answered(now)

    def _set_up_answered(self, result: str | None, now: float) -> None:
        self._set_up.answered(result)
        if self._set_up.progress is Progress.FAILED:
            self._begin_set_up(now + SET_UP_AGAIN)
        elif self._set_up.progress is Progress.DONE:
            self._ready = True
            self._improvement.plan(now, complete=self._set_up.complete)
            self._line.forget(hook_is_told=self._set_up.reports_handset)
            kind = f"caller ID by {self._set_up.caller_id}" if self._set_up.caller_id else "modem"
            self._say([BoardHello(self.options.serial, 1, kind), self._line.said_anew()])

    def _dial_answered(self, result: str | None, now: float, took: float) -> None:
        phone, self._to_dial = self._to_dial, ""
        if result in DIALLED:
            self._say([DialAnswer(CHANNEL, True), *self._line.dialled(phone, took)])
            self._hang_up_at = now + self._settings.hang_up_after
            return
        self._say([DialAnswer(CHANNEL, False, NOT_DIALLED[result])])
        if result == NO_DIAL_TONE:
            self._say(self._line.no_line(now))
        elif result is None:
            self._hang_up_at = now

    # What the modem is told.

    def _next_command(self, now: float) -> tuple[_Kind, str] | None:
        if self._improvement.falls_due(now):
            self._wants_set_up = True
        if self._wants_set_up and self._line.quiet:
            self._refuse_to_dial("the modem started anew before it dialled")
            self._begin_set_up(now)
        if not self._ready:
            return _Kind.SET_UP, self._set_up.command()
        if self._hang_up_at is not None and now >= self._hang_up_at:
            self._hang_up_at = None
            return _Kind.HANG_UP, "ATH"
        if self._to_dial:
            if self._line.is_free:
                return _Kind.DIAL, f"ATDT{self._to_dial};"
            self._refuse_to_dial("the line is taken")
        if now >= self._presence.ask_at and not self._line.is_ringing:
            return _Kind.PROBE, "AT"
        return None

    def _next_command_at(self, now: float) -> float | None:
        """When `poll` has something to send, if nothing is heard until then."""
        if not self._ready or self._to_dial or (self._wants_set_up and self._line.quiet):
            return max(now, self._next_at)
        times = [] if self._hang_up_at is None else [self._hang_up_at]
        if not self._line.is_ringing:
            times.append(self._presence.ask_at)
        if self._line.quiet and self._improvement.at is not None:
            times.append(self._improvement.at)
        return max(self._next_at, min(times)) if times else None

    def _refuse_to_dial(self, reason: str, *, busy: bool = True) -> None:
        if self._to_dial:
            self._to_dial = ""
            self._say([DialAnswer(CHANNEL, False, reason, busy)])

    def _say(self, events: Sequence[Event]) -> None:
        self._said += events

    def _bad(self, piece: bytes, reason: str) -> None:
        self.bad_frames += 1
        self.tell_bad(piece, reason)
