"""The ledger's store: one SQLite connection for all threads; transactions, errors, ids."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Row = tuple[Any, ...]


class LedgerError(Exception):
    """The ledger cannot be read or written just now: full, read-only or failing storage."""


class LedgerDamaged(LedgerError):
    """The ledger's content is damaged; opening it anew sets it aside and begins a new one."""


class LedgerTooNew(LedgerError):
    """The ledger was written by a newer agent, which this one must not spoil."""


class Store:
    """One SQLite connection, used by all threads in turn.

    A transaction is durable when its `with` block has ended (WAL, synchronous=FULL). Inner
    transactions join the outer one: where one of them fails, nothing of the outer one is written.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()
        self._inside = False
        self._torn = False
        self.commits = 0
        self.damaged = False
        """True: damage showed itself; the ledger is to be opened anew."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises LedgerError; then nothing was written."""
        with self._lock:
            if self._inside:
                with self._joined():
                    yield
                return
            self._execute("BEGIN IMMEDIATE")
            self._inside, self._torn = True, False
            try:
                yield
                self._require_whole()
                self._execute("COMMIT")
            except BaseException:
                # A statement that failed for want of space may have rolled back already.
                if self._connection.in_transaction:
                    self._execute("ROLLBACK")
                raise
            finally:
                self._inside = False
            self.commits += 1

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
        """Take a number that no call, recording or errand ever had."""
        with self.transaction():
            self.write("UPDATE meta SET value = value + 1 WHERE name = 'last_id'")
            return int(self.meta("last_id", 0))

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

    def close(self) -> None:
        """Close the file; what was committed stays."""
        with self._lock, translated(self.path):
            self._connection.close()

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
            raise LedgerError(f"{self.path}: one of several steps failed, so none is written")

    def _execute(self, sql: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        with self._watched():
            return self._connection.execute(sql, parameters)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            with translated(self.path):
                yield
        except LedgerDamaged:
            self.damaged = True
            raise


_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into ours, with words for a technician."""
    try:
        yield
    except sqlite3.Error as error:
        # The extended code keeps the primary one in its lowest byte.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGE:
            raise LedgerDamaged(str(error)) from error
        raise LedgerError(f"{path}: {error}") from error
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror or error}") from error
