"""The ledger's book of deliveries: what waits, what is due, and what became of it.

Every method that changes something is one durable transaction when it returns, or soft where it
says so.
"""

from __future__ import annotations

from agent.ledger.due import RECORD, RECORDING, DueDeliveries
from agent.ledger.rows import SENDABLE, RecordingToSend, State, stored_time


class DeliveryBook(DueDeliveries):
    """Deliveries of records and recordings to one target."""

    def add_record(self, call_id: int, wait_for_recording: float) -> None:
        """A call has ended: its record is to be sent, at once where a recording is here already.

        A call that was found over waits all the same: when it ended, its recordings alone tell,
        and the last of them tells best.
        """
        with self._store.transaction():
            here = self._has_good_recording(call_id) and not self._was_found_over(call_id)
            waits = wait_for_recording > 0 and not here
            state = State.WAITING_FOR_RECORDING if waits else State.RECORD_TO_SEND
            due = self._clock.monotonic() + wait_for_recording if waits else 0.0
            self._add(call_id, RECORD, state, due)

    def add_recording(
        self, recording_id: int, size: int, call_id: int | None, *, kept: str, call_due: float
    ) -> None:
        """A finished file is here. `kept`: why it is not sent, empty where it is.

        Without a call it waits for one until `call_due` (monotonic seconds).
        """
        with self._store.transaction():
            if kept:
                self._add(recording_id, RECORDING, State.KEPT, 0.0, size, kept)
            elif call_id is None:
                self._add(recording_id, RECORDING, State.WAITING_FOR_CALL, call_due, size)
            else:
                self._add(recording_id, RECORDING, self._behind_record(call_id), 0.0, size)

    def attached(self, recording_id: int, call_id: int) -> None:
        """A recording's call is known: it follows its record, which need not wait any longer.

        For the record of a call that was found over, see `add_record`.
        """
        with self._store.transaction():
            self._move(recording_id, self._behind_record(call_id))

    def freeze(self, call_id: int, body: bytes) -> None:
        """Fix the bytes of a record before they are first sent; every retry sends the same.

        From now on it waits for no recording: what it says of them is fixed too.
        """
        self._store.write(
            "UPDATE deliveries SET body = ?1, due = CASE state WHEN ?2 THEN 0 ELSE due END,"
            " state = CASE state WHEN ?2 THEN ?3 ELSE state END WHERE item_id = ?4 AND target = ?5",
            (body, State.WAITING_FOR_RECORDING, State.RECORD_TO_SEND, call_id, self._target),
        )

    def frozen(self, call_id: int) -> bytes | None:
        """The bytes of a record that was sent before; None: it was not."""
        row = self._store.row(
            "SELECT body FROM deliveries WHERE item_id = ? AND target = ?",
            (call_id, self._target),
        )
        return None if row is None else row[0]

    def booked(self, call_id: int, callid: str | None) -> bool:
        """The platform took a record; tell whether recordings waited that follow under `callid`.

        None keeps the callid of an earlier answer: a duplicate's answer may carry none.
        """
        with self._store.transaction():
            self._store.write(
                "UPDATE deliveries SET callid = coalesce(?, callid)"
                " WHERE item_id = ? AND target = ?",
                (callid, call_id, self._target),
            )
            self._finish(call_id, State.RECORD_SENT)
            followed = self._store.write(
                "UPDATE deliveries SET state = ?, sendable = 1 WHERE target = ?"
                f" AND state = '{State.WAITING_FOR_RECORD}'"
                " AND item_id IN (SELECT id FROM recordings WHERE call_id = ?)",
                (State.RECORDING_TO_SEND, self._target, call_id),
            )
        return bool(followed)

    def delivered(self, sent: RecordingToSend, digest: str) -> bool:
        """The platform took a recording as it was sent; tell whether that is its delivery.

        One that changed meanwhile is not what the platform has, and waits on; and a delivery
        counts once.
        """
        with self._store.transaction():
            same = self._store.write(
                "UPDATE recordings SET digest = ? WHERE id = ? AND size = ? AND modified_ns = ?",
                (digest, sent.id, sent.size, stored_time(sent.modified_ns)),
            )
            counts = bool(same) and self._finish(sent.id, State.DELIVERED)
            if counts:
                self._store.count({"delivered": 1, "delivered_bytes": sent.size})
        return counts

    def refused(self, item_id: int, trouble: str, due: float) -> None:
        """The platform refused an item; it is tried again at `due`. Soft: else it is sooner."""
        with self._store.transaction(soft=True):
            self._store.write(
                "UPDATE deliveries SET refusals = refusals + 1, trouble = ?, due = ?"
                " WHERE item_id = ? AND target = ?",
                (trouble, due, item_id, self._target),
            )

    def postponed(self, item_id: int, trouble: str, due: float) -> None:
        """An item could not be sent, and not by its fault; it is tried again at `due`. Soft."""
        with self._store.transaction(soft=True):
            self._store.write(
                "UPDATE deliveries SET trouble = ?, due = ? WHERE item_id = ? AND target = ?",
                (trouble, due, item_id, self._target),
            )

    def book_anew(self, recording_id: int, call_id: int, trouble: str, due: float) -> None:
        """The platform knows a recording's record no longer: the record goes first once more.

        `due`: when, in monotonic seconds.
        """
        with self._store.transaction():
            self.refused(recording_id, trouble, 0.0)
            record = self._store.row(
                "SELECT state FROM deliveries WHERE item_id = ? AND target = ?",
                (call_id, self._target),
            )
            if record is not None and record[0] == State.RECORD_SENT:
                self._move(call_id, State.RECORD_TO_SEND)
                self.postponed(call_id, trouble, due)
            # Other recordings of the call that have not gone yet would go under a dead callid too.
            self._store.write(
                "UPDATE deliveries SET state = ?, sendable = 0 WHERE target = ?"
                f" AND state = '{State.RECORDING_TO_SEND}'"
                " AND item_id IN (SELECT id FROM recordings WHERE call_id = ?)",
                (State.WAITING_FOR_RECORD, self._target, call_id),
            )

    def restored(self, recording_id: int, call_id: int | None, call_due: float) -> None:
        """A recording's file is back: it goes on where it stood."""
        with self._store.transaction():
            if call_id is not None:
                self.attached(recording_id, call_id)
            else:
                self._move(recording_id, State.WAITING_FOR_CALL)
            self.postponed(recording_id, "", 0.0 if call_id is not None else call_due)

    def missing(self, recording_id: int, trouble: str) -> None:
        """A recording's file is gone before its delivery; it waits for it to come back."""
        with self._store.transaction():
            if self._move(recording_id, State.MISSING):
                self.postponed(recording_id, trouble, 0.0)

    def retry(self, item_id: int | None) -> int:
        """Make one item, or all, due at once; return how many were waiting for their time.

        Of a recording that waits for its record, the record.
        """
        one = ("item_id IN (?1, (SELECT call_id FROM recordings WHERE id = ?1))", (item_id,))
        condition, parameters = one if item_id is not None else ("1", ())
        return self._store.write(
            f"UPDATE deliveries SET due = 0 WHERE {condition} AND sendable = 1 AND target = ?",
            (*parameters, self._target),
        )

    def begin_waiting(self, wait_for_recording: float, *, new_boot: bool) -> None:
        """At start-up: give every waiting record its time anew, for files not yet looked at.

        `new_boot`: the times in the ledger are of a clock that runs no more.
        """
        now = self._clock.monotonic()
        with self._store.transaction():
            if new_boot:
                self._store.set_meta("boot", self._clock.boot)
                self._store.write("UPDATE deliveries SET due = 0 WHERE due > 0")
            # As the indexes say it: a backlog of thousands is not walked through.
            for waiting in (
                "waiting = 1 AND kind = 'record' AND target = ? AND sendable = 1"
                " AND state = 'waiting for its recording'",
                "target = ? AND state = 'waiting for its call'",
            ):
                self._store.write(
                    f"UPDATE deliveries SET due = ? WHERE {waiting}",
                    (now + wait_for_recording, self._target),
                )

    def _behind_record(self, call_id: int) -> State:
        """Tell what a recording of a call waits for; its record waits for no recording any more."""
        record = self._store.row(
            "SELECT state FROM deliveries WHERE item_id = ? AND target = ?",
            (call_id, self._target),
        )
        if record is not None and record[0] == State.RECORD_SENT:
            return State.RECORDING_TO_SEND
        waits = record is not None and record[0] == State.WAITING_FOR_RECORDING
        if waits and not self._was_found_over(call_id):
            self._move(call_id, State.RECORD_TO_SEND)
        return State.WAITING_FOR_RECORD

    def _was_found_over(self, call_id: int) -> bool:
        """Tell whether a call ended while the agent was down."""
        sql = "SELECT 1 FROM calls WHERE id = ? AND found_over IS NOT NULL"
        return self._store.row(sql, (call_id,)) is not None

    def _add(
        self,
        item_id: int,
        kind: str,
        state: State,
        due: float,
        size: int = 0,
        trouble: str = "",
    ) -> None:
        self._store.write(
            "INSERT INTO deliveries"
            " (item_id, target, kind, state, waiting, sendable, due, bytes, trouble, since)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (item_id, self._target, kind, state, state != State.KEPT, state in SENDABLE)
            + (due, size, trouble, self._clock.wall()),
        )

    def _move(self, item_id: int, state: State) -> bool:
        """Let an item wait in another state; False: it is kept, which only its file can change."""
        return bool(
            self._store.write(
                "UPDATE deliveries SET state = ?, waiting = 1, sendable = ?, due = 0, done = NULL"
                f" WHERE item_id = ? AND target = ? AND state != '{State.KEPT}'",
                (state, state in SENDABLE, item_id, self._target),
            )
        )

    def _finish(self, item_id: int, state: State) -> bool:
        """Mark an item as done; return False where it was already."""
        return bool(
            self._store.write(
                "UPDATE deliveries SET state = ?, waiting = 0, sendable = 0, trouble = '',"
                " done = ? WHERE item_id = ? AND target = ? AND done IS NULL",
                (state, self._clock.wall(), item_id, self._target),
            )
        )
