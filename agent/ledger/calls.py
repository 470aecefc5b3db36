"""The ledger's book of calls: begun, changed, ended, and found again for a recording."""

from __future__ import annotations

from agent.calls import Call
from agent.clock import EARLIEST_TRUE_TIME, Clock, Stamp
from agent.ledger.deliveries import DeliveryBook
from agent.ledger.rows import CALL_COLUMNS, StoredCall, stored_call
from agent.ledger.store import Store

FROM_BOARD = "board"
FROM_RECORDING = "recording"

MOST_CANDIDATES = 200
"""Calls looked at for one recording: more than all ports of all boxes can have at one moment."""


class CallBook:
    """Calls, each with the number that its record carries."""

    def __init__(self, store: Store, clock: Clock, deliveries: DeliveryBook) -> None:
        self._store = store
        self._clock = clock
        self._deliveries = deliveries

    def begin(self, call: Call, *, clock_trusted: bool, source: str = FROM_BOARD) -> int:
        """Write a new call down; return its number."""
        with self._store.transaction():
            number = self._store.next_id()
            self._store.write(
                f"INSERT INTO calls ({CALL_COLUMNS}) VALUES ({', '.join('?' * 18)})",
                (number, call.board, call.channel, *_changeable(call))
                + (self._clock.boot, int(clock_trusted), 0.0, 0, source),
            )
            return number

    def change(self, number: int, call: Call) -> bool:
        """Write down what became known of a call that goes on; False: it does not."""
        changed = self._store.write(
            "UPDATE calls SET direction = ?, phone = ?, started = ?, started_monotonic = ?,"
            " answered = ?, answered_monotonic = ?, ended = ?, ended_monotonic = ?, heard = ?,"
            " heard_monotonic = ?, boot = ? WHERE id = ? AND ended IS NULL",
            (*_changeable(call), self._clock.boot, number),
        )
        return bool(changed)

    def end(
        self,
        number: int,
        call: Call,
        *,
        clock_trusted: bool,
        wait_for_recording: float,
        uncertain: bool = False,
    ) -> None:
        """Write a call's end down, and that its record is to be sent; once, and no other end.

        `wait_for_recording`: seconds that the record may wait for a recording not yet here.
        `uncertain`: it ended while the agent was down.
        """
        with self._store.transaction():
            if not self.change(number, call):
                return
            self._store.write(
                "UPDATE calls SET clock_trusted = ?, end_uncertain = ? WHERE id = ?",
                (int(clock_trusted), int(uncertain), number),
            )
            self._deliveries.add_record(number, wait_for_recording)

    def open_calls(self) -> list[StoredCall]:
        """Calls that had not ended when the ledger was last written."""
        return self._select("ended IS NULL ORDER BY id")

    def get(self, number: int) -> StoredCall | None:
        """One call by its number."""
        found = self._select("id = ?", number)
        return found[0] if found else None

    def around(self, start: float, end: float) -> list[StoredCall]:
        """Calls of which any part lies between two wall times, the latest first.

        A call whose times were corrected is found by the times as they were, too: its recording
        may be named by the clock before its correction.
        """
        overlap = "(ended IS NULL OR ended >= ?) AND started <= ?"
        newest = f" ORDER BY ended IS NOT NULL, ended DESC LIMIT {MOST_CANDIDATES}"
        # Calls are corrected after their end.
        corrected = (
            "clock_offset != 0 AND ended - clock_offset >= ? AND started - clock_offset <= ?"
            f" ORDER BY ended - clock_offset DESC LIMIT {MOST_CANDIDATES}"
        )
        found = self._select(overlap + newest, start, end)
        known = {stored.id for stored in found}
        return found + [
            stored for stored in self._select(corrected, start, end) if stored.id not in known
        ]

    def last_unset_end(self, boot: str) -> float:
        """When the last of a boot's calls ended, by the clock that was never set in that boot.

        0 where there is none: the clock began there.
        """
        row = self._store.row(
            "SELECT MAX(ended - clock_offset) FROM calls"
            f" WHERE boot = ? AND ended - clock_offset < {EARLIEST_TRUE_TIME}",
            (boot,),
        )
        return float(row[0]) if row is not None and row[0] is not None else 0.0

    def correct(self, number: int, offset: float) -> None:
        """Shift a call's wall times by `offset` seconds: its clock was wrong when it rang."""
        self._store.write(
            "UPDATE calls SET started = started + ?1, answered = answered + ?1,"
            " ended = ended + ?1, heard = heard + ?1, clock_offset = clock_offset + ?1,"
            " clock_trusted = 1 WHERE id = ?2",
            (offset, number),
        )

    def _select(self, condition: str, *parameters: object) -> list[StoredCall]:
        rows = self._store.rows(f"SELECT {CALL_COLUMNS} FROM calls WHERE {condition}", parameters)
        return [stored_call(row) for row in rows]


def _changeable(call: Call) -> tuple[object, ...]:
    moments = (call.started, call.answered, call.ended, call.last_heard)
    times = [time for moment in moments for time in _times(moment)]
    return (call.direction.value, call.phone, *times)


def _times(moment: Stamp | None) -> tuple[float | None, float | None]:
    return (None, None) if moment is None else (moment.wall, moment.monotonic)
