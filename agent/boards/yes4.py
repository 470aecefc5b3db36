"""The driver of YES Tele's "Identifier" MLM-4X: four lines, and it can be asked (BOARDS.md 3).

What crosses the wire, LLL being the line with three digits::

    board   +2,CODE,LLL                a change: on hook, a ring begins or stops, off hook
            +1,NUMBER,NAME,LLL         caller ID          +8,ERROR,LLL     it failed
            +5,DIGIT,LLL               a digit dialled    +7,CODE,LLL      answer to ATSn
            +6,MMDDhhmmss,NUMBER,NAME,…,LLL               detail of a line in use
    host    ATSN    enter event mode        ATSn    how is line n
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import ClassVar

from agent.boards.driver import BoardOptions, Driver
from agent.boards.events import BoardHello, ChannelState, Event
from agent.boards.text_lines import LineReader
from agent.boards.yes4_line import Yes4Line
from agent.language import said

ANSWER_WITHIN = 1.0
"""Seconds after which another line is asked where one did not answer."""
AFTER_EVENT_MODE = 0.1
"""Seconds between that command and the first question."""
ROUND_APART = 15.0
"""Seconds between two rounds in which all lines are asked: what the wire lost comes out so."""
DOUBT_APART = 2.0
"""Seconds between two rounds at least where damaged lines came."""
MOST_TRIES = 3
"""Questions in one round to a line that does not answer: the box may have fewer."""
EVENT_MODE = b"ATSN\r"
"""Said before each round: a box that lost its power has left event mode."""

_EVENT = re.compile(r"\+(\d),(.*),(\d{3})")
_TWO_IN_ONE = re.compile(r",\d{3} *\+\d,")
_NOT_OURS = re.compile(r"AT.*|OK|ERROR", re.I)
"""Echo and result codes: neither events nor damage."""
_CODE = re.compile(r"[0-5]")
_DIGIT = re.compile(r"[0-9A-D*#]")


class Yes4Driver(Driver):
    """Listens, and asks each line in rounds; it does not dial."""

    name = "yes4"
    silence_limit: ClassVar[float | None] = 45.0
    baudrate: ClassVar[int] = 9600

    def __init__(self, options: BoardOptions, monotonic: Callable[[], float]) -> None:
        super().__init__(options, monotonic)
        self._reader = LineReader(self._damaged)
        self._lines = {number: Yes4Line(number) for number in range(1, options.channels + 1)}
        self._to_ask: deque[int] = deque()
        self._tries: dict[int, int] = {}
        self._doubtful: set[int] = set(self._lines)
        self._ask_at = 0.0
        self._round_at = 0.0
        self._greeted = False
        self._frames_before = -1
        self._take: dict[str, Callable[[Yes4Line, str], list[ChannelState] | None]] = {
            "1": self._caller,
            "2": self._change,
            "5": self._dialled,
            "6": self._detail,
            "7": self._answer,
            "8": lambda _line, _data: [],
        }

    @property
    def in_step(self) -> bool:
        """True where every line has answered since the last damage."""
        return not self._doubtful

    def opened(self) -> None:
        """Ask every line."""
        self._reader.reset()
        self._greeted = False
        self._doubtful = set(self._lines)
        self._to_ask.clear()
        self._ask_at = self._round_at = self.monotonic()

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes, return what became of the lines."""
        now = self.monotonic()
        events: list[Event] = []
        for text in self._reader.feed(data):
            events += self._understand(text.decode("ascii", "replace").strip())
        for line in self._lines.values():
            events += line.expire(now)
        if not self._greeted and not self._doubtful:
            self._greeted = True
            serial, channels = self.options.serial, self.options.channels
            events.insert(0, BoardHello(serial, channels, "YES Tele MLM-4X"))
        return events

    def poll(self) -> bytes:
        """Return the question that is due."""
        now = self.monotonic()
        if not self._to_ask and now >= self._round_at:
            self._begin_round(now)
            return EVENT_MODE
        if not self._to_ask or now < self._ask_at:
            return b""
        number = self._to_ask.popleft()
        self._tries[number] += 1
        if self._tries[number] < MOST_TRIES:
            self._to_ask.append(number)
        self._ask_at = now + ANSWER_WITHIN
        return b"ATS%d\r" % number

    def due(self) -> float | None:
        """When a line is to be asked, or ringing is to be ended."""
        rings = (line.due() for line in self._lines.values())
        asks = self._ask_at if self._to_ask else self._round_at
        return min([asks, *_known(rings)])

    def findings(self) -> list[str]:
        """What it can't."""
        return [said("it does not dial, so calls that the platform asks for fail")]

    def _begin_round(self, now: float) -> None:
        if self.frames == self._frames_before:
            self._doubtful = set(self._lines)
        elif len(self._doubtful) < len(self._lines):
            # A line that never answers is none of the box's.
            self._doubtful -= {line for line, tries in self._tries.items() if tries == MOST_TRIES}
        self._frames_before = self.frames
        self._round_at = now + ROUND_APART
        self._to_ask.extend(self._lines)
        self._tries = dict.fromkeys(self._lines, 0)
        self._ask_at = now + AFTER_EVENT_MODE

    def _understand(self, text: str) -> list[ChannelState]:
        if _NOT_OURS.fullmatch(text) or not text:
            return []
        found = _EVENT.fullmatch(text)
        line = self._lines.get(int(found[3])) if found else None
        if found is None or line is None or _TWO_IN_ONE.search(text):
            self._damaged(text.encode("ascii", "replace"), "no event of a line that is configured")
            return []
        take = self._take.get(found[1])
        events = take(line, found[2]) if take is not None else []
        if events is None:
            self._damaged(text.encode("ascii", "replace"), "an event that makes no sense")
            return []
        self.frames += 1
        return events

    def _change(self, line: Yes4Line, data: str) -> list[ChannelState] | None:
        return line.event(int(data), self.monotonic()) if _CODE.fullmatch(data) else None

    def _answer(self, line: Yes4Line, data: str) -> list[ChannelState] | None:
        if not _CODE.fullmatch(data):
            return None
        self._doubtful.discard(line.channel)
        if line.channel in self._to_ask:
            self._to_ask.remove(line.channel)
        self._ask_at = self.monotonic()
        return line.answer(int(data), self.monotonic())

    def _caller(self, line: Yes4Line, data: str) -> list[ChannelState] | None:
        return line.caller(data.partition(",")[0], self.monotonic())

    def _dialled(self, line: Yes4Line, data: str) -> list[ChannelState] | None:
        return line.digit(data) if _DIGIT.fullmatch(data) else None

    def _detail(self, line: Yes4Line, data: str) -> list[ChannelState] | None:
        return line.detail((data.split(",") + [""])[1])

    def _damaged(self, piece: bytes, reason: str) -> None:
        self.bad_frames += 1
        self.tell_bad(piece, reason)
        self._doubtful = set(self._lines)
        soon = self.monotonic() + DOUBT_APART
        self._round_at = min(self._round_at, soon) if not self._to_ask else soon


def _known(times: Iterable[float | None]) -> list[float]:
    return [time for time in times if time is not None]
