"""What a call's record says: its times made true, its bytes fixed once and for all."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from agent.calls import Call, Direction
from agent.clock import EARLIEST_TRUE_TIME, Clock, Stamp, TrustedClock
from agent.ledger import Ledger
from agent.ledger.rows import RecordToSend, StoredCall
from agent.platform.wire import RecordFields, record_body
from agent.recordings.matching import Recorded

CLOCK_TOLERANCE = 2.0
"""Seconds by which a call's times may be off before they are corrected: below, it is drift."""

log = logging.getLogger(__name__)


class Freezer:
    """Fixes the bytes of records, which every retry repeats (PROTOCOL.md 2.2)."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        time: TrustedClock,
        being_recorded: Callable[[StoredCall], bool],
        recordings_of: Callable[[StoredCall], Sequence[Recorded]],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._time = time
        self._being_recorded = being_recorded
        self._recordings_of = recordings_of

    def freeze(self, item: RecordToSend, satellite: str) -> bytes:
        """Fix what the record says, durably, before it leaves for the first time."""
        with self._ledger.transaction():
            stored = self._with_true_times(self._with_evidence(item.stored))
            recorded = item.has_recording or self._being_recorded(stored)
            fields = record_fields(stored.id, stored.call, satellite, recorded=recorded)
            start = self._ledger.calls.tell_start(
                stored.id, fields.channel, fields.direction, fields.start
            )
            body = record_body(replace(fields, start=start))
            self._ledger.deliveries.freeze(stored.id, body)
        return body

    def _with_evidence(self, stored: StoredCall) -> StoredCall:
        if not stored.end_uncertain:
            return stored
        recordings = self._recordings_of(stored)
        spans = [one.span_near(stored.call.started.wall) for one in recordings]
        call = with_whole_number(stored.call, [one.facts.phone or "" for one in recordings])
        return replace(stored, call=completed(call, spans))

    def _with_true_times(self, stored: StoredCall) -> StoredCall:
        if stored.clock_trusted or stored.call.ended is None:
            return stored
        offset = self._offset(stored.boot, stored.call.ended)
        if abs(offset) <= CLOCK_TOLERANCE:
            return stored
        self._ledger.calls.correct(stored.id, offset)
        log.info("record %d: its times are corrected by %.0f s", stored.id, offset)
        return replace(
            stored,
            call=shifted(stored.call, offset),
            clock_offset=stored.clock_offset + offset,
            clock_trusted=True,
        )

    def _offset(self, boot: str, ended: Stamp) -> float:
        if boot == self._clock.boot:
            return self._time.correction(ended)
        if ended.wall >= EARLIEST_TRUE_TIME:
            return 0.0
        # The clock was never set in the boot that saw this call, and no reading of it can be
        # compared any more: its last call was over before this boot began, and is put there. The
        # others keep their distance to it, or two of them might look like one to the platform.
        began = self._time.now() - self._clock.monotonic()
        return began - self._ledger.calls.last_unset_end(boot)


def record_fields(number: int, call: Call, satellite: str, *, recorded: bool) -> RecordFields:
    """Say a finished call in whole seconds, rounded down (SERIAL.md 1, PROTOCOL.md 2.2).

    The hang-up less the duration is never before the start. Where the wall clock jumped during the
    call, its later reading counts: clocks are set right more often than wrong.
    """
    ended = call.ended or call.last_heard
    started = ended.wall - call.elapsed
    if abs(started - call.started.wall) <= CLOCK_TOLERANCE:
        started = call.started.wall
    start, duration = math.floor(started), math.floor(call.duration)
    return RecordFields(
        satellite=satellite,
        channel=call.channel,
        start=start,
        # A clock that was drawn back a little must not make the call shorter than it was.
        hang_up=max(math.floor(ended.wall), start + duration),
        direction=call.direction.value,
        phone=call.phone,
        duration=duration,
        record_id=number,
        recorded=recorded,
    )


def completed(call: Call, spans: Sequence[tuple[float, float]]) -> Call:
    """Complete a call that ended unseen by its recordings: it lasted as long as they did.

    `spans`: begin and end of each recording, wall times.
    """
    if not spans:
        return call
    begin = max(min(begin for begin, _ in spans), call.started.wall)
    end = max(end for _, end in spans)
    ended = call.ended or call.last_heard
    if end > ended.wall:
        ended = moved(ended, end - ended.wall)
    if call.answered is not None:
        return replace(call, ended=ended)
    answered = moved(call.started, begin - call.started.wall)
    return replace(call, ended=ended, answered=answered, direction=Direction.IN)


def with_whole_number(call: Call, phones: Iterable[str]) -> Call:
    """Complete the number of a call that ended unseen: its last digits may not have been heard."""
    longer = [phone for phone in phones if phone.startswith(call.phone)]
    return replace(call, phone=max(longer, key=len, default=call.phone))


def moved(stamp: Stamp, seconds: float) -> Stamp:
    """The moment so many seconds later, on both clocks."""
    return Stamp(stamp.wall + seconds, stamp.monotonic + seconds)


def shifted(call: Call, offset: float) -> Call:
    """The same call with all wall times moved by `offset` seconds."""

    def true(stamp: Stamp) -> Stamp:
        return Stamp(stamp.wall + offset, stamp.monotonic)

    return replace(
        call,
        started=true(call.started),
        answered=true(call.answered) if call.answered else None,
        ended=true(call.ended) if call.ended else None,
        last_heard=true(call.last_heard),
    )
