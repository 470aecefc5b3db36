"""The queue as people see it: figures for the status file, items for `smarttel-agent queue`."""

from __future__ import annotations

from agent.ledger.rows import PLATFORM, QueueCounts, QueueItem, State
from agent.ledger.store import Row, Store

_ITEM = (
    "SELECT d.item_id, d.kind, d.state, c.board, c.channel, c.phone, c.started, r.path, d.bytes,"
    " d.since, d.refusals, d.trouble, coalesce(d.callid, record.callid), d.due, r.digest, r.verdict"
    " FROM deliveries AS d"
    " LEFT JOIN recordings AS r ON d.kind = 'recording' AND r.id = d.item_id"
    " LEFT JOIN calls AS c"
    "  ON c.id = CASE d.kind WHEN 'record' THEN d.item_id ELSE r.call_id END"
    " LEFT JOIN deliveries AS record ON record.item_id = r.call_id AND record.target = d.target"
)


class QueueView:
    """Reads deliveries for people; changes nothing."""

    def __init__(self, store: Store, target: str = PLATFORM) -> None:
        self._store = store
        self._target = target

    def counts(self, attention_after: int) -> QueueCounts:
        """The queue in figures. `attention_after`: refusals that make an item one to look at."""
        records, _, oldest_record = self._waiting("record")
        files, waiting_bytes, oldest_file = self._waiting("recording")
        oldest = [moment for moment in (oldest_record, oldest_file) if moment is not None]
        return QueueCounts(
            records_waiting=records,
            files_waiting=files,
            bytes_waiting=waiting_bytes or 0,
            oldest_waiting=min(oldest, default=None),
            attention=self._one(
                "SELECT COUNT(*) FROM deliveries WHERE target = ? AND refusals >= ?"
                " AND refusals > 0 AND waiting = 1",
                self._target,
                attention_after,
            ),
            delivered=self._store.meta("delivered", 0),
            delivered_bytes=self._store.meta("delivered_bytes", 0),
            kept=self._one(
                "SELECT COUNT(*) FROM deliveries WHERE target = ? AND state = 'kept, not sent'",
                self._target,
            ),
            missing=self._one(
                "SELECT COUNT(*) FROM deliveries WHERE target = ?"
                " AND state = 'its file is missing'",
                self._target,
            ),
        )

    def waiting(self) -> int:
        """How many records and recordings wait."""
        return int(self._waiting("record")[0]) + int(self._waiting("recording")[0])

    def items(self, limit: int, after: int = 0) -> list[QueueItem]:
        """What waits or is kept, by number; `after`: the last number of the page before."""
        rows = self._store.rows(
            f"{_ITEM} WHERE d.target = ? AND d.done IS NULL AND d.item_id > ?"
            " ORDER BY d.item_id LIMIT ?",
            (self._target, after, limit),
        )
        return [_item(row) for row in rows]

    def find(self, number: int) -> list[QueueItem]:
        """An item, waiting or done; of a call its record and all its recordings."""
        rows = self._store.rows(
            f"{_ITEM} WHERE d.target = ? AND (d.item_id = ? OR r.call_id = ?) ORDER BY d.item_id",
            (self._target, number, number),
        )
        return [_item(row) for row in rows]

    def find_callid(self, callid: str) -> list[QueueItem]:
        """The same by the platform's callid of a record that is booked."""
        rows = self._store.rows(
            "SELECT item_id FROM deliveries WHERE callid = ? LIMIT 10", (callid,)
        )
        return [item for (number,) in rows for item in self.find(number)]

    def troubled(self, attention_after: int, limit: int) -> list[QueueItem]:
        """Items that were refused often, the most refused first."""
        rows = self._store.rows(
            f"{_ITEM} WHERE d.target = ? AND d.refusals >= ? AND d.refusals > 0 AND d.waiting = 1"
            " ORDER BY d.refusals DESC LIMIT ?",
            (self._target, attention_after, limit),
        )
        return [_item(row) for row in rows]

    def kept(self, limit: int) -> list[QueueItem]:
        """Files that are kept and not sent."""
        rows = self._store.rows(
            f"{_ITEM} WHERE d.target = ? AND d.state = 'kept, not sent' LIMIT ?",
            (self._target, limit),
        )
        return [_item(row) for row in rows]

    def kept_since(self, since: float) -> int:
        """Files found empty or not audio since a wall time."""
        return self._one(
            "SELECT COUNT(*) FROM deliveries AS d JOIN recordings AS r ON r.id = d.item_id"
            " WHERE d.target = ? AND d.state = 'kept, not sent' AND d.since >= ?"
            " AND r.verdict IN ('empty', 'not audio')",
            self._target,
            since,
        )

    def missing_since(self, since: float) -> int:
        """Recordings found since a wall time whose file is gone before its delivery."""
        return self._one(
            "SELECT COUNT(*) FROM deliveries WHERE target = ?"
            " AND state = 'its file is missing' AND since >= ?",
            self._target,
            since,
        )

    def _waiting(self, kind: str) -> Row:
        row = self._store.row(
            "SELECT COUNT(*), SUM(bytes), MIN(since) FROM deliveries"
            f" WHERE kind = '{kind}' AND target = ? AND waiting = 1",
            (self._target,),
        )
        assert row is not None
        return row

    def _one(self, sql: str, *parameters: object) -> int:
        row = self._store.row(sql, parameters)
        return int(row[0]) if row else 0


def _item(row: Row) -> QueueItem:
    number, kind, state, board, channel, phone, started, path, size, since, *rest = row
    refusals, trouble, callid, due, digest, verdict = rest
    return QueueItem(
        id=number,
        kind=kind,
        state=State(state),
        board=board,
        channel=channel,
        phone=phone or "",
        started=started,
        relative=path.decode("utf-8", "surrogateescape") if path is not None else "",
        size=size,
        since=since,
        refusals=refusals,
        trouble=trouble,
        callid=callid,
        due=due,
        digest=digest,
        verdict=verdict or "",
    )
