"""The ledger's book of calls: begun, changed, ended, and found again for a recording."""

from __future__ import annotations

from agent.calls import Call
from agent.clock import EARLIEST_TRUE_TIME, Clock, Stamp
from agent.ledger.deliveries import DeliveryBook
from agent.ledger.rows import CALL_COLUMNS, StoredCall, stored_call
from agent.ledger.store import Store

FROM_BOARD = "board"
FROM_RECORDING = "recording"

_LENGTH = "(ended_monotonic - started_monotonic)"
_JUMPED = f"abs(ended - started - {_LENGTH}) > 2.0"
"""As the index says it (agent/clock.py, JUMP)."""
_LONG = 3600.0
"""Seconds; as the index of longer calls says it. Without it any call that ended since could lie
around a recording of long ago, and each recording of a backlog would look at all of them."""
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
            return self._insert(call, self._clock.boot, clock_trusted, source)

    def add_told(self, call: Call, *, clock_trusted: bool, boot: str) -> int:
        """Write down a call that a recording alone tells of, its record to be sent at once.

        `boot`: the one of its monotonic times; empty: an unknown one, whose clock was never set.
        """
        with self._store.transaction():
            number = self._insert(call, boot, clock_trusted, FROM_RECORDING)
            self._deliveries.add_record(number, 0.0)
            return number

    def change(self, number: int, call: Call) -> bool:
        """Write down what became known of a call that goes on; False: it does not."""
        # Its end is left out: a column that is named costs a page of each index that it is in.
        changed = self._store.write(
            "UPDATE calls SET direction = ?, phone = ?, started = ?, started_monotonic = ?,"
            " answered = ?, answered_monotonic = ?, heard = ?, heard_monotonic = ?, boot = ?"
            " WHERE id = ? AND ended IS NULL",
            (*_known_of(call), self._clock.boot, number),
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
                "UPDATE calls SET ended = ?, ended_monotonic = ?, clock_trusted = ?,"
                " found_over = ? WHERE id = ?",
                (*_times(call.ended), int(clock_trusted))
                + (self._clock.wall() if uncertain else None, number),
            )
            self._deliveries.add_record(number, wait_for_recording)

    def open_calls(self) -> list[StoredCall]:
        """Calls that had not ended when the ledger was last written."""
        return self._select("ended IS NULL ORDER BY id")

    def get(self, number: int) -> StoredCall | None:
        """One call by its number."""
        found = self._select("id = ?", number)
        return found[0] if found else None

    def around(
        self, start: float, end: float, *, channel: int | None = None, unset_in: str | None = None
    ) -> list[StoredCall]:
        """Calls of which any part lies between two wall times: those that go on, then the latest.

        One that ended unheard may have lasted until it was found over. One whose times were
        corrected is found by the times as they were, too: its recording may be named by the clock
        before its correction. `channel`: of that port alone. `unset_in`: those of that boot as well
        that ended before its clock was set.
        """
        return self._select(_AROUND, start, end, channel, unset_in)

    def ended_since(self, wall: float) -> int:
        """How many calls ended since a wall time."""
        row = self._store.row("SELECT COUNT(*) FROM calls WHERE ended >= ?", (wall,))
        return int(row[0]) if row else 0

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

    def tell_start(self, number: int, channel: int, direction: str, second: int) -> int:
        """Fix the second that a call's record gives as its start; return it.

        Where another call of the same port and direction has that second already, on another box
        or in a line that flickers, it is the nearest free one before: a sibling platform knows a
        record by just these and refuses the second one for ever (PROTOCOL.md 2.2).
        """
        with self._store.transaction():
            while self._store.row(
                "SELECT 1 FROM calls WHERE channel = ? AND direction = ? AND told_start = ?"
                " AND id != ?",
                (channel, direction, second, number),
            ):
                second -= 1
            self._store.write("UPDATE calls SET told_start = ? WHERE id = ?", (second, number))
        return second

    def correct(self, number: int, offset: float) -> None:
        """Shift a call's wall times by `offset` seconds: its clock was wrong when it rang."""
        self._store.write(
            "UPDATE calls SET started = started + ?1, answered = answered + ?1,"
            " ended = ended + ?1, heard = heard + ?1, found_over = found_over + ?1,"
            " clock_offset = clock_offset + ?1, clock_trusted = 1 WHERE id = ?2",
            (offset, number),
        )

    def _insert(self, call: Call, boot: str, clock_trusted: bool, source: str) -> int:
        number = self._store.next_id()
        self._store.write(
            "INSERT INTO calls (id, board, channel, direction, phone, started, started_monotonic,"
            " answered, answered_monotonic, heard, heard_monotonic, ended, ended_monotonic, boot,"
            f" clock_trusted, source) VALUES ({', '.join('?' * 16)})",
            (number, call.board, call.channel, *_known_of(call), *_times(call.ended))
            + (boot, int(clock_trusted), source),
        )
        return number

    def _select(self, condition: str, *parameters: object) -> list[StoredCall]:
        rows = self._store.rows(f"SELECT {CALL_COLUMNS} FROM calls WHERE {condition}", parameters)
        return [stored_call(row) for row in rows]


def _few(condition: str, order: str) -> str:
    """A part of `_AROUND`: the first few of the calls that a condition names."""
    return (
        f"SELECT id FROM (SELECT id FROM calls WHERE {condition}"
        f" AND (?3 IS NULL OR channel = ?3) ORDER BY {order} LIMIT {MOST_CANDIDATES}) AS few"
    )


_AROUND = "id IN ({}) ORDER BY ended IS NOT NULL, ended DESC".format(
    " UNION ALL ".join(
        (
            "SELECT id FROM calls WHERE ended IS NULL AND (?3 IS NULL OR channel = ?3)",
            _few(
                f"ended >= ?1 AND ended <= ?2 + {_LONG} AND ended - {_LENGTH} <= ?2", "ended DESC"
            ),
            _few(f"{_LENGTH} > {_LONG} AND ended >= ?1 AND ended - {_LENGTH} <= ?2", "ended DESC"),
            # Where the clock was set during the call, the recorder may have named it before.
            _few(f"{_JUMPED} AND started + {_LENGTH} >= ?1 AND started <= ?2", "started DESC"),
            _few("found_over >= ?1 AND started <= ?2", "found_over DESC"),
            # Calls are corrected after their end.
            _few(
                "clock_offset != 0 AND ended - clock_offset >= ?1 AND started - clock_offset <= ?2",
                "ended - clock_offset DESC",
            ),
            _few(
                f"boot = ?4 AND ended - clock_offset < {EARLIEST_TRUE_TIME}",
                "ended - clock_offset DESC",
            ),
        )
    )
)
"""Which calls `CallBook.around` gives: one statement, each part of it by an index of its own."""


def _known_of(call: Call) -> tuple[object, ...]:
    moments = (call.started, call.answered, call.last_heard)
    times = [time for moment in moments for time in _times(moment)]
    return (call.direction.value, call.phone, *times)


def _times(moment: Stamp | None) -> tuple[float | None, float | None]:
    return (None, None) if moment is None else (moment.wall, moment.monotonic)
