"""The ledger's file: opened, checked, migrated, set aside where it is damaged."""

from __future__ import annotations

import contextlib
import os
import random
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from agent.clock import EARLIEST_TRUE_TIME, Clock
from agent.ledger.salvage import salvage
from agent.ledger.store import (
    IDS_PER_SECOND,
    LATEST_TRUE_TIME,
    LedgerDamaged,
    LedgerError,
    LedgerTooNew,
    Store,
    translated,
)

APPLICATION_ID = 0x53544C47
"""`STLG`, in the file's header: tells our ledger from any other SQLite file."""
MOST_SET_ASIDE = 3
"""Damaged ledgers kept for inspection; an older one makes room, or they would fill the disk."""
SPREAD = 365 * 86_400
"""Seconds' worth of ids from which a ledger under a clock that is behind draws its first one."""
STRIDE = 2**30
"""Ids of which a ledger skips a random number when it is opened while the clock is behind them, as
one that was never set is: a copy put back then shares none with the ledger that it was copied from,
but for a chance of one in a million or so; and ids last for millions of such starts."""
PAGE_SIZE = 512
"""Bytes of a page of a new ledger. A step of a call changes a few rows on as many pages, and each
goes whole into the log and once more into the file. A sector is no smaller."""
LARGEST_LOG = 4 * 1024**2
"""Bytes of log after which its pages are written back. The longer the log, the more of a page's
changes are written back as one; it is read through at a start after a power cut."""
_TABLES = frozenset({"meta", "calls", "recordings", "deliveries", "errands"})


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
    with translated(path):
        # Whenever power fails from here on, the next start knows that there is something to save.
        suspect(path)
    aside = _set_aside(path, clock)
    return Opened(_open(path, clock), aside, reason)


def open_beside(path: Path, clock: Clock) -> Store:
    """Open a ledger that another process may be using, and mend nothing. Raises LedgerError."""
    return _open(path, clock, beside=True)


def damaged_ledgers(directory: Path) -> list[Path]:
    """Damaged ledgers that lie set aside, oldest first."""
    found = [(_number_aside(path), path) for path in directory.glob("ledger-damaged-*.sqlite")]
    return [path for number, path in sorted(found) if number >= 0]


