"""The ledger's file: opened, checked, migrated, set aside where it is damaged."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from agent.clock import EARLIEST_TRUE_TIME, Clock
from agent.language import said
from agent.ledger.aside import (
    SIDECARS,
    damaged_ledgers,
    put_aside,
    sidecar,
    suspect,
    suspected,
    suspicion,
)
from agent.ledger.errors import LedgerDamaged, LedgerError, translated
from agent.ledger.formats import APPLICATION_ID, check, migrate, require_present_format
from agent.ledger.salvage import salvage
from agent.ledger.store import IDS_PER_SECOND, LATEST_TRUE_TIME, Store

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


class Opened(Struct, frozen=True):
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
    aside = put_aside(path, clock)
    return Opened(_open(path, clock), aside, reason)


def open_beside(path: Path, clock: Clock) -> Store:
    """Open a ledger that another process may be using, and mend nothing. Raises LedgerError."""
    return _open(path, clock, beside=True)


def _open(path: Path, clock: Clock, *, beside: bool = False) -> Store:
    existed = path.exists()
    if beside and not existed:
        raise LedgerError(said("{path}: there is no ledger yet", path=str(path)))
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
                require_present_format(store)
            else:
                if store.row("PRAGMA application_id") != (APPLICATION_ID,):
                    store.write(f"PRAGMA application_id = {APPLICATION_ID}")
                migrate(store, lambda: _begin(store, clock))
                _take_over(store)
                _skip_numbers(store)
                suspicion(path).unlink(missing_ok=True)
        except BaseException:
            connection.close()
            raise
    return store


def _put_in_place(path: Path) -> None:
    """Make the file aside and put it in place once it is whole.

    Power may fail while it is made, and an empty file tells of damage; nor could the journal of its
    making be rolled back by a connection that only looks.
    """
    making = sidecar(path, "-new")
    for suffix in ("", "-journal", *SIDECARS):
        sidecar(making, suffix).unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(making, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode = WAL")
    for suffix in ("-journal", *SIDECARS):
        # The log of a ledger that is gone is no part of this one.
        sidecar(path, suffix).unlink(missing_ok=True)
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
    unclean = any(sidecar(path, suffix).exists() for suffix in SIDECARS)
    address = f"file:{quote(str(path))}?mode=ro"
    with contextlib.closing(
        sqlite3.connect(address, uri=True, timeout=10, isolation_level=None)
    ) as reading:
        store = Store(reading, path, clock)
        check(store)
        _check_pages(store, unclean)


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


def _begin(store: Store, clock: Clock) -> None:
    """Write down what each ledger begins with."""
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
    own = {path, *(sidecar(path, suffix) for suffix in SIDECARS)}
    moments = []
    for entry in path.parent.iterdir():
        # Whatever lies there, a link that leads nowhere too, must not keep a ledger from beginning.
        with contextlib.suppress(OSError):
            moments.append(entry.lstat().st_mtime if entry not in own else 0.0)
    return [moment for moment in moments if moment <= LATEST_TRUE_TIME]
