"""When a call was, by every clock that may have told it: a wall clock may be set meanwhile.

A recording's name, its file and the ledger may each have it from another clock, or from the same
one before it was set and after.
"""

from __future__ import annotations

from msgspec.structs import replace

from agent.calls import Call
from agent.clock import EARLIEST_TRUE_TIME, JUMP, Clock, Stamp, TrustedClock
from agent.ledger.rows import StoredCall
from agent.recordings.matching import CallSpan, OwnCall

UNKNOWN_BOOT = ""
"""Stands for the boot of a recording that an unset clock dated, and not the one of this boot."""


def spans_of(stored: StoredCall, clock: Clock, time: TrustedClock) -> list[CallSpan]:
    """A call as matching sees it, by each clock that may have named its recording.

    Before and after its times were corrected, or will be; before and after the clock was set.
    """
    call, now = stored.call, clock.stamp()
    here = stored.boot == clock.boot
    end = call.ended or now
    length = end.monotonic - call.started.monotonic
    if call.ended is None and not here:
        length = end.wall - call.started.wall
    length = max(0.0, length)
    offsets = {0.0, -stored.clock_offset}
    if here and not stored.clock_trusted:
        offsets.add(time.correction(call.ended or call.started))
    spans = [(end.wall - length, None if call.ended is None else end.wall)]
    if abs(spans[0][0] - call.started.wall) > JUMP:
        spans.append((call.started.wall, call.started.wall + length))
    return [
        CallSpan(
            call_id=stored.id,
            board=call.board,
            channel=call.channel,
            direction=call.direction,
            phone=call.phone,
            started=started + offset,
            ended=None if ended is None else ended + offset,
            over=None if stored.found_over is None else stored.found_over + offset,
        )
        for offset in sorted(offsets)
        for started, ended in spans
    ]


def own_times(
    own: OwnCall, modified: float, clock: Clock, time: TrustedClock
) -> tuple[str, Stamp, Stamp]:
    """Boot, start and end of the call of a recording that belongs to no other.

    `modified`: UNIX seconds of its file's last change. What a clock said that was never set is
    dated by this boot where it may be of it, else left to be put before it.
    """
    end = own.end
    if end < EARLIEST_TRUE_TIME <= modified:
        # It was named before the clock was set, and finished after that.
        end = modified
    now, began = clock.stamp(), time.unset_began
    boot, origin = clock.boot, now.wall - now.monotonic
    if end < EARLIEST_TRUE_TIME:
        if began is not None and began <= end <= began + now.monotonic:
            origin = began
        else:
            boot = UNKNOWN_BOOT
    last = Stamp(end, end - origin)
    return boot, Stamp(end - own.duration, last.monotonic - own.duration), last


def in_this_boot(call: Call, now: Stamp) -> Call:
    """Give a call of an earlier boot monotonic readings of this one.

    Its own times keep their distances; the wall clock says how long ago it was last heard. One
    that was not set yet (it shows a time before that) says nothing: then it was just now. Where the
    clock of that boot was never set, the call was last heard as this one began.
    """
    heard, ahead = call.last_heard, 0.0
    if heard.wall < EARLIEST_TRUE_TIME:
        shift = -heard.monotonic
        ahead = now.wall - now.monotonic - heard.wall
    else:
        shift = now.monotonic - max(0.0, now.wall - heard.wall) - heard.monotonic

    def converted(stamp: Stamp) -> Stamp:
        return Stamp(stamp.wall + ahead, stamp.monotonic + shift)

    return replace(
        call,
        started=converted(call.started),
        answered=converted(call.answered) if call.answered else None,
        ended=converted(call.ended) if call.ended else None,
        last_heard=converted(call.last_heard),
    )
