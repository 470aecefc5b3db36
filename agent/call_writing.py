"""Steps of calls on their way into the ledger: what waits for the disk, what does not.

A beginning and an end are durable before anybody is told of them. What becomes known in between,
the answer and the number, is written at once and made durable with the next beginning or end of any
call: after a power cut the board tells the state and often the number anew, and the recording the
rest.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto

from msgspec import Struct
from msgspec.structs import replace

from agent.calls import Call, Changed, Direction, Ended, Started, Step
from agent.ledger import Ledger, LedgerError

MOST_UNWRITTEN = 10_000
"""Beginnings and ends of calls held in memory while the ledger can't be written: days of a busy
gateway. Beyond it no call is begun; what has begun is also ended, so each port may add one."""
MISSED_NEED_NO_WAIT = 0.0
"""Seconds that the record of a call nobody answered waits for a recording: there is none."""

Port = tuple[int, int]
"""Number of the box, RJ11 port."""

log = logging.getLogger(__name__)


class Written(Enum):
    """What a `CallWriter.write` wrote down."""

    NOTHING = auto()
    CHANGES = auto()
    """Calls began, or more became known of them."""
    ENDS = auto()
    """Among other things the end of a call: there is a record to be sent, now or later."""


class Unwritten(Struct, frozen=True):
    """A step of a call that the ledger has not taken yet."""

    port: Port
    step: Step
    trusted: bool
    """Its times need no correction later."""
    uncertain: bool
    """It ended while the agent was down."""


class CallWriter:
    """What the ledger has not taken yet, in order. Called by one thread at a time."""

    def __init__(self, ledger: Ledger, attach_window: float, on_end: Callable[[int], None]) -> None:
        """`attach_window`: seconds that a record may wait for its recording.

        `on_end` is called with the number of each call that has ended, in the transaction that
        writes its end; it may write more, and raise LedgerError.
        """
        self._ledger = ledger
        self._attach_window = attach_window
        self._on_end = on_end
        self._numbers: dict[Port, int] = {}
        self._unwritten: deque[Unwritten] = deque()
        self._unsaved: dict[Port, Call] = {}
        self._save_now = False
        self.ended: dict[Direction, int] = {}
        """Calls whose end was written down here."""

    def __len__(self) -> int:
        return len(self._unwritten)

    @property
    def full(self) -> bool:
        """True: no further call may begin."""
        return len(self._unwritten) >= MOST_UNWRITTEN

    @property
    def unwritten(self) -> list[Unwritten]:
        """Beginnings and ends, in their order."""
        return list(self._unwritten)

    def resume(self, port: Port, number: int) -> None:
        """Go on with a call that the ledger knows already."""
        self._numbers[port] = number

    def add(self, entry: Unwritten) -> None:
        """Take a beginning or an end."""
        # What was known of the call before is in this step, too.
        self._unsaved.pop(entry.port, None)
        self._unwritten.append(entry)

    def change(self, port: Port, call: Call, *, at_once: bool) -> None:
        """Take what became known of a call; `at_once`: the next `write` takes it, too."""
        self._unsaved[port] = call
        self._save_now |= at_once

    def save(self) -> None:
        """Let the next `write` take all that became known."""
        self._save_now |= bool(self._unsaved)

    def write(self) -> Written:
        """Write down all that waits for it, in one transaction; tell what that was."""
        if not self._unwritten and not self._save_now:
            return Written.NOTHING
        numbers = dict(self._numbers)
        try:
            with self._ledger.transaction(soft=not self._unwritten):
                for entry in self._unwritten:
                    ended = self._write_step(entry, numbers)
                    if ended is not None:
                        self._on_end(ended)
                for port, call in self._unsaved.items():
                    self._ledger.calls.change(numbers[port], call)
        except LedgerError as error:
            log.error("calls can't be written down, they are kept in memory: %s", error)
            return Written.NOTHING
        self._numbers = numbers
        written = Written.CHANGES
        for entry in self._unwritten:
            if isinstance(entry.step, Ended):
                direction = entry.step.call.direction
                self.ended[direction] = self.ended.get(direction, 0) + 1
                written = Written.ENDS
        self._unwritten.clear()
        self._unsaved.clear()
        self._save_now = False
        return written

    def take_over(self, inherited: Sequence[Unwritten]) -> None:
        """Write down what an earlier switchboard could not. Raises LedgerError."""
        if not inherited:
            return
        with self._ledger.transaction():
            numbers = {
                (stored.call.board, stored.call.channel): stored.id
                for stored in self._ledger.calls.open_calls()
            }
            for entry in inherited:
                call = entry.step.call
                if not isinstance(entry.step, Started) and entry.port not in numbers:
                    begun = replace(call, ended=None)
                    numbers[entry.port] = self._ledger.calls.begin(
                        begun, clock_trusted=entry.trusted
                    )
                if isinstance(entry.step, Changed):
                    self._ledger.calls.change(numbers[entry.port], call)
                else:
                    self._write_step(entry, numbers)

    def _write_step(self, entry: Unwritten, numbers: dict[Port, int]) -> int | None:
        """Write one step; return the number of the call that it ended."""
        call = entry.step.call
        if isinstance(entry.step, Started):
            numbers[entry.port] = self._ledger.calls.begin(call, clock_trusted=entry.trusted)
            return None
        number = numbers.pop(entry.port)
        waits = call.answered is not None or entry.uncertain
        self._ledger.calls.end(
            number,
            call,
            clock_trusted=entry.trusted,
            wait_for_recording=self._attach_window if waits else MISSED_NEED_NO_WAIT,
            uncertain=entry.uncertain,
        )
        return number
