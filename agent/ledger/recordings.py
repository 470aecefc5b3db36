"""The ledger's book of recordings: which files are known, and what each of them is."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from agent.clock import EARLIEST_TRUE_TIME, Clock
from agent.ledger.deliveries import DeliveryBook
from agent.ledger.rows import PLATFORM, DeliveredRecording, KnownFile, State, file_time, stored_time
from agent.ledger.store import Store

A_DAY = 86_400.0
"""Seconds; a delivery dated further ahead is the work of a clock that was wrong."""

FileKey = tuple[str, int, int]
"""Path below the recording directory, size in bytes, modification time in nanoseconds."""


class NewRecording(Struct, frozen=True):
    """A finished file as it was found and judged."""

    relative: str
    size: int
    modified_ns: int
    verdict: str
    reason: str
    container: str | None
    duration: float | None
    kept: str
    """Why it is not sent; empty where it is."""


class RecordingBook:
    """Files, known by path, size and modification time, never by inode."""

    def __init__(self, store: Store, clock: Clock, deliveries: DeliveryBook) -> None:
        self._store = store
        self._clock = clock
        self._deliveries = deliveries

    def known(self, keys: Iterable[FileKey]) -> set[FileKey]:
        """Tell which of these files need no further look.

        One whose file had gone missing, or was deleted, is not among them: it is offered again.
        """
        return {
            key
            for key in keys
            if self._store.row(
                "SELECT 1 FROM recordings AS r JOIN deliveries AS d ON d.item_id = r.id"
                " WHERE r.path = ? AND r.size = ? AND r.modified_ns = ?"
                f" AND d.state != '{State.MISSING}' AND r.removed IS NULL",
                _stored_key(key),
            )
        }

    def find(self, relative: str) -> list[KnownFile]:
        """All that is known of a path, the newest first."""
        rows = self._store.rows(
            "SELECT r.id, r.path, r.size, r.modified_ns, r.call_id, d.state, r.digest"
            " FROM recordings AS r JOIN deliveries AS d ON d.item_id = r.id"
            " WHERE r.path = ? ORDER BY r.id DESC LIMIT 100",
            (_path(relative),),
        )
        return [_known(row) for row in rows]

    def add(self, new: NewRecording, call_id: int | None, *, call_due: float) -> int:
        """Write a new file down with its call, if that is known; return its number."""
        with self._store.transaction():
            number = self._store.next_id()
            self._store.write(
                "INSERT INTO recordings (id, path, size, modified_ns, verdict, reason, container,"
                " duration, call_id, found) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (number, *_stored_key((new.relative, new.size, new.modified_ns)), *_judgement(new))
                + (call_id, self._clock.wall()),
            )
            self._deliveries.add_recording(
                number, new.size, call_id, kept=new.kept, call_due=call_due
            )
            return number

    def replace(
        self, number: int, new: NewRecording, call_id: int | None, *, call_due: float
    ) -> None:
        """A file changed before its delivery: it is judged and delivered as it is now."""
        with self._store.transaction():
            self._store.write(
                "UPDATE recordings SET size = ?, modified_ns = ?, verdict = ?, reason = ?,"
                " container = ?, duration = ?, call_id = ? WHERE id = ?",
                (new.size, stored_time(new.modified_ns), *_judgement(new), call_id, number),
            )
            self._store.write("DELETE FROM deliveries WHERE item_id = ?", (number,))
            self._deliveries.add_recording(
                number, new.size, call_id, kept=new.kept, call_due=call_due
            )

    def touch(self, number: int, modified_ns: int) -> None:
        """A delivered file has a new modification time and the same content: it is the same."""
        self._store.write(
            "UPDATE recordings SET modified_ns = ?, removed = NULL WHERE id = ?",
            (stored_time(modified_ns), number),
        )

    def attach(self, number: int, call_id: int) -> None:
        """A recording's call is known now."""
        with self._store.transaction():
            self._store.write("UPDATE recordings SET call_id = ? WHERE id = ?", (call_id, number))
            self._deliveries.attached(number, call_id)

    def without_call(self, limit: int) -> list[tuple[KnownFile, float, float | None]]:
        """Recordings that wait for their call, with the time at which that wait ends (monotonic)
        and their duration in seconds; the one that waits longest first.
        """
        rows = self._store.rows(
            "SELECT r.id, r.path, r.size, r.modified_ns, r.call_id, d.state, r.digest, d.due,"
            " r.duration FROM deliveries AS d JOIN recordings AS r ON r.id = d.item_id"
            " WHERE d.state = 'waiting for its call' ORDER BY d.due LIMIT ?",
            (limit,),
        )
        return [(_known(row), row[7], row[8]) for row in rows]

    def of_call(self, call_id: int) -> list[tuple[KnownFile, float]]:
        """A call's recordings whose length is known, each with that; seconds."""
        rows = self._store.rows(
            "SELECT r.id, r.path, r.size, r.modified_ns, r.call_id, d.state, r.digest, r.duration"
            " FROM recordings AS r JOIN deliveries AS d ON d.item_id = r.id"
            " WHERE r.call_id = ? AND r.duration > 0 LIMIT 100",
            (call_id,),
        )
        return [(_known(row), row[7]) for row in rows]

    def delivered(
        self, limit: int, after: tuple[float, int] = (0.0, 0)
    ) -> list[DeliveredRecording]:
        """Delivered recordings whose files are still here, oldest delivery first.

        `after`: delivery time and number of the last one of the page before.
        """
        rows = self._store.rows(
            "SELECT r.id, r.path, r.size, r.modified_ns, d.done FROM deliveries AS d"
            " JOIN recordings AS r ON r.id = d.item_id WHERE d.kind = 'recording'"
            f" AND d.done IS NOT NULL AND d.state = '{State.DELIVERED}' AND r.removed IS NULL"
            " AND (d.done, r.id) > (?, ?) ORDER BY d.done, r.id LIMIT ?",
            (*after, limit),
        )
        return [
            DeliveredRecording(number, _relative(path), size, file_time(modified_ns), done)
            for number, path, size, modified_ns, done in rows
        ]

    def removed(self, numbers: Iterable[int]) -> None:
        """Files of delivered recordings were deleted. Soft: that one is gone is found again."""
        now = self._clock.wall()
        with self._store.transaction(soft=True):
            for number in numbers:
                self._store.write("UPDATE recordings SET removed = ? WHERE id = ?", (now, number))

    def kept(self, before: float, after: int, limit: int) -> list[tuple[int, str]]:
        """Number and path of files that are not sent, found before a wall time.

        `after`: the last number of the page before.
        """
        rows = self._store.rows(
            "SELECT r.id, r.path FROM deliveries AS d JOIN recordings AS r ON r.id = d.item_id"
            " WHERE d.state = 'kept, not sent' AND d.target = ? AND d.since < ? AND r.id > ?"
            " ORDER BY r.id LIMIT ?",
            (PLATFORM, before, after, limit),
        )
        return [(number, _relative(path)) for number, path in rows]

    def forget_kept(self, numbers: Iterable[int]) -> None:
        """Files that were kept are gone; one that came back would be judged as a new one. Soft."""
        with self._store.transaction(soft=True):
            for number in numbers:
                self._store.write("DELETE FROM deliveries WHERE item_id = ?", (number,))
                self._store.write("DELETE FROM recordings WHERE id = ?", (number,))

    def returned(self, number: int) -> None:
        """The file of a delivered recording that was deleted is here again, and may go again."""
        self._store.write("UPDATE recordings SET removed = NULL WHERE id = ?", (number,))

    def date_anew(self) -> int:
        """Let the days of deliveries that a wrong clock dated count from now; return how many.

        To be called while the clock is trusted.
        """
        now = self._clock.wall()
        wrong = "kind = 'recording' AND (done < ? OR done > ?)"
        bounds = (EARLIEST_TRUE_TIME, now + A_DAY)
        if self._store.row(f"SELECT 1 FROM deliveries WHERE {wrong} LIMIT 1", bounds) is None:
            return 0
        return self._store.write(f"UPDATE deliveries SET done = ? WHERE {wrong}", (now, *bounds))

    def forget(self, before: float, limit: int) -> int:
        """Drop what is long done: calls that ended before a wall time, with all that was theirs.

        A call stays while its record waits, or while a file of its is here: a forgotten file would
        look new. Returns how many calls were dropped. Soft: what is not forgotten is later.
        """
        with self._store.transaction(soft=True):
            rows = self._store.rows(
                "SELECT id FROM calls WHERE ended < ? AND NOT EXISTS ("
                "  SELECT 1 FROM deliveries WHERE item_id = calls.id AND waiting = 1)"
                " AND NOT EXISTS (SELECT 1 FROM recordings WHERE call_id = calls.id"
                "  AND removed IS NULL) LIMIT ?",
                (before, limit),
            )
            for (number,) in rows:
                self._store.write(
                    "DELETE FROM deliveries WHERE item_id = ?1 OR item_id IN"
                    " (SELECT id FROM recordings WHERE call_id = ?1)",
                    (number,),
                )
                self._store.write("DELETE FROM recordings WHERE call_id = ?", (number,))
                self._store.write("DELETE FROM calls WHERE id = ?", (number,))
            return len(rows)


def _known(row: tuple[object, ...]) -> KnownFile:
    number, path, size, modified_ns, call_id, state, digest = row[:7]
    return KnownFile(
        id=int(str(number)),
        relative=_relative(path if isinstance(path, bytes) else b""),
        size=int(str(size)),
        modified_ns=file_time(int(str(modified_ns))),
        call_id=None if call_id is None else int(str(call_id)),
        state=State(str(state)),
        digest=None if digest is None else str(digest),
    )


def _judgement(new: NewRecording) -> tuple[object, ...]:
    return (new.verdict, new.reason, new.container, new.duration)


def _stored_key(key: FileKey) -> tuple[bytes, int, int]:
    return (_path(key[0]), key[1], stored_time(key[2]))


def _path(relative: str) -> bytes:
    # A file's name is bytes, not always UTF-8, which SQLite's text could not hold.
    return relative.encode("utf-8", "surrogateescape")


def _relative(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
