"""Setting up a Whozz Calling box, byte by byte, and asking whether it lives (BOARDS.md 1).

::

    @ until it answers #      V until it answers      the options that are off      V again
    every 2 s, later          3 times at most         50 ms apart, 100 ms after     to see what
    when it falls silent                              the answer to V               it took
                                                                                    then its clock

No input or output and no clock: every call is told the time, in monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum, auto

from agent.boards.driver import advised
from agent.boards.whozz_records import Version
from agent.language import marked, said

OPTION_APART = 0.05
"""Seconds between two bytes of settings: the box writes them to its non-volatile memory."""
AFTER_VERSION = 0.1
"""Seconds after an answer to `V` in which an eight-line unit swallows what it is told."""
AGAIN = 2.0
"""Seconds after which an unanswered question is asked again."""
MOST_VERSION_QUESTIONS = 3
MOST_ROUNDS = 3
"""Times that options are set and looked at: a bad wire may have lost them on the way."""
PROBE_WHEN_QUIET = 20.0
"""Seconds without a word after which the box is asked whether it is there."""
AWAY = 60.0
"""Seconds of silence after which a box may have lost its power, so that it is set up anew."""
MOST_UNITS = 50
"""Units of one chain: two lines each, numbered with two digits."""

WANTED = {
    "E": marked("echo of commands as at the factory"),
    "c": marked("a $ before each record, numbers without dashes"),
    "X": marked("comprehensive records"),
    "d": marked("detail records: ring, off hook, on hook"),
    "A": marked("records at a call's start and end"),
    "o": marked("outgoing calls too"),
}
"""Options as they should be set, in the order in which they are (BOARDS.md 1)."""
MISSED = {
    "d": marked("whether a call was answered is known only when it ends"),
    "o": marked("calls that are made here are not seen"),
}
"""What is lost with a unit that does not know an option at all."""


class _Stage(Enum):
    SEEKING = auto()
    ASKING = auto()
    SETTING = auto()
    CHECKING = auto()
    SET_UP = auto()


class WhozzSetup:
    """What to send next to one box, or to one chain of boxes."""

    def __init__(self, local_time: Callable[[], datetime]) -> None:
        self.refused = 0
        """Commands that the box answered with `?`."""
        self._local_time = local_time
        self._stage = _Stage.SEEKING
        self._found: dict[int, Version] = {}
        self._units: dict[int, Version] = {}
        self._queue: deque[bytes] = deque()
        self._next_at = 0.0
        self._heard_at = 0.0
        self._questions = 0
        self._rounds = 0

    @property
    def done(self) -> bool:
        """True once the options are as they will be."""
        return self._stage is _Stage.SET_UP

    @property
    def units(self) -> list[Version]:
        """What each unit last said of itself, by its first line."""
        latest = {**self._found, **self._units}
        return [latest[first] for first in sorted(latest)]

    def begin(self, now: float) -> None:
        """Seek the box, and set it up once it answers."""
        self._stage = _Stage.SEEKING
        self._queue.clear()
        self._found, self._units = {}, {}
        self._questions = self._rounds = self.refused = 0
        self._next_at = self._heard_at = now

    def heard(self, now: float) -> None:
        """Anything whole came: it lives."""
        if self.done and now - self._heard_at > AWAY:
            self.begin(now)
        self._heard_at = now

    def alive(self, now: float) -> None:
        """`#` came."""
        self.heard(now)
        if self._stage is _Stage.SEEKING:
            self._ask(_Stage.ASKING, now)
        elif self.done and not self._queue:
            self._next_at = now + PROBE_WHEN_QUIET

    def version(self, version: Version, now: float) -> None:
        """The answer to `V` came, one of several where boxes are chained."""
        if len(self._found) >= MOST_UNITS and version.first_line not in self._found:
            return
        if self._stage in {_Stage.ASKING, _Stage.SETTING}:
            self._found[version.first_line] = version
            self._set_options(self._found, now)
        elif self._stage is _Stage.CHECKING:
            self._units[version.first_line] = version
            self._next_at = now + AFTER_VERSION
            if self._units.keys() >= self._found.keys():
                self._looked_at(now)

    def poll(self, now: float) -> bytes:
        """Return the next byte, if its time has come."""
        due = self.due()
        if due > now:
            return b""
        if self._queue:
            self._next_at = now + OPTION_APART
            return self._queue.popleft()
        if self._stage is _Stage.SEEKING or self.done:
            self._next_at = now + AGAIN
            return b"@"
        if self._stage is _Stage.SETTING:
            return self._verify(now)
        return self._ask_on(now)

    def due(self) -> float:
        """When `poll` has something to send."""
        if self.done and not self._queue:
            return max(self._next_at, self._heard_at + PROBE_WHEN_QUIET)
        return self._next_at

    def findings(self) -> list[str]:
        """What a technician should know, an arrow before what is to be done."""
        if self._stage is _Stage.SEEKING:
            return []
        if not self._found:
            return [
                advised(
                    said("it does not say how it is set (V)"),
                    said("see that it is set to E c X d A o, or that transmit reaches it"),
                )
            ]
        return [found for unit in self.units for found in self._findings_of(unit)]

    def _findings_of(self, unit: Version) -> list[str]:
        before = self._found.get(unit.first_line, unit).options
        it = said("it")
        if len(self.units) > 1:
            it = said("the unit of line {line}", line=unit.first_line)
        findings: list[str] = [
            advised(
                said(
                    "{unit} keeps option {letter} off ({meaning})",
                    unit=it,
                    letter=letter,
                    meaning=said(meaning),
                ),
                said("set it with the maker's program, or replace the unit"),
            )
            for letter, meaning in WANTED.items()
            if letter.swapcase() in unit.options
        ]
        findings += [
            said(
                "{unit} had option {letter} off ({meaning}); it is set now",
                unit=it,
                letter=letter,
                meaning=said(meaning),
            )
            for letter, meaning in WANTED.items()
            if letter.swapcase() in before and letter in unit.options
        ]
        findings += [
            said(
                "{unit} does not know option {letter} ({meaning}): {lost}",
                unit=it,
                letter=letter,
                meaning=said(WANTED[letter]),
                lost=said(lost),
            )
            for letter, lost in MISSED.items()
            if letter not in unit.options.lower()
        ]
        if unit.first_line != 1 and len(self.units) == 1:
            findings.append(
                advised(
                    said("it numbers its lines from {line}", line=f"{unit.first_line:02}"),
                    said("where no other unit stands before it, set its first line to 01"),
                )
            )
        return findings

    @staticmethod
    def _to_be_set(units: Mapping[int, Version]) -> list[str]:
        return [
            letter
            for letter in WANTED
            if any(letter.swapcase() in unit.options for unit in units.values())
        ]

    def _set_options(self, units: Mapping[int, Version], now: float) -> None:
        self._stage = _Stage.SETTING
        self._queue = deque(letter.encode() for letter in self._to_be_set(units))
        self._next_at = now + AFTER_VERSION

    def _looked_at(self, now: float) -> None:
        self._rounds += 1
        if self._to_be_set(self._units) and self._rounds < MOST_ROUNDS:
            self._set_options(self._units, now)
        else:
            self._finish(now)

    def _ask(self, stage: _Stage, now: float) -> None:
        self._stage, self._questions, self._next_at = stage, 0, now

    def _ask_on(self, now: float) -> bytes:
        if self._questions < MOST_VERSION_QUESTIONS:
            self._questions += 1
            self._next_at = now + AGAIN
            return b"V"
        if self._stage is _Stage.ASKING:
            self._stage = _Stage.SETTING
            self._queue = deque(letter.encode() for letter in WANTED)
        else:
            self._finish(now)
        self._next_at = now
        return b""

    def _verify(self, now: float) -> bytes:
        if not self._found or not self._to_be_set(self._found):
            self._finish(now)
            return b""
        self._units = {}
        self._ask(_Stage.CHECKING, now)
        return self._ask_on(now)

    def _finish(self, now: float) -> None:
        self._stage = _Stage.SET_UP
        self._next_at = now + AFTER_VERSION
        clock = f"Z{self._local_time():%m%d%H%M}\r".encode("ascii")
        self._queue = deque(bytes((byte,)) for byte in clock)
