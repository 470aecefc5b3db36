"""The ledger in figures, for a support bundle: read only, beside a daemon that goes on writing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from agent.ledger.errors import LedgerError, translated

LONGEST = 10.0
"""Seconds for all figures together: on a slow box with a backlog of a million items the rest is
left out, rather than hold up the log's tidying for longer."""
PATIENCE = 2.0
"""Seconds to wait for a lock, which a reader meets only while the ledger is being opened."""
_STEPS = 10_000
"""SQLite's instructions between two looks at the clock: some milliseconds."""

Figure = str | int | float | None
Figures = dict[str, list[dict[str, Figure]]]
"""By the table's name its rows, by the columns' names; no telephone number, no file's name."""

TABLES: Mapping[str, str] = MappingProxyType(
    {
        "format": (
            "SELECT user_version AS format, page_count * page_size AS bytes"
            " FROM pragma_user_version, pragma_page_count, pragma_page_size"
        ),
        "counters": (
            "SELECT name, value FROM meta WHERE typeof(value) IN ('integer', 'real') ORDER BY name"
            " LIMIT 100"
        ),
        "deliveries": (
            "SELECT kind, state, COUNT(*) AS count, SUM(bytes) AS bytes, MIN(since) AS oldest,"
            " MAX(since) AS newest, SUM(refusals > 0) AS refused, MAX(refusals) AS most_refusals"
            " FROM deliveries GROUP BY kind, state ORDER BY kind, state LIMIT 100"
        ),
        "waiting by age": (
            "SELECT kind, CASE WHEN :now - since < 60 THEN '1 under a minute'"
            " WHEN :now - since < 3600 THEN '2 under an hour'"
            " WHEN :now - since < 86400 THEN '3 under a day'"
            " WHEN :now - since < 604800 THEN '4 under a week' ELSE '5 longer' END AS age,"
            " COUNT(*) AS count FROM deliveries WHERE waiting = 1"
            " GROUP BY kind, age ORDER BY kind, age"
        ),
        "troubles": (
            "SELECT kind, state, trouble, COUNT(*) AS count FROM deliveries"
            " WHERE waiting = 1 AND trouble != '' GROUP BY kind, state, trouble"
            " ORDER BY count DESC LIMIT 20"
        ),
        "errands": (
            "SELECT kind, state, COUNT(*) AS count, MIN(created) AS oldest, MAX(created) AS newest"
            " FROM errands GROUP BY kind, state ORDER BY kind, state LIMIT 100"
        ),
        "recordings": (
            "SELECT verdict, container, COUNT(*) AS count, SUM(size) AS bytes,"
            " SUM(call_id IS NULL) AS without_call, SUM(removed IS NOT NULL) AS removed"
            " FROM recordings GROUP BY verdict, container ORDER BY verdict, container LIMIT 100"
        ),
        "calls": (
            "SELECT board, channel, direction, source, COUNT(*) AS count,"
            " SUM(ended IS NULL) AS going_on, SUM(clock_trusted = 0) AS clock_not_trusted,"
            " MIN(started) AS oldest, MAX(started) AS newest"
            " FROM calls GROUP BY board, channel, direction, source"
            " ORDER BY board, channel, direction, source LIMIT 1000"
        ),
    }
)
"""What is counted, in its order: what matters most comes first."""


def census(path: Path, wall: float, monotonic: Callable[[], float]) -> Figures:
    """Count what the ledger at `path` holds at UNIX time `wall`.

    Changes nothing, and makes no file beside the ledger. A table that can't be read has one row
    that says why. Raises LedgerError where the ledger can't be opened at all.
    """
    with translated(path):
        if not path.exists():
            raise LedgerError(f"{path}: there is no ledger")
    with translated(path), closing(_opened(path)) as connection:
        deadline = monotonic() + LONGEST
        connection.set_progress_handler(lambda: monotonic() > deadline, _STEPS)
        connection.row_factory = sqlite3.Row
        return {name: _rows(connection, sql, {"now": wall}) for name, sql in TABLES.items()}


def _opened(path: Path) -> sqlite3.Connection:
    # Without a log nobody writes: to open it as unchanging makes no log of its own, which would
    # tell the next start of a power cut that never was.
    unchanging = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro{unchanging}",
        uri=True,
        timeout=PATIENCE,
        isolation_level=None,
    )


def _rows(
    connection: sqlite3.Connection, sql: str, parameters: Mapping[str, float]
) -> list[dict[str, Figure]]:
    try:
        return [dict(row) for row in connection.execute(sql, parameters)]
    except sqlite3.Error as error:
        late = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT
        return [{"not counted": "it takes too long" if late else str(error)}]
