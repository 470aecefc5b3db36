"""The driver of our own board (SERIAL.md 1).

What crosses the wire, each as a frame of `agent.boards.frames`::

    board   HELLO,1,SERIAL,CHANNELS,FIRMWARE        after power-up and after SYNC
            CH,SEQ,CH,STATE,PEER,PHONE,TIMELEN      a port's state, on change and after SYNC
            BEAT,SEQ                                every 5 s, SEQ of the last CH
            OK,REF    ERR,REF,CODE                  answers to DIAL and HANG
    host    SYNC    DIAL,REF,CH,NUMBER    HANG,REF,CH
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar

from agent.boards.driver import BoardOptions, DialRefused, Driver
from agent.boards.events import BoardHello, ChannelState, Event, LineState, Peer
from agent.boards.frames import Frame, FrameReader, frame
from agent.boards.orders import Orders

log = logging.getLogger(__name__)

VERSION = 1
SYNC_APART = 1.0
"""Seconds between two SYNCs at least: a noisy wire must not be flooded with questions."""
SYNC_AGAIN = 2.0
"""Seconds after which an unanswered SYNC is repeated."""
SYNC_SLOWEST = 64.0
"""Longest wait, in seconds, where the board answers but never says all its ports."""
HELLO_WITHIN = 5.0
"""Seconds after a SYNC in which a HELLO is its answer; any other means that power came back."""
QUIET_LONGEST = 12.0
"""Seconds without a good line, two beats, after which a change may have been lost unseen."""
MOST_PHONE = 32
"""Characters of a phone number kept: twice what E.164 allows."""
MOST_DIGITS = 9
"""Digits of a number in a field; longer ones are nonsense, whatever they mean."""

_NUMBER = re.compile(rf"[0-9]{{1,{MOST_DIGITS}}}")
_NOT_PHONE = re.compile(r"[^0-9*#+]")
_TO_DIAL = re.compile(rf"[0-9*#]{{1,{MOST_PHONE}}}")
_FROM_WIRE = str.maketrans("AB", "*#")
_TO_WIRE = str.maketrans("*#", "AB")
_SEQUENCE_LENGTH = 256


class Malformed(ValueError):
    """A line with a right check whose fields make no sense."""


class NativeDriver(Driver):
    """Speaks SERIAL.md 1, and notices lost lines by their numbers.

    `ignored` counts good frames that made no sense; unknown types are not counted anywhere.
    """

    name = "native"
    silence_limit: ClassVar[float | None] = 15.0
    can_dial = True

    def __init__(self, options: BoardOptions, monotonic: Callable[[], float]) -> None:
        super().__init__(options, monotonic)
        self.ignored = 0
        self._reader = FrameReader(self.tell_bad)
        # A board obeys a number once, and may remember those of the agent's last run.
        self._orders = Orders(int(monotonic() * 1000))
        self._late: list[Event] = []
        self._ports = frozenset(range(1, options.channels + 1))
        self._unheard = set(self._ports)
        self._sequence: int | None = None
        self._greeted = False
        self._sync_due: float | None = None
        self._sync_sent = float("-inf")
        self._sync_wait = SYNC_AGAIN
        self._last_good = float("-inf")
        self._warned = False
        self._take: dict[str, Callable[[tuple[str, ...]], list[Event]]] = {
            "HELLO": self._hello,
            "CH": self._channel,
            "BEAT": self._beat,
            "OK": self._accepted,
            "ERR": self._refused,
        }

    @property
    def in_step(self) -> bool:
        """True where every line arrived and every port was heard since the last gap."""
        return self._sync_due is None

    def opened(self) -> None:
        """Ask for everything; give up unanswered orders, which might be dialled twice."""
        self._reader.reset()
        self._late += self._orders.abandon("the port was opened anew before the board answered")
        self._sync_wait = SYNC_AGAIN
        self._last_good = self.monotonic()
        self._lines_lost()
        self._sync_due = self.monotonic()

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes, return what the board said and which orders it left unanswered."""
        now = self.monotonic()
        frames = self._reader.feed(data)
        self.frames, self.bad_frames = self._reader.good, self._reader.bad
        if frames:
            if now - self._last_good > QUIET_LONGEST:
                self._lines_lost()
            self._last_good = now
        events, self._late = self._late, []
        for found in frames:
            events += self._understand(found)
        if self._orders.waiting:
            events += self._orders.expire(now)
        return events

    def poll(self) -> bytes:
        """Return a SYNC where lines were lost, and orders that wait for their answer too long."""
        now = self.monotonic()
        sync = b""
        if self._sync_due is not None and self._sync_due <= now:
            if self._greeted:
                # It answers, but not for all ports: most likely it has fewer than configured.
                self._sync_wait = min(self._sync_wait * 2, SYNC_SLOWEST)
            self._greeted = False
            self._sync_sent = now
            self._sync_due = now + self._sync_wait
            sync = frame("SYNC")
        return sync + self._orders.repeats(now) if self._orders.waiting else sync

    def due(self) -> float | None:
        """When a SYNC or an order must be sent again."""
        if self._late:
            return self.monotonic()
        if not self._orders.waiting:
            return self._sync_due
        times = [time for time in (self._sync_due, self._orders.due()) if time is not None]
        return min(times, default=None)

    def dial(self, channel: int, phone: str) -> bytes:
        """Order port `channel` to take the line and dial digits, `*` and `#`."""
        self._must_exist(channel)
        if not _TO_DIAL.fullmatch(phone):
            raise DialRefused(f"a number to dial has 1 to {MOST_PHONE} digits, * or #")
        if self._orders.pending("DIAL", channel):
            raise DialRefused(f"port {channel} has not answered the last order to dial yet")
        return self._orders.begin("DIAL", channel, phone.translate(_TO_WIRE), self.monotonic())

    def hang_up(self, channel: int) -> bytes:
        """Order port `channel` to put the line back. Raises DialRefused where there is none."""
        self._must_exist(channel)
        pending = self._orders.pending("HANG", channel)
        return pending or self._orders.begin("HANG", channel, "", self.monotonic())

    def _must_exist(self, channel: int) -> None:
        if channel not in self._ports:
            raise DialRefused(f"there is no port {channel}: {len(self._ports)} are configured")

    def _understand(self, found: Frame) -> list[Event]:
        take = self._take.get(found.type)
        if take is None:
            return []
        try:
            return take(found.fields)
        except Malformed:
            self.ignored += 1
            return []

    def _hello(self, fields: tuple[str, ...]) -> list[Event]:
        version, serial, channels = _numbers(fields, 4, 3)
        now = self.monotonic()
        events: list[Event] = [BoardHello(serial, channels, fields[3])]
        self._warn_once(version, channels)
        self._sequence = None
        self._unheard = {port for port in self._ports if port <= channels}
        if now - self._sync_sent < HELLO_WITHIN:
            self._greeted = True
            self._sync_due = now + self._sync_wait
        else:
            events += self._orders.abandon("the board started anew before it answered")
            self._want_sync()
        return events

    def _channel(self, fields: tuple[str, ...]) -> list[Event]:
        sequence = _byte(fields)
        lost = self._sequence is not None and sequence not in {
            self._sequence,
            (self._sequence + 1) % _SEQUENCE_LENGTH,
        }
        if lost:
            self._lines_lost()
        self._sequence = sequence
        if len(fields) < 6:
            raise Malformed
        channel, state, peer = _number(fields[1]), _number(fields[2]), _number(fields[3])
        timelen = _number(fields[5])
        said, side = _STATES.get(state), _PEERS.get(peer)
        if channel not in self._ports or said is None or side is None:
            raise Malformed
        # What was said before this line may have been lost, until each port has been heard anew.
        asked = channel in self._unheard
        self._heard(channel)
        phone = _NOT_PHONE.sub("", fields[4].translate(_FROM_WIRE))[:MOST_PHONE]
        return [ChannelState(channel, said, side, phone, timelen, asked)]

    def _beat(self, fields: tuple[str, ...]) -> list[Event]:
        sequence = _byte(fields)
        if self._sequence is not None and sequence != self._sequence:
            self._lines_lost()
            self._sequence = sequence
        return []

    def _accepted(self, fields: tuple[str, ...]) -> list[Event]:
        return [*self._orders.accepted(*_numbers(fields, 1, 1))]

    def _refused(self, fields: tuple[str, ...]) -> list[Event]:
        return [*self._orders.refused(*_numbers(fields, 2, 2))]

    def _heard(self, channel: int) -> None:
        self._unheard.discard(channel)
        if self._greeted and not self._unheard:
            self._sync_due = None
            self._sync_wait = SYNC_AGAIN

    def _lines_lost(self) -> None:
        self._sequence = None
        self._unheard = set(self._ports)
        self._greeted = False
        self._want_sync()

    def _want_sync(self) -> None:
        soonest = max(self.monotonic(), self._sync_sent + SYNC_APART)
        self._sync_due = soonest if self._sync_due is None else min(self._sync_due, soonest)

    def _warn_once(self, version: int, channels: int) -> None:
        if self._warned:
            return
        if version != VERSION:
            log.warning(
                "board %d speaks version %d of the native protocol, this agent version %d; it goes"
                " on and takes what it understands: update the agent",
                self.options.serial,
                version,
                VERSION,
            )
        if channels < self.options.channels:
            log.warning(
                "board %d says it has %d ports, but boards[].channels is %d: correct the"
                " configuration",
                self.options.serial,
                channels,
                self.options.channels,
            )
        self._warned = version != VERSION or channels < self.options.channels


_STATES = {state.value: state for state in LineState}
_PEERS = {peer.value: peer for peer in Peer}


@lru_cache(maxsize=512)  # few different ones come, and each of them with every line
def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise Malformed
    return int(text)


def _numbers(fields: tuple[str, ...], least: int, count: int) -> list[int]:
    if len(fields) < least:
        raise Malformed
    return [_number(text) for text in fields[:count]]


def _byte(fields: tuple[str, ...]) -> int:
    if not fields:
        raise Malformed
    sequence = _number(fields[0])
    if sequence >= _SEQUENCE_LENGTH:
        raise Malformed
    return sequence