def _open(path: Path, clock: Clock, *, beside: bool = False) -> Store:
    existed = path.exists()
    if beside and not existed:
        raise LedgerError(f"{path}: there is no ledger yet")
    with translated(path):
        if existed and path.stat().st_size == 0:
            raise LedgerDamaged("the file is empty")
        if not existed:
            _put_in_place(path)
        if existed and not beside:
            _inspect(path, clock)
        connection = sqlite3.connect(
            path, timeout=10, isolation_level=None, check_same_thread=False, cached_statements=128
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA temp_store = MEMORY")
            # A ledger that is older has larger pages.
            (page_size,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA wal_autocheckpoint = {LARGEST_LOG // page_size}")
            store = Store(connection, path, clock)
            if beside:
                _require_present_format(store)
            else:
                if store.row("PRAGMA application_id") != (APPLICATION_ID,):
                    store.write(f"PRAGMA application_id = {APPLICATION_ID}")
                _migrate(store, clock)
                _take_over(store)
                _skip_numbers(store)
                _suspicion(path).unlink(missing_ok=True)
        except BaseException:
            connection.close()
            raise
    return store


def _put_in_place(path: Path) -> None:
    """Make the file aside and put it in place once it is whole.

    Power may fail while it is made, and an empty file tells of damage; nor could the journal of its
    making be rolled back by a connection that only looks.
    """
    making = _sidecar(path, "-new")
    for suffix in ("", "-journal", *_SIDECARS):
        _sidecar(making, suffix).unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(making, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode = WAL")
    for suffix in ("-journal", *_SIDECARS):
        # The log of a ledger that is gone is no part of this one.
        _sidecar(path, suffix).unlink(missing_ok=True)
    _synchronise(path.parent)
    making.rename(path)
    _synchronise(path.parent)


def _synchronise(folder: Path) -> None:
    """Have the folder's entries on the disk as they are now."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _inspect(path: Path, clock: Clock) -> None:
    """Look at a ledger and change nothing. Raises LedgerDamaged and LedgerTooNew.

    A connection that may write would make a log of another database part of the file for good.
    """
    # A clean close leaves neither of these: their presence tells of a power cut.
    unclean = any(_sidecar(path, suffix).exists() for suffix in _SIDECARS)
    address = f"file:{quote(str(path))}?mode=ro"
    with contextlib.closing(
        sqlite3.connect(address, uri=True, timeout=10, isolation_level=None)
    ) as reading:
        store = Store(reading, path, clock)
        _check(store)
        _check_pages(store, unclean)


def _check(store: Store) -> None:
    application = store.row("PRAGMA application_id")
    version = _version(store)
    tables = {name for (name,) in store.rows("SELECT name FROM sqlite_master LIMIT 100")}
    # Power may fail between the file's making and its first transaction.
    if version == 0 and not tables:
        return
    if application is None or application[0] != APPLICATION_ID:
        raise LedgerDamaged("it is not a ledger of this agent")
    newest = len(_schemas())
    if version > newest:
        raise LedgerTooNew(
            f"{store.path} has format {version}, and this agent knows formats up to {newest}:"
            " install the newer agent again, or move the file away to begin a new ledger"
        )
    if version < 1 or not tables >= _TABLES:
        raise LedgerDamaged("it has no format that any agent writes")
    if not store.meta("last_id", 0):
        raise LedgerDamaged("it does not say which numbers it gave out")


def _check_pages(store: Store, unclean: bool) -> None:
    """Look at every page after a power cut, and at each index too where damage was seen."""
    if suspected(store.path):
        finding = store.row("PRAGMA integrity_check(1)")
    elif unclean:
        finding = store.row("PRAGMA quick_check(1)")
    else:
        return
    if finding is None or finding[0] != "ok":
        raise LedgerDamaged("its pages do not fit together")


def _require_present_format(store: Store) -> None:
    application = store.row("PRAGMA application_id")
    if application is None or application[0] != APPLICATION_ID:
        raise LedgerError(f"{store.path} is not a ledger of this agent")
    version, newest = _version(store), len(_schemas())
    if version != newest:
        raise LedgerError(
            f"{store.path} has format {version} and this command reads format {newest}:"
            " use the command of the agent that runs, or start the agent first"
        )


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
                damaged = damaged_ledgers(store.path.parent)
                if damaged and suspected(store.path):
                    store.set_meta("to take over", damaged[-1].name)


def _take_over(store: Store) -> None:
    """Save what can be read of the damaged ledger in whose place this one was begun.

    All of it is one transaction: where it fails, the next opening tries it again.
    """
    name = store.meta("to take over", "")
    if name:
        with store.transaction():
            salvage(store.path.with_name(name), store)
            store.write("DELETE FROM meta WHERE name = 'to take over'")


def _skip_numbers(store: Store) -> None:
    if (last := store.meta("last_id", 0)) > store.number_of_now():
        store.least_id = last + random.randrange(STRIDE)


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

    It counts from the latest moment known: the clock, or where that is behind, the newest file
    beside the ledger. Under a clock that is behind one moment looks like another, so there chance
    keeps two ledgers apart.
    """
    wall = clock.wall()
    latest = max([wall, EARLIEST_TRUE_TIME, *_moments_beside(path)])
    number = int(latest * IDS_PER_SECOND)
    if latest > wall:
        number += random.randrange(SPREAD * IDS_PER_SECOND)
    return number


def _moments_beside(path: Path) -> list[float]:
    """When the files of the state directory were last written, but for the new ledger's own."""
    own = {path, *(_sidecar(path, suffix) for suffix in _SIDECARS)}
    moments = []
    for entry in path.parent.iterdir():
        # Whatever lies there, a link that leads nowhere too, must not keep a ledger from beginning.
        with contextlib.suppress(OSError):
            moments.append(entry.lstat().st_mtime if entry not in own else 0.0)
    return [moment for moment in moments if moment <= LATEST_TRUE_TIME]


def _set_aside(path: Path, clock: Clock) -> Path:
    earlier = damaged_ledgers(path.parent)
    # The names stand in order, whatever the clock does: the oldest goes first.
    newest = _number_aside(earlier[-1]) if earlier else 0
    aside = path.with_name(f"ledger-damaged-{max(int(clock.wall()), newest + 1)}.sqlite")
    with translated(path):
        # The file goes first: a log without it is dropped by SQLite, while the file without its
        # log would look like a ledger that was closed well.
        path.rename(aside)
        for suffix in _SIDECARS:
            sidecar = _sidecar(path, suffix)
            if sidecar.exists():
                sidecar.rename(_sidecar(aside, suffix))
        for old in damaged_ledgers(path.parent)[:-MOST_SET_ASIDE]:
            for suffix in ("", *_SIDECARS):
                _sidecar(old, suffix).unlink(missing_ok=True)
    return aside


def _number_aside(path: Path) -> int:
    """Read the number in the name of a ledger set aside; -1: the name is another one."""
    found = re.fullmatch(r"ledger-damaged-(\d+)\.sqlite", path.name, re.ASCII)
    return int(found[1]) if found else -1


_SIDECARS = ("-wal", "-shm")


def _sidecar(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def suspected(path: Path) -> bool:
    """Tell whether damage showed itself while the ledger was last in use."""
    return _suspicion(path).exists()


def suspect(path: Path) -> None:
    """Have the ledger checked thoroughly when it is next opened. Raises OSError."""
    _suspicion(path).touch()


def _suspicion(path: Path) -> Path:
    return _sidecar(path, "-suspected")
