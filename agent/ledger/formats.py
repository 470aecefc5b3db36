"""The ledger's formats: which one a file has, and the steps from one to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from importlib.resources import files

from agent.language import said
from agent.ledger.errors import LedgerDamaged, LedgerError, LedgerTooNew
from agent.ledger.store import Store

APPLICATION_ID = 0x53544C47
"""`STLG`, in the file's header: tells our ledger from any other SQLite file."""
_TABLES = frozenset({"meta", "calls", "recordings", "deliveries", "errands"})


def check(store: Store) -> None:
    """Raise LedgerDamaged where a file is no ledger, and LedgerTooNew where it is a newer one."""
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


def require_present_format(store: Store) -> None:
    """Raise LedgerError where a ledger has another format than the newest."""
    application = store.row("PRAGMA application_id")
    if application is None or application[0] != APPLICATION_ID:
        raise LedgerError(said("{path} is not a ledger of this agent", path=str(store.path)))
    version, newest = _version(store), len(_schemas())
    if version != newest:
        raise LedgerError(
            said(
                "{path} has format {version} and this command reads format {newest}: use the"
                " command of the agent that runs, or start the agent first",
                path=str(store.path),
                version=version,
                newest=newest,
            )
        )


def _version(store: Store) -> int:
    found = store.row("PRAGMA user_version")
    return int(found[0]) if found else 0


def _schemas() -> list[str]:
    """The schema's steps, one file a version, in order."""
    folder = files("agent.ledger") / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(folder / name).read_text("utf-8") for name in names]


def migrate(store: Store, begin: Callable[[], None]) -> None:
    """Bring a ledger to the newest format; each step is a transaction.

    `begin` is called in the first one: it writes what each ledger begins with.
    """
    done = _version(store)
    for version, script in enumerate(_schemas(), start=1):
        if version <= done:
            continue
        with store.transaction():
            for statement in _statements(script):
                store.write(statement)
            store.write(f"PRAGMA user_version = {version}")
            if version == 1:
                begin()


def _statements(script: str) -> Iterator[str]:
    # executescript() commits by itself, which would tear a migration in two.
    gathered = ""
    for line in script.splitlines(keepends=True):
        gathered += line
        if sqlite3.complete_statement(gathered):
            yield gathered
            gathered = ""
