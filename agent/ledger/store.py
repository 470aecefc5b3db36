"""The ledger's file: opened, checked, migrated, set aside when damaged; transactions and ids."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from agent.clock import EARLIEST_TRUE_TIME, Clock

APPLICATION_ID = 0x53544C47
"""`STLG`, in the file's header: tells our ledger from any other SQLite file."""
MOST_SET_ASIDE = 3
"""Damaged ledgers kept for inspection; an older one makes room, or they would fill the disk."""
IDS_PER_SECOND = 1_000_000
"""Room for ids in a second of the clock that a new ledger starts from; keeps ids below 2**53."""

Row = tuple[Any, ...]


class LedgerError(Exception):
    """The ledger cannot be read or written just now: full, read-only or failing storage."""


class LedgerDamaged(LedgerError):
    """The ledger's content is damaged; opening it anew sets it aside and begins a new one."""


class LedgerTooNew(LedgerError):
    """The ledger was written by a newer agent, which this one must not spoil."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open ledger file, and what happened on the way."""

    store: Store
    set_aside: Path | None
    """Where a damaged predecessor lies now; None: there was none."""
    reason: str


def open_store(path: Path, clock: Clock) -> Opened:
    """Open or begin the ledger at `path`. A damaged file is set aside with its journal.

    Raises LedgerTooNew, or LedgerError where the storage fails.
    """
    try:
        return Opened(_open(path, clock), None, "")
    except LedgerDamaged as damage:
        reason = str(damage)
    aside = _set_aside(path, clock)
    return Opened(_open(path, clock), aside, reason)


def open_beside(path: Path, clock: Clock) -> Store:
    """Open a ledger that another process may be using, and mend nothing. Raises LedgerError."""
    return _open(path, clock, beside=True)


def damaged_ledgers(directory: Path) -> list[Path]:
    """Damaged ledgers that lie set aside, oldest first."""
    return sorted(directory.glob("ledger-damaged-*.sqlite"))


class Store:
    """One SQLite connection, used by all threads in turn.

    A transaction is durable when its `with` block has ended (WAL, synchronous=FULL). Inner
    transactions join the outer one.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()
        self._depth = 0
        self.commits = 0
        self.damaged = False
        """True: damage showed itself; the ledger is to be opened anew."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises LedgerError; then nothing was written."""
        with self._lock:
            if self._depth:
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                return
            with self._watched():
                self._connection.execute("BEGIN IMMEDIATE")
                self._depth = 1
                try:
                    yield
                    self._connection.execute("COMMIT")
                except BaseException:
                    # A COMMIT that failed for want of space may have rolled back already.
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
                finally:
                    self._depth = 0
                self.commits += 1

    def write(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement in a transaction; return the number of rows it changed."""
        with self.transaction():
            return self._connection.execute(sql, parameters).rowcount

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
        with self._lock, _translated(self.path):
            self._connection.close()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            with _translated(self.path):
                yield
        except LedgerDamaged:
            self.damaged = True
            raise


def _open(path: Path, clock: Clock, *, beside: bool = False) -> Store:
    existed = path.exists()
    with _translated(path):
        if existed and path.stat().st_size == 0:
            raise LedgerDamaged("the file is empty")
        # A clean close leaves no write-ahead log: its presence tells of a power cut.
        unclean = _sidecar(path, "-wal").exists() and not beside
        connection = sqlite3.connect(
            path, timeout=10, isolation_level=None, check_same_thread=False, cached_statements=128
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA temp_store = MEMORY")
            store = Store(connection, path)
            if existed:
                _check(store, unclean or suspected(path))
            else:
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            if not beside:
                _migrate(store, clock)
                _suspicion(path).unlink(missing_ok=True)
        except BaseException:
            connection.close()
            raise
    return store


def _check(store: Store, thoroughly: bool) -> None:
    application = store.row("PRAGMA application_id")
    version = _version(store)
    if application is None or application[0] != APPLICATION_ID:
        # Power may fail between the file's making and its first transaction.
        if version == 0 and not store.rows("SELECT name FROM sqlite_master LIMIT 1"):
            store.write(f"PRAGMA application_id = {APPLICATION_ID}")
            return
        raise LedgerDamaged("it is not a ledger of this agent")
    newest = len(_schemas())
    if version > newest:
        raise LedgerTooNew(
            f"{store.path} has format {version}, and this agent knows formats up to {newest}:"
            " install the newer agent again, or move the file away to begin a new ledger"
        )
    if thoroughly:
        finding = store.row("PRAGMA quick_check(1)")
        if finding is None or finding[0] != "ok":
            raise LedgerDamaged("its pages do not fit together")


def _version(store: Store) -> int:
    found = store.row("PRAGMA user_version")
    return int(found[0]) if found else 0


def _schemas() -> list[str]:
    """The schema's steps, one file a version, in order."""
    folder = files("agent.ledger") / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(folder / name).read_text("utf-8") for name in names]


def _migrate(store: Store, clock: Clock) -> None:
    done = _version(store)
    for version, script in enumerate(_schemas(), start=1):
        if version <= done:
            continue
        with store.transaction():
            for statement in _statements(script):
                store.write(statement)
            store.write(f"PRAGMA user_version = {version}")
            if version == 1:
                store.set_meta("last_id", _first_id(store.path, clock))
                store.set_meta("boot", clock.boot)


def _statements(script: str) -> Iterator[str]:
    # executescript() commits by itself, which would tear a migration in two.
    gathered = ""
    for line in script.splitlines(keepends=True):
        gathered += line
        if sqlite3.complete_statement(gathered):
            yield gathered
            gathered = ""


def _first_id(path: Path, clock: Clock) -> int:
    """Return a number above all that a lost ledger may have given out.

    It counts from the latest moment known: the clock, or where the clock is unset, the newest
    file beside the ledger; and from a random place in that second, for a clock that stands still.
    """
    moments = [clock.wall(), EARLIEST_TRUE_TIME]
    moments += [entry.stat().st_mtime for entry in path.parent.iterdir()]
    return int(max(moments)) * IDS_PER_SECOND + random.randrange(IDS_PER_SECOND // 2)


def _set_aside(path: Path, clock: Clock) -> Path:
    name = f"ledger-damaged-{int(clock.wall())}.sqlite"
    aside = path.with_name(name)
    number = 0
    while aside.exists():
        number += 1
        aside = path.with_name(name.replace(".sqlite", f"-{number}.sqlite"))
    with _translated(path):
        for suffix in ("-wal", "-shm"):
            sidecar = _sidecar(path, suffix)
            if sidecar.exists():
                sidecar.rename(_sidecar(aside, suffix))
        path.rename(aside)
        for old in damaged_ledgers(path.parent)[:-MOST_SET_ASIDE]:
            for suffix in ("", "-wal", "-shm"):
                _sidecar(old, suffix).unlink(missing_ok=True)
    return aside


def _sidecar(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def suspected(path: Path) -> bool:
    """Tell whether damage showed itself while the ledger was last in use."""
    return _suspicion(path).exists()


def suspect(path: Path) -> None:
    """Have the ledger checked thoroughly when it is next opened."""
    _suspicion(path).touch()


def _suspicion(path: Path) -> Path:
    return _sidecar(path, "-suspected")


_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
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
