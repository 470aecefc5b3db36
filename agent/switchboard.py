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
from agent.calls import Call, Changed, ChannelTracker, Ended, Started, Step
from agent.clock import Clock, Stamp, TrustedClock
from agent.ledger import Ledger, LedgerError
from agent.ledger.rows import StoredCall

MOST_UNWRITTEN = 10_000
"""Beginnings and ends of calls held in memory while the ledger can't be written: days of a busy
gateway. Beyond it no call is begun; what has begun is also ended, so each port may add one."""
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
    step: Started | Ended
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
        self._given_up: set[Port] = set()
        self._unsaved: dict[Port, Call] = {}
        self._save_now = False
        self._unwritten: deque[_Unwritten] = deque()
        self._dropped = 0
        self._resume()

    @property
    def unwritten(self) -> int:
        """Beginnings and ends of calls that the ledger has not taken yet."""
        return len(self._unwritten)

    @property
    def dropped(self) -> int:
        """Calls that were lost because the ledger could not be written for too long."""
        return self._dropped

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
            written = self._write()
        for event in events:
            if isinstance(event, DialAnswer):
                self._on_dial_answer(board, event)
        self._tell(changed, written)

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
            written = self._write()
        self._tell(True, written)

    def tick(self) -> None:
        """End what fell silent, save numbers dialled since, write what the ledger refused."""
        at = self._clock.stamp()
        with self._lock:
            for port, tracker in self._trackers.items():
                self._take(port, tracker.tick(at))
            self._save_now |= bool(self._unsaved)
            written = self._write()
        self._tell(False, written)

    def save(self) -> None:
        """Write down how far each call has come, before the agent stops."""
        with self._lock:
            for port, tracker in self._trackers.items():
                if tracker.call is not None and port not in self._given_up:
                    self._unsaved[port] = tracker.call
            self._save_now |= bool(self._unsaved)
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

    def _tell(self, changed: bool, written: bool) -> None:
        # Outside the lock and last: whatever these do, what was heard is taken.
        if changed:
            self._on_change()
        if written:
            self._on_calls()

    def _resume(self) -> None:
        now = self._clock.stamp()
        # The latest first: one port has one call, and an earlier one was left open by mistake.
        for stored in reversed(self._ledger.calls.open_calls()):
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
            self._answered[port] = call.answered is not None
            self._resumed.add(port)

    def _end_unseen(self, stored: StoredCall, call: Call) -> None:
        log.warning("call %d can't go on, its port is gone; it ends as last heard", stored.id)
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
            log.warning("board %d speaks of port %d, which boards[].channels leaves out", *port)
            return False
        before = _view(tracker)
        steps = tracker.hear(event, at)
        self._take(port, steps)
        if not any(isinstance(step, Ended) for step in steps):
            self._resumed.discard(port)
        return _view(tracker) != before

    def _take(self, port: Port, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, Started):
                self._begin(port, step)
            elif port in self._given_up:
                continue
            elif isinstance(step, Changed):
                self._change(port, step.call)
            else:
                self._append(port, step)
                self._resumed.discard(port)

    def _begin(self, port: Port, step: Started) -> None:
        if len(self._unwritten) >= MOST_UNWRITTEN:
            self._dropped += 1
            self._given_up.add(port)
            return
        self._given_up.discard(port)
        self._answered[port] = step.call.answered is not None
        self._append(port, step)

    def _change(self, port: Port, call: Call) -> None:
        """Digits that trickle in are saved by the next tick: a commit each would wear the flash."""
        answered = call.answered is not None
        self._save_now |= answered != self._answered[port]
        self._answered[port] = answered
        self._unsaved[port] = call

    def _append(self, port: Port, step: Started | Ended) -> None:
        # What was known of the call before is in this step, too.
        self._unsaved.pop(port, None)
        uncertain = port in self._resumed
        self._unwritten.append(_Unwritten(port, step, self._time.trusted, uncertain))

    def _write(self) -> bool:
        """Write down all that waits for it, in one transaction; tell whether anything was."""
        if not self._unwritten and not self._save_now:
            return False
        numbers = dict(self._numbers)
        try:
            with self._ledger.transaction():
                for entry in self._unwritten:
                    self._write_step(entry, numbers)
                for port, call in self._unsaved.items():
                    self._ledger.calls.change(numbers[port], call)
        except LedgerError as error:
            log.error("calls can't be written down, they are kept in memory: %s", error)
            return False
        self._numbers = numbers
        self._unwritten.clear()
        self._unsaved.clear()
        self._save_now = False
        return True

    def _write_step(self, entry: _Unwritten, numbers: dict[Port, int]) -> None:
        call = entry.step.call
        if isinstance(entry.step, Started):
            numbers[entry.port] = self._ledger.calls.begin(call, clock_trusted=entry.trusted)
            return
        waits = call.answered is not None or entry.uncertain
        self._ledger.calls.end(
            numbers.pop(entry.port),
            call,
            clock_trusted=entry.trusted,
            wait_for_recording=self._attach_window if waits else MISSED_NEED_NO_WAIT,
            uncertain=entry.uncertain,
        )


def in_this_boot(call: Call, now: Stamp) -> Call:
    """Give a call of an earlier boot monotonic readings of this one.

    Its own times keep their distances; the wall clock says how long ago it was last heard. One
    that was not set yet (it shows a time before that) says nothing: then it was just now.
    """
    ago = max(0.0, now.wall - call.last_heard.wall)
    shift = now.monotonic - ago - call.last_heard.monotonic

    def converted(stamp: Stamp) -> Stamp:
        return Stamp(stamp.wall, stamp.monotonic + shift)

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
