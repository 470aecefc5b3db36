"""A past: calls whose records are booked, and a backlog of recordings that wait for their time.

It is written as the agent writes it, through its ledger, but many in one transaction: so a hundred
thousand take seconds, and what follows can be measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.calls import Call, Direction
from agent.clock import Clock, Stamp, SystemClock
from agent.ledger import Ledger, open_ledger
from agent.ledger.recordings import NewRecording
from agent.recordings.names import RecordingNames
from agent.settings import Recordings

AT_ONCE = 500
"""Recordings in one transaction."""
SMALL = 800
"""Bytes of audio, a tenth of a second, where it is their number that counts."""
BYTES_A_SECOND = 8000
NAMES = RecordingNames(Recordings(directory="").patterns, UTC)
"""As the stock names them."""


def shut_window() -> str:
    """Hours for `uploads.window` that are not now, and not soon."""
    begin = datetime.now().astimezone() + timedelta(hours=12)
    return f"{begin:%H:%M}-{begin + timedelta(minutes=1):%H:%M}"


def book_calls(state: Path, recordings: Sequence[Path]) -> None:
    """Begin a ledger in which the calls of these recordings are, their records booked."""
    _write(state, recordings, lambda ledger, path, call_id: None)


def fill(state: Path, recordings: Sequence[Path]) -> None:
    """Begin a ledger in which these recordings wait to be sent, their records booked."""
    _write(state, recordings, _add_recording)


def _write(
    state: Path, recordings: Sequence[Path], add: Callable[[Ledger, Path, int], None]
) -> None:
    state.mkdir()
    clock = SystemClock()
    ledger = open_ledger(state, clock)
    try:
        for first in range(0, len(recordings), AT_ONCE):
            with ledger.transaction():
                for path in recordings[first : first + AT_ONCE]:
                    add(ledger, path, _add_call(ledger, clock, path))
    finally:
        ledger.close()


def _add_call(ledger: Ledger, clock: Clock, path: Path) -> int:
    now, facts = clock.stamp(), NAMES.facts(path.name)
    began = (facts.start or 0.0) - now.wall
    lasted = path.stat().st_size / BYTES_A_SECOND
    begin, end = (Stamp(now.wall + ago, now.monotonic + ago) for ago in (began, began + lasted))
    call = Call(1, facts.channel or 1, Direction.IN, facts.phone or "", begin, begin, end, end)
    call_id = ledger.calls.add_told(call, clock_trusted=True, boot=clock.boot)
    ledger.deliveries.freeze(call_id, b"cmd=upload")
    ledger.deliveries.booked(call_id, "7687658987667780097")
    return call_id


def _add_recording(ledger: Ledger, path: Path, call_id: int) -> None:
    found = path.stat()
    length = found.st_size / BYTES_A_SECOND
    ledger.recordings.add(
        NewRecording(path.name, found.st_size, found.st_mtime_ns, "good", "", "wav", length, ""),
        call_id,
        call_due=0.0,
    )
