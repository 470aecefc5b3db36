"""What the ledger says when it can't be read or written, for who can do something about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.language import said
from agent.system_words import known, system_words


class LedgerError(Exception):
    """The ledger cannot be read or written just now: full, read-only or failing storage."""


class LedgerDamaged(LedgerError):
    """The ledger's content is damaged; opening it anew sets it aside and begins a new one."""


class LedgerTooNew(LedgerError):
    """The ledger was written by a newer agent, which this one must not spoil."""


LIBRARY_ERRORS = (sqlite3.Error, UnicodeDecodeError, OSError)
"""What SQLite and the system raise where a ledger is used, for `ledger_error` to put into words."""
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def ledger_error(error: Exception, path: Path) -> LedgerError:
    """Turn one of LIBRARY_ERRORS into ours, with words for a technician."""
    if isinstance(error, sqlite3.Error):
        # The extended code keeps the primary one in its lowest byte.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DAMAGE or "decode to UTF-8" in str(error):
            return LedgerDamaged(str(error))
        return LedgerError(said("{path}: {why}", path=str(path), why=known(str(error))))
    if isinstance(error, OSError):
        return LedgerError(said("{path}: {why}", path=str(path), why=system_words(error)))
    return LedgerDamaged("it holds text that is none")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise LedgerError for what SQLite and the system raise inside."""
    try:
        yield
    except LIBRARY_ERRORS as error:
        raise ledger_error(error, path) from error
