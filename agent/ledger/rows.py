"""What the ledger holds, as its readers see it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct

from agent.calls import Call, Direction
from agent.clock import Stamp
from agent.language import marked

PLATFORM = "platform"
"""The one target there is: states stand by (item, target), so another can be added."""


class State(StrEnum):
    """Where a delivery stands, in words for people."""

    WAITING_FOR_RECORDING = marked("waiting for its recording")
    RECORD_TO_SEND = marked("record to be sent")
    RECORD_SENT = marked("record sent")
    WAITING_FOR_CALL = marked("waiting for its call")
    WAITING_FOR_RECORD = marked("waiting for its record")
    RECORDING_TO_SEND = marked("recording to be sent")
    DELIVERED = marked("delivered")
    KEPT = marked("kept, not sent")
    MISSING = marked("its file is missing")


SENDABLE = frozenset({State.WAITING_FOR_RECORDING, State.RECORD_TO_SEND, State.RECORDING_TO_SEND})
"""States that wait for nothing but their time."""


class Pick(StrEnum):
    """Which of the items that are due is next; one that was refused gives way to all others."""

    OLDEST = "oldest"
    """The one that has waited longest."""
    NEWEST = "newest"
    LOT = "lot"
    """Any; those first that were not tried yet."""


class ErrandState(StrEnum):
    """Where an errand stands, in words for people."""

    WAITING = "waiting for its channel"
    ORDERED = "ordered"
    PLACED = "placed"
    EXPIRED = "expired"
    FAILED = "failed"
    DONE = "done"
    UNKNOWN = "unknown function"


class StoredCall(Struct, frozen=True):
    """A call with the number under which its record goes."""

    id: int
    call: Call
    boot: str
    clock_trusted: bool
    clock_offset: float
    """Seconds by which its wall times were corrected."""
    found_over: float | None
    """Where it ended while the agent was down: the wall time at which it was found over."""
    source: str

    @property
    def end_uncertain(self) -> bool:
        """True: it ended while the agent was down, so its recordings know better."""
        return self.found_over is not None


class RecordToSend(Struct, frozen=True):
    """A call whose record is due."""

    stored: StoredCall
    state: State
    body: bytes | None
    """The bytes as first sent; None: never sent."""
    callid: str | None
    """An earlier answer's, where the record is booked anew."""
    refusals: int
    has_recording: bool
    since: float
    """Wall time at which it began to wait."""


class RecordingToSend(Struct, frozen=True):
    """A finished file whose record is booked."""

    id: int
    relative: str
    """Path below the recording directory; undecodable bytes as surrogates."""
    size: int
    modified_ns: int
    container: Literal["wav", "mp3"]
    call_id: int
    callid: str
    refusals: int
    since: float
    """Wall time at which it began to wait."""


class KnownFile(Struct, frozen=True):
    """A file as the ledger knows it."""

    id: int
    relative: str
    size: int
    modified_ns: int
    call_id: int | None
    state: State
    digest: str | None


class DeliveredRecording(Struct, frozen=True):
    """A recording that the platform holds and whose file is still here."""

    id: int
    relative: str
    size: int
    modified_ns: int
    delivered: float
    """Wall time of the delivery."""


class QueueCounts(Struct, frozen=True):
    """The queue in figures (INTERFACES.md, status file)."""

    records_waiting: int
    files_waiting: int
    bytes_waiting: int
    oldest_waiting: float | None
    attention: int
    delivered: int
    delivered_bytes: int
    kept: int
    """Files that are not sent: empty, not audio, or too short."""
    missing: int
    """Recordings whose file is gone before it was delivered."""


class QueueItem(Struct, frozen=True):
    """One waiting item, for people."""

    id: int
    kind: str
    state: State
    board: int | None
    channel: int | None
    phone: str
    started: float | None
    relative: str
    size: int
    since: float
    refusals: int
    trouble: str
    callid: str | None
    due: float
    digest: str | None
    verdict: str


class Errand(Struct, frozen=True):
    """A call to place or a function to run."""

    id: int
    kind: str
    entry: str
    source: str
    """The command that listed it."""
    board: int | None
    channel: int | None
    phone: str
    name: str
    parameters: tuple[tuple[str, str], ...]
    state: ErrandState
    outcome: str
    created: float
    expires: float
    """Monotonic seconds."""

    @property
    def standing(self) -> str:
        """Where it stands, in words for people: a function waits for no channel."""
        return _OF_FUNCTIONS.get((self.kind, self.state), self.state.value)


_OF_FUNCTIONS = {
    ("function", ErrandState.WAITING): "waiting for its turn",
    ("function", ErrandState.ORDERED): "running",
}


class DialCounts(Struct, frozen=True):
    """Calls to place, in figures (INTERFACES.md, status file)."""

    waiting: int
    placed: int
    expired: int
    failed: int


CALL_COLUMNS = (
    "id, board, channel, direction, phone, started, started_monotonic, answered,"
    " answered_monotonic, ended, ended_monotonic, heard, heard_monotonic, boot, clock_trusted,"
    " clock_offset, found_over, source"
)
"""Columns that `stored_call` reads, in its order."""


def call_columns(table: str) -> str:
    """The columns that `stored_call` reads, of a named table."""
    return ", ".join(f"{table}.{name.strip()}" for name in CALL_COLUMNS.split(","))


def stored_call(row: tuple[Any, ...]) -> StoredCall:
    """Read a row of `call_columns`."""
    started, answered, ended, heard = (_stamp(row, index) for index in (5, 7, 9, 11))
    assert started is not None
    assert heard is not None
    call = Call(
        board=row[1],
        channel=row[2],
        direction=Direction(row[3]),
        phone=row[4],
        started=started,
        answered=answered,
        ended=ended,
        last_heard=heard,
    )
    return StoredCall(
        id=row[0],
        call=call,
        boot=row[13],
        clock_trusted=bool(row[14]),
        clock_offset=row[15],
        found_over=row[16],
        source=row[17],
    )


_ROUND = 2**64
_EARLIEST_FILE_TIME = -(2**61)
"""Nanoseconds, in 1896: no file system can say less."""


def stored_time(modified_ns: int) -> int:
    """A file's time as SQLite's 64 bits hold it; some file systems count beyond, to 2446."""
    return (modified_ns + _ROUND // 2) % _ROUND - _ROUND // 2


def file_time(stored: int) -> int:
    """The reverse of `stored_time`."""
    return stored if stored >= _EARLIEST_FILE_TIME else stored + _ROUND


def _stamp(row: tuple[Any, ...], index: int) -> Stamp | None:
    return None if row[index] is None else Stamp(row[index], row[index + 1])
