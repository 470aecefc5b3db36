"""Calls out of channel states (SERIAL.md, "Calls out of states"): pure, every clock handed in.

One `ChannelTracker` stands for one RJ11 port. It is told what the board says, and when; it answers
with steps: a call started, changed, ended.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from enum import Enum, StrEnum, auto

from msgspec import Struct
from msgspec.structs import replace

from agent.boards.events import ChannelState, LineState, Peer
from agent.clock import Stamp

RINGING_LONGEST = 180.0
"""Seconds without a line about a ringing port after which the caller is taken to have given up."""
RINGING_EVER = 600.0
"""Seconds after which ringing ends even where the board repeats it: no exchange rings that long."""
LOST_LONGEST = 5400.0
"""Seconds without the board after which its call is ended; the platform drops longer calls."""
TOLERANCE = 2.0
"""Seconds by which TIMELEN may be off: it counts whole ones, and its line takes a while."""
LONGEST_TIMELEN = 86_400
"""Seconds in a call that are believed; a board that says more is not counting calls."""
MOST_PHONE = 32
"""Characters of a number kept: twice what E.164 allows."""

NEVER = Stamp(-math.inf, -math.inf)
"""Before anything was heard."""

_NOT_PHONE = re.compile(r"[^0-9*#+]")


class Direction(StrEnum):
    """Who called whom, as the platform spells it (PROTOCOL.md 2.2)."""

    IN = "in"
    OUT = "out"
    UNKNOWN = "unkown"


class Call(Struct, frozen=True):
    """One call on one port, going on or over. All stamps are raw, as the clocks said then."""

    board: int
    channel: int
    direction: Direction
    phone: str
    """The other party: digits, `*`, `#`, `+`; empty while not known."""
    started: Stamp
    """First ring, or going off hook."""
    answered: Stamp | None
    """When talking began (outgoing: going off hook); None: nobody answered (yet)."""
    ended: Stamp | None
    last_heard: Stamp
    """Last moment at which the call was known to go on."""

    @property
    def duration(self) -> float:
        """Seconds from the answer to the end (or `last_heard`) by the monotonic clock; else 0."""
        return _between(self.answered, self.ended or self.last_heard) if self.answered else 0.0

    @property
    def elapsed(self) -> float:
        """Seconds from the start to the end (or `last_heard`) by the monotonic clock."""
        return _between(self.started, self.ended or self.last_heard)

    @property
    def clock_jump(self) -> float:
        """Seconds by which the wall clock jumped during the call, positive where it went ahead."""
        last = self.ended or self.last_heard
        return last.wall - self.started.wall - (last.monotonic - self.started.monotonic)


class Started(Struct, frozen=True):
    """A call began: it rings, or the line was taken."""

    call: Call


class Changed(Struct, frozen=True):
    """A call goes on with another number or direction, or was answered."""

    call: Call


class Ended(Struct, frozen=True):
    """A call is over; `call.ended` is set."""

    call: Call


Step = Started | Changed | Ended


class _Phase(Enum):
    FREE = auto()
    RINGING = auto()
    TALKING = auto()

    # An Enum's own hashes the name, in Python, at each line that a board says.
    __hash__ = object.__hash__


_PHASE_OF = {
    LineState.NOT_CONNECTED: _Phase.FREE,
    LineState.ON_HOOK: _Phase.FREE,
    LineState.IN_CALL: _Phase.TALKING,
    LineState.RINGING: _Phase.RINGING,
    LineState.ANSWERED: _Phase.TALKING,
    LineState.FAULT: _Phase.FREE,
}
_PHASES = tuple(_PHASE_OF[state] for state in sorted(LineState))
"""The same by the state's number, which needs no hash."""
_BY_PEER = {Peer.OUTGOING: Direction.OUT, Peer.INCOMING: Direction.IN}
_TO_PEER = {Direction.OUT: Peer.OUTGOING, Direction.IN: Peer.INCOMING}


class _Line(Struct, frozen=True):
    """What the board said about the port, when, and whether changes may lie before it."""

    event: ChannelState
    at: Stamp
    doubt: bool

    @property
    def phone(self) -> str:
        """The number as a call may hold it: a driver may be anybody's."""
        return _NOT_PHONE.sub("", self.event.phone)[:MOST_PHONE]

    @property
    def changed(self) -> Stamp:
        """When the port came into this state: now, or before where the board says it late."""
        ago = min(max(0.0, self.event.ago), LONGEST_TIMELEN)
        return Stamp(self.at.wall - ago, self.at.monotonic - ago)

    @property
    def began(self) -> Stamp | None:
        """When the present call began by TIMELEN; None where that is not said, or not needed."""
        if self.event.ago > 0:
            return self.changed
        timelen = self.event.timelen
        # A ringing port is not in a call yet, so 0 says nothing there.
        silent = timelen == 0 and self.event.state is LineState.RINGING
        if timelen is None or silent or not self.doubt or not 0 <= timelen <= LONGEST_TIMELEN:
            return None
        return Stamp(self.at.wall - timelen, self.at.monotonic - timelen)


