"""What of the deliveries is due, and in which order; as many may wait as there are."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from agent.clock import Clock
from agent.ledger.rows import (
    CALL_COLUMNS,
    PLATFORM,
    Pick,
    RecordingToSend,
    RecordToSend,
    State,
    call_columns,
    file_time,
    stored_call,
)
from agent.ledger.store import Row, Store

RECORD = "record"
RECORDING = "recording"
MOST_ITEMS = 64
"""Parts of statements that are kept: three for each kind and number of items in work."""


class DueDeliveries:
    """Reads deliveries to one target for those who send them; changes nothing.

    Kinds and states stand in the statements themselves. Where a bound value meets a column that is
    in the condition of a partial index, SQLite prepares the whole statement anew each time, to see
    whether the index serves: that took twenty times as long as the statement.
    """

    def __init__(self, store: Store, clock: Clock, target: str = PLATFORM) -> None:
        self._store = store
        self._clock = clock
        self._target = target

    def next_record(
        self, busy: Iterable[int] = (), pick: Pick = Pick.OLDEST
    ) -> RecordToSend | None:
        """A record that is due now, other than those in work."""
        return self._record(self._first(_RECORD, RECORD, busy, pick))

    def record(self, call_id: int) -> RecordToSend | None:
        """A call's record, due or not; None: the call has not ended."""
        return self._record(self._store.row(_RECORD.format(item="?"), (call_id, self._target)))

    def _record(self, row: Row | None) -> RecordToSend | None:
        if row is None:
            return None
        stored = stored_call(row[:_OF_CALL])
        state, body, callid, refusals, since = row[_OF_CALL:]
        return RecordToSend(
            stored=stored,
            state=State(state),
            body=body,
            callid=callid,
            refusals=refusals,
            has_recording=self._has_good_recording(stored.id),
            since=since,
        )

    def next_recording(
        self, busy: Iterable[int] = (), pick: Pick = Pick.OLDEST
    ) -> RecordingToSend | None:
        """A recording that is due now and whose record is booked, other than those in work."""
        row = self._first(_RECORDING, RECORDING, busy, pick)
        if row is None:
            return None
        number, path, size, modified_ns, container, call_id, callid, refusals, since = row
        return RecordingToSend(
            id=number,
            relative=path.decode("utf-8", "surrogateescape"),
            size=size,
            modified_ns=file_time(modified_ns),
            container=container or "wav",
            call_id=call_id,
            callid=callid or "",
            refusals=refusals,
            since=since,
        )

    def next_due(self, kind: str, busy: Iterable[int] = ()) -> float | None:
        """Monotonic time at which the next item of a kind is due; None: nothing waits for time."""
        numbers = tuple(busy)
        rows = [
            self._store.row(
                f"SELECT due FROM deliveries WHERE waiting = 1 AND kind = '{kind}' AND target = ?"
                f" AND sendable = 1 AND (refusals > 0) = ?{_excluded('item_id', len(numbers))}"
                " ORDER BY due, item_id LIMIT 1",
                (self._target, refused, *numbers),
            )
            for refused in (False, True)
        ]
        return min((float(row[0]) for row in rows if row is not None), default=None)

    def _has_good_recording(self, call_id: int) -> bool:
        return bool(
            self._store.row(
                "SELECT 1 FROM recordings AS r JOIN deliveries AS d ON d.item_id = r.id"
                f" WHERE r.call_id = ? AND d.target = ? AND d.state != '{State.KEPT}' LIMIT 1",
                (call_id, self._target),
            )
        )

    def _first(self, sql: str, kind: str, busy: Iterable[int], pick: Pick) -> Row | None:
        """Read what `sql` asks of the item that `pick` tells.

        The oldest and the newest are found by the index; a lot looks at all.
        """
        numbers = tuple(busy)
        now = self._clock.monotonic()
        sql = sql.format(item=_item(kind, pick, len(numbers)))
        for refused in (False, True):
            found = self._store.row(sql, (self._target, refused, now, *numbers, self._target))
            if found is not None:
                return found
        return None


_OF_CALL = len(CALL_COLUMNS.split(","))
_RECORD = (
    f"SELECT {call_columns('calls')}, d.state, d.body, d.callid, d.refusals, d.since"
    " FROM deliveries AS d JOIN calls ON calls.id = d.item_id"
    " WHERE d.item_id = {item} AND d.target = ?"
)
_RECORDING = (
    "SELECT r.id, r.path, r.size, r.modified_ns, r.container, r.call_id, record.callid,"
    " d.refusals, d.since FROM deliveries AS d JOIN recordings AS r ON r.id = d.item_id"
    " JOIN deliveries AS record ON record.item_id = r.call_id AND record.target = d.target"
    " WHERE d.item_id = {item} AND d.target = ?"
)
_ORDER = {
    Pick.OLDEST: "d.due, d.item_id",
    Pick.NEWEST: "d.item_id DESC",
    Pick.LOT: "d.due > 0, random()",
}


@lru_cache(MOST_ITEMS)
def _item(kind: str, pick: Pick, busy: int) -> str:
    """What chooses an item that is due, besides so many in work."""
    return (
        f"(SELECT d.item_id FROM deliveries AS d WHERE d.waiting = 1 AND d.kind = '{kind}'"
        " AND d.target = ? AND d.sendable = 1 AND (d.refusals > 0) = ? AND d.due <= ?"
        f"{_excluded('d.item_id', busy)} ORDER BY {_ORDER[pick]} LIMIT 1)"
    )


def _excluded(column: str, busy: int) -> str:
    """A condition that leaves out the items in work: as many as there are workers.

    The same words for as many: with the numbers in them each statement would be a new one, to be
    prepared and kept anew.
    """
    return f" AND {column} NOT IN ({', '.join('?' * busy)})" if busy else ""
