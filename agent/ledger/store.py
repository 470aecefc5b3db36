"""The ledger's store: one SQLite connection for all threads; transactions, errors, ids."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.clock import EARLIEST_TRUE_TIME, Clock
from agent.language import said, text_of
from agent.ledger.errors import (
    LIBRARY_ERRORS,
    LedgerDamaged,
    LedgerError,
    ledger_error,
    translated,
)

Row = tuple[Any, ...]

IDS_PER_SECOND = 1_000_000
"""Room for ids in a second of the clock that they are taken from: no ledger can be written faster,
so whatever is numbered later is numbered higher; and ids stay below 2**53.
"""
SOFT_LONGEST = 30.0
"""Seconds that a soft transaction may wait to be made durable. By then the kernel begins to write
it anyway (vm.dirty_expire_centisecs); while calls come and go, a durable one comes sooner and takes
it along."""
LATEST_TRUE_TIME = 4_102_444_800.0
"""The year 2100: what claims to be younger says nothing of the time."""


class Store:
    """One SQLite connection, used by all threads in turn.

    A transaction is durable when its `with` block has ended, and all that came before it is
    (WAL, synchronous=FULL). Inner transactions join the outer one: where one of them fails, nothing
    of the outer one is written.

    A soft one waits for no disk (synchronous=NORMAL). It is whole, it is seen by all, and it
    outlives the process; a power cut may undo the last soft ones, always the latest first, and none
    before a durable one. Soft may be what is found anew after a power cut, by the scan, the board
    or the next attempt, and what nobody outside was told of as done. It is made durable by the next
    transaction that is not soft, and by `settle` after SOFT_LONGEST at the latest.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._connection = connection
        self._identity = _identity(path)
        self._lock = threading.RLock()
        self._inside = False
        self._torn = False
        self._changes_before = 0
        """`changes` as the transaction under way began."""
        self._soft_since: float | None = None
        """Monotonic time of the first transaction that may not be durable yet; None: all are."""
        self._waits_for_disk: bool | None = None
        """How the connection is set; None: as it was opened."""
        self._last_id: int | None = None
        """The last number that the transaction under way took; it is written down at its end."""
        self.commits = 0
        """Durable transactions so far."""
        self.soft_commits = 0
        self.trouble = ""
        """Why the last transaction failed; empty: it did not."""
        self.least_id = 0
        """No number below is given out."""
        self.damaged = False
        """True: damage showed itself; the ledger is to be opened anew."""

    def transaction(self, *, soft: bool = False) -> Transaction:
        """All or nothing. Raises LedgerError; then nothing was written.

        Whether it is soft (see above) is for the outermost to say.
        """
        return Transaction(self, soft)

    def settle(self) -> float | None:
        """Make durable what has been soft for SOFT_LONGEST. Raises LedgerError.

        Returns the seconds after which there is something to settle, None where nothing is soft.
        """
        with self._lock:
            if self._soft_since is None:
                return None
            left = self._soft_since + SOFT_LONGEST - self._clock.monotonic()
            if left > 0:
                return left
            with self.transaction():
                pass
            return None

    def write(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement in a transaction; return the number of rows it changed."""
        with self._lock:
            if not self._inside:
                with self.transaction():
                    return self._execute(sql, parameters).rowcount
            self._require_whole()
            try:
                return self._execute(sql, parameters).rowcount
            except BaseException:
                self._torn = True
                raise

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Read all rows; the caller's SQL bounds their number."""
        with self._lock:
            try:
                return self._connection.execute(sql, parameters).fetchall()
            except LIBRARY_ERRORS as error:
                raise self._troubled(error) from error

    def row(self, sql: str, parameters: Sequence[object] = ()) -> Row | None:
        """Read the first row."""
        with self._lock:
            try:
                found: Row | None = self._connection.execute(sql, parameters).fetchone()
            except LIBRARY_ERRORS as error:
                raise self._troubled(error) from error
            return found

    def next_id(self) -> int:
        """Take a number that no call, recording or errand ever had.

        It is the clock's microsecond, or where that is not above the last number, the next one. So
        a ledger that was put back from an older copy does not give out again what was given out
        since the copy was made.
        """
        with self.transaction():
            if self._last_id is None:
                self._last_id = int(self.meta("last_id", 0))
            self._last_id = max(self._last_id + 1, self.number_of_now(), self.least_id)
            return self._last_id

    @property
    def changes(self) -> int:
        """Rows written so far by this connection: the same number, the same content."""
        return self._connection.total_changes

    def meta(self, name: str, default: Any) -> Any:
        """Read a single value."""
        found = self.row("SELECT value FROM meta WHERE name = ?", (name,))
        return default if found is None else found[0]

    def set_meta(self, name: str, value: object) -> None:
        """Write a single value."""
        self.write("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))

    def count(self, by: Mapping[str, int]) -> None:
        """Add to counters, by name, that outlive the rows that they counted."""
        self.write(
            f"INSERT INTO meta (name, value) VALUES {', '.join(['(?, ?)'] * len(by))}"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            [value for counter in by.items() for value in counter],
        )

    @property
    def displaced(self) -> bool:
        """True: another file, or none, lies where the open one lay; somebody removed it."""
        try:
            return _identity(self.path) != self._identity
        except OSError:
            return self.path.parent.is_dir()

    def rescue(self) -> None:
        """Close, and put all back where the file lay, if none is there. Raises LedgerError."""
        rescued = self.path.with_name(f"{self.path.name}-rescued")
        with self._lock:
            try:
                if self.path.exists():
                    return
                rescued.unlink(missing_ok=True)
                self._connection.execute("VACUUM INTO ?", (str(rescued),))
                # Closing removes the old log by its name, and so comes before the new file.
                self._connection.close()
                rescued.rename(self.path)
            except LIBRARY_ERRORS as error:
                raise self._troubled(error) from error

    def close(self) -> None:
        """Close the file; what was committed stays."""
        with self._lock, translated(self.path):
            self._connection.close()

    def number_of_now(self) -> int:
        """The number that the clock alone would give; 0 where it was never set."""
        wall = self._clock.wall()
        return int(wall * IDS_PER_SECOND) if EARLIEST_TRUE_TIME <= wall <= LATEST_TRUE_TIME else 0

    def _wait_for_disk(self, wait: bool) -> None:
        if self._waits_for_disk is not wait:
            self._execute(f"PRAGMA synchronous = {'FULL' if wait else 'NORMAL'}")
            self._waits_for_disk = wait

    def _begin(self, soft: bool) -> bool:
        """Begin a transaction, or join the one under way; tell whether it is the outermost."""
        if self._inside:
            self._require_whole()
            return False
        self._wait_for_disk(not soft)
        self._execute("BEGIN IMMEDIATE")
        self._inside, self._torn, self._last_id = True, False, None
        self._changes_before = self._connection.total_changes
        return True

    def _commit(self, soft: bool) -> None:
        """End the outermost transaction."""
        self._require_whole()
        if self._last_id is not None:
            self.write("UPDATE meta SET value = ? WHERE name = 'last_id'", (self._last_id,))
        changed = self._connection.total_changes > self._changes_before
        if not soft and not changed and self._soft_since is not None:
            # A commit of nothing would wait for no disk; nor would one of what is there.
            self.count({"settled": 1})
        self._execute("COMMIT")
        self.trouble = ""
        if not soft:
            self._soft_since = None
            self.commits += 1
            return
        self.soft_commits += 1
        if changed and self._soft_since is None:
            self._soft_since = self._clock.monotonic()

    def _roll_back(self) -> None:
        # A statement that failed for want of space may have rolled back already.
        if self._connection.in_transaction:
            self._execute("ROLLBACK")

    def _require_whole(self) -> None:
        if self._torn:
            raise LedgerError(
                said("{path}: one of several steps failed, so none is written", path=str(self.path))
            )

    def _execute(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, parameters)
        except LIBRARY_ERRORS as error:
            raise self._troubled(error) from error

    def _troubled(self, error: Exception) -> LedgerError:
        """Note what went wrong; give it in our words."""
        found = ledger_error(error, self.path)
        self.trouble = text_of(found)
        self.damaged |= isinstance(found, LedgerDamaged)
        return found


class Transaction:
    """What `Store.transaction` gives: all or nothing of what happens in its `with` block.

    A class and no generator: a recording on its way comes by a dozen of them, which took as long as
    what is written in them.
    """

    __slots__ = ("_outermost", "_soft", "_store")

    def __init__(self, store: Store, soft: bool) -> None:
        self._store = store
        self._soft = soft
        self._outermost = False

    def __enter__(self) -> None:
        store = self._store
        store._lock.acquire()
        try:
            self._outermost = store._begin(self._soft)
        except BaseException:
            store._lock.release()
            raise

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        store = self._store
        try:
            if not self._outermost:
                store._torn |= kind is not None
            elif kind is None:
                self._commit()
            else:
                self._give_up()
        finally:
            store._lock.release()

    def _commit(self) -> None:
        try:
            self._store._commit(self._soft)
        except BaseException:
            self._give_up()
            raise
        self._store._inside = False

    def _give_up(self) -> None:
        try:
            self._store._roll_back()
        finally:
            self._store._inside = False


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 - every 5 s, at half the cost
    return found.st_dev, found.st_ino