class ChannelTracker:
    """Follows one port. Call `tick` now and then: it ends what fell silent or stayed lost.

    Each Started is followed by exactly one Ended before the next Started.
    """

    def __init__(self, board: int, channel: int) -> None:
        self.board = board
        self.channel = channel
        self.state: LineState | None = None
        """Last state heard; None: none yet."""
        self.since: Stamp | None = None
        """When that state was first heard."""
        self._call: Call | None = None
        """Its `last_heard` may be an older one than `_heard`: see `call`."""
        self._heard = NEVER
        """Last moment at which the call was known to go on; it changes with every line of the
        board, whichever port that is about."""
        self._held = False
        self._rang = False
        self._rung_out = False
        self._last_line: Stamp | None = None
        self._free_at = -math.inf
        self._ended_at = -math.inf
        self._moves_free: dict[_Phase, Callable[[_Line], list[Step]]] = {
            _Phase.FREE: lambda _: [],
            _Phase.RINGING: self._rings,
            _Phase.TALKING: self._taken,
        }
        self._moves_busy: dict[tuple[_Phase, _Phase], Callable[[_Line, Call], list[Step]]] = {
            (_Phase.RINGING, _Phase.FREE): self._hung_up,
            (_Phase.RINGING, _Phase.RINGING): self._goes_on,
            (_Phase.RINGING, _Phase.TALKING): self._answered,
            (_Phase.TALKING, _Phase.FREE): self._hung_up,
            (_Phase.TALKING, _Phase.RINGING): self._rings_after_a_lost_end,
            (_Phase.TALKING, _Phase.TALKING): self._goes_on,
        }

    @property
    def call(self) -> Call | None:
        """The call that goes on, as known so far."""
        if self._call is not None and self._call.last_heard is not self._heard:
            self._call = replace(self._call, last_heard=self._heard)
        return self._call

    @property
    def talking_since(self) -> Stamp | None:
        """When talking began in the present call; None: there is none, or nobody answered."""
        return self._call.answered if self._call else None

    @property
    def phone(self) -> str:
        """The other party's number in the present call, else empty."""
        return self._call.phone if self._call else ""

    @property
    def peer(self) -> Peer:
        """Which side began the present call."""
        if self._call is None:
            return Peer.UNKNOWN
        return Peer.INCOMING if self._rang else _TO_PEER.get(self._call.direction, Peer.UNKNOWN)

    def hear(self, event: ChannelState, at: Stamp) -> list[Step]:
        """Take what the board says about this port, heard at `at`."""
        steps = self.tick(at)
        if event.assumed and self._call is not None:
            return steps
        line = _Line(event, at, event.asked or self._held or self.state is None)
        said = _PHASES[event.state]
        if self._call is None:
            steps += self._moves_free[said](line)
        else:
            now = _Phase.RINGING if self._call.answered is None else _Phase.TALKING
            steps += self._moves_busy[now, said](line, self._call)
        self._rung_out = self._rung_out and said is _Phase.RINGING
        if event.state != self.state:
            self.state, self.since = event.state, at
        self._last_line = at
        self._held = False
        self.alive(at)
        return steps

    def alive(self, at: Stamp) -> None:
        """The board was heard and no line is missing, so this port is as it was.

        Without effect while the link is lost: then only a line about this port tells.
        """
        if self._held or self.state is None:
            return
        if self._call is None:
            if at.monotonic > self._free_at and _PHASES[self.state] is _Phase.FREE:
                self._free_at = at.monotonic
        elif at.monotonic > self._heard.monotonic:
            self._heard = at

    def lost(self, at: Stamp) -> list[Step]:
        """The link is down: hold the call until the board speaks of this port again."""
        steps = self.tick(at)
        self._held = True
        return steps

    def tick(self, at: Stamp) -> list[Step]:
        """End a call that rings without a word, or whose board is lost, for too long."""
        call = self._call
        if call is None:
            return []
        if call.answered is None:
            heard = self._last_line or self._heard
            if _between(heard, at) >= RINGING_LONGEST or _between(call.started, at) >= RINGING_EVER:
                self._rung_out = True
                return self._end(call, heard)
        if self._held and _between(self._heard, at) >= LOST_LONGEST:
            return self._end(call, self._heard)
        return []

    def resume(self, call: Call) -> None:
        """Hold a call that the ledger knows to go on, as if the link were lost since `last_heard`.

        Monotonic readings of an earlier boot mean nothing in this one: the caller converts the
        stamps first, by the wall clock. Raises ValueError for a call that is over.
        """
        if call.ended is not None:
            raise ValueError("a call that is over cannot go on")
        self._call, self._heard = call, call.last_heard
        self._held = True
        self._rang = call.answered is None or call.direction is Direction.IN
        self._last_line = call.last_heard

    def _rings(self, line: _Line) -> list[Step]:
        if self._rung_out and self._last_line is not None:
            # The same ringing was already booked as missed; only after a silence is it a new one.
            if _between(self._last_line, line.at) < RINGING_LONGEST:
                return []
            self._rung_out = False
        self._rang = True
        return self._start(line, Direction.UNKNOWN, talking=False)

    def _taken(self, line: _Line) -> list[Step]:
        self._rang = self._rung_out and not line.doubt
        return self._start(line, self._direction_when_taken(line), talking=True)

    def _direction_when_taken(self, line: _Line) -> Direction:
        if self._rang:
            return Direction.IN
        known = _BY_PEER.get(line.event.peer)
        if known is not None:
            return known
        taken_here = self.state is LineState.ON_HOOK and line.event.state is LineState.IN_CALL
        return Direction.OUT if taken_here and not line.doubt else Direction.UNKNOWN

    def _start(self, line: _Line, direction: Direction, *, talking: bool) -> list[Step]:
        free = self._ended_at if line.event.ago > 0 else min(self._free_at, line.at.monotonic)
        began = _not_before(free, line.began or line.at)
        self._call = Call(
            board=self.board,
            channel=self.channel,
            direction=direction,
            phone=line.phone,
            started=began,
            answered=began if talking else None,
            ended=None,
            last_heard=line.at,
        )
        self._heard = line.at
        return [Started(self._call)]

    def _answered(self, line: _Line, call: Call) -> list[Step]:
        if self._is_another(line, call) and not self._same_caller(line, call):
            return [*self._end(call, self._heard), *self._taken(line)]
        answered = self._moment_of_answer(line, call)
        return self._changed(call, line, self._told_phone(call, line), Direction.IN, answered)

    def _moment_of_answer(self, line: _Line, call: Call) -> Stamp:
        if line.event.ago > 0:
            return _not_before(call.started.monotonic, line.changed)
        # Some boards count TIMELEN from the answer, others from the first ring.
        if line.began and line.began.monotonic > self._heard.monotonic:
            return line.began
        return self._heard if self._held else line.at

    def _same_caller(self, line: _Line, call: Call) -> bool:
        """A TIMELEN that began later may count from the answer: is it still who rang?"""
        said = line.phone
        if line.event.peer is Peer.OUTGOING:
            return False
        if said and call.phone:
            return not _numbers_differ(said, call.phone)
        return not self._held

    def _goes_on(self, line: _Line, call: Call) -> list[Step]:
        if self._is_another(line, call):
            begin = self._rings if call.answered is None else self._taken
            return [*self._end(call, self._heard), *begin(line)]
        phone = self._told_phone(call, line)
        direction = call.direction if self._rang else _BY_PEER.get(line.event.peer, call.direction)
        if phone == call.phone and direction is call.direction:
            return []
        return self._changed(call, line, phone, direction, call.answered)

    def _rings_after_a_lost_end(self, line: _Line, call: Call) -> list[Step]:
        ended = self._end(call, self._heard if line.doubt else line.at)
        return [*ended, *self._rings(line)]

    def _hung_up(self, line: _Line, call: Call) -> list[Step]:
        return self._end(call, self._heard if self._held else line.changed)

    def _is_another(self, line: _Line, call: Call) -> bool:
        """One call's end and the next one's start were not heard: TIMELEN gives that away.

        Where it says nothing of a port that rang, another number does.
        """
        began = line.began
        if began is not None:
            return _between(self._heard, began) > TOLERANCE
        return line.doubt and call.answered is None and _numbers_differ(line.phone, call.phone)

    @staticmethod
    def _told_phone(call: Call, line: _Line) -> str:
        """Take the number from a line about the same call."""
        said = line.phone
        # A number grows as it is dialled, and may come late; a shorter one is an older one.
        return said if len(said) >= len(call.phone) else call.phone

    def _changed(
        self, call: Call, line: _Line, phone: str, direction: Direction, answered: Stamp | None
    ) -> list[Step]:
        self._heard = line.at
        self._call = replace(
            call, direction=direction, phone=phone, answered=answered, last_heard=line.at
        )
        return [Changed(self._call)]

    def _end(self, call: Call, when: Stamp) -> list[Step]:
        earliest = call.answered or call.started
        ended = when if when.monotonic >= earliest.monotonic else earliest
        self._call = None
        self._free_at = self._ended_at = ended.monotonic
        return [Ended(replace(call, ended=ended, last_heard=self._heard))]


def _not_before(earliest: float, moment: Stamp) -> Stamp:
    """Return the moment, put off to the monotonic time `earliest` where it lies before that."""
    wait = earliest - moment.monotonic
    return Stamp(moment.wall + wait, earliest) if wait > 0 else moment


def _numbers_differ(one: str, other: str) -> bool:
    """Two known numbers, neither of which is the beginning of the other."""
    return bool(one and other) and not (one.startswith(other) or other.startswith(one))


def _between(start: Stamp, end: Stamp) -> float:
    return max(0.0, end.monotonic - start.monotonic)
