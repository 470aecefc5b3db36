"""The switchboard: what the boards say becomes calls in the ledger.

It also knows each port as it is now, for the reports, the status file and the calls to place.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.boards.events import BoardHello, ChannelState, DialAnswer, Event, LineState, Peer
from agent.calls import Call, ChannelTracker, Ended, Started, Step
from agent.clock import Clock, Stamp, TrustedClock
from agent.ledger import Ledger, LedgerError
from agent.ledger.rows import StoredCall

MOST_UNWRITTEN = 10_000
"""Steps of calls held in memory while the ledger can't be written: days of a busy gateway."""
MISSED_NEED_NO_WAIT = 0.0
"""Seconds that the record of a call nobody answered waits for a recording: there is none."""

Port = tuple[int, int]
"""Number of the box, RJ11 port."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChannelView:
    """One port as it is now."""

    channel: int
    state: LineState | None
    """None: the board has not said yet."""
    peer: Peer
    phone: str
    since: Stamp | None
    talking_since: Stamp | None


@dataclass(frozen=True, slots=True)
class _Unwritten:
    port: Port
    step: Step
    trusted: bool
    uncertain: bool


class Switchboard:
    """All ports of all boards. Called by the links' threads; each board by one at a time."""

    def __init__(
        self,
        channels: Mapping[int, int],
        ledger: Ledger,
        clock: Clock,
        time: TrustedClock,
        attach_window: float,
        *,
        on_change: Callable[[], None],
        on_calls: Callable[[], None],
        on_dial_answer: Callable[[int, DialAnswer], None],
    ) -> None:
        """`channels`: number of ports by number of the box.

        `on_change` is called when a port changed, `on_calls` when the ledger has other calls
        than before, `on_dial_answer` with the box and its answer to an order.
        """
        self._ledger = ledger
        self._clock = clock
        self._time = time
        self._attach_window = attach_window
        self._on_change = on_change
        self._on_calls = on_calls
        self._on_dial_answer = on_dial_answer
        self._lock = threading.RLock()
        self._trackers = {
            (board, channel): ChannelTracker(board, channel)
            for board, count in sorted(channels.items())
            for channel in range(1, count + 1)
        }
        self._up: set[int] = set()
        self._numbers: dict[Port, int] = {}
        self._resumed: set[Port] = set()
        self._answered: dict[Port, bool] = {}
        self._unsaved: dict[Port, Call] = {}
        self._unwritten: deque[_Unwritten] = deque()
        self._refused = 0
        self._resume()

    @property
    def unwritten(self) -> int:
        """Steps of calls that the ledger has not taken yet."""
        return len(self._unwritten)

    @property
    def dropped(self) -> int:
        """Steps that were lost because the ledger could not be written for too long."""
        return self._refused

    def hear(self, board: int, events: Sequence[Event], at: Stamp) -> None:
        """Take what a board said, heard at `at`."""
        with self._lock:
            changed = False
            for event in events:
                if isinstance(event, ChannelState):
                    changed |= self._hear_channel(board, event, at)
                elif isinstance(event, BoardHello):
                    log.info(
                        "board %d: firmware %s, %d ports", board, event.firmware, event.channels
                    )
            self._write()
        for event in events:
            if isinstance(event, DialAnswer):
                self._on_dial_answer(board, event)
        if changed:
            self._on_change()

    def heard(self, board: int, at: Stamp) -> None:
        """Take it that a board was heard and no line of it is missing: its ports are as before."""
        with self._lock:
            for (serial, _), tracker in self._trackers.items():
                if serial == board:
                    tracker.alive(at)

    def link(self, board: int, up: bool, at: Stamp) -> None:
        """Take it that a board's link came up or went down."""
        with self._lock:
            if up:
                self._up.add(board)
            else:
                self._up.discard(board)
                for port, tracker in self._trackers.items():
                    if port[0] == board:
                        self._take(port, tracker.lost(at))
            self._write()
        self._on_change()

    def tick(self) -> None:
        """End what fell silent, save numbers dialled since, write what the ledger refused."""
        at = self._clock.stamp()
        with self._lock:
            for port, tracker in self._trackers.items():
                self._take(port, tracker.tick(at))
            self._save_numbers()
            self._write()

    def save(self) -> None:
        """Write down how far each call has come, before the agent stops."""
        with self._lock:
            for port, tracker in self._trackers.items():
                if tracker.call is not None:
                    self._unsaved[port] = tracker.call
            self._save_numbers()
            self._write()

    def idle(self, board: int, channel: int) -> bool:
        """Tell whether a port is on hook and its board is heard."""
        with self._lock:
            tracker = self._trackers.get((board, channel))
            return tracker is not None and board in self._up and tracker.state is LineState.ON_HOOK

    def has_port(self, board: int, channel: int) -> bool:
        """Tell whether there is such a port."""
        return (board, channel) in self._trackers

    @property
    def boards(self) -> list[int]:
        """Numbers of the boxes, in order."""
        return sorted({board for board, _ in self._trackers})

    def channels(self, board: int) -> list[ChannelView]:
        """The ports of one board as they are now, in order."""
        with self._lock:
            return [
                _view(tracker) for (serial, _), tracker in self._trackers.items() if serial == board
            ]

    def is_up(self, board: int) -> bool:
        """Tell whether a board's link is up."""
        return board in self._up

    def _resume(self) -> None:
        now = self._clock.stamp()
        for stored in self._ledger.calls.open_calls():
            call = stored.call
            if stored.boot != self._clock.boot:
                call = in_this_boot(call, now)
            port = (call.board, call.channel)
            tracker = self._trackers.get(port)
            if tracker is None or tracker.call is not None:
                self._end_unseen(stored, call)
                continue
            tracker.resume(call)
            self._numbers[port] = stored.id
            self._resumed.add(port)

    def _end_unseen(self, stored: StoredCall, call: Call) -> None:
        log.warning("call %d was open on a port that is gone; it ends as last heard", stored.id)
        self._ledger.calls.end(
            stored.id,
            replace(call, ended=call.last_heard),
            clock_trusted=stored.clock_trusted,
            wait_for_recording=self._attach_window,
            uncertain=True,
        )

    def _hear_channel(self, board: int, event: ChannelState, at: Stamp) -> bool:
        port = (board, event.channel)
        tracker = self._trackers.get(port)
        if tracker is None:
            return False
        before = _view(tracker)
        steps = tracker.hear(event, at)
        self._take(port, steps)
        if not any(isinstance(step, Ended) for step in steps):
            self._resumed.discard(port)
        return _view(tracker) != before

    def _take(self, port: Port, steps: Sequence[Step]) -> None:
        for step in steps:
            uncertain = port in self._resumed
            if isinstance(step, Ended):
                self._resumed.discard(port)
            elif not self._must_be_written_now(port, step):
                self._unsaved[port] = step.call
                continue
            if len(self._unwritten) >= MOST_UNWRITTEN:
                self._refused += 1
                continue
            self._unwritten.append(_Unwritten(port, step, self._time.trusted, uncertain))

    def _must_be_written_now(self, port: Port, step: Step) -> bool:
        """Digits that trickle in are saved by the next tick: a commit each would wear the flash."""
        answered_before = self._answered.get(port, False)
        self._answered[port] = step.call.answered is not None
        return isinstance(step, Started) or self._answered[port] != answered_before

    def _save_numbers(self) -> None:
        for port, call in list(self._unsaved.items()):
            number = self._numbers.get(port)
            if number is not None:
                try:
                    self._ledger.calls.change(number, call)
                except LedgerError:
                    return
            del self._unsaved[port]

    def _write(self) -> None:
        if not self._unwritten:
            return
        taken = list(self._unwritten)
        numbers = dict(self._numbers)
        try:
            with self._ledger.transaction():
                for entry in taken:
                    self._write_step(entry, numbers)
        except LedgerError as error:
            log.error("calls can't be written down, they are kept in memory: %s", error)
            return
        self._numbers = numbers
        self._unwritten.clear()
        self._on_calls()

    def _write_step(self, entry: _Unwritten, numbers: dict[Port, int]) -> None:
        call = entry.step.call
        if isinstance(entry.step, Started):
            numbers[entry.port] = self._ledger.calls.begin(call, clock_trusted=entry.trusted)
            return
        number = numbers[entry.port]
        if not isinstance(entry.step, Ended):
            self._ledger.calls.change(number, call)
            return
        waits = call.answered is not None or entry.uncertain
        self._ledger.calls.end(
            number,
            call,
            clock_trusted=entry.trusted,
            wait_for_recording=self._attach_window if waits else MISSED_NEED_NO_WAIT,
            uncertain=entry.uncertain,
        )
        del numbers[entry.port]
        self._unsaved.pop(entry.port, None)


def in_this_boot(call: Call, now: Stamp) -> Call:
    """Give a call of an earlier boot monotonic readings of this one, by the wall clock."""

    def converted(stamp: Stamp) -> Stamp:
        return Stamp(stamp.wall, now.monotonic - (now.wall - stamp.wall))

    return replace(
        call,
        started=converted(call.started),
        answered=converted(call.answered) if call.answered else None,
        ended=converted(call.ended) if call.ended else None,
        last_heard=converted(call.last_heard),
    )


def _view(tracker: ChannelTracker) -> ChannelView:
    call = tracker.call
    return ChannelView(
        channel=tracker.channel,
        state=tracker.state,
        peer=tracker.peer,
        phone=tracker.phone,
        since=tracker.since,
        talking_since=call.answered if call else None,
    )
