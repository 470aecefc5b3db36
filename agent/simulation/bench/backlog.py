"""A backlog: thousands of recordings whose records are booked, and which wait for their time.

It is written as the agent writes it, through its ledger, but many in one transaction: so a hundred
thousand take seconds, and what follows can be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from agent.calls import Call, Direction
from agent.clock import Clock, Stamp, SystemClock
from agent.ledger import Ledger, open_ledger
from agent.ledger.recordings import NewRecording
from agent.simulation.bench.stock import PORTS

AT_ONCE = 500
"""Recordings in one transaction."""
SMALL = 800
"""Bytes of audio, a tenth of a second, where it is their number that counts."""
TALKED = 0.1
APART = 10.0
"""Seconds between two calls."""


def shut_window() -> str:
    """Hours for `uploads.window` that are not now, and not soon."""
    begin = datetime.now().astimezone() + timedelta(hours=12)
    return f"{begin:%H:%M}-{begin + timedelta(minutes=1):%H:%M}"


def fill(state: Path, recordings: Sequence[Path]) -> None:
    """Begin a ledger in which these files wait to be sent, their records booked."""
    state.mkdir()
    clock = SystemClock()
    ledger = open_ledger(state, clock)
    try:
        for first in range(0, len(recordings), AT_ONCE):
            with ledger.transaction():
                for number, path in enumerate(recordings[first : first + AT_ONCE], start=first):
                    _add(ledger, clock, path, number - len(recordings))
    finally:
        ledger.close()


def _add(ledger: Ledger, clock: Clock, path: Path, number: int) -> None:
    now = clock.stamp()
    begin = Stamp(now.wall + number * APART, now.monotonic + number * APART)
    end = Stamp(begin.wall + TALKED, begin.monotonic + TALKED)
    call = Call(1, number % PORTS + 1, Direction.IN, path.stem[-11:], begin, begin, end, end)
    call_id = ledger.calls.add_told(call, clock_trusted=True, boot=clock.boot)
    found = path.stat()
    ledger.recordings.add(
        NewRecording(path.name, found.st_size, found.st_mtime_ns, "good", "", "wav", TALKED, ""),
        call_id,
        call_due=0.0,
    )
    ledger.deliveries.freeze(call_id, b"cmd=upload")
    ledger.deliveries.booked(call_id, f"76876579886677{-number:05}")
