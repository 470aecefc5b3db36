"""The ledger's store: one SQLite connection for all threads; transactions, errors, ids."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.clock import EARLIEST_TRUE_TIME, Clock
from agent.language import said, text_of
from agent.system_words import known, system_words

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


class LedgerError(Exception):
    """The ledger cannot be read or written just now: full, read-only or failing storage."""


class LedgerDamaged(LedgerError):
    """The ledger's content is damaged; opening it anew sets it aside and begins a new one."""


class LedgerTooNew(LedgerError):
    """The ledger was written by a newer agent, which this one must not spoil."""


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
        self._soft_since: float | None = None
        """Monotonic time of the first transaction that may not be durable yet; None: all are."""
        self._waits_for_disk: bool | None = None
        """How the connection is set; None: as it was opened."""
        self.commits = 0
        """Durable transactions so far."""
        self.soft_commits = 0
        self.trouble = ""
        """Why the last transaction failed; empty: it did not."""
        self.least_id = 0
        """No number below is given out."""
        self.damaged = False
        """True: damage showed itself; the ledger is to be opened anew."""

    @contextmanager
    def transaction(self, *, soft: bool = False) -> Iterator[None]:
        """All or nothing. Raises LedgerError; then nothing was written.

        Whether it is soft (see above) is for the outermost to say.
        """
        with self._lock:
            if self._inside:
                with self._joined():
                    yield
                return
            self._wait_for_disk(not soft)
            self._execute("BEGIN IMMEDIATE")
            self._inside, self._torn = True, False
            before = self._connection.total_changes
            try:
                yield
                self._require_whole()
                changed = self._connection.total_changes > before
                if not soft and not changed and self._soft_since is not None:
                    # A commit of nothing would wait for no disk; nor would one of what is there.
                    self.count("settled")
                self._execute("COMMIT")
            except BaseException:
                # A statement that failed for want of space may have rolled back already.
                if self._connection.in_transaction:
                    self._execute("ROLLBACK")
                raise
            finally:
                self._inside = False
            self._committed(soft, changed)

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
        with self.transaction():
            return self._execute(sql, parameters).rowcount

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Read all rows; the caller's SQL bounds their number."""
        with self._lock, self._watched():
            return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[object] = ()) -> Row | None:
        """Read the first row."""
        with self._lock, self._watched():
            found: Row | None = self._connection.execute(sql, parameters).fetchone()
            return found

    def next_id(self) -> int:
        """Take a number that no call, recording or errand ever had.

        It is the clock's microsecond, or where that is not above the last number, the next one. So
        a ledger that was put back from an older copy does not give out again what was given out
        since the copy was made.
        """
        with self.transaction():
            last = int(self.meta("last_id", 0))
            number = max(last + 1, self.number_of_now(), self.least_id)
            self.write("UPDATE meta SET value = ? WHERE name = 'last_id'", (number,))
            return number

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

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter that outlives the rows that it counted."""
        self.write(
            "INSERT INTO meta (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, by),
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
        with self._lock, self._watched():
            if self.path.exists():
                return
            rescued.unlink(missing_ok=True)
            self._connection.execute("VACUUM INTO ?", (str(rescued),))
            # Closing removes the old log by its name, and so comes before the new file.
            self._connection.close()
            rescued.rename(self.path)

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

    def _committed(self, soft: bool, changed: bool) -> None:
        self.trouble = ""
        if not soft:
            self._soft_since = None
            self.commits += 1
            return
        self.soft_commits += 1
        if changed and self._soft_since is None:
            self._soft_since = self._clock.monotonic()

    @contextmanager
    def _joined(self) -> Iterator[None]:
        self._require_whole()
        try:
            yield
        except BaseException:
            self._torn = True
            raise

    def _require_whole(self) -> None:
        if self._torn:
            raise LedgerError(
                said("{path}: one of several steps failed, so none is written", path=str(self.path))
            )

    def _execute(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        with self._watched():
            return self._connection.execute(sql, parameters)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            with translated(self.path):
                yield
        except LedgerError as error:
            self.trouble = text_of(error)
            self.damaged |= isinstance(error, LedgerDamaged)
            raise


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 - every 5 s, at half the cost
    return found.st_dev, found.st_ino


_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into ours, with words for a technician."""
    try:
        yield
    except sqlite3.Error as error:
        # The extended code keeps the primary one in its lowest byte.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGE or "decode to UTF-8" in str(error):
            raise LedgerDamaged(str(error)) from error
        why = known(str(error))
        raise LedgerError(said("{path}: {why}", path=str(path), why=why)) from error
    except UnicodeDecodeError as error:
        raise LedgerDamaged("it holds text that is none") from error
    except OSError as error:
        raise LedgerError(said("{path}: {why}", path=str(path), why=system_words(error))) from error
