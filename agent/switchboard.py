"""The switchboard: what the boards say becomes calls in the ledger.

It also knows each port as it is now, for the reports, the status file and the calls to place.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from agent.boards.events import BoardHello, ChannelState, DialAnswer, Event, LineState, Peer
from agent.call_times import in_this_boot
from agent.call_writing import CallWriter, Port, Unwritten, Written
from agent.calls import Call, Changed, ChannelTracker, Direction, Ended, Started, Step
from agent.clock import EARLIEST_TRUE_TIME, Clock, Stamp, TrustedClock
from agent.ledger import Ledger
from agent.ledger.rows import StoredCall

HELLO_APART = 60.0
"""Seconds between two lines about one board's firmware: a board that starts anew again and again,
or is none, says HELLO hundreds of times a second."""

log = logging.getLogger(__name__)


class ChannelView(Struct, frozen=True):
    """One port as it is now."""

    channel: int
    state: LineState | None
    """None: the board has not said yet."""
    peer: Peer
    phone: str
    since: Stamp | None
    talking_since: Stamp | None


class CallCounts(Struct, frozen=True):
    """Calls in figures, since the switchboard was made."""

    ended: Mapping[Direction, int]
    """Calls whose end is written down."""
    unwritten: int
    """Beginnings and ends of calls that the ledger has not taken yet."""
    dropped: int
    """Calls that were lost because it could not take them for too long."""


NO_CALLS = CallCounts(MappingProxyType({}), 0, 0)


class Switchboard:
    """All ports of all boards. Called by the links' threads; each board by one at a time."""

    def __init__(
        self,
        channels: Mapping[int, int | Collection[int]],
        ledger: Ledger,
        clock: Clock,
        time: TrustedClock,
        attach_window: float,
        *,
        on_change: Callable[[], None],
        on_calls: Callable[[], None],
        on_dial_answer: Callable[[int, DialAnswer], None],
        on_end: Callable[[int], None] = lambda _number: None,
        on_record: Callable[[], None] = lambda: None,
        inherited: Sequence[Unwritten] = (),
    ) -> None:
        """`channels`: by number of the box, how many ports it has, or their numbers.
        `inherited`: what another switchboard handed over.

        `on_change` is called when a port changed, `on_calls` when the ledger has other calls
        than before, `on_dial_answer` with the box and its answer to an order, `on_end` with a
        call's number in the transaction that writes its end (`CallWriter`), `on_record` when ends
        are written, so that there are records to be sent.
        """
        self._ledger = ledger
        self._clock = clock
        self._time = time
        self._attach_window = attach_window
        self._on_change = on_change
        self._on_calls = on_calls
        self._on_dial_answer = on_dial_answer
        self._on_record = on_record
        self._lock = threading.RLock()
        self._trackers = {
            (board, channel): ChannelTracker(board, channel)
            for board, ports in sorted(channels.items())
            for channel in (range(1, ports + 1) if isinstance(ports, int) else sorted(ports))
        }
        self._ports_of: dict[int, dict[int, Port]] = {}
        """Ports by number of the box and their own number, in order."""
        for board, channel in self._trackers:
            self._ports_of.setdefault(board, {})[channel] = (board, channel)
        self._heard: dict[int, Stamp] = {}
        """When a board was last heard with no line of it missing: its trackers are told before
        they are next asked, and not at every line that is about one of them."""
        self._port_views = {port: _view(tracker) for port, tracker in self._trackers.items()}
        self._views: dict[int, list[ChannelView]] = {}
        """The same by board; without the boards of which something was heard since."""
        self._up: set[Port] = set()
        """Ports whose link is up."""
        self._hellos: dict[int, tuple[BoardHello, float]] = {}
        """What each board last said of itself in the log, and when (monotonic seconds)."""
        self._resumed: dict[Port, bool] = {}
        """Ports whose call is known from the ledger alone, and whether its times are true."""
        self._answered: dict[Port, bool] = {}
        self._given_up: set[Port] = set()
        self._dropped = 0
        self._writer = CallWriter(ledger, attach_window, on_end)
        self._writer.take_over(inherited)
        self._resume()

    @property
    def unwritten(self) -> int:
        """Beginnings and ends of calls that the ledger has not taken yet."""
        with self._lock:  # not one that is just being written
            return len(self._writer)

    @property
    def dropped(self) -> int:
        """Calls that were lost because the ledger could not be written for too long."""
        return self._dropped

    def counts(self) -> CallCounts:
        """Calls in figures."""
        with self._lock:
            return CallCounts(dict(self._writer.ended), len(self._writer), self._dropped)

    def hear(self, board: int, events: Sequence[Event], at: Stamp) -> None:
        """Take what a board said, heard at `at`."""
        with self._lock:
            changed = False
            for event in events:
                if isinstance(event, ChannelState):
                    changed |= self._hear_channel(board, event, at)
                elif isinstance(event, BoardHello):
                    self._greet(board, event, at)
            written = self._writer.write()
        for event in events:
            if isinstance(event, DialAnswer):
                self._on_dial_answer(board, event)
        self._tell(changed, written)

    def heard(self, board: int, at: Stamp, channels: Collection[int] | None = None) -> None:
        """Take it that a board was heard and no line of it is missing: its ports are as before.

        `channels`: the ports for which that is so; None: all.
        """
        with self._lock:
            if channels is None:
                self._heard[board] = at
                return
            for port in self._ports(board, channels):
                self._trackers[port].alive(at)

    def link(
        self, board: int, up: bool, at: Stamp, channels: Collection[int] | None = None
    ) -> None:
        """Take it that a board's link came up or went down; `channels`: of these ports, None: all.

        Ports of one board have links of their own where the board is a pool.
        """
        with self._lock:
            ports = self._ports(board, channels)
            if up:
                self._up.update(ports)
            else:
                self._up.difference_update(ports)
                for port in ports:
                    self._take(port, self._tracker(port).lost(at))
                    self._look_at(port)
            written = self._writer.write()
        self._tell(True, written)

    def tick(self) -> None:
        """End what fell silent, save numbers dialled since, write what the ledger refused."""
        at = self._clock.stamp()
        with self._lock:
            for port, known in self._trackers.items():
                if known.call is not None:
                    self._take(port, self._tracker(port).tick(at))
                    self._look_at(port)
            self._writer.save()
            written = self._writer.write()
        self._tell(False, written)

    def save(self) -> None:
        """Write down how far each call has come, before the agent stops."""
        with self._lock:
            for port in self._trackers:
                call = self._tracker(port).call
                if call is not None and port not in self._given_up:
                    self._writer.change(port, call, at_once=True)
            self._writer.write()

    def handover(self) -> list[Unwritten]:
        """What a switchboard on another ledger must know, where this one's failed: what was not
        written, and each call as it is now.
        """
        with self._lock:
            going_on = [
                Unwritten(port, Changed(call), self._time.trusted, port in self._resumed)
                for port in self._trackers
                if (call := self._tracker(port).call) is not None and port not in self._given_up
            ]
            return [*self._writer.unwritten, *going_on]

    def idle(self, board: int, channel: int) -> bool:
        """Tell whether a port is on hook and its board is heard."""
        with self._lock:
            tracker = self._trackers.get((board, channel))
            return (
                tracker is not None
                and (board, channel) in self._up
                and tracker.state is LineState.ON_HOOK
            )

    def has_port(self, board: int, channel: int) -> bool:
        """Tell whether there is such a port."""
        return (board, channel) in self._trackers

    @property
    def boards(self) -> list[int]:
        """Numbers of the boxes, in order."""
        return list(self._ports_of)

    def channels(self, board: int) -> list[ChannelView]:
        """The ports of one board as they are now, in order: the same list, not to be changed,
        while they are so.
        """
        with self._lock:
            if board not in self._views:
                self._views[board] = [self._port_views[port] for port in self._ports(board)]
            return self._views[board]

    def is_up(self, board: int, channel: int | None = None) -> bool:
        """Tell whether the link of a port is up; of all ports of the board where none is named."""
        if channel is not None:
            return (board, channel) in self._up
        ports = self._ports(board)
        return bool(ports) and self._up.issuperset(ports)

    def _tracker(self, port: Port) -> ChannelTracker:
        """A port's tracker, which knows when its board was last heard."""
        tracker, heard = self._trackers[port], self._heard.get(port[0])
        if heard is not None:
            tracker.alive(heard)
        return tracker

    def _ports(self, board: int, channels: Collection[int] | None = None) -> Collection[Port]:
        ports = self._ports_of.get(board, {})
        if channels is None:
            return ports.values()
        return [port for channel, port in ports.items() if channel in channels]

    def _tell(self, changed: bool, written: Written) -> None:
        # Outside the lock and last: whatever these do, what was heard is taken.
        try:
            if changed:
                self._on_change()
            if written is not Written.NOTHING:
                self._on_calls()
        finally:
            # Last: a recording found by then goes with its record.
            if written is Written.ENDS:
                self._on_record()

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
            self._look_at(port)
            self._writer.resume(port, stored.id)
            self._answered[port] = call.answered is not None
            self._resumed[port] = self._is_true(stored)

    def _is_true(self, stored: StoredCall) -> bool:
        """Tell whether the times of a call that nobody heard since need no correction."""
        heard = stored.call.last_heard
        if stored.boot == self._clock.boot:
            return self._time.vouches_for(heard)
        return stored.clock_trusted or heard.wall >= EARLIEST_TRUE_TIME

    def _end_unseen(self, stored: StoredCall, call: Call) -> None:
        log.warning("call %d can't go on, its port is gone; it ends as last heard", stored.id)
        self._ledger.calls.end(
            stored.id,
            replace(call, ended=call.last_heard),
            clock_trusted=self._is_true(stored),
            wait_for_recording=self._attach_window,
            uncertain=True,
        )

    def _greet(self, board: int, hello: BoardHello, at: Stamp) -> None:
        known, said_at = self._hellos.get(board, (None, 0.0))
        if hello == known or (known is not None and at.monotonic - said_at < HELLO_APART):
            return
        self._hellos[board] = (hello, at.monotonic)
        log.info("board %d: firmware %s, %d ports", board, hello.firmware, hello.channels)

    def _hear_channel(self, board: int, event: ChannelState, at: Stamp) -> bool:
        port = (board, event.channel)
        if port not in self._trackers:
            log.warning("board %d speaks of port %d, which boards[].channels leaves out", *port)
            return False
        steps = self._tracker(port).hear(event, at)
        if steps:
            self._take(port, steps)
        if self._resumed and not any(isinstance(step, Ended) for step in steps):
            self._resumed.pop(port, None)
        return self._look_at(port)

    def _look_at(self, port: Port) -> bool:
        """See how a port is now; tell whether that is new."""
        view = _view(self._trackers[port])
        if view == self._port_views[port]:
            return False
        self._port_views[port] = view
        self._views.pop(port[0], None)
        return True

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
                self._resumed.pop(port, None)

    def _begin(self, port: Port, step: Started) -> None:
        if self._writer.full:
            self._dropped += 1
            self._given_up.add(port)
            return
        self._given_up.discard(port)
        self._answered[port] = step.call.answered is not None
        self._append(port, step)

    def _change(self, port: Port, call: Call) -> None:
        """Save an answer, or a caller's number, at once: nothing may tell it again.

        Digits that trickle in are saved by the next tick: a commit each would wear the flash.
        """
        answered = call.answered is not None
        at_once = not answered or not self._answered[port]
        self._answered[port] = answered
        self._writer.change(port, call, at_once=at_once)

    def _append(self, port: Port, step: Started | Ended) -> None:
        # It may end at a moment before the clock was set.
        moment = step.call.ended or step.call.started
        trusted = self._resumed.get(port, self._time.vouches_for(moment))
        self._writer.add(Unwritten(port, step, trusted, port in self._resumed))


def _view(tracker: ChannelTracker) -> ChannelView:
    return ChannelView(
        tracker.channel,
        tracker.state,
        tracker.peer,
        tracker.phone,
        tracker.since,
        tracker.talking_since,
    )
